#ifndef WIRE_NET_RANGE_H
#define WIRE_NET_RANGE_H
/* net_range - IP addresses as text and as bytes, ranges of them, and what kind of place an address
 * is. Where an address comes from somebody who is not trusted (a node's URL), the kind says whether
 * going there may do harm: to this machine, to its network, to a cloud's metadata service.
 *
 * An IPv4 address is kept as the IPv6 one that stands for it (::ffff:a.b.c.d): so no range is got
 * around by writing an address in the other way. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define NET_ADDRESS_BYTES 16u

struct net_address {
    unsigned char bytes[NET_ADDRESS_BYTES];
};

struct net_range {
    struct net_address first; /* bits beyond `bits` are 0 */
    uint32_t bits;            /* of 128 that are the same in all of it */
};

enum net_kind {
    NET_PUBLIC = 0, /* anywhere in the world */
    NET_PRIVATE,    /* of whoever's network: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
                       100.64.0.0/10, fc00::/7 */
    NET_SPECIAL     /* this machine, this link (169.254.169.254 among them), many, nobody, or an
                       address that stands for another one */
};

/* "10.0.0.1" "2001:db8::1" "::ffff:10.0.0.1". ERR_PARSE: no address; zones are none. */
MUST_USE enum err net_address_parse(struct span text, struct net_address *ret_address);
/* "10.0.0.0/8" "fd00::/8", or an address alone. ERR_PARSE: none, or bits beyond its length. */
MUST_USE enum err net_range_parse(struct span text, struct net_range *ret_range);
bool net_range_has(const struct net_range *range, const struct net_address *address);
enum net_kind net_kind_of(const struct net_address *address);
#endif

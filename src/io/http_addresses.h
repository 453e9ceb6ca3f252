#ifndef IO_HTTP_ADDRESSES_H
#define IO_HTTP_ADDRESSES_H
/* http_addresses - how many connections each client address has, over all loops of a process.
 *
 * A count-min sketch with a secret key: two rows of counters, an address has one in each, and the
 * smaller of the two is its number, or a little more when another one shares both. So memory is
 * fixed, nothing is locked, and nobody can aim at somebody else's counters. An IPv6 client is its
 * /64, since that is what one subscriber has. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/hash.h"

#define HTTP_ADDRESS_SLOTS 32768u

struct http_addresses {
    struct hash_key key;      /* secret */
    _Atomic uint64_t refused; /* connections, so far */
    _Atomic uint32_t rows[2][HTTP_ADDRESS_SLOTS];
};

MUST_USE enum err http_addresses_open(struct hash_key key, struct http_addresses **ret_addresses);
void http_addresses_close(struct http_addresses *a); /* NULL: does nothing */
/* One more of peer's. ERR_FULL: it has max already; nothing is counted. Any thread. */
MUST_USE enum err http_addresses_enter(struct http_addresses *a, const struct sockaddr *peer,
                                       uint32_t max);
/* What stands for this client in tables: equal for one, secret, and hard to aim at. */
uint64_t http_addresses_hash(const struct http_addresses *a, const struct sockaddr *peer);
void http_addresses_leave(struct http_addresses *a, const struct sockaddr *peer);
#endif

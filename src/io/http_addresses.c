/* http_addresses - counters that only ever move by one, so relaxed atomics are enough; see
 * http_addresses.h. */
#include "io/http_addresses.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum err
http_addresses_open(struct hash_key key, struct http_addresses **ret_addresses)
{
    struct http_addresses *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return ERR_MEMORY;
    a->key = key;
    *ret_addresses = a;
    return ERR_OK;
}

void
http_addresses_close(struct http_addresses *a)
{
    free(a);
}

/* Of an IPv4 address, or the first half of an IPv6 one. */
uint64_t
http_addresses_hash(const struct http_addresses *a, const struct sockaddr *peer)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    if (peer->sa_family == AF_INET6) {
        memcpy(&v6, peer, sizeof(v6));
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
            return hash_bytes(a->key, v6.sin6_addr.s6_addr + 12, 4);
        return hash_bytes(a->key, v6.sin6_addr.s6_addr, 8);
    }
    memcpy(&v4, peer, sizeof(v4));
    return hash_bytes(a->key, &v4.sin_addr, sizeof(v4.sin_addr));
}

static _Atomic uint32_t *
counter_of(struct http_addresses *a, uint64_t hash, unsigned row)
{
    return &a->rows[row][(hash >> (row * 32)) % HTTP_ADDRESS_SLOTS];
}

enum err
http_addresses_enter(struct http_addresses *a, const struct sockaddr *peer, uint32_t max)
{
    uint64_t hash = http_addresses_hash(a, peer);
    uint32_t first = atomic_fetch_add_explicit(counter_of(a, hash, 0), 1, memory_order_relaxed);
    uint32_t second = atomic_fetch_add_explicit(counter_of(a, hash, 1), 1, memory_order_relaxed);

    if (first < max || second < max)
        return ERR_OK;
    http_addresses_leave(a, peer);
    atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
    return ERR_FULL;
}

void
http_addresses_leave(struct http_addresses *a, const struct sockaddr *peer)
{
    uint64_t hash = http_addresses_hash(a, peer);

    for (unsigned row = 0; row < 2; row++)
        atomic_fetch_sub_explicit(counter_of(a, hash, row), 1, memory_order_relaxed);
}

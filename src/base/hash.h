#ifndef BASE_HASH_H
#define BASE_HASH_H
/* hash - SipHash-1-3: keyed, so that names chosen by others cannot fill one bucket.
 * (Aumasson and Bernstein 2012; 1-3 rounds as Rust and Ruby use for tables.) */
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(struct hash_key key, const void *data, size_t bytes);
static inline uint64_t
hash_span(struct hash_key key, struct span s)
{
    return hash_bytes(key, s.data, s.bytes);
}
/* FNV-1a over bytes, unkeyed: checksums of our own data, never tables of others' names. */
uint64_t hash_fnv(uint64_t start, const void *data, size_t bytes);
#define HASH_FNV_START 0xcbf29ce484222325u
#endif

/* hash - SipHash-1-3 and FNV-1a; see hash.h. */
#include "base/hash.h"

#include <string.h>

static uint64_t
rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static void
sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

uint64_t
hash_bytes(struct hash_key key, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    struct sip s = {key.k0 ^ 0x736f6d6570736575u, key.k1 ^ 0x646f72616e646f6du,
                    key.k0 ^ 0x6c7967656e657261u, key.k1 ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)bytes << 56, word;
    size_t whole = bytes / 8;

    for (size_t i = 0; i < whole; i++) { /* little-endian hosts only, as the records are */
        memcpy(&word, at + i * 8, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    for (size_t i = 0; i < bytes % 8; i++)
        last |= (uint64_t)at[whole * 8 + i] << (8 * i);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t
hash_fnv(uint64_t start, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    uint64_t hash = start;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

#ifndef ENGINE_ENGINE_CACHE_H
#define ENGINE_ENGINE_CACHE_H
/* engine_cache - the KV blocks of one model: those that running sequences hold, and whole prompt
 * blocks that stay behind for the next prompt with the same beginning. Private to engine.
 *
 * A block is private to one sequence, or cached: known by the chain hash of everything up to its
 * end, held by any number of sequences, idle when nobody holds it. Idle blocks give way, least
 * recently used first. A sequence holds a prefix of its chain and releases it from the end, so the
 * oldest idle block is always a leaf: what is cached of a chain is a prefix of it. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ENGINE_CACHE_NONE UINT32_MAX

struct engine_cache_entry {
    uint64_t hash;
    uint32_t holders;      /* sequences */
    uint32_t next;         /* in the bucket, or in the free list */
    uint32_t older, newer; /* among the idle */
};

struct engine_cache {
    uint32_t blocks;     /* in all */
    uint32_t idle_max;   /* cached blocks beside those in use; 0: what these leave free */
    uint32_t used, idle; /* used: private, or cached and held */
    struct engine_cache_entry *entries;
    uint32_t entry_count, entries_max; /* touched; allocated */
    uint32_t free_entry, oldest, newest;
    uint32_t *buckets; /* entries_max of them, a power of two */
};

void engine_cache_init(struct engine_cache *c, uint32_t blocks, uint32_t idle_max);
void engine_cache_fini(struct engine_cache *c);

/* Take n private blocks; idle ones give way. False: no room, nothing was taken. */
bool engine_cache_take(struct engine_cache *c, uint32_t n);
void engine_cache_give(struct engine_cache *c, uint32_t n);

/* How many of hashes[0..count) are cached, from the first on. */
uint32_t engine_cache_match(const struct engine_cache *c, const uint64_t *hashes, uint32_t count);
/* Hold the cached block with this hash: its entry, or ENGINE_CACHE_NONE (not there, or no room). */
uint32_t engine_cache_hold(struct engine_cache *c, uint64_t hash);
/* Turn a private block, now computed, into a cached one that is held; if it is cached already the
 * private one is given back. ENGINE_CACHE_NONE: out of memory, it stays private. */
uint32_t engine_cache_keep(struct engine_cache *c, uint64_t hash);
void engine_cache_release(struct engine_cache *c, uint32_t entry);
#endif

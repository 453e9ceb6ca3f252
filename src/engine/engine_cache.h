#ifndef ENGINE_ENGINE_CACHE_H
#define ENGINE_ENGINE_CACHE_H
/* engine_cache - the KV blocks of one model: those that running sequences hold, and whole pieces of
 * prompts that stay behind for the next prompt with the same beginning. Private to engine.
 *
 * KV blocks are counted; pieces ("entries") have names: the chain hash of everything up to their
 * end. An entry is `weight` KV blocks of the GPU's memory, held by any number of sequences, or idle
 * when nobody holds it. Idle entries give way, least recently used first: to the host's memory if
 * there is room for any, else they are forgotten; so are the host's own, least recently moved
 * first. A sequence holds a prefix of its chain and releases it from the end, so the oldest idle
 * entry is always a leaf: what is cached of a chain is a prefix of it, first on the GPU, then in
 * the host. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ENGINE_CACHE_NONE UINT32_MAX

enum engine_cache_tier { ENGINE_CACHE_GPU, ENGINE_CACHE_HOST, ENGINE_CACHE_FREE };

struct engine_cache_entry {
    uint64_t hash;
    uint32_t holders;      /* sequences */
    uint32_t next;         /* in the bucket, or in the free list */
    uint32_t older, newer; /* among the idle of its tier */
    uint32_t follower;     /* what came behind it last time: a guess, saves a look-up */
    enum engine_cache_tier tier;
};

struct engine_cache_idle { /* in order of use */
    uint32_t oldest, newest, count;
};

struct engine_cache {
    uint32_t blocks;   /* in all */
    uint32_t used;     /* private, or of entries that are held */
    uint32_t weight;   /* blocks of an entry */
    uint32_t gpu_max;  /* idle entries beside the blocks; ENGINE_CACHE_NONE: in what those in use
                          leave free */
    uint32_t host_max; /* entries */
    struct engine_cache_idle idle[2]; /* by tier */
    struct engine_cache_entry *entries;
    uint32_t entry_count, entries_max; /* touched; allocated */
    uint32_t free_entry;
    uint32_t *buckets; /* a power of two, a few for each of entries_max */
};

void engine_cache_init(struct engine_cache *c, uint32_t blocks, uint32_t weight, uint32_t gpu_max,
                       uint32_t host_max);
/* Forget every entry. */
void engine_cache_fini(struct engine_cache *c);

/* Take n private blocks; idle entries give way. False: no room, nothing was taken. */
bool engine_cache_take(struct engine_cache *c, uint32_t n);
void engine_cache_give(struct engine_cache *c, uint32_t n);
/* Blocks that engine_cache_take can give without any entry giving way. */
uint32_t engine_cache_free(const struct engine_cache *c);

/* How many of hashes[0..count) are cached, from the first on; *ret_held of them are held by
 * somebody, the first ones. */
uint32_t engine_cache_match(const struct engine_cache *c, const uint64_t *hashes, uint32_t count,
                            uint32_t *ret_held);
/* Hold the entry with this hash, moved from the host if it was there (then *ret_moved is set, else
 * untouched): the entry, or ENGINE_CACHE_NONE (not there, or no room). before: the entry before it
 * in the chain, or ENGINE_CACHE_NONE. */
uint32_t engine_cache_hold(struct engine_cache *c, uint32_t before, uint64_t hash, bool *ret_moved);
/* Turn private blocks, now computed, into an entry that is held; if there is one already the
 * private blocks are given back. ENGINE_CACHE_NONE: out of memory, they stay private. */
uint32_t engine_cache_keep(struct engine_cache *c, uint32_t before, uint64_t hash);
/* Hold it no more; returns its hash. */
uint64_t engine_cache_release(struct engine_cache *c, uint32_t entry);
#endif

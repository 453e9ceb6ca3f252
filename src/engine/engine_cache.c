/* engine_cache - KV blocks and the prefix cache; see engine_cache.h.
 * Entries live in one array that doubles; buckets, idle lists and free list link by index, so that
 * growing moves nothing but memory. Invariants: used + weight * idle on the GPU <= blocks (or that
 * idle count <= gpu_max where idle entries live apart); an entry is in an idle list exactly when
 * holders is 0; what is in the host is never held. */
#include "engine/engine_cache.h"

#include <stdlib.h>

#include "base/must.h"

#define ENTRIES_START     256u /* a power of two */
#define BUCKETS_PER_ENTRY 4u   /* what is not there is mostly seen by an empty bucket */

void
engine_cache_init(struct engine_cache *c, uint32_t blocks, uint32_t weight, uint32_t gpu_max,
                  uint32_t host_max)
{
    const struct engine_cache_idle none = {.oldest = ENGINE_CACHE_NONE,
                                           .newest = ENGINE_CACHE_NONE};

    *c = (struct engine_cache){
        .blocks = blocks,
        .weight = weight,
        .gpu_max = gpu_max,
        .host_max = host_max,
        .idle = {none, none},
        .free_entry = ENGINE_CACHE_NONE,
    };
}

void
engine_cache_fini(struct engine_cache *c)
{
    free(c->entries);
    free(c->buckets);
    engine_cache_init(c, c->blocks, c->weight, c->gpu_max, c->host_max);
}

static uint32_t *
bucket_of(const struct engine_cache *c, uint64_t hash)
{
    return &c->buckets[(hash ^ (hash >> 32)) & (c->entries_max * BUCKETS_PER_ENTRY - 1)];
}

/* Entries of one chain are mostly where the last prompt found them: behind each other. */
static uint32_t
find(const struct engine_cache *c, uint32_t before, uint64_t hash)
{
    uint32_t at = ENGINE_CACHE_NONE;

    if (before != ENGINE_CACHE_NONE && (at = c->entries[before].follower) != ENGINE_CACHE_NONE &&
        c->entries[at].hash == hash && c->entries[at].tier != ENGINE_CACHE_FREE)
        return at;
    at = ENGINE_CACHE_NONE;
    if (c->entries_max > 0)
        for (at = *bucket_of(c, hash); at != ENGINE_CACHE_NONE; at = c->entries[at].next)
            if (c->entries[at].hash == hash)
                break;
    return at;
}

/* Room for twice as many entries. False: no memory, nothing changed. */
static bool
grow(struct engine_cache *c)
{
    uint32_t max = c->entries_max == 0 ? ENTRIES_START : c->entries_max * 2;
    struct engine_cache_entry *entries;
    uint32_t *buckets = malloc(max * BUCKETS_PER_ENTRY * sizeof(*buckets));

    if (buckets == NULL)
        return false;
    entries = realloc(c->entries, max * sizeof(*entries));
    if (entries == NULL) {
        free(buckets);
        return false;
    }
    free(c->buckets);
    c->entries = entries;
    c->buckets = buckets;
    c->entries_max = max;
    for (uint32_t i = 0; i < max * BUCKETS_PER_ENTRY; i++)
        buckets[i] = ENGINE_CACHE_NONE;
    for (uint32_t i = 0; i < c->entry_count; i++) { /* called when none is free: all are in use */
        uint32_t *bucket = bucket_of(c, entries[i].hash);

        entries[i].next = *bucket;
        *bucket = i;
    }
    return true;
}

static void
idle_remove(struct engine_cache *c, uint32_t at)
{
    struct engine_cache_entry *e = &c->entries[at];
    struct engine_cache_idle *idle = &c->idle[e->tier];

    if (e->older != ENGINE_CACHE_NONE)
        c->entries[e->older].newer = e->newer;
    else
        idle->oldest = e->newer;
    if (e->newer != ENGINE_CACHE_NONE)
        c->entries[e->newer].older = e->older;
    else
        idle->newest = e->older;
    idle->count--;
}

static void
idle_append(struct engine_cache *c, uint32_t at, enum engine_cache_tier tier)
{
    struct engine_cache_entry *e = &c->entries[at];
    struct engine_cache_idle *idle = &c->idle[tier];

    e->tier = tier;
    e->older = idle->newest;
    e->newer = ENGINE_CACHE_NONE;
    if (idle->newest != ENGINE_CACHE_NONE)
        c->entries[idle->newest].newer = at;
    else
        idle->oldest = at;
    idle->newest = at;
    idle->count++;
}

static void
forget(struct engine_cache *c, uint32_t at)
{
    uint32_t *link = bucket_of(c, c->entries[at].hash);

    while (*link != at)
        link = &c->entries[*link].next;
    *link = c->entries[at].next;
    c->entries[at].tier = ENGINE_CACHE_FREE;
    c->entries[at].next = c->free_entry;
    c->free_entry = at;
}

/* The oldest idle entry leaves the GPU. */
static void
evict_oldest(struct engine_cache *c)
{
    uint32_t at = c->idle[ENGINE_CACHE_GPU].oldest;

    idle_remove(c, at);
    if (c->host_max == 0) {
        forget(c, at);
        return;
    }
    if (c->idle[ENGINE_CACHE_HOST].count == c->host_max) {
        uint32_t last = c->idle[ENGINE_CACHE_HOST].oldest;

        idle_remove(c, last);
        forget(c, last);
    }
    idle_append(c, at, ENGINE_CACHE_HOST);
}

/* Blocks that no private block, held or idle entry occupies. */
uint32_t
engine_cache_free(const struct engine_cache *c)
{
    uint32_t idle = c->gpu_max == ENGINE_CACHE_NONE ? c->idle[ENGINE_CACHE_GPU].count : 0;

    return c->blocks - c->used - idle * c->weight;
}

bool
engine_cache_take(struct engine_cache *c, uint32_t n)
{
    if (n > c->blocks - c->used)
        return false;
    while (n > engine_cache_free(c))
        evict_oldest(c);
    c->used += n;
    return true;
}

void
engine_cache_give(struct engine_cache *c, uint32_t n)
{
    must(n <= c->used);
    c->used -= n;
}

uint32_t
engine_cache_match(const struct engine_cache *c, const uint64_t *hashes, uint32_t count,
                   uint32_t *ret_held)
{
    uint32_t n = 0, held = 0, at = ENGINE_CACHE_NONE;

    while (n < count && (at = find(c, at, hashes[n])) != ENGINE_CACHE_NONE) {
        held += c->entries[at].holders > 0 ? 1 : 0;
        n++;
    }
    *ret_held = held;
    return n;
}

/* Hold the entry `at`, which exists. False: no room for it. */
static bool
hold(struct engine_cache *c, uint32_t at, bool *ret_moved)
{
    if (c->entries[at].holders == 0) {
        bool moved = c->entries[at].tier == ENGINE_CACHE_HOST;

        if (c->blocks - c->used < c->weight)
            return false;
        idle_remove(c, at);
        c->entries[at].tier = ENGINE_CACHE_GPU;
        if (moved) {
            (void)engine_cache_take(c, c->weight); /* there is room: see above */
            *ret_moved = true;
        } else {
            c->used += c->weight;
        }
    }
    c->entries[at].holders++;
    return true;
}

uint32_t
engine_cache_hold(struct engine_cache *c, uint32_t before, uint64_t hash, bool *ret_moved)
{
    uint32_t at = find(c, before, hash);

    if (at == ENGINE_CACHE_NONE || !hold(c, at, ret_moved))
        return ENGINE_CACHE_NONE;
    if (before != ENGINE_CACHE_NONE)
        c->entries[before].follower = at;
    return at;
}

uint32_t
engine_cache_keep(struct engine_cache *c, uint32_t before, uint64_t hash)
{
    uint32_t at = find(c, before, hash), *bucket;
    bool moved = false; /* from the host: computed again meanwhile, nothing is transferred */

    if (at != ENGINE_CACHE_NONE) {
        engine_cache_give(c, c->weight);
        must(hold(c, at, &moved)); /* into what was just given */
    } else {
        if (c->free_entry != ENGINE_CACHE_NONE) {
            at = c->free_entry;
            c->free_entry = c->entries[at].next;
        } else {
            if (c->entry_count == c->entries_max && !grow(c))
                return ENGINE_CACHE_NONE;
            at = c->entry_count++;
        }
        bucket = bucket_of(c, hash);
        c->entries[at] = (struct engine_cache_entry){
            .hash = hash, .holders = 1, .next = *bucket, .follower = ENGINE_CACHE_NONE};
        *bucket = at;
    }
    if (before != ENGINE_CACHE_NONE)
        c->entries[before].follower = at;
    return at;
}

uint64_t
engine_cache_release(struct engine_cache *c, uint32_t entry)
{
    must(entry < c->entry_count && c->entries[entry].holders > 0);
    if (--c->entries[entry].holders == 0) {
        c->used -= c->weight;
        idle_append(c, entry, ENGINE_CACHE_GPU);
        if (c->gpu_max != ENGINE_CACHE_NONE && c->idle[ENGINE_CACHE_GPU].count > c->gpu_max)
            evict_oldest(c);
    }
    return c->entries[entry].hash;
}

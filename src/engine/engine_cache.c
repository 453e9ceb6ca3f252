/* engine_cache - KV blocks and the prefix cache; see engine_cache.h.
 * Entries live in one array that doubles; buckets, idle list and free list link by index, so that
 * growing moves nothing but memory. Invariants: used + idle <= blocks (or idle <= idle_max where
 * idle blocks live apart); an entry is idle exactly when holders is 0. */
#include "engine/engine_cache.h"

#include <stdlib.h>

#include "base/must.h"

#define ENTRIES_START 256u /* a power of two */

void
engine_cache_init(struct engine_cache *c, uint32_t blocks, uint32_t idle_max)
{
    *c = (struct engine_cache){
        .blocks = blocks,
        .idle_max = idle_max,
        .free_entry = ENGINE_CACHE_NONE,
        .oldest = ENGINE_CACHE_NONE,
        .newest = ENGINE_CACHE_NONE,
    };
}

void
engine_cache_fini(struct engine_cache *c)
{
    free(c->entries);
    free(c->buckets);
    engine_cache_init(c, c->blocks, c->idle_max);
}

static uint32_t *
bucket_of(const struct engine_cache *c, uint64_t hash)
{
    return &c->buckets[(hash ^ (hash >> 32)) & (c->entries_max - 1)];
}

static uint32_t
find(const struct engine_cache *c, uint64_t hash)
{
    uint32_t at = ENGINE_CACHE_NONE;

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
    uint32_t *buckets = malloc(max * sizeof(*buckets));

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
    for (uint32_t i = 0; i < max; i++)
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

    if (e->older != ENGINE_CACHE_NONE)
        c->entries[e->older].newer = e->newer;
    else
        c->oldest = e->newer;
    if (e->newer != ENGINE_CACHE_NONE)
        c->entries[e->newer].older = e->older;
    else
        c->newest = e->older;
    c->idle--;
}

static void
idle_append(struct engine_cache *c, uint32_t at)
{
    struct engine_cache_entry *e = &c->entries[at];

    e->older = c->newest;
    e->newer = ENGINE_CACHE_NONE;
    if (c->newest != ENGINE_CACHE_NONE)
        c->entries[c->newest].newer = at;
    else
        c->oldest = at;
    c->newest = at;
    c->idle++;
}

static void
evict_oldest(struct engine_cache *c)
{
    uint32_t at = c->oldest;
    uint32_t *link = bucket_of(c, c->entries[at].hash);

    while (*link != at)
        link = &c->entries[*link].next;
    *link = c->entries[at].next;
    idle_remove(c, at);
    c->entries[at].next = c->free_entry;
    c->free_entry = at;
}

bool
engine_cache_take(struct engine_cache *c, uint32_t n)
{
    if (n > c->blocks - c->used)
        return false;
    if (c->idle_max == 0)
        while (c->idle > c->blocks - c->used - n)
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
engine_cache_match(const struct engine_cache *c, const uint64_t *hashes, uint32_t count)
{
    uint32_t n = 0;

    while (n < count && find(c, hashes[n]) != ENGINE_CACHE_NONE)
        n++;
    return n;
}

uint32_t
engine_cache_hold(struct engine_cache *c, uint64_t hash)
{
    uint32_t at = find(c, hash);

    if (at == ENGINE_CACHE_NONE)
        return ENGINE_CACHE_NONE;
    if (c->entries[at].holders == 0) {
        if (c->used == c->blocks) /* only where idle blocks live apart */
            return ENGINE_CACHE_NONE;
        idle_remove(c, at);
        c->used++;
    }
    c->entries[at].holders++;
    return at;
}

uint32_t
engine_cache_keep(struct engine_cache *c, uint64_t hash)
{
    uint32_t at, *bucket;

    engine_cache_give(c, 1); /* the private block, which becomes the cached one or is not needed */
    at = engine_cache_hold(c, hash);
    if (at != ENGINE_CACHE_NONE)
        return at;
    c->used++;
    if (c->free_entry != ENGINE_CACHE_NONE) {
        at = c->free_entry;
        c->free_entry = c->entries[at].next;
    } else {
        if (c->entry_count == c->entries_max && !grow(c))
            return ENGINE_CACHE_NONE;
        at = c->entry_count++;
    }
    bucket = bucket_of(c, hash);
    c->entries[at] = (struct engine_cache_entry){.hash = hash, .holders = 1, .next = *bucket};
    *bucket = at;
    return at;
}

void
engine_cache_release(struct engine_cache *c, uint32_t entry)
{
    must(entry < c->entry_count && c->entries[entry].holders > 0);
    if (--c->entries[entry].holders > 0)
        return;
    c->used--;
    idle_append(c, entry);
    if (c->idle_max > 0 && c->idle > c->idle_max)
        evict_oldest(c);
}

/* engine_pool - memory and ids of sequences; see engine_pool.h. Sequences come in chunks that stay
 * where they are until the end, so pointers hold; the table of ids grows with them. */
#include "engine/engine_pool.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SEQUENCES 64u
#define PIECES_START    16u

struct engine_chunk {
    struct engine_chunk *next;
    struct engine_sequence sequences[CHUNK_SEQUENCES];
};

void
engine_pool_init(struct engine_pool *p)
{
    *p = (struct engine_pool){.chunks = NULL};
    TAILQ_INIT(&p->unused);
}

void
engine_pool_fini(struct engine_pool *p)
{
    struct engine_chunk *chunk;

    while ((chunk = p->chunks) != NULL) {
        p->chunks = chunk->next;
        for (uint32_t i = 0; i < CHUNK_SEQUENCES; i++)
            free(chunk->sequences[i].pieces);
        free(chunk);
    }
    free(p->buckets);
    engine_pool_init(p);
}

static struct engine_bucket *
bucket_of(struct engine_bucket *buckets, uint32_t chunk_count, uint64_t id)
{
    uint32_t hash = (uint32_t)((id * 0x9e3779b97f4a7c15u) >> 32);

    return &buckets[((uint64_t)hash * chunk_count * CHUNK_SEQUENCES) >> 32];
}

/* One more chunk, and a table of ids for that many. */
static bool
grow(struct engine_pool *p)
{
    uint32_t count = p->chunk_count + 1;
    struct engine_bucket *buckets = calloc(count * CHUNK_SEQUENCES, sizeof(*buckets));
    struct engine_chunk *chunk = calloc(1, sizeof(*chunk));

    if (buckets == NULL || chunk == NULL) {
        free(buckets);
        free(chunk);
        return false;
    }
    for (uint32_t i = 0; i < p->chunk_count * CHUNK_SEQUENCES; i++) {
        struct engine_sequence *s;

        while ((s = LIST_FIRST(&p->buckets[i])) != NULL) {
            LIST_REMOVE(s, id_link);
            LIST_INSERT_HEAD(bucket_of(buckets, count, s->id), s, id_link);
        }
    }
    free(p->buckets);
    p->buckets = buckets;
    p->chunk_count = count;
    chunk->next = p->chunks;
    p->chunks = chunk;
    for (uint32_t i = 0; i < CHUNK_SEQUENCES; i++)
        TAILQ_INSERT_TAIL(&p->unused, &chunk->sequences[i], link);
    return true;
}

struct engine_sequence *
engine_pool_get(struct engine_pool *p, uint64_t id, const uint64_t *pieces, uint32_t piece_count)
{
    struct engine_sequence *s = TAILQ_FIRST(&p->unused);
    uint64_t *room;
    uint32_t max;

    if (s == NULL) {
        if (!grow(p))
            return NULL;
        s = TAILQ_FIRST(&p->unused);
    }
    max = s->pieces_max;
    room = s->pieces;
    if (piece_count > max) {
        for (max = PIECES_START; max < piece_count;)
            max *= 2;
        free(room); /* nothing in it is wanted any more */
        s->pieces = NULL;
        s->pieces_max = 0;
        room = malloc(max * sizeof(*room));
        if (room == NULL)
            return NULL;
    }
    TAILQ_REMOVE(&p->unused, s, link);
    *s = (struct engine_sequence){
        .id = id, .pieces = room, .pieces_max = max, .piece_count = piece_count};
    if (piece_count > 0)
        memcpy(room, pieces, piece_count * sizeof(*room));
    LIST_INSERT_HEAD(bucket_of(p->buckets, p->chunk_count, id), s, id_link);
    return s;
}

void
engine_pool_put(struct engine_pool *p, struct engine_sequence *s)
{
    LIST_REMOVE(s, id_link);
    TAILQ_INSERT_HEAD(&p->unused, s, link); /* the warmest is used first */
}

struct engine_sequence *
engine_pool_find(const struct engine_pool *p, uint64_t id)
{
    struct engine_sequence *s;

    if (p->chunk_count > 0)
        LIST_FOREACH (s, bucket_of(p->buckets, p->chunk_count, id), id_link)
            if (s->id == id)
                return s;
    return NULL;
}

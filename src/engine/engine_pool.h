#ifndef ENGINE_ENGINE_POOL_H
#define ENGINE_ENGINE_POOL_H
/* engine_pool - the sequences of an engine: their memory, used again and again, so that a steady
 * load allocates nothing; and where a request's id is. Private to engine. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "engine/engine.h"

enum engine_sequence_state {
    SEQUENCE_WAITING,
    SEQUENCE_PREFILLING, /* running, with more than its last token to compute */
    SEQUENCE_DECODING,   /* running, a token an iteration */
    SEQUENCE_ENDED
};

/* While it decodes, `generated` lags: the batch counts for all at once, see engine_batch.h. */
struct engine_sequence {
    TAILQ_ENTRY(engine_sequence) link; /* running, waiting, ended or free */
    LIST_ENTRY(engine_sequence) id_link;
    uint64_t id;
    uint64_t order; /* of admission: lower is elder */
    double arrived_ms;
    double admitted_ms; /* the first time; NAN: not yet */
    uint32_t prompt_tokens, output_tokens;
    uint32_t generated;     /* tokens given out; while decoding: less the batch's decodes */
    uint32_t computed;      /* of prompt + generated: in the KV now; while decoding unused */
    uint32_t scheduled;     /* computed by the iteration under way; while decoding unused */
    uint32_t left;          /* its part of the batch's queue_tokens */
    uint32_t cached_tokens; /* found in the cache when it was first admitted */
    uint32_t preemptions;
    uint32_t held_count;              /* leading pieces of the prompt held in the cache */
    uint32_t piece_count, pieces_max; /* of the prompt; room for */
    uint8_t model, state;             /* enum engine_sequence_state */
    uint64_t *pieces;                 /* held ones: the cache's entry; the others: the chain hash */
};
TAILQ_HEAD(engine_sequences, engine_sequence);
LIST_HEAD(engine_bucket, engine_sequence);
struct engine_chunk;

struct engine_pool {
    struct engine_sequences unused;
    struct engine_bucket *buckets; /* by id; as many as sequences */
    struct engine_chunk *chunks;
    uint32_t chunk_count;
};

void engine_pool_init(struct engine_pool *p);
void engine_pool_fini(struct engine_pool *p);
/* A sequence with this id and `piece_count` pieces, copied; the rest is zero. NULL: no memory. */
struct engine_sequence *engine_pool_get(struct engine_pool *p, uint64_t id, const uint64_t *pieces,
                                        uint32_t piece_count);
/* It must be in no list. */
void engine_pool_put(struct engine_pool *p, struct engine_sequence *s);
struct engine_sequence *engine_pool_find(const struct engine_pool *p, uint64_t id);
#endif

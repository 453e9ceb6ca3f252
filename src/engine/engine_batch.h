#ifndef ENGINE_ENGINE_BATCH_H
#define ENGINE_ENGINE_BATCH_H
/* engine_batch - one model in an engine: its sequences, running and waiting, and what one iteration
 * does with them. Private to engine, which has the time, the noise and the models' states. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "engine/engine.h"
#include "engine/engine_cache.h"

enum engine_sequence_state { SEQUENCE_WAITING, SEQUENCE_RUNNING, SEQUENCE_ENDED };

struct engine_sequence {
    TAILQ_ENTRY(engine_sequence) link; /* running, waiting or ended */
    LIST_ENTRY(engine_sequence) id_link;
    uint64_t id;
    double arrived_ms, admitted_ms; /* admitted: the first time, once `admitted` */
    enum engine_sequence_state state;
    uint32_t model;
    uint32_t prompt_tokens, output_tokens;
    uint32_t generated;     /* tokens given out */
    uint32_t computed;      /* of prompt + generated: in the KV now */
    uint32_t scheduled;     /* computed by the iteration under way */
    uint32_t left;          /* its part of the batch's queue_tokens */
    uint32_t cached_tokens; /* found in the cache when it was first admitted */
    uint32_t preemptions;
    bool admitted; /* once, at least */
    uint32_t private_blocks;
    uint32_t held_count; /* leading prompt blocks held in the cache */
    uint32_t block_count;
    uint64_t *blocks; /* behind the struct */
    uint32_t *held;   /* entries, behind blocks */
};
TAILQ_HEAD(engine_sequences, engine_sequence);

struct engine_batch {
    struct engine_speed speed;
    enum engine_model_state state;
    double load_end_ms;  /* LOADING */
    double last_used_ms; /* which idle model gives way */
    struct engine_cache cache;
    struct engine_sequences running, waiting; /* running: eldest first */
    uint32_t running_count, waiting_count;
    uint64_t queue_tokens;
    uint64_t prompt_tokens_total, cached_tokens_total, output_tokens_total;
    uint64_t requests_total, preemptions_total;
};

void engine_batch_init(struct engine_batch *b, const struct engine_speed *speed,
                       enum engine_model_state state, double cache_tokens);
/* A new sequence, waiting; owned by the batch. NULL: no memory. */
struct engine_sequence *engine_batch_add(struct engine_batch *b, double now_ms,
                                         const struct engine_request *request);
/* Take it out of running or waiting; its blocks are free. The sequence is the caller's now. */
void engine_batch_remove(struct engine_batch *b, struct engine_sequence *s);
/* Does prompt + output fit into the whole KV? */
bool engine_batch_fits(const struct engine_batch *b, const struct engine_request *request);
/* Something to do at now_ms? */
bool engine_batch_runnable(const struct engine_batch *b, double now_ms);
/* Prefill tokens that nobody computes yet: those of the iteration under way are not among them. */
double engine_batch_queue_tokens(const struct engine_batch *b);
/* Choose what the iteration that starts at start_ms computes. Returns its length in modelled ms. */
double engine_batch_schedule(struct engine_batch *b, const struct engine_params *params,
                             double start_ms);
/* The iteration is over: s moves on. True: it gave a token (index generated - 1); *ret_ended: its
 * last. Call it for each running sequence, eldest first. */
bool engine_batch_advance(struct engine_batch *b, struct engine_sequence *s, bool *ret_ended);
#endif

/* engine - iterations, models and outputs over time; see engine.h.
 *
 * One GPU: one iteration at a time; when several models are ready their batches take turns. An
 * iteration is chosen when it begins and takes effect when it ends, so results do not depend on how
 * late or in what portions the driver calls: a request takes part in the first iteration that
 * begins at or after its arrival. Events are ends of iterations and of loads, handled in order of
 * time.
 *
 * A model goes ON_DISK -> LOADING -> READY; one loads at a time. When models_max are ready the one
 * that has been idle longest goes back to ON_DISK; when all are busy the load waits. */
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/must.h"
#include "engine/engine_batch.h"

#define ID_BUCKETS        1024u
#define OUTPUTS_MAX       (2 * ENGINE_SEQUENCES_MAX + 1) /* of one event */
#define KV_TOKENS_MAX     1e9
#define PROMPT_TOKENS_MAX 1000000000u

LIST_HEAD(id_bucket, engine_sequence);

struct engine {
    struct engine_params params;
    struct rng rng;
    struct engine_batch batches[ENGINE_MODELS_HELD_MAX];
    uint32_t turn;           /* whose batch is looked at first */
    uint32_t active;         /* the batch of the iteration under way */
    double iteration_end_ms; /* INFINITY: none is under way */
    double next_pause_ms;    /* INFINITY: no pauses */
    double slow;
    struct id_bucket ids[ID_BUCKETS];
    struct engine_sequences ended;             /* their outputs may still be asked about */
    struct engine_output outputs[OUTPUTS_MAX]; /* made, not yet taken */
    uint32_t output_at, output_count;
};

static bool
in_range(double value, double min, double max)
{
    return value >= min && value <= max; /* false for NaN */
}

enum err
engine_open(const struct engine_params *params, uint64_t seed, struct engine **ret_engine)
{
    struct engine *e;

    if (!in_range(params->step_noise, 0, 2) || !in_range(params->hidden_speed, 1e-3, 1e3) ||
        !in_range(params->cache_tokens, 0, KV_TOKENS_MAX) ||
        !in_range(params->pause_mean_interval_ms, 0, 1e12) ||
        (params->pause_mean_interval_ms > 0 && params->pause_mean_interval_ms < 1) ||
        !in_range(params->pause_mean_ms, 0, 1e9) || !in_range(params->start_ms, 0, 1e9) ||
        !in_range(params->disk_bytes_per_ms, 1, 1e12) || params->slots < 1 ||
        params->slots > ENGINE_SEQUENCES_MAX || params->prefill_budget < params->slots ||
        params->models_max < 1)
        return ERR_ARG;
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return ERR_MEMORY;
    e->params = *params;
    rng_init(&e->rng, seed);
    e->slow = 1.0;
    e->iteration_end_ms = INFINITY;
    e->next_pause_ms = INFINITY;
    if (params->pause_mean_interval_ms > 0)
        e->next_pause_ms = params->pause_mean_interval_ms * rng_exponential(&e->rng);
    TAILQ_INIT(&e->ended);
    *ret_engine = e;
    return ERR_OK;
}

static void
free_sequence(struct engine_sequence *s)
{
    LIST_REMOVE(s, id_link);
    free(s);
}

static void
free_ended(struct engine *e)
{
    struct engine_sequence *s;

    while ((s = TAILQ_FIRST(&e->ended)) != NULL) {
        TAILQ_REMOVE(&e->ended, s, link);
        free_sequence(s);
    }
}

void
engine_close(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (uint32_t i = 0; i < ENGINE_MODELS_HELD_MAX; i++) {
        struct engine_batch *b = &engine->batches[i];
        struct engine_sequence *s;

        if (b->state == ENGINE_MODEL_ABSENT)
            continue;
        while ((s = TAILQ_FIRST(&b->running)) != NULL || (s = TAILQ_FIRST(&b->waiting)) != NULL) {
            engine_batch_remove(b, s);
            free_sequence(s);
        }
        engine_cache_fini(&b->cache);
    }
    free_ended(engine);
    free(engine);
}

/* ---- Models. */

enum err
engine_model(struct engine *engine, uint32_t model, const struct engine_speed *speed,
             enum engine_model_state state, double load_left_ms)
{
    struct engine_batch *b;

    if (model >= ENGINE_MODELS_HELD_MAX || state == ENGINE_MODEL_ABSENT ||
        !in_range(speed->a_ms, 0, 1e6) || !in_range(speed->b_ms, 0, 1e6) ||
        !in_range(speed->c_ms, 0, 1e6) || !in_range(speed->t0_ms, 1e-3, 1e6) ||
        !in_range(speed->tk_ms, 0, 1e6) || !in_range(speed->tb_ms, 0, 1e6) ||
        !in_range(speed->kv_tokens_cap, ENGINE_BLOCK_TOKENS, KV_TOKENS_MAX) ||
        !in_range(speed->weights_bytes, 0, 1e15) || !in_range(load_left_ms, 0, 1e12))
        return ERR_ARG;
    b = &engine->batches[model];
    if (b->state != ENGINE_MODEL_ABSENT)
        return ERR_EXISTS;
    engine_batch_init(b, speed, state, engine->params.cache_tokens);
    b->load_end_ms = load_left_ms;
    return ERR_OK;
}

enum engine_model_state
engine_model_state(const struct engine *engine, uint32_t model)
{
    return model < ENGINE_MODELS_HELD_MAX ? engine->batches[model].state : ENGINE_MODEL_ABSENT;
}

static double
load_ms(const struct engine *e, const struct engine_batch *b)
{
    return (b->speed.weights_bytes / e->params.disk_bytes_per_ms + e->params.start_ms) * e->slow;
}

static bool
idle(const struct engine_batch *b)
{
    return b->running_count == 0 && b->waiting_count == 0;
}

/* Start the load that was asked for first, if the disk is free and there is room for the model. */
static void
start_load(struct engine *e, double now_ms)
{
    struct engine_batch *wanted = NULL, *oldest = NULL;
    uint32_t held = 0;

    for (uint32_t i = 0; i < ENGINE_MODELS_HELD_MAX; i++) {
        struct engine_batch *b = &e->batches[i];

        if (b->state == ENGINE_MODEL_LOADING)
            return;
        if (b->state == ENGINE_MODEL_READY) {
            held++;
            if (idle(b) && (oldest == NULL || b->last_used_ms < oldest->last_used_ms))
                oldest = b;
        }
        if (b->state == ENGINE_MODEL_ON_DISK && b->waiting_count > 0 &&
            (wanted == NULL ||
             TAILQ_FIRST(&b->waiting)->arrived_ms < TAILQ_FIRST(&wanted->waiting)->arrived_ms))
            wanted = b;
    }
    if (wanted == NULL)
        return;
    if (held >= e->params.models_max) {
        if (oldest == NULL)
            return;
        oldest->state = ENGINE_MODEL_ON_DISK;
        engine_cache_fini(&oldest->cache);
    }
    wanted->state = ENGINE_MODEL_LOADING;
    wanted->load_end_ms = now_ms + load_ms(e, wanted);
}

static double
load_left_ms(const struct engine *e, const struct engine_batch *b, double now_ms)
{
    if (b->state == ENGINE_MODEL_LOADING)
        return b->load_end_ms > now_ms ? b->load_end_ms - now_ms : 0;
    return b->state == ENGINE_MODEL_ON_DISK ? load_ms(e, b) : 0;
}

/* ---- Iterations. */

/* Pauses that began before start_ms: where the last of them ends, if later. */
static double
after_pauses(struct engine *e, double start_ms)
{
    while (e->next_pause_ms < start_ms) {
        double end_ms = e->next_pause_ms + e->params.pause_mean_ms * rng_exponential(&e->rng);

        e->next_pause_ms = end_ms + e->params.pause_mean_interval_ms * rng_exponential(&e->rng);
        if (end_ms > start_ms)
            start_ms = end_ms;
    }
    return start_ms;
}

/* Begin an iteration at now_ms, or when the next request has arrived; none if nothing is to do. */
static void
begin(struct engine *e, double now_ms)
{
    double start_ms = INFINITY, ms;

    for (uint32_t i = 0; i < ENGINE_MODELS_HELD_MAX; i++) {
        const struct engine_batch *b = &e->batches[i];
        const struct engine_sequence *head;

        if (b->state != ENGINE_MODEL_READY)
            continue;
        head = TAILQ_FIRST(&b->waiting);
        if (b->running_count > 0)
            start_ms = now_ms;
        else if (head != NULL && head->arrived_ms < start_ms)
            start_ms = head->arrived_ms > now_ms ? head->arrived_ms : now_ms;
    }
    e->iteration_end_ms = INFINITY;
    if (start_ms == INFINITY)
        return;
    start_ms = after_pauses(e, start_ms);
    do
        e->active = e->turn++ % ENGINE_MODELS_HELD_MAX;
    while (!engine_batch_runnable(&e->batches[e->active], start_ms));
    ms = engine_batch_schedule(&e->batches[e->active], &e->params, start_ms);
    if (e->params.step_noise > 0)
        ms *= fmath_exp(e->params.step_noise * rng_normal(&e->rng));
    ms *= e->slow / e->params.hidden_speed;
    e->iteration_end_ms = start_ms + ms;
    while (e->next_pause_ms < e->iteration_end_ms) {
        double pause_ms = e->params.pause_mean_ms * rng_exponential(&e->rng);

        e->iteration_end_ms += pause_ms;
        e->next_pause_ms += pause_ms + e->params.pause_mean_interval_ms * rng_exponential(&e->rng);
    }
}

static void
put(struct engine *e, enum engine_output_kind kind, uint64_t id, uint32_t index, double at_ms)
{
    must(e->output_count < OUTPUTS_MAX);
    e->outputs[e->output_count++] = (struct engine_output){
        .kind = kind, .id = id, .index = index, .at_ms = at_ms};
}

static void
end_iteration(struct engine *e, double at_ms)
{
    struct engine_batch *b = &e->batches[e->active];
    struct engine_sequence *s, *next;

    TAILQ_FOREACH_SAFE (s, &b->running, link, next) {
        bool ended;

        if (!engine_batch_advance(b, s, &ended))
            continue;
        put(e, ENGINE_OUTPUT_TOKEN, s->id, s->generated - 1, at_ms);
        if (!ended)
            continue;
        put(e, ENGINE_OUTPUT_END, s->id, 0, at_ms);
        engine_batch_remove(b, s);
        TAILQ_INSERT_TAIL(&e->ended, s, link);
    }
    b->last_used_ms = at_ms;
    start_load(e, at_ms);
    begin(e, at_ms);
}

/* The model whose load ends next; ENGINE_MODELS_HELD_MAX when none is under way. */
static uint32_t
next_load(const struct engine *e)
{
    uint32_t next = ENGINE_MODELS_HELD_MAX;

    for (uint32_t i = 0; i < ENGINE_MODELS_HELD_MAX; i++)
        if (e->batches[i].state == ENGINE_MODEL_LOADING &&
            (next == ENGINE_MODELS_HELD_MAX ||
             e->batches[i].load_end_ms < e->batches[next].load_end_ms))
            next = i;
    return next;
}

static double
next_load_ms(const struct engine *e)
{
    uint32_t next = next_load(e);

    return next < ENGINE_MODELS_HELD_MAX ? e->batches[next].load_end_ms : INFINITY;
}

static void
end_load(struct engine *e)
{
    uint32_t model = next_load(e);
    struct engine_batch *b = &e->batches[model];
    double at_ms = b->load_end_ms;

    b->state = ENGINE_MODEL_READY;
    b->last_used_ms = at_ms;
    put(e, ENGINE_OUTPUT_LOADED, model, 0, at_ms);
    start_load(e, at_ms);
    if (e->iteration_end_ms == INFINITY)
        begin(e, at_ms);
}

double
engine_next_ms(const struct engine *engine)
{
    double load_end_ms = next_load_ms(engine);

    if (engine->output_at < engine->output_count)
        return engine->outputs[engine->output_at].at_ms;
    return load_end_ms < engine->iteration_end_ms ? load_end_ms : engine->iteration_end_ms;
}

size_t
engine_run(struct engine *engine, double now_ms, struct engine_output *ret_outputs, size_t max)
{
    size_t count = 0;

    if (engine->output_at == engine->output_count)
        free_ended(engine);
    for (;;) {
        while (engine->output_at < engine->output_count && count < max)
            ret_outputs[count++] = engine->outputs[engine->output_at++];
        if (engine->output_at < engine->output_count || engine_next_ms(engine) > now_ms)
            return count;
        engine->output_at = engine->output_count = 0;
        if (next_load_ms(engine) <= engine->iteration_end_ms)
            end_load(engine);
        else
            end_iteration(engine, engine->iteration_end_ms);
    }
}

/* ---- Requests. */

static struct id_bucket *
id_bucket(struct engine *e, uint64_t id)
{
    return &e->ids[(id * 0x9e3779b97f4a7c15u) >> 54]; /* the top 10 bits: ID_BUCKETS */
}

static struct engine_sequence *
find(const struct engine *e, uint64_t id)
{
    struct engine_sequence *s;

    LIST_FOREACH (s, &e->ids[(id * 0x9e3779b97f4a7c15u) >> 54], id_link)
        if (s->id == id)
            return s;
    return NULL;
}

enum err
engine_submit(struct engine *engine, double now_ms, const struct engine_request *request)
{
    struct engine_batch *b;
    struct engine_sequence *s;

    if (request->prompt_tokens < 1 || request->output_tokens < 1 ||
        request->prompt_tokens > PROMPT_TOKENS_MAX || request->output_tokens > PROMPT_TOKENS_MAX)
        return ERR_ARG;
    if (engine_model_state(engine, request->model) == ENGINE_MODEL_ABSENT)
        return ERR_NOT_FOUND;
    b = &engine->batches[request->model];
    if (b->waiting_count >= ENGINE_WAITING_MAX || !engine_batch_fits(b, request))
        return ERR_FULL;
    s = engine_batch_add(b, now_ms, request);
    if (s == NULL)
        return ERR_MEMORY;
    LIST_INSERT_HEAD(id_bucket(engine, s->id), s, id_link);
    start_load(engine, now_ms);
    if (engine->iteration_end_ms == INFINITY)
        begin(engine, now_ms);
    return ERR_OK;
}

/* Outputs already made for a request that is not wanted any more. */
static void
drop_outputs(struct engine *e, uint64_t id)
{
    uint32_t kept = e->output_at;

    for (uint32_t i = e->output_at; i < e->output_count; i++)
        if (e->outputs[i].kind == ENGINE_OUTPUT_LOADED || e->outputs[i].id != id)
            e->outputs[kept++] = e->outputs[i];
    e->output_count = kept;
}

void
engine_cancel(struct engine *engine, double now_ms, uint64_t id)
{
    struct engine_sequence *s = find(engine, id);
    struct engine_batch *b;

    if (s == NULL)
        return;
    drop_outputs(engine, id);
    if (s->state == SEQUENCE_ENDED)
        return;
    b = &engine->batches[s->model];
    engine_batch_remove(b, s);
    free_sequence(s);
    b->last_used_ms = now_ms;
    start_load(engine, now_ms);
}

/* ---- What can be known. */

void
engine_truth(const struct engine *engine, double now_ms, uint32_t model,
             struct engine_truth *ret_truth)
{
    *ret_truth = (struct engine_truth){.speed = engine->params.hidden_speed / engine->slow};
    if (engine->iteration_end_ms != INFINITY && engine->iteration_end_ms > now_ms)
        ret_truth->iteration_left_ms = engine->iteration_end_ms - now_ms;
    for (uint32_t i = 0; i < ENGINE_MODELS_HELD_MAX; i++) {
        const struct engine_batch *b = &engine->batches[i];

        ret_truth->running += b->running_count;
        ret_truth->waiting += b->waiting_count;
        ret_truth->queue_tokens += engine_batch_queue_tokens(b);
        ret_truth->prompt_tokens_total += b->prompt_tokens_total;
        ret_truth->cached_tokens_total += b->cached_tokens_total;
        ret_truth->output_tokens_total += b->output_tokens_total;
        ret_truth->requests_total += b->requests_total;
        ret_truth->preemptions_total += b->preemptions_total;
        if (i != model)
            continue;
        ret_truth->kv_tokens_used = (double)b->cache.used * ENGINE_BLOCK_TOKENS;
        ret_truth->kv_tokens_cap = (double)b->cache.blocks * ENGINE_BLOCK_TOKENS;
        ret_truth->load_left_ms = load_left_ms(engine, b, now_ms);
    }
}

uint32_t
engine_cached_tokens(const struct engine *engine, const struct engine_request *request)
{
    uint32_t whole, count = request->block_count;

    if (engine_model_state(engine, request->model) == ENGINE_MODEL_ABSENT ||
        request->prompt_tokens < 1)
        return 0;
    whole = (request->prompt_tokens - 1) / ENGINE_BLOCK_TOKENS;
    if (count > whole)
        count = whole;
    if (count > ENGINE_PROMPT_BLOCKS_MAX)
        count = ENGINE_PROMPT_BLOCKS_MAX;
    return ENGINE_BLOCK_TOKENS *
           engine_cache_match(&engine->batches[request->model].cache, request->blocks, count);
}

uint32_t
engine_request_cached(const struct engine *engine, uint64_t id)
{
    const struct engine_sequence *s = find(engine, id);

    return s != NULL ? s->cached_tokens : 0;
}

uint32_t
engine_request_preemptions(const struct engine *engine, uint64_t id)
{
    const struct engine_sequence *s = find(engine, id);

    return s != NULL ? s->preemptions : 0;
}

double
engine_request_admitted_ms(const struct engine *engine, uint64_t id)
{
    const struct engine_sequence *s = find(engine, id);

    return s != NULL && s->admitted ? s->admitted_ms : (double)NAN;
}

void
engine_set_slow(struct engine *engine, double factor)
{
    must(in_range(factor, 1e-3, 1e6));
    engine->slow = factor;
}

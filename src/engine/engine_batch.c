/* engine_batch - what one iteration does; see engine_batch.h.
 *
 * The scheduler is vLLM's (v1): every running sequence asks for the tokens it has not computed yet,
 * one when it decodes, the rest of its prompt when it prefills; eldest first, within one budget of
 * tokens. Then waiting ones are admitted in order of arrival while there are slots, budget and KV
 * blocks. When a running one finds no block the youngest is preempted: it forgets what it computed
 * and stands first in the queue; in that iteration nobody is admitted. A sequence whose prompt is
 * finished in an iteration gets its first token from it, and is part of its decode batch. */
#include "engine/engine_batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

void
engine_batch_init(struct engine_batch *b, const struct engine_speed *speed,
                  enum engine_model_state state, double cache_tokens)
{
    *b = (struct engine_batch){.speed = *speed, .state = state};
    TAILQ_INIT(&b->running);
    TAILQ_INIT(&b->waiting);
    engine_cache_init(&b->cache, (uint32_t)(speed->kv_tokens_cap / ENGINE_BLOCK_TOKENS),
                      (uint32_t)(cache_tokens / ENGINE_BLOCK_TOKENS));
}

static uint32_t
blocks_for(uint32_t tokens)
{
    return (tokens + ENGINE_BLOCK_TOKENS - 1) / ENGINE_BLOCK_TOKENS;
}

bool
engine_batch_fits(const struct engine_batch *b, const struct engine_request *request)
{
    uint64_t tokens = (uint64_t)request->prompt_tokens + request->output_tokens;

    return tokens <= (uint64_t)b->cache.blocks * ENGINE_BLOCK_TOKENS;
}

/* Whole blocks of the prompt that may come from the cache: the last token is always computed. */
static uint32_t
blocks_cacheable(uint32_t prompt_tokens, uint32_t block_count)
{
    uint32_t whole = (prompt_tokens - 1) / ENGINE_BLOCK_TOKENS;

    return whole < block_count ? whole : block_count;
}

static uint32_t
tokens_total(const struct engine_sequence *s)
{
    return s->prompt_tokens + s->generated;
}

static void
set_left(struct engine_batch *b, struct engine_sequence *s, uint32_t left)
{
    b->queue_tokens = b->queue_tokens - s->left + left;
    s->left = left;
}

struct engine_sequence *
engine_batch_add(struct engine_batch *b, double now_ms, const struct engine_request *request)
{
    uint32_t count = request->prompt_tokens / ENGINE_BLOCK_TOKENS, cached;
    struct engine_sequence *s;

    if (count > request->block_count)
        count = request->block_count;
    if (count > ENGINE_PROMPT_BLOCKS_MAX)
        count = ENGINE_PROMPT_BLOCKS_MAX;
    /* Lives as long as the request: from here to the next engine_run after its end. */
    s = calloc(1, sizeof(*s) + count * (sizeof(*s->blocks) + sizeof(*s->held)));
    if (s == NULL)
        return NULL;
    s->id = request->id;
    s->model = request->model;
    s->arrived_ms = now_ms;
    s->prompt_tokens = request->prompt_tokens;
    s->output_tokens = request->output_tokens;
    s->block_count = count;
    s->blocks = (uint64_t *)(void *)(s + 1);
    s->held = (uint32_t *)(void *)(s->blocks + count);
    if (count > 0)
        memcpy(s->blocks, request->blocks, count * sizeof(*s->blocks));
    cached = engine_cache_match(&b->cache, s->blocks, blocks_cacheable(s->prompt_tokens, count));
    set_left(b, s, s->prompt_tokens - cached * ENGINE_BLOCK_TOKENS);
    TAILQ_INSERT_TAIL(&b->waiting, s, link);
    b->waiting_count++;
    b->requests_total++;
    b->last_used_ms = now_ms;
    return s;
}

static void
release_blocks(struct engine_batch *b, struct engine_sequence *s)
{
    engine_cache_give(&b->cache, s->private_blocks);
    s->private_blocks = 0;
    while (s->held_count > 0) /* from the end: leaves become idle first */
        engine_cache_release(&b->cache, s->held[--s->held_count]);
}

void
engine_batch_remove(struct engine_batch *b, struct engine_sequence *s)
{
    release_blocks(b, s);
    set_left(b, s, 0);
    if (s->state == SEQUENCE_RUNNING) {
        TAILQ_REMOVE(&b->running, s, link);
        b->running_count--;
    } else {
        TAILQ_REMOVE(&b->waiting, s, link);
        b->waiting_count--;
    }
    s->state = SEQUENCE_ENDED;
}

static void
preempt(struct engine_batch *b, struct engine_sequence *s)
{
    release_blocks(b, s);
    s->computed = 0;
    set_left(b, s, tokens_total(s));
    TAILQ_REMOVE(&b->running, s, link);
    TAILQ_INSERT_HEAD(&b->waiting, s, link);
    b->running_count--;
    b->waiting_count++;
    s->state = SEQUENCE_WAITING;
    s->preemptions++;
    b->preemptions_total++;
}

/* Blocks for n more tokens of s. False: no room. */
static bool
take_blocks(struct engine_batch *b, struct engine_sequence *s, uint32_t n)
{
    uint32_t need = blocks_for(s->computed + n), have = s->private_blocks + s->held_count;

    if (need <= have)
        return true;
    if (!engine_cache_take(&b->cache, need - have))
        return false;
    s->private_blocks += need - have;
    return true;
}

bool
engine_batch_runnable(const struct engine_batch *b, double now_ms)
{
    const struct engine_sequence *head = TAILQ_FIRST(&b->waiting);

    return b->state == ENGINE_MODEL_READY &&
           (b->running_count > 0 || (head != NULL && head->arrived_ms <= now_ms));
}

double
engine_batch_queue_tokens(const struct engine_batch *b)
{
    const struct engine_sequence *s;
    uint64_t tokens = b->queue_tokens;

    TAILQ_FOREACH (s, &b->running, link) {
        tokens -= s->left < s->scheduled ? s->left : s->scheduled;
    }
    return (double)tokens;
}

/* What an iteration was given so far. */
struct iteration {
    double start_ms;
    uint32_t budget;  /* tokens left */
    uint32_t batch;   /* sequences that get a token */
    double kv_tokens; /* that these read */
    double prefill_ms;
};

static uint32_t
tokens_wanted(const struct engine_sequence *s, const struct iteration *it)
{
    uint32_t n = tokens_total(s) - s->computed;

    return n < it->budget ? n : it->budget;
}

static void
schedule_tokens(const struct engine_batch *b, struct engine_sequence *s, uint32_t n,
                struct iteration *it)
{
    const struct engine_speed *speed = &b->speed;
    bool decodes = n == 1 && s->computed >= s->prompt_tokens;

    if (!decodes)
        it->prefill_ms += speed->b_ms * n + speed->c_ms * n * (s->computed + n / 2.0);
    if (s->computed + n == tokens_total(s)) {
        it->batch++;
        it->kv_tokens += s->computed + n;
    }
    s->scheduled = n;
    it->budget -= n;
}

/* Those that run already. False: somebody was preempted. */
static bool
schedule_running(struct engine_batch *b, struct iteration *it)
{
    struct engine_sequence *s = TAILQ_FIRST(&b->running);
    bool calm = true;

    while (s != NULL && it->budget > 0) {
        uint32_t n = tokens_wanted(s, it);

        while (!take_blocks(b, s, n)) {
            struct engine_sequence *youngest = TAILQ_LAST(&b->running, engine_sequences);

            preempt(b, youngest);
            calm = false;
            if (youngest == s)
                return calm;
        }
        schedule_tokens(b, s, n, it);
        s = TAILQ_NEXT(s, link);
    }
    return calm;
}

/* The first of the queue. False: no KV room for it yet. */
static bool
admit(struct engine_batch *b, struct engine_sequence *s, struct iteration *it)
{
    uint32_t cacheable = blocks_cacheable(s->prompt_tokens, s->block_count), n;

    while (s->held_count < cacheable) {
        uint32_t entry = engine_cache_hold(&b->cache, s->blocks[s->held_count]);

        if (entry == ENGINE_CACHE_NONE)
            break;
        s->held[s->held_count++] = entry;
    }
    s->computed = s->held_count * ENGINE_BLOCK_TOKENS;
    n = tokens_wanted(s, it);
    if (!take_blocks(b, s, n)) {
        release_blocks(b, s);
        s->computed = 0;
        return false;
    }
    set_left(b, s, tokens_total(s) - s->computed);
    if (!s->admitted) {
        s->admitted = true;
        s->admitted_ms = it->start_ms;
        s->cached_tokens = s->computed;
        b->prompt_tokens_total += s->prompt_tokens;
        b->cached_tokens_total += s->computed;
        it->prefill_ms += b->speed.a_ms;
    }
    TAILQ_REMOVE(&b->waiting, s, link);
    TAILQ_INSERT_TAIL(&b->running, s, link);
    b->waiting_count--;
    b->running_count++;
    s->state = SEQUENCE_RUNNING;
    schedule_tokens(b, s, n, it);
    return true;
}

double
engine_batch_schedule(struct engine_batch *b, const struct engine_params *params, double start_ms)
{
    struct iteration it = {.start_ms = start_ms, .budget = params->prefill_budget};
    struct engine_sequence *head;
    double ms;

    if (schedule_running(b, &it))
        while (it.budget > 0 && b->running_count < params->slots &&
               (head = TAILQ_FIRST(&b->waiting)) != NULL && head->arrived_ms <= start_ms)
            if (!admit(b, head, &it))
                break;
    ms = it.prefill_ms;
    if (it.batch > 0)
        ms += b->speed.t0_ms + b->speed.tk_ms * it.kv_tokens / 1000.0 + b->speed.tb_ms * it.batch;
    return ms;
}

/* Whole prompt blocks that were computed become cached ones. */
static void
keep_blocks(struct engine_batch *b, struct engine_sequence *s)
{
    uint32_t whole = s->computed / ENGINE_BLOCK_TOKENS;

    if (whole > s->block_count)
        whole = s->block_count;
    while (s->held_count < whole) {
        uint32_t entry = engine_cache_keep(&b->cache, s->blocks[s->held_count]);

        if (entry == ENGINE_CACHE_NONE)
            return; /* no memory: the rest stays private */
        s->held[s->held_count++] = entry;
        s->private_blocks--;
    }
}

bool
engine_batch_advance(struct engine_batch *b, struct engine_sequence *s, bool *ret_ended)
{
    uint32_t n = s->scheduled;

    *ret_ended = false;
    if (n == 0)
        return false;
    must(s->computed + n <= tokens_total(s));
    s->scheduled = 0;
    s->computed += n;
    set_left(b, s, s->left > n ? s->left - n : 0);
    keep_blocks(b, s);
    if (s->computed < tokens_total(s))
        return false;
    s->generated++;
    b->output_tokens_total++;
    *ret_ended = s->generated == s->output_tokens;
    return true;
}

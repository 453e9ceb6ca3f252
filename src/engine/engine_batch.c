/* engine_batch - what one iteration does; see engine_batch.h.
 *
 * The scheduler is vLLM's (v1): every running sequence asks for the tokens it has not computed yet,
 * one when it decodes, the rest of its prompt when it prefills; eldest first, within one budget of
 * tokens. Then waiting ones are admitted in order of arrival while there are slots, budget and KV
 * blocks. When a running one finds no block the youngest is preempted: it forgets what it computed
 * and stands first in the queue; in that iteration nobody is admitted. A sequence whose prompt is
 * finished in an iteration gets its first token from it, and is part of its decode batch. With
 * prefill_first it is SGLang's: the decoding ones rest while there is a prompt to compute.
 *
 * Invariants: between iterations at most one sequence has begun its prompt and not finished it, and
 * it is the youngest (whoever gets less than it asks for takes the last of the budget). A running
 * sequence has blocks for computed + scheduled tokens; those not held in the cache are private. */
#include "engine/engine_batch.h"

#include <math.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/must.h"

static uint32_t
blocks_for(uint32_t tokens)
{
    return (tokens + ENGINE_BLOCK_TOKENS - 1) / ENGINE_BLOCK_TOKENS;
}

enum err
engine_batch_init(struct engine_batch *b, const struct engine_params *params,
                  const struct engine_speed *speed, enum engine_model_state state)
{
    uint32_t piece = params->prefix_block_tokens > 0 ? params->prefix_block_tokens
                                                     : ENGINE_BLOCK_TOKENS;
    struct engine_end *ends = calloc(params->slots, sizeof(*ends)); /* as long as the engine */

    if (ends == NULL)
        return ERR_MEMORY;
    *b = (struct engine_batch){
        .speed = *speed, .state = state, .piece_tokens = piece, .ends = ends};
    TAILQ_INIT(&b->running);
    TAILQ_INIT(&b->waiting);
    engine_cache_init(&b->cache, (uint32_t)(speed->kv_tokens_cap / ENGINE_BLOCK_TOKENS),
                      piece / ENGINE_BLOCK_TOKENS,
                      params->cache_tokens > 0 ? (uint32_t)(params->cache_tokens / piece)
                                               : ENGINE_CACHE_NONE,
                      (uint32_t)(params->host_cache_tokens / piece));
    return ERR_OK;
}

void
engine_batch_fini(struct engine_batch *b)
{
    engine_cache_fini(&b->cache);
    free(b->ends);
    b->ends = NULL;
}

bool
engine_batch_fits(const struct engine_batch *b, const struct engine_request *request)
{
    uint64_t tokens = (uint64_t)request->prompt_tokens + request->output_tokens;

    return tokens <= (uint64_t)b->cache.blocks * ENGINE_BLOCK_TOKENS;
}

/* Whole pieces of the prompt that may come from the cache: the last token is always computed. */
static uint32_t
pieces_cacheable(const struct engine_batch *b, uint32_t prompt_tokens, uint32_t piece_count)
{
    uint32_t whole = (prompt_tokens - 1) / b->piece_tokens;

    return whole < piece_count ? whole : piece_count;
}

/* Of the pieces given with a request: those that count. */
static uint32_t
pieces_of(const struct engine_batch *b, const struct engine_request *request)
{
    uint32_t count = request->prompt_tokens / b->piece_tokens;

    if (count > request->block_count)
        count = request->block_count;
    return count < ENGINE_PROMPT_BLOCKS_MAX ? count : ENGINE_PROMPT_BLOCKS_MAX;
}

uint32_t
engine_batch_cached(const struct engine_batch *b, const struct engine_request *request)
{
    uint32_t held, count = pieces_of(b, request);

    if (count == 0)
        return 0;
    count = pieces_cacheable(b, request->prompt_tokens, count);
    return b->piece_tokens * engine_cache_match(&b->cache, request->blocks, count, &held);
}

uint32_t
engine_batch_generated(const struct engine_batch *b, const struct engine_sequence *s)
{
    return s->state == SEQUENCE_DECODING ? s->generated + (uint32_t)b->decodes : s->generated;
}

/* Prompt and output so far, of one that does not decode. */
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
engine_batch_add(struct engine_batch *b, struct engine_pool *pool, double now_ms,
                 const struct engine_request *request)
{
    struct engine_sequence *s = engine_pool_get(pool, request->id, request->blocks,
                                                pieces_of(b, request));

    if (s == NULL)
        return NULL;
    s->model = (uint8_t)request->model;
    s->arrived_ms = now_ms;
    s->admitted_ms = NAN;
    s->prompt_tokens = request->prompt_tokens;
    s->output_tokens = request->output_tokens;
    set_left(b, s, s->prompt_tokens - engine_batch_cached(b, request));
    TAILQ_INSERT_TAIL(&b->waiting, s, link);
    b->waiting_count++;
    b->requests_total++;
    b->last_used_ms = now_ms;
    return s;
}

/* ---- Those that decode, together. */

static bool
ends_before(const struct engine_end *a, const struct engine_end *b)
{
    return a->decodes != b->decodes ? a->decodes < b->decodes : a->order < b->order;
}

/* Put `end` where it belongs in a heap whose place `at` is empty. */
static void
ends_put(struct engine_batch *b, uint32_t at, struct engine_end end)
{
    while (at > 0 && ends_before(&end, &b->ends[(at - 1) / 2])) {
        b->ends[at] = b->ends[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    for (uint32_t child; (child = 2 * at + 1) < b->decoding; at = child) {
        if (child + 1 < b->decoding && ends_before(&b->ends[child + 1], &b->ends[child]))
            child++;
        if (!ends_before(&b->ends[child], &end))
            break;
        b->ends[at] = b->ends[child];
    }
    b->ends[at] = end;
}

static uint16_t *
phase_of(struct engine_batch *b, uint32_t computed)
{
    return &b->phase[(computed - b->decodes) % ENGINE_BLOCK_TOKENS];
}

/* Between iterations: it has its first token and not its last. */
static void
start_decoding(struct engine_batch *b, struct engine_sequence *s)
{
    uint32_t computed = tokens_total(s) - 1;
    struct engine_end end = {
        .decodes = b->decodes + s->output_tokens - s->generated, .order = s->order, .sequence = s};

    ++*phase_of(b, computed);
    b->kv_tokens += computed;
    s->generated -= (uint32_t)b->decodes;
    s->state = SEQUENCE_DECODING;
    b->decoding++;
    ends_put(b, b->decoding - 1, end);
}

/* From here on it is counted alone again. */
static void
stop_decoding(struct engine_batch *b, struct engine_sequence *s)
{
    uint32_t at = 0;

    s->generated = engine_batch_generated(b, s);
    s->computed = tokens_total(s) - 1;
    s->scheduled = b->under_way ? 1 : 0;
    s->state = SEQUENCE_PREFILLING;
    --*phase_of(b, s->computed);
    b->kv_tokens -= s->computed;
    while (b->ends[at].sequence != s) /* mostly the first */
        at++;
    b->decoding--;
    if (at < b->decoding)
        ends_put(b, at, b->ends[b->decoding]);
}

/* ---- Coming and going. */

static void
release_blocks(struct engine_batch *b, struct engine_sequence *s)
{
    uint32_t blocks = blocks_for(s->computed + s->scheduled);

    engine_cache_give(&b->cache, blocks - s->held_count * b->cache.weight);
    while (s->held_count > 0) { /* from the end: leaves become idle first */
        uint64_t *piece = &s->pieces[--s->held_count];

        *piece = engine_cache_release(&b->cache, (uint32_t)*piece);
    }
    s->computed = s->scheduled = 0;
}

static void
leave_running(struct engine_batch *b, struct engine_sequence *s)
{
    if (s->state == SEQUENCE_DECODING)
        stop_decoding(b, s);
    if (b->prefilling == s)
        b->prefilling = TAILQ_NEXT(s, link);
    TAILQ_REMOVE(&b->running, s, link);
    b->running_count--;
    release_blocks(b, s);
}

void
engine_batch_remove(struct engine_batch *b, struct engine_sequence *s)
{
    set_left(b, s, 0);
    if (s->state == SEQUENCE_WAITING) {
        TAILQ_REMOVE(&b->waiting, s, link);
        b->waiting_count--;
    } else {
        leave_running(b, s);
    }
    s->state = SEQUENCE_ENDED;
}

static void
preempt(struct engine_batch *b, struct engine_sequence *s)
{
    leave_running(b, s);
    set_left(b, s, tokens_total(s));
    TAILQ_INSERT_HEAD(&b->waiting, s, link);
    b->waiting_count++;
    s->state = SEQUENCE_WAITING;
    s->preemptions++;
    b->preemptions_total++;
}

bool
engine_batch_runnable(const struct engine_batch *b, double now_ms)
{
    const struct engine_sequence *head;

    if (b->state != ENGINE_MODEL_READY)
        return false;
    head = TAILQ_FIRST(&b->waiting);
    return b->running_count > 0 || (head != NULL && head->arrived_ms <= now_ms);
}

double
engine_batch_queue_tokens(const struct engine_batch *b)
{
    uint64_t tokens = b->queue_tokens;

    for (const struct engine_sequence *s = b->prefilling; s != NULL; s = TAILQ_NEXT(s, link))
        tokens -= s->left < s->scheduled ? s->left : s->scheduled;
    return (double)tokens;
}

/* ---- An iteration begins. */

/* What it was given so far. */
struct iteration {
    double start_ms;
    uint32_t budget;    /* tokens left */
    uint32_t batch;     /* sequences that get a token */
    uint64_t kv_tokens; /* that these read */
    double prefill_ms;
};

/* A step that gives tokens to `batch` sequences and computes `tokens` in all. */
static double
step_ms(const struct engine_speed *speed, uint64_t kv_tokens, uint32_t batch, uint32_t tokens)
{
    double ms = speed->t0_ms + speed->tk_ms * (double)kv_tokens / 1000.0 + speed->tb_ms * batch;

    if (speed->expert_ms > 0.0)
        ms += speed->expert_ms * (1.0 - fmath_exp(tokens * fmath_log(1.0 - speed->expert_share)));
    return ms;
}

/* A block for s; younger ones give way, then s itself (false). *ret_calm is false after that. */
static bool
take_block(struct engine_batch *b, const struct engine_sequence *s, bool *ret_calm)
{
    while (!engine_cache_take(&b->cache, 1)) {
        struct engine_sequence *youngest = TAILQ_LAST(&b->running, engine_sequences);

        preempt(b, youngest);
        *ret_calm = false;
        if (youngest == s)
            return false;
    }
    return true;
}

/* Those that decode. False: somebody was preempted. */
static bool
schedule_decoding(struct engine_batch *b, struct iteration *it)
{
    bool calm = true;

    if (!engine_cache_take(&b->cache, engine_batch_step_blocks(b, 0))) {
        struct engine_sequence *s = TAILQ_FIRST(&b->running);

        while (s != NULL && s->state == SEQUENCE_DECODING) {
            uint32_t computed = s->prompt_tokens + engine_batch_generated(b, s) - 1;

            if (computed % ENGINE_BLOCK_TOKENS == 0 && !take_block(b, s, &calm))
                break;
            s = TAILQ_NEXT(s, link);
        }
    }
    it->batch = b->decoding;
    it->kv_tokens = b->kv_tokens + b->decoding;
    it->budget -= b->decoding;
    return calm;
}

/* n tokens of one that does not decode; it has the blocks. */
static void
schedule_tokens(const struct engine_batch *b, struct engine_sequence *s, uint32_t n,
                struct iteration *it)
{
    const struct engine_speed *speed = &b->speed;

    if (n > 1 || s->computed < s->prompt_tokens)
        it->prefill_ms += speed->b_ms * n + speed->c_ms * n * (s->computed + n / 2.0);
    if (s->computed + n == tokens_total(s)) {
        it->batch++;
        it->kv_tokens += s->computed + n;
    }
    s->scheduled = n;
    it->budget -= n;
}

static uint32_t
tokens_wanted(const struct engine_sequence *s, uint32_t computed, const struct iteration *it)
{
    uint32_t n = tokens_total(s) - computed;

    return n < it->budget ? n : it->budget;
}

/* The one that has begun its prompt. False: it was preempted. */
static bool
schedule_prefilling(struct engine_batch *b, struct engine_sequence *s, struct iteration *it)
{
    uint32_t n = tokens_wanted(s, s->computed, it);

    if (!engine_cache_take(&b->cache, blocks_for(s->computed + n) - blocks_for(s->computed))) {
        preempt(b, s); /* it is the youngest */
        return false;
    }
    schedule_tokens(b, s, n, it);
    return true;
}

/* Hold what the cache has of its prompt. Returns how many tokens come from the host. */
static uint32_t
hold_pieces(struct engine_batch *b, struct engine_sequence *s, uint32_t count)
{
    uint32_t entry = ENGINE_CACHE_NONE, tokens = 0;

    while (s->held_count < count) {
        bool moved = false;

        entry = engine_cache_hold(&b->cache, entry, s->pieces[s->held_count], &moved);
        if (entry == ENGINE_CACHE_NONE)
            break;
        s->pieces[s->held_count++] = entry;
        tokens += moved ? b->piece_tokens : 0;
    }
    return tokens;
}

/* The first of the queue. False: no KV room for it yet, nothing has changed. */
static bool
admit(struct engine_batch *b, const struct engine_params *params, struct engine_sequence *s,
      struct iteration *it)
{
    struct engine_cache *c = &b->cache;
    uint32_t held, moved, n, count = 0;

    held = 0;
    if (s->piece_count > 0)
        count = engine_cache_match(c, s->pieces,
                                   pieces_cacheable(b, s->prompt_tokens, s->piece_count), &held);
    n = tokens_wanted(s, count * b->piece_tokens, it);
    if (blocks_for(count * b->piece_tokens + n) - held * c->weight > c->blocks - c->used)
        return false;
    moved = hold_pieces(b, s, count);
    /* Fewer may be held than were there: the first ones that moved pushed the last ones out of the
     * host. Then more is to compute, but no more blocks are needed. */
    s->computed = s->held_count * b->piece_tokens;
    n = tokens_wanted(s, s->computed, it);
    must(engine_cache_take(c, blocks_for(s->computed + n) - s->held_count * c->weight));
    set_left(b, s, tokens_total(s) - s->computed);
    it->prefill_ms += moved * params->host_ms_per_token;
    if (isnan(s->admitted_ms)) {
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
    s->state = SEQUENCE_PREFILLING;
    s->order = b->admissions++;
    if (b->prefilling == NULL)
        b->prefilling = s;
    schedule_tokens(b, s, n, it);
    return true;
}

/* Prompts: the one under way, and those that can be admitted. */
static bool
schedule_prompts(struct engine_batch *b, const struct engine_params *params, bool calm,
                 struct iteration *it)
{
    struct engine_sequence *head;

    if (b->prefilling != NULL)
        calm = schedule_prefilling(b, b->prefilling, it) && calm;
    if (calm)
        while (it->budget > 0 && b->running_count < params->slots &&
               (head = TAILQ_FIRST(&b->waiting)) != NULL && head->arrived_ms <= it->start_ms)
            if (!admit(b, params, head, it))
                break;
    return calm;
}

double
engine_batch_schedule(struct engine_batch *b, const struct engine_params *params, double start_ms)
{
    struct iteration it = {.start_ms = start_ms, .budget = params->prefill_budget};
    bool calm = true, decode;

    if (params->prefill_first)
        calm = schedule_prompts(b, params, calm, &it);
    decode = !params->prefill_first || b->prefilling == NULL;
    if (decode)
        calm = schedule_decoding(b, &it) && calm;
    if (!params->prefill_first)
        calm = schedule_prompts(b, params, calm, &it);
    b->under_way = decode;
    b->steady = calm && b->prefilling == NULL;
    if (it.batch == 0)
        return it.prefill_ms;
    return it.prefill_ms +
           step_ms(&b->speed, it.kv_tokens, it.batch, params->prefill_budget - it.budget);
}

/* ---- A run of iterations that only decode. */

struct engine_run
engine_batch_run(const struct engine_batch *b, const struct engine_params *params, double start_ms)
{
    const struct engine_sequence *head = TAILQ_FIRST(&b->waiting);
    struct engine_run run = {.blocks = b->cache.blocks - b->cache.used, .until_ms = INFINITY};
    uint64_t steps;

    if (!b->steady || b->decoding == 0)
        return run;
    steps = b->ends[0].decodes - b->decodes - 1; /* the last of them ends with somebody's end */
    run.steps = steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX;
    if (head == NULL || b->running_count >= params->slots)
        return run;
    if (head->arrived_ms > start_ms)
        run.until_ms = head->arrived_ms;
    else /* it found no room, and will not before a cached piece of it gives way: then it is new */
        run.blocks = engine_cache_free(&b->cache);
    return run;
}

uint32_t
engine_batch_step_blocks(const struct engine_batch *b, uint32_t step)
{
    return b->phase[(0 - b->decodes - step) % ENGINE_BLOCK_TOKENS];
}

double
engine_batch_step_ms(const struct engine_batch *b, uint32_t step)
{
    return step_ms(&b->speed, b->kv_tokens + (step + 1ull) * b->decoding, b->decoding, b->decoding);
}

static void
count_decodes(struct engine_batch *b, uint32_t steps)
{
    b->decodes += steps;
    b->kv_tokens += (uint64_t)steps * b->decoding;
    b->output_tokens_total += (uint64_t)steps * b->decoding;
}

void
engine_batch_skip(struct engine_batch *b, uint32_t step, uint32_t blocks)
{
    must(engine_cache_take(&b->cache, blocks));
    count_decodes(b, step);
}

/* ---- An iteration ends. */

bool
engine_batch_finish(struct engine_batch *b)
{
    bool decoded = b->under_way;

    b->under_way = false;
    if (decoded)
        count_decodes(b, 1);
    return decoded;
}

struct engine_sequence *
engine_batch_ended(const struct engine_batch *b)
{
    return b->decoding > 0 && b->ends[0].decodes == b->decodes ? b->ends[0].sequence : NULL;
}

/* Whole pieces of the prompt that were computed become cached ones. */
static void
keep_pieces(struct engine_batch *b, struct engine_sequence *s)
{
    uint32_t whole = s->computed / b->piece_tokens, entry;

    if (whole > s->piece_count)
        whole = s->piece_count;
    entry = s->held_count > 0 ? (uint32_t)s->pieces[s->held_count - 1] : ENGINE_CACHE_NONE;
    while (s->held_count < whole) {
        entry = engine_cache_keep(&b->cache, entry, s->pieces[s->held_count]);
        if (entry == ENGINE_CACHE_NONE)
            return; /* no memory: the rest stays private */
        s->pieces[s->held_count++] = entry;
    }
}

struct engine_sequence *
engine_batch_advance(struct engine_batch *b, bool *ret_ended)
{
    struct engine_sequence *s = b->prefilling;

    if (s == NULL || s->scheduled == 0)
        return NULL;
    s->computed += s->scheduled;
    set_left(b, s, s->left > s->scheduled ? s->left - s->scheduled : 0);
    s->scheduled = 0;
    keep_pieces(b, s);
    if (s->computed < tokens_total(s))
        return NULL; /* the youngest: nobody comes after it */
    b->prefilling = TAILQ_NEXT(s, link);
    s->generated++;
    b->output_tokens_total++;
    *ret_ended = s->generated == s->output_tokens;
    if (!*ret_ended)
        start_decoding(b, s);
    return s;
}

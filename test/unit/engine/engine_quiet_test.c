/* engine_quiet_test - the same crowd through an engine that gives out every token and one that
 * gives out first tokens and ends only: the same times to the bit, the same truth at any moment,
 * whatever comes in between. Requests that arrive, leave, are preempted, share prefixes; several
 * models; noise, pauses and the slow knob. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/engine_table.h"
#include "tap.h"

#define REQUESTS 800u
#define OUTPUTS  16u

static const struct world {
    const char *label;
    double kv_tokens, step_noise, gap_ms;
    double host_tokens, apart_tokens;
    double preemptions_min; /* so that the row does what its label says */
    uint32_t slots, models, piece_tokens;
    bool prompts_first;        /* and a mixture of experts */
    bool pauses, chains, late; /* late: the driver calls when it likes; what it asks
                                     and does besides submitting then falls on another moment */
    double end_sum_ms; /* noise 0: the sum of all ends. These were found with an engine that looked
                          at every sequence in every iteration. 0: unknown */
} worlds[] = {
    {"room for all", 160000, 0, 120, .slots = 32, .models = 1, .end_sum_ms = 48020306.636893},
    {"one at a time", 160000, 0, 900, .slots = 1, .models = 1, .end_sum_ms = 362200822.719712},
    {"few slots", 160000, 0.08, 100, .slots = 6, .models = 1},
    {"preemption", 2400, 0, 150, .preemptions_min = 100, .slots = 32, .models = 1,
     .end_sum_ms = 157457921.505476},
    {"preemption, noise", 2400, 0.08, 150, .preemptions_min = 100, .slots = 32, .models = 1},
    {"noise and pauses", 160000, 0.2, 120, .slots = 32, .models = 1, .pauses = true},
    {"a late driver", 160000, 0.08, 120, .slots = 8, .models = 1, .pauses = true, .late = true},
    {"two models", 160000, 0.08, 150, .slots = 32, .models = 2},
    {"models that load", 160000, 0.08, 600, .slots = 32, .models = 4, .pauses = true},
    {"prefixes", 16000, 0.08, 120, .slots = 32, .models = 1, .chains = true},
    {"prefixes, tight", 2400, 0.08, 150, .preemptions_min = 20, .slots = 32, .models = 1,
     .chains = true},
    {"large pieces", 4000, 0.08, 150, .preemptions_min = 10, .slots = 32, .models = 1,
     .piece_tokens = 64, .chains = true},
    {"a host tier", 2400, 0.08, 150, .host_tokens = 6000, .preemptions_min = 20, .slots = 32,
     .models = 1, .chains = true},
    {"a cache apart", 2400, 0.08, 150, .host_tokens = 1000, .apart_tokens = 800,
     .preemptions_min = 20, .slots = 32, .models = 1, .chains = true},
    {"prompts first", 160000, 0.08, 120, .slots = 32, .models = 1, .prompts_first = true},
    {"prompts first, preemption", 2400, 0.08, 150, .preemptions_min = 20, .slots = 32, .models = 1,
     .prompts_first = true},
};

static struct engine *
open_world(const struct world *w, bool quiet_tokens)
{
    struct engine_speed speed = {.a_ms = 6,
                                 .b_ms = 0.1,
                                 .c_ms = 1e-5,
                                 .t0_ms = 10,
                                 .tk_ms = 0.2,
                                 .tb_ms = 0.01,
                                 .kv_tokens_cap = w->kv_tokens,
                                 .weights_bytes = 16e9};
    struct engine_params p;
    struct engine *e = NULL;

    engine_table_vllm(&p);
    p.quiet_tokens = quiet_tokens;
    p.step_noise = w->step_noise;
    p.pause_mean_interval_ms = w->pauses ? 400 : 0;
    p.pause_mean_ms = 30;
    p.prefill_first = w->prompts_first;
    speed.expert_ms = w->prompts_first ? 8 : 0;
    speed.expert_share = 0.03;
    p.slots = w->slots;
    p.prefill_budget = 512;
    p.models_max = 2;
    p.start_ms = 200;
    p.prefix_block_tokens = w->piece_tokens;
    p.host_cache_tokens = w->host_tokens;
    p.host_ms_per_token = 0.002;
    p.cache_tokens = w->apart_tokens;
    CHECK(engine_open(&p, 7, &e) == ERR_OK, w->label);
    for (uint32_t m = 0; m < w->models; m++)
        CHECK(engine_model(e, m, &speed, m < 2 ? ENGINE_MODEL_READY : ENGINE_MODEL_ON_DISK, 0) ==
                  ERR_OK,
              w->label);
    return e;
}

/* What matters of what the engine gave: the checksum of all first tokens and ends. */
struct heard {
    uint64_t sum, tokens, others;
    double end_sum_ms;
};

static void
hear(struct engine *e, double now_ms, struct heard *h)
{
    struct engine_output outputs[OUTPUTS];
    size_t count;

    do {
        count = engine_run(e, now_ms, outputs, OUTPUTS);
        for (size_t i = 0; i < count; i++) {
            const struct engine_output *o = &outputs[i];
            union {
                double ms;
                uint64_t bits;
            } at = {.ms = o->at_ms};

            if (o->kind == ENGINE_OUTPUT_TOKEN && o->index > 0) {
                h->others++;
                continue;
            }
            h->sum = (h->sum ^ o->id ^ ((uint64_t)o->kind << 60)) * 1099511628211u;
            h->sum = (h->sum ^ at.bits ^ (at.bits >> 32)) * 1099511628211u;
            h->tokens += o->kind == ENGINE_OUTPUT_TOKEN ? 1 : 0;
            h->end_sum_ms += o->kind == ENGINE_OUTPUT_END ? o->at_ms : 0;
        }
    } while (count == OUTPUTS);
}

static bool
same_truth(const struct engine *a, const struct engine *b, double now_ms, uint32_t model)
{
    struct engine_truth s, t;

    engine_truth(a, now_ms, model, &s);
    engine_truth(b, now_ms, model, &t);
    return s.running == t.running && s.waiting == t.waiting && s.queue_tokens == t.queue_tokens &&
           s.kv_tokens_used == t.kv_tokens_used && s.kv_tokens_cap == t.kv_tokens_cap &&
           s.iteration_left_ms == t.iteration_left_ms && s.load_left_ms == t.load_left_ms &&
           s.prompt_tokens_total == t.prompt_tokens_total &&
           s.cached_tokens_total == t.cached_tokens_total &&
           s.output_tokens_total == t.output_tokens_total && s.requests_total == t.requests_total &&
           s.preemptions_total == t.preemptions_total && s.iterations_total == t.iterations_total;
}

/* A prompt, some of it as another's; blocks must have room for its pieces. */
static struct engine_request
draw_request(const struct world *w, struct rng *rng, uint64_t id, uint64_t *blocks)
{
    uint32_t piece = w->piece_tokens > 0 ? w->piece_tokens : ENGINE_BLOCK_TOKENS, same;
    struct engine_request r = {.id = id, .blocks = blocks};
    uint64_t hash;

    r.model = (uint32_t)rng_below(rng, w->models);
    r.prompt_tokens = 1 + (uint32_t)rng_below(rng, rng_below(rng, 4) > 0 ? 300 : 1500);
    r.output_tokens = 1 + (uint32_t)rng_below(rng, rng_below(rng, 3) > 0 ? 60 : 300);
    hash = rng_below(rng, 12);
    same = (uint32_t)rng_below(rng, 100);
    r.block_count = w->chains ? r.prompt_tokens / piece : 0;
    for (uint32_t i = 0; i < r.block_count; i++)
        blocks[i] = hash = hash * 6364136223846793005u + 1442695040888963407u + (i < same ? 0 : id);
    return r;
}

/* One call to both; what they say before and after must be the same. */
static void
meddle(const struct world *w, struct engine *exact, struct engine *quiet, struct rng *rng,
       double now_ms, uint64_t id, bool *same)
{
    uint64_t blocks[1500 / ENGINE_BLOCK_TOKENS + 1];
    struct engine_request r = draw_request(w, rng, id, blocks);

    if (!w->late)
        *same = *same && engine_cached_tokens(exact, &r) == engine_cached_tokens(quiet, &r);
    if (!w->late && rng_below(rng, 100) < 2) {
        double slow = 1 + rng_unit(rng);

        engine_set_slow(exact, slow);
        engine_set_slow(quiet, slow);
    }
    *same = *same && engine_submit(exact, now_ms, &r) == ERR_OK;
    *same = *same && engine_submit(quiet, now_ms, &r) == ERR_OK;
    if (!w->late && rng_below(rng, 10) == 0) {
        uint64_t gone = id - rng_below(rng, id < 20 ? id : 20);

        engine_cancel(exact, now_ms, gone);
        engine_cancel(quiet, now_ms, gone);
    }
    if (w->late)
        return;
    id -= rng_below(rng, id);
    *same = *same && engine_request_cached(exact, id) == engine_request_cached(quiet, id);
    *same = *same && engine_request_preemptions(exact, id) == engine_request_preemptions(quiet, id);
}

static void
test_world(const struct world *w)
{
    struct engine *exact = open_world(w, false), *quiet = open_world(w, true);
    struct heard a = {0}, b = {0};
    bool truth = true, same = true;
    struct engine_truth t;
    double now_ms = 0;
    struct rng rng;

    rng_init(&rng, 11);
    for (uint64_t id = 1; id <= REQUESTS; id++) {
        double gap_ms = (rng_below(&rng, 100) < 2 ? 30 : 1) * w->gap_ms * rng_exponential(&rng);

        for (int part = 0; part < 3; part++) {
            now_ms += gap_ms / 3;
            if (w->late && rng_below(&rng, 2) == 0)
                continue;
            hear(exact, now_ms, &a);
            if (rng_below(&rng, 2) == 0 || engine_next_ms(quiet) <= now_ms)
                hear(quiet, now_ms, &b); /* else it is asked in the middle of a run */
            for (uint32_t m = 0; m < w->models; m++)
                truth = truth && (w->late || same_truth(exact, quiet, now_ms, m));
        }
        if (!w->late) { /* twice: so that neither knows those that ended any more */
            hear(exact, now_ms, &a);
            hear(quiet, now_ms, &b);
            hear(quiet, now_ms, &b);
        }
        meddle(w, exact, quiet, &rng, now_ms, id, &same);
    }
    hear(exact, 1e9, &a);
    hear(quiet, 1e9, &b);
    engine_truth(quiet, 1e9, 0, &t);
    CHECK(truth, w->label);
    CHECK(same, w->label);
    CHECK(a.sum == b.sum && a.tokens == b.tokens && a.tokens > REQUESTS / 2, w->label);
    CHECK(a.others > 10000 && b.others == 0, w->label);
    CHECK((double)t.preemptions_total >= w->preemptions_min, w->label);
    CHECK(!w->chains || t.cached_tokens_total > t.prompt_tokens_total / 20, w->label);
    CHECK(t.running == 0 && t.waiting == 0 && t.queue_tokens == 0 && t.kv_tokens_used == 0,
          w->label);
    CHECK(engine_next_ms(quiet) == INFINITY, w->label);
    CHECK(w->end_sum_ms == 0 || fabs(b.end_sum_ms - w->end_sum_ms) < 1e-3, w->label);
    engine_close(exact);
    engine_close(quiet);
}

/* A lone request: the driver hears of it twice, whatever lies between. */
static void
test_sleeps_through(void)
{
    const struct world w = {"alone", 160000, 0.08, 0, .slots = 8, .models = 1};
    struct engine *e = open_world(&w, true);
    struct engine_request r = {.id = 1, .prompt_tokens = 100, .output_tokens = 60};
    struct engine_output o[4];
    uint32_t wakes = 0;

    CHECK(engine_submit(e, 0, &r) == ERR_OK, "alone");
    while (engine_next_ms(e) < INFINITY) {
        CHECK(engine_run(e, engine_next_ms(e), o, 4) == 1, "each time with something to say");
        wakes++;
    }
    CHECK(wakes == 2, "token 0 and the end");
    engine_close(e);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
        test_world(&worlds[i]);
    test_sleeps_through();
    return tap_done();
}

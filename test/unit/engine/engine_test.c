/* engine_test - the timing model against the formula it stands for, and its limits. */
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmath.h"
#include "base/speed_table.h"
#include "engine/engine_table.h"
#include "tap.h"

#define OUTPUTS_MAX 65536u

static const struct engine_speed speed = {
    .a_ms = 6,
    .b_ms = 0.1,
    .c_ms = 1e-5,
    .t0_ms = 10,
    .tk_ms = 0.2,
    .tb_ms = 0.01,
    .kv_tokens_cap = 160000,
    .weights_bytes = 16e9,
};

static struct engine_params
quiet(void) /* no noise */
{
    struct engine_params p;

    engine_table_vllm(&p);
    p.step_noise = 0;
    return p;
}

static struct engine *
open_with(const struct engine_params *p, const struct engine_speed *s, uint64_t seed)
{
    struct engine *e = NULL;

    CHECK(engine_open(p, seed, &e) == ERR_OK, "open");
    CHECK(engine_model(e, 0, s, ENGINE_MODEL_READY, 0) == ERR_OK, "model");
    return e;
}

static enum err
submit(struct engine *e, double now_ms, uint64_t id, uint32_t prompt, uint32_t output)
{
    struct engine_request r = {.id = id, .prompt_tokens = prompt, .output_tokens = output};

    return engine_submit(e, now_ms, &r);
}

static struct engine_output outputs[OUTPUTS_MAX];
static size_t output_count;

/* Run to until_ms, some outputs at a time; they are in outputs[]. */
static void
run(struct engine *e, double until_ms)
{
    size_t n;

    output_count = 0;
    while ((n = engine_run(e, until_ms, outputs + output_count, 7)) == 7)
        output_count += n;
    output_count += n;
}

/* When the token `index` of request id came; NAN never. index UINT32_MAX: its end. */
static double
when(uint64_t id, uint32_t index)
{
    for (size_t i = 0; i < output_count; i++) {
        const struct engine_output *o = &outputs[i];

        if (o->kind == ENGINE_OUTPUT_LOADED || o->id != id)
            continue;
        if (index == UINT32_MAX ? o->kind == ENGINE_OUTPUT_END
                                : o->kind == ENGINE_OUTPUT_TOKEN && o->index == index)
            return o->at_ms;
    }
    return NAN;
}

static bool
near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static double
prefill_ms(double u, double h)
{
    return speed.a_ms + speed.b_ms * u + speed.c_ms * u * (h + u / 2);
}

static double
step_ms(double batch, double kv)
{
    return speed.t0_ms + speed.tk_ms * kv / 1000 + speed.tb_ms * batch;
}

static void
test_lone_request(void)
{
    static const struct {
        const char *label;
        uint32_t prompt, output;
        double hidden, slow;
    } rows[] = {
        {"one token in, one out", 1, 1, 1, 1}, {"a chunk", 2048, 20, 1, 1},
        {"several chunks", 5000, 20, 1, 1},    {"hidden speed", 5000, 20, 0.7, 1},
        {"slow knob", 5000, 20, 1.3, 4},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct engine_params p = quiet();
        struct engine *e;
        double u = rows[i].prompt, f, first, second;

        p.hidden_speed = rows[i].hidden;
        f = rows[i].slow / rows[i].hidden;
        e = open_with(&p, &speed, 1);
        engine_set_slow(e, rows[i].slow);
        CHECK(submit(e, 100, 7, rows[i].prompt, rows[i].output) == ERR_OK, rows[i].label);
        run(e, 1e9);
        first = 100 + f * (prefill_ms(u, 0) + step_ms(1, u));
        CHECK(near(when(7, 0), first), rows[i].label);
        second = first + f * step_ms(1, u + 1);
        CHECK(rows[i].output == 1 || near(when(7, 1), second), rows[i].label);
        CHECK(near(when(7, UINT32_MAX), when(7, rows[i].output - 1)), rows[i].label);
        CHECK(isnan(when(7, rows[i].output)), rows[i].label);
        CHECK(engine_next_ms(e) == INFINITY, rows[i].label);
        engine_close(e);
    }
}

/* The more tokens, the more of the experts are read, and never more than all. */
static void
test_experts(void)
{
    struct engine_speed s = speed;
    struct engine_params p = quiet();
    struct engine *e;
    double gap;

    s.expert_ms = 8;
    s.expert_share = 0.25;
    e = open_with(&p, &s, 1);
    CHECK(submit(e, 0, 1, 100, 10) == ERR_OK && submit(e, 0, 2, 100, 10) == ERR_OK, "two");
    run(e, 1e9);
    CHECK(near(when(1, 0), prefill_ms(100, 0) + step_ms(1, 100) + 8), "a prompt needs them all");
    gap = when(1, 2) - when(1, 1);
    CHECK(near(gap, step_ms(2, 203) + 8 * (1 - 0.75 * 0.75)), "two tokens do not");
    engine_close(e);
    s.expert_share = 1;
    CHECK(engine_open(&p, 1, &e) == ERR_OK, "open");
    CHECK(engine_model(e, 0, &s, ENGINE_MODEL_READY, 0) == ERR_ARG, "a share below 1");
    engine_close(e);
}

/* Two decode when a long prompt comes: mixed, they get a token with each piece of it; with prompts
 * first they rest until it has its first token. */
static void
test_prefill_first(void)
{
    for (int first = 0; first <= 1; first++) {
        struct engine_params p = quiet();
        struct engine *e;
        double from, to, rest = prefill_ms(5000, 0) + step_ms(1, 5000);
        uint32_t between = 0;

        p.prefill_first = first == 1;
        e = open_with(&p, &speed, 1);
        CHECK(submit(e, 0, 1, 10, 500) == ERR_OK && submit(e, 0, 2, 10, 500) == ERR_OK, "two");
        CHECK(submit(e, 400, 3, 5000, 20) == ERR_OK, "a long one");
        run(e, 1e9);
        to = when(3, 0);
        from = to - rest;
        for (uint32_t i = 0; i < 500; i++)
            between += when(1, i) > from + 1e-6 && when(1, i) < to - 1e-6;
        CHECK(first == 1 ? between == 0 : between == 2, "tokens of others within its prompt");
        CHECK(isnan(when(1, 500)) && !isnan(when(2, 499)) && !isnan(when(3, 19)), "none is lost");
        engine_close(e);
    }
}

static void
test_queue_drains_at_r(void)
{
    struct engine_params p = quiet();
    struct engine *e = open_with(&p, &speed, 1);
    struct engine_truth t;
    double expected_ms, u = 2048;

    /* Ten prompts of a whole budget each: one an iteration, first tokens only. */
    for (uint32_t i = 0; i < 10; i++)
        CHECK(submit(e, 0, i, 2048, 1) == ERR_OK, "queue");
    engine_truth(e, 0, 0, &t);
    CHECK(t.running == 1 && t.waiting == 9, "one was admitted");
    CHECK(near(t.queue_tokens, 18432), "queue tokens: nine prompts");
    CHECK(near(t.iteration_left_ms, prefill_ms(u, 0) + step_ms(1, u)), "one is under way");
    run(e, 1e9);
    expected_ms = 10 * (prefill_ms(u, 0) + step_ms(1, u));
    CHECK(near(when(9, 0), expected_ms), "the last comes after all the others' tokens");
    CHECK(when(3, 0) < when(4, 0), "in order of arrival");
    engine_truth(e, 1e9, 0, &t);
    CHECK(t.queue_tokens == 0 && t.running == 0 && t.waiting == 0 && t.kv_tokens_used == 0,
          "nothing is left");
    CHECK(t.requests_total == 10 && t.prompt_tokens_total == 20480 && t.output_tokens_total == 10,
          "totals");
    engine_close(e);
}

static void
test_batch_step(void)
{
    struct engine_params p = quiet();
    struct engine *e = open_with(&p, &speed, 1);
    double gap;

    for (uint32_t i = 0; i < 8; i++)
        CHECK(submit(e, 0, i, 16, 50) == ERR_OK, "batch");
    run(e, 1e9);
    gap = when(3, 30) - when(3, 29);
    /* The 7 that came while the first prefilled are one iteration behind it. Token 30 of these is
     * computed from 16 + 30 tokens; of the first from one more. */
    CHECK(near(gap, step_ms(8, 8 * 46 + 1)), "eight share a step");
    CHECK(near(when(1, 10), when(7, 10)), "and get their tokens together");
    engine_close(e);
}

static void
test_prefill_delays_decode(void)
{
    struct engine_params p = quiet();
    struct engine *e = open_with(&p, &speed, 1);
    double start;

    CHECK(submit(e, 0, 1, 100, 100) == ERR_OK, "resident");
    run(e, 200);
    start = engine_next_ms(e); /* the next iteration begins here */
    CHECK(submit(e, 200, 2, 4095, 1) == ERR_OK, "a long prompt: two chunks beside one decode");
    run(e, start + 1e9);
    CHECK(when(2, 0) > start + prefill_ms(4095, 0) + 2 * speed.t0_ms,
          "prefill is stretched by the steps it shares");
    engine_close(e);
}

static void
test_slots(void)
{
    struct engine_params p = quiet();
    struct engine_truth t;
    struct engine *e;

    p.slots = 2;
    e = open_with(&p, &speed, 1);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(submit(e, 0, i, 16, 10) == ERR_OK, "slots");
    run(e, 60);
    engine_truth(e, 60, 0, &t);
    CHECK(t.running == 2 && t.waiting == 1, "two run, one waits");
    engine_cancel(e, 60, 1);
    engine_cancel(e, 60, 99);
    engine_truth(e, 60, 0, &t);
    CHECK(t.running == 1, "cancel frees the slot");
    run(e, 1e9);
    CHECK(!isnan(when(2, UINT32_MAX)) && isnan(when(1, 9)), "the waiting one took it");
    engine_truth(e, 1e9, 0, &t);
    CHECK(t.kv_tokens_used == 0, "and all blocks are free");
    engine_close(e);
}

static void
test_kv_limit(void)
{
    struct engine_params p = quiet();
    struct engine_speed small = speed;
    struct engine_truth t;
    struct engine *e;
    double at_ms = 0;
    bool within = true;

    small.kv_tokens_cap = 320; /* 20 blocks */
    e = open_with(&p, &small, 1);
    CHECK(submit(e, 0, 9, 300, 21) == ERR_FULL, "more than the whole KV");
    CHECK(submit(e, 0, 1, 100, 100) == ERR_OK, "first");
    CHECK(submit(e, 0, 2, 100, 100) == ERR_OK, "second");
    CHECK(submit(e, 0, 3, 100, 100) == ERR_OK, "third");
    output_count = 0;
    while (engine_next_ms(e) < INFINITY) {
        at_ms = engine_next_ms(e);
        output_count += engine_run(e, at_ms, outputs + output_count, OUTPUTS_MAX - output_count);
        engine_truth(e, at_ms, 0, &t);
        within = within && t.kv_tokens_used <= t.kv_tokens_cap;
    }
    CHECK(within, "never more than the capacity");
    CHECK(t.preemptions_total > 0, "the youngest was preempted");
    CHECK(!isnan(when(1, UINT32_MAX)) && !isnan(when(2, UINT32_MAX)) && !isnan(when(3, UINT32_MAX)),
          "all finish");
    CHECK(when(1, UINT32_MAX) < when(3, UINT32_MAX), "the eldest first");
    CHECK(engine_request_preemptions(e, 1) == 0, "the eldest never gave way");
    for (uint32_t i = 0; i < 100; i++) {
        size_t seen = 0;

        for (size_t k = 0; k < output_count; k++)
            seen += outputs[k].kind == ENGINE_OUTPUT_TOKEN && outputs[k].id == 3 &&
                    outputs[k].index == i;
        if (seen != 1) {
            CHECK(seen == 1, "each token once");
            break;
        }
    }
    CHECK(t.kv_tokens_used == 0, "nothing is held at the end");
    engine_close(e);
}

static void
chain(uint64_t *blocks, uint32_t count, uint64_t salt)
{
    uint64_t h = salt * 0x9e3779b97f4a7c15u + 1;

    for (uint32_t i = 0; i < count; i++)
        blocks[i] = h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u + i;
}

static void
test_prefix_cache(void)
{
    struct engine_params p = quiet();
    struct engine *e = open_with(&p, &speed, 1);
    uint64_t blocks[64];
    struct engine_request r = {
        .id = 1, .prompt_tokens = 1024, .output_tokens = 1, .blocks = blocks, .block_count = 64};
    struct engine_truth t;

    chain(blocks, 64, 1);
    CHECK(engine_cached_tokens(e, &r) == 0, "cold");
    CHECK(engine_submit(e, 0, &r) == ERR_OK, "cold");
    CHECK(engine_cached_tokens(e, &r) == 0, "not yet ready");
    run(e, 1e6);
    CHECK(near(when(1, 0), prefill_ms(1024, 0) + step_ms(1, 1024)), "cold prefill");
    CHECK(engine_cached_tokens(e, &r) == 63 * 16, "the last block is always computed");
    r.id = 2;
    CHECK(engine_submit(e, 1e6, &r) == ERR_OK, "warm");
    run(e, 2e6);
    CHECK(near(when(2, 0), 1e6 + prefill_ms(16, 1008) + step_ms(1, 1024)), "a hit shortens it");
    CHECK(engine_request_cached(e, 2) == 1008, "usage says so");
    CHECK(engine_request_admitted_ms(e, 2) == 1e6, "and when it began");
    CHECK(isnan(engine_request_admitted_ms(e, 77)), "unknown id");
    chain(blocks + 32, 32, 2); /* the first half is the same */
    r.id = 3;
    CHECK(engine_submit(e, 2e6, &r) == ERR_OK, "half");
    run(e, 3e6);
    CHECK(engine_request_cached(e, 3) == 512, "half a prefix, half a hit");
    engine_truth(e, 3e6, 0, &t);
    CHECK(t.cached_tokens_total == 1520 && t.prompt_tokens_total == 3072, "totals");
    CHECK(t.kv_tokens_used == 0, "idle blocks are not in use");
    engine_close(e);
}

static void
test_cache_evicts_leaves(void)
{
    struct engine_params p = quiet();
    struct engine_speed small = speed;
    uint64_t blocks[10], other[10];
    struct engine_request r = {
        .id = 1, .prompt_tokens = 161, .output_tokens = 1, .blocks = blocks, .block_count = 10};
    struct engine_request q = r;
    struct engine *e;

    small.kv_tokens_cap = 16 * 16;
    e = open_with(&p, &small, 1);
    chain(blocks, 10, 1);
    chain(other, 10, 2);
    q.id = 2;
    q.blocks = other;
    q.prompt_tokens = 160;
    CHECK(engine_submit(e, 0, &r) == ERR_OK, "fill");
    run(e, 1e6);
    CHECK(engine_cached_tokens(e, &r) == 160, "ten blocks are cached");
    CHECK(engine_submit(e, 1e6, &q) == ERR_OK, "needs ten of sixteen");
    run(e, 2e6);
    CHECK(engine_cached_tokens(e, &r) == 96, "the last four gave way, the first six stand");
    engine_close(e);

    p.cache_tokens = 32; /* apart from the KV: two blocks */
    e = open_with(&p, &small, 1);
    CHECK(engine_submit(e, 0, &r) == ERR_OK, "fill");
    run(e, 1e6);
    CHECK(engine_cached_tokens(e, &r) == 32, "a small cache keeps the beginning");
    engine_close(e);
}

static void
test_loading(void)
{
    struct engine_params p = quiet();
    double load_ms;
    struct engine_truth t;
    struct engine *e = NULL;
    struct engine_request r = {.id = 1, .prompt_tokens = 16, .output_tokens = 1};

    p.models_max = 2;
    load_ms = speed.weights_bytes / p.disk_bytes_per_ms + p.start_ms;
    CHECK(engine_open(&p, 1, &e) == ERR_OK, "open");
    CHECK(engine_model(e, 0, &speed, ENGINE_MODEL_READY, 0) == ERR_OK, "ready");
    CHECK(engine_model(e, 1, &speed, ENGINE_MODEL_LOADING, 500) == ERR_OK, "loading");
    CHECK(engine_model(e, 2, &speed, ENGINE_MODEL_ON_DISK, 0) == ERR_OK, "on disk");
    CHECK(engine_model(e, 2, &speed, ENGINE_MODEL_ON_DISK, 0) == ERR_EXISTS, "told twice");
    r.model = 3;
    CHECK(engine_submit(e, 0, &r) == ERR_NOT_FOUND, "absent");
    r.model = 1;
    CHECK(engine_submit(e, 0, &r) == ERR_OK, "waits for the load");
    engine_truth(e, 100, 1, &t);
    CHECK(near(t.load_left_ms, 400), "load left");
    run(e, 1000);
    CHECK(near(when(1, 0), 500 + prefill_ms(16, 0) + step_ms(1, 16)), "starts as it is loaded");
    CHECK(outputs[0].kind == ENGINE_OUTPUT_LOADED && outputs[0].id == 1 && outputs[0].at_ms == 500,
          "and the driver is told");
    r.model = 2;
    r.id = 2;
    CHECK(engine_submit(e, 1000, &r) == ERR_OK, "a third model");
    CHECK(engine_model_state(e, 2) == ENGINE_MODEL_LOADING, "loads");
    CHECK(engine_model_state(e, 0) == ENGINE_MODEL_ON_DISK &&
              engine_model_state(e, 1) == ENGINE_MODEL_READY,
          "the one idle longest gave way");
    run(e, 1e9);
    CHECK(near(when(2, 0), 1000 + load_ms + prefill_ms(16, 0) + step_ms(1, 16)),
          "weights over bandwidth, and the start");
    engine_close(e);
}

static void
test_two_models_take_turns(void)
{
    struct engine_params p = quiet();
    struct engine_request r = {.id = 1, .model = 1, .prompt_tokens = 16, .output_tokens = 50};
    struct engine *e;
    double gap;

    p.models_max = 2;
    e = open_with(&p, &speed, 1);
    CHECK(engine_model(e, 1, &speed, ENGINE_MODEL_READY, 0) == ERR_OK, "second model");
    CHECK(engine_submit(e, 0, &r) == ERR_OK && submit(e, 0, 2, 16, 50) == ERR_OK, "both");
    run(e, 1e9);
    gap = when(1, 20) - when(1, 19);
    CHECK(gap > 2 * speed.t0_ms && gap < 2.1 * speed.t0_ms, "each has every other iteration");
    engine_close(e);
}

/* A seeded crowd; a checksum of every output. */
static uint64_t
crowd(uint64_t seed, double portion_ms)
{
    struct engine_params p = quiet();
    uint64_t sum = 14695981039346656037u;
    struct rng rng;
    struct engine *e;
    double now_ms = 0, at_ms = 0;

    p.step_noise = 0.08;
    p.pause_mean_interval_ms = 500;
    p.pause_mean_ms = 30;
    e = open_with(&p, &speed, seed);
    rng_init(&rng, 5);
    for (uint64_t id = 1; id <= 300; id++) {
        at_ms += 30 * rng_exponential(&rng);
        while (now_ms + portion_ms <= at_ms || id == 300) {
            now_ms += portion_ms;
            run(e, now_ms);
            for (size_t i = 0; i < output_count; i++) {
                sum = (sum ^ outputs[i].id) * 1099511628211u;
                sum = (sum ^ (uint64_t)(outputs[i].at_ms * 1e6)) * 1099511628211u;
            }
            if (id == 300 && engine_next_ms(e) == INFINITY)
                break;
        }
        if (id < 300)
            CHECK(submit(e, at_ms, id, 1 + (uint32_t)rng_below(&rng, 3000),
                         1 + (uint32_t)rng_below(&rng, 100)) == ERR_OK,
                  "crowd");
    }
    engine_close(e);
    return sum;
}

static void
test_determinism(void)
{
    uint64_t a = crowd(1, 10);

    CHECK(crowd(1, 10) == a, "same seed, same outputs");
    CHECK(crowd(1, 333) == a, "however late the driver calls");
    CHECK(crowd(2, 10) != a, "another seed, other outputs");
}

static void
test_noise(void)
{
    struct engine_params p = quiet();
    struct engine *e;
    double sum = 0, squares = 0, sigma;
    int n = 2000;

    p.step_noise = 0.08;
    e = open_with(&p, &speed, 3);
    CHECK(submit(e, 0, 1, 16, (uint32_t)n + 1) == ERR_OK, "noise");
    run(e, 1e9);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        double ln = fmath_log((outputs[i + 1].at_ms - outputs[i].at_ms) / step_ms(1, 16 + i + 1));

        sum += ln;
        squares += ln * ln;
    }
    sigma = sqrt(squares / n - (sum / n) * (sum / n));
    CHECK(fabs(sum / n) < 0.01 && fabs(sigma - 0.08) < 0.008, "log-normal, sigma 8 %");
    engine_close(e);
}

static void
test_bad_parameters(void)
{
    struct engine_params p = quiet();
    struct engine_speed s = speed;
    struct engine *e = NULL;

    p.slots = 0;
    CHECK(engine_open(&p, 1, &e) == ERR_ARG && e == NULL, "no slots");
    p = quiet();
    p.hidden_speed = NAN;
    CHECK(engine_open(&p, 1, &e) == ERR_ARG, "NaN");
    p = quiet();
    p.prefill_budget = p.slots - 1;
    CHECK(engine_open(&p, 1, &e) == ERR_ARG, "budget below slots");
    p = quiet();
    CHECK(engine_open(&p, 1, &e) == ERR_OK, "good ones");
    s.t0_ms = 0;
    CHECK(engine_model(e, 0, &s, ENGINE_MODEL_READY, 0) == ERR_ARG, "a step of no time");
    CHECK(engine_model(e, ENGINE_MODELS_HELD_MAX, &speed, ENGINE_MODEL_READY, 0) == ERR_ARG,
          "model out of range");
    CHECK(submit(e, 0, 1, 1, 1) == ERR_NOT_FOUND, "no model yet");
    CHECK(engine_model(e, 0, &speed, ENGINE_MODEL_READY, 0) == ERR_OK, "model");
    CHECK(submit(e, 0, 1, 0, 1) == ERR_ARG && submit(e, 0, 1, 1, 0) == ERR_ARG, "empty requests");
    for (uint32_t i = 0; i < ENGINE_WAITING_MAX + 1; i++) /* the first runs */
        if (submit(e, 0, i, 1, 1) != ERR_OK)
            CHECK(false, "fits the queue");
    CHECK(submit(e, 0, 1, 1, 1) == ERR_FULL, "queue full");
    engine_close(e);
    engine_close(NULL);
}

static void
test_table(void)
{
    struct engine_speed s;
    struct speed_row row;

    CHECK(engine_table_speed(8, SPAN_LIT("H100"), &s) == ERR_OK && s.b_ms == 0.028, "8B on H100");
    CHECK(engine_table_speed(70, SPAN_LIT("h200x2"), &s) == ERR_OK && s.t0_ms == 22.7, "70B");
    CHECK(engine_table_speed(16.06, SPAN_LIT("4090"), &s) == ERR_OK && near(s.b_ms, 0.162),
          "twice the size, half the speed");
    CHECK(engine_table_kv_bytes(7) == 32 * 4096 && engine_table_kv_bytes(70) == 80 * 4096,
          "KV of a token");
    CHECK(engine_table_speed(8, SPAN_LIT("tpu"), &s) == ERR_NOT_FOUND, "no such GPU");
    CHECK(speed_table_find(NAN, SPAN_LIT("h100"), &row) == ERR_ARG, "no such size");
    for (size_t i = 0; speed_table_at(i) != NULL; i++) {
        row = *speed_table_at(i);
        CHECK(row.b_ms > 0 && row.t0_ms > 0 && row.kv_tokens_cap >= 16000, row.gpu);
    }
}

int
main(void)
{
    test_lone_request();
    test_experts();
    test_prefill_first();
    test_queue_drains_at_r();
    test_batch_step();
    test_prefill_delays_decode();
    test_slots();
    test_kv_limit();
    test_prefix_cache();
    test_cache_evicts_leaves();
    test_loading();
    test_two_models_take_turns();
    test_determinism();
    test_noise();
    test_bad_parameters();
    test_table();
    return tap_done();
}

/* closed_loop_test - what a benchmark's clients see, against the formula, and its limits. */
#include "sim/closed_loop.h"

#include <math.h>

#include "engine/engine_table.h"
#include "tap.h"

static const struct engine_speed speed = {.a_ms = 6,
                                          .b_ms = 0.1,
                                          .c_ms = 1e-5,
                                          .t0_ms = 10,
                                          .tk_ms = 0.2,
                                          .tb_ms = 0.5,
                                          .kv_tokens_cap = 100000,
                                          .weights_bytes = 16e9};

static struct engine_params
calm(void)
{
    struct engine_params p;

    engine_table_vllm(&p);
    p.step_noise = 0;
    return p;
}

static bool
near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * b;
}

/* One client: no queue, so the formula is exact. */
static void
test_alone(void)
{
    struct engine_params p = calm();
    struct closed_loop l = {.prompt_tokens = 1000,
                            .output_tokens = 101,
                            .length_share = 1,
                            .concurrency = 1,
                            .visible_tokens = 1};
    struct closed_loop_seen s;
    double first = 6 + 0.1 * 1000 + 1e-5 * 1000 * 500 + 10 + 0.2 + 0.5;
    double step = 10.5 + 0.2 * (1000 + 50.5) / 1000;

    CHECK(closed_loop_run(&speed, &p, &l, &s) == ERR_OK, "alone");
    CHECK(near(s.ttft_ms, first) && near(s.tpot_ms, step), "the formula");
    l.front_ms = 30;
    l.visible_tokens = 21;
    CHECK(closed_loop_run(&speed, &p, &l, &s) == ERR_OK, "in pieces");
    CHECK(near(s.ttft_ms, first + 30 + 20 * step) && near(s.tpot_ms, step * 80 / 100),
          "the first piece is late, the rest faster");
    l.output_tokens = 1;
    CHECK(closed_loop_run(&speed, &p, &l, &s) == ERR_OK && s.tpot_ms == 0 &&
              near(s.ttft_ms, first + 30),
          "one token has no pace");
}

static void
test_crowd(void)
{
    struct engine_params p = calm();
    struct closed_loop l = {.prompt_tokens = 500,
                            .output_tokens = 60,
                            .length_share = 0.8,
                            .concurrency = 8,
                            .visible_tokens = 1};
    struct closed_loop_seen few, many, tight, first;
    struct engine_speed s = speed;

    CHECK(closed_loop_run(&speed, &p, &l, &few) == ERR_OK, "eight clients");
    l.concurrency = 32;
    CHECK(closed_loop_run(&speed, &p, &l, &many) == ERR_OK, "thirty-two");
    CHECK(many.ttft_ms > 1.5 * few.ttft_ms && many.tpot_ms > 1.5 * few.tpot_ms, "are slower");
    s.kv_tokens_cap = 6000;
    CHECK(closed_loop_run(&s, &p, &l, &tight) == ERR_OK, "with room for ten");
    CHECK(tight.ttft_ms > 3 * many.ttft_ms, "they queue");
    p.prefill_first = true;
    CHECK(closed_loop_run(&speed, &p, &l, &first) == ERR_OK && first.ttft_ms != many.ttft_ms,
          "prompts first is another pattern");
}

static void
test_limits(void)
{
    struct engine_params p = calm();
    struct closed_loop l = {.prompt_tokens = 500,
                            .output_tokens = 60,
                            .length_share = 1,
                            .concurrency = 0,
                            .visible_tokens = 1};
    struct engine_speed s = speed;
    struct closed_loop_seen seen;

    CHECK(closed_loop_run(&speed, &p, &l, &seen) == ERR_ARG, "nobody");
    l.concurrency = ENGINE_SEQUENCES_MAX + 1;
    CHECK(closed_loop_run(&speed, &p, &l, &seen) == ERR_ARG, "more than an engine takes");
    l.concurrency = 2;
    l.length_share = 0;
    CHECK(closed_loop_run(&speed, &p, &l, &seen) == ERR_ARG, "no length");
    l.length_share = 1;
    s.kv_tokens_cap = 320;
    CHECK(closed_loop_run(&s, &p, &l, &seen) == ERR_FULL, "no room for one");
    s.t0_ms = -1;
    CHECK(closed_loop_run(&s, &p, &l, &seen) == ERR_ARG, "a time below zero");
}

int
main(void)
{
    test_alone();
    test_crowd();
    test_limits();
    return tap_done();
}

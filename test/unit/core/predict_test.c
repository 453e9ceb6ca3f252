/* predict_test - the terms by hand: each row changes one thing and says what it must cost. */
#include "core/predict.h"

#include <math.h>

#include "tap.h"

static const struct predict_node idle = {
    .curve =
        {.a_ms = 2.0f, .b_ms = 0.1f, .c_ms = 0.0f, .t0_ms = 10.0f, .tk_ms = 0.1f, .tb_ms = 0.01f},
    .output_tokens_mean = 100.0f,
    .residual = 1.0f,
    .residual_step = 1.0f,
    .iteration_left_ms = NAN,
    .rtt_ms = 20.0f,
    .spread = 0.1f,
};
static const struct predict_request request = {
    .prompt_tokens = 1000.0f, .output_tokens = 101.0f, .rounds = 1.0f};

static int
near(float a, float b)
{
    return fabsf(a - b) <= 0.002f * fabsf(b) + 0.001f;
}

int
main(void)
{
    struct predict_node node = idle;
    struct predict_request r = request;
    struct terms t, base;

    predict_terms(&node, &r, &base);
    CHECK(near(base.net_ms, 20.0f), "net: one round trip");
    CHECK(near(base.prefill_ms, 102.0f), "prefill: a + b*u, alone");
    CHECK(near(base.step_ms, 10.11f), "step: t0 + tk*KV + tb");
    CHECK(near(base.queue_ms, 0.0f) && near(base.ready_ms, 0.0f), "idle and ready: no wait");
    CHECK(near(base.first_ms, 132.11f), "first: the sum");
    CHECK(near(base.done_ms, base.first_ms + 100.0f * 10.11f), "done: and the other steps");
    CHECK(near(base.sigma_ms, 0.1f * 112.11f), "sigma: of the node's part");
    r.rounds = 2.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.first_ms, base.first_ms + 20.0f), "a new connection costs a round trip");
    r = request;
    r.hit_tokens = 600.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.prefill_ms, 42.0f), "cached tokens are not computed");
    r = request;
    node.residual = 2.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.first_ms, 20.0f + 2.0f * 112.11f), "the residual leaves the net alone");
    node = idle;
    node.ready_in_ms = 500.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.first_ms, base.first_ms + 500.0f), "a load is waited for");
    node = idle;
    node.queue_tokens = 5000.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.queue_ms, 500.0f), "a queue: its tokens");
    node = idle;
    node.running = node.slots = 10.0f;
    node.waiting = 4.0f;
    node.iteration_left_ms = 0.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.queue_ms, 5.0f * 100.0f * t.step_ms / 10.0f), "no slot: four go before us");
    node = idle;
    node.running = 8.0f;
    node.kv_tokens_used = 9000.0f;
    node.kv_tokens_cap = 10000.0f;
    node.iteration_left_ms = 0.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.queue_ms, 101.0f / 9000.0f * 100.0f * t.step_ms), "no KV: what is missing");
    node.iteration_left_ms = NAN;
    node.kv_tokens_cap = 0.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.queue_ms, 0.5f * t.step_ms), "busy: half an iteration on average");
    return tap_done();
}

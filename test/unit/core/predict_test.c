/* predict_test - the terms by hand: each row changes one thing and says what it must cost. */
#include "core/predict.h"

#include <math.h>

#include "tap.h"

static const struct predict_node idle = {
    .path = {.rtt_ms = 20.0f},
    .curve =
        {.a_ms = 2.0f, .b_ms = 0.1f, .c_ms = 0.0f, .t0_ms = 10.0f, .tk_ms = 0.1f, .tb_ms = 0.01f},
    .output_tokens_mean = 100.0f,
    .residual = 1.0f,
    .residual_step = 1.0f,
    .iteration_left_ms = NAN,
    .spread = 0.1f,
};
static const struct predict_request request = {
    .prompt_tokens = 1000.0f, .output_tokens = 101.0f, .rounds = 1.0f};

static int
near(float a, float b)
{
    return fabsf(a - b) <= 0.002f * fabsf(b) + 0.001f;
}

/* The way out of a body, in round trips of 100 ms (rate 0) or by the path's rate. */
static const struct {
    const char *label;
    float body_bytes, bytes_per_ms, send_ms;
} bodies[] = {
    {"what fits ten segments goes at once", 14600.0f, 0.0f, 0.0f},
    {"one byte more waits for the first acknowledgement", 14601.0f, 0.0f, 100.0f},
    {"ten and twenty segments", 43800.0f, 0.0f, 100.0f},
    {"and forty", 43801.0f, 0.0f, 200.0f},
    {"a large prompt: 14600 * (2^7 - 1) = 1.85 MB in seven windows", 1854200.0f, 0.0f, 600.0f},
    {"and an eighth", 1854201.0f, 0.0f, 700.0f},
    {"a slow path is full at once: the rate alone", 50000.0f, 100.0f, 500.0f},
    {"a fuller one: two windows are waited for, the rest at the rate", 143800.0f, 500.0f, 400.0f},
    {"a fast one: slow start, then what the last window takes", 43800.0f, 10000.0f, 102.92f},
    {"the rate holds for small bodies too", 1000.0f, 100.0f, 10.0f},
    {"no body", 0.0f, 100.0f, 0.0f},
    {"nor a body of no size", NAN, 0.0f, 0.0f},
};

static void
test_send(void)
{
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct predict_path path = {.rtt_ms = 100.0f, .bytes_per_ms = bodies[i].bytes_per_ms};
        CHECK(near(predict_send_ms(&path, bodies[i].body_bytes), bodies[i].send_ms),
              bodies[i].label);
    }
    CHECK(isfinite(predict_send_ms(&(struct predict_path){60000.0f, 0.0f, 1.0f}, 4294967295.0f)),
          "the largest body over the slowest path takes a finite time");
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
    r.body_bytes = 20000.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.net_ms, 60.0f), "and a large body another one");
    node.path.jitter_ms = 5.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.net_ms, 65.0f), "jitter comes on top");
    CHECK(near(t.sigma_ms, base.sigma_ms + 5.0f), "and makes it less sure");
    node = idle;
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
    node.beside = 6.0f;
    predict_terms(&node, &r, &t);
    CHECK(near(t.step_ms, base.step_ms + 16.0f * 0.01f), "those in other slots lengthen steps");
    CHECK(near(t.queue_ms, 5.0f * 100.0f * t.step_ms / 10.0f), "and are not before us");
    node.running = node.waiting = 0.0f;
    node.iteration_left_ms = NAN;
    predict_terms(&node, &r, &t);
    CHECK(near(t.queue_ms, 0.5f * t.step_ms), "but one of their iterations is under way");
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
    test_send();
    return tap_done();
}

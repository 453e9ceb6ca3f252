/* price_test - J by hand: each row changes one thing, and says what of the price that must change.
 */
#include "core/price.h"

#include <math.h>

#include "tap.h"

/* 1,000 tokens of prompt, 100 of answer; 10 decode there. */
static const struct predict_node idle = {
    .curve = {.b_ms = 0.1f, .t0_ms = 10.0f, .tk_ms = 0.2f, .tb_ms = 0.01f},
    .running = 0.0f,
    .kv_tokens_cap = 10000.0f,
    .residual = 1.0f,
    .residual_step = 1.0f,
};
static const struct predict_request request = {.prompt_tokens = 1000.0f, .output_tokens = 100.0f};

static const struct event_tuning weights = {
    .done_part = 0.1f, .ext_part = 0.1f, .late_factor = 5.0f, .kv_ms = 1000.0f, .kv_from = 0.7f};

static const struct {
    const char *label;
    float running, residual, residual_step, kv_used, kv_cap, hit, first_ms, soft_ms;
    float ext_ms, late_ms, kv_ms;
} rows[] = {
    {"nobody is held up, in time, room", 0, 1, 1, 0, 1e4f, 0, 200, 300, 0, 0, 0},
    /* 10 * (1000*0.1 + 100*(0.01 + 0.2*(1000 + 50)/1000)) = 10 * (100 + 22), a tenth of it */
    {"ten are held up", 10, 1, 1, 0, 1e4f, 0, 200, 300, 122, 0, 0},
    {"prefill is slower there than its class", 10, 2, 1, 0, 1e4f, 0, 200, 300, 222, 0, 0},
    {"steps are", 10, 1, 2, 0, 1e4f, 0, 200, 300, 144, 0, 0},
    {"what is cached holds nobody up", 10, 1, 1, 0, 1e4f, 600, 200, 300, 62, 0, 0},
    {"late by a third", 0, 1, 1, 0, 1e4f, 0, 400, 300, 0, 500, 0},
    {"waited too long already", 0, 1, 1, 0, 1e4f, 0, 400, 0, 0, 2000, 0},
    /* (5900 + 1100)/10000 = 0.7: just room; 8500 + 1100: (0.26/0.3)^2 */
    {"room to the edge", 0, 1, 1, 5900, 1e4f, 0, 200, 300, 0, 0, 0},
    {"the last of the room", 0, 1, 1, 8500, 1e4f, 0, 200, 300, 0, 0, 751.1f},
    {"all of it", 0, 1, 1, 8900, 1e4f, 0, 200, 300, 0, 0, 1000},
    {"more than all", 0, 1, 1, 11900, 1e4f, 0, 200, 300, 0, 0, 4000},
    {"room unknown", 0, 1, 1, 99999, 0, 0, 200, 300, 0, 0, 0},
};

static int
near(float a, float b)
{
    return fabsf(a - b) <= 0.002f * fabsf(b) + 0.001f;
}

int
main(void)
{
    const struct event_tuning nothing = {.kv_from = 0.7f};
    struct terms terms = {.first_ms = 400.0f, .done_ms = 1400.0f};
    struct predict_node node = idle;
    struct price p;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct predict_request r = request;
        terms.first_ms = rows[i].first_ms;
        node.running = rows[i].running;
        node.residual = rows[i].residual;
        node.residual_step = rows[i].residual_step;
        node.kv_tokens_used = rows[i].kv_used;
        node.kv_tokens_cap = rows[i].kv_cap;
        r.hit_tokens = rows[i].hit;
        price_node(&weights, rows[i].soft_ms, &node, &r, &terms, &p);
        CHECK(near(p.ext_ms, rows[i].ext_ms) && near(p.late_ms, rows[i].late_ms) &&
                  near(p.kv_ms, rows[i].kv_ms),
              rows[i].label);
        CHECK(near(p.cost_ms, terms.first_ms + 140.0f + p.ext_ms + p.late_ms + p.kv_ms), "the sum");
    }
    node = idle;
    node.running = 4.0f;
    node.beside = 6.0f;
    price_node(&weights, 300.0f, &node, &request, &terms, &p);
    CHECK(near(p.ext_ms, 122.0f), "those in slots of other models are held up as well");
    node.running = 10.0f;
    node.kv_tokens_used = node.kv_tokens_cap = 1e4f;
    price_node(&nothing, 0.0f, &node, &request, &terms, &p);
    CHECK(p.cost_ms == terms.first_ms, "a weight of 0 leaves its term out");
    return tap_done();
}

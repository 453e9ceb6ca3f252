/* prior_test - sizes out of names, and curves where the table knows only half. */
#include <stdio.h>

#include "role/gateway/prior.h"
#include "tap.h"

static const struct {
    const char *name;
    double params_b;
} names[] = {
    {"llama-3.1-8b", 8.0},
    {"meta-llama/Llama-3.1-70B-Instruct", 70.0},
    {"qwen2.5:0.5b", 0.5},
    {"mixtral-8x7b-instruct", 56.0},
    {"Qwen3-32B", 32.0},
    {"llama3.1", 0.0},
    {"gpt-oss", 0.0},
    {"8bit-model", 0.0}, /* not a size */
    {"b", 0.0},
    {"", 0.0},
    {"x99999999999999999999999b", 0.0}, /* beyond any model */
};

static bool
finite_curve(const struct event_curve *e)
{
    return e->curve.a_ms >= 0.0f && e->curve.b_ms > 0.0f && e->curve.t0_ms > 0.0f &&
           e->kv_tokens_cap > 0.0f && e->load_ms > 0.0f && e->load_ms < 1e9f;
}

int
main(void)
{
    struct event_curve known, slower, scaled, unknown;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK(prior_params_b(span_of(names[i].name)) == names[i].params_b, names[i].name);
    prior_curve(SPAN_LIT("m-8b"), 0.0, SPAN_LIT("h100"), 1.0, &known);
    prior_curve(SPAN_LIT("m-8b"), 0.0, SPAN_LIT("l40s"), 1.0, &slower);
    prior_curve(SPAN_LIT("m-8b"), 0.0, SPAN_LIT("h100"), 1.3, &scaled);
    prior_curve(SPAN_LIT("m"), 0.0, SPAN_LIT("abacus"), 1.0, &unknown);
    CHECK(finite_curve(&known) && finite_curve(&slower) && finite_curve(&unknown),
          "a curve for everything");
    CHECK(slower.curve.b_ms > known.curve.b_ms, "an l40s prefills slower than an h100");
    CHECK(unknown.curve.b_ms > known.curve.b_ms && unknown.curve.b_ms < slower.curve.b_ms,
          "an unknown card is middle of the road");
    CHECK(unknown.guess == 1 && known.guess == 0, "and said to be a guess");
    CHECK(scaled.curve.b_ms > 1.29f * known.curve.b_ms &&
              scaled.curve.b_ms < 1.31f * known.curve.b_ms,
          "constants_scale scales");
    CHECK(scaled.kv_tokens_cap == known.kv_tokens_cap, "but not the room");
    return tap_done();
}

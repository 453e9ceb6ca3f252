/* dynamo - the KV router of NVIDIA Dynamo (ai-dynamo/dynamo, lib/kv-router, selector.rs): the least
 *
 *   logit = prefill_part * (active prefill + uncached prompt) / 16 + decode blocks
 *
 * in KV blocks of 16 tokens; decode blocks are those in use and those of this prompt. With a
 * temperature the choice is a softmax over -logit / temperature, with logits scaled to 0..1; the
 * default is 0, the least. Active work of other routers is known there by an optional sync, here by
 * reports. Credit for host and disk tiers is not modelled (one tier). By capacity: logits are
 * divided by it, which its device ratio does for tiers alone. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define BLOCK_TOKENS 16.0

enum { PREFILL_PART, TEMPERATURE, KNOBS };

struct dynamo {
    double knob[KNOBS];
};

static void
dynamo_init(void *state, const struct sim_rule_setup *setup)
{
    struct dynamo *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static double
logit_plain(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct dynamo *s = ctx;
    double prefill = rule_queue_tokens(c) + rule_uncached_tokens(input, c);
    double decode = rule_kv_tokens(c) + (double)input->request.prompt_tokens;

    return (s->knob[PREFILL_PART] * prefill + decode) / BLOCK_TOKENS;
}

static double
logit(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    return logit_plain(ctx, input, c) / (double)c->weight;
}

static size_t
softmax(const struct rule_input *input, struct rng *rng, rule_cost *cost, double temperature)
{
    const void *s = input->state;
    double low = INFINITY, high = 0.0, total = 0.0, range, draw;
    size_t at = 0;

    for (size_t i = 0; i < input->count; i++) {
        double x = cost(s, input, &input->candidates[i]);
        low = fmin(low, x);
        high = fmax(high, x);
    }
    range = high > low ? (high - low) * temperature : 1.0;
    for (size_t i = 0; i < input->count; i++)
        total += fmath_exp((low - cost(s, input, &input->candidates[i])) / range);
    draw = rng_unit(rng) * total;
    for (; at + 1 < input->count; at++) {
        draw -= fmath_exp((low - cost(s, input, &input->candidates[at])) / range);
        if (draw < 0.0)
            break;
    }
    return at;
}

static size_t
choose(const struct rule_input *input, struct rng *rng, rule_cost *cost)
{
    const struct dynamo *s = input->state;

    if (s->knob[TEMPERATURE] > 0.0)
        return softmax(input, rng, cost, s->knob[TEMPERATURE]);
    return rule_least(input, cost, s);
}

static size_t
dynamo_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, logit);
}

static size_t
dynamo_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, logit_plain);
}

static const struct sim_knob knobs[KNOBS] = {
    {"prefill_part", 1.0, 0.1, 100.0, true},
    {"temperature", 0.0, 0.0, 0.2, false},
};

static const double tuned[] = {33.29, 0.01578};

const struct sim_rule sim_rule_dynamo = {
    .rule = {"dynamo", RULE_WANTS_SEEN, dynamo_choose, NULL},
    .source = "NVIDIA Dynamo's KV router, by capacity",
    .state_bytes = sizeof(struct dynamo),
    .init = dynamo_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_dynamo_plain = {
    .rule = {"dynamo_plain", RULE_WANTS_SEEN, dynamo_plain_choose, NULL},
    .source = "NVIDIA Dynamo's KV router",
    .state_bytes = sizeof(struct dynamo),
    .init = dynamo_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

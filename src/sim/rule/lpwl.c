/* lpwl - least predicted work left: prefill that waits there, and what of this prompt is not cached
 * there; who has most of the prompt is kept as long as it costs no more than `stick` times the best
 * (the notes of agentic-kvc on cache-aware routing of agents; without the release a queue of 149 s
 * built up, twice the best cured it).
 *
 * lpwl has speeds: tokens count by the node's prefill rate. lpwl_plain counts tokens. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

struct lpwl {
    double stick;
};

static void
lpwl_init(void *state, const struct sim_rule_setup *setup)
{
    ((struct lpwl *)state)->stick = setup->knobs[0];
}

static double
work_tokens(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    return rule_queue_tokens(c) + rule_uncached_tokens(input, c);
}

static double
work_ms(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    return work_tokens(ctx, input, c) * rule_token_ms(c);
}

/* Who has most of the prompt first, the least work among equals. */
static size_t
holder(const struct rule_input *input, rule_cost *work)
{
    size_t best = 0;

    for (size_t i = 1; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i], *b = &input->candidates[best];
        double over = work(NULL, input, c) - work(NULL, input, b);
        if (c->hit_tokens > b->hit_tokens ||
            (c->hit_tokens == b->hit_tokens && (over < 0.0 || (over == 0.0 && c->node < b->node))))
            best = i;
    }
    return best;
}

static size_t
choose(const struct rule_input *input, rule_cost *work)
{
    const struct lpwl *s = input->state;
    size_t best = rule_least(input, work, NULL), warm = holder(input, work);

    if (input->candidates[warm].hit_tokens > 0.0f &&
        work(NULL, input, &input->candidates[warm]) <=
            s->stick * work(NULL, input, &input->candidates[best]))
        return warm;
    return best;
}

static size_t
lpwl_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, work_ms);
}

static size_t
lpwl_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, work_tokens);
}

static const struct sim_knob knobs[] = {
    {"stick", 2.0, 1.0, 8.0, true},
};

const struct sim_rule sim_rule_lpwl = {
    .rule = {"lpwl", RULE_WANTS_SEEN, lpwl_choose, NULL},
    .source = "agentic-kvc's least predicted work left, with speeds",
    .state_bytes = sizeof(struct lpwl),
    .init = lpwl_init,
    .knobs = knobs,
    .knob_count = 1,
};

const struct sim_rule sim_rule_lpwl_plain = {
    .rule = {"lpwl_plain", RULE_WANTS_SEEN, lpwl_plain_choose, NULL},
    .source = "agentic-kvc's least predicted work left",
    .state_bytes = sizeof(struct lpwl),
    .init = lpwl_init,
    .knobs = knobs,
    .knob_count = 1,
};

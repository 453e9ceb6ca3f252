/* llmd_sticky - llm-d's newest guide, sticky until saturated: nodes that match at least 0.8 of the
 * prompt, unless the best of them would answer more than 18 s after the best of all; among those
 * that are left the least tokens, in flight there and uncached here (llm-d blog 2026-08-17 and the
 * optimized-baseline guide).
 *
 * A node's estimate is its uncached tokens in flight over the prefill rate. As published that rate
 * is one constant, 15,928 tokens/s; llmd_sticky has each node's own, as learned here, also for the
 * token load. The guide's advice for decode-bound pools, fewest active requests, is
 * `least_request`.
 */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define PUBLISHED_TOKEN_MS (1000.0 / 15928.0)

enum { MATCH, LATER_MS, KNOBS };

struct llmd_sticky {
    double knob[KNOBS];
};

static void
llmd_sticky_init(void *state, const struct sim_rule_setup *setup)
{
    struct llmd_sticky *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static double
token_ms(const struct candidate *c, bool weighted)
{
    return weighted ? rule_token_ms(c) : PUBLISHED_TOKEN_MS;
}

static size_t
choose(const struct rule_input *input, bool weighted)
{
    const struct llmd_sticky *s = input->state;
    double prompt = fmax(1.0, (double)input->request.prompt_tokens);
    double warm_ms = INFINITY, cold_ms = INFINITY, best_load = 0.0;
    size_t best = input->count;
    bool sticky;

    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        double ms = rule_queue_tokens(c) * token_ms(c, weighted);
        if ((double)c->hit_tokens >= s->knob[MATCH] * prompt)
            warm_ms = fmin(warm_ms, ms);
        cold_ms = fmin(cold_ms, ms);
    }
    sticky = warm_ms - cold_ms <= s->knob[LATER_MS]; /* false when nobody is warm: inf */
    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        double load = (rule_queue_tokens(c) + rule_uncached_tokens(input, c)) *
                      token_ms(c, weighted);
        if (sticky && (double)c->hit_tokens < s->knob[MATCH] * prompt)
            continue;
        if (best == input->count || load < best_load ||
            (load == best_load && c->node < input->candidates[best].node)) {
            best = i;
            best_load = load;
        }
    }
    return best;
}

static size_t
llmd_sticky_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, true);
}

static size_t
llmd_sticky_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, false);
}

static const struct sim_knob knobs[KNOBS] = {
    {"match", 0.8, 0.05, 1.0, false},
    {"later_ms", 18000.0, 10.0, 30000.0, true},
};

static const double tuned[] = {0.5298, 605.2};

const struct sim_rule sim_rule_llmd_sticky = {
    .rule = {"llmd_sticky", RULE_WANTS_SEEN, llmd_sticky_choose, NULL},
    .source = "llm-d, sticky until saturated, with speeds",
    .state_bytes = sizeof(struct llmd_sticky),
    .init = llmd_sticky_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_llmd_sticky_plain = {
    .rule = {"llmd_sticky_plain", RULE_WANTS_SEEN, llmd_sticky_plain_choose, NULL},
    .source = "llm-d, sticky until saturated",
    .state_bytes = sizeof(struct llmd_sticky),
    .init = llmd_sticky_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

/* random_weighted - any node, drawn by its capacity: how Gonka draws the executor of a request, by
 * proof-of-compute power (gonka-ai/gonka 312044d). No load, no distance. Core's rule `random` is
 * the one with all nodes alike. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

static size_t
random_weighted_choose(const struct rule_input *input, struct rng *rng)
{
    return rule_draw(input, rng, true, input->count);
}

const struct sim_rule sim_rule_random_weighted = {
    .rule = {"random_weighted", RULE_WANTS_NOTHING, random_weighted_choose, NULL},
    .source = "Gonka's executor draw, gonka-ai/gonka",
};

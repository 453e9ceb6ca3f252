/* p2c - the lesser loaded of two drawn at random (Mitzenmacher, "The power of two choices in
 * randomized load balancing", 2001; the default of Envoy's least_request, Finagle, Ray Serve,
 * vLLM's and SGLang's power_of_two). By capacity: drawn by it, and requests are divided by it. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

static size_t
choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    size_t two[2];
    double load[2];

    rule_draw_two(input, rng, weighted, two);
    for (size_t i = 0; i < 2; i++) {
        const struct candidate *c = &input->candidates[two[i]];
        load[i] = ((double)c->requests + 1.0) / rule_weight(c, weighted);
    }
    return load[0] <= load[1] ? two[0] : two[1];
}

static size_t
p2c_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, true);
}

static size_t
p2c_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, false);
}

const struct sim_rule sim_rule_p2c = {
    .rule = {"p2c", RULE_WANTS_NOTHING, p2c_choose, NULL},
    .source = "Mitzenmacher 2001, by capacity",
};

const struct sim_rule sim_rule_p2c_plain = {
    .rule = {"p2c_plain", RULE_WANTS_NOTHING, p2c_plain_choose, NULL},
    .source = "Mitzenmacher 2001",
};

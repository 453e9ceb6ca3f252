/* lmetric - the least product of prefill work if routed there and batch size (Zhang et al.,
 * "LMetric: Simple is better - multiplication may be all you need for LLM request scheduling",
 * arXiv 2603.15202; the `lmetric` option of NVIDIA Dynamo's router has decode + 1).
 *
 * New prefill tokens are those that wait there and those of this prompt that are not cached. No
 * constant to tune: that is its point. The batch counts this request, so that the product is never
 * 0 for the wrong reason. By capacity: tokens by the node's prefill rate, the batch by capacity. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

static double
product(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    return (rule_queue_tokens(c) + rule_uncached_tokens(input, c)) * rule_token_ms(c) *
           ((double)c->requests + 1.0) / (double)c->weight;
}

static double
product_plain(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    return (rule_queue_tokens(c) + rule_uncached_tokens(input, c)) * ((double)c->requests + 1.0);
}

static size_t
lmetric_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, product, NULL);
}

static size_t
lmetric_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, product_plain, NULL);
}

const struct sim_rule sim_rule_lmetric = {
    .rule = {"lmetric", RULE_WANTS_SEEN, lmetric_choose, NULL},
    .source = "Zhang et al., arXiv 2603.15202, by capacity",
};

const struct sim_rule sim_rule_lmetric_plain = {
    .rule = {"lmetric_plain", RULE_WANTS_SEEN, lmetric_plain_choose, NULL},
    .source = "Zhang et al., arXiv 2603.15202",
};

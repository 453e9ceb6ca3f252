/* least_request_plain - the fewest requests, all nodes alike: what `least connections` is in nginx,
 * HAProxy, Ray's and SkyServe's balancers (sky/serve/load_balancing_policies.py). Core's rule
 * `least_request` is the one by capacity. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

static double
requests(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    (void)input;
    return (double)c->requests;
}

static size_t
least_request_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, requests, NULL);
}

const struct sim_rule sim_rule_least_request_plain = {
    .rule = {"least_request_plain", RULE_WANTS_NOTHING, least_request_plain_choose, NULL},
    .source = "least connections, as in nginx, HAProxy and SkyServe",
};

/* bound - how good a choice could be: our own cost J (core/predict, core/price), with the truth in
 * place of what a gateway can know.
 *
 *   oracle        the live state of every node, what all gateways sent and what is not there yet
 *                 among it: one decision maker with perfect news. What it knows of the request
 *                 itself - lengths, cached part - is what a gateway knows.
 *   clairvoyant   and the true lengths, and what each node really has cached
 *
 * Both look at every ready node and take the cheapest. They are greedy: not the best that a planner
 * with the future in hand could do, but the best that this cost can. */
#include "core/price.h"
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"
#include "sim/sim_world.h"

struct bound {
    struct sim_world *world;
    struct event_tuning tuning;
    uint32_t gateway;
};

static void
bound_init(void *state, const struct sim_rule_setup *setup)
{
    *(struct bound *)state = (struct bound){setup->world, *setup->tuning, setup->gateway};
}

/* All that will be in its way: what waits or is coming counts as core counts it, as requests that
 * will run, and holds KV by then. */
static void
node_truth(const struct bound *s, const struct rule_input *input, uint32_t node,
           struct predict_node *ret_node)
{
    struct sim_coming coming;
    float total;

    sim_world_truth(s->world, s->gateway, node, input->request.model, ret_node);
    sim_world_coming(s->world, node, &coming);
    total = ret_node->running + ret_node->waiting + (float)coming.requests;
    ret_node->running = fminf(total, ret_node->slots);
    ret_node->waiting = fmaxf(0.0f, total - ret_node->slots);
    ret_node->kv_tokens_used += ret_node->queue_tokens + (float)coming.prompt_tokens;
    ret_node->queue_tokens += (float)coming.uncached_tokens;
}

static double
cost(const struct rule_input *input, const struct candidate *c, bool clairvoyant)
{
    const struct bound *s = input->state;
    struct predict_node node;
    struct predict_request request;
    struct terms terms;
    struct price price;

    node_truth(s, input, c->node, &node);
    sim_world_request(s->world, input->request.id, c->node, &request);
    if (!clairvoyant) {
        request.prompt_tokens = input->request.prompt_tokens;
        request.output_tokens = input->request.output_tokens;
        request.hit_tokens = c->hit_tokens;
    }
    predict_terms(&node, &request, &terms);
    price_node(&s->tuning, input->soft_ms, &node, &request, &terms, &price);
    return (double)price.cost_ms;
}

static double
cost_oracle(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    return cost(input, c, false);
}

static double
cost_clairvoyant(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    return cost(input, c, true);
}

static size_t
oracle_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, cost_oracle, NULL);
}

static size_t
clairvoyant_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, cost_clairvoyant, NULL);
}

const struct sim_rule sim_rule_oracle = {
    .rule = {"oracle", RULE_WANTS_SEEN, oracle_choose, NULL},
    .source = "our cost, with the live state of every node",
    .state_bytes = sizeof(struct bound),
    .init = bound_init,
    .is_bound = true,
};

const struct sim_rule sim_rule_clairvoyant = {
    .rule = {"clairvoyant", RULE_WANTS_SEEN, clairvoyant_choose, NULL},
    .source = "our cost, with live state, true lengths and true caches",
    .state_bytes = sizeof(struct bound),
    .init = bound_init,
    .is_bound = true,
};

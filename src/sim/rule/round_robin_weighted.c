/* round_robin_weighted - in turn, each node as often as its capacity asks for: nginx's smooth
 * weighted round robin (ngx_http_upstream_round_robin.c): everyone gains its weight, the richest is
 * taken and pays what all gained. Core's rule `round_robin` is the one with all nodes alike. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

struct round_robin {
    double credit[1]; /* [nodes] */
};

static size_t
round_robin_weighted_choose(const struct rule_input *input, struct rng *rng)
{
    double *credit = ((struct round_robin *)input->state)->credit, total = 0.0;
    size_t best = 0;

    (void)rng;
    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i], *b = &input->candidates[best];
        credit[c->node] += (double)c->weight;
        total += (double)c->weight;
        if (credit[c->node] > credit[b->node] ||
            (credit[c->node] == credit[b->node] && c->node < b->node))
            best = i;
    }
    credit[input->candidates[best].node] -= total;
    return best;
}

const struct sim_rule sim_rule_round_robin_weighted = {
    .rule = {"round_robin_weighted", RULE_WANTS_NOTHING, round_robin_weighted_choose, NULL},
    .source = "nginx, smooth weighted round robin",
    .state_bytes = sizeof(struct round_robin),
    .node_bytes = sizeof(double),
};

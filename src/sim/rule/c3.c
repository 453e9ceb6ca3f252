/* c3 - replica selection of Cassandra and Elasticsearch (Suresh, Canini, Schmid, Feldmann, "C3:
 * Cutting tail latency in cloud data stores via adaptive replica selection", NSDI 2015;
 * Elasticsearch's ResponseCollectorService): the least psi = R - 1/mu + q^3 / mu.
 *
 * R is an average of response times (here: of first tokens), 1/mu the node's service time, q = 1 +
 * own outstanding * clients + the queue that the node reports; averages weigh a new value 0.3. Its
 * 1/mu is what makes it know of fast and slow nodes, so there is one variant: a node's service time
 * is what its capacity says. Rate control is not modelled: our gateways do not hold requests back.
 */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define NEW_PART 0.3 /* ExponentiallyWeightedMovingAverage, ALPHA */

struct c3 {
    double exponent, clients;
    double response_ms[1]; /* [nodes]; 0: none yet */
};

static void
c3_init(void *state, const struct sim_rule_setup *setup)
{
    struct c3 *s = state;

    s->exponent = setup->knobs[0];
    s->clients = setup->gateways;
}

static void
c3_observe(void *state, const struct rule_news *news)
{
    struct c3 *s = state;
    double *mean = &s->response_ms[news->node];

    if (news->kind != RULE_NEWS_STARTED)
        return;
    *mean = *mean > 0.0 ? *mean + NEW_PART * ((double)news->since_ms - *mean)
                        : (double)news->since_ms;
}

static double
psi(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct c3 *s = ctx;
    double service_ms = 1000.0 / (double)c->weight;
    double queue = 1.0 + (double)c->seen.own_requests * s->clients + rule_known(c->seen.running) +
                   rule_known(c->seen.waiting);

    (void)input;
    return s->response_ms[c->node] - service_ms +
           fmath_exp(s->exponent * fmath_log(queue)) * service_ms;
}

static size_t
c3_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, psi, input->state);
}

static const struct sim_knob knobs[] = {
    {"exponent", 3.0, 1.0, 4.0, false},
};

static const double tuned[] = {1.135};

const struct sim_rule sim_rule_c3 = {
    .rule = {"c3", RULE_WANTS_SEEN, c3_choose, c3_observe},
    .source = "Suresh et al., NSDI 2015",
    .state_bytes = sizeof(struct c3),
    .node_bytes = sizeof(double),
    .init = c3_init,
    .knobs = knobs,
    .knob_count = 1,
    .tuned = tuned,
};

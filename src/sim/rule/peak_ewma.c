/* peak_ewma - Finagle's and Linkerd's balancer: of two drawn at random the one with the lower
 * latency * (pending + 1) (twitter/finagle, PeakEwma.scala).
 *
 * The latency is a moving average that decays by exp(-dt/tau), when it is read too, and jumps to
 * any sample above it. Who has no history but requests pending costs a penalty, so that one request
 * at a time finds out. tau is 10 s. Here the latency is that of the first token, as the project
 * says of long answers. By capacity: drawn by it, and pending counts others' requests and is
 * divided by it. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define PENALTY_MS 1e8 /* Long.MaxValue >> 16 nanoseconds */

struct ewma {
    double ms;
    uint64_t at_ns;
};

struct peak_ewma {
    double tau_ms;
    struct ewma nodes[1];
};

static double
decayed(const struct peak_ewma *s, const struct ewma *e, uint64_t now_ns)
{
    return e->ms * fmath_exp(-(double)(now_ns - e->at_ns) * 1e-6 / s->tau_ms);
}

static void
peak_ewma_init(void *state, const struct sim_rule_setup *setup)
{
    ((struct peak_ewma *)state)->tau_ms = setup->knobs[0];
}

static void
peak_ewma_observe(void *state, const struct rule_news *news)
{
    struct peak_ewma *s = state;
    struct ewma *e = &s->nodes[news->node];
    double old, sample = (double)news->since_ms;

    if (news->kind != RULE_NEWS_STARTED && news->kind != RULE_NEWS_FAILED)
        return;
    old = decayed(s, e, news->now_ns);
    e->ms = sample > old ? sample
                         : old + sample * (1.0 - fmath_exp(-(double)(news->now_ns - e->at_ns) *
                                                           1e-6 / s->tau_ms));
    e->at_ns = news->now_ns;
}

static size_t
choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    const struct peak_ewma *s = input->state;
    double cost[2];
    size_t two[2];

    rule_draw_two(input, rng, weighted, two);
    for (size_t i = 0; i < 2; i++) {
        const struct candidate *c = &input->candidates[two[i]];
        double ms = decayed(s, &s->nodes[c->node], input->now_ns);
        double pending = weighted ? (double)c->requests : (double)c->seen.own_requests;
        if (ms < 1e-6 && pending > 0.0)
            cost[i] = PENALTY_MS + pending;
        else
            cost[i] = ms * (pending + 1.0) / rule_weight(c, weighted);
    }
    return cost[0] <= cost[1] ? two[0] : two[1];
}

static size_t
peak_ewma_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, true);
}

static size_t
peak_ewma_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, false);
}

static const struct sim_knob knobs[] = {
    {"tau_ms", 10000.0, 500.0, 120000.0, true},
};

static const double tuned[] = {113500.0};

const struct sim_rule sim_rule_peak_ewma = {
    .rule = {"peak_ewma", RULE_WANTS_SEEN, peak_ewma_choose, peak_ewma_observe},
    .source = "Finagle's PeakEwma, by capacity",
    .state_bytes = sizeof(struct peak_ewma),
    .node_bytes = sizeof(struct ewma),
    .init = peak_ewma_init,
    .knobs = knobs,
    .knob_count = 1,
    .tuned = tuned,
};

const struct sim_rule sim_rule_peak_ewma_plain = {
    .rule = {"peak_ewma_plain", RULE_WANTS_SEEN, peak_ewma_plain_choose, peak_ewma_observe},
    .source = "Finagle's PeakEwma",
    .state_bytes = sizeof(struct peak_ewma),
    .node_bytes = sizeof(struct ewma),
    .init = peak_ewma_init,
    .knobs = knobs,
    .knob_count = 1,
};

/* skywalker - a balancer in each region that pushes selectively (Xia et al., "SkyWalker: a
 * locality-aware cross-region load balancer for LLM inference", EuroSys 2026, arXiv 2505.24095).
 *
 * A node is available as long as nothing is pending there (sent, and not yet scheduled). Among the
 * available nodes of the own region the one with the longest match is taken if it has half of the
 * prompt, else the least loaded. Without any the request is forwarded to the nearest region that
 * has one. Modelled so; pending is the greater of what the engine reports and of what this gateway
 * sent and has not seen begin, so `pending` is a limit to tune (0 as published: in a wide network a
 * request is pending for a round trip at least). Not modelled: the queue at the balancer when
 * nobody is available; then the node with the least pending is taken. By capacity: loads and
 * pending requests are divided by it. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

enum { PENDING, MATCH, KNOBS };

struct skywalker {
    double knob[KNOBS];
};

struct context {
    double mean; /* weight; 0: all alike */
};

static void
skywalker_init(void *state, const struct sim_rule_setup *setup)
{
    struct skywalker *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static double
by_capacity(const struct context *x, const struct candidate *c, double value)
{
    return x->mean > 0.0 ? value * x->mean / (double)c->weight : value;
}

static double
pending(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)input;
    return by_capacity(ctx, c, fmax(rule_known(c->seen.waiting), (double)c->seen.own_waiting));
}

/* Best available node of a region: by match, then by load. input->count: none. */
static size_t
best_of(const struct rule_input *input, const struct context *x, uint16_t region)
{
    const struct skywalker *s = input->state;
    double half = s->knob[MATCH] * (double)input->request.prompt_tokens, best_load = 0.0;
    size_t best = input->count;
    float best_hit = 0.0f;

    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        double load = by_capacity(x, c, (double)c->requests);
        float hit = (double)c->hit_tokens >= half ? c->hit_tokens : 0.0f;
        if (c->region != region || pending(x, input, c) > s->knob[PENDING])
            continue;
        if (best == input->count || hit > best_hit ||
            (hit == best_hit &&
             (load < best_load || (load == best_load && c->node < input->candidates[best].node)))) {
            best = i;
            best_hit = hit;
            best_load = load;
        }
    }
    return best;
}

/* The available node that is nearest; the own region before all. */
static size_t
nearest(const struct rule_input *input, const struct context *x)
{
    const struct skywalker *s = input->state;
    size_t best = input->count;

    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i], *b;
        if (pending(x, input, c) > s->knob[PENDING])
            continue;
        if (best == input->count) {
            best = i;
            continue;
        }
        b = &input->candidates[best];
        if (c->own_region != b->own_region
                ? c->own_region
                : c->rtt_ms < b->rtt_ms || (c->rtt_ms == b->rtt_ms && c->node < b->node))
            best = i;
    }
    return best;
}

static size_t
choose(const struct rule_input *input, bool weighted)
{
    struct context x = {weighted ? rule_mean_weight(input) : 0.0};
    size_t near = nearest(input, &x);

    if (near == input->count)
        return rule_least(input, pending, &x);
    return best_of(input, &x, input->candidates[near].region);
}

static size_t
skywalker_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, true);
}

static size_t
skywalker_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, false);
}

static const struct sim_knob knobs[KNOBS] = {
    {"pending", 0.0, 0.0, 8.0, false},
    {"match", 0.5, 0.05, 1.0, false},
};

static const double tuned[] = {0.0, 0.8374};

const struct sim_rule sim_rule_skywalker = {
    .rule = {"skywalker", RULE_WANTS_SEEN, skywalker_choose, NULL},
    .source = "Xia et al., arXiv 2505.24095, by capacity",
    .state_bytes = sizeof(struct skywalker),
    .init = skywalker_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_skywalker_plain = {
    .rule = {"skywalker_plain", RULE_WANTS_SEEN, skywalker_plain_choose, NULL},
    .source = "Xia et al., arXiv 2505.24095",
    .state_bytes = sizeof(struct skywalker),
    .init = skywalker_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

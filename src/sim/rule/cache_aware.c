/* cache_aware - the default of SGLang's router and of SMG ("Shepherd Model Gateway",
 * smg-project/smg, cache_aware.rs; vllm-project/router has it too).
 *
 * If the loads differ by more than 64 requests and by more than 1.5 times: the least loaded. Else
 * the one with the longest match, if that is over 0.3 of the prompt, else the one with the smallest
 * tree. Its match is of text that the router itself sent, as is our index. A tree's size is what
 * was sent there and not matched; with 2^26 nodes it is never cut back within our runs. By
 * capacity: requests and tree sizes are divided by it (so that the mean node counts as it is). */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

enum { MATCH, DIFFERENCE, RATIO, KNOBS };

struct cache_aware {
    double knob[KNOBS];
    double tree_tokens[1]; /* [nodes] */
};

struct context {
    const struct cache_aware *s;
    double mean; /* weight; 0: all alike */
};

static void
cache_aware_init(void *state, const struct sim_rule_setup *setup)
{
    struct cache_aware *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static void
cache_aware_observe(void *state, const struct rule_news *news)
{
    if (news->kind == RULE_NEWS_DISPATCHED)
        ((struct cache_aware *)state)->tree_tokens[news->node] += (double)news->prompt_tokens -
                                                                  (double)news->hit_tokens;
}

static double
by_capacity(const struct context *x, const struct candidate *c, double value)
{
    return x->mean > 0.0 ? value * x->mean / (double)c->weight : value;
}

static double
load(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)input;
    return by_capacity(ctx, c, (double)c->requests);
}

static double
tree(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct context *x = ctx;

    (void)input;
    return by_capacity(x, c, x->s->tree_tokens[c->node]);
}

static double
unmatched(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    (void)ctx;
    (void)input;
    return -(double)c->hit_tokens;
}

static size_t
choose(const struct rule_input *input, bool weighted)
{
    const struct cache_aware *s = input->state;
    struct context x = {s, weighted ? rule_mean_weight(input) : 0.0};
    size_t least = rule_least(input, load, &x), match;
    double low = load(&x, input, &input->candidates[least]), high = low;

    for (size_t i = 0; i < input->count; i++)
        high = fmax(high, load(&x, input, &input->candidates[i]));
    if (high - low > s->knob[DIFFERENCE] && high > s->knob[RATIO] * low)
        return least;
    match = rule_least(input, unmatched, NULL);
    if ((double)input->candidates[match].hit_tokens >
        s->knob[MATCH] * (double)input->request.prompt_tokens)
        return match;
    return rule_least(input, tree, &x);
}

static size_t
cache_aware_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, true);
}

static size_t
cache_aware_plain_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return choose(input, false);
}

static const struct sim_knob knobs[KNOBS] = {
    {"match", 0.3, 0.0, 1.0, false},
    {"difference", 64.0, 0.5, 256.0, true},
    {"ratio", 1.5, 1.01, 4.0, false},
};

static const double tuned[] = {0.8583, 5.489, 2.154};

const struct sim_rule sim_rule_cache_aware = {
    .rule = {"cache_aware", RULE_WANTS_SEEN, cache_aware_choose, cache_aware_observe},
    .source = "SGLang's router and SMG, cache_aware, by capacity",
    .state_bytes = sizeof(struct cache_aware),
    .node_bytes = sizeof(double),
    .init = cache_aware_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_cache_aware_plain = {
    .rule = {"cache_aware_plain", RULE_WANTS_SEEN, cache_aware_plain_choose, cache_aware_observe},
    .source = "SGLang's router and SMG, cache_aware",
    .state_bytes = sizeof(struct cache_aware),
    .node_bytes = sizeof(double),
    .init = cache_aware_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

/* llmd - the blend of llm-d's endpoint picker (llm-d/llm-d-router, default profile): the most of
 *
 *   2 * (max - q) / (max - min) + 2 * (1 - KV in use) + 3 * matched / prompt
 *
 * over the candidates' queues q (1 when all are equal); ties at random. q is the engine's
 * num_requests_waiting. As published both loads are those last read (there every 50 ms, here as
 * reports come). llmd also counts what this gateway sent since, and divides queues by capacity; KV
 * in use is a share of a node's own anyway. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

enum { QUEUE, KV, PREFIX, KNOBS };

struct llmd {
    double knob[KNOBS];
};

static void
llmd_init(void *state, const struct sim_rule_setup *setup)
{
    struct llmd *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static double
queue_of(const struct candidate *c, bool weighted)
{
    double waiting = rule_known(c->seen.waiting);

    return weighted ? fmax(waiting, (double)c->seen.own_waiting) / (double)c->weight : waiting;
}

static double
kv_room(const struct candidate *c, bool weighted)
{
    double used = weighted ? rule_kv_tokens(c) : rule_known(c->seen.kv_tokens_used);
    double cap = rule_known(c->seen.kv_tokens_cap);

    return cap > 0.0 ? 1.0 - fmin(1.0, used / cap) : 1.0;
}

static size_t
choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    const struct llmd *s = input->state;
    double low = INFINITY, high = 0.0, best_score = -1.0;
    size_t best = 0, ties = 0;

    for (size_t i = 0; i < input->count; i++) {
        double q = queue_of(&input->candidates[i], weighted);
        low = fmin(low, q);
        high = fmax(high, q);
    }
    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        double queue = high > low ? (high - queue_of(c, weighted)) / (high - low) : 1.0;
        double match = (double)c->hit_tokens / fmax(1.0, (double)input->request.prompt_tokens);
        double score = s->knob[QUEUE] * queue + s->knob[KV] * kv_room(c, weighted) +
                       s->knob[PREFIX] * match;
        if (score < best_score)
            continue;
        ties = score > best_score ? 1 : ties + 1;
        best_score = score;
        if (rng_below(rng, ties) == 0)
            best = i;
    }
    return best;
}

static size_t
llmd_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, true);
}

static size_t
llmd_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, false);
}

static const struct sim_knob knobs[KNOBS] = {
    {"queue", 2.0, 0.1, 20.0, true},
    {"kv", 2.0, 0.1, 20.0, true},
    {"prefix", 3.0, 0.1, 20.0, true},
};

static const double tuned[] = {8.942, 5.629, 4.25};

const struct sim_rule sim_rule_llmd = {
    .rule = {"llmd", RULE_WANTS_SEEN, llmd_choose, NULL},
    .source = "llm-d's blend of queue, KV and prefix, by capacity",
    .state_bytes = sizeof(struct llmd),
    .init = llmd_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_llmd_plain = {
    .rule = {"llmd_plain", RULE_WANTS_SEEN, llmd_plain_choose, NULL},
    .source = "llm-d's blend of queue, KV and prefix: 2, 2, 3",
    .state_bytes = sizeof(struct llmd),
    .init = llmd_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

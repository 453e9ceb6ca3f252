/* gorgo - the cost with network time in it, after which our own is shaped (Arcadia Research,
 * "GORGO: Maximizing KV-cache reuse while minimizing network latency in cross-region LLM load
 * balancing", arXiv 2602.11688):
 *
 *   rtt + a * (unmatched prompt tokens + queued tokens + running_part * tokens of what runs)
 *
 * with a = 0.094 ms and running_part = 0.5. Its second version tunes the weights of round trip,
 * prefill and queue by an evolution strategy: our search does that. Its public code leaves a peer's
 * queue out of the peer's cost; the paper's formula has it, and so have we. Missing in all of it:
 * model readiness, decode, uncertainty.
 *
 *   gorgo      as published: loads as reported, one rate for all nodes
 *   gorgo_own  and what this gateway sent since, counted at once
 *   gorgo_cal  and each node's own prefill rate, as we learn it: a bound of what a cost without
 *              decode can do, no baseline */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

enum { RTT_PART, TOKEN_MS, QUEUE_PART, RUNNING_PART, KNOBS };

struct gorgo {
    double knob[KNOBS];
};

static void
gorgo_init(void *state, const struct sim_rule_setup *setup)
{
    struct gorgo *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static double
cost(const struct gorgo *s, const struct candidate *c, double unmatched, double queued,
     double running, double token_ms)
{
    return s->knob[RTT_PART] * (double)c->rtt_ms +
           token_ms * (unmatched + s->knob[QUEUE_PART] * queued + s->knob[RUNNING_PART] * running);
}

static double
cost_reported(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct gorgo *s = ctx;
    double queued = isnan(c->seen.queue_tokens)
                        ? rule_known(c->seen.waiting) * (double)input->request.prompt_tokens
                        : (double)c->seen.queue_tokens;

    return cost(s, c, rule_uncached_tokens(input, c), queued, rule_known(c->seen.kv_tokens_used),
                s->knob[TOKEN_MS]);
}

static double
cost_own(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct gorgo *s = ctx;

    return cost(s, c, rule_uncached_tokens(input, c), rule_queue_tokens(c), rule_kv_tokens(c),
                s->knob[TOKEN_MS]);
}

static double
cost_cal(const void *ctx, const struct rule_input *input, const struct candidate *c)
{
    const struct gorgo *s = ctx;

    return cost(s, c, rule_uncached_tokens(input, c), rule_queue_tokens(c), rule_kv_tokens(c),
                s->knob[TOKEN_MS] * rule_token_ms(c));
}

static size_t
gorgo_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, cost_reported, input->state);
}

static size_t
gorgo_own_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, cost_own, input->state);
}

static size_t
gorgo_cal_choose(const struct rule_input *input, struct rng *rng)
{
    (void)rng;
    return rule_least(input, cost_cal, input->state);
}

static const struct sim_knob knobs[KNOBS] = {
    {"rtt_part", 1.0, 0.1, 10.0, true},
    {"token_ms", 0.094, 0.01, 1.0, true},
    {"queue_part", 1.0, 0.1, 10.0, true},
    {"running_part", 0.5, 0.001, 1.0, true},
};

static const double tuned[] = {1.204, 0.08546, 3.795, 0.05355};

const struct sim_rule sim_rule_gorgo = {
    .rule = {"gorgo", RULE_WANTS_SEEN, gorgo_choose, NULL},
    .source = "GORGO, arXiv 2602.11688",
    .state_bytes = sizeof(struct gorgo),
    .init = gorgo_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

static const double own_tuned[] = {1.61, 0.1635, 1.1, 0.02192};

const struct sim_rule sim_rule_gorgo_own = {
    .rule = {"gorgo_own", RULE_WANTS_SEEN, gorgo_own_choose, NULL},
    .source = "GORGO, with own dispatches",
    .state_bytes = sizeof(struct gorgo),
    .init = gorgo_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = own_tuned,
};

static const struct sim_knob cal_knobs[KNOBS] = {
    {"rtt_part", 1.0, 0.1, 10.0, true},
    {"token_part", 1.0, 0.1, 10.0, true},
    {"queue_part", 1.0, 0.1, 10.0, true},
    {"running_part", 0.5, 0.001, 1.0, true},
};

static const double cal_tuned[] = {0.6618, 0.3718, 1.494, 0.1195};

const struct sim_rule sim_rule_gorgo_cal = {
    .rule = {"gorgo_cal", RULE_WANTS_SEEN, gorgo_cal_choose, NULL},
    .source = "GORGO, with own dispatches and our rates of nodes",
    .state_bytes = sizeof(struct gorgo),
    .init = gorgo_init,
    .knobs = cal_knobs,
    .knob_count = KNOBS,
    .tuned = cal_tuned,
    .is_bound = true,
};

#ifndef SIM_RULE_RULE_TOOLS_H
#define SIM_RULE_RULE_TOOLS_H
/* rule_tools - what the files of sim/rule have in common: the least by a cost with ties by node
 * index, draws, and readings of a candidate.
 *
 * Most rules come twice. `name` is the stronger one: loads are divided by a node's capacity, and
 * requests of other gateways, as reported, count beside the own ones. `name_plain` is as published:
 * all nodes alike. On mixed hardware the plain ones lose for that reason alone, so only the others
 * are worth beating. */
#include <math.h>
#include <stdbool.h>

#include "base/fmath.h"
#include "core/rule.h"

/* Cost of a candidate; ctx is the rule's. */
typedef double rule_cost(const void *ctx, const struct rule_input *input,
                         const struct candidate *c);

static inline size_t
rule_least(const struct rule_input *input, rule_cost *cost, const void *ctx)
{
    size_t best = 0;
    double best_cost = 0.0;

    for (size_t i = 0; i < input->count; i++) {
        double x = cost(ctx, input, &input->candidates[i]);
        if (i == 0 || x < best_cost ||
            (x == best_cost && input->candidates[i].node < input->candidates[best].node)) {
            best = i;
            best_cost = x;
        }
    }
    return best;
}

/* Index of the candidate on this node; input->count: it is none. */
static inline size_t
rule_find(const struct rule_input *input, uint32_t node)
{
    size_t i = 0;

    while (i < input->count && input->candidates[i].node != node)
        i++;
    return i;
}

static inline double
rule_weight(const struct candidate *c, bool weighted)
{
    return weighted ? (double)c->weight : 1.0;
}

/* Any but `except` (input->count: any), each by its weight or all alike. */
static inline size_t
rule_draw(const struct rule_input *input, struct rng *rng, bool weighted, size_t except)
{
    double total = 0.0, x;
    size_t last = 0;

    for (size_t i = 0; i < input->count; i++)
        total += i == except ? 0.0 : rule_weight(&input->candidates[i], weighted);
    x = rng_unit(rng) * total;
    for (size_t i = 0; i < input->count; i++) {
        if (i == except)
            continue;
        last = i;
        x -= rule_weight(&input->candidates[i], weighted);
        if (x < 0.0)
            break;
    }
    return last;
}

/* Two different ones, if there are two; the lower node first. */
static inline void
rule_draw_two(const struct rule_input *input, struct rng *rng, bool weighted, size_t ret_two[2])
{
    size_t a = rule_draw(input, rng, weighted, input->count);
    size_t b = input->count > 1 ? rule_draw(input, rng, weighted, a) : a;
    bool in_order = input->candidates[a].node <= input->candidates[b].node;

    ret_two[0] = in_order ? a : b;
    ret_two[1] = in_order ? b : a;
}

static inline double
rule_known(float x)
{
    return isnan(x) ? 0.0 : (double)x;
}

/* Prefill tokens that wait there: others' as reported, ours as we know. */
static inline double
rule_queue_tokens(const struct candidate *c)
{
    return (double)c->seen.others_queue_tokens + (double)c->seen.own_queue_tokens;
}

static inline double
rule_kv_tokens(const struct candidate *c)
{
    return (double)c->seen.others_kv_tokens + (double)c->seen.own_kv_tokens;
}

/* What of the prompt would have to be computed there. */
static inline double
rule_uncached_tokens(const struct rule_input *input, const struct candidate *c)
{
    double tokens = (double)input->request.prompt_tokens - (double)c->hit_tokens;

    return tokens > 1.0 ? tokens : 1.0;
}

/* A token of prefill there, as far as it is known. */
static inline double
rule_token_ms(const struct candidate *c)
{
    return (double)c->seen.curve.b_ms * (double)c->seen.residual;
}

static inline double
rule_mean_weight(const struct rule_input *input)
{
    double total = 0.0;

    for (size_t i = 0; i < input->count; i++)
        total += (double)input->candidates[i].weight;
    return total / (double)input->count;
}

/* Scrambles a key (splitmix64's finish). */
static inline uint64_t
rule_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
#endif

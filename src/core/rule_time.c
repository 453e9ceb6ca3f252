/* rule_time - the least cost in milliseconds, by a softmin among the best three.
 *
 * Why not simply the least: several gateways that see the same news would all run to the same
 * node. The temperature is a part of the deviation of the difference (tuning: a quarter), so a
 * clear winner always wins and near ties spread. */
#include <math.h>

#include "base/fmath.h"
#include "core/rule.h"

#define BEST_COUNT 3u

static int
before(const struct candidate *a, const struct candidate *b)
{
    return a->cost_ms < b->cost_ms || (a->cost_ms == b->cost_ms && a->node < b->node);
}

/* Indices of the best, cheapest first. */
static size_t
best_of(const struct rule_input *input, size_t best[BEST_COUNT])
{
    size_t count = 0;

    for (size_t i = 0; i < input->count; i++) {
        size_t at = count < BEST_COUNT ? count++ : BEST_COUNT;
        const struct candidate *c = &input->candidates[i];

        if (at == BEST_COUNT) {
            if (!before(c, &input->candidates[best[BEST_COUNT - 1]]))
                continue;
            at = BEST_COUNT - 1;
        }
        for (; at > 0 && before(c, &input->candidates[best[at - 1]]); at--)
            best[at] = best[at - 1];
        best[at] = i;
    }
    return count;
}

static size_t
time_choose(const struct rule_input *input, struct rng *rng)
{
    size_t best[BEST_COUNT] = {0}, count = best_of(input, best);
    double weight[BEST_COUNT] = {1.0}, sum = 1.0, draw;
    const struct candidate *first = &input->candidates[best[0]];

    for (size_t i = 1; i < count; i++) {
        const struct candidate *c = &input->candidates[best[i]];
        double sigma = sqrt((double)first->terms.sigma_ms * first->terms.sigma_ms +
                            (double)c->terms.sigma_ms * c->terms.sigma_ms);
        double over = (double)c->cost_ms - first->cost_ms,
               heat = (double)input->temperature * sigma;

        weight[i] = over >= 20.0 * heat ? 0.0 : fmath_exp(-over / heat); /* e^-20: never */
        sum += weight[i];
    }
    if (sum == 1.0)
        return best[0];
    draw = rng_unit(rng) * sum;
    for (size_t i = 0; i + 1 < count; i++) {
        if (draw < weight[i])
            return best[i];
        draw -= weight[i];
    }
    return best[count - 1];
}

const struct rule rule_time = {"time", RULE_WANTS_PREDICTION, time_choose, NULL};

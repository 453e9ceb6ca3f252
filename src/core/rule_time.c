/* rule_time - the least cost in milliseconds, by a softmin among the best three.
 *
 * Why not simply the least: several gateways that see the same news would all run to the same
 * node. The temperature is a part of the deviation of the difference (tuning: a quarter), so a
 * clear winner always wins and near ties spread. */
#include <math.h>
#include <string.h>

#include "base/must.h"
#include "core/core.h"
#include "core/rule.h"

#define BEST_COUNT 3u
#define PLACE_BITS 15u  /* of a key, for the place in the list */
#define NEVER      20.0 /* temperatures dearer: e^-20 */

_Static_assert(CORE_NODES_MAX <= 1u << (32 - PLACE_BITS), "a node and its place fit");

/* What orders candidates as one number: cost, then node. The bits of a float that is not negative
 * are ordered as it is; a negative one's the other way round. NaN is last. */
static uint64_t
order_of(const struct candidate *c, size_t place)
{
    uint32_t bits;

    memcpy(&bits, &c->cost_ms, sizeof(bits));
    bits ^= (bits >> 31) != 0 ? UINT32_MAX : UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | c->node << PLACE_BITS | place;
}

/* Places of the best, cheapest first. Nothing here depends on the numbers but the numbers: a branch
 * that is foretold wrongly costs as much as all of a candidate. */
static size_t
best_of(const struct rule_input *input, size_t best[BEST_COUNT])
{
    uint64_t first = UINT64_MAX, second = UINT64_MAX, third = UINT64_MAX;

    must(input->count < 1u << PLACE_BITS);
    for (size_t i = 0; i < input->count; i++) {
        uint64_t key = order_of(&input->candidates[i], i), over = key > first ? key : first;
        first = key < first ? key : first;
        key = over > second ? over : second;
        second = over < second ? over : second;
        third = key < third ? key : third;
    }
    best[0] = first & ((1u << PLACE_BITS) - 1);
    best[1] = second & ((1u << PLACE_BITS) - 1);
    best[2] = third & ((1u << PLACE_BITS) - 1);
    return input->count < BEST_COUNT ? input->count : BEST_COUNT;
}

/* Nearly e^-x, without an exponential: (1 + x/16)^-16. */
static double
softly(double x)
{
    double y = 1.0 / (1.0 + 0.0625 * x);

    y *= y;
    y *= y;
    y *= y;
    return y * y;
}

static size_t
time_choose(const struct rule_input *input, struct rng *rng)
{
    size_t best[BEST_COUNT], count = best_of(input, best);
    double weight[BEST_COUNT] = {1.0}, sum = 1.0, draw;
    const struct candidate *first = &input->candidates[best[0]];

    for (size_t i = 1; i < count; i++) {
        const struct candidate *c = &input->candidates[best[i]];
        double variance = (double)first->terms.sigma_ms * first->terms.sigma_ms +
                          (double)c->terms.sigma_ms * c->terms.sigma_ms;
        double over = (double)c->cost_ms - first->cost_ms, most = NEVER * input->temperature;

        if (over * over >= most * most * variance)
            continue; /* a clear winner needs no root */
        weight[i] = softly(over / (input->temperature * sqrt(variance)));
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

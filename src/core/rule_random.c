/* rule_random - any candidate, all alike. */
#include "core/rule.h"

static size_t
random_choose(const struct rule_input *input, struct rng *rng)
{
    return (size_t)rng_below(rng, input->count);
}

const struct rule rule_random = {"random", RULE_WANTS_NOTHING, random_choose, NULL};

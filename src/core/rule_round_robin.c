/* rule_round_robin - the next node by index after the last one, around. */
#include "core/rule.h"

static size_t
round_robin_choose(const struct rule_input *input, struct rng *rng)
{
    size_t next = input->count, lowest = 0;

    (void)rng;
    for (size_t i = 0; i < input->count; i++) {
        uint32_t node = input->candidates[i].node;

        if (node < input->candidates[lowest].node)
            lowest = i;
        if (input->last_node != NODE_ANY && node > input->last_node &&
            (next == input->count || node < input->candidates[next].node))
            next = i;
    }
    return next < input->count ? next : lowest;
}

const struct rule rule_round_robin = {"round_robin", RULE_WANTS_NOTHING, round_robin_choose, NULL};

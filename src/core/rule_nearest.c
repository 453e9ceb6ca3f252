/* rule_nearest - the own region, else the nearest region with a ready node; inside it the fewest
 * requests for its capacity. What a client that picks the closest endpoint does, at its best. */
#include "core/rule.h"

/* Region of the candidate with the least round trip; the own region wins over all. */
static uint16_t
nearest_region(const struct rule_input *input)
{
    const struct candidate *best = &input->candidates[0];

    for (size_t i = 1; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];

        if (c->own_region != best->own_region) {
            if (c->own_region)
                best = c;
        } else if (c->rtt_ms < best->rtt_ms ||
                   (c->rtt_ms == best->rtt_ms && c->node < best->node)) {
            best = c;
        }
    }
    return best->region;
}

static size_t
nearest_choose(const struct rule_input *input, struct rng *rng)
{
    uint16_t region = nearest_region(input);
    size_t best = input->count;
    float best_load = 0.0f;

    (void)rng;
    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        float load = (c->requests + 1.0f) / c->weight;

        if (c->region != region)
            continue;
        if (best == input->count || load < best_load ||
            (load == best_load && c->node < input->candidates[best].node)) {
            best = i;
            best_load = load;
        }
    }
    return best;
}

const struct rule rule_nearest = {"nearest", RULE_WANTS_NOTHING, nearest_choose, NULL};

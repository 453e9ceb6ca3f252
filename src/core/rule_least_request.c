/* rule_least_request - the fewest requests for its capacity, wherever it is: (requests + 1) /
 * weight, as Envoy's weighted least request over all hosts. Unweighted it would lose on mixed
 * hardware for a trivial reason, so it is weighted. */
#include "core/rule.h"

static size_t
least_request_choose(const struct rule_input *input, struct rng *rng)
{
    size_t best = 0;
    float best_load = 0.0f;

    (void)rng;
    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        float load = (c->requests + 1.0f) / c->weight;

        if (i == 0 || load < best_load ||
            (load == best_load && c->node < input->candidates[best].node)) {
            best = i;
            best_load = load;
        }
    }
    return best;
}

const struct rule rule_least_request = {"least_request", RULE_WANTS_NOTHING, least_request_choose,
                                        NULL};

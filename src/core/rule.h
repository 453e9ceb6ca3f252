#ifndef CORE_RULE_H
#define CORE_RULE_H
/* rule - how one of the candidates is picked. Each rule is one file, rule_<name>.c, with one pure
 * function; the same limits and the same retries stand around all of them. */
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "core/action.h"

/* What a rule may look at. Candidates are nodes that may serve the request,
 * in no particular order: ties are broken by the lower node index. */
struct candidate {
    uint32_t node;
    uint32_t placement; /* core's own; no rule looks at it */
    uint16_t region;
    uint8_t own_region; /* 1: in the gateway's own region */
    uint8_t ready;      /* 1: the model is ready there */
    float rtt_ms;
    float weight;       /* capacity: requests per second it can take, by its curve; > 0 */
    float requests;     /* running + waiting there as far as known, own ones counted */
    struct terms terms; /* zero unless the rule wants predictions */
    float fail_ms, cost_ms;
};

struct rule_input {
    const struct candidate *candidates;
    size_t count;       /* >= 1 */
    uint32_t last_node; /* the choice before this one for the same model; NODE_ANY: none */
};

struct rule {
    const char *name;          /* as in the configuration */
    uint32_t wants_prediction; /* 1: sampled candidates with terms; 0: all of them, without */
    /* Index of the chosen candidate, < count. */
    size_t (*choose)(const struct rule_input *input, struct rng *rng);
};

extern const struct rule rule_time, rule_nearest, rule_least_request, rule_round_robin, rule_random;

/* By enum rule_id; NULL when there is none. */
const struct rule *rule_by_id(uint32_t id);
#endif

/* rule - the five rules by number; see rule.h. */
#include "core/rule.h"

const struct rule *
rule_by_id(uint32_t id)
{
    switch (id) {
    case RULE_TIME:
        return &rule_time;
    case RULE_NEAREST:
        return &rule_nearest;
    case RULE_LEAST_REQUEST:
        return &rule_least_request;
    case RULE_ROUND_ROBIN:
        return &rule_round_robin;
    case RULE_RANDOM:
        return &rule_random;
    default:
        return 0;
    }
}

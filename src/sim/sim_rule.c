/* sim_rule - the list of rules that the simulator adds to core's; see sim_rule.h. */
#include "sim/sim_rule.h"

#include <string.h>

#include "sim/rule/rules.h"

static const struct sim_rule *const rules[] = {
    &sim_rule_random_weighted,
    &sim_rule_round_robin_weighted,
    &sim_rule_least_request_plain,
    &sim_rule_sticky_random,
    &sim_rule_sticky_random_plain,
    &sim_rule_p2c,
    &sim_rule_p2c_plain,
    &sim_rule_peak_ewma,
    &sim_rule_peak_ewma_plain,
    &sim_rule_prequal,
    &sim_rule_prequal_plain,
    &sim_rule_c3,
    &sim_rule_cache_aware,
    &sim_rule_cache_aware_plain,
    &sim_rule_dynamo,
    &sim_rule_dynamo_plain,
    &sim_rule_llmd,
    &sim_rule_llmd_plain,
    &sim_rule_llmd_sticky,
    &sim_rule_llmd_sticky_plain,
    &sim_rule_lmetric,
    &sim_rule_lmetric_plain,
    &sim_rule_lpwl,
    &sim_rule_lpwl_plain,
    &sim_rule_dualmap,
    &sim_rule_dualmap_plain,
    &sim_rule_skywalker,
    &sim_rule_skywalker_plain,
    &sim_rule_gorgo,
    &sim_rule_gorgo_own,
    &sim_rule_gorgo_cal,
    &sim_rule_oracle,
    &sim_rule_clairvoyant,
};

const struct sim_rule *
sim_rule_at(size_t index)
{
    return index < sizeof(rules) / sizeof(rules[0]) ? rules[index] : NULL;
}

const struct sim_rule *
sim_rule_find(const char *name)
{
    const struct sim_rule *rule;

    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL; i++) {
        if (strcmp(rule->rule.name, name) == 0)
            return rule;
    }
    return NULL;
}

const char *
sim_rule_name(size_t index)
{
    const struct sim_rule *rule;

    if (index < RULE_COUNT)
        return rule_by_id((uint32_t)index)->name;
    rule = sim_rule_at(index - RULE_COUNT);
    return rule == NULL ? NULL : rule->rule.name;
}

double
sim_rule_knob(const struct sim_rule *rule, size_t index)
{
    return rule->tuned != NULL ? rule->tuned[index] : rule->knobs[index].value;
}

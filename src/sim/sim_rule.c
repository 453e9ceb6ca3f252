/* sim_rule - the list of rules that the simulator adds to core's; see sim_rule.h. */
#include "sim/sim_rule.h"

#include <string.h>

static const struct sim_rule *const rules[] = {
    NULL,
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

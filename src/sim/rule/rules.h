#ifndef SIM_RULE_RULES_H
#define SIM_RULE_RULES_H
/* rules - the rules that sim_rule.c lists; each file says whose it is and what of it is modelled.
 */
#include "sim/sim_rule.h"

extern const struct sim_rule sim_rule_random_weighted, sim_rule_round_robin_weighted,
    sim_rule_least_request_plain, sim_rule_sticky_random, sim_rule_sticky_random_plain,
    sim_rule_p2c, sim_rule_p2c_plain, sim_rule_peak_ewma, sim_rule_peak_ewma_plain,
    sim_rule_prequal, sim_rule_prequal_plain, sim_rule_c3, sim_rule_cache_aware,
    sim_rule_cache_aware_plain, sim_rule_dynamo, sim_rule_dynamo_plain, sim_rule_llmd,
    sim_rule_llmd_plain, sim_rule_llmd_sticky, sim_rule_llmd_sticky_plain, sim_rule_lmetric,
    sim_rule_lmetric_plain, sim_rule_lpwl, sim_rule_lpwl_plain, sim_rule_dualmap,
    sim_rule_dualmap_plain, sim_rule_skywalker, sim_rule_skywalker_plain, sim_rule_gorgo,
    sim_rule_gorgo_own, sim_rule_gorgo_cal, sim_rule_oracle, sim_rule_clairvoyant;
#endif

#ifndef SIM_SIM_RULE_H
#define SIM_SIM_RULE_H
/* sim_rule - rules that core does not have: what others route by, and bounds that no gateway could
 * reach. One file each in sim/rule, with its source and its constants; they run in core, under the
 * same limits and retries. */
#include <stddef.h>
#include <stdint.h>

#include "core/rule.h"
#include "sim/sim_options.h"

struct sim_world;

struct sim_knob { /* a constant that a search may tune */
    const char *name;
    double value; /* as published, or as near as that can be said */
    double min, max;
    bool is_log; /* searched by its logarithm */
};

struct sim_rule_setup {
    const double *knobs; /* in the order of the rule's */
    uint32_t nodes, gateways, gateway;
    uint64_t seed;
    const struct event_tuning *tuning;
    struct sim_world *world; /* for bounds alone */
};

struct sim_rule {
    struct rule rule;
    const char *source; /* who published it, and where */
    size_t state_bytes; /* besides node_bytes for each node */
    size_t node_bytes;
    /* state: zeroed. NULL: nothing to set up. */
    void (*init)(void *state, const struct sim_rule_setup *setup);
    const struct sim_knob *knobs;
    size_t knob_count;
    const double *tuned; /* what the search found for the knobs; NULL: they stay as published */
    bool is_bound;       /* judged apart: it knows what no gateway of its kind can know */
};

/* By name, or NULL. */
const struct sim_rule *sim_rule_find(const char *name);
/* A knob's value unless the options say otherwise. index < knob_count. */
double sim_rule_knob(const struct sim_rule *rule, size_t index);
/* One by one; NULL past the end. */
const struct sim_rule *sim_rule_at(size_t index);
/* Names of all rules that a world takes, core's first; NULL past the end. They live for ever. */
const char *sim_rule_name(size_t index);
#define SIM_RULE_NAMES_MAX 128u
#endif

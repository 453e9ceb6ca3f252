#ifndef CLI_CLI_SIM_H
#define CLI_CLI_SIM_H
/* cli_sim - what simulated runs showed: tables for people, everything as JSON, charts as SVG.
 *
 * Means are over seeds, with the 95 % interval of the mean; ratios are taken seed by seed against
 * the first rule, whose worlds are the same. What was measured on the built-in load counts for
 * nothing but the program, so the names of its figures end in _synthetic. */
#include "base/arena.h"
#include "sim/sim_batch.h"
#include "sim/sim_source.h"

#define CLI_SIM_SEEDS_MAX 1000u
#define CLI_SIM_LOADS_MAX 32u

struct cli_sim {
    const char *title;
    const struct sim_source *source;
    const char *const *rules;
    const double *loads;
    size_t rule_count, load_count, seed_count;
    const struct sim_job *jobs; /* [load][rule][seed] */
    const struct sim_result *results;
};

/* One line: what was simulated. */
void cli_sim_head(const struct cli_sim *s);
void cli_sim_table(const struct cli_sim *s, struct arena *arena);
void cli_sim_json(const struct cli_sim *s);
/* False: told on standard error. */
bool cli_sim_plot(const struct cli_sim *s, const char *path);

/* The trace and the fleet of the first job. False: told. */
bool cli_sim_describe(const struct cli_sim *s, struct arena *arena);
/* Rules by name, with their constants. */
void cli_sim_rules(struct arena *arena);
#endif

#ifndef BENCH_EXPERIMENT_H
#define BENCH_EXPERIMENT_H
/* experiment - the runs of the simulator that say how good the decision is, and against whom.
 *
 * An experiment is a list of cells: a rule in a world, run once for each seed. Every cell of an
 * experiment sees the same worlds (fleet, network, requests), so ratios are taken seed by seed: the
 * value is the geometric mean of them, the interval the 95 % one of their logarithms by Student's
 * t.
 *
 * Traces are played from 40 % of their span on; what lies before is for tuning. Seeds are 101 and
 * up, tuning has those below. With --tuning it is the other way round: whoever changes a weight
 * looks there, and here only when it is chosen. Without data the built-in load runs, and every
 * figure's name ends in _synthetic: it says that the program works, and nothing about the world. */
#include <stdbool.h>
#include <stdint.h>

#include "sim/sim_batch.h"
#include "sim/sim_plot.h"
#include "sim/sim_rule.h"

#define EXPERIMENT_SEEDS_MAX   20u
#define EXPERIMENT_SEED_FIRST  101u
#define EXPERIMENT_SEED_TUNING 1u
#define EXPERIMENT_CELLS_MAX   64u
#define EXPERIMENT_TUNED_SHARE 0.4

enum experiment_trace {
    TRACE_CONV,   /* Azure 2023 conversation */
    TRACE_PREFIX, /* Mooncake conversation: long prompts with shared beginnings */
    EXPERIMENT_TRACES
};

struct experiment {
    struct trace traces[EXPERIMENT_TRACES];
    struct rtt_data rtt;
    bool is_quick;
    bool is_tuning; /* the window and the seeds that are for tuning */
    uint32_t seeds, workers;
    const char *out; /* folder for tables, curves and plots */
};

struct experiment_cell {
    const char *name;
    enum experiment_trace trace;
    struct sim_options options; /* but for the seed */
    uint32_t nth_min;
    void (*measure)(const struct sim_job *job, struct sim_world *w, double *ret_extras);
    struct sim_result results[EXPERIMENT_SEEDS_MAX];
};

struct experiment_estimate {
    double value, low, high;
};

/* What is read off a run. */
typedef double experiment_metric(const struct sim_result *r);
experiment_metric metric_first_mean, metric_first_p50, metric_first_p95, metric_first_p99,
    metric_done_mean, metric_done_p99, metric_step_p90, metric_slo, metric_error, metric_floor,
    metric_hit, metric_away, metric_refused, metric_extra_0, metric_extra_1, metric_extra_2,
    metric_extra_3;

struct experiment_column {
    const char *head;
    experiment_metric *metric;
    int decimals;
};
extern const struct experiment_column experiment_columns[]; /* the usual ones */
extern const uint32_t experiment_column_count;

/* The world of most experiments: 240 nodes of three models in 16 regions, 8 gateways, load 0.7. */
void experiment_world(const struct experiment *e, struct sim_options *ret_options);
/* Another cell of a list, in the usual world. */
struct experiment_cell *experiment_add(const struct experiment *e, struct experiment_cell *cells,
                                       uint32_t *count, const char *name, const char *rule,
                                       enum experiment_trace trace);
/* Run every cell for every seed. False: something failed, and was said. */
bool experiment_run(const struct experiment *e, const char *name, struct experiment_cell *cells,
                    uint32_t count);

struct experiment_estimate experiment_mean(const struct experiment *e,
                                           const struct experiment_cell *cell,
                                           experiment_metric *metric);
struct experiment_estimate experiment_ratio(const struct experiment *e,
                                            const struct experiment_cell *over,
                                            const struct experiment_cell *under,
                                            experiment_metric *metric);
/* Least mean of the metric among cells that are baselines (no bound, not GORGO-cal, not ours). */
const struct experiment_cell *experiment_best_baseline(const struct experiment *e,
                                                       const struct experiment_cell *cells,
                                                       uint32_t count, experiment_metric *metric);
const struct experiment_cell *experiment_find(const struct experiment_cell *cells, uint32_t count,
                                              const char *name);

/* A table on standard output and in out/NAME.md. */
void experiment_table(const struct experiment *e, const char *name, const char *title,
                      const struct experiment_cell *cells, uint32_t count,
                      const struct experiment_column *columns, uint32_t column_count);
/* Charts of the cells with these names, in out/NAME.svg. */
void experiment_plot(const struct experiment *e, const char *name, const char *title,
                     const struct experiment_cell *cells, uint32_t cell_count,
                     const char *const *names, uint32_t count);
/* Any charts, in out/NAME.svg. */
void experiment_chart(const struct experiment *e, const char *name, const struct sim_plot *plots,
                      uint32_t count);
/* `figure NAME VALUE UNIT`, and the interval on the line below it. */
void experiment_figure(const struct experiment *e, const char *name,
                       struct experiment_estimate value, const char *unit);
void experiment_number(const struct experiment *e, const char *name, double value,
                       const char *unit);

/* Cells of worlds that more than one experiment looks at. steady: E7's load all the time; 0: its
 * steps. Extras as e07.c and e11.c say. */
struct experiment_cell *experiment_e7_add(const struct experiment *e, struct experiment_cell *cells,
                                          uint32_t *count, const char *name, const char *rule,
                                          double steady);
struct experiment_cell *experiment_e11_add(const struct experiment *e,
                                           struct experiment_cell *cells, uint32_t *count,
                                           const char *name, double load);

/* The experiments. False: it could not be run. */
typedef bool experiment_fn(const struct experiment *e);
experiment_fn experiment_e1, experiment_e2, experiment_e3, experiment_e4, experiment_e5,
    experiment_e6, experiment_e6_live, experiment_e6_curves, experiment_e7, experiment_e11,
    experiment_e12, experiment_e13, experiment_e14, experiment_ablations, experiment_curves;
#endif

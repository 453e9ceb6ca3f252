/* e01 - faster is not closer: all rules in one world of far regions, shifted days and mixed
 * hardware; then the highest load at which each of ours and `nearest` still keeps its promise. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiment.h"

static const char *const plotted[] = {"time",      "least_request", "nearest", "prequal",
                                      "dynamo",    "llmd",          "lmetric", "llmd_sticky",
                                      "gorgo_own", "skywalker",     "oracle"};

/* Rules that know no speeds lose by far on mixed hardware, for that reason alone: shown when there
 * is time. */
static bool
is_plain(const char *name)
{
    size_t n = strlen(name);

    return strcmp(name, "random") == 0 || strcmp(name, "round_robin") == 0 ||
           (n > 6 && strcmp(name + n - 6, "_plain") == 0);
}

/* Every rule there is, ours first; briefly: those that are weighted by capacity. */
static uint32_t
rules_add(const struct experiment *e, struct experiment_cell *cells, enum experiment_trace trace)
{
    static const char *const of_core[] = {"time", "least_request", "nearest", "round_robin",
                                          "random"};
    const struct sim_rule *rule;
    uint32_t count = 0;

    for (uint32_t i = 0; i < sizeof(of_core) / sizeof(of_core[0]); i++) {
        if (!e->is_quick || !is_plain(of_core[i]))
            (void)experiment_add(e, cells, &count, of_core[i], of_core[i], trace);
    }
    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL; i++) {
        if (!e->is_quick || !is_plain(rule->rule.name))
            (void)experiment_add(e, cells, &count, rule->rule.name, rule->rule.name, trace);
    }
    if (trace == TRACE_PREFIX) {
        for (uint32_t i = 0; i < count; i++)
            cells[i].options.host_cache = 16.0;
    }
    return count;
}

static void
against(const struct experiment *e, const char *figure, const struct experiment_cell *cells,
        uint32_t count, const char *other, experiment_metric *metric)
{
    const struct experiment_cell *c = experiment_find(cells, count, other);

    if (c != NULL)
        experiment_figure(e, figure, experiment_ratio(e, c, &cells[0], metric), "ratio");
}

static void
against_best(const struct experiment *e, const char *figure, const struct experiment_cell *cells,
             uint32_t count, experiment_metric *metric)
{
    const struct experiment_cell *best = experiment_best_baseline(e, cells, count, metric);

    printf("       best baseline here: %s\n", best->name);
    experiment_figure(e, figure, experiment_ratio(e, best, &cells[0], metric), "ratio");
}

/* p90 TTFT and p90 TPOT within the goals, on the mean of all seeds. */
static bool
keeps_slo(const struct experiment *e, const struct experiment_cell *cell)
{
    return experiment_mean(e, cell, metric_extra_0).value >= 0.9 &&
           experiment_mean(e, cell, metric_step_p90).value <= cell->options.slo_step_ms;
}

/* Share of those that were served at all whose first token came in time; refused ones did not. */
static void
measure_first_good(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);
    const struct sim_options *o = &job->options;
    double good = 0.0;

    for (size_t i = 0; i < s->count; i++)
        good += (double)s->samples[i].first_ms <=
                o->slo_first_ms + o->slo_first_per_token_ms * (double)s->samples[i].prompt_tokens;
    ret_extras[0] = good / fmax(1.0, (double)s->arrived);
}

static bool
slo_loads(const struct experiment *e)
{
    static struct experiment_cell cells[EXPERIMENT_CELLS_MAX];
    static const char *const rules[] = {"time", "nearest", "least_request"};
    static const char *const figures[] = {"e1_slo_load_ours", "e1_slo_load_nearest",
                                          "e1_slo_load_least_request"};
    static char names[EXPERIMENT_CELLS_MAX][48];
    static const struct experiment_column columns[] = {
        {"TTFT p95 ms", metric_first_p95, 0},
        {"TPOT p90 ms", metric_step_p90, 1},
        {"first in time", metric_extra_0, 3},
    };
    struct experiment few = *e;
    uint32_t count = 0;

    few.seeds = e->is_quick ? 2 : 3;
    for (uint32_t k = 0; k < (e->is_quick ? 2u : 3u); k++) {
        double most = k == 1 ? 0.75 : 1.15; /* beyond it nothing is gained but time lost */
        for (double load = k == 1 ? 0.1 : 0.6; load < most; load += 0.1) {
            struct experiment_cell *c = experiment_add(e, cells, &count, names[count], rules[k],
                                                       TRACE_CONV);
            (void)snprintf(names[count - 1], sizeof(names[0]), "%s at %.1f", rules[k], load);
            c->options.load = load;
            c->measure = measure_first_good;
        }
    }
    if (!experiment_run(&few, "E1: highest load", cells, count))
        return false;
    experiment_table(&few, "e1-loads", "E1: by load, conversation", cells, count, columns, 3);
    for (uint32_t k = 0; k < (e->is_quick ? 2u : 3u); k++) {
        double most = 0.0;
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(cells[i].options.rule, rules[k]) == 0 && keeps_slo(&few, &cells[i]) &&
                cells[i].options.load > most)
                most = cells[i].options.load;
        }
        experiment_number(e, figures[k], most, "of_capacity");
    }
    return true;
}

bool
experiment_e1(const struct experiment *e)
{
    static struct experiment_cell cells[EXPERIMENT_CELLS_MAX];
    uint32_t count = rules_add(e, cells, TRACE_CONV);

    if (!experiment_run(e, "E1: conversation", cells, count))
        return false;
    experiment_table(e, "e1-conversation", "E1: conversation, load 0.7", cells, count,
                     experiment_columns, experiment_column_count);
    experiment_plot(e, "e1-conversation", "E1: conversation, load 0.7", cells, count, plotted,
                    sizeof(plotted) / sizeof(plotted[0]));
    against_best(e, "e1_p99_ttft_best_baseline_over_ours", cells, count, metric_first_p99);
    against_best(e, "e1_mean_e2e_best_baseline_over_ours", cells, count, metric_done_mean);
    against(e, "e1_p95_ttft_gorgo_cal_over_ours", cells, count, "gorgo_cal", metric_first_p95);
    against(e, "e1_mean_e2e_gorgo_cal_over_ours", cells, count, "gorgo_cal", metric_done_mean);
    against(e, "e1_p95_ttft_gorgo_own_over_ours", cells, count, "gorgo_own", metric_first_p95);
    count = rules_add(e, cells, TRACE_PREFIX);
    if (!experiment_run(e, "E1: Mooncake", cells, count))
        return false;
    experiment_table(e, "e1-mooncake", "E1: Mooncake conversation, load 0.7", cells, count,
                     experiment_columns, experiment_column_count);
    experiment_plot(e, "e1-mooncake", "E1: Mooncake conversation, load 0.7", cells, count, plotted,
                    sizeof(plotted) / sizeof(plotted[0]));
    against(e, "e1_mooncake_p95_ttft_gorgo_own_over_ours", cells, count, "gorgo_own",
            metric_first_p95);
    against_best(e, "e1_mooncake_p95_ttft_best_baseline_over_ours", cells, count, metric_first_p95);
    return slo_loads(e);
}

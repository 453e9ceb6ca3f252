/* e04 - a price on what a request costs others (ext), and the null result of a price on queueing
 * itself (kappa). */
#include "experiment.h"

static double
percent(double ratio)
{
    return 100.0 * (ratio - 1.0);
}

static void
figure_percent(const struct experiment *e, const char *name, struct experiment_estimate r)
{
    struct experiment_estimate p = {percent(r.value), percent(r.low), percent(r.high)};

    experiment_figure(e, name, p, "percent");
}

bool
experiment_e4(const struct experiment *e)
{
    static struct experiment_cell cells[8];
    uint32_t count = 0;
    struct experiment_cell *without, *queue;

    (void)experiment_add(e, cells, &count, "ours", "time", TRACE_CONV);
    without = experiment_add(e, cells, &count, "without ext", "time", TRACE_CONV);
    without->options.tuning.ext_part = 0.0f;
    without = experiment_add(e, cells, &count, "without ext, late", "time", TRACE_CONV);
    without->options.tuning.ext_part = without->options.tuning.late_factor = 0.0f;
    queue = experiment_add(e, cells, &count, "kappa 0.5", "time", TRACE_CONV);
    queue->options.tuning.queue_part = 0.5f;
    queue = experiment_add(e, cells, &count, "kappa 2", "time", TRACE_CONV);
    queue->options.tuning.queue_part = 2.0f;
    if (!experiment_run(e, "E4", cells, count))
        return false;
    experiment_table(e, "e4", "E4: the price of others' delay, load 0.7", cells, count,
                     experiment_columns, experiment_column_count);
    figure_percent(e, "e4_e2e_gain_percent",
                   experiment_ratio(e, &cells[1], &cells[0], metric_done_mean));
    figure_percent(e, "e4_p99_cost_percent",
                   experiment_ratio(e, &cells[0], &cells[1], metric_first_p99));
    figure_percent(e, "e4_kappa_e2e_gain_percent",
                   experiment_ratio(e, &cells[0], &cells[3], metric_done_mean));
    figure_percent(e, "e4_kappa_p99_gain_percent",
                   experiment_ratio(e, &cells[0], &cells[3], metric_first_p99));
    return true;
}

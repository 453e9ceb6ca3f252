/* e11 - hedging: 120 engines of one model that stand still now and then (two seconds, once in half
 * a minute, each by itself), as a driver or a neighbour on the machine make them. Late first tokens
 * get a second attempt elsewhere, within two per cent of the prefill tokens; above a load of 0.9
 * none, and nothing may be worse for it. */
#include <math.h>

#include "experiment.h"

#define PAUSE_EVERY_MS 30000.0
#define PAUSE_MS       2000.0

/* 0: prefill tokens of second attempts over all, in per cent; 1: requests that got one, likewise.
 */
static void
measure_hedges(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);

    (void)job;
    ret_extras[0] = 100.0 * (double)s->hedge_prefill_tokens / fmax(1.0, (double)s->prefill_tokens);
    ret_extras[1] = 100.0 * (double)s->hedges / fmax(1.0, (double)s->arrived);
}

struct experiment_cell *
experiment_e11_add(const struct experiment *e, struct experiment_cell *cells, uint32_t *count,
                   const char *name, double load)
{
    struct experiment_cell *c = experiment_add(e, cells, count, name, "time", TRACE_CONV);

    c->options.load = load;
    c->options.models = 1;
    c->options.nodes = 120;
    c->options.day_amplitude = 0.0;
    c->options.pause_every_ms = PAUSE_EVERY_MS;
    c->options.pause_ms = PAUSE_MS;
    c->measure = measure_hedges;
    return c;
}

bool
experiment_e11(const struct experiment *e)
{
    static struct experiment_cell cells[4];
    static const struct experiment_column columns[] = {
        {"TTFT p50 ms", metric_first_p50, 0}, {"p95 ms", metric_first_p95, 0},
        {"p99 ms", metric_first_p99, 0},      {"extra prefill %", metric_extra_0, 2},
        {"hedged %", metric_extra_1, 2},      {"E2E mean ms", metric_done_mean, 0},
    };
    struct experiment_estimate gain;
    uint32_t count = 0;

    (void)experiment_e11_add(e, cells, &count, "load 0.7", 0.7);
    experiment_e11_add(e, cells, &count, "load 0.7, no hedges", 0.7)->options.tuning.without =
        WITHOUT_HEDGE;
    (void)experiment_e11_add(e, cells, &count, "load 0.95", 0.95);
    experiment_e11_add(e, cells, &count, "load 0.95, no hedges", 0.95)->options.tuning.without =
        WITHOUT_HEDGE;
    if (!experiment_run(e, "E11", cells, count))
        return false;
    experiment_table(e, "e11", "E11: hedging, engines that stand still", cells, count, columns, 6);
    gain = experiment_ratio(e, &cells[0], &cells[1], metric_first_p99);
    experiment_figure(e, "e11_p99_gain_percent",
                      (struct experiment_estimate){100.0 * (1.0 - gain.value),
                                                   100.0 * (1.0 - gain.high),
                                                   100.0 * (1.0 - gain.low)},
                      "percent");
    experiment_figure(e, "e11_extra_prefill_percent", experiment_mean(e, &cells[0], metric_extra_0),
                      "percent");
    experiment_figure(e, "e11_p99_at_095_over_without",
                      experiment_ratio(e, &cells[2], &cells[3], metric_first_p99), "ratio");
    return true;
}

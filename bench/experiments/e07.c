/* e07 - overload: load 0.8, then 1.4, then 2.0, then 0.8 again. How much is still answered within
 * both goals, how long it takes to be well again, and whether those who come first notice.
 *
 * Goodput is judged by what the fleet can really do: the most that any steady load makes it answer
 * within the goals. The capacity that loads are stated in is a formula over mean requests, and no
 * rule reaches it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "experiment.h"

#define CALM_MS  60000.0 /* warm-up until here */
#define ROUGH_MS 85000.0
#define AGAIN_MS 135000.0
#define END_MS   170000.0
#define BIN_MS   1000.0

/* p90 of the first token of one class among those sent in [from, to). */
static double
p90_of(const struct sim_stats *s, double from_ms, double to_ms, uint32_t priority)
{
    double *x = malloc((s->count + 1) * sizeof(*x)), q;
    size_t n = 0;

    must(x != NULL);
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *a = &s->samples[i];
        if ((double)a->sent_ms >= from_ms && (double)a->sent_ms < to_ms &&
            (priority == PRIORITIES_MAX || a->priority == priority))
            x[n++] = (double)a->first_ms;
    }
    q = sim_quantile(x, n, 0.9);
    free(x);
    return q;
}

/* 0: requests answered within both goals in the overload, over what the fleet can take in that
 * time; 1: until the p90 is within 1.2 of the calm one for good, in mean service times; 2: p90 of
 * the top class in the overload over its p90 before. */
static void
measure_overload(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);
    const struct sim_options *o = &job->options;
    double good = 0.0, service = 0.0, counted = 0.0, calm = p90_of(s, CALM_MS, ROUGH_MS, 3);
    double well_ms = AGAIN_MS;

    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *x = &s->samples[i];
        double goal = o->slo_first_ms + o->slo_first_per_token_ms * (double)x->prompt_tokens;
        if ((double)x->sent_ms < ROUGH_MS) {
            service += (double)x->done_ms;
            counted += 1.0;
        }
        good += (double)x->sent_ms >= ROUGH_MS && (double)x->sent_ms < AGAIN_MS &&
                (double)x->first_ms <= goal && !((double)x->step_ms > o->slo_step_ms);
    }
    for (double at = AGAIN_MS; at < END_MS - BIN_MS; at += BIN_MS) {
        if (p90_of(s, at, at + BIN_MS, PRIORITIES_MAX) > 1.2 * calm)
            well_ms = at + BIN_MS;
    }
    ret_extras[0] = good / (sim_world_capacity(w) * (AGAIN_MS - ROUGH_MS) / 1000.0);
    ret_extras[1] = (well_ms - AGAIN_MS) / (service / fmax(1.0, counted));
    ret_extras[2] = p90_of(s, ROUGH_MS, AGAIN_MS, PRIORITY_HIGH) /
                    p90_of(s, CALM_MS, ROUGH_MS, PRIORITY_HIGH);
}

static const char *const plotted[] = {"ours", "without admission", "least_request"};
static const struct sim_load_step steps[] = {
    {0.0, 0.8}, {ROUGH_MS, 1.4}, {0.5 * (ROUGH_MS + AGAIN_MS), 2.0}, {AGAIN_MS, 0.8}};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

struct experiment_cell *
experiment_e7_add(const struct experiment *e, struct experiment_cell *cells, uint32_t *count,
                  const char *name, const char *rule, double steady)
{
    struct experiment_cell *c = experiment_add(e, cells, count, name, rule, TRACE_CONV);
    struct sim_options *o = &c->options;

    o->load = steady > 0.0 ? steady : steps[0].load;
    for (uint32_t i = 0; steady <= 0.0 && i < STEPS; i++)
        o->load_steps[o->load_step_count++] = steps[i];
    o->duration_ms = END_MS;
    o->warmup_ms = CALM_MS;
    o->day_amplitude = 0.0;
    o->configured_slo = true;
    o->priority_high = 0.1;
    o->priority_low = 0.3;
    c->measure = measure_overload;
    return c;
}

bool
experiment_e7(const struct experiment *e)
{
    static struct experiment_cell cells[8];
    static const struct experiment_column columns[] = {
        {"goodput of nominal", metric_extra_0, 2}, {"recovery, services", metric_extra_1, 1},
        {"top class p90", metric_extra_2, 2},      {"refused %", metric_refused, 1},
        {"TTFT p95 ms", metric_first_p95, 0},      {"TPOT p90 ms", metric_step_p90, 1},
    };
    struct experiment few = *e;
    const struct experiment_cell *best;
    uint32_t count = 0;

    few.seeds = e->is_quick ? 3 : e->seeds;
    (void)experiment_e7_add(&few, cells, &count, "ours", "time", 0.0);
    experiment_e7_add(&few, cells, &count, "without admission", "time", 0.0)
        ->options.tuning.without = WITHOUT_ADMISSION;
    experiment_e7_add(&few, cells, &count, "least_request", "least_request", 0.0)
        ->options.tuning.without = WITHOUT_ADMISSION;
    best = experiment_e7_add(&few, cells, &count, "ours, steady 0.8", "time", 0.8);
    (void)experiment_e7_add(&few, cells, &count, "ours, steady 0.9", "time", 0.9);
    (void)experiment_e7_add(&few, cells, &count, "ours, steady 1.0", "time", 1.0);
    (void)experiment_e7_add(&few, cells, &count, "ours, steady 1.2", "time", 1.2);
    if (!experiment_run(&few, "E7", cells, count))
        return false;
    experiment_table(&few, "e7", "E7: overload 0.8, 1.4, 2.0, 0.8", cells, count, columns, 6);
    experiment_plot(&few, "e7", "E7: overload 0.8, 1.4, 2.0, 0.8", cells, count, plotted, 3);
    for (uint32_t i = 4; i < count; i++) {
        if (experiment_mean(&few, &cells[i], metric_extra_0).value >
            experiment_mean(&few, best, metric_extra_0).value)
            best = &cells[i];
    }
    printf("       most at a steady load: %s\n", best->name);
    experiment_figure(&few, "e7_goodput_share",
                      experiment_ratio(&few, &cells[0], best, metric_extra_0), "of_capacity");
    experiment_figure(&few, "e7_goodput_of_nominal_capacity",
                      experiment_mean(&few, &cells[0], metric_extra_0), "of_nominal");
    experiment_figure(&few, "e7_recovery_services",
                      experiment_mean(&few, &cells[0], metric_extra_1), "mean_service_times");
    experiment_figure(&few, "e7_top_class_p90_ratio",
                      experiment_mean(&few, &cells[0], metric_extra_2), "ratio");
    return true;
}

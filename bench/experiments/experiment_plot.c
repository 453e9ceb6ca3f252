/* experiment_plot - what one would rather look at than read: how first tokens are distributed in
 * each cell, and their p95 over the time of a run, means over the seeds; and charts of anything. */
#include <math.h>
#include <stdio.h>

#include "experiment.h"

#define PATH_BYTES_MAX 4096u

struct curves {
    float first_ms[SIM_CURVE_POINTS], quantile[SIM_CURVE_POINTS];
    float p95_ms[SIM_TIME_BINS], at_s[SIM_TIME_BINS];
};

static void
curves_of(const struct experiment *e, const struct experiment_cell *cell, struct curves *ret)
{
    double bin_s = (cell->options.duration_ms - cell->options.warmup_ms) / 1000.0 / SIM_TIME_BINS;

    for (uint32_t i = 0; i < SIM_CURVE_POINTS; i++) {
        ret->quantile[i] = (float)i / (float)(SIM_CURVE_POINTS - 1);
        ret->first_ms[i] = 0.0f;
        for (uint32_t s = 0; s < e->seeds; s++)
            ret->first_ms[i] += cell->results[s].first_ms_at[i] / (float)e->seeds;
    }
    for (uint32_t i = 0; i < SIM_TIME_BINS; i++) {
        ret->at_s[i] = (float)(cell->options.warmup_ms / 1000.0 + bin_s * (i + 0.5));
        ret->p95_ms[i] = 0.0f;
        for (uint32_t s = 0; s < e->seeds; s++)
            ret->p95_ms[i] += cell->results[s].first_ms_p95[i] / (float)e->seeds;
    }
}

void
experiment_chart(const struct experiment *e, const char *name, const struct sim_plot *plots,
                 uint32_t count)
{
    char path[PATH_BYTES_MAX];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/%s.svg", e->out, name);
    out = fopen(path, "w");
    if (out == NULL || sim_plot_write(out, plots, count) != ERR_OK)
        fprintf(stderr, "%s: cannot be written\n", path);
    if (out != NULL && fclose(out) != 0)
        fprintf(stderr, "%s: not written whole\n", path);
}

void
experiment_plot(const struct experiment *e, const char *name, const char *title,
                const struct experiment_cell *cells, uint32_t cell_count, const char *const *names,
                uint32_t count)
{
    static struct curves curves[SIM_PLOT_LINES_MAX];
    struct sim_plot_line cdf[SIM_PLOT_LINES_MAX], time[SIM_PLOT_LINES_MAX];
    struct sim_plot drawn[] = {
        {title, "time to first token, ms", "share of requests", true, false, cdf, 0},
        {"its p95 over time", "sent at, s", "ms", false, true, time, 0}};
    uint32_t n = 0;

    for (uint32_t i = 0; i < count && n < SIM_PLOT_LINES_MAX; i++) {
        const struct experiment_cell *c = experiment_find(cells, cell_count, names[i]);
        if (c == NULL)
            continue;
        curves_of(e, c, &curves[n]);
        cdf[n] = (struct sim_plot_line){c->name, curves[n].first_ms, curves[n].quantile,
                                        SIM_CURVE_POINTS};
        time[n] = (struct sim_plot_line){c->name, curves[n].at_s, curves[n].p95_ms, SIM_TIME_BINS};
        n++;
    }
    drawn[0].line_count = drawn[1].line_count = n;
    experiment_chart(e, name, drawn, 2);
}

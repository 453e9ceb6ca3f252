/* sim_stats - rows and quantiles; see sim_stats.h. */
#include "sim/sim_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/must.h"

#define ROOM_FIRST 8192u

void
sim_stats_fini(struct sim_stats *s)
{
    free(s->samples);
    *s = (struct sim_stats){0};
}

void
sim_stats_add(struct sim_stats *s, const struct sim_sample *sample)
{
    if (s->count == s->room) {
        size_t room = s->room == 0 ? ROOM_FIRST : 2 * s->room;
        struct sim_sample *samples = realloc(s->samples, room * sizeof(*samples));
        must(samples != NULL);
        s->samples = samples;
        s->room = room;
    }
    s->samples[s->count++] = *sample;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double
sim_quantile(double *values, size_t n, double q)
{
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof(*values), by_value);
    return values[(size_t)(q * (double)(n - 1) + 0.5)];
}

struct sim_mean
sim_mean_of(const double *values, size_t n)
{
    /* the 0.975 quantile of Student's t for 1, 2 .. degrees of freedom; 1.96 in the end */
    static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365,
                               2.306,  2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
                               2.131,  2.120, 2.110, 2.101, 2.093, 2.086};
    const size_t t_count = sizeof(t) / sizeof(t[0]);
    struct sim_mean m = {NAN, NAN};
    double squares = 0.0;

    if (n == 0)
        return m;
    m.mean = 0.0;
    for (size_t i = 0; i < n; i++)
        m.mean += values[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - m.mean) * (values[i] - m.mean);
    if (n > 1)
        m.half = (n - 1 <= t_count ? t[n - 2] : 1.96) * sqrt(squares / (double)(n - 1) / (double)n);
    return m;
}

struct columns {
    double *first, *done, *step, *error, *floor;
    size_t steps, errors, floors;
};

static void
columns_add(struct columns *c, size_t i, const struct sim_sample *s, uint32_t nth_min)
{
    c->first[i] = (double)s->first_ms;
    c->done[i] = (double)s->done_ms;
    if (!isnan(s->step_ms))
        c->step[c->steps++] = (double)s->step_ms;
    if (s->nth < nth_min || s->tries != 1 || s->hedged != 0 || !(s->served_ms > 0.0f))
        return;
    c->error[c->errors++] = fabs((double)(s->predicted_ms - s->served_ms) / (double)s->served_ms);
    if (!isnan(s->floor_ms))
        c->floor[c->floors++] = fabs((double)(s->floor_ms - s->served_ms) / (double)s->served_ms);
}

void
sim_stats_figures(const struct sim_stats *s, const struct sim_slo *slo, double from_ms,
                  double to_ms, uint32_t nth_min, struct sim_figures *ret_figures)
{
    struct sim_figures f = {0};
    double *memory = malloc((5 * s->count + 1) * sizeof(*memory));
    struct columns c = {memory,
                        memory + s->count,
                        memory + 2 * s->count,
                        memory + 3 * s->count,
                        memory + 4 * s->count,
                        0,
                        0,
                        0};
    double prompt = 0.0, cached = 0.0, good = 0.0, steps = 0.0;

    must(memory != NULL);
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *x = &s->samples[i];
        if ((double)x->sent_ms < from_ms || (double)x->sent_ms >= to_ms)
            continue;
        columns_add(&c, f.count, x, nth_min);
        f.first_mean_ms += (double)x->first_ms;
        f.done_mean_ms += (double)x->done_ms;
        steps += isnan(x->step_ms) ? 0.0 : (double)x->step_ms;
        prompt += (double)x->prompt_tokens;
        cached += (double)x->cached_tokens;
        good += (double)x->first_ms <=
                    slo->first_ms + slo->first_per_token_ms * (double)x->prompt_tokens &&
                !((double)x->step_ms > slo->step_ms);
        f.away_share += x->region_node != x->region_gateway;
        f.count++;
    }
    if (f.count > 0) {
        double n = (double)f.count;
        f.first_mean_ms /= n;
        f.done_mean_ms /= n;
        f.slo_share = good / n;
        f.hit_share = prompt > 0.0 ? cached / prompt : 0.0;
        f.away_share /= n;
    }
    f.step_mean_ms = c.steps > 0 ? steps / (double)c.steps : NAN;
    f.first_p50_ms = sim_quantile(c.first, f.count, 0.5);
    f.first_p90_ms = sim_quantile(c.first, f.count, 0.9);
    f.first_p95_ms = sim_quantile(c.first, f.count, 0.95);
    f.first_p99_ms = sim_quantile(c.first, f.count, 0.99);
    f.done_p50_ms = sim_quantile(c.done, f.count, 0.5);
    f.done_p95_ms = sim_quantile(c.done, f.count, 0.95);
    f.done_p99_ms = sim_quantile(c.done, f.count, 0.99);
    f.step_p90_ms = sim_quantile(c.step, c.steps, 0.9);
    f.error_percent = 100.0 * sim_quantile(c.error, c.errors, 0.5);
    f.floor_percent = 100.0 * sim_quantile(c.floor, c.floors, 0.5);
    free(memory);
    *ret_figures = f;
}

/* experiment - cells, estimates, tables; see experiment.h. */
#include "experiment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

#define PATH_BYTES_MAX 4096u
#define NAME_BYTES_MAX 128u
#define TOLD_EVERY     20u /* runs, where progress goes to a file */

/* ---- What is read off a run. */

#define METRIC(name, expression)                                                                   \
    double metric_##name(const struct sim_result *r)                                               \
    {                                                                                              \
        return expression;                                                                         \
    }

METRIC(first_mean, r->figures.first_mean_ms)
METRIC(first_p50, r->figures.first_p50_ms)
METRIC(first_p95, r->figures.first_p95_ms)
METRIC(first_p99, r->figures.first_p99_ms)
METRIC(done_mean, r->figures.done_mean_ms)
METRIC(done_p99, r->figures.done_p99_ms)
METRIC(step_p90, r->figures.step_p90_ms)
METRIC(slo, 100.0 * r->figures.slo_share)
METRIC(error, r->figures.error_percent)
METRIC(floor, r->figures.floor_percent)
METRIC(hit, 100.0 * r->figures.hit_share)
METRIC(away, 100.0 * r->figures.away_share)
METRIC(refused, 100.0 * (double)r->counts.refused / fmax(1.0, (double)r->counts.arrived))
METRIC(extra_0, r->extras[0])
METRIC(extra_1, r->extras[1])
METRIC(extra_2, r->extras[2])
METRIC(extra_3, r->extras[3])

const struct experiment_column experiment_columns[] = {
    {"TTFT mean", metric_first_mean, 0}, {"p50", metric_first_p50, 0},
    {"p95", metric_first_p95, 0},        {"p99 ms", metric_first_p99, 0},
    {"E2E mean", metric_done_mean, 0},   {"p99 ms", metric_done_p99, 0},
    {"TPOT p90 ms", metric_step_p90, 1}, {"in SLO %", metric_slo, 1},
    {"hits %", metric_hit, 1},           {"away %", metric_away, 0},
    {"refused %", metric_refused, 2},
};
const uint32_t experiment_column_count = sizeof(experiment_columns) / sizeof(experiment_columns[0]);

/* ---- Cells. */

void
experiment_world(const struct experiment *e, struct sim_options *ret_options)
{
    struct sim_options *o = ret_options;

    sim_options_init(o);
    /* A gateway and a node meet about once in two seconds: the warm-up is what learning needs. */
    o->warmup_ms = 60000.0;
    o->duration_ms = e->is_quick ? 120000.0 : 300000.0;
    o->day_ms = o->duration_ms;
    o->prompt_tokens_max = 1e7;
}

struct experiment_cell *
experiment_add(const struct experiment *e, struct experiment_cell *cells, uint32_t *count,
               const char *name, const char *rule, enum experiment_trace trace)
{
    struct experiment_cell *c = &cells[(*count)++];

    must(*count <= EXPERIMENT_CELLS_MAX);
    memset(c, 0, sizeof(*c));
    c->name = name;
    c->trace = trace;
    experiment_world(e, &c->options);
    c->options.rule = rule;
    return c;
}

static void
show_progress(void *user, const struct sim_progress *p)
{
    const char *name = user;

    static size_t told;

    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%s: %zu of %zu runs, %.0f s to go \033[K", name, p->done, p->count,
                isnan(p->left_s) ? 0.0 : p->left_s);
        if (p->done == p->count)
            fputs("\r\033[K", stderr);
    } else if (p->done != told && (p->done % TOLD_EVERY == 0 || p->done == p->count)) {
        fprintf(stderr, "%s: %zu of %zu runs\n", name, p->done, p->count);
        told = p->done;
    }
}

bool
experiment_run(const struct experiment *e, const char *name, struct experiment_cell *cells,
               uint32_t count)
{
    char label[NAME_BYTES_MAX];
    struct sim_batch_options options = {
        .workers = e->workers, .progress = show_progress, .user = label};
    size_t n = (size_t)count * e->seeds;
    struct sim_job *jobs = calloc(n, sizeof(*jobs));
    struct sim_result *results = calloc(n, sizeof(*results));
    bool ok = true;

    must(jobs != NULL && results != NULL);
    (void)snprintf(label, sizeof(label), "%s", name);
    for (uint32_t c = 0; c < count; c++) {
        for (uint32_t s = 0; s < e->seeds; s++) {
            struct sim_job *j = &jobs[(size_t)c * e->seeds + s];
            *j = (struct sim_job){.options = cells[c].options,
                                  .trace = &e->traces[cells[c].trace],
                                  .rtt = &e->rtt,
                                  .nth_min = cells[c].nth_min,
                                  .measure = cells[c].measure};
            j->options.seed = (e->is_tuning ? EXPERIMENT_SEED_TUNING : EXPERIMENT_SEED_FIRST) + s;
        }
    }
    if (sim_batch_run(jobs, n, &options, results) != ERR_OK)
        ok = false;
    for (size_t i = 0; i < n; i++) {
        cells[i / e->seeds].results[i % e->seeds] = results[i];
        if (results[i].err != ERR_OK)
            fprintf(stderr, "%s, %s: %s\n", name, cells[i / e->seeds].name, results[i].error);
    }
    free(jobs);
    free(results);
    return ok;
}

/* ---- Estimates. */

/* Student's t, two-sided 95 %, by degrees of freedom. */
static double
t_95(uint32_t freedom)
{
    static const double table[] = {0,     12.706, 4.303, 3.182, 2.776, 2.571, 2.447,
                                   2.365, 2.306,  2.262, 2.228, 2.201, 2.179, 2.160,
                                   2.145, 2.131,  2.120, 2.110, 2.101, 2.093};

    return freedom < sizeof(table) / sizeof(table[0]) ? table[freedom] : 1.96;
}

static struct experiment_estimate
estimate(const double *x, uint32_t n)
{
    double sum = 0.0, squares = 0.0, mean, half = 0.0;

    for (uint32_t i = 0; i < n; i++)
        sum += x[i];
    mean = sum / n;
    for (uint32_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    if (n > 1)
        half = t_95(n - 1) * sqrt(squares / (n - 1) / n);
    return (struct experiment_estimate){mean, mean - half, mean + half};
}

struct experiment_estimate
experiment_mean(const struct experiment *e, const struct experiment_cell *cell,
                experiment_metric *metric)
{
    double x[EXPERIMENT_SEEDS_MAX];

    for (uint32_t s = 0; s < e->seeds; s++)
        x[s] = metric(&cell->results[s]);
    return estimate(x, e->seeds);
}

struct experiment_estimate
experiment_ratio(const struct experiment *e, const struct experiment_cell *over,
                 const struct experiment_cell *under, experiment_metric *metric)
{
    double x[EXPERIMENT_SEEDS_MAX];
    struct experiment_estimate r;

    for (uint32_t s = 0; s < e->seeds; s++)
        x[s] = log(metric(&over->results[s]) / metric(&under->results[s]));
    r = estimate(x, e->seeds);
    return (struct experiment_estimate){exp(r.value), exp(r.low), exp(r.high)};
}

const struct experiment_cell *
experiment_best_baseline(const struct experiment *e, const struct experiment_cell *cells,
                         uint32_t count, experiment_metric *metric)
{
    const struct experiment_cell *best = NULL;
    double least = INFINITY;

    for (uint32_t i = 0; i < count; i++) {
        const struct sim_rule *rule = sim_rule_find(cells[i].options.rule);
        double x = experiment_mean(e, &cells[i], metric).value;

        if (strcmp(cells[i].options.rule, "time") == 0 ||
            strcmp(cells[i].options.rule, "gorgo_cal") == 0 || (rule != NULL && rule->is_bound))
            continue;
        if (x < least) {
            least = x;
            best = &cells[i];
        }
    }
    return best;
}

const struct experiment_cell *
experiment_find(const struct experiment_cell *cells, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(cells[i].name, name) == 0)
            return &cells[i];
    }
    return NULL;
}

/* ---- What is shown. */

static void
table_write(FILE *out, const struct experiment *e, const char *title,
            const struct experiment_cell *cells, uint32_t count,
            const struct experiment_column *columns, uint32_t column_count)
{
    fprintf(out, "\n### %s\n\n| |", title);
    for (uint32_t k = 0; k < column_count; k++)
        fprintf(out, " %s |", columns[k].head);
    fputs("\n|---|", out);
    for (uint32_t k = 0; k < column_count; k++)
        fputs("---:|", out);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "\n| %s |", cells[i].name);
        for (uint32_t k = 0; k < column_count; k++) {
            struct experiment_estimate x = experiment_mean(e, &cells[i], columns[k].metric);
            fputc(' ', out);
            fprintf(out, "%.*f ± %.*f |", columns[k].decimals, x.value, columns[k].decimals,
                    x.high - x.value);
        }
    }
    fputs("\n\n", out);
}

void
experiment_table(const struct experiment *e, const char *name, const char *title,
                 const struct experiment_cell *cells, uint32_t count,
                 const struct experiment_column *columns, uint32_t column_count)
{
    char path[PATH_BYTES_MAX];
    FILE *out;

    table_write(stdout, e, title, cells, count, columns, column_count);
    (void)snprintf(path, sizeof(path), "%s/%s.md", e->out, name);
    out = fopen(path, "w");
    if (out == NULL) {
        fprintf(stderr, "%s: cannot be written\n", path);
        return;
    }
    table_write(out, e, title, cells, count, columns, column_count);
    if (fclose(out) != 0)
        fprintf(stderr, "%s: not written whole\n", path);
}

void
experiment_figure(const struct experiment *e, const char *name, struct experiment_estimate value,
                  const char *unit)
{
    experiment_number(e, name, value.value, unit);
    printf("       95 %% interval %.3f .. %.3f over %u seeds\n", value.low, value.high, e->seeds);
}

void
experiment_number(const struct experiment *e, const char *name, double value, const char *unit)
{
    printf("figure %s%s %.4g %s\n", name, e->traces[0].synthetic ? "_synthetic" : "", value, unit);
    fflush(stdout);
}

/* fit_report - splits, groups and errors; see fit_report.h.
 *
 * Rows are sorted by what they measure, so neither the order of files nor of threads matters, and
 * rows of one point stand together: they are on the same side of every split. Sources repeat each
 * other; equal measurements are one row, or a row fitted would be judged under another name. */
#include "sim/fit_report.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/engine_table.h"
#include "sim/sim_stats.h"

#define RATIOS_MIN 3u /* engines of other models, for an efficiency */

/* ---- Order. */

static int
by_number(double a, double b)
{
    return a < b ? -1 : a > b;
}

/* The engine: everything but the load and what was seen. */
static int
by_engine(const struct gpu_point *a, const struct gpu_point *b)
{
    const uint32_t x[] = {a->tensor_parallel, a->pipeline_parallel, a->data_parallel,
                          a->moe_tensor_parallel, a->moe_expert_parallel};
    const uint32_t y[] = {b->tensor_parallel, b->pipeline_parallel, b->data_parallel,
                          b->moe_tensor_parallel, b->moe_expert_parallel};
    int order = strcmp(a->backend, b->backend);

    if (order == 0)
        order = strcmp(a->version, b->version);
    if (order == 0)
        order = strcmp(a->model, b->model);
    if (order == 0)
        order = strcmp(a->system, b->system);
    if (order == 0)
        order = strcmp(a->precision, b->precision);
    for (size_t i = 0; order == 0 && i < sizeof(x) / sizeof(x[0]); i++)
        order = by_number(x[i], y[i]);
    return order;
}

static int
by_curve(const struct gpu_point *a, const struct gpu_point *b)
{
    int order = by_number(a->input_tokens, b->input_tokens);

    return order != 0 ? order : by_number(a->output_tokens, b->output_tokens);
}

static int
by_row(const void *left, const void *right)
{
    const struct gpu_point *a = ((const struct fit_row *)left)->point;
    const struct gpu_point *b = ((const struct fit_row *)right)->point;
    int order = by_engine(a, b);

    if (order == 0)
        order = by_curve(a, b);
    if (order == 0)
        order = by_number(fit_concurrency(a), fit_concurrency(b));
    if (order == 0)
        order = by_number(a->ttft_ms, b->ttft_ms);
    return order != 0 ? order : by_number(a->tpot_ms, b->tpot_ms);
}

/* Two rows with the same times are one measurement, also under another name of model or version. */
static int
by_measurement(const void *left, const void *right)
{
    const struct fit_row *a = left, *b = right;
    int order = by_number(a->point->ttft_ms, b->point->ttft_ms);

    if (order == 0)
        order = by_number(a->point->tpot_ms, b->point->tpot_ms);
    if (order == 0)
        order = by_curve(a->point, b->point);
    if (order == 0)
        order = strcmp(a->point->system, b->point->system);
    return order != 0 ? order : by_row(left, right);
}

static bool
same_measurement(const struct gpu_point *a, const struct gpu_point *b)
{
    return a->ttft_ms == b->ttft_ms && a->tpot_ms == b->tpot_ms && by_curve(a, b) == 0 &&
           strcmp(a->system, b->system) == 0;
}

/* ---- Rows and groups. */

static enum err
take_rows(struct fit_report *r, const struct gpu_data *data)
{
    size_t kept = 0;

    r->rows = calloc(data->point_count + 1, sizeof(*r->rows)); /* as long as the report */
    if (r->rows == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < data->point_count; i++) {
        const struct gpu_point *p = &data->points[i];

        if (!p->aggregated)
            continue;
        if (fit_concurrency(p) == 0)
            r->too_large++;
        else
            r->rows[r->row_count++].point = p;
    }
    qsort(r->rows, r->row_count, sizeof(*r->rows), by_measurement);
    for (size_t i = 0; i < r->row_count; i++)
        if (kept == 0 || !same_measurement(r->rows[kept - 1].point, r->rows[i].point))
            r->rows[kept++] = r->rows[i];
    r->repeated = r->row_count - kept;
    r->row_count = kept;
    qsort(r->rows, r->row_count, sizeof(*r->rows), by_row);
    return ERR_OK;
}

static enum err
take_groups(struct fit_report *r, const struct gpu_data *data)
{
    r->groups = calloc(r->row_count + 1, sizeof(*r->groups)); /* as long as the report */
    if (r->groups == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < r->row_count; i++) {
        struct fit_row *row = &r->rows[i];
        struct fit_group *g = &r->groups[r->group_count];

        if (i == 0 || by_engine(r->rows[i - 1].point, row->point) != 0) {
            g = &r->groups[r->group_count++];
            *g = (struct fit_group){.point = row->point, .first = i};
            fit_specs_of(data, row->point, &g->specs);
        } else {
            g--;
            row->curve = row[-1].curve + (by_curve(row[-1].point, row->point) != 0);
        }
        if (row->curve >= FIT_CURVES_MAX || g->count >= FIT_ROWS_MAX)
            return ERR_ARG;
        g->count++;
    }
    return r->group_count > 0 ? ERR_OK : ERR_NOT_FOUND;
}

static uint64_t
hash_name(uint64_t h, const char *text)
{
    return hash_fnv(h, text, strlen(text) + 1);
}

/* Of the engine's name: which half of its curves, and of each curve's points, is fitted. */
static uint64_t
hash_group(const struct gpu_point *p)
{
    uint64_t h = hash_name(HASH_FNV_START, p->backend);

    h = hash_name(hash_name(h, p->version), p->model);
    h = hash_name(hash_name(h, p->system), p->precision);
    return hash_fnv(h, &p->tensor_parallel, sizeof(p->tensor_parallel));
}

/* Is row i of the group kept from the fit? */
static bool
held(const struct fit_row *rows, size_t i, enum fit_split split)
{
    uint64_t h = hash_group(rows[i].point);
    uint32_t place = 0;

    if (split == FIT_SPLIT_UNSEEN || split == FIT_SPLIT_TABLE)
        return true;
    if (split == FIT_SPLIT_CURVES)
        return ((rows[i].curve ^ (h >> 20)) & 1) != 0;
    while (i > 0 && rows[i - 1].curve == rows[i].curve) { /* how many smaller loads it has */
        place += fit_concurrency(rows[i - 1].point) != fit_concurrency(rows[i].point);
        i--;
    }
    return ((place + rows[i].curve + (h >> 20)) & 1) != 0;
}

/* ---- One group. */

struct check { /* what all threads share */
    const struct fit_report *report;
    double *errors[FIT_SPLITS][2]; /* TTFT and TPOT; of a group from its first row on */
    enum fit_split from, to;       /* of this pass */
    atomic_size_t next;            /* group */
};

struct job { /* of one thread */
    struct check *check;
    struct fit_group *groups;
    struct fit_row train[FIT_ROWS_MAX];
    double *ratios; /* room for one a group */
    enum err err;
};

/* The median of fitted over specified, over engines of this server and of models of this kind, with
 * or without experts, but of another size; 1 when these are few. */
static double
efficiency(const struct job *j, const struct fit_group *of, uint32_t param)
{
    size_t n = 0;

    for (size_t i = 0; i < j->check->report->group_count; i++) {
        const struct fit_group *g = &j->groups[i];

        if (g->fitted > 0 && strcmp(g->point->backend, of->point->backend) == 0 &&
            g->specs.model_params != of->specs.model_params && g->specs.params[param] > 0 &&
            (g->specs.expert_share > 0) == (of->specs.expert_share > 0))
            j->ratios[n++] = g->engine.params[param] / g->specs.params[param];
    }
    return n >= RATIOS_MIN ? sim_quantile(j->ratios, n, 0.5) : 1;
}

/* The engine as base/speed_table has it. False: not there. */
static bool
by_table(const struct fit_group *g, struct fit_engine *engine)
{
    const struct gpu_point *p = g->point;
    size_t letters = strcspn(p->system, "_");
    char class[GPU_NAME_BYTES + 16];
    struct engine_speed speed;
    struct engine_params params;

    if ((p->precision[0] != '\0' && strcmp(p->precision, "bf16") != 0) || engine->expert_share > 0)
        return false;
    snprintf(class, sizeof(class), "%.*s", (int)letters, p->system);
    if (p->tensor_parallel > 1)
        snprintf(class + letters, sizeof(class) - letters, "x%u", p->tensor_parallel);
    if (engine_table_speed(g->specs.model_params / 1e9, span_of(class), &speed) != ERR_OK)
        return false;
    engine_table_vllm(&params);
    engine->prefill_budget = params.prefill_budget;
    engine->params[FIT_A] = speed.a_ms;
    engine->params[FIT_B] = speed.b_ms;
    engine->params[FIT_C] = speed.c_ms;
    engine->params[FIT_T0] = speed.t0_ms;
    engine->params[FIT_TK] = speed.tk_ms;
    engine->params[FIT_TB] = speed.tb_ms;
    return true;
}

static enum err
judge(const struct fit_engine *engine, const struct fit_row *row, double *ret_ttft,
      double *ret_tpot)
{
    struct closed_loop_seen seen = {0};
    enum err err = fit_show(engine, row, &seen);

    if (err == ERR_FULL) /* the model says it cannot be: as wrong as nothing shown */
        err = ERR_OK;
    *ret_ttft = fabs(seen.ttft_ms / row->point->ttft_ms - 1);
    *ret_tpot = fabs(seen.tpot_ms / row->point->tpot_ms - 1);
    return err;
}

static enum err
check_group(struct job *j, struct fit_group *g, enum fit_split split)
{
    const struct fit_row *rows = &j->check->report->rows[g->first];
    struct fit_engine engine;
    size_t fitted = 0, judged = 0;
    enum err err;

    fit_by_specs(&g->specs, g->point, &engine);
    for (uint32_t i = 0; split == FIT_SPLIT_UNSEEN && i < FIT_PARAMS; i++)
        engine.params[i] *= efficiency(j, g, i);
    for (size_t i = 0; i < g->count; i++)
        if (!held(rows, i, split))
            j->train[fitted++] = rows[i];
    if (split == FIT_SPLIT_POINTS)
        g->engine = engine;
    if (fitted == 0 && split < FIT_SPLIT_UNSEEN)
        return ERR_OK; /* nothing to judge by */
    if (split == FIT_SPLIT_TABLE && !by_table(g, &engine))
        return ERR_OK;
    err = fit_rows(j->train, fitted, &engine);
    for (size_t i = 0; err == ERR_OK && i < g->count; i++) {
        size_t at = g->first + judged;

        if (held(rows, i, split)) {
            err = judge(&engine, &rows[i], &j->check->errors[split][0][at],
                        &j->check->errors[split][1][at]);
            judged++;
        }
    }
    g->errors[split].rows = judged;
    if (split == FIT_SPLIT_POINTS) {
        g->engine = engine;
        g->fitted = fitted;
    }
    return err;
}

static void *
work(void *context)
{
    struct job *j = context;
    struct check *c = j->check;
    size_t at;

    while (j->err == ERR_OK && (at = atomic_fetch_add(&c->next, 1)) < c->report->group_count)
        for (int split = c->from; split <= (int)c->to && j->err == ERR_OK; split++)
            j->err = check_group(j, &j->groups[at], (enum fit_split)split);
    return NULL;
}

/* The splits from..to of all groups, by several threads. */
static enum err
check_groups(struct check *c, struct fit_group *groups, uint32_t threads)
{
    struct job *jobs = calloc(threads, sizeof(*jobs)); /* for the call */
    pthread_t ids[FIT_THREADS_MAX];
    uint32_t started = 0;
    enum err err = ERR_MEMORY;

    atomic_store(&c->next, 0);
    for (; jobs != NULL && started < threads; started++) {
        struct job *j = &jobs[started];

        *j = (struct job){.check = c, .groups = groups};
        j->ratios = calloc(c->report->group_count, sizeof(*j->ratios)); /* for the call */
        if (j->ratios != NULL && pthread_create(&ids[started], NULL, work, j) == 0)
            continue;
        free(j->ratios);
        break;
    }
    if (started > 0)
        err = ERR_OK;
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(ids[i], NULL);
        if (err == ERR_OK)
            err = jobs[i].err;
        free(jobs[i].ratios);
    }
    free(jobs);
    return err;
}

/* ---- All of them. */

/* Medians of each group and of all; the arrays are sorted and packed by it. */
static void
take_medians(struct fit_report *r, struct check *c)
{
    for (int split = 0; split < FIT_SPLITS; split++) {
        struct fit_error *all = &r->errors[split];

        for (size_t i = 0; i < r->group_count; i++) {
            struct fit_group *g = &r->groups[i];
            struct fit_error *e = &g->errors[split];
            double *ttft = c->errors[split][0], *tpot = c->errors[split][1];

            e->ttft_percent = 100 * sim_quantile(ttft + g->first, e->rows, 0.5);
            e->tpot_percent = 100 * sim_quantile(tpot + g->first, e->rows, 0.5);
            memmove(ttft + all->rows, ttft + g->first, e->rows * sizeof(*ttft));
            memmove(tpot + all->rows, tpot + g->first, e->rows * sizeof(*tpot));
            all->rows += e->rows;
        }
        all->ttft_percent = 100 * sim_quantile(c->errors[split][0], all->rows, 0.5);
        all->tpot_percent = 100 * sim_quantile(c->errors[split][1], all->rows, 0.5);
    }
}

/* How far two measurements of one point are apart. */
static void
take_repeats(struct fit_report *r, double *ttft, double *tpot)
{
    size_t n = 0;

    for (size_t i = 1; i < r->row_count; i++) {
        const struct gpu_point *a = r->rows[i - 1].point, *b = r->rows[i].point;

        if (by_engine(a, b) != 0 || by_curve(a, b) != 0 || fit_concurrency(a) != fit_concurrency(b))
            continue;
        ttft[n] = fabs(a->ttft_ms / b->ttft_ms - 1);
        tpot[n++] = fabs(a->tpot_ms / b->tpot_ms - 1);
    }
    r->repeat_ttft_percent = 100 * sim_quantile(ttft, n, 0.5);
    r->repeat_tpot_percent = 100 * sim_quantile(tpot, n, 0.5);
}

static enum err
check_all(struct fit_report *r, uint32_t threads, enum fit_split last)
{
    struct check c = {.report = r};
    double *memory = calloc(r->row_count * FIT_SPLITS * 2, sizeof(*memory)); /* for the call */
    enum err err;

    if (memory == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < FIT_SPLITS * 2; i++)
        c.errors[i / 2][i % 2] = memory + i * r->row_count;
    take_repeats(r, c.errors[0][0], c.errors[0][1]);
    c.from = FIT_SPLIT_POINTS;
    c.to = last < FIT_SPLIT_CURVES ? last : FIT_SPLIT_CURVES;
    err = check_groups(&c, r->groups, threads);
    c.from = FIT_SPLIT_UNSEEN; /* needs the engines that were fitted */
    c.to = last;
    if (err == ERR_OK && last >= FIT_SPLIT_UNSEEN)
        err = check_groups(&c, r->groups, threads);
    if (err == ERR_OK)
        take_medians(r, &c);
    free(memory);
    return err;
}

enum err
fit_report_open(const struct gpu_data *data, uint32_t threads, enum fit_split last,
                struct fit_report *ret_report)
{
    struct fit_report r = {0};
    enum err err;

    if (threads < 1 || threads > FIT_THREADS_MAX)
        return ERR_ARG;
    err = take_rows(&r, data);
    if (err == ERR_OK)
        err = take_groups(&r, data);
    if (err == ERR_OK)
        err = check_all(&r, threads, last);
    if (err == ERR_OK)
        *ret_report = r;
    else
        fit_report_close(&r);
    return err;
}

void
fit_report_close(struct fit_report *report)
{
    free(report->rows);
    free(report->groups);
    *report = (struct fit_report){0};
}

/* ---- In words. */

static void
print_group(const struct fit_group *g, FILE *to)
{
    const struct gpu_point *p = g->point;
    const double *x = g->engine.params;

    fprintf(to, "%-7s %-20s %-32s %-9s %-4s %2u %2u %4zu %4zu", p->backend, p->version, p->model,
            p->system, p->precision, p->tensor_parallel, p->data_parallel, g->fitted, g->count);
    for (int split = 0; split < FIT_SPLITS; split++)
        fprintf(to, " %6.1f %5.1f", g->errors[split].ttft_percent, g->errors[split].tpot_percent);
    fprintf(to, "  %5.2f %.3g %.2g %5.2f %.3g %.3g %4.0f %5.2f %s %u\n", x[FIT_A], x[FIT_B],
            x[FIT_C], x[FIT_T0], x[FIT_TK], x[FIT_TB], x[FIT_FRONT], x[FIT_EXPERT],
            g->engine.prefill_first ? "first" : "mixed", g->engine.prefill_budget);
}

void
fit_report_print(const struct fit_report *report, FILE *to)
{
    static const char *const suffix[FIT_SPLITS] = {"", "_other_lengths", "_unseen", "_table"};

    fprintf(
        to,
        "%-7s %-20s %-32s %-9s %-4s tp dp  fit  all  points      curves       unseen       table"
        "       a b c t0 tk tb front expert\n",
        "server", "version", "model", "system", "");
    for (size_t i = 0; i < report->group_count; i++)
        print_group(&report->groups[i], to);
    fprintf(to, "rows %zu, repeated %zu, too large for one engine %zu\n", report->row_count,
            report->repeated, report->too_large);
    fprintf(to, "two measurements of one point differ by %.1f %% (TTFT), %.1f %% (TPOT)\n",
            report->repeat_ttft_percent, report->repeat_tpot_percent);
    for (int split = 0; split < FIT_SPLITS; split++) {
        const struct fit_error *e = &report->errors[split];

        if (e->rows == 0)
            continue;
        fprintf(to, "judged%s: %zu rows\n", suffix[split], e->rows);
        fprintf(to, "figure sim_engine_ttft_error%s %.2f percent\n", suffix[split],
                e->ttft_percent);
        fprintf(to, "figure sim_engine_tpot_error%s %.2f percent\n", suffix[split],
                e->tpot_percent);
    }
}

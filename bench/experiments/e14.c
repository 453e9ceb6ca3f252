/* e14 - is capacity what it is told to be? The load of one model is raised until p90 of the first
 * token, or of the time between tokens, breaks the SLO (1 s + 1 ms a prompt token, 60 ms), in
 * worlds of different sizes, hardware, mixes and neighbours; that load is what is reached. Then the
 * same world runs at 30 % and at 60 % of it, and what its gateway tells there is compared.
 *
 * Where the SLO breaks is looked for by runs at one load each: up or down in steps until it lies
 * between two of them, then by halves, and between the last two by the logarithm of how much of the
 * goal was used. Reached and told are requests a second; at the model's own mix that is prefill and
 * decode tokens a second as well. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "experiment.h"
#include "sim/sim_world.h"

#define STEP     1.25 /* of the load, while the SLO is not between two runs */
#define ROUNDS   9u
#define TOLDS    2u
#define MIXES    (sizeof(mixes) / sizeof(mixes[0]))
#define CASES    (MIXES * EXPERIMENT_SEEDS_MAX)
#define QUANTILE 0.9

static const double told_at[TOLDS] = {0.3, 0.6}; /* of the load that is reached */

static const struct {
    const char *name;
    enum experiment_trace trace;
    uint32_t nodes, gateways, models;
    double output_factor, others_load, prior_scale, step_goal_ms; /* 0: none is configured */
} mixes[] = {
    {"8B, 12 nodes", TRACE_CONV, 12, 1, 1, 1.0, 0.0, 1.0, 0.0},
    {"8B, 4 nodes", TRACE_CONV, 4, 1, 1, 1.0, 0.0, 1.0, 0.0},
    {"8B, 48 nodes, 4 gateways", TRACE_CONV, 48, 4, 1, 1.0, 0.0, 1.0, 0.0},
    {"8B, long answers", TRACE_CONV, 12, 1, 1, 6.0, 0.0, 1.0, 0.0},
    {"8B, short answers", TRACE_CONV, 12, 1, 1, 0.1, 0.0, 1.0, 0.0},
    {"8B, goals of 1 s and 250 ms", TRACE_CONV, 12, 1, 1, 1.0, 0.0, 1.0, 250.0},
    {"8B, short answers, goals of 1 s", TRACE_CONV, 12, 1, 1, 0.1, 0.0, 1.0, 1000.0},
    {"8B, long prompts, shared beginnings", TRACE_PREFIX, 12, 1, 1, 1.0, 0.0, 1.0, 0.0},
    {"8B, speeds told wrong", TRACE_CONV, 12, 1, 1, 1.0, 0.0, 1.5, 0.0},
    {"8B beside 32B at 30 %", TRACE_CONV, 16, 1, 2, 1.0, 0.3, 1.0, 0.0},
    {"8B beside 32B at 60 %, 3 gateways", TRACE_CONV, 16, 3, 2, 1.0, 0.6, 1.0, 0.0},
    {"8B beside 32B and 70B at 40 %", TRACE_CONV, 24, 1, 3, 1.0, 0.4, 1.0, 0.0},
};

struct point { /* of one run */
    double load;
    double sent_s; /* requests of the first model a second */
    double used;   /* of the goals, p90: the larger part */
    double told_s, now_s;
    uint32_t limit, by; /* as told; 0: the first token used more, 1: tokens after it */
};

struct search { /* of a mix and a seed */
    uint32_t mix, seed;
    struct point low, high; /* load 0: none yet */
    double next;
    struct point told[TOLDS];
    double reached_s;
};

enum { TOLD, NOW, LIMIT, SENT, USED, BY, OTHERS };

/* ---- What is read off a run. */

static void
look(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    struct headroom_view views[CORE_VIEW_MAX];
    uint32_t count = sim_world_headroom(w, 0, views);

    (void)job;
    must(count > 0 && views[0].model == 0);
    ret_extras[TOLD] = (double)views[0].most_requests_s;
    ret_extras[NOW] = (double)views[0].requests_s;
    ret_extras[LIMIT] = (double)views[0].limit;
}

static void
measure(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_options *o = &job->options;
    const struct sim_stats *s = sim_world_stats(w);
    double *first = calloc(s->count + 1, sizeof(double)), used_first, used_step, refused;
    double *step = calloc(s->count + 1, sizeof(double));
    size_t firsts = 0, steps = 0;

    must(first != NULL && step != NULL);
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *x = &s->samples[i];
        if (x->model != 0 || (double)x->sent_ms < o->warmup_ms)
            continue;
        first[firsts++] = (double)x->first_ms /
                          (o->slo_first_ms + o->slo_first_per_token_ms * (double)x->prompt_tokens);
        if (!isnan(x->step_ms))
            step[steps++] = (double)x->step_ms / o->slo_step_ms;
    }
    used_first = sim_quantile(first, firsts, QUANTILE);
    used_step = sim_quantile(step, steps, QUANTILE);
    ret_extras[SENT] = (double)firsts / (o->duration_ms - o->warmup_ms) * 1000.0;
    refused = (double)s->refused / fmax(1.0, (double)s->arrived) / (1.0 - QUANTILE);
    ret_extras[USED] = fmax(fmax(used_first, used_step), refused);
    ret_extras[BY] = used_step > used_first ? 1.0 : 0.0;
    free(first);
    free(step);
}

static struct point
point_of(const struct sim_result *r, double load)
{
    return (struct point){.load = load,
                          .sent_s = r->extras[SENT],
                          .used = r->extras[USED],
                          .told_s = r->extras[TOLD],
                          .now_s = r->extras[NOW],
                          .limit = (uint32_t)r->extras[LIMIT],
                          .by = (uint32_t)r->extras[BY]};
}

/* ---- Runs. */

static void
options_of(const struct experiment *e, const struct search *s, struct sim_options *o)
{
    experiment_world(e, o);
    o->seed = (e->is_tuning ? EXPERIMENT_SEED_TUNING : EXPERIMENT_SEED_FIRST) + s->seed;
    o->rule = "time";
    o->day_amplitude = 0.0;
    o->regions = 1;
    o->warmup_ms = 60000.0;
    o->duration_ms = 180000.0;
    o->nodes = mixes[s->mix].nodes;
    o->gateways = mixes[s->mix].gateways;
    o->models = mixes[s->mix].models;
    o->shared = o->models > 1;
    o->others_load = mixes[s->mix].others_load;
    o->output_factor = mixes[s->mix].output_factor;
    o->prior_scale = mixes[s->mix].prior_scale;
    o->configured_slo = mixes[s->mix].step_goal_ms > 0.0;
    if (o->configured_slo) {
        o->slo_first_per_token_ms = 0.0;
        o->slo_step_ms = mixes[s->mix].step_goal_ms;
    }
}

/* One run for each search, at loads[i]. */
static bool
run_loads(const struct experiment *e, const struct search *list, uint32_t count,
          const double *loads, struct point *ret_points)
{
    struct sim_job *jobs = calloc(count, sizeof(*jobs));
    struct sim_result *results = calloc(count, sizeof(*results));
    struct sim_batch_options batch = {.workers = e->workers};
    bool ok;

    must(jobs != NULL && results != NULL);
    for (uint32_t i = 0; i < count; i++) {
        jobs[i] = (struct sim_job){.trace = &e->traces[mixes[list[i].mix].trace],
                                   .rtt = &e->rtt,
                                   .measure = measure,
                                   .look = look};
        options_of(e, &list[i], &jobs[i].options);
        jobs[i].options.load = loads[i];
    }
    ok = sim_batch_run(jobs, count, &batch, results) == ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].err != ERR_OK)
            fprintf(stderr, "e14, %s: %s\n", mixes[list[i].mix].name, results[i].error);
        ret_points[i] = point_of(&results[i], loads[i]);
    }
    free(jobs);
    free(results);
    return ok;
}

/* What the run says of where the SLO breaks. */
static void
narrow(struct search *s, const struct point *p)
{
    if (!(p->used > 1.0))
        s->low = *p;
    else
        s->high = *p;
    if (!(s->high.load > 0.0))
        s->next = s->low.load * STEP;
    else if (!(s->low.load > 0.0))
        s->next = s->high.load / STEP;
    else
        s->next = sqrt(s->low.load * s->high.load);
}

/* Between the last two, by how much of the goal each used. */
static void
settle(struct search *s)
{
    double part = -log(s->low.used) / (log(s->high.used) - log(s->low.used));

    s->reached_s = s->low.sent_s + part * (s->high.sent_s - s->low.sent_s);
    s->next = s->low.load + part * (s->high.load - s->low.load);
}

static bool
search_all(const struct experiment *e, struct search *list, uint32_t count)
{
    double loads[CASES];
    struct point points[CASES];
    bool ok = true;

    for (uint32_t i = 0; i < count; i++)
        list[i].next = 1.0;
    for (uint32_t round = 0; ok && round < ROUNDS; round++) {
        for (uint32_t i = 0; i < count; i++)
            loads[i] = list[i].next;
        ok = run_loads(e, list, count, loads, points);
        for (uint32_t i = 0; i < count; i++)
            narrow(&list[i], &points[i]);
        fprintf(stderr, "e14: round %u of %u\n", round + 1, ROUNDS + TOLDS);
    }
    for (uint32_t i = 0; i < count; i++)
        settle(&list[i]);
    for (uint32_t k = 0; ok && k < TOLDS; k++) {
        for (uint32_t i = 0; i < count; i++)
            loads[i] = told_at[k] * list[i].next;
        ok = run_loads(e, list, count, loads, points);
        for (uint32_t i = 0; i < count; i++)
            list[i].told[k] = points[i];
    }
    return ok;
}

/* ---- Figures. */

/* By how many per cent what was told is more than what was reached. */
static double
error_of(const struct search *s, uint32_t k)
{
    return 100.0 * (s->told[k].told_s / s->reached_s - 1.0);
}

static const char *const limit_names[HEADROOM_LIMITS] = {
    [HEADROOM_PREFILL] = "prefill",
    [HEADROOM_DECODE] = "decode",
    [HEADROOM_KV] = "kv",
    [HEADROOM_SLOTS] = "slots",
};

static void
table(FILE *out, const struct search *list, uint32_t count)
{
    fputs("\n### E14: capacity, told and reached (requests/s)\n\n"
          "| | seed | reached | broken by | limit told | told at 30 % | error % | told at 60 % |"
          " error % |\n|---|---:|---:|---|---|---:|---:|---:|---:|\n",
          out);
    for (uint32_t i = 0; i < count; i++) {
        const struct search *s = &list[i];
        fprintf(out, "| %s | %u | %.2f | %s | %s | %.2f | %+.1f | %.2f | %+.1f |\n",
                mixes[s->mix].name, s->seed, s->reached_s,
                s->high.by != 0 ? "time between tokens" : "first token",
                limit_names[s->told[1].limit], s->told[0].told_s, error_of(s, 0), s->told[1].told_s,
                error_of(s, 1));
    }
    fputc('\n', out);
}

static void
table_file(const struct experiment *e, const struct search *list, uint32_t count)
{
    char path[1024];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/e14.md", e->out);
    out = fopen(path, "w");
    if (out == NULL) {
        fprintf(stderr, "%s: cannot be written\n", path);
        return;
    }
    table(out, list, count);
    if (fclose(out) != 0)
        fprintf(stderr, "%s: not written whole\n", path);
}

/* Which worlds a figure is of. */
enum part { PART_ALL, PART_OWN, PART_SHARED, PART_GATEWAYS };

static bool
is_part(const struct search *s, enum part part)
{
    switch (part) {
    case PART_OWN:
        return mixes[s->mix].models == 1;
    case PART_SHARED:
        return mixes[s->mix].models > 1;
    case PART_GATEWAYS:
        return mixes[s->mix].gateways > 1 && mixes[s->mix].models == 1;
    case PART_ALL:
    default:
        return true;
    }
}

static void
figures_of(const struct experiment *e, const struct search *list, uint32_t count, enum part part,
           const char *name)
{
    double errors[CASES * TOLDS], sides[CASES * TOLDS];
    char full[64];
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; is_part(&list[i], part) && k < TOLDS; k++) {
            sides[n] = error_of(&list[i], k);
            errors[n] = fabs(sides[n]);
            n++;
        }
    }
    (void)snprintf(full, sizeof(full), "capacity_%serror_p50_percent", name);
    experiment_number(e, full, sim_quantile(errors, n, 0.5), "%");
    (void)snprintf(full, sizeof(full), "capacity_%serror_p90_percent", name);
    experiment_number(e, full, sim_quantile(errors, n, QUANTILE), "%");
    (void)snprintf(full, sizeof(full), "capacity_%sbias_p50_percent", name);
    experiment_number(e, full, sim_quantile(sides, n, 0.5), "%");
}

static void
figures(const struct experiment *e, const struct search *list, uint32_t count)
{
    figures_of(e, list, count, PART_ALL, "");
    figures_of(e, list, count, PART_OWN, "own_");
    figures_of(e, list, count, PART_SHARED, "shared_");
    figures_of(e, list, count, PART_GATEWAYS, "gateways_");
}

bool
experiment_e14(const struct experiment *e)
{
    static struct search list[CASES];
    uint32_t count = 0;

    memset(list, 0, sizeof(list));
    for (uint32_t m = 0; m < MIXES; m++) {
        for (uint32_t s = 0; s < e->seeds; s++)
            list[count++] = (struct search){.mix = m, .seed = s};
    }
    if (!search_all(e, list, count))
        return false;
    table(stdout, list, count);
    table_file(e, list, count);
    figures(e, list, count);
    return true;
}

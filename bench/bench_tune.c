/* bench_tune - the constants of every rule, found by one search: `make tune`.
 *
 * One objective for all: the mean over six situations of
 *
 *   ln(p99 of the time to first token) + ln(mean end-to-end time)
 *
 * where a request that was refused counts as LOST_MS in both. Logarithms, so that a tenth gained
 * counts alike in each situation, and alike for the few that wait longest and for all. The traces
 * are cut to the first 40 % of their span and the seeds, which are the fleets too, begin at
 * SEED_FIRST: experiments use the rest of the traces and other seeds. Without data the built-in
 * load runs, and the table says so.
 *
 * Each rule has the same budget, which grows with the number of its constants by one measure.
 *
 * Arguments: --rule NAME (again for more; default: all that have knobs), --workers N. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/tuning.h"
#include "sim/sim_batch.h"
#include "sim/sim_rule.h"
#include "sim/trace_synthetic.h"
#include "sim/tune.h"

#define WINDOW_SHARE 0.4
#define SEED_FIRST   9001u
#define LOST_MS      120000.0
#define NODES        72u
#define GATEWAYS     6u
#define REGIONS      12u
#define BUDGET_BASE  60u /* measurements, and for each constant */
#define BUDGET_KNOB  8u
#define RULES_MAX    64u
#define JOBS_MAX     (TUNE_BATCH_MAX * 8u * SITUATIONS)
#define FAILED_MAX   1e3 /* objective of a rule that cannot run */

enum { CHAT, AGENTS, TRACES };
static const char *const trace_names[TRACES] = {"azure_llm_2023_conv", "mooncake_conversation"};

static const struct situation {
    const char *label;
    uint32_t trace;
    double load, output_factor, duration_ms, warmup_ms;
    double heartbeat_ms; /* 0: as always, and piggy-backed */
} situations[] = {
    {"chat, load 0.7", CHAT, 0.7, 1.0, 26000.0, 8000.0, 0.0},
    {"chat, load 0.9", CHAT, 0.9, 1.0, 26000.0, 8000.0, 0.0},
    {"chat, load 0.7, news only every 5 s", CHAT, 0.7, 1.0, 26000.0, 8000.0, 5000.0},
    {"chat with outputs x6, load 0.9", CHAT, 0.9, 6.0, 40000.0, 16000.0, 0.0},
    {"prefixes, load 0.5", AGENTS, 0.5, 1.0, 70000.0, 20000.0, 0.0},
    {"prefixes, load 0.8", AGENTS, 0.8, 1.0, 70000.0, 20000.0, 0.0},
};
#define SITUATIONS (sizeof(situations) / sizeof(situations[0]))

/* Ours: the weights of J and what to do with old news. How many candidates are looked at is left
 * alone: it is bought with time. */
static const struct own_knob {
    struct tune_knob knob; /* start: by the defaults */
    size_t offset;
    bool is_count; /* uint16_t, else float */
} own_knobs[] = {
#define WEIGHT(field, min, max, is_log)                                                            \
    {                                                                                              \
        {#field, 0.0, min, max, is_log, false}, offsetof(struct event_tuning, field), false        \
    }
#define COUNT(field, min, max)                                                                     \
    {                                                                                              \
        {#field, 0.0, min, max, false, true}, offsetof(struct event_tuning, field), true           \
    }
    WEIGHT(done_part, 0.005, 2.0, true),    WEIGHT(ext_part, 0.005, 4.0, true),
    WEIGHT(late_factor, 0.05, 50.0, true),  WEIGHT(soft_first_ms, 30.0, 3000.0, true),
    WEIGHT(kv_ms, 10.0, 20000.0, true),     WEIGHT(kv_from, 0.2, 0.95, false),
    WEIGHT(temperature, 0.0, 1.0, false),   WEIGHT(stick_ms, 0.0, 2000.0, false),
    WEIGHT(fresh_ms, 500.0, 10000.0, true), WEIGHT(stale_ms, 1000.0, 30000.0, true),
    COUNT(own_region_old_max, 1.0, 12.0),   COUNT(elsewhere_old_max, 1.0, 12.0),
};
#define OWN_KNOBS (sizeof(own_knobs) / sizeof(own_knobs[0]))

struct bench {
    struct trace traces[TRACES];
    struct rtt_data rtt;
    uint32_t workers;
    struct sim_job jobs[JOBS_MAX];
    struct sim_result results[JOBS_MAX];
};

struct subject { /* one rule */
    struct bench *bench;
    const char *name;
    const struct sim_rule *rule; /* NULL: ours */
    struct tune_knob knobs[TUNE_KNOBS_MAX];
    uint32_t knob_count;
};

/* ---- One measurement. */

/* The objective of one run, in its worker. */
static void
note_objective(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);
    double lost = (double)(s->arrived - s->count), sum_ms = lost * LOST_MS;
    double *first_ms = malloc((size_t)(s->arrived + 1) * sizeof(*first_ms));
    size_t n = 0;

    (void)job;
    must(first_ms != NULL && s->count <= s->arrived);
    for (; n < s->count; n++) {
        first_ms[n] = (double)s->samples[n].first_ms;
        sum_ms += (double)s->samples[n].done_ms;
    }
    while (n < s->arrived)
        first_ms[n++] = LOST_MS;
    ret_extras[0] = log(sim_quantile(first_ms, n, 0.99)) + log(sum_ms / (double)n);
    free(first_ms);
}

static void
set_own(struct event_tuning *t, const struct own_knob *k, double value)
{
    char *field = (char *)t + k->offset;

    if (k->is_count)
        *(uint16_t *)(void *)field = (uint16_t)value;
    else
        *(float *)(void *)field = (float)value;
}

static double
get_own(const struct event_tuning *t, const struct own_knob *k)
{
    const char *field = (const char *)t + k->offset;

    return k->is_count ? (double)*(const uint16_t *)(const void *)field
                       : (double)*(const float *)(const void *)field;
}

static void
job_init(const struct subject *s, const struct situation *x, const struct tune_point *point,
         uint32_t seed, struct sim_job *job)
{
    struct sim_options *o = &job->options;

    *job = (struct sim_job){
        .trace = &s->bench->traces[x->trace], .rtt = &s->bench->rtt, .measure = note_objective};
    sim_options_init(o);
    o->rule = s->name;
    o->seed = SEED_FIRST + seed;
    o->nodes = NODES;
    o->gateways = GATEWAYS;
    o->regions = REGIONS;
    o->load = x->load;
    o->output_factor = x->output_factor;
    o->duration_ms = x->duration_ms;
    o->warmup_ms = x->warmup_ms;
    if (x->heartbeat_ms > 0.0) {
        o->heartbeat_ms = x->heartbeat_ms;
        o->piggyback = false;
    }
    for (uint32_t k = 0; k < s->knob_count; k++) {
        if (s->rule != NULL)
            o->knobs[k] = point->values[k];
        else
            set_own(&o->tuning, &own_knobs[k], point->values[k]);
    }
}

static enum err
evaluate(void *user, const struct tune_point *points, uint32_t count, uint32_t seed, uint32_t seeds,
         double *ret_objectives)
{
    const struct subject *s = user;
    struct bench *b = s->bench;
    struct sim_batch_options options = {.workers = b->workers};
    size_t jobs = 0;
    enum err err;

    must((size_t)count * seeds * SITUATIONS <= JOBS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < seeds; k++) {
            for (uint32_t x = 0; x < SITUATIONS; x++)
                job_init(s, &situations[x], &points[i], seed + k, &b->jobs[jobs++]);
        }
    }
    err = sim_batch_run(b->jobs, jobs, &options, b->results);
    if (err != ERR_OK) {
        for (size_t i = 0; i < jobs; i++) {
            if (b->results[i].err != ERR_OK) {
                (void)fprintf(stderr, "tune: %s\n", b->results[i].error);
                break;
            }
        }
        return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        ret_objectives[i] = 0.0;
        for (size_t k = 0; k < seeds * SITUATIONS; k++)
            ret_objectives[i] += b->results[i * seeds * SITUATIONS + k].extras[0];
        ret_objectives[i] /= (double)(seeds * SITUATIONS);
        if (!isfinite(ret_objectives[i]))
            ret_objectives[i] = FAILED_MAX;
    }
    return ERR_OK;
}

/* ---- One rule. */

static bool
subject_init(struct bench *b, const char *name, struct subject *s)
{
    *s = (struct subject){.bench = b, .name = name, .rule = sim_rule_find(name)};
    if (s->rule != NULL) {
        for (; s->knob_count < s->rule->knob_count; s->knob_count++) {
            const struct sim_knob *k = &s->rule->knobs[s->knob_count];
            s->knobs[s->knob_count] = (struct tune_knob){k->name, k->value,  k->min,
                                                         k->max,  k->is_log, false};
        }
        return s->knob_count > 0;
    }
    if (strcmp(name, rule_time.name) != 0)
        return false;
    for (; s->knob_count < OWN_KNOBS; s->knob_count++) {
        s->knobs[s->knob_count] = own_knobs[s->knob_count].knob;
        s->knobs[s->knob_count].start = get_own(&tuning_default, &own_knobs[s->knob_count]);
    }
    return true;
}

static int
tune(struct bench *b, const char *name)
{
    struct tune_search search = {.seed = 1, .evaluate = evaluate};
    struct tune_result r;
    struct subject s;

    if (!subject_init(b, name, &s)) {
        (void)fprintf(stderr, "tune: %s: no such rule, or it has no knobs\n", name);
        return 1;
    }
    search.knobs = s.knobs;
    search.knob_count = s.knob_count;
    search.budget = BUDGET_BASE + BUDGET_KNOB * s.knob_count;
    search.user = &s;
    if (tune_run(&search, &r) != ERR_OK)
        return 1;
    printf("| `%s` | %.3f | %.3f |", name, r.before, r.improved ? r.after : r.before);
    for (uint32_t k = 0; k < s.knob_count; k++)
        printf("%s %s %.4g > %.4g", k > 0 ? "," : "", s.knobs[k].name, s.knobs[k].start,
               r.point.values[k]);
    printf(" | %u |\n", r.used);
    (void)fflush(stdout);
    return 0;
}

/* Whose constants are searched when nobody is named: those that are weighed by capacity; the plain
 * ones stay as published. */
static uint32_t
all_rules(const char **ret_names)
{
    const struct sim_rule *rule;
    uint32_t count = 0;

    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL && count < RULES_MAX; i++) {
        if (rule->knob_count > 0 && strstr(rule->rule.name, "_plain") == NULL)
            ret_names[count++] = rule->rule.name;
    }
    if (count < RULES_MAX)
        ret_names[count++] = rule_time.name;
    return count;
}

/* ---- Data. */

static enum err
load(struct bench *b, const char *folder, struct data_error *error)
{
    struct trace_options options = {.seed = 1};
    enum err err = ERR_OK;
    char path[DATA_PATH_BYTES_MAX];

    if (folder == NULL) {
        struct trace_synthetic synthetic = trace_synthetic_default(1);
        for (uint32_t i = 0; err == ERR_OK && i < TRACES; i++)
            err = trace_synthetic_open(&synthetic, error, &b->traces[i]);
        return err == ERR_OK ? rtt_data_builtin(error, &b->rtt) : err;
    }
    for (uint32_t i = 0; err == ERR_OK && i < TRACES; i++) {
        err = trace_find(folder, trace_names[i], error, path);
        if (err == ERR_OK)
            err = trace_open(path, &options, error, &b->traces[i]);
    }
    return err == ERR_OK ? rtt_data_find(folder, NULL, error, &b->rtt) : err;
}

static void
print_head(const struct bench *b)
{
    printf("Traces %s and %s, the first %.0f %% of each%s; round trips %s; %u nodes, seeds from "
           "%u.\n\n",
           b->traces[CHAT].name, b->traces[AGENTS].name, 100.0 * WINDOW_SHARE,
           b->traces[CHAT].synthetic ? " (made up: no data)" : "", b->rtt.name, NODES, SEED_FIRST);
    for (uint32_t i = 0; i < SITUATIONS; i++)
        printf("%u. %s\n", i + 1, situations[i].label);
    printf("\n| rule | objective before | after | constants, before > after | measurements |\n"
           "|---|---|---|---|---|\n");
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    struct bench *b = calloc(1, sizeof(*b));
    const char *names[RULES_MAX];
    struct data_error error;
    uint32_t count = 0;
    int failed = 0;

    must(b != NULL);
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(argv[i], "--rule") == 0 && count < RULES_MAX)
            names[count++] = value;
        else if (value != NULL && strcmp(argv[i], "--workers") == 0)
            b->workers = (uint32_t)strtoul(value, NULL, 10);
        else {
            (void)fprintf(stderr, "usage: %s [--rule NAME]... [--workers N]\n", argv[0]);
            return 2;
        }
    }
    if (count == 0)
        count = all_rules(names);
    if (load(b, getenv("ISOCHRONE_DATA"), &error) != ERR_OK) {
        (void)fprintf(stderr, "tune: %s\n", error.text);
        return 1;
    }
    for (uint32_t i = 0; i < TRACES; i++) {
        if (trace_window(&b->traces[i], 0.0, WINDOW_SHARE) != ERR_OK) {
            (void)fprintf(stderr, "tune: %s: nothing in its first part\n", b->traces[i].name);
            return 1;
        }
    }
    print_head(b);
    for (uint32_t i = 0; i < count; i++)
        failed |= tune(b, names[i]);
    for (uint32_t i = 0; i < TRACES; i++)
        trace_close(&b->traces[i]);
    rtt_data_close(&b->rtt);
    free(b);
    return failed;
}

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
 * Ours is done in three parts. `time`: the weights, in the same situations as all. `hedging`: its
 * two constants, in the six and in four more where engines stand still now and then: there a second
 * attempt is of use, in the six it may do harm; no other rule hedges. `candidates`: how many are
 * looked at is bought with time, which no simulated millisecond shows, so nothing is searched: the
 * gain is told beside the number, and a person weighs it against `make bench-decision`.
 *
 * Stopped half-way, the rows that were printed are done: name the others by --rule. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
#define BUDGET_BASE  120u /* measurements, and for each constant */
#define BUDGET_KNOB  40u
#define TRY_SEEDS    24u /* for --try, after all those of the search */
#define TRIES_MAX    24u
#define RULES_MAX    64u
#define JOBS_MAX     (TUNE_BATCH_MAX * TUNE_SEEDS * SITUATIONS_ALL)
#define FAILED_MAX   1e3 /* objective of a rule that cannot run */

#define PAUSE_EVERY_MS 30000.0 /* of each engine, and for how long: means */
#define PAUSE_MS       2000.0

enum { CHAT, AGENTS, TRACES };
static const char *const trace_names[TRACES] = {"azure_llm_2023_conv", "mooncake_conversation"};

struct situation {
    const char *label;
    uint32_t trace;
    double load, output_factor, duration_ms, warmup_ms;
    double heartbeat_ms; /* 0: as always, and piggy-backed */
    bool pauses;         /* one model, engines that stand still, as in E11 */
};

static const struct situation situations[] = {
    {"chat, load 0.7", CHAT, 0.7, 1.0, 26000.0, 8000.0, 0.0, false},
    {"chat, load 0.9", CHAT, 0.9, 1.0, 26000.0, 8000.0, 0.0, false},
    {"chat, load 0.7, news only every 5 s", CHAT, 0.7, 1.0, 26000.0, 8000.0, 5000.0, false},
    {"chat with outputs x6, load 0.9", CHAT, 0.9, 6.0, 40000.0, 16000.0, 0.0, false},
    {"prefixes, load 0.5", AGENTS, 0.5, 1.0, 70000.0, 20000.0, 0.0, false},
    {"prefixes, load 0.8", AGENTS, 0.8, 1.0, 70000.0, 20000.0, 0.0, false},
    {"engines pause, load 0.5", CHAT, 0.5, 1.0, 60000.0, 12000.0, 0.0, true},
    {"engines pause, load 0.7", CHAT, 0.7, 1.0, 60000.0, 12000.0, 0.0, true},
    {"engines pause, load 0.85", CHAT, 0.85, 1.0, 60000.0, 12000.0, 0.0, true},
    {"engines pause, load 0.95", CHAT, 0.95, 1.0, 60000.0, 12000.0, 0.0, true},
};
#define SITUATIONS_ALL (sizeof(situations) / sizeof(situations[0]))
#define SITUATIONS     6u /* of all rules; the rest is for hedging, beside them */

/* Ours: the weights of J and what to do with old news; then the other two parts. */
static const struct own_knob {
    struct tune_knob knob; /* start: by the defaults */
    size_t offset;
    bool is_count; /* uint16_t, else float */
} own_knobs[] = {
#define WEIGHT(field, min, max, is_log)                                                            \
    {                                                                                              \
        {#field, 0.0, min, max, is_log, false}, offsetof(struct event_tuning, field), false        \
    }
#define COUNT(field)                                                                               \
    {                                                                                              \
        {#field, 0.0, 1.0, TUNING_CANDIDATES_MAX, false, true},                                    \
            offsetof(struct event_tuning, field), true                                             \
    }
    WEIGHT(done_part, 0.005, 2.0, true),
    WEIGHT(ext_part, 0.005, 4.0, true),
    WEIGHT(late_factor, 0.05, 50.0, true),
    WEIGHT(soft_first_ms, 30.0, 3000.0, true),
    WEIGHT(kv_ms, 10.0, 20000.0, true),
    WEIGHT(kv_from, 0.2, 0.95, false),
    WEIGHT(temperature, 0.0, 1.0, false),
    WEIGHT(stick_ms, 0.0, 2000.0, false),
    WEIGHT(fresh_ms, 500.0, 10000.0, true),
    WEIGHT(stale_ms, 1000.0, 30000.0, true),
    COUNT(own_region_old_max),
    COUNT(elsewhere_old_max),
    /* Two per cent of extra prefill is what was promised. */
    WEIGHT(hedge_part, 0.001, 0.02, true),
    WEIGHT(hedge_load_max, 0.3, 1.5, false),
    COUNT(own_region_max),
    COUNT(elsewhere_max),
};

enum { PART_WEIGHTS, PART_HEDGING, PART_CANDIDATES, PARTS };
static const struct part { /* of ours */
    const char *name;
    uint32_t first, count; /* of own_knobs */
    uint32_t situation_count;
} parts[PARTS] = {
    {"time", 0, 12, SITUATIONS},
    {"hedging", 12, 2, SITUATIONS_ALL},
    {"candidates", 14, 2, SITUATIONS},
};
static const char *const candidate_tries[] = {
    "own_region_max=2,elsewhere_max=2",   "own_region_max=3,elsewhere_max=3",
    "own_region_max=6,elsewhere_max=2",   "own_region_max=2,elsewhere_max=6",
    "own_region_max=4,elsewhere_max=6",   "own_region_max=6,elsewhere_max=6",
    "own_region_max=8,elsewhere_max=8",   "own_region_max=12,elsewhere_max=12",
    "own_region_max=16,elsewhere_max=16",
};

struct bench {
    struct trace traces[TRACES];
    struct rtt_data rtt;
    uint32_t workers;
    double started_s;
    struct sim_job jobs[JOBS_MAX];
    struct sim_result results[JOBS_MAX];
};

struct subject { /* one rule, or a part of ours */
    struct bench *bench;
    const char *name;
    const struct sim_rule *rule; /* NULL: ours */
    const struct part *part;     /* of ours; else only its situations hold */
    struct tune_knob knobs[TUNE_KNOBS_MAX];
    uint32_t knob_count;
    /* for progress */
    double started_s;
    uint32_t used, budget;
};

static double
now_s(void)
{
    struct timespec t;

    must(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
    o->rule = s->rule != NULL ? s->name : rule_time.name;
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
    if (x->pauses) {
        o->models = 1;
        o->day_amplitude = 0.0;
        o->pause_every_ms = PAUSE_EVERY_MS;
        o->pause_ms = PAUSE_MS;
    }
    for (uint32_t k = 0; k < s->knob_count; k++) {
        if (s->rule != NULL)
            o->knobs[k] = point->values[k];
        else
            set_own(&o->tuning, &own_knobs[s->part->first + k], point->values[k]);
    }
}

/* To the error stream: what was measured, and how long the rest will take. */
static void
show_progress(struct subject *s, uint32_t measured, const double *objectives, uint32_t count)
{
    double took_s = now_s() - s->started_s, least = objectives[0];

    s->used += measured;
    for (uint32_t i = 1; i < count; i++)
        least = fmin(least, objectives[i]);
    (void)fprintf(stderr,
                  "tune: %s: %u of %u measurements, least of these %.3f, %.0f s, %.0f s to go\n",
                  s->name, s->used, s->budget, least, took_s,
                  took_s / s->used * fmax(0.0, (double)s->budget - s->used));
}

static enum err
evaluate(void *user, const struct tune_point *points, uint32_t count, uint32_t seed, uint32_t seeds,
         double *ret_objectives)
{
    struct subject *s = user;
    struct bench *b = s->bench;
    struct sim_batch_options options = {.workers = b->workers};
    uint32_t runs = seeds * s->part->situation_count; /* of a point */
    size_t jobs = 0;
    enum err err;

    must((size_t)count * runs <= JOBS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < seeds; k++) {
            for (uint32_t x = 0; x < s->part->situation_count; x++)
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
        for (size_t k = 0; k < runs; k++)
            ret_objectives[i] += b->results[i * runs + k].extras[0];
        ret_objectives[i] /= (double)runs;
        if (!isfinite(ret_objectives[i]))
            ret_objectives[i] = FAILED_MAX;
    }
    show_progress(s, count * seeds, ret_objectives, count);
    return ERR_OK;
}

/* ---- One rule. */

/* The start of a search is what is published; of ours, what runs. */
static bool
subject_init(struct bench *b, const char *name, struct subject *s)
{
    *s = (struct subject){.bench = b,
                          .name = name,
                          .rule = sim_rule_find(name),
                          .part = &parts[PART_WEIGHTS],
                          .started_s = now_s()};
    if (s->rule != NULL) {
        for (; s->knob_count < s->rule->knob_count; s->knob_count++) {
            const struct sim_knob *k = &s->rule->knobs[s->knob_count];
            s->knobs[s->knob_count] = (struct tune_knob){k->name, k->value,  k->min,
                                                         k->max,  k->is_log, false};
        }
        return s->knob_count > 0;
    }
    for (uint32_t i = 0; i < PARTS; i++) {
        if (strcmp(name, parts[i].name) != 0)
            continue;
        s->part = &parts[i];
        for (; s->knob_count < s->part->count; s->knob_count++) {
            const struct own_knob *k = &own_knobs[s->part->first + s->knob_count];
            s->knobs[s->knob_count] = k->knob;
            s->knobs[s->knob_count].start = get_own(&tuning_default, k);
        }
        return true;
    }
    return false;
}

static int
tune(struct subject *s)
{
    struct tune_search search = {.seed = 1,
                                 .knobs = s->knobs,
                                 .knob_count = s->knob_count,
                                 .budget = BUDGET_BASE + BUDGET_KNOB * s->knob_count,
                                 .evaluate = evaluate,
                                 .user = s};
    struct tune_result r;

    s->budget = search.budget + 2 * TUNE_FRESH_SEEDS;
    if (tune_run(&search, &r) != ERR_OK)
        return 1;
    printf("| `%s` | %.3f | %.3f | %.3f +- %.3f |", s->name, r.before, r.after, r.gain,
           r.gain_half);
    for (uint32_t k = 0; k < s->knob_count; k++)
        printf("%s %s %.4g > %.4g", k > 0 ? "," : "", s->knobs[k].name, s->knobs[k].start,
               r.point.values[k]);
    printf("%s | %u | %.0f |\n", r.improved ? "" : " (nothing better)", r.used,
           now_s() - s->started_s);
    (void)fflush(stdout);
    return 0;
}

/* ---- What somebody proposes, beside what runs. */

/* "KNOB=VALUE,KNOB=VALUE" into *point; false: no such knob, or out of its range. */
static bool
read_try(const struct subject *s, const char *text, struct tune_point *point)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "=");
        uint32_t k = 0;
        double value;
        char *end;

        while (k < s->knob_count &&
               (strlen(s->knobs[k].name) != length || strncmp(text, s->knobs[k].name, length) != 0))
            k++;
        if (k == s->knob_count || text[length] != '=')
            return false;
        value = strtod(text + length + 1, &end);
        if (end == text + length + 1 || !(value >= s->knobs[k].min && value <= s->knobs[k].max) ||
            (*end != ',' && *end != '\0'))
            return false;
        point->values[k] = value;
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* What each try takes off the objective of what runs, on seeds of their own, by situation; the last
 * one is the mean over all. */
struct gains {
    double of[1 + TRIES_MAX][SITUATIONS_ALL + 1][TRY_SEEDS];
};

static void
print_gains(const struct subject *s, const char *const *tries, uint32_t count,
            const struct gains *gains, double objective)
{
    printf("\n| `%s` | gain |", s->name);
    for (uint32_t x = 0; x < s->part->situation_count; x++)
        printf(" in %u |", x + 1);
    printf("\n|---|---|");
    for (uint32_t x = 0; x < s->part->situation_count; x++)
        printf("---|");
    printf("\n| as it is | (objective %.3f) |\n", objective);
    for (uint32_t i = 1; i <= count; i++) {
        struct sim_mean gain = sim_mean_of(gains->of[i][SITUATIONS_ALL], TRY_SEEDS);
        printf("| %s | %.3f +- %.3f |", tries[i - 1], gain.mean, gain.half);
        for (uint32_t x = 0; x < s->part->situation_count; x++) {
            gain = sim_mean_of(gains->of[i][x], TRY_SEEDS);
            printf(" %.3f +- %.3f |", gain.mean, gain.half);
        }
        printf("\n");
    }
    (void)fflush(stdout);
}

static int
compare(struct subject *s, const char *const *tries, uint32_t count)
{
    struct tune_point points[1 + TRIES_MAX] = {{{0}}};
    double objectives[1 + TRIES_MAX], sum = 0.0;
    const struct sim_result *results = s->bench->results;
    uint32_t runs = s->part->situation_count;
    struct gains *gains;
    enum err err = ERR_OK;

    must(count <= TRIES_MAX);
    for (uint32_t k = 0; k < s->knob_count; k++)
        points[0].values[k] = s->rule != NULL ? sim_rule_knob(s->rule, k) : s->knobs[k].start;
    for (uint32_t i = 0; i < count; i++) {
        points[1 + i] = points[0];
        if (!read_try(s, tries[i], &points[1 + i])) {
            (void)fprintf(stderr, "tune: %s: \"%s\": no such constant, or out of its range\n",
                          s->name, tries[i]);
            return 1;
        }
    }
    gains = calloc(1, sizeof(*gains));
    must(gains != NULL);
    s->budget = (1 + count) * TRY_SEEDS;
    for (uint32_t seed = 0; err == ERR_OK && seed < TRY_SEEDS; seed++) {
        err = evaluate(s, points, 1 + count, TUNE_SEEDS + TUNE_FRESH_SEEDS + seed, 1, objectives);
        sum += objectives[0];
        for (uint32_t i = 0; err == ERR_OK && i <= count; i++) {
            gains->of[i][SITUATIONS_ALL][seed] = objectives[0] - objectives[i];
            for (uint32_t x = 0; x < runs; x++)
                gains->of[i][x][seed] = results[x].extras[0] - results[i * runs + x].extras[0];
        }
    }
    if (err == ERR_OK)
        print_gains(s, tries, count, gains, sum / TRY_SEEDS);
    free(gains);
    return err == ERR_OK ? 0 : 1;
}

/* Whose constants are searched when nobody is named: ours, and those that are weighed by capacity;
 * the plain ones stay as published. The candidates are last: their table stands below. */
static uint32_t
all_rules(const char **ret_names)
{
    const struct sim_rule *rule;
    uint32_t count = 0;

    ret_names[count++] = parts[PART_WEIGHTS].name;
    ret_names[count++] = parts[PART_HEDGING].name;
    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL && count + 1 < RULES_MAX; i++) {
        if (rule->knob_count > 0 && strstr(rule->rule.name, "_plain") == NULL)
            ret_names[count++] = rule->rule.name;
    }
    ret_names[count++] = parts[PART_CANDIDATES].name;
    return count;
}

static int
run(struct bench *b, const char *name, const char *const *tries, uint32_t try_count)
{
    struct subject s;

    if (!subject_init(b, name, &s)) {
        (void)fprintf(stderr, "tune: %s: no such rule, or it has no knobs\n", name);
        return 1;
    }
    if (try_count > 0)
        return compare(&s, tries, try_count);
    if (s.part == &parts[PART_CANDIDATES])
        return compare(&s, candidate_tries, sizeof(candidate_tries) / sizeof(candidate_tries[0]));
    return tune(&s);
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
print_head(const struct bench *b, bool searches)
{
    printf("Traces %s and %s, the first %.0f %% of each%s; round trips %s; %u nodes, seeds from "
           "%u.\n\n",
           b->traces[CHAT].name, b->traces[AGENTS].name, 100.0 * WINDOW_SHARE,
           b->traces[CHAT].synthetic ? " (made up: no data)" : "", b->rtt.name, NODES, SEED_FIRST);
    for (uint32_t i = 0; i < SITUATIONS_ALL; i++)
        printf("%u. %s%s\n", i + 1, situations[i].label, i < SITUATIONS ? "" : " (hedging alone)");
    if (searches)
        printf("\n| rule | objective before | after | gain | constants, before > after | "
               "measurements | s |\n|---|---|---|---|---|---|---|\n");
    (void)fflush(stdout);
}

static void
print_usage(FILE *to, const char *program)
{
    (void)fprintf(
        to,
        "usage: %s [--rule NAME]... [--workers N] [--try KNOB=VALUE,...]...\n"
        "  --rule     only this one: a rule of the simulator that has constants, time (ours), or\n"
        "             of ours hedging or candidates; again for more; all when none is named\n"
        "  --workers  processes at once; as many as CPUs when not given\n"
        "  --try      search nothing: measure this beside what runs, for the one rule named;\n"
        "             again for more\n"
        "Progress goes to the error stream; a row that was printed is done. Public data are found\n"
        "by ISOCHRONE_DATA.\n",
        program);
}

struct arguments {
    const char *names[RULES_MAX], *tries[TRIES_MAX];
    uint32_t name_count, try_count, workers;
};

static bool
read_arguments(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(argv[i], "--rule") == 0 && a->name_count < RULES_MAX)
            a->names[a->name_count++] = value;
        else if (value != NULL && strcmp(argv[i], "--try") == 0 && a->try_count < TRIES_MAX)
            a->tries[a->try_count++] = value;
        else if (value != NULL && strcmp(argv[i], "--workers") == 0)
            a->workers = (uint32_t)strtoul(value, NULL, 10);
        else
            return false;
    }
    return a->try_count == 0 || a->name_count == 1;
}

int
main(int argc, char **argv)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct arguments a = {0};
    struct data_error error;
    int failed = 0;

    must(b != NULL);
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_usage(stdout, argv[0]);
        free(b);
        return 0;
    }
    if (!read_arguments(argc, argv, &a)) {
        print_usage(stderr, argv[0]);
        free(b);
        return 2;
    }
    b->workers = a.workers;
    b->started_s = now_s();
    if (a.name_count == 0)
        a.name_count = all_rules(a.names);
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
    print_head(b, a.try_count == 0);
    for (uint32_t i = 0; i < a.name_count; i++)
        failed |= run(b, a.names[i], a.tries, a.try_count);
    printf("\n%s after %.1f minutes.\n", failed ? "Ended with errors" : "Done",
           (now_s() - b->started_s) / 60.0);
    for (uint32_t i = 0; i < TRACES; i++)
        trace_close(&b->traces[i]);
    rtt_data_close(&b->rtt);
    free(b);
    return failed;
}

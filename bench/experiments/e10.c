/* e10 - is the simulator honest? What e10.sh left of the live runs (emulated engines on real
 * sockets, recorded gateways, a load generator) beside the same worlds simulated: the same nodes,
 * hidden speeds, distances and requests, gateways that poll as live ones do.
 *
 *   e10 --out DIR --rules "time nearest" [--constants X] [--settle S] [--drain S] SEED...
 *
 * DIR/SEED/fleet.csv and plan.csv say what the world is, DIR/SEED/RULE/ what happened, DIR/replays
 * whether the records gave the same decisions again. A request that was not answered in the end
 * counts in both worlds with the time it had waited by then; what came in the first seconds counts
 * in none. Live values have intervals by bootstrap over seconds, because what is sent in the same
 * second waits in the same queue; a pair of rules is compared where these do not overlap. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "outcome.h"
#include "sim/sim_given.h"
#include "sim/sim_world.h"

#define SEEDS_MAX        16u
#define RULES_MAX        8u
#define TWINS            5u /* simulated runs for each live one: they differ by what is drawn */
#define WARMUP_MS        4000.0
#define SECONDS_MAX      256u
#define RESAMPLES        2000u
#define PATH_BYTES_MAX   512u
#define BUSY_PERCENT_MAX 70.0
#define LATE_MS_MAX      5.0
#define PAUSE_EVERY_MS   20000.0 /* as emulate's engines pause */
#define PAUSE_MS         40.0

struct times { /* to the first token, of requests in the order they were sent */
    double *sent_ms, *first_ms;
    size_t count, room;
    size_t refused;
};

struct run {                    /* of one rule in one seed */
    struct times live, twin;    /* twin: of all TWINS one after the other */
    double twin_low, twin_high; /* least and greatest p95 of a single one */
    double busy_percent, other_percent, late_ms;
};

struct e10 {
    const char *out;
    double constants, settle_ms, drain_ms;
    uint64_t seeds[SEEDS_MAX];
    const char *rules[RULES_MAX];
    uint32_t seed_count, rule_count;
    struct run runs[SEEDS_MAX][RULES_MAX];
};

/* ---- Times. */

static void
times_add(struct times *t, double sent_ms, double first_ms)
{
    if (sent_ms < WARMUP_MS)
        return;
    if (t->count == t->room) {
        t->room = t->room == 0 ? 4096 : 2 * t->room;
        t->sent_ms = realloc(t->sent_ms, t->room * sizeof(*t->sent_ms));
        t->first_ms = realloc(t->first_ms, t->room * sizeof(*t->first_ms));
        must(t->sent_ms != NULL && t->first_ms != NULL);
    }
    t->sent_ms[t->count] = sent_ms;
    t->first_ms[t->count++] = first_ms;
}

static void
times_fini(struct times *t)
{
    free(t->sent_ms);
    free(t->first_ms);
}

static double
p95(const struct times *t)
{
    double *copy = malloc((t->count + 1) * sizeof(*copy)), value;

    must(copy != NULL);
    memcpy(copy, t->first_ms, t->count * sizeof(*copy));
    value = sim_quantile(copy, t->count, 0.95);
    free(copy);
    return value;
}

/* ---- Live. */

static bool
read_live(const struct e10 *e, uint64_t seed, const char *rule, struct run *run)
{
    struct outcome_run outcomes;
    char path[PATH_BYTES_MAX];
    bool ok;

    (void)snprintf(path, sizeof(path), "%s/%llu/%s/emulate.out", e->out, (unsigned long long)seed,
                   rule);
    run->late_ms = outcome_late_ms(path);
    (void)snprintf(path, sizeof(path), "%s/%llu/%s/results.jsonl", e->out, (unsigned long long)seed,
                   rule);
    ok = outcome_read(path, NULL, &outcomes) == ERR_OK;
    for (size_t i = 0; ok && i < outcomes.count; i++) {
        const struct outcome *o = &outcomes.list[i];

        if (!isnan(o->ttft_ms))
            times_add(&run->live, o->sent_ms, o->ttft_ms);
        else if (o->open)
            times_add(&run->live, o->sent_ms, o->e2e_ms);
        else
            run->live.refused++;
    }
    run->busy_percent = outcomes.host_busy_percent;
    run->other_percent = outcomes.host_other_percent;
    outcome_fini(&outcomes);
    return ok;
}

/* ---- The twin. */

/* As emulate plays it and gateways behave towards engines without agents. */
static void
twin_options(const struct e10 *e, const struct sim_given *given, uint64_t seed, const char *rule,
             struct sim_options *o)
{
    sim_options_init(o);
    sim_given_use(given, o);
    o->seed = seed;
    o->rule = rule;
    o->warmup_ms = 0.0;
    o->polls = true;
    o->prior_scale = e->constants;
    o->pause_every_ms = PAUSE_EVERY_MS;
    o->pause_ms = PAUSE_MS;
    o->jitter = o->jitter_ms = o->bytes_per_ms = 0.0;
}

static bool
run_twin(const struct e10 *e, const struct sim_given *given, const struct rtt_data *rtt,
         uint64_t seed, const char *rule, struct times *ret)
{
    double last_ms = given->trace.requests[given->trace.count - 1].at_ms + e->drain_ms;
    struct sim_options options;
    struct sim_error error;
    struct sim_world *w;
    const struct sim_stats *s;
    bool ok;

    twin_options(e, given, seed, rule, &options);
    if (sim_world_open(&options, NULL, rtt, &w, &error) != ERR_OK) {
        fprintf(stderr, "e10: %s\n", error.message);
        return false;
    }
    while (sim_world_run(w, SIM_DURATION_MS_MAX))
        continue;
    sim_world_finish(w);
    s = sim_world_stats(w);
    for (size_t i = 0; i < s->count; i++) {
        double sent_ms = (double)s->samples[i].sent_ms;
        times_add(ret, sent_ms - e->settle_ms,
                  fmin((double)s->samples[i].first_ms, last_ms - sent_ms));
    }
    ret->refused += s->refused;
    if (s->violations > 0)
        fprintf(stderr, "e10: in the simulator: %s\n", s->violation);
    ok = s->violations == 0;
    sim_world_close(w);
    return ok;
}

/* All twins of a live run. */
static bool
run_twins(const struct e10 *e, const struct sim_given *given, const struct rtt_data *rtt,
          const char *rule, struct run *run)
{
    bool ok = true;

    run->twin_low = INFINITY;
    for (uint32_t i = 0; ok && i < TWINS; i++) {
        size_t before = run->twin.count;
        struct times one = {0}; /* lies within the other */

        ok = run_twin(e, given, rtt, 1 + i, rule, &run->twin);
        one.count = run->twin.count - before;
        one.first_ms = run->twin.first_ms + before;
        run->twin_low = fmin(run->twin_low, p95(&one));
        run->twin_high = fmax(run->twin_high, p95(&one));
    }
    return ok;
}

static bool
read_seed(struct e10 *e, uint32_t place)
{
    uint64_t seed = e->seeds[place];
    char fleet[PATH_BYTES_MAX], plan[PATH_BYTES_MAX];
    struct data_error error;
    struct sim_given given;
    struct rtt_data rtt;
    bool ok = true;

    (void)snprintf(fleet, sizeof(fleet), "%s/%llu/fleet.csv", e->out, (unsigned long long)seed);
    (void)snprintf(plan, sizeof(plan), "%s/%llu/plan.csv", e->out, (unsigned long long)seed);
    if (rtt_data_builtin(&error, &rtt) != ERR_OK) {
        fprintf(stderr, "e10: %s\n", error.text);
        return false;
    }
    if (sim_given_open(fleet, plan, &error, &given) != ERR_OK) {
        fprintf(stderr, "e10: %s\n", error.text);
        rtt_data_close(&rtt);
        return false;
    }
    for (size_t i = 0; i < given.trace.count; i++) /* gateways have asked around when it begins */
        given.trace.requests[i].at_ms += e->settle_ms;
    for (uint32_t r = 0; ok && r < e->rule_count; r++) {
        struct run *run = &e->runs[place][r];

        ok = read_live(e, seed, e->rules[r], run) && run_twins(e, &given, &rtt, e->rules[r], run);
    }
    sim_given_close(&given);
    rtt_data_close(&rtt);
    return ok;
}

/* ---- What follows. */

struct interval {
    double value, low, high;
};

/* As many seconds as there are, drawn with replacement: their requests to *into. */
static void
draw_seconds(const struct times *t, struct rng *rng, struct times *into)
{
    size_t from[SECONDS_MAX + 1], seconds = 0;

    for (size_t k = 0; k < t->count; k++) {
        size_t second = (size_t)((t->sent_ms[k] - WARMUP_MS) / 1000.0);
        while (seconds <= second && seconds < SECONDS_MAX)
            from[seconds++] = k;
    }
    from[seconds] = t->count;
    for (size_t k = 0; k < seconds; k++) {
        size_t second = (size_t)rng_below(rng, seconds);
        for (size_t i = from[second]; i < from[second + 1]; i++)
            times_add(into, t->sent_ms[i], t->first_ms[i]);
    }
}

/* The p95 of a rule's live runs, all seeds together. */
static struct interval
live_interval(const struct e10 *e, uint32_t rule)
{
    double values[RESAMPLES];
    struct times all = {0};
    struct interval v;
    struct rng rng;

    rng_init(&rng, 1);
    for (uint32_t s = 0; s < e->seed_count; s++) {
        const struct times *t = &e->runs[s][rule].live;
        for (size_t i = 0; i < t->count; i++)
            times_add(&all, t->sent_ms[i], t->first_ms[i]);
    }
    v.value = p95(&all);
    for (uint32_t i = 0; i < RESAMPLES; i++) {
        all.count = 0;
        for (uint32_t s = 0; s < e->seed_count; s++)
            draw_seconds(&e->runs[s][rule].live, &rng, &all);
        values[i] = p95(&all);
    }
    v.low = sim_quantile(values, RESAMPLES, 0.025);
    v.high = sim_quantile(values, RESAMPLES, 0.975);
    times_fini(&all);
    return v;
}

static double
twin_p95(const struct e10 *e, uint32_t rule)
{
    struct times all = {0};
    double value;

    for (uint32_t s = 0; s < e->seed_count; s++) {
        const struct times *t = &e->runs[s][rule].twin;
        for (size_t i = 0; i < t->count; i++)
            times_add(&all, t->sent_ms[i], t->first_ms[i]);
    }
    value = p95(&all);
    times_fini(&all);
    return value;
}

static double
error_percent(const struct run *run)
{
    double live = p95(&run->live);

    return 100.0 * fabs(p95(&run->twin) - live) / live;
}

/* One line a live run. Writes the figure about their errors. */
static void
tell_runs(const struct e10 *e)
{
    double errors[SEEDS_MAX * RULES_MAX], worst;
    size_t count = 0;

    puts("\n| seed | rule | requests | refused live / simulated | p95 TTFT live ms | simulated ms "
         "| of single runs | "

         "error % | host busy % | late p99 ms |\n|---|---|---|---|---|---|---|---|---|---|");
    for (uint32_t s = 0; s < e->seed_count; s++) {
        for (uint32_t r = 0; r < e->rule_count; r++) {
            const struct run *run = &e->runs[s][r];
            errors[count++] = error_percent(run);
            printf("| %llu | %s | %zu | %zu / %.1f | %.0f | %.0f | %.0f to %.0f | %.1f | %.0f | "
                   "%.2f |\n",
                   (unsigned long long)e->seeds[s], e->rules[r], run->live.count, run->live.refused,
                   (double)run->twin.refused / TWINS, p95(&run->live), p95(&run->twin),
                   run->twin_low, run->twin_high, errors[count - 1], run->busy_percent,
                   run->late_ms);
        }
    }
    worst = sim_quantile(errors, count, 1.0);
    printf("\nfigure e10_p95_error_percent %.1f %%\n", sim_quantile(errors, count, 0.5));
    printf("figure e10_p95_error_worst_percent %.1f %%\n", worst);
}

/* Pairs of rules that live runs tell apart, and in which order the simulator has them. */
static void
tell_pairs(const struct e10 *e)
{
    struct interval live[RULES_MAX];
    double twin[RULES_MAX];
    uint32_t separated = 0, reversed = 0;

    puts("\n| rule | p95 TTFT live, all seeds | interval | simulated |\n|---|---|---|---|");
    for (uint32_t r = 0; r < e->rule_count; r++) {
        live[r] = live_interval(e, r);
        twin[r] = twin_p95(e, r);
        printf("| %s | %.0f | %.0f to %.0f | %.0f |\n", e->rules[r], live[r].value, live[r].low,
               live[r].high, twin[r]);
    }
    putchar('\n');
    for (uint32_t a = 0; a < e->rule_count; a++) {
        for (uint32_t b = 0; b < e->rule_count; b++) {
            if (!(live[a].high < live[b].low))
                continue;
            separated++;
            if (twin[a] < twin[b])
                continue;
            reversed++;
            printf("reversed: live %s is better than %s\n", e->rules[a], e->rules[b]);
        }
    }
    printf("figure e10_separated_pairs %u pairs\nfigure e10_reversed_pairs %u pairs\n", separated,
           reversed);
}

/* A line of replays: SEED RULE GATEWAY identical|DIFFERENT WORDS. False: there are none. */
static bool
tell_replays(const struct e10 *e)
{
    char path[PATH_BYTES_MAX], line[512], verdict[32];
    uint32_t records = 0, different = 0;
    FILE *in;

    (void)snprintf(path, sizeof(path), "%s/replays", e->out);
    in = fopen(path, "r");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
        records++;
        if (sscanf(line, "%*s %*s %*s %31s", verdict) == 1 && strcmp(verdict, "identical") == 0)
            continue;
        different++;
        printf("replay: %s", line);
    }
    if (in != NULL)
        fclose(in);
    printf("\n%u records of gateways played again\nfigure e10_identical_decisions %u\n", records,
           records > 0 && different == 0);
    return records > 0;
}

/* How the machine was. */
static void
tell_host(const struct e10 *e)
{
    double busy = 0.0, other = 0.0, late = 0.0;

    for (uint32_t s = 0; s < e->seed_count; s++) {
        for (uint32_t r = 0; r < e->rule_count; r++) {
            busy = fmax(busy, e->runs[s][r].busy_percent);
            other = fmax(other, e->runs[s][r].other_percent);
            late = isnan(e->runs[s][r].late_ms) ? INFINITY : fmax(late, e->runs[s][r].late_ms);
        }
    }
    printf("figure host_busy_percent %.1f %%\nfigure host_other_percent %.1f %%\n"
           "figure emulate_late_p99_ms %.2f ms\n",
           busy, other, late);
    if (busy > BUSY_PERCENT_MAX || late > LATE_MS_MAX)
        printf("void: the machine was too busy for live runs (busy %.0f %%, at most %.0f; engines "
               "late by %.1f ms, at most %.0f): the figures of E10 say nothing\n",
               busy, BUSY_PERCENT_MAX, late, LATE_MS_MAX);
}

/* ---- The command line. */

static bool
take_rules(char *list, struct e10 *e)
{
    char *rest = NULL;

    for (char *word = strtok_r(list, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (e->rule_count == RULES_MAX)
            return false;
        e->rules[e->rule_count++] = word;
    }
    return e->rule_count > 0;
}

static bool
parse(int argc, char **argv, struct e10 *e)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'},       {"rules", required_argument, NULL, 'r'},
        {"constants", required_argument, NULL, 'c'}, {"settle", required_argument, NULL, 's'},
        {"drain", required_argument, NULL, 'd'},     {NULL, 0, NULL, 0}};
    int id;

    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (id) {
        case 'o':
            e->out = optarg;
            break;
        case 'r':
            if (!take_rules(optarg, e))
                return false;
            break;
        case 'c':
            e->constants = strtod(optarg, NULL);
            break;
        case 's':
            e->settle_ms = 1000.0 * strtod(optarg, NULL);
            break;
        case 'd':
            e->drain_ms = 1000.0 * strtod(optarg, NULL);
            break;
        default:
            return false;
        }
    }
    for (; optind < argc && e->seed_count < SEEDS_MAX; optind++)
        e->seeds[e->seed_count++] = strtoull(argv[optind], NULL, 10);
    return e->out != NULL && e->rule_count > 0 && e->seed_count > 0 && optind == argc;
}

int
main(int argc, char **argv)
{
    static struct e10 e = {.constants = 1.0, .settle_ms = 3000.0, .drain_ms = 4000.0};
    bool ok = parse(argc, argv, &e);

    if (!ok) {
        fputs("usage: e10 --out DIR --rules \"NAME ...\" [--constants X] [--settle S] [--drain S] "
              "SEED...\n",
              stderr);
        return 2;
    }
    for (uint32_t i = 0; ok && i < e.seed_count; i++)
        ok = read_seed(&e, i);
    if (ok) {
        tell_runs(&e);
        tell_pairs(&e);
        ok = tell_replays(&e);
        tell_host(&e);
    }
    for (uint32_t s = 0; s < e.seed_count; s++) {
        for (uint32_t r = 0; r < e.rule_count; r++) {
            times_fini(&e.runs[s][r].live);
            times_fini(&e.runs[s][r].twin);
        }
    }
    return ok ? 0 : 1;
}

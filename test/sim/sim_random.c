/* sim_random - small worlds out of a seed, one after the other, until the time is up: everything
 * that can be set is set at random, and all that must hold in every world (sim_check) must hold.
 * Some run twice, beside others: they must decide alike.
 *
 * usage: sim_random SECONDS [SEED]            worlds of SEED and on; without: a seed of its own
 *        sim_random --kept FILE               worlds that once failed, one in each line
 * What fails prints the command that repeats it. A line of it belongs into test/sim/seeds, then. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/must.h"
#include "base/rng.h"
#include "core/tuning.h"
#include "sim/sim_batch.h"
#include "sim/sim_rule.h"
#include "sim/sim_scenario.h"
#include "sim/trace_synthetic.h"

#define JOBS       48u
#define TWICE_EACH 6u /* so many worlds later one is run again */
#define KEPT_MAX   1024u
#define SHOWN_MAX  2u

/* Rounded: it is read by people when it fails. */
static double
between(struct rng *r, double min, double max)
{
    double value = round(1000.0 * (min + (max - min) * rng_unit(r))) / 1000.0;

    return value < max ? value : max;
}

static double
between_log(struct rng *r, double min, double max)
{
    return round(1000.0 * exp(log(min) + (log(max) - log(min)) * rng_unit(r))) / 1000.0;
}

static bool
chance(struct rng *r, double p)
{
    return rng_unit(r) < p;
}

static uint32_t
below(struct rng *r, uint32_t bound)
{
    return (uint32_t)rng_below(r, bound);
}

static void
draw_rule(struct rng *r, struct sim_options *o)
{
    uint32_t count = 0;

    while (sim_rule_name(count) != NULL)
        count++;
    if (chance(r, 0.6))
        o->rule = "time";
    else
        o->rule = sim_rule_name(below(r, chance(r, 0.5) ? RULE_COUNT : count));
}

static void
draw_tuning(struct rng *r, struct event_tuning *t)
{
    if (chance(r, 0.3)) {
        t->done_part = (float)between(r, 0, 1);
        t->ext_part = (float)between(r, 0, 1);
        t->late_factor = (float)between(r, 0, 20);
        t->soft_first_ms = (float)between(r, 0, 2000);
        t->kv_ms = (float)between(r, 0, 5000);
        t->kv_from = (float)between(r, 0, 0.99);
        t->temperature = (float)between(r, 0, 3);
        t->stick_ms = (float)between(r, 0, 1000);
    }
    if (chance(r, 0.3)) {
        t->hedge_part = (float)between(r, 0, 0.5);
        t->hedge_load_max = (float)between(r, 0, 3);
        t->class_part = (float)between(r, 0, 1);
        t->class_queue_ms = (float)between(r, 0, 500);
        t->fresh_ms = (float)between(r, 0, 5000);
        t->stale_ms = (float)between(r, 0, 10000);
        t->own_region_max = (uint16_t)(1 + below(r, TUNING_CANDIDATES_MAX));
        t->elsewhere_max = (uint16_t)(1 + below(r, TUNING_CANDIDATES_MAX));
        t->own_region_old_max = (uint16_t)(1 + below(r, TUNING_CANDIDATES_MAX));
        t->elsewhere_old_max = (uint16_t)(1 + below(r, TUNING_CANDIDATES_MAX));
    }
    if (chance(r, 0.4))
        t->without = below(r, WITHOUT_LEARNING << 1);
}

static void
draw_news(struct rng *r, struct sim_options *o)
{
    o->heartbeat_ms = between_log(r, 50, 8000);
    o->piggyback = chance(r, 0.6);
    o->agents = chance(r, 0.7);
    o->report_loss = chance(r, 0.3) ? between(r, 0, 0.9) : 0.0;
    o->rtt_every_ms = between_log(r, 500, 20000);
    o->polls = o->nodes <= SIM_POLL_NODES_MAX && chance(r, 0.3);
    o->poll_every_ms = between_log(r, 100, 5000);
    o->hidden_speed = between(r, 0, 0.6);
    o->step_noise = between(r, 0, 0.3);
    o->prior_scale = chance(r, 0.3) ? between_log(r, 0.3, 3) : 1.0;
    o->host_cache = chance(r, 0.3) ? between(r, 0, 16) : 0.0;
    o->exact_tokens = chance(r, 0.1);
    o->jitter = chance(r, 0.5) ? between(r, 0, 0.5) : 0.0;
    o->jitter_ms = chance(r, 0.5) ? between(r, 0, 20) : 0.0;
    o->loss = chance(r, 0.3) ? between(r, 0, 0.2) : 0.0;
    o->bytes_per_ms = chance(r, 0.2) ? 0.0 : between_log(r, 200, 100000);
}

static void
draw_requests(struct rng *r, struct sim_options *o)
{
    o->output_factor = chance(r, 0.5) ? 1.0 : between_log(r, 0.1, 8);
    o->prompt_tokens_max = between_log(r, 50, 60000);
    o->bytes_per_token = between(r, 1, 6);
    o->deadline_share = chance(r, 0.5) ? between(r, 0, 1) : 0.0;
    o->deadline_ms = between_log(r, 10, 10000);
    o->deadline_per_token_ms = between(r, 0, 2);
    if (chance(r, 0.5)) {
        o->priority_high = between(r, 0, 0.5);
        o->priority_low = between(r, 0, 0.5);
    }
    o->configured_slo = chance(r, 0.4);
    o->slo_first_ms = between_log(r, 100, 5000);
    o->slo_step_ms = between_log(r, 20, 200);
    o->first_limit_ms = between_log(r, 500, 120000);
}

static void
draw_faults(struct rng *r, struct sim_options *o)
{
    o->fault_count = chance(r, 0.5) ? 1 + below(r, 8) : 0;
    for (uint32_t i = 0; i < o->fault_count; i++) {
        struct sim_fault *f = &o->faults[i];

        *f = (struct sim_fault){.kind = below(r, SIM_FAULT_KIND_COUNT),
                                .at_ms = between(r, 0, o->duration_ms),
                                .for_ms = between_log(r, 1, 40000)};
        if (f->kind == SIM_FAULT_PARTITION && o->regions < 2)
            f->kind = SIM_FAULT_REGION_DOWN;
        if (f->kind <= SIM_FAULT_NODE_TELLS_READY)
            f->a = below(r, o->nodes);
        else
            f->a = below(r, f->kind == SIM_FAULT_REPORTS_LOST ? o->gateways : o->regions);
        if (f->kind == SIM_FAULT_PARTITION)
            f->b = (f->a + 1 + below(r, o->regions - 1)) % o->regions;
        if (f->kind == SIM_FAULT_NODE_SLOW)
            f->factor = between_log(r, 0.3, 30);
        if (f->kind == SIM_FAULT_NODE_TELLS_FAST || f->kind == SIM_FAULT_NODE_TELLS_SLOTS)
            f->factor = between_log(r, 0.1, 10);
        if (f->kind == SIM_FAULT_REPORTS_LOST || f->kind == SIM_FAULT_NODE_TELLS_LESS)
            f->factor = between(r, 0, 1);
    }
}

static void
draw(uint64_t seed, uint32_t regions_max, struct sim_options *o)
{
    struct rng r;

    rng_init(&r, seed);
    sim_options_init(o);
    o->seed = seed;
    draw_rule(&r, o);
    o->nodes = 5 + below(&r, 76);
    o->regions = 1 + below(&r, o->nodes < regions_max ? o->nodes : regions_max);
    o->gateways = 1 + below(&r, 4);
    o->gateway_regions = seed % 3 == 0; /* drawn it would change what seeds stand for */
    o->models = 1 + below(&r, SIM_MODELS_MAX);
    o->duration_ms = between(&r, 3000, 20000);
    o->warmup_ms = between(&r, 0, o->duration_ms / 2);
    o->load = between_log(&r, 0.3, 2.0);
    o->load_step_count = chance(&r, 0.3) ? 1 + below(&r, 4) : 0;
    for (uint32_t i = 0; i < o->load_step_count; i++)
        o->load_steps[i] = (struct sim_load_step){between(&r, 0, o->duration_ms),
                                                  between_log(&r, 0.1, 3.0)};
    o->day_ms = between_log(&r, 1000, 1e6);
    o->day_amplitude = chance(&r, 0.5) ? between(&r, 0, 0.99) : 0.0;
    o->floor = chance(&r, 0.2);
    draw_news(&r, o);
    draw_requests(&r, o);
    draw_tuning(&r, &o->tuning);
    draw_faults(&r, o);
}

/* ---- Running. */

struct test {
    struct trace trace;
    struct rtt_data rtt;
    struct sim_job jobs[KEPT_MAX];
    struct sim_result *results; /* [KEPT_MAX] */
    uint64_t worlds, requests, events, steps;
    unsigned failed;
};

static void
job_init(const struct test *t, struct sim_job *job)
{
    *job = (struct sim_job){
        .trace = &t->trace, .rtt = &t->rtt, .data_words = "--trace synthetic --rtt builtin"};
}

static void
run(struct test *t, size_t count)
{
    struct sim_batch_options options = {0};
    enum err err = sim_batch_run(t->jobs, count, &options, t->results);

    for (size_t i = 0; i < count; i++) {
        const struct sim_result *r = &t->results[i];
        t->worlds++;
        t->requests += r->counts.requests;
        t->events += r->counts.events;
        t->steps += r->counts.core_steps;
        if (r->err == ERR_OK)
            continue;
        if (t->failed++ < SHOWN_MAX)
            printf("not ok - %s\n", r->error);
    }
    if (err != ERR_OK && t->failed == 0) {
        printf("not ok - %s\n", err_name(err));
        t->failed++;
    }
    fflush(stdout);
}

/* The last ones of a round are the first ones again. */
static void
compare(struct test *t, size_t first, size_t count)
{
    char command[SIM_SCENARIO_LINE_BYTES_MAX];

    for (size_t i = first; i < count; i++) {
        const struct sim_result *a = &t->results[i - first], *b = &t->results[i];
        if (a->err == ERR_OK && b->err == ERR_OK && a->counts.digest == b->counts.digest &&
            memcmp(&a->figures, &b->figures, sizeof(a->figures)) == 0)
            continue;
        if (a->err != ERR_OK)
            continue; /* told already */
        sim_batch_command(&t->jobs[i], command, sizeof(command));
        printf("not ok - the same world decided otherwise the second time\n  repeat: %s\n",
               command);
        t->failed++;
    }
}

static double
now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void
run_fresh(struct test *t, double seconds, uint64_t seed)
{
    double until_s = now_s() + seconds;
    size_t fresh = JOBS - JOBS / TWICE_EACH;

    printf("# worlds of seed %" PRIu64 " and on\n", seed);
    while (now_s() < until_s && t->failed == 0) {
        for (size_t i = 0; i < JOBS; i++) {
            job_init(t, &t->jobs[i]);
            draw(i < fresh ? seed + i : seed + i - fresh, t->rtt.rtt.count, &t->jobs[i].options);
        }
        run(t, JOBS);
        compare(t, fresh, JOBS);
        seed += fresh;
    }
}

static void
run_kept(struct test *t, const char *path)
{
    static struct config_problems problems;
    struct data_error error;
    struct data_file *f;
    struct span line;
    size_t count = 0;
    enum err err = data_file_open(path, &error, &f);

    while (err == ERR_OK && (err = data_file_line(f, &line)) == ERR_OK) {
        struct sim_scenario s;

        sim_scenario_init(&s);
        if (count == KEPT_MAX || sim_scenario_read(line, &s, &problems) != ERR_OK) {
            printf("not ok - %s: %.*s\n", path, (int)line.bytes, line.data);
            t->failed++;
            continue;
        }
        job_init(t, &t->jobs[count]);
        t->jobs[count++].options = s.options;
    }
    if (err != ERR_NOT_FOUND) {
        printf("not ok - %s\n", error.text);
        t->failed++;
    }
    data_file_close(f);
    run(t, count);
}

int
main(int argc, char **argv)
{
    static struct test t;
    struct trace_synthetic synthetic = trace_synthetic_default(1);
    struct data_error error;
    uint64_t seed = 0;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: sim_random SECONDS [SEED] | sim_random --kept FILE\n");
        return 2;
    }
    t.results = calloc(KEPT_MAX, sizeof(*t.results));
    must(t.results != NULL && trace_synthetic_open(&synthetic, &error, &t.trace) == ERR_OK);
    must(rtt_data_builtin(&error, &t.rtt) == ERR_OK);
    if (strcmp(argv[1], "--kept") == 0 && argc == 3) {
        run_kept(&t, argv[2]);
    } else {
        if (argc == 3)
            seed = strtoull(argv[2], NULL, 10);
        else if (getrandom(&seed, 4, 0) != 4)
            seed = (uint64_t)time(NULL);
        run_fresh(&t, strtod(argv[1], NULL), seed);
    }
    if (t.failed == 0)
        printf("ok - %" PRIu64 " worlds, %" PRIu64 " requests, %" PRIu64 " events, %" PRIu64
               " core steps\n",
               t.worlds, t.requests, t.events, t.steps);
    trace_close(&t.trace);
    rtt_data_close(&t.rtt);
    free(t.results);
    return t.failed == 0 ? 0 : 1;
}

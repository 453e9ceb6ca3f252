/* sim_batch: the same results with any number of workers, in the order of the jobs; a run that dies
 * or cannot be is told by its rule and seed, and takes nothing with it. */
#include "sim/sim_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "sim/trace_synthetic.h"
#include "tap.h"

#define JOBS  5u
#define DYING 2u
#define WRONG 3u

/* The order in which runs end: each waits at the end until it is told. */
struct turns {
    size_t order[JOBS];
    int pipes[JOBS][2]; /* by job */
};

struct seen {
    const struct turns *turns; /* NULL: they end as they like */
    size_t told;               /* whose turn it is, or has been */
    size_t calls, done;
    double share, virtual_s;
    bool went_back;
};

static void
look(void *user, const struct sim_progress *p)
{
    struct seen *s = user;

    s->went_back = s->went_back || p->share < s->share - 1e-9 || p->done < s->done;
    s->calls++;
    s->done = p->done;
    s->share = p->share;
    s->virtual_s = p->virtual_s;
    if (s->turns != NULL && s->told == p->done && s->told < JOBS)
        must(write(s->turns->pipes[s->turns->order[s->told++]][1], "", 1) == 1);
}

static void
measure(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    ret_extras[0] = (double)job->options.seed;
    ret_extras[1] = (double)sim_world_stats(w)->count;
}

static void
measure_in_turn(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct turns *t = job->user;
    char byte;

    measure(job, w, ret_extras);
    must(read(t->pipes[job->options.seed - 1][0], &byte, 1) == 1);
}

static void
die(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    (void)job;
    (void)w;
    (void)ret_extras;
    _exit(7);
}

static void
jobs_init(struct sim_job *jobs, const struct trace *trace, const struct rtt_data *rtt)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct sim_job){.trace = trace, .rtt = rtt, .measure = measure};
        sim_options_init(&jobs[i].options);
        jobs[i].options.seed = i + 1;
        jobs[i].options.nodes = 12;
        jobs[i].options.gateways = 2;
        jobs[i].options.regions = 3;
        jobs[i].options.duration_ms = 3000.0 + 2000.0 * (JOBS - i); /* the first ends last */
        jobs[i].options.warmup_ms = 1000.0;
        jobs[i].options.rule = i % 2 == 0 ? "time" : "random";
    }
}

static bool
same(const struct sim_result *a, const struct sim_result *b)
{
    return a->err == b->err && memcmp(&a->figures, &b->figures, sizeof(a->figures)) == 0 &&
           memcmp(&a->counts, &b->counts, sizeof(a->counts)) == 0 &&
           memcmp(a->first_ms_at, b->first_ms_at, sizeof(a->first_ms_at)) == 0 &&
           memcmp(a->first_ms_p95, b->first_ms_p95, sizeof(a->first_ms_p95)) == 0 &&
           memcmp(a->extras, b->extras, sizeof(a->extras)) == 0 && a->ended_ms == b->ended_ms;
}

static void
check_good(struct sim_job *jobs, struct sim_result *alone, struct sim_result *together)
{
    struct seen seen = {0};
    struct sim_batch_options one = {.workers = 1}, many = {3, look, &seen};

    CHECK(sim_batch_run(jobs, JOBS, &one, alone) == ERR_OK, "one worker");
    CHECK(sim_batch_run(jobs, JOBS, &many, together) == ERR_OK, "three workers");
    for (uint32_t i = 0; i < JOBS; i++) {
        CHECK(same(&alone[i], &together[i]), "the same whoever runs beside it");
        CHECK(together[i].extras[0] == (double)jobs[i].options.seed, "in the order of the jobs");
        CHECK(together[i].extras[1] == (double)together[i].figures.count &&
                  together[i].figures.count > 10,
              "what was measured");
        CHECK(together[i].cpu_s > 0.0 && together[i].capacity_rps > 0.0, "cost and capacity");
        CHECK(together[i].first_ms_at[0] <= together[i].first_ms_at[SIM_CURVE_POINTS / 2] &&
                  fabs((double)together[i].first_ms_at[SIM_CURVE_POINTS / 2] -
                       together[i].figures.first_p50_ms) < 0.01,
              "quantiles rise, and the middle is the median");
    }
    sim_batch_run_one(&jobs[1], &alone[1]);
    CHECK(same(&alone[1], &together[1]), "and the same in this process");
    CHECK(seen.done == JOBS && seen.share == 1.0 && seen.calls >= JOBS && !seen.went_back,
          "progress goes forward to its end");
    CHECK(seen.virtual_s > 44.9 && seen.virtual_s < 45.1, "seconds simulated");
}

/* In this order the parts of the work do not sum up to the whole, by a rounding. */
static void
check_order(struct sim_job *jobs, const struct sim_result *good, struct sim_result *results)
{
    struct turns turns = {.order = {4, 1, 3, 0, 2}};
    struct seen seen = {.turns = &turns};
    struct sim_batch_options all = {JOBS, look, &seen};

    for (uint32_t i = 0; i < JOBS; i++) {
        must(pipe(turns.pipes[i]) == 0);
        jobs[i].measure = measure_in_turn;
        jobs[i].user = &turns;
    }
    CHECK(sim_batch_run(jobs, JOBS, &all, results) == ERR_OK, "each in its turn");
    CHECK(same(&results[0], &good[0]) && same(&results[JOBS - 1], &good[JOBS - 1]),
          "the same in any order");
    CHECK(seen.done == JOBS && seen.share == 1.0 && !seen.went_back,
          "and progress comes to its very end");
    for (uint32_t i = 0; i < JOBS; i++) {
        close(turns.pipes[i][0]);
        close(turns.pipes[i][1]);
        jobs[i].measure = measure;
    }
}

static void
check_bad(struct sim_job *jobs, const struct sim_result *good, struct sim_result *results)
{
    struct sim_batch_options two = {.workers = 2};

    jobs[DYING].measure = die;
    jobs[WRONG].options.rule = "fastest";
    CHECK(sim_batch_run(jobs, JOBS, &two, results) == ERR_CLOSED, "the first that went wrong");
    CHECK(results[DYING].err == ERR_CLOSED, "a worker died");
    CHECK(strstr(results[DYING].error, "rule time, seed 3") != NULL, "its job is named");
    CHECK(strstr(results[DYING].error, "status 7") != NULL, "and how it ended");
    CHECK(strstr(results[DYING].error, "repeat: isochrone sim --set '{seed: 3, nodes: 12,") != NULL,
          "and what repeats it");
    CHECK(results[WRONG].err == ERR_ARG && strstr(results[WRONG].error, "no rule") != NULL,
          "a world that cannot be says why");
    CHECK(same(&results[0], &good[0]) && same(&results[JOBS - 1], &good[JOBS - 1]),
          "the others are as they were");
}

int
main(void)
{
    struct sim_result *alone = calloc(JOBS, sizeof(*alone)),
                      *together = calloc(JOBS, sizeof(*alone));
    struct trace_synthetic synthetic = trace_synthetic_default(1);
    struct sim_job jobs[JOBS];
    struct data_error error;
    struct rtt_data rtt;
    struct trace trace;

    CHECK(alone != NULL && together != NULL, "memory");
    CHECK(trace_synthetic_open(&synthetic, &error, &trace) == ERR_OK, "a load");
    CHECK(rtt_data_builtin(&error, &rtt) == ERR_OK, "places");
    jobs_init(jobs, &trace, &rtt);
    check_good(jobs, alone, together);
    check_order(jobs, together, alone);
    check_bad(jobs, together, alone);
    trace_close(&trace);
    rtt_data_close(&rtt);
    free(alone);
    free(together);
    return tap_done();
}

/* e06 - placement: 2,000 models on 500 nodes in 16 regions, with room in memory for a quarter of
 * (model, region); demand that drifts and bursts. Core's plan beside a static placement that knows
 * the average demand before, a cache of each region that loads what it misses (LRU), and
 * ServerlessLLM's rule; Belady's count of loads as the bound.
 *
 * Worlds are place_world's, not sim_world's: see there. A request counts as slow for lack of a warm
 * copy when its first token missed the goal (1 s + 1 ms a prompt token) or never came, although an
 * idle node of its own region with the model in memory would have met it: whatever it waited for, a
 * load, a queue or a far region, a warm copy with room would have spared it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "experiment.h"
#include "sim/place_world.h"

#define QUICK_MS 300000.0

struct cell {
    const char *name;
    enum place_policy policy;
    double burst_factor;
    uint32_t held;
    double rate_s;                           /* 0: the usual one */
    void (*change)(struct place_options *o); /* what else is different; NULL nothing */
    struct place_stats stats[EXPERIMENT_SEEDS_MAX];
};

static void
with_sizes(struct place_options *o)
{
    o->has_sizes = true;
}

/* Bursts that rise for two minutes, and stay for one. */
static void
with_ramps(struct place_options *o)
{
    o->ramp_ms = 120000.0;
    o->burst_ms = 180000.0;
}

static void
with_ramps_unseen(struct place_options *o)
{
    with_ramps(o);
    o->without = WITHOUT_TREND;
}

/* On each third node loads take ten times what is told of them. */
static void
with_slow_loads(struct place_options *o)
{
    o->slow_share = 0.33;
    o->slow_loads = 10.0;
}

static void
with_slow_loads_believed(struct place_options *o)
{
    with_slow_loads(o);
    o->without = WITHOUT_LOAD_TIMES;
}

/* As an Ollama has them: four of each model, whatever the others have free. */
static void
with_own_slots(struct place_options *o)
{
    o->slots = 4;
    o->has_own_slots = true;
}

static void
with_own_slots_unseen(struct place_options *o)
{
    with_own_slots(o);
    o->without = WITHOUT_MODEL_SLOTS;
}

/* Regions with gateways that steer side by side, in a smaller world: each knows all of it. */
static void
with_small_world(struct place_options *o)
{
    o->regions = 4;
    o->nodes = 128;
    o->models = 512;
    o->rate_s = 150.0;
    o->news_ms = 200.0;
}

static void
with_gateways(struct place_options *o)
{
    with_small_world(o);
    o->gateways = 8;
}

static void
with_gateways_unturned(struct place_options *o)
{
    with_gateways(o);
    o->without = WITHOUT_TURNS;
}

/* What e06_live.py has with 20 models: one site, two gateways, ten nodes with memory for four, of
 * which every second one has four slots a model and the others sixteen. */
static void
with_live(struct place_options *o)
{
    o->models = 20;
    o->unasked = 2;
    o->nodes = 10;
    o->regions = 1;
    o->gateways = 2;
    o->slots = 4;
    o->slots_odd = 16;
    o->has_own_slots = true;
    o->is_dealt = o->policy != PLACE_STATIC;
    o->asleep = 0;
    o->on_disk = 24;
    o->gpu = "a100x4";
    o->hidden_speed = 0.3;
    o->prompt_median = 400.0;
    o->prompt_sigma = 0.6;
    o->output_tokens = 96;
    o->rate_s = 90.0;
    o->zipf = 0.9;
    o->taste = 0.0;
    o->drift_every_ms = 1e12;
    o->burst_every_ms = 15000.0;
    o->burst_ms = 30000.0;
    o->has_even_bursts = true;
    o->start_ms = 1500.0;
    o->heartbeat_ms = o->demand_every_ms = 1000.0;
    o->news_ms = 50.0;
    o->duration_ms = 190000.0;
    o->warmup_ms = 40000.0;
}

enum cell_name {
    CELL_PLAN = 0,
    CELL_PLAN_10,
    CELL_STATIC,
    CELL_STATIC_10,
    CELL_SERVERLESS,
    CELL_SERVERLESS_10,
    CELL_LRU,
    CELL_HALF,
    CELL_SIZES,
    CELL_SIZES_SERVERLESS,
    CELL_RAMPS,
    CELL_RAMPS_UNSEEN,
    CELL_SLOW,
    CELL_SLOW_BELIEVED,
    CELL_OWN_SLOTS,
    CELL_OWN_SLOTS_UNSEEN,
    CELL_ONE_GATEWAY,
    CELL_GATEWAYS,
    CELL_GATEWAYS_UNTURNED,
    CELLS
};

static const struct cell cells_all[CELLS] = {
    [CELL_PLAN] = {"plan", PLACE_PLAN, 3.0, 16, 0.0, NULL, {{0}}},
    [CELL_PLAN_10] = {"plan, bursts 10x", PLACE_PLAN, 10.0, 16, 0.0, NULL, {{0}}},
    [CELL_STATIC] = {"static", PLACE_STATIC, 3.0, 16, 0.0, NULL, {{0}}},
    [CELL_STATIC_10] = {"static, bursts 10x", PLACE_STATIC, 10.0, 16, 0.0, NULL, {{0}}},
    [CELL_SERVERLESS] = {"serverlessllm", PLACE_SERVERLESSLLM, 3.0, 16, 0.0, NULL, {{0}}},
    [CELL_SERVERLESS_10] =
        {"serverlessllm, bursts 10x", PLACE_SERVERLESSLLM, 10.0, 16, 0.0, NULL, {{0}}},
    [CELL_LRU] = {"lru", PLACE_LRU, 3.0, 16, 0.0, NULL, {{0}}},
    [CELL_HALF] = {"plan, half the room", PLACE_PLAN, 3.0, 8, 0.0, NULL, {{0}}},
    [CELL_SIZES] = {"plan, 3 to 140 GiB", PLACE_PLAN, 3.0, 16, 0.0, with_sizes, {{0}}},
    [CELL_SIZES_SERVERLESS] =
        {"serverlessllm, 3 to 140 GiB", PLACE_SERVERLESSLLM, 3.0, 16, 0.0, with_sizes, {{0}}},
    [CELL_RAMPS] = {"plan, ramps to 10x", PLACE_PLAN, 10.0, 16, 0.0, with_ramps, {{0}}},
    [CELL_RAMPS_UNSEEN] =
        {"plan without trend, ramps to 10x", PLACE_PLAN, 10.0, 16, 0.0, with_ramps_unseen, {{0}}},
    [CELL_SLOW] = {"plan, slow loads", PLACE_PLAN, 10.0, 8, 0.0, with_slow_loads, {{0}}},
    [CELL_SLOW_BELIEVED] =
        {"plan, slow loads, believed", PLACE_PLAN, 10.0, 8, 0.0, with_slow_loads_believed, {{0}}},
    [CELL_OWN_SLOTS] = {"plan, slots a model", PLACE_PLAN, 10.0, 8, 0.0, with_own_slots, {{0}}},
    [CELL_OWN_SLOTS_UNSEEN] =
        {"plan, slots a model, unseen", PLACE_PLAN, 10.0, 8, 0.0, with_own_slots_unseen, {{0}}},
    [CELL_ONE_GATEWAY] =
        {"plan, a gateway a region", PLACE_PLAN, 10.0, 16, 0.0, with_small_world, {{0}}},
    [CELL_GATEWAYS] =
        {"plan, eight gateways a region", PLACE_PLAN, 10.0, 16, 0.0, with_gateways, {{0}}},
    [CELL_GATEWAYS_UNTURNED] =
        {"eight without turns", PLACE_PLAN, 10.0, 16, 0.0, with_gateways_unturned, {{0}}},
};

/* Of the curves: policies by rates, short runs. */
#define RATES_MAX   6u
#define CURVE_SEEDS 3u
static const double rates[RATES_MAX] = {200.0, 400.0, 600.0, 800.0, 1000.0, 1200.0};
static const struct {
    const char *name;
    enum place_policy policy;
} lines[] = {
    {"plan", PLACE_PLAN},
    {"static", PLACE_STATIC},
    {"serverlessllm", PLACE_SERVERLESSLLM},
    {"lru", PLACE_LRU},
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

static void
options_of(const struct experiment *e, const struct cell *c, uint32_t seed,
           struct place_options *ret_options)
{
    struct place_options *o = ret_options;

    place_options_init(o);
    o->seed = (e->is_tuning ? EXPERIMENT_SEED_TUNING : EXPERIMENT_SEED_FIRST) + seed;
    o->policy = c->policy;
    o->burst_factor = c->burst_factor;
    o->held = c->held;
    if (c->rate_s > 0.0)
        o->rate_s = c->rate_s;
    if (c->change != NULL)
        c->change(o);
    if ((e->is_quick || c->rate_s > 0.0) && o->duration_ms > QUICK_MS) {
        o->duration_ms = QUICK_MS;
        o->warmup_ms = 120000.0;
    }
}

/* ---- A process a run: what it found comes back through a pipe. */

struct worker {
    pid_t pid;
    int from;
    struct place_stats *to;
};

static bool
worker_start(struct worker *k, const struct experiment *e, const struct place_options *o,
             struct place_stats *ret_stats)
{
    int ends[2];

    if (pipe(ends) != 0)
        return false;
    fflush(NULL);
    k->pid = fork();
    if (k->pid == 0) {
        struct place_stats s = {0};
        bool ok = place_run(o, &e->traces[TRACE_CONV], &e->rtt, &s) == ERR_OK &&
                  write(ends[1], &s, sizeof(s)) == (ssize_t)sizeof(s);
        _exit(ok ? 0 : 1);
    }
    if (close(ends[1]) != 0 || k->pid < 0)
        return false;
    k->from = ends[0];
    k->to = ret_stats;
    return true;
}

static bool
worker_end(struct worker *k)
{
    int status = 1;
    bool ok = read(k->from, k->to, sizeof(*k->to)) == (ssize_t)sizeof(*k->to);

    ok = close(k->from) == 0 && ok;
    return waitpid(k->pid, &status, 0) == k->pid && status == 0 && ok;
}

static bool
run_all(const struct experiment *e, struct cell *cells, size_t cell_count)
{
    uint32_t count = (uint32_t)cell_count * e->seeds, most = e->workers;
    struct worker workers[SIM_WORKERS_MAX];
    uint32_t started = 0, ended = 0;
    bool ok = true;

    if (most == 0)
        most = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (most > SIM_WORKERS_MAX)
        most = SIM_WORKERS_MAX;
    while (ok && ended < count) { /* in the order in which they began: runs take alike */
        if (started < count && started - ended < most) {
            struct cell *c = &cells[started / e->seeds];
            struct place_options o;
            options_of(e, c, started % e->seeds, &o);
            ok = worker_start(&workers[started % most], e, &o, &c->stats[started % e->seeds]);
            started += ok;
        } else {
            ok = worker_end(&workers[ended++ % most]);
            fprintf(stderr, "\re6: %u of %u runs", ended, count);
        }
    }
    for (; ended < started; ended++)
        (void)worker_end(&workers[ended % most]);
    fputc('\n', stderr);
    return ok;
}

/* ---- Figures. */

typedef double metric(const struct place_stats *s);

static double
slow_percent(const struct place_stats *s)
{
    return 100.0 * (double)s->slow_unwarmed / (double)s->requests;
}

static double
p99_ms(const struct place_stats *s)
{
    return s->first_p99_ms;
}

static double
p50_ms(const struct place_stats *s)
{
    return s->first_p50_ms;
}

static double
away_percent(const struct place_stats *s)
{
    return 100.0 * (double)s->away / (double)s->answered;
}

static double
loads(const struct place_stats *s)
{
    return (double)s->loads;
}

static double
loads_again(const struct place_stats *s)
{
    return (double)s->loads_again;
}

static double
loads_over_belady(const struct place_stats *s)
{
    return (double)s->loads / (double)s->loads_belady;
}

static double
cost_over_pool(const struct place_stats *s)
{
    return s->pool.cost_ms / s->pool.least_ms;
}

static double
loads_over_pool(const struct place_stats *s)
{
    return (double)s->loads / (double)s->pool.loads;
}

static double
waited_percent(const struct place_stats *s)
{
    return 100.0 * (double)s->waited / (double)s->requests;
}

static double
failed_percent(const struct place_stats *s)
{
    return 100.0 * (double)(s->failed + s->refused) / (double)s->requests;
}

static double
busy_percent(const struct place_stats *s)
{
    return 100.0 * s->busy_share;
}

static struct experiment_estimate
mean_of(const struct experiment *e, const struct cell *c, metric *m)
{
    double values[EXPERIMENT_SEEDS_MAX];
    struct sim_mean mean;

    for (uint32_t i = 0; i < e->seeds; i++)
        values[i] = m(&c->stats[i]);
    mean = sim_mean_of(values, e->seeds);
    return (struct experiment_estimate){mean.mean, mean.mean - mean.half, mean.mean + mean.half};
}

static struct experiment_estimate
ratio_of(const struct experiment *e, const struct cell *over, const struct cell *under, metric *m)
{
    double values[EXPERIMENT_SEEDS_MAX];
    struct sim_mean mean;

    for (uint32_t i = 0; i < e->seeds; i++)
        values[i] = log(m(&over->stats[i]) / m(&under->stats[i]));
    mean = sim_mean_of(values, e->seeds);
    return (struct experiment_estimate){exp(mean.mean), exp(mean.mean - mean.half),
                                        exp(mean.mean + mean.half)};
}

static const struct {
    const char *head;
    metric *of;
    int decimals;
} columns[] = {
    {"slow, no warm copy %", slow_percent, 3},
    {"TTFT p50 ms", p50_ms, 0},
    {"TTFT p99 ms", p99_ms, 0},
    {"waited for weights %", waited_percent, 3},
    {"not answered %", failed_percent, 2},
    {"other region %", away_percent, 1},
    {"loads", loads, 0},
    {"again", loads_again, 0},
    {"loads / Belady", loads_over_belady, 2},
    {"cost / pool", cost_over_pool, 2},
    {"slots busy %", busy_percent, 1},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void
table(FILE *out, const struct experiment *e, const char *title, const struct cell *cells,
      size_t count)
{
    fprintf(out, "\n### %s\n\n| |", title);
    for (size_t k = 0; k < COLUMNS; k++)
        fprintf(out, " %s |", columns[k].head);
    fputs("\n|---|", out);
    for (size_t k = 0; k < COLUMNS; k++)
        fputs("---:|", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "\n| %s |", cells[i].name);
        for (size_t k = 0; k < COLUMNS; k++) {
            struct experiment_estimate x = mean_of(e, &cells[i], columns[k].of);
            if (isfinite(x.value))
                fprintf(out, " %.*f ± %.*f |", columns[k].decimals, x.value, columns[k].decimals,
                        x.high - x.value);
            else
                fputs(" - |", out); /* there is no such bound */
        }
    }
    fputs("\n\n", out);
}

static void
table_file(const struct experiment *e, const char *name, const char *title,
           const struct cell *cells, size_t count)
{
    char path[1024];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/%s.md", e->out, name);
    out = fopen(path, "w");
    if (out == NULL) {
        fprintf(stderr, "%s: cannot be written\n", path);
        return;
    }
    table(out, e, title, cells, count);
    if (fclose(out) != 0)
        fprintf(stderr, "%s: not written whole\n", path);
}

static bool
all_hold(const struct experiment *e, const struct cell *cells, size_t count)
{
    bool ok = true;

    for (size_t i = 0; i < count; i++) {
        for (uint32_t s = 0; s < e->seeds; s++) {
            if (cells[i].stats[s].violations == 0)
                continue;
            fprintf(stderr, "e6, %s, seed %u: %s\n", cells[i].name, s, cells[i].stats[s].violation);
            ok = false;
        }
    }
    return ok;
}

static void
figures(const struct experiment *e, const struct cell *cells)
{
    const struct cell *plan = &cells[CELL_PLAN];

    experiment_figure(e, "e6_slow_for_no_warm_copy_percent", mean_of(e, plan, slow_percent), "%");
    experiment_figure(e, "e6_loads_over_belady", mean_of(e, plan, loads_over_belady), "x");
    experiment_figure(e, "e6_cost_over_pool", mean_of(e, plan, cost_over_pool), "x");
    experiment_figure(e, "e6_loads_over_pool", mean_of(e, plan, loads_over_pool), "x");
    experiment_figure(e, "e6_p99_ttft_static_over_ours",
                      ratio_of(e, &cells[CELL_STATIC], plan, p99_ms), "x");
    experiment_figure(e, "e6_p99_ttft_serverlessllm_over_ours",
                      ratio_of(e, &cells[CELL_SERVERLESS], plan, p99_ms), "x");
    experiment_figure(e, "e6_sizes_slow_for_no_warm_copy_percent",
                      mean_of(e, &cells[CELL_SIZES], slow_percent), "%");
    experiment_figure(e, "e6_sizes_p99_ttft_serverlessllm_over_ours",
                      ratio_of(e, &cells[CELL_SIZES_SERVERLESS], &cells[CELL_SIZES], p99_ms), "x");
    experiment_figure(e, "e6_ramps_p99_ttft_without_trend_over_ours",
                      ratio_of(e, &cells[CELL_RAMPS_UNSEEN], &cells[CELL_RAMPS], p99_ms), "x");
    experiment_figure(e, "e6_slow_loads_p99_ttft_believed_over_ours",
                      ratio_of(e, &cells[CELL_SLOW_BELIEVED], &cells[CELL_SLOW], p99_ms), "x");
    experiment_figure(e, "e6_own_slots_p99_ttft_unseen_over_ours",
                      ratio_of(e, &cells[CELL_OWN_SLOTS_UNSEEN], &cells[CELL_OWN_SLOTS], p99_ms),
                      "x");
    experiment_figure(e, "e6_gateways_8_p99_ttft_over_1",
                      ratio_of(e, &cells[CELL_GATEWAYS], &cells[CELL_ONE_GATEWAY], p99_ms), "x");
    experiment_figure(e, "e6_gateways_8_loads_again_over_1",
                      ratio_of(e, &cells[CELL_GATEWAYS], &cells[CELL_ONE_GATEWAY], loads_again),
                      "x");
    experiment_figure(
        e, "e6_gateways_8_loads_again_without_turns_over_ours",
        ratio_of(e, &cells[CELL_GATEWAYS_UNTURNED], &cells[CELL_GATEWAYS], loads_again), "x");
}

#define TITLE "E6: which models where"

bool
experiment_e6(const struct experiment *e)
{
    struct cell *cells = malloc(sizeof(cells_all));
    bool ok;

    must(cells != NULL);
    memcpy(cells, cells_all, sizeof(cells_all));
    ok = run_all(e, cells, CELLS);
    if (!ok)
        fputs("e6: a run failed\n", stderr);
    if (ok) {
        ok = all_hold(e, cells, CELLS);
        table(stdout, e, TITLE, cells, CELLS);
        table_file(e, "e6", TITLE, cells, CELLS);
        figures(e, cells);
    }
    free(cells);
    return ok;
}

/* ---- The world of e06_live.py, without its noise. */

enum live_name { LIVE_PLAN, LIVE_ON_DEMAND, LIVE_STATIC, LIVES };
#define LIVE_TITLE "E6 as it runs live"

static const struct cell lives_all[LIVES] = {
    [LIVE_PLAN] = {"plan", PLACE_PLAN, 3.0, 4, 0.0, with_live, {{0}}},
    [LIVE_ON_DEMAND] = {"on demand", PLACE_ON_DEMAND, 3.0, 4, 0.0, with_live, {{0}}},
    [LIVE_STATIC] = {"static", PLACE_STATIC, 3.0, 4, 0.0, with_live, {{0}}},
};

bool
experiment_e6_live(const struct experiment *e)
{
    struct cell *cells = malloc(sizeof(lives_all));
    bool ok;

    must(cells != NULL);
    memcpy(cells, lives_all, sizeof(lives_all));
    ok = run_all(e, cells, LIVES) && all_hold(e, cells, LIVES);
    if (ok) {
        table(stdout, e, LIVE_TITLE, cells, LIVES);
        table_file(e, "e6-live", LIVE_TITLE, cells, LIVES);
        experiment_figure(e, "e6_live_world_slow_for_no_warm_copy_percent",
                          mean_of(e, &cells[LIVE_PLAN], slow_percent), "%");
        experiment_figure(e, "e6_live_world_slow_for_no_warm_copy_on_demand_percent",
                          mean_of(e, &cells[LIVE_ON_DEMAND], slow_percent), "%");
        experiment_figure(e, "e6_live_world_p99_ttft_on_demand_over_ours",
                          ratio_of(e, &cells[LIVE_ON_DEMAND], &cells[LIVE_PLAN], p99_ms), "x");
    }
    free(cells);
    return ok;
}

/* ---- Curves: over the rate of requests. */

bool
experiment_e6_curves(const struct experiment *e)
{
    struct experiment few = *e;
    struct cell *cells = calloc(LINES * RATES_MAX, sizeof(*cells));
    float x[RATES_MAX], p99[LINES][RATES_MAX], slow[LINES][RATES_MAX];
    struct sim_plot_line p99_lines[LINES], slow_lines[LINES];
    const struct sim_plot plots[] = {{"E6: p99 of the first token over the rate of requests",
                                      "requests/s", "ms", false, true, p99_lines, LINES},
                                     {"slow for lack of a warm copy", "requests/s", "% of requests",
                                      false, true, slow_lines, LINES}};
    bool ok;

    must(cells != NULL);
    few.seeds = e->seeds < CURVE_SEEDS ? e->seeds : CURVE_SEEDS;
    for (size_t i = 0; i < LINES * RATES_MAX; i++)
        cells[i] = (struct cell){.name = lines[i / RATES_MAX].name,
                                 .policy = lines[i / RATES_MAX].policy,
                                 .burst_factor = 3.0,
                                 .held = 16,
                                 .rate_s = rates[i % RATES_MAX]};
    ok = run_all(&few, cells, LINES * RATES_MAX) && all_hold(&few, cells, LINES * RATES_MAX);
    for (size_t l = 0; l < LINES; l++) {
        for (size_t k = 0; k < RATES_MAX; k++) {
            const struct cell *c = &cells[l * RATES_MAX + k];
            x[k] = (float)rates[k];
            p99[l][k] = (float)mean_of(&few, c, p99_ms).value;
            slow[l][k] = (float)mean_of(&few, c, slow_percent).value;
            printf("%s at %.0f requests/s: p99 %.0f ms, slow %.3f %%\n", c->name, rates[k],
                   (double)p99[l][k], (double)slow[l][k]);
        }
        p99_lines[l] = (struct sim_plot_line){lines[l].name, x, p99[l], RATES_MAX};
        slow_lines[l] = (struct sim_plot_line){lines[l].name, x, slow[l], RATES_MAX};
    }
    if (ok)
        experiment_chart(e, "e6", plots, 2);
    free(cells);
    return ok;
}

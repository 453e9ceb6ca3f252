/* decision_tick - what a tick costs where it costs most: 10,000 nodes that one gateway steers, each
 * with 12 of 4,096 models in memory and as many asleep, demand for all of them, and directives that
 * are carried out. A tick looks after some nodes and models and plans; the door's lock is held for
 * as long, so it is to stay below 20 us. Timed is the processor's time of the thread: who else runs
 * on the machine costs caches, but is not counted. */
#include "decision_tick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fmath.h"
#include "base/must.h"
#include "base/rng.h"
#include "core/core.h"

#define NODES         10000u
#define MODELS        4096u
#define REGIONS       24u
#define CLASSES       6u
#define HELD          12u /* and as many asleep */
#define WEIGHTS_MIB   15317.0f
#define RUNS          4u /* of the same ticks: of each the least counts, for others run here too */
#define TICKS         10000u
#define TICKS_FIRST   5000u /* until each node was looked at */
#define TICK_NS       100000000u
#define ARRIVALS      50u /* between two */
#define REPORTS       100u
#define FLIGHTS       4096u
#define MEMORY_ALIGN  64u
#define NS_PER_SECOND 1000000000u

struct tick_world {
    struct core *core;
    void *memory;
    struct rng rng;
    uint64_t now_ns, next_id, loads;
    struct event event;
    struct actions actions;
    uint32_t due_count; /* loads under way */
    struct {
        uint32_t node;
        uint16_t model;
    } due[MODELS];
};

static void
tick_step(struct tick_world *w)
{
    core_step(w->core, w->now_ns, &w->event, &w->actions);
}

static void
tick_model(struct tick_world *w, uint32_t node, uint16_t model, uint16_t state)
{
    w->event.kind = EVENT_MODEL;
    w->event.model = (struct event_model){
        .node = node, .model = model, .state = state, .ready_in_ms = NAN};
    tick_step(w);
}

/* Popular ones first: as often between any two powers. */
static uint16_t
tick_draw_model(struct tick_world *w)
{
    double x = fmath_exp(rng_unit(&w->rng) * fmath_log((double)MODELS));

    return (uint16_t)(x < MODELS ? x - 1.0 : MODELS - 1.0);
}

static void
tick_fill(struct tick_world *w)
{
    for (uint32_t i = 0; i < MODELS * CLASSES; i++) {
        w->event.kind = EVENT_CURVE;
        w->event.curve = (struct event_curve){.model = (uint16_t)(i / CLASSES),
                                              .class = (uint16_t)(i % CLASSES),
                                              .curve = {3.0f, 0.03f, 1e-6f, 6.0f, 0.05f, 0.01f},
                                              .kv_tokens_cap = 400000.0f,
                                              .load_ms = 8000.0f,
                                              .weights_mib = WEIGHTS_MIB};
        tick_step(w);
    }
    for (uint32_t n = 0; n < NODES; n++) {
        float rtt_ms = 5.0f + 8.0f * (float)(n % REGIONS);
        w->event.kind = EVENT_NODE;
        w->event.node = (struct event_node){.node = n,
                                            .epoch = 1,
                                            .region = (uint16_t)(n % REGIONS),
                                            .class = (uint16_t)rng_below(&w->rng, CLASSES),
                                            .slots = 96,
                                            .rtt_ms = rtt_ms,
                                            .steered = 1,
                                            .memory_mib = HELD * WEIGHTS_MIB,
                                            .fetch_mib_s = 2000.0f,
                                            .loads_max = 1};
        tick_step(w);
        w->event.kind = EVENT_RTT;
        w->event.rtt = (struct event_rtt){.node = n, .rtt_ms = rtt_ms};
        tick_step(w);
        for (uint32_t k = 0; k < 2 * HELD; k++)
            tick_model(w, n, (uint16_t)((n * 31u + k * 173u) % MODELS),
                       k < HELD ? MODEL_READY : MODEL_SLEEPING);
    }
}

static void
tick_open(struct tick_world *w)
{
    struct core_config c = {.seed = 7,
                            .nodes_max = NODES,
                            .models_max = MODELS,
                            .regions_max = REGIONS,
                            .classes_max = CLASSES,
                            .placements_max = NODES * CORE_NODE_MODELS_MAX,
                            .requests_max = 2 * FLIGHTS};
    size_t bytes = core_bytes(&c);

    memset(w, 0, sizeof(*w));
    bytes += MEMORY_ALIGN - bytes % MEMORY_ALIGN;
    w->memory = aligned_alloc(MEMORY_ALIGN, bytes);
    must(w->memory != NULL);
    memset(w->memory, 0, bytes);
    must(core_init(w->memory, bytes, &c, &w->core) == ERR_OK);
    w->now_ns = NS_PER_SECOND;
    w->next_id = 1;
    rng_init(&w->rng, 11);
    tick_fill(w);
}

/* What the last step wants of nodes: done at once, a load when the next tick is over. */
static void
tick_obey(struct tick_world *w)
{
    const struct actions actions = w->actions;

    for (uint32_t i = 0; i < actions.count; i++) {
        const struct action *a = &actions.list[i];
        if (a->kind == ACTION_UNLOAD)
            tick_model(w, a->plan.node, a->plan.model, MODEL_SLEEPING);
        if (a->kind != ACTION_LOAD || w->due_count == MODELS)
            continue;
        w->loads++;
        w->due[w->due_count].node = a->plan.node;
        w->due[w->due_count++].model = a->plan.model;
        tick_model(w, a->plan.node, a->plan.model, MODEL_LOADING);
    }
}

static void
tick_between(struct tick_world *w)
{
    for (uint32_t i = 0; i < w->due_count; i++)
        tick_model(w, w->due[i].node, w->due[i].model, MODEL_READY);
    w->due_count = 0;
    for (uint32_t i = 0; i < REPORTS; i++) {
        w->event.kind = EVENT_REPORT;
        w->event.report = (struct event_report){.node = (uint32_t)rng_below(&w->rng, NODES),
                                                .running = (float)rng_below(&w->rng, 40),
                                                .waiting = 0.0f,
                                                .prefill_tokens_in_flight = NAN,
                                                .kv_tokens_used = NAN,
                                                .kv_tokens_cap = NAN,
                                                .slots = NAN,
                                                .age_ms = 20.0f};
        tick_step(w);
    }
    for (uint32_t i = 0; i < ARRIVALS; i++, w->next_id++) {
        w->event.kind = EVENT_ARRIVED;
        w->event.arrived = (struct event_arrived){.request = w->next_id,
                                                  .model = tick_draw_model(w),
                                                  .prompt_bytes = 4000,
                                                  .max_tokens = 512,
                                                  .stream = 1,
                                                  .other_model = MODEL_NONE,
                                                  .priority = PRIORITY_NORMAL,
                                                  .deadline_ms = NAN,
                                                  .tpot_goal_ms = NAN,
                                                  .only_node = NODE_ANY};
        w->event.prefix.count = 0;
        tick_step(w);
        if (w->next_id <= FLIGHTS)
            continue;
        w->event.kind = EVENT_ENDED;
        w->event.ended = (struct event_ended){.request = w->next_id - FLIGHTS,
                                              .attempt = 1,
                                              .prompt_tokens = 900,
                                              .output_tokens = 150,
                                              .engine_prefill_ms = NAN,
                                              .engine_decode_ms = NAN};
        tick_step(w);
    }
}

static uint64_t
thread_ns(void)
{
    struct timespec t;

    must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* All ticks of one run; of each the least of all runs is kept. */
static void
tick_run(struct tick_world *w, uint64_t *took_ns, uint64_t clock_ns)
{
    for (uint32_t i = 0; i < TICKS_FIRST + TICKS; i++) {
        uint64_t began_ns, ns;
        tick_between(w);
        w->now_ns += TICK_NS;
        w->event.kind = EVENT_TICK;
        began_ns = thread_ns();
        tick_step(w);
        ns = thread_ns() - began_ns;
        ns = ns > clock_ns ? ns - clock_ns : 0;
        if (i >= TICKS_FIRST && ns < took_ns[i - TICKS_FIRST])
            took_ns[i - TICKS_FIRST] = ns;
        tick_obey(w);
    }
}

void
decision_tick_measure(void)
{
    static struct tick_world w;
    static uint64_t took_ns[TICKS];
    uint64_t clock_ns = UINT64_MAX; /* between two readings */

    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t began_ns = thread_ns(), ns = thread_ns() - began_ns;
        clock_ns = ns < clock_ns ? ns : clock_ns;
    }
    for (uint32_t i = 0; i < TICKS; i++)
        took_ns[i] = UINT64_MAX;
    for (uint32_t i = 0; i < RUNS; i++) {
        tick_open(&w);
        tick_run(&w, took_ns, clock_ns);
        free(w.memory);
    }
    qsort(took_ns, TICKS, sizeof(took_ns[0]), by_size);
    printf("figure plan_tick_p50_us %.1f us\n", (double)took_ns[TICKS / 2] * 1e-3);
    printf("figure plan_tick_p99_us %.1f us\n", (double)took_ns[TICKS / 100 * 99] * 1e-3);
    printf("figure plan_tick_max_us %.1f us\n", (double)took_ns[TICKS - 1] * 1e-3);
    printf("       %llu loads were asked for\n", (unsigned long long)w.loads);
}

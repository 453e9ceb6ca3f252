/* decision - what one decision costs with a full map: `make bench-decision`.
 *
 * A core with N nodes over 24 regions, 8 models and 6 hardware classes; requests arrive, start and
 * end as they would, reports and ticks come in between (each node once a second at 2,000
 * requests/s), so that caches are as cold as in life. Only the step of EVENT_ARRIVED is timed:
 * candidates, prediction, choice, reservation and explanation. Once more without prefixes, and once
 * with news so old that our own count decides, over all nodes (fallback). Then the same through the
 * gateway's door with two threads, to see how long the lock is held. Parsing is not in it. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/must.h"
#include "base/rng.h"
#include "core/core.h"
#include "decision_tick.h"
#include "host.h"
#include "io/clock.h"
#include "role/gateway/decide.h"

#define REGIONS        24u
#define MODELS         8u
#define CLASSES        6u
#define EACH_IN_FLIGHT 16u /* of a node */
#define IN_FLIGHT      4096u
#define DECISIONS      200000u
#define STEP_NS        500000u /* 2,000 requests a second */

/* Every other request goes on with one of these conversations; its first borders are a system
 * prompt's, which many share, and each turn adds one. */
#define CONVERSATIONS  4096u
#define SYSTEM_PROMPTS 64u
#define SYSTEM_BORDERS 6u
#define FIRST_BORDERS  30u
#define LAST_BORDERS   70u
#define PREFIX_ENTRIES 4194304u

#define THREADS    2u
#define SILENCE_NS UINT64_C(10000000000)
#define PLAIN      1u /* prompts share nothing */
#define SILENT     2u /* the last reports are so old */

#define LARGE_PAGE_BYTES 2097152u

struct world {
    struct core *core; /* stepped here, with a clock of its own; or: */
    struct door *door; /* the gateway's door, which reads the real one */
    void *memory;
    struct rng rng;
    uint64_t now_ns;
    uint32_t nodes, in_flight; /* of which as many at once as have room */
    struct {
        uint64_t id;
        uint32_t node;
    } ring[IN_FLIGHT];
    uint64_t next_id, id_stride; /* so that two threads never use one id */
    bool plain;                  /* no prompt shares anything */
    bool silent;                 /* no more reports */
    uint16_t turns[CONVERSATIONS];
};

static void
step(struct world *w, const struct event *e, struct actions *actions)
{
    if (w->door != NULL)
        decide_step(w->door, e, actions);
    else
        core_step(w->core, w->now_ns, e, actions);
}

static void
world_node(struct world *w, uint32_t node, struct actions *actions)
{
    uint16_t region = (uint16_t)rng_below(&w->rng, REGIONS);
    struct event e = {.kind = EVENT_NODE};

    e.node = (struct event_node){.node = node,
                                 .epoch = 1,
                                 .region = region,
                                 .class = (uint16_t)rng_below(&w->rng, CLASSES),
                                 .slots = 256,
                                 .rtt_ms = 5.0f + 8.0f * region};
    step(w, &e, actions);
    e = (struct event){.kind = EVENT_RTT};
    e.rtt = (struct event_rtt){.node = node, .rtt_ms = 5.0f + 8.0f * region};
    step(w, &e, actions);
    e = (struct event){.kind = EVENT_MODEL};
    e.model = (struct event_model){.node = node,
                                   .model = (uint16_t)rng_below(&w->rng, MODELS),
                                   .state = MODEL_READY,
                                   .ready_in_ms = NAN};
    step(w, &e, actions);
}

static void
world_report(struct world *w, uint32_t node, struct actions *actions)
{
    struct event e = {.kind = EVENT_REPORT};
    float running = (float)rng_below(&w->rng, 40);

    e.report = (struct event_report){.node = node,
                                     .running = running,
                                     .waiting = running > 30.0f ? (float)rng_below(&w->rng, 8) : 0,
                                     .prefill_tokens_in_flight = NAN,
                                     .kv_tokens_used = running * 900.0f,
                                     .kv_tokens_cap = 4e6f, /* nobody is refused */
                                     .slots = NAN,
                                     .age_ms = 20.0f};
    step(w, &e, actions);
}

static struct core_config
world_config(uint32_t nodes)
{
    return (struct core_config){.seed = 7,
                                .nodes_max = nodes,
                                .models_max = MODELS,
                                .regions_max = REGIONS,
                                .classes_max = CLASSES,
                                .placements_max = nodes,
                                .requests_max = IN_FLIGHT * 2 * THREADS,
                                .prefix_entries_max = PREFIX_ENTRIES};
}

/* All nodes into the core or behind the door that *w has. */
static void
world_fill(struct world *w, uint32_t nodes)
{
    struct actions actions;

    w->nodes = nodes;
    w->in_flight = nodes * EACH_IN_FLIGHT < IN_FLIGHT ? nodes * EACH_IN_FLIGHT : IN_FLIGHT;
    w->next_id = 1;
    w->id_stride = 1;
    w->now_ns = 1000000000u;
    rng_init(&w->rng, 11);
    for (uint32_t i = 0; i < nodes; i++)
        world_node(w, i, &actions);
    for (uint32_t i = 0; i < nodes; i++)
        world_report(w, i, &actions);
}

static void
world_open(struct world *w, uint32_t nodes)
{
    struct core_config c = world_config(nodes);
    size_t bytes = core_bytes(&c), offset, scattered;

    memset(w, 0, sizeof(*w));
    bytes += LARGE_PAGE_BYTES - bytes % LARGE_PAGE_BYTES;
    w->memory = aligned_alloc(LARGE_PAGE_BYTES, bytes);
    must(w->memory != NULL);
    core_scattered(&c, &offset, &scattered); /* as the gateway's door does */
    offset += LARGE_PAGE_BYTES - offset % LARGE_PAGE_BYTES;
    if (scattered > 2 * LARGE_PAGE_BYTES)
        (void)madvise((char *)w->memory + offset, scattered - LARGE_PAGE_BYTES, MADV_HUGEPAGE);
    memset(w->memory, 0, bytes);
    must(core_init(w->memory, bytes, &c, &w->core) == ERR_OK);
    world_fill(w, nodes);
}

static uint64_t
mixed(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The next turn of a conversation, as a chain. */
static void
converse(struct world *w, struct event *e)
{
    uint32_t c = (uint32_t)rng_below(&w->rng, CONVERSATIONS);
    uint32_t count = FIRST_BORDERS + w->turns[c] % (LAST_BORDERS - FIRST_BORDERS);
    uint64_t again = w->turns[c]++ / (LAST_BORDERS - FIRST_BORDERS); /* then it is another one */

    e->arrived.model = (uint16_t)(c % MODELS);
    e->prefix.count = count;
    for (uint32_t i = 0; i < count; i++)
        e->prefix.hashes[i] = i < SYSTEM_BORDERS ? mixed(c % SYSTEM_PROMPTS, i)
                                                 : mixed(1000 + c, again << 32 | i);
    e->arrived.prompt_bytes = count * 1024u + 300u;
    e->arrived.session = 1 + c;
}

/* One request: it arrives (timed), one before it starts, one still older ends, news come. */
static uint64_t
world_turn(struct world *w, struct actions *actions)
{
    uint64_t id = w->next_id, began_ns, took_ns;
    static _Thread_local struct event e; /* only what is used of it is written */
    size_t at = id / w->id_stride % w->in_flight, reports = w->nodes / 2000u + 1;

    w->next_id += w->id_stride;
    w->now_ns += STEP_NS;
    e.kind = EVENT_ARRIVED;
    e.arrived = (struct event_arrived){.request = id,
                                       .model = (uint16_t)rng_below(&w->rng, MODELS),
                                       .prompt_bytes = 200u + (uint32_t)rng_below(&w->rng, 8000),
                                       .max_tokens = 512,
                                       .stream = 1,
                                       .other_model = MODEL_NONE,
                                       .priority = PRIORITY_NORMAL,
                                       .deadline_ms = NAN,
                                       .tpot_goal_ms = NAN,
                                       .only_node = NODE_ANY};
    e.prefix.count = 0;
    if (!w->plain && id / w->id_stride % 2 == 0)
        converse(w, &e);
    began_ns = clock_now_ns();
    step(w, &e, actions);
    took_ns = clock_now_ns() - began_ns;
    must(actions->count == 1 && actions->list[0].kind == ACTION_DISPATCH);
    if (w->ring[at].id != 0) {
        struct event ended = {.kind = EVENT_ENDED};
        ended.ended = (struct event_ended){.request = w->ring[at].id,
                                           .attempt = 1,
                                           .prompt_tokens = 700,
                                           .output_tokens = 150,
                                           .engine_prefill_ms = NAN,
                                           .engine_decode_ms = NAN};
        step(w, &ended, actions);
    }
    w->ring[at].id = id;
    if (id > 200 * w->id_stride) {
        struct event started = {.kind = EVENT_STARTED};
        started.started = (struct event_started){.request = id - 200 * w->id_stride, .attempt = 1};
        step(w, &started, actions);
    }
    for (size_t i = 0; i < reports && !w->silent; i++)
        world_report(w, (uint32_t)rng_below(&w->rng, w->nodes), actions);
    if (id % 20 == 0)
        step(w, &(struct event){.kind = EVENT_TICK}, actions);
    return took_ns;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void
measure(uint32_t nodes, uint32_t parts, const char *suffix)
{
    static uint64_t took_ns[DECISIONS];
    static struct world w;
    struct actions actions;

    world_open(&w, nodes);
    w.plain = (parts & PLAIN) != 0;
    w.silent = (parts & SILENT) != 0;
    w.now_ns += w.silent ? SILENCE_NS : 0;
    for (uint32_t i = 0; i < IN_FLIGHT + 20000u; i++) /* until it is as full as it stays */
        world_turn(&w, &actions);
    for (uint32_t i = 0; i < DECISIONS; i++)
        took_ns[i] = world_turn(&w, &actions);
    qsort(took_ns, DECISIONS, sizeof(took_ns[0]), by_value);
    printf("figure e9_decision_p50_ns%s %llu ns\n", suffix,
           (unsigned long long)took_ns[DECISIONS / 2]);
    printf("figure e9_decision_p99_ns%s %llu ns\n", suffix,
           (unsigned long long)took_ns[DECISIONS / 100 * 99]);
    if (suffix[0] == '\0') { /* 10,000 nodes and everything on: the figure of the product */
        printf("figure decision_p50_ns %llu ns\n", (unsigned long long)took_ns[DECISIONS / 2]);
        printf("figure decision_p99_ns %llu ns\n",
               (unsigned long long)took_ns[DECISIONS / 100 * 99]);
    }
    free(w.memory);
}

static void *
thread_run(void *arg)
{
    struct world *w = arg;
    struct actions actions;

    for (uint32_t i = 0; i < DECISIONS; i++)
        world_turn(w, &actions);
    return NULL;
}

/* Two threads as fast as they can through the door. The door counts holds of any step in buckets
 * of powers of two; printed is the upper edge of the one that the 99th percentile is in. */
static void
measure_lock(uint32_t nodes)
{
    static struct world worlds[THREADS];
    struct core_config c = world_config(nodes);
    struct decide_hold hold;
    pthread_t threads[THREADS];
    uint64_t seen = 0;
    uint32_t bucket = 0;

    memset(worlds, 0, sizeof(worlds));
    must(decide_open(&c, NULL, true, &worlds[0].door) == ERR_OK);
    world_fill(&worlds[0], nodes);
    for (uint32_t i = 0; i < THREADS; i++) {
        worlds[i] = worlds[0];
        rng_init(&worlds[i].rng, 100 + i);
        worlds[i].next_id = THREADS + i;
        worlds[i].id_stride = THREADS;
    }
    for (uint32_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, thread_run, &worlds[i]) == 0);
    for (uint32_t i = 0; i < THREADS; i++)
        must(pthread_join(threads[i], NULL) == 0);
    decide_hold(worlds[0].door, &hold);
    while (bucket < DECIDE_HOLD_BUCKETS && seen + hold.buckets[bucket] < hold.count / 100 * 99)
        seen += hold.buckets[bucket++];
    printf("figure lock_hold_mean_ns %llu ns\n", (unsigned long long)(hold.sum_ns / hold.count));
    printf("figure lock_hold_p99_ns %llu ns\n", 32ull << bucket);
    decide_close(worlds[0].door);
}

int
main(int argc, char **argv)
{
    struct host_use before, after;

    if (argc > 1 && strcmp(argv[1], "--tick") == 0) {
        decision_tick_measure();
        return 0;
    }
    host_use_read(&before);
    measure(100, 0, "_100");
    measure(1000, 0, "_1k");
    measure(10000, 0, "");
    measure(100000, 0, "_100k");
    measure(10000, PLAIN, "_without_prefix");
    measure(10000, SILENT, "_fallback");
    measure_lock(10000);
    decision_tick_measure();
    host_use_read(&after);
    host_use_print_cpu(&before, &after);
    return 0;
}

/* load_time_test - what is told of loads against what they take: who tells 2 s and takes 40 s is
 * planned by 40 s, and so are its class and its other models, until they show otherwise. */
#include "core/load_time.h"

#include "core/state.h"
#include "tap.h"
#include "world.h"

#define SECOND (1000 * WORLD_MS)

static void
model_told(struct world *w, uint32_t node, uint16_t model, uint32_t state, float ready_in_ms)
{
    world_step(w, (struct event){.kind = EVENT_MODEL,
                                 .model = {.node = node,
                                           .model = model,
                                           .state = (uint16_t)state,
                                           .ready_in_ms = ready_in_ms}});
}

/* Nodes 0 and 1 are of one class, node 2 of another; 2 s from disk is what is told of all. */
static void
open_told(struct world *w, uint32_t without)
{
    struct event tuning = {.kind = EVENT_TUNING, .tuning = tuning_default};

    world_open(w, 4, RULE_TIME, 1);
    tuning.tuning.without = without;
    world_step(w, tuning);
    for (uint16_t m = 0; m < 4; m++) {
        for (uint16_t class = 0; class < 2; class ++) {
            struct event e = {
                .kind = EVENT_CURVE,
                .curve = {.model = m, .class = class, .load_ms = 2000.0f, .weights_mib = 1000.0f}};
            e.curve.curve = (struct curve){2.0f, 0.03f, 0.0f, 6.0f, 0.05f, 0.01f};
            world_step(w, e);
        }
    }
    for (uint32_t n = 0; n < 3; n++)
        world_step(w, (struct event){.kind = EVENT_NODE,
                                     .node = {.node = n,
                                              .epoch = 1,
                                              .class = n == 2,
                                              .slots = 8,
                                              .rtt_ms = 1.0f,
                                              .steered = 1,
                                              .memory_mib = 4000.0f,
                                              .fetch_mib_s = 1000.0f}});
}

/* A load from disk that takes so long. */
static void
load(struct world *w, uint32_t node, uint16_t model, float told_ms, uint64_t took_ns)
{
    model_told(w, node, model, MODEL_ON_DISK, NAN);
    w->now_ns += SECOND;
    model_told(w, node, model, MODEL_LOADING, told_ms);
    w->now_ns += took_ns;
    model_told(w, node, model, MODEL_READY, NAN);
    model_told(w, node, model, MODEL_ON_DISK, NAN);
}

static bool
is_near(float x, float low, float high)
{
    if (x < low || x > high)
        printf("# %.0f, wanted %.0f to %.0f\n", (double)x, (double)low, (double)high);
    return x >= low && x <= high;
}

static void
test_from_disk(void)
{
    struct world w;

    open_told(&w, 0);
    model_told(&w, 0, 0, MODEL_ON_DISK, NAN);
    CHECK(load_time_ms(w.core, 0, 0) == 2000.0f, "what is told is believed at first");
    CHECK(load_time_ms(w.core, 0, 1) == 3000.0f, "what is not there is fetched before");
    load(&w, 0, 0, NAN, 40 * SECOND);
    CHECK(is_near(load_time_ms(w.core, 0, 0), 10000.0f, 20000.0f), "once could be chance");
    CHECK(load_time_ms(w.core, 1, 1) == 3000.0f, "it says nothing of fetching");
    for (uint32_t i = 0; i < 10; i++)
        load(&w, 0, 0, NAN, 40 * SECOND);
    CHECK(is_near(load_time_ms(w.core, 0, 0), 32000.0f, 41000.0f), "ten times is how it is");
    model_told(&w, 1, 2, MODEL_ON_DISK, NAN);
    CHECK(is_near(load_time_ms(w.core, 1, 2), 32000.0f, 41000.0f),
          "for models that were never loaded, on all of the class");
    model_told(&w, 2, 2, MODEL_ON_DISK, NAN);
    CHECK(load_time_ms(w.core, 2, 2) == 2000.0f, "not for another class");
    CHECK(load_time_usual_ms(w.core, 3) > 20000.0f, "a load as such is thought dearer, too");
    for (uint32_t i = 0; i < 40; i++)
        load(&w, 0, 0, NAN, 2 * SECOND);
    CHECK(is_near(load_time_ms(w.core, 0, 0), 1900.0f, 2200.0f), "it may get better");
    world_close(&w);
}

/* What a node says while it loads. */
static void
test_told(void)
{
    struct placement_view views[CORE_VIEW_MAX];
    struct world w;
    uint32_t next;

    open_told(&w, 0);
    for (uint32_t i = 0; i < 12; i++)
        load(&w, 0, 0, 2000.0f, 40 * SECOND);
    model_told(&w, 0, 0, MODEL_LOADING, 2000.0f);
    (void)core_view_placements(w.core, w.now_ns, 0, views, &next);
    CHECK(is_near(views[0].ready_in_ms, 32000.0f, 41000.0f), "it says 2 s: 40 are expected");
    w.now_ns += 60 * SECOND;
    (void)core_view_placements(w.core, w.now_ns, 0, views, &next);
    CHECK(is_near(views[0].ready_in_ms, 15000.0f, 30000.0f),
          "late by 20 s: as much again, and not at any moment");
    model_told(&w, 2, 0, MODEL_LOADING, 2000.0f);
    CHECK(load_time_left_ms(w.core, w.now_ns, w.core->cold[2].first_placement) == 2000.0f,
          "others are believed");
    world_close(&w);
}

static void
test_not_learned(void)
{
    struct world w;

    open_told(&w, 0);
    model_told(&w, 0, 1, MODEL_LOADING, NAN);
    w.now_ns += 40 * SECOND;
    model_told(&w, 0, 1, MODEL_READY, NAN);
    CHECK(w.core->any_load.count == 0.0f, "nobody knows when it began");
    model_told(&w, 0, 2, MODEL_ON_DISK, NAN);
    model_told(&w, 0, 3, MODEL_ON_DISK, NAN);
    model_told(&w, 0, 2, MODEL_LOADING, NAN);
    model_told(&w, 0, 3, MODEL_LOADING, NAN);
    w.now_ns += 40 * SECOND;
    model_told(&w, 0, 3, MODEL_READY, NAN);
    CHECK(w.core->any_load.count == 0.0f, "it waited behind another one");
    model_told(&w, 0, 2, MODEL_FAILED, NAN);
    CHECK(w.core->any_load.count == 0.0f, "it failed");
    world_close(&w);
    open_told(&w, WITHOUT_LOAD_TIMES);
    for (uint32_t i = 0; i < 4; i++)
        load(&w, 0, 0, 2000.0f, 40 * SECOND);
    CHECK(load_time_ms(w.core, 0, 0) == 2000.0f && w.core->any_load.count == 0.0f,
          "without it all is believed");
    world_close(&w);
}

/* An engine that says nothing while it loads: the request that woke it waits, a second one less. */
static void
test_cold_requests(void)
{
    struct world w;
    float one;

    open_told(&w, 0);
    model_told(&w, 0, 0, MODEL_ON_DISK, NAN);
    CHECK(world_arrive(&w, 1, 0) == 0, "it is sent there, nobody else has it");
    w.now_ns += 30 * SECOND;
    CHECK(world_arrive(&w, 2, 0) == 0, "another one comes while it loads");
    w.now_ns += 10 * SECOND;
    world_started(&w, 1, 1);
    one = w.core->any_load.ln;
    CHECK(w.core->any_load.count == 1.0f && is_near(one, 1.5f, 2.5f), "the first one tells");
    world_started(&w, 2, 1);
    CHECK(w.core->any_load.count == 1.0f, "the second one does not");
    world_ended(&w, 1, 1, 50);
    world_ended(&w, 2, 1, 50);
    model_told(&w, 0, 0, MODEL_ON_DISK, NAN);
    CHECK(world_arrive(&w, 3, 0) == 0, "it went, and is asked for again");
    model_told(&w, 0, 0, MODEL_LOADING, NAN);
    w.now_ns += 40 * SECOND;
    model_told(&w, 0, 0, MODEL_READY, NAN);
    world_started(&w, 3, 1);
    CHECK(w.core->any_load.count == 2.0f, "what its states tell counts once");
    CHECK(world_arrive(&w, 4, 0) == 0, "it is ready");
    world_started(&w, 4, 1);
    CHECK(w.core->any_load.count == 2.0f, "and nobody waited");
    world_close(&w);
}

int
main(void)
{
    test_from_disk();
    test_told();
    test_not_learned();
    test_cold_requests();
    return tap_done();
}

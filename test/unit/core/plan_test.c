/* plan_test - which models plan wants where, in virtual time: what earns a load, which place it
 * takes, what gives way, and what never does. */
#include "core/state.h"

#include "tap.h"
#include "world.h"

#define SECOND    (1000 * WORLD_MS)
#define WEIGHTS   1000.0f /* MiB of each model */
#define LOAD_MS   5000.0f /* from disk */
#define FAR       3u      /* region, 200 ms away; the own one is 0 */
#define FAR_NODE  9u
#define DECODE_MS 350.0f /* of an answer, as the curve has it */

struct seen { /* directives of a run */
    uint32_t loads, unloads, load_node, load_model, unload_model, reason;
    bool is_deaf;    /* nobody does what they say */
    float decode_ms; /* of each answer; 0: DECODE_MS */
};

static uint64_t next_id;

static void
model_told(struct world *w, uint32_t node, uint16_t model, uint32_t state, uint32_t pinned)
{
    world_step(w, (struct event){.kind = EVENT_MODEL,
                                 .model = {.node = node,
                                           .model = model,
                                           .state = (uint16_t)state,
                                           .ready_in_ms = 1000.0f,
                                           .pinned = pinned}});
}

/* It is ready, and has so many slots of its own. */
static void
ready_told(struct world *w, uint32_t node, uint16_t model, uint32_t slots)
{
    world_step(w, (struct event){.kind = EVENT_MODEL,
                                 .model = {.node = node,
                                           .model = model,
                                           .state = MODEL_READY,
                                           .ready_in_ms = NAN,
                                           .slots = slots}});
}

static void
node_told(struct world *w, uint32_t node, uint16_t region, float memory_mib, float fetch_mib_s,
          uint32_t state)
{
    world_step(w, (struct event){.kind = EVENT_NODE,
                                 .node = {.node = node,
                                          .epoch = 1,
                                          .region = region,
                                          .slots = 8,
                                          .rtt_ms = region == FAR ? 200.0f : 1.0f,
                                          .state = state,
                                          .steered = memory_mib > 0.0f,
                                          .memory_mib = memory_mib,
                                          .fetch_mib_s = fetch_mib_s}});
    world_step(w, (struct event){.kind = EVENT_RTT,
                                 .rtt = {.node = node, .rtt_ms = region == FAR ? 200.0f : 1.0f}});
}

/* Models 0..3 of equal size; model 0 is ready far away, where nothing can be steered. */
static void
open_far(struct world *w)
{
    world_open(w, 16, RULE_TIME, 1);
    for (uint16_t m = 0; m < 4; m++) {
        struct event e = {.kind = EVENT_CURVE,
                          .curve = {.model = m, .load_ms = LOAD_MS, .weights_mib = WEIGHTS}};
        e.curve.curve = (struct curve){2.0f, 0.03f, 0.0f, 6.0f, 0.05f, 0.01f};
        world_step(w, e);
    }
    node_told(w, FAR_NODE, FAR, 0.0f, 0.0f, NODE_READY);
    model_told(w, FAR_NODE, 0, MODEL_READY, 0);
}

/* What is to go goes at once; of loads nobody says anything. */
static void
look(struct world *w, struct seen *s)
{
    const struct actions actions = w->actions;

    for (uint32_t i = 0; i < actions.count; i++) {
        const struct action *a = &actions.list[i];
        if (a->kind == ACTION_LOAD) {
            s->loads++;
            s->load_node = a->plan.node;
            s->load_model = a->plan.model;
            s->reason = a->plan.reason;
        } else if (a->kind == ACTION_UNLOAD) {
            s->unloads++;
            s->unload_model = a->plan.model;
            if (!s->is_deaf)
                model_told(w, a->plan.node, a->plan.model, MODEL_SLEEPING, 0);
        }
    }
}

/* It is answered; how long that took the engine says. */
static void
answered(struct world *w, uint64_t id, const struct seen *s)
{
    world_started(w, id, 1);
    world_step(w, (struct event){.kind = EVENT_ENDED,
                                 .ended = {.request = id,
                                           .attempt = 1,
                                           .prompt_tokens = 476,
                                           .output_tokens = 50,
                                           .engine_prefill_ms = 16.0f,
                                           .engine_decode_ms = s->decode_ms > 0.0f ? s->decode_ms
                                                                                   : DECODE_MS}});
}

/* For so long: `each` requests a second for the model, each answered at once, and ten ticks. */
static void
live(struct world *w, uint16_t model, uint32_t each, uint32_t seconds, struct seen *s)
{
    for (uint32_t i = 0; i < seconds * 10; i++) {
        w->now_ns += 100 * WORLD_MS;
        for (uint32_t k = i * each / 10; k < (i + 1) * each / 10; k++) {
            uint64_t id = ++next_id;
            if (world_arrive(w, id, model) == NODE_ANY)
                continue;
            answered(w, id, s);
        }
        for (uint32_t n = 0; n < 10; n += 9)
            world_report(w, n, 0.0f, 0.0f);
        world_step(w, (struct event){.kind = EVENT_TICK});
        look(w, s);
    }
}

/* ---- Where it goes, and what gives way. Node 0 stands here, with room for two models. */

static const struct {
    const char *label;
    float memory_mib, fetch_mib_s;
    uint32_t asleep; /* state of model 0 there; 0: it is not */
    bool has_others; /* models 1 and 2 are ready there */
    uint32_t pinned; /* both */
    uint32_t told;   /* requests/s that another region wants of both */
    uint32_t state;
    uint32_t loads, unloads;
} places[] = {
    {"free memory: nothing gives way", 2000, 1000, 0, false, 0, 0, NODE_READY, 1, 0},
    {"full: who is not asked for gives way", 2000, 1000, 0, true, 0, 0, NODE_READY, 1, 1},
    {"pinned ones stay", 2000, 1000, 0, true, 1, 0, NODE_READY, 0, 0},
    {"the last copies of what others ask for stay", 2000, 1000, 0, true, 0, 50, NODE_READY, 0, 0},
    {"it cannot fetch", 2000, 0, 0, false, 0, 0, NODE_READY, 0, 0},
    {"but it has it on disk", 2000, 0, MODEL_ON_DISK, false, 0, 0, NODE_READY, 1, 0},
    {"or asleep", 2000, 0, MODEL_SLEEPING, false, 0, 0, NODE_READY, 1, 0},
    {"or asleep until it is woken", 2000, 0, MODEL_DORMANT, false, 0, 0, NODE_READY, 1, 0},
    {"what failed there is not tried", 2000, 1000, MODEL_FAILED, false, 0, 0, NODE_READY, 0, 0},
    {"too small", 900, 1000, 0, false, 0, 0, NODE_READY, 0, 0},
    {"it drains", 2000, 1000, 0, false, 0, 0, NODE_DRAIN, 0, 0},
    {"not steered", 0, 1000, 0, false, 0, 0, NODE_READY, 0, 0},
};

static void
test_places(void)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct world w;
        struct seen s = {0};

        open_far(&w);
        node_told(&w, 0, 0, places[i].memory_mib, places[i].fetch_mib_s, places[i].state);
        if (places[i].asleep != 0)
            model_told(&w, 0, 0, places[i].asleep, 0);
        for (uint16_t m = 1; m < 3 && places[i].has_others; m++) {
            model_told(&w, 0, m, MODEL_READY, places[i].pinned);
            world_step(&w, (struct event){.kind = EVENT_DEMAND,
                                          .demand = {.model = m,
                                                     .region = 5,
                                                     .requests_s = (float)places[i].told,
                                                     .usual_requests_s = (float)places[i].told}});
        }
        live(&w, 0, 5, 25, &s);
        CHECK(s.loads == places[i].loads && s.unloads == places[i].unloads, places[i].label);
        CHECK(s.loads == 0 || (s.load_node == 0 && s.load_model == 0 && s.reason == PLAN_SPILLED),
              places[i].label);
        world_close(&w);
    }
}

static void
test_earned(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    node_told(&w, 0, 0, 2000.0f, 1000.0f, NODE_READY);
    live(&w, 0, 5, 2, &s);
    CHECK(s.loads == 0, "ten requests that went far have not cost as much as a load");
    live(&w, 0, 5, 20, &s);
    CHECK(s.loads == 1, "a hundred have, and one load is asked for once");
    live(&w, 0, 5, 20, &s);
    CHECK(s.loads == 2, "who says nothing for half a minute is asked again");
    model_told(&w, 0, 0, MODEL_LOADING, 0);
    live(&w, 0, 5, 40, &s);
    CHECK(s.loads == 2, "what is loading is not asked for");
    model_told(&w, 0, 0, MODEL_READY, 0);
    live(&w, 0, 2, 60, &s);
    CHECK(s.loads == 2 && s.unloads == 0, "what is here is enough");
    world_close(&w);
}

/* The node refuses, or its engine fails: what it has is told with it. */
static void
test_denied(void)
{
    const struct event no = {
        .kind = EVENT_MODEL,
        .model = {.model = 0, .state = MODEL_ON_DISK, .ready_in_ms = NAN, .denied = 1}};
    struct plan_view views[CORE_VIEW_MAX];
    struct world w;
    struct seen s = {0};
    uint32_t next;

    open_far(&w);
    node_told(&w, 0, 0, 2000.0f, 0.0f, NODE_READY);
    model_told(&w, 0, 0, MODEL_ON_DISK, 0);
    live(&w, 0, 5, 20, &s);
    CHECK(s.loads == 1, "a load is asked for");
    world_step(&w, no);
    CHECK(core_view_plan(w.core, w.now_ns, 0, views, &next) == 1 && views[0].state == PLAN_FAILED,
          "the node does not do it");
    live(&w, 0, 5, 90, &s);
    CHECK(s.loads == 1, "it is not asked for the same at once");
    live(&w, 0, 5, 35, &s);
    CHECK(s.loads == 2, "but some minutes later");
    world_close(&w);
}

/* Others take nodes over, and give them back. */
static void
test_ring(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    for (uint32_t n = 0; n < 5; n++)
        node_told(&w, 2 * n, 0, 2000.0f, 0.0f, NODE_READY);
    for (uint32_t n = 0; n < 5; n++)
        node_told(&w, 2 * n, 0, n == 3 ? 2000.0f : 0.0f, 0.0f, NODE_READY);
    for (uint32_t n = 0; n < 5; n++)
        model_told(&w, 2 * n, 0, MODEL_ON_DISK, 0);
    live(&w, 0, 5, 25, &s);
    CHECK(s.loads == 1 && s.load_node == 6, "the one that is left is asked");
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 6, .epoch = 2}});
    live(&w, 0, 5, 60, &s);
    CHECK(s.loads == 1, "nobody is left");
    node_told(&w, 4, 0, 2000.0f, 0.0f, NODE_READY);
    live(&w, 0, 5, 25, &s);
    CHECK(s.loads == 2 && s.load_node == 4, "one is given back");
    world_close(&w);
}

static void
test_nowhere(void)
{
    static const struct {
        const char *label;
        float elsewhere; /* requests/s that another region tells */
        uint32_t loads;
    } rows[] = {{"ready nowhere, and most asked for here", 0.1f, 1},
                {"another region wants it more: it is theirs to load", 50.0f, 0}};

    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct seen s = {0};

        open_far(&w);
        node_told(&w, 0, 0, 2000.0f, 1000.0f, NODE_READY);
        world_step(&w, (struct event){.kind = EVENT_DEMAND,
                                      .demand = {.model = 3,
                                                 .region = 5,
                                                 .requests_s = rows[i].elsewhere,
                                                 .usual_requests_s = rows[i].elsewhere}});
        if (i == 0)
            world_arrive(&w, ++next_id, 3);
        live(&w, 3, i == 0 ? 2 : 0, 5, &s);
        CHECK((s.loads > 0) == (rows[i].loads > 0), rows[i].label);
        world_close(&w);
    }
}

/* Model 1 is here, its last copy; it goes for model 0. Then it is asked for again. */
static void
test_stays_away(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    model_told(&w, FAR_NODE, 1, MODEL_READY, 0);
    node_told(&w, 0, 0, 1000.0f, 1000.0f, NODE_READY);
    model_told(&w, 0, 1, MODEL_READY, 0);
    live(&w, 1, 1, 120, &s);
    CHECK(s.loads == 0, "it is here");
    live(&w, 0, 40, 10, &s);
    CHECK(s.loads == 1 && s.unloads == 1 && s.unload_model == 1, "it gives way to one worth more");
    model_told(&w, 0, 1, MODEL_ABSENT, 0);
    model_told(&w, 0, 0, MODEL_LOADING, 0);
    model_told(&w, 0, 0, MODEL_READY, 0);
    s = (struct seen){0};
    live(&w, 1, 1, 80, &s);
    CHECK(s.loads == 0, "what went does not come back at once");
    world_close(&w);
}

/* A copy takes four requests at once (8 slots, room for two): more are expected. */
static void
test_headroom(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    for (uint32_t n = 0; n < 3; n++)
        node_told(&w, n, 0, 2000.0f, 1000.0f, NODE_READY);
    model_told(&w, 0, 0, MODEL_READY, 0);
    live(&w, 0, 2, 60, &s);
    CHECK(s.loads == 0, "one copy takes what there is");
    live(&w, 0, 60, 60, &s);
    CHECK(s.loads > 0 && s.load_model == 0 && s.load_node != 0 && s.reason == PLAN_HEADROOM,
          "more is asked for than it takes at once: another one, before anybody waits");
    world_close(&w);
}

/* Two copies, each on a node that is full, and a third node; model 3 is nowhere else. So many
 * requests a second, and how long one takes, make how many are there at once: 18 of usual ones. */
static void
test_room(void)
{
    static const struct {
        const char *label;
        uint32_t slots[3]; /* of each model: where the copies are, and at the third */
        float decode_ms;
        uint32_t loads;
    } rows[] = {
        {"they take it", {16, 16, 16}, 0.0f, 0},
        {"each has its own, whatever there is at the third", {4, 8, 64}, 0.0f, 1},
        {"the large one takes it, though the third is small", {4, 64, 4}, 0.0f, 0},
        {"answers take longer than is told", {16, 16, 16}, 4.0f * DECODE_MS, 1},
        {"or less long", {4, 16, 16}, 0.25f * DECODE_MS, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        struct seen s = {.decode_ms = rows[i].decode_ms};

        open_far(&w);
        for (uint32_t n = 0; n < 3; n++) {
            node_told(&w, n, 0, n == 2 ? 2000.0f : 1000.0f, 1000.0f, NODE_READY);
            ready_told(&w, n, n == 2 ? 1 : 3, rows[i].slots[n]);
        }
        live(&w, 3, 50, 30, &s);
        CHECK(s.loads == rows[i].loads, rows[i].label);
        CHECK(s.loads == 0 || (s.load_model == 3 && s.load_node == 2), rows[i].label);
        world_close(&w);
    }
}

/* Some are held: more are there than its copies take, however few came in the last half minute. */
static void
test_held(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    for (uint32_t n = 0; n < 2; n++)
        node_told(&w, n, 0, 1000.0f, 1000.0f, NODE_READY);
    ready_told(&w, 0, 3, 16);
    for (uint32_t i = 0; i < 30; i++) /* as many as may wait there, too, but two */
        (void)world_arrive(&w, ++next_id, 3);
    live(&w, 3, 0, 3, &s);
    CHECK(w.core->fair.held == 0 && s.loads == 0, "nobody is held: one copy is enough");
    for (uint32_t i = 0; i < 30; i++)
        (void)world_arrive(&w, ++next_id, 3);
    live(&w, 3, 0, 3, &s);
    CHECK(w.core->fair.held > 0 && s.loads == 1 && s.load_model == 3 && s.load_node == 1,
          "who is held is there");
    world_close(&w);
}

/* Eight nodes are here, all four models are asked for, and nobody tells how it goes. */
static void
test_at_once(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    for (uint16_t m = 1; m < 4; m++)
        model_told(&w, FAR_NODE, m, MODEL_READY, 0);
    for (uint32_t n = 0; n < 8; n++)
        node_told(&w, n, 0, 4000.0f, 1000.0f, NODE_READY);
    for (uint16_t m = 0; m < 4; m++)
        live(&w, m, 20, 4, &s);
    CHECK(s.loads == 2, "a quarter of the nodes loads at once");
    model_told(&w, s.load_node, (uint16_t)s.load_model, MODEL_LOADING, 0);
    model_told(&w, s.load_node, (uint16_t)s.load_model, MODEL_READY, 0);
    for (uint16_t m = 0; m < 4; m++)
        live(&w, m, 20, 1, &s);
    CHECK(s.loads == 3, "when one is done the next may");
    world_close(&w);
}

static void
test_view(void)
{
    struct plan_view views[CORE_VIEW_MAX];
    struct world w;
    struct seen s = {0};
    uint32_t next, count;

    open_far(&w);
    node_told(&w, 0, 0, 1000.0f, 1000.0f, NODE_READY);
    model_told(&w, 0, 2, MODEL_READY, 0);
    CHECK(core_view_plan(w.core, w.now_ns, 0, views, &next) == 0 && next == UINT32_MAX, "none yet");
    live(&w, 0, 5, 20, &s);
    count = core_view_plan(w.core, w.now_ns, 0, views, &next);
    CHECK(count == 2 && views[0].load == 1 && views[0].model == 0 && views[0].worth_ms_s > 0.0f &&
              views[0].state == PLAN_ASKED && views[0].load_ms == LOAD_MS + 1000.0f,
          "the load, the last first");
    CHECK(views[1].load == 0 && views[1].model == 2 && views[1].reason == PLAN_GIVES_WAY,
          "and what gives way to it");
    model_told(&w, 0, 0, MODEL_LOADING, 0);
    (void)core_view_plan(w.core, w.now_ns, 0, views, &next);
    CHECK(views[0].state == PLAN_LOADING && views[1].state == PLAN_DONE, "what became of them");
    model_told(&w, 0, 0, MODEL_FAILED, 0);
    (void)core_view_plan(w.core, w.now_ns, 0, views, &next);
    CHECK(views[0].state == PLAN_FAILED, "that it failed");
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 1}});
    s = (struct seen){0};
    live(&w, 0, 5, 60, &s);
    CHECK(s.loads == 0, "who left is not asked");
    world_close(&w);
}

static void
size_told(struct world *w, uint16_t model, float weights_mib)
{
    struct event e = {.kind = EVENT_CURVE,
                      .curve = {.model = model, .load_ms = LOAD_MS, .weights_mib = weights_mib}};

    e.curve.curve = (struct curve){2.0f, 0.03f, 0.0f, 6.0f, 0.05f, 0.01f};
    world_step(w, e);
}

/* Model 0 needs more than one of the others gives; node 0 has them all. */
static const struct {
    const char *label;
    float sizes[4]; /* MiB */
    float memory_mib;
    uint32_t pinned; /* model 3 */
    uint32_t loads, unloads;
} several[] = {
    {"two make room for one", {2000, 1000, 1000, 1000}, 3000, 0, 1, 2},
    {"all of them, if need be", {3000, 1000, 1000, 1000}, 3000, 0, 1, 3},
    {"what is large enough goes alone", {2000, 500, 2500, 500}, 3500, 0, 1, 1},
    {"no more than it takes", {2000, 100, 1900, 1000}, 3000, 0, 1, 2},
    {"what is free counts", {2000, 1000, 1000, 1000}, 4000, 0, 1, 1},
    {"what is pinned does not", {3000, 1000, 1000, 1000}, 3000, 1, 0, 0},
    {"nobody goes for what does not fit", {4000, 1000, 1000, 1000}, 3000, 0, 0, 0},
};

static void
test_several(void)
{
    for (size_t i = 0; i < sizeof(several) / sizeof(several[0]); i++) {
        struct world w;
        struct seen s = {0};

        open_far(&w);
        for (uint16_t m = 0; m < 4; m++)
            size_told(&w, m, several[i].sizes[m]);
        node_told(&w, 0, 0, several[i].memory_mib, 1000.0f, NODE_READY);
        for (uint16_t m = 1; m < 4; m++)
            model_told(&w, 0, m, MODEL_READY, m == 3 ? several[i].pinned : 0);
        live(&w, 0, 5, 25, &s);
        CHECK(s.loads == several[i].loads && s.unloads == several[i].unloads, several[i].label);
        world_close(&w);
    }
}

/* Nothing is loaded before there is room; what gave way for nothing comes back, and no other goes
 * for what can not be loaded. */
static void
test_fails(void)
{
    struct world w;
    struct seen s = {.is_deaf = true};

    open_far(&w);
    size_told(&w, 0, 2000.0f);
    node_told(&w, 0, 0, 2000.0f, 1000.0f, NODE_READY);
    model_told(&w, 0, 1, MODEL_READY, 0);
    model_told(&w, 0, 2, MODEL_READY, 0);
    world_step(
        &w,
        (struct event){
            .kind = EVENT_DEMAND,
            .demand = {.model = 1, .region = 5, .requests_s = 0.05f, .usual_requests_s = 0.05f}});
    live(&w, 0, 5, 25, &s);
    CHECK(s.unloads == 2 && s.loads == 0, "both are to go; while they stay nothing loads");
    model_told(&w, 0, 1, MODEL_SLEEPING, 0);
    live(&w, 0, 5, 1, &s);
    CHECK(s.loads == 0, "one of them is not enough");
    model_told(&w, 0, 2, MODEL_SLEEPING, 0);
    live(&w, 0, 5, 1, &s);
    CHECK(s.loads == 1 && s.load_model == 0, "when there is room it is loaded");
    model_told(&w, 0, 0, MODEL_LOADING, 0);
    model_told(&w, 0, 0, MODEL_FAILED, 0);
    s = (struct seen){0};
    live(&w, 1, 0, 5, &s);
    CHECK(s.loads == 1 && s.load_model == 1 && s.reason == PLAN_RETURNS,
          "it can not be loaded: what gave way comes back at once");
    model_told(&w, 0, 1, MODEL_LOADING, 0);
    model_told(&w, 0, 1, MODEL_READY, 0);
    model_told(&w, 0, 0, MODEL_ON_DISK, 0);
    s = (struct seen){0};
    live(&w, 0, 5, 60, &s);
    CHECK(s.loads == 0 && s.unloads == 0, "and does not give way to it again");
    live(&w, 0, 5, 600, &s);
    CHECK(s.unloads == 1 && s.unload_model == 1, "until it may try once more");
    world_close(&w);
}

/* More models on a node than are kept: those in memory are, in place of those on disk. */
static void
test_too_many(void)
{
    const struct core_config c = {.seed = 1,
                                  .nodes_max = 1,
                                  .models_max = CORE_NODE_MODELS_MAX + 8,
                                  .regions_max = 1,
                                  .classes_max = 1,
                                  .placements_max = 2 * CORE_NODE_MODELS_MAX,
                                  .requests_max = 4};
    struct placement_view views[CORE_VIEW_MAX];
    struct world w = {.now_ns = 1000 * WORLD_MS};
    uint32_t count, next, ready = 0;
    uint16_t m = 0;

    w.memory = aligned_alloc(64, core_bytes(&c));
    must(w.memory != NULL);
    memset(w.memory, 0, core_bytes(&c));
    must(core_init(w.memory, core_bytes(&c), &c, &w.core) == ERR_OK);
    node_told(&w, 0, 0, 4000.0f, 1000.0f, NODE_READY);
    for (; m < CORE_NODE_MODELS_MAX; m++)
        model_told(&w, 0, m, m < 2 ? MODEL_READY : MODEL_ON_DISK, 0);
    model_told(&w, 0, m++, MODEL_ON_DISK, 0);
    model_told(&w, 0, m++, MODEL_READY, 0);
    model_told(&w, 0, m++, MODEL_LOADING, 0);
    count = core_view_placements(w.core, w.now_ns, 0, views, &next);
    for (uint32_t i = 0; i < count; i++)
        ready += views[i].state == MODEL_READY || views[i].state == MODEL_LOADING;
    CHECK(count == CORE_NODE_MODELS_MAX && ready == 4, "what is in memory is known");
    world_close(&w);
}

/* Several gateways of a region see the same need: one after the other may load for it. */
static void
test_turns(void)
{
    static const struct {
        const char *label;
        uint32_t planners, place; /* model 0 is the one's with place 0 */
        uint32_t seconds;
        bool is_loaded_by_other; /* at once, on a node of its own */
        uint32_t loads;
    } rows[] = {
        {"alone", 1, 0, 3, false, 1},
        {"our turn: at once", 3, 0, 3, false, 1},
        {"not ours", 3, 1, 3, false, 0},
        {"the first did nothing: it may have no node that fits", 3, 1, 8, false, 1},
        {"nor did the second", 3, 2, 8, false, 0},
        {"but then", 3, 2, 13, false, 1},
        {"the first loads it: there is no need any more", 3, 1, 20, true, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct event e = {.kind = EVENT_GATEWAYS,
                          .gateways = {.count = rows[i].planners,
                                       .planners = rows[i].planners,
                                       .place = rows[i].place}};
        struct world w;
        struct seen s = {0};

        open_far(&w);
        world_step(&w, e);
        node_told(&w, 0, 0, 2000.0f, 1000.0f, NODE_READY);
        node_told(&w, 1, 0, 0.0f, 0.0f, NODE_READY); /* another gateway steers this one */
        live(&w, 3, 2, 1, &s);                       /* it is ready nowhere */
        if (rows[i].is_loaded_by_other)
            model_told(&w, 1, 3, MODEL_LOADING, 0);
        live(&w, 3, 2, rows[i].seconds - 1, &s);
        CHECK((s.loads > 0) == (rows[i].loads > 0), rows[i].label);
        world_close(&w);
    }
}

/* One copy is on a node of another gateway, and what is asked for most comes there, too: all of it
 * counts for us. */
static void
test_others_count(void)
{
    struct world w;
    struct seen s = {0};

    open_far(&w);
    node_told(&w, 0, 0, 2000.0f, 1000.0f, NODE_READY);
    node_told(&w, 1, 0, 0.0f, 0.0f, NODE_READY);
    model_told(&w, 1, 0, MODEL_READY, 0);
    live(&w, 0, 1, 30, &s);
    CHECK(s.loads == 0, "one copy takes what there is");
    world_step(&w, (struct event){.kind = EVENT_DEMAND,
                                  .demand = {.model = 0,
                                             .region = 0,
                                             .requests_s = 60.0f,
                                             .usual_requests_s = 60.0f,
                                             .ahead_requests_s = 60.0f}});
    live(&w, 0, 1, 5, &s);
    CHECK(s.loads == 1 && s.load_node == 0 && s.reason == PLAN_HEADROOM,
          "others ask for more than it takes: a second one is loaded here");
    world_close(&w);
}

int
main(void)
{
    test_turns();
    test_others_count();
    test_places();
    test_earned();
    test_denied();
    test_ring();
    test_nowhere();
    test_stays_away();
    test_headroom();
    test_room();
    test_held();
    test_at_once();
    test_view();
    test_several();
    test_fails();
    test_too_many();
    return tap_done();
}

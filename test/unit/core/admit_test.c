/* admit_test - now, later, elsewhere or not at all, in virtual time: what each kind of request gets
 * when its only node is idle, full, or slow to empty, and that nothing is lost under hostile
 * events.
 */
#include "core/admit.h"

#include "base/rng.h"
#include "core/tuning.h"
#include "tap.h"
#include "world.h"

#define SLOTS 4u /* of the node; one more may wait there */

struct ask {
    float deadline_ms;
    uint16_t model, other_model, priority, tenant;
};

static const struct ask plain = {
    .deadline_ms = NAN, .other_model = MODEL_NONE, .priority = PRIORITY_NORMAL};

/* One node for model 0, known to have no queue; another for model 1. */
static void
world_small(struct world *w)
{
    world_open(w, 4, RULE_TIME, 1);
    for (uint32_t node = 0; node < 2; node++) {
        world_node(w, node, 0, 5.0f, (uint16_t)node, MODEL_READY);
        world_step(w, (struct event){.kind = EVENT_NODE,
                                     .node = {.node = node,
                                              .epoch = 1,
                                              .slots = node == 0 ? SLOTS : 64,
                                              .rtt_ms = 5.0f}});
        world_report(w, node, 0.0f, 0.0f);
    }
}

static void
arrive(struct world *w, uint64_t id, struct ask ask)
{
    world_step(w, (struct event){.kind = EVENT_ARRIVED,
                                 .arrived = {.request = id,
                                             .model = ask.model,
                                             .other_model = ask.other_model,
                                             .priority = ask.priority,
                                             .tenant = ask.tenant,
                                             .prompt_bytes = 2000,
                                             .body_bytes = 2100,
                                             .max_tokens = 100,
                                             .stream = 1,
                                             .deadline_ms = ask.deadline_ms,
                                             .tpot_goal_ms = NAN,
                                             .only_node = NODE_ANY}});
}

/* What the last step decided about this request; NULL: nothing. */
static const struct action *
about(const struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->actions.count; i++) {
        if (w->actions.list[i].dispatch.request == id)
            return &w->actions.list[i];
    }
    return NULL;
}

static enum action_kind
kind(const struct world *w, uint64_t id)
{
    const struct action *a = about(w, id);

    return a != NULL ? (enum action_kind)a->kind : ACTION_NONE;
}

static uint64_t
fill(struct world *w)
{
    uint64_t id = 1;

    for (; id <= SLOTS + 1; id++) {
        arrive(w, id, plain);
        must(kind(w, id) == ACTION_DISPATCH);
    }
    return id;
}

static void
tick_for(struct world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && w->actions.count == 0; i += 10) {
        w->now_ns += 10 * WORLD_MS;
        world_step(w, (struct event){.kind = EVENT_TICK});
    }
}

/* Time passes, nothing becomes free: what is held goes to its other model, or is refused. */
static void
check_end(struct world *w, uint64_t id, const struct ask *ask, uint32_t after_ms,
          enum refusal refusal)
{
    w->actions.count = 0;
    tick_for(w, after_ms);
    CHECK(about(w, id) != NULL, "and it ends in time");
    if (ask->other_model == 1)
        CHECK(kind(w, id) == ACTION_DISPATCH && about(w, id)->dispatch.model == 1 &&
                  about(w, id)->dispatch.node == 1 &&
                  w->actions.decision.admission == ADMISSION_OTHER_MODEL,
              "with the other model");
    else
        CHECK(kind(w, id) == ACTION_REFUSE &&
                  about(w, id)->refuse.refusal == (refusal != 0 ? refusal : REFUSAL_SHED) &&
                  about(w, id)->refuse.retry_after_ms > 0.0f,
              "refused, with a time to come again");
}

/* What a newcomer gets at a node with nothing or with all it may have in flight. */
static void
test_newcomers(void)
{
    static const struct {
        const char *label;
        bool full;
        struct ask ask;
        enum action_kind want;
        enum refusal refusal;
        uint32_t ends_after_ms; /* 0: not looked at */
    } rows[] = {
        {"room: it goes", false, {NAN, 0, MODEL_NONE, 1, 0}, ACTION_DISPATCH, 0, 0},
        {"a deadline that is met", false, {2000, 0, MODEL_NONE, 1, 0}, ACTION_DISPATCH, 0, 0},
        {"one that no node could meet",
         false,
         {20, 0, MODEL_NONE, 1, 0},
         ACTION_REFUSE,
         REFUSAL_DEADLINE,
         0},
        {"nor could the other model", false, {20, 0, 1, 1, 0}, ACTION_REFUSE, REFUSAL_DEADLINE, 0},
        {"full: held", true, {NAN, 0, MODEL_NONE, 1, 0}, ACTION_HOLD, 0, 121000},
        {"full, with time: held until it is too late",
         true,
         {1000, 0, MODEL_NONE, 1, 0},
         ACTION_HOLD,
         REFUSAL_DEADLINE,
         1000},
        {"full, no time: refused",
         true,
         {20, 0, MODEL_NONE, 1, 0},
         ACTION_REFUSE,
         REFUSAL_DEADLINE,
         0},
        {"full, and another model is allowed: held for a while",
         true,
         {NAN, 0, 1, 1, 0},
         ACTION_HOLD,
         0,
         2100},
        {"a model that does not exist is none", true, {NAN, 0, 77, 1, 0}, ACTION_HOLD, 0, 121000},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        uint64_t id = 100;
        world_small(&w);
        if (rows[i].full)
            (void)fill(&w);
        arrive(&w, id, rows[i].ask);
        CHECK(kind(&w, id) == rows[i].want, rows[i].label);
        if (rows[i].want == ACTION_REFUSE)
            CHECK(about(&w, id)->refuse.refusal == rows[i].refusal, "for that reason");
        if (rows[i].ends_after_ms > 0)
            check_end(&w, id, &rows[i].ask, rows[i].ends_after_ms, rows[i].refusal);
        world_close(&w);
    }
}

/* A step that frees something lets the next one go: which event, and who. */
static void
test_release(void)
{
    struct world w;
    uint64_t id;

    world_small(&w);
    id = fill(&w);
    arrive(&w, id, plain);
    arrive(&w, id + 1, (struct ask){NAN, 0, MODEL_NONE, PRIORITY_HIGH, 0});
    CHECK(kind(&w, id + 1) == ACTION_HOLD, "the highest class is held too when all is taken");
    w.now_ns += 500 * WORLD_MS;
    world_started(&w, 1, 1);
    CHECK(w.actions.count == 0, "a first token frees no place");
    world_ended(&w, 1, 1, 50);
    CHECK(kind(&w, id + 1) == ACTION_DISPATCH, "an end does, for the highest class first");
    CHECK(w.actions.decision.request == id + 1 &&
              w.actions.decision.admission == ADMISSION_AFTER_HOLD &&
              w.actions.decision.held_ms == 500.0f,
          "the decision says whose it is, and how long it was held");
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id + 1}});
    CHECK(kind(&w, id) == ACTION_DISPATCH || w.actions.count == 0,
          "who leaves frees a place as well");
    tick_for(&w, 20000);
    world_close(&w);

    world_small(&w);
    id = fill(&w);
    arrive(&w, id, plain);
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
    world_ended(&w, 1, 1, 50);
    CHECK(w.actions.count == 0, "nobody is held once the one that was has left");
    arrive(&w, id, plain);
    CHECK(kind(&w, id) == ACTION_DISPATCH, "and the place is free for the next");
    world_close(&w);
}

/* Events about a former attempt of one that is held now are late. */
static void
test_held_retry(void)
{
    struct world w;
    uint64_t id;

    world_small(&w);
    world_node(&w, 2, 0, 5.0f, 0, MODEL_READY);
    world_step(&w, (struct event){.kind = EVENT_NODE,
                                  .node = {.node = 2, .epoch = 1, .slots = 1, .rtt_ms = 5.0f}});
    for (id = 1; id < 100; id++) {
        arrive(&w, id, plain);
        if (kind(&w, id) != ACTION_DISPATCH)
            break;
    }
    CHECK(kind(&w, id) == ACTION_HOLD, "both nodes are full");
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
    world_failed(&w, 1, 1, FAILURE_CONNECT, 0);
    CHECK(kind(&w, 1) == ACTION_HOLD, "a retry waits for room as well");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 50);
    world_failed(&w, 1, 1, FAILURE_EOF, 0);
    CHECK(w.actions.count == 0, "its first attempt is over, whatever is told of it");
    for (uint64_t other = 2; other < id; other++)
        world_ended(&w, other, 1, 50);
    world_ended(&w, 1, 2, 50);
    arrive(&w, 500, plain);
    CHECK(kind(&w, 500) == ACTION_DISPATCH, "in the end all are served");
    world_close(&w);
}

/* More and more come: the lowest class is turned away first, the highest last, none at once. */
static void
test_shed(void)
{
    uint32_t shed[PRIORITIES_MAX] = {0}, first[PRIORITIES_MAX] = {0};
    struct core_config c = {.seed = 1,
                            .nodes_max = 2,
                            .models_max = 1,
                            .regions_max = 1,
                            .classes_max = 1,
                            .placements_max = 2,
                            .requests_max = 4096,
                            .holds_max = 400};
    size_t bytes = core_bytes(&c);
    struct world w = {.memory = aligned_alloc(64, bytes), .now_ns = 1000 * WORLD_MS};

    bool good = true;

    must(w.memory != NULL);
    memset(w.memory, 0, bytes);
    must(core_init(w.memory, bytes, &c, &w.core) == ERR_OK);
    world_node(&w, 0, 0, 5.0f, 0, MODEL_READY);
    for (uint64_t id = 1; id <= 2000; id++) {
        struct ask ask = plain;
        ask.priority = (uint16_t)(id % PRIORITIES_MAX);
        arrive(&w, id, ask);
        if (kind(&w, id) != ACTION_REFUSE)
            continue;
        good = good && about(&w, id)->refuse.refusal == REFUSAL_SHED &&
               about(&w, id)->refuse.retry_after_ms >= ADMIT_RETRY_MS_MIN;
        if (shed[ask.priority]++ == 0)
            first[ask.priority] = (uint32_t)id;
    }
    CHECK(good, "turned away for overload, with a time to come again");
    CHECK(first[PRIORITY_LOW] < first[PRIORITY_NORMAL] &&
              first[PRIORITY_NORMAL] < first[PRIORITY_HIGH],
          "the lowest first");
    CHECK(shed[PRIORITY_LOW] >= shed[PRIORITY_NORMAL] &&
              shed[PRIORITY_NORMAL] >= shed[PRIORITY_HIGH],
          "and the most");
    world_close(&w);
}

/* The only node is full and lets nobody go for long: the queue is as short as it was, and each wave
 * then leaves it at once. Who comes meanwhile waits, too. */
static void
test_stall(void)
{
    struct world w;
    uint64_t full, id;
    bool good = true;

    world_small(&w);
    full = fill(&w);
    for (id = full; id < full + 16; id++) {
        w.now_ns += 1000 * WORLD_MS;
        arrive(&w, id, plain);
        good = good && kind(&w, id) == ACTION_HOLD;
    }
    CHECK(good, "nothing is let go for 16 s: no reason to turn any of 16 away");
    for (uint64_t done = 1; done <= SLOTS; done++) {
        world_ended(&w, done, 1, 50);
        good = good && kind(&w, full + done - 1) == ACTION_DISPATCH;
        arrive(&w, id, plain);
        good = good && kind(&w, id++) == ACTION_HOLD;
    }
    CHECK(good, "nor when all slots become free at once");
    for (uint64_t done = 0; done < SLOTS; done++) {
        w.now_ns += 20000 * WORLD_MS;
        world_ended(&w, full + done, 1, 50);
    }
    arrive(&w, id, plain);
    CHECK(kind(&w, id) == ACTION_REFUSE && about(&w, id)->refuse.refusal == REFUSAL_SHED,
          "one in twenty seconds is let go, and a dozen wait: too long");
    world_close(&w);
}

static void
is_now(struct world *w, uint32_t node, enum model_state state)
{
    world_step(
        w, (struct event){
               .kind = EVENT_MODEL,
               .model = {.node = node, .model = 0, .state = (uint16_t)state, .ready_in_ms = NAN}});
}

/* A model that is ready nowhere: as many go to where it is loaded as could run there, and one more.
 * Who is held waits as long as the load takes, and goes to whichever copy comes first. */
static void
test_coming(void)
{
    struct world w;
    uint64_t id;
    bool good = true;

    world_small(&w);
    is_now(&w, 0, MODEL_ON_DISK);
    id = fill(&w);
    is_now(&w, 0, MODEL_LOADING);
    for (uint32_t i = 0; i < 25; i++) {
        w.now_ns += 4000 * WORLD_MS;
        arrive(&w, id + i, plain);
        good = good && kind(&w, id + i) == ACTION_HOLD;
    }
    CHECK(good, "no more go there, and none is turned away in 100 s of loading");
    is_now(&w, 1, MODEL_READY);
    for (uint32_t i = 0; i < 2; i++) {
        w.actions.count = 0;
        tick_for(&w, 1000);
        CHECK(kind(&w, id + i) == ACTION_DISPATCH && about(&w, id + i)->dispatch.node == 1,
              "another copy comes first: those that are held go there in their order");
    }
    world_close(&w);
}

/* While the highest class is about, others leave it room. */
static void
test_room_for_higher(void)
{
    struct world w;
    uint64_t id = 1;

    world_small(&w);
    arrive(&w, id++, (struct ask){NAN, 0, MODEL_NONE, PRIORITY_HIGH, 0});
    for (; id < 100; id++) {
        arrive(&w, id, plain);
        if (kind(&w, id) == ACTION_HOLD)
            break;
    }
    CHECK(id <= SLOTS + 1, "the middle class does not take the last place");
    arrive(&w, 200, (struct ask){NAN, 0, MODEL_NONE, PRIORITY_HIGH, 0});
    CHECK(kind(&w, 200) == ACTION_DISPATCH, "which the highest gets");
    w.now_ns += ADMIT_CLASS_SEEN_NS + WORLD_MS;
    world_ended(&w, 200, 1, 10);
    CHECK(kind(&w, id) == ACTION_DISPATCH, "after a time without it, others have all");
    world_close(&w);
}

/* A node whose steps are longer than the goal when it has but one request: the pace it has to keep
 * is its own, stretched, and of that too lower classes get a part. */
static void
test_pace_for_higher(void)
{
    struct world w;

    world_small(&w);
    world_step(&w,
               (struct event){.kind = EVENT_CURVE,
                              .curve = {.curve = {.b_ms = 0.02f, .t0_ms = 50.0f, .tb_ms = 0.5f}}});
    world_step(&w, (struct event){.kind = EVENT_SETTINGS,
                                  .settings = {.rule = RULE_TIME,
                                               .ttft_goal_ms = NAN,
                                               .tpot_goal_ms = 40.0f,
                                               .first_limit_ms = 60000.0f}});
    arrive(&w, 1, plain);
    arrive(&w, 2, plain);
    CHECK(kind(&w, 2) == ACTION_DISPATCH, "alone, the middle class may share a slow node");
    arrive(&w, 3, (struct ask){NAN, 0, MODEL_NONE, PRIORITY_HIGH, 0});
    CHECK(kind(&w, 3) == ACTION_DISPATCH, "so may the highest");
    arrive(&w, 4, plain);
    CHECK(kind(&w, 4) == ACTION_HOLD, "while that is about, the middle class may not");
    arrive(&w, 5, (struct ask){NAN, 0, MODEL_NONE, PRIORITY_HIGH, 0});
    CHECK(kind(&w, 5) == ACTION_DISPATCH, "which is the room that the highest has");
    world_close(&w);
}

static void
test_left_out(void)
{
    struct event tuning = {.kind = EVENT_TUNING, .tuning = tuning_default};
    struct world w;
    bool all = true;

    tuning.tuning.without = WITHOUT_ADMISSION;
    world_small(&w);
    world_step(&w, tuning);
    for (uint64_t id = 1; id <= 40; id++) {
        arrive(&w, id, (struct ask){1.0f, 0, MODEL_NONE, PRIORITY_LOW, 0});
        all = all && kind(&w, id) == ACTION_DISPATCH;
    }
    CHECK(all, "without admission all go, whatever the deadline and the queue");
    world_close(&w);
}

/* A model on another node is not held up by one that has no room, and ticks serve both. */
static void
test_models_apart(void)
{
    struct world w;
    uint64_t id;

    world_small(&w);
    id = fill(&w);
    arrive(&w, id, plain);
    arrive(&w, id + 1, (struct ask){NAN, 1, MODEL_NONE, PRIORITY_LOW, 0});
    CHECK(kind(&w, id + 1) == ACTION_DISPATCH, "another model has its own queue");
    world_close(&w);
}

/* Thousands of requests, events about any of them in any order: each that was held is let go,
 * refused or leaves, and at the end no place is lost. */
static void
test_hostile(void)
{
    enum { IDS = 60 };
    bool held[IDS + 1] = {false}, good = true;
    struct world w;
    struct rng rng;

    world_small(&w);
    rng_init(&rng, 5);
    for (uint32_t step = 0; step < 60000; step++) {
        uint64_t id = 1 + rng_below(&rng, IDS);
        uint32_t attempt = 1 + (uint32_t)rng_below(&rng, 3);
        w.now_ns += rng_below(&rng, 40) * WORLD_MS;
        switch (rng_below(&rng, 8)) {
        case 0:
            world_started(&w, id, attempt);
            break;
        case 1:
            world_ended(&w, id, attempt, 20);
            break;
        case 2:
            world_failed(&w, id, attempt, (uint32_t)rng_below(&rng, FAILURE_COUNT), 0);
            break;
        case 3:
            world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
            held[id] = false;
            break;
        case 4:
            world_step(&w, (struct event){.kind = EVENT_TICK});
            break;
        case 5:
            world_report(&w, (uint32_t)rng_below(&rng, 2), (float)rng_below(&rng, 9), 0.0f);
            break;
        default:
            arrive(&w, id,
                   (struct ask){
                       .deadline_ms = rng_below(&rng, 2) == 0 ? NAN : (float)rng_below(&rng, 3000),
                       .model = (uint16_t)rng_below(&rng, 2),
                       .other_model = (uint16_t)rng_below(&rng, 3),
                       .priority = (uint16_t)rng_below(&rng, 3),
                       .tenant = (uint16_t)rng_below(&rng, 5)});
            break;
        }
        good = good && w.actions.count <= ACTIONS_MAX;
        for (uint32_t i = 0; i < w.actions.count; i++) {
            const struct action *a = &w.actions.list[i];
            if (a->kind == ACTION_HOLD)
                good = good && !held[a->hold.request];
            held[a->dispatch.request] = a->kind == ACTION_HOLD;
        }
    }
    CHECK(good, "no step says too much, nobody is held twice");
    for (uint64_t id = 1; id <= IDS; id++)
        world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
    for (uint32_t node = 0; node < 2; node++)
        world_report(&w, node, 0.0f, 0.0f);
    w.now_ns += 400000 * WORLD_MS;
    for (int i = 0; i < 100; i++)
        world_step(&w, (struct event){.kind = EVENT_TICK});
    for (uint64_t id = 1; id <= SLOTS + 1; id++) {
        arrive(&w, id, plain);
        good = good && kind(&w, id) == ACTION_DISPATCH;
    }
    CHECK(good, "all places are there again");
    world_close(&w);
}

int
main(void)
{
    test_newcomers();
    test_release();
    test_held_retry();
    test_shed();
    test_stall();
    test_coming();
    test_room_for_higher();
    test_pace_for_higher();
    test_left_out();
    test_models_apart();
    test_hostile();
    return tap_done();
}

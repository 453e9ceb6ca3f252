/* hedge_test - second attempts: when they are asked for and sent, where to, what becomes of either,
 * that the budget holds whatever happens, and that nothing of a loser stays behind. */
#include "core/hedge.h"

#include <math.h>

#include "base/rng.h"
#include "core/tuning.h"
#include "tap.h"
#include "world.h"

#define REQUESTS_MAX 64u

/* A node that is ready for model 0. */
static void
node(struct world *w, uint32_t index, uint16_t site, uint16_t operator, float rtt_ms)
{
    world_step(w, (struct event){.kind = EVENT_NODE,
                                 .node = {.node = index,
                                          .epoch = 1,
                                          .region = (uint16_t)(index % 4),
                                          .class = (uint16_t)(index % 4),
                                          .site = site,
                                          .operator= operator,
                                          .slots = 64,
                                          .rtt_ms = rtt_ms}});
    world_step(w, (struct event){.kind = EVENT_RTT, .rtt = {.node = index, .rtt_ms = rtt_ms}});
    world_step(w,
               (struct event){.kind = EVENT_MODEL,
                              .model = {.node = index, .state = MODEL_READY, .ready_in_ms = NAN}});
}

/* hedge_part 1: one first attempt earns one second one. */
static void
tune_load(struct world *w, float part, float load_max, uint32_t without)
{
    struct event e = {.kind = EVENT_TUNING, .tuning = tuning_default};

    e.tuning.hedge_part = part;
    e.tuning.hedge_load_max = load_max;
    e.tuning.without = without | WITHOUT_PREFIX | WITHOUT_SIGMA;
    world_step(w, e);
}

static void
tune(struct world *w, float part, uint32_t without)
{
    tune_load(w, part, 0.8f, without);
}

/* The nearest is node 0, so it is chosen first. */
static void
open_nodes(struct world *w, uint32_t count)
{
    world_open(w, 8, RULE_TIME, 1);
    tune(w, 1.0f, WITHOUT_LEARNING);
    for (uint32_t i = 0; i < count; i++)
        node(w, i, (uint16_t)i, (uint16_t)i, 1.0f + 20.0f * (float)i);
}

static void
late(struct world *w, uint64_t id, uint32_t attempt)
{
    world_step(w, (struct event){.kind = EVENT_LATE, .late = {.request = id, .attempt = attempt}});
}

static void
cancelled(struct world *w, uint64_t id)
{
    world_step(w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
}

static bool
is_dispatch(const struct world *w, uint32_t attempt, uint32_t node, uint16_t hedge)
{
    const struct action *a = &w->actions.list[0];

    return w->actions.count == 1 && a->kind == ACTION_DISPATCH && a->dispatch.attempt == attempt &&
           a->dispatch.node == node && a->dispatch.hedge == hedge;
}

static bool
is_cancel(const struct world *w, uint64_t id, uint32_t attempt)
{
    const struct action *a = &w->actions.list[0];

    return w->actions.count == 1 && a->kind == ACTION_CANCEL && a->cancel.request == id &&
           a->cancel.attempt == attempt;
}

static struct node_view
view(const struct world *w, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    must(core_view_nodes(w->core, w->now_ns, 0, views, &next) > node);
    return views[node];
}

static struct hedge_view
hedges(const struct world *w)
{
    struct hedge_view v;

    core_view_hedges(w->core, &v);
    return v;
}

/* Of ours nothing is left anywhere. */
static bool
is_empty(const struct world *w)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next, count = core_view_nodes(w->core, w->now_ns, 0, views, &next);
    bool empty = true;

    for (uint32_t i = 0; i < count; i++)
        empty = empty && views[i].own_outstanding == 0 && views[i].queue_tokens == 0.0f &&
                views[i].kv_tokens_used == 0.0f;
    return empty;
}

static float
after_ms(const struct world *w)
{
    return w->actions.list[0].dispatch.hedge_after_ms;
}

/* A request at node 0, and then so late that the driver says so. */
static void
arrive_late(struct world *w, uint64_t id)
{
    must(world_arrive(w, id, 0) == 0);
    w->now_ns += (uint64_t)((double)after_ms(w) * 1e6);
    late(w, id, 1);
}

static void
test_asked(void)
{
    struct world w;
    float first_ms;

    open_nodes(&w, 1);
    world_arrive(&w, 1, 0);
    CHECK(isnan(after_ms(&w)), "one node: nowhere to hedge to, so nobody need say late");
    node(&w, 1, 1, 1, 10.0f);
    world_arrive(&w, 2, 0);
    first_ms = w.actions.list[0].dispatch.first_ms;
    CHECK(after_ms(&w) >= HEDGE_AFTER_MIN_MS && after_ms(&w) > first_ms, "two: after the p95");
    CHECK(fabsf(after_ms(&w) - first_ms - HEDGE_SIGMAS * w.actions.list[0].dispatch.sigma_ms) <
              0.01f,
          "which is 1.645 deviations above the mean");
    tune(&w, 1.0f, WITHOUT_HEDGE);
    world_arrive(&w, 3, 0);
    CHECK(isnan(after_ms(&w)), "switched off");
    tune(&w, 0.0f, 0);
    world_arrive(&w, 4, 0);
    CHECK(isnan(after_ms(&w)), "no budget");
    tune(&w, 1.0f, 0);
    world_step(&w, (struct event){.kind = EVENT_ARRIVED,
                                  .arrived = {.request = 5,
                                              .prompt_bytes = 2000,
                                              .other_model = MODEL_NONE,
                                              .deadline_ms = NAN,
                                              .only_node = NODE_ANY}});
    CHECK(w.actions.count == 1 && isnan(after_ms(&w)), "a whole answer");
    world_step(&w, (struct event){.kind = EVENT_ARRIVED,
                                  .arrived = {.request = 6,
                                              .stream = 1,
                                              .prompt_bytes = 2000,
                                              .other_model = MODEL_NONE,
                                              .deadline_ms = NAN,
                                              .only_node = 1}});
    CHECK(w.actions.count == 1 && isnan(after_ms(&w)), "one node was asked for by name");
    world_close(&w);
    world_open(&w, 8, RULE_LEAST_REQUEST, 1);
    node(&w, 0, 0, 0, 1.0f);
    node(&w, 1, 1, 1, 10.0f);
    world_arrive(&w, 7, 0);
    CHECK(isnan(after_ms(&w)), "a rule that does not predict does not know what is late");
    world_close(&w);
}

static void
test_either_wins(void)
{
    struct world w;

    open_nodes(&w, 2);
    arrive_late(&w, 1);
    CHECK(is_dispatch(&w, 2, 1, 1) && isnan(after_ms(&w)), "late: a second attempt elsewhere");
    CHECK(w.actions.decision.candidates[0].node == 1 && w.actions.decision.attempt == 2 &&
              w.actions.decision.hedge_ms > w.actions.decision.candidates[0].terms.first_ms,
          "and the decision says that it is expected to be sooner");
    CHECK(view(&w, 0).own_outstanding == 1 && view(&w, 1).own_outstanding == 1, "both in flight");
    w.now_ns += 50 * WORLD_MS;
    world_started(&w, 1, 2);
    CHECK(is_cancel(&w, 1, 1), "the second begins: the first is cancelled in that step");
    CHECK(view(&w, 0).own_outstanding == 0 && view(&w, 0).queue_tokens == 0.0f, "and forgotten");
    CHECK(view(&w, 0).p_fail <= 0.0101f, "it did not fail");
    world_failed(&w, 1, 1, FAILURE_EOF, 0);
    CHECK(w.actions.count == 0 && view(&w, 0).p_fail <= 0.0101f, "nor does what comes of it late");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 10);
    CHECK(w.actions.count == 0 && view(&w, 1).own_outstanding == 1, "it cannot end the request");
    world_ended(&w, 1, 2, 10);
    CHECK(is_empty(&w), "the second one can");
    CHECK(hedges(&w).sent == 1 && hedges(&w).won == 1 && hedges(&w).late == 1, "counted");

    arrive_late(&w, 2);
    CHECK(is_dispatch(&w, 2, 1, 1), "another one");
    world_started(&w, 2, 1);
    CHECK(is_cancel(&w, 2, 2), "the first begins after all: the second is cancelled");
    CHECK(view(&w, 1).own_outstanding == 0, "and forgotten");
    world_ended(&w, 2, 1, 10);
    CHECK(is_empty(&w) && hedges(&w).sent == 2 && hedges(&w).won == 1, "that one was in vain");

    arrive_late(&w, 3);
    cancelled(&w, 3);
    CHECK(is_empty(&w), "the client left: nothing of either stays");
    arrive_late(&w, 4);
    world_ended(&w, 4, 2, 10);
    CHECK(is_empty(&w), "ended without a beginning: nothing of the other stays");
    world_close(&w);
}

static void
test_failures(void)
{
    struct world w;

    open_nodes(&w, 3);
    arrive_late(&w, 1);
    must(is_dispatch(&w, 2, 1, 1));
    world_failed(&w, 1, 1, FAILURE_EOF, 0);
    CHECK(w.actions.count == 0, "the first fails: the second is the request now");
    CHECK(view(&w, 0).p_fail > 0.05f, "who failed is charged");
    late(&w, 1, 2);
    CHECK(w.actions.count == 0, "and is not hedged again");
    world_failed(&w, 1, 2, FAILURE_CONNECT, 0);
    CHECK(is_dispatch(&w, 3, 2, 0), "both failed: a retry as ever");
    CHECK(isnan(after_ms(&w)), "the last attempt: nothing is left to hedge with");
    world_failed(&w, 1, 3, FAILURE_CONNECT, 0);
    CHECK(w.actions.count == 1 && w.actions.list[0].kind == ACTION_REFUSE &&
              w.actions.list[0].refuse.attempts == 3,
          "attempts are counted, whatever they were");
    CHECK(is_empty(&w), "nothing stays");
    world_close(&w);

    open_nodes(&w, 3);
    must(world_arrive(&w, 1, 0) == 0);
    world_failed(&w, 1, 1, FAILURE_CONNECT, 0);
    must(is_dispatch(&w, 2, 1, 0) && after_ms(&w) > 0.0f);
    w.now_ns += (uint64_t)((double)after_ms(&w) * 1e6);
    late(&w, 1, 2);
    CHECK(is_dispatch(&w, 3, 2, 1), "a retry can be hedged, where nothing was tried yet");
    world_failed(&w, 1, 3, FAILURE_REQUEST, 0);
    CHECK(w.actions.count == 0, "the second one fails: the first goes on");
    world_started(&w, 1, 2);
    CHECK(w.actions.count == 0, "and nobody is left to be cancelled");
    world_ended(&w, 1, 2, 10);
    CHECK(is_empty(&w), "nothing stays");
    world_close(&w);
}

static void
test_ignored(void)
{
    static const uint32_t numbers[] = {0, 2, 3, 7, UINT32_MAX};
    struct world w;
    uint32_t dispatched = 0;

    open_nodes(&w, 2);
    late(&w, 1, 1);
    CHECK(w.actions.count == 0, "nobody knows this request");
    must(world_arrive(&w, 1, 0) == 0);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        late(&w, 1, numbers[i]);
        dispatched += w.actions.count;
    }
    CHECK(dispatched == 0 && hedges(&w).late == 0, "nor these attempts of it");
    world_started(&w, 1, 1);
    late(&w, 1, 1);
    CHECK(w.actions.count == 0, "it has begun");
    world_ended(&w, 1, 1, 10);
    late(&w, 1, 1);
    CHECK(w.actions.count == 0, "it is over");
    arrive_late(&w, 2);
    late(&w, 2, 1);
    CHECK(w.actions.count == 0 && hedges(&w).sent == 1, "it is hedged already");
    world_failed(&w, 2, 2, FAILURE_CONNECT, 0);
    late(&w, 2, 1);
    CHECK(w.actions.count == 0, "late is said once");
    world_close(&w);
}

static void
test_does_not_pay(void)
{
    struct world w;

    open_nodes(&w, 1);
    node(&w, 1, 1, 1, 3000.0f);
    arrive_late(&w, 1);
    CHECK(w.actions.count == 0 && w.actions.decision.candidate_count == 0,
          "who is slower than what is left is not asked");
    CHECK(hedges(&w).skipped_slower == 1, "counted");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 10);
    CHECK(is_empty(&w), "the first goes on alone");
    world_close(&w);
}

/* Both places of a request become free in one step, and many that are held have waited long enough:
 * more could follow than a step may say. */
static void
test_cancelled_beside_held(void)
{
    struct world w;
    uint32_t held = 0;

    open_nodes(&w, 1);
    world_step(&w, (struct event){.kind = EVENT_NODE,
                                  .node = {.node = 1, .epoch = 1, .slots = 1, .rtt_ms = 20.0f}});
    for (uint16_t i = 0; i < 2; i++) /* whose place node 1 gives away: first model 1's */
        world_step(
            &w,
            (struct event){
                .kind = EVENT_MODEL,
                .model = {.node = 1, .model = 1 - i, .state = MODEL_READY, .ready_in_ms = NAN}});
    arrive_late(&w, 1);
    must(is_dispatch(&w, 2, 1, 1));
    must(world_arrive(&w, 2, 1) == 1);
    for (uint64_t id = 3; id <= 7; id++) {
        w.now_ns += id == 7 ? 1000 * WORLD_MS : 0;
        world_arrive(&w, id, 1);
        held += w.actions.count == 1 && w.actions.list[0].kind == ACTION_HOLD;
    }
    CHECK(held == 5, "node 1 is full");
    w.now_ns += 119500 * WORLD_MS;
    cancelled(&w, 1);
    CHECK(w.actions.count == ACTIONS_MAX && w.actions.list[3].kind == ACTION_REFUSE,
          "four of five have waited too long: that is all one step says");
    world_step(&w, (struct event){.kind = EVENT_TICK});
    CHECK(w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH &&
              w.actions.list[0].dispatch.request == 7,
          "the next one lets the fifth go");
    world_close(&w);
}

/* Late ones that come soon after all are not worth a second attempt; those that do not are. */
static void
test_patience(void)
{
    struct world w;
    uint64_t id = 1;

    open_nodes(&w, 1);
    node(&w, 1, 1, 1, 60.0f);
    for (; id < 100; id++) {
        arrive_late(&w, id);
        if (w.actions.count == 0)
            break;
        w.now_ns += 2 * WORLD_MS;
        world_started(&w, id, 1);
        world_ended(&w, id, 1, 10);
    }
    CHECK(id > 1 && id < 100, "where late ones come soon, no second one is sent any more");
    for (; id < 200 && w.actions.count == 0; id++) {
        w.now_ns += 2000 * WORLD_MS;
        world_started(&w, id, 1);
        world_ended(&w, id, 1, 10);
        arrive_late(&w, id + 1);
    }
    CHECK(id < 200, "where they take long, one is sent again");
    world_close(&w);
}

static void
test_domains(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    tune(&w, 1.0f, WITHOUT_LEARNING);
    node(&w, 0, 7, 7, 1.0f);
    node(&w, 1, 7, 7, 2.0f);  /* the same site */
    node(&w, 2, 8, 7, 12.0f); /* the same operator */
    node(&w, 3, 9, 9, 22.0f);
    arrive_late(&w, 1);
    CHECK(is_dispatch(&w, 2, 3, 1), "another site and operator goes before what is faster");
    cancelled(&w, 1);
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 3, .epoch = 1}});
    arrive_late(&w, 2);
    CHECK(is_dispatch(&w, 2, 2, 1), "without one another site");
    cancelled(&w, 2);
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 2, .epoch = 1}});
    arrive_late(&w, 3);
    CHECK(is_dispatch(&w, 2, 1, 1), "without that at least another node");
    world_close(&w);
}

static void
test_node_left(void)
{
    struct world w;

    open_nodes(&w, 2);
    arrive_late(&w, 1);
    must(is_dispatch(&w, 2, 1, 1));
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 1}});
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 1, .epoch = 1}});
    node(&w, 0, 0, 0, 1.0f);
    node(&w, 1, 1, 1, 11.0f);
    world_started(&w, 1, 2);
    CHECK(is_cancel(&w, 1, 1), "both nodes left and came back: their attempts go on as before");
    world_ended(&w, 1, 2, 10);
    CHECK(is_empty(&w), "and give back nothing that others have");
    world_close(&w);
}

static void
tick(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        w->now_ns += 10 * WORLD_MS;
        world_step(w, (struct event){.kind = EVENT_TICK});
    }
}

static float
load(const struct world *w)
{
    struct model_view v;

    core_view_model(w->core, 0, &v);
    return v.load;
}

static void
test_load(void)
{
    struct world w;
    float before = 0.0f, running = 1.0f;
    bool grows = true;

    open_nodes(&w, 3);
    tick(&w, 10);
    CHECK(load(&w) == 0.0f, "idle nodes have no load");
    for (; running <= 64.0f; running *= 2.0f) {
        for (uint32_t i = 0; i < 3; i++)
            world_report(&w, i, running, 0.0f);
        tick(&w, 2000);
        grows = grows && load(&w) > before && load(&w) <= 1.0f;
        before = load(&w);
    }
    CHECK(grows, "it grows with what runs there, to 1");
    CHECK(before > 0.999f, "which is what brings tokens in time");
    arrive_late(&w, 1);
    CHECK(w.actions.count == 0 && hedges(&w).skipped_load == 1,
          "above the limit nothing is hedged");
    cancelled(&w, 1);
    for (uint32_t i = 0; i < 3; i++)
        world_report(&w, i, 2.0f, 0.0f);
    tick(&w, 2000);
    CHECK(load(&w) > 0.0f && load(&w) < 0.5f, "and it falls again");
    for (uint32_t i = 0; i < 3; i++) /* old news would mean that nobody is known to be faster */
        world_report(&w, i, 2.0f, 0.0f);
    world_arrive(&w, 2, 0);
    late(&w, 2, 1);
    CHECK(w.actions.count == 1 && w.actions.list[0].dispatch.hedge == 1, "below it is");
    world_close(&w);
}

/* A node that is always overtaken: what little it lets us know is enough to leave it. */
static void
test_overtaken(void)
{
    struct world w;
    float first_ms = 0.0f, expected_ms = 0.0f;
    uint64_t id = 1;

    open_nodes(&w, 2);
    tune(&w, 1.0f, 0);
    for (; id < 40 && world_arrive(&w, id, 0) == 0; id++) {
        expected_ms = w.actions.list[0].dispatch.first_ms;
        if (first_ms == 0.0f)
            first_ms = expected_ms;
        world_step(&w, (struct event){.kind = EVENT_DISPATCHED,
                                      .dispatched = {.request = id, .attempt = 1}});
        w.now_ns += 400 * WORLD_MS; /* it would take much longer */
        late(&w, id, 1);
        must(is_dispatch(&w, 2, 1, 1));
        w.now_ns += 120 * WORLD_MS;
        world_started(&w, id, 2);
        world_ended(&w, id, 2, 2);
    }
    CHECK(id > 1 && id < 40, "others are chosen first");
    CHECK(id == 2 || expected_ms > first_ms, "because it is thought to be slower");
    world_close(&w);
}

/* ---- Anything goes. */

struct flight {
    uint64_t id; /* 0: none */
    uint32_t attempts;
};

static void
take_actions(const struct world *w, struct flight *flights)
{
    for (uint32_t i = 0; i < w->actions.count; i++) {
        const struct action *a = &w->actions.list[i];
        struct flight *f = &flights[a->dispatch.request % REQUESTS_MAX]; /* all begin with an id */
        if (a->kind == ACTION_DISPATCH)
            f->attempts = a->dispatch.attempt;
        else if (a->kind == ACTION_REFUSE)
            f->id = 0;
    }
}

static void
random_event(struct world *w, struct rng *rng, struct flight *f, uint64_t *next_id)
{
    uint32_t attempt = 1 + (uint32_t)rng_below(rng, ATTEMPTS_MAX + 1);

    w->now_ns += rng_below(rng, 40) * WORLD_MS;
    if (f->id == 0) {
        f->id = *next_id;
        world_arrive(w, f->id, 0);
        return;
    }
    switch (rng_below(rng, 9)) {
    case 0:
        world_ended(w, f->id, f->attempts, 10);
        __attribute__((fallthrough)); /* that attempt may be over already */
    case 1:
        cancelled(w, f->id);
        f->id = 0;
        break;
    case 2:
    case 3:
        world_failed(w, f->id, attempt,
                     rng_below(rng, 16) == 0 ? (uint32_t)rng_below(rng, FAILURE_COUNT + 1)
                                             : FAILURE_LOCAL,
                     0);
        break;
    case 4:
        world_started(w, f->id, attempt);
        break;
    case 5:
        world_step(w, (struct event){.kind = EVENT_TICK});
        break;
    default:
        late(w, f->id, attempt);
        break;
    }
}

static void
test_budget(float part)
{
    struct world w;
    struct flight flights[REQUESTS_MAX] = {{0}};
    struct rng rng;
    bool holds = true, at_once = true;
    struct hedge_view v;

    rng_init(&rng, 5);
    open_nodes(&w, 6);
    tune_load(&w, part, 1.0f, WITHOUT_ADMISSION);
    for (uint64_t i = 0; i < 40000; i++) {
        uint32_t slot = (uint32_t)rng_below(&rng, REQUESTS_MAX / 2);
        uint64_t id = (i + 1) * REQUESTS_MAX + slot;
        random_event(&w, &rng, &flights[slot], &id);
        take_actions(&w, flights);
        v = hedges(&w);
        holds = holds &&
                v.extra_tokens <= (double)part * (v.prefill_tokens - v.extra_tokens) * 1.0001;
        for (uint32_t n = 0; i % 100 == 0 && n < 6; n++)
            at_once = at_once && view(&w, n).own_outstanding <= 2 * REQUESTS_MAX;
    }
    CHECK(v.sent > 20, "many were sent");
    CHECK(v.skipped_budget > 20, "many were not, for the budget");
    CHECK(holds, "and never more than its part was added");
    CHECK(at_once, "two of a request at most");
    for (uint32_t i = 0; i < REQUESTS_MAX; i++)
        cancelled(&w, flights[i].id);
    CHECK(is_empty(&w), "whatever came, nothing stays");
    world_close(&w);
}

int
main(void)
{
    test_asked();
    test_either_wins();
    test_failures();
    test_ignored();
    test_does_not_pay();
    test_patience();
    test_domains();
    test_node_left();
    test_cancelled_beside_held();
    test_load();
    test_overtaken();
    test_budget(0.02f);
    test_budget(0.2f);
    return tap_done();
}

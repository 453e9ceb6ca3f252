/* choose_test - what decides: whose work counts, and which parts of a decision can be left out. */
#include "core/core.h"

#include <math.h>

#include "core/tuning.h"
#include "tap.h"
#include "world.h"

/* The defaults without these parts. */
static void
without(struct world *w, uint32_t parts)
{
    struct event e = {.kind = EVENT_TUNING};

    e.tuning = tuning_default;
    e.tuning.without = parts;
    world_step(w, e);
}

/* As the next request would see a node; NULL: it is not looked at. */
static const struct decision_candidate *
seen(struct world *w, uint32_t node)
{
    static struct decision d;
    struct event e = {.kind = EVENT_ARRIVED,
                      .arrived = {.request = 1u << 30,
                                  .prompt_bytes = 2000,
                                  .stream = 1,
                                  .deadline_ms = NAN,
                                  .tpot_goal_ms = NAN,
                                  .only_node = NODE_ANY}};

    core_explain(w->core, w->now_ns, &e, &d);
    for (uint32_t i = 0; i < d.candidate_count; i++) {
        if (d.candidates[i].node == node)
            return &d.candidates[i];
    }
    return NULL;
}

/* One node, two of ours that wait there, and a report that did not see them. */
static void
two_waiting(struct world *w, uint32_t parts)
{
    world_open(w, 4, RULE_TIME, 1);
    without(w, parts);
    world_node(w, 0, 0, 2.0f, 0, MODEL_READY);
    world_report(w, 0, 0.0f, 0.0f);
    world_arrive(w, 1, 0);
    world_arrive(w, 2, 0);
}

static void
test_own_count(void)
{
    struct world w;

    two_waiting(&w, 0);
    CHECK(seen(&w, 0)->terms.queue_ms > 100.0f, "what was just sent is counted");
    world_started(&w, 1, 1);
    world_started(&w, 2, 1);
    CHECK(seen(&w, 0)->terms.queue_ms < 20.0f, "until its first token: half a step is left");
    world_close(&w);
    two_waiting(&w, WITHOUT_OWN_COUNT);
    CHECK(seen(&w, 0)->terms.queue_ms == 0.0f && seen(&w, 0)->ext_ms == 0.0f,
          "without own count the report is all there is");
    w.now_ns += 100 * WORLD_MS;
    world_report(&w, 0, 1.0f, 1.0f);
    CHECK(seen(&w, 0)->terms.queue_ms > 50.0f, "and it counts ours");
    world_close(&w);
    two_waiting(&w, WITHOUT_RELEASE_FIRST);
    w.now_ns += 200 * WORLD_MS;
    world_started(&w, 1, 1);
    world_started(&w, 2, 1);
    CHECK(seen(&w, 0)->terms.queue_ms > 100.0f, "without release a first token releases nothing");
    world_ended(&w, 1, 1, 10);
    world_ended(&w, 2, 1, 10);
    CHECK(seen(&w, 0)->terms.queue_ms == 0.0f, "the end does");
    world_close(&w);
    two_waiting(&w, WITHOUT_RELEASE_FIRST);
    world_started(&w, 1, 1);
    without(&w, 0);
    world_started(&w, 2, 1);
    world_ended(&w, 1, 1, 10);
    CHECK(seen(&w, 0)->terms.queue_ms < 20.0f, "changing the tuning loses no count");
    world_close(&w);
}

static void
test_age_drain(void)
{
    float fresh_ms, old_ms;

    for (uint32_t parts = 0; parts <= WITHOUT_AGE_DRAIN; parts += WITHOUT_AGE_DRAIN) {
        struct world w;
        world_open(&w, 4, RULE_TIME, 1);
        without(&w, parts);
        world_node(&w, 0, 0, 2.0f, 0, MODEL_READY);
        world_report(&w, 0, 4.0f, 2.0f);
        fresh_ms = seen(&w, 0)->terms.queue_ms;
        w.now_ns += 100 * WORLD_MS;
        old_ms = seen(&w, 0)->terms.queue_ms;
        if (parts == 0)
            CHECK(fabsf(fresh_ms - old_ms - 100.0f) < 1.0f, "a queue drains while news age");
        else
            CHECK(old_ms == fresh_ms, "without it, it stands");
        world_close(&w);
    }
}

/* Node 1 is another gateway's as much as ours; of node 0 the last report knows all. */
static float
queue_of_one(uint32_t parts, float others)
{
    struct world w;
    float ms;

    world_open(&w, 4, RULE_TIME, 1);
    without(&w, parts);
    world_node(&w, 0, 0, 2.0f, 0, MODEL_READY);
    world_arrive(&w, 1, 0);
    world_started(&w, 1, 1);
    for (int i = 0; i < 20; i++) {
        w.now_ns += 1000 * WORLD_MS;
        world_report(&w, 0, 1.0f + others, 0.0f);
    }
    world_arrive(&w, 2, 0);
    ms = seen(&w, 0)->terms.queue_ms;
    world_close(&w);
    return ms;
}

static void
test_share(void)
{
    float alone_ms = queue_of_one(0, 0.0f), shared_ms = queue_of_one(0, 3.0f);
    float blind_ms = queue_of_one(WITHOUT_SHARE, 3.0f);

    CHECK(shared_ms > 3.0f * blind_ms, "where others send too, one of ours stands for theirs");
    CHECK(fabsf(blind_ms - alone_ms) < 2.0f, "not without share, nor where we are alone");
    CHECK(shared_ms < 5.0f * blind_ms, "for as many as are there");
}

static void
test_sigma(void)
{
    uint32_t other[2] = {0, 0};

    for (int i = 0; i < 2; i++) {
        struct world w;
        world_open(&w, 4, RULE_TIME, 1);
        without(&w, i == 0 ? 0 : WITHOUT_SIGMA);
        world_node(&w, 0, 0, 2.0f, 0, MODEL_READY);
        world_node(&w, 1, 0, 6.0f, 0, MODEL_READY);
        for (uint64_t id = 1; id <= 200; id++) {
            other[i] += world_arrive(&w, id, 0) == 1;
            world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
        }
        world_close(&w);
    }
    CHECK(other[0] > 20 && other[0] < 100, "near ties spread");
    CHECK(other[1] == 0, "without sigma the cheapest is taken each time");
}

/* As many are looked at as the tuning says, and the cheapest are told. */
static void
test_sample(void)
{
    struct event e = {.kind = EVENT_TUNING};
    struct world w;
    uint32_t count = 0;

    world_open(&w, 64, RULE_TIME, 1);
    for (uint32_t node = 0; node < 60; node++)
        world_node(&w, node, node < 30 ? 0 : 1, 5.0f + (float)node, 0, MODEL_READY);
    world_arrive(&w, 1, 0);
    count = w.actions.decision.candidate_count;
    CHECK(count == 12 || count == 13, "six of the own region and six elsewhere, and the nearest");
    e.tuning = tuning_default;
    e.tuning.own_region_max = e.tuning.elsewhere_max = TUNING_CANDIDATES_MAX;
    world_step(&w, e);
    world_arrive(&w, 2, 0);
    count = w.actions.decision.candidate_count;
    CHECK(count >= DECISION_CANDIDATES_MAX - 1, "of more than are kept");
    for (uint32_t i = 1, far = 0; i < count; i++) {
        far += w.actions.decision.candidates[i].terms.net_ms > 40.0f;
        if (i + 1 == count)
            CHECK(far < 10, "the cheapest are");
    }
    world_close(&w);
}

int
main(void)
{
    test_own_count();
    test_age_drain();
    test_share();
    test_sigma();
    test_sample();
    return tap_done();
}

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

static struct node_view
view(const struct world *w, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    must(core_view_nodes(w->core, w->now_ns, node, views, &next) >= 1);
    return views[0];
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
    CHECK(count - (uint32_t)(tuning_default.own_region_max + tuning_default.elsewhere_max) <= 1,
          "as many of the own region and elsewhere as it says, and the nearest");
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

/* ---- A client's deadline. */

/* Where a request with these goals goes; it leaves again. */
static uint32_t
with_goals(struct world *w, float deadline_ms, float tpot_ms)
{
    uint32_t node = NODE_ANY;

    world_step(w, (struct event){.kind = EVENT_ARRIVED,
                                 .arrived = {.request = 7777,
                                             .prompt_bytes = 2000,
                                             .max_tokens = 100,
                                             .stream = 1,
                                             .deadline_ms = deadline_ms,
                                             .tpot_goal_ms = tpot_ms,
                                             .only_node = NODE_ANY}});
    if (w->actions.count == 1 && w->actions.list[0].kind == ACTION_DISPATCH)
        node = w->actions.list[0].dispatch.node;
    world_step(w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = 7777}});
    return node;
}

static enum why_not
why(const struct decision *d, uint32_t node)
{
    for (uint32_t i = 0; i < d->candidate_count; i++) {
        if (d->candidates[i].node == node)
            return d->candidates[i].why;
    }
    return WHY_COUNT;
}

/* Idle, half full and all but full; and flooded. Admission, which would let nobody go there, is
 * left out: this is about the choice. */
static void
four_loads(struct world *w, float far_ms)
{
    static const float running[] = {0.0f, 30.0f, 60.0f, 64.0f}, waiting[] = {0, 0, 0, 40};
    struct event tuning = {.kind = EVENT_TUNING, .tuning = tuning_default};

    world_open(w, 8, RULE_TIME, 1);
    tuning.tuning.without = WITHOUT_ADMISSION;
    world_step(w, tuning);
    for (uint32_t node = 0; node < 4; node++) {
        world_node(w, node, 0, node == 0 ? far_ms : 5.0f, 0, MODEL_READY);
        world_report(w, node, running[node], waiting[node]);
    }
}

static void
test_goal(void)
{
    static const struct {
        const char *label;
        float deadline_ms, tpot_ms;
        uint32_t want_node;
        enum decision_mode want_mode;
    } rows[] = {
        {"no deadline: the least cost", NAN, NAN, 0, DECISION_TIME},
        {"a deadline: the fullest that meets it", 1000, NAN, 2, DECISION_GOAL},
        {"a pace that all keep changes nothing", 1000, 60, 2, DECISION_GOAL},
        {"one that none keeps leaves the least cost", 1000, 5, 0, DECISION_TIME},
        {"a deadline that none meets, too", 20, NAN, 0, DECISION_TIME},
        {"time for a flooded one", 100000, NAN, 3, DECISION_GOAL},
    };
    struct world w;

    four_loads(&w, 5.0f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(with_goals(&w, rows[i].deadline_ms, rows[i].tpot_ms) == rows[i].want_node,
              rows[i].label);
    }
    (void)with_goals(&w, 1000.0f, NAN);
    world_close(&w);
    four_loads(&w, 5.0f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct decision d;
        struct event e = {.kind = EVENT_ARRIVED,
                          .arrived = {.request = 7777,
                                      .prompt_bytes = 2000,
                                      .max_tokens = 100,
                                      .stream = 1,
                                      .deadline_ms = rows[i].deadline_ms,
                                      .tpot_goal_ms = rows[i].tpot_ms,
                                      .only_node = NODE_ANY}};
        core_explain(w.core, w.now_ns, &e, &d);
        CHECK(d.mode == rows[i].want_mode, rows[i].label);
        if (i == 1)
            CHECK(why(&d, 0) == WHY_BUSIER_FITS && why(&d, 1) == WHY_BUSIER_FITS &&
                      why(&d, 3) == WHY_SLOWER,
                  "those that are kept free, and the one that is late");
    }
    world_close(&w);
    four_loads(&w, 5.0f);
    world_step(&w,
               (struct event){
                   .kind = EVENT_SETTINGS,
                   .settings = {.rule = RULE_TIME, .ttft_goal_ms = 1000.0f, .tpot_goal_ms = 5.0f}});
    CHECK(with_goals(&w, NAN, NAN) == 0, "a goal that is configured for all fills no node");
    CHECK(with_goals(&w, 1000.0f, NAN) == 0, "its pace counts for a client that gave a deadline");
    world_close(&w);
}

/* A large region: the fullest are not among those with the most headroom. */
static void
test_goal_sample(void)
{
    struct world w;
    uint32_t node;

    world_open(&w, 64, RULE_TIME, 1);
    for (node = 0; node < 60; node++) {
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
        world_report(&w, node, node % 20 == 19 ? 62.0f : 1.0f, node % 20 == 19 ? 2.0f : 0.0f);
    }
    node = with_goals(&w, 2000.0f, NAN);
    CHECK(node % 20 == 19, "best fit looks where the full ones are");
    CHECK(with_goals(&w, NAN, NAN) % 20 != 19, "the least cost where there is room");
    world_close(&w);
}

/* ---- News that are too old. */

static void
tick(struct world *w, uint64_t ms)
{
    w->now_ns += ms * WORLD_MS;
    world_step(w, (struct event){.kind = EVENT_TICK});
}

/* Twelve nodes of two speeds, others' work on them, and news of this age. */
static void
twelve(struct world *w, uint64_t age_ms)
{
    struct event e = {
        .kind = EVENT_CURVE,
        .curve = {.class = 1, .curve = {.a_ms = 1, .b_ms = 0.02f, .t0_ms = 6, .tk_ms = 0.05f}}};

    world_open(w, 16, RULE_TIME, 1);
    world_sample(w, 6);
    world_step(w, e);
    for (uint32_t node = 0; node < 12; node++) {
        world_node(w, node, 0, 5.0f, 0, MODEL_READY);
        world_step(
            w, (struct event){
                   .kind = EVENT_NODE,
                   .node = {
                       .node = node, .epoch = 1, .class = node % 2, .slots = 64, .rtt_ms = 5.0f}});
        for (int i = 0; i < 4; i++)
            world_report(w, node, node == 1 ? 3.0f : 20.0f, 0.0f);
    }
    tick(w, age_ms);
}

static void
test_stale(void)
{
    struct world w;
    uint32_t own[12] = {0}, fast = 0, least = UINT32_MAX, most = 0;

    twelve(&w, 1000);
    world_arrive(&w, 1000, 0);
    CHECK(w.actions.decision.mode == DECISION_TIME && w.actions.decision.candidate_count == 12,
          "fresh news: all are weighed");
    world_close(&w);
    twelve(&w, 3000);
    world_arrive(&w, 1000, 0);
    CHECK(w.actions.decision.mode == DECISION_TIME && w.actions.decision.candidate_count <= 7,
          "old news: a few");
    world_close(&w);
    twelve(&w, 6000);
    for (uint64_t id = 1; id <= 60; id++) {
        uint32_t node = world_arrive(&w, id, 0);
        own[node]++;
        if (id == 1)
            CHECK(w.actions.decision.mode == DECISION_STALE &&
                      w.actions.decision.candidates[1].why == WHY_STALE,
                  "older: our own count, and it says so");
    }
    for (uint32_t node = 0; node < 12; node++)
        fast += node % 2 == 1 ? own[node] : 0;
    for (uint32_t node = 1; node < 12; node += 2) {
        least = own[node] < least ? own[node] : least;
        most = own[node] > most ? own[node] : most;
    }
    CHECK(most - least <= 1, "it is not led by what one of them had to do back then");
    CHECK(fast > 45 && fast < 60, "in proportion to what each can do");
    world_report(&w, 0, 1.0f, 0.0f);
    world_close(&w);
}

/* The same requests by the rule least_request with perfect news, which nobody has: the fallback
 * spreads them as well. */
static void
test_stale_as_well_as_least_request(void)
{
    struct world w[2];
    float worst[2] = {0.0f, 0.0f};

    twelve(&w[0], 6000);
    twelve(&w[1], 6000);
    world_step(&w[1], (struct event){.kind = EVENT_SETTINGS,
                                     .settings = {.rule = RULE_LEAST_REQUEST,
                                                  .ttft_goal_ms = NAN,
                                                  .tpot_goal_ms = NAN}});
    for (uint32_t node = 0; node < 12; node++)
        world_report(&w[1], node, 0.0f, 0.0f);
    for (int k = 0; k < 2; k++) {
        uint32_t own[12] = {0};
        for (uint64_t id = 1; id <= 60; id++)
            own[world_arrive(&w[k], id, 0)]++;
        for (uint32_t node = 0; node < 12; node++) {
            float work = (float)own[node] / (node % 2 == 1 ? 5.0f : 1.0f);
            worst[k] = work > worst[k] ? work : worst[k];
        }
        world_close(&w[k]);
    }
    CHECK(worst[0] <= worst[1], "the busiest node has no more to do");
}

static void
test_alone(void)
{
    struct world w;

    world_open(&w, 16, RULE_TIME, 1);
    without(&w, WITHOUT_SELF_SUSPICION);
    for (uint32_t node = 0; node < 3; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    for (uint64_t id = 1; id <= 6; id++) {
        uint32_t node = world_arrive(&w, id, 0);
        world_started(&w, id, 1);
        w.now_ns += 100 * WORLD_MS;
        world_report(&w, node, (float)view(&w, node).own_outstanding, 0.0f);
    }
    tick(&w, 60000);
    world_arrive(&w, 100, 0);
    CHECK(w.actions.decision.mode == DECISION_TIME,
          "where all was ours, our count is as good as news");
    world_close(&w);
}

/* ---- Them, or us? */

static void
probe_all(struct world *w, uint32_t nodes, uint32_t silent)
{
    for (uint32_t node = 0; node < nodes; node++) {
        uint32_t failure = node < silent ? FAILURE_CONNECT : FAILURE_NONE;
        world_step(
            w, (struct event){.kind = EVENT_PROBE, .probe = {.node = node, .failure = failure}});
    }
    tick(w, 100);
    tick(w, 100);
}

static void
test_suspicion(void)
{
    struct world w;

    world_open(&w, 16, RULE_TIME, 1);
    for (uint32_t node = 0; node < 10; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    probe_all(&w, 10, 0);
    probe_all(&w, 10, 3);
    CHECK(!core_suspects_itself(w.core), "three of ten are silent: it is them");
    probe_all(&w, 10, 4);
    CHECK(core_suspects_itself(w.core), "four: it may be us");
    world_arrive(&w, 1, 0);
    CHECK(w.actions.decision.mode == DECISION_SUSPICION, "our own count decides");
    for (int i = 0; i < 6; i++)
        probe_all(&w, 10, 4);
    CHECK(view(&w, 0).ejected == 0, "and nobody is ejected");
    probe_all(&w, 10, 2);
    CHECK(core_suspects_itself(w.core), "it takes more to be sure again");
    probe_all(&w, 10, 1);
    CHECK(!core_suspects_itself(w.core), "than to doubt");
    world_step(
        &w, (struct event){.kind = EVENT_PROBE, .probe = {.node = 0, .failure = FAILURE_CONNECT}});
    CHECK(view(&w, 0).ejected == 1, "who is still silent then is out at once");
    world_close(&w);
    world_open(&w, 16, RULE_TIME, 1);
    without(&w, WITHOUT_SELF_SUSPICION);
    for (uint32_t node = 0; node < 10; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    probe_all(&w, 10, 0);
    probe_all(&w, 10, 10);
    CHECK(!core_suspects_itself(w.core), "without it nobody doubts");
    world_close(&w);
}

static void
test_suspicion_ends(void)
{
    struct world w;

    world_open(&w, 16, RULE_TIME, 1);
    for (uint32_t node = 0; node < 10; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    probe_all(&w, 10, 0);
    probe_all(&w, 10, 5);
    w.now_ns += 61000 * WORLD_MS;
    probe_all(&w, 10, 5);
    CHECK(!core_suspects_itself(w.core), "who is silent for a minute is gone");
    probe_all(&w, 10, 10);
    CHECK(core_suspects_itself(w.core), "now the others are silent too");
    w.now_ns += 61000 * WORLD_MS;
    probe_all(&w, 10, 10);
    CHECK(core_suspects_itself(w.core), "as long as nobody is heard, it may be us");
    world_close(&w);
}

static void
vouch(struct world *w, uint32_t node, bool vouched)
{
    world_step(w, (struct event){.kind = EVENT_NODE,
                                 .node = {.node = node,
                                          .epoch = 1,
                                          .slots = 64,
                                          .rtt_ms = 5.0f,
                                          .unproven = vouched ? 0 : 1}});
}

/* Nodes first to end, so that they are not heard, or are. */
static void
probe_some(struct world *w, uint32_t first, uint32_t end, uint32_t failure)
{
    for (uint32_t node = first; node < end; node++)
        world_step(
            w, (struct event){.kind = EVENT_PROBE, .probe = {.node = node, .failure = failure}});
    for (unsigned i = 0; i < 40; i++) /* around all of them */
        tick(w, 10);
}

/* 400 strangers, who fall silent when they like, and five nodes that somebody vouches for. */
static void
test_suspicion_strangers(void)
{
    enum { STRANGERS = 400, ALL = STRANGERS + 5 };
    struct world w;

    world_open(&w, ALL, RULE_TIME, 1);
    for (uint32_t node = 0; node < ALL; node++) {
        vouch(&w, node, node >= STRANGERS);
        world_step(
            &w, (struct event){.kind = EVENT_MODEL, .model = {.node = node, .state = MODEL_READY}});
    }
    probe_some(&w, 0, ALL, FAILURE_NONE);
    probe_some(&w, 0, STRANGERS, FAILURE_CONNECT);
    CHECK(!core_suspects_itself(w.core), "what strangers do is theirs, however many they are");
    for (unsigned i = 0; i < 8; i++)
        probe_some(&w, STRANGERS, STRANGERS + 1, FAILURE_CONNECT);
    CHECK(!core_suspects_itself(w.core) && view(&w, STRANGERS).ejected == 1,
          "and does not hide who really fails");
    probe_some(&w, STRANGERS, ALL, FAILURE_NONE);
    probe_some(&w, STRANGERS + 1, STRANGERS + 3, FAILURE_CONNECT);
    CHECK(core_suspects_itself(w.core), "two of five of whom we know are silent: it may be us");
    probe_some(&w, STRANGERS, ALL, FAILURE_NONE);
    CHECK(!core_suspects_itself(w.core), "they are heard, and strangers do not prolong it");
    for (uint32_t node = STRANGERS; node < ALL - 1; node++)
        world_step(&w, (struct event){.kind = EVENT_NODE_GONE,
                                      .node_gone = {.node = node, .epoch = UINT32_MAX}});
    probe_some(&w, ALL - 1, ALL, FAILURE_NONE);
    CHECK(!core_suspects_itself(w.core), "one is left, and heard");
    vouch(&w, ALL - 1, false);
    probe_some(&w, 0, STRANGERS, FAILURE_NONE);
    CHECK(!core_suspects_itself(w.core), "then nobody vouches for anybody");
    probe_some(&w, 0, STRANGERS, FAILURE_CONNECT);
    CHECK(core_suspects_itself(w.core), "so all of them count");
    vouch(&w, ALL - 1, true);
    probe_some(&w, ALL - 1, ALL, FAILURE_NONE);
    CHECK(!core_suspects_itself(w.core), "until there is somebody of whom more is known");
    world_close(&w);
}

/* Nodes that tell by themselves, twice a second. */
static void
test_suspicion_by_reports(void)
{
    struct world w;
    uint32_t silent = 0;

    world_open(&w, 16, RULE_TIME, 1);
    for (uint32_t node = 0; node < 10; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    for (int i = 0; i < 40; i++) {
        silent = i >= 20 ? 5 : 0;
        for (uint32_t node = silent; node < 10; node++)
            world_report(&w, node, 1.0f, 0.0f);
        tick(&w, 500);
        if (i < 20 || i == 22)
            CHECK(!core_suspects_itself(w.core), i < 20 ? "all are heard" : "not yet");
    }
    CHECK(core_suspects_itself(w.core), "half of them are late, by their own pace");
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
    test_goal();
    test_goal_sample();
    test_stale();
    test_stale_as_well_as_least_request();
    test_alone();
    test_suspicion();
    test_suspicion_ends();
    test_suspicion_strangers();
    test_suspicion_by_reports();
    return tap_done();
}

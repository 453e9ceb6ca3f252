/* core_test - what follows from what: dispatch, reservation, retry, refusal, blame, learning. */
#include "core/core.h"

#include "tap.h"
#include "world.h"

static struct node_view
view(const struct world *w, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    must(core_view_nodes(w->core, w->now_ns, node, views, &next) >= 1);
    return views[0];
}

static enum why_not
why(const struct world *w, uint32_t node)
{
    const struct decision *d = &w->actions.decision;

    for (uint32_t i = 0; i < d->candidate_count; i++) {
        if (d->candidates[i].node == node)
            return d->candidates[i].why;
    }
    return WHY_COUNT;
}

static void
test_faster_is_not_closer(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 2.0f, 0, MODEL_READY);  /* near, flooded */
    world_node(&w, 1, 1, 80.0f, 0, MODEL_READY); /* far, idle */
    world_node(&w, 2, 0, 1.0f, 1, MODEL_READY);  /* nearest, another model */
    world_report(&w, 0, 64.0f, 100.0f);
    world_report(&w, 1, 0.0f, 0.0f);
    CHECK(world_arrive(&w, 1, 0) == 1, "the idle far node answers before the flooded near one");
    CHECK(why(&w, 1) == WHY_CHOSEN, "the decision says who was chosen");
    CHECK(why(&w, 0) == WHY_COUNT, "the near one, at its limit, is not even weighed");
    CHECK(why(&w, 2) == WHY_ABSENT, "and that the nearest does not have the model");
    world_report(&w, 0, 60.0f, 8.0f);
    CHECK(world_arrive(&w, 2, 0) == 1 && why(&w, 0) == WHY_SLOWER, "or only slower");
    world_report(&w, 0, 0.0f, 0.0f);
    CHECK(world_arrive(&w, 3, 0) == 0, "once the near one is idle it wins");
    world_close(&w);
}

static void
test_reservation(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 5.0f, 0, MODEL_READY);
    world_node(&w, 1, 0, 5.0f, 0, MODEL_READY);
    world_report(&w, 0, 0.0f, 0.0f);
    world_report(&w, 1, 0.0f, 0.0f);
    for (uint64_t id = 1; id <= 20; id++)
        CHECK(world_arrive(&w, id, 0) != NODE_ANY, "dispatched");
    CHECK(view(&w, 0).own_outstanding + view(&w, 1).own_outstanding == 20, "all are counted");
    CHECK(view(&w, 0).own_outstanding >= 7 && view(&w, 1).own_outstanding >= 7,
          "what was sent a moment ago counts in the next choice");
    for (uint64_t id = 1; id <= 20; id++)
        world_started(&w, id, 1);
    CHECK(view(&w, 0).queue_tokens == 0.0f, "the first token releases the prefill");
    for (uint64_t id = 1; id <= 10; id++)
        world_ended(&w, id, 1, 50);
    for (uint64_t id = 11; id <= 20; id++)
        world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
    CHECK(view(&w, 0).own_outstanding == 0 && view(&w, 1).own_outstanding == 0,
          "ended and cancelled release all");
    world_close(&w);
}

static void
test_retry(void)
{
    struct world w;
    uint32_t first, second, third;

    world_open(&w, 8, RULE_TIME, 1);
    for (uint32_t node = 0; node < 4; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    first = world_arrive(&w, 1, 0);
    world_failed(&w, 1, 1, FAILURE_CONNECT, 0);
    CHECK(w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH, "tried again");
    second = w.actions.list[0].dispatch.node;
    CHECK(second != first && w.actions.list[0].dispatch.attempt == 2, "on another node");
    world_failed(&w, 1, 1, FAILURE_CONNECT, 0);
    CHECK(w.actions.count == 0, "an event of an attempt that is over does nothing");
    world_failed(&w, 1, 2, FAILURE_EOF, 0);
    third = w.actions.list[0].dispatch.node;
    CHECK(third != first && third != second, "and on a third");
    world_failed(&w, 1, 3, FAILURE_EOF, 0);
    CHECK(w.actions.list[0].kind == ACTION_REFUSE &&
              w.actions.list[0].refuse.refusal == REFUSAL_ALL_TRIED &&
              w.actions.list[0].refuse.attempts == 3,
          "three tries are enough");
    world_arrive(&w, 2, 0);
    world_started(&w, 2, 1);
    world_failed(&w, 2, 1, FAILURE_EOF, 1);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_STARTED, "no retry once content went out");
    world_arrive(&w, 3, 0);
    world_failed(&w, 3, 1, FAILURE_REQUEST, 0);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_REQUEST, "a 4xx is the request's own");
    world_close(&w);
}

static void
test_retry_budget(void)
{
    struct world w;
    uint32_t retries = 0;

    world_open(&w, 8, RULE_RANDOM, 1);
    for (uint32_t node = 0; node < 8; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    for (uint64_t id = 1; id <= 200; id++) { /* all at one instant: only first attempts earn */
        world_arrive(&w, id, 0);
        world_failed(&w, id, 1, FAILURE_BUSY, 0);
        if (w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH) {
            retries++;
            world_failed(&w, id, 2, FAILURE_REQUEST, 0);
        }
        w.now_ns += 1; /* busy ends at once for the next round */
        for (uint32_t node = 0; node < 8; node++)
            world_step(&w, (struct event){.kind = EVENT_NODE_GONE,
                                          .node_gone = {.node = node, .epoch = 9}});
        for (uint32_t node = 0; node < 8; node++)
            world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    }
    CHECK(retries >= 20 && retries <= 31, "retries are a tenth of first attempts, and the start");
    world_close(&w);
}

static void
test_refusals(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    CHECK(world_arrive(&w, 1, 0) == NODE_ANY && w.actions.list[0].refuse.refusal == REFUSAL_NO_NODE,
          "nobody has the model");
    world_node(&w, 0, 0, 5.0f, 0, MODEL_DOWNLOADING);
    world_arrive(&w, 2, 0);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_NOT_READY, "it is being downloaded");
    world_step(&w,
               (struct event){.kind = EVENT_MODEL,
                              .model = {.node = 0, .state = MODEL_DORMANT, .ready_in_ms = NAN}});
    world_arrive(&w, 20, 0);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_NOT_READY, "or sleeps until it is woken");
    world_node(&w, 1, 0, 5.0f, 1, MODEL_READY);
    world_step(&w, (struct event){.kind = EVENT_NODE,
                                  .node = {.node = 1, .epoch = 1, .state = NODE_DRAIN}});
    world_arrive(&w, 3, 1);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_DRAINING, "its only node drains");
    world_node(&w, 2, 0, 5.0f, 2, MODEL_READY);
    world_arrive(&w, 4, 2);
    world_failed(&w, 4, 1, FAILURE_BUSY, 0);
    CHECK(w.actions.list[0].refuse.refusal == REFUSAL_ALL_TRIED, "the only node is busy");
    world_arrive(&w, 5, 2);
    CHECK(w.actions.list[0].kind == ACTION_HOLD, "and while it is, others are held");
    w.now_ns += 1100 * WORLD_MS;
    world_step(&w, (struct event){.kind = EVENT_TICK});
    CHECK(w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH &&
              w.actions.list[0].dispatch.request == 5,
          "until time lets them go");
    CHECK(world_arrive(&w, 6, 2) == 2, "a busy time ends");
    for (uint64_t id = 100; id < 200; id++)
        world_arrive(&w, id, 2);
    CHECK(w.actions.list[0].kind == ACTION_REFUSE &&
              w.actions.list[0].refuse.refusal == REFUSAL_CROWDED,
          "the request table is bounded");
    world_close(&w);
}

/* Of two nodes the nearer one is asked four times, and fails so. */
static void
open_failing(struct world *w, uint32_t failure)
{
    world_open(w, 8, RULE_NEAREST, 1);
    world_node(w, 0, 0, 1.0f, 0, MODEL_READY);
    world_node(w, 1, 1, 50.0f, 0, MODEL_READY);
    for (int i = 0; i < 4; i++)
        world_step(w,
                   (struct event){.kind = EVENT_PROBE, .probe = {.node = 0, .failure = failure}});
}

/* Who cannot be reached, or cannot prove who it is: out, and back with the first answer. */
static void
test_reach(uint32_t failure)
{
    struct world w;

    open_failing(&w, failure);
    CHECK(view(&w, 0).ejected == 1, "four straight failures put a node out");
    CHECK(view(&w, 0).ejected_for == failure && view(&w, 0).ejected_left_ms == 30000.0f &&
              isnan(view(&w, 1).ejected_left_ms),
          "why, and how long, is shown");
    CHECK(world_arrive(&w, 1, 0) == 1, "nobody is sent there");
    world_step(&w, (struct event){.kind = EVENT_PROBE, .probe = {.node = 0}});
    CHECK(world_arrive(&w, 2, 0) == 0, "a node that could not be reached and answers is back");
    world_close(&w);
}

/* A node that was out starts again: it is back at once if it could not be reached, for it is there
 * now; not if it failed, or it would have to start again only. */
static void
test_new_life(uint32_t failure, uint32_t node)
{
    struct event event = {.kind = EVENT_NODE, .node = {.epoch = 1, .slots = 64, .rtt_ms = 1.0f}};
    struct world w;

    open_failing(&w, failure);
    world_step(&w, event);
    CHECK(world_arrive(&w, 1, 0) == 1, "told of again in the same life: it is out still");
    event.node.epoch = 2;
    world_step(&w, event);
    CHECK(world_arrive(&w, 2, 0) == node, "its next life begins as why it was out has it");
    world_close(&w);
}

static void
test_blame(void)
{
    struct world w;

    world_open(&w, 8, RULE_NEAREST, 1);
    world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
    world_node(&w, 1, 1, 50.0f, 0, MODEL_READY);
    for (int i = 0; i < 4; i++)
        world_step(&w, (struct event){.kind = EVENT_PROBE,
                                      .probe = {.node = 0, .failure = FAILURE_CONNECT}});
    CHECK(view(&w, 0).ejected == 1, "four straight failures put a node out");
    CHECK(world_arrive(&w, 1, 0) == 1, "nobody is sent there");
    world_step(&w, (struct event){.kind = EVENT_PROBE, .probe = {.node = 0}});
    CHECK(world_arrive(&w, 2, 0) == 0, "a node that could not be reached and answers is back");
    for (int i = 0; i < 4; i++)
        world_step(&w, (struct event){.kind = EVENT_PROBE,
                                      .probe = {.node = 0, .failure = FAILURE_STATUS_5XX}});
    world_step(&w, (struct event){.kind = EVENT_PROBE, .probe = {.node = 0}});
    CHECK(world_arrive(&w, 3, 0) == 1, "after errors a good probe is not enough");
    for (int i = 0; i < 4; i++)
        world_step(&w, (struct event){.kind = EVENT_PROBE,
                                      .probe = {.node = 1, .failure = FAILURE_STATUS_5XX}});
    CHECK(world_arrive(&w, 4, 0) == 0, "when every node is out, they are used all the same");
    w.now_ns += 61000 * WORLD_MS;
    world_step(&w, (struct event){.kind = EVENT_TICK});
    CHECK(view(&w, 0).ejected == 0, "an ejection ends");
    world_close(&w);
}

/* Nodes whose true speed differs from the constants: predictions must come to fit. */
static void
test_learning(void)
{
    struct world w;
    const float factor[2] = {2.0f, 0.8f};
    float error = 0.0f;
    int counted = 0;

    world_open(&w, 8, RULE_ROUND_ROBIN, 1);
    world_node(&w, 0, 0, 10.0f, 0, MODEL_READY);
    world_node(&w, 1, 0, 10.0f, 0, MODEL_READY);
    for (uint64_t id = 1; id <= 120; id++) {
        uint32_t node = world_arrive(&w, id, 0);
        const struct terms *t = &w.actions.decision.candidates[0].terms;
        float raw_ms = (t->queue_ms + t->prefill_ms + t->step_ms) / view(&w, node).residual;
        float actual_ms = 10.0f + raw_ms * factor[node], predicted_ms = t->first_ms;
        world_step(&w, (struct event){.kind = EVENT_DISPATCHED,
                                      .dispatched = {.request = id, .attempt = 1}});
        w.now_ns += (uint64_t)((double)actual_ms * 1e6);
        world_started(&w, id, 1);
        if (id > 100) {
            error += fabsf(predicted_ms - actual_ms) / actual_ms;
            counted++;
        }
        w.now_ns += 1000 * WORLD_MS;
        world_ended(&w, id, 1, 100);
    }
    CHECK(error / (float)counted < 0.05f, "after 50 requests a node is predicted within 5 %");
    CHECK(view(&w, 0).residual > 1.5f && view(&w, 1).residual < 1.0f, "each has its own factor");
    world_close(&w);
}

/* One answer says that its prompt was absurdly long: what waits elsewhere is not priced by it. */
static void
test_absurd_prompt(void)
{
    struct world w;
    float before_ms, after_ms;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 10.0f, 0, MODEL_READY);
    world_report(&w, 0, 0.0f, 10.0f);
    world_arrive(&w, 1, 0);
    before_ms = w.actions.decision.candidates[0].terms.queue_ms;
    world_step(&w, (struct event){.kind = EVENT_ENDED,
                                  .ended = {.request = 1,
                                            .attempt = 1,
                                            .prompt_tokens = UINT32_MAX,
                                            .engine_prefill_ms = NAN,
                                            .engine_decode_ms = NAN}});
    world_report(&w, 0, 0.0f, 10.0f);
    world_arrive(&w, 2, 0);
    after_ms = w.actions.decision.candidates[0].terms.queue_ms;
    CHECK(before_ms > 0.0f && after_ms < 3.0f * before_ms, "one answer moves a mean a little");
    world_close(&w);
}

static void
test_lengths(void)
{
    struct world w;
    struct model_view before, after;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 10.0f, 0, MODEL_READY);
    core_view_model(w.core, 0, &before);
    for (uint64_t id = 1; id <= 200; id++) {
        world_arrive(&w, id, 0);
        w.now_ns += 100 * WORLD_MS;
        world_started(&w, id, 1);
        w.now_ns += 100 * WORLD_MS;
        world_ended(&w, id, 1, 20);
    }
    core_view_model(w.core, 0, &after);
    CHECK(before.output_tokens_mean > 100.0f && after.output_tokens_mean < 30.0f,
          "output lengths are learned");
    CHECK(fabsf(after.bytes_per_token[SCRIPT_ASCII] - 2000.0f / 476.0f) < 0.2f,
          "bytes per token are learned");
    world_arrive(&w, 999, 0);
    CHECK(w.actions.decision.output_tokens < 30.0f, "and used");
    world_close(&w);
}

static void
test_cold_start(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 1.0f, 0, MODEL_ON_DISK);
    CHECK(world_arrive(&w, 1, 0) == 0, "a model on disk is used when nothing else is");
    CHECK(w.actions.decision.candidates[0].terms.ready_ms > 1000.0f, "at the price of its load");
    world_node(&w, 1, 1, 150.0f, 0, MODEL_READY);
    CHECK(world_arrive(&w, 2, 0) == 1, "never when some node is ready");
    world_step(&w,
               (struct event){
                   .kind = EVENT_MODEL,
                   .model = {.node = 0, .model = 0, .state = MODEL_LOADING, .ready_in_ms = 20.0f}});
    CHECK(world_arrive(&w, 3, 0) == 0, "a load that is all but over beats a long way");
    world_close(&w);
}

/* What loads on a request is loaded once, however many ask for it meanwhile. */
static void
test_one_loads(void)
{
    struct world w;
    uint32_t first;

    world_open(&w, 8, RULE_TIME, 1);
    for (uint32_t node = 0; node < 4; node++)
        world_node(&w, node, 0, 1.0f, 0, node < 2 ? MODEL_ON_DISK : MODEL_SLEEPING);
    first = world_arrive(&w, 1, 0);
    for (uint64_t id = 2; id < 30; id++)
        CHECK(world_arrive(&w, id, 0) == first, "who comes next waits where it is loaded already");
    for (uint64_t id = 2; id < 30; id++)
        world_ended(&w, id, 1, 20);
    world_failed(&w, 1, 1, FAILURE_STATUS_5XX, 0);
    CHECK(w.actions.list[0].kind == ACTION_DISPATCH && w.actions.list[0].dispatch.node != first,
          "where it failed it does not load: the next one is asked");
    first = w.actions.list[0].dispatch.node;
    CHECK(world_arrive(&w, 31, 0) == first, "and all go there");
    for (uint32_t i = 0; i < 120; i++) { /* nothing is heard of it */
        w.now_ns += 100 * WORLD_MS;
        world_step(&w, (struct event){.kind = EVENT_TICK});
    }
    CHECK(world_arrive(&w, 32, 0) != UINT32_MAX && w.actions.decision.candidate_count > 1,
          "who is silent is not believed to load it for ever");
    world_close(&w);
}

static void
test_explain(void)
{
    struct world w;
    struct event e = {.kind = EVENT_ARRIVED,
                      .arrived = {.request = 77,
                                  .prompt_bytes = 2000,
                                  .stream = 1,
                                  .deadline_ms = NAN,
                                  .only_node = NODE_ANY}};
    struct decision d, again;

    world_open(&w, 8, RULE_TIME, 1);
    for (uint32_t node = 0; node < 4; node++)
        world_node(&w, node, 0, 5.0f, 0, MODEL_READY);
    core_explain(w.core, w.now_ns, &e, &d);
    core_explain(w.core, w.now_ns, &e, &again);
    CHECK(d.candidate_count == 4 && d.candidates[0].why == WHY_CHOSEN, "a dry run decides");
    CHECK(d.candidates[0].node == again.candidates[0].node, "and changes nothing");
    e.arrived.deadline_ms = e.arrived.tpot_goal_ms = 0.0f;
    core_explain(w.core, w.now_ns, &e, &again);
    CHECK(again.mode == DECISION_TIME && again.admission == ADMISSION_NOW,
          "a goal of nothing is none");
    CHECK(world_arrive(&w, 77, 0) == d.candidates[0].node, "the real one does the same");
    e.arrived.model = 60000;
    core_explain(w.core, w.now_ns, &e, &d);
    CHECK(d.candidate_count == 0, "an unknown model has no candidates");
    world_close(&w);
}

/* A whole answer shows nothing before its end; its prefill must not stand in the queue till then.
 */
static void
test_whole(void)
{
    struct world w;
    struct event e = {
        .kind = EVENT_ARRIVED,
        .arrived = {.request = 1, .prompt_bytes = 8000, .deadline_ms = NAN, .only_node = NODE_ANY}};

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 5.0f, 0, MODEL_READY);
    world_step(&w, e);
    CHECK(w.actions.decision.candidates[0].terms.net_ms == 5.0f,
          "the connection that is asked for load is kept: one round trip");
    CHECK(view(&w, 0).queue_tokens > 1000.0f, "a whole answer's prefill is queued");
    w.now_ns += (uint64_t)((double)w.actions.list[0].dispatch.first_ms * 2e6);
    world_step(&w, (struct event){.kind = EVENT_TICK});
    CHECK(view(&w, 0).queue_tokens == 0.0f, "until its first token is due");
    CHECK(view(&w, 0).own_outstanding == 1, "though it runs on");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 100);
    CHECK(view(&w, 0).own_outstanding == 0, "to its end");
    world_close(&w);
}

static void
test_gone(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 5.0f, 0, MODEL_READY);
    world_arrive(&w, 1, 0);
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 0}});
    CHECK(world_arrive(&w, 2, 0) == 0, "a ghost's farewell is ignored");
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 1}});
    CHECK(world_arrive(&w, 3, 0) == NODE_ANY, "a node that left gets nothing");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 10);
    world_node(&w, 0, 3, 5.0f, 0, MODEL_READY);
    CHECK(view(&w, 0).own_outstanding == 0, "its index starts afresh");
    world_failed(&w, 2, 1, FAILURE_EOF, 0);
    CHECK(w.actions.count == 1, "requests of the former life still end");
    world_close(&w);
}
/* One whole request at the only node, its first token first_ms after it was sent. Returns what
 * was predicted. */
static struct terms
one_request(struct world *w, uint64_t id, bool fresh, uint64_t first_ms)
{
    struct terms predicted;

    (void)world_arrive(w, id, 0);
    predicted = w->actions.decision.candidates[0].terms;
    world_step(
        w, (struct event){.kind = EVENT_DISPATCHED,
                          .dispatched = {.request = id, .attempt = 1, .fresh_connection = fresh}});
    w->now_ns += first_ms * WORLD_MS;
    world_started(w, id, 1);
    world_ended(w, id, 1, 5);
    return predicted;
}

/* An engine that closes its connections: only the one over which it was asked for its load is there
 * for a request, once. */
static void
test_connections_that_close(void)
{
    struct world w;
    uint64_t id = 1;

    world_open(&w, 4, RULE_TIME, 1);
    world_node(&w, 0, 0, 40.0f, 0, MODEL_READY);
    for (; id <= 10; id++)
        (void)one_request(&w, id, true, 150);
    CHECK(one_request(&w, id++, true, 150).net_ms == 80.0f, "two round trips, as each time");
    world_step(&w, (struct event){.kind = EVENT_PROBE, .probe = {.node = 0}});
    CHECK(one_request(&w, id++, false, 110).net_ms == 40.0f,
          "one, over the connection of the last poll");
    CHECK(one_request(&w, id++, true, 150).net_ms == 80.0f, "which is used up then");
    world_step(&w,
               (struct event){.kind = EVENT_PROBE, .probe = {.node = 0, .failure = FAILURE_EOF}});
    CHECK(one_request(&w, id++, true, 150).net_ms == 80.0f, "a poll that failed leaves none");
    world_close(&w);
}

/* Rare long waits that no news told of: the prediction stays with the usual. */
static void
test_surprises(void)
{
    struct world w;
    float usual_ms = 0.0f, later_ms = 0.0f;

    world_open(&w, 4, RULE_TIME, 1);
    world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
    for (uint64_t id = 1; id <= 41; id++)
        usual_ms = one_request(&w, id, id == 1, 100).first_ms;
    for (uint64_t id = 42; id <= 91; id++)
        later_ms = one_request(&w, id, false, id % 5 == 0 ? 1000 : 100).first_ms;
    CHECK(usual_ms > 90.0f && usual_ms < 110.0f, "the usual is learned");
    CHECK(later_ms > 90.0f && later_ms < 130.0f,
          "one in five at ten times as long moves it little");
    world_close(&w);
}

/* How fast a node is depends on the model: each placement tells its own, the node its fastest. */
static void
test_speeds(void)
{
    static const float b_ms[] = {0.02f, 0.2f}; /* of a prompt token */
    struct placement_view there[CORE_VIEW_MAX];
    struct speed_view fast, slow;
    struct world w;
    uint32_t next;

    world_open(&w, 4, RULE_TIME, 1);
    for (uint16_t m = 0; m < 2; m++)
        world_step(&w, (struct event){.kind = EVENT_CURVE,
                                      .curve = {.model = m,
                                                .curve = {.a_ms = 5.0f,
                                                          .b_ms = b_ms[m],
                                                          .t0_ms = 10.0f * (1.0f + (float)m),
                                                          .tb_ms = 0.1f},
                                                .kv_tokens_cap = 100000.0f,
                                                .load_ms = 20000.0f,
                                                .weights_mib = NAN}});
    world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
    for (uint16_t m = 0; m < 3; m++)
        world_step(&w, (struct event){.kind = EVENT_MODEL,
                                      .model = {.node = 0,
                                                .model = m,
                                                .state = m < 2 ? MODEL_READY : MODEL_ON_DISK,
                                                .ready_in_ms = NAN}});
    world_report(&w, 0, 0.0f, 0.0f);
    must(core_view_placements(w.core, w.now_ns, 0, there, &next) == 3);
    fast = slow = (struct speed_view){0};
    for (uint32_t i = 0; i < 3; i++) {
        if (there[i].model == 0)
            fast = there[i].speed;
        else if (there[i].model == 1)
            slow = there[i].speed;
        else
            CHECK(there[i].speed.prefill_tok_s == 0.0f, "what is on disk only has no speed");
    }
    CHECK(fast.prefill_tok_s > 9.0f * slow.prefill_tok_s && slow.prefill_tok_s > 0.0f &&
              fast.decode_tok_s > slow.decode_tok_s,
          "each model has its own speed there");
    CHECK(view(&w, 0).speed.prefill_tok_s == fast.prefill_tok_s, "the node has its fastest");
    CHECK(fast.free_prefill_tok_s == fast.prefill_tok_s, "idle, all of it is free");
    world_report(&w, 0, 1000.0f, 1000.0f);
    must(core_view_placements(w.core, w.now_ns, 0, there, &next) == 3);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(there[i].speed.free_prefill_tok_s == 0.0f, "flooded, none");
    world_close(&w);
}

int
main(void)
{
    test_faster_is_not_closer();
    test_reservation();
    test_retry();
    test_retry_budget();
    test_refusals();
    test_reach(FAILURE_CONNECT);
    test_reach(FAILURE_TLS);
    test_new_life(FAILURE_CONNECT, 0);
    test_new_life(FAILURE_TLS, 0);
    test_new_life(FAILURE_STATUS_5XX, 1);
    test_blame();
    test_learning();
    test_absurd_prompt();
    test_lengths();
    test_cold_start();
    test_one_loads();
    test_explain();
    test_whole();
    test_gone();
    test_connections_that_close();
    test_surprises();
    test_speeds();
    return tap_done();
}

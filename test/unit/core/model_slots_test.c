/* model_slots_test - models with slots of their own: who waits for one, who is in whose way, how
 * many are ours and how many others'. */
#include "tap.h"
#include "world.h"

enum { A = 0, B = 1 }; /* models */

static void
has_model(struct world *w, uint32_t node, uint16_t model, uint16_t state, uint32_t slots)
{
    world_step(
        w,
        (struct event){
            .kind = EVENT_MODEL,
            .model = {
                .node = node, .model = model, .state = state, .ready_in_ms = NAN, .slots = slots}});
}

static void
open_ollama(struct world *w, uint32_t slots)
{
    world_open(w, 4, RULE_TIME, 1);
    world_node(w, 0, 0, 1.0f, A, MODEL_READY);
    has_model(w, 0, A, MODEL_READY, slots);
    has_model(w, 0, B, MODEL_READY, slots);
}

/* What is there of a model with slots of its own. */
static struct placement_view
there(const struct world *w, uint32_t node, uint16_t model)
{
    struct placement_view views[CORE_VIEW_MAX];
    uint32_t next, count = core_view_placements(w->core, w->now_ns, node, views, &next);

    for (uint32_t i = 0; i < count; i++) {
        if (views[i].node == node && views[i].model == model)
            return views[i];
    }
    return (struct placement_view){0};
}

static void
told(struct world *w, uint32_t node, uint16_t model, float requests)
{
    world_step(w, (struct event){.kind = EVENT_REQUESTS,
                                 .requests = {.node = node, .model = model, .requests = requests}});
}

/* How long one more would wait at the node, as far as it is predicted. */
static float
queue_ms(const struct world *w, uint16_t model)
{
    const struct event e = {.kind = EVENT_ARRIVED,
                            .arrived = {.request = 999,
                                        .model = model,
                                        .prompt_bytes = 2000,
                                        .body_bytes = 2100,
                                        .max_tokens = 100,
                                        .stream = 1,
                                        .other_model = MODEL_NONE,
                                        .deadline_ms = NAN,
                                        .only_node = 0}};
    struct decision d;

    core_explain(w->core, w->now_ns, &e, &d);
    return d.candidate_count > 0 ? d.candidates[0].terms.queue_ms : NAN;
}

static void
test_queue(void)
{
    struct world w;
    float busy;

    open_ollama(&w, 2);
    CHECK(queue_ms(&w, A) == 0.0f && there(&w, 0, A).slots == 2, "idle");
    world_report(&w, 0, 4.0f, 0.0f);
    told(&w, 0, A, 1.0f);
    told(&w, 0, B, 3.0f);
    busy = queue_ms(&w, A);
    CHECK(busy > 0.0f && busy < 100.0f, "one slot is free: it waits for a step");
    CHECK(queue_ms(&w, B) > 20.0f * busy, "both are taken, and one waits: until two are over");
    told(&w, 0, B, 13.0f);
    CHECK(queue_ms(&w, A) == busy, "what waits for another model's slots is in nobody's way");
    world_close(&w);

    open_ollama(&w, 0);
    world_report(&w, 0, 13.0f, 0.0f);
    told(&w, 0, B, 13.0f);
    CHECK(queue_ms(&w, B) < 100.0f && there(&w, 0, B).requests == 0,
          "where models share the node's slots nothing is counted by model");
    world_close(&w);
}

static void
test_own(void)
{
    struct world w;

    open_ollama(&w, 2);
    CHECK(world_arrive(&w, 1, A) == 0 && world_arrive(&w, 2, A) == 0, "two go there");
    CHECK(there(&w, 0, A).requests == 2 && there(&w, 0, B).requests == 0, "counted at once");
    w.now_ns += 100 * WORLD_MS;
    world_report(&w, 0, 3.0f, 0.0f);
    told(&w, 0, A, 3.0f);
    CHECK(there(&w, 0, A).requests == 3, "one is another gateway's");
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = 2}});
    CHECK(there(&w, 0, A).requests == 2, "one of ours left");
    world_started(&w, 1, 1);
    world_ended(&w, 1, 1, 10);
    CHECK(there(&w, 0, A).requests == 1, "the other one is over");
    told(&w, 0, A, NAN);
    told(&w, 0, A, -1.0f);
    told(&w, 0, A, 1e9f);
    told(&w, 9, A, 1.0f);
    told(&w, 0, 3, 1.0f);
    CHECK(there(&w, 0, A).requests == 1, "nonsense changes nothing");
    told(&w, 0, A, 0.0f);
    CHECK(there(&w, 0, A).requests == 0, "nobody is there");
    world_close(&w);
}

/* A dispatch that the report cannot have seen is not taken off what it counts. */
static void
test_news(void)
{
    struct world w;

    open_ollama(&w, 4);
    CHECK(world_arrive(&w, 1, A) == 0, "one goes there");
    w.now_ns += 100 * WORLD_MS;
    CHECK(world_arrive(&w, 2, A) == 0, "and another one, just now");
    world_report(&w, 0, 1.0f, 0.0f);
    told(&w, 0, A, 1.0f);
    CHECK(there(&w, 0, A).requests == 2, "both are ours, and nobody else's");
    world_close(&w);
}

static void
test_limit(void)
{
    struct world w;
    uint32_t sent = 0;

    open_ollama(&w, 2);
    while (sent < 20 && world_arrive(&w, 1 + sent, A) == 0)
        sent++;
    CHECK(sent == 4, "two run and two may wait: the next one is held here");
    CHECK(world_arrive(&w, 100, B) == 0, "there is room for another model");
    has_model(&w, 0, A, MODEL_READY, 0);
    CHECK(there(&w, 0, A).slots == 0 && there(&w, 0, A).requests == 0,
          "when it has none of its own the node's count");
    has_model(&w, 0, A, MODEL_READY, 8);
    CHECK(there(&w, 0, A).requests == 4, "and what is there is counted when it has again");
    world_close(&w);
}

/* A copy that is full is not the one that is taken. */
static void
test_choice(void)
{
    struct world w;

    open_ollama(&w, 4);
    world_node(&w, 1, 0, 40.0f, A, MODEL_READY);
    has_model(&w, 1, A, MODEL_READY, 4);
    CHECK(world_arrive(&w, 1, A) == 0, "the near one");
    world_report(&w, 0, 5.0f, 0.0f);
    told(&w, 0, A, 4.0f);
    CHECK(world_arrive(&w, 2, A) == 1, "its slots are taken: the far one");
    told(&w, 0, A, 1.0f);
    CHECK(world_arrive(&w, 3, A) == 0, "those of others are not: the near one");
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 1}});
    world_ended(&w, 3, 1, 10);
    CHECK(world_arrive(&w, 4, A) == 1, "it left with what it had");
    world_close(&w);
}

/* What is configured of a polled node is meant of each model. */
static void
test_configured(void)
{
    struct world w;
    uint32_t sent = 0;

    world_open(&w, 4, RULE_TIME, 1);
    world_node(&w, 0, 0, 1.0f, A, MODEL_READY);
    for (uint16_t i = 0; i < 2; i++) {
        world_step(&w, (struct event){.kind = EVENT_NODE,
                                      .node = {.node = 0, .epoch = 1, .slots = 2, .rtt_ms = 1.0f}});
        has_model(&w, 0, A, MODEL_READY, 2);
        has_model(&w, 0, B, MODEL_READY, 2);
    }
    for (uint16_t i = 0; i < 5; i++) {
        sent += world_arrive(&w, 1u + i, A) == 0;
        sent += world_arrive(&w, 11u + i, B) == 0;
    }
    CHECK(sent == 8, "two of each run, and as many wait");
    world_close(&w);
}

int
main(void)
{
    test_queue();
    test_own();
    test_news();
    test_limit();
    test_choice();
    test_configured();
    return tap_done();
}

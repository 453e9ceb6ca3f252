/* prefix_test - who is thought to hold the beginning of a prompt, and what follows from it. */
#include "core/prefix.h"

#include "core/ring.h"
#include "tap.h"
#include "world.h"

#define NODES 6u

/* A made-up text: each KiB of it is a function of (text, border), as a chain hash is. */
static uint64_t
hash_of(uint64_t text, uint32_t border)
{
    struct rng rng;

    rng_init(&rng, text * 1000003u + border);
    return rng_u64(&rng);
}

/* A prompt of `count` borders, the first `shared` of them those of `text`, the rest of `other`. */
static struct event
prompt(uint64_t id, uint64_t text, uint32_t shared, uint64_t other, uint32_t count)
{
    struct event e = {.kind = EVENT_ARRIVED,
                      .arrived = {.request = id,
                                  .max_tokens = 20,
                                  .stream = 1,
                                  .other_model = MODEL_NONE,
                                  .deadline_ms = NAN,
                                  .tpot_goal_ms = NAN,
                                  .only_node = NODE_ANY}};

    e.prefix.count = count;
    for (uint32_t i = 0; i < count && i < PREFIX_BORDERS_MAX; i++)
        e.prefix.hashes[i] = hash_of(i < shared ? text : other, i);
    e.arrived.prompt_bytes =
        100 + (count > 0 && count <= PREFIX_BORDERS_MAX ? prefix_border_bytes(count - 1) : 5000);
    return e;
}

static void
fleet(struct world *w, uint32_t nodes)
{
    world_open(w, nodes, RULE_TIME, 1);
    for (uint32_t i = 0; i < nodes; i++) {
        world_node(w, i, 0, 5.0f, 0, MODEL_READY);
        world_report(w, i, 0.0f, 0.0f);
    }
}

/* It goes where core says, starts and ends as predicted. Returns where that was. */
static uint32_t
run(struct world *w, struct event e)
{
    uint32_t node;
    float first_ms, done_ms;

    world_step(w, e);
    must(w->actions.count == 1 && w->actions.list[0].kind == ACTION_DISPATCH);
    node = w->actions.list[0].dispatch.node;
    first_ms = w->actions.list[0].dispatch.first_ms;
    done_ms = w->actions.list[0].dispatch.done_ms;
    w->now_ns += (uint64_t)((double)first_ms * 1e6);
    world_started(w, e.arrived.request, 1);
    w->now_ns += (uint64_t)((double)(done_ms - first_ms) * 1e6);
    world_ended(w, e.arrived.request, 1, 20);
    return node;
}

static void
run_on(struct world *w, struct event e, uint32_t node)
{
    e.arrived.only_node = node;
    run(w, e);
}

/* What the node is expected to have of this prompt; -1: it is no candidate. */
static float
hit(const struct world *w, const struct event *e, uint32_t node)
{
    struct decision d;

    core_explain(w->core, w->now_ns, e, &d);
    for (uint32_t i = 0; i < d.candidate_count; i++) {
        if (d.candidates[i].node == node)
            return d.candidates[i].hit_tokens;
    }
    return -1.0f;
}

static uint32_t
chosen(const struct world *w, const struct event *e)
{
    struct decision d;

    core_explain(w->core, w->now_ns, e, &d);
    return d.candidate_count > 0 ? d.candidates[0].node : NODE_ANY;
}

static float
tokens_of(const struct world *w, uint32_t border)
{
    return (float)prefix_border_bytes(border) / w->core->models[0].bytes_per_token[0];
}

static bool
near(float a, float b)
{
    return fabsf(a - b) <= 0.01f * b + 0.5f;
}

static void
test_depths(void)
{
    static const uint32_t counts[] = {1, 2, 7, 8, 9, 15, 16, 17, 50, 64, 65, 100, 127, 128};
    struct world w;
    uint64_t id = 1;
    bool exact = true, others = true;

    fleet(&w, NODES);
    for (uint32_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        for (uint32_t shared = 0; shared <= counts[c]; shared++) {
            uint64_t text = 1 + id;
            struct event e = prompt(id++, text, counts[c], 0, counts[c]);
            run_on(&w, e, 2);
            e = prompt(id++, text, shared, text + 500000, counts[c]);
            exact = exact && (shared == 0 ? hit(&w, &e, 2) == 0.0f
                                          : near(hit(&w, &e, 2), tokens_of(&w, shared - 1)));
            others = others && hit(&w, &e, 3) == 0.0f;
        }
    }
    CHECK(exact, "of any prompt just the shared beginning is found, however long both are");
    CHECK(others, "and nowhere else");
    world_close(&w);
}

static void
test_choice(void)
{
    struct world w;
    struct event e = prompt(1, 7, 40, 0, 40);
    const struct decision *d = &w.actions.decision;
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    fleet(&w, NODES);
    run_on(&w, e, 4);
    e = prompt(2, 7, 40, 8, 44);
    world_step(&w, e);
    CHECK(d->candidates[0].node == 4, "the conversation goes on where it was");
    CHECK(near(d->hit_tokens, tokens_of(&w, 39)), "and the decision says why");
    CHECK(d->candidates[0].terms.prefill_ms < d->candidates[1].terms.prefill_ms / 4.0f,
          "what is cached is not read again");
    CHECK(d->candidates[0].stick_ms > 0.0f && d->candidates[1].stick_ms == 0.0f,
          "a holder is left only for a good reason");
    core_view_nodes(w.core, w.now_ns, 4, views, &next);
    CHECK(near(views[0].queue_tokens, d->prompt_tokens - d->hit_tokens),
          "only the rest is reserved");
    world_report(&w, 4, 64.0f, 200.0f);
    e = prompt(3, 7, 40, 9, 44);
    CHECK(chosen(&w, &e) != 4, "such as that it is flooded");
    e = prompt(4, 7, 3, 7, 3);
    e.arrived.prompt_bytes = 3072;
    CHECK(hit(&w, &e, 4) <= tokens_of(&w, 2) - 0.99f, "the last token is always computed");
    world_close(&w);
}

static void
test_off(void)
{
    struct world w;
    struct event e = prompt(1, 7, 40, 0, 40);
    struct event tuning = {.kind = EVENT_TUNING, .tuning = {.without = WITHOUT_PREFIX}};

    fleet(&w, NODES);
    run_on(&w, e, 4);
    e.arrived.request = 2;
    CHECK(hit(&w, &e, 4) > 0.0f, "with it");
    world_step(&w, tuning);
    CHECK(hit(&w, &e, 4) <= 0.0f, "and without it");
    world_close(&w);
}

static void
test_expiry(void)
{
    struct world w;
    struct event e = prompt(1, 7, 20, 0, 20), other;
    uint32_t fillers = 0;

    fleet(&w, NODES);
    world_step(&w, (struct event){.kind = EVENT_REPORT,
                                  .report = {.node = 1,
                                             .running = 0.0f,
                                             .waiting = 0.0f,
                                             .prefill_tokens_in_flight = NAN,
                                             .kv_tokens_used = 0.0f,
                                             .kv_tokens_cap = 60000.0f,
                                             .slots = NAN,
                                             .age_ms = 0.0f}});
    run_on(&w, e, 1);
    for (; fillers < 100 && near(hit(&w, &e, 1), tokens_of(&w, 19)); fillers++) {
        other = prompt(100 + fillers, 100 + fillers, 20, 0, 20);
        run_on(&w, other, 1);
    }
    CHECK(fillers >= 8 && fillers <= 16,
          "what a cache had is certain until it has read as much since as it keeps");
    for (uint32_t i = 0; i < 10; i++)
        run_on(&w, prompt(150 + i, 150 + i, 20, 0, 20), 1);
    CHECK(hit(&w, &e, 1) > 0.0f && hit(&w, &e, 1) < 0.5f * tokens_of(&w, 19), "then less likely");
    for (uint32_t i = 0; i < 40; i++)
        run_on(&w, prompt(180 + i, 180 + i, 20, 0, 20), 1);
    CHECK(hit(&w, &e, 1) == 0.0f, "and gone in the end");
    run_on(&w, prompt(2, 7, 20, 0, 20), 1);
    for (uint32_t i = 0; i < 40; i++) {
        run_on(&w, prompt(200 + 2 * i, 300 + i, 20, 0, 20), 1);
        if (i % 4 == 0)
            run_on(&w, prompt(201 + 2 * i, 7, 20, 0, 20), 1);
    }
    CHECK(hit(&w, &e, 1) > 0.0f, "what is used stays");
    world_close(&w);
}

static void
test_holders(void)
{
    struct world w;
    struct event e = prompt(1, 7, 10, 0, 10);
    uint32_t holders = 0;

    fleet(&w, NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        e.arrived.request = 1 + i;
        run_on(&w, e, i);
    }
    e.arrived.request = 100;
    for (uint32_t i = 0; i < NODES; i++)
        holders += hit(&w, &e, i) > 0.0f;
    CHECK(holders == PREFIX_HOLDERS_MAX, "four holders of a border are remembered");
    CHECK(hit(&w, &e, NODES - 1) > 0.0f && hit(&w, &e, 0) == 0.0f, "the newest");
    world_close(&w);
}

/* A sample of a large fleet: who holds it is a candidate all the same. */
static void
test_sample(void)
{
    struct world w;
    struct event e = prompt(1, 7, 30, 0, 30);

    fleet(&w, 60);
    for (uint32_t i = 0; i < 60; i++)
        world_report(&w, i, i == 50 ? 50.0f : 0.0f, 0.0f); /* the busiest is in no sample */
    run_on(&w, e, 50);
    e.arrived.request = 2;
    CHECK(hit(&w, &e, 50) > 0.0f, "a holder is a candidate, whatever its headroom");
    e = prompt(3, 8, 0, 0, 0);
    e.arrived.session = 99;
    CHECK(hit(&w, &e, 50) < 0.0f, "others are not");
    run_on(&w, e, 50);
    e.arrived.request = 4;
    CHECK(hit(&w, &e, 50) == 0.0f, "where a conversation was last is one");
    world_close(&w);
}

static void
test_forgetting(void)
{
    struct world w;
    struct event e = prompt(1, 7, 10, 0, 10);
    struct event again = {.kind = EVENT_NODE,
                          .node = {.node = 1, .epoch = 2, .slots = 64, .rtt_ms = 5.0f}};

    fleet(&w, NODES);
    run_on(&w, e, 1);
    e.arrived.request = 2;
    world_step(&w, (struct event){.kind = EVENT_NODE,
                                  .node = {.node = 1, .epoch = 1, .slots = 64, .rtt_ms = 5.0f}});
    CHECK(hit(&w, &e, 1) > 0.0f, "news of a node change nothing");
    world_step(&w, again);
    CHECK(hit(&w, &e, 1) == 0.0f, "a node that restarted has nothing");
    run_on(&w, e, 1);
    e.arrived.request = 3;
    world_step(&w,
               (struct event){.kind = EVENT_MODEL,
                              .model = {.node = 1, .state = MODEL_SLEEPING, .ready_in_ms = NAN}});
    world_step(&w, (struct event){.kind = EVENT_MODEL,
                                  .model = {.node = 1, .state = MODEL_READY, .ready_in_ms = NAN}});
    CHECK(hit(&w, &e, 1) == 0.0f, "nor has a model that slept");
    run_on(&w, e, 1);
    e.arrived.request = 4;
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 1, .epoch = 2}});
    world_node(&w, 1, 0, 5.0f, 0, MODEL_READY);
    CHECK(hit(&w, &e, 1) == 0.0f, "nor who comes in the place of one that left");
    run_on(&w, e, 1);
    e.arrived.request = 5;
    CHECK(hit(&w, &e, 1) > 0.0f, "until it is used");
    for (uint64_t i = 0; i < 5; i++) {
        struct event f = prompt(50 + i, 60 + i, 1, 0, 1);
        f.arrived.only_node = 1;
        world_step(&w, f);
        world_failed(&w, 50 + i, 1, FAILURE_STATUS_5XX, 1);
    }
    w.now_ns += 40000 * WORLD_MS;
    world_step(&w, (struct event){.kind = EVENT_TICK});
    CHECK(hit(&w, &e, 1) == 0.0f, "a node that was ejected may have lost all");
    world_close(&w);
}

static void
test_pressure(void)
{
    struct world w;
    struct prefix_view v;
    struct event e;
    bool fresh = true;

    fleet(&w, NODES);
    for (uint64_t i = 1; i <= 100000; i++) {
        e = prompt(i, i, 10, 0, 10);
        run_on(&w, e, (uint32_t)(i % NODES));
        if (i % 1000 == 0) {
            e.arrived.request = 1u << 30;
            fresh = fresh && hit(&w, &e, (uint32_t)(i % NODES)) > 0.0f;
        }
    }
    core_view_prefix(w.core, &v);
    CHECK(fresh, "after a million borders the last prompt is known");
    CHECK(v.entries_max >= 65536 && v.entries_max <= 2 * 65536 + 8,
          "the index is as large as said");
    CHECK(v.entries > v.entries_max / 2 && v.entries <= v.entries_max, "full, and not over it");
    CHECK(v.evictions < 100000, "what made room had mostly expired");
    world_close(&w);
}

static void
test_hostile(void)
{
    struct world w;
    struct event e;

    fleet(&w, NODES);
    e = prompt(1, 1, 10, 0, PREFIX_BORDERS_MAX + 1);
    e.prefix.count = UINT32_MAX;
    CHECK(chosen(&w, &e) != NODE_ANY, "a count out of range is no chain");
    run_on(&w, e, 1);
    for (uint64_t i = 0; i < 200; i++) {
        e = prompt(10 + i, 1, 0, 0, PREFIX_BORDERS_MAX);
        for (uint32_t k = 0; k < PREFIX_BORDERS_MAX; k++)
            e.prefix.hashes[k] = i % 2 == 0 ? 0 : UINT64_MAX;
        e.arrived.prompt_bytes = i % 3 == 0 ? 0 : UINT32_MAX;
        run_on(&w, e, (uint32_t)(i % NODES));
    }
    e.arrived.request = 1000;
    e.arrived.prompt_bytes = 100;
    CHECK(hit(&w, &e, (uint32_t)(209 % NODES)) < 25.0f, "a hit is never more than the prompt");
    world_close(&w);
}

/* A shared beginning that comes more often than its holders can serve gets more of them. */
static void
test_hot(void)
{
    struct world w;
    struct event e;
    uint32_t homes[2] = {0};

    for (uint32_t hot = 0; hot < 2; hot++) {
        uint32_t seen = 0;
        fleet(&w, NODES);
        for (uint64_t i = 1; i <= 60; i++) {
            e = prompt(i, 7, 8, 100 + i, 10);
            e.arrived.max_tokens = 100;
            for (uint32_t node = 0; hot == 0 && node < NODES; node++)
                world_report(&w, node, 0.0f, 0.0f);
            if (hot == 0) {
                seen |= 1u << run(&w, e);
                w.now_ns += 2000 * WORLD_MS;
                continue;
            }
            world_step(&w, e);
            must(w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH);
            seen |= 1u << w.actions.list[0].dispatch.node;
            w.now_ns += 20 * WORLD_MS;
        }
        homes[hot] = (uint32_t)__builtin_popcount(seen);
        world_close(&w);
    }
    CHECK(homes[0] <= 2, "one that comes now and then stays together");
    CHECK(homes[1] >= 4, "a hot one spreads");
}

/* One request on node 1 with all of its beginning sent there before; the engine says what it had.
 */
static void
told(struct world *w, uint64_t id, uint64_t text, uint32_t cached)
{
    struct event e = prompt(id, text, 20, 0, 20);
    float prompt_tokens;

    e.arrived.only_node = 1;
    world_step(w, e);
    prompt_tokens = w->actions.decision.prompt_tokens;
    world_started(w, id, 1);
    world_step(w, (struct event){.kind = EVENT_ENDED,
                                 .ended = {.request = id,
                                           .attempt = 1,
                                           .prompt_tokens = (uint32_t)prompt_tokens,
                                           .cached_tokens = cached,
                                           .cached_known = 1,
                                           .output_tokens = 10,
                                           .engine_prefill_ms = NAN,
                                           .engine_decode_ms = NAN}});
}

/* A cache that keeps far more than its node's memory says: host memory behind it. */
static void
test_larger(void)
{
    struct world w;
    struct event e = prompt(9000, 0, 20, 0, 20);
    float before, after;

    fleet(&w, NODES);
    for (uint64_t i = 0; i < 27; i++)
        told(&w, 10 + i, 100 + i, 0);
    e = prompt(9000, 100, 20, 0, 20);
    before = hit(&w, &e, 1);
    CHECK(before > 0.0f && before < 0.8f * tokens_of(&w, 19), "it should be gone, perhaps");
    for (uint64_t i = 0; i < 20; i++)
        told(&w, 100 + i, 100 + i, 4800);
    for (uint64_t i = 0; i < 27; i++)
        told(&w, 200 + i, 300 + i, 0);
    e = prompt(9000, 300, 20, 0, 20);
    after = hit(&w, &e, 1);
    CHECK(after > 1.2f * before, "what is found beyond it makes it larger");
    world_close(&w);
}

/* One that all send: more nodes have it than are remembered. */
static void
test_common(void)
{
    struct world w;
    struct event e = prompt(9000, 7, 4, 0, 6);

    fleet(&w, 12);
    world_sample(&w, 6); /* all of them */
    for (uint64_t i = 0; i < 200; i++) {
        struct event a = prompt(10 + i, 7, 4, 100 + i, 6);
        struct event_ended ended = {.request = 10 + i,
                                    .attempt = 1,
                                    .prompt_tokens = 1500,
                                    .cached_tokens = i < 12 ? 0 : 975,
                                    .cached_known = 1,
                                    .output_tokens = 10,
                                    .engine_prefill_ms = NAN,
                                    .engine_decode_ms = NAN};
        a.arrived.only_node = (uint32_t)(i % 12);
        world_step(&w, a);
        world_started(&w, 10 + i, 1);
        world_step(&w, (struct event){.kind = EVENT_ENDED, .ended = ended});
    }
    CHECK(hit(&w, &e, 7) > 0.9f * tokens_of(&w, 3), "a holder is known");
    CHECK(hit(&w, &e, 2) > 0.7f * tokens_of(&w, 3), "the others are found out");
    world_close(&w);
}

static void
test_learning(void)
{
    struct world w;
    struct event e = prompt(1, 7, 20, 0, 20);
    float before;

    fleet(&w, NODES);
    run_on(&w, e, 1);
    before = hit(&w, &e, 1);
    for (uint64_t i = 0; i < 300; i++)
        told(&w, 1000 + i, 7, (uint32_t)(before * 0.9f));
    e.arrived.request = 2;
    CHECK(near(hit(&w, &e, 1), before * 0.9f), "hits follow what engines say of them");
    for (uint64_t i = 0; i < 60; i++) {
        told(&w, 200 + 2 * i, 1000 + i, 0);
        told(&w, 201 + 2 * i, 1000 + i, 0); /* expected, and never there */
    }
    run_on(&w, prompt(500, 8, 20, 0, 20), 1);
    run_on(&w, prompt(501, 9, 20, 0, 20), 1);
    run_on(&w, prompt(502, 10, 20, 0, 20), 1);
    e = prompt(503, 8, 20, 0, 20);
    CHECK(hit(&w, &e, 1) == 0.0f, "a cache that never has what it should is a small one");
    run_on(&w, prompt(504, 8, 20, 0, 20), 2);
    CHECK(hit(&w, &e, 2) > 0.0f, "which says nothing of others");
    world_close(&w);
}

/* A node that always says a little less than what is expected does not lead the expectations of all
 * nodes away for good. */
static void
test_claims(void)
{
    struct world w;
    struct event e = prompt(1, 7, 20, 0, 20);
    float truth;

    fleet(&w, NODES);
    run_on(&w, prompt(2, 7, 20, 0, 20), 1);
    truth = hit(&w, &e, 1);
    for (uint64_t i = 0; i < 600; i++)
        told(&w, 1000 + i, 7, (uint32_t)(hit(&w, &e, 1) * 0.82f));
    CHECK(hit(&w, &e, 1) > 0.8f * truth, "what a node says of its hits is believed so far");
    for (uint64_t i = 0; i < 600; i++)
        told(&w, 5000 + i, 7, (uint32_t)truth);
    CHECK(near(hit(&w, &e, 1), truth), "and the truth is learned again");
    world_close(&w);
}

/* The same fleet in another order, as another gateway would number it. */
static void
ring_fleet(struct world *w, uint32_t first)
{
    world_open(w, 16, RULE_TIME, 1);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t node = (i * 7 + first) % 16;
        world_step(w, (struct event){.kind = EVENT_NODE,
                                     .node = {.node = node,
                                              .epoch = 1,
                                              .slots = 64,
                                              .rtt_ms = 5.0f,
                                              .identity = 1000 + (node + first) % 16}});
        world_step(
            w, (struct event){.kind = EVENT_MODEL,
                              .model = {.node = node, .state = MODEL_READY, .ready_in_ms = NAN}});
    }
}

static uint32_t
ring_identity(const struct world *w, uint32_t hash)
{
    uint32_t p = ring_at(w->core, 0, 0, hash);

    return p == NONE ? 0 : w->core->cold[w->core->links[p].node].identity;
}

static void
test_ring(void)
{
    struct world a, b;
    uint32_t before[RING_SLOTS], same = 0, moved = 0, wrong = 0, owned = 0;

    ring_fleet(&a, 0);
    ring_fleet(&b, 5);
    for (uint32_t i = 0; i < RING_SLOTS; i++) {
        before[i] = ring_identity(&a, i);
        same += before[i] == ring_identity(&b, i);
        owned += before[i] == 1003;
    }
    CHECK(same == RING_SLOTS, "gateways that number nodes otherwise have the same ring");
    world_step(&a, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 3, .epoch = 1}});
    for (uint32_t i = 0; i < RING_SLOTS; i++) {
        moved += ring_identity(&a, i) != before[i];
        wrong += ring_identity(&a, i) == 1003 || ring_identity(&a, i) == 0;
    }
    CHECK(moved == owned && wrong == 0, "who leaves gives away its own slots and no others");
    world_step(&a,
               (struct event){.kind = EVENT_NODE,
                              .node = {.node = 3, .epoch = 2, .rtt_ms = 5.0f, .identity = 1003}});
    world_step(&a, (struct event){.kind = EVENT_MODEL,
                                  .model = {.node = 3, .state = MODEL_READY, .ready_in_ms = NAN}});
    same = 0;
    for (uint32_t i = 0; i < RING_SLOTS; i++)
        same += ring_identity(&a, i) == before[i];
    CHECK(same == RING_SLOTS, "and has them again when it is back");
    world_close(&a);
    world_close(&b);
}

/* A placement goes to another model and changes its state so often that its generation is one that
 * it had: what was remembered of the former model is not taken for the new one's. */
static void
test_generations(void)
{
    struct event e = prompt(1, 7, 10, 0, 10), model = {.kind = EVENT_MODEL};
    struct world w;

    fleet(&w, NODES);
    run_on(&w, e, 1);
    e.arrived.request = 2;
    model.model = (struct event_model){.node = 1, .state = MODEL_ABSENT, .ready_in_ms = NAN};
    world_step(&w, model);
    model.model.model = 1;
    model.model.state = MODEL_LOADING;
    for (uint32_t i = 1; i < PREFIX_GENERATIONS - 2; i++)
        world_step(&w, model);
    model.model.state = MODEL_READY;
    world_step(&w, model);
    for (uint32_t i = 0; i < 4; i++, world_step(&w, model)) {
        CHECK(hit(&w, &e, 1) < 0.0f, "it does not have the model");
        model.model.state = i % 2 == 0 ? MODEL_LOADING : MODEL_READY;
    }
    world_close(&w);
}

/* Prompts that we never sent, and that are cached where the ring says: another gateway sends them
 * there too. */
static void
test_ring_learning(void)
{
    struct world w;
    struct event e = prompt(9000, 77, 20, 0, 20);
    float best = 0.0f;

    fleet(&w, NODES);
    for (uint32_t i = 0; i < NODES; i++)
        best = max_f(best, hit(&w, &e, i));
    CHECK(best == 0.0f, "nothing is expected of the ring at first");
    for (uint64_t i = 0; i < 300; i++) {
        struct event a = prompt(10 + i, 100 + i, 20, 0, 20);
        struct event_ended ended = {.request = 10 + i,
                                    .attempt = 1,
                                    .prompt_tokens = 4900,
                                    .cached_tokens = 4800,
                                    .cached_known = 1,
                                    .output_tokens = 10,
                                    .engine_prefill_ms = NAN,
                                    .engine_decode_ms = NAN};
        a.arrived.only_node = (uint32_t)(i % NODES);
        world_step(&w, a);
        world_started(&w, 10 + i, 1);
        world_step(&w, (struct event){.kind = EVENT_ENDED, .ended = ended});
    }
    for (uint32_t i = 0; i < NODES; i++)
        best = max_f(best, hit(&w, &e, i));
    CHECK(best > 0.5f * tokens_of(&w, 19), "then as much as was found there");
    world_close(&w);
}

int
main(void)
{
    test_depths();
    test_choice();
    test_off();
    test_expiry();
    test_holders();
    test_sample();
    test_forgetting();
    test_pressure();
    test_hostile();
    test_hot();
    test_learning();
    test_claims();
    test_larger();
    test_common();
    test_generations();
    test_ring();
    test_ring_learning();
    return tap_done();
}

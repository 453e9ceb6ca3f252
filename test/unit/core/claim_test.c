/* claim_test - what a node says, held against what comes: each proof, what follows of it, and above
 * all what is no proof. */
#include "core/claim.h"

#include "core/readiness.h"
#include "tap.h"
#include "world.h"

#define NODES 4u

static struct node_view
view_of(const struct world *w, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    (void)core_view_nodes(w->core, w->now_ns, node, views, &next);
    return views[0];
}

static void
wait_ms(struct world *w, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i += 100) {
        w->now_ns += 100 * WORLD_MS;
        world_step(w, (struct event){.kind = EVENT_TICK});
    }
}

/* What a report may say; the rest is as an idle node has it. */
struct word {
    float requests, waiting, slots;
    uint64_t total;
    uint32_t acked, is_metrics;
};

static void
say(struct world *w, uint32_t node, struct word word)
{
    world_step(w, (struct event){.kind = EVENT_REPORT,
                                 .report = {.node = node,
                                            .running = word.requests - word.waiting,
                                            .waiting = word.waiting,
                                            .prefill_tokens_in_flight = 0.0f,
                                            .kv_tokens_used = 0.0f,
                                            .kv_tokens_cap = NAN,
                                            .slots = word.slots > 0.0f ? word.slots : NAN,
                                            .age_ms = 0.0f,
                                            .acked = word.acked,
                                            .is_word = word.is_metrics == 0,
                                            .accepted_total = word.total,
                                            .prefill_tok_s = NAN,
                                            .decode_tok_s = NAN}});
}

static void
open_nodes(struct world *w, uint32_t nodes)
{
    world_open(w, NODES, RULE_TIME, 1);
    for (uint32_t i = 0; i < nodes; i++)
        world_node(w, i, 0, 10.0f + 40.0f * (float)i, 0, MODEL_READY);
}

static void
end_request(struct world *w, uint64_t id, uint32_t held_up)
{
    world_step(w, (struct event){.kind = EVENT_ENDED,
                                 .ended = {.request = id,
                                           .attempt = 1,
                                           .prompt_tokens = 476,
                                           .output_tokens = 1000,
                                           .engine_prefill_ms = NAN,
                                           .engine_decode_ms = NAN,
                                           .held_up = held_up}});
}

/* Three requests run at the only node from before the word until behind it. */
static const struct {
    const char *label;
    struct word word;
    uint32_t begun_ms, end_ms, held_up; /* before the word; behind it */
    bool is_broken;
} loads[] = {
    {"all are counted", {.requests = 3}, 3000, 3000, 0, false},
    {"more than ours are counted", {.requests = 30}, 3000, 3000, 0, false},
    {"one is missing", {.requests = 2}, 3000, 3000, 0, true},
    {"it says it is idle", {.requests = 0}, 3000, 3000, 0, true},
    {"idle, by what it has acked", {.requests = 0, .acked = 3}, 1500, 3000, 0, true},
    {"the others it has not acked yet", {.requests = 1, .acked = 1}, 1500, 3000, 0, false},
    {"they began a moment before", {.requests = 0}, 1500, 3000, 0, false},
    {"acked, and a moment before", {.requests = 0, .acked = 3}, 500, 3000, 0, false},
    {"they ended a moment behind", {.requests = 0}, 3000, 300, 0, false},
    {"the client held them up", {.requests = 0}, 3000, 3000, 1, false},
    {"an engine's own figures", {.requests = 0, .is_metrics = 1}, 3000, 3000, 0, false},
    {"it does not say", {.requests = NAN, .waiting = NAN}, 3000, 3000, 0, false},
};

static void
test_load(void)
{
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct node_view v;
        struct world w;

        open_nodes(&w, 1);
        for (uint64_t id = 1; id <= 3; id++) {
            CHECK(world_arrive(&w, id, 0) == 0, "it goes to the only node");
            world_started(&w, id, 1);
        }
        wait_ms(&w, loads[i].begun_ms);
        say(&w, 0, loads[i].word);
        wait_ms(&w, loads[i].end_ms);
        for (uint64_t id = 1; id <= 3; id++)
            end_request(&w, id, loads[i].held_up);
        v = view_of(&w, 0);
        CHECK((v.claims_broken[CLAIM_LOAD] == 1) == loads[i].is_broken, loads[i].label);
        CHECK((v.word < 1.0f) == loads[i].is_broken, "and its word counts less, or whole");
        if (loads[i].is_broken)
            CHECK(v.claim == CLAIM_LOAD && v.claimed == loads[i].word.requests &&
                      v.came == loads[i].word.requests + 1.0f && v.broken_last_ago_ms == 0.0f,
                  "it is said what was claimed, and what came");
        world_close(&w);
    }
}

/* Answers of 1476 tokens each end behind a word; what it counts from it to the next one. */
static const struct {
    const char *label;
    uint64_t counted;
    uint32_t answers;
    bool is_broken;
} totals[] = {
    {"all tokens", 4428, 3, false},
    {"others' too", 100000, 3, false},
    {"nearly all: sides count a little apart", 3700, 3, false},
    {"a part of them", 1000, 3, true},
    {"none", 0, 3, true},
    {"none of none", 0, 0, false},
    {"another life, in which it counts anew", UINT64_C(0) - 5000, 3, false},
};

static void
test_tokens(void)
{
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        struct node_view v;
        struct world w;

        open_nodes(&w, 1);
        say(&w, 0, (struct word){.requests = 9, .total = 7000});
        for (uint64_t id = 1; id <= totals[i].answers; id++)
            (void)world_arrive(&w, id, 0);
        wait_ms(&w, 4000);
        for (uint64_t id = 1; id <= totals[i].answers; id++) {
            world_started(&w, id, 1);
            end_request(&w, id, 0);
        }
        wait_ms(&w, 7000);
        say(&w, 0, (struct word){.requests = 9, .total = 7000 + totals[i].counted});
        v = view_of(&w, 0);
        CHECK((v.claims_broken[CLAIM_TOKENS] == 1) == totals[i].is_broken, totals[i].label);
        CHECK(v.claims_tested ==
                  (totals[i].answers > 0 && i + 1 < sizeof(totals) / sizeof(totals[0])),
              "who answered was tested");
        world_close(&w);
    }
}

static void
test_ack(void)
{
    struct world w;

    open_nodes(&w, 1);
    (void)world_arrive(&w, 1, 0);
    say(&w, 0, (struct word){.requests = 1, .acked = 1});
    CHECK(view_of(&w, 0).word == 1.0f, "what we sent may be acked");
    say(&w, 0, (struct word){.requests = 1, .acked = 2});
    CHECK(view_of(&w, 0).claims_broken[CLAIM_ACK] == 1, "what we never sent may not");
    world_step(&w, (struct event){.kind = EVENT_NODE_GONE, .node_gone = {.node = 0, .epoch = 9}});
    world_node(&w, 0, 0, 10.0f, 0, MODEL_READY);
    say(&w, 0, (struct word){.requests = 1, .acked = 1});
    CHECK(view_of(&w, 0).word == 1.0f, "it left and came back: what it had then is no lie");
    world_close(&w);
}

static const struct {
    const char *label;
    struct word word;
    uint32_t ms;
    bool is_broken;
} rooms[] = {
    {"free slots, and full", {.requests = 4, .slots = 64}, 100, true},
    {"it was nearly full", {.requests = 40, .slots = 64}, 100, false},
    {"some wait", {.requests = 4, .waiting = 1, .slots = 64}, 100, false},
    {"that was long ago", {.requests = 4, .slots = 64}, 3000, false},
    {"an engine's own figures", {.requests = 4, .slots = 64, .is_metrics = 1}, 100, false},
};

static void
test_room(void)
{
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct node_view v;
        struct world w;

        open_nodes(&w, 1);
        say(&w, 0, rooms[i].word);
        wait_ms(&w, rooms[i].ms);
        (void)world_arrive(&w, 1, 0);
        world_failed(&w, 1, 1, FAILURE_BUSY, 0);
        v = view_of(&w, 0);
        CHECK((v.claims_broken[CLAIM_ROOM] == 1) == rooms[i].is_broken, rooms[i].label);
        say(&w, 0, rooms[i].word);
        CHECK(view_of(&w, 0).slots == (rooms[i].is_broken ? 4u : 64u),
              "its slots are those that it had, whatever it says");
        world_close(&w);
    }
}

/* More than it had when it turned us away begin there: then it has more. */
static void
test_room_is_found(void)
{
    struct world w;

    open_nodes(&w, 1);
    say(&w, 0, (struct word){.requests = 1, .slots = 64});
    (void)world_arrive(&w, 1, 0);
    world_failed(&w, 1, 1, FAILURE_BUSY, 0);
    wait_ms(&w, 2000);
    for (uint64_t id = 2; id < 10; id++) {
        say(&w, 0, (struct word){.requests = (float)(id - 1), .slots = 64});
        if (world_arrive(&w, id, 0) == 0)
            world_started(&w, id, 1);
        wait_ms(&w, 100);
    }
    say(&w, 0, (struct word){.requests = 8, .slots = 64});
    CHECK(view_of(&w, 0).slots > 4, "what it really takes is found out");
    world_close(&w);
}

static void
test_ready(void)
{
    struct world w;

    open_nodes(&w, 2);
    CHECK(world_arrive(&w, 1, 0) == 0, "the near one");
    world_failed(&w, 1, 1, FAILURE_MODEL, 0);
    CHECK(w.actions.count == 1 && w.actions.list[0].kind == ACTION_DISPATCH &&
              w.actions.list[0].dispatch.node == 1,
          "it has not got the model: the other one");
    CHECK(view_of(&w, 0).word == 1.0f, "once is no lie: it may have been unloaded just then");
    CHECK(view_of(&w, 0).models_ready == 0, "and it is not ready for a while");
    CHECK(world_arrive(&w, 2, 0) == 1, "so nobody goes there");
    wait_ms(&w, 1100);
    CHECK(world_arrive(&w, 3, 0) == 0, "then it is asked again");
    world_failed(&w, 3, 1, FAILURE_MODEL, 0);
    CHECK(view_of(&w, 0).claims_broken[CLAIM_READY] == 1, "twice is one");
    wait_ms(&w, 1100);
    CHECK(world_arrive(&w, 4, 0) == 1, "the second time it is longer");
    wait_ms(&w, 1100);
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = 4}});
    for (uint64_t id = 5; id < 9 && view_of(&w, 0).own_outstanding == 0; id++)
        (void)world_arrive(&w, id, 0);
    CHECK(view_of(&w, 0).own_outstanding == 1, "and asked again");
    world_close(&w);
}

/* The only node that has it: better asked in vain than nobody. */
static void
test_ready_alone(void)
{
    struct world w;

    open_nodes(&w, 1);
    (void)world_arrive(&w, 1, 0);
    world_failed(&w, 1, 1, FAILURE_MODEL, 0);
    CHECK(w.actions.list[0].kind == ACTION_REFUSE, "nobody else has it");
    CHECK(world_arrive(&w, 2, 0) == 0, "the next one is tried there all the same");
    world_started(&w, 2, 1);
    CHECK(readiness_find(w.core, 0, 0) != NONE, "it has the model");
    world_failed(&w, 2, 1, FAILURE_MODEL, 1);
    CHECK(view_of(&w, 0).word == 1.0f, "after an answer it begins anew");
    world_close(&w);
}

/* Of two alike the one whose word counts less costs more, and time forgives. */
static void
test_price(void)
{
    const struct decision *d;
    float least, last;
    struct world w;

    open_nodes(&w, 2);
    for (uint32_t i = 0; i < 6; i++)
        say(&w, 0, (struct word){.requests = 0, .acked = 99});
    say(&w, 1, (struct word){.requests = 0});
    least = view_of(&w, 0).word;
    CHECK(least < 0.15f && least >= 0.1f - 1e-6f, "a little of its word is left at last");
    for (uint64_t id = 1; id <= 20; id++) {
        CHECK(world_arrive(&w, id, 0) == 1, "all go to the other one");
        d = &w.actions.decision;
        for (uint32_t k = 0; k < d->candidate_count; k++)
            CHECK((d->candidates[k].word_ms > 0.0f) == (d->candidates[k].node == 0),
                  "and the decision says why");
        world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = id}});
    }
    wait_ms(&w, 600000);
    last = view_of(&w, 0).word;
    CHECK(last > 0.6f && last < 0.7f, "in ten minutes a third of the doubt is left");
    wait_ms(&w, 3600000);
    CHECK(view_of(&w, 0).word == 1.0f, "and in an hour none");
    CHECK(view_of(&w, 0).claims_broken[CLAIM_ACK] == 6, "what happened is not forgotten");
    world_close(&w);
}

/* What is doubted is taken to be as busy as the others are. */
static void
test_hidden(void)
{
    struct terms honest, doubted;
    struct world w;

    open_nodes(&w, 2);
    for (uint32_t i = 0; i < 500; i++)
        say(&w, 1, (struct word){.requests = 40, .waiting = 10});
    say(&w, 0, (struct word){.requests = 0});
    (void)world_arrive(&w, 1, 0);
    honest = w.actions.decision.candidates[0].terms;
    CHECK(w.actions.decision.candidates[0].node == 0, "the idle one");
    world_step(&w, (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = 1}});
    say(&w, 0, (struct word){.requests = 0, .acked = 99});
    (void)world_arrive(&w, 2, 0);
    doubted = w.actions.decision.candidates[0].terms;
    CHECK(w.actions.decision.candidates[0].node == 0 && doubted.step_ms > honest.step_ms,
          "it may have what others have");
    world_close(&w);
}

/* Says how fast it reads: a little is believed until it answered once. */
static void
test_told_speed(void)
{
    static const float said[] = {1e3f, 1e9f, NAN, -1.0f, 1e30f};
    struct event e = {.kind = EVENT_REPORT};
    struct node_view v;
    struct world w;

    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        open_nodes(&w, 1);
        e.report = (struct event_report){.node = 0, .is_word = 1, .accepted_total = TOTAL_UNKNOWN};
        e.report.prefill_tok_s = said[i];
        world_step(&w, e);
        v = view_of(&w, 0);
        CHECK(v.residual > 0.8f && v.residual < 1.25f, "whatever it says, it is bounded");
        CHECK(i >= 2 ? v.residual == 1.0f : (v.residual > 1.0f) == (i == 0),
              "slower, or faster, than its class; nonsense is neither");
        (void)world_arrive(&w, 1, 0);
        wait_ms(&w, 200);
        world_started(&w, 1, 1);
        v = view_of(&w, 0);
        world_step(&w, e);
        CHECK(v.residual == view_of(&w, 0).residual, "after its first answer it may say anything");
        world_close(&w);
    }
}

/* Two gateways send to it: our part of what it answered is our part of what it was sent. */
static void
test_share(void)
{
    struct terms alone, shared;
    struct world w;

    for (uint32_t others = 0; others < 2; others++) {
        uint64_t total = 1000;
        open_nodes(&w, 1);
        world_step(&w, (struct event){.kind = EVENT_GATEWAYS, .gateways = {.count = 8}});
        say(&w, 0, (struct word){.requests = 40, .waiting = 5, .total = total});
        for (uint64_t id = 1; id <= 20; id++) {
            (void)world_arrive(&w, id, 0);
            world_started(&w, id, 1);
            end_request(&w, id, 0);
            wait_ms(&w, 300);
            total += 1476 * (others == 0 ? 1 : 8);
            say(&w, 0, (struct word){.requests = 40, .waiting = 5, .total = total});
        }
        (void)world_arrive(&w, 100, 0); /* not in any report */
        (void)world_arrive(&w, 101, 0);
        *(others == 0 ? &alone : &shared) = w.actions.decision.candidates[0].terms;
        world_close(&w);
    }
    CHECK(shared.queue_ms > alone.queue_ms, "for each of ours others have sent some, too");
}

static void
test_without(void)
{
    struct event e = {.kind = EVENT_TUNING, .tuning = tuning_default};
    struct world w;

    open_nodes(&w, 1);
    e.tuning.without = WITHOUT_CLAIMS;
    world_step(&w, e);
    say(&w, 0, (struct word){.requests = 0, .acked = 99});
    CHECK(view_of(&w, 0).word == 1.0f, "left out, all is believed");
    world_close(&w);
}

int
main(void)
{
    test_load();
    test_tokens();
    test_ack();
    test_room();
    test_room_is_found();
    test_ready();
    test_ready_alone();
    test_price();
    test_hidden();
    test_told_speed();
    test_share();
    test_without();
    return tap_done();
}

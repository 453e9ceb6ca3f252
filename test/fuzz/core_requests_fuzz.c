/* core_requests_fuzz - whole requests through core_step: the bytes are choices of a driver, which
 * does what a gateway does and tells core what came of it, in any order, while nodes and models
 * come and go. No encoding stands between, so inputs stay good when events get new fields.
 *
 * A driver may count on this: a request that arrives, or whose only attempt failed, is dispatched,
 * held or refused; a hold ends; attempts are numbered from 1 up to ATTEMPTS_MAX, two at once at
 * most, the second beside the first only after LATE; and when all requests are over, no node has
 * any of them left. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/must.h"
#include "core/core.h"
#include "core/tuning.h"

#define NODES           6u
#define MODELS          2u
#define REQUESTS        12u
#define PATIENCE_MS_MAX 1e5f
#define HOLD_ENDS_S     200u
#define MS              1000000u

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes);

struct attempt {
    uint32_t number; /* 0: none */
    bool late;
};

struct request { /* id 0: free */
    uint64_t id;
    struct attempt attempts[2];
    uint32_t last; /* the highest number so far */
    bool held, started;
};

static struct {
    const unsigned char *data;
    size_t bytes;
    struct core *core;
    uint64_t now_ns, last_id;
    struct request requests[REQUESTS];
    bool nodes[NODES];
    uint32_t epochs[NODES];
} d;

/* ---- Choices. */

static uint32_t
choose(uint32_t below)
{
    if (d.bytes == 0)
        return 0;
    d.bytes--;
    return *d.data++ % below;
}

/* 0, NAN, small and large. */
static float
amount(void)
{
    static const float amounts[] = {0.0f,   1.0f,  3.0f,  20.0f,  150.0f, 900.0f,   7000.0f, 1.0e5f,
                                    3.0e6f, -5.0f, 1e30f, 0.001f, NAN,    INFINITY, 40.0f,   NAN};

    return amounts[choose(sizeof(amounts) / sizeof(amounts[0]))];
}

/* A wait that a driver would let pass. */
static float
patience(void)
{
    float ms = amount();

    return ms <= PATIENCE_MS_MAX ? ms : NAN;
}

/* ---- What core wants. */

static struct request *
find(uint64_t id)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        if (id != 0 && d.requests[i].id == id)
            return &d.requests[i];
    }
    return NULL;
}

static bool
in_flight(const struct request *r)
{
    return r->attempts[0].number != 0 || r->attempts[1].number != 0;
}

static void
dispatch(struct request *r, const struct action_dispatch *a)
{
    bool beside = in_flight(r);

    must(a->node < NODES && d.nodes[a->node] && a->model < MODELS);
    must(a->attempt == r->last + 1 && a->attempt <= ATTEMPTS_MAX);
    must(!r->started && (a->hedge != 0) == beside);
    must(r->attempts[0].number == 0 || r->attempts[1].number == 0);
    must(isfinite(a->first_ms) && a->first_ms >= 0.0f && isfinite(a->sigma_ms));
    r->held = false;
    r->last = a->attempt;
    r->attempts[r->attempts[0].number != 0] = (struct attempt){.number = a->attempt};
}

static void
take_action(const struct action *a)
{
    struct request *r = find(a->dispatch.request);

    must(r != NULL);
    switch ((enum action_kind)a->kind) {
    case ACTION_DISPATCH:
        dispatch(r, &a->dispatch);
        break;
    case ACTION_REFUSE:
        must(!in_flight(r) && a->refuse.refusal > REFUSAL_NONE &&
             a->refuse.refusal < REFUSAL_COUNT);
        *r = (struct request){0};
        break;
    case ACTION_HOLD:
        must(!in_flight(r) && !r->held && a->hold.hold_ms >= 0.0f);
        r->held = true;
        break;
    default:
        must(a->kind == ACTION_CANCEL);
        for (unsigned i = 0; i < 2; i++) {
            if (r->attempts[i].number == a->cancel.attempt)
                r->attempts[i] = (struct attempt){0};
        }
        must(in_flight(r)); /* another one goes on */
        break;
    }
}

/* Tell core; the request that the event speaks of has something to wait for, if it is not over. */
static void
tell(const struct event *event, uint64_t id)
{
    struct actions actions;
    const struct request *r;
    unsigned own = 0;

    core_step(d.core, d.now_ns, event, &actions);
    must(actions.count <= ACTIONS_MAX);
    for (uint32_t i = 0; i < actions.count; i++) {
        own += actions.list[i].dispatch.request == id;
        /* others hear of a free place only: they were held */
        r = find(actions.list[i].dispatch.request);
        must(r != NULL && (r->id == id || r->held));
        take_action(&actions.list[i]);
    }
    must(own <= 1);
    r = find(id);
    must(r == NULL || in_flight(r) || r->held);
}

/* ---- What there is. */

static void
tell_node(uint32_t node)
{
    const struct event event = {.kind = EVENT_NODE,
                                .node = {.node = node,
                                         .epoch = d.epochs[node] += choose(2),
                                         .region = (uint16_t)choose(3),
                                         .class = (uint16_t)choose(2),
                                         .site = (uint16_t)choose(3),
                                         .operator=(uint16_t) choose(2),
                                         .state = choose(8) == 0 ? NODE_DRAIN : NODE_READY,
                                         .slots = choose(4),
                                         .rtt_ms = amount(),
                                         .unproven = choose(3) == 0}};

    d.nodes[node] = true;
    tell(&event, 0);
}

static void
tell_model(uint32_t node)
{
    uint32_t state = choose(2 * MODEL_STATE_COUNT);
    const struct event event = {
        .kind = EVENT_MODEL,
        .model = {.node = node,
                  .model = (uint16_t)choose(MODELS),
                  .state = (uint16_t)(state < MODEL_STATE_COUNT ? state : MODEL_READY),
                  .ready_in_ms = amount(),
                  .slots = choose(4)}};

    tell(&event, 0);
}

static void
tell_settings(void)
{
    struct event event = {.kind = EVENT_SETTINGS,
                          .settings = {.rule = choose(RULE_COUNT),
                                       .ttft_goal_ms = patience(),
                                       .tpot_goal_ms = amount(),
                                       .first_limit_ms = patience(),
                                       .idle_limit_ms = amount()}};

    tell(&event, 0);
    event = (struct event){.kind = EVENT_TUNING, .tuning = tuning_default};
    event.tuning.without = choose(256) & (choose(2) == 0 ? 0u : 255u);
    event.tuning.hedge_part = 0.5f;
    tell(&event, 0);
}

static void
tell_news(uint32_t node)
{
    struct event event = {.kind = EVENT_REPORT,
                          .report = {.node = node,
                                     .running = amount(),
                                     .waiting = amount(),
                                     .prefill_tokens_in_flight = amount(),
                                     .kv_tokens_used = amount(),
                                     .kv_tokens_cap = amount(),
                                     .slots = amount(),
                                     .age_ms = amount()}};

    switch (choose(5)) {
    case 4:
        event = (struct event){
            .kind = EVENT_REQUESTS,
            .requests = {.node = node, .model = (uint16_t)choose(MODELS), .requests = amount()}};
        break;
    case 0:
        event = (struct event){.kind = EVENT_RTT, .rtt = {.node = node, .rtt_ms = amount()}};
        break;
    case 1:
        event = (struct event){.kind = EVENT_PROBE,
                               .probe = {.node = node, .failure = choose(FAILURE_COUNT)}};
        break;
    default:
        break;
    }
    tell(&event, 0);
}

static void
tell_gone(uint32_t node)
{
    const struct event event = {.kind = EVENT_NODE_GONE,
                                .node_gone = {.node = node, .epoch = d.epochs[node]}};

    d.nodes[node] = false;
    tell(&event, 0);
}

/* ---- Requests. */

static void
arrive(void)
{
    struct request *r = NULL;
    struct event event = {.kind = EVENT_ARRIVED};

    for (size_t i = 0; i < REQUESTS && r == NULL; i++)
        r = d.requests[i].id == 0 ? &d.requests[i] : NULL;
    if (r == NULL)
        return;
    *r = (struct request){.id = ++d.last_id};
    event.arrived = (struct event_arrived){
        .request = r->id,
        .session = choose(3),
        .model = (uint16_t)choose(MODELS),
        .other_model = choose(2) == 0 ? MODEL_NONE : (uint16_t)choose(MODELS),
        .tenant = (uint16_t)choose(3),
        .priority = (uint16_t)choose(PRIORITIES_MAX),
        .prompt_bytes = choose(256) * choose(256),
        .max_tokens = choose(256) * 8,
        .stream = choose(2),
        .deadline_ms = patience(),
        .tpot_goal_ms = NAN,
        .only_node = choose(8) == 0 ? choose(NODES) : NODE_ANY,
    };
    event.arrived.body_bytes = event.arrived.prompt_bytes + 100;
    event.prefix.count = choose(4);
    for (uint32_t i = 0; i < event.prefix.count; i++)
        event.prefix.hashes[i] = 1000 * i + choose(2);
    tell(&event, r->id);
}

static void
finish(struct request *r, const struct event *event)
{
    uint64_t id = r->id;

    *r = (struct request){0};
    tell(event, id); /* nothing about it comes any more: tell would not find it */
}

static void
attempt_fails(struct request *r, struct attempt *a)
{
    const struct event event = {.kind = EVENT_FAILED,
                                .failed = {.request = r->id,
                                           .attempt = a->number,
                                           .failure = 1 + choose(FAILURE_COUNT - 1),
                                           .started = r->started,
                                           .retry_after_ms = amount()}};

    *a = (struct attempt){0};
    tell(&event, r->id);
}

static void
attempt_starts(struct request *r, struct attempt *a)
{
    const struct event event = {.kind = EVENT_STARTED,
                                .started = {.request = r->id,
                                            .attempt = a->number,
                                            .path_bytes_per_ms = amount(),
                                            .path_limited = choose(2)}};
    uint32_t number = a->number;

    r->started = true;
    tell(&event, r->id);
    must(r->attempts[0].number == number || r->attempts[1].number == number);
    must(r->attempts[0].number == 0 || r->attempts[1].number == 0);
}

static void
attempt_ends(struct request *r, const struct attempt *a)
{
    const struct event event = {.kind = EVENT_ENDED,
                                .ended = {.request = r->id,
                                          .attempt = a->number,
                                          .prompt_tokens = choose(256) * choose(256),
                                          .cached_tokens = choose(256),
                                          .output_tokens = choose(256) * 8,
                                          .cached_known = choose(2),
                                          .engine_prefill_ms = amount(),
                                          .engine_decode_ms = amount()}};

    finish(r, &event);
}

/* Something happens to one of the requests. */
static void
go_on(struct request *r)
{
    struct attempt *a =
        &r->attempts[r->attempts[0].number == 0 || (r->attempts[1].number != 0 && choose(2) == 1)];
    struct event event = {.kind = EVENT_CANCELLED, .cancelled = {.request = r->id}};
    uint32_t what = choose(6);

    if (r->id == 0)
        return;
    if (what == 0) {
        finish(r, &event);
    } else if (!in_flight(r)) {
        return;
    } else if (what == 1) {
        attempt_fails(r, a);
    } else if (what == 2 && !r->started && !a->late) {
        a->late = true;
        event = (struct event){.kind = EVENT_LATE,
                               .late = {.request = r->id, .attempt = a->number}};
        tell(&event, r->id);
    } else if (what == 3) {
        event = (struct event){
            .kind = EVENT_DISPATCHED,
            .dispatched = {.request = r->id, .attempt = a->number, .fresh_connection = choose(2)}};
        tell(&event, r->id);
    } else if (!r->started) {
        attempt_starts(r, a);
    } else {
        attempt_ends(r, a);
    }
}

/* ---- A run. */

static void
tick(uint64_t ns)
{
    const struct event event = {.kind = EVENT_TICK};

    d.now_ns += ns;
    tell(&event, 0);
}

static void
step(void)
{
    switch (choose(12)) {
    case 0:
        tell_node(choose(NODES));
        break;
    case 1:
        tell_model(choose(NODES));
        break;
    case 2:
        tell_settings();
        break;
    case 3:
        tell_news(choose(NODES));
        break;
    case 4:
        if (choose(4) == 0)
            tell_gone(choose(NODES));
        break;
    case 5:
        tick((uint64_t)choose(256) * choose(256) * MS);
        break;
    case 6:
    case 7:
        arrive();
        break;
    default:
        go_on(&d.requests[choose(REQUESTS)]);
        break;
    }
}

/* All requests end: held ones by time, the others as they can. */
static void
end_all(void)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t count, next;

    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *r = &d.requests[i];
        while (r->id != 0 && in_flight(r))
            attempt_fails(r, &r->attempts[r->attempts[0].number == 0]);
    }
    for (unsigned s = 0; s < HOLD_ENDS_S; s += 2)
        tick(2000u * (uint64_t)MS);
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *r = &d.requests[i];
        must(!r->held);
        while (r->id != 0) {
            r->started = true;
            attempt_fails(r, &r->attempts[r->attempts[0].number == 0]);
        }
    }
    count = core_view_nodes(d.core, d.now_ns, 0, views, &next);
    for (uint32_t i = 0; i < count; i++)
        must(views[i].own_outstanding == 0);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
    struct core_config c = {.seed = 1,
                            .nodes_max = NODES,
                            .models_max = MODELS,
                            .regions_max = 3,
                            .classes_max = 2,
                            .placements_max = NODES * MODELS,
                            .requests_max = REQUESTS,
                            .prefix_entries_max = 32,
                            .sketches_max = 64,
                            .holds_max = 6};
    size_t memory_bytes = core_bytes(&c);
    void *memory = aligned_alloc(64, (memory_bytes + 63) / 64 * 64);

    must(memory != NULL && memory_bytes > 0);
    memset(memory, 0, memory_bytes);
    memset(&d, 0, sizeof(d));
    d.now_ns = 1000000000u;
    d.data = data;
    d.bytes = bytes;
    must(core_init(memory, memory_bytes, &c, &d.core) == ERR_OK);
    for (uint32_t i = 0; i < NODES; i++) { /* some nodes with models, so that much can happen */
        tell_node(i);
        tell_model(i);
    }
    while (d.bytes > 0)
        step();
    end_all();
    free(memory);
    return 0;
}

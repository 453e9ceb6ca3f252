/* emulate - the world: listener, clock, and everything that is to happen, in one heap by time.
 *
 * One timer of the kernel stands for the whole heap: the loop's own have a resolution of 1 ms, as
 * much as a round trip within a region. Events are handled in order of their due times, with these
 * times and not the clock's, so that a busy machine changes when bytes are written and nothing
 * else; how late that was is counted for every write. */
#include "role/emulate/emulate.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fmath.h"
#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/emulate/emulate_world.h"

#define EVENTS_A_PASS         4096u                        /* then descriptors have their turn */
#define FLOW_EVENTS_MAX       (EMULATE_EVENTS_MAX / 4 * 3) /* the rest is for nodes */
#define CONNECTIONS_MAX       20000u
#define BODY_BYTES_MAX        (64u << 20)
#define SEGMENT_BYTES         1460u /* of TCP over Ethernet */
#define LATE_FIRST_MS         0.01
#define LATE_RATIO            1.05
#define OUTPUTS_A_CALL        64u
#define BACKGROUND_PROMPT     900.0 /* tokens, mean */
#define BACKGROUND_OUTPUT     150.0
#define BACKGROUND_TOKENS_MAX 8000.0

void
emulate_options_init(struct emulate_options *ret_options)
{
    *ret_options = (struct emulate_options){
        .seed = 1,
        .nodes = 60,
        .regions = 12,
        .base = 0x7f010001, /* 127.1.0.1 */
        .port = 9000,
        .background = 0.5,
        .models_max = 2,
        .models = EMULATE_FLEET_MODELS,
        .constants_scale = 1.0,
    };
}

double
emulate_now_ms(const struct emulate *e)
{
    return (double)(clock_now_ns() - e->start_ns) * 1e-6;
}

/* ---- The heap. */

static bool
before(const struct emulate_event *a, const struct emulate_event *b)
{
    return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->order < b->order);
}

static void
sift_up(struct emulate_event *heap, size_t at)
{
    struct emulate_event event = heap[at];

    while (at > 0 && before(&event, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = event;
}

static void
sift_down(struct emulate_event *heap, size_t count)
{
    struct emulate_event event = heap[0];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &event))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = event;
}

static void
arm(struct emulate *e)
{
    struct itimerspec at = {0};
    uint64_t due_ns;

    if (e->event_count == 0)
        return;
    due_ns = e->start_ns + (uint64_t)ceil(e->events[0].due_ms * 1e6);
    at.it_value.tv_sec = (time_t)(due_ns / 1000000000u);
    at.it_value.tv_nsec = (long)(due_ns % 1000000000u);
    must(timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
}

bool
emulate_schedule(struct emulate *e, const struct emulate_event *event)
{
    struct emulate_event *slot;
    size_t max = event->kind <= EMULATE_EVENT_BACKGROUND ? EMULATE_EVENTS_MAX : FLOW_EVENTS_MAX;

    if (e->event_count >= max)
        return false;
    slot = &e->events[e->event_count];
    *slot = *event;
    slot->order = e->event_order++;
    sift_up(e->events, e->event_count++);
    if (!e->handling && e->events[0].order == e->event_order - 1)
        arm(e);
    return true;
}

bool
emulate_schedule_flow(struct emulate_flow *flow, enum emulate_event_kind kind, double due_ms,
                      uint32_t index)
{
    struct emulate_event event = {.due_ms = due_ms, .kind = kind, .index = index, .flow = flow};

    if (!emulate_schedule(flow->node->world, &event)) {
        log_warn("emulate: %u events are waiting", EMULATE_EVENTS_MAX);
        return false;
    }
    flow->events++;
    return true;
}

/* ---- Nodes. */

void
emulate_wake(struct emulate_node *node)
{
    double next_ms = engine_next_ms(node->engine);
    struct emulate_event event = {.due_ms = next_ms, .kind = EMULATE_EVENT_ENGINE, .node = node};

    if (next_ms == node->wake_ms)
        return;
    node->wake_ms = next_ms;
    if (next_ms < INFINITY)
        must(emulate_schedule(node->world, &event)); /* each iteration has one: room was left */
}

static void
run_engine(struct emulate_node *node, double now_ms)
{
    struct engine_output outputs[OUTPUTS_A_CALL];
    struct emulate *e = node->world;
    size_t count;

    do {
        count = engine_run(node->engine, now_ms, outputs, OUTPUTS_A_CALL);
        for (size_t i = 0; i < count; i++) {
            uint32_t slot = (uint32_t)outputs[i].id;

            if (outputs[i].kind == ENGINE_OUTPUT_LOADED) {
                emulate_control_loaded(node, (uint32_t)outputs[i].id, outputs[i].at_ms);
                continue;
            }
            if ((outputs[i].id & EMULATE_BACKGROUND_BIT) != 0)
                continue;
            if (slot < EMULATE_FLOWS_MAX && e->flows[slot] != NULL &&
                e->flows[slot]->id == outputs[i].id)
                emulate_flow_output(e->flows[slot], &outputs[i]);
        }
    } while (count == OUTPUTS_A_CALL);
    emulate_control_idle(node, now_ms);
    node->wake_ms = INFINITY;
    emulate_wake(node);
}

/* Exponential with this mean, at least 1, bounded. */
static uint32_t
tokens_of(struct rng *rng, double mean)
{
    double tokens = 1 + (mean - 1) * rng_exponential(rng);

    return (uint32_t)(tokens < BACKGROUND_TOKENS_MAX ? tokens : BACKGROUND_TOKENS_MAX);
}

static void
next_background(struct emulate_node *node, double now_ms)
{
    double rate = emulate_fleet_background_rate(node->plan, BACKGROUND_PROMPT, BACKGROUND_OUTPUT);
    struct emulate_event event = {.kind = EMULATE_EVENT_BACKGROUND, .node = node};

    if (rate <= 0)
        return;
    event.due_ms = now_ms + rng_exponential(&node->background) / rate;
    must(emulate_schedule(node->world, &event)); /* each node has one at most */
}

/* A request of somebody whom another gateway sent: nobody here waits for its tokens. */
static void
background(struct emulate_node *node, double now_ms)
{
    struct engine_request request = {
        .id = EMULATE_BACKGROUND_BIT | node->background_count++,
        .model = node->plan->background_model,
        .prompt_tokens = tokens_of(&node->background, BACKGROUND_PROMPT),
        .output_tokens = tokens_of(&node->background, BACKGROUND_OUTPUT),
    };

    if (engine_model_state(node->engine, request.model) == ENGINE_MODEL_READY &&
        engine_submit(node->engine, now_ms, &request) == ERR_OK)
        emulate_wake(node);
    next_background(node, now_ms);
}

/* ---- Time passes. */

static void
count_late(struct emulate *e, double late_ms)
{
    double bucket = late_ms <= LATE_FIRST_MS
                        ? 0
                        : fmath_log(late_ms / LATE_FIRST_MS) / fmath_log(LATE_RATIO);

    if (bucket > EMULATE_LATE_BUCKETS - 1)
        bucket = EMULATE_LATE_BUCKETS - 1;
    e->late[(size_t)bucket]++;
    e->late_count++;
}

double
emulate_late_p99_ms(const struct emulate *e)
{
    uint64_t seen = 0;
    double ms = LATE_FIRST_MS * LATE_RATIO;

    if (e->late_count == 0)
        return 0;
    for (size_t i = 0; i < EMULATE_LATE_BUCKETS; i++, ms *= LATE_RATIO) {
        seen += e->late[i];
        if (seen * 100 >= e->late_count * 99)
            break;
    }
    return ms; /* the upper border of the bucket */
}

static void
handle(struct emulate *e, const struct emulate_event *event)
{
    switch (event->kind) {
    case EMULATE_EVENT_ENGINE:
        if (event->due_ms == event->node->wake_ms)
            run_engine(event->node, event->due_ms);
        return;
    case EMULATE_EVENT_BACKGROUND:
        background(event->node, event->due_ms);
        return;
    case EMULATE_EVENT_RESPOND:
    case EMULATE_EVENT_HEAD:
    case EMULATE_EVENT_TOKEN:
    case EMULATE_EVENT_END:
    case EMULATE_EVENT_BREAK:
        if (event->flow->x != NULL)
            count_late(e, emulate_now_ms(e) - event->due_ms);
        break;
    case EMULATE_EVENT_ARRIVE:
    case EMULATE_EVENT_CANCEL:
        break;
    }
    emulate_flow_event(event->flow, event);
    event->flow->events--; /* only now: it holds the flow while it is handled */
    emulate_flow_release(event->flow);
}

static void
on_timer(struct loop_watch *watch, unsigned ready)
{
    struct emulate *e = CONTAINER_OF(watch, struct emulate, timer);
    double now_ms = emulate_now_ms(e);
    uint64_t times;

    (void)ready;
    if (read(e->timer_fd, &times, sizeof(times)) < 0)
        return; /* set anew since it came up */
    e->handling = true;

    for (uint32_t i = 0; i < EVENTS_A_PASS && e->event_count > 0; i++) {
        struct emulate_event event = e->events[0];

        if (event.due_ms > now_ms)
            break;
        e->events[0] = e->events[--e->event_count];
        if (e->event_count > 0)
            sift_down(e->events, e->event_count);
        handle(e, &event);
    }
    e->handling = false;
    arm(e);
}

/* ---- The listener. */

/* The caller's region, and its distance to the node; "" and 0 for one that is no gateway. */
static void
locate(const struct emulate *e, const struct sockaddr_storage *peer, struct emulate_flow *flow)
{
    uint32_t source = ntohl(((const struct sockaddr_in *)(const void *)peer)->sin_addr.s_addr);
    struct span to = e->fleet.rtt.names[flow->node->plan->region];

    flow->region = "";
    for (uint32_t g = 0; g < e->options.gateway_count; g++)
        if (e->options.gateways[g].source == source) {
            flow->region = e->options.gateways[g].region;
            flow->rtt_ms = rtt_ms(&e->fleet.rtt, span_of(flow->region), to);
        }
}

/* How often a sender waits for acknowledgements before the last byte of a body is out: ten segments
 * at first (RFC 6928), twice as many after each round trip. A kept connection begins anew: Linux
 * takes its window back while nothing is sent, as during an answer (tcp_slow_start_after_idle). */
static unsigned
slow_start_waits(size_t body_bytes)
{
    unsigned waits = 0;

    for (size_t window = 10 * SEGMENT_BYTES; body_bytes > window; window *= 2) {
        body_bytes -= window;
        waits++;
    }
    return waits;
}

static void
on_request(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct emulate *e = user;
    struct sockaddr_storage peer, local;
    struct emulate_flow *flow;
    uint32_t index;

    http_exchange_set_user(x, NULL);
    if (emulate_admin(e, x, r))
        return;
    http_exchange_peer(x, &peer, &local);
    index = ntohl(((struct sockaddr_in *)(void *)&local)->sin_addr.s_addr) - e->options.base;
    flow = index < e->fleet.node_count ? emulate_flow_open(e, &e->nodes[index], x, r) : NULL;
    if (flow == NULL) {
        http_respond(x, index < e->fleet.node_count ? 503 : 404, NULL, 0,
                     SPAN_LIT("{\"error\":{\"message\":\"no emulated node here\"}}"));
        return;
    }
    http_exchange_set_user(x, flow);
    locate(e, &peer, flow);
    flow->fresh_connection = http_exchange_is_first(x);
    flow->body_bytes = r->body.bytes;
    flow->arrive_ms = emulate_now_ms(e) + flow->rtt_ms * ((flow->fresh_connection ? 1.5 : 0.5) +
                                                          slow_start_waits(r->body.bytes));
    if (!emulate_schedule_flow(flow, EMULATE_EVENT_ARRIVE, flow->arrive_ms, 0)) {
        http_exchange_set_user(x, NULL);
        http_response_abort(x);
        emulate_flow_detach(flow, true);
    }
}

static void
on_gone(struct http_exchange *x, void *user)
{
    struct emulate_flow *flow = http_exchange_user(x);

    (void)user;
    if (flow != NULL)
        emulate_flow_detach(flow, true);
}

static void
on_done(struct http_exchange *x, void *user)
{
    struct emulate_flow *flow = http_exchange_user(x);

    (void)user;
    if (flow != NULL)
        emulate_flow_detach(flow, false);
}

static void
on_drained(struct http_exchange *x, void *user)
{
    (void)x; /* an engine does not wait for its clients: answers are short, the limit is the
                server's */
    (void)user;
}

uint16_t
emulate_port(const struct emulate *e)
{
    struct sockaddr_storage address;

    http_server_address(e->server, &address);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* ---- Open, close. */

static enum err
listen_on(struct emulate *e)
{
    static const struct http_server_fn fn = {
        .request = on_request, .gone = on_gone, .drained = on_drained, .done = on_done};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(e->options.port)};
    struct http_server_limits limits = {
        .body_bytes_max = BODY_BYTES_MAX,
        .connections_max = CONNECTIONS_MAX,
        .head_ns = 60000000000u,
        .body_idle_ns = 60000000000u,
        .keep_alive_ns = 60000000000u,
        .write_idle_ns = 60000000000u,
        .high_water_bytes = 1u << 20,
        .low_water_bytes = 1u << 18,
    };

    address.sin_addr.s_addr = htonl(INADDR_ANY); /* of the device: 127.0.0.0/8 and nothing else */
    return http_server_open(e->loop, (struct sockaddr *)(void *)&address, sizeof(address), false,
                            "lo", &limits, &fn, e, &e->server);
}

static enum err
open_timer(struct emulate *e)
{
    e->start_ns = clock_now_ns();
    e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (e->timer_fd < 0) {
        log_error("emulate: no timer");
        return ERR_IO;
    }
    return loop_add(e->loop, &e->timer, e->timer_fd, LOOP_READ, on_timer);
}

static enum err
open_nodes(struct emulate *e)
{
    e->nodes = calloc(e->fleet.node_count, sizeof(*e->nodes));
    if (e->nodes == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < e->fleet.node_count; i++) {
        struct emulate_node *n = &e->nodes[i];
        enum err err;

        n->world = e;
        n->plan = &e->fleet.nodes[i];
        n->fault_factor = 1;
        n->wake_ms = INFINITY;
        err = emulate_fleet_engine(n->plan, &n->engine);
        if (err != ERR_OK)
            return err;
        n->listens = !emulate_fleet_has_one(n->plan->kind) ||
                     n->plan->held[0].state == ENGINE_MODEL_READY;
        rng_init(&n->background, n->plan->seed + 1);
        emulate_wake(n);
        next_background(n, 0);
    }
    return ERR_OK;
}

enum err
emulate_open(struct loop *loop, const struct emulate_options *options, struct emulate **ret_emulate)
{
    enum err err = ERR_MEMORY;
    struct emulate *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return err;
    e->loop = loop;
    e->options = *options;
    e->timer_fd = -1;
    err = emulate_fleet_init(&e->fleet, options);
    if (err != ERR_OK)
        goto out;
    err = ERR_MEMORY;
    /* Process lifetime, sized by limits; touched only as far as used. */
    e->events = malloc(EMULATE_EVENTS_MAX * sizeof(*e->events));
    e->flows = calloc(EMULATE_FLOWS_MAX, sizeof(struct emulate_flow *));
    e->free_slots = malloc(EMULATE_FLOWS_MAX * sizeof(*e->free_slots));
    if (e->events == NULL || e->flows == NULL || e->free_slots == NULL)
        goto out;
    if (options->log_file != NULL && (e->log = fopen(options->log_file, "w")) == NULL) {
        log_error("%s: cannot be written", options->log_file);
        err = ERR_IO;
        goto out;
    }
    if (e->log != NULL)
        (void)setvbuf(e->log, NULL, _IOLBF, 0);
    err = open_timer(e);
    if (err == ERR_OK)
        err = listen_on(e);
    if (err == ERR_OK)
        err = emulate_tls_open(e);
    if (err == ERR_OK)
        err = open_nodes(e);
    if (err == ERR_OK) {
        *ret_emulate = e;
        e = NULL;
    }
out:
    emulate_close(e);
    return err;
}

void
emulate_close(struct emulate *e)
{
    if (e == NULL)
        return;
    e->closing = true;
    http_server_close(e->server);
    loop_remove(&e->timer);
    if (e->timer_fd >= 0)
        close(e->timer_fd);
    for (uint32_t i = 0; i < e->flow_count; i++)
        if (e->flows[i] != NULL)
            emulate_flow_free(e->flows[i]);
    for (uint32_t i = 0; e->nodes != NULL && i < e->fleet.node_count; i++)
        engine_close(e->nodes[i].engine);
    if (e->log != NULL)
        fclose(e->log);
    tls_unref(e->tls);
    emulate_fleet_fini(&e->fleet);
    free(e->nodes);
    free(e->flows);
    free(e->free_slots);
    free(e->events);
    free(e);
}

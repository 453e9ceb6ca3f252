/* attempt - from core's dispatch to the end of the call; see attempt.h.
 *
 * What goes to an engine is a closed list: nothing of the client's headers but traceparent and
 * tracestate, never its key. What comes back is checked before any of it goes on. */
#include "role/gateway/attempt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "role/answer.h"
#include "role/failure.h"
#include "role/gateway/answer_request.h"
#include "role/gateway/inbox.h"
#include "role/gateway/members.h"
#include "role/gateway/request.h"
#include "role/gateway/upstream.h"
#include "role/gateway/via.h"

#define UPSTREAM_HEADERS_MAX 12u
#define JSON_DONE_FACTOR     4.0 /* a whole answer may take so many times as long as predicted */
#define RETRY_AFTER_S_MAX    3600u
#define TRACE_BYTES_MAX      1024u

static void
forget_call(struct attempt *a)
{
    loop_timer_stop(&a->late);
    a->call = NULL;
    a->mode = ATTEMPT_OVER;
    upstream_give(a->upstream);
    a->upstream = NULL;
}

void
attempt_cancel(struct attempt *a)
{
    if (a->call == NULL)
        return;
    http_call_cancel(a->call);
    forget_call(a);
}

void
attempt_fail(struct attempt *a, enum failure failure, float retry_after_ms)
{
    attempt_cancel(a);
    request_failed(a, failure, retry_after_ms);
}

void
attempt_close(struct attempt *a)
{
    stream_source_close(&a->source);
    if (a->body_room_bytes > 0)
        atomic_fetch_sub_explicit(&a->request->lane->gateway->buffers_bytes, a->body_room_bytes,
                                  memory_order_relaxed);
    free(a->body);
    fleet_unref(a->fleet);
    a->body = NULL;
    a->fleet = NULL;
    a->body_bytes = a->body_room_bytes = 0;
}

void
attempt_pause(struct attempt *a)
{
    if (a->call != NULL)
        http_call_pause(a->call);
}

void
attempt_resume(struct attempt *a)
{
    if (a->call != NULL)
        http_call_resume(a->call);
}

/* ---- The answer. */

static struct span
response_header(const struct http_response *response, struct span name)
{
    for (size_t i = response->header_count; i > 0; i--) {
        if (span_eq_nocase(response->headers[i - 1].name, name))
            return response->headers[i - 1].value;
    }
    return (struct span){NULL, 0};
}

static float
retry_after_ms(const struct http_response *response)
{
    uint64_t value;

    if (span_u64(response_header(response, SPAN_LIT("retry-after-ms")), &value) == ERR_OK &&
        value <= RETRY_AFTER_S_MAX * UINT64_C(1000))
        return (float)value;
    if (span_u64(response_header(response, SPAN_LIT("retry-after")), &value) == ERR_OK &&
        value <= RETRY_AFTER_S_MAX)
        return (float)(value * 1000);
    return NAN;
}

/* Statuses of 4xx that say something about the engine, or about how it is set up, and not about the
 * request: our credential is refused there. (404: the model that it listed is gone.) */
static bool
is_engines_fault(unsigned status)
{
    return status == 401 || status == 403 || status == 407 || status == 408;
}

/* "type", with or without parameters. */
static bool
has_type(struct span content_type, struct span type)
{
    struct span name = {content_type.data, span_find(content_type, ';')};

    return span_eq_nocase(span_trim(name), type);
}

/* One content, in no coding: we asked for none, and would not see what we pass on. */
static bool
is_plain(const struct http_response *response)
{
    unsigned types = 0;

    for (size_t i = 0; i < response->header_count; i++) {
        const struct http_header *h = &response->headers[i];
        if (span_eq_nocase(h->name, SPAN_LIT("content-encoding")) &&
            !span_eq_nocase(h->value, SPAN_LIT("identity")))
            return false;
        types += span_eq_nocase(h->name, SPAN_LIT("content-type"));
    }
    return types <= 1;
}

/* Has it ever told us anything over the bus? Then it is an agent, and may hear who we are. */
static bool
is_member(const struct gateway *g, uint32_t node)
{
    return atomic_load_explicit(&g->node_heard_ms[node], memory_order_relaxed) != 0;
}

void
attempt_take_report(struct attempt *a, struct span json)
{
    struct gateway *g = a->request->lane->gateway;

    if (json.bytes > 0 && is_member(g, a->node) && a->reports++ < ATTEMPT_REPORTS_MAX)
        members_take_piggyback(g->members, a->node, json);
}

/* The engine's load, told in the head of its answer. */
static void
take_load(const struct attempt *a, const struct http_response *response)
{
    struct span text = response_header(response, SPAN_LIT("endpoint-load-metrics"));
    struct event event = {.kind = EVENT_REPORT};
    struct adapter_load load;
    struct gateway *g = a->request->lane->gateway;
    struct actions actions;
    uint64_t now_ns;

    if (text.bytes == 0 || adapter_parse_orca(text, &load) != ERR_OK)
        return;
    event.report = (struct event_report){
        .node = a->node,
        .running = load.running,
        .waiting = load.waiting,
        .prefill_tokens_in_flight = load.prefill_tokens_in_flight,
        .kv_tokens_used = load.kv_tokens_used,
        .kv_tokens_cap = load.kv_tokens_cap,
        .slots = load.slots,
        .age_ms = NAN,
    };
    now_ns = decide_step(g->door, &event, &actions);
    inbox_share(g, now_ns, &actions, 0);
}

static void
accept_head(struct attempt *a, const struct http_response *response)
{
    struct span type = response_header(response, SPAN_LIT("content-type"));

    if (!is_plain(response)) {
        attempt_fail(a, FAILURE_MALFORMED, NAN);
    } else if (a->request->openai.stream) {
        if (!has_type(type, SPAN_LIT("text/event-stream"))) {
            attempt_fail(a, FAILURE_MALFORMED, NAN);
            return;
        }
        a->mode = ATTEMPT_STREAM;
        stream_head(a);
    } else if (type.bytes == 0 || has_type(type, SPAN_LIT("application/json"))) {
        a->mode = ATTEMPT_JSON;
    } else {
        attempt_fail(a, FAILURE_MALFORMED, NAN);
    }
}

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    struct attempt *a = user;

    (void)call;
    if (a->dispatched) /* sent again on a fresh connection */
        return;
    a->dispatched = true;
    request_dispatched(a, fresh);
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    struct attempt *a = user;
    bool asks_to_wait = response_header(response, SPAN_LIT("retry-after")).bytes > 0 ||
                        response_header(response, SPAN_LIT("retry-after-ms")).bytes > 0;

    on_sent(call, response->fresh_connection, user); /* an answer before the body was out */
    a->status = response->status;
    take_load(a, response);
    attempt_take_report(a, response_header(response, SPAN_LIT("isochrone-report")));
    if (response->status == 200) {
        accept_head(a, response);
    } else if (response->status == 429 || (response->status == 503 && asks_to_wait)) {
        attempt_fail(a, FAILURE_BUSY, retry_after_ms(response));
    } else if (response->status == 404) {
        attempt_fail(a, FAILURE_MODEL, NAN);
    } else if (response->status >= 500 || is_engines_fault(response->status)) {
        attempt_fail(a, FAILURE_STATUS_5XX, NAN);
    } else if (response->status >= 400) {
        a->mode = ATTEMPT_REFUSED;
    } else {
        attempt_fail(a, FAILURE_MALFORMED, NAN);
    }
}

/* Room for `bytes` more of a whole answer, charged to all buffers together. */
static bool
reserve(struct attempt *a, size_t bytes)
{
    struct gateway *g = a->request->lane->gateway;
    size_t room = a->body_room_bytes == 0 ? ATTEMPT_BODY_BYTES_FIRST : a->body_room_bytes, more;
    size_t before;
    char *body;

    while (room - a->body_bytes < bytes)
        room *= 2;
    more = room - a->body_room_bytes;
    if (more == 0)
        return true;
    before = atomic_fetch_add_explicit(&g->buffers_bytes, more, memory_order_relaxed);
    body = before + more <= a->fleet->roster->config.buffers_bytes_max ? realloc(a->body, room)
                                                                       : NULL;
    if (body == NULL) {
        atomic_fetch_sub_explicit(&g->buffers_bytes, more, memory_order_relaxed);
        return false;
    }
    a->body = body;
    a->body_room_bytes = room;
    return true;
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct attempt *a = user;

    (void)call;
    if (a->mode == ATTEMPT_STREAM) {
        stream_data(a, bytes);
    } else if (a->mode == ATTEMPT_REFUSED &&
               bytes.bytes > ATTEMPT_REFUSAL_BYTES_MAX - a->body_bytes) {
        attempt_fail(a, FAILURE_MALFORMED, NAN);
    } else if (!reserve(a, bytes.bytes)) {
        attempt_fail(a, FAILURE_LOCAL, NAN);
    } else if (bytes.bytes > 0) {
        memcpy(a->body + a->body_bytes, bytes.data, bytes.bytes);
        a->body_bytes += bytes.bytes;
    }
}

/* A whole answer is here: check it, put the model's name back, pass it on. */
static void
json_end(struct attempt *a)
{
    struct request *r = a->request;
    struct http_exchange *x = r->exchange;
    struct span body = {a->body, a->body_bytes}, parts[3];
    struct openai_reply reply;
    struct answer_head head;

    if (openai_reply_parse(body, &reply) != ERR_OK) {
        request_failed(a, FAILURE_MALFORMED, NAN);
        return;
    }
    if (reply.is_error) { /* with status 200 */
        request_failed(a, FAILURE_STATUS_5XX, NAN);
        return;
    }
    if (!reply.has_content && reply.finishes == 0) { /* JSON, but no answer */
        request_failed(a, FAILURE_MALFORMED, NAN);
        return;
    }
    a->usage = reply.usage;
    parts[0] = body;
    parts[1] = parts[2] = (struct span){NULL, 0};
    if (reply.model_range.bytes > 0) {
        parts[0].bytes = (size_t)(reply.model_range.data - body.data);
        parts[1] = r->model_json;
        parts[2] = span_from(body, parts[0].bytes + reply.model_range.bytes);
    }
    request_ended(a);
    answer_head_init(&head);
    answer_head_add(&head, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
    answer_request_head(&head, r);
    http_response_start_length(x, 200, head.list, head.count,
                               parts[0].bytes + parts[1].bytes + parts[2].bytes);
    http_response_writev(x, parts, 3);
    request_close(r);
    http_response_end(x);
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t trailer_count, void *user)
{
    struct attempt *a = user;
    enum attempt_mode mode = a->mode;

    (void)call;
    for (size_t i = 0; i < trailer_count; i++) {
        if (span_eq_nocase(trailers[i].name, SPAN_LIT("isochrone-report")))
            attempt_take_report(a, trailers[i].value);
    }
    forget_call(a);
    if (mode == ATTEMPT_STREAM)
        stream_end(a);
    else if (mode == ATTEMPT_JSON)
        json_end(a);
    else
        request_failed(a, FAILURE_REQUEST, NAN);
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    struct attempt *a = user;
    enum attempt_mode mode = a->mode;

    (void)call;
    forget_call(a);
    if (mode == ATTEMPT_STREAM && (why == HTTP_FAILED_EOF || a->source.done))
        stream_end(a);
    else
        request_failed(a, failure_of_call(why), NAN);
}

/* ---- The start. */

static const struct http_call_fn call_fn = {
    .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};

static void
add(struct http_header *list, size_t *count, struct span name, struct span value)
{
    must(*count < UPSTREAM_HEADERS_MAX);
    if (value.bytes > 0)
        list[(*count)++] = (struct http_header){name, value};
}

/* A trace is of visible ASCII; what is not, others might read as something else. */
static void
add_trace(struct http_header *list, size_t *count, struct span name, struct span value)
{
    bool good = value.bytes <= TRACE_BYTES_MAX;

    for (size_t i = 0; i < value.bytes && good; i++)
        good = value.data[i] >= ' ' && value.data[i] <= '~';
    if (good)
        add(list, count, name, value);
}

static uint64_t
ns_of_ms(double ms)
{
    return ms > 0.0 && ms < 1e12 ? (uint64_t)(ms * 1e6) : 0;
}

#define NUMBER_BYTES 24u

/* Of values that are made for one request; they live as long as its list. */
struct header_room {
    char number[NUMBER_BYTES], via[VIA_BYTES_MAX];
};

/* The closed list of what an engine gets to see. */
static size_t
upstream_headers(const struct attempt *a, const struct roster_node *node, struct http_header *list,
                 uint32_t serial, struct header_room *room)
{
    const struct request *r = a->request;
    struct gateway *g = r->lane->gateway;
    const struct adapter *adapter = adapter_of(a->kind);
    struct span traceparent = http_request_header(r->http, SPAN_LIT("traceparent"));
    struct span tracestate = http_request_header(r->http, SPAN_LIT("tracestate"));
    size_t count = 0;

    add(list, &count, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
    add(list, &count, SPAN_LIT("accept"),
        r->openai.stream ? SPAN_LIT("text/event-stream") : SPAN_LIT("application/json"));
    add(list, &count, SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION));
    add(list, &count, SPAN_LIT("x-request-id"), (struct span){r->id_text, REQUEST_ID_BYTES});
    add(list, &count, SPAN_LIT("authorization"), node->authorization);
    add_trace(list, &count, SPAN_LIT("traceparent"), traceparent);
    add_trace(list, &count, SPAN_LIT("tracestate"), tracestate);
    add(list, &count, SPAN_LIT(VIA_HEADER), via_write(g->via_mark, r->http, room->via));
    if (adapter != NULL && adapter->in_band_load)
        add(list, &count, SPAN_LIT("endpoint-load-metrics-format"), SPAN_LIT("JSON"));
    if (is_member(g, a->node)) {
        snprintf(room->number, NUMBER_BYTES, "%llu",
                 (unsigned long long)(g->dispatch_base + serial));
        add(list, &count, SPAN_LIT("isochrone-gateway"), span_of(g->name));
        add(list, &count, SPAN_LIT("isochrone-dispatch"), span_of(room->number));
    }
    return count;
}

/* Start the call. ERR_NOT_FOUND: the node left, lost the model or has no address. */
static enum err
call(struct attempt *a, const struct action_dispatch *dispatch)
{
    struct request *r = a->request;
    const struct roster *roster = a->fleet->roster;
    const struct roster_node *node = roster_node(roster, dispatch->node);
    struct span model = fleet_engine_name(a->fleet, dispatch->node, r->model);
    struct span parts[2 * OPENAI_EDITS_MAX + 1], *kept;
    struct http_header headers[UPSTREAM_HEADERS_MAX];
    double first_ms = (double)dispatch->first_limit_ms, idle_ms = (double)dispatch->gap_limit_ms;
    struct http_call_limits limits = {.connect_ns = roster->config.connect_ns};
    struct http_call_request request = {.method = SPAN_LIT("POST"), .headers = headers};
    struct arena *arena = http_exchange_arena(r->exchange);
    struct header_room room;
    enum err err;

    if (node == NULL || model.bytes == 0)
        return ERR_NOT_FOUND;
    err = openai_request_splice(&r->openai, model, arena, parts, 2 * OPENAI_EDITS_MAX + 1,
                                &request.part_count);
    if (err != ERR_OK)
        return err;
    kept = arena_take(arena, request.part_count * sizeof(*kept)); /* lives as long as the call */
    if (kept == NULL)
        return ERR_MEMORY;
    memcpy(kept, parts, request.part_count * sizeof(*kept));
    request.parts = kept;
    request.target = r->openai.api == OPENAI_CHAT ? SPAN_LIT("/v1/chat/completions")
                                                  : SPAN_LIT("/v1/completions");
    request.header_count = upstream_headers(a, node, headers, dispatch->serial, &room);
    if (!r->openai.stream) { /* no sign of life before the end */
        first_ms += JSON_DONE_FACTOR * (double)dispatch->done_ms;
        limits.body_bytes_max = roster->config.body_bytes_max;
    } else if (idle_ms < first_ms) { /* engines that send the head at once wait after it */
        idle_ms = first_ms;          /* between tokens the stream watches */
    }
    limits.first_byte_ns = ns_of_ms(first_ms);
    limits.idle_ns = ns_of_ms(idle_ms);
    err = upstream_take(r->lane, roster, node, &a->upstream);
    if (err != ERR_OK)
        return err;
    err = http_call_start(upstream_target(a->upstream), &request, &limits, &call_fn, a, &a->call);
    if (err != ERR_OK)
        forget_call(a);
    return err;
}

static void
on_late(struct loop_timer *timer)
{
    request_late(CONTAINER_OF(timer, struct attempt, late));
}

void
attempt_start(struct request *r, const struct action_dispatch *dispatch, uint32_t recent)
{
    struct attempt *a = &r->attempts[r->attempts[0].call != NULL ? 1 : 0];
    struct gateway *g = r->lane->gateway;
    struct fleet *former = a->fleet;
    enum err err;

    must(a->call == NULL && dispatch->node < g->nodes_max);
    a->fleet = fleet_ref(lane_fleet(r->lane));
    fleet_unref(former);
    a->mode = ATTEMPT_HEAD;
    a->number = dispatch->attempt;
    a->node = dispatch->node;
    a->reports = 0;
    a->recent = recent;
    a->kind = atomic_load_explicit(&g->node_kinds[dispatch->node], memory_order_relaxed);
    a->status = 0;
    a->dispatched = false;
    a->is_hedge = dispatch->hedge != 0;
    a->predicted_first_ms = dispatch->first_ms;
    a->hit_tokens = r->hit_tokens;
    a->dispatched_ns = r->routed_ns;
    a->usage = (struct openai_usage){0};
    a->body_bytes = 0;
    if (r->openai.stream)
        stream_source_open(&a->source, ns_of_ms((double)dispatch->first_limit_ms),
                           ns_of_ms((double)dispatch->gap_limit_ms));
    r->tries = a->number;
    if (!a->is_hedge)
        r->shown = a;
    metrics_add(&r->lane->metrics.attempts, 1);
    if (a->number > 1 && !a->is_hedge)
        metrics_add(&r->lane->metrics.retries, 1);
    /* a hint for polls: one lost between two lanes does not matter, a locked add would cost */
    atomic_store_explicit(&g->node_uses[a->node],
                          atomic_load_explicit(&g->node_uses[a->node], memory_order_relaxed) + 1,
                          memory_order_relaxed);
    err = call(a, dispatch);
    if (err != ERR_OK)
        request_failed(a, err == ERR_NOT_FOUND ? FAILURE_CONNECT : FAILURE_LOCAL, NAN);
    else if (dispatch->hedge_after_ms >= 0.0f) /* NAN: nobody wants to know */
        loop_timer_set(r->lane->loop, &a->late,
                       a->dispatched_ns + ns_of_ms((double)dispatch->hedge_after_ms), on_late);
}

/* node_proxy - one request: from a gateway to an engine and back, byte for byte.
 *
 *   begun -> (waiting ->) running -> over
 *
 * What goes to the engine is a closed list of headers with the agent's own credential; so is what
 * comes back. What is between them is passed on as it comes, looked at on the way: when content
 * begins and ends, and what was used. The gateway's connection holds the engine's up when it is
 * slow, and closes it when it leaves. A stream gets one comment before its [DONE]: how busy the
 * node is now; behind another answer comes a trailer that says the same. A failure before the head
 * is an error in words; behind it, the answer breaks off, so that nobody takes it for whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "role/failure.h"
#include "role/node/node_ask.h"
#include "wire/sse.h"

#define WHOLE_NS           1800000000000u /* for an answer that is no stream */
#define HEADERS_MAX        12u
#define REPORT_HEADER      "isochrone-report"
#define PREFILL_TOKENS_MIN 64u /* fewer say nothing of the speed */
#define DECODE_TOKENS_MIN  8u
#define MEAN_OF            32.0 /* answers that a mean is about */
#define UNREACHED_RETRY_MS NAN

struct node_request {
    TAILQ_ENTRY(node_request) link;
    struct node *node;
    struct http_exchange *x;
    const struct node_api *api;
    struct node_engine *engine;
    struct node_model *model; /* as it is told; NULL: the engine knows it by another name */
    struct http_call *call;   /* NULL: waiting, or over */
    struct loop_timer wait;
    struct span body, gateway; /* gateway: its name; empty: it did not say */
    struct node_ask ask;
    uint64_t tokens; /* counted in the guard */
    bool is_running, head_sent, paused;
    bool is_cold;   /* its model was not in memory when it was sent */
    bool is_coming; /* it waits for its model; else for a place */
    bool is_stream; /* its answer is one */
    bool trails;    /* its report comes as a trailer */
    bool in_prefill;
    bool alone; /* no other prompt was read when it began */
    struct sse_reader sse;
    struct node_used used;
    char *answer; /* what there is of one that is no stream; too long: its beginning is dropped */
    size_t answer_bytes;
    bool answer_cut;
    uint64_t began_ns, wait_until_ns, sent_ns, first_ns, last_ns;
};

/* ---- Models that come because somebody asked for them. Not every engine tells that it loads one:
 * so the wait for it tells. */

bool
node_proxy_awaits(const struct node_engine *e, struct span model)
{
    const struct node_request *q;

    TAILQ_FOREACH (q, &e->node->running, link) {
        if (q->is_cold && q->in_prefill && q->engine == e &&
            span_eq(model, (struct span){q->ask.model, q->ask.model_bytes}))
            return true;
    }
    return false;
}

static uint32_t
count_using(const struct node_requests *list, const struct node_engine *e, struct span model)
{
    const struct node_request *q;
    uint32_t count = 0;

    TAILQ_FOREACH (q, list, link) {
        count += q->engine == e && !q->is_coming &&
                 (model.bytes == 0 || q->model == NULL || span_eq_text(model, q->model->id));
    }
    return count;
}

uint32_t
node_proxy_using(const struct node_engine *e, struct span model)
{
    return count_using(&e->node->running, e, model) + count_using(&e->node->waiting, e, model);
}

/* ---- The end. */

static void
end_prefill(struct node_request *q)
{
    if (!q->in_prefill)
        return;
    q->in_prefill = false;
    q->node->prefill_tokens -= q->ask.prompt_tokens;
    if (q->is_cold) /* it came, and perhaps another one had to go */
        node_engine_look(q->engine);
}

static void
enter_room(struct node_request *q)
{
    TAILQ_INSERT_TAIL(&q->node->waiting, q, link);
    q->node->waiting_count++;
    if (q->model != NULL)
        q->model->waiting++;
}

static void
leave_room(struct node_request *q)
{
    TAILQ_REMOVE(&q->node->waiting, q, link);
    q->node->waiting_count--;
    if (q->model != NULL)
        q->model->waiting--;
}

/* Nothing more is to happen; the exchange may go on to its end. */
static void
close_request(struct node_request *q)
{
    struct node *n = q->node;

    loop_timer_stop(&q->wait);
    if (q->call != NULL)
        http_call_cancel(q->call);
    q->call = NULL;
    end_prefill(q);
    if (q->is_running) {
        TAILQ_REMOVE(&n->running, q, link);
        node_guard_leave(n, q->engine, q->model, q->tokens);
    } else {
        leave_room(q);
    }
    sse_reader_fini(&q->sse);
    free(q->answer);
    http_exchange_set_user(q->x, NULL);
    loop_defer(n->loop, &n->admit, node_admit);
}

static void
refuse(struct node_request *q, unsigned status, const char *code, float retry_ms,
       const char *message)
{
    struct http_exchange *x = q->x;

    close_request(q);
    node_refuse(x, status, code, retry_ms, "%s", message);
}

/* What was learned from an answer that is whole. */
static void
measure(struct node_request *q)
{
    const struct openai_usage *u = &q->used.usage;
    struct node *n = q->node;
    uint64_t prompt = u->known ? u->prompt_tokens : q->ask.prompt_tokens;
    uint64_t output = u->known && u->output_tokens > 0 ? u->output_tokens : q->used.pieces;
    uint64_t cached = u->cached_known && u->cached_tokens < prompt ? u->cached_tokens : 0;
    double first_s = (double)(q->first_ns - q->sent_ns) / 1e9;
    double decode_s = (double)(q->last_ns - q->first_ns) / 1e9;

    n->counts.prompt_tokens += prompt;
    n->counts.output_tokens += output;
    if (output > 0)
        n->output_mean += ((double)output - n->output_mean) / MEAN_OF;
    if (!q->is_cold) /* it says how long a load is */
        n->seconds_mean += ((double)(clock_now_ns() - q->began_ns) / 1e9 - n->seconds_mean) /
                           MEAN_OF;
    if (u->engine_prefill_ms > 0.0)
        first_s = u->engine_prefill_ms / 1e3; /* the engine's own clock knows best */
    else if (!q->alone || !q->is_stream || q->first_ns == 0 || q->is_cold)
        first_s = 0.0;
    if (first_s > 0.0 && prompt - cached >= PREFILL_TOKENS_MIN)
        node_measure(&n->prefill, (double)(prompt - cached) / first_s);
    if (u->engine_decode_ms > 0.0)
        decode_s = u->engine_decode_ms / 1e3;
    else if (!q->is_stream)
        decode_s = 0.0;
    if (decode_s > 0.0 && output >= DECODE_TOKENS_MIN)
        node_measure(&n->decode, (double)(output - 1) / decode_s);
}

/* The engine did not do it. */
static void
fail(struct node_request *q, unsigned status, const char *code, const char *message)
{
    struct http_exchange *x = q->x;
    bool head_sent = q->head_sent;

    q->node->counts.failed++;
    close_request(q);
    if (head_sent)
        http_response_abort(x);
    else
        node_refuse(x, status, code, UNREACHED_RETRY_MS, "%s", message);
}

/* ---- What comes back. */

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    struct node_request *q = user;

    (void)call, (void)fresh;
    q->sent_ns = clock_now_ns();
}

static struct span
header_of(const struct http_response *response, struct span name)
{
    for (size_t i = response->header_count; i > 0; i--) {
        if (span_eq_nocase(response->headers[i - 1].name, name))
            return response->headers[i - 1].value;
    }
    return (struct span){NULL, 0};
}

static size_t
answer_headers(const struct http_response *response, struct http_header *list)
{
    static const struct span names[] = {
        SPAN_INIT("content-type"),         SPAN_INIT("cache-control"),
        SPAN_INIT("retry-after"),          SPAN_INIT("retry-after-ms"),
        SPAN_INIT("x-request-id"),         SPAN_INIT("x-accel-buffering"),
        SPAN_INIT("endpoint-load-metrics")};
    size_t count = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct span value = header_of(response, names[i]);
        if (value.bytes > 0)
            list[count++] = (struct http_header){names[i], value};
    }
    return count;
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    struct node_request *q = user;
    struct http_header headers[HEADERS_MAX];
    size_t count = answer_headers(response, headers), bytes;
    struct span type = header_of(response, SPAN_LIT("content-type"));
    char text[MESSAGE_BYTES_MAX];
    uint64_t length;

    (void)call;
    q->is_stream = response->status == 200 &&
                   span_eq_nocase((struct span){type.data, type.bytes < 17 ? type.bytes : 17},
                                  SPAN_LIT("text/event-stream"));
    /* A trailer tells more than the head: that this answer is done. For it the length is given up,
     * which a gateway does not need. */
    q->trails = !q->is_stream && q->gateway.bytes > 0 && response->status == 200 &&
                http_exchange_takes_trailers(q->x);
    if (q->trails)
        headers[count++] = (struct http_header){SPAN_LIT("trailer"), SPAN_LIT(REPORT_HEADER)};
    else if (q->gateway.bytes > 0 &&
             node_report_piggyback(q->node, q->gateway, text, &bytes) == ERR_OK)
        headers[count++] = (struct http_header){SPAN_LIT(REPORT_HEADER),
                                                (struct span){text, bytes}};
    q->head_sent = true;
    if (!q->is_stream && !q->trails &&
        span_u64(header_of(response, SPAN_LIT("content-length")), &length) == ERR_OK)
        http_response_start_length(q->x, response->status, headers, count, length);
    else
        http_response_start(q->x, response->status, headers, count);
}

static void
pass(struct node_request *q, struct span bytes)
{
    http_response_write(q->x, bytes);
    if (!q->paused && q->call != NULL && http_response_pending(q->x) > NODE_HIGH_WATER_BYTES) {
        q->paused = true;
        http_call_pause(q->call);
    }
}

static void
say_report(struct node_request *q)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    if (q->gateway.bytes == 0 || node_report_piggyback(q->node, q->gateway, text, &bytes) != ERR_OK)
        return;
    http_response_writev(
        q->x, (struct span[]){SPAN_LIT(": isochrone-report "), {text, bytes}, SPAN_LIT("\n\n")}, 3);
}

/* Would a gateway take it for the node's word? An engine has none. */
static bool
is_report(const struct sse_event *event)
{
    return event->comment_only &&
           memmem(event->raw.data, event->raw.bytes, REPORT_HEADER, strlen(REPORT_HEADER)) != NULL;
}

static void
take_event(struct node_request *q, const struct sse_event *event)
{
    if (is_report(event))
        return;
    if (event->done) {
        say_report(q);
    } else if (event->data.bytes > 0 && node_ask_used(q->api, event->data, &q->used)) {
        q->last_ns = clock_now_ns();
        if (q->first_ns == 0)
            q->first_ns = q->last_ns;
        end_prefill(q);
    }
    pass(q, event->raw);
}

/* Keep what there is of an answer, up to a limit: for what it says of its use. */
static void
keep(struct node_request *q, struct span bytes)
{
    char *more;

    if (q->answer_cut || bytes.bytes == 0)
        return;
    q->answer_cut = bytes.bytes > NODE_DEPTH_BYTES_MAX - q->answer_bytes;
    more = q->answer_cut ? NULL : realloc(q->answer, q->answer_bytes + bytes.bytes);
    if (more == NULL) {
        q->answer_cut = true;
        return;
    }
    q->answer = more;
    memcpy(q->answer + q->answer_bytes, bytes.data, bytes.bytes);
    q->answer_bytes += bytes.bytes;
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct node_request *q = user;
    struct sse_event event;
    enum err err;

    (void)call;
    if (!q->is_stream) {
        end_prefill(q);
        keep(q, bytes);
        pass(q, bytes);
        return;
    }
    sse_reader_feed(&q->sse, bytes);
    while ((err = sse_reader_next(&q->sse, &event)) == ERR_OK)
        take_event(q, &event);
    if (err != ERR_AGAIN)
        fail(q, 502, "engine_malformed", "the engine's stream is none");
}

/* It was closed: what the report says of it is over. */
static void
end_answer(const struct node_request *q)
{
    char text[MESSAGE_BYTES_MAX];
    struct http_header trailer = {SPAN_LIT(REPORT_HEADER), {text, 0}};

    if (q->trails &&
        node_report_piggyback(q->node, q->gateway, text, &trailer.value.bytes) == ERR_OK)
        http_response_end_trailers(q->x, &trailer, 1);
    else
        http_response_end(q->x);
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t trailer_count, void *user)
{
    struct node_request *q = user;

    (void)call, (void)trailers, (void)trailer_count;
    q->call = NULL;
    if (q->is_stream && sse_reader_partial(&q->sse)) {
        fail(q, 502, "engine_malformed", "the engine's stream broke off");
        return;
    }
    if (!q->is_stream && !q->answer_cut && q->answer_bytes > 0)
        (void)node_ask_used(q->api, (struct span){q->answer, q->answer_bytes}, &q->used);
    if (http_exchange_status(q->x) == 200)
        measure(q);
    close_request(q);
    end_answer(q);
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    struct node_request *q = user;

    (void)call;
    q->call = NULL;
    node_engine_doubt(q->engine);
    switch (failure_of_call(why)) {
    case FAILURE_CONNECT:
        fail(q, 502, "engine_unreachable", "the engine does not take connections");
        break;
    case FAILURE_FIRST_BYTE:
        fail(q, 504, "engine_silent", "the engine did not begin to answer in time");
        break;
    default:
        fail(q, 502, "engine_failed", "the engine broke its answer off");
        break;
    }
}

static const struct http_call_fn call_fn = {
    .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};

/* ---- What goes there. */

static size_t
engine_headers(const struct node_request *q, struct http_header *list)
{
    static const struct span names[] = {SPAN_INIT("accept"),
                                        SPAN_INIT("x-request-id"),
                                        SPAN_INIT("traceparent"),
                                        SPAN_INIT("tracestate"),
                                        SPAN_INIT("isochrone-via"), /* behind it is a gateway? */
                                        SPAN_INIT("anthropic-version"),
                                        SPAN_INIT("endpoint-load-metrics-format")};
    const struct http_request *r = http_exchange_request(q->x);
    size_t count = 0;

    list[count++] = (struct http_header){SPAN_LIT("content-type"), SPAN_LIT("application/json")};
    list[count++] = (struct http_header){SPAN_LIT("user-agent"),
                                         SPAN_LIT("isochrone/" ISOCHRONE_VERSION)};
    if (q->engine->at->authorization.bytes > 0)
        list[count++] = (struct http_header){SPAN_LIT("authorization"),
                                             q->engine->at->authorization};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct span value = http_request_header(r, names[i]);
        if (value.bytes > 0)
            list[count++] = (struct http_header){names[i], value};
    }
    must(count <= HEADERS_MAX);
    return count;
}

/* It was counted in: send it. */
static void
start(struct node_request *q)
{
    struct node *n = q->node;
    const struct config *config = &n->roster->config;
    struct http_header headers[HEADERS_MAX];
    const struct http_call_request request = {.method = SPAN_LIT("POST"),
                                              .target = span_of(q->api->path),
                                              .headers = headers,
                                              .header_count = engine_headers(q, headers),
                                              .parts = &q->body,
                                              .part_count = 1};
    const struct http_call_limits limits = {
        .connect_ns = config->connect_ns,
        .first_byte_ns = (q->ask.stream ? config->first_byte_ns : WHOLE_NS) +
                         (q->is_cold ? n->config->guard_loading_ns : 0),
        .idle_ns = config->idle_ns,
    };
    enum err err;

    q->is_running = true;
    TAILQ_INSERT_TAIL(&n->running, q, link);
    q->alone = n->prefill_tokens == 0;
    q->in_prefill = true;
    n->prefill_tokens += q->ask.prompt_tokens;
    q->sent_ns = clock_now_ns();
    if (q->is_cold)
        node_models_changed(n);
    err = http_call_start(q->engine->target, &request, &limits, &call_fn, q, &q->call);
    if (err != ERR_OK)
        fail(q, 503, "node_out_of_memory", "this node has no room for it now");
}

/* ---- The waiting room. */

static void
on_waited(struct loop_timer *timer)
{
    struct node_request *q = CONTAINER_OF(timer, struct node_request, wait);

    q->node->counts.refused_busy++;
    if (q->is_coming)
        refuse(q, 503, "model_not_ready", NODE_RETRY_MS,
               "the model is being loaded, and was not ready within this node's guard.loading");
    else
        refuse(q, 429, "node_full", node_guard_retry_ms(q->node),
               "this node is at its limit, and was for too long");
}

/* Who waited for a model to come may wait for its slots as long as for the model: others came with
 * it, and here it is ahead of all that come later. */
static void
wait_until(struct node_request *q)
{
    const struct config_node *c = q->node->config;
    bool is_loading = q->is_coming || q->is_cold;
    uint64_t until_ns = loop_now_ns(q->node->loop) +
                        (is_loading ? c->guard_loading_ns : c->guard_waiting_ns);

    if (q->wait_until_ns < until_ns)
        q->wait_until_ns = until_ns;
    loop_timer_set(q->node->loop, &q->wait, q->wait_until_ns, on_waited);
}

/* At which engine, as it is now? False: at none, and that was answered. */
static bool
find_place(struct node_request *q, bool *ret_is_coming)
{
    struct node_place place = node_engine_for(q->node,
                                              (struct span){q->ask.model, q->ask.model_bytes});

    if (place.engine == NULL) {
        q->node->counts.refused_other++;
        refuse(q, place.status, place.code, place.retry_ms, place.why);
        return false;
    }
    q->engine = place.engine;
    q->is_cold = place.is_cold;
    *ret_is_coming = place.is_coming;
    return true;
}

/* What is with the model that it waits for? False: it waits on, or is answered. */
static bool
has_come(struct node_request *q)
{
    bool is_coming;

    if (!find_place(q, &is_coming) || is_coming)
        return false;
    q->is_coming = false;
    wait_until(q); /* for a place, from now on */
    return true;
}

void
node_proxy_leave(struct node_engine *e)
{
    struct node_request *q, *next;
    bool is_coming;

    TAILQ_FOREACH_SAFE (q, &e->node->waiting, link, next) {
        if (q->engine != e || !find_place(q, &is_coming))
            continue;
        if (is_coming && !q->is_coming)
            wait_until(q); /* for the model, from now on */
        q->is_coming = is_coming;
    }
}

void
node_admit(struct loop_task *task)
{
    struct node *n = CONTAINER_OF(task, struct node, admit);
    uint32_t slots = node_guard_slots(n);
    struct node_request *q, *next;

    TAILQ_FOREACH_SAFE (q, &n->waiting, link, next) {
        if (q->is_coming ? !has_come(q) : n->running_count >= slots)
            continue;
        if (node_guard_enter(n, q->engine, q->model, q->tokens) != NODE_GO)
            continue;
        loop_timer_stop(&q->wait);
        leave_room(q);
        start(q);
    }
}

/* ---- The beginning. */

struct span
node_gateway_name(const struct node *n, const struct http_request *r)
{
    struct span said = http_request_header(r, SPAN_LIT("isochrone-gateway"));
    const struct config_node *c = n->config;
    struct signature_key key;
    bool is_key = signature_key_parse(said, &key) == ERR_OK;

    for (size_t i = 0; i < c->base.gateway_count; i++) {
        if (span_eq(c->base.gateways[i].name, said) ||
            (is_key && signature_key_eq(&c->base.gateways[i].key, &key)))
            return c->base.gateways[i].name;
    }
    if (c->base.gateway_count == 0 && config_is_name(said))
        return said;
    return (struct span){NULL, 0};
}

static void
enter(struct node_request *q)
{
    struct node *n = q->node;

    switch (q->is_coming ? node_guard_wait(n)
                         : node_guard_enter(n, q->engine, q->model, q->tokens)) {
    case NODE_GO:
        start(q);
        return;
    case NODE_WAIT:
        enter_room(q);
        wait_until(q);
        return;
    default:
        http_exchange_set_user(q->x, NULL);
        n->counts.refused_busy++;
        node_refuse(q->x, 429, "node_full", node_guard_retry_ms(n),
                    "this node is at its limit, and as many as may wait are waiting");
        return;
    }
}

void
node_proxy_begin(struct node *n, const struct node_api *api, struct http_exchange *x,
                 const struct http_request *r, struct span gateway)
{
    struct node_request *q = arena_zeroed(http_exchange_arena(x), sizeof(*q));
    struct node_place place;
    struct json_error error;
    uint64_t number;

    n->counts.requests++;
    if (n->state != NODE_READY) {
        n->counts.refused_draining++;
        node_refuse(x, 503, "node_draining", NODE_RETRY_MS, "this node is draining");
        return;
    }
    if (q == NULL) {
        node_refuse(x, 503, "node_out_of_memory", NAN, "this node has no room for it now");
        return;
    }
    *q = (struct node_request){
        .node = n, .x = x, .api = api, .body = r->body, .began_ns = clock_now_ns()};
    q->used.usage = (struct openai_usage){.engine_prefill_ms = NAN, .engine_decode_ms = NAN};
    if (node_ask_parse(r->body, n->roster->config.json_values_max, &q->ask, &error) != ERR_OK) {
        n->counts.refused_other++;
        node_refuse(x, 400, "invalid_json", NAN, "line %u, column %u: %s", error.line, error.column,
                    error.message);
        return;
    }
    place = node_engine_for(n, (struct span){q->ask.model, q->ask.model_bytes});
    if (place.engine == NULL) {
        n->counts.refused_other++;
        node_refuse(x, place.status, place.code, place.retry_ms, "%s", place.why);
        return;
    }
    q->engine = place.engine;
    q->model = node_model_find(n, (struct span){q->ask.model, q->ask.model_bytes});
    q->is_cold = place.is_cold;
    q->is_coming = place.is_coming;
    q->tokens = q->ask.prompt_tokens;
    if (api->has_output)
        q->tokens += q->ask.output_tokens != 0 ? q->ask.output_tokens : (uint64_t)n->output_mean;
    /* of its own: a reload may come before its end */
    if (arena_copy(http_exchange_arena(x), gateway, &q->gateway) != ERR_OK) {
        node_refuse(x, 503, "node_out_of_memory", NAN, "this node has no room for it now");
        return;
    }
    http_exchange_set_user(x, q);
    enter(q);
    if (q->gateway.bytes > 0 && http_exchange_user(x) == q &&
        span_u64(http_request_header(r, SPAN_LIT("isochrone-dispatch")), &number) == ERR_OK)
        node_ack(n, q->gateway, number);
}

/* ---- The gateway's side. */

void
node_proxy_gone(struct http_exchange *x)
{
    struct node_request *q = http_exchange_user(x);

    if (q == NULL)
        return;
    q->node->counts.cancelled++;
    close_request(q);
}

void
node_proxy_drained(struct http_exchange *x)
{
    struct node_request *q = http_exchange_user(x);

    if (q == NULL || !q->paused)
        return;
    q->paused = false;
    if (q->call != NULL)
        http_call_resume(q->call);
}

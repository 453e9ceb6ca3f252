/* answer - heads and errors; see answer.h. */
#include "role/gateway/answer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "role/gateway/request.h"

void
answer_head_init(struct answer_head *head)
{
    head->count = 0;
    head->text = (struct put){.text = head->bytes, .room_bytes = sizeof(head->bytes)};
}

void
answer_head_add(struct answer_head *head, struct span name, struct span value)
{
    if (head->count < ANSWER_HEADERS_MAX)
        head->list[head->count++] = (struct http_header){name, value};
}

void
answer_head_begin(struct answer_head *head)
{
    head->from = head->text.bytes;
}

void
answer_head_end(struct answer_head *head, struct span name)
{
    answer_head_add(head, name,
                    (struct span){head->bytes + head->from, head->text.bytes - head->from});
}

/* Why this node: the rule, what was predicted, among how many. */
static void
put_reason(struct put *text, const struct request *r)
{
    put_text(text, metrics_rule_name(r->rule));
    if (r->shown->is_hedge)
        put_text(text, "; hedged");
    else if (r->shown->number > 1)
        put_text(text, "; retried");
    if (r->shown->predicted_first_ms > 0.0f && r->shown->predicted_first_ms < 1e9f) {
        put_text(text, "; predicted ");
        put_ms(text, (uint64_t)((double)r->shown->predicted_first_ms * 1e3));
        put_text(text, " ms");
    }
    put_text(text, "; considered ");
    put_u64(text, r->considered);
}

/* How busy we are, for a router above us that asked. */
static void
load_head(struct answer_head *head, const struct request *r)
{
    static const char name[] = "endpoint-load-metrics-format";
    struct span format = http_request_header(r->http, span_of(name));
    const struct gateway *g = r->lane->gateway;
    bool json = span_eq_nocase(format, SPAN_LIT("json"));
    uint64_t in_flight = 0;

    if (!json && !span_eq_nocase(format, SPAN_LIT("text")))
        return;
    for (uint32_t i = 0; i < g->lane_count; i++)
        in_flight += metrics_get(&g->lanes[i].metrics.in_flight);
    answer_head_begin(head);
    put_text(&head->text, json ? "JSON {\"named_metrics\":{\"num_requests_running\":"
                               : "TEXT named_metrics.num_requests_running=");
    put_u64(&head->text, in_flight);
    if (json)
        put_text(&head->text, "}}");
    answer_head_end(head, SPAN_LIT("endpoint-load-metrics"));
}

static void
put_timing(struct put *text, const struct request *r)
{
    uint64_t routed_ns = r->shown->number != 0 ? r->shown->dispatched_ns : r->routed_ns;

    put_text(text, "route;dur=");
    put_ms(text, (routed_ns - r->arrived_ns) / 1000);
    put_text(text, r->openai.stream ? ", ttft;dur=" : ", upstream;dur=");
    put_ms(text, (r->now_ns - r->arrived_ns) / 1000);
    if (r->shown->predicted_first_ms > 0.0f && r->shown->predicted_first_ms < 1e9f) {
        put_text(text, ", predict;dur="); /* until the first token, as expected at the choice */
        put_ms(text, (uint64_t)((double)r->shown->predicted_first_ms * 1e3));
    }
}

void
answer_request_head(struct answer_head *head, const struct request *r)
{
    struct span theirs = http_request_header(r->http, SPAN_LIT("x-request-id"));
    const struct roster *roster = r->shown->fleet != NULL ? r->shown->fleet->roster : NULL;
    const struct roster_node *node = roster != NULL ? roster_node(roster, r->shown->node) : NULL;

    answer_head_add(head, SPAN_LIT("x-request-id"), (struct span){r->id_text, REQUEST_ID_BYTES});
    if (theirs.bytes > 0 && theirs.bytes <= ANSWER_ECHO_BYTES_MAX)
        answer_head_add(head, SPAN_LIT("isochrone-client-request-id"), theirs);
    if (node == NULL)
        return;
    answer_head_add(head, SPAN_LIT("isochrone-node"), node->name);
    answer_head_add(head, SPAN_LIT("isochrone-region"), roster->regions.list[node->region]);
    answer_head_begin(head);
    put_u64(&head->text, r->tries);
    answer_head_end(head, SPAN_LIT("isochrone-attempts"));
    answer_head_begin(head);
    put_reason(&head->text, r);
    answer_head_end(head, SPAN_LIT("isochrone-reason"));
    answer_head_begin(head);
    put_timing(&head->text, r);
    answer_head_end(head, SPAN_LIT("server-timing"));
    load_head(head, r);
}

void
answer_request_comment(struct put *text, const struct request *r)
{
    const struct roster *roster = r->shown->fleet != NULL ? r->shown->fleet->roster : NULL;
    const struct roster_node *node = roster != NULL ? roster_node(roster, r->shown->node) : NULL;

    put_text(text, ": isochrone node=");
    if (node != NULL) {
        put_span(text, node->name);
        put_text(text, " region=");
        put_span(text, roster->regions.list[node->region]);
    }
    put_text(text, " attempts=");
    put_u64(text, r->tries);
    put_text(text, "\n\n");
}

void
answer_retry_head(struct answer_head *head, float retry_after_ms, bool all_tried)
{
    if (retry_after_ms >= 0.0f && retry_after_ms < 1e9f) {
        uint64_t ms = (uint64_t)retry_after_ms;
        answer_head_begin(head);
        put_u64(&head->text, (ms + 999) / 1000);
        answer_head_end(head, SPAN_LIT("retry-after"));
        answer_head_begin(head);
        put_u64(&head->text, ms);
        answer_head_end(head, SPAN_LIT("retry-after-ms"));
    }
    if (all_tried)
        answer_head_add(head, SPAN_LIT("x-should-retry"), SPAN_LIT("false"));
}

void
answer_body(struct http_exchange *x, unsigned status, struct span content_type, struct span body)
{
    const struct http_header headers[] = {{SPAN_LIT("content-type"), content_type},
                                          {SPAN_LIT("cache-control"), SPAN_LIT("no-store")}};

    http_respond(x, status, headers, 2, body);
}

void
answer_error(struct http_exchange *x, const struct openai_error *e, const struct http_header *extra)
{
    struct http_header headers[2] = {{SPAN_LIT("content-type"), SPAN_LIT("application/json")}};
    struct span json = SPAN_LIT("{\"error\":{\"message\":\"out of memory\",\"type\":"
                                "\"server_error\",\"param\":null,\"code\":null}}");

    if (extra != NULL)
        headers[1] = *extra;
    if (openai_error_write(e, SPAN_LIT(""), http_exchange_arena(x), &json) != ERR_OK)
        http_respond(x, 500, headers, 1, json);
    else
        http_respond(x, e->status, headers, extra != NULL ? 2 : 1, json);
}

void
answer_fill(struct openai_error *e, unsigned status, const char *type, const char *code,
            const char *format, ...)
{
    va_list args;

    *e = (struct openai_error){.status = status, .type = type, .code = code};
    va_start(args, format);
    vsnprintf(e->message, sizeof(e->message), format, args);
    va_end(args);
}

/* Every try failed: the last failure says which side to look at. */
static void
all_tried(struct openai_error *e, const struct action_refuse *refuse)
{
    const char *failure = metrics_failure_name(refuse->failure);

    if (refuse->failure == FAILURE_BUSY)
        answer_fill(e, 429, "rate_limit_error", "engines_busy",
                    "every engine that was tried is at its limit (%u tried)", refuse->attempts);
    else if (refuse->failure == FAILURE_FIRST_BYTE || refuse->failure == FAILURE_STALL)
        answer_fill(e, 504, "server_error", "engine_timeout",
                    "no engine answered in time (%u tried, last failure: %s)", refuse->attempts,
                    failure);
    else if (refuse->failure == FAILURE_LOCAL)
        answer_fill(e, 503, "server_error", "gateway_limit",
                    "the gateway reached a limit of its own: limits.buffers_bytes_max, memory, or "
                    "descriptors");
    else
        answer_fill(e, 502, "server_error", "engine_failed",
                    "every engine that was tried failed (%u tried, last failure: %s)",
                    refuse->attempts, failure);
}

void
answer_refusal(struct openai_error *e, const struct action_refuse *refuse, struct span model)
{
    int bytes = model.bytes < 100 ? (int)model.bytes : 100;

    switch (refuse->refusal) {
    case REFUSAL_NO_NODE:
        answer_fill(e, 503, "server_error", "no_node", "no engine serves the model `%.*s`", bytes,
                    model.data);
        break;
    case REFUSAL_NOT_READY:
        answer_fill(e, 503, "server_error", "model_not_ready",
                    "engines have the model `%.*s`, but it is ready on none of them", bytes,
                    model.data);
        break;
    case REFUSAL_DRAINING:
        answer_fill(e, 503, "server_error", "draining",
                    "every engine with the model `%.*s` is draining", bytes, model.data);
        break;
    case REFUSAL_FAILING:
        answer_fill(e, 503, "server_error", "engines_failing",
                    "every engine with the model `%.*s` keeps failing", bytes, model.data);
        break;
    case REFUSAL_FULL:
        answer_fill(e, 429, "rate_limit_error", "no_capacity",
                    "every engine with the model `%.*s` is at its limit", bytes, model.data);
        break;
    case REFUSAL_SHED:
        answer_fill(e, 429, "rate_limit_error", "overloaded",
                    "more is asked of the model `%.*s` than its engines can do: wait as long as "
                    "Retry-After says, then ask again",
                    bytes, model.data);
        break;
    case REFUSAL_DEADLINE:
        answer_fill(e, 503, "server_error", "deadline_unreachable",
                    "no engine with the model `%.*s` can begin to answer within the time given: "
                    "allow more, or ask again %s",
                    bytes, model.data,
                    refuse->retry_after_ms >= 0.0f ? "later" : "with a shorter prompt");
        break;
    case REFUSAL_CROWDED:
        answer_fill(e, 503, "server_error", "overloaded",
                    "this gateway has as many requests in flight as it can hold");
        break;
    case REFUSAL_STARTED:
        answer_fill(e, 502, "server_error", "stream_interrupted",
                    "the engine broke off in the middle of its answer (%s)",
                    metrics_failure_name(refuse->failure));
        break;
    default:
        all_tried(e, refuse);
        break;
    }
}

/* answer_request - what a request's answer says of it; see answer_request.h. */
#include "role/gateway/answer_request.h"

#include <math.h>
#include <stdio.h>

#include "role/failure.h"
#include "role/gateway/request.h"

#define WAIT_CONCURRENCY_MS 1000.0f /* nobody knows when one of the key's requests ends */

/* Why this node: the rule, what was predicted, among how many. */
void
answer_reason(struct put *text, const struct request *r)
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

/* Go's way to write a duration, which is OpenAI's: "250ms", "1.5s", "6m0s". */
static void
put_duration(struct put *text, uint64_t ns)
{
    uint64_t ms = (ns + 999999) / 1000000;

    if (ms < 1000) {
        put_u64(text, ms);
        put_text(text, ms > 0 ? "ms" : "s");
        return;
    }
    if (ms >= 60000) {
        put_u64(text, ms / 60000);
        put_text(text, "m");
    }
    put_u64(text, ms % 60000 / 1000);
    if (ms % 1000 >= 100) { /* tenths are enough */
        put_text(text, ".");
        put_u64(text, ms % 1000 / 100);
    }
    put_text(text, "s");
}

void
answer_limit_head(struct answer_head *head, enum answer_limit which, uint64_t limit,
                  struct bucket_view view)
{
    bool tokens = which == ANSWER_TOKENS;

    answer_head_begin(head);
    put_u64(&head->text, limit);
    answer_head_end(head, tokens ? SPAN_LIT("x-ratelimit-limit-tokens")
                                 : SPAN_LIT("x-ratelimit-limit-requests"));
    answer_head_begin(head);
    put_u64(&head->text, view.left);
    answer_head_end(head, tokens ? SPAN_LIT("x-ratelimit-remaining-tokens")
                                 : SPAN_LIT("x-ratelimit-remaining-requests"));
    answer_head_begin(head);
    put_duration(&head->text, view.full_in_ns);
    answer_head_end(head, tokens ? SPAN_LIT("x-ratelimit-reset-tokens")
                                 : SPAN_LIT("x-ratelimit-reset-requests"));
}

void
answer_put_wishes(struct put *text, uint32_t wishes)
{
    static const char *const words[] = {"priority", "deadline", "models"};
    const char *comma = "";

    for (uint32_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((wishes >> i & 1) == 0)
            continue;
        put_text(text, comma);
        put_text(text, words[i]);
        comma = ", ";
    }
}

/* What the request's key has left, and what it did not let the request have. */
static void
key_head(struct answer_head *head, const struct request *r)
{
    const struct access_grant *grant = &r->grant;

    if (grant->usage != NULL && grant->requests_max != 0)
        answer_limit_head(head, ANSWER_REQUESTS, grant->requests_max,
                          access_requests(grant, r->now_ns));
    if (grant->usage != NULL && grant->tokens_max != 0)
        answer_limit_head(head, ANSWER_TOKENS, grant->tokens_max, access_tokens(grant, r->now_ns));
    if (r->not_granted == 0)
        return;
    answer_head_begin(head);
    answer_put_wishes(&head->text, r->not_granted);
    answer_head_end(head, SPAN_LIT("isochrone-not-granted"));
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
    key_head(head, r);
    if (node == NULL)
        return;
    answer_head_add(head, SPAN_LIT("isochrone-node"), node->name);
    answer_head_add(head, SPAN_LIT("isochrone-region"), roster->regions.list[node->region]);
    answer_head_begin(head);
    put_u64(&head->text, r->tries);
    answer_head_end(head, SPAN_LIT("isochrone-attempts"));
    answer_head_begin(head);
    answer_reason(&head->text, r);
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

/* Every try failed: the last failure says which side to look at. */
static void
all_tried(struct openai_error *e, const struct action_refuse *refuse)
{
    const char *failure = failure_name(refuse->failure);

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
                    failure_name(refuse->failure));
        break;
    default:
        all_tried(e, refuse);
        break;
    }
}

float
answer_denial(struct openai_error *e, enum access_verdict verdict, const struct access_grant *grant)
{
    static const char *const limits[ACCESS_VERDICTS] = {
        [ACCESS_CONCURRENCY] = "concurrency",
        [ACCESS_REQUESTS] = "requests_per_minute",
        [ACCESS_TOKENS] = "tokens_per_minute",
    };
    struct span name = grant->key != NULL ? grant->key->name : SPAN_LIT("");
    float wait_ms = NAN;

    if (verdict == ACCESS_NO_KEY) {
        answer_fill(e, 401, "authentication_error", "missing_api_key",
                    "no API key: send `Authorization: Bearer KEY` or `x-api-key: KEY`");
    } else if (verdict == ACCESS_UNKNOWN_KEY) {
        answer_fill(e, 401, "authentication_error", "invalid_api_key",
                    "this API key is not known here");
    } else if (verdict == ACCESS_EXPIRED) {
        answer_fill(e, 401, "authentication_error", "expired_api_key", "the key `%.*s` has expired",
                    (int)name.bytes, name.data);
    } else {
        wait_ms = verdict == ACCESS_CONCURRENCY ? WAIT_CONCURRENCY_MS
                                                : (float)ceil((double)grant->wait_ns / 1e6);
        answer_fill(e, 429, "rate_limit_error", "rate_limit_exceeded",
                    "%s of the key `%.*s` is %llu, and that is used up: come again in %.1f s",
                    limits[verdict], (int)name.bytes, name.data, (unsigned long long)grant->limit,
                    (double)wait_ms / 1e3);
        snprintf(e->param, sizeof(e->param), "%s", limits[verdict]);
    }
    return wait_ms;
}

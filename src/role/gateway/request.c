/* request - from the client's bytes to an event, from core's actions to what is done; see
 * request.h. */
#include "role/gateway/request.h"

#include <math.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log_file.h"
#include "role/answer.h"
#include "role/gateway/access_line.h"
#include "role/gateway/answer_request.h"
#include "role/gateway/inbox.h"
#include "role/gateway/usage.h"
#include "role/put.h"
#include "wire/openai_prefix.h"

#define DEADLINE_MS_MAX      3600000u
#define PATH_BODY_BYTES_MIN  65536u
#define MODELS_NAMED_MAX     16u  /* of a client's list that are looked at */
#define PROMPT_BYTES_A_TOKEN 4.0f /* of an estimate that the engine's count replaces */

/* ---- The end. */

/* What r cost its key: as the engine told; else, when content was passed on or the client left
 * while an engine worked for it, an estimate: leaving early is not for free. What failed is. */
static struct openai_usage
used(const struct request *r, unsigned status)
{
    const struct attempt *a = r->shown;
    bool left = status == 499 && r->tries > 0;

    if (a->usage.known || (!left && a->source.pieces == 0))
        return a->usage;
    return (struct openai_usage){.prompt_tokens = r->prompt_tokens,
                                 .output_tokens = a->source.pieces};
}

static void
count_usage(struct lane *lane, struct span key, uint32_t model, unsigned status,
            const struct openai_usage *u)
{
    const struct usage_counts counts = {
        .requests = 1,
        .failed = status >= 500,
        .refused = status >= 400 && status < 500 && status != 499,
        .prompt_tokens = u->prompt_tokens,
        .cached_tokens = u->cached_tokens,
        .output_tokens = u->output_tokens,
    };

    usage_add(lane, key, model, &counts);
}

/* Nothing more will happen with r: give back what it holds. The exchange is left to the caller, for
 * one last call. */
static void
finish(struct request *r, unsigned status, const char *error_code)
{
    struct lane *lane = r->lane;
    const struct openai_usage u = used(r, status);

    count_usage(lane, span_of(r->key_name), r->model, status, &u);
    /* what is left of r, until the exchange ends, is what the access log says of it */
    r->owner = (struct owner){.failed = error_code != NULL || status >= 400};
    if (log_file_is_on(lane->gateway->access_log))
        r->owner.line = access_line_of(r, error_code);
    LIST_REMOVE(r, link);
    stream_close(r);
    for (uint32_t i = 0; i < REQUEST_ATTEMPTS; i++) {
        must(r->attempts[i].call == NULL);
        attempt_close(&r->attempts[i]);
    }
    if (r->uncounted)
        access_cancel(&r->grant, loop_now_ns(lane->loop));
    else
        access_leave(&r->grant, u.prompt_tokens, u.output_tokens, loop_now_ns(lane->loop));
    metrics_add(&lane->metrics.in_flight, (uint64_t)-1);
    metrics_request(&lane->metrics, r->model, status);
}

/* An error as the whole answer (not committed), or as an event in the stream (committed). */
static void
finish_error(struct request *r, const struct openai_error *e, float retry_after_ms, bool all_tried)
{
    struct http_exchange *x = r->exchange;
    struct answer_head head;
    struct span json;

    if (r->committed) {
        stream_error(r, e);
        metrics_add(&r->lane->metrics.streams_cut, 1);
        finish(r, e->status, e->code);
        http_response_end(x);
        return;
    }
    if (openai_error_write(e, (struct span){r->id_text, REQUEST_ID_BYTES}, http_exchange_arena(x),
                           &json) != ERR_OK) {
        finish(r, e->status, e->code);
        http_response_abort(x);
        return;
    }
    answer_head_init(&head);
    answer_head_add(&head, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
    answer_request_head(&head, r);
    answer_retry_head(&head, retry_after_ms, all_tried);
    http_response_start_length(x, e->status, head.list, head.count, json.bytes);
    http_response_write(x, json);
    finish(r, e->status, e->code);
    http_response_end(x);
}

/* The engine's own complaint about the request, as it came. False: it is no JSON object, and
 * nothing for a client of ours. */
static bool
finish_refused(struct request *r)
{
    struct http_exchange *x = r->exchange;
    struct span body = {r->shown->body, r->shown->body_bytes};
    struct openai_reply reply;
    unsigned status = r->shown->status;
    struct answer_head head;

    if (openai_reply_parse(body, &reply) != ERR_OK)
        return false;
    answer_head_init(&head);
    answer_head_add(&head, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
    answer_request_head(&head, r);
    http_response_start_length(x, status, head.list, head.count, body.bytes);
    http_response_write(x, body);
    finish(r, status, "refused_by_engine");
    http_response_end(x);
    return true;
}

static struct recent_entry *
recent_of(const struct attempt *a)
{
    return recent_at(a->request->lane->recent, a->recent, a->request->id);
}

static bool
in_flight(const struct request *r)
{
    return r->attempts[0].call != NULL || r->attempts[1].call != NULL;
}

/* ---- Held: core keeps it until a place is free. */

static void
hold(struct request *r)
{
    struct lane *lane = r->lane;

    must(!r->held && !in_flight(r));
    r->held = true;
    r->held_ns = r->now_ns;
    LIST_INSERT_HEAD(&lane->held[r->id % LANE_HELD_LISTS], r, held_link);
    metrics_add(&lane->metrics.held, 1);
    metrics_add(&lane->metrics.holds, 1);
}

static void
unhold(struct request *r, uint64_t now_ns)
{
    if (!r->held)
        return;
    r->held = false;
    LIST_REMOVE(r, held_link);
    metrics_add(&r->lane->metrics.held, (uint64_t)-1);
    metrics_observe(&r->lane->metrics.hold, (now_ns - r->held_ns) / 1000);
}

/* ---- Core. */

/* Tell core something that makes it decide nothing about this request. */
static void
tell(struct request *r, const struct event *event)
{
    struct actions actions;

    r->now_ns = decide_step(r->lane->gateway->door, event, &actions);
    inbox_share(r->lane->gateway, r->now_ns, &actions, 0);
}

static void
refuse(struct request *r, const struct action_refuse *refuse)
{
    struct openai_error e;
    bool all_tried = refuse->refusal == REFUSAL_ALL_TRIED;

    if (refuse->refusal < REFUSAL_COUNT)
        metrics_add(&r->lane->metrics.refusals[refuse->refusal], 1);
    if (refuse->refusal == REFUSAL_SHED)
        metrics_add(&r->lane->metrics.shed[r->priority], 1);
    if (refuse->refusal == REFUSAL_REQUEST && !r->committed && finish_refused(r))
        return;
    if (refuse->refusal == REFUSAL_REQUEST)
        answer_fill(&e, r->shown->status, "invalid_request_error", "refused_by_engine",
                    "the engine refused the request (status %u)", r->shown->status);
    else
        answer_refusal(&e, refuse, r->openai.model);
    finish_error(r, &e, refuse->retry_after_ms, all_tried && refuse->failure != FAILURE_BUSY);
}

static void
dispatch(struct request *r, const struct action_dispatch *dispatch, uint32_t place)
{
    struct recent_entry *entry = &r->lane->recent->list[place];

    entry->attempt = dispatch->attempt;
    entry->predicted_first_ms = dispatch->first_ms;
    if (dispatch->model != r->model) { /* the other one that the client named: it sees which */
        r->model = dispatch->model;
        r->model_json = r->other_json;
        metrics_add(&r->lane->metrics.other_models, 1);
    }
    attempt_start(r, dispatch, place);
}

/* Do what core decided about r, which may be gone after it. decision: of r, or NULL. */
static void
act(struct request *r, const struct action *a, const struct decision *decision)
{
    static const struct decision none;
    const struct decision *d = decision != NULL ? decision : &none;
    struct recent *recent = r->lane->recent;
    uint32_t place = recent_add(recent, r->id, r->grant.key_id, r->routed_ns, d);

    recent->list[place].priority = r->priority;
    recent->list[place].not_granted = r->not_granted;
    if (d->candidate_count > 0) {
        metrics_decision(&r->lane->metrics, d);
        r->considered = d->considered;
        r->rule = d->rule;
        r->hit_tokens = d->hit_tokens;
    }
    switch ((enum action_kind)a->kind) {
    case ACTION_DISPATCH:
        dispatch(r, &a->dispatch, place);
        break;
    case ACTION_HOLD:
        recent->list[place].hold_ms = a->hold.hold_ms;
        hold(r);
        break;
    default:
        must(a->kind == ACTION_REFUSE);
        recent->list[place].refusal = a->refuse.refusal;
        refuse(r, &a->refuse);
        break;
    }
}

/* What a step wants of r; NULL: nothing. */
static const struct action *
own_action(const struct request *r, const struct actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        if (actions->list[i].dispatch.request == r->id)
            return &actions->list[i];
    }
    return NULL;
}

/* Tell core something that it answers with one action about r, or with none while an attempt goes
 * on; r may be gone after it. */
static void
ask(struct request *r, const struct event *event)
{
    const struct decision *decision;
    const struct action *own;
    struct actions actions;

    r->now_ns = decide_step(r->lane->gateway->door, event, &actions);
    own = own_action(r, &actions);
    must(own != NULL || in_flight(r));
    decision = &actions.decision;
    if (decision->candidate_count == 0 || decision->request != r->id)
        decision = NULL;
    inbox_share(r->lane->gateway, r->now_ns, &actions, r->id);
    if (own == NULL)
        return;
    r->routed_ns = r->now_ns;
    act(r, own, decision);
}

void
request_resume(struct lane *lane, const struct inbox_entry *entry)
{
    uint64_t id = entry->action.dispatch.request;
    struct request *r;

    LIST_FOREACH (r, &lane->held[id % LANE_HELD_LISTS], held_link) {
        if (r->id == id)
            break;
    }
    if (r == NULL)
        return;
    unhold(r, entry->now_ns);
    r->now_ns = r->routed_ns = entry->now_ns;
    act(r, &entry->action, entry->decision);
}

/* ---- What attempt and stream tell. */

void
request_dispatched(struct attempt *a, bool fresh_connection)
{
    struct event event;

    event.kind = EVENT_DISPATCHED;
    event.dispatched = (struct event_dispatched){
        .request = a->request->id, .attempt = a->number, .fresh_connection = fresh_connection};
    tell(a->request, &event);
}

void
request_late(struct attempt *a)
{
    struct event event;

    event.kind = EVENT_LATE;
    event.late = (struct event_late){.request = a->request->id, .attempt = a->number};
    ask(a->request, &event);
}

/* How fast a large body went out; a short one is gone before the kernel can tell. */
static void
tell_path(const struct attempt *a, struct event_started *started)
{
    struct http_path path;

    if (a->request->http->body.bytes < PATH_BODY_BYTES_MIN || a->call == NULL ||
        !http_call_path(a->call, &path))
        return;
    started->path_bytes_per_ms = path.bytes_per_ms;
    started->path_limited = path.limited;
}

/* Core has the other attempt given up. */
static void
overtaken(struct attempt *a)
{
    struct recent_entry *entry = recent_of(a);

    if (entry != NULL)
        entry->overtaken = true;
    attempt_cancel(a);
}

void
request_started(struct attempt *a)
{
    struct request *r = a->request;
    struct metrics *m = &r->lane->metrics;
    struct recent_entry *entry = recent_of(a);
    uint64_t actual_us, predicted_us = 0;
    struct actions actions;
    struct event event;

    event.kind = EVENT_STARTED;
    event.started = (struct event_started){
        .request = r->id, .attempt = a->number, .path_bytes_per_ms = NAN};
    tell_path(a, &event.started);
    r->now_ns = decide_step(r->lane->gateway->door, &event, &actions);
    r->started = true;
    r->first_ns = r->now_ns;
    r->shown = a;
    loop_timer_stop(&a->late);
    if (own_action(r, &actions) != NULL) /* to cancel the other one */
        overtaken(&r->attempts[a == &r->attempts[0] ? 1 : 0]);
    inbox_share(r->lane->gateway, r->now_ns, &actions, r->id);
    actual_us = (r->now_ns - a->dispatched_ns) / 1000;
    if (a->predicted_first_ms > 0.0f && a->predicted_first_ms < 1e9f) {
        predicted_us = (uint64_t)((double)a->predicted_first_ms * 1e3);
        metrics_observe(&m->ttft_predicted, predicted_us);
        metrics_observe(&m->ttft_error, actual_us > predicted_us ? actual_us - predicted_us
                                                                 : predicted_us - actual_us);
    }
    metrics_observe(&m->ttft_actual, actual_us);
    if (entry != NULL)
        entry->actual_first_ms = (float)((double)actual_us / 1e3);
}

void
request_ended(struct attempt *a)
{
    struct request *r = a->request;
    struct event event;
    struct metrics *m = &r->lane->metrics;
    struct recent_entry *entry = recent_of(a);
    const struct openai_usage *u = &a->usage;

    event.kind = EVENT_ENDED;
    event.ended = (struct event_ended){
        .request = r->id,
        .attempt = a->number,
        .prompt_tokens = u->prompt_tokens,
        .cached_tokens = u->cached_tokens,
        .cached_known = u->cached_known,
        .output_tokens = u->output_tokens,
        .engine_prefill_ms = u->known ? (float)u->engine_prefill_ms : NAN,
        .engine_decode_ms = u->known ? (float)u->engine_decode_ms : NAN,
        .held_up = r->stream.held_up,
    };
    tell(r, &event);
    if (r->first_ns == 0) /* a whole answer: its first token came with its last */
        r->first_ns = r->now_ns;
    if (entry != NULL)
        entry->actual_ms = (float)((double)(r->now_ns - a->dispatched_ns) / 1e6);
    metrics_add(&m->prompt_tokens, u->prompt_tokens);
    metrics_add(&m->output_tokens, u->output_tokens);
    if (u->cached_known) { /* else there is nothing to compare with */
        metrics_add(&m->hit_tokens, (uint64_t)a->hit_tokens);
        metrics_add(&m->cached_tokens, u->cached_tokens);
    }
}

void
request_close(struct request *r)
{
    finish(r, 200, NULL);
}

void
request_failed(struct attempt *a, enum failure failure, float retry_after_ms)
{
    struct request *r = a->request;
    struct attempt *other = &r->attempts[a == &r->attempts[0] ? 1 : 0];
    struct event event;
    struct recent_entry *entry = recent_of(a);

    must(a->call == NULL);
    metrics_add(&r->lane->metrics.failures[failure], 1);
    if (entry != NULL)
        entry->failure = (uint32_t)failure;
    r->shown = other->call != NULL ? other : a;
    event.kind = EVENT_FAILED;
    event.failed = (struct event_failed){
        .request = r->id,
        .attempt = a->number,
        .failure = (uint32_t)failure,
        .started = r->started,
        .retry_after_ms = retry_after_ms,
    };
    ask(r, &event);
}

static void
cancel(struct request *r)
{
    struct event event;

    event.kind = EVENT_CANCELLED;
    event.cancelled = (struct event_cancelled){.request = r->id};
    for (uint32_t i = 0; i < REQUEST_ATTEMPTS; i++)
        attempt_cancel(&r->attempts[i]);
    tell(r, &event);
    unhold(r, r->now_ns);
}

void
request_abort(struct request *r)
{
    struct openai_error e;

    cancel(r);
    answer_fill(&e, 503, "server_error", "gateway_stopping",
                "the gateway is being stopped: ask again");
    finish_error(r, &e, 1000.0f, false);
}

/* ---- The client. */

static void
on_gone(struct owner *owner)
{
    struct request *r = CONTAINER_OF(owner, struct request, owner);

    cancel(r);
    finish(r, 499, NULL);
}

static void
on_drained(struct owner *owner)
{
    stream_drained(CONTAINER_OF(owner, struct request, owner));
}

/* Say why this key may not ask now. */
static void
deny(struct lane *lane, struct http_exchange *x, enum access_verdict verdict,
     const struct access_grant *grant)
{
    struct openai_error e;
    struct answer_head head;
    float wait_ms = answer_denial(&e, verdict, grant);

    answer_head_init(&head);
    if (e.status == 401)
        answer_head_add(&head, SPAN_LIT("www-authenticate"), SPAN_LIT("Bearer"));
    answer_retry_head(&head, wait_ms, false);
    if (verdict == ACCESS_REQUESTS)
        answer_limit_head(&head, ANSWER_REQUESTS, grant->limit,
                          (struct bucket_view){.full_in_ns = BUCKET_MINUTE_NS + grant->wait_ns});
    metrics_request(&lane->metrics, CORE_MODELS_USUAL, e.status);
    metrics_add(&lane->metrics.key_refusals[verdict], 1);
    if (grant->key != NULL)
        count_usage(lane, grant->key->name, CORE_MODELS_USUAL, e.status, &(struct openai_usage){0});
    answer_error_head(x, &e, &head);
}

/* The TTFT goal that came with the request, in ms; NAN: none. */
static float
deadline_ms(const struct http_request *http)
{
    struct span text = http_request_header(http, SPAN_LIT("isochrone-deadline-ms"));
    uint64_t ms;

    if (text.bytes == 0)
        text = http_request_header(http, SPAN_LIT("x-llm-d-slo-ttft-ms"));
    if (text.bytes == 0 || span_u64(text, &ms) != ERR_OK || ms == 0 || ms > DEADLINE_MS_MAX)
        return NAN;
    return (float)ms;
}

static uint32_t
capped_u32(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* The secret that hashes of this tenant's texts are made with: others cannot tell from ours what
 * they have in common, unless the operator says that they may. */
static struct hash_key
secret_of(struct lane *lane, uint64_t key_id)
{
    const struct roster *roster = lane_fleet(lane)->roster;
    struct hash_key key = roster->has_prefix_secret ? roster->prefix_secret
                                                    : lane->gateway->own_secret;
    uint64_t first[2] = {key_id, 1}, second[2] = {key_id, 2};

    if (roster->config.prefix_network)
        return key;
    return (struct hash_key){hash_bytes(key, first, sizeof(first)),
                             hash_bytes(key, second, sizeof(second))};
}

/* Which conversation it belongs to, as far as the client says: a header, or a field of the body. */
static uint64_t
session_of(const struct openai_request *o, const struct http_request *http, struct hash_key secret)
{
    struct span session = http_request_header(http, SPAN_LIT("x-session-id"));

    if (session.bytes == 0)
        session = o->session;
    return session.bytes > 0 ? hash_span(secret, session) | 1 : 0;
}

void
request_arrived_event(struct lane *lane, const struct openai_request *o, uint64_t id,
                      uint16_t model, uint64_t key_id, const struct http_request *http,
                      struct event *ret_event)
{
    struct hash_key secret = secret_of(lane, key_id);

    ret_event->kind = EVENT_ARRIVED;
    openai_prefix(o, secret, &ret_event->prefix);
    ret_event->arrived = (struct event_arrived){
        .request = id,
        .session = session_of(o, http, secret),
        .model = model,
        .tenant = key_id == 0 ? 0 : (uint16_t)(1 + key_id % (TENANTS_MAX - 1)),
        .script = (uint16_t)o->script,
        .prompt_bytes = o->prompt_bytes,
        .body_bytes = capped_u32(o->body.bytes),
        .max_tokens = capped_u32(o->max_tokens),
        .stream = o->stream,
        .other_model = MODEL_NONE,
        .priority = PRIORITY_NORMAL,
        .deadline_ms = deadline_ms(http),
        .tpot_goal_ms = NAN,
        .only_node = NODE_ANY,
    };
}

/* The class that the client asks for, as far as its key lets it. */
static enum priority
priority_of(struct request *r)
{
    struct span text = http_request_header(r->http, SPAN_LIT("x-gateway-inference-objective"));
    enum priority wanted;

    if (text.bytes == 0 || keys_priority(text, &wanted) != ERR_OK)
        return r->grant.priority;
    if (wanted >= r->grant.best)
        return wanted;
    r->not_granted |= WISH_PRIORITY;
    return r->grant.best;
}

/* Leave out of what core hears the wishes that the key does not allow. */
static void
grant_wishes(struct request *r, struct event_arrived *arrived)
{
    r->priority = (uint16_t)priority_of(r);
    arrived->priority = r->priority;
    arrived->other_model = r->other_model;
    if ((r->grant.preferences & KEY_MAY_DEADLINE) == 0 && !isnan(arrived->deadline_ms)) {
        arrived->deadline_ms = NAN;
        r->not_granted |= WISH_DEADLINE;
    }
}

/* The model: what `model` names, and what may answer instead, the next one of `models` that exists.
 * Where the first does not exist, the list begins with the second. */
static void
find_models(struct request *r)
{
    const struct fleet *fleet = lane_fleet(r->lane);
    char text[OPENAI_MODEL_BYTES_MAX + 1];
    struct span value;
    size_t at = 0, bytes;

    r->model_json = r->openai.model_range;
    r->model = fleet_model_find(fleet, r->openai.model);
    r->other_model = MODEL_NONE;
    if (r->openai.models.bytes > 0 && (r->grant.preferences & KEY_MAY_MODELS) == 0) {
        r->openai.models = (struct span){NULL, 0};
        r->not_granted |= WISH_MODELS;
    }
    for (unsigned i = 0;
         i < MODELS_NAMED_MAX && r->openai.models.bytes > 0 && r->other_model == MODEL_NONE &&
         json_array_next(r->openai.models, &at, &value);
         i++) {
        uint16_t model;
        if (json_type_of(value) != JSON_STRING ||
            json_unescape(value, text, sizeof(text), &bytes) != ERR_OK)
            continue;
        model = fleet_model_find(fleet, (struct span){text, bytes});
        if (model == FLEET_MODEL_NONE || model == r->model ||
            !fleet_key_may_use(fleet, r->grant.key, model))
            continue;
        if (r->model == FLEET_MODEL_NONE) {
            r->model = model;
            r->model_json = value;
        } else {
            r->other_model = model;
            r->other_json = value;
        }
    }
}

/* May its key use this model, and so many tokens now? False: it was refused, and is finished. */
static bool
afford(struct request *r)
{
    const struct openai_request *o = &r->openai;
    uint64_t now_ns = loop_now_ns(r->lane->loop), output_max;
    enum access_verdict verdict = ACCESS_GRANTED;
    struct openai_error e;
    float wait_ms = NAN;

    if (!fleet_key_may_use(lane_fleet(r->lane), r->grant.key, r->model)) {
        verdict = ACCESS_MODEL;
        answer_fill(&e, 403, "invalid_request_error", "model_not_allowed",
                    "the key `%.*s` may not use the model `%.*s`: GET /v1/models lists those that "
                    "it may",
                    (int)r->grant.key->name.bytes, r->grant.key->name.data,
                    o->model.bytes < 100 ? (int)o->model.bytes : 100, o->model.data);
        memcpy(e.param, "model", sizeof("model"));
    } else {
        r->prompt_tokens = (uint32_t)((float)o->prompt_bytes / PROMPT_BYTES_A_TOKEN) + 1;
        if (__builtin_mul_overflow(o->max_tokens, o->choices, &output_max))
            output_max = UINT64_MAX;
        verdict = access_take(&r->grant, r->prompt_tokens, output_max, now_ns);
        if (verdict == ACCESS_TOKENS)
            wait_ms = answer_denial(&e, verdict, &r->grant);
    }
    if (verdict == ACCESS_GRANTED)
        return true;
    metrics_add(&r->lane->metrics.key_refusals[verdict], 1);
    r->uncounted = verdict == ACCESS_TOKENS;
    finish_error(r, &e, wait_ms, false);
    return false;
}

/* Parse the body and find the model. False: it was refused, and is finished. */
static bool
understand(struct request *r, enum openai_api api)
{
    struct arena *arena = http_exchange_arena(r->exchange);
    struct openai_error e;

    if (openai_request_parse(api, r->http->body,
                             lane_fleet(r->lane)->roster->config.json_values_max, arena, &r->openai,
                             &e) != ERR_OK) {
        finish_error(r, &e, NAN, false);
        return false;
    }
    find_models(r);
    if (r->model == FLEET_MODEL_NONE) {
        int bytes = r->openai.model.bytes < 100 ? (int)r->openai.model.bytes : 100;
        r->model = CORE_MODELS_USUAL;
        answer_fill(&e, 404, "invalid_request_error", "model_not_found",
                    "the model `%.*s` does not exist here: GET /v1/models lists those that do",
                    bytes, r->openai.model.data);
        memcpy(e.param, "model", sizeof("model"));
        finish_error(r, &e, NAN, false);
        return false;
    }
    return afford(r);
}

void
request_begin(struct lane *lane, enum openai_api api, struct http_exchange *x,
              const struct http_request *http)
{
    struct access_grant grant;
    uint64_t now_ns = loop_now_ns(lane->loop); /* its last bytes came before this pass */
    enum access_verdict verdict = access_enter(
        &lane_fleet(lane)->roster->access, http,
        (struct access_time){.now_ns = now_ns, .wall_s = clock_wall_s()}, &grant);
    struct event event;
    struct request *r;
    struct put put;

    if (verdict != ACCESS_GRANTED) {
        deny(lane, x, verdict, &grant);
        return;
    }
    r = arena_zeroed(http_exchange_arena(x), sizeof(*r));
    if (r == NULL) {
        struct openai_error e;
        access_cancel(&grant, now_ns);
        answer_fill(&e, 503, "server_error", "gateway_limit", "the gateway is out of memory");
        answer_error(x, &e, NULL);
        return;
    }
    r->owner = (struct owner){.gone = on_gone, .drained = on_drained};
    r->lane = lane;
    r->exchange = x;
    r->http = http;
    r->grant = grant;
    if (grant.key != NULL)
        span_copy(grant.key->name, r->key_name, sizeof(r->key_name));
    r->arrived_ns = r->routed_ns = r->now_ns = now_ns;
    r->id = lane_id(lane);
    put = (struct put){.text = r->id_text, .room_bytes = REQUEST_ID_BYTES};
    put_hex16(&put, r->id);
    r->model = CORE_MODELS_USUAL;
    r->shown = &r->attempts[0];
    for (uint32_t i = 0; i < REQUEST_ATTEMPTS; i++)
        r->attempts[i].request = r;
    LIST_INSERT_HEAD(&lane->requests, r, link);
    http_exchange_set_user(x, &r->owner);
    metrics_add(&lane->metrics.in_flight, 1);
    if (!understand(r, api))
        return;
    if (r->openai.stream)
        stream_open(r);
    request_arrived_event(lane, &r->openai, r->id, r->model, r->grant.key_id, http, &event);
    grant_wishes(r, &event.arrived);
    ask(r, &event);
}

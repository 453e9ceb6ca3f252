/* admin_explain - where a request would go, and where one went, and why; see admin.h.
 * A request's id tells its lane; that lane looks it up in its recent decisions and posts them back.
 */
#include <math.h>
#include <stdlib.h>

#include "io/clock.h"
#include "role/answer.h"
#include "role/failure.h"
#include "role/gateway/admin.h"
#include "role/gateway/answer_request.h"
#include "role/gateway/request.h"

#define WISHES_BYTES_MAX 64u

static void
put_node(cJSON *object, const struct fleet *fleet, uint32_t node)
{
    const struct roster_node *n = roster_node(fleet->roster, node);

    if (n != NULL)
        admin_put_span(object, "node", n->name);
    else
        cJSON_AddNullToObject(object, "node"); /* it left meanwhile */
}

static cJSON *
candidate_json(const struct fleet *fleet, const struct decision_candidate *c)
{
    cJSON *json = cJSON_CreateObject(), *terms;

    put_node(json, fleet, c->node);
    admin_put_span(json, "region",
                   c->region < fleet->roster->regions.count ? fleet->roster->regions.list[c->region]
                                                            : SPAN_LIT(""));
    cJSON_AddStringToObject(json, "why", metrics_why_name(c->why));
    terms = cJSON_AddObjectToObject(json, "terms");
    admin_put_number(terms, "net_ms", (double)c->terms.net_ms);
    admin_put_number(terms, "ready_ms", (double)c->terms.ready_ms);
    admin_put_number(terms, "queue_ms", (double)c->terms.queue_ms);
    admin_put_number(terms, "prefill_ms", (double)c->terms.prefill_ms);
    admin_put_number(terms, "step_ms", (double)c->terms.step_ms);
    admin_put_number(terms, "first_ms", (double)c->terms.first_ms);
    admin_put_number(terms, "done_ms", (double)c->terms.done_ms);
    admin_put_number(terms, "sigma_ms", (double)c->terms.sigma_ms);
    admin_put_number(json, "hit_tokens", (double)c->hit_tokens);
    admin_put_number(json, "ext_ms", (double)c->ext_ms);
    admin_put_number(json, "late_ms", (double)c->late_ms);
    admin_put_number(json, "kv_ms", (double)c->kv_ms);
    admin_put_number(json, "fail_ms", (double)c->fail_ms);
    admin_put_number(json, "stick_ms", (double)c->stick_ms);
    admin_put_number(json, "word_ms", (double)c->word_ms);
    admin_put_number(json, "cost_ms", (double)c->cost_ms);
    return json;
}

/* What a decision says; nothing but an empty list when the step made none. */
static void
put_decision(cJSON *json, const struct fleet *fleet, const struct decision *d)
{
    cJSON *candidates;

    if (d->candidate_count > 0) {
        cJSON_AddNumberToObject(json, "attempt", d->attempt);
        admin_put_span(json, "model",
                       d->model < fleet->model_count ? fleet->models[d->model].name : SPAN_LIT(""));
        cJSON_AddStringToObject(json, "rule", metrics_rule_name(d->rule));
        cJSON_AddStringToObject(json, "mode", metrics_mode_name(d->mode));
        if (d->candidates[0].why == WHY_CHOSEN)
            put_node(json, fleet, d->candidates[0].node);
        else
            cJSON_AddNullToObject(json, "node");
        cJSON_AddNumberToObject(json, "considered", d->considered);
        cJSON_AddStringToObject(json, "admission", metrics_admission_name(d->admission));
        admin_put_number(json, "held_ms", (double)d->held_ms);
        admin_put_number(json, "hedge_ms", (double)d->hedge_ms);
        admin_put_number(json, "prompt_tokens", (double)d->prompt_tokens);
        admin_put_number(json, "hit_tokens", (double)d->hit_tokens);
        admin_put_number(json, "output_tokens", (double)d->output_tokens);
    }
    candidates = cJSON_AddArrayToObject(json, "candidates");
    for (uint32_t i = 0; i < d->candidate_count; i++)
        admin_append(candidates, candidate_json(fleet, &d->candidates[i]));
}

/* ---- POST explain: a dry run. */

void
admin_explain_dry(struct admin_call *call)
{
    struct arena *arena = http_exchange_arena(call->exchange);
    const struct fleet *fleet = lane_fleet(call->lane);
    const size_t values_max = fleet->roster->config.json_values_max;
    enum openai_api api = OPENAI_CHAT;
    struct openai_request o;
    struct openai_error e;
    struct event event;
    struct decision decision;
    struct json_object fields;
    struct json_error problem;
    cJSON *json, *inner;
    uint16_t model;

    if (json_parse(call->http->body, values_max, &fields, &problem) == ERR_OK &&
        json_get(&fields, "messages") == NULL && json_get(&fields, "prompt") != NULL)
        api = OPENAI_COMPLETIONS;
    if (openai_request_parse(api, call->http->body, values_max, arena, &o, &e) != ERR_OK) {
        answer_error(call->exchange, &e, NULL);
        return;
    }
    model = fleet_model_find(fleet, o.model);
    if (model == FLEET_MODEL_NONE) {
        admin_send_error(call->exchange, 404, "model_not_found", "this model does not exist here");
        return;
    }
    request_arrived_event(call->lane, &o, lane_id(call->lane), model, call->key_id, call->http,
                          &event);
    decide_explain(call->lane->gateway->door, &event, &decision);
    json = cJSON_CreateObject();
    inner = cJSON_AddObjectToObject(json, "decision");
    put_decision(inner, fleet, &decision);
    admin_send(call->exchange, 200, json);
}

/* ---- GET explain/ID. */

struct ask { /* on its way to the lane that knows, and back; lives in the heap until it is back */
    struct owner owner;
    struct loop_post post;
    struct lane *from, *to;
    struct http_exchange *exchange; /* NULL: the client left */
    uint64_t id, key_id;
    bool is_admin;
    size_t count;
    struct recent_entry entries[RECENT_EACH_MAX];
};

static cJSON *
entry_json(const struct fleet *fleet, const struct recent_entry *e)
{
    cJSON *json = cJSON_CreateObject();
    char text[WISHES_BYTES_MAX];
    struct put wishes = {.text = text, .room_bytes = sizeof(text)};

    put_decision(json, fleet, &e->decision);
    answer_put_wishes(&wishes, e->not_granted);
    cJSON_AddStringToObject(json, "class", metrics_priority_name(e->priority));
    admin_put_span(json, "not_granted", (struct span){text, wishes.bytes});
    admin_put_number(json, "at_s",
                     (double)clock_wall_s() - (double)(clock_now_ns() - e->at_ns) / 1e9);
    admin_put_number(json, "hold_ms", (double)e->hold_ms);
    admin_put_number(json, "predicted_first_ms", (double)e->predicted_first_ms);
    admin_put_number(json, "actual_first_ms", (double)e->actual_first_ms);
    admin_put_number(json, "actual_ms", (double)e->actual_ms);
    cJSON_AddBoolToObject(json, "overtaken", e->overtaken);
    cJSON_AddStringToObject(json, "failure", failure_name(e->failure));
    cJSON_AddStringToObject(json, "refusal", metrics_refusal_name(e->refusal));
    return json;
}

/* Back on the lane that asked. Whose request it was stays between its key and the admin. */
static void
on_answer(struct loop_post *post)
{
    struct ask *ask = CONTAINER_OF(post, struct ask, post);
    const struct fleet *fleet = lane_fleet(ask->from);
    char id_text[REQUEST_ID_BYTES + 1] = "";
    struct put put = {.text = id_text, .room_bytes = REQUEST_ID_BYTES};
    bool known = ask->count > 0 && (ask->is_admin || ask->entries[0].key_id == ask->key_id);

    if (ask->exchange == NULL) {
        free(ask);
        return;
    }
    http_exchange_set_user(ask->exchange, NULL);
    if (known) {
        cJSON *json = cJSON_CreateObject(), *list;
        put_hex16(&put, ask->id);
        cJSON_AddStringToObject(json, "id", id_text);
        list = cJSON_AddArrayToObject(json, "attempts");
        for (size_t i = 0; i < ask->count; i++)
            admin_append(list, entry_json(fleet, &ask->entries[i]));
        admin_send(ask->exchange, 200, json);
    } else {
        admin_send_error(ask->exchange, 404, "request_not_found",
                         "no such request among the recent ones");
    }
    free(ask);
}

/* On the lane that had the request. */
static void
on_ask(struct loop_post *post)
{
    struct ask *ask = CONTAINER_OF(post, struct ask, post);

    ask->count = recent_all(ask->to->recent, ask->id, ask->entries);
    loop_post(ask->from->loop, &ask->post, on_answer);
}

static void
on_gone(struct owner *owner)
{
    struct ask *ask = CONTAINER_OF(owner, struct ask, owner);

    http_exchange_set_user(ask->exchange, NULL);
    ask->exchange = NULL;
}

static bool
parse_id(struct span word, uint64_t *ret_id)
{
    uint64_t id = 0;

    if (word.bytes != REQUEST_ID_BYTES)
        return false;
    for (size_t i = 0; i < word.bytes; i++) {
        char c = word.data[i];
        if (c >= '0' && c <= '9')
            id = id << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            id = id << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_id = id;
    return id != 0;
}

void
admin_explain(struct admin_call *call)
{
    struct gateway *g = call->lane->gateway;
    struct ask *ask;
    uint64_t id;

    if (!parse_id(call->word, &id) || id >> LANE_ID_SHIFT >= g->lane_count) {
        admin_send_error(call->exchange, 404, "request_not_found",
                         "a request id is 16 hexadecimal digits: the x-request-id of an answer");
        return;
    }
    ask = calloc(1, sizeof(*ask));
    if (ask == NULL) {
        admin_send(call->exchange, 500, NULL);
        return;
    }
    ask->owner.gone = on_gone;
    ask->from = call->lane;
    ask->to = &g->lanes[id >> LANE_ID_SHIFT];
    ask->exchange = call->exchange;
    ask->id = id;
    ask->key_id = call->key_id;
    ask->is_admin = call->is_admin;
    http_exchange_set_user(call->exchange, &ask->owner);
    loop_post(ask->to->loop, &ask->post, on_ask);
}

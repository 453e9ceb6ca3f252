/* admin_steer - what was asked of nodes and what came of it, as JSON, and asking it; see admin.h.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "role/gateway/admin.h"
#include "role/gateway/members.h"
#include "role/gateway/steer.h"

#define LOOKS_MAX 16u /* read at a time */

static const char *
reason_name(const struct steer_look *l)
{
    static const char *const names[PLAN_REASON_COUNT] = {
        [PLAN_NONE] = "none",           [PLAN_SPILLED] = "spilled",
        [PLAN_HEADROOM] = "headroom",   [PLAN_NOWHERE] = "ready_nowhere",
        [PLAN_GIVES_WAY] = "gives_way", [PLAN_RETURNS] = "returns",
    };

    if (l->by_person)
        return "asked";
    return names[l->reason < PLAN_REASON_COUNT ? l->reason : PLAN_NONE];
}

/* The model on its node, as the reports have it; NULL: it is not there. */
static const struct fleet_served *
served_of(const struct fleet *fleet, const struct steer_look *l)
{
    const struct roster_node *n = roster_find(fleet->roster, span_of(l->node));
    uint16_t model = fleet_model_find(fleet, span_of(l->model));
    const struct fleet_node_served *served;

    if (n == NULL || model == FLEET_MODEL_NONE)
        return NULL;
    served = fleet_served(fleet, n->index);
    for (uint32_t i = 0; i < served->count; i++) {
        if (served->list[i].model == model)
            return &served->list[i];
    }
    return NULL;
}

static cJSON *
directive_json(const struct fleet *fleet, const struct steer_look *l)
{
    const struct fleet_served *served = served_of(fleet, l);
    cJSON *json = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, "id", (double)l->id);
    cJSON_AddStringToObject(json, "node", l->node);
    admin_put_span(json, "model", span_of(l->model));
    cJSON_AddStringToObject(json, "action",
                            directive_action_name((enum directive_action)l->action));
    cJSON_AddStringToObject(json, "by", l->by_person ? "person" : "plan");
    cJSON_AddStringToObject(json, "reason", reason_name(l));
    cJSON_AddStringToObject(json, "state", steer_state_name(l->state));
    cJSON_AddStringToObject(json, "words", l->words);
    cJSON_AddStringToObject(json, "model_state",
                            served != NULL ? metrics_model_state_name(served->state) : "");
    cJSON_AddBoolToObject(json, "model_pinned", served != NULL && served->pinned);
    admin_put_number(json, "ready_in_ms", l->ready_in_ms);
    admin_put_number(json, "asked_ago_ms", l->asked_ago_ms);
    admin_put_number(json, "changed_ago_ms", l->changed_ago_ms);
    admin_put_number(json, "took_ms", l->took_ms);
    admin_put_number(json, "worth_ms_s", l->worth_ms_s);
    admin_put_number(json, "load_ms", l->load_ms);
    return json;
}

void
admin_plan(struct admin_call *call)
{
    struct gateway *gateway = call->lane->gateway;
    const struct fleet *fleet = lane_fleet(call->lane);
    cJSON *json = cJSON_CreateObject(), *list;
    char why[MEMBERS_WORDS_BYTES];
    struct steer_look looks[LOOKS_MAX];
    uint32_t count, from = 0;

    cJSON_AddNumberToObject(json, "nodes_steered", members_steered(gateway->members, why));
    cJSON_AddStringToObject(json, "why_none", why);
    list = cJSON_AddArrayToObject(json, "directives");
    do {
        count = steer_list(gateway->steer, from, looks, LOOKS_MAX);
        for (uint32_t i = 0; i < count; i++)
            admin_append(list, directive_json(fleet, &looks[i]));
        from += count;
    } while (count == LOOKS_MAX);
    admin_send(call->exchange, 200, json);
}

void
admin_directive(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const struct roster_node *n;
    struct node_view views[CORE_VIEW_MAX];
    struct steer_look l;
    uint32_t next;
    uint64_t id;
    cJSON *json;

    if (span_u64(call->word, &id) != ERR_OK ||
        steer_find(call->lane->gateway->steer, id, &l) != ERR_OK) {
        admin_send_error(call->exchange, 404, "directive_not_found",
                         "there is no directive of this number, or it is long ago");
        return;
    }
    json = directive_json(fleet, &l);
    n = roster_find(fleet->roster, span_of(l.node));
    if (n != NULL && decide_view_nodes(call->lane->gateway->door, n->index, views, &next) > 0 &&
        views[0].node == n->index)
        cJSON_AddStringToObject(json, "node_state", metrics_node_state_name(views[0].state));
    admin_send(call->exchange, 200, json);
}

/* {"model": "..."}, or nothing. False: it is something else. */
static bool
read_model(struct span body, cJSON **ret_json, struct span *ret_model)
{
    const cJSON *model;

    *ret_json = NULL;
    *ret_model = (struct span){NULL, 0};
    if (body.bytes == 0)
        return true;
    *ret_json = cJSON_ParseWithLength(body.data, body.bytes);
    model = cJSON_GetObjectItemCaseSensitive(*ret_json, "model");
    if (cJSON_IsString(model))
        *ret_model = span_of(model->valuestring);
    return cJSON_IsObject(*ret_json) && (model == NULL || cJSON_IsString(model));
}

static void
ask(struct admin_call *call, struct span node, enum directive_action action, struct span model)
{
    struct steer *steer = call->lane->gateway->steer;
    char words[STEER_WORDS_BYTES];
    struct steer_look l;
    uint64_t id;

    switch (steer_ask(steer, node, action, model, &id, words)) {
    case ERR_OK:
        if (steer_find(steer, id, &l) == ERR_OK)
            admin_send(call->exchange, 202, directive_json(lane_fleet(call->lane), &l));
        else
            admin_send_error(call->exchange, 503, "too_many", "so much is asked at once");
        break;
    case ERR_NOT_FOUND:
        admin_send_error(call->exchange, 404, "node_not_found", words);
        break;
    case ERR_ARG:
        admin_send_error(call->exchange, 400, "model_wrong", words);
        break;
    default:
        admin_send_error(call->exchange, 409, "cannot_ask", words);
        break;
    }
}

void
admin_steer(struct admin_call *call)
{
    size_t slash = span_find(call->word, '/');
    struct span node = {call->word.data, slash}, model;
    enum directive_action action;
    cJSON *body = NULL;

    if (slash == call->word.bytes ||
        directive_action_parse(span_from(call->word, slash + 1), &action) != ERR_OK)
        admin_send_error(call->exchange, 404, "unknown_url",
                         "a node can be asked to load, unload, wake, sleep, pin, unpin, drain and "
                         "be ready: POST /network/v1/nodes/NAME/load");
    else if (!read_model(call->http->body, &body, &model))
        admin_send_error(call->exchange, 400, "malformed",
                         "the body is {\"model\": NAME}, or nothing");
    else
        ask(call, node, action, model);
    cJSON_Delete(body);
}

void
admin_steer_metrics(FILE *out, const struct gateway *gateway)
{
    static const char *const by[] = {"plan", "person"};
    char why[MEMBERS_WORDS_BYTES];
    struct steer_counts counts;

    steer_count(gateway->steer, &counts);
    fprintf(out,
            "# HELP isochrone_nodes_steered Nodes that load what this gateway says.\n"
            "# TYPE isochrone_nodes_steered gauge\n"
            "isochrone_nodes_steered %u\n"
            "# HELP isochrone_directives_total Directives to nodes that ended, and how.\n"
            "# TYPE isochrone_directives_total counter\n",
            members_steered(gateway->members, why));
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t s = STEER_DONE; s < STEER_STATE_COUNT; s++)
            fprintf(out, "isochrone_directives_total{by=\"%s\",result=\"%s\"} %llu\n", by[i],
                    steer_state_name((enum steer_state)s), (unsigned long long)counts.ended[i][s]);
    }
}

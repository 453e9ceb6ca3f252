/* admin_views - nodes as JSON, out of core's views; see admin.h. */
#include <math.h>
#include <stdlib.h>

#include "role/failure.h"
#include "role/gateway/admin.h"
#include "role/gateway/members.h"

/* ---- Nodes. */

/* What its word is worth, and why. */
static void
put_word(cJSON *json, const struct node_view *v)
{
    cJSON *claims, *broken;

    admin_put_number(json, "word", (double)v->word);
    claims = cJSON_AddObjectToObject(json, "claims");
    cJSON_AddNumberToObject(claims, "tested", v->claims_tested);
    broken = cJSON_AddObjectToObject(claims, "broken");
    for (uint32_t k = 0; k < CLAIM_KIND_COUNT; k++)
        cJSON_AddNumberToObject(broken, metrics_claim_name(k), v->claims_broken[k]);
    admin_put_number(claims, "first_ago_ms", (double)v->broken_first_ago_ms);
    admin_put_number(claims, "last_ago_ms", (double)v->broken_last_ago_ms);
    if (isnan(v->broken_last_ago_ms))
        return;
    cJSON_AddStringToObject(claims, "last", metrics_claim_name(v->claim));
    admin_put_number(claims, "said", (double)v->claimed);
    admin_put_number(claims, "came", (double)v->came);
}

static cJSON *
node_json(struct lane *lane, const struct fleet *fleet, const struct node_view *v)
{
    const struct roster *roster = fleet->roster;
    const struct roster_node *n = roster_node(roster, v->node);
    enum engine_kind kind = (enum engine_kind)atomic_load_explicit(
        &lane->gateway->node_kinds[v->node], memory_order_relaxed);
    cJSON *json = cJSON_CreateObject();

    admin_put_span(json, "node", n->name);
    cJSON_AddNumberToObject(json, "index", v->node);
    admin_put_span(json, "url", n->url);
    admin_put_span(json, "region", roster->regions.list[n->region]);
    admin_put_span(json, "operator", roster->operators.list[n->operator]);
    admin_put_span(json, "site", roster->sites.list[n->site]);
    admin_put_span(json, "gpu", roster->classes.list[n->class]);
    cJSON_AddStringToObject(json, "state", metrics_node_state_name(v->state));
    cJSON_AddBoolToObject(json, "ejected", v->ejected != 0);
    if (v->ejected != 0)
        cJSON_AddStringToObject(json, "ejected_for", failure_name(v->ejected_for));
    admin_put_number(json, "ejected_left_ms", (double)v->ejected_left_ms);
    admin_put_number(json, "silent_ms", (double)v->silent_ms);
    cJSON_AddNumberToObject(json, "slots", v->slots);
    cJSON_AddNumberToObject(json, "own_outstanding", v->own_outstanding);
    admin_put_number(json, "report_age_ms", (double)v->report_age_ms);
    admin_put_number(json, "running", (double)v->running);
    admin_put_number(json, "waiting", (double)v->waiting);
    admin_put_number(json, "queue_tokens", (double)v->queue_tokens);
    admin_put_number(json, "kv_tokens_used", (double)v->kv_tokens_used);
    admin_put_number(json, "kv_tokens_cap", (double)v->kv_tokens_cap);
    admin_put_number(json, "rtt_ms", (double)v->rtt_ms);
    admin_put_number(json, "residual", (double)v->residual);
    cJSON_AddNumberToObject(json, "changes", v->changes);
    admin_put_number(json, "changed_ago_ms", (double)v->changed_ago_ms);
    admin_put_number(json, "p_fail", (double)v->p_fail);
    put_word(json, v);
    admin_put_number(json, "prefill_tok_s", (double)v->speed.prefill_tok_s);
    admin_put_number(json, "decode_tok_s", (double)v->speed.decode_tok_s);
    admin_put_number(json, "free_prefill_tok_s", (double)v->speed.free_prefill_tok_s);
    admin_put_number(json, "free_decode_tok_s", (double)v->speed.free_decode_tok_s);
    cJSON_AddNumberToObject(json, "models_ready", v->models_ready);
    admin_put_member(json, lane->gateway, n->name, kind);
    return json;
}

/* Is this parameter a number, if it is there? False: told. */
static bool
is_number(struct admin_call *call, const char *key)
{
    struct span text = admin_query(call->http, key);
    uint64_t value;

    if (text.bytes == 0 || span_u64(text, &value) == ERR_OK)
        return true;
    admin_send_error(call->exchange, 400, "bad_number", "from and limit are whole numbers");
    return false;
}

void
admin_nodes(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    uint64_t limit = admin_query_u64(call->http, "limit", ADMIN_NODES_DEFAULT);
    uint64_t first = admin_query_u64(call->http, "from", 0);
    uint32_t from = first < UINT32_MAX ? (uint32_t)first : UINT32_MAX, next = UINT32_MAX;
    struct node_view views[CORE_VIEW_MAX];
    cJSON *json, *list;
    uint64_t listed = 0;

    if (!is_number(call, "from") || !is_number(call, "limit"))
        return;
    json = cJSON_CreateObject();
    list = cJSON_AddArrayToObject(json, "nodes");
    if (limit > ADMIN_NODES_MAX)
        limit = ADMIN_NODES_MAX;
    while (from != UINT32_MAX && next == UINT32_MAX) {
        uint32_t count = decide_view_nodes(call->lane->gateway->door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (roster_node(fleet->roster, views[i].node) == NULL)
                continue;
            if (listed == limit) {
                next = views[i].node;
                break;
            }
            admin_append(list, node_json(call->lane, fleet, &views[i]));
            listed++;
        }
    }
    if (next != UINT32_MAX)
        cJSON_AddNumberToObject(json, "next", next);
    else
        cJSON_AddNullToObject(json, "next");
    admin_send(call->exchange, 200, json);
}

/* Nobody of this name: but perhaps somebody says that it is. */
static void
send_no_node(struct admin_call *call)
{
    char words[MEMBERS_WORDS_BYTES + 64] =
        "there is no node of this name: `isochrone nodes` lists all";
    struct members_refused list[MEMBERS_REFUSED_MAX];
    uint32_t count = members_refused(call->lane->gateway->members, list);

    for (uint32_t i = 0; i < count; i++) {
        if (span_eq_text(call->word, list[i].name))
            snprintf(words, sizeof(words), "there is no such node: what it says is refused: %s",
                     list[i].words);
    }
    admin_send_error(call->exchange, 404, "node_not_found", words);
}

/* If this is that model there, and it has slots of its own. */
static void
put_slots(cJSON *json, const struct placement_view *v, uint32_t node, uint16_t model)
{
    if (v->node != node || v->model != model || v->slots == 0)
        return;
    cJSON_AddNumberToObject(json, "slots", v->slots);
    cJSON_AddNumberToObject(json, "requests", v->requests);
}

void
admin_node(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const struct roster_node *n = roster_find(fleet->roster, call->word);
    struct node_view views[CORE_VIEW_MAX];
    struct placement_view placed[CORE_VIEW_MAX];
    uint32_t next, placed_count;
    cJSON *json, *models;

    if (n == NULL || decide_view_nodes(call->lane->gateway->door, n->index, views, &next) == 0 ||
        views[0].node != n->index) {
        send_no_node(call);
        return;
    }
    json = node_json(call->lane, fleet, &views[0]);
    placed_count = decide_view_placements(call->lane->gateway->door, n->index, placed, &next);
    models = cJSON_AddArrayToObject(json, "models");
    for (uint32_t i = 0; i < fleet_served(fleet, n->index)->count; i++) {
        const struct fleet_served *s = &fleet_served(fleet, n->index)->list[i];
        cJSON *model = cJSON_CreateObject();
        admin_put_span(model, "model", fleet->models[s->model].name);
        admin_put_span(model, "engine_name", fleet->names[s->name].text);
        cJSON_AddStringToObject(model, "state", metrics_model_state_name(s->state));
        cJSON_AddBoolToObject(model, "pinned", s->pinned);
        for (uint32_t p = 0; p < placed_count; p++)
            put_slots(model, &placed[p], n->index, s->model);
        admin_append(models, model);
    }
    admin_send(call->exchange, 200, json);
}

/* admin_views - capacity, readiness, plan and nodes as JSON, out of core's views; see
 * admin.h. */
#include <math.h>
#include <stdlib.h>

#include "role/gateway/admin.h"

/* ---- One table for capacity and readiness: model by region. */

struct cell {
    uint32_t states[MODEL_STATE_COUNT];
    float ready_in_ms; /* soonest; NAN none */
    double prefill_tok_s, decode_tok_s, free_prefill_tok_s, free_decode_tok_s;
};

struct rates {
    float prefill, decode, free_prefill, free_decode;
};

struct table {
    const struct fleet *fleet;
    struct cell *cells;  /* [model_count][CORE_REGIONS_MAX] */
    struct rates *rates; /* by node */
    uint32_t nodes_max;
};

static void
table_rates(struct table *t, struct door *door)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t from = 0;

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_nodes(door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            const struct node_view *v = &views[i];
            if (v->node < t->nodes_max && v->state == NODE_READY && v->ejected == 0)
                t->rates[v->node] = (struct rates){v->prefill_tok_s, v->decode_tok_s,
                                                   v->free_prefill_tok_s, v->free_decode_tok_s};
        }
    }
}

static void
table_placement(struct table *t, const struct placement_view *v)
{
    struct cell *cell;
    const struct rates *rates;

    if (v->model >= t->fleet->model_count || v->region >= CORE_REGIONS_MAX ||
        v->state >= MODEL_STATE_COUNT || v->node >= t->nodes_max)
        return;
    cell = &t->cells[(size_t)v->model * CORE_REGIONS_MAX + v->region];
    rates = &t->rates[v->node];
    cell->states[v->state]++;
    if (v->state == MODEL_READY) {
        cell->prefill_tok_s += (double)rates->prefill;
        cell->decode_tok_s += (double)rates->decode;
        cell->free_prefill_tok_s += (double)rates->free_prefill;
        cell->free_decode_tok_s += (double)rates->free_decode;
    } else if (v->state == MODEL_LOADING && !(v->ready_in_ms >= cell->ready_in_ms)) {
        cell->ready_in_ms = v->ready_in_ms;
    }
}

static void
table_fini(struct table *t)
{
    free(t->cells);
    free(t->rates);
}

static bool
table_init(struct table *t, struct lane *lane)
{
    struct door *door = lane->gateway->door;
    struct placement_view views[CORE_VIEW_MAX];
    uint32_t from = 0;
    size_t cells;

    t->fleet = lane_fleet(lane);
    t->nodes_max = lane->gateway->nodes_max;
    cells = (size_t)t->fleet->model_count * CORE_REGIONS_MAX;
    t->cells = calloc(cells + 1, sizeof(*t->cells));
    t->rates = calloc(t->nodes_max, sizeof(*t->rates));
    if (t->cells == NULL || t->rates == NULL)
        return false;
    for (size_t i = 0; i < cells; i++)
        t->cells[i].ready_in_ms = NAN;
    table_rates(t, door);
    while (from != UINT32_MAX) {
        uint32_t count = decide_view_placements(door, from, views, &from);
        for (uint32_t i = 0; i < count; i++)
            table_placement(t, &views[i]);
    }
    return true;
}

static void
put_capacity(cJSON *json, const struct cell *cell)
{
    cJSON_AddNumberToObject(json, "nodes_ready", cell->states[MODEL_READY]);
    admin_put_number(json, "prefill_tok_s", cell->prefill_tok_s);
    admin_put_number(json, "decode_tok_s", cell->decode_tok_s);
    admin_put_number(json, "free_prefill_tok_s", cell->free_prefill_tok_s);
    admin_put_number(json, "free_decode_tok_s", cell->free_decode_tok_s);
}

static void
put_readiness(cJSON *json, const struct cell *cell)
{
    for (uint32_t s = MODEL_ABSENT + 1; s < MODEL_STATE_COUNT; s++)
        cJSON_AddNumberToObject(json, metrics_model_state_name(s), cell->states[s]);
    admin_put_number(json, "ready_in_ms", (double)cell->ready_in_ms);
}

static bool
cell_used(const struct cell *cell)
{
    for (uint32_t s = 0; s < MODEL_STATE_COUNT; s++) {
        if (cell->states[s] > 0)
            return true;
    }
    return false;
}

static void
send_table(struct admin_call *call, void (*put)(cJSON *, const struct cell *))
{
    struct table t = {0};
    cJSON *json = NULL, *models;

    if (table_init(&t, call->lane)) {
        json = cJSON_CreateObject();
        models = cJSON_AddArrayToObject(json, "models");
        for (uint32_t m = 0; m < t.fleet->model_count; m++) {
            cJSON *model = cJSON_CreateObject(), *regions;
            admin_put_span(model, "model", t.fleet->models[m].name);
            regions = cJSON_AddArrayToObject(model, "regions");
            for (uint32_t r = 0; r < t.fleet->roster->regions.count; r++) {
                const struct cell *cell = &t.cells[(size_t)m * CORE_REGIONS_MAX + r];
                cJSON *region;
                if (!cell_used(cell))
                    continue;
                region = cJSON_CreateObject();
                admin_put_span(region, "region", t.fleet->roster->regions.list[r]);
                put(region, cell);
                admin_append(regions, region);
            }
            admin_append(models, model);
        }
    }
    table_fini(&t);
    admin_send(call->exchange, 200, json);
}

void
admin_capacity(struct admin_call *call)
{
    send_table(call, put_capacity);
}

void
admin_readiness(struct admin_call *call)
{
    send_table(call, put_readiness);
}

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
    admin_put_number(json, "prefill_tok_s", (double)v->prefill_tok_s);
    admin_put_number(json, "decode_tok_s", (double)v->decode_tok_s);
    admin_put_number(json, "free_prefill_tok_s", (double)v->free_prefill_tok_s);
    admin_put_number(json, "free_decode_tok_s", (double)v->free_decode_tok_s);
    cJSON_AddNumberToObject(json, "models_ready", v->models_ready);
    admin_put_member(json, lane->gateway, n->name, kind);
    return json;
}

void
admin_nodes(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    uint64_t limit = admin_query_u64(call->http, "limit", ADMIN_NODES_DEFAULT);
    uint64_t first = admin_query_u64(call->http, "from", 0);
    uint32_t from = first < UINT32_MAX ? (uint32_t)first : UINT32_MAX, next = UINT32_MAX;
    struct node_view views[CORE_VIEW_MAX];
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "nodes");
    uint64_t listed = 0;

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

void
admin_node(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const struct roster_node *n = roster_find(fleet->roster, call->word);
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;
    cJSON *json, *models;

    if (n == NULL || decide_view_nodes(call->lane->gateway->door, n->index, views, &next) == 0 ||
        views[0].node != n->index) {
        admin_send_error(call->exchange, 404, "node_not_found", "there is no node of this name");
        return;
    }
    json = node_json(call->lane, fleet, &views[0]);
    models = cJSON_AddArrayToObject(json, "models");
    for (uint32_t i = 0; i < fleet_served(fleet, n->index)->count; i++) {
        const struct fleet_served *s = &fleet_served(fleet, n->index)->list[i];
        cJSON *model = cJSON_CreateObject();
        admin_put_span(model, "model", fleet->models[s->model].name);
        admin_put_span(model, "engine_name", fleet->names[s->name].text);
        cJSON_AddStringToObject(model, "state", metrics_model_state_name(s->state));
        admin_append(models, model);
    }
    admin_send(call->exchange, 200, json);
}

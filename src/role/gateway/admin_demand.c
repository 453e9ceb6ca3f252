/* admin_demand - who is asked for how much, by model and region, and the gateways that say so; see
 * admin.h. */
#include <stdio.h>

#include "role/gateway/admin.h"
#include "role/gateway/peers.h"

#define TOLD_BY_MAX 8u /* names of one cell */

/* ---- Demand. */

static void
put_told_by(cJSON *json, struct peers *peers, uint16_t model, struct span region)
{
    char names[TOLD_BY_MAX][PEERS_NAME_BYTES];
    uint32_t count = peers_told_by(peers, model, region, names, TOLD_BY_MAX);
    cJSON *list = cJSON_AddArrayToObject(json, "told_by");

    for (uint32_t i = 0; i < count && i < TOLD_BY_MAX; i++)
        admin_append(list, cJSON_CreateString(names[i]));
    cJSON_AddNumberToObject(json, "told_by_count", count);
}

static cJSON *
demand_json(const struct gateway *gateway, const struct fleet *fleet, const struct demand_view *v)
{
    struct span region = fleet->roster->regions.list[v->region];
    cJSON *json = cJSON_CreateObject();

    admin_put_span(json, "region", region);
    admin_put_number(json, "requests_s", (double)v->all.requests_s);
    admin_put_number(json, "prompt_tok_s", (double)v->all.prompt_tok_s);
    admin_put_number(json, "output_tok_s", (double)v->all.output_tok_s);
    admin_put_number(json, "usual_requests_s", (double)v->all.usual_requests_s);
    admin_put_number(json, "ahead_requests_s", (double)v->all.ahead_requests_s);
    admin_put_number(json, "trend_requests_s_min", (double)v->trend_requests_s_min);
    admin_put_number(json, "told_requests_s", (double)v->told.requests_s);
    admin_put_number(json, "told_usual_requests_s", (double)v->told.usual_requests_s);
    put_told_by(json, gateway->peers, v->model, region);
    return json;
}

void
admin_demand(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const struct gateway *gateway = call->lane->gateway;
    struct demand_view views[CORE_VIEW_MAX];
    cJSON *json = cJSON_CreateObject(), *models, *regions = NULL;
    uint32_t from = 0, last = UINT32_MAX;

    cJSON_AddStringToObject(json, "gateway", gateway->name);
    cJSON_AddNumberToObject(json, "gateways", peers_count(gateway->peers));
    models = cJSON_AddArrayToObject(json, "models");
    while (from != UINT32_MAX) { /* rows of a model follow each other */
        uint32_t count = decide_view_demand(gateway->door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            const struct demand_view *v = &views[i];
            if (v->model >= fleet->model_count || v->region >= fleet->roster->regions.count)
                continue;
            if (v->model != last) {
                cJSON *model = cJSON_CreateObject();
                admin_put_span(model, "model", fleet->models[v->model].name);
                regions = cJSON_AddArrayToObject(model, "regions");
                admin_append(models, model);
                last = v->model;
            }
            admin_append(regions, demand_json(gateway, fleet, v));
        }
    }
    admin_send(call->exchange, 200, json);
}

/* ---- Gateways. */

static void
on_peer(const struct peer_look *l, void *user)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "gateway", l->name);
    cJSON_AddStringToObject(json, "region", l->region);
    cJSON_AddStringToObject(json, "key", l->key_id);
    cJSON_AddStringToObject(json, "state", l->is_gone ? "gone" : l->is_alive ? "alive" : "silent");
    admin_put_number(json, "heard_ago_ms", l->heard_ago_ms);
    cJSON_AddNumberToObject(json, "epoch", (double)l->epoch);
    cJSON_AddNumberToObject(json, "messages", (double)l->messages);
    cJSON_AddNumberToObject(json, "refused", (double)l->refused);
    cJSON_AddNumberToObject(json, "models", l->models);
    admin_put_number(json, "requests_s", l->requests_s);
    admin_put_number(json, "usual_requests_s", l->usual_requests_s);
    admin_put_number(json, "counted_part", l->counted_part);
    admin_append(user, json);
}

void
admin_put_peers(cJSON *json, struct gateway *gateway)
{
    uint64_t verdicts[PEERS_VERDICT_COUNT];
    cJSON *refused;

    cJSON_AddNumberToObject(json, "gateways", peers_count(gateway->peers));
    peers_each(gateway->peers, on_peer, cJSON_AddArrayToObject(json, "peers"));
    peers_verdicts(gateway->peers, verdicts);
    refused = cJSON_AddObjectToObject(json, "peers_refused");
    for (uint32_t v = DEMAND_NEWS + 1; v < PEERS_VERDICT_COUNT && refused != NULL; v++) {
        if (verdicts[v] > 0)
            cJSON_AddNumberToObject(refused, peers_verdict_name(v), (double)verdicts[v]);
    }
}

void
admin_demand_metrics(FILE *out, const struct gateway *gateway)
{
    uint64_t verdicts[PEERS_VERDICT_COUNT];

    peers_verdicts(gateway->peers, verdicts);
    fprintf(
        out,
        "# HELP isochrone_gateways Gateways that are heard, this one counted.\n"
        "# TYPE isochrone_gateways gauge\n"
        "isochrone_gateways %u\n"
        "# HELP isochrone_peer_messages_total Messages of other gateways, by what came of them.\n"
        "# TYPE isochrone_peer_messages_total counter\n",
        peers_count(gateway->peers));
    for (uint32_t v = 0; v < PEERS_VERDICT_COUNT; v++)
        fprintf(out, "isochrone_peer_messages_total{verdict=\"%s\"} %.17g\n", peers_verdict_name(v),
                (double)verdicts[v]);
}

/* models - the list of models; see models.h. */
#include "role/gateway/models.h"

#include "role/gateway/admin.h"

/* Which models some node has, in any state but absent. */
static void
find_served(const struct fleet *fleet, bool served[CORE_MODELS_MAX])
{
    memset(served, 0, CORE_MODELS_MAX * sizeof(served[0]));
    for (uint32_t i = 0; i < fleet->roster->node_bound; i++) {
        for (uint32_t k = 0; k < fleet->served[i].count; k++) {
            if (fleet->served[i].list[k].state != MODEL_ABSENT)
                served[fleet->served[i].list[k].model] = true;
        }
    }
}

static cJSON *
model_json(const struct lane *lane, struct span name)
{
    cJSON *json = cJSON_CreateObject();

    admin_put_span(json, "id", name);
    cJSON_AddStringToObject(json, "object", "model");
    cJSON_AddNumberToObject(json, "created", (double)lane->gateway->started_wall_s);
    cJSON_AddStringToObject(json, "owned_by", "isochrone");
    return json;
}

void
models_list(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    cJSON *json = cJSON_CreateObject(), *data;
    bool served[CORE_MODELS_MAX];

    cJSON_AddStringToObject(json, "object", "list");
    data = cJSON_AddArrayToObject(json, "data");
    find_served(fleet, served);
    for (uint32_t m = 0; m < fleet->model_count; m++) {
        if (served[m])
            cJSON_AddItemToArray(data, model_json(call->lane, fleet->models[m].name));
    }
    admin_send(call->exchange, 200, json);
}

void
models_one(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    uint16_t model = fleet_model_find(fleet, call->word);
    bool served[CORE_MODELS_MAX];

    find_served(fleet, served);
    if (model == FLEET_MODEL_NONE || !served[model])
        admin_send_error(call->exchange, 404, "model_not_found", "this model does not exist here");
    else
        admin_send(call->exchange, 200, model_json(call->lane, call->word));
}

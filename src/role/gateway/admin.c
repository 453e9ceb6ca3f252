/* admin - health: whether it lives, whether it is ready and why not; see admin.h. */
#include "role/gateway/admin.h"

#include "role/answer.h"

void
admin_livez(struct admin_call *call)
{
    answer_body(call->exchange, 200, SPAN_LIT("text/plain"), SPAN_LIT("ok\n"));
}

/* Ready when some model is ready somewhere; the body says what is missing. */
void
admin_readyz(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const char *reason = NULL;
    cJSON *json = cJSON_CreateObject();

    if (atomic_load(&call->lane->gateway->draining))
        reason = "the gateway is draining";
    else if (fleet->roster->node_count == 0)
        reason = "no engines are configured, and no node came by itself yet";
    else if (fleet->ready_count == 0)
        reason = "no engine has a model ready yet";
    cJSON_AddBoolToObject(json, "ready", reason == NULL);
    cJSON_AddStringToObject(json, "reason", reason != NULL ? reason : "");
    cJSON_AddNumberToObject(json, "nodes", fleet->roster->node_count);
    cJSON_AddNumberToObject(json, "ready_placements", fleet->ready_count);
    admin_send(call->exchange, reason == NULL ? 200 : 503, json);
}

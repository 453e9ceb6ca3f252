/* emulate_log - one JSON line for each inference request: what was true when it reached the engine,
 * and what then happened. Offline, a predictor that is fed with this truth shows how good
 * prediction could be. Times are milliseconds; first_ms and done_ms count from the arrival at the
 * engine. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "role/emulate/emulate_world.h"

static void
number(cJSON *object, const char *name, double value)
{
    if (isnan(value))
        (void)cJSON_AddNullToObject(object, name);
    else
        (void)cJSON_AddNumberToObject(object, name, value);
}

static void
add_truth(cJSON *line, const struct engine_truth *t)
{
    cJSON *object = cJSON_AddObjectToObject(line, "truth");

    number(object, "queue_tokens", t->queue_tokens);
    number(object, "running", t->running);
    number(object, "waiting", t->waiting);
    number(object, "kv_tokens_used", t->kv_tokens_used);
    number(object, "kv_tokens_cap", t->kv_tokens_cap);
    number(object, "speed", t->speed);
    number(object, "load_left_ms", t->load_left_ms);
    number(object, "iteration_left_ms", t->iteration_left_ms);
}

void
emulate_log_flow(const struct emulate_flow *flow)
{
    const struct emulate_inference *in = flow->inference;
    const struct emulate_fleet_node *plan = flow->node->plan;
    FILE *log = flow->node->world->log;
    cJSON *line;
    char *text;

    if (log == NULL || (line = cJSON_CreateObject()) == NULL)
        return;
    (void)cJSON_AddStringToObject(line, "id", flow->request_id);
    number(line, "node", (double)(plan - flow->node->world->fleet.nodes));
    (void)cJSON_AddStringToObject(line, "name", plan->name);
    (void)cJSON_AddStringToObject(line, "gpu", plan->gpu);
    (void)cJSON_AddStringToObject(line, "kind", emulate_fleet_kind_name(plan->kind));
    (void)cJSON_AddStringToObject(line, "model", emulate_fleet_models[in->model].name);
    (void)cJSON_AddStringToObject(line, "from", flow->region);
    number(line, "at_ms", flow->arrive_ms);
    number(line, "rtt_ms", flow->rtt_ms);
    (void)cJSON_AddBoolToObject(line, "fresh_connection", flow->fresh_connection);
    number(line, "body_bytes", (double)flow->body_bytes);
    number(line, "prompt_tokens", in->prompt_tokens);
    number(line, "output_tokens", in->output_tokens);
    number(line, "cached_tokens_at_arrival", in->cached_at_arrival);
    add_truth(line, &in->truth);
    number(line, "first_ms", in->first_ms - flow->arrive_ms);
    number(line, "done_ms", in->done_ms - flow->arrive_ms);
    number(line, "tokens", in->tokens);
    number(line, "cached_tokens", in->cached_tokens);
    number(line, "preempted", in->preempted);
    (void)cJSON_AddStringToObject(line, "end", in->end != NULL ? in->end : "open");
    text = cJSON_PrintUnformatted(line);
    if (text != NULL)
        fprintf(log, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(line);
}

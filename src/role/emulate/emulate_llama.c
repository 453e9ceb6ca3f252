/* emulate_llama - the routes of llama.cpp's server beside inference, alone or as a router over
 * several models: /health, /props, /slots, /metrics, /v1/models (and /models of a router), and its
 * words for errors. A router has no slots and no metrics of its own: these take ?model=. */
#include <stdio.h>
#include <string.h>

#include "io/clock.h"
#include "role/emulate/emulate_world.h"

#define SLOT_CONTEXT      8192
#define SLOTS             16u /* engine_table_llama_server's */
#define SLOTS_TEXT        "16"
#define MESSAGE_BYTES_MAX 512u

void
emulate_llama_words(struct emulate_flow *flow, unsigned status, const char *type,
                    const char *message)
{
    cJSON *root = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(root, "error");

    (void)cJSON_AddNumberToObject(error, "code", status);
    (void)cJSON_AddStringToObject(error, "message", message);
    (void)cJSON_AddStringToObject(error, "type", type);
    emulate_document_json(flow, status, root);
}

void
emulate_llama_error(struct emulate_flow *flow, enum err err, const char *model)
{
    char message[MESSAGE_BYTES_MAX];

    switch (err) {
    case ERR_NOT_FOUND:
        (void)snprintf(message, sizeof(message), "model '%s' not found", model);
        emulate_llama_words(flow, 400, "invalid_request_error", message);
        break;
    case ERR_PARSE: /* its own fault, says the server: a trap for who counts failures */
        emulate_llama_words(
            flow, 500, "server_error",
            "[json.exception.parse_error.101] parse error: syntax error while parsing "
            "value");
        break;
    case ERR_ARG:
        emulate_llama_words(flow, 400, "invalid_request_error", "'messages' is required");
        break;
    case ERR_FULL:
        emulate_llama_words(flow, 400, "exceed_context_size_error",
                            "the request exceeds the available context size, try increasing it");
        break;
    default:
        emulate_llama_words(flow, 500, "server_error", err_name(err));
        break;
    }
}

static const char *
status_value(enum engine_model_state state)
{
    switch (state) {
    case ENGINE_MODEL_READY:
        return "loaded";
    case ENGINE_MODEL_LOADING:
        return "loading";
    case ENGINE_MODEL_ON_DISK:
    case ENGINE_MODEL_ASLEEP:
    case ENGINE_MODEL_REMOTE:
    case ENGINE_MODEL_ABSENT:
        break;
    }
    return "unloaded";
}

static bool
is_router(const struct emulate_flow *flow)
{
    return flow->node->plan->kind == EMULATE_FLEET_LLAMA_ROUTER;
}

static void
status(cJSON *json, enum engine_model_state state)
{
    cJSON *args;

    (void)cJSON_AddStringToObject(json, "value", status_value(state));
    args = cJSON_AddArrayToObject(json, "args");
    (void)cJSON_AddItemToArray(args, cJSON_CreateString("llama-server"));
    (void)cJSON_AddItemToArray(args, cJSON_CreateString("--parallel"));
    (void)cJSON_AddItemToArray(args, cJSON_CreateString(SLOTS_TEXT));
}

static void
models(struct emulate_flow *flow)
{
    const struct emulate_fleet_node *plan = flow->node->plan;
    cJSON *root = cJSON_CreateObject(), *data;

    (void)cJSON_AddStringToObject(root, "object", "list");
    data = cJSON_AddArrayToObject(root, "data");
    for (uint32_t i = 0; i < plan->held_count; i++) {
        uint32_t model = plan->held[i].model;
        cJSON *entry = cJSON_CreateObject();

        (void)cJSON_AddStringToObject(entry, "id", emulate_fleet_model_id(plan, model));
        (void)cJSON_AddStringToObject(entry, "object", "model");
        (void)cJSON_AddNumberToObject(entry, "created", (double)clock_wall_s());
        (void)cJSON_AddStringToObject(entry, "owned_by", "llamacpp");
        if (is_router(flow))
            status(cJSON_AddObjectToObject(entry, "status"),
                   engine_model_state(flow->node->engine, model));
        (void)cJSON_AddItemToArray(data, entry);
    }
    emulate_document_json(flow, 200, root);
}

/* The model of ?model=, or the only one. False: an error was answered. */
static bool
asked_model(struct emulate_flow *flow, uint32_t *ret_model)
{
    const struct emulate_fleet_node *plan = flow->node->plan;
    struct span query = flow->request->query, prefix = SPAN_LIT("model=");

    *ret_model = plan->held[0].model;
    if (!is_router(flow))
        return true;
    if (!span_starts(query, prefix)) {
        emulate_llama_words(flow, 400, "invalid_request_error",
                            "model name is missing from the request");
        return false;
    }
    for (uint32_t i = 0; i < plan->held_count; i++)
        if (span_eq_text(span_from(query, prefix.bytes),
                         emulate_fleet_model_id(plan, plan->held[i].model))) {
            *ret_model = plan->held[i].model;
            return true;
        }
    emulate_llama_error(flow, ERR_NOT_FOUND, "");
    return false;
}

static void
props(struct emulate_flow *flow)
{
    cJSON *root = cJSON_CreateObject(), *settings;

    settings = cJSON_AddObjectToObject(root, "default_generation_settings");
    (void)cJSON_AddNumberToObject(settings, "n_ctx", is_router(flow) ? 0 : SLOT_CONTEXT);
    if (is_router(flow)) {
        (void)cJSON_AddStringToObject(root, "role", "router");
        (void)cJSON_AddNumberToObject(root, "max_instances", flow->node->plan->models_max);
        (void)cJSON_AddBoolToObject(root, "models_autoload", true);
    } else {
        (void)cJSON_AddNumberToObject(root, "total_slots", SLOTS);
        (void)cJSON_AddBoolToObject(root, "is_sleeping", false);
    }
    (void)cJSON_AddStringToObject(root, "build_info", "b6800-emulated");
    emulate_document_json(flow, 200, root);
}

/* Requests that run are in slots from the first on; each holds its share of the KV. */
static void
slots(struct emulate_flow *flow)
{
    struct engine_truth t;
    uint32_t model;
    cJSON *root;

    if (!asked_model(flow, &model))
        return;
    emulate_published(flow->node, model, flow->arrive_ms, &t);
    root = cJSON_CreateArray();
    for (uint32_t i = 0; i < SLOTS; i++) {
        cJSON *slot = cJSON_CreateObject();

        (void)cJSON_AddNumberToObject(slot, "id", i);
        (void)cJSON_AddNumberToObject(slot, "n_ctx", SLOT_CONTEXT);
        (void)cJSON_AddBoolToObject(slot, "speculative", false);
        (void)cJSON_AddBoolToObject(slot, "is_processing", i < t.running);
        if (i < t.running)
            (void)cJSON_AddNumberToObject(slot, "n_prompt_tokens",
                                          (double)(uint32_t)(t.kv_tokens_used / t.running));
        (void)cJSON_AddItemToArray(root, slot);
    }
    emulate_document_json(flow, 200, root);
}

static void
metrics(struct emulate_flow *flow)
{
    struct engine_truth t;
    uint32_t model;
    FILE *out;

    if (!asked_model(flow, &model))
        return;
    out = emulate_document_open(flow, 200, "text/plain; version=0.0.4");
    if (out == NULL)
        return;
    emulate_published(flow->node, model, flow->arrive_ms, &t);
    fprintf(out,
            "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.\n"
            "# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total %llu\n"
            "# HELP llamacpp:tokens_predicted_total Number of generation tokens processed.\n"
            "# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total %llu\n"
            "# HELP llamacpp:requests_processing Number of requests processing.\n"
            "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing %u\n"
            "# HELP llamacpp:requests_deferred Number of requests deferred.\n"
            "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred %u\n",
            (unsigned long long)(t.prompt_tokens_total - t.cached_tokens_total),
            (unsigned long long)t.output_tokens_total, t.running, t.waiting);
    fclose(out);
}

void
emulate_llama_document(struct emulate_flow *flow)
{
    struct span path = flow->request->path;

    if (span_eq_text(path, "/v1/models") || (is_router(flow) && span_eq_text(path, "/models"))) {
        models(flow);
    } else if (span_eq_text(path, "/props")) {
        props(flow);
    } else if (span_eq_text(path, "/slots")) {
        slots(flow);
    } else if (span_eq_text(path, "/metrics")) {
        metrics(flow);
    } else if (span_eq_text(path, "/health") || span_eq_text(path, "/v1/health")) {
        cJSON *root = cJSON_CreateObject();

        (void)cJSON_AddStringToObject(root, "status", "ok");
        emulate_document_json(flow, 200, root);
    } else {
        emulate_llama_words(flow, 404, "not_found_error", "File Not Found");
    }
}

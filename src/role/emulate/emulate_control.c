/* emulate_control - orders about models, in the words of each kind of server: a llama-server router
 * answers that it has begun, Ollama and a waking vLLM or SGLang when it is done; memory is for
 * models_max of them, an idle one gives way, and when none is idle there is no room. vLLM has these
 * routes only in dev mode; SGLang, which has then a memory saver, else says yes and does nothing.
 *
 * A router that unloads kills the process that serves the model, and a sleep stops the engine: the
 * requests there are lost. Ollama lets them end first. */
#include <stdio.h>
#include <string.h>

#include "role/emulate/emulate_world.h"

#define MESSAGE_BYTES_MAX 512u
#define ADAPTER_MS        400.0 /* to read a LoRA adapter */

static bool
is_post(const struct emulate_flow *flow, const char *path)
{
    return span_eq_text(flow->request->method, "POST") && span_eq_text(flow->request->path, path);
}

static void
success(struct emulate_flow *flow)
{
    cJSON *root = cJSON_CreateObject();

    (void)cJSON_AddTrueToObject(root, "success");
    emulate_document_json(flow, 200, root);
}

/* Its model of that name; EMULATE_FLEET_MODELS_MAX: none. */
static uint32_t
model_named(const struct emulate_node *node, const cJSON *name)
{
    const struct emulate_fleet_node *plan = node->plan;

    for (uint32_t i = 0; cJSON_IsString(name) && i < plan->held_count; i++)
        if (strcmp(name->valuestring, emulate_fleet_model_id(plan, plan->held[i].model)) == 0)
            return plan->held[i].model;
    return EMULATE_FLEET_MODELS_MAX;
}

/* ---- What changes in a node. */

/* Those that wait for this model's load have nothing to wait for. */
static void
disappoint(struct emulate_node *node, uint32_t model, double now_ms)
{
    const struct emulate *e = node->world;

    for (uint32_t i = 0; i < e->flow_count; i++) {
        struct emulate_flow *flow = e->flows[i];

        if (flow == NULL || flow->node != node || flow->awaits != model)
            continue;
        emulate_llama_words(flow, 500, "server_error", "the load was given up");
        emulate_flow_respond(flow, now_ms);
    }
}

static enum err
unload(struct emulate_node *node, uint32_t model, enum engine_model_state state, double now_ms)
{
    enum err err;

    emulate_flow_break_all(node, model, now_ms);
    err = engine_unload(node->engine, now_ms, model, state, true);
    disappoint(node, model, now_ms);
    emulate_wake(node);
    return err;
}

/* The document comes when the model is loaded; one that is loaded already has it at once (false).
 */
static bool
load(struct emulate_flow *flow, uint32_t model, double now_ms, enum err *ret_err)
{
    struct emulate_node *node = flow->node;

    *ret_err = engine_load(node->engine, now_ms, model);
    node->leaving[model] = false;
    emulate_wake(node);
    if (*ret_err == ERR_EXISTS)
        *ret_err = ERR_OK;
    return *ret_err == ERR_OK && engine_model_state(node->engine, model) != ENGINE_MODEL_READY;
}

void
emulate_control_idle(struct emulate_node *node, double now_ms)
{
    for (uint32_t model = 0; model < EMULATE_FLEET_MODELS_MAX; model++)
        if (node->leaving[model] &&
            engine_unload(node->engine, now_ms, model, ENGINE_MODEL_ON_DISK, false) != ERR_AGAIN)
            node->leaving[model] = false;
}

/* ---- llama-server's router. */

static void
router_load(struct emulate_flow *flow, uint32_t model, double now_ms)
{
    enum engine_model_state state = engine_model_state(flow->node->engine, model);
    enum err err;

    if (model == EMULATE_FLEET_MODELS_MAX) {
        emulate_llama_words(flow, 404, "not_found_error", "model is not found");
        return;
    }
    if (state == ENGINE_MODEL_READY || state == ENGINE_MODEL_LOADING) {
        emulate_llama_words(flow, 400, "invalid_request_error", "model is already running");
        return;
    }
    (void)load(flow, model, now_ms, &err);
    if (err == ERR_OK)
        success(flow);
    else
        emulate_llama_words(flow, 500, "server_error", "model limit reached, try again later");
}

static void
router_unload(struct emulate_flow *flow, uint32_t model, double now_ms)
{
    if (model == EMULATE_FLEET_MODELS_MAX)
        emulate_llama_words(flow, 400, "invalid_request_error", "model is not found");
    else if (unload(flow->node, model, ENGINE_MODEL_ON_DISK, now_ms) == ERR_OK)
        success(flow);
    else
        emulate_llama_words(flow, 400, "invalid_request_error", "model is not running");
}

static bool
router(struct emulate_flow *flow, const cJSON *body, double now_ms)
{
    uint32_t model = model_named(flow->node, cJSON_GetObjectItemCaseSensitive(body, "model"));

    if (is_post(flow, "/models/load"))
        router_load(flow, model, now_ms);
    else if (is_post(flow, "/models/unload"))
        router_unload(flow, model, now_ms);
    else
        return false;
    return true;
}

/* ---- Ollama. */

static void
ollama_words(struct emulate_flow *flow, unsigned status, const char *words)
{
    cJSON *root = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(root, "error", words);
    emulate_document_json(flow, status, root);
}

static void
ollama_done(struct emulate_flow *flow, uint32_t model, const char *reason)
{
    cJSON *root = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(root, "model", emulate_fleet_model_id(flow->node->plan, model));
    (void)cJSON_AddStringToObject(root, "created_at", "2026-01-01T00:00:00Z");
    (void)cJSON_AddStringToObject(root, "response", "");
    (void)cJSON_AddTrueToObject(root, "done");
    (void)cJSON_AddStringToObject(root, "done_reason", reason);
    emulate_document_json(flow, 200, root);
}

/* {"model","keep_alive"} without a prompt: into memory, or out of it (0). */
static bool
ollama(struct emulate_flow *flow, const cJSON *body, double now_ms)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(body, "model");
    const cJSON *keep = cJSON_GetObjectItemCaseSensitive(body, "keep_alive");
    uint32_t model = model_named(flow->node, name);
    char message[MESSAGE_BYTES_MAX];
    enum err err;

    if (!is_post(flow, "/api/generate"))
        return false;
    if (model == EMULATE_FLEET_MODELS_MAX) {
        (void)snprintf(message, sizeof(message), "model '%s' not found",
                       cJSON_IsString(name) ? name->valuestring : "");
        ollama_words(flow, 404, message);
    } else if (cJSON_GetObjectItemCaseSensitive(body, "prompt") != NULL) {
        ollama_words(flow, 400, "emulated: prompts are answered on /v1 only");
    } else if (cJSON_IsNumber(keep) && keep->valuedouble == 0) {
        disappoint(flow->node, model, now_ms);
        flow->node->leaving[model] = true;
        emulate_control_idle(flow->node, now_ms);
        emulate_wake(flow->node);
        ollama_done(flow, model, "unload");
    } else if (load(flow, model, now_ms, &err)) {
        flow->awaits = model;
    } else if (err == ERR_OK) {
        ollama_done(flow, model, "load");
    } else {
        ollama_words(flow, 503,
                     "server busy, please try again.  maximum pending requests exceeded");
    }
    return true;
}

/* ---- vLLM and SGLang. */

static void
plain(struct emulate_flow *flow)
{
    bool is_vllm = flow->node->plan->kind == EMULATE_FLEET_VLLM;
    FILE *out = emulate_document_open(flow, 200, is_vllm ? "text/plain" : "application/json");

    if (out == NULL)
        return;
    if (!is_vllm)
        fputs("null", out);
    fclose(out);
}

static void
go_to_sleep(struct emulate_flow *flow, double now_ms, double *ret_ms)
{
    struct emulate_node *node = flow->node;
    uint32_t model = node->plan->held[0].model;
    struct engine_truth t;

    if (node->world->options.dev_mode) { /* else an SGLang without its memory saver: as if it did */
        if (unload(node, model, ENGINE_MODEL_ASLEEP, now_ms) == ERR_OK) {
            engine_truth(node->engine, now_ms, model, &t);
            *ret_ms = t.load_left_ms; /* the way out is as long as the way back */
        }
        node->asleep = true;
    }
    plain(flow);
}

static void
wake_up(struct emulate_flow *flow, double now_ms)
{
    uint32_t model = flow->node->plan->held[0].model;
    enum err err;

    if (load(flow, model, now_ms, &err))
        flow->awaits = model;
    else
        plain(flow);
}

/* How an adapter's order ended, in the words of the kind. */
static void
adapter_words(struct emulate_flow *flow, unsigned status, const char *words)
{
    cJSON *root;

    if (flow->node->plan->kind == EMULATE_FLEET_VLLM && status != 200) {
        emulate_vllm_words(flow, status, status == 404 ? "NotFoundError" : "InvalidUserInput", NULL,
                           words);
        return;
    }
    if (flow->node->plan->kind == EMULATE_FLEET_VLLM) {
        plain(flow);
        return;
    }
    root = cJSON_CreateObject();
    (void)cJSON_AddBoolToObject(root, "success", status == 200);
    if (status != 200)
        (void)cJSON_AddStringToObject(root, "error_message", words);
    emulate_document_json(flow, status == 200 ? 200 : 400, root);
}

static void
adapter_load(struct emulate_flow *flow, const char *name, const cJSON *path, double *ret_ms)
{
    struct emulate_node *node = flow->node;
    char words[MESSAGE_BYTES_MAX];

    for (uint32_t i = 0; i < node->adapter_count; i++)
        if (strcmp(node->adapters[i], name) == 0) {
            bool is_vllm = node->plan->kind == EMULATE_FLEET_VLLM;

            (void)snprintf(words, sizeof(words), "The lora adapter '%s' %s.", name,
                           is_vllm ? "has already been loaded" : "is already loaded");
            adapter_words(flow, 400, words);
            return;
        }
    if (name[0] == '\0' || strlen(name) >= EMULATE_ID_BYTES_MAX || !cJSON_IsString(path) ||
        path->valuestring[0] == '\0') {
        adapter_words(flow, 400, "Both 'lora_name' and 'lora_path' must be provided.");
    } else if (node->adapter_count == EMULATE_ADAPTERS_MAX) {
        adapter_words(flow, 400, "there is no room for another adapter");
    } else {
        span_copy(span_of(name), node->adapters[node->adapter_count++], EMULATE_ID_BYTES_MAX);
        adapter_words(flow, 200, "");
        *ret_ms = ADAPTER_MS;
    }
}

static void
adapter_unload(struct emulate_flow *flow, const char *name)
{
    struct emulate_node *node = flow->node;
    char words[MESSAGE_BYTES_MAX];
    uint32_t i = 0;

    while (i < node->adapter_count && strcmp(node->adapters[i], name) != 0)
        i++;
    if (i == node->adapter_count) {
        (void)snprintf(words, sizeof(words), "The lora adapter '%s' cannot be found.", name);
        adapter_words(flow, 404, words);
        return;
    }
    node->adapter_count--;
    memmove(node->adapters[i], node->adapters[i + 1],
            (node->adapter_count - i) * sizeof(node->adapters[0]));
    adapter_words(flow, 200, "");
}

static bool
one_model(struct emulate_flow *flow, const cJSON *body, double now_ms, double *ret_ms)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(body, "lora_name");
    const char *adapter = cJSON_IsString(name) ? name->valuestring : "";
    bool is_vllm = flow->node->plan->kind == EMULATE_FLEET_VLLM;

    if (is_post(flow, is_vllm ? "/sleep" : "/release_memory_occupation"))
        go_to_sleep(flow, now_ms, ret_ms);
    else if (is_post(flow, is_vllm ? "/wake_up" : "/resume_memory_occupation"))
        wake_up(flow, now_ms);
    else if (is_post(flow, is_vllm ? "/v1/load_lora_adapter" : "/load_lora_adapter"))
        adapter_load(flow, adapter, cJSON_GetObjectItemCaseSensitive(body, "lora_path"), ret_ms);
    else if (is_post(flow, is_vllm ? "/v1/unload_lora_adapter" : "/unload_lora_adapter"))
        adapter_unload(flow, adapter);
    else
        return false;
    return true;
}

bool
emulate_control(struct emulate_flow *flow, double now_ms, double *ret_ms)
{
    const struct http_request *r = flow->request;
    cJSON *body = cJSON_ParseWithLength(r->body.data, r->body.bytes);
    bool taken = false;

    switch (flow->node->plan->kind) {
    case EMULATE_FLEET_LLAMA_ROUTER:
        taken = router(flow, body, now_ms);
        break;
    case EMULATE_FLEET_OLLAMA:
        taken = ollama(flow, body, now_ms);
        break;
    case EMULATE_FLEET_VLLM:
        taken = flow->node->world->options.dev_mode && one_model(flow, body, now_ms, ret_ms);
        break;
    case EMULATE_FLEET_SGLANG:
        taken = one_model(flow, body, now_ms, ret_ms);
        break;
    case EMULATE_FLEET_LLAMA:
    case EMULATE_FLEET_KIND_COUNT:
        break;
    }
    cJSON_Delete(body);
    return taken;
}

void
emulate_control_loaded(struct emulate_node *node, uint32_t model, double now_ms)
{
    const struct emulate *e = node->world;

    node->listens = true;
    node->asleep = false;
    for (uint32_t i = 0; i < e->flow_count; i++) {
        struct emulate_flow *flow = e->flows[i];

        if (flow == NULL || flow->node != node || flow->awaits != model)
            continue;
        if (node->plan->kind == EMULATE_FLEET_OLLAMA)
            ollama_done(flow, model, "load");
        else
            plain(flow);
        emulate_flow_respond(flow, now_ms);
    }
}

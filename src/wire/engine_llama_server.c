/* engine_llama_server - the row of llama.cpp's server, alone or as a router over several models.
 *
 * Its traps: /metrics exists only with --metrics (501 without, and not at all in router mode), so
 * the slots are counted instead; a sleeping server says it is healthy and only /props tells; /slots
 * would wake it, /props and /metrics do not. /v1/models carries each model's state in router mode.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "wire/adapter.h"

static const struct adapter_metric metrics[] = {
    {.name = "llamacpp:requests_processing", .field = ADAPTER_RUNNING},
    {.name = "llamacpp:requests_deferred", .field = ADAPTER_WAITING},
    {.name = NULL},
};

static bool
detect(unsigned status, struct span body)
{
    return adapter_json_has(status, body,
                            (const char *const[]){"default_generation_settings", NULL});
}

static enum err
parse_metrics(struct span body, struct adapter_load *ret_load)
{
    return adapter_parse_metrics(metrics, body, ret_load);
}

/* A number that a count can be, else NAN. */
static float
count_of(const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= 1e9))
        return NAN;
    return (float)item->valuedouble;
}

/* /slots: [{"is_processing":true,"n_prompt_tokens":812,...}]. n_prompt_tokens grows with what is
 * generated: it is the whole sequence. Waiting requests are not told. */
static enum err
parse_slot_list(struct span body, struct adapter_load *ret_load)
{
    enum err err = ERR_PARSE;
    cJSON *root = adapter_json(body);
    const cJSON *slot;
    float running = 0.0f, tokens = 0.0f, slots = 0.0f;

    if (!cJSON_IsArray(root))
        goto out;
    cJSON_ArrayForEach(slot, root)
    {
        const cJSON *busy = cJSON_GetObjectItemCaseSensitive(slot, "is_processing");

        if (!cJSON_IsBool(busy))
            goto out;
        slots += 1.0f;
        if (!cJSON_IsTrue(busy))
            continue;
        running += 1.0f;
        tokens += count_of(cJSON_GetObjectItemCaseSensitive(slot, "n_prompt_tokens"));
    }
    adapter_load_init(ret_load);
    ret_load->running = running;
    ret_load->slots = slots;
    ret_load->kv_tokens_used = tokens;
    err = ERR_OK;
out:
    cJSON_Delete(root);
    return err;
}

/* /props: {"total_slots":4,"is_sleeping":false,...}; a router has no slots of its own, and says
 * "role":"router": each of its models has a server with slots. */
static enum err
parse_props(struct span body, struct adapter_load *ret_load)
{
    enum err err = ERR_PARSE;
    cJSON *root = adapter_json(body);
    const cJSON *role;

    if (!cJSON_IsObject(root))
        goto out;
    adapter_load_init(ret_load);
    ret_load->slots = count_of(cJSON_GetObjectItemCaseSensitive(root, "total_slots"));
    ret_load->sleeping = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "is_sleeping"));
    role = cJSON_GetObjectItemCaseSensitive(root, "role");
    ret_load->is_router = cJSON_IsString(role) && strcmp(role->valuestring, "router") == 0;
    err = ERR_OK;
out:
    cJSON_Delete(root);
    return err;
}

const struct adapter engine_llama_server = {
    .kind = ENGINE_LLAMA_SERVER,
    .name = "llama-server",
    .title = "llama.cpp server",
    .has_adapter = true,
    .detect_path = "/props",
    .detect = detect,
    .models_path = "/v1/models",
    .parse_models = adapter_parse_openai_models,
    .load_path = "/metrics",
    .parse_load = parse_metrics,
    .fallback_load_path = "/slots",
    .parse_fallback_load = parse_slot_list,
    .slots_path = "/props",
    .parse_slots = parse_props,
    .closes_after_sse = true,
    .wakes_on_request = true,
    .ignores_model = true,
    .headers_with_first_token = true,
};

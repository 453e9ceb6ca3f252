/* engine_sglang - the row of SGLang. Its load stands in /v1/loads (one entry a rank of data
 * parallelism; from 0.5.5 on), in older ones in /metrics, if they were started with
 * --enable-metrics. How many run at once, and room for tokens, older ones tell in /get_server_info.
 * That its memory was released (it sleeps) is told nowhere: who asked for it has to remember. */
#include <cjson/cJSON.h>
#include <math.h>

#include "wire/adapter.h"

static const struct adapter_metric loads[] = {
    {.name = "num_running_reqs", .field = ADAPTER_RUNNING},
    {.name = "num_waiting_reqs", .field = ADAPTER_WAITING},
    {.name = "num_waiting_uncached_tokens", .field = ADAPTER_PREFILL_TOKENS},
    {.name = "num_used_tokens", .field = ADAPTER_KV_USED},
    {.name = "max_total_num_tokens", .field = ADAPTER_KV_CAP},
    {.name = "token_usage", .field = ADAPTER_KV_FRACTION},
    {.name = "max_running_requests", .field = ADAPTER_SLOTS},
    {.name = NULL},
};

static const struct adapter_metric metrics[] = {
    {.name = "sglang:num_running_reqs", .field = ADAPTER_RUNNING},
    {.name = "sglang:num_queue_reqs", .field = ADAPTER_WAITING},
    {.name = "sglang:num_used_tokens", .field = ADAPTER_KV_USED},
    {.name = "sglang:max_total_num_tokens", .field = ADAPTER_KV_CAP},
    {.name = "sglang:token_usage", .field = ADAPTER_KV_FRACTION},
    {.name = NULL},
};

/* Within internal_states of /get_server_info, one entry a rank. */
static const struct adapter_metric states[] = {
    {.name = "effective_max_running_requests_per_dp", .field = ADAPTER_SLOTS},
    {.name = NULL},
};
/* Beside it, for all of them; null while it is not configured. */
static const struct adapter_metric limits[] = {
    {.name = "max_running_requests", .field = ADAPTER_SLOTS},
    {.name = NULL},
};

static bool
detect(unsigned status, struct span body)
{
    return adapter_json_has(status, body,
                            (const char *const[]){"model_path", "tokenizer_path", NULL});
}

/* {"timestamp":...,"loads":[{"dp_rank":0,"num_running_reqs":3,...}]} */
static enum err
parse_loads(struct span body, struct adapter_load *ret_load)
{
    cJSON *root = adapter_json(body);
    enum err err = adapter_parse_fields(loads, cJSON_GetObjectItemCaseSensitive(root, "loads"),
                                        ret_load);

    cJSON_Delete(root);
    return err;
}

static enum err
parse_metrics(struct span body, struct adapter_load *ret_load)
{
    return adapter_parse_metrics(metrics, body, ret_load);
}

static enum err
parse_info(struct span body, struct adapter_load *ret_load)
{
    cJSON *root = adapter_json(body), *all;
    enum err err = adapter_parse_fields(
        states, cJSON_GetObjectItemCaseSensitive(root, "internal_states"), ret_load);

    if (err != ERR_OK && (all = cJSON_CreateArray()) != NULL) {
        if (cJSON_AddItemReferenceToArray(all, root))
            err = adapter_parse_fields(limits, all, ret_load);
        cJSON_Delete(all);
    }
    cJSON_Delete(root);
    return err;
}

const struct adapter engine_sglang = {
    .kind = ENGINE_SGLANG,
    .name = "sglang",
    .title = "SGLang",
    .hides_sleep = true,
    .has_adapter = true,
    .detect_path = "/get_server_info",
    .detect = detect,
    .models_path = "/v1/models",
    .parse_models = adapter_parse_openai_models,
    .load_path = "/v1/loads",
    .parse_load = parse_loads,
    .fallback_load_path = "/metrics",
    .parse_fallback_load = parse_metrics,
    .slots_path = "/get_server_info",
    .parse_slots = parse_info,
};

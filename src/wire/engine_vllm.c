/* engine_vllm - the row of vLLM. Told by its own metric names: its /version answers as others do,
 * and a vLLM without metrics has nothing this row could use. Both spellings of the KV gauge are
 * taken (it was gpu_cache_usage_perc before 0.10); with data parallelism there is one sample per
 * rank. */
#include "wire/adapter.h"

static const struct adapter_metric metrics[] = {
    {.name = "vllm:num_requests_running", .field = ADAPTER_RUNNING},
    {.name = "vllm:num_requests_waiting", .field = ADAPTER_WAITING},
    {.name = "vllm:kv_cache_usage_perc", .field = ADAPTER_KV_FRACTION},
    {.name = "vllm:gpu_cache_usage_perc", .field = ADAPTER_KV_FRACTION},
    {.name = "vllm:cache_config_info",
     .field = ADAPTER_KV_BLOCK_TOKENS,
     .value_label = "block_size"},
    {.name = "vllm:cache_config_info", .field = ADAPTER_KV_BLOCKS, .value_label = "num_gpu_blocks"},
    {.name = "vllm:engine_sleep_state",
     .field = ADAPTER_AWAKE,
     .only_label = "sleep_state",
     .only_value = "awake"},
    {.name = NULL},
};

/* Does any sample carry vLLM's prefix? */
static bool
detect(unsigned status, struct span body)
{
    const struct span prefix = SPAN_LIT("vllm:");

    if (status != 200)
        return false;
    while (body.bytes > 0) {
        if (span_starts(body, prefix))
            return true;
        body = span_from(body, span_find(body, '\n') + 1);
    }
    return false;
}

static enum err
parse_load(struct span body, struct adapter_load *ret_load)
{
    return adapter_parse_metrics(metrics, body, ret_load);
}

const struct adapter engine_vllm = {
    .kind = ENGINE_VLLM,
    .name = "vllm",
    .title = "vLLM",
    .has_adapter = true,
    .detect_path = "/metrics",
    .detect = detect,
    .models_path = "/v1/models",
    .parse_models = adapter_parse_openai_models,
    .load_path = "/metrics",
    .parse_load = parse_load,
    .in_band_load = true,
};

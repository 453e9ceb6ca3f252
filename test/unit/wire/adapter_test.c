/* adapter_test - each engine told from its own answer and from nobody else's; its reports read. The
 * documents are shortened from what the engines send. */
#include "wire/adapter.h"

#include <math.h>

#include "tap.h"

#define VLLM_METRICS                                                                               \
    "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"            \
    "# TYPE vllm:num_requests_running gauge\n"                                                     \
    "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"                               \
    "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 2.0\n"                               \
    "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 7.0\n"                               \
    "vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 7.0\n"                  \
    "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.5\n"                                \
    "vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.25\n"                               \
    "vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"1000\"} 1.0\n"         \
    "vllm:cache_config_info{block_size=\"16\",engine=\"1\",num_gpu_blocks=\"1000\"} 1.0\n"         \
    "vllm:engine_sleep_state{engine=\"0\",sleep_state=\"awake\"} 1.0\n"                            \
    "vllm:engine_sleep_state{engine=\"0\",sleep_state=\"discard_all\"} 0.0\n"
#define LLAMA_PROPS "{\"default_generation_settings\":{\"n_ctx\":4096},\"total_slots\":4}"
#define LLAMA_ROUTER_MODELS                                                                        \
    "{\"data\":[{\"id\":\"a\",\"status\":{\"value\":\"loaded\",\"args\":[\"llama-server\",\"-"     \
    "np\","                                                                                        \
    "\"4\",\"--jinja\"]}},{\"id\":\"b\",\"status\":{\"value\":\"unloaded\",\"slots\":2}},{\"id\":" \
    "\"c\","                                                                                       \
    "\"status\":{\"value\":\"loaded\",\"args\":[\"--parallel\",\"-1\",7]}},{\"id\":\"d\"}]}"
#define LLAMA_ROUTER  "{\"role\":\"router\",\"default_generation_settings\":{\"n_ctx\":0}}"
#define OPENAI_MODELS "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}"
#define TRT_MODELS    "{\"data\":[{\"id\":\"m\",\"owned_by\":\"tensorrt_llm\"}]}"

/* One row: an engine's answers, path by path; detection must end at the kind. */
static const struct {
    enum engine_kind kind;
    const char *path, *body; /* what it answers there */
    const char *path2, *body2;
} engines[] = {
    {ENGINE_VLLM, "/metrics", VLLM_METRICS, "/v1/models", OPENAI_MODELS},
    {ENGINE_LLAMA_SERVER, "/props", LLAMA_PROPS, "/v1/models", OPENAI_MODELS},
    {ENGINE_LLAMA_SERVER, "/props", LLAMA_ROUTER, "/metrics", "{\"error\":{\"code\":400}}"},
    {ENGINE_SGLANG, "/get_server_info", "{\"model_path\":\"m\",\"tokenizer_path\":\"m\"}",
     "/api/ps", "{\"models\":[]}"},
    {ENGINE_OLLAMA, "/api/ps", "{\"models\":[]}", "/v1/models", OPENAI_MODELS},
    {ENGINE_TGI, "/info", "{\"model_id\":\"m\",\"max_total_tokens\":4096}", "/metrics",
     "tgi_queue_size 0\n"},
    {ENGINE_TRITON, "/v2", "{\"name\":\"triton\",\"version\":\"2.5\"}", "/v1/models",
     OPENAI_MODELS},
    {ENGINE_TENSORRT_LLM, "/v1/models", TRT_MODELS, "/metrics", "[]"},
    {ENGINE_OPENAI, "/v1/models", OPENAI_MODELS, "/metrics", "litellm_requests 1\n"},
    {ENGINE_UNKNOWN, "/", "{}", "/metrics", "node_load1 0.1\n"},
    {ENGINE_UNKNOWN, "/props", "<html>", "/v1/models", "[]"},
};

/* What a client of the adapters does: ask each row in order; what is not served is 404. */
static enum engine_kind
detect(size_t engine)
{
    const struct adapter *a;

    for (size_t i = 0; (a = adapter_at(i)) != NULL; i++) {
        struct span body = SPAN_LIT("{\"detail\":\"Not Found\"}");
        unsigned status = 404;

        if (strcmp(a->detect_path, engines[engine].path) == 0) {
            body = span_of(engines[engine].body);
            status = 200;
        } else if (strcmp(a->detect_path, engines[engine].path2) == 0) {
            body = span_of(engines[engine].body2);
            status = 200;
        }
        if (a->detect(status, body))
            return a->kind;
    }
    return ENGINE_UNKNOWN;
}

static void
check_detection(void)
{
    size_t count = 0;

    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        CHECK(detect(i) == engines[i].kind, engines[i].path);
    while (adapter_at(count) != NULL)
        count++;
    CHECK(count == ENGINE_KIND_COUNT - 1, "a row for every kind");
    for (size_t i = 0; i < count; i++) {
        const struct adapter *a = adapter_at(i);

        CHECK(adapter_of(a->kind) == a, a->name);
        CHECK(adapter_by_name(span_of(a->name)) == a, a->name);
        CHECK(a->models_path != NULL && a->parse_models != NULL, a->name);
        CHECK(!a->detect(500, span_of(engines[0].body)), "an error is no detection");
    }
    CHECK(adapter_of(ENGINE_UNKNOWN) == NULL, "no row for unknown");
    CHECK(adapter_by_name(SPAN_LIT("vLLM")) == NULL, "names are lower case");
}

static void
check_vllm(void)
{
    const struct adapter *a = adapter_of(ENGINE_VLLM);
    struct adapter_load load;

    CHECK(a->parse_load(SPAN_LIT(VLLM_METRICS), &load) == ERR_OK, "vLLM's metrics");
    CHECK(load.running == 5.0f && load.waiting == 7.0f, "requests are added over ranks");
    CHECK(load.kv_tokens_cap == 32000.0f, "blocks are added, their size is not");
    CHECK(load.kv_tokens_used == 12000.0f && load.kv_used_fraction == 0.375f, "fractions averaged");
    CHECK(isnan(load.slots) && isnan(load.prefill_tokens_in_flight), "the rest is unknown");
    CHECK(!load.sleeping, "awake");
    CHECK(a->parse_load(SPAN_LIT("vllm:gpu_cache_usage_perc 0.5\n"
                                 "vllm:engine_sleep_state{sleep_state=\"awake\"} 0.0\n"),
                        &load) == ERR_OK,
          "an old name");
    CHECK(load.kv_used_fraction == 0.5f && isnan(load.kv_tokens_used), "no cap, no tokens");
    CHECK(isnan(load.running) && load.sleeping, "running is not told; it sleeps");
    CHECK(a->parse_load(SPAN_LIT("vllm:num_requests_running NaN\nvllm:num_requests_waiting -3\n"
                                 "vllm:kv_cache_usage_perc 40\nno metric at all\n"),
                        &load) == ERR_OK,
          "odd values");
    CHECK(isnan(load.running) && isnan(load.waiting) && load.kv_used_fraction == 1.0f,
          "odd values are not said, a fraction is at most 1");
    CHECK(a->parse_load(
              SPAN_LIT("vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1"),
              &load) == ERR_OK &&
              isnan(load.kv_tokens_cap),
          "a block count that is not known yet");
    load.running = 42.0f;
    CHECK(a->parse_load(SPAN_LIT("<html></html>"), &load) == ERR_PARSE, "not a report");
    CHECK(load.running == 42.0f, "an error leaves the result alone");
}

static void
check_llama_server(void)
{
    const struct adapter *a = adapter_of(ENGINE_LLAMA_SERVER);
    static struct adapter_models models;
    struct adapter_load load;

    CHECK(a->parse_load(SPAN_LIT("llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n"),
                        &load) == ERR_OK,
          "llama-server's metrics");
    CHECK(load.running == 2.0f && load.waiting == 1.0f && isnan(load.kv_tokens_used), "as told");
    CHECK(a->parse_load(SPAN_LIT("{\"error\":{\"code\":501}}"), &load) == ERR_PARSE, "no metrics");
    CHECK(a->parse_fallback_load(
              SPAN_LIT("[{\"id\":0,\"is_processing\":true,\"n_prompt_tokens\":812},"
                       "{\"id\":1,\"is_processing\":false},"
                       "{\"id\":2,\"is_processing\":true,\"n_prompt_tokens\":8}]"),
              &load) == ERR_OK,
          "its slots");
    CHECK(load.running == 2.0f && load.slots == 3.0f && load.kv_tokens_used == 820.0f, "counted");
    CHECK(isnan(load.waiting), "slots do not tell who waits");
    CHECK(a->parse_fallback_load(SPAN_LIT("[{\"is_processing\":true}]"), &load) == ERR_OK &&
              load.running == 1.0f && isnan(load.kv_tokens_used),
          "an old slot without tokens");
    CHECK(a->parse_fallback_load(SPAN_LIT("[1]"), &load) == ERR_PARSE, "no slots");
    CHECK(a->parse_fallback_load(SPAN_LIT("{}"), &load) == ERR_PARSE, "no list");
    CHECK(a->parse_slots(SPAN_LIT(LLAMA_PROPS), &load) == ERR_OK && load.slots == 4.0f &&
              !load.sleeping,
          "props");
    CHECK(a->parse_slots(SPAN_LIT("{\"total_slots\":1,\"is_sleeping\":true}"), &load) == ERR_OK &&
              load.sleeping,
          "asleep");
    CHECK(a->parse_slots(SPAN_LIT(LLAMA_ROUTER), &load) == ERR_OK && isnan(load.slots),
          "a router has no slots");
    CHECK(load.is_router, "it is one: each of its models has");
    CHECK(a->parse_models(SPAN_LIT(LLAMA_ROUTER_MODELS), &models) == ERR_OK && models.count == 4 &&
              models.list[0].slots == 4 && models.list[1].slots == 2,
          "as many as it gives their servers");
    CHECK(models.list[2].slots == 0 && models.list[3].slots == 0, "-1, or nothing: not known");
    CHECK(a->parse_slots(SPAN_LIT("{\"total_slots\":-4}"), &load) == ERR_OK && isnan(load.slots),
          "a count below zero");
    CHECK(a->parse_slots(SPAN_LIT("[]"), &load) == ERR_PARSE, "no props");
}

static const struct {
    const char *status; /* what stands behind the id */
    enum model_state state;
} states[] = {
    {"", MODEL_READY},
    {",\"status\":{\"value\":\"loaded\"}", MODEL_READY},
    {",\"status\":{\"value\":\"loading\"}", MODEL_LOADING},
    {",\"status\":{\"value\":\"unloaded\"}", MODEL_ON_DISK},
    {",\"status\":{\"value\":\"downloading\"}", MODEL_DOWNLOADING},
    {",\"status\":{\"value\":\"sleeping\"}", MODEL_SLEEPING},
    {",\"status\":{\"value\":\"failed\"}", MODEL_FAILED},
    {",\"status\":{\"value\":\"unloaded\",\"failed\":true,\"exit_code\":1}", MODEL_FAILED},
    {",\"status\":{\"value\":\"pondering\"}", MODEL_ON_DISK},
    {",\"status\":null", MODEL_READY},
};

static const char *
state_in(const struct adapter_models *models, const char *name)
{
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->list[i].name, name) == 0)
            return models->list[i].state == MODEL_READY ? "ready" : "on disk";
    }
    return "absent";
}

static void
check_ollama(void)
{
    const struct adapter *a = adapter_of(ENGINE_OLLAMA);
    static struct adapter_models models;

    CHECK(a->parse_models(
              SPAN_LIT("{\"models\":[{\"name\":\"qwen3:8b\",\"model\":\"qwen3:8b\",\"modified_at\":"
                       "\"2026-05-04T17:37:44.706015396-07:00\",\"size\":5225388164,\"digest\":"
                       "\"500a1f067a9f\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\","
                       "\"family\":\"qwen3\",\"parameter_size\":\"8.2B\","
                       "\"quantization_level\":\"Q4_K_M\"}},{\"name\":\"llama3.2:latest\"},{},7]}"),
              &models) == ERR_OK,
          "Ollama's models");
    CHECK(models.count == 2 && strcmp(state_in(&models, "qwen3:8b"), "on disk") == 0 &&
              strcmp(state_in(&models, "llama3.2:latest"), "on disk") == 0,
          "are on disk; an old version has the name only");
    CHECK(a->parse_states(
              SPAN_LIT("{\"models\":[{\"name\":\"qwen3:8b\",\"model\":\"qwen3:8b\",\"size\":"
                       "6654289920,\"expires_at\":\"2318-01-01T00:00:00Z\",\"size_vram\":"
                       "6654289920,\"context_length\":4096},{\"model\":\"gone:1b\"}]}"),
              &models) == ERR_OK,
          "what is in memory");
    CHECK(models.count == 3 && strcmp(state_in(&models, "qwen3:8b"), "ready") == 0 &&
              strcmp(state_in(&models, "llama3.2:latest"), "on disk") == 0 &&
              strcmp(state_in(&models, "gone:1b"), "ready") == 0,
          "is ready, also what is on disk no more");
    CHECK(models.list[0].bytes == 5225388164 && models.list[1].bytes == 0,
          "as large as on disk, not with its KV cache");
    CHECK(adapter_parse_openai_models(
              SPAN_LIT("{\"data\":[{\"id\":\"a\",\"meta\":{\"size\":4920734720}},{\"id\":\"b\","
                       "\"meta\":{\"size\":-1}},{\"id\":\"c\",\"meta\":{\"size\":1e300}}]}"),
              &models) == ERR_OK &&
              models.count == 3 && models.list[0].bytes == 4920734720 &&
              models.list[1].bytes == 0 && models.list[2].bytes == 0,
          "llama.cpp's tell their size in bytes, and what cannot be is not told");
    CHECK(a->parse_states(SPAN_LIT("{\"models\":null}"), &models) == ERR_PARSE, "no list");
}

static void
check_sglang(void)
{
    const struct adapter *a = adapter_of(ENGINE_SGLANG);
    struct adapter_load load;

    CHECK(a->parse_load(
              SPAN_LIT("{\"timestamp\":\"2026-08-06T09:15:23.481920+00:00\",\"version\":\"0.5.9\","
                       "\"loads\":[{\"dp_rank\":0,\"num_running_reqs\":3,\"num_waiting_reqs\":1,"
                       "\"num_waiting_uncached_tokens\":812,\"num_used_tokens\":4096,"
                       "\"num_total_tokens\":5000,\"max_total_num_tokens\":160000,"
                       "\"max_running_requests\":256,\"token_usage\":0.0256,\"gen_throughput\":"
                       "310.2},{\"dp_rank\":1,\"num_running_reqs\":1,\"num_waiting_reqs\":0,"
                       "\"num_used_tokens\":1000,\"max_total_num_tokens\":160000,"
                       "\"max_running_requests\":256,\"token_usage\":0.01}]}"),
              &load) == ERR_OK,
          "SGLang's loads");
    CHECK(load.running == 4.0f && load.waiting == 1.0f && load.slots == 512.0f &&
              load.kv_tokens_used == 5096.0f && load.kv_tokens_cap == 320000.0f &&
              load.prefill_tokens_in_flight == 812.0f,
          "are added over ranks");
    CHECK(a->parse_load(SPAN_LIT("{\"loads\":[]}"), &load) == ERR_PARSE &&
              a->parse_load(SPAN_LIT("{\"loads\":{\"num_running_reqs\":\"3\"}}"), &load) ==
                  ERR_PARSE,
          "nothing in it");
    CHECK(a->parse_fallback_load(SPAN_LIT("sglang:num_running_reqs{model_name=\"m\"} 2.0\n"
                                          "sglang:num_queue_reqs{model_name=\"m\"} 1.0\n"
                                          "sglang:token_usage{model_name=\"m\"} 0.5\n"),
                                 &load) == ERR_OK &&
              load.running == 2.0f && load.waiting == 1.0f && load.kv_used_fraction == 0.5f,
          "an older one's metrics");
    CHECK(a->parse_slots(SPAN_LIT("{\"model_path\":\"m\",\"max_running_requests\":512,"
                                  "\"internal_states\":[{\"effective_max_running_requests_per_dp\""
                                  ":128},{\"effective_max_running_requests_per_dp\":128}]}"),
                         &load) == ERR_OK &&
              load.slots == 256.0f,
          "how many run at once");
    CHECK(a->parse_slots(SPAN_LIT("{\"max_running_requests\":48}"), &load) == ERR_OK &&
              load.slots == 48.0f,
          "as it was configured");
    CHECK(a->parse_slots(SPAN_LIT("{\"max_running_requests\":null}"), &load) == ERR_PARSE,
          "or not told");
}

static void
check_models(void)
{
    static char many[8192], name[ADAPTER_MODEL_BYTES_MAX + 1];
    struct adapter_models models;
    char body[2 * ADAPTER_MODEL_BYTES_MAX];
    size_t bytes;

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        snprintf(body, sizeof(body), "{\"data\":[{\"id\":\"m\"%s}]}", states[i].status);
        CHECK(adapter_parse_openai_models(span_of(body), &models) == ERR_OK, body);
        CHECK(models.count == 1 && models.list[0].state == states[i].state, body);
    }
    CHECK(
        adapter_parse_openai_models(
            SPAN_LIT("{\"data\":[{\"id\":\"a\"},{\"id\":\"a\"},{\"id\":7},3,{\"id\":\"b/c:d\"}]}"),
            &models) == ERR_OK,
        "odd entries");
    CHECK(models.count == 2 && strcmp(models.list[1].name, "b/c:d") == 0 && !models.cut,
          "left out");
    bytes = (size_t)snprintf(many, sizeof(many), "{\"data\":[{\"id\":\"0\"}");
    for (unsigned i = 1; i <= ADAPTER_MODELS_MAX; i++)
        bytes += (size_t)snprintf(many + bytes, sizeof(many) - bytes, ",{\"id\":\"%u\"}", i);
    snprintf(many + bytes, sizeof(many) - bytes, "]}");
    CHECK(adapter_parse_openai_models(span_of(many), &models) == ERR_OK, "one too many");
    CHECK(models.count == ADAPTER_MODELS_MAX && models.cut, "is told");
    memset(name, 'x', ADAPTER_MODEL_BYTES_MAX);
    snprintf(body, sizeof(body), "{\"data\":[{\"id\":\"%s\"}]}", name);
    CHECK(adapter_parse_openai_models(span_of(body), &models) == ERR_OK && models.count == 0 &&
              models.cut,
          "a name too long");
    CHECK(adapter_parse_openai_models(SPAN_LIT("{\"data\":[{\"id\":\"a\\nb\"}]}"), &models) ==
                  ERR_OK &&
              models.count == 0,
          "a control character in a name");
    CHECK(adapter_parse_openai_models(SPAN_LIT("{\"data\":{}}"), &models) == ERR_PARSE, "no list");
    CHECK(adapter_parse_openai_models(SPAN_LIT("{\"data\":[{\"id\""), &models) == ERR_PARSE,
          "cut off");
    CHECK(adapter_parse_openai_models(SPAN_LIT(""), &models) == ERR_PARSE, "nothing");
}

static const struct {
    const char *header;
    enum err err;
    float waiting, fraction; /* below 0: unknown */
} orca[] = {
    {"TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0", ERR_OK,
     2.0f, 0.4f},
    {"text named_metrics.kv_cache_utilization=0.25", ERR_OK, -1.0f, 0.25f},
    {"JSON {\"named_metrics\": {\"kv_cache_usage_perc\": 0.5, \"num_requests_waiting\": 0.0}}",
     ERR_OK, 0.0f, 0.5f},
    {"TEXT cpu_utilization=0.3, named_metrics.num_requests_waiting=1", ERR_OK, 1.0f, -1.0f},
    {"TEXT cpu_utilization=0.3", ERR_PARSE, 0.0f, 0.0f},
    {"TEXT", ERR_PARSE, 0.0f, 0.0f},
    {"JSON {\"named_metrics\": 1}", ERR_PARSE, 0.0f, 0.0f},
    {"JSON {", ERR_PARSE, 0.0f, 0.0f},
    {"BIN AAAA", ERR_PARSE, 0.0f, 0.0f},
    {"", ERR_PARSE, 0.0f, 0.0f},
};

int
main(void)
{
    check_detection();
    check_vllm();
    check_llama_server();
    check_models();
    check_ollama();
    check_sglang();
    for (size_t i = 0; i < sizeof(orca) / sizeof(orca[0]); i++) {
        struct adapter_load load;

        CHECK(adapter_parse_orca(span_of(orca[i].header), &load) == orca[i].err, orca[i].header);
        if (orca[i].err != ERR_OK)
            continue;
        CHECK(orca[i].waiting < 0.0f ? isnan(load.waiting) : load.waiting == orca[i].waiting,
              orca[i].header);
        CHECK(orca[i].fraction < 0.0f ? isnan(load.kv_used_fraction)
                                      : load.kv_used_fraction == orca[i].fraction,
              orca[i].header);
    }
    return tap_done();
}

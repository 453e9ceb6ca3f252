/* engine_ollama - the row of Ollama: which models are there stands in /api/tags, which of them are
 * in memory in /api/ps; its OpenAI list does not tell them apart. A model that is asked for is
 * loaded then, and others give way to it. There is no report of its load.
 *
 * Names have a tag ("qwen3:8b", "llama3.2:latest"); requests may leave ":latest" out, these lists
 * do not. */
#include <cjson/cJSON.h>

#include "wire/adapter.h"

static bool
detect(unsigned status, struct span body)
{
    return adapter_json_has(status, body, (const char *const[]){"models", NULL});
}

/* The name of an entry of either list; "" none. Old versions have only `name`. */
static struct span
name_of(const cJSON *item)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "model");

    if (!cJSON_IsString(name))
        name = cJSON_GetObjectItemCaseSensitive(item, "name");
    return cJSON_IsString(name) ? span_of(name->valuestring) : (struct span){NULL, 0};
}

/* {"models":[{"name":"qwen3:8b","model":"qwen3:8b","size":...}]}: all of these are in that state.
 */
static enum err
parse_list(struct span body, enum model_state state, struct adapter_models *models)
{
    enum err err = ERR_PARSE;
    cJSON *root = adapter_json(body);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "models"), *item;

    if (!cJSON_IsArray(list))
        goto out;
    cJSON_ArrayForEach(item, list)
    {
        struct span name = name_of(item);

        adapter_models_add(models, name, state);
        if (state == MODEL_ON_DISK) /* in memory it is told with its KV cache */
            adapter_models_size(models, name, cJSON_GetObjectItemCaseSensitive(item, "size"));
        for (size_t i = 0; i < models->count; i++) {
            if (span_eq_text(name, models->list[i].name))
                models->list[i].state = state;
        }
    }
    err = ERR_OK;
out:
    cJSON_Delete(root);
    return err;
}

static enum err
parse_tags(struct span body, struct adapter_models *ret_models)
{
    ret_models->count = 0;
    ret_models->cut = false;
    return parse_list(body, MODEL_ON_DISK, ret_models);
}

/* One that /api/tags did not name was removed while it runs; it answers until it is unloaded. */
static enum err
parse_ps(struct span body, struct adapter_models *models)
{
    return parse_list(body, MODEL_READY, models);
}

const struct adapter engine_ollama = {
    .kind = ENGINE_OLLAMA,
    .name = "ollama",
    .title = "Ollama",
    .has_adapter = true,
    .detect_path = "/api/ps",
    .detect = detect,
    .models_path = "/api/tags",
    .parse_models = parse_tags,
    .states_path = "/api/ps",
    .parse_states = parse_ps,
    .slots_of_each = 1, /* OLLAMA_NUM_PARALLEL where it is not set, since 0.10; 4 or 1 before */
};

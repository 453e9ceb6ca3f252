/* engine_openai - the row of any server that has OpenAI's list of models and nothing else we know:
 * no load report, only what is learned from its answers. Asked last. */
#include "wire/adapter.h"

static bool
detect(unsigned status, struct span body)
{
    return adapter_json_has(status, body, (const char *const[]){"data", NULL});
}

const struct adapter engine_openai = {
    .kind = ENGINE_OPENAI,
    .name = "openai",
    .title = "OpenAI-compatible server",
    .has_adapter = true,
    .detect_path = "/v1/models",
    .detect = detect,
    .models_path = "/v1/models",
    .parse_models = adapter_parse_openai_models,
};

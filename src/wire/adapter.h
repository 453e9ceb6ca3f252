#ifndef WIRE_ADAPTER_H
#define WIRE_ADAPTER_H
/* adapter - what is known of each kind of model server: how to tell it, where its load and its models
 * stand, and what its traps are. One adapter is one row of names (engine_<kind>.c) and at most a few
 * functions; the next engine fills in another row. Parsing only: role/gateway/poll asks. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "core/event.h"

enum engine_kind {
    ENGINE_UNKNOWN = 0,
    ENGINE_VLLM,
    ENGINE_LLAMA_SERVER,
    ENGINE_OPENAI, /* answers /v1/models and nothing else we know: no load report */
    /* named by detection, used as ENGINE_OPENAI until they have an adapter of their own */
    ENGINE_SGLANG,
    ENGINE_OLLAMA,
    ENGINE_TGI,
    ENGINE_TENSORRT_LLM,
    ENGINE_TRITON,
    ENGINE_KIND_COUNT
};

#define ADAPTER_MODELS_MAX 32u
#define ADAPTER_MODEL_BYTES_MAX 256u
#define ADAPTER_DOCUMENT_BYTES_MAX 1048576u /* of /metrics, /v1/models ... */

struct adapter_model {
    char name[ADAPTER_MODEL_BYTES_MAX];
    enum model_state state;
};

struct adapter_models {
    struct adapter_model list[ADAPTER_MODELS_MAX];
    size_t count;
    bool cut; /* there were more */
};

/* What a report can say; NAN where the engine does not. */
struct adapter_load {
    float running, waiting, prefill_tokens_in_flight;
    float kv_tokens_used, kv_tokens_cap, slots;
    bool sleeping;
};

struct adapter {
    enum engine_kind kind;
    const char *name;        /* "vllm" */
    const char *title;       /* "vLLM" */
    bool has_adapter;        /* false: only told apart, used as ENGINE_OPENAI */
    const char *detect_path; /* asked to tell the kind */
    /* Is this the answer of such an engine? */
    bool (*detect)(unsigned status, struct span body);
    const char *models_path; /* "/v1/models", or a richer one */
    enum err (*parse_models)(struct span body, struct adapter_models *ret_models);
    const char *load_path;   /* NULL: no report */
    enum err (*parse_load)(struct span body, struct adapter_load *ret_load);
    const char *slots_path;  /* asked once: how many run at once; NULL none */
    enum err (*parse_slots)(struct span body, struct adapter_load *ret_load);
    bool in_band_load;       /* answers endpoint-load-metrics-format (ORCA) */
    bool closes_after_sse;   /* the connection is not kept though keep-alive was announced */
    bool ignores_model;      /* serves any model name: compare with its list first */
    bool headers_with_first_token; /* a queued request shows no byte at all */
};

/* Every kind, in the order in which detection asks. NULL past the end. */
const struct adapter *adapter_at(size_t index);
const struct adapter *adapter_of(enum engine_kind kind);

/* OpenAI's list of models: {"data":[{"id":...}]}; every model ready unless the entry has a status. */
MUST_USE enum err adapter_parse_openai_models(struct span body, struct adapter_models *ret_models);
/* The endpoint-load-metrics header (ORCA), TEXT or JSON. ERR_PARSE: neither. */
MUST_USE enum err adapter_parse_orca(struct span header, struct adapter_load *ret_load);
#endif

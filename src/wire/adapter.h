#ifndef WIRE_ADAPTER_H
#define WIRE_ADAPTER_H
/* adapter - what is known of each kind of model server: how to tell it, where its load and its
 * models stand, and what its traps are. One adapter is one row of names (engine_<kind>.c) and at
 * most a few functions; the next engine fills in another row. Parsing only: role/gateway/poll asks.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "core/event.h"

struct cJSON;

enum engine_kind {
    ENGINE_UNKNOWN = 0,
    ENGINE_VLLM,
    ENGINE_LLAMA_SERVER,
    ENGINE_OPENAI, /* answers /v1/models and nothing else we know: no load report */
    ENGINE_SGLANG,
    ENGINE_OLLAMA,
    /* named by detection, used as ENGINE_OPENAI until they have an adapter of their own */
    ENGINE_TGI,
    ENGINE_TENSORRT_LLM,
    ENGINE_TRITON,
    ENGINE_KIND_COUNT
};

#define ADAPTER_MODELS_MAX         32u
#define ADAPTER_MODEL_BYTES_MAX    256u
#define ADAPTER_DOCUMENT_BYTES_MAX 1048576u /* of /metrics, /v1/models ... */

struct adapter_model {
    char name[ADAPTER_MODEL_BYTES_MAX];
    enum model_state state;
    uint64_t bytes; /* of its weights; 0: not told */
    uint32_t slots; /* requests of it at once, where each model has slots of its own; 0: not told */
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
    float kv_used_fraction; /* 0..1: all that ORCA says of KV; used = this * the cap known before */
    bool sleeping;
    bool is_router; /* what it has, each of its models has for itself */
};

/* Where one figure of a report goes. Several samples of one field (an engine of several ranks) are
 * added; fractions and block sizes are averaged. */
enum adapter_field {
    ADAPTER_RUNNING,         /* requests */
    ADAPTER_WAITING,         /* requests */
    ADAPTER_PREFILL_TOKENS,  /* tokens in flight */
    ADAPTER_KV_USED,         /* tokens */
    ADAPTER_KV_CAP,          /* tokens */
    ADAPTER_KV_FRACTION,     /* used of cap, 0..1 */
    ADAPTER_KV_BLOCK_TOKENS, /* cap = this times ADAPTER_KV_BLOCKS */
    ADAPTER_KV_BLOCKS,
    ADAPTER_SLOTS, /* requests at once */
    ADAPTER_AWAKE, /* 0: the engine sleeps */
    ADAPTER_FIELD_COUNT
};

/* A name that an engine uses. A table of these ends with name == NULL. */
struct adapter_metric {
    const char *name;
    enum adapter_field field;
    const char *value_label; /* the figure is this label's text; NULL: the sample's value */
    const char *only_label;  /* count only samples whose only_label is only_value; NULL: all */
    const char *only_value;
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
    /* Asked after models_path where the states of these models are told elsewhere; it changes the
     * list that parse_models made. NULL: models_path tells all. */
    const char *states_path;
    enum err (*parse_states)(struct span body, struct adapter_models *models);
    const char *load_path; /* NULL: no report */
    enum err (*parse_load)(struct span body, struct adapter_load *ret_load);
    /* Asked instead when load_path answers 404 or 501. It may wake a sleeping engine, so ask
     * slots_path first and leave a sleeping one alone. NULL none. */
    const char *fallback_load_path;
    enum err (*parse_fallback_load)(struct span body, struct adapter_load *ret_load);
    const char *slots_path; /* asked once: how many run at once; tells `sleeping` too. NULL none */
    enum err (*parse_slots)(struct span body, struct adapter_load *ret_load);
    bool in_band_load;      /* answers endpoint-load-metrics-format (ORCA) */
    bool closes_after_sse;  /* the connection is not kept though keep-alive was announced */
    bool wakes_on_request;  /* when it sleeps; else only when it is told to */
    bool hides_sleep;       /* nothing it says tells that it sleeps */
    uint32_t slots_of_each; /* it runs so many of each model at once if nobody told it otherwise,
                               and says nothing of it: those that are configured are meant so.
                               0: not so */
    bool ignores_model;     /* serves any model name: compare with its list first */
    bool headers_with_first_token; /* a queued request shows no byte at all */
};

/* Every kind, in the order in which detection asks. NULL past the end. */
const struct adapter *adapter_at(size_t index);
const struct adapter *adapter_of(enum engine_kind kind); /* NULL: ENGINE_UNKNOWN */
const struct adapter *adapter_by_name(struct span name); /* "vllm"; NULL: none of that name */

/* OpenAI's list of models: {"data":[{"id":...}]}; every model ready unless the entry has a status,
 * as llama-server's router gives it. Names with control characters or too long are left out (cut).
 */
MUST_USE enum err adapter_parse_openai_models(struct span body, struct adapter_models *ret_models);
/* The endpoint-load-metrics header (ORCA), TEXT or JSON. ERR_PARSE: neither. */
MUST_USE enum err adapter_parse_orca(struct span header, struct adapter_load *ret_load);
/* A report of an engine that publishes plain Prometheus names: all the code such a row needs.
 * ERR_PARSE: none of the table's names is there; *ret_load is untouched. */
MUST_USE enum err adapter_parse_metrics(const struct adapter_metric *table, struct span body,
                                        struct adapter_load *ret_load);
/* The same where the names are keys of JSON objects: each of the array `list` is a sample of every
 * name that it has as a number. */
MUST_USE enum err adapter_parse_fields(const struct adapter_metric *table, const struct cJSON *list,
                                       struct adapter_load *ret_load);
/* One more model; one that is there already stays as it is. What is no good as a name, or one too
 * many, is left out (cut). */
void adapter_models_add(struct adapter_models *models, struct span name, enum model_state state);
/* How large it is: a number of bytes, of a model that was added. What is none is passed over. */
void adapter_models_size(struct adapter_models *models, struct span name, const struct cJSON *size);
/* Everything unknown. */
void adapter_load_init(struct adapter_load *ret_load);
/* The document parsed, for the rows: free it with cJSON_Delete. NULL: empty, longer than
 * ADAPTER_DOCUMENT_BYTES_MAX, or no JSON. */
struct cJSON *adapter_json(struct span body);
/* Is it status 200 with a JSON object that has all these keys? keys end with NULL. */
bool adapter_json_has(unsigned status, struct span body, const char *const keys[]);

/* The rows. */
extern const struct adapter engine_vllm, engine_llama_server, engine_openai;
extern const struct adapter engine_sglang, engine_ollama, engine_tgi, engine_tensorrt_llm,
    engine_triton;
#endif

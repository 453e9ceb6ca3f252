#ifndef ROLE_EMULATE_EMULATE_FLEET_H
#define ROLE_EMULATE_EMULATE_FLEET_H
/* emulate_fleet - which nodes there are: made from a seed, so that the same options name the same
 * fleet everywhere. Regions, GPU classes, engines, models, states, hidden speeds, load from
 * elsewhere. Three models; the small one is common, the large one rare, and most regions lack one.
 * Where options.models says so there are more: many people's own versions of the small one, on the
 * disks of routers and Ollamas, which have memory for a few. */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "engine/engine.h"
#include "role/emulate/emulate.h"
#include "wire/rtt.h"

#define EMULATE_FLEET_MODELS      3u  /* that there always are */
#define EMULATE_FLEET_MODELS_MAX  64u /* with those of options.models */
#define EMULATE_FLEET_MODELS_DISK 24u /* of options.models, that one node has */
#define EMULATE_OLLAMA_PARALLEL   4u  /* OLLAMA_NUM_PARALLEL: requests of each model at once */

struct emulate_fleet_model {
    const char *name;     /* what users say */
    const char *vllm_id;  /* what vLLM calls it */
    const char *llama_id; /* what llama-server calls it */
    const char *ollama_id;
    double params_b;
    double output_median; /* tokens of an answer that ends by itself; log-normal */
    double output_sigma;
};
extern const struct emulate_fleet_model emulate_fleet_models[EMULATE_FLEET_MODELS_MAX];

struct emulate_fleet_held { /* a model on a node */
    uint32_t model;
    enum engine_model_state state;
    double load_left_ms;
};

struct emulate_fleet_node {
    char name[96];
    uint32_t address; /* IPv4, host order */
    uint32_t region;  /* in the matrix */
    enum emulate_fleet_kind kind;
    const char *gpu, *operator_name;
    uint32_t site; /* 1.. within the region */
    struct emulate_fleet_held held[EMULATE_FLEET_MODELS_MAX];
    uint32_t held_count, models_max; /* models_max: in memory at once */
    double hidden_speed;
    double background;         /* share of its capacity that others use */
    uint32_t background_model; /* what they ask it for: what was loaded, or loading, at first */
    uint64_t seed;
};

struct emulate_fleet {
    struct arena arena;
    struct rtt_matrix rtt;
    struct emulate_fleet_node *nodes;
    uint32_t node_count;
};

/* Make it. ERR_ARG, ERR_IO: logged. emulate_fleet_fini also after a failure. */
MUST_USE enum err emulate_fleet_init(struct emulate_fleet *f,
                                     const struct emulate_options *options);
void emulate_fleet_fini(struct emulate_fleet *f);
const char *emulate_fleet_kind_name(
    enum emulate_fleet_kind kind); /* "vllm", "llama-server", "llama-server router" */
/* vLLM and SGLang: one model for good; it does not listen before it has loaded; the head of a
 * stream comes at once; the context is the model's. */
bool emulate_fleet_has_one(enum emulate_fleet_kind kind);
/* What the node calls the model. */
const char *emulate_fleet_model_id(const struct emulate_fleet_node *node, uint32_t model);
/* Parameters and speeds of its engine. */
MUST_USE enum err emulate_fleet_engine(const struct emulate_fleet_node *node,
                                       struct engine **ret_engine);
/* Mean requests a millisecond that make up its background load, of prompt and output tokens. */
double emulate_fleet_background_rate(const struct emulate_fleet_node *node, double prompt_tokens,
                                     double output_tokens);
#endif

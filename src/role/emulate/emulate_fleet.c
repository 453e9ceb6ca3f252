/* emulate_fleet - nodes out of a seed; see emulate_fleet.h.
 * The order in which the generator is asked is part of the result: add draws at the end. */
#include "role/emulate/emulate_fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmath.h"
#include "base/must.h"
#include "base/rng.h"
#include "engine/engine_table.h"
#include "io/log.h"

#define ARENA_BYTES_MAX    (64u << 20)
#define RTT_FILE_BYTES_MAX (16u << 20)
#define OPERATORS          6u
#define SITES              2u
#define LLAMA_CONTEXT      8192.0
#define LOADING_SHARE      0.06 /* of vLLM nodes: still loading when the world begins */
#define MODELS_SEED        UINT64_C(0x6d6f64656c73)
#define BACKGROUND_MAX     0.85 /* of an estimate: much more would never drain */
#define BACKGROUND_BATCH   32.0 /* requests that share a decode step under load */

/* Somebody's own version of the small one. */
#define OWN(n)                                                                                     \
    {                                                                                              \
        "own-" #n, "acme/own-" #n, "own-" #n "-q8", "own:" #n, 8.03, 180, 0.7                      \
    }

const struct emulate_fleet_model emulate_fleet_models[EMULATE_FLEET_MODELS_MAX] = {
    {"llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct", "llama3.1:8b",
     8.03, 180, 0.7},
    {"qwen3-32b", "Qwen/Qwen3-32B", "qwen3-32b", "qwen3:32b", 32.76, 240, 0.8},
    {"llama-3.1-70b", "meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b-instruct", "llama3.1:70b",
     70.55, 200, 0.7},
    OWN(03),
    OWN(04),
    OWN(05),
    OWN(06),
    OWN(07),
    OWN(08),
    OWN(09),
    OWN(10),
    OWN(11),
    OWN(12),
    OWN(13),
    OWN(14),
    OWN(15),
    OWN(16),
    OWN(17),
    OWN(18),
    OWN(19),
    OWN(20),
    OWN(21),
    OWN(22),
    OWN(23),
    OWN(24),
    OWN(25),
    OWN(26),
    OWN(27),
    OWN(28),
    OWN(29),
    OWN(30),
    OWN(31),
    OWN(32),
    OWN(33),
    OWN(34),
    OWN(35),
    OWN(36),
    OWN(37),
    OWN(38),
    OWN(39),
    OWN(40),
    OWN(41),
    OWN(42),
    OWN(43),
    OWN(44),
    OWN(45),
    OWN(46),
    OWN(47),
    OWN(48),
    OWN(49),
    OWN(50),
    OWN(51),
    OWN(52),
    OWN(53),
    OWN(54),
    OWN(55),
    OWN(56),
    OWN(57),
    OWN(58),
    OWN(59),
    OWN(60),
    OWN(61),
    OWN(62),
    OWN(63),
};

static const char *const operators[OPERATORS] = {"acme",  "bolt",  "cirrus",
                                                 "delta", "ember", "fjord"};

struct share { /* of the nodes, a GPU class */
    const char *gpu;
    double weight;
};
static const struct share gpus_8b[] = {
    {"4090", 0.25}, {"l40s", 0.25}, {"a100", 0.2}, {"h100", 0.2}, {"h200", 0.1}};
static const struct share gpus_32b[] = {{"h200", 0.4}, {"h100x2", 0.4}, {"a100x4", 0.2}};
static const struct share gpus_70b[] = {{"a100x4", 0.4}, {"h100x4", 0.3}, {"h200x2", 0.3}};
static const struct share gpus_llama[] = {{"4090", 0.5}, {"l40s", 0.5}};
static const struct share gpus_router[] = {{"h200", 0.35}, {"h100x2", 0.35}, {"a100x4", 0.3}};

#define PICK(rng, shares) pick_gpu(rng, shares, sizeof(shares) / sizeof((shares)[0]))

static const char *
pick_gpu(struct rng *rng, const struct share *shares, size_t count)
{
    double at = rng_unit(rng);
    size_t i = 0;

    while (i + 1 < count && at >= shares[i].weight)
        at -= shares[i++].weight;
    return shares[i].gpu;
}

const char *
emulate_fleet_kind_name(enum emulate_fleet_kind kind)
{
    switch (kind) {
    case EMULATE_FLEET_VLLM:
        return "vllm";
    case EMULATE_FLEET_LLAMA:
        return "llama-server";
    case EMULATE_FLEET_LLAMA_ROUTER:
        return "llama-server router";
    case EMULATE_FLEET_OLLAMA:
        return "ollama";
    case EMULATE_FLEET_SGLANG:
        return "sglang";
    case EMULATE_FLEET_KIND_COUNT:
        break;
    }
    return "unknown";
}

bool
emulate_fleet_has_one(enum emulate_fleet_kind kind)
{
    return kind == EMULATE_FLEET_VLLM || kind == EMULATE_FLEET_SGLANG;
}

enum err
emulate_engines_parse(const char *text, struct emulate_options *options)
{
    static const char *const words[EMULATE_FLEET_KIND_COUNT] = {
        [EMULATE_FLEET_VLLM] = "vllm",
        [EMULATE_FLEET_LLAMA] = "llama-server",
        [EMULATE_FLEET_LLAMA_ROUTER] = "llama-router",
        [EMULATE_FLEET_OLLAMA] = "ollama",
        [EMULATE_FLEET_SGLANG] = "sglang",
    };
    struct span rest = span_of(text);

    options->engine_count = 0;
    while (rest.bytes > 0) {
        size_t end = span_find(rest, ',');
        struct span word = {rest.data, end};
        uint32_t kind = 0;

        while (kind < EMULATE_FLEET_KIND_COUNT && !span_eq_text(word, words[kind]))
            kind++;
        if (kind == EMULATE_FLEET_KIND_COUNT)
            return ERR_PARSE;
        if (options->engine_count == EMULATE_ENGINES_MAX)
            return ERR_FULL;
        options->engines[options->engine_count++] = (enum emulate_fleet_kind)kind;
        rest = span_from(rest, end + 1);
    }
    return options->engine_count > 0 ? ERR_OK : ERR_PARSE;
}

const char *
emulate_fleet_model_id(const struct emulate_fleet_node *node, uint32_t model)
{
    must(model < EMULATE_FLEET_MODELS_MAX);
    if (node->kind == EMULATE_FLEET_OLLAMA)
        return emulate_fleet_models[model].ollama_id;
    return emulate_fleet_has_one(node->kind) ? emulate_fleet_models[model].vllm_id
                                             : emulate_fleet_models[model].llama_id;
}

/* ---- Regions. */

static enum err
read_rtt(struct emulate_fleet *f, const char *path)
{
    enum err err = ERR_IO;
    struct rtt_error problem = {0};
    FILE *file = fopen(path, "rb");
    char *text = malloc(RTT_FILE_BYTES_MAX);
    size_t bytes;

    if (file == NULL || text == NULL) {
        log_error("%s: cannot be read", path);
        goto out;
    }
    bytes = fread(text, 1, RTT_FILE_BYTES_MAX, file);
    err = rtt_parse((struct span){text, bytes}, &f->arena, &f->rtt, &problem);
    if (err != ERR_OK)
        log_error("%s:%u: %s", path, problem.line, problem.message);
out:
    if (file != NULL)
        fclose(file);
    free(text);
    return err;
}

static uint32_t
region_index(const struct emulate_fleet *f, const char *name)
{
    uint32_t i = 0;

    while (i < f->rtt.count && !span_eq_text(f->rtt.names[i], name))
        i++;
    return i;
}

/* Is the way from every gateway to this region known? */
static bool
reachable(const struct emulate_fleet *f, const struct emulate_options *o, uint32_t region)
{
    for (uint32_t g = 0; g < o->gateway_count; g++)
        if (isnan(rtt_ms(&f->rtt, span_of(o->gateways[g].region), f->rtt.names[region])))
            return false;
    return true;
}

/* The gateways' regions first, then others by chance; *ret_chosen has room for all of the matrix.
 */
static enum err
choose_regions(const struct emulate_fleet *f, const struct emulate_options *o, struct rng *rng,
               uint32_t *ret_chosen)
{
    uint32_t *order = ret_chosen, count = f->rtt.count, fixed = 0;

    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)rng_below(rng, i), held = order[k];

        order[k] = order[i - 1];
        order[i - 1] = held;
    }
    for (uint32_t g = 0; g < o->gateway_count; g++) {
        uint32_t region = region_index(f, o->gateways[g].region), at = 0;

        if (region == count) {
            log_error("gateway region %s is not among the round trips", o->gateways[g].region);
            return ERR_ARG;
        }
        while (order[at] != region)
            at++;
        if (at < fixed) /* two gateways in one region */
            continue;
        order[at] = order[fixed];
        order[fixed++] = region;
    }
    for (uint32_t i = fixed; i < o->regions; i++) {
        uint32_t at = i, held;

        while (at < count && !reachable(f, o, order[at]))
            at++;
        if (at == count) {
            log_error("only %u regions have known round trips to every gateway", i);
            return ERR_ARG;
        }
        held = order[i];
        order[i] = order[at];
        order[at] = held;
    }
    return ERR_OK;
}

/* ---- Nodes. */

static uint32_t
pick_model(struct rng *rng)
{
    double at = rng_unit(rng);

    return at < 0.5 ? 0 : at < 0.8 ? 1 : 2;
}

static void
make_vllm(struct emulate_fleet_node *n, struct rng *rng, uint32_t model, bool may_load)
{
    double load = rng_unit(rng), left = rng_unit(rng);

    n->kind = EMULATE_FLEET_VLLM;
    n->gpu = model == 0   ? PICK(rng, gpus_8b)
             : model == 1 ? PICK(rng, gpus_32b)
                          : PICK(rng, gpus_70b);
    n->held_count = 1;
    n->held[0] = (struct emulate_fleet_held){.model = model, .state = ENGINE_MODEL_READY};
    if (may_load && load < LOADING_SHARE) {
        n->held[0].state = ENGINE_MODEL_LOADING;
        n->held[0].load_left_ms = 5000 + 35000 * left;
    }
}

static void
make_llama(struct emulate_fleet_node *n, struct rng *rng)
{
    n->kind = EMULATE_FLEET_LLAMA;
    n->gpu = PICK(rng, gpus_llama);
    n->held_count = 1;
    n->held[0] = (struct emulate_fleet_held){.model = 0, .state = ENGINE_MODEL_READY};
}

static void
make_router(struct emulate_fleet_node *n, struct rng *rng)
{
    uint32_t ready;

    n->kind = EMULATE_FLEET_LLAMA_ROUTER;
    n->gpu = PICK(rng, gpus_router);
    n->held_count = strcmp(n->gpu, "a100x4") == 0 ? 3 : 2; /* the 70B fits there only */
    ready = (uint32_t)rng_below(rng, n->held_count);
    for (uint32_t i = 0; i < n->held_count; i++)
        n->held[i] = (struct emulate_fleet_held){
            .model = i,
            .state = i == ready ? ENGINE_MODEL_READY : ENGINE_MODEL_ON_DISK,
        };
}

/* The models in an order that is the seed's, whatever else is drawn. */
static void
shuffle_models(const struct emulate_options *o, uint32_t order[EMULATE_FLEET_MODELS_MAX])
{
    struct rng rng;

    rng_init(&rng, o->seed ^ MODELS_SEED);
    for (uint32_t i = 0; i < o->models; i++)
        order[i] = i;
    for (uint32_t i = o->models; i > 1; i--) {
        uint32_t k = (uint32_t)rng_below(&rng, i), held = order[k];

        order[k] = order[i - 1];
        order[i - 1] = held;
    }
}

/* The three on its disk, the first in memory; or, of more, as many as a disk has, and the memory
 * full, other ones from node to node, so that all are somewhere. Room for options.models_max. */
static void
make_several(struct emulate_fleet_node *n, const struct emulate_options *o,
             enum emulate_fleet_kind kind, uint32_t index)
{
    uint32_t order[EMULATE_FLEET_MODELS_MAX] = {0, 1, 2};
    bool is_more = o->models > EMULATE_FLEET_MODELS;
    uint32_t ready = is_more ? o->models_max : 1;
    uint32_t from = is_more ? index * o->models / o->nodes : 0;

    n->kind = kind;
    n->gpu = "a100x4"; /* the 70B fits there */
    n->held_count = o->models < EMULATE_FLEET_MODELS_DISK ? o->models : EMULATE_FLEET_MODELS_DISK;
    if (is_more)
        shuffle_models(o, order);
    for (uint32_t i = 0; i < n->held_count; i++)
        n->held[i] = (struct emulate_fleet_held){
            .model = order[(from + i) % o->models],
            .state = i < ready ? ENGINE_MODEL_READY : ENGINE_MODEL_ON_DISK,
        };
}

/* Node i, of the kind that the options say. */
static void
make_given(struct emulate_fleet_node *n, const struct emulate_options *o, struct rng *rng,
           uint32_t i)
{
    enum emulate_fleet_kind kind = o->engines[i % o->engine_count];
    uint32_t round = i / o->engine_count;

    switch (kind) {
    case EMULATE_FLEET_LLAMA:
        make_llama(n, rng);
        break;
    case EMULATE_FLEET_LLAMA_ROUTER:
    case EMULATE_FLEET_OLLAMA:
        make_several(n, o, kind, i);
        break;
    case EMULATE_FLEET_VLLM:
    case EMULATE_FLEET_SGLANG:
    case EMULATE_FLEET_KIND_COUNT:
        make_vllm(n, rng, round % EMULATE_FLEET_MODELS, false);
        n->kind = kind;
        break;
    }
}

/* Node i in this region. The first six have each model twice, ready, whatever the seed. */
static void
make_node(struct emulate_fleet *f, const struct emulate_options *o, struct rng *rng, uint32_t i,
          uint32_t region, double heat)
{
    struct emulate_fleet_node *n = &f->nodes[i];
    double kind = rng_unit(rng);
    struct span name = f->rtt.names[region];

    *n = (struct emulate_fleet_node){.region = region, .address = o->base + i};
    if (o->engine_count > 0)
        make_given(n, o, rng, i);
    else if (i < 2 * EMULATE_FLEET_MODELS)
        make_vllm(n, rng, i % EMULATE_FLEET_MODELS, false);
    else if (o->only_vllm)
        make_vllm(n, rng, pick_model(rng), false);
    else if (kind < 0.70)
        make_vllm(n, rng, pick_model(rng), true);
    else if (kind < 0.82)
        make_llama(n, rng);
    else
        make_router(n, rng);
    n->models_max = emulate_fleet_has_one(n->kind) ? 1 : o->models_max;
    n->operator_name = operators[rng_below(rng, OPERATORS)];
    n->site = 1 + (uint32_t)rng_below(rng, SITES);
    n->hidden_speed = 0.7 + 0.6 * rng_unit(rng);
    n->background = o->background * heat * (0.5 + rng_unit(rng));
    if (n->background > BACKGROUND_MAX)
        n->background = BACKGROUND_MAX;
    n->seed = rng_u64(rng);
    for (uint32_t k = 0; k < n->held_count; k++)
        if (n->held[k].state != ENGINE_MODEL_ON_DISK)
            n->background_model = n->held[k].model;
    (void)snprintf(n->name, sizeof(n->name), "%.*s-%s-%02u", (int)name.bytes, name.data, n->gpu, i);
}

static enum err
make_nodes(struct emulate_fleet *f, const struct emulate_options *o)
{
    uint32_t *regions = arena_take(&f->arena, f->rtt.count * sizeof(*regions));
    double *weights = arena_take(&f->arena, o->regions * sizeof(*weights)), total = 0;
    double *heats = arena_take(&f->arena, o->regions * sizeof(*heats));
    struct rng rng;
    enum err err;

    f->nodes = arena_zeroed(&f->arena, o->nodes * sizeof(*f->nodes));
    if (regions == NULL || weights == NULL || heats == NULL || f->nodes == NULL)
        return ERR_MEMORY;
    rng_init(&rng, o->seed);
    err = choose_regions(f, o, &rng, regions);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < o->regions; i++) {
        /* Some regions are awake, their own clients fill their nodes; others sleep. */
        heats[i] = rng_unit(&rng) < 0.4 ? 1.3 + 0.5 * rng_unit(&rng) : 0.1 + 0.5 * rng_unit(&rng);
        weights[i] = fmath_exp(0.5 * rng_normal(&rng));
        total += weights[i];
    }
    for (uint32_t i = 0; i < o->nodes; i++) {
        double at = rng_unit(&rng) * total;
        uint32_t r = 0;

        if (i < o->regions)
            r = i; /* every region has one, at least */
        else
            while (r + 1 < o->regions && at >= weights[r])
                at -= weights[r++];
        make_node(f, o, &rng, i, regions[r], heats[r]);
    }
    f->node_count = o->nodes;
    return ERR_OK;
}

enum err
emulate_fleet_init(struct emulate_fleet *f, const struct emulate_options *options)
{
    enum err err;

    memset(f, 0, sizeof(*f));
    arena_init(&f->arena, ARENA_BYTES_MAX);
    err = options->rtt_file != NULL ? read_rtt(f, options->rtt_file)
                                    : rtt_builtin(&f->arena, &f->rtt);
    if (err != ERR_OK)
        return err;
    if (options->nodes < 2 * EMULATE_FLEET_MODELS || options->nodes > EMULATE_NODES_MAX ||
        options->regions < 1 || options->regions > options->nodes ||
        options->regions > f->rtt.count || !(options->background >= 0) ||
        options->background > 10 || options->models < EMULATE_FLEET_MODELS ||
        options->models > EMULATE_FLEET_MODELS_MAX) {
        log_error("a fleet has %u to %u nodes, at most %u regions and as many as nodes, %u to %u "
                  "models, and a background load of 0 to 10",
                  2 * EMULATE_FLEET_MODELS, EMULATE_NODES_MAX, f->rtt.count, EMULATE_FLEET_MODELS,
                  EMULATE_FLEET_MODELS_MAX);
        return ERR_ARG;
    }
    return make_nodes(f, options);
}

void
emulate_fleet_fini(struct emulate_fleet *f)
{
    arena_fini(&f->arena);
}

/* ---- Engines. */

static enum err
speed_of(const struct emulate_fleet_node *node, uint32_t model, const struct engine_params *params,
         struct engine_speed *ret_speed)
{
    enum err err = engine_table_speed(emulate_fleet_models[model].params_b, span_of(node->gpu),
                                      ret_speed);

    if (err == ERR_OK && !emulate_fleet_has_one(node->kind)) { /* a fixed context for each slot */
        double cap = params->slots * LLAMA_CONTEXT, half = ret_speed->kv_tokens_cap / 2;

        ret_speed->kv_tokens_cap = node->kind != EMULATE_FLEET_LLAMA && half < cap ? half
                                   : ret_speed->kv_tokens_cap < cap ? ret_speed->kv_tokens_cap
                                                                    : cap;
    }
    return err;
}

static void
params_of(const struct emulate_fleet_node *node, struct engine_params *ret_params)
{
    if (emulate_fleet_has_one(node->kind))
        engine_table_vllm(ret_params);
    else
        engine_table_llama_server(ret_params);
    if (node->kind == EMULATE_FLEET_OLLAMA)
        ret_params->slots = EMULATE_OLLAMA_PARALLEL;
    ret_params->prefill_first = node->kind == EMULATE_FLEET_SGLANG;
    ret_params->models_max = node->models_max;
    ret_params->hidden_speed = node->hidden_speed;
    ret_params->pause_mean_interval_ms = 20000; /* a collection, a neighbour, a clock change */
    ret_params->pause_mean_ms = 40;
}

enum err
emulate_fleet_engine(const struct emulate_fleet_node *node, struct engine **ret_engine)
{
    struct engine_params params;
    struct engine *engine = NULL;
    enum err err;

    params_of(node, &params);
    err = engine_open(&params, node->seed, &engine);
    for (uint32_t i = 0; err == ERR_OK && i < node->held_count; i++) {
        const struct emulate_fleet_held *h = &node->held[i];
        struct engine_speed speed;

        err = speed_of(node, h->model, &params, &speed);
        if (err == ERR_OK)
            err = engine_model(engine, h->model, &speed, h->state, h->load_left_ms);
    }
    if (err == ERR_OK)
        *ret_engine = engine;
    else
        engine_close(engine);
    return err;
}

double
emulate_fleet_background_rate(const struct emulate_fleet_node *node, double prompt_tokens,
                              double output_tokens)
{
    struct engine_params params;
    struct engine_speed s;
    double ms, batch = BACKGROUND_BATCH;

    params_of(node, &params);
    if (speed_of(node, node->background_model, &params, &s) != ERR_OK)
        return 0;
    if (params.slots < batch)
        batch = params.slots;
    ms = s.a_ms + s.b_ms * prompt_tokens +
         output_tokens *
             (s.t0_ms / batch + s.tb_ms + s.tk_ms * (prompt_tokens + output_tokens / 2) / 1000);
    return node->background * node->hidden_speed / ms;
}

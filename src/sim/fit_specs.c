/* fit_specs - speeds from data sheets; see fit_specs.h. The efficiencies are round numbers near
 * those of base/speed_table; fit_report says how far off they are. */
#include "sim/fit_specs.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define COMPUTE_SHARE  0.5    /* of the dense FLOP/s, in prefill */
#define WEIGHTS_SHARE  0.73   /* of the bandwidth, reading weights */
#define KV_SHARE       0.515  /* and KV */
#define MEMORY_SHARE   0.9    /* of it, for weights and KV */
#define CONTEXT_SHARE  2.5e-5 /* c over b: attention over the rest, for each token of context */
#define LAYER_MS       0.03
#define SEQUENCE_MS    0.05
#define REQUEST_MS     2.0
#define FRONT_MS       20.0
#define FOUR_BIT_BYTES 0.56 /* with its scales */
#define NODE_GPUS      8.0  /* of a system whose name ends in _sxm: more is a product of ranks */
#define KV_TOKENS_ANY  1e7

static const double usual[FIT_PARAMS] = {REQUEST_MS, 0.03,        1e-6,     10.0,
                                         0.02,       SEQUENCE_MS, FRONT_MS, 0};

/* Where what tells a model begins: behind the vendor and "Meta-". */
static const char *
model_key(const char *name)
{
    const char *slash = strrchr(name, '/');

    if (slash != NULL)
        name = slash + 1;
    return strncasecmp(name, "meta-", 5) == 0 ? name + 5 : name;
}

/* How many letters two keys share, when one is the other with -something behind; else 0. */
static size_t
shared_letters(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] != '\0' && tolower((unsigned char)a[n]) == tolower((unsigned char)b[n]))
        n++;
    if ((a[n] == '\0' && (b[n] == '\0' || b[n] == '-')) || (b[n] == '\0' && a[n] == '-'))
        return n;
    return 0;
}

const struct gpu_model *
fit_specs_model(const struct gpu_data *data, const char *name)
{
    const struct gpu_model *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < data->model_count; i++) {
        const char *a = model_key(name), *b = model_key(data->models[i].model);
        size_t n = 2 * shared_letters(a, b) + (strcasecmp(a, b) == 0);

        if (n > most) {
            most = n;
            best = &data->models[i];
        }
    }
    return best;
}

static const struct gpu_spec *
find_system(const struct gpu_data *data, const char *system)
{
    for (size_t i = 0; i < data->spec_count; i++)
        if (strcmp(data->specs[i].system, system) == 0)
            return &data->specs[i];
    return NULL;
}

/* Of one weight, and the dense FLOP/s it is computed with. */
static double
weight_bytes(const struct gpu_spec *g, const char *precision, double *ret_flops)
{
    *ret_flops = g->bf16_flops;
    if (strcmp(precision, "fp8") == 0) {
        if (g->fp8_flops > 0)
            *ret_flops = g->fp8_flops;
        return 1;
    }
    if (strcmp(precision, "fp4") != 0 && strcmp(precision, "int4") != 0)
        return 2;
    if (precision[0] == 'f' && g->fp4_flops > 0)
        *ret_flops = g->fp4_flops;
    return FOUR_BIT_BYTES;
}

static double
at_least_one(uint32_t n)
{
    return n > 0 ? n : 1;
}

/* That hold the weights: attention may have its own copy on each (data parallel), experts do not.
 */
static double
gpu_count(const struct gpu_point *p)
{
    size_t n = strlen(p->system);
    double gpus = at_least_one(p->tensor_parallel) * at_least_one(p->data_parallel);
    double experts = at_least_one(p->moe_tensor_parallel) * at_least_one(p->moe_expert_parallel);

    if (gpus < experts)
        gpus = experts;
    if (n > 4 && strcmp(p->system + n - 4, "_sxm") == 0 && gpus > NODE_GPUS)
        gpus = NODE_GPUS;
    return gpus;
}

void
fit_specs_of(const struct gpu_data *data, const struct gpu_point *point,
             struct fit_specs *ret_specs)
{
    const struct gpu_model *m = fit_specs_model(data, point->model);
    const struct gpu_spec *g = find_system(data, point->system);
    double gpus = gpu_count(point), flops, bytes, active, experts, bandwidth, room;
    double *params = ret_specs->params;

    *ret_specs = (struct fit_specs){.kv_tokens_cap = KV_TOKENS_ANY};
    memcpy(params, usual, sizeof(usual));
    if (m != NULL && m->experts > m->experts_per_token && m->experts_per_token > 0) {
        ret_specs->expert_share = (double)m->experts_per_token / m->experts;
        params[FIT_EXPERT] = params[FIT_T0];
    }
    if (m != NULL)
        ret_specs->model_params = m->params;
    if (m == NULL || g == NULL || !(m->params > 0 && m->layers > 0 && m->kv_bytes_per_token > 0) ||
        !(g->bf16_flops > 0 && g->memory_bytes_per_s > 0))
        return;
    bytes = weight_bytes(g, point->precision, &flops);
    active = m->active_params > 0 ? m->active_params : m->params;
    experts = ret_specs->expert_share > 0 ? (m->params - active) / (1 - ret_specs->expert_share)
                                          : 0;
    bandwidth = g->memory_bytes_per_s * WEIGHTS_SHARE * gpus;
    params[FIT_B] = 1e3 * 2 * active / (flops * COMPUTE_SHARE * gpus);
    params[FIT_C] = params[FIT_B] * CONTEXT_SHARE;
    params[FIT_T0] = LAYER_MS * m->layers + 1e3 * (m->params - experts) * bytes / bandwidth;
    params[FIT_TK] = 1e6 * m->kv_bytes_per_token /
                     (g->memory_bytes_per_s * KV_SHARE * (m->latent ? 1 : gpus));
    params[FIT_EXPERT] = 1e3 * experts * bytes / bandwidth;
    ret_specs->weights_bytes = m->params * bytes;
    room = MEMORY_SHARE * g->memory_bytes * gpus - ret_specs->weights_bytes;
    if (room > 0) /* else the row is not of what it says: it ran */
        ret_specs->kv_tokens_cap = room / m->kv_bytes_per_token /
                                   (m->latent ? gpus : at_least_one(point->data_parallel));
    ret_specs->known = true;
}

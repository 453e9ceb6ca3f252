/* sim_fleet - nodes, gateways and regions out of the options: who stands where, with which
 * hardware, and how much of the load all of them together can take. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/speed_table.h"
#include "engine/engine_table.h"
#include "sim/sim_state.h"

#define INSIDE_REGION_MS  1.0
#define SHARED_KV_PART    0.5
#define HOST_BYTES_PER_MS 20e6 /* PCIe 4.0 x16, as engines reach it: 12..25 GB/s */

/* Which models run on what: routing.md's table. */
struct model_kind {
    const char *name;
    double params_b, node_share;
    const char *gpus[6];
    double gpu_shares[6];
};

static const struct model_kind kinds[SIM_MODELS_MAX] = {
    {"8B", 8.03, 0.6, {"4090", "l40s", "a100", "h100", "h200"}, {0.2, 0.2, 0.25, 0.25, 0.1}},
    {"32B", 32.76, 0.25, {"h100x2", "h200"}, {0.6, 0.4}},
    {"70B", 70.55, 0.15, {"a100x4", "h100x4", "h200x2"}, {0.3, 0.4, 0.3}},
};

/* Index drawn by shares, which end at 0 or at max. */
static uint32_t
draw(struct rng *rng, const double *shares, uint32_t max)
{
    double total = 0.0, x;
    uint32_t n = 0;

    for (; n < max && shares[n] > 0.0; n++)
        total += shares[n];
    x = rng_unit(rng) * total;
    for (uint32_t i = 0; i + 1 < n; i++) {
        if (x < shares[i])
            return i;
        x -= shares[i];
    }
    return n - 1;
}

static double
params_b(const struct sim_world *w, uint32_t model)
{
    return w->options.given != NULL ? w->options.given->models[model].params_b
                                    : kinds[model].params_b;
}

/* The classes of a world that is drawn. */
static void
classes_draw(struct sim_world *w)
{
    for (uint32_t m = 0; m < w->options.models; m++) {
        for (uint32_t k = 0; k < 6 && kinds[m].gpus[k] != NULL; k++) {
            uint32_t c = 0;
            while (c < w->class_count && strcmp(w->classes[c].gpu, kinds[m].gpus[k]) != 0)
                c++;
            if (c == w->class_count) {
                must(w->class_count < SIM_CLASSES_MAX);
                w->classes[w->class_count++].gpu = kinds[m].gpus[k];
            }
        }
    }
}

static void
classes_init(struct sim_world *w)
{
    const struct sim_given *given = w->options.given;

    if (given == NULL)
        classes_draw(w);
    for (uint32_t c = 0; given != NULL && c < given->class_count; c++)
        w->classes[w->class_count++].gpu = given->gpus[c];
    for (uint32_t c = 0; c < w->class_count; c++) {
        for (uint32_t m = 0; m < w->options.models; m++) {
            struct sim_class *class = &w->classes[c];
            class->runs[m] = engine_table_speed(params_b(w, m), span_of(class->gpu),
                                                &class->speed[m]) == ERR_OK;
        }
    }
}

/* Regions far from each other, from a seeded start: a world, not a corner of it. */
static enum err
regions_choose(struct sim_world *w)
{
    return rtt_data_spread(w->rtt, (uint32_t)rng_below(&w->rng, w->rtt->rtt.count),
                           w->options.regions, w->region_place);
}

/* Those of a world that is given, by their names. */
static enum err
regions_find(struct sim_world *w)
{
    const struct sim_given *given = w->options.given;
    struct span names[SIM_REGIONS_MAX];
    struct data_error error;

    for (uint32_t i = 0; i < given->region_count; i++)
        names[i] = span_of(given->regions[i]);
    return rtt_data_pick(w->rtt, names, given->region_count, &error, w->region_place);
}

static enum err
net_init(struct sim_world *w)
{
    const struct rtt_matrix *m = &w->rtt->rtt;
    enum err err = w->options.given != NULL ? regions_find(w) : regions_choose(w);

    w->net.regions = w->options.regions;
    for (uint32_t a = 0; err == ERR_OK && a < w->net.regions; a++) {
        for (uint32_t b = 0; b < w->net.regions; b++) {
            float ms = m->ms[w->region_place[a] * m->count + w->region_place[b]];
            w->net.rtt_ms[a][b] = isnan(ms) ? INSIDE_REGION_MS : (double)ms;
        }
    }
    w->net.jitter = w->options.jitter;
    w->net.jitter_ms = w->options.jitter_ms;
    w->net.loss = w->options.loss;
    w->net.bytes_per_ms = w->options.bytes_per_ms;
    return err;
}

/* How many requests a second a node can take so that tokens still come in time: each needs its
 * prefill alone, and a share of every step of its decode. */
static double
node_capacity(const struct sim_world *w, const struct engine_speed *s, double speed)
{
    double prompt = w->prompt_mean, output = w->output_mean;
    double prefill = s->a_ms + s->b_ms * prompt + 0.5 * s->c_ms * prompt * prompt, best = 0.0;

    for (double batch = 1.0; batch <= 256.0; batch += 1.0) {
        double kv = batch * (prompt + 0.5 * output), rate, gap;
        double step = s->t0_ms + s->tk_ms * kv / 1000.0 + s->tb_ms * batch;
        if (kv > s->kv_tokens_cap)
            break;
        rate = speed / (prefill + output * step / batch); /* a millisecond */
        gap = batch / (rate * output);                    /* between two tokens of one */
        if (gap > w->options.slo_step_ms && best > 0.0)
            break;
        best = 1000.0 * rate;
    }
    return best;
}

/* A model of the node: its engine has it, and its part of the room for KV. */
static void
engine_ready(const struct sim_world *w, const struct sim_node *n, uint32_t place, uint32_t model)
{
    struct engine_speed speed = w->classes[n->class].speed[model];

    if (n->also != MODEL_NONE)
        speed.kv_tokens_cap *= SHARED_KV_PART;
    must(engine_model(n->engine, place, &speed, ENGINE_MODEL_READY, 0.0) == ERR_OK);
}

void
sim_fleet_engine(struct sim_world *w, uint32_t node)
{
    struct sim_node *n = &w->nodes[node];
    const struct engine_speed *speed = &w->classes[n->class].speed[n->model];
    uint64_t seed = n->seed ^ (uint64_t)n->restarts << 48;
    struct engine_params p;

    engine_table_vllm(&p);
    p.hidden_speed = n->speed;
    p.step_noise = w->options.step_noise;
    p.pause_mean_interval_ms = w->options.pause_every_ms;
    p.pause_mean_ms = w->options.pause_ms;
    p.models_max = n->also != MODEL_NONE ? 2 : 1;
    p.quiet_tokens = !w->options.exact_tokens;
    p.prefix_block_tokens = w->trace->block_tokens;
    p.host_cache_tokens = w->options.host_cache * speed->kv_tokens_cap;
    p.host_ms_per_token = engine_table_kv_bytes(params_b(w, n->model)) / HOST_BYTES_PER_MS;
    must(engine_open(&p, seed, &n->engine) == ERR_OK);
    engine_ready(w, n, 0, n->model);
    if (n->also != MODEL_NONE)
        engine_ready(w, n, 1, n->also);
    engine_set_slow(n->engine, n->slow);
}

static void
node_draw(struct sim_world *w, uint32_t index, uint32_t region, uint32_t model)
{
    const struct model_kind *kind = &kinds[model];
    struct sim_node *n = &w->nodes[index];
    const char *gpu = kind->gpus[draw(&w->rng, kind->gpu_shares, 6)];

    n->region = (uint16_t)region;
    n->model = (uint16_t)model;
    while (strcmp(w->classes[n->class].gpu, gpu) != 0)
        n->class ++;
    n->speed = 1.0 + w->options.hidden_speed * (2.0 * rng_unit(&w->rng) - 1.0);
    n->seed = w->options.seed * 1000003u + index;
}

/* Who it is stands there: all the rest. */
static void
node_init(struct sim_world *w, uint32_t index)
{
    struct sim_node *n = &w->nodes[index];

    n->also = MODEL_NONE;
    for (uint32_t m = w->options.models; w->options.shared && m-- > 0;) {
        if (m != n->model && w->classes[n->class].runs[m])
            n->also = (uint16_t)m;
    }
    n->slow = n->tells.load = n->tells.speed = 1.0;
    n->wake_ns = UINT64_MAX;
    n->first_attempt = SIM_NONE;
    n->epoch = 1;
    sim_fleet_engine(w, index);
    w->capacity[n->model] += node_capacity(w, &w->classes[n->class].speed[n->model], n->speed);
}

/* Capacity is not where the demand is: regions get shares between 1 and 3. */
static void
nodes_draw(struct sim_world *w)
{
    double shares[SIM_REGIONS_MAX], models[SIM_MODELS_MAX] = {0};

    for (uint32_t r = 0; r < w->options.regions; r++)
        shares[r] = 1.0 + 2.0 * rng_unit(&w->rng);
    for (uint32_t m = 0; m < w->options.models; m++)
        models[m] = kinds[m].node_share;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        uint32_t region = i < w->options.regions ? i : draw(&w->rng, shares, w->options.regions);
        uint32_t model = i < w->options.models ? i : draw(&w->rng, models, w->options.models);
        node_draw(w, i, region, model);
    }
}

static void
nodes_init(struct sim_world *w)
{
    const struct sim_given *given = w->options.given;

    if (given == NULL)
        nodes_draw(w);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct sim_node *n = &w->nodes[i];

        if (given != NULL) {
            n->region = given->nodes[i].region;
            n->class = given->nodes[i].class;
            n->model = given->nodes[i].model;
            n->speed = given->nodes[i].speed;
            n->seed = given->nodes[i].seed;
        }
        node_init(w, i);
    }
}

/* Gateways stand in the first regions, which are far apart, if nobody says where. */
static uint16_t
gateway_region(const struct sim_options *o, uint32_t gateway)
{
    if (o->given != NULL)
        return o->given->gateways[gateway].region;
    return (uint16_t)(gateway % (o->gateway_regions > 0 ? o->gateway_regions : o->regions));
}

enum err
sim_fleet_open(struct sim_world *w)
{
    enum err err;

    w->nodes = calloc(w->options.nodes, sizeof(*w->nodes));
    w->gateways = calloc(w->options.gateways, sizeof(*w->gateways));
    if (w->nodes == NULL || w->gateways == NULL)
        return ERR_MEMORY;
    classes_init(w);
    err = net_init(w);
    if (err != ERR_OK)
        return err;
    nodes_init(w);
    for (uint32_t g = 0; g < w->options.gateways; g++) {
        w->gateways[g].region = gateway_region(&w->options, g);
        err = sim_gateway_open(w, g);
        if (err != ERR_OK)
            return err;
    }
    for (uint32_t i = 0; i < w->options.nodes && !w->options.polls; i++)
        sim_put(w, w->options.heartbeat_ms * rng_unit(&w->rng), SIM_BEAT, i, 0);
    return ERR_OK;
}

void
sim_fleet_close(struct sim_world *w)
{
    for (uint32_t i = 0; w->nodes != NULL && i < w->options.nodes; i++)
        engine_close(w->nodes[i].engine);
    for (uint32_t g = 0; w->gateways != NULL && g < w->options.gateways; g++)
        sim_gateway_close(&w->gateways[g], w->options.nodes);
    free(w->nodes);
    free(w->gateways);
}

const char *
sim_fleet_model_name(const struct sim_world *w, uint32_t model)
{
    return w->options.given != NULL ? w->options.given->models[model].name : kinds[model].name;
}

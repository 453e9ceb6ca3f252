/* admin_capacity - what the network can take and which model is where, by model and region; see
 * admin.h. How much more within the SLO is core's (headroom), as it was told last; nodes and states
 * are counted now. */
#include <math.h>
#include <stdlib.h>

#include "role/gateway/admin.h"

#define POOL_NONE UINT16_MAX

/* By how many per cent nine in ten that are told are off at most (doc/decisions/capacity.md, E14):
 * models whose nodes have nothing else, and whose speeds were measured there; others. */
#define ERROR_ALONE_PERCENT 15.0
#define ERROR_OTHER_PERCENT 40.0
#define SPEED_KNOWN_PART    0.5f

struct cell { /* a model in a region */
    uint32_t states[MODEL_STATE_COUNT];
    uint32_t ready; /* on nodes that can be used */
    uint32_t silent;
    float silent_ms;   /* the longest; NAN none */
    float ready_in_ms; /* soonest; NAN none */
    double prefill_tok_s, decode_tok_s, free_prefill_tok_s, free_decode_tok_s;
    uint16_t pool;        /* a model that shares nodes with it, or itself; POOL_NONE: not ready */
    uint32_t pool_models; /* in the pool that it is the first of */
    struct headroom_view headroom;
};

struct node_now {
    float word;
    float silent_ms; /* NAN: it is not */
    bool is_usable;
};

struct table {
    const struct fleet *fleet;
    struct cell *cells;     /* [model_count][CORE_REGIONS_MAX] */
    struct node_now *nodes; /* by node */
    uint32_t nodes_max;
    uint32_t last_node, last_model; /* of ready placements: a node's follow each other */
};

static struct cell *
cell_at(const struct table *t, uint32_t model, uint32_t region)
{
    return &t->cells[(size_t)model * CORE_REGIONS_MAX + region];
}

static void
table_nodes(struct table *t, struct door *door)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t from = 0;

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_nodes(door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            const struct node_view *v = &views[i];
            if (v->node >= t->nodes_max)
                continue;
            t->nodes[v->node] = (struct node_now){.word = v->word, .silent_ms = v->silent_ms};
            t->nodes[v->node].is_usable = v->state == NODE_READY && v->ejected == 0 &&
                                          isnan(v->silent_ms);
        }
    }
}

/* ---- Pools: models that share nodes in a region, directly or through others. Each cell names
 * another one nearer to the pool's first model, which names itself. */

static uint32_t
pool_of(const struct table *t, uint32_t model, uint32_t region)
{
    while (cell_at(t, model, region)->pool != model)
        model = cell_at(t, model, region)->pool;
    return model;
}

static void
pool_join(struct table *t, uint32_t a, uint32_t b, uint32_t region)
{
    uint32_t first = pool_of(t, a, region), second = pool_of(t, b, region);

    if (first > second)
        cell_at(t, first, region)->pool = (uint16_t)second;
    else
        cell_at(t, second, region)->pool = (uint16_t)first;
}

/* Each cell names the first model itself, which knows how many they are. */
static void
pools_settle(struct table *t)
{
    for (uint32_t m = 0; m < t->fleet->model_count; m++) {
        for (uint32_t r = 0; r < CORE_REGIONS_MAX; r++) {
            struct cell *cell = cell_at(t, m, r);
            if (cell->pool == POOL_NONE)
                continue;
            cell->pool = (uint16_t)pool_of(t, m, r);
            cell_at(t, cell->pool, r)->pool_models++;
        }
    }
}

static void
table_ready(struct table *t, const struct placement_view *v, struct cell *cell)
{
    double word = (double)t->nodes[v->node].word; /* that it is free it says itself */

    cell->ready++;
    cell->prefill_tok_s += (double)v->speed.prefill_tok_s;
    cell->decode_tok_s += (double)v->speed.decode_tok_s;
    cell->free_prefill_tok_s += word * (double)v->speed.free_prefill_tok_s;
    cell->free_decode_tok_s += word * (double)v->speed.free_decode_tok_s;
    if (cell->pool == POOL_NONE)
        cell->pool = v->model;
    if (t->last_node == v->node)
        pool_join(t, t->last_model, v->model, v->region);
    t->last_node = v->node;
    t->last_model = v->model;
}

static void
table_placement(struct table *t, const struct placement_view *v)
{
    struct cell *cell;

    if (v->model >= t->fleet->model_count || v->region >= CORE_REGIONS_MAX ||
        v->state >= MODEL_STATE_COUNT || v->node >= t->nodes_max)
        return;
    cell = cell_at(t, v->model, v->region);
    if (!isnan(t->nodes[v->node].silent_ms)) {
        cell->silent++;
        if (!(cell->silent_ms >= t->nodes[v->node].silent_ms))
            cell->silent_ms = t->nodes[v->node].silent_ms;
        return;
    }
    cell->states[v->state]++;
    if (v->state == MODEL_READY && t->nodes[v->node].is_usable)
        table_ready(t, v, cell);
    else if (v->state == MODEL_LOADING && !(v->ready_in_ms >= cell->ready_in_ms))
        cell->ready_in_ms = v->ready_in_ms;
}

static void
table_headroom(struct table *t, struct door *door)
{
    struct headroom_view views[CORE_VIEW_MAX];
    uint32_t from = 0;

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_headroom(door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (views[i].model < t->fleet->model_count)
                cell_at(t, views[i].model, views[i].region)->headroom = views[i];
        }
    }
}

static void
table_fini(struct table *t)
{
    free(t->cells);
    free(t->nodes);
}

static bool
table_init(struct table *t, struct lane *lane)
{
    struct door *door = lane->gateway->door;
    struct placement_view views[CORE_VIEW_MAX];
    uint32_t from = 0;
    size_t cells;

    t->fleet = lane_fleet(lane);
    t->nodes_max = lane->gateway->nodes_max;
    t->last_node = UINT32_MAX;
    cells = (size_t)t->fleet->model_count * CORE_REGIONS_MAX;
    t->cells = calloc(cells + 1, sizeof(*t->cells));
    t->nodes = calloc(t->nodes_max, sizeof(*t->nodes));
    if (t->cells == NULL || t->nodes == NULL)
        return false;
    for (size_t i = 0; i < cells; i++) {
        t->cells[i].ready_in_ms = t->cells[i].silent_ms = NAN;
        t->cells[i].pool = POOL_NONE;
    }
    table_nodes(t, door);
    while (from != UINT32_MAX) {
        uint32_t count = decide_view_placements(door, from, views, &from);
        for (uint32_t i = 0; i < count; i++)
            table_placement(t, &views[i]);
    }
    pools_settle(t);
    table_headroom(t, door);
    return true;
}

/* ---- JSON. */

static const char *
limit_name(uint32_t limit)
{
    static const char *const names[HEADROOM_LIMITS] = {
        [HEADROOM_PREFILL] = "prefill",
        [HEADROOM_DECODE] = "decode",
        [HEADROOM_KV] = "kv",
        [HEADROOM_SLOTS] = "slots",
    };

    return names[limit < HEADROOM_LIMITS ? limit : HEADROOM_PREFILL];
}

static double
extra_requests_s(const struct headroom_view *h)
{
    return fmax(0.0, (double)h->most_requests_s - (double)h->requests_s);
}

/* How sure it is: what the last hour that came near it found, else what is usual of its kind. */
static void
put_sure(cJSON *json, const struct headroom_view *h, uint32_t pool_models)
{
    bool is_checked = h->checked.at_ns != 0 && !isnan(h->checked.error_part);
    double percent = pool_models <= 1 && h->known_part >= SPEED_KNOWN_PART ? ERROR_ALONE_PERCENT
                                                                           : ERROR_OTHER_PERCENT;

    if (is_checked)
        percent = 100.0 * fabs((double)h->checked.error_part);
    admin_put_number(json, "expected_error_percent", percent);
    cJSON_AddStringToObject(json, "expected_error_from", is_checked ? "check" : "simulation");
    admin_put_number(json, "speed_measured_percent", 100.0 * (double)h->known_part);
    admin_put_number(json, "others_percent", 100.0 * (double)h->others_part);
}

static void
put_assumes(cJSON *json)
{
    static const char *const assumes[] = {
        "requests are as long as they were lately, and as much of them is cached",
        "other models on the nodes, and other gateways, go on as they do now",
    };
    cJSON *list = cJSON_AddArrayToObject(json, "assumes");

    for (size_t i = 0; i < sizeof(assumes) / sizeof(assumes[0]); i++)
        admin_append(list, cJSON_CreateString(assumes[i]));
}

static void
put_checked(cJSON *json, const struct headroom_view *h)
{
    const struct headroom_checked *c = &h->checked;
    cJSON *checked;

    if (isnan(h->checked_ago_ms) || c->at_ns == 0) {
        cJSON_AddNullToObject(json, "checked");
        return;
    }
    checked = cJSON_AddObjectToObject(json, "checked");
    admin_put_number(checked, "ago_ms", (double)h->checked_ago_ms);
    cJSON_AddNumberToObject(checked, "windows", c->windows);
    admin_put_number(checked, "told_requests_s", (double)c->told_s);
    admin_put_number(checked, "held_requests_s", (double)c->held_s);
    admin_put_number(checked, "broke_requests_s", (double)c->broke_s);
    admin_put_number(checked, "error_percent", 100.0 * (double)c->error_part);
}

static void
put_capacity(cJSON *json, const struct table *t, uint32_t model, uint32_t region)
{
    const struct cell *cell = cell_at(t, model, region);
    const struct headroom_view *h = &cell->headroom;
    double extra = cell->ready > 0 ? extra_requests_s(h) : 0.0;

    cJSON_AddNumberToObject(json, "nodes_ready", cell->ready);
    admin_put_number(json, "prefill_tok_s", cell->prefill_tok_s);
    admin_put_number(json, "decode_tok_s", cell->decode_tok_s);
    admin_put_number(json, "free_prefill_tok_s", cell->free_prefill_tok_s);
    admin_put_number(json, "free_decode_tok_s", cell->free_decode_tok_s);
    admin_put_number(json, "requests_s", (double)h->requests_s);
    admin_put_number(json, "extra_requests_s", extra);
    admin_put_number(json, "extra_prefill_tok_s", extra * (double)h->uncached_tokens);
    admin_put_number(json, "extra_decode_tok_s", extra * (double)h->output_tokens);
    cJSON_AddStringToObject(json, "limited_by", cell->ready > 0 ? limit_name(h->limit) : "no_node");
    admin_put_number(json, "prompt_tokens", (double)h->prompt_tokens);
    admin_put_number(json, "uncached_tokens", (double)h->uncached_tokens);
    admin_put_number(json, "output_tokens", (double)h->output_tokens);
    if (cell->pool != POOL_NONE) {
        admin_put_span(json, "pool", t->fleet->models[cell->pool].name);
        cJSON_AddNumberToObject(json, "pool_models", cell_at(t, cell->pool, region)->pool_models);
    }
    if (cell->ready > 0)
        put_sure(json, h, cell_at(t, cell->pool, region)->pool_models);
    admin_put_number(json, "correction", (double)h->correction);
    put_checked(json, h);
}

static void
put_readiness(cJSON *json, const struct table *t, uint32_t model, uint32_t region)
{
    const struct cell *cell = cell_at(t, model, region);

    for (uint32_t s = MODEL_ABSENT + 1; s < MODEL_STATE_COUNT; s++)
        cJSON_AddNumberToObject(json, metrics_model_state_name(s), cell->states[s]);
    cJSON_AddNumberToObject(json, "silent", cell->silent);
    admin_put_number(json, "silent_ms", (double)cell->silent_ms);
    admin_put_number(json, "ready_in_ms", (double)cell->ready_in_ms);
}

static bool
cell_used(const struct cell *cell)
{
    for (uint32_t s = 0; s < MODEL_STATE_COUNT; s++) {
        if (cell->states[s] > 0)
            return true;
    }
    return cell->silent > 0;
}

static void
send_table(struct admin_call *call, cJSON *json,
           void (*put)(cJSON *, const struct table *, uint32_t model, uint32_t region))
{
    struct table t = {0};
    cJSON *models = cJSON_AddArrayToObject(json, "models");

    if (!table_init(&t, call->lane)) {
        cJSON_Delete(json);
        json = NULL;
    }
    for (uint32_t m = 0; json != NULL && m < t.fleet->model_count; m++) {
        cJSON *model = cJSON_CreateObject(), *regions;
        admin_put_span(model, "model", t.fleet->models[m].name);
        regions = cJSON_AddArrayToObject(model, "regions");
        for (uint32_t r = 0; r < t.fleet->roster->regions.count; r++) {
            cJSON *region;
            if (!cell_used(cell_at(&t, m, r)))
                continue;
            region = cJSON_CreateObject();
            admin_put_span(region, "region", t.fleet->roster->regions.list[r]);
            put(region, &t, m, r);
            admin_append(regions, region);
        }
        admin_append(models, model);
    }
    table_fini(&t);
    admin_send(call->exchange, 200, json);
}

void
admin_capacity(struct admin_call *call)
{
    cJSON *json = cJSON_CreateObject(), *slo = cJSON_AddObjectToObject(json, "slo");
    struct headroom_goals goals;

    decide_view_goals(call->lane->gateway->door, &goals);
    admin_put_number(slo, "ttft_p90_ms", (double)goals.first_ms);
    admin_put_number(slo, "ttft_p90_ms_per_prompt_token", (double)goals.first_per_token_ms);
    cJSON_AddStringToObject(slo, "ttft_source", goals.is_first_configured ? "config" : "default");
    admin_put_number(slo, "tpot_p90_ms", (double)goals.step_ms);
    cJSON_AddStringToObject(slo, "tpot_source", goals.is_step_configured ? "config" : "default");
    cJSON_AddFalseToObject(json, "additive");
    put_assumes(json);
    send_table(call, json, put_capacity);
}

void
admin_readiness(struct admin_call *call)
{
    send_table(call, cJSON_CreateObject(), put_readiness);
}

/* ---- Metrics. */

enum capacity_metric { METRIC_EXTRA, METRIC_CORRECTION, METRIC_ERROR, METRIC_AGE };

static double
metric_value(const struct headroom_view *v, enum capacity_metric metric)
{
    switch (metric) {
    case METRIC_EXTRA:
        return extra_requests_s(v);
    case METRIC_CORRECTION:
        return (double)v->correction;
    case METRIC_ERROR:
        return v->checked.at_ns != 0 ? (double)v->checked.error_part : (double)NAN;
    case METRIC_AGE:
    default:
        return (double)v->checked_ago_ms * 1e-3;
    }
}

void
admin_capacity_metrics(FILE *out, struct door *door, const struct fleet *fleet)
{
    static const struct {
        const char *name, *help;
    } metrics[] = {
        [METRIC_EXTRA] = {"capacity_extra_requests_per_second",
                          "Requests a second on top of now within the SLO; not additive over "
                          "models that share nodes."},
        [METRIC_CORRECTION] = {"capacity_correction", "What the hourly checks learned."},
        [METRIC_ERROR] = {"capacity_error_ratio",
                          "Told over reached, less 1, in the last hour that came near it."},
        [METRIC_AGE] = {"capacity_checked_age_seconds", "Since the last hourly check."},
    };
    struct headroom_view views[CORE_VIEW_MAX];

    for (uint32_t k = 0; k < sizeof(metrics) / sizeof(metrics[0]); k++) {
        uint32_t from = 0;
        fprintf(out, "# HELP isochrone_%s %s\n# TYPE isochrone_%s gauge\n", metrics[k].name,
                metrics[k].help, metrics[k].name);
        while (from != UINT32_MAX) {
            uint32_t count = decide_view_headroom(door, from, views, &from);
            for (uint32_t i = 0; i < count; i++) {
                const struct headroom_view *v = &views[i];
                double value = metric_value(v, (enum capacity_metric)k);
                if (v->model >= fleet->model_count || isnan(value) ||
                    v->region >= fleet->roster->regions.count)
                    continue;
                fprintf(out, "isochrone_%s{model=\"", metrics[k].name);
                admin_put_label(out, fleet->models[v->model].name);
                fputs("\",region=\"", out);
                admin_put_label(out, fleet->roster->regions.list[v->region]);
                fprintf(out, "\"} %.6g\n", value);
            }
        }
    }
}

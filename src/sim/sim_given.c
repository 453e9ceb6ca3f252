/* sim_given - two tables into one world; see sim_given.h. */
#include "sim/sim_given.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_table.h"
#include "sim/data_table.h"

#define AT_MS_MAX   SIM_DURATION_MS_MAX
#define PARAMS_MAX  10000.0
#define SPEED_MIN   0.01
#define SPEED_MAX   100.0
#define PROMPT_MAX  10000000u
#define BYTES_MAX   100000000u
#define REST_MS     1.0 /* the duration ends behind the last request */
#define NAME_MAX_IN SIM_GIVEN_NAME_BYTES

/* ---- The fleet. */

enum { KIND, NAME, REGION, MODEL, PARAMS, GPU, SPEED, SEED, FLEET_COLUMNS };
static const struct data_column fleet_columns[FLEET_COLUMNS] = {
    [KIND] = {"kind", false},   [NAME] = {"name", false},       [REGION] = {"region", false},
    [MODEL] = {"model", false}, [PARAMS] = {"params_b", false}, [GPU] = {"gpu", false},
    [SPEED] = {"speed", false}, [SEED] = {"seed", false},
};

/* The place of this cell among names[count] of NAME bytes each, `stride` apart; count: not there.
 */
static uint32_t
find(const char *names, size_t stride, uint32_t count, const char *name)
{
    uint32_t i = 0;

    while (i < count && strcmp(names + i * stride, name) != 0)
        i++;
    return i;
}

/* A cell that must name something. */
static enum err
name_of(struct data_table *t, uint32_t column, char text[NAME_MAX_IN])
{
    enum err err = data_table_name(t, column, text, NAME_MAX_IN);

    if (err == ERR_OK && text[0] == '\0')
        err = data_file_fail(t->file, ERR_PARSE, "%s: the cell is empty", t->columns[column].name);
    return err;
}

/* Its place among the names so far, where it is put if it is new. */
static enum err
intern(struct data_table *t, uint32_t column, char (*names)[NAME_MAX_IN], uint32_t *count,
       uint32_t max, uint16_t *ret_place)
{
    char text[NAME_MAX_IN];
    enum err err = name_of(t, column, text);
    uint32_t i;

    if (err != ERR_OK)
        return err;
    i = find(names[0], NAME_MAX_IN, *count, text);
    if (i == max)
        return data_file_fail(t->file, ERR_FULL, "%s: more than %u different ones",
                              t->columns[column].name, max);
    if (i == *count) {
        span_copy(span_of(text), names[i], NAME_MAX_IN);
        ++*count;
    }
    *ret_place = (uint16_t)i;
    return ERR_OK;
}

static enum err
read_model(struct sim_given *g, struct data_table *t, uint16_t *ret_model)
{
    char text[NAME_MAX_IN];
    double params_b = 0.0;
    uint32_t i = 0;
    enum err err = name_of(t, MODEL, text);

    if (err == ERR_OK)
        err = data_table_f64(t, PARAMS, 0.001, PARAMS_MAX, &params_b);
    if (err != ERR_OK)
        return err;
    i = find(g->models[0].name, sizeof(g->models[0]), g->model_count, text);
    if (i == SIM_MODELS_MAX)
        return data_file_fail(t->file, ERR_FULL, "model: more than %u different ones",
                              SIM_MODELS_MAX);
    if (i == g->model_count) {
        span_copy(span_of(text), g->models[i].name, NAME_MAX_IN);
        g->models[i].params_b = params_b;
        g->model_count++;
    } else if (g->models[i].params_b != params_b) {
        return data_file_fail(t->file, ERR_PARSE, "params_b: %s had %.6g before", text,
                              g->models[i].params_b);
    }
    *ret_model = (uint16_t)i;
    return ERR_OK;
}

static enum err
read_seed(struct data_table *t, uint64_t *ret_seed)
{
    if (span_u64(data_table_text(t, SEED), ret_seed) == ERR_OK)
        return ERR_OK;
    return data_file_fail(t->file, ERR_PARSE, "seed: no whole number");
}

static enum err
read_gateway(struct sim_given *g, struct data_table *t)
{
    uint32_t i = g->gateway_count;
    char name[NAME_MAX_IN];
    enum err err = name_of(t, NAME, name);

    if (err != ERR_OK)
        return err;
    if (i == SIM_GATEWAYS_MAX)
        return data_file_fail(t->file, ERR_FULL, "more than %u gateways", SIM_GATEWAYS_MAX);
    if (find(g->gateways[0].name, sizeof(g->gateways[0]), i, name) < i)
        return data_file_fail(t->file, ERR_PARSE, "name: there is a gateway `%s` already", name);
    span_copy(span_of(name), g->gateways[i].name, NAME_MAX_IN);
    err = intern(t, REGION, g->regions, &g->region_count, SIM_REGIONS_MAX, &g->gateways[i].region);
    if (err == ERR_OK)
        err = read_seed(t, &g->gateways[i].seed);
    if (err == ERR_OK)
        g->gateway_count++;
    return err;
}

static enum err
read_node(struct sim_given *g, struct data_table *t)
{
    struct sim_given_node n = {0};
    struct engine_speed speed;
    enum err err = data_room(&g->nodes, &g->node_room, g->node_count, SIM_NODES_MAX,
                             sizeof(*g->nodes));

    if (err != ERR_OK)
        return data_file_fail(t->file, err, "more than %u nodes, or no memory", SIM_NODES_MAX);
    err = intern(t, REGION, g->regions, &g->region_count, SIM_REGIONS_MAX, &n.region);
    if (err == ERR_OK)
        err = read_model(g, t, &n.model);
    if (err == ERR_OK)
        err = intern(t, GPU, g->gpus, &g->class_count, SIM_CLASSES_MAX, &n.class);
    if (err == ERR_OK)
        err = data_table_f64(t, SPEED, SPEED_MIN, SPEED_MAX, &n.speed);
    if (err == ERR_OK)
        err = read_seed(t, &n.seed);
    if (err != ERR_OK)
        return err;
    if (engine_table_speed(g->models[n.model].params_b, span_of(g->gpus[n.class]), &speed) !=
        ERR_OK)
        return data_file_fail(t->file, ERR_PARSE,
                              "gpu: nothing is known of a model of %.6g B on %s",
                              g->models[n.model].params_b, g->gpus[n.class]);
    g->nodes[g->node_count++] = n;
    return ERR_OK;
}

static enum err
read_fleet(struct sim_given *g, struct data_file *f)
{
    struct data_table t;
    enum err err = data_table_open(&t, f, fleet_columns, FLEET_COLUMNS);

    while (err == ERR_OK && (err = data_table_next(&t)) == ERR_OK) {
        struct span kind = data_table_text(&t, KIND);

        if (span_eq_text(kind, "gateway"))
            err = read_gateway(g, &t);
        else if (span_eq_text(kind, "vllm"))
            err = read_node(g, &t);
        else
            err = data_file_fail(f, ERR_PARSE, "kind: `%.*s` is neither gateway nor vllm",
                                 kind.bytes < NAME_MAX_IN ? (int)kind.bytes : (int)NAME_MAX_IN,
                                 kind.bytes > 0 ? kind.data : "");
    }
    if (err != ERR_NOT_FOUND)
        return err;
    if (g->node_count == 0 || g->gateway_count == 0)
        return data_file_fail(f, ERR_PARSE, "a fleet needs a gateway and a node");
    return ERR_OK;
}

/* ---- The plan. */

enum { AT, GATEWAY, PLAN_MODEL, PROMPT, BYTES, OUTPUT, MAX_TOKENS, PLAN_COLUMNS };
static const struct data_column plan_columns[PLAN_COLUMNS] = {
    [AT] = {"at_ms", false},
    [GATEWAY] = {"gateway", false},
    [PLAN_MODEL] = {"model", false},
    [PROMPT] = {"prompt_tokens", false},
    [BYTES] = {"prompt_bytes", false},
    [OUTPUT] = {"output_tokens", false},
    [MAX_TOKENS] = {"max_tokens", true},
};

/* The place of the cell's name among those of the fleet. */
static enum err
known(struct data_table *t, uint32_t column, const char *names, size_t stride, uint32_t count,
      uint16_t *ret_place)
{
    char text[NAME_MAX_IN];
    enum err err = name_of(t, column, text);

    if (err != ERR_OK)
        return err;
    *ret_place = (uint16_t)find(names, stride, count, text);
    return *ret_place < count ? ERR_OK
                              : data_file_fail(t->file, ERR_PARSE, "%s: the fleet has no `%s`",
                                               t->columns[column].name, text);
}

static enum err
read_row(struct data_table *t, const struct sim_given *g, struct trace_request *r,
         struct sim_given_request *more)
{
    enum err err = data_table_f64(t, AT, 0.0, AT_MS_MAX, &r->at_ms);

    if (err == ERR_OK && g->trace.count > 0 &&
        r->at_ms < g->trace.requests[g->trace.count - 1].at_ms)
        err = data_file_fail(t->file, ERR_PARSE, "at_ms: earlier than the row before");
    if (err == ERR_OK)
        err = known(t, GATEWAY, g->gateways[0].name, sizeof(g->gateways[0]), g->gateway_count,
                    &more->gateway);
    if (err == ERR_OK)
        err = known(t, PLAN_MODEL, g->models[0].name, sizeof(g->models[0]), g->model_count,
                    &more->model);
    if (err == ERR_OK)
        err = data_table_u32(t, PROMPT, 1, PROMPT_MAX, &r->prompt_tokens);
    if (err == ERR_OK)
        err = data_table_u32(t, BYTES, 1, BYTES_MAX, &more->prompt_bytes);
    if (err == ERR_OK)
        err = data_table_u32(t, OUTPUT, 1, PROMPT_MAX, &r->output_tokens);
    if (err == ERR_OK)
        err = data_table_u32_or(t, MAX_TOKENS, 1, PROMPT_MAX, 0, &more->max_tokens);
    return err;
}

static enum err
read_plan(struct sim_given *g, struct data_file *f)
{
    struct trace *trace = &g->trace;
    struct data_table t;
    enum err err = data_table_open(&t, f, plan_columns, PLAN_COLUMNS);

    while (err == ERR_OK && (err = data_table_next(&t)) == ERR_OK) {
        struct trace_request r = {0};
        struct sim_given_request more = {0};

        err = read_row(&t, g, &r, &more);
        if (err != ERR_OK)
            break;
        err = data_room(&trace->requests, &g->request_room, trace->count, SIM_GIVEN_REQUESTS_MAX,
                        sizeof(*trace->requests));
        if (err == ERR_OK)
            err = data_room(&g->requests, &g->more_room, trace->count, SIM_GIVEN_REQUESTS_MAX,
                            sizeof(*g->requests));
        if (err != ERR_OK)
            return data_file_fail(f, err, "more than %u requests, or no memory",
                                  SIM_GIVEN_REQUESTS_MAX);
        trace->requests[trace->count] = r;
        g->requests[trace->count++] = more;
    }
    if (err != ERR_NOT_FOUND)
        return err;
    if (trace->count < 2 || !(trace->requests[trace->count - 1].at_ms > trace->requests[0].at_ms))
        return data_file_fail(f, ERR_PARSE, "a plan needs two requests at different times");
    trace->span_ms = trace->requests[trace->count - 1].at_ms;
    trace->tenant_count = 1;
    span_copy(span_of(data_file_name(f)), trace->name, sizeof(trace->name));
    return ERR_OK;
}

/* ---- Both. */

enum err
sim_given_read(struct data_file *fleet, struct data_file *plan, struct sim_given *ret_given)
{
    struct sim_given g = {0};
    enum err err = read_fleet(&g, fleet);

    if (err == ERR_OK)
        err = read_plan(&g, plan);
    if (err == ERR_OK)
        *ret_given = g;
    else
        sim_given_close(&g);
    return err;
}

enum err
sim_given_open(const char *fleet, const char *plan, struct data_error *error,
               struct sim_given *ret_given)
{
    struct data_file *f = NULL, *p = NULL;
    enum err err = data_file_open(fleet, error, &f);

    if (err == ERR_OK)
        err = data_file_open(plan, error, &p);
    if (err == ERR_OK)
        err = sim_given_read(f, p, ret_given);
    data_file_close(f);
    data_file_close(p);
    return err;
}

void
sim_given_close(struct sim_given *g)
{
    trace_close(&g->trace);
    free(g->requests);
    free(g->nodes);
    *g = (struct sim_given){0};
}

void
sim_given_use(const struct sim_given *g, struct sim_options *o)
{
    o->given = g;
    o->nodes = (uint32_t)g->node_count;
    o->gateways = g->gateway_count;
    o->regions = g->region_count;
    o->models = g->model_count;
    o->duration_ms = g->trace.requests[g->trace.count - 1].at_ms + REST_MS;
}

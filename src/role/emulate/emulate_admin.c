/* emulate_admin - what the experimenter may do at run time, on any address of the listener:
 *   GET  /emulate/nodes            the truth, hidden speeds included
 *   GET  /emulate/late             how late outputs were written
 *   POST /emulate/nodes/{i}/fault  {"fault":"cut","chunks":3} | {"fault":"slow","factor":5} |
 *                                  {"fault":"refuse"|"hang"|"500"|"garbage"|"stale"|"mute"|"idle"|"missing"|"full"|
 *                                  "none"}
 * Answered at once: it is no part of the emulated world. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "role/emulate/emulate_world.h"

#define FACTOR_MIN 0.01
#define FACTOR_MAX 1000.0
#define CHUNKS_MAX 1e9

static const char *const fault_names[EMULATE_FAULT_COUNT] = {
    [EMULATE_FAULT_NONE] = "none",       [EMULATE_FAULT_REFUSE] = "refuse",
    [EMULATE_FAULT_HANG] = "hang",       [EMULATE_FAULT_CUT] = "cut",
    [EMULATE_FAULT_SLOW] = "slow",       [EMULATE_FAULT_500] = "500",
    [EMULATE_FAULT_STALE] = "stale",     [EMULATE_FAULT_GARBAGE] = "garbage",
    [EMULATE_FAULT_MUTE] = "mute",       [EMULATE_FAULT_IDLE] = "idle",
    [EMULATE_FAULT_MISSING] = "missing", [EMULATE_FAULT_FULL] = "full",
};

static void
answer(struct http_exchange *x, unsigned status, cJSON *root)
{
    struct http_header type = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};
    char *text = cJSON_PrintUnformatted(root);

    http_respond(x, text != NULL ? status : 500, &type, 1, span_of(text != NULL ? text : ""));
    cJSON_free(text);
    cJSON_Delete(root);
}

static void
answer_error(struct http_exchange *x, unsigned status, const char *message)
{
    cJSON *root = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(cJSON_AddObjectToObject(root, "error"), "message", message);
    answer(x, status, root);
}

static const char *
state_name(enum engine_model_state state)
{
    switch (state) {
    case ENGINE_MODEL_ABSENT:
        break;
    case ENGINE_MODEL_ON_DISK:
        return "on_disk";
    case ENGINE_MODEL_LOADING:
        return "loading";
    case ENGINE_MODEL_READY:
        return "ready";
    case ENGINE_MODEL_ASLEEP:
        return "asleep";
    case ENGINE_MODEL_REMOTE:
        return "remote";
    }
    return "absent";
}

static cJSON *
node_json(const struct emulate_node *node, double now_ms)
{
    const struct emulate_fleet_node *plan = node->plan;
    struct span region = node->world->fleet.rtt.names[plan->region];
    cJSON *root = cJSON_CreateObject(), *models;
    struct engine_truth t;
    char name[64];

    span_copy(region, name, sizeof(name));
    (void)cJSON_AddStringToObject(root, "name", plan->name);
    (void)cJSON_AddStringToObject(root, "region", name);
    (void)cJSON_AddStringToObject(root, "gpu", plan->gpu);
    (void)cJSON_AddStringToObject(root, "kind", emulate_fleet_kind_name(plan->kind));
    (void)cJSON_AddStringToObject(root, "fault", fault_names[node->fault]);
    (void)cJSON_AddNumberToObject(root, "hidden_speed", plan->hidden_speed);
    (void)cJSON_AddNumberToObject(root, "background", plan->background);
    models = cJSON_AddArrayToObject(root, "models");
    for (uint32_t i = 0; i < plan->held_count; i++) {
        uint32_t model = plan->held[i].model;
        cJSON *entry = cJSON_CreateObject();

        engine_truth(node->engine, now_ms, model, &t);
        (void)cJSON_AddStringToObject(entry, "name", emulate_fleet_models[model].name);
        (void)cJSON_AddStringToObject(entry, "state",
                                      state_name(engine_model_state(node->engine, model)));
        (void)cJSON_AddNumberToObject(entry, "load_left_ms", t.load_left_ms);
        (void)cJSON_AddNumberToObject(entry, "kv_tokens_used", t.kv_tokens_used);
        (void)cJSON_AddNumberToObject(entry, "kv_tokens_cap", t.kv_tokens_cap);
        (void)cJSON_AddItemToArray(models, entry);
    }
    engine_truth(node->engine, now_ms, plan->held[0].model, &t);
    (void)cJSON_AddNumberToObject(root, "running", t.running);
    (void)cJSON_AddNumberToObject(root, "waiting", t.waiting);
    (void)cJSON_AddNumberToObject(root, "queue_tokens", t.queue_tokens);
    (void)cJSON_AddNumberToObject(root, "requests_total", (double)t.requests_total);
    (void)cJSON_AddNumberToObject(root, "preemptions_total", (double)t.preemptions_total);
    return root;
}

static void
get_nodes(struct emulate *e, struct http_exchange *x)
{
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "nodes");
    double now_ms = emulate_now_ms(e);

    for (uint32_t i = 0; i < e->fleet.node_count; i++)
        (void)cJSON_AddItemToArray(list, node_json(&e->nodes[i], now_ms));
    answer(x, 200, root);
}

/* Returns what is wrong, or NULL. */
static const char *
set_fault(struct emulate_node *node, const cJSON *root, double now_ms)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(root, "fault");
    const cJSON *factor = cJSON_GetObjectItemCaseSensitive(root, "factor");
    const cJSON *chunks = cJSON_GetObjectItemCaseSensitive(root, "chunks");
    enum emulate_fault fault = EMULATE_FAULT_NONE;

    if (!cJSON_IsString(name))
        return "`fault` is missing";
    while (fault < EMULATE_FAULT_COUNT && strcmp(fault_names[fault], name->valuestring) != 0)
        fault++;
    if (fault == EMULATE_FAULT_COUNT)
        return "`fault` is one of none refuse hang cut slow 500 garbage stale mute idle missing "
               "full";
    if (fault == EMULATE_FAULT_SLOW &&
        !(cJSON_IsNumber(factor) && factor->valuedouble >= FACTOR_MIN &&
          factor->valuedouble <= FACTOR_MAX))
        return "`factor` is a number from 0.01 to 1000";
    if (fault == EMULATE_FAULT_CUT &&
        !(cJSON_IsNumber(chunks) && chunks->valuedouble >= 0 && chunks->valuedouble <= CHUNKS_MAX))
        return "`chunks` is a number from 0 on";
    if (fault == EMULATE_FAULT_STALE)
        for (uint32_t m = 0; m < EMULATE_FLEET_MODELS_MAX; m++)
            engine_truth(node->engine, now_ms, m, &node->stale[m]);
    node->fault = fault;
    node->fault_chunks = fault == EMULATE_FAULT_CUT ? (uint32_t)chunks->valuedouble : 0;
    engine_set_slow(node->engine, fault == EMULATE_FAULT_SLOW ? factor->valuedouble : 1);
    return NULL;
}

/* /emulate/nodes/{i}/fault; `rest` begins with the number. */
static void
post_fault(struct emulate *e, struct http_exchange *x, const struct http_request *r,
           struct span rest)
{
    size_t slash = span_find(rest, '/');
    const char *wrong = NULL;
    uint64_t index = 0;
    cJSON *root;

    if (!span_eq_text(span_from(rest, slash), "/fault") ||
        span_u64((struct span){rest.data, slash}, &index) != ERR_OK ||
        index >= e->fleet.node_count) {
        answer_error(x, 404, "no such node");
        return;
    }
    root = cJSON_ParseWithLength(r->body.data, r->body.bytes);
    wrong = cJSON_IsObject(root) ? set_fault(&e->nodes[index], root, emulate_now_ms(e))
                                 : "the body is no JSON object";
    cJSON_Delete(root);
    if (wrong != NULL)
        answer_error(x, 400, wrong);
    else
        answer(x, 200, node_json(&e->nodes[index], emulate_now_ms(e)));
}

bool
emulate_admin(struct emulate *e, struct http_exchange *x, const struct http_request *r)
{
    struct span nodes = SPAN_LIT("/emulate/nodes/");
    bool get = span_eq_text(r->method, "GET");

    if (!span_starts(r->path, SPAN_LIT("/emulate/")))
        return false;
    if (get && span_eq_text(r->path, "/emulate/nodes")) {
        get_nodes(e, x);
    } else if (get && span_eq_text(r->path, "/emulate/late")) {
        cJSON *root = cJSON_CreateObject();

        (void)cJSON_AddNumberToObject(root, "emulate_late_p99_ms", emulate_late_p99_ms(e));
        answer(x, 200, root);
    } else if (span_eq_text(r->method, "POST") && span_starts(r->path, nodes)) {
        post_fault(e, x, r, span_from(r->path, nodes.bytes));
    } else {
        answer_error(x, 404, "no such route");
    }
    return true;
}

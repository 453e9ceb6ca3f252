/* node_page - what the node tells people and machines that look after it: alive, ready, counters;
 * and the list of models, for gateways. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "role/admin_json.h"
#include "role/answer.h"
#include "role/node/node_order.h"

void
node_livez(struct http_exchange *x)
{
    answer_body(x, 200, SPAN_LIT("text/plain"), SPAN_LIT("ok\n"));
}

static bool
has_ready(const struct node *n)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (n->models[i].state == MODEL_READY)
            return true;
    }
    return false;
}

void
node_readyz(struct node *n, struct http_exchange *x)
{
    cJSON *json = cJSON_CreateObject();
    const char *reason = "";

    if (n->state != NODE_READY)
        reason = "the node is draining";
    else if (!node_engines_heard(n))
        reason = "engines have not answered yet";
    else if (node_engines_up(n) == 0)
        reason = "no engine answers";
    else if (!has_ready(n))
        reason = "no model is ready";
    cJSON_AddBoolToObject(json, "ready", reason[0] == '\0');
    cJSON_AddStringToObject(json, "reason", reason);
    admin_send(x, reason[0] == '\0' ? 200 : 503, json);
}

/* OpenAI's list, and as llama.cpp's router has it: in which state each is. */
void
node_models_get(struct node *n, struct http_exchange *x)
{
    static const char *const words[MODEL_STATE_COUNT] = {
        [MODEL_DOWNLOADING] = "downloading", [MODEL_ON_DISK] = "unloaded",
        [MODEL_LOADING] = "loading",         [MODEL_SLEEPING] = "sleeping",
        [MODEL_DORMANT] = "dormant",         [MODEL_READY] = "loaded",
        [MODEL_FAILED] = "unloaded"};
    cJSON *json, *data;

    if (!node_engines_heard(n) || node_engines_up(n) == 0) {
        node_refuse(x, 503, "engine_unreachable", NAN,
                    node_engines_heard(n) ? "no engine of this node answers"
                                          : "the engines of this node have not answered yet");
        return;
    }
    json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "object", "list");
    data = cJSON_AddArrayToObject(json, "data");
    for (uint32_t i = 0; i < n->model_count; i++) {
        const struct node_model *m = &n->models[i];
        cJSON *item, *status;

        if (m->state == MODEL_ABSENT)
            continue;
        item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "id", m->id);
        cJSON_AddStringToObject(item, "object", "model");
        cJSON_AddStringToObject(item, "owned_by", "isochrone");
        status = cJSON_AddObjectToObject(item, "status");
        cJSON_AddStringToObject(status, "value", words[m->state]);
        if (m->state == MODEL_FAILED)
            cJSON_AddBoolToObject(status, "failed", true);
        if (m->slots > 0)
            cJSON_AddNumberToObject(status, "slots", m->slots);
        admin_append(data, item);
    }
    admin_send(x, 200, json);
}

/* ---- /metrics */

static void
put(FILE *out, const char *name, const char *type, const char *help, double value)
{
    fprintf(out,
            "# HELP isochrone_node_%s %s\n# TYPE isochrone_node_%s %s\nisochrone_node_%s %.15g\n",
            name, help, name, type, name, value);
}

static void
put_refusals(FILE *out, const struct node_counts *c)
{
    fprintf(out,
            "# HELP isochrone_node_refused_total Requests that were turned away, by reason.\n"
            "# TYPE isochrone_node_refused_total counter\n"
            "isochrone_node_refused_total{reason=\"full\"} %llu\n"
            "isochrone_node_refused_total{reason=\"draining\"} %llu\n"
            "isochrone_node_refused_total{reason=\"request\"} %llu\n",
            (unsigned long long)c->refused_busy, (unsigned long long)c->refused_draining,
            (unsigned long long)c->refused_other);
}

static void
put_bus(FILE *out, struct bus *bus)
{
    struct bus_state state;

    if (bus == NULL)
        return;
    bus_read_state(bus, &state);
    put(out, "bus_connected", "gauge", "1 when it is connected to the bus.",
        state.connected ? 1.0 : 0.0);
    put(out, "bus_published_total", "counter", "Messages that went to the bus.",
        (double)state.published);
    put(out, "bus_dropped_total", "counter", "Messages that the bus did not take.",
        (double)state.dropped_out);
}

static void
put_all(FILE *out, const struct node *n)
{
    const struct node_counts *c = &n->counts;

    put(out, "requests_total", "counter", "Requests for the model API.", (double)c->requests);
    put_refusals(out, c);
    put(out, "cancelled_total", "counter", "Requests whose gateway left.", (double)c->cancelled);
    put(out, "failed_total", "counter", "Requests that an engine failed.", (double)c->failed);
    put(out, "not_heard_total", "counter",
        "Times that a gateway said over the bus that it does not take what this node says.",
        (double)c->not_heard);
    put(out, "running", "gauge", "Requests at the engines.", n->running_count);
    put(out, "waiting", "gauge", "Requests in the waiting room.", n->waiting_count);
    put(out, "slots", "gauge", "Requests that the engines get at once.", node_guard_slots(n));
    put(out, "tokens_in_flight", "gauge", "Tokens of prompts and answers under way.",
        (double)n->tokens);
    put(out, "prompt_tokens_total", "counter", "Tokens of prompts that were answered.",
        (double)c->prompt_tokens);
    put(out, "output_tokens_total", "counter", "Tokens of answers.", (double)c->output_tokens);
    put(out, "prefill_tokens_per_second", "gauge", "Speed of reading a prompt, measured.",
        n->prefill.mean);
    put(out, "decode_tokens_per_second", "gauge", "Speed of one answer, measured.", n->decode.mean);
    put(out, "engines", "gauge", "Engines of this node.", node_engines_count(n));
    put(out, "engines_up", "gauge", "Of them, those that answer.", node_engines_up(n));
    put(out, "engines_leaving", "gauge", "Engines that were taken out, and requests run there.",
        node_engines_leaving(n));
    put(out, "ready", "gauge", "1 when it takes requests.", n->state == NODE_READY ? 1.0 : 0.0);
    put(out, "epoch", "gauge", "Of this life of the node.", (double)n->epoch);
    if (n->identity.expires_s != MESSAGE_UNKNOWN)
        put(out, "identity_expires_seconds", "gauge", "When the time of its record is over.",
            (double)n->identity.expires_s);
    put(out, "reports_total", "counter", "Reports that were made.", (double)c->reports);
    put(out, "directives_total", "counter", "Directives that were carried out.",
        (double)c->directives);
    put(out, "directives_refused_total", "counter", "Directives that were refused.",
        (double)c->directives_refused);
    put(out, "orders", "gauge", "What directives want of engines, and is not over.",
        node_orders_count(n));
    put(out, "orders_done_total", "counter", "Of these, what came to be.", (double)c->orders_done);
    put(out, "orders_failed_total", "counter", "And what did not.", (double)c->orders_failed);
    put_bus(out, n->bus);
    node_post_metrics(n, out);
}

void
node_metrics(struct node *n, struct http_exchange *x)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    if (out != NULL)
        put_all(out, n);
    if (out == NULL || fclose(out) != 0)
        node_refuse(x, 503, "node_out_of_memory", NAN, "this node has no room for it now");
    else
        answer_body(x, 200, SPAN_LIT("text/plain; version=0.0.4"), (struct span){text, bytes});
    free(text);
}

/* emulate_document - what all kinds of server share in answering without the engine: a body that
 * is written like a file, and the load as the node publishes it. */
#include <string.h>

#include "role/emulate/emulate_world.h"

void
emulate_published(const struct emulate_node *node, uint32_t model, double now_ms,
                  struct engine_truth *ret_truth)
{
    if (node->fault == EMULATE_FAULT_STALE)
        *ret_truth = node->stale[model];
    else
        engine_truth(node->engine, now_ms, model, ret_truth);
    if (node->fault == EMULATE_FAULT_IDLE) {
        ret_truth->running = ret_truth->waiting = 0;
        ret_truth->kv_tokens_used = 0.0;
    }
}

FILE *
emulate_document_open(struct emulate_flow *flow, unsigned status, const char *content_type)
{
    struct emulate_document *d = &flow->document;

    d->status = status;
    d->content_type = content_type;
    return open_memstream(&d->body, &d->body_bytes);
}

void
emulate_document_json(struct emulate_flow *flow, unsigned status, cJSON *root)
{
    struct emulate_document *d = &flow->document;

    d->status = status;
    d->content_type = "application/json; charset=utf-8";
    d->body = cJSON_PrintUnformatted(root); /* NULL: no memory, an empty body */
    d->body_bytes = d->body != NULL ? strlen(d->body) : 0;
    cJSON_Delete(root);
}

/* Nobody is told how busy it is: the routes are not there. */
static bool
is_mute(const struct emulate_flow *flow)
{
    struct span path = flow->request->path;

    return flow->node->fault == EMULATE_FAULT_MUTE &&
           (span_eq_text(path, "/metrics") || span_eq_text(path, "/slots") ||
            span_eq_text(path, "/v1/loads"));
}

void
emulate_document(struct emulate_flow *flow)
{
    if (is_mute(flow)) {
        flow->document.status = 404;
        flow->document.content_type = "text/plain";
    } else if (flow->node->plan->kind == EMULATE_FLEET_VLLM) {
        emulate_vllm_document(flow);
    } else if (flow->node->plan->kind == EMULATE_FLEET_SGLANG) {
        emulate_sglang_document(flow);
    } else if (flow->node->plan->kind == EMULATE_FLEET_OLLAMA) {
        emulate_ollama_document(flow);
    } else {
        emulate_llama_document(flow);
    }
}

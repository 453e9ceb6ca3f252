/* emulate_flow - one request from the moment it is read to the moment nothing holds it; the states
 * stand in emulate_world.h. Faults act here, when a request reaches its node. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "role/emulate/emulate_world.h"

struct emulate_flow *
emulate_flow_open(struct emulate *e, struct emulate_node *node, struct http_exchange *x,
                  const struct http_request *r)
{
    struct emulate_flow *flow;
    uint32_t slot;

    if (e->free_count == 0 && e->flow_count == EMULATE_FLOWS_MAX)
        return NULL;
    flow = calloc(1, sizeof(*flow)); /* lives as long as the request, and the news of its end */
    if (flow == NULL)
        return NULL;
    slot = e->free_count > 0 ? e->free_slots[--e->free_count] : e->flow_count++;
    e->flows[slot] = flow;
    flow->slot = slot;
    flow->id = (e->flow_ids++ << 32 | slot) & ~EMULATE_BACKGROUND_BIT;
    flow->node = node;
    flow->awaits = EMULATE_AWAITS_NONE;
    flow->x = x;
    flow->request = r;
    span_copy(http_request_header(r, SPAN_LIT("x-request-id")), flow->request_id,
              sizeof(flow->request_id));
    return flow;
}

void
emulate_flow_free(struct emulate_flow *flow)
{
    struct emulate *e = flow->node->world;

    if (flow->inference != NULL) {
        if (flow->inference->arrived)
            emulate_log_flow(flow);
        free(flow->inference->blocks);
        free(flow->inference);
    }
    free(flow->document.body);
    e->flows[flow->slot] = NULL;
    e->free_slots[e->free_count++] = flow->slot;
    free(flow);
}

void
emulate_flow_release(struct emulate_flow *flow)
{
    bool in_engine = flow->inference != NULL && flow->inference->in_engine;

    if (flow->x == NULL && flow->events == 0 && !in_engine && !flow->node->world->closing)
        emulate_flow_free(flow);
}

void
emulate_flow_detach(struct emulate_flow *flow, bool left)
{
    struct emulate_inference *inference = flow->inference;
    struct emulate *e = flow->node->world;

    flow->x = NULL;
    flow->request = NULL;
    if (e->closing)
        return;
    if (left && inference != NULL && inference->in_engine) {
        if (inference->end == NULL)
            inference->end = "cancelled";
        if (!emulate_schedule_flow(flow, EMULATE_EVENT_CANCEL, emulate_now_ms(e) + flow->rtt_ms / 2,
                                   0)) {
            engine_cancel(flow->node->engine, emulate_now_ms(e), flow->id);
            inference->in_engine = false;
        }
    }
    emulate_flow_release(flow);
}

/* Close the connection in the middle; what the engine does for it ends. */
static void
break_off(struct emulate_flow *flow, double now_ms)
{
    struct http_exchange *x = flow->x;

    if (flow->inference != NULL && flow->inference->in_engine) {
        engine_cancel(flow->node->engine, now_ms, flow->id);
        flow->inference->in_engine = false;
        emulate_wake(flow->node);
    }
    if (x == NULL)
        return;
    http_exchange_set_user(x, NULL);
    flow->x = NULL;
    flow->request = NULL;
    http_response_abort(x);
}

/* Something that goes back half a round trip from now. */
static void
send_later(struct emulate_flow *flow, enum emulate_event_kind kind, double now_ms, uint32_t index)
{
    if (!emulate_schedule_flow(flow, kind, now_ms + flow->rtt_ms / 2, index))
        break_off(flow, now_ms);
}

/* ---- Arrival. */

static void
error_document(struct emulate_flow *flow, enum err err, const char *model)
{
    if (emulate_fleet_has_one(flow->node->plan->kind))
        emulate_vllm_error(flow, err, model);
    else if (flow->node->plan->kind == EMULATE_FLEET_OLLAMA)
        emulate_ollama_error(flow, err, model);
    else
        emulate_llama_error(flow, err, model);
}

/* The fault's answer instead of the engine's. False: none. */
static bool
faulty_document(struct emulate_flow *flow)
{
    static const char server_error[] =
        "{\"error\":{\"message\":\"CUDA error: an illegal memory access was encountered\","
        "\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}";
    static const char full[] = "{\"error\":{\"message\":\"too many requests\",\"type\":"
                               "\"rate_limit_error\",\"param\":null,\"code\":429}}";
    static const char missing[] = "{\"error\":{\"message\":\"The model does not exist.\",\"type\":"
                                  "\"NotFoundError\",\"param\":\"model\",\"code\":404}}";
    static const char garbage[] = "<html>\xff\xfe{\"choices\":[{]}} data: \x01\x02";

    switch (flow->node->fault) {
    case EMULATE_FAULT_500:
        flow->document.status = 500;
        flow->document.body = strdup(server_error);
        break;
    case EMULATE_FAULT_FULL:
        flow->document.status = 429;
        flow->document.body = strdup(full);
        break;
    case EMULATE_FAULT_MISSING:
        flow->document.status = 404;
        flow->document.body = strdup(missing);
        break;
    case EMULATE_FAULT_GARBAGE:
        flow->document.status = 200;
        flow->document.body = strdup(garbage);
        break;
    default:
        return false;
    }
    flow->document.content_type = "application/json";
    flow->document.body_bytes = flow->document.body != NULL ? strlen(flow->document.body) : 0;
    return true;
}

static enum err
submit(struct emulate_flow *flow, double now_ms)
{
    struct emulate_inference *in = flow->inference;
    struct engine *engine = flow->node->engine;
    struct engine_request request = {
        .id = flow->id,
        .model = in->model,
        .prompt_tokens = in->prompt_tokens,
        .output_tokens = in->output_tokens,
        .blocks = in->blocks,
        .block_count = in->block_count,
    };
    enum err err;

    engine_truth(engine, now_ms, in->model, &in->truth);
    in->cached_at_arrival = engine_cached_tokens(engine, &request);
    err = engine_submit(engine, now_ms, &request);
    free(in->blocks);
    in->blocks = NULL;
    in->in_engine = err == ERR_OK;
    emulate_published(flow->node, in->model, now_ms, &in->published);
    emulate_wake(flow->node);
    return err;
}

static char
orca_asked(const struct http_request *r)
{
    struct span format = http_request_header(r, SPAN_LIT("endpoint-load-metrics-format"));

    return span_eq_nocase(format, SPAN_LIT("JSON"))   ? 'J'
           : span_eq_nocase(format, SPAN_LIT("TEXT")) ? 'T'
                                                      : 0;
}

static void
arrive_inference(struct emulate_flow *flow, bool chat, double now_ms)
{
    char model[EMULATE_ID_BYTES_MAX] = "";
    struct emulate_inference *in = calloc(1, sizeof(*in)); /* with its flow */
    enum err err = ERR_MEMORY;

    flow->inference = in;
    flow->orca = orca_asked(flow->request);
    if (in != NULL) {
        in->admitted_ms = in->first_ms = in->done_ms = NAN;
        err = emulate_ask(flow->node, flow->request->body, chat, in, model, sizeof(model));
    }
    if (err == ERR_OK) {
        in->arrived = true;
        if (faulty_document(flow))
            in->end = "fault";
        else
            err = submit(flow, now_ms);
    }
    if (err != ERR_OK) {
        if (in != NULL)
            in->end = "refused";
        error_document(flow, err, model);
    }
    if (flow->document.status != 0)
        send_later(flow, EMULATE_EVENT_RESPOND, now_ms, 0);
    else if (in->stream && emulate_fleet_has_one(flow->node->plan->kind))
        send_later(flow, EMULATE_EVENT_HEAD, now_ms, 0);
}

static void
arrive(struct emulate_flow *flow, double now_ms)
{
    const struct emulate_node *node = flow->node;
    const struct http_request *r = flow->request;
    bool post, chat;
    double ms = 0;

    if (flow->x == NULL || node->fault == EMULATE_FAULT_HANG)
        return;
    if (node->fault == EMULATE_FAULT_REFUSE || !node->listens) {
        send_later(flow, EMULATE_EVENT_BREAK, now_ms, 0);
        return;
    }
    post = span_eq_text(r->method, "POST");
    chat = post && span_eq_text(r->path, "/v1/chat/completions");
    if (chat || (post && span_eq_text(r->path, "/v1/completions"))) {
        if (!node->asleep) /* else it says nothing */
            arrive_inference(flow, chat, now_ms);
        return;
    }
    if (!emulate_control(flow, now_ms, &ms))
        emulate_document(flow);
    if (flow->awaits == EMULATE_AWAITS_NONE)
        send_later(flow, EMULATE_EVENT_RESPOND, now_ms + ms, 0);
}

void
emulate_flow_respond(struct emulate_flow *flow, double now_ms)
{
    flow->awaits = EMULATE_AWAITS_NONE;
    send_later(flow, EMULATE_EVENT_RESPOND, now_ms, 0);
}

void
emulate_flow_break_all(struct emulate_node *node, uint32_t model, double now_ms)
{
    const struct emulate *e = node->world;

    for (uint32_t i = 0; i < e->flow_count; i++) {
        struct emulate_flow *flow = e->flows[i];

        if (flow == NULL || flow->node != node || flow->inference == NULL ||
            !flow->inference->in_engine || flow->inference->model != model)
            continue;
        flow->inference->end = "unloaded";
        break_off(flow, now_ms);
        emulate_flow_release(flow);
    }
}

/* ---- The engine's outputs. */

void
emulate_flow_output(struct emulate_flow *flow, const struct engine_output *output)
{
    struct emulate_inference *in = flow->inference;
    struct emulate_node *node = flow->node;

    if (!in->in_engine) /* broken off by an output before this one */
        return;
    if (output->kind == ENGINE_OUTPUT_TOKEN) {
        in->tokens++;
        if (output->index == 0) {
            in->first_ms = output->at_ms;
            in->admitted_ms = engine_request_admitted_ms(node->engine, flow->id);
            in->cached_tokens = engine_request_cached(node->engine, flow->id);
        }
        if (in->stream && flow->x != NULL)
            send_later(flow, EMULATE_EVENT_TOKEN, output->at_ms, output->index);
        return;
    }
    in->in_engine = false;
    in->done_ms = output->at_ms;
    emulate_published(node, in->model, output->at_ms, &in->published);
    in->preempted = engine_request_preemptions(node->engine, flow->id);
    if (in->end == NULL)
        in->end = "done";
    if (in->ended_by_length)
        node->length_total++;
    else
        node->stopped_total++;
    send_later(flow, EMULATE_EVENT_END, output->at_ms, 0);
}

/* ---- What reaches the client. */

static void
respond(struct emulate_flow *flow)
{
    const struct emulate_document *d = &flow->document;
    struct http_header type = {SPAN_LIT("content-type"), span_of(d->content_type)};

    http_respond(flow->x, d->status, &type, 1, (struct span){d->body, d->body_bytes});
}

/* The cut fault: it strikes once so many chunks are out. True: it did. */
static bool
cut(struct emulate_flow *flow, double now_ms)
{
    struct emulate_inference *in = flow->inference;

    if (flow->node->fault != EMULATE_FAULT_CUT ||
        (in->stream && in->chunks_sent < flow->node->fault_chunks))
        return false;
    in->end = "cut";
    break_off(flow, now_ms);
    return true;
}

void
emulate_flow_event(struct emulate_flow *flow, const struct emulate_event *event)
{
    double now_ms = event->due_ms;

    if (event->kind == EMULATE_EVENT_ARRIVE) {
        arrive(flow, now_ms);
        return;
    }
    if (event->kind == EMULATE_EVENT_CANCEL) {
        break_off(flow, now_ms);
        return;
    }
    if (flow->x == NULL)
        return;
    switch (event->kind) {
    case EMULATE_EVENT_RESPOND:
        respond(flow);
        break;
    case EMULATE_EVENT_HEAD:
        emulate_answer_head(flow);
        break;
    case EMULATE_EVENT_TOKEN:
        if (!cut(flow, now_ms))
            emulate_answer_token(flow, event->index);
        break;
    case EMULATE_EVENT_END:
        if (!cut(flow, now_ms))
            emulate_answer_end(flow);
        break;
    default: /* BREAK: the others are no writes */
        break_off(flow, now_ms);
        break;
    }
}

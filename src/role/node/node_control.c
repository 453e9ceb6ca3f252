/* node_control - from a directive to an order at an engine; see node_control.h. */
#include "role/node/node_control.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/answer.h"
#include "wire/json.h"

#define ORDER_NS          1200000000000u /* large models load for long */
#define ANSWER_BYTES_KEPT 2048u

struct node_order { /* a malloc of its own: few, and they outlive the exchange */
    LIST_ENTRY(node_order) link;
    struct node *node;
    struct node_engine *engine;
    struct http_call *call;
    enum control_action action;
    enum directive_action asked;
    char model[ADAPTER_MODEL_BYTES_MAX];
    struct control_request request;
    struct span body; /* request.body */
    unsigned status;
    char answer[ANSWER_BYTES_KEPT];
    size_t answer_bytes;
    bool is_over; /* but for what the engine says of it when it is asked anew */
};

struct node_control {
    struct directive_guard guard;
    struct directive_gateway gateways[DIRECTIVE_GATEWAYS_MAX];
    LIST_HEAD(, node_order) orders;
    uint32_t order_count;
};

/* ---- Orders. */

static void
order_free(struct node_order *o)
{
    LIST_REMOVE(o, link);
    o->node->control->order_count--;
    free(o);
}

/* The engine answered it, or did not. What it says of its models is older than that: until it was
 * looked at, the order counts. */
static void
order_over(struct node_order *o)
{
    o->is_over = true;
    o->call = NULL;
    node_engine_look(o->engine);
}

void
node_control_seen(struct node_engine *e)
{
    struct node_order *o, *next;

    LIST_FOREACH_SAFE (o, &e->node->control->orders, link, next) {
        if (o->engine == e && o->is_over)
            order_free(o);
    }
}

static void
order_log(const struct node_order *o, const char *how, const char *words)
{
    log_info("%s of %s at engine %.*s: %s%s%s", directive_action_name(o->asked),
             o->model[0] != '\0' ? o->model : "the engine", (int)o->engine->at->name.bytes,
             o->engine->at->name.data, how, words[0] != '\0' ? ": " : "", words);
}

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    (void)call, (void)fresh, (void)user;
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    (void)call;
    ((struct node_order *)user)->status = response->status;
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct node_order *o = user;
    size_t room = sizeof(o->answer) - o->answer_bytes;
    size_t count = bytes.bytes < room ? bytes.bytes : room;

    (void)call;
    if (count > 0)
        memcpy(o->answer + o->answer_bytes, bytes.data, count);
    o->answer_bytes += count;
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t trailer_count, void *user)
{
    static const char *const how[] = {
        [CONTROL_DONE] = "done", [CONTROL_BEGUN] = "begun", [CONTROL_REFUSED] = "refused"};
    struct node_order *o = user;
    struct control_words words = {.text = ""};
    enum control_result result;

    (void)call, (void)trailers, (void)trailer_count;
    result = control_outcome(o->engine->kind->kind, o->action, o->status,
                             (struct span){o->answer, o->answer_bytes}, &words);
    order_log(o, how[result], words.text);
    order_over(o);
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    struct node_order *o = user;

    (void)call, (void)why;
    order_log(o, "failed", "the engine did not answer");
    order_over(o);
}

static const struct http_call_fn call_fn = {
    .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};

static enum err
order_send(struct node_order *o)
{
    const struct roster_node *at = o->engine->at;
    const struct http_header headers[] = {
        {SPAN_LIT("content-type"), SPAN_LIT("application/json")},
        {SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION)},
        {SPAN_LIT("authorization"), at->authorization}};
    const struct http_call_request request = {
        .method = span_of(o->request.method),
        .target = span_of(o->request.path),
        .headers = headers,
        .header_count = at->authorization.bytes > 0 ? 3 : 2,
        .parts = &o->body,
        .part_count = o->body.bytes > 0 ? 1 : 0,
    };
    const struct http_call_limits limits = {.connect_ns = ASKER_CONNECT_NS,
                                            .first_byte_ns = ORDER_NS,
                                            .idle_ns = ORDER_NS,
                                            .body_bytes_max = ADAPTER_DOCUMENT_BYTES_MAX};

    return http_call_start(o->engine->target, &request, &limits, &call_fn, o, &o->call);
}

static bool
refuse(struct control_words *words, const char *text)
{
    snprintf(words->text, sizeof(words->text), "%s", text);
    return false;
}

static bool
order_begin(struct node *n, struct node_engine *e, const struct directive *d,
            enum control_action action, struct control_words *words)
{
    const struct control_options options = {.adapter_path = {NULL, 0}}; /* of adapters only */
    struct node_order *o;

    if (e->kind == NULL || !e->up)
        return refuse(words, "the engine does not answer");
    if (n->control->order_count == NODE_ORDERS_MAX)
        return refuse(words, "as many directives as can be are under way: ask again later");
    o = calloc(1, sizeof(*o));
    if (o == NULL)
        return refuse(words, "out of memory");
    o->node = n;
    o->engine = e;
    o->action = action;
    o->asked = (enum directive_action)d->action;
    span_copy(d->model, o->model, sizeof(o->model));
    if (control_request(e->kind->kind, action, d->model, &options, &o->request, words) != ERR_OK) {
        free(o);
        return false; /* it says why */
    }
    o->body = (struct span){o->request.body, o->request.body_bytes};
    LIST_INSERT_HEAD(&n->control->orders, o, link);
    n->control->order_count++;
    if (order_send(o) != ERR_OK) {
        order_free(o);
        return refuse(words, "no connection to the engine can be had now");
    }
    node_models_changed(n);
    return true;
}

uint32_t
node_control_state(const struct node_engine *e, struct span model, uint32_t state)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->control->orders, link) {
        if (o->engine == e && o->request.goal == MODEL_READY && state != MODEL_READY &&
            (span_eq_text(model, o->model) || (o->model[0] == '\0' && state != MODEL_ABSENT)))
            return MODEL_LOADING;
    }
    return state;
}

/* ---- What is asked. */

/* At which engine: one that has the model; for a load one where it is not ready yet; without a
 * model, or where nobody has it, the one that there is. NULL: words say why not. */
static struct node_engine *
engine_for(struct node *n, const struct directive *d, struct control_words *words)
{
    struct node_engine *found = NULL;

    for (uint32_t i = 0; i < n->engine_count; i++) {
        struct node_engine *e = &n->engines[i];
        uint32_t state = node_engine_state(e, d->model);

        if (state != MODEL_ABSENT &&
            (found == NULL || (d->action == DIRECTIVE_LOAD && state != MODEL_READY)))
            found = e;
    }
    if (found == NULL && n->engine_count == 1)
        return &n->engines[0];
    if (found == NULL)
        (void)refuse(words, d->model.bytes > 0 ? "no engine of this node knows this model"
                                               : "of several engines, which? name a model");
    return found;
}

static bool
is_pinned(const struct node *n, const struct directive *d)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (n->models[i].is_pinned &&
            (d->model.bytes == 0 || span_eq_text(d->model, n->models[i].id)))
            return true;
    }
    return false;
}

static bool
pin(struct node *n, const struct directive *d, struct control_words *words)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (span_eq_text(d->model, n->models[i].id)) {
            n->models[i].is_pinned = d->action == DIRECTIVE_PIN;
            return true;
        }
    }
    return refuse(words, "no engine of this node knows this model");
}

/* False: words say why not. *ret_done: nothing is left to do. */
static bool
carry_out(struct node *n, const struct directive *d, struct control_words *words, bool *ret_done)
{
    static const enum control_action actions[] = {[DIRECTIVE_LOAD] = CONTROL_LOAD,
                                                  [DIRECTIVE_UNLOAD] = CONTROL_UNLOAD,
                                                  [DIRECTIVE_WAKE] = CONTROL_WAKE,
                                                  [DIRECTIVE_SLEEP] = CONTROL_SLEEP};
    struct node_engine *e;

    *ret_done = d->action >= DIRECTIVE_PIN;
    switch (d->action) {
    case DIRECTIVE_PIN:
    case DIRECTIVE_UNPIN:
        return pin(n, d, words);
    case DIRECTIVE_DRAIN:
        node_set_state(n, NODE_DRAIN);
        return true;
    case DIRECTIVE_READY:
        if (n->is_ending)
            return refuse(words, "this node is about to end");
        node_set_state(n, NODE_READY);
        return true;
    default:
        break;
    }
    if ((d->action == DIRECTIVE_UNLOAD || d->action == DIRECTIVE_SLEEP) && is_pinned(n, d))
        return refuse(words, "the model is pinned: unpin it first");
    e = engine_for(n, d, words);
    if (e == NULL)
        return false;
    if (d->action == DIRECTIVE_LOAD && node_engine_state(e, d->model) == MODEL_DORMANT)
        return order_begin(n, e, d, CONTROL_WAKE, words); /* it is there: that is all it needs */
    return order_begin(n, e, d, actions[d->action], words);
}

/* ---- Judging. */

static size_t
answer(const struct node *n, const char *verdict, const char *result, const char *words,
       char text[NODE_CONTROL_TEXT_SIZE])
{
    int bytes = snprintf(text, NODE_CONTROL_TEXT_SIZE,
                         "{\"v\":%u,\"node\":\"%.*s\",\"epoch\":%llu,\"verdict\":\"%s\","
                         "\"result\":\"%s\",\"words\":\"",
                         MESSAGE_VERSION, (int)n->name.bytes, n->name.data,
                         (unsigned long long)n->epoch, verdict, result);
    struct span said = span_of(words);
    size_t at = (size_t)bytes, room = NODE_CONTROL_TEXT_SIZE - at - sizeof("\"}");

    while (json_escaped_bytes(said) > room)
        said.bytes--;
    json_escape(said, text + at);
    at += json_escaped_bytes(said);
    memcpy(text + at, "\"}", 2);
    return at + 2;
}

unsigned
node_control_take(struct node *n, struct span json, char ret_text[NODE_CONTROL_TEXT_SIZE],
                  size_t *ret_bytes)
{
    struct control_words words = {.text = ""};
    char why[DIRECTIVE_WORDS_BYTES];
    enum directive_verdict verdict;
    struct message_error error;
    struct directive d;
    bool done;

    if (directive_parse(json, &d, &error) != ERR_OK) {
        n->counts.directives_refused++;
        *ret_bytes = answer(n, "malformed", "refused", error.text, ret_text);
        return 400;
    }
    verdict = directive_judge(&n->control->guard, &d, clock_wall_s());
    if (verdict != DIRECTIVE_GOOD) {
        n->counts.directives_refused++;
        directive_words(verdict, &d, clock_wall_s(), why);
        *ret_bytes = answer(n, directive_verdict_name(verdict), "refused", why, ret_text);
        return 403;
    }
    if (!carry_out(n, &d, &words, &done)) {
        n->counts.directives_refused++;
        *ret_bytes = answer(n, directive_verdict_name(verdict), "refused", words.text, ret_text);
        return 409;
    }
    n->counts.directives++;
    log_info("a gateway's directive: %s%s%.*s",
             directive_action_name((enum directive_action)d.action), d.model.bytes > 0 ? " " : "",
             (int)d.model.bytes, d.model.data);
    *ret_bytes = answer(n, directive_verdict_name(verdict), done ? "done" : "begun", words.text,
                        ret_text);
    return done ? 200 : 202;
}

void
node_control_post(struct node *n, struct http_exchange *x, const struct http_request *r)
{
    char text[NODE_CONTROL_TEXT_SIZE];
    size_t bytes;
    unsigned status = node_control_take(n, r->body, text, &bytes);

    answer_body(x, status, SPAN_LIT("application/json"), (struct span){text, bytes});
}

/* ---- Life. */

enum err
node_control_open(struct node *n)
{
    struct node_control *c = calloc(1, sizeof(*c));

    n->control = c;
    if (c == NULL)
        return ERR_MEMORY;
    LIST_INIT(&c->orders);
    for (size_t i = 0; i < n->config->gateway_count; i++)
        c->gateways[i] = (struct directive_gateway){n->config->gateways[i].key,
                                                    n->config->gateways[i].may};
    c->guard.node = n->name;
    c->guard.epoch = n->epoch;
    c->guard.gateways = c->gateways;
    c->guard.gateway_count = n->config->gateway_count;
    return ERR_OK;
}

void
node_control_close(struct node *n)
{
    struct node_order *o, *next;

    if (n->control == NULL)
        return;
    LIST_FOREACH_SAFE (o, &n->control->orders, link, next) {
        if (o->call != NULL)
            http_call_cancel(o->call);
        free(o);
    }
    free(n->control);
    n->control = NULL;
}

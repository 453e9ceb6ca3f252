/* node_control - directives, judged; see node_control.h. */
#include "role/node/node_control.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/answer.h"
#include "role/node/node_order.h"

struct node_control {
    struct directive_guard guard;
    struct directive_gateway gateways[DIRECTIVE_GATEWAYS_MAX];
};

static enum directive_result
refuse(struct control_words *words, const char *text)
{
    snprintf(words->text, sizeof(words->text), "%s", text);
    return DIRECTIVE_REFUSED;
}

/* ---- What is asked. */

/* At which engine: one that has the model; for a load one where it is not ready yet; without a
 * model, or where nobody has it, the one that there is, but for what an engine does as a whole: a
 * mistyped name is not to put another model to sleep. NULL: words say why not. */
static struct node_engine *
engine_for(struct node *n, const struct directive *d, struct control_words *words)
{
    bool is_whole = d->action == DIRECTIVE_SLEEP || d->action == DIRECTIVE_WAKE;
    struct node_engine *found = NULL, *e;

    TAILQ_FOREACH (e, &n->engines, link) {
        uint32_t state = node_engine_state(e, d->model);

        if (state != MODEL_ABSENT &&
            (found == NULL || (d->action == DIRECTIVE_LOAD && state != MODEL_READY)))
            found = e;
    }
    if (found == NULL && node_engines_count(n) == 1 && (d->model.bytes == 0 || !is_whole))
        return TAILQ_FIRST(&n->engines);
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

static enum directive_result
pin(struct node *n, const struct directive *d, struct control_words *words)
{
    struct node_engine *e;

    TAILQ_FOREACH (e, &n->engines, link) {
        if (d->action == DIRECTIVE_PIN)
            node_order_keep(e, d->model);
    }
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (span_eq_text(d->model, n->models[i].id)) {
            n->models[i].is_pinned = d->action == DIRECTIVE_PIN;
            n->models[i].is_dirty = true;
            node_report_soon(n);
            return DIRECTIVE_DONE;
        }
    }
    return refuse(words, "no engine of this node knows this model");
}

static enum directive_result
carry_out(struct node *n, const struct directive *d, struct control_words *words)
{
    static const enum control_action actions[] = {[DIRECTIVE_LOAD] = CONTROL_LOAD,
                                                  [DIRECTIVE_UNLOAD] = CONTROL_UNLOAD,
                                                  [DIRECTIVE_WAKE] = CONTROL_WAKE,
                                                  [DIRECTIVE_SLEEP] = CONTROL_SLEEP};
    struct node_engine *e;

    switch (d->action) {
    case DIRECTIVE_PIN:
    case DIRECTIVE_UNPIN:
        return pin(n, d, words);
    case DIRECTIVE_DRAIN:
        node_set_state(n, NODE_DRAIN);
        return DIRECTIVE_DONE;
    case DIRECTIVE_READY:
        if (n->is_ending)
            return refuse(words, "this node is about to end");
        node_set_state(n, NODE_READY);
        return DIRECTIVE_DONE;
    default:
        break;
    }
    if ((d->action == DIRECTIVE_UNLOAD || d->action == DIRECTIVE_SLEEP) && is_pinned(n, d))
        return refuse(words, "the model is pinned: unpin it first");
    e = engine_for(n, d, words);
    if (e == NULL)
        return DIRECTIVE_REFUSED;
    if (d->action == DIRECTIVE_LOAD && node_engine_state(e, d->model) == MODEL_DORMANT)
        return node_order_begin(e, d, CONTROL_WAKE, words); /* it is there: that is all it needs */
    return node_order_begin(e, d, actions[d->action], words);
}

/* ---- Judging. */

static unsigned
status_of(const struct directive_reply *r)
{
    if (r->verdict == DIRECTIVE_MALFORMED)
        return 400;
    if (r->verdict != DIRECTIVE_GOOD)
        return 403;
    return r->result == DIRECTIVE_DONE ? 200 : r->result == DIRECTIVE_BEGUN ? 202 : 409;
}

static void
judge(struct node *n, const struct directive *d, struct directive_reply *reply,
      struct control_words *words)
{
    uint64_t now_s = clock_wall_s();
    char why[DIRECTIVE_WORDS_BYTES];

    memcpy(reply->nonce, d->nonce, sizeof(reply->nonce));
    reply->verdict = directive_judge(&n->control->guard, d, now_s);
    if (reply->verdict == DIRECTIVE_GOOD) {
        reply->result = carry_out(n, d, words);
    } else {
        directive_words((enum directive_verdict)reply->verdict, d, now_s, why);
        (void)refuse(words, why);
    }
    /* what strangers want fills no log */
    log_line(reply->verdict == DIRECTIVE_GOOD ? LOG_INFO : LOG_DEBUG,
             "a gateway's directive: %s%s%.*s: %s%s%s",
             directive_action_name((enum directive_action)d->action), d->model.bytes > 0 ? " " : "",
             (int)d->model.bytes, d->model.data, directive_results[reply->result],
             words->text[0] != '\0' ? ": " : "", words->text);
}

unsigned
node_control_take(struct node *n, struct span json, char ret_text[MESSAGE_BYTES_MAX],
                  size_t *ret_bytes)
{
    struct directive_reply reply = {.v = MESSAGE_VERSION,
                                    .node = n->name,
                                    .epoch = n->epoch,
                                    .verdict = DIRECTIVE_MALFORMED,
                                    .result = DIRECTIVE_REFUSED,
                                    .ready_in_ms = (double)NAN};
    struct control_words words = {.text = ""};
    char plain[DIRECTIVE_REPLY_WORDS_BYTES];
    struct message_error error;
    struct directive d;

    if (directive_parse(json, &d, &error) == ERR_OK)
        judge(n, &d, &reply, &words);
    else
        (void)refuse(&words, error.text);
    if (reply.result == DIRECTIVE_REFUSED)
        n->counts.directives_refused++;
    else
        n->counts.directives++;
    if (reply.result == DIRECTIVE_BEGUN)
        reply.ready_in_ms = node_model_ready_in_ms(n, d.model);
    directive_plain(words.text, plain);
    reply.words = span_of(plain);
    must(directive_reply_write(&reply, ret_text, ret_bytes) == ERR_OK);
    return status_of(&reply);
}

void
node_control_post(struct node *n, struct http_exchange *x, const struct http_request *r)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;
    unsigned status = node_control_take(n, r->body, text, &bytes);

    answer_body(x, status, SPAN_LIT("application/json"), (struct span){text, bytes});
}

/* ---- Life. */

void
node_control_change(struct node *n)
{
    struct node_control *c = n->control;

    n->obey_count = 0;
    for (size_t i = 0; i < n->config->base.gateway_count; i++) {
        const struct config_gateway *g = &n->config->base.gateways[i];

        c->gateways[i] = (struct directive_gateway){g->key, g->may};
        if ((g->may & DIRECTIVE_MAY_LOAD) != 0 && n->obey_count < REPORT_OBEYS_MAX)
            signature_key_short(&g->key, n->obeys[n->obey_count++]);
    }
    c->guard.gateways = c->gateways;
    c->guard.gateway_count = n->config->base.gateway_count;
}

enum err
node_control_open(struct node *n)
{
    struct node_control *c = calloc(1, sizeof(*c));

    n->control = c;
    if (c == NULL)
        return ERR_MEMORY;
    c->guard.node = n->name;
    c->guard.epoch = n->epoch;
    node_control_change(n);
    return ERR_OK;
}

void
node_control_close(struct node *n)
{
    free(n->control);
    n->control = NULL;
}

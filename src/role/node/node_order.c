/* node_order - directives as orders to an engine: sent, and then followed until the engine says
 * that it is so, or that it will not be. What came of each is kept for a while, for reports.
 *
 *   ends      an unload or a sleep: engines cut what runs, so that is let end, and nothing new goes
 *             there; not within limits.drain: it stays
 *   waits     a load: a model of this engine is being unloaded, perhaps to make room for it; a wake
 *             likewise for a sleep
 *   sent      the engine has not answered yet
 *   watched   it said that it begins: its models' states tell when it is done
 *   over      what came of it is known; until the engine was looked at anew, the order counts
 *
 * So two gateways that want the same get it once, and one that wants something else is told to
 * come again: an engine loads one model at a time. */
#include "role/node/node_order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "io/http_fetch.h"
#include "io/log.h"

#define ORDER_NS          1200000000000u /* large models load for long */
#define DOWN_NS           60000000000u   /* an engine that does not answer so long has ended */
#define STILL_NS          30000000000u   /* it said that it begins, and nothing has changed */
#define LEAVE_NS          1000000000u    /* until gateways have heard that a model leaves */
#define LOOK_NS           250000000u     /* between two looks at what is under way */
#define OUTCOME_NS        10000000000u   /* it is said so long: reports may be lost */
#define OUTCOMES_MAX      16u
#define ANSWER_BYTES_KEPT 2048u
#define CHECK_BYTES_MAX   131072u

enum order_step { ORDER_ENDS, ORDER_WAITS, ORDER_SENT, ORDER_WATCHED, ORDER_OVER };

struct node_order { /* a malloc of its own: few, and they outlive the exchange */
    LIST_ENTRY(node_order) link;
    struct node *node;
    struct node_engine *engine;
    struct http_fetch fetch; /* while it is sent, into answer */
    enum order_step step;
    enum control_action action;
    enum directive_action asked;
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    char model[ADAPTER_MODEL_BYTES_MAX];
    struct control_request request;
    struct span body; /* request.body */
    uint64_t asked_ns, sent_ns, down_ns;
    uint64_t leaves_ns; /* when its model began to leave; 0: it does not */
    bool has_moved;     /* its model was seen on its way */
    bool has_failed;
    char answer[ANSWER_BYTES_KEPT];
    char *looked_at; /* CHECK_BYTES_MAX: what the engine says before it is asked; NULL: not now */
};

struct outcome {
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    enum directive_result result;
    double took_ms;
    uint64_t ended_ns; /* 0: none */
    char words[REPORT_OUTCOME_BYTES_MAX + 1];
};

struct node_orders {
    LIST_HEAD(, node_order) list;
    uint32_t count;
    struct outcome outcomes[OUTCOMES_MAX]; /* a ring */
    uint64_t outcome_count;
    struct loop_timer look_timer;
};

static void order_send(struct node_order *o);
static void order_proceed(struct node_order *o);
static void on_look(struct loop_timer *timer);

/* Requests that would be cut: an engine sleeps as a whole. */
static uint32_t
using_it(const struct node_order *o)
{
    return node_proxy_using(o->engine,
                            o->action == CONTROL_SLEEP ? SPAN_LIT("") : span_of(o->model));
}

/* ---- How it ended. */

static bool
is_about(const struct node_order *o, struct span model)
{
    return span_eq_text(model, o->model);
}

static void
note_outcome(struct node_order *o, enum directive_result result, const char *words)
{
    struct node_orders *orders = o->node->orders;
    struct outcome *out = &orders->outcomes[orders->outcome_count++ % OUTCOMES_MAX];
    char plain[DIRECTIVE_REPLY_WORDS_BYTES];
    uint64_t now_ns = clock_now_ns();

    if (result == DIRECTIVE_DONE)
        o->node->counts.orders_done++;
    else
        o->node->counts.orders_failed++;
    directive_plain(words, plain);
    *out = (struct outcome){
        .result = result, .ended_ns = now_ns, .took_ms = (double)(now_ns - o->asked_ns) / 1e6};
    memcpy(out->nonce, o->nonce, sizeof(out->nonce));
    span_copy(span_of(plain), out->words, sizeof(out->words));
    log_info("%s of %s at engine %.*s: %s%s%s", directive_action_name(o->asked),
             o->model[0] != '\0' ? o->model : "the engine", (int)o->engine->at->name.bytes,
             o->engine->at->name.data, directive_results[result], words[0] != '\0' ? ": " : "",
             words);
}

static void
order_free(struct node_order *o)
{
    LIST_REMOVE(o, link);
    o->node->orders->count--;
    free(o->looked_at);
    free(o);
}

static void
order_over(struct node_order *o, enum directive_result result, const char *words)
{
    note_outcome(o, result, words);
    if (result == DIRECTIVE_DONE && o->request.goal == MODEL_READY)
        node_model_took(o->node, o->model, (double)(clock_now_ns() - o->sent_ns) / 1e6);
    if (result == DIRECTIVE_DONE && o->engine->kind->hides_sleep)
        o->engine->is_asleep = o->request.goal == MODEL_DORMANT;
    o->has_failed = result != DIRECTIVE_DONE;
    o->step = ORDER_OVER;
    node_report_soon(o->node);
}

/* By its answer. What the engine said of its models is older than that: until it was looked at
 * anew, the order counts. */
static void
order_answered(struct node_order *o, enum directive_result result, const char *words)
{
    order_over(o, result, words);
    node_engine_look(o->engine);
}

/* ---- Watching. */

/* The engine was looked at: is it so? */
static void
order_watch(struct node_order *o, uint64_t now_ns)
{
    const struct node_engine *e = o->engine;
    uint32_t state = node_engine_state(e, span_of(o->model));

    o->down_ns = e->up ? 0 : o->down_ns != 0 ? o->down_ns : now_ns;
    if (!e->up && now_ns - o->down_ns > DOWN_NS) {
        order_over(o, DIRECTIVE_FAILED, "the engine answers no more");
    } else if (e->up && (state == (uint32_t)o->request.goal ||
                         (state == MODEL_ABSENT && o->request.goal == MODEL_ON_DISK))) {
        order_over(o, DIRECTIVE_DONE, "");
    } else if (e->up && state == MODEL_FAILED) {
        order_over(o, DIRECTIVE_FAILED, "the engine says that it failed; its log says why");
    } else if (e->up && o->request.goal == MODEL_READY && state == MODEL_ON_DISK &&
               (o->has_moved || now_ns - o->sent_ns > STILL_NS)) {
        order_over(o, DIRECTIVE_FAILED,
                   "it began and did not come to its end; the engine's log says why");
    } else if (now_ns - o->asked_ns > ORDER_NS) {
        order_over(o, DIRECTIVE_FAILED, "not within 20 minutes");
    }
    o->has_moved = o->has_moved || state == MODEL_LOADING || state == MODEL_DOWNLOADING;
}

/* Is it not yet so? */
static bool
is_open(const struct node_order *o)
{
    return o->step < ORDER_WATCHED ||
           (o->step == ORDER_WATCHED &&
            node_engine_state(o->engine, span_of(o->model)) != (uint32_t)o->request.goal);
}

/* What makes room, or sleep that has to be over: a load or a wake waits for it. */
static bool
is_on_its_way_out(const struct node_order *o)
{
    return o->action == CONTROL_UNLOAD || o->action == CONTROL_SLEEP;
}

static bool
unloads_now(const struct node_engine *e)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (o->engine == e && is_on_its_way_out(o) && is_open(o))
            return true;
    }
    return false;
}

void
node_control_seen(struct node_engine *e)
{
    struct node_orders *orders = e->node->orders;
    uint64_t now_ns = clock_now_ns();
    struct node_order *o, *next;

    LIST_FOREACH_SAFE (o, &orders->list, link, next) {
        if (o->engine != e)
            continue;
        if (o->step == ORDER_WATCHED)
            order_watch(o, now_ns);
        if (o->step == ORDER_OVER)
            order_free(o);
    }
    LIST_FOREACH_SAFE (o, &orders->list, link, next) {
        if (o->engine == e && o->step == ORDER_WAITS && !unloads_now(e))
            order_send(o);
    }
    if (e->node->waiting_count > 0) /* perhaps for what was under way */
        loop_defer(e->node->loop, &e->node->admit, node_admit);
}

void
node_control_leave(struct node_engine *e, const char *words)
{
    struct node_order *o, *next;

    LIST_FOREACH_SAFE (o, &e->node->orders->list, link, next) {
        if (o->engine != e)
            continue;
        http_fetch_cancel(&o->fetch);
        if (o->step != ORDER_OVER)
            order_over(o, DIRECTIVE_FAILED, words);
        order_free(o);
    }
}

static void
look_later(struct node *n)
{
    if (n->orders->count > 0 && n->orders->look_timer.deadline_ns == 0)
        loop_timer_set(n->loop, &n->orders->look_timer, loop_now_ns(n->loop) + LOOK_NS, on_look);
}

/* Has what runs of it come to its end? */
static void
let_end(struct node_order *o, uint64_t now_ns)
{
    uint64_t drain_ns = o->node->roster->config.drain_ns;
    uint32_t count = using_it(o);
    char words[CONTROL_WORDS_BYTES];

    if (count == 0 && now_ns - o->leaves_ns >= LEAVE_NS) {
        order_proceed(o);
    } else if (count > 0 && now_ns - o->leaves_ns >= drain_ns) {
        snprintf(words, sizeof(words),
                 "%u of its requests did not end within %g s (limits.drain): it stays", count,
                 (double)drain_ns / 1e9);
        order_over(o, DIRECTIVE_FAILED, words);
    }
}

static void
on_look(struct loop_timer *timer)
{
    struct node_orders *orders = CONTAINER_OF(timer, struct node_orders, look_timer);
    struct node_order *o = LIST_FIRST(&orders->list);
    struct node *n;

    if (o == NULL)
        return;
    n = o->node;
    LIST_FOREACH (o, &orders->list, link) {
        if (o->step == ORDER_ENDS)
            let_end(o, clock_now_ns());
        if (o->step == ORDER_WATCHED || o->step == ORDER_OVER)
            node_engine_look(o->engine);
    }
    look_later(n);
}

/* ---- The request to the engine. */

static void
on_over(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    struct node_order *o = CONTAINER_OF(f, struct node_order, fetch);
    struct control_words words = {.text = ""};

    (void)why;
    if (!is_whole) {
        order_answered(o, DIRECTIVE_FAILED, "the engine did not answer");
        return;
    }
    switch (control_outcome(o->engine->kind->kind, o->action, f->status,
                            (struct span){f->data, f->bytes}, &words)) {
    case CONTROL_DONE:
        order_answered(o, DIRECTIVE_DONE, words.text);
        break;
    case CONTROL_BEGUN:
        o->step = ORDER_WATCHED;
        node_engine_look(o->engine);
        break;
    case CONTROL_REFUSED:
        order_answered(o, DIRECTIVE_FAILED, words.text);
        break;
    }
}

/* Send it to the engine; what comes back is for `over`. */
static void
fetch(struct node_order *o, const char *method, const char *path, http_fetch_fn *over, char *data,
      size_t room)
{
    const struct roster_node *at = o->engine->at;
    const struct http_header headers[] = {
        {SPAN_LIT("content-type"), SPAN_LIT("application/json")},
        {SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION)},
        {SPAN_LIT("authorization"), at->authorization}};
    const struct http_call_request request = {
        .method = span_of(method),
        .target = span_of(path),
        .headers = headers,
        .header_count = at->authorization.bytes > 0 ? 3 : 2,
        .parts = &o->body,
        .part_count = over == on_over && o->body.bytes > 0 ? 1 : 0,
    };
    const struct http_call_limits limits = {.connect_ns = ASKER_CONNECT_NS,
                                            .first_byte_ns = ORDER_NS,
                                            .idle_ns = ORDER_NS,
                                            .body_bytes_max = ADAPTER_DOCUMENT_BYTES_MAX};

    o->fetch.data = data;
    o->fetch.room = room;
    o->fetch.over = over;
    if (http_fetch_start(&o->fetch, o->engine->target, &request, &limits) != ERR_OK)
        order_answered(o, DIRECTIVE_FAILED, "no connection to the engine can be had now");
}

static void
send_now(struct node_order *o)
{
    o->step = ORDER_SENT;
    o->sent_ns = clock_now_ns();
    fetch(o, o->request.method, o->request.path, on_over, o->answer, sizeof(o->answer));
}

/* What runs of it ends first, then it is sent. */
static void
order_proceed(struct node_order *o)
{
    if (is_on_its_way_out(o) && o->leaves_ns == 0) {
        o->step = ORDER_ENDS;
        o->leaves_ns = clock_now_ns();
        node_models_changed(o->node);
    } else {
        send_now(o);
    }
}

/* Would the order do anything? */
static void
on_checked(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    struct node_order *o = CONTAINER_OF(f, struct node_order, fetch);
    struct span said = {f->data, is_whole && f->status == 200 ? f->bytes : 0};
    struct control_words words = {.text = ""};

    (void)why;
    if (control_check(o->engine->kind->kind, o->action, said, &words))
        order_proceed(o);
    else
        order_answered(o, DIRECTIVE_FAILED, words.text);
}

static void
order_send(struct node_order *o)
{
    const char *path = control_check_path(o->engine->kind->kind, o->action);

    o->step = ORDER_SENT;
    if (path != NULL && o->looked_at == NULL)
        o->looked_at = malloc(CHECK_BYTES_MAX);
    if (path != NULL && o->looked_at != NULL)
        fetch(o, "GET", path, on_checked, o->looked_at, CHECK_BYTES_MAX);
    else
        order_proceed(o);
}

/* ---- What is asked. */

static enum directive_result
refuse(struct control_words *words, const char *text)
{
    snprintf(words->text, sizeof(words->text), "%s", text);
    return DIRECTIVE_REFUSED;
}

/* Is something under way at this engine that decides it? DIRECTIVE_RESULT_COUNT: no. */
static enum directive_result
under_way(const struct node_engine *e, const struct directive *d, enum control_action action,
          struct control_words *words)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (o->engine != e || !is_open(o))
            continue;
        if (o->action == action && is_about(o, d->model)) {
            (void)refuse(words, "it is under way already");
            return DIRECTIVE_BEGUN;
        }
        if (is_on_its_way_out(o) && (action == CONTROL_LOAD || action == CONTROL_WAKE))
            continue; /* it waits for that */
        if (action == CONTROL_UNLOAD && !is_about(o, d->model))
            continue;
        return refuse(words, action == CONTROL_LOAD
                                 ? "the engine loads another model: ask again later"
                                 : "something else is under way at this engine: ask again later");
    }
    return DIRECTIVE_RESULT_COUNT;
}

void
node_order_keep(struct node_engine *e, struct span model)
{
    struct node_order *o;
    bool found = false;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (o->engine != e || o->step != ORDER_ENDS || !(o->model[0] == '\0' || is_about(o, model)))
            continue;
        order_over(o, DIRECTIVE_FAILED, "it was wanted again before what ran of it had ended");
        found = true;
    }
    if (found)
        node_engine_look(e);
}

static struct node_order *
order_new(struct node_engine *e, const struct directive *d, enum control_action action)
{
    struct node_order *o = calloc(1, sizeof(*o));

    if (o == NULL)
        return NULL;
    o->node = e->node;
    o->engine = e;
    o->action = action;
    o->asked = (enum directive_action)d->action;
    o->asked_ns = clock_now_ns();
    memcpy(o->nonce, d->nonce, sizeof(o->nonce));
    span_copy(d->model, o->model, sizeof(o->model));
    return o;
}

enum directive_result
node_order_begin(struct node_engine *e, const struct directive *d, enum control_action action,
                 struct control_words *words)
{
    const struct control_options options = {.adapter_path = {NULL, 0}}; /* of adapters only */
    uint32_t state = node_engine_state(e, d->model);
    struct node *n = e->node;
    enum directive_result result;
    struct node_order *o;

    if (e->kind == NULL || !e->up)
        return refuse(words, "the engine does not answer");
    if (action == CONTROL_LOAD || action == CONTROL_WAKE)
        node_order_keep(e, d->model);
    result = under_way(e, d, action, words);
    if (result != DIRECTIVE_RESULT_COUNT)
        return result;
    if (n->orders->count == NODE_ORDERS_MAX)
        return refuse(words, "as many directives as can be are under way: ask again later");
    o = order_new(e, d, action);
    if (o == NULL)
        return refuse(words, "out of memory");
    if (control_request(e->kind->kind, action, d->model, &options, &o->request, words) != ERR_OK) {
        free(o);
        return DIRECTIVE_REFUSED; /* it says why */
    }
    if (d->model.bytes > 0 && state == (uint32_t)o->request.goal) {
        free(o);
        return DIRECTIVE_DONE; /* it is so */
    }
    o->body = (struct span){o->request.body, o->request.body_bytes};
    LIST_INSERT_HEAD(&n->orders->list, o, link);
    n->orders->count++;
    look_later(n);
    if (is_on_its_way_out(o) && using_it(o) > 0)
        snprintf(words->text, sizeof(words->text), "%u of its requests may end first", using_it(o));
    if (unloads_now(e) && (action == CONTROL_LOAD || action == CONTROL_WAKE))
        o->step = ORDER_WAITS;
    else
        order_send(o);
    node_models_changed(n);
    return DIRECTIVE_BEGUN;
}

/* ---- What is told of models. */

static bool
changes(const struct node_order *o, const struct node_engine *e, struct span model, uint32_t state)
{
    return o->engine == e && (is_about(o, model) || (o->model[0] == '\0' && state != MODEL_ABSENT));
}

uint32_t
node_control_state(const struct node_engine *e, struct span model, uint32_t state)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (!changes(o, e, model, state))
            continue;
        if (o->request.goal == MODEL_READY && state != MODEL_READY)
            return MODEL_LOADING;
        if (o->leaves_ns != 0 && !o->has_failed && state == MODEL_READY)
            return o->request.goal;
    }
    return state;
}

bool
node_order_lets_in(const struct node_engine *e, struct span model, uint32_t state)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (changes(o, e, model, state) && o->leaves_ns != 0 && !o->has_failed)
            return o->step == ORDER_ENDS && clock_now_ns() - o->leaves_ns < LEAVE_NS;
    }
    return true;
}

/* Does something that runs there end first? */
static bool
lets_end(const struct node_engine *e)
{
    const struct node_order *o;

    LIST_FOREACH (o, &e->node->orders->list, link) {
        if (o->engine == e && o->step == ORDER_ENDS && using_it(o) > 0)
            return true;
    }
    return false;
}

double
node_order_ready_in_ms(const struct node *n, struct span model, double usual_ms)
{
    const struct node_order *o;

    LIST_FOREACH (o, &n->orders->list, link) {
        if (o->request.goal != MODEL_READY || !is_about(o, model) || !(usual_ms > 0.0))
            continue;
        if (o->step == ORDER_WAITS)
            return usual_ms + (lets_end(o->engine) ? 1e3 * n->seconds_mean : 0.0);
        return fmax(usual_ms - (double)(clock_now_ns() - o->sent_ns) / 1e6, 0.0);
    }
    return (double)NAN;
}

void
node_order_outcomes(const struct node *n, struct report *r)
{
    const struct node_orders *orders = n->orders;
    uint64_t now_ns = clock_now_ns();

    for (uint64_t i = 0; i < OUTCOMES_MAX && i < orders->outcome_count; i++) {
        const struct outcome *o = &orders->outcomes[(orders->outcome_count - 1 - i) % OUTCOMES_MAX];
        if (now_ns - o->ended_ns > OUTCOME_NS || r->outcome_count == REPORT_OUTCOMES_MAX)
            return;
        r->outcomes[r->outcome_count] = (struct report_outcome){
            .result = o->result, .took_ms = o->took_ms, .words = span_of(o->words)};
        memcpy(r->outcomes[r->outcome_count++].nonce, o->nonce, sizeof(o->nonce));
    }
}

uint32_t
node_orders_count(const struct node *n)
{
    const struct node_order *o;
    uint32_t count = 0;

    LIST_FOREACH (o, &n->orders->list, link)
        count += o->step != ORDER_OVER;
    return count;
}

/* ---- Life. */

enum err
node_orders_open(struct node *n)
{
    n->orders = calloc(1, sizeof(*n->orders));
    if (n->orders == NULL)
        return ERR_MEMORY;
    LIST_INIT(&n->orders->list);
    return ERR_OK;
}

void
node_orders_close(struct node *n)
{
    struct node_order *o, *next;

    if (n->orders == NULL)
        return;
    loop_timer_stop(&n->orders->look_timer);
    LIST_FOREACH_SAFE (o, &n->orders->list, link, next) {
        http_fetch_cancel(&o->fetch);
        order_free(o);
    }
    free(n->orders);
    n->orders = NULL;
}

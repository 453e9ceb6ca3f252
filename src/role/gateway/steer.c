/* steer - directives: made, sent, and what comes of them; see steer.h.
 *
 * asked -> (answer) begun -> done | failed
 *       -> (answer) done | refused       -> (none) silent, or failed when the node is not reached
 *
 * A ring under a lock; an order is found by its id, whose remainder is its place. Whatever makes
 * core hear something is left to the first lane (needs_deny), as are sending and time. */
#include "role/gateway/steer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/inbox.h"
#include "role/gateway/members.h"
#include "role/gateway/steer_send.h"

struct unwilling { /* of everything that we ask of this node */
    char node[CONFIG_NAME_BYTES_MAX + 1];
    uint64_t until_ns;
    char words[STEER_WORDS_BYTES];
};

struct steer {
    struct gateway *gateway;
    pthread_mutex_t lock;
    /* under it: */
    struct steer_order orders[STEER_ORDERS_MAX]; /* id % STEER_ORDERS_MAX */
    uint64_t asked;                              /* the last id */
    struct unwilling unwilling[STEER_REFUSALS_MAX];
    uint32_t unwilling_next;
    struct steer_counts counts;
    bool is_posted;
    /* of the first lane: */
    struct loop_post post;
    struct loop_timer look_timer;
    struct steer_send *send;
};

static void
steer_lock(struct steer *s)
{
    must(pthread_mutex_lock(&s->lock) == 0);
}

static void
steer_unlock(struct steer *s)
{
    must(pthread_mutex_unlock(&s->lock) == 0);
}

static struct loop *
loop_of(const struct steer *s)
{
    return s->gateway->lanes[0].loop;
}

const char *
steer_state_name(enum steer_state state)
{
    static const char *const names[STEER_STATE_COUNT] = {
        [STEER_ASKED] = "asked",     [STEER_BEGUN] = "begun",   [STEER_DONE] = "done",
        [STEER_REFUSED] = "refused", [STEER_FAILED] = "failed", [STEER_SILENT] = "silent",
    };

    return names[state];
}

/* ---- Orders. All under the lock. */

static struct steer_order *
order_of(struct steer *s, uint64_t id)
{
    struct steer_order *o = &s->orders[id % STEER_ORDERS_MAX];

    return id != 0 && o->id == id ? o : NULL;
}

static bool
is_open(const struct steer_order *o)
{
    return o->id != 0 && o->state <= STEER_BEGUN;
}

static void on_post(struct loop_post *post);

static void
post(struct steer *s)
{
    if (s->is_posted)
        return;
    s->is_posted = true;
    loop_post(loop_of(s), &s->post, on_post);
}

static struct steer_order *
order_add(struct steer *s)
{
    struct steer_order *o = &s->orders[++s->asked % STEER_ORDERS_MAX];
    uint64_t now_ns = clock_now_ns();

    *o = (struct steer_order){.id = s->asked,
                              .model = MODEL_NONE,
                              .worth_ms_s = (double)NAN,
                              .load_ms = (double)NAN,
                              .ready_in_ms = (double)NAN,
                              .took_ms = (double)NAN,
                              .asked_ns = now_ns,
                              .changed_ns = now_ns};
    if (getrandom(o->nonce, sizeof(o->nonce), 0) != (ssize_t)sizeof(o->nonce))
        memcpy(o->nonce, &now_ns, sizeof(now_ns)); /* refused as heard before, at the worst */
    post(s);
    return o;
}

static void
order_end(struct steer *s, struct steer_order *o, enum steer_state state, double took_ms,
          const char *words)
{
    o->state = state;
    o->changed_ns = clock_now_ns();
    o->took_ms = isnan(took_ms) ? (double)(o->changed_ns - o->asked_ns) / 1e6 : took_ms;
    snprintf(o->words, sizeof(o->words), "%s", words);
    o->needs_deny = state != STEER_DONE && !o->by_person;
    s->counts.ended[o->by_person][state]++;
    log_info("node %s: %s%s%s: %s%s%s", o->node_name,
             directive_action_name((enum directive_action)o->action),
             o->model_name[0] != '\0' ? " " : "", o->model_name, steer_state_name(state),
             words[0] != '\0' ? ": " : "", words);
    if (o->needs_deny)
        post(s);
}

/* ---- Who does not want to hear us. */

static struct unwilling *
unwilling_of(struct steer *s, struct span node)
{
    for (uint32_t i = 0; i < STEER_REFUSALS_MAX; i++) {
        if (s->unwilling[i].node[0] != '\0' && span_eq_text(node, s->unwilling[i].node))
            return &s->unwilling[i];
    }
    return NULL;
}

static void
note_refusal(struct steer *s, const struct steer_order *o, const char *words)
{
    struct unwilling *r = unwilling_of(s, span_of(o->node_name));

    if (r == NULL)
        r = &s->unwilling[s->unwilling_next++ % STEER_REFUSALS_MAX];
    memcpy(r->node, o->node_name, sizeof(r->node));
    r->until_ns = clock_now_ns() + STEER_REFUSED_NS;
    snprintf(r->words, sizeof(r->words), "%s", words);
}

bool
steer_is_refused(struct steer *s, struct span node, char *ret_words, size_t size)
{
    const struct unwilling *r;
    bool refused;

    steer_lock(s);
    r = unwilling_of(s, node);
    refused = r != NULL && clock_now_ns() < r->until_ns;
    if (refused && ret_words != NULL)
        snprintf(ret_words, size, "%s", r->words);
    steer_unlock(s);
    return refused;
}

/* ---- What comes of them. */

void
steer_answered(struct steer *s, uint64_t id, const struct directive_reply *reply)
{
    char words[STEER_WORDS_BYTES];
    struct steer_order *o;

    span_copy(reply->words, words, sizeof(words));
    steer_lock(s);
    o = order_of(s, id);
    if (o == NULL || o->state != STEER_ASKED) {
        steer_unlock(s);
        return; /* forgotten, or its outcome was quicker */
    }
    if (reply->verdict != DIRECTIVE_GOOD) {
        order_end(s, o, STEER_REFUSED, (double)NAN, words);
        if (reply->verdict != DIRECTIVE_OTHER_EPOCH) /* its hello is on its way */
            note_refusal(s, o, words);
    } else if (reply->result == DIRECTIVE_BEGUN) {
        o->state = STEER_BEGUN;
        o->changed_ns = clock_now_ns();
        o->ready_in_ms = reply->ready_in_ms;
        snprintf(o->words, sizeof(o->words), "%s", words);
    } else {
        order_end(s, o,
                  reply->result == DIRECTIVE_DONE      ? STEER_DONE
                  : reply->result == DIRECTIVE_REFUSED ? STEER_REFUSED
                                                       : STEER_FAILED,
                  (double)NAN, words);
    }
    steer_unlock(s);
}

void
steer_unanswered(struct steer *s, uint64_t id, bool is_silent, const char *words)
{
    struct steer_order *o;

    steer_lock(s);
    o = order_of(s, id);
    if (o != NULL && o->state == STEER_ASKED)
        order_end(s, o, is_silent ? STEER_SILENT : STEER_FAILED, (double)NAN, words);
    steer_unlock(s);
}

void
steer_outcome(struct steer *s, struct span node, const struct report_outcome *outcome)
{
    char words[STEER_WORDS_BYTES];

    span_copy(outcome->words, words, sizeof(words));
    steer_lock(s);
    for (uint32_t i = 0; i < STEER_ORDERS_MAX; i++) {
        struct steer_order *o = &s->orders[i];
        if (!is_open(o) || !span_eq_text(node, o->node_name) ||
            memcmp(o->nonce, outcome->nonce, sizeof(o->nonce)) != 0)
            continue;
        order_end(s, o, outcome->result == DIRECTIVE_DONE ? STEER_DONE : STEER_FAILED,
                  outcome->took_ms, words);
        break;
    }
    steer_unlock(s);
}

void
steer_restarted(struct steer *s, struct span node)
{
    steer_lock(s);
    for (uint32_t i = 0; i < STEER_ORDERS_MAX; i++) {
        struct steer_order *o = &s->orders[i];
        if (o->id != 0 && o->state == STEER_BEGUN && span_eq_text(node, o->node_name))
            order_end(s, o, STEER_FAILED, (double)NAN, "the node restarted");
    }
    steer_unlock(s);
}

/* ---- The first lane: core hears, directives are sent, time passes. */

/* What core wanted of the two will not be; what is known of them stays as it is. */
static void
deny(struct steer *s, const struct steer_order *o)
{
    struct event event = {
        .kind = EVENT_MODEL,
        .model = {.node = o->node, .model = o->model, .ready_in_ms = NAN, .denied = 1}};
    const struct fleet *fleet = lane_fleet(&s->gateway->lanes[0]);
    const struct roster_node *n = roster_node(fleet->roster, o->node);
    const struct fleet_node_served *served = fleet_served(fleet, o->node);
    struct actions actions;
    uint64_t now_ns;

    if (n == NULL || !span_eq_text(n->name, o->node_name))
        return; /* it left: core knows */
    for (uint32_t i = 0; i < served->count; i++) {
        if (served->list[i].model != o->model)
            continue;
        event.model.state = served->list[i].state;
        event.model.pinned = served->list[i].pinned;
        event.model.slots = served->list[i].slots;
    }
    now_ns = decide_step(s->gateway->door, &event, &actions);
    inbox_share(s->gateway, now_ns, &actions, 0);
}

static void
on_post(struct loop_post *p)
{
    struct steer *s = CONTAINER_OF(p, struct steer, post);
    struct steer_order o;
    bool found;

    do { /* one at a time: what is done with it takes the lock again */
        found = false;
        steer_lock(s);
        s->is_posted = false;
        for (uint32_t i = 0; i < STEER_ORDERS_MAX && !found; i++) {
            struct steer_order *at = &s->orders[i];
            found = at->id != 0 && (at->needs_deny || !at->is_sent);
            if (!found)
                continue;
            o = *at;
            at->is_sent = true;
            at->needs_deny = false;
        }
        steer_unlock(s);
        if (found && o.needs_deny)
            deny(s, &o);
        else if (found)
            steer_send(s->send, &o);
    } while (found);
}

/* Did the model come to be as it was wanted? */
static bool
is_so(const struct fleet *fleet, const struct steer_order *o)
{
    const struct fleet_node_served *served = fleet_served(fleet, o->node);
    uint32_t state = MODEL_ABSENT;

    for (uint32_t i = 0; i < served->count; i++) {
        if (served->list[i].model == o->model)
            state = served->list[i].state;
    }
    if (o->action == DIRECTIVE_LOAD || o->action == DIRECTIVE_WAKE)
        return state == MODEL_READY;
    return state != MODEL_READY && state != MODEL_LOADING;
}

/* Those that were begun, and of which nothing was heard. */
static void
look_at(struct steer *s, struct steer_order *o, const struct fleet *fleet, uint64_t now_ns)
{
    bool comes = o->action == DIRECTIVE_LOAD || o->action == DIRECTIVE_WAKE;
    const struct roster_node *n = roster_node(fleet->roster, o->node);
    uint64_t quiet_ns = comes ? STEER_QUIET_NS : STEER_GOES_NS;

    if (n == NULL || !span_eq_text(n->name, o->node_name))
        order_end(s, o, STEER_FAILED, (double)NAN, "the node left");
    else if (o->model != MODEL_NONE && now_ns - o->changed_ns > quiet_ns && is_so(fleet, o))
        order_end(s, o, STEER_DONE, (double)NAN, "");
    else if (now_ns - o->asked_ns > STEER_END_NS)
        order_end(s, o, STEER_SILENT, (double)NAN, "nothing was heard of how it ended");
}

static void
on_look(struct loop_timer *timer)
{
    struct steer *s = CONTAINER_OF(timer, struct steer, look_timer);
    const struct fleet *fleet = lane_fleet(&s->gateway->lanes[0]);
    uint64_t now_ns = clock_now_ns();

    steer_lock(s);
    for (uint32_t i = 0; i < STEER_ORDERS_MAX; i++) {
        if (s->orders[i].id != 0 && s->orders[i].state == STEER_BEGUN)
            look_at(s, &s->orders[i], fleet, now_ns);
    }
    steer_unlock(s);
    members_steer(s->gateway->members, fleet);
    loop_timer_set(loop_of(s), timer, loop_now_ns(loop_of(s)) + STEER_LOOK_NS, on_look);
}

/* ---- Asking. */

void
steer_plan(struct steer *s, const struct action *a)
{
    struct fleet *fleet = decide_fleet(s->gateway->door);
    const struct roster_node *n = roster_node(fleet->roster, a->plan.node);
    struct steer_order *o;

    if (n != NULL && a->plan.model < fleet->model_count) {
        steer_lock(s);
        o = order_add(s);
        o->node = a->plan.node;
        o->model = a->plan.model;
        o->action = a->kind == ACTION_LOAD ? DIRECTIVE_LOAD : DIRECTIVE_UNLOAD;
        o->reason = a->plan.reason;
        o->worth_ms_s = (double)a->plan.worth_ms_s;
        o->load_ms = (double)a->plan.load_ms;
        span_copy(n->name, o->node_name, sizeof(o->node_name));
        span_copy(fleet->models[a->plan.model].name, o->model_name, sizeof(o->model_name));
        span_copy(fleet_engine_name(fleet, o->node, o->model), o->engine_name,
                  sizeof(o->engine_name));
        if (o->engine_name[0] == '\0')
            memcpy(o->engine_name, o->model_name, sizeof(o->engine_name));
        steer_unlock(s);
    }
    fleet_unref(fleet);
}

/* Can anything be asked of it? */
static enum err
check(struct steer *s, const struct fleet *fleet, struct span node, enum directive_action action,
      struct span model, char ret_words[STEER_WORDS_BYTES])
{
    struct member_look look;
    bool about_node = action == DIRECTIVE_DRAIN || action == DIRECTIVE_READY;

    members_look(s->gateway->members, node, &look);
    if (roster_find(fleet->roster, node) == NULL) {
        snprintf(ret_words, STEER_WORDS_BYTES, "%s",
                 look.gone ? "this node left"
                           : "there is no node of this name: `isochrone nodes` lists all");
        return ERR_NOT_FOUND;
    }
    if (!look.is_member) {
        snprintf(ret_words, STEER_WORDS_BYTES,
                 "this node is known from the configuration only: no agent (`isochrone node`) said "
                 "hello that could be asked");
        return ERR_UNSUPPORTED;
    }
    if (fleet->roster->own_key == NULL) {
        snprintf(ret_words, STEER_WORDS_BYTES,
                 "this gateway has no key to sign with: `isochrone key gateway` makes one, `key: "
                 "file:PATH` in its configuration names it");
        return ERR_UNSUPPORTED;
    }
    if ((model.bytes > 0 && about_node) ||
        (model.bytes > 0 && !message_is_text(model, CONFIG_MODEL_NAME_BYTES_MAX)) ||
        (model.bytes == 0 && !about_node && action != DIRECTIVE_WAKE &&
         action != DIRECTIVE_SLEEP)) {
        snprintf(ret_words, STEER_WORDS_BYTES,
                 about_node         ? "%s is about a node, not about a model"
                 : model.bytes == 0 ? "%s: which model?"
                                    : "%s: this is no name of a model",
                 directive_action_name(action));
        return ERR_ARG;
    }
    return ERR_OK;
}

enum err
steer_ask(struct steer *s, struct span node, enum directive_action action, struct span model,
          uint64_t *ret_id, char ret_words[STEER_WORDS_BYTES])
{
    struct fleet *fleet = decide_fleet(s->gateway->door);
    enum err err = check(s, fleet, node, action, model, ret_words);
    const struct roster_node *n = roster_find(fleet->roster, node);
    struct span engine_name = {NULL, 0};
    struct steer_order *o;

    if (err == ERR_OK) {
        steer_lock(s);
        o = order_add(s);
        o->by_person = true;
        o->node = n->index;
        o->action = action;
        o->model = model.bytes > 0 ? fleet_model_find(fleet, model) : MODEL_NONE;
        if (o->model != MODEL_NONE)
            engine_name = fleet_engine_name(fleet, o->node, o->model);
        span_copy(node, o->node_name, sizeof(o->node_name));
        span_copy(model, o->model_name, sizeof(o->model_name));
        span_copy(engine_name.bytes > 0 ? engine_name : model, o->engine_name,
                  sizeof(o->engine_name));
        *ret_id = o->id;
        steer_unlock(s);
    }
    fleet_unref(fleet);
    return err;
}

/* ---- For people. */

static void
look(const struct steer_order *o, struct steer_look *ret)
{
    uint64_t now_ns = clock_now_ns();
    double since_ms = (double)(now_ns - o->changed_ns) / 1e6;

    *ret = (struct steer_look){
        .id = o->id,
        .action = o->action,
        .by_person = o->by_person,
        .reason = o->reason,
        .state = o->state,
        .asked_ago_ms = (double)(now_ns - o->asked_ns) / 1e6,
        .changed_ago_ms = since_ms,
        .took_ms = o->took_ms,
        .ready_in_ms = o->state == STEER_BEGUN ? fmax(o->ready_in_ms - since_ms, 0.0) : (double)NAN,
        .worth_ms_s = o->worth_ms_s,
        .load_ms = o->load_ms,
    };
    if (isnan(o->ready_in_ms))
        ret->ready_in_ms = (double)NAN; /* fmax drops it */
    memcpy(ret->node, o->node_name, sizeof(ret->node));
    memcpy(ret->model, o->model_name, sizeof(ret->model));
    memcpy(ret->words, o->words, sizeof(ret->words));
}

uint32_t
steer_list(struct steer *s, uint32_t from, struct steer_look *ret_looks, uint32_t max)
{
    uint32_t count = 0;

    steer_lock(s);
    for (uint64_t i = from; i < STEER_ORDERS_MAX && i < s->asked && count < max; i++)
        look(order_of(s, s->asked - i), &ret_looks[count++]);
    steer_unlock(s);
    return count;
}

enum err
steer_find(struct steer *s, uint64_t id, struct steer_look *ret_look)
{
    const struct steer_order *o;

    steer_lock(s);
    o = order_of(s, id);
    if (o != NULL)
        look(o, ret_look);
    steer_unlock(s);
    return o != NULL ? ERR_OK : ERR_NOT_FOUND;
}

void
steer_count(struct steer *s, struct steer_counts *ret_counts)
{
    steer_lock(s);
    *ret_counts = s->counts;
    steer_unlock(s);
}

/* ---- Life. */

enum err
steer_open(struct gateway *gateway, struct steer **ret_steer)
{
    struct steer *s = calloc(1, sizeof(*s));
    enum err err;

    if (s == NULL)
        return ERR_MEMORY;
    s->gateway = gateway;
    must(pthread_mutex_init(&s->lock, NULL) == 0);
    err = steer_send_open(gateway, s, &s->send);
    if (err != ERR_OK) {
        steer_close(s);
        return err;
    }
    *ret_steer = s;
    return ERR_OK;
}

void
steer_begin(struct steer *s)
{
    loop_timer_set(loop_of(s), &s->look_timer, loop_now_ns(loop_of(s)) + STEER_LOOK_NS, on_look);
}

void
steer_close(struct steer *s)
{
    if (s == NULL)
        return;
    loop_timer_stop(&s->look_timer);
    steer_send_close(s->send);
    must(pthread_mutex_destroy(&s->lock) == 0);
    free(s);
}

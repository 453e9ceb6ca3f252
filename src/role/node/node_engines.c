/* node_engines - which engines there are: those of the configuration, at the start and after each
 * reload. An engine is its address, whatever it is called, and stands here once; one that stays
 * keeps what runs there, and is asked anew when its credential, kind or slots differ.
 *
 *   coming -> serving    it has answered, or it does not: either way it is known what is there
 *   serving -> leaving   the configuration has it no more, and all that come have come: so one that
 *                        takes another's place takes its models without a gap
 *   leaving -> gone      the last request that ran there has ended */
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "role/node/node_state.h"

static void
engine_free(struct node_engine *e)
{
    node_engine_stop(e);
    http_target_close(e->target);
    roster_unref(e->roster);
    free(e);
}

static void
list_free(struct node_engines *list)
{
    struct node_engine *e;

    while ((e = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, e, link);
        engine_free(e);
    }
}

static enum err
engine_open(struct node *n, struct roster *roster, const struct roster_node *at,
            enum node_engine_life life, struct node_engines *list)
{
    struct node_engine *e;
    enum err err;

    if (at->address.bytes == 0)
        return ERR_NOT_FOUND; /* told when the name was looked up */
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return ERR_MEMORY;
    *e = (struct node_engine){
        .node = n, .roster = roster_ref(roster), .at = at, .life = life, .is_wanted = true};
    err = http_target_open(n->client, &at->address.any, at->address.bytes, at->host, NULL, 0,
                           &e->target);
    if (err == ERR_OK && at->tls != NULL)
        err = http_target_use_tls(e->target, at->tls, at->tls_name, at->tls_pin);
    if (err != ERR_OK) {
        engine_free(e);
        return err;
    }
    node_engine_begin(e);
    TAILQ_INSERT_TAIL(list, e, link);
    return ERR_OK;
}

/* ---- From one configuration to the next. */

/* Is it the same engine? One whose name cannot be looked up now is taken to be where it was. */
static bool
is_at(const struct node_engine *e, const struct roster_node *at)
{
    const struct roster_node *was = e->at;

    return span_eq(was->host, at->host) && (was->tls != NULL) == (at->tls != NULL) &&
           was->tls_identity == at->tls_identity &&
           (at->address.bytes == 0 ||
            (was->address.bytes == at->address.bytes &&
             memcmp(&was->address.v6, &at->address.v6, at->address.bytes) == 0));
}

static struct node_engine *
find_in(struct node_engines *list, const struct roster_node *at)
{
    struct node_engine *e;

    TAILQ_FOREACH (e, list, link) {
        if (is_at(e, at))
            return e;
    }
    return NULL;
}

static struct node_engine *
find(struct node *n, const struct roster_node *at)
{
    struct node_engine *e = find_in(&n->engines, at);

    return e != NULL ? e : find_in(&n->coming, at);
}

enum err
node_engines_prepare(struct node *n, struct roster *next, struct node_engines *ret_fresh)
{
    enum err err = ERR_OK;

    TAILQ_INIT(ret_fresh);
    if (next->node_count > NODE_ENGINES_MAX) {
        log_error("more than %u engines beside one node", NODE_ENGINES_MAX);
        return ERR_FULL;
    }
    for (uint32_t i = 0; i < next->node_bound && err == ERR_OK; i++) {
        const struct roster_node *at = roster_node(next, i);
        if (at == NULL || find(n, at) != NULL || find_in(ret_fresh, at) != NULL)
            continue;
        err = engine_open(n, next, at, NODE_ENGINE_COMING, ret_fresh);
        if (err != ERR_OK)
            log_error("engine %.*s cannot be used: %s", (int)at->name.bytes, at->name.data,
                      err_name(err));
    }
    if (err != ERR_OK)
        node_engines_drop(ret_fresh);
    return err;
}

void
node_engines_drop(struct node_engines *fresh)
{
    list_free(fresh);
}

/* It stays, and is what this roster says. */
static void
stay(struct node_engine *e, struct roster *next, const struct roster_node *at)
{
    struct roster *before = e->roster;
    bool differs = e->at->kind != at->kind || e->at->slots != at->slots ||
                   !span_eq(e->at->authorization, at->authorization);

    e->is_wanted = true;
    e->roster = roster_ref(next);
    e->at = at;
    if (differs) {
        log_info("engine %.*s: is asked anew: its key, kind or slots differ", (int)at->name.bytes,
                 at->name.data);
        node_control_leave(e, "the engine's configuration has changed: ask again");
        node_engine_again(e);
    }
    roster_unref(before);
}

static void
leave(struct node_engine *e)
{
    struct node *n = e->node;

    log_info("engine %.*s: takes nothing new: %u requests run there", (int)e->at->name.bytes,
             e->at->name.data, e->running);
    TAILQ_REMOVE(&n->engines, e, link);
    TAILQ_INSERT_TAIL(&n->leaving, e, link);
    e->life = NODE_ENGINE_LEAVING;
    node_control_leave(e, "the engine was taken out of this node's configuration");
    node_engine_stop(e);
    node_proxy_leave(e);
    if (e->running == 0)
        node_engine_idle(e);
}

/* Those that nobody wants leave, once nobody is on the way any more. */
static void
settle(struct node *n)
{
    struct node_engine *e, *next;
    bool changed = false;

    if (!TAILQ_EMPTY(&n->coming))
        return;
    TAILQ_FOREACH_SAFE (e, &n->engines, link, next) {
        if (e->is_wanted)
            continue;
        leave(e);
        changed = true;
    }
    if (!changed)
        return;
    node_models_changed(n);
    if (n->waiting_count > 0) /* they may have come to another one, with room */
        loop_defer(n->loop, &n->admit, node_admit);
}

void
node_engines_change(struct node *n, struct roster *next, struct node_engines *fresh)
{
    struct node_engine *e, *other;

    TAILQ_FOREACH (e, &n->engines, link)
        e->is_wanted = false;
    TAILQ_FOREACH (e, &n->coming, link)
        e->is_wanted = false;
    for (uint32_t i = 0; i < next->node_bound; i++) {
        const struct roster_node *at = roster_node(next, i);
        e = at != NULL ? find(n, at) : NULL;
        if (e != NULL && !e->is_wanted)
            stay(e, next, at);
    }
    TAILQ_FOREACH_SAFE (e, &n->coming, link, other) {
        if (!e->is_wanted) {
            TAILQ_REMOVE(&n->coming, e, link);
            engine_free(e);
        }
    }
    TAILQ_CONCAT(&n->coming, fresh, link);
    settle(n);
}

void
node_engine_arrived(struct node_engine *e)
{
    struct node *n = e->node;

    TAILQ_REMOVE(&n->coming, e, link);
    TAILQ_INSERT_TAIL(&n->engines, e, link);
    e->life = NODE_ENGINE_SERVING;
    log_info("engine %.*s: %s", (int)e->at->name.bytes, e->at->name.data,
             e->up ? "was added" : "was added, and does not answer");
    settle(n);
}

static void
on_gone(struct loop_timer *timer)
{
    struct node_engine *e = CONTAINER_OF(timer, struct node_engine, timer);

    log_info("engine %.*s: is gone: nothing runs there any more", (int)e->at->name.bytes,
             e->at->name.data);
    TAILQ_REMOVE(&e->node->leaving, e, link);
    engine_free(e);
}

void
node_engine_idle(struct node_engine *e)
{
    struct loop *loop = e->node->loop;

    if (e->life == NODE_ENGINE_LEAVING) /* not now: within a callback of its own, perhaps */
        loop_timer_set(loop, &e->timer, loop_now_ns(loop) + 1, on_gone);
}

/* ---- Life. */

enum err
node_engines_open(struct node *n)
{
    struct node_engines fresh;
    struct node_engine *e;
    enum err err;

    n->models = calloc(NODE_MODELS_MAX, sizeof(*n->models));
    if (n->models == NULL)
        return ERR_MEMORY;
    err = node_engines_prepare(n, n->roster, &fresh);
    if (err != ERR_OK)
        return err;
    TAILQ_FOREACH (e, &fresh, link)
        e->life = NODE_ENGINE_SERVING; /* there is nobody to serve meanwhile */
    TAILQ_CONCAT(&n->engines, &fresh, link);
    return ERR_OK;
}

void
node_engines_close(struct node *n)
{
    list_free(&n->coming);
    list_free(&n->engines);
    list_free(&n->leaving);
    free(n->models);
    n->models = NULL;
}

/* feed - the difference of two fleets as events; see feed.h.
 * Order: who left, then settings and curves, then nodes, then what they serve; so that no event
 * names what the core has not heard of. */
#include "role/gateway/feed.h"

#include <math.h>

#include "base/hash.h"
#include "base/must.h"
#include "role/gateway/prior.h"

#define NODE_EPOCH  1u /* an engine has one life; members tell of theirs (members) */
#define BYTES_A_MIB 1048576.0
#define LAST_EPOCH  UINT32_MAX /* gone, whichever life it was */

struct feed {
    struct door *door;
    struct recorder *recorder;
    const struct fleet *previous, *next;
};

static void
tell(const struct feed *f, const struct event *event)
{
    struct actions actions;

    recorder_wait_room(f->recorder);
    decide_step(f->door, event, &actions);
    must(actions.count == 0); /* only events of requests make actions */
}

static bool
same_settings(const struct config *a, const struct config *b)
{
    return a->rule == b->rule && a->first_byte_ns == b->first_byte_ns && a->idle_ns == b->idle_ns &&
           (a->ttft_goal_ms == b->ttft_goal_ms ||
            (isnan(a->ttft_goal_ms) && isnan(b->ttft_goal_ms))) &&
           (a->tpot_goal_ms == b->tpot_goal_ms ||
            (isnan(a->tpot_goal_ms) && isnan(b->tpot_goal_ms)));
}

static void
tell_settings(const struct feed *f)
{
    const struct config *c = &f->next->roster->config;
    struct event event = {.kind = EVENT_SETTINGS};

    if (f->previous != NULL && same_settings(&f->previous->roster->config, c))
        return;
    event.settings = (struct event_settings){
        .rule = (uint32_t)c->rule,
        .ttft_goal_ms = (float)c->ttft_goal_ms,
        .tpot_goal_ms = (float)c->tpot_goal_ms,
        .first_limit_ms = (float)((double)c->first_byte_ns / 1e6),
        .idle_limit_ms = (float)((double)c->idle_ns / 1e6),
    };
    tell(f, &event);
}

/* Of a model, at every gateway: they call it the same. */
static uint32_t
identity_of(struct span name)
{
    uint32_t hash = (uint32_t)(hash_fnv(HASH_FNV_START, name.data, name.bytes) >> 32);

    return hash != 0 ? hash : 1;
}

static void
tell_curves(const struct feed *f)
{
    const struct fleet *next = f->next, *previous = f->previous;
    double scale = next->roster->config.constants_scale;
    bool all = previous == NULL || previous->roster->config.constants_scale != scale;

    for (uint32_t m = 0; m < next->model_count; m++) {
        const struct fleet_model *model = &next->models[m];
        bool known = !all && m < previous->model_count &&
                     previous->models[m].params_b == model->params_b &&
                     previous->models[m].weights_bytes == model->weights_bytes;

        for (uint32_t c = 0; c < next->roster->classes.count; c++) {
            struct event event = {.kind = EVENT_CURVE};
            if (known && c < previous->roster->classes.count)
                continue;
            prior_curve(model->name, model->params_b, next->roster->classes.list[c], scale,
                        &event.curve);
            event.curve.model = (uint16_t)m;
            event.curve.class = (uint16_t)c;
            event.curve.weights_mib = (float)((double)model->weights_bytes / BYTES_A_MIB);
            event.curve.identity = identity_of(model->name);
            tell(f, &event);
        }
    }
}

/* What the node was in the fleet before; NULL when it is new, or another one under the same index.
 */
static const struct roster_node *
node_before(const struct feed *f, uint32_t index)
{
    const struct roster_node *then = f->previous != NULL ? roster_node(f->previous->roster, index)
                                                         : NULL;
    const struct roster_node *now = roster_node(f->next->roster, index);

    if (then != NULL && now != NULL &&
        (then == now || (span_eq(then->name, now->name) && span_eq(then->url, now->url))))
        return then;
    return NULL;
}

static void
tell_gone(const struct feed *f)
{
    if (f->previous == NULL || f->previous->roster == f->next->roster)
        return;
    for (uint32_t i = 0; i < f->previous->roster->node_bound; i++) {
        struct event event = {.kind = EVENT_NODE_GONE,
                              .node_gone = {.node = i, .epoch = LAST_EPOCH}};
        if (roster_node(f->previous->roster, i) != NULL && node_before(f, i) == NULL)
            tell(f, &event);
    }
}

static void
tell_nodes(const struct feed *f)
{
    const struct roster *roster = f->next->roster;

    if (f->previous != NULL && f->previous->roster == roster)
        return;
    for (uint32_t i = 0; i < roster->node_bound; i++) {
        const struct roster_node *n = roster->nodes[i], *then;
        struct event event = {.kind = EVENT_NODE};

        if (n == NULL)
            continue;
        then = node_before(f, i);
        if (then != NULL && then->region == n->region && then->class == n->class &&
            then->site == n->site && then->operator== n->operator&& then->slots == n->slots)
            continue;
        event.node = (struct event_node){
            .node = i,
            .epoch = NODE_EPOCH,
            .region = n->region,
            .class = n->class,
            .site = n->site,
            .operator= n->operator,
            .state = NODE_READY,
            .slots = n->slots,
            .rtt_ms = n->rtt_ms,
            .identity = roster_node_identity(n),
            .unproven = i >= roster_base(roster)->node_bound, /* members tell of theirs at once */
        };
        tell(f, &event);
    }
}

static void
tell_model(const struct feed *f, uint32_t node, const struct fleet_served *s, uint16_t state)
{
    const struct event event = {.kind = EVENT_MODEL,
                                .model = {.node = node,
                                          .model = s->model,
                                          .state = state,
                                          .ready_in_ms = s->ready_in_ms,
                                          .pinned = s->pinned,
                                          .slots = s->slots}};

    tell(f, &event);
}

static const struct fleet_served *
served_find(const struct fleet_node_served *served, uint16_t model)
{
    for (uint32_t i = 0; served != NULL && i < served->count; i++) {
        if (served->list[i].model == model)
            return &served->list[i];
    }
    return NULL;
}

/* Does it load, and will it take another time than it was said? */
static bool
is_later(const struct fleet_served *before, const struct fleet_served *now)
{
    return now->state == MODEL_LOADING && !isnan(now->ready_in_ms) &&
           now->ready_in_ms != before->ready_in_ms;
}

static bool
is_news(const struct fleet_served *before, const struct fleet_served *now)
{
    return before == NULL || before->state != now->state || before->pinned != now->pinned ||
           before->slots != now->slots || is_later(before, now);
}

static void
tell_served(const struct feed *f)
{
    for (uint32_t i = 0; i < f->next->roster->node_bound; i++) {
        const struct fleet_node_served *now = fleet_served(f->next, i), *then = NULL;

        if (roster_node(f->next->roster, i) == NULL)
            continue;
        if (node_before(f, i) != NULL)
            then = fleet_served(f->previous, i);
        if (now == then) /* nothing changed */
            continue;
        for (uint32_t k = 0; then != NULL && k < then->count; k++) {
            if (served_find(now, then->list[k].model) == NULL)
                tell_model(f, i, &then->list[k], MODEL_ABSENT);
        }
        for (uint32_t k = 0; k < now->count; k++) {
            const struct fleet_served *before = served_find(then, now->list[k].model);
            if (is_news(before, &now->list[k]))
                tell_model(f, i, &now->list[k], now->list[k].state);
        }
    }
}

void
feed_publish(struct door *door, struct recorder *recorder, const struct fleet *previous,
             struct fleet *next)
{
    const struct feed f = {door, recorder, previous, next};

    decide_fleet_swap(door, next);
    tell_gone(&f);
    tell_settings(&f);
    tell_curves(&f);
    tell_nodes(&f);
    tell_served(&f);
}

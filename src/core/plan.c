/* plan - worth of copies, and directives; see plan.h. */
#include "core/plan.h"

#include <math.h>
#include <string.h>

#include "base/fmath.h"
#include "base/must.h"
#include "core/demand.h"
#include "core/flight.h"
#include "core/index.h"
#include "core/load_time.h"
#include "core/plan_worth.h"
#include "core/prefix.h"
#include "core/readiness.h"

#define NODES_A_TICK   1u
#define MODELS_A_TICK  8u
#define TARGETS        12u                    /* nodes that are looked at for a place */
#define ASLEEP_TARGETS 8u                     /* of those that have it on disk or asleep */
#define VICTIMS_MAX    8u                     /* that give way to one */
#define HORIZON_S      600.0f                 /* in which a load has to pay */
#define GAIN_FACTOR    1.5f                   /* over what gives way */
#define AWAY_NS        UINT64_C(120000000000) /* what went stays away, but for a burst: */
#define BURST_FACTOR   2.0f                   /* over what is usual */
#define SILENT_NS      UINT64_C(30000000000)  /* no news after it: the node does not do it */
#define ROOM_NS        UINT64_C(60000000000)  /* what should go has gone by then */
#define ROOM_SLACK_MIB 1.0f
#define FAILS_MAX      6u /* in a row: nothing gives way to it for AWAY_NS, twice that, ... */
#define LOADS_PART     4u /* one in so many nodes loads at once */
#define LOADS_LEAST    2u
#define SPILL_TAU_S    600.0f
#define PLANNERS_MAX   1024u
#define TURN_NS        UINT64_C(5000000000) /* until a load that was asked for is known to others */
#define SPILL_LEAST_MS 5.0f                 /* less is no reason to move a model */
#define DEMAND_LEAST_S 1e-4f                /* requests/s: less is none */
#define PRICE_PART     0.05f
#define REFUSED_MS     20000.0f /* what a request that was refused counts for */

/* ---- What is known of nodes. */

/* Memory and loads of a node, out of its placements. */
static void
node_count(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];
    uint32_t loading = cold->plan.asked_ns != 0;
    float used = loading != 0 ? core->models[cold->plan.asked_model].weights_mib : 0.0f;

    for (uint32_t p = cold->first_placement; p != NONE; p = core->placements[p].node_next) {
        uint32_t state = core->placements[p].state;
        loading += state == MODEL_LOADING;
        if (state == MODEL_LOADING || state == MODEL_READY || state == MODEL_LEAVING)
            used += core->models[core->placements[p].model].weights_mib;
    }
    cold->plan.free_mib = cold->plan.memory_mib - used;
    core->plan.loads += loading - cold->plan.loading;
    cold->plan.loading = loading;
}

/* Those that are steered, in a ring: they may be few among many. A new one is the last that the
 * sweep comes to. */
static void
steered_add(struct core *core, uint32_t node)
{
    struct plan *plan = &core->plan;
    struct node_cold *cold = core->cold;
    uint32_t next = plan->steered++ > 0 ? plan->node_sweep : node;
    uint32_t prev = next != node ? cold[next].plan.ring_prev : node;

    if (next == node)
        plan->node_sweep = plan->target_sweep = node;
    cold[node].plan.ring_next = next;
    cold[node].plan.ring_prev = prev;
    cold[prev].plan.ring_next = cold[next].plan.ring_prev = node;
}

static void
steered_remove(struct core *core, uint32_t node)
{
    struct plan *plan = &core->plan;
    uint32_t next = core->cold[node].plan.ring_next, prev = core->cold[node].plan.ring_prev;

    core->cold[prev].plan.ring_next = next;
    core->cold[next].plan.ring_prev = prev;
    if (plan->node_sweep == node)
        plan->node_sweep = next;
    if (plan->target_sweep == node)
        plan->target_sweep = next;
    plan->steered--;
}

/* The one that a sweep has come to. */
static uint32_t
steered_next(const struct core *core, uint32_t *sweep)
{
    uint32_t node = *sweep;

    *sweep = core->cold[node].plan.ring_next;
    return node;
}

void
plan_node_gone(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];

    if (!cold->plan.steered)
        return;
    steered_remove(core, node);
    core->plan.loads -= cold->plan.loading;
    cold->plan.steered = false;
    cold->plan.loading = 0;
    cold->plan.asked_ns = 0;
    cold->plan.makes_room = false;
}

void
plan_node(struct core *core, const struct event_node *e)
{
    struct node_cold *cold = &core->cold[e->node];

    if (e->steered == 0) {
        plan_node_gone(core, e->node);
        return;
    }
    if (!cold->plan.steered)
        steered_add(core, e->node);
    cold->plan.steered = true;
    cold->plan.loads_max = e->loads_max > 0 ? e->loads_max : 1;
    cold->plan.memory_mib = e->memory_mib > 0.0f && e->memory_mib < 1e9f ? e->memory_mib : 0.0f;
    cold->plan.fetch_mib_s = e->fetch_mib_s > 0.0f && e->fetch_mib_s < 1e9f ? e->fetch_mib_s : 0.0f;
    node_count(core, e->node);
}

/* A directive by its count; NULL: it is remembered no more, or older than a while. */
static struct plan_directive *
directive_at(struct core *core, uint64_t count, uint64_t age_ns)
{
    struct plan_directive *d = &core->plan.recent[(count - 1) % PLAN_RECENT];

    if (count == 0 || core->plan.asked - count >= PLAN_RECENT ||
        core->now_ns - d->asked_ns > age_ns)
        return NULL;
    return d;
}

/* The last directive of this kind about the two, if nobody heard how it ended. */
static struct plan_directive *
directive_of(struct core *core, uint32_t kind, uint32_t node, uint32_t model)
{
    uint64_t at = core->cold[node].plan.directive;
    struct plan_directive *d;

    for (; (d = directive_at(core, at, 4 * AWAY_NS)) != NULL; at = d->before) {
        if (d->action.model == model && d->kind == kind)
            return d->state <= PLAN_LOADING ? d : NULL;
    }
    return NULL;
}

/* True: it was ours, and its outcome was open. */
static bool
directive_told(struct core *core, uint32_t kind, const struct event_model *e, enum plan_state state)
{
    struct plan_directive *d = directive_of(core, kind, e->node, e->model);

    if (d == NULL)
        return false;
    d->state = (uint8_t)state;
    d->changed_ns = core->now_ns;
    return true;
}

void
plan_planners(struct core *core, uint32_t planners, uint32_t place)
{
    bool alone = (core->tuning.without & WITHOUT_TURNS) != 0;

    core->plan.planners = alone ? 1 : planners < PLANNERS_MAX ? planners : PLANNERS_MAX;
    core->plan.place = alone ? 0 : place;
}

/* Gateways of our region that are to load this model before us: each steers other nodes, and all
 * know the same of what is wanted. */
static uint32_t
turn_of(const struct core *core, uint32_t model)
{
    const struct plan *plan = &core->plan;

    if (plan->planners <= 1)
        return 0;
    return (core->models[model].identity % plan->planners + plan->place) % plan->planners;
}

static uint32_t
local_copies(const struct core *core, uint32_t model)
{
    return core->demands[index_slot(core, model, core->config.own_region)].copies;
}

static void
want(struct core *core, uint32_t model, enum plan_reason reason)
{
    struct plan *plan = &core->plan;
    struct model_record *m = &core->models[model];
    uint64_t wait_ns = reason == PLAN_RETURNS ? 0 : turn_of(core, model) * TURN_NS;

    if (m->wanted || plan->wanted_count == PLAN_WANTED || m->weights_mib < PLAN_WEIGHTS_LEAST_MIB)
        return;
    if (m->asked_ns != 0 && core->now_ns - m->asked_ns < SILENT_NS)
        return; /* what was asked for is not told yet: it may be enough */
    m->wanted = true;
    plan->wanted[plan->wanted_count].model = (uint16_t)model;
    plan->wanted[plan->wanted_count].reason = (uint16_t)reason;
    plan->wanted[plan->wanted_count].copies = local_copies(core, model);
    plan->wanted[plan->wanted_count++].due_ns = core->now_ns + wait_ns;
}

/* What gave way to a load that comes to nothing may come back. */
static void
unloads_undo(struct core *core, uint32_t node, uint32_t model)
{
    uint64_t at = core->cold[node].plan.directive;
    struct plan_directive *d;

    for (; (d = directive_at(core, at, AWAY_NS)) != NULL; at = d->before) {
        if (d->kind == ACTION_LOAD && d->action.model != model)
            return;
        if (d->kind == ACTION_UNLOAD && !d->is_undone) {
            d->is_undone = true;
            want(core, d->action.model, PLAN_RETURNS);
        }
    }
}

static void
load_failed(struct core *core, uint32_t node, uint32_t model)
{
    struct model_record *m = &core->models[model];

    m->failed_ns = core->now_ns;
    m->fails = m->fails < FAILS_MAX ? m->fails + 1 : FAILS_MAX;
    unloads_undo(core, node, model);
}

/* May others give way to it? Where its loads fail, one after the other would go for nothing. */
static bool
may_displace(const struct core *core, uint32_t model)
{
    const struct model_record *m = &core->models[model];

    return m->fails == 0 || core->now_ns - m->failed_ns > AWAY_NS << (m->fails - 1);
}

static void
asked_over(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];

    core->models[cold->plan.asked_model].asked_ns = 0;
    cold->plan.asked_ns = 0;
    cold->plan.makes_room = false;
}

/* It made the room that it was asked for: the next tick asks for the load. */
static void
due_add(struct core *core, uint32_t node)
{
    struct plan *plan = &core->plan;

    if (core->cold[node].plan.makes_room && core->cold[node].plan.free_mib > -ROOM_SLACK_MIB &&
        plan->due_count < PLAN_DUE) /* full: when it is looked at again */
        plan->due[(plan->due_first + plan->due_count++) % PLAN_DUE] = node;
}

/* The node does not do what it was asked for; what it has of the model is told with it. */
static void
denied(struct core *core, const struct event_model *e)
{
    struct node_cold *cold = &core->cold[e->node];

    if (directive_told(core, ACTION_LOAD, e, PLAN_FAILED))
        load_failed(core, e->node, e->model);
    if (directive_told(core, ACTION_UNLOAD, e, PLAN_FAILED) && cold->plan.makes_room) {
        unloads_undo(core, e->node, cold->plan.asked_model); /* there will be no room */
        asked_over(core, e->node);
    }
    if (cold->plan.asked_ns != 0 && cold->plan.asked_model == e->model && !cold->plan.makes_room)
        asked_over(core, e->node);
}

/* Did our region get one more of the model, perhaps by another gateway? */
static bool
is_new_copy(const struct core *core, const struct event_model *e, uint32_t was)
{
    return core->plan.planners > 1 && (e->state == MODEL_READY || e->state == MODEL_LOADING) &&
           was != MODEL_READY && was != MODEL_LOADING &&
           core->hot[e->node].region == core->config.own_region;
}

void
plan_told(struct core *core, const struct event_model *e, uint32_t p, uint32_t was)
{
    struct node_cold *cold = &core->cold[e->node];

    if (p != NONE) {
        core->placed[p].pinned = e->pinned != 0;
        if (is_new_copy(core, e, was))
            core->models[e->model].spilled_ms = 0.0f; /* what it cost until now earned this one */
        if (e->state == MODEL_READY && was != MODEL_READY)
            core->placed[p].since_ns = was == MODEL_ABSENT ? 0 : core->now_ns;
    }
    if (!cold->plan.steered)
        return;
    if (e->denied != 0)
        denied(core, e);
    if (e->state == MODEL_LOADING)
        (void)directive_told(core, ACTION_LOAD, e, PLAN_LOADING);
    else if (e->state == MODEL_READY && directive_told(core, ACTION_LOAD, e, PLAN_DONE))
        core->models[e->model].fails = 0;
    else if (e->state == MODEL_FAILED && directive_told(core, ACTION_LOAD, e, PLAN_FAILED))
        load_failed(core, e->node, e->model);
    if (e->state != MODEL_READY)
        (void)directive_told(core, ACTION_UNLOAD, e, PLAN_DONE);
    if (cold->plan.asked_ns != 0 && cold->plan.asked_model == e->model &&
        (e->state == MODEL_LOADING || e->state == MODEL_READY || e->state == MODEL_FAILED))
        asked_over(core, e->node);
    node_count(core, e->node);
    due_add(core, e->node);
}

/* ---- What is wanted. */

/* What it cost that this request could not begin at once on a near node. */
static float
spilled_ms(const struct core *core, uint64_t request, const struct actions *actions)
{
    const struct decision *d = &actions->decision;
    const struct terms *t = &d->candidates[0].terms;

    for (uint32_t i = 0; i < actions->count; i++) {
        const struct action *a = &actions->list[i];
        if (a->dispatch.request != request)
            continue;
        if (a->kind == ACTION_HOLD)
            return max_f(0.0f, a->hold.hold_ms);
        if (a->kind == ACTION_REFUSE)
            return REFUSED_MS;
        if (a->kind != ACTION_DISPATCH || d->candidate_count == 0 || d->request != request)
            return 0.0f;
        return t->ready_ms + t->queue_ms +
               max_f(0.0f, core->hot[a->dispatch.node].rtt_ms -
                               core->paths[core->config.own_region].rtt_ms);
    }
    return 0.0f;
}

void
plan_arrived(struct core *core, uint32_t model, uint64_t request, const struct actions *actions)
{
    struct model_record *m = &core->models[model];
    float ms, part = 1.0f;

    if (core->plan.steered == 0 || m->weights_mib < PLAN_WEIGHTS_LEAST_MIB)
        return;
    ms = spilled_ms(core, request, actions);
    if (!(ms > SPILL_LEAST_MS))
        return;
    if (core->plan.planners > 1 && turn_of(core, model) == 0) /* we decide for the others, too */
        part = max_f(PLAN_OWN_PART_LEAST, demand_own_part(core, model));
    m->spilled_ms *= (float)fmath_exp(
        (double)(-1e-3f * ns_to_ms(core->now_ns - m->spilled_ns) / SPILL_TAU_S));
    m->spilled_ms += ms / part;
    m->spilled_ns = core->now_ns;
    if (m->spilled_ms < load_time_usual_ms(core, model))
        return;
    m->spilled_ms = 0.0f; /* whatever comes of it, the next load has to be earned anew */
    want(core, model, PLAN_SPILLED);
}

/* Nobody has it: the region that asks for most loads it, the first of equals. */
static bool
is_ours_to_load(const struct core *core, uint32_t model)
{
    uint64_t regions = core->models[model].demand_mask;
    uint32_t most = NONE;
    float best = DEMAND_LEAST_S;

    for (; regions != 0; regions &= regions - 1) {
        uint32_t region = (uint32_t)__builtin_ctzll(regions);
        float rate = demand_slow(core, core->now_ns, model, region);
        if (rate > best) {
            best = rate;
            most = region;
        }
    }
    return most == core->config.own_region;
}

/* node: one that is steered, which stands for the others of its region. */
static void
sweep_model(struct core *core, uint32_t model, uint32_t node)
{
    const struct model_record *m = &core->models[model];
    uint32_t local = core->demands[index_slot(core, model, core->hot[node].region)].copies;
    float worth;

    if (m->demand_mask == 0 || m->weights_mib < PLAN_WEIGHTS_LEAST_MIB)
        return;
    if (m->copies == 0) {
        if (is_ours_to_load(core, model))
            want(core, model, PLAN_NOWHERE);
        return;
    }
    if (local == 0)
        return; /* what is spilled tells when it pays */
    worth = plan_worth(core, model, node, NONE);
    if (worth > GAIN_FACTOR * plan_price(core, model) &&
        worth * HORIZON_S > load_time_ms(core, node, model))
        want(core, model, PLAN_HEADROOM);
}

/* What it does not answer is forgotten. */
static void
sweep_asked(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];
    struct plan_directive *d;

    if (cold->plan.asked_ns == 0)
        return;
    if (cold->plan.makes_room && core->now_ns - cold->plan.asked_ns > ROOM_NS) {
        unloads_undo(core, node, cold->plan.asked_model);
        asked_over(core, node);
    } else if (!cold->plan.makes_room && core->now_ns - cold->plan.asked_ns > SILENT_NS) {
        d = directive_of(core, ACTION_LOAD, node, cold->plan.asked_model);
        if (d != NULL)
            d->state = PLAN_SILENT;
        load_failed(core, node, cold->plan.asked_model);
        asked_over(core, node);
    }
}

/* What its memory is worth where it is worth least. */
static void
sweep_node_plan(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];
    struct plan *plan = &core->plan;
    float least = INFINITY, taken;

    sweep_asked(core, node);
    for (uint32_t p = cold->first_placement; p != NONE; p = core->placements[p].node_next) {
        float mib = core->models[core->placements[p].model].weights_mib;
        if (core->placements[p].state == MODEL_LEAVING &&
            core->now_ns - core->placed[p].since_ns > ROOM_NS) {
            index_remove(core, p); /* it did not go */
            core->placements[p].state = MODEL_READY;
            index_insert(core, p);
        }
        if (core->placements[p].state == MODEL_READY)
            least = min_f(least, plan_loss(core, p) / max_f(mib, PLAN_WEIGHTS_LEAST_MIB));
    }
    node_count(core, node);
    due_add(core, node);
    cold->plan.victim_ms_s_mib = least;
    taken = 1.0f - cold->plan.free_mib / max_f(plan->weights_most_mib, PLAN_WEIGHTS_LEAST_MIB);
    if (taken <= 0.0f)
        plan->price_ms_s_mib -= PRICE_PART * plan->price_ms_s_mib;
    else if (!isinf(least))
        plan->price_ms_s_mib += PRICE_PART * (least * min_f(taken, 1.0f) - plan->price_ms_s_mib);
}

/* ---- Where to. */

struct plan_target {
    uint32_t node, victim_count;
    uint32_t victims[VICTIMS_MAX]; /* placements; none: there is room */
    float gain, loss, load_ms, score;
};

struct gain {       /* of one copy more in a region, as it was reckoned last */
    float ms_s;     /* < 0: not yet */
    uint32_t slots; /* of its own that a copy has there; 0: all share the node's */
};

static bool
may_load(const struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];

    return node_known(core, node) && cold->plan.steered && hot->state == NODE_READY &&
           (hot->flags & NODE_FLAG_EJECTED) == 0 && cold->plan.asked_ns == 0 &&
           cold->plan.loading < cold->plan.loads_max;
}

/* It was there not long ago, and nothing has changed since. */
static bool
is_back_too_soon(struct core *core, uint32_t node, uint32_t model)
{
    uint32_t region = core->config.own_region;
    uint64_t at = core->cold[node].plan.directive;
    struct plan_directive *d;

    while ((d = directive_at(core, at, AWAY_NS)) != NULL &&
           (d->kind != ACTION_UNLOAD || d->action.model != model))
        at = d->before;
    if (d == NULL || d->is_undone)
        return false;
    return demand_fast(core, core->now_ns, model, region) <=
           BURST_FACTOR * demand_slow(core, core->now_ns, model, region);
}

/* It was asked for this a moment ago, and did not do it. */
static bool
was_denied(struct core *core, uint32_t node, uint32_t model)
{
    uint64_t at = core->cold[node].plan.directive;
    struct plan_directive *d;

    while ((d = directive_at(core, at, AWAY_NS)) != NULL &&
           (d->kind != ACTION_LOAD || d->action.model != model))
        at = d->before;
    return d != NULL && d->state == PLAN_FAILED;
}

/* What could give way on a node; sets of them are bits. */
struct victims {
    uint32_t count, places[CORE_NODE_MODELS_MAX];
    float mib[CORE_NODE_MODELS_MAX], loss[CORE_NODE_MODELS_MAX];
};
_Static_assert(CORE_NODE_MODELS_MAX <= 32, "a set of them is a word");

static void
victims_of(const struct core *core, uint32_t node, struct victims *v)
{
    v->count = 0;
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        float loss = plan_loss(core, p);
        if (isinf(loss))
            continue;
        v->places[v->count] = p;
        v->mib[v->count] = core->models[core->placements[p].model].weights_mib;
        v->loss[v->count++] = loss;
    }
}

/* The one that is large enough and worth least; 0: none is. */
static uint32_t
victims_one(const struct victims *v, float need_mib)
{
    uint32_t best = NONE;

    for (uint32_t i = 0; i < v->count; i++) {
        if (v->mib[i] >= need_mib && (best == NONE || v->loss[i] < v->loss[best]))
            best = i;
    }
    return best == NONE ? 0 : 1u << best;
}

/* Some that are large enough together: those that are worth least for their size, without what
 * turns out not to be needed, the dearest first. 0: there are none. */
static uint32_t
victims_some(const struct victims *v, float need_mib)
{
    uint32_t taken = 0, pick;
    float freed = 0.0f;

    for (uint32_t n = 0; n < VICTIMS_MAX && freed < need_mib; n++) {
        pick = NONE;
        for (uint32_t i = 0; i < v->count; i++) {
            float a = v->loss[i], b = pick == NONE ? INFINITY : v->loss[pick];
            if ((taken >> i & 1u) == 0 && (pick == NONE || a * v->mib[pick] < b * v->mib[i]))
                pick = i;
        }
        if (pick == NONE)
            return 0;
        taken |= 1u << pick;
        freed += v->mib[pick];
    }
    if (freed < need_mib)
        return 0;
    do {
        pick = NONE;
        for (uint32_t i = 0; i < v->count; i++) {
            if ((taken >> i & 1u) != 0 && freed - v->mib[i] >= need_mib &&
                (pick == NONE || v->loss[i] > v->loss[pick]))
                pick = i;
        }
        if (pick != NONE) {
            taken &= ~(1u << pick);
            freed -= v->mib[pick];
        }
    } while (pick != NONE);
    return taken;
}

static float
victims_loss(const struct victims *v, uint32_t taken)
{
    float sum = 0.0f;

    for (; taken != 0; taken &= taken - 1)
        sum += v->loss[__builtin_ctz(taken)];
    return sum;
}

/* The place that costs least of the node's: free, one model's, or that of some smaller ones. False:
 * there is none. */
static bool
place_on(const struct core *core, uint32_t model, struct plan_target *t)
{
    float need_mib = core->models[model].weights_mib - core->cold[t->node].plan.free_mib;
    uint32_t one, some, taken;
    struct victims v;

    t->victim_count = 0;
    t->loss = 0.0f;
    if (need_mib <= 0.0f)
        return true;
    if (!may_displace(core, model))
        return false;
    victims_of(core, t->node, &v);
    one = victims_one(&v, need_mib);
    some = victims_some(&v, need_mib);
    taken = one == 0 || (some != 0 && victims_loss(&v, some) < victims_loss(&v, one)) ? some : one;
    t->loss = victims_loss(&v, taken);
    for (uint32_t left = taken; left != 0; left &= left - 1)
        t->victims[t->victim_count++] = v.places[__builtin_ctz(left)];
    return taken != 0;
}

/* p: its placement there; NONE. By what was known of the node's least model when it was looked at:
 * the look itself is for the best alone. */
static void
target_weigh(struct core *core, uint32_t model, uint32_t node, uint32_t p, struct gain gains[],
             struct plan_target *best)
{
    const struct node_cold *cold = &core->cold[node];
    uint32_t region = core->hot[node].region;
    struct plan_target t = {.node = node};
    float need_mib;

    if (!may_load(core, node))
        return;
    if (p != NONE && core->placements[p].state != MODEL_ON_DISK &&
        core->placements[p].state != MODEL_SLEEPING && core->placements[p].state != MODEL_DORMANT)
        return;
    if (gains[region].ms_s < 0.0f || gains[region].slots != cold->model_slots)
        gains[region] = (struct gain){plan_worth(core, model, node, NONE), cold->model_slots};
    t.gain = gains[region].ms_s;
    t.load_ms = load_time_from_ms(core, node, model, p);
    need_mib = core->models[model].weights_mib - cold->plan.free_mib;
    t.loss = need_mib <= 0.0f ? 0.0f : need_mib * cold->plan.victim_ms_s_mib;
    t.score = t.gain - t.loss - t.gain * 1e-3f * t.load_ms / HORIZON_S;
    if (!(t.score > best->score) || is_back_too_soon(core, node, model) ||
        was_denied(core, node, model))
        return;
    *best = t;
}

static bool
find_target(struct core *core, uint32_t model, struct plan_target *ret_target)
{
    struct plan_target best = {.node = NONE, .score = 0.0f};
    struct gain gains[CORE_REGIONS_MAX];
    uint64_t regions = core->models[model].region_mask;
    uint32_t asleep = 0;

    for (uint32_t i = 0; i < core->config.regions_max; i++)
        gains[i].ms_s = -1.0f;
    for (; regions != 0 && asleep < ASLEEP_TARGETS; regions &= regions - 1) {
        size_t slot = index_slot(core, model, (uint32_t)__builtin_ctzll(regions));
        for (uint32_t p = index_first(core, slot, BUCKET_LOADABLE);
             p != NONE && asleep < ASLEEP_TARGETS;
             p = index_next(core, slot, BUCKET_LOADABLE, p), asleep++)
            target_weigh(core, model, core->links[p].node, p, gains, &best);
    }
    for (uint32_t i = 0; i < core->plan.steered && i < TARGETS; i++) {
        uint32_t node = steered_next(core, &core->plan.target_sweep);
        target_weigh(core, model, node, readiness_find(core, node, model), gains, &best);
    }
    if (best.node == NONE || !place_on(core, model, &best))
        return false;
    *ret_target = best;
    return best.gain >= GAIN_FACTOR * best.loss &&
           (best.gain - best.loss) * HORIZON_S >= best.load_ms;
}

/* ---- Directives. */

static void
directive_add(struct core *core, const struct action *a)
{
    uint64_t *last = &core->cold[a->plan.node].plan.directive;

    core->plan.recent[core->plan.asked++ % PLAN_RECENT] = (struct plan_directive){
        .asked_ns = core->now_ns,
        .changed_ns = core->now_ns,
        .before = *last,
        .action = a->plan,
        .kind = (uint8_t)a->kind};
    *last = core->plan.asked;
}

static struct action_plan *
order_add(struct core *core, enum action_kind kind)
{
    struct plan *plan = &core->plan;
    struct action *a = &plan->orders[(plan->order_first + plan->order_count++) % PLAN_ORDERS];

    must(plan->order_count <= PLAN_ORDERS);
    *a = (struct action){.kind = kind};
    return &a->plan;
}

static void
order_unload(struct core *core, uint32_t placement)
{
    struct placement *p = &core->placements[placement];
    uint32_t node = core->links[placement].node;

    *order_add(core,
               ACTION_UNLOAD) = (struct action_plan){.node = node,
                                                     .model = p->model,
                                                     .reason = PLAN_GIVES_WAY,
                                                     .worth_ms_s = plan_loss(core, placement),
                                                     .load_ms = load_time_ms(core, node, p->model)};
    index_remove(core, placement);
    p->state = MODEL_LEAVING;
    core->placed[placement].since_ns = core->now_ns;
    prefix_forget(core, placement);
    index_insert(core, placement);
}

static void
order_load(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];
    uint32_t model = cold->plan.asked_model;

    cold->plan.asked_ns = core->models[model].asked_ns = core->now_ns;
    cold->plan.makes_room = false;
    *order_add(core,
               ACTION_LOAD) = (struct action_plan){.node = node,
                                                   .model = (uint16_t)model,
                                                   .reason = cold->plan.asked_reason,
                                                   .worth_ms_s = cold->plan.asked_ms_s,
                                                   .load_ms = load_time_ms(core, node, model)};
}

static bool
orders_have_room(const struct core *core)
{
    return PLAN_ORDERS - core->plan.order_count > VICTIMS_MAX;
}

/* The model that waits longest of those that are due, out of the list; false: none is, or its
 * region has got a copy meanwhile. */
static bool
wanted_take(struct core *core, uint32_t *ret_model, uint32_t *ret_reason)
{
    struct plan *plan = &core->plan;
    uint32_t at = 0, copies;

    while (at < plan->wanted_count && plan->wanted[at].due_ns > core->now_ns)
        at++;
    if (at == plan->wanted_count)
        return false;
    *ret_model = plan->wanted[at].model;
    *ret_reason = plan->wanted[at].reason;
    copies = plan->wanted[at].copies;
    plan->wanted_count--;
    memmove(&plan->wanted[at], &plan->wanted[at + 1],
            (plan->wanted_count - at) * sizeof(plan->wanted[0]));
    core->models[*ret_model].wanted = false;
    return local_copies(core, *ret_model) <= copies;
}

/* Look at one model that is wanted. */
static void
consider(struct core *core)
{
    struct plan *plan = &core->plan;
    uint32_t most = max_u32(LOADS_LEAST, plan->steered / LOADS_PART), model, reason;
    struct node_cold *cold;
    struct plan_target t;

    if (plan->loads >= most || !orders_have_room(core) || !wanted_take(core, &model, &reason) ||
        !find_target(core, model, &t))
        return;
    cold = &core->cold[t.node];
    cold->plan.asked_ns = core->models[model].asked_ns = core->now_ns;
    cold->plan.asked_model = model;
    cold->plan.asked_reason = (uint16_t)reason;
    cold->plan.asked_ms_s = t.gain;
    cold->plan.makes_room = t.victim_count > 0;
    for (uint32_t i = 0; i < t.victim_count; i++)
        order_unload(core, t.victims[i]);
    if (t.victim_count == 0)
        order_load(core, t.node);
    node_count(core, t.node);
}

/* A node made room, if it still has it. */
static void
due_take(struct core *core)
{
    struct plan *plan = &core->plan;
    uint32_t node = plan->due[plan->due_first];

    if (plan->due_count == 0 || !orders_have_room(core))
        return;
    plan->due_first = (plan->due_first + 1) % PLAN_DUE;
    plan->due_count--;
    if (node_known(core, node) && core->cold[node].plan.makes_room &&
        core->cold[node].plan.free_mib > -ROOM_SLACK_MIB)
        order_load(core, node);
}

/* Has nothing changed since it was ordered? */
static bool
order_holds(const struct core *core, const struct action *a)
{
    const struct node_cold *cold = &core->cold[a->plan.node];
    uint32_t p;

    if (!node_known(core, a->plan.node) || !cold->plan.steered)
        return false;
    if (a->kind == ACTION_LOAD)
        return cold->plan.asked_ns != 0 && !cold->plan.makes_room &&
               cold->plan.asked_model == a->plan.model;
    p = readiness_find(core, a->plan.node, a->plan.model);
    return p != NONE && core->placements[p].state == MODEL_LEAVING;
}

/* As many as the list of actions has room for, of loads one. */
static void
orders_give(struct core *core, struct actions *actions)
{
    struct plan *plan = &core->plan;
    bool is_load = false;

    while (plan->order_count > 0 && actions->count < ACTIONS_MAX && !is_load) {
        const struct action *order = &plan->orders[plan->order_first];
        if (order_holds(core, order)) {
            flight_action(actions, (enum action_kind)order->kind)->plan = order->plan;
            directive_add(core, order);
            is_load = order->kind == ACTION_LOAD;
        }
        plan->order_first = (plan->order_first + 1) % PLAN_ORDERS;
        plan->order_count--;
    }
}

static void
sweep_nodes(struct core *core)
{
    for (uint32_t i = 0; i < NODES_A_TICK && i < core->plan.steered; i++) {
        core->plan.stands = steered_next(core, &core->plan.node_sweep);
        sweep_node_plan(core, core->plan.stands);
    }
}

static void
sweep_models(struct core *core)
{
    uint32_t node = core->plan.stands;

    if (!node_known(core, node) || !core->cold[node].plan.steered)
        return;
    for (uint32_t i = 0; i < MODELS_A_TICK; i++)
        sweep_model(core, core->plan.model_sweep++ % core->config.models_max, node);
}

void
plan_tick(struct core *core, struct actions *actions)
{
    struct plan *plan = &core->plan;

    if (plan->steered == 0)
        return;
    switch (plan->turn++ % 3) { /* in turns: a tick is short */
    case 0:
        sweep_nodes(core);
        break;
    case 1:
        sweep_models(core);
        break;
    default:
        consider(core);
        break;
    }
    due_take(core);
    orders_give(core, actions);
}

/* ---- What people may read. */

uint32_t
core_view_plan(const struct core *core, uint64_t now_ns, uint32_t from, struct plan_view *ret_views,
               uint32_t *ret_next)
{
    uint32_t count = 0, at = from;
    uint64_t kept = core->plan.asked < PLAN_RECENT ? core->plan.asked : PLAN_RECENT;

    if (now_ns < core->now_ns)
        now_ns = core->now_ns;
    for (; at < kept && count < CORE_VIEW_MAX; at++) {
        const struct plan_directive *d =
            &core->plan.recent[(core->plan.asked - 1 - at) % PLAN_RECENT];
        ret_views[count++] = (struct plan_view){
            .node = d->action.node,
            .model = d->action.model,
            .reason = d->action.reason,
            .load = d->kind == ACTION_LOAD,
            .state = d->state,
            .asked_ago_ms = ns_to_ms(now_ns - d->asked_ns),
            .changed_ago_ms = ns_to_ms(now_ns - d->changed_ns),
            .worth_ms_s = d->action.worth_ms_s,
            .load_ms = d->action.load_ms,
        };
    }
    *ret_next = at < kept ? at : UINT32_MAX;
    return count;
}

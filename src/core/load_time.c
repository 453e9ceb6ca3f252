/* load_time - factors on what is told of loads; see load_time.h. */
#include "core/load_time.h"

#include <math.h>

#include "base/fmath.h"
#include "core/capacity.h"
#include "core/readiness.h"

#define LOAD_GUESS_MS  20000.0f /* from disk, when nothing is known */
#define WAKE_GUESS_MS  2000.0f  /* from sleep */
#define LOAD_LEAST_MS  1.0f
#define LOAD_MOST_MS   1e8f
#define LOAD_LN_MAX    7.0f   /* a thousand times more, or less, than was told */
#define LOAD_PRIOR     0.5f   /* outcomes that the prior counts for */
#define LOAD_PART      0.125f /* of one outcome in what is learned, at least: it may change */
#define LOAD_COUNT_MAX 16.0f

/* ---- What is told. */

/* How a model in this state becomes ready; LOAD_TIERS: it is, or nobody knows. */
static uint32_t
load_tier_of(uint32_t state)
{
    switch (state) {
    case MODEL_SLEEPING:
    case MODEL_DORMANT:
        return LOAD_WAKE;
    case MODEL_ON_DISK:
        return LOAD_DISK;
    case MODEL_ABSENT:
        return LOAD_FETCH;
    default:
        return LOAD_TIERS;
    }
}

static float
load_prior_ms(const struct core *core, uint32_t node, uint32_t model, uint32_t tier)
{
    const struct class_curve *cc = capacity_class(core, model, core->hot[node].class);
    float disk_ms = cc->load_ms > 0.0f ? cc->load_ms : LOAD_GUESS_MS;
    float rate = core->cold[node].plan.fetch_mib_s;

    if (tier == LOAD_WAKE)
        return WAKE_GUESS_MS;
    if (tier == LOAD_DISK)
        return disk_ms;
    return rate > 0.0f ? disk_ms + 1000.0f * core->models[model].weights_mib / rate : INFINITY;
}

/* ---- What is learned. */

static struct load_learned *
load_of_class(struct core *core, uint32_t node, uint32_t tier)
{
    return &core->class_loads[core->hot[node].class][tier];
}

static size_t
load_index(const struct core *core, uint32_t node, uint32_t model)
{
    return (size_t)model * core->config.classes_max + core->hot[node].class;
}

/* ln of actual over prior. above: what is more general than *l, NULL nothing. */
static void
load_observe(struct load_learned *l, const struct load_learned *above, float x)
{
    if (l->count == 0.0f && above != NULL)
        l->ln = above->ln;
    l->ln += max_f(LOAD_PART, 1.0f / (l->count + 1.0f + LOAD_PRIOR)) * (x - l->ln);
    l->count = min_f(LOAD_COUNT_MAX, l->count + 1.0f);
}

static float
load_factor(const struct load_learned *l, const struct load_learned *above)
{
    const struct load_learned *known = l->count > 0.0f ? l : above;

    return known->count > 0.0f ? (float)fmath_exp((double)known->ln) : 1.0f;
}

static bool
load_ln(float actual_ms, float prior_ms, float *ret_ln)
{
    if (!(actual_ms >= LOAD_LEAST_MS && actual_ms <= LOAD_MOST_MS && prior_ms >= LOAD_LEAST_MS) ||
        isinf(prior_ms))
        return false;
    *ret_ln = (float)fmath_log((double)(actual_ms / prior_ms));
    *ret_ln = max_f(-LOAD_LN_MAX, min_f(LOAD_LN_MAX, *ret_ln));
    return true;
}

static void
load_learn(struct core *core, uint32_t node, uint32_t model, uint32_t tier, float actual_ms)
{
    struct load_learned *of_class, *own;
    float x;

    if (tier >= LOAD_TIERS || (core->tuning.without & WITHOUT_LOAD_TIMES) != 0 ||
        !load_ln(actual_ms, load_prior_ms(core, node, model, tier), &x))
        return;
    of_class = load_of_class(core, node, tier);
    own = &core->learned[load_index(core, node, model)].loads[tier];
    load_observe(own, of_class, x);
    load_observe(of_class, NULL, x);
    load_observe(&core->any_load, NULL, x);
}

/* On what the node says of a load under way. */
static float
told_factor(const struct core *core, uint32_t node)
{
    return load_factor(&core->cold[node].load_told,
                       &core->class_loads[core->hot[node].class][LOAD_TOLD]);
}

static float
tier_ms(const struct core *core, uint32_t node, uint32_t model, uint32_t tier)
{
    return load_prior_ms(core, node, model, tier) *
           load_factor(&core->learned[load_index(core, node, model)].loads[tier],
                       &core->class_loads[core->hot[node].class][tier]);
}

/* ---- Expectations. */

float
load_time_from_ms(const struct core *core, uint32_t node, uint32_t model, uint32_t placement)
{
    uint32_t state = placement == NONE ? MODEL_ABSENT : core->placements[placement].state;
    uint32_t tier = load_tier_of(state);

    return tier_ms(core, node, model, tier < LOAD_TIERS ? tier : LOAD_FETCH);
}

float
load_time_ms(const struct core *core, uint32_t node, uint32_t model)
{
    return load_time_from_ms(core, node, model, readiness_find(core, node, model));
}

/* It is late by as much as it will be late in the end, half of it. */
static float
late_too_ms(uint64_t now_ns, uint64_t ready_ns)
{
    return now_ns < ready_ns ? ns_to_ms(ready_ns - now_ns) : ns_to_ms(now_ns - ready_ns);
}

float
load_time_left_ms(const struct core *core, uint64_t now_ns, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];
    const struct placed *placed = &core->placed[placement];
    uint32_t node = core->links[placement].node, tier;

    if (p->state == MODEL_READY) /* until it is asked for again, if it was not (claim) */
        return p->ready_at_ns > now_ns ? ns_to_ms(p->ready_at_ns - now_ns) : 0.0f;
    if (p->state == MODEL_LOADING && p->ready_at_ns != 0)
        return late_too_ms(now_ns, p->ready_at_ns);
    tier = p->state == MODEL_LOADING ? placed->tier : load_tier_of(p->state);
    if (tier >= LOAD_TIERS || (tier == LOAD_FETCH && core->cold[node].plan.fetch_mib_s <= 0.0f))
        tier = LOAD_DISK;
    if (p->state == MODEL_LOADING)
        return late_too_ms(now_ns,
                           placed->since_ns +
                               (uint64_t)((double)tier_ms(core, node, p->model, tier) * 1e6));
    return tier_ms(core, node, p->model, tier);
}

float
load_time_usual_ms(const struct core *core, uint32_t model)
{
    const struct load_learned none = {0};
    float ms = core->models[model].load_ms;

    return (ms > 0.0f ? ms : LOAD_GUESS_MS) * load_factor(&core->any_load, &none);
}

/* ---- Outcomes. */

static bool
loads_alone(const struct core *core, uint32_t node)
{
    uint32_t loading = 0;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next)
        loading += core->placements[p].state == MODEL_LOADING;
    return loading <= 1;
}

/* One that was not known before may have been under way for long, unless it was asked for. */
void
load_time_begins(struct core *core, uint32_t placement, uint32_t was, float told_ms)
{
    struct placed *p = &core->placed[placement];
    uint32_t node = core->links[placement].node;
    const struct node_cold *cold = &core->cold[node];
    bool is_asked = cold->plan.asked_ns != 0 &&
                    cold->plan.asked_model == core->placements[placement].model;
    uint32_t tier = load_tier_of(was);

    p->since_ns = core->now_ns;
    p->told_ms = told_ms;
    p->tier = (uint8_t)(tier == LOAD_FETCH && !is_asked ? LOAD_TIERS : tier);
    p->is_alone = loads_alone(core, node); /* behind another one it would take longer */
}

static void
load_ends(struct core *core, const struct event_model *e, uint32_t placement)
{
    struct placed *p = &core->placed[placement];
    float actual_ms = ns_to_ms(core->now_ns - p->since_ns), x;
    struct load_learned *of_class = load_of_class(core, e->node, LOAD_TOLD);

    if (p->timed_ns > p->since_ns)
        return; /* a request that waited told it already */
    p->timed_ns = core->now_ns;
    if (p->is_alone)
        load_learn(core, e->node, e->model, p->tier, actual_ms);
    if ((core->tuning.without & WITHOUT_LOAD_TIMES) != 0 || !load_ln(actual_ms, p->told_ms, &x))
        return;
    load_observe(&core->cold[e->node].load_told, of_class, x);
    load_observe(of_class, NULL, x);
}

void
load_time_told(struct core *core, const struct event_model *e, uint32_t placement, uint32_t was)
{
    struct placement *p = &core->placements[placement];

    if (e->state == MODEL_LOADING && was != MODEL_LOADING)
        load_time_begins(core, placement, was, e->ready_in_ms);
    else if (e->state == MODEL_READY && was == MODEL_LOADING)
        load_ends(core, e, placement);
    p->ready_at_ns = 0;
    if (e->state == MODEL_LOADING && e->ready_in_ms >= 0.0f && e->ready_in_ms < LOAD_MOST_MS)
        p->ready_at_ns = core->now_ns +
                         (uint64_t)((double)(e->ready_in_ms * told_factor(core, e->node)) * 1e6);
}

void
load_time_chosen(const struct core *core, struct attempt *a, uint32_t placement, float ready_ms)
{
    a->load_ms = ready_ms;
    a->load_tier = (uint8_t)load_tier_of(core->placements[placement].state);
}

/* The first of those that waited tells; not where the node's states told already, or will. */
void
load_time_started(struct core *core, const struct request *r, const struct attempt *a)
{
    struct placed *placed;
    uint32_t p;
    float ms;

    if (a->node == NODE_ANY || a->load_tier >= LOAD_TIERS || r->arrived.stream == 0)
        return;
    p = readiness_find(core, a->node, r->arrived.model);
    if (p == NONE)
        return;
    placed = &core->placed[p];
    if (core->placements[p].state == MODEL_LOADING && placed->asked_ns == 0)
        return;
    if (placed->timed_ns >= a->dispatched_ns)
        return;
    placed->timed_ns = core->now_ns;
    ms = ns_to_ms(core->now_ns - a->dispatched_ns) - (a->first_ms - a->load_ms);
    load_learn(core, a->node, r->arrived.model, a->load_tier, ms);
}

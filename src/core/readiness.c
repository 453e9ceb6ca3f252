/* readiness - placements of models on nodes; see readiness.h. A model that is absent has no
 * placement: its place goes back to the free list. */
#include "core/readiness.h"

#include <math.h>

#include "core/index.h"
#include "core/learn.h"
#include "core/load_time.h"
#include "core/model_slots.h"
#include "core/plan.h"
#include "core/prefix.h"

uint32_t
readiness_find(const struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = core->cold[node].first_placement;

    while (p != NONE && core->placements[p].model != model)
        p = core->placements[p].node_next;
    return p;
}

static void
placement_drop(struct core *core, uint32_t p)
{
    uint32_t *link = &core->cold[core->links[p].node].first_placement;

    while (*link != p)
        link = &core->placements[*link].node_next;
    *link = core->placements[p].node_next;
    prefix_forget(core, p);
    core->models[core->placements[p].model].placement_count--;
    core->placements[p].model = MODEL_NONE;
    core->placements[p].node_next = core->placement_free;
    core->placement_free = p;
}

/* A model that is in memory makes room where too many are known: the last one goes that is not. */
static void
placement_give_way(struct core *core, uint32_t node)
{
    uint32_t last = NONE;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        uint32_t state = core->placements[p].state;
        if (state != MODEL_READY && state != MODEL_LOADING && state != MODEL_LEAVING)
            last = p;
    }
    if (last == NONE)
        return;
    index_remove(core, last);
    placement_drop(core, last);
}

static uint32_t
placements_on(const struct core *core, uint32_t node)
{
    uint32_t count = 0;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next)
        count++;
    return count;
}

/* A new placement at the end of the node's chain; NONE when there is no room. */
static uint32_t
placement_add(struct core *core, uint32_t node, uint16_t model, uint32_t state)
{
    uint32_t p, *link;

    if (placements_on(core, node) >= CORE_NODE_MODELS_MAX &&
        (state == MODEL_READY || state == MODEL_LOADING))
        placement_give_way(core, node);
    p = core->placement_free;
    if (p == NONE || placements_on(core, node) >= CORE_NODE_MODELS_MAX)
        return NONE;
    for (link = &core->cold[node].first_placement; *link != NONE;)
        link = &core->placements[*link].node_next;
    core->placement_free = core->placements[p].node_next;
    core->placements[p] = (struct placement){.model = model, .node_next = NONE};
    core->links[p].node = node;
    core->placed[p].denials = 0;
    core->slotted[p] = (struct slotted){0};
    core->links[p].sent = 0;
    core->placed[p].sent_ms = 0.0f;
    core->placed[p].pace = (struct pace){0};
    prefix_new(core, p);
    *link = p;
    core->models[model].placement_count++;
    return p;
}

void
readiness_model(struct core *core, const struct event_model *e)
{
    uint32_t p, was = MODEL_ABSENT;

    if (!node_known(core, e->node) || e->model >= core->config.models_max ||
        e->state >= MODEL_STATE_COUNT)
        return;
    p = readiness_find(core, e->node, e->model);
    if (p != NONE) {
        was = core->placements[p].state;
        index_remove(core, p);
    }
    if (e->state == MODEL_ABSENT) {
        if (p != NONE)
            placement_drop(core, p);
        plan_told(core, e, NONE, was);
        return;
    }
    if (p == NONE)
        p = placement_add(core, e->node, e->model, e->state);
    if (p == NONE)
        return;
    core->placements[p].state = (uint8_t)e->state;
    core->placed[p].asked_ns = 0;
    if (e->state != MODEL_READY)
        prefix_forget(core, p);
    load_time_told(core, e, p, was);
    model_slots_told(core, p, e->slots);
    index_insert(core, p);
    learn_apply(core, e->node);
    plan_told(core, e, p, was);
}

/* ---- What our own requests do. */

void
readiness_asked(struct core *core, uint32_t placement)
{
    struct placement *p = &core->placements[placement];

    if (p->state != MODEL_ON_DISK && p->state != MODEL_SLEEPING)
        return;
    core->placed[placement].asked_ns = core->now_ns;
    core->placed[placement].asked_from = p->state;
    index_remove(core, placement);
    p->state = MODEL_LOADING;
    p->ready_at_ns = 0;
    load_time_begins(core, placement, core->placed[placement].asked_from, NAN);
    index_insert(core, placement);
}

static void
disbelieve(struct core *core, uint32_t placement)
{
    core->placed[placement].asked_ns = 0;
    index_remove(core, placement);
    core->placements[placement].state = core->placed[placement].asked_from;
    index_insert(core, placement);
}

void
readiness_failed(struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = node_known(core, node) ? readiness_find(core, node, model) : NONE;

    if (p != NONE && core->placed[p].asked_ns != 0)
        disbelieve(core, p);
}

void
readiness_sweep(struct core *core, uint32_t node)
{
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        if (core->placed[p].asked_ns != 0 &&
            core->now_ns - core->placed[p].asked_ns > READINESS_ASKED_NS)
            disbelieve(core, p);
    }
}

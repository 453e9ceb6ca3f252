/* model_slots - requests by model, where models have slots of their own; see model_slots.h. */
#include "core/model_slots.h"

#include <math.h>

#include "core/capacity.h"
#include "core/index.h"
#include "core/readiness.h"

#define REQUESTS_MAX 65535u

/* NULL: there is none, or it has no slots of its own. */
static struct placement *
slotted(const struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = readiness_find(core, node, model);

    return p != NONE && core->placements[p].slots > 0 ? &core->placements[p] : NULL;
}

/* What of ours is there already when it is first told. */
static void
count_own(const struct core *core, uint32_t node, struct placement *p)
{
    p->own_requests = p->own_waiting = 0;
    for (uint32_t i = core->cold[node].first_attempt; i != NONE;) {
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        const struct attempt *a = &r->attempts[i % ATTEMPTS_AT_ONCE];

        i = a->node_next;
        if (r->arrived.model != p->model || p->own_requests == REQUESTS_MAX)
            continue;
        p->own_requests++;
        p->own_waiting += a->queued;
    }
}

void
model_slots_told(struct core *core, uint32_t placement, uint32_t slots)
{
    struct placement *p = &core->placements[placement];
    uint32_t node = core->links[placement].node;

    slots = slots < REQUESTS_MAX ? slots : REQUESTS_MAX;
    if (slots == 0 || (core->tuning.without & WITHOUT_MODEL_SLOTS) != 0) {
        p->slots = p->own_requests = p->own_waiting = p->others_requests = 0;
        return;
    }
    if ((core->hot[node].flags & (NODE_FLAG_SLOTS | NODE_FLAG_REPORTS)) == 0)
        core->hot[node].slots = 0; /* what is configured is meant of each model */
    core->hot[node].flags |= NODE_FLAG_SLOTS;
    core->cold[node].model_slots = (uint16_t)slots;
    if (p->slots == 0)
        count_own(core, node, p);
    p->slots = (uint16_t)slots;
}

void
model_slots_requests(struct core *core, const struct event_requests *e)
{
    struct placement *p = node_known(core, e->node) ? slotted(core, e->node, e->model) : NULL;
    float others = e->requests;

    if (p == NULL || !(others >= 0.0f && others <= (float)REQUESTS_MAX))
        return;
    if ((core->tuning.without & WITHOUT_OWN_COUNT) == 0)
        others -= (float)p->own_requests;
    for (uint32_t i = core->cold[e->node].first_attempt; i != NONE;) { /* newest first */
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        const struct attempt *a = &r->attempts[i % ATTEMPTS_AT_ONCE];

        if ((core->tuning.without & WITHOUT_OWN_COUNT) != 0 || capacity_counts(core, e->node, a))
            break;
        others += r->arrived.model == e->model ? 1.0f : 0.0f;
        i = a->node_next;
    }
    p->others_requests = (uint16_t)max_f(0.0f, others);
    index_placement(core, (uint32_t)(p - core->placements));
}

void
model_slots_reserve(struct core *core, uint32_t node, uint32_t model)
{
    struct placement *p = slotted(core, node, model);

    if (p == NULL || p->own_requests == REQUESTS_MAX)
        return;
    p->own_requests++;
    p->own_waiting++;
}

void
model_slots_started(struct core *core, uint32_t node, uint32_t model)
{
    struct placement *p = slotted(core, node, model);

    if (p != NULL && p->own_waiting > 0)
        p->own_waiting--;
}

void
model_slots_release(struct core *core, uint32_t node, uint32_t model)
{
    struct placement *p = slotted(core, node, model);

    if (p != NULL && p->own_requests > 0)
        p->own_requests--;
}

float
model_slots_own_tokens(const struct core *core, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];
    float tokens = (float)p->own_waiting * core->models[p->model].prompt_mean;

    return min_f(core->hot[core->links[placement].node].own_queue_tokens, tokens);
}

void
model_slots_estimate(const struct core *core, uint32_t placement, struct predict_node *n)
{
    const struct placement *p = &core->placements[placement];
    float slots = (float)p->slots, here = (float)p->others_requests;
    float most = n->slots > slots ? n->slots - slots : INFINITY; /* beside it */

    if ((core->tuning.without & WITHOUT_OWN_COUNT) == 0)
        here += (float)p->own_requests;
    n->beside = min_f(most, max_f(0.0f, n->running + n->waiting - here));
    n->running = min_f(here, slots);
    n->waiting = max_f(0.0f, here - slots);
    n->slots = slots;
}

float
model_slots_of(const struct core *core, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];

    return (float)(p->slots > 0 ? p->slots : core->hot[core->links[placement].node].slots);
}

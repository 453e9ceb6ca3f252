/* model_slots - requests by model, where models have slots of their own; see model_slots.h. */
#include "core/model_slots.h"

#include <math.h>

#include "core/capacity.h"
#include "core/index.h"
#include "core/readiness.h"

#define REQUESTS_MAX 65535u

/* NULL: there is none, or it has no slots of its own. */
static struct slotted *
slotted(const struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = readiness_find(core, node, model);

    return p != NONE && core->slotted[p].slots > 0 ? &core->slotted[p] : NULL;
}

/* What of ours is there already when it is first told. */
static void
count_own(const struct core *core, uint32_t placement)
{
    struct slotted *s = &core->slotted[placement];

    s->own_requests = s->own_waiting = 0;
    for (uint32_t i = core->cold[core->links[placement].node].first_attempt; i != NONE;) {
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        const struct attempt *a = &r->attempts[i % ATTEMPTS_AT_ONCE];

        i = a->node_next;
        if (r->arrived.model != core->placements[placement].model ||
            s->own_requests == REQUESTS_MAX)
            continue;
        s->own_requests++;
        s->own_waiting += a->queued;
    }
}

void
model_slots_told(struct core *core, uint32_t placement, uint32_t slots)
{
    struct slotted *s = &core->slotted[placement];
    uint32_t node = core->links[placement].node;

    slots = slots < REQUESTS_MAX ? slots : REQUESTS_MAX;
    if (slots == 0 || (core->tuning.without & WITHOUT_MODEL_SLOTS) != 0) {
        *s = (struct slotted){0};
        return;
    }
    if ((core->hot[node].flags & (NODE_FLAG_SLOTS | NODE_FLAG_REPORTS)) == 0)
        core->hot[node].slots = 0; /* what is configured is meant of each model */
    core->hot[node].flags |= NODE_FLAG_SLOTS;
    core->cold[node].model_slots = (uint16_t)slots;
    if (s->slots == 0)
        count_own(core, placement);
    s->slots = (uint16_t)slots;
}

void
model_slots_requests(struct core *core, const struct event_requests *e)
{
    struct slotted *s = node_known(core, e->node) ? slotted(core, e->node, e->model) : NULL;
    float others = e->requests;

    if (s == NULL || !(others >= 0.0f && others <= (float)REQUESTS_MAX))
        return;
    if ((core->tuning.without & WITHOUT_OWN_COUNT) == 0)
        others -= (float)s->own_requests;
    for (uint32_t i = core->cold[e->node].first_attempt; i != NONE;) { /* newest first */
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        const struct attempt *a = &r->attempts[i % ATTEMPTS_AT_ONCE];

        if ((core->tuning.without & WITHOUT_OWN_COUNT) != 0 || capacity_counts(core, e->node, a))
            break;
        others += r->arrived.model == e->model ? 1.0f : 0.0f;
        i = a->node_next;
    }
    s->others_requests = (uint16_t)max_f(0.0f, others);
    index_placement(core, (uint32_t)(s - core->slotted));
}

void
model_slots_reserve(struct core *core, uint32_t node, uint32_t model)
{
    struct slotted *s = slotted(core, node, model);

    if (s == NULL || s->own_requests == REQUESTS_MAX)
        return;
    s->own_requests++;
    s->own_waiting++;
}

void
model_slots_started(struct core *core, uint32_t node, uint32_t model)
{
    struct slotted *s = slotted(core, node, model);

    if (s != NULL && s->own_waiting > 0)
        s->own_waiting--;
}

void
model_slots_release(struct core *core, uint32_t node, uint32_t model)
{
    struct slotted *s = slotted(core, node, model);

    if (s != NULL && s->own_requests > 0)
        s->own_requests--;
}

float
model_slots_own_tokens(const struct core *core, uint32_t placement)
{
    float tokens = (float)core->slotted[placement].own_waiting *
                   core->models[core->placements[placement].model].prompt_mean;

    return min_f(core->hot[core->links[placement].node].own_queue_tokens, tokens);
}

void
model_slots_estimate(const struct core *core, uint32_t placement, struct predict_node *n)
{
    const struct slotted *s = &core->slotted[placement];
    float slots = (float)s->slots, here = (float)s->others_requests;
    float most = n->slots > slots ? n->slots - slots : INFINITY; /* beside it */

    if ((core->tuning.without & WITHOUT_OWN_COUNT) == 0)
        here += (float)s->own_requests;
    n->beside = min_f(most, max_f(0.0f, n->running + n->waiting - here));
    n->running = min_f(here, slots);
    n->waiting = max_f(0.0f, here - slots);
    n->slots = slots;
}

float
model_slots_of(const struct core *core, uint32_t placement)
{
    const struct node_hot *hot = &core->hot[core->links[placement].node];

    return (float)(model_slots_has(core, hot, placement) ? core->slotted[placement].slots
                                                         : hot->slots);
}

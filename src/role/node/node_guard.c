/* node_guard - how much the engines get at once. Above it requests wait here, few and not for long;
 * above that they are turned away with the time at which to come again, so that a gateway finds
 * another node while it is early. A node says less than its engines can do, if it is told to. */
#include <math.h>

#include "role/node/node_state.h"

#define RETRY_MS_MIN 100.0
#define RETRY_MS_MAX 30000.0
#define MODEL_DEPTH  2u /* of a model's own slots, so many times as many: its engine has a queue */

/* Slots of its models, each with its own; those in memory, or all. 0: they have none. */
static uint64_t
slots_of_models(const struct node_engine *e, bool in_memory)
{
    uint64_t slots = 0;

    for (size_t i = 0; i < e->models.count; i++) {
        uint32_t state = e->models.list[i].state;
        if (!in_memory || state == MODEL_READY || state == MODEL_LOADING)
            slots += e->models.list[i].slots;
    }
    return slots;
}

uint32_t
node_guard_engine_slots(const struct node_engine *e)
{
    uint64_t slots = slots_of_models(e, false);

    if (slots > 0)
        return slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX;
    if (!e->asker.slots_of_each && !isnan(e->asker.slots) && e->asker.slots >= 1.0f)
        return (uint32_t)e->asker.slots;
    if (e->load_known && !isnan(e->load.slots) && e->load.slots >= 1.0f)
        return (uint32_t)e->load.slots;
    return NODE_SLOTS_DEFAULT;
}

static uint32_t
at_most(const struct node *n, uint64_t slots)
{
    if (n->config->guard_requests_max != 0 && n->config->guard_requests_max < slots)
        return (uint32_t)n->config->guard_requests_max;
    return slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX;
}

/* At engines that leave: what runs there takes nothing from the others, nor is there room. */
static uint64_t
slots_leaving(const struct node *n)
{
    const struct node_engine *e;
    uint64_t slots = 0;

    TAILQ_FOREACH (e, &n->leaving, link)
        slots += e->running;
    return slots;
}

uint32_t
node_guard_slots(const struct node *n)
{
    uint64_t slots = slots_leaving(n);
    const struct node_engine *e;

    TAILQ_FOREACH (e, &n->engines, link)
        slots += node_guard_engine_slots(e);
    return at_most(n, slots);
}

uint32_t
node_guard_slots_now(const struct node *n)
{
    uint64_t slots = slots_leaving(n);
    const struct node_engine *e;

    TAILQ_FOREACH (e, &n->engines, link) {
        uint64_t now = slots_of_models(e, true);
        if (slots_of_models(e, false) == 0)
            now = node_guard_engine_slots(e);
        slots += now;
    }
    return at_most(n, slots);
}

uint32_t
node_guard_waiting_max(const struct node *n)
{
    uint32_t slots = node_guard_slots(n);

    if (slots < NODE_WAITING_MIN)
        return NODE_WAITING_MIN;
    return slots < NODE_WAITING_MAX ? slots : NODE_WAITING_MAX;
}

uint64_t
node_guard_tokens_max(const struct node *n)
{
    const struct node_engine *e;
    double cap = 0.0;

    if (n->config->guard_tokens_max != 0)
        return n->config->guard_tokens_max;
    TAILQ_FOREACH (e, &n->engines, link) {
        if (!e->load_known || !(e->load.kv_tokens_cap > 0.0f))
            return 0; /* one that does not say: nobody knows */
        cap += (double)e->load.kv_tokens_cap;
    }
    return (uint64_t)cap;
}

enum node_verdict
node_guard_wait(const struct node *n)
{
    return n->waiting_count < node_guard_waiting_max(n) ? NODE_WAIT : NODE_FULL;
}

enum node_verdict
node_guard_enter(struct node *n, struct node_engine *e, struct node_model *model, uint64_t tokens)
{
    uint64_t tokens_max = node_guard_tokens_max(n);

    /* One that is larger than everything goes when nothing else is there: else it never would. */
    if (n->running_count >= node_guard_slots(n) || e->running >= node_guard_engine_slots(e) ||
        (model != NULL && model->slots > 0 && model->running / MODEL_DEPTH >= model->slots) ||
        (tokens_max != 0 && n->tokens + tokens > tokens_max && n->running_count > 0))
        return node_guard_wait(n);
    n->running_count++;
    e->running++;
    if (model != NULL)
        model->running++;
    n->tokens += tokens;
    return NODE_GO;
}

void
node_guard_leave(struct node *n, struct node_engine *e, struct node_model *model, uint64_t tokens)
{
    if (model != NULL)
        model->running--;
    n->running_count--;
    e->running--;
    n->tokens -= tokens;
    if (e->running == 0)
        node_engine_idle(e);
}

float
node_guard_retry_ms(const struct node *n)
{
    double ms = 1e3 * n->seconds_mean * (double)(n->waiting_count + 1) / node_guard_slots(n);

    return (float)fmin(fmax(ms, RETRY_MS_MIN), RETRY_MS_MAX);
}

/* flight - requests by id, and the actions about them; see flight.h. */
#include "core/flight.h"

#include <math.h>
#include <string.h>

#include "base/must.h"
#include "core/capacity.h"
#include "core/index.h"
#include "core/learn.h"
#include "core/prefix.h"

/* ---- The table. */

static uint32_t *
head_of(const struct core *core, uint64_t id)
{
    return &core->request_heads[((id * 0x9e3779b97f4a7c15u) >> 32) & core->request_mask];
}

struct request *
flight_find(const struct core *core, uint64_t id)
{
    uint32_t i = *head_of(core, id);

    while (i != NONE && core->requests[i].id != id)
        i = core->requests[i].hash_next;
    return i == NONE ? NULL : &core->requests[i];
}

/* While a request is held, its former attempts are over: an event of one is late. */
struct request *
flight_attempt(const struct core *core, uint64_t id, uint32_t attempt)
{
    struct request *r = flight_find(core, id);

    return r != NULL && r->attempt == attempt && r->hold == NONE ? r : NULL;
}

struct request *
flight_add(struct core *core, const struct event_arrived *e)
{
    uint32_t i = core->request_free, *head = head_of(core, e->request);
    struct request *r;

    if (i == NONE)
        return NULL;
    r = &core->requests[i];
    core->request_free = r->hash_next;
    memset(r, 0, sizeof(*r));
    r->id = e->request;
    r->arrived = *e;
    r->arrived_ns = core->now_ns;
    r->node = NODE_ANY;
    r->hold = NONE;
    r->hash_next = *head;
    *head = i;
    core->requests_in_flight++;
    return r;
}

void
flight_drop(struct core *core, struct request *r)
{
    uint32_t i = (uint32_t)(r - core->requests), *link = head_of(core, r->id);

    capacity_release(core, r);
    if (r->hold != NONE)
        fair_take(&core->fair, r->hold);
    while (*link != i)
        link = &core->requests[*link].hash_next;
    *link = r->hash_next;
    r->id = 0;
    r->hash_next = core->request_free;
    core->request_free = i;
    core->requests_in_flight--;
}

void
flight_estimate(const struct core *core, struct request *r)
{
    const struct event_arrived *e = &r->arrived;

    r->prompt_tokens = learn_prompt_tokens(&core->models[e->model], e->script, e->prompt_bytes);
    r->output_tokens = learn_output_expect(&core->outputs, e->tenant, e->model, r->prompt_tokens,
                                           e->max_tokens);
}

/* ---- Actions. */

struct action *
flight_action(struct actions *actions, enum action_kind kind)
{
    struct action *a = &actions->list[actions->count++];

    must(actions->count <= ACTIONS_MAX);
    memset(a, 0, sizeof(*a));
    a->kind = kind;
    return a;
}

/* What a client should wait where nothing better is known. */
static float
retry_after_ms(enum refusal refusal)
{
    switch (refusal) {
    case REFUSAL_FULL:
    case REFUSAL_CROWDED:
    case REFUSAL_SHED:
        return 1000.0f;
    case REFUSAL_NOT_READY:
    case REFUSAL_DRAINING:
        return 5000.0f;
    case REFUSAL_FAILING:
    case REFUSAL_NO_NODE:
        return 30000.0f;
    default:
        return NAN;
    }
}

void
flight_refuse(struct actions *actions, uint64_t request, uint32_t attempts, enum refusal refusal,
              uint32_t failure, float wait_ms)
{
    struct action *a = flight_action(actions, ACTION_REFUSE);

    a->refuse.request = request;
    a->refuse.refusal = refusal;
    a->refuse.attempts = attempts;
    a->refuse.retry_after_ms = isnan(wait_ms) ? retry_after_ms(refusal) : wait_ms;
    a->refuse.failure = failure;
}

void
flight_dispatch(struct core *core, struct request *r, const struct choice *choice,
                struct actions *actions)
{
    const struct terms *terms = &choice->chosen.terms;
    struct action *a;

    r->node = choice->chosen.node;
    r->tried[r->attempt - 1] = r->node;
    r->first_ms = terms->first_ms;
    r->net_ms = terms->net_ms;
    r->hit_tokens = choice->chosen.hit_tokens;
    r->hit_age = choice->hit_age;
    r->guess = choice->guess;
    r->guess_tokens = choice->guess_tokens;
    r->taught = false;
    learn_chosen(core, r, &choice->chosen);
    core->models[r->arrived.model].last_node = r->node;
    index_rotate(core, choice->placement);
    capacity_reserve(core, r);
    prefix_dispatched(core, r, choice->placement, choice->matched);
    a = flight_action(actions, ACTION_DISPATCH);
    a->dispatch.request = r->id;
    a->dispatch.attempt = r->attempt;
    a->dispatch.node = r->node;
    a->dispatch.first_ms = terms->first_ms;
    a->dispatch.done_ms = terms->done_ms;
    a->dispatch.sigma_ms = terms->sigma_ms;
    a->dispatch.first_limit_ms = core->settings.first_limit_ms;
    a->dispatch.gap_limit_ms = core->settings.idle_limit_ms;
    a->dispatch.hedge_after_ms = NAN;
    a->dispatch.model = r->arrived.model;
}

void
flight_observe(const struct core *core, const struct request *r, enum rule_news_kind kind,
               const struct event_ended *ended)
{
    struct rule_news news = {.kind = kind,
                             .node = r->node,
                             .now_ns = core->now_ns,
                             .request = r->id,
                             .since_ms = ns_to_ms(core->now_ns - r->dispatched_ns),
                             .prompt_tokens = r->prompt_tokens,
                             .hit_tokens = r->hit_tokens,
                             .output_tokens = r->output_tokens};

    if (core->rule == NULL || core->rule->observe == NULL || r->node == NODE_ANY)
        return;
    if (ended != NULL && ended->prompt_tokens > 0)
        news.prompt_tokens = (float)ended->prompt_tokens;
    if (ended != NULL && ended->output_tokens > 0)
        news.output_tokens = (float)ended->output_tokens;
    core->rule->observe(core->rule_state, &news);
}

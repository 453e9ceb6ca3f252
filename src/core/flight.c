/* flight - requests by id, and the actions about them; see flight.h. */
#include "core/flight.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/must.h"
#include "core/capacity.h"
#include "core/headroom.h"
#include "core/hedge.h"
#include "core/index.h"
#include "core/learn.h"
#include "core/load_time.h"
#include "core/prefix.h"
#include "core/readiness.h"

/* ---- The table. */

/* Ids count up, each lane's from a start of its own: neighbours share a cache line here, which a
 * scattering hash would miss each time. */
static uint32_t *
head_of(const struct core *core, uint64_t id)
{
    return &core->request_heads[(id ^ (id >> 32) * 0x9e3779b1u) & core->request_mask];
}

struct request *
flight_find(const struct core *core, uint64_t id)
{
    uint32_t i = *head_of(core, id);

    while (i != NONE && core->requests[i].id != id)
        i = core->requests[i].hash_next;
    return i == NONE ? NULL : &core->requests[i];
}

struct attempt *
flight_attempt(const struct core *core, uint64_t id, uint32_t number, struct request **ret_request)
{
    struct request *r = flight_find(core, id);

    for (uint32_t i = 0; r != NULL && number != 0 && i < ATTEMPTS_AT_ONCE; i++) {
        if (r->attempts[i].number == number) {
            *ret_request = r;
            return &r->attempts[i];
        }
    }
    return NULL;
}

struct attempt *
flight_beside(struct request *r, const struct attempt *a)
{
    struct attempt *other = &r->attempts[a == &r->attempts[0] ? 1 : 0];

    return other->number != 0 ? other : NULL;
}

void
flight_over(struct core *core, const struct request *r, struct attempt *a)
{
    if (a->number != 0)
        capacity_release(core, r, a);
    a->number = 0;
}

void
flight_arrived(struct request *r, const struct event_arrived *e)
{
    r->arrived = *e;
    if (!(e->deadline_ms > 0.0f)) /* a goal of nothing is none */
        r->arrived.deadline_ms = NAN;
    if (!(e->tpot_goal_ms > 0.0f))
        r->arrived.tpot_goal_ms = NAN;
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
    memset(r, 0, offsetof(struct request, attempts)); /* a dispatch fills in the rest */
    for (uint32_t k = 0; k < ATTEMPTS_AT_ONCE; k++)
        r->attempts[k].number = 0;
    r->id = e->request;
    flight_arrived(r, e);
    r->arrived_ns = core->now_ns;
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

    for (uint32_t k = 0; k < ATTEMPTS_AT_ONCE; k++)
        flight_over(core, r, &r->attempts[k]);
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
    struct attempt *t = &r->attempts[r->attempts[0].number != 0 ? 1 : 0];
    struct action *a;

    must(t->number == 0);
    t->number = r->attempt;
    t->node = choice->chosen.node;
    t->is_hedge = flight_beside(r, t) != NULL;
    t->late_ns = 0;
    t->hit_tokens = choice->chosen.hit_tokens;
    t->hit_age = choice->hit_age;
    t->guess = choice->guess;
    t->guess_tokens = choice->guess_tokens;
    t->first_ms = terms->first_ms;
    t->sigma_ms = terms->sigma_ms;
    t->net_ms = terms->net_ms;
    t->queue_part = 0.0f;
    t->taught = false;
    load_time_chosen(core, t, choice->placement, terms->ready_ms);
    learn_chosen(core, r, t, &choice->chosen);
    r->tried[r->attempt - 1] = t->node;
    core->models[r->arrived.model].last_node = t->node;
    index_rotate(core, choice->placement);
    readiness_asked(core, choice->placement);
    capacity_reserve(core, r, t);
    headroom_sent(core, choice->placement);
    prefix_dispatched(core, r, t, choice->placement, choice->matched);
    a = flight_action(actions, ACTION_DISPATCH);
    a->dispatch.request = r->id;
    a->dispatch.attempt = t->number;
    a->dispatch.node = t->node;
    a->dispatch.first_ms = terms->first_ms;
    a->dispatch.done_ms = terms->done_ms;
    a->dispatch.sigma_ms = terms->sigma_ms;
    a->dispatch.first_limit_ms = core->settings.first_limit_ms;
    a->dispatch.gap_limit_ms = core->settings.idle_limit_ms;
    a->dispatch.hedge_after_ms = t->is_hedge ? NAN : hedge_after_ms(core, r, t);
    a->dispatch.model = r->arrived.model;
    a->dispatch.hedge = t->is_hedge;
    a->dispatch.serial = t->serial;
    hedge_note(core, r, t);
}

void
flight_observe(const struct core *core, const struct request *r, const struct attempt *a,
               enum rule_news_kind kind, const struct event_ended *ended)
{
    struct rule_news news = {.kind = kind,
                             .node = a->node,
                             .now_ns = core->now_ns,
                             .request = r->id,
                             .since_ms = ns_to_ms(core->now_ns - a->dispatched_ns),
                             .prompt_tokens = r->prompt_tokens,
                             .hit_tokens = a->hit_tokens,
                             .output_tokens = r->output_tokens};

    if (core->rule == NULL || core->rule->observe == NULL || a->node == NODE_ANY)
        return;
    if (ended != NULL && ended->prompt_tokens > 0)
        news.prompt_tokens = (float)ended->prompt_tokens;
    if (ended != NULL && ended->output_tokens > 0)
        news.output_tokens = (float)ended->output_tokens;
    core->rule->observe(core->rule_state, &news);
}

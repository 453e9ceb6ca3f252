/* hedge - a second attempt beside one that is late; see hedge.h. */
#include "core/hedge.h"

#include <math.h>

#include "core/capacity.h"
#include "core/choose.h"
#include "core/fair.h"
#include "core/flight.h"
#include "core/learn.h"

/* What is left on average of a normal distribution's tail beyond its p95, in deviations: the hazard
 * there, 2.063, less 1.645. */
#define TAIL_SIGMAS 0.418f
#define LATE_KEEP   0.98f  /* of what late ones taught, at each further one */
#define LATE_START  200.0f /* ms beyond the tail, before any was seen, */
#define LATE_WEIGHT 5.0f   /* as if so many had */
#define PRICE_UP    0.01f  /* ms a token, when one could not be paid for, */
#define PRICE_DOWN  0.001f /* and when one was */
#define PRICE_MAX   1.0f

void
hedge_init_model(struct model_record *m)
{
    m->late_ms = LATE_START * LATE_WEIGHT;
    m->late_count = LATE_WEIGHT;
}

static float
uncached_of(const struct request *r, float hit_tokens)
{
    return max_f(1.0f, r->prompt_tokens - hit_tokens);
}

/* Would a second attempt be thought of at all? */
static bool
is_possible(const struct core *core, const struct request *r)
{
    return (core->tuning.without & WITHOUT_HEDGE) == 0 && core->tuning.hedge_part > 0.0f &&
           r->arrived.stream != 0 && r->arrived.only_node == NODE_ANY &&
           r->attempt < ATTEMPTS_MAX && core->models[r->arrived.model].ready_count > 1 &&
           choose_rule(core)->wants == RULE_WANTS_PREDICTION;
}

float
hedge_after_ms(const struct core *core, const struct request *r, const struct attempt *a)
{
    float price_ms = core->models[r->arrived.model].hedge_price * uncached_of(r, a->hit_tokens);

    if (!is_possible(core, r))
        return NAN;
    return max_f(HEDGE_AFTER_MIN_MS, a->first_ms + HEDGE_SIGMAS * a->sigma_ms + price_ms);
}

void
hedge_note(struct core *core, const struct request *r, const struct attempt *a)
{
    struct model_record *m = &core->models[r->arrived.model];
    float uncached = uncached_of(r, a->hit_tokens);

    core->hedges.prefill_tokens += (double)uncached;
    if (a->is_hedge) {
        m->hedge_tokens -= uncached;
        core->hedges.sent++;
        core->hedges.extra_tokens += (double)uncached;
    } else if (a->number == 1) {
        m->hedge_tokens = min_f(HEDGE_BURST_TOKENS,
                                m->hedge_tokens + core->tuning.hedge_part * uncached);
    }
}

/* How long a late first token is still expected to take: the rest of its distribution's tail, and
 * beyond it what late ones of the model took. That is exponential as far as anybody knows, and its
 * mean is the time spent waiting over the number that came; those that were given up had waited
 * too. */
static float
left_ms(const struct core *core, const struct request *r, const struct attempt *a)
{
    const struct model_record *m = &core->models[r->arrived.model];

    return TAIL_SIGMAS * a->sigma_ms + m->late_ms / m->late_count;
}

/* A late one came, or was given up. */
static void
learn_late(struct core *core, const struct request *r, const struct attempt *a, bool came)
{
    struct model_record *m = &core->models[r->arrived.model];
    float keep = came ? LATE_KEEP : 1.0f;

    if (a->late_ns == 0)
        return;
    m->late_ms = keep * m->late_ms +
                 max_f(0.0f, ns_to_ms(core->now_ns - a->late_ns) - TAIL_SIGMAS * a->sigma_ms);
    m->late_count = keep * m->late_count + (came ? 1.0f : 0.0f);
}

/* Is there no load that a duplicate would be in the way of? */
static bool
is_calm(const struct core *core, const struct request *r)
{
    return core->models[r->arrived.model].load <= core->tuning.hedge_load_max &&
           fair_ahead(&core->fair, r->arrived.model, PRIORITIES_MAX - 1) == 0;
}

/* Choose, and send it if that is within the budget. False: nothing was done. */
static bool
send(struct core *core, struct request *r, const struct attempt *a, struct actions *actions)
{
    struct beside beside = {.before_ms = left_ms(core, r, a), .node = a->node};
    struct model_record *m = &core->models[r->arrived.model];
    struct choice choice;

    choose_beside(core, core->now_ns, r, &beside, &core->rng, &choice, &actions->decision);
    if (choice.placement == NONE || actions->decision.mode != DECISION_TIME) { /* else: a guess */
        core->hedges.skipped_slower++;
        return false;
    }
    if (m->hedge_tokens < uncached_of(r, choice.chosen.hit_tokens)) {
        m->hedge_price = min_f(PRICE_MAX, m->hedge_price + PRICE_UP);
        core->hedges.skipped_budget++;
        return false;
    }
    m->hedge_price = max_f(0.0f, m->hedge_price - PRICE_DOWN);
    actions->decision.hedge_ms = beside.before_ms;
    flight_dispatch(core, r, &choice, actions);
    return true;
}

void
hedge_late(struct core *core, const struct event_late *e, struct actions *actions)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);

    if (a == NULL || a->late_ns != 0 || a->started_ns != 0 || flight_beside(r, a) != NULL ||
        !is_possible(core, r))
        return;
    a->late_ns = core->now_ns;
    core->hedges.late++;
    if (!is_calm(core, r)) {
        core->hedges.skipped_load++;
        return;
    }
    r->attempt++;
    if (!send(core, r, a, actions)) {
        r->attempt--;
        actions->decision.candidate_count = 0;
    }
}

void
hedge_started(struct core *core, struct request *r, const struct attempt *a,
              struct actions *actions)
{
    struct attempt *other = flight_beside(r, a);
    struct action *cancel;

    core->hedges.won += a->is_hedge;
    learn_late(core, r, a, true);
    if (other == NULL)
        return;
    learn_late(core, r, other, false);
    cancel = flight_action(actions, ACTION_CANCEL);
    cancel->cancel.request = r->id;
    cancel->cancel.attempt = other->number;
    learn_overtaken(core, r, other);
    flight_over(core, r, other);
}

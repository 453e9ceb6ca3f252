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
#define TAIL_PART   0.05f /* of all that work are later than their p95 */

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
    if (!is_possible(core, r))
        return NAN;
    return max_f(HEDGE_AFTER_MIN_MS, a->first_ms + HEDGE_SIGMAS * a->sigma_ms);
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

/* How long a first token that has not come by its p95 is still expected to take: the rest of its
 * distribution's tail, or what a failure takes to notice and to do again, by how likely it is that
 * the node does not work. One in a hundred do not, one in twenty of the others is so late: so that
 * is no longer unlikely. */
static float
left_ms(const struct core *core, const struct attempt *a)
{
    float p_fail = 0.0f, failed_ms = 0.0f, part;

    if (a->node != NODE_ANY) {
        p_fail = (float)core->hot[a->node].p_fail * (1.0f / SHARE_ONE);
        failed_ms = core->cold[a->node].detect_ms + a->first_ms;
    }
    part = p_fail / (p_fail + TAIL_PART * (1.0f - p_fail));
    return (1.0f - part) * TAIL_SIGMAS * a->sigma_ms + part * failed_ms;
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
    struct beside beside = {.before_ms = left_ms(core, a), .node = a->node};
    struct choice choice;

    choose_beside(core, core->now_ns, r, &beside, &core->rng, &choice, &actions->decision);
    if (choice.placement == NONE || actions->decision.mode != DECISION_TIME) { /* else: a guess */
        core->hedges.skipped_slower++;
        return false;
    }
    if (core->models[r->arrived.model].hedge_tokens < uncached_of(r, choice.chosen.hit_tokens)) {
        core->hedges.skipped_budget++;
        return false;
    }
    actions->decision.hedge_ms = beside.before_ms;
    flight_dispatch(core, r, &choice, actions);
    return true;
}

void
hedge_late(struct core *core, const struct event_late *e, struct actions *actions)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);

    if (a == NULL || a->was_late || a->started_ns != 0 || flight_beside(r, a) != NULL ||
        !is_possible(core, r))
        return;
    a->was_late = true;
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
    if (other == NULL)
        return;
    cancel = flight_action(actions, ACTION_CANCEL);
    cancel->cancel.request = r->id;
    cancel->cancel.attempt = other->number;
    learn_overtaken(core, r, other);
    flight_over(core, r, other);
}

/* goal - which nodes meet a deadline, and the fullest of them: best fit; see goal.h. */
#include "core/goal.h"

#include <math.h>

struct goal
goal_of(const struct core *core, uint64_t now_ns, const struct request *r)
{
    float step_ms = r->arrived.tpot_goal_ms;

    return (struct goal){
        .first_ms = r->arrived.deadline_ms - ns_to_ms(now_ns - r->arrived_ns),
        .step_ms = isnan(step_ms) ? core->settings.tpot_goal_ms : step_ms,
    };
}

void
goal_weigh(const struct goal *goal, const struct predict_node *node, struct candidate *c)
{
    float step_ms = c->terms.step_ms * node->residual_step / max_f(node->residual, 1e-3f);

    c->load = predict_load(node);
    c->fits = c->terms.first_ms + GOAL_Z90 * c->terms.sigma_ms <= goal->first_ms &&
              (isnan(goal->step_ms) || step_ms * (1.0f + GOAL_Z90 * node->spread) <= goal->step_ms);
}

static bool
fuller(const struct candidate *a, const struct candidate *b)
{
    if (a->load != b->load)
        return a->load > b->load;
    if (a->cost_ms != b->cost_ms)
        return a->cost_ms < b->cost_ms;
    return a->node < b->node;
}

size_t
goal_fullest(const struct candidate *list, size_t count)
{
    size_t best = count;

    for (size_t i = 0; i < count; i++) {
        if (list[i].fits != 0 && (best == count || fuller(&list[i], &list[best])))
            best = i;
    }
    return best;
}

#ifndef CORE_PLAN_WORTH_H
#define CORE_PLAN_WORTH_H
/* plan_worth - what a copy of a model is worth at a place, in the milliseconds of waiting that it
 * saves a second: see plan.h. It learns how long
 * requests stay; else it only asks. */
#include "core/state.h"

#define PLAN_OWN_PART_LEAST    0.02f /* of its region's demand: who sees less is not scaled more */
#define PLAN_WEIGHTS_LEAST_MIB 1.0f  /* less, or unknown: it is neither loaded nor unloaded */

/* What a place for the model costs: what others would save there. */
float plan_price(const struct core *core, uint32_t model);
/* What one copy more of the model saves in the node's region, on a node like this, if placement
 * `but` were none of them; NONE: all that are there stay. */
float plan_worth(const struct core *core, uint32_t model, uint32_t node, uint32_t but);
/* What is lost if the placement goes; INFINITY: it must stay. */
float plan_loss(const struct core *core, uint32_t placement);
/* A request ended well: how long it had its slot is learned. */
void plan_worth_ended(struct core *core, const struct request *r, const struct attempt *a,
                      const struct event_ended *e);
#endif

#ifndef CORE_PLAN_WORTH_H
#define CORE_PLAN_WORTH_H
/* plan_worth - what a copy of a model is worth at a place, in the milliseconds of waiting that it
 * saves a second: see plan.h. Only asks, changes nothing. */
#include "core/state.h"

#define PLAN_WEIGHTS_LEAST_MIB 1.0f /* less, or unknown: it is neither loaded nor unloaded */

/* What a place for the model costs: what others would save there. */
float plan_price(const struct core *core, uint32_t model);
/* What the region's copy number `nth` of the model saves, on a node like this. */
float plan_worth(const struct core *core, uint32_t model, uint32_t node, uint32_t nth);
/* What is lost if the placement goes; INFINITY: it must stay. */
float plan_loss(const struct core *core, uint32_t placement);
#endif

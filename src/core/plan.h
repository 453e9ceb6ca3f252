#ifndef CORE_PLAN_H
#define CORE_PLAN_H
/* plan - which models are to be loaded where, and which give way.
 *
 * Of the nodes that this gateway steers (event_node.steered), in the currency of decisions: a copy
 * of a model is worth the milliseconds of waiting a second that it saves, which is the demand it
 * takes times what the next best would cost those requests: the way to another region's copy, or a
 * load if there is none. How many copies take a demand is its upper quantile (a copy that lacks
 * costs those milliseconds, one too many costs its place: newsvendor).
 *
 * No user waits for a load while a ready node can answer: decisions see to that, and what they
 * spill is added up here. When it has cost as much as a load (ski-rental), or more is expected than
 * the copies take, or there is none at all, the model is wanted. It is loaded where what gives way
 * is worth least, if the gain is well above that (hysteresis) and pays for the load in time. What
 * came stays for a while, what went does not come back for a while, unless demand is far above its
 * usual.
 *
 * Bounded: a few nodes and models a tick, and one load that is decided on. What gives way, one
 * model or some smaller ones, is asked to go first; the load is asked for when the node tells that
 * there is room. Where it then fails, what went may come back at once, and for a while nothing else
 * goes for that model. The driver carries directives out and tells by EVENT_MODEL; silence counts
 * as no after a while. */
#include "core/state.h"

/* What is configured of the node is known now; it left. */
void plan_node(struct core *core, const struct event_node *e);
void plan_node_gone(struct core *core, uint32_t node);
/* A model on it changed state: it has the new one. p: its placement, NONE: it is absent now; was:
 * the state before, MODEL_ABSENT likewise. */
void plan_told(struct core *core, const struct event_model *e, uint32_t p, uint32_t was);
/* So many gateways of our region steer nodes; we are number `place` of them. */
void plan_planners(struct core *core, uint32_t planners, uint32_t place);
/* This is what follows for a request that arrived: did it have to go far, or wait? */
void plan_arrived(struct core *core, uint32_t model, uint64_t request,
                  const struct actions *actions);
void plan_tick(struct core *core, struct actions *actions);
#endif

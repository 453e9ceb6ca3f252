#ifndef CORE_READINESS_H
#define CORE_READINESS_H
/* readiness - which model is where, in which of eight states. Resident is not occupied, ready is
 * not live: load is capacity's, failures are isolation's. */
#include "core/state.h"

/* So long it is believed that a request makes an engine load its model, while it says nothing. */
#define READINESS_ASKED_NS 10000000000u

void readiness_model(struct core *core, const struct event_model *e);
/* A request is sent to this placement. Where that makes the engine load the model it counts as
 * loading from now on: those that come next wait there with it, instead of having another node load
 * it, too. What is told of it next is true, and until then it is believed for a while. */
void readiness_asked(struct core *core, uint32_t placement);
/* The request failed there: it is as it was told before. */
void readiness_failed(struct core *core, uint32_t node, uint32_t model);
/* A tick visits the node. */
void readiness_sweep(struct core *core, uint32_t node);
/* The placement of a model on a node, or NONE. */
uint32_t readiness_find(const struct core *core, uint32_t node, uint32_t model);
#endif

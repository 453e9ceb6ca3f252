#ifndef CORE_MODEL_LOAD_H
#define CORE_MODEL_LOAD_H
/* model_load - how much of what a model's nodes can take they are taking: 0 idle, 1 full.
 *
 * A node with B requests finishes 1/(prefill + output*step(B)/B) of them a millisecond: each needs
 * its prefill alone and its share of the steps. The most it can do so is with the largest batch
 * whose tokens still come in time and whose KV fits. Its load is the one over the other, at most 1:
 * more requests would only mean slower tokens. (Running requests over slots would say much less:
 * the rate grows slower than the batch.) A model's load is the mean over its ready nodes, taken as
 * ticks visit them. */
#include "core/state.h"

/* Of one placement, now. */
float model_load_of(const struct core *core, uint32_t placement);
/* A tick visits the node: what it says of the models that are ready there. */
void model_load_sweep(struct core *core, uint32_t node);
#endif

#ifndef CORE_MODEL_LOAD_H
#define CORE_MODEL_LOAD_H
/* model_load - how much of what a model's nodes can take they are taking: 0 idle, 1 full.
 *
 * A node with B requests finishes 1/(prefill + output*step(B)/B) of them a millisecond: each needs
 * its prefill alone and its share of the steps. The most it can do so is with the largest batch
 * whose tokens still come in time and whose KV fits; more requests would only mean slower tokens.
 * (Running requests over slots would say much less: the rate grows slower than the batch.) Load is
 * what all ready nodes finish over the most they can, so that a fast one counts for more. It is
 * taken as ticks visit the nodes, and is a mean over a few seconds. */
#include "core/state.h"

/* The largest batch with which its tokens still come in time: what slots there are (engines that do
 * not tell have too many in their configuration) counts only as far as KV and the curve go. n: as
 * capacity_estimate gives it. */
float model_load_batch(const struct core *core, uint32_t placement, const struct predict_node *n);
/* A tick visits the node: what it says of the models that are ready there. */
void model_load_sweep(struct core *core, uint32_t node);
/* All nodes were visited. False: there are more models than one call looks at; the next one goes
 * on, before any node is visited again. */
bool model_load_swept(struct core *core);
#endif

#ifndef CORE_MODEL_SLOTS_H
#define CORE_MODEL_SLOTS_H
/* model_slots - requests of one model that a node runs at once, where each model has slots of its
 * own.
 *
 * vLLM and SGLang run one model, with slots in total. Ollama and llama-server's router start a
 * process for each model, and each of these has a few slots: a request waits for one of its model's
 * while those of the others are free. So what is at such a node is counted by model, too: ours
 * exactly, others' as the node tells (event_requests). What waits for a slot of another model is in
 * nobody's way; what runs there is, for they share the hardware.
 *
 * It is told by EVENT_MODEL. A node of which no model has slots of its own pays one test of a
 * flag. */
#include "core/state.h"

/* It was told how many this placement has; 0: it shares the node's. */
void model_slots_told(struct core *core, uint32_t placement, uint32_t slots);
void model_slots_requests(struct core *core, const struct event_requests *e);
/* Ours: one goes there, its first token came, it is over. The node has NODE_FLAG_SLOTS. */
void model_slots_reserve(struct core *core, uint32_t node, uint32_t model);
void model_slots_started(struct core *core, uint32_t node, uint32_t model);
void model_slots_release(struct core *core, uint32_t node, uint32_t model);

static inline bool
model_slots_has(const struct core *core, const struct node_hot *hot, uint32_t placement)
{
    return (hot->flags & NODE_FLAG_SLOTS) != 0 && core->slotted[placement].slots > 0;
}

/* The placement has slots of its own: which of our tokens that wait at the node are ahead of one
 * more request for it... */
float model_slots_own_tokens(const struct core *core, uint32_t placement);
/* ... and which requests run beside it or wait for the same slots; *n counts all on the node. */
void model_slots_estimate(const struct core *core, uint32_t placement, struct predict_node *n);
/* Those of any placement: its own, else the node's; 0 unknown. */
float model_slots_of(const struct core *core, uint32_t placement);
#endif

#ifndef CORE_LEARN_H
#define CORE_LEARN_H
/* learn - what outcomes teach: a factor per node on predicted times (shrunk to its hardware class),
 * output lengths per model, and bytes per token per (model, script). */
#include "core/state.h"

void learn_init_model(struct model_record *m);
/* The first token came: compare with what was predicted. */
void learn_started(struct core *core, const struct request *r);
/* It ended well. */
void learn_ended(struct core *core, const struct request *r, const struct event_ended *e);
/* Write the node's factors into its hot record (after its class or models changed). */
void learn_apply(struct core *core, uint32_t node);

/* Estimates for a new request. */
float learn_prompt_tokens(const struct model_record *m, uint32_t script, uint32_t prompt_bytes);
float learn_output_tokens(const struct model_record *m, uint32_t max_tokens);
#endif

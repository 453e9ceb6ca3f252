#ifndef CORE_LEARN_H
#define CORE_LEARN_H
/* learn - what outcomes teach: the curve of each (model, hardware class), a factor per node on
 * predicted times (shrunk to its class), output lengths, and bytes per token per (model, script).
 */
#include "core/state.h"

void learn_init_model(struct core *core, uint32_t model);
/* Start the class's curve at a prior, unless it is the one that it started from. */
void learn_prior(struct core *core, uint32_t model, uint32_t class, const struct curve *prior,
                 bool guess);

/* The attempt goes to *c: keep what its predicted time consists of. Before it is reserved there. */
void learn_chosen(const struct core *core, const struct request *r, struct attempt *a,
                  const struct candidate *c);
/* Its first token came: compare with what was predicted. */
void learn_started(struct core *core, const struct request *r, struct attempt *a);
/* It was given up before its first token came, because another one's did: it would have taken
 * longer than that. Where so much is more than was predicted, it is learned as if the token came
 * now. Without that a node that is always overtaken would be thought fast for ever, and the mean of
 * those that are not given up is lower still. */
void learn_overtaken(struct core *core, const struct request *r, const struct attempt *a);
/* It ended well. */
void learn_ended(struct core *core, const struct request *r, const struct attempt *a,
                 const struct event_ended *e);
/* The node says how fast it reads prompts. Until its own first outcome that is a weak prior of its
 * factor, and bounded; after it only outcomes count. What it says of its decoding is of one answer
 * among others: more of its load than of its speed, so that nothing is made of it. */
void learn_told(struct core *core, uint32_t node, float prefill_tok_s);
/* Write the node's factors into its hot record (after its class or models changed, or learned). */
void learn_apply(struct core *core, uint32_t node);

/* Estimates for a new request. */
float learn_prompt_tokens(const struct model_record *m, uint32_t script, uint32_t prompt_bytes);
#endif

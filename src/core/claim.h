#ifndef CORE_CLAIM_H
#define CORE_CLAIM_H
/* claim - what a node says of itself, held against what comes of it: what its word is worth.
 *
 * Only what can be proven counts. A node's own account (event_report.is_word) is held against what
 * we know as well as the node does, whoever else sends there:
 *   load    it said that it has fewer requests than ours that were being answered there then
 *   tokens  it counts fewer tokens than it answered to us alone
 *   ack     it counts requests that we never sent
 *   room    it said that half of its slots are free and nobody waits, and turned ours away (429)
 *   ready   it said that it has a model ready, again, after it had turned ours away (404)
 * An answer that is late is no proof: a slow node, or others who came first, look the same. That is
 * what residuals are for (learn), and they follow.
 *
 * What follows. What is proven is corrected exactly: slots are those that it had when it turned us
 * away, a model that was not there is asked for last, for a while. What else it may hide is not
 * known: as far as it is doubted, it is taken to be as busy as others of its class (capacity), and
 * a request there costs more (choose), so that it never pays. A claim that holds takes a part of
 * the doubt away, and so does time. */
#include "core/state.h"

/* A report of the node was read: of `requests` in all, NAN when it does not say. */
void claim_report(struct core *core, const struct event_report *e, float requests);
/* The node began another life: what it said in the one before is past. */
void claim_life(struct core *core, uint32_t node);
/* One of ours begins to be answered there, with r's model. */
void claim_started(struct core *core, const struct request *r, const struct attempt *a);
/* One of ours ended well there: it is a witness of what was said meanwhile. */
void claim_ended(struct core *core, const struct attempt *a, const struct event_ended *e);
/* The node turned one of ours away: it is full; it has not got the model. */
void claim_full(struct core *core, uint32_t node);
void claim_no_model(struct core *core, uint32_t node, uint32_t model);
/* Time passes. */
void claim_sweep(struct core *core, uint32_t node);

/* How far its word is doubted, 0..1. The cold record is read only where it is. */
static inline float
claim_doubt(const struct core *core, uint32_t node)
{
    return (core->hot[node].flags & NODE_FLAG_DOUBTED) != 0 ? core->cold[node].claim.doubt : 0.0f;
}

#define CLAIM_PRICE                                                                                \
    0.25f /* of a cost, at a word that is worth nothing: doc/decisions/claims.md                   \
           */

/* What its word's being worth less costs: a part of all that was foretold on it once more. */
static inline float
claim_ms(const struct core *core, uint32_t node, float cost_ms)
{
    return CLAIM_PRICE * claim_doubt(core, node) * cost_ms;
}
#endif

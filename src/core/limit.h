#ifndef CORE_LIMIT_H
#define CORE_LIMIT_H
/* limit - how much a node may have in flight before requests are better held here.
 *
 * Three bounds, each where it is known: slots (and a few more, so that the engine never waits for
 * us), the node's and the model's own, room for KV (likewise), and a limit in tokens that follows
 * how the node does: Gradient2 on slowdown, which is the first token's actual time over the
 * predicted one. Prediction knows of queues, so a long queue alone lowers nothing; a node that is
 * slower than it should be at what it holds does. A node with nothing in flight is never at a
 * limit: one full prompt always fits. */
#include "core/state.h"

#define LIMIT_TOKENS_MIN 8192.0f    /* a limit never falls below */
#define LIMIT_TOKENS_MAX 4194304.0f /* where the KV capacity is unknown */
#define LIMIT_NEWS_MS    10000.0f   /* others' load as of older news does not count */

/* Has the node room for need_tokens more? part: of its bounds that may be used, 1 is all. The
 * limit in tokens is not looked at: limit_reached does that, for the index. */
bool limit_room(const struct core *core, uint64_t now_ns, uint32_t placement, float need_tokens,
                float part);
/* No room at all, or its limit in tokens is reached: the index keeps it apart. */
bool limit_reached(const struct core *core, uint32_t placement);
/* The attempt a of r begins to answer now: what does its slowdown say of its node? */
void limit_started(struct core *core, const struct request *r, const struct attempt *a);
/* The node said it has too much (429). */
void limit_busy(struct core *core, uint32_t node);
#endif

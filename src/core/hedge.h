#ifndef CORE_HEDGE_H
#define CORE_HEDGE_H
/* hedge - a second attempt beside one that is late (routing.md, "After the choice").
 *
 * When the p95 of a first token has passed, the driver says so, once. Then the request goes to a
 * second node as well, whose misfortune is not the first one's, and whoever begins first answers;
 * the other is cancelled in that step. Three things keep that from doing harm:
 * - it has to pay: the second one's first token is expected before the first one's, given that the
 *   latter has not come so far. How long late ones still take is learned: a node that misjudged its
 *   queue is a little late, one that stands still is late for long, and only outcomes tell which of
 *   them a fleet has.
 * - a bucket per model: first attempts earn hedge_part of the prefill they cost, hedges pay theirs,
 *   so that never more than this part is added, a bounded burst apart. Where more are late than can
 *   be paid for, a token gets a price: who would cost more has to be later, beyond the p95, until
 *   ten in eleven can be paid for.
 * - none above a load of hedge_load_max, or while requests of the model are held: there a duplicate
 *   takes the place of somebody else.
 *
 * Only streams are hedged (of a whole answer nothing is seen before its end), only by rules that
 * predict, and each attempt counts against ATTEMPTS_MAX. */
#include "core/state.h"

#define HEDGE_AFTER_MIN_MS 20.0f  /* sooner there is nothing to win */
#define HEDGE_SIGMAS       1.645f /* p95, the least */
#define HEDGE_SIGMAS_MAX   30.0f
#define HEDGE_BURST_TOKENS 65536.0f /* two of the longest prompts that are usual */

/* When to say that the attempt is late; NAN: it does not matter. */
float hedge_after_ms(const struct core *core, const struct request *r, const struct attempt *a);
/* The attempt was sent: it earns, or pays. */
void hedge_note(struct core *core, const struct request *r, const struct attempt *a);
/* It is late. */
void hedge_late(struct core *core, const struct event_late *e, struct actions *actions);
void hedge_init_model(struct model_record *m);
/* It began to answer: give up the one beside it. */
void hedge_started(struct core *core, struct request *r, const struct attempt *a,
                   struct actions *actions);
#endif

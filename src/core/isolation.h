#ifndef CORE_ISOLATION_H
#define CORE_ISOLATION_H
/* isolation - who is to blame for a failure, and what follows. So far the node alone: a sequential
 * test (p0 = 1 %, p1 = 20 %: +3.00 on failure, -0.21 on success, out at 11.5, which is four
 * straight failures) with ejection of 30 s * times, at most 300 s, and the probability of failure
 * that prices a node. A node that is out, or busy, is in no bucket of ready ones (index).
 * Factors, paths and poison requests come on top of it. */
#include "core/state.h"

#define ISOLATION_DETECT_GUESS_MS 1000.0f /* until failures of the node were seen */

void isolation_reset(struct core *core, uint32_t node);
/* One attempt or probe at the node ended so. detect_ms: how long it took to know; NAN unknown. */
void isolation_result(struct core *core, uint32_t node, uint32_t failure, float detect_ms);
/* A new life of the node began: that it could not be reached, or was somebody else, was said of the
 * last one. What it failed in otherwise may well come again. The caller re-indexes the node. */
void isolation_life(struct core *core, uint32_t node);
/* The node said it is full: none of ours until it asked for, 1 s when it did not say. */
void isolation_busy(struct core *core, uint32_t node, float retry_after_ms);
/* Ejections and busy times that are over end; the caller re-indexes the node. */
void isolation_sweep(struct core *core, uint32_t node);
/* WHY_CHOSEN when the node may be used, else WHY_FAILING, WHY_FULL or WHY_DRAINING. */
enum why_not isolation_verdict(const struct core *core, uint32_t node);
/* Is a failure of this class the node's fault? */
bool isolation_charged(uint32_t failure);
#endif

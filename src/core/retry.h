#ifndef CORE_RETRY_H
#define CORE_RETRY_H
/* retry - after a failure before anything was passed on: another node, within a budget, so that a
 * bad day of the nodes is not made worse by us (isolation: +0.1 per first attempt, >= 1/s, at most
 * ATTEMPTS_MAX tries). */
#include "core/state.h"

/* A first attempt was made: it pays for a tenth of a retry. */
void retry_earn(struct model_record *m);
/* May this failure be tried again? Takes from the budget when it may; says why not otherwise. */
enum refusal retry_allowed(struct core *core, const struct request *r,
                           const struct event_failed *e);
#endif

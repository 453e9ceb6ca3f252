#ifndef SIM_SIM_CHECK_H
#define SIM_SIM_CHECK_H
/* sim_check - what must hold in every simulated world, whatever happens in it; private to the
 * world, like sim_state. The first that does not hold is kept in its stats, and makes the run fail.
 *
 * Each request ends in one way. What a core believes to be in flight is what its gateway has in
 * flight, node by node, and what it holds is held. Predictions are numbers. Time goes on, and
 * nothing comes from a node that is down. Engines were given as much as they say, and are empty in
 * the end.
 *
 * Beside it a digest of all that the cores wanted: two runs with the same digest decided alike. */
#include "sim/sim_state.h"

/* It does not hold. Only the first is kept. */
void sim_check_failed(struct sim_world *w, const char *format, ...) PRINTF_LIKE(2, 3);
/* What a core wants: w->actions, of this gateway. */
void sim_check_actions(struct sim_world *w, const struct sim_gateway *g);
void sim_check_sample(struct sim_world *w, const struct sim_request *r, const struct sim_attempt *a,
                      const struct sim_sample *s);
/* Between two events: all that must hold at any time. */
void sim_check_now(struct sim_world *w);
/* Nothing is in flight any more, and what was on its way is there. */
void sim_check_end(struct sim_world *w);
#endif

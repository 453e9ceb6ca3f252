#ifndef CORE_HEADROOM_CHECK_H
#define CORE_HEADROOM_CHECK_H
/* headroom_check - was it true? What was told of a cell (headroom) against what its nodes really
 * reached, hour by hour.
 *
 * A minute is a window: how many requests a second went there, over what had been told when it
 * began, and whether both goals held (at most a tenth of the first tokens, and of the answers' mean
 * times between tokens, came later; and not more than a tenth of the model's requests were refused
 * for want of room). An hour is what its windows say, by load: the highest load at which the goals
 * held, and the lowest above which they mostly did not. Where an hour never came near what was told
 * it says nothing, and is shown as not tested.
 *
 * What was told is not what the check would like: the estimate depends on the load only through
 * what others take of the nodes, so told-as-the-window-began is what it said at rest, too.
 *
 * An hour that erred moves the cell's factor half of the way, within HEADROOM_CORRECTION_*. */
#include "core/state.h"

#define HEADROOM_WINDOW_NS      UINT64_C(60000000000)
#define HEADROOM_HOUR_NS        UINT64_C(3600000000000)
#define HEADROOM_SAMPLES_MIN    30u /* first tokens in a window that says something */
#define HEADROOM_CORRECTION_MIN 0.5f
#define HEADROOM_CORRECTION_MAX 1.5f

/* Of an attempt the first token came; its answer ended (only streams). */
void headroom_check_started(struct core *core, const struct request *r, const struct attempt *a);
void headroom_check_ended(struct core *core, const struct request *r, const struct attempt *a,
                          const struct event_ended *e);
/* Something new was told of the cell: do its window or its hour end? */
void headroom_check_look(struct core *core, struct model_record *m, struct headroom *h);

/* The cell's factor: 1 until there was a check. */
static inline float
headroom_correction(const struct headroom *h)
{
    return h->correction > 0.0f ? h->correction : 1.0f;
}
#endif

#ifndef CORE_TUNING_H
#define CORE_TUNING_H
/* tuning - the weights of a decision: what they are by default, and what is accepted. */
#include "core/event.h"

#define TUNING_CANDIDATES_MAX 16u /* of the own region, and of elsewhere */

extern const struct event_tuning tuning_default;

/* Copy *from into *ret_tuning, each weight that is out of its range replaced by the default. */
void tuning_settle(const struct event_tuning *from, struct event_tuning *ret_tuning);
#endif

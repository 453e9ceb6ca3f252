#ifndef ROLE_GATEWAY_POLL_H
#define ROLE_GATEWAY_POLL_H
/* poll - asks engines what they are, what they serve and how busy they are, where nobody tells us.
 *
 * Each node is asked by one lane (index modulo lanes), one call at a time: first which kind of
 * engine it is (unless configured), then how much it runs at once, its models, and from then on its
 * load, with a look at the models now and then. At most POLL_READS_PER_S reads a second over all
 * engines and lanes, those that were used most since their last read first, none more often than
 * once per gateway->poll_ns. What fails is asked more and more seldom; what it served stays known,
 * because old news is uncertain, not wrong. Completions are never used to ask. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define POLL_READS_PER_S  200u
#define POLL_NS           1000000000u /* gateway->poll_ns by default */
#define POLL_MODELS_EVERY 5u          /* reads of the load between two looks at the models */
#define POLL_QUIET_LOOKS  10u /* at the models, until one without a load is asked for it again */
#define POLL_BACK_OFF_MAX 3u  /* 2^n * poll_ns at most after failures */
#define POLL_CONNECT_NS   2000000000u
#define POLL_ANSWER_NS    5000000000u

struct lane;
struct poller;

/* Start asking, within the lane's thread or before it runs. */
MUST_USE enum err poll_open(struct lane *lane, struct poller **ret_poller);
void poll_close(struct poller *poller); /* NULL: does nothing */
/* Was every engine asked all there is to ask, or did not answer, at least once? From any thread. */
bool poll_settled(const struct poller *poller);
#endif

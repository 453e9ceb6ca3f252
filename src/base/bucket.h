#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H
/* bucket - so much a minute: a token bucket that holds one minute's worth and fills evenly. One
 * atomic word, the time when it will be full again, so that all loops share it without a lock and
 * the sum over them is what the limit says. It reads no clock: the caller gives the time.
 *
 * What was taken by estimate is settled when the true amount is known; what came to more than was
 * there is owed, and waited for by those that come next. So over any time t no more is let through
 * than limit * (1 + t/minute), plus what the last ones before a pause used beyond their estimate.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUCKET_MINUTE_NS   60000000000u
#define BUCKET_DEBT_NS_MAX 3600000000000u /* nothing is waited for longer than an hour */

struct bucket { /* zero it: full */
    _Atomic uint64_t full_ns;
};

struct bucket_view {
    uint64_t left;       /* what could be taken now */
    uint64_t full_in_ns; /* until it is full; 0: it is */
};

/* Take n of at most limit a minute (above 0). From a full bucket more than the limit may be taken,
 * and is owed: else it could never pass. False: too little is there, nothing was taken;
 * *ret_wait_ns (written only then) says when there will be enough. now_ns: monotonic; that
 * threads are some milliseconds apart does no harm. Any thread. */
bool bucket_take(struct bucket *b, uint64_t limit, uint64_t n, uint64_t now_ns,
                 uint64_t *ret_wait_ns);
/* Of `taken`, which bucket_take let through under this limit, `used` was used. */
void bucket_settle(struct bucket *b, uint64_t limit, uint64_t taken, uint64_t used,
                   uint64_t now_ns);
struct bucket_view bucket_look(const struct bucket *b, uint64_t limit, uint64_t now_ns);
#endif

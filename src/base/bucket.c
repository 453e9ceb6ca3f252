/* bucket - arithmetic on the time when it will be full; see bucket.h. A token costs minute/limit of
 * time, rounded up for each taking, so rounding never lets through more than the limit. */
#include "base/bucket.h"

/* How long it takes to earn n; in doubles, because n * minute may not fit in 64 bits. */
static uint64_t
cost_ns(uint64_t limit, uint64_t n)
{
    double cost = (double)n * (double)BUCKET_MINUTE_NS / (double)limit;
    uint64_t whole;

    if (cost >= (double)BUCKET_DEBT_NS_MAX)
        return BUCKET_DEBT_NS_MAX;
    whole = (uint64_t)cost;
    return whole + (cost > (double)whole);
}

static uint64_t
later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool
bucket_take(struct bucket *b, uint64_t limit, uint64_t n, uint64_t now_ns, uint64_t *ret_wait_ns)
{
    uint64_t full_ns = atomic_load_explicit(&b->full_ns, memory_order_relaxed), next_ns;
    uint64_t needed_ns = sooner(cost_ns(limit, n), BUCKET_MINUTE_NS);

    do {
        uint64_t from_ns = later(full_ns, now_ns);

        if (from_ns + needed_ns > now_ns + BUCKET_MINUTE_NS) {
            *ret_wait_ns = from_ns + needed_ns - now_ns - BUCKET_MINUTE_NS;
            return false;
        }
        next_ns = from_ns + cost_ns(limit, n);
    } while (!atomic_compare_exchange_weak_explicit(&b->full_ns, &full_ns, next_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void
bucket_settle(struct bucket *b, uint64_t limit, uint64_t taken, uint64_t used, uint64_t now_ns)
{
    uint64_t more_ns = cost_ns(limit, used), less_ns = cost_ns(limit, taken), next_ns;
    uint64_t full_ns = atomic_load_explicit(&b->full_ns, memory_order_relaxed);

    do { /* a bucket that was full meanwhile earned nothing: what is added counts from now */
        uint64_t from_ns = more_ns > less_ns ? later(full_ns, now_ns) : full_ns;

        next_ns = from_ns + more_ns > less_ns ? from_ns + more_ns - less_ns : 0;
        next_ns = sooner(next_ns, now_ns + BUCKET_DEBT_NS_MAX);
    } while (!atomic_compare_exchange_weak_explicit(&b->full_ns, &full_ns, next_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
}

struct bucket_view
bucket_look(const struct bucket *b, uint64_t limit, uint64_t now_ns)
{
    uint64_t full_ns = atomic_load_explicit(&b->full_ns, memory_order_relaxed);
    uint64_t owed_ns = full_ns > now_ns ? full_ns - now_ns : 0;
    struct bucket_view v = {.full_in_ns = owed_ns};

    if (owed_ns < BUCKET_MINUTE_NS)
        v.left = (uint64_t)((double)limit * (double)(BUCKET_MINUTE_NS - owed_ns) /
                            (double)BUCKET_MINUTE_NS);
    return v;
}

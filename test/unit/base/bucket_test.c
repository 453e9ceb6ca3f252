/* bucket_test - a minute's worth at once and then evenly; settling; many threads, one limit. */
#include "base/bucket.h"

#include <pthread.h>

#include "tap.h"

#define MINUTE_NS BUCKET_MINUTE_NS
#define SECOND_NS 1000000000u

/* One row: a bucket of 60 a minute, from which `first` was taken at time 0 and of that `used` was
 * used (settled at time `settled_ns`); then n more. */
static const struct {
    const char *label;
    uint64_t first, used, settled_ns, n, now_ns, wait_ns;
    bool good;
} rows[] = {
    {"all of it at once", 0, 0, 0, 60, 0, 0, true},
    {"one is left", 59, 59, 0, 1, 0, 0, true},
    {"none is left", 60, 60, 0, 1, 0, SECOND_NS, false},
    {"a moment too early", 60, 60, 0, 1, SECOND_NS - 1, 1, false},
    {"just in time", 60, 60, 0, 1, SECOND_NS, 0, true},
    {"ten after ten seconds", 60, 60, 0, 10, (uint64_t)10 * SECOND_NS, 0, true},
    {"eleven are too many", 60, 60, 0, 11, (uint64_t)10 * SECOND_NS, SECOND_NS, false},
    {"a rest saves up one minute, no more", 0, 0, 0, 60, (uint64_t)50 * MINUTE_NS, 0, true},
    {"more than the whole, when it is full", 0, 0, 0, 1000, 0, 0, true},
    {"more than the whole, when it is not", 1, 1, 0, 1000, 0, SECOND_NS, false},
    {"used less: given back", 60, 10, 0, 50, 0, 0, true},
    {"used less: no more than that", 60, 10, 0, 51, 0, SECOND_NS, false},
    {"used nothing", 60, 0, 0, 60, 0, 0, true},
    {"used more: owed", 60, 90, 0, 1, 0, (uint64_t)31 * SECOND_NS, false},
    {"used more, told when it was full again", 30, 60, MINUTE_NS, 31, MINUTE_NS, SECOND_NS, false},
    {"used less, told when it was full again", 30, 0, MINUTE_NS, 61, MINUTE_NS, 0, true},
    {"an estimate of more than can be counted", 0, 0, 0, UINT64_MAX, 0, 0, true},
    {"nobody waits longer than an hour", 60, UINT64_MAX, 0, 1, 0,
     BUCKET_DEBT_NS_MAX + SECOND_NS - MINUTE_NS, false},
};

static void
check_rows(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bucket b = {0};
        uint64_t wait_ns = 0;

        CHECK(rows[i].first == 0 || bucket_take(&b, 60, rows[i].first, 0, &wait_ns), rows[i].label);
        bucket_settle(&b, 60, rows[i].first, rows[i].used, rows[i].settled_ns);
        CHECK(bucket_take(&b, 60, rows[i].n, rows[i].now_ns, &wait_ns) == rows[i].good,
              rows[i].label);
        CHECK(wait_ns == rows[i].wait_ns, rows[i].label);
        if (!rows[i].good)
            CHECK(bucket_take(&b, 60, rows[i].n, rows[i].now_ns + wait_ns, &wait_ns),
                  "what it says to wait is enough");
    }
}

static void
check_view(void)
{
    struct bucket b = {0};
    struct bucket_view v = bucket_look(&b, 100000, 5);
    uint64_t wait_ns;

    CHECK(v.left == 100000 && v.full_in_ns == 0, "a full one");
    CHECK(bucket_take(&b, 100000, 25000, 5, &wait_ns), "a quarter is taken");
    v = bucket_look(&b, 100000, 5);
    CHECK(v.left == 75000 && v.full_in_ns == MINUTE_NS / 4, "three quarters are left");
    v = bucket_look(&b, 100000, 5 + MINUTE_NS / 8);
    CHECK(v.left == 87500 && v.full_in_ns == MINUTE_NS / 8, "it fills");
    bucket_settle(&b, 100000, 25000, 200000, 5);
    v = bucket_look(&b, 100000, 5);
    CHECK(v.left == 0 && v.full_in_ns == (uint64_t)2 * MINUTE_NS, "what is owed is not left");
    v = bucket_look(&b, 200000, 5 + (uint64_t)3 * MINUTE_NS / 2);
    CHECK(v.left == 100000, "another limit: the same part of it is left");
}

/* ---- Threads: each takes as often as it can while time goes on; together they get what one would.
 */

#define THREADS     4
#define LIMIT       1000u
#define SPAN_NS     ((uint64_t)3 * MINUTE_NS)
#define STEP_NS     (MINUTE_NS / LIMIT / 3)
#define LET_THROUGH (LIMIT + 3 * LIMIT)

static struct bucket shared;
static _Atomic uint64_t let_through;

static void *
taker(void *argument)
{
    uint64_t wait_ns, mine = 0;

    (void)argument;
    for (uint64_t now_ns = 0; now_ns <= SPAN_NS; now_ns += STEP_NS)
        while (bucket_take(&shared, LIMIT, 1, now_ns, &wait_ns))
            mine++;
    atomic_fetch_add(&let_through, mine);
    return NULL;
}

static void
check_threads(void)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, taker, NULL) == 0, "a thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(let_through == LET_THROUGH, "all threads together get what the limit says, exactly");
}

int
main(void)
{
    check_rows();
    check_view();
    check_threads();
    return tap_done();
}

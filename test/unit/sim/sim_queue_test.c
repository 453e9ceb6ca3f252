/* sim_queue: earliest first, equal times in the order of their puts, over many random ones. */
#include "sim/sim_queue.h"

#include "base/rng.h"
#include "tap.h"

#define EVENTS 20000u

static void
check_random(uint64_t seed, uint64_t times)
{
    struct sim_queue q = {0};
    struct sim_event e, before = {0};
    struct rng rng;
    uint32_t put = 0, taken = 0, wrong = 0;

    rng_init(&rng, seed);
    while (taken < EVENTS) {
        /* Nothing is put before what was taken last, as in a world. */
        if (put < EVENTS && rng_below(&rng, 3) != 0) {
            sim_queue_put(&q, before.at_ns + rng_below(&rng, times), 1, put, ~put);
            put++;
        } else if (sim_queue_take(&q, &e)) {
            wrong += e.at_ns < before.at_ns || (e.at_ns == before.at_ns && e.a < before.a) ||
                     e.b != ~e.a;
            before = e;
            taken++;
        }
    }
    CHECK(wrong == 0, "in order, whatever is between");
    CHECK(!sim_queue_take(&q, &e) && q.count == 0, "and empty after the last");
    sim_queue_fini(&q);
}

static void
check_wrap(void)
{
    struct sim_queue q = {.order = UINT32_MAX - 1};
    struct sim_event e;

    for (uint32_t i = 0; i < 4; i++)
        sim_queue_put(&q, 5, 0, i, 0);
    for (uint32_t i = 0; i < 4; i++)
        CHECK(sim_queue_take(&q, &e) && e.a == i, "equal times in order, where the count wraps");
    sim_queue_fini(&q);
}

int
main(void)
{
    struct sim_queue q = {0};
    struct sim_event e;

    CHECK(!sim_queue_take(&q, &e), "nothing in it");
    check_random(1, 1); /* all at the same time as the last one */
    check_random(2, 10);
    check_random(3, 1000000);
    check_wrap();
    return tap_done();
}

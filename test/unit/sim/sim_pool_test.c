/* sim_pool_test - which connection is taken, and which are closed meanwhile. */
#include "sim/sim_pool.h"

#include "tap.h"

#define S UINT64_C(1000000000)

int
main(void)
{
    struct sim_pool p = {0};

    CHECK(!sim_pool_has(&p, 0) && !sim_pool_take(&p, 0), "none at first");
    sim_pool_give(&p, 1 * S);
    sim_pool_give(&p, 3 * S);
    CHECK(sim_pool_has(&p, 5 * S - 1), "one is kept");
    CHECK(sim_pool_take(&p, 4 * S), "the one used last is taken");
    CHECK(sim_pool_has(&p, 5 * S - 1), "the other one is there until its time is over");
    CHECK(!sim_pool_has(&p, 5 * S) && !sim_pool_take(&p, 5 * S), "then it is closed");
    sim_pool_give(&p, 5 * S);
    sim_pool_give(&p, 7 * S);
    CHECK(sim_pool_take(&p, 10 * S), "a newer one stays");
    CHECK(!sim_pool_take(&p, 10 * S), "when an older one is closed");
    for (uint32_t i = 0; i < 3 * SIM_POOL_MAX; i++)
        sim_pool_give(&p, 11 * S + i);
    CHECK(p.count == SIM_POOL_MAX && p.since_ns[0] == 11 * S + 2 * SIM_POOL_MAX,
          "the longest idle ones give way");
    sim_pool_fini(&p);
    CHECK(!sim_pool_take(&p, 12 * S), "and none is left behind");
    return tap_done();
}

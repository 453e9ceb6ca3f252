/* clock_test - the clocks run forward and have the right scale. */
#include "io/clock.h"

#include <time.h>

#include "tap.h"

int
main(void)
{
    uint64_t a = clock_now_ns(), cpu = clock_thread_cpu_ns(), b;
    volatile unsigned spin = 0;

    for (unsigned i = 0; i < 1000000; i++)
        spin = spin + i;
    b = clock_now_ns();
    CHECK(spin != 0 && b > a, "monotonic time moves");
    CHECK(clock_thread_cpu_ns() > cpu, "CPU time moves when there is work");
    CHECK(clock_wall_s() >= 1700000000u && clock_wall_s() < 32503680000u,
          "wall time is in seconds");
    return tap_done();
}

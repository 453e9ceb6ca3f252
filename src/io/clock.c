/* clock - readings of the kernel's clocks; see clock.h. clock_gettime cannot fail for any of
 * these on any kernel we run on, so a failure is a mistake of ours. */
#include "io/clock.h"

#include <time.h>

#include "base/must.h"

static uint64_t
read_ns(clockid_t id)
{
    struct timespec t;

    must(clock_gettime(id, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
clock_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t
clock_wall_s(void)
{
    return read_ns(CLOCK_REALTIME_COARSE) / 1000000000u; /* a few ms late, and cheap */
}

uint64_t
clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000u;
}

uint64_t
clock_thread_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

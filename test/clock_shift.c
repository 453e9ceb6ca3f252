/* clock_shift - preloaded into a program (LD_PRELOAD), it sets that program's wall clock off by
 * CLOCK_SHIFT_S seconds: no machine's clock has to be touched to see what two that differ do. Time
 * that only goes on is as it was. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int
clock_gettime(clockid_t id, struct timespec *ret_time)
{
    static int (*real)(clockid_t, struct timespec *);
    const char *shift = getenv("CLOCK_SHIFT_S");
    int result;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    result = real(id, ret_time);
    if (result == 0 && shift != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += strtol(shift, NULL, 10);
    return result;
}

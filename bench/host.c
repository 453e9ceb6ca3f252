/* host - /proc/stat and getrusage; see host.h. */
#include "host.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static double
rusage_s(int who)
{
    struct rusage r;

    if (getrusage(who, &r) != 0)
        return 0.0;
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

void
host_use_read(struct host_use *ret_use)
{
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    FILE *f = fopen("/proc/stat", "r");

    memset(ret_use, 0, sizeof(*ret_use));
    ret_use->own_s = rusage_s(RUSAGE_SELF) + rusage_s(RUSAGE_CHILDREN);
    if (f == NULL)
        return;
    if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
               &iowait, &irq, &softirq, &steal) == 8) {
        ret_use->busy_s = (double)(user + nice + system + irq + softirq) * tick_s;
        ret_use->idle_s = (double)(idle + iowait) * tick_s;
        ret_use->steal_s = (double)steal * tick_s;
    }
    fclose(f);
}

void
host_use_print(const struct host_use *before, const struct host_use *after)
{
    double busy = after->busy_s - before->busy_s, steal = after->steal_s - before->steal_s;
    double all = busy + steal + after->idle_s - before->idle_s;
    double other = busy + steal - (after->own_s - before->own_s);

    if (all <= 0.0)
        return;
    printf("figure host_busy_percent %.1f %%\n", 100.0 * (busy + steal) / all);
    printf("figure host_other_percent %.1f %%\n", 100.0 * (other > 0.0 ? other : 0.0) / all);
}

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
host_use_add_process(struct host_use *use, long pid)
{
    unsigned long long user, system, child_user, child_system;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    char path[64], line[1024];
    const char *end;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return;
    /* The name, in parentheses, may hold anything; fields are counted from its end. */
    if (fgets(line, sizeof(line), f) != NULL && (end = strrchr(line, ')')) != NULL &&
        sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &user,
               &system, &child_user, &child_system) == 4)
        use->own_s += (double)(user + system + child_user + child_system) * tick_s;
    fclose(f);
}

void
host_use_percent(const struct host_use *before, const struct host_use *after,
                 double *ret_busy_percent, double *ret_other_percent)
{
    double busy = after->busy_s - before->busy_s, steal = after->steal_s - before->steal_s;
    double all = busy + steal + after->idle_s - before->idle_s;
    double other = busy + steal - (after->own_s - before->own_s);

    *ret_busy_percent = all > 0.0 ? 100.0 * (busy + steal) / all : 0.0;
    *ret_other_percent = all > 0.0 && other > 0.0 ? 100.0 * other / all : 0.0;
}

void
host_use_print(const struct host_use *before, const struct host_use *after)
{
    double busy_percent, other_percent;

    host_use_percent(before, after, &busy_percent, &other_percent);
    printf("figure host_busy_percent %.1f %%\n", busy_percent);
    printf("figure host_other_percent %.1f %%\n", other_percent);
}

void
host_use_print_cpu(const struct host_use *before, const struct host_use *after)
{
    double busy_percent, other_percent;

    host_use_print(before, after);
    host_use_percent(before, after, &busy_percent, &other_percent);
    if (other_percent > HOST_OTHER_PERCENT_MAX)
        printf("\n*** VOID: other processes used %.1f %% of this machine (at most %.0f %% allowed)."
               "\n*** The figures above are no measurement. Run this again on a quiet machine.\n",
               other_percent, HOST_OTHER_PERCENT_MAX);
}

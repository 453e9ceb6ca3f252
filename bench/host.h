#ifndef BENCH_HOST_H
#define BENCH_HOST_H
/* host - how busy the machine was during a run, beside every figure: host_busy_percent (all use of
 * all cores, steal counted) and host_other_percent (use by processes outside the run, plus steal).
 * The run is this process and its children that were waited for. */
#include <stdint.h>

#define HOST_OTHER_PERCENT_MAX 10.0 /* with more of it, a figure of CPU time means nothing */

struct host_use {
    double busy_s, idle_s, steal_s; /* sums over all cores, from /proc/stat */
    double own_s;                   /* CPU of this process and its waited-for children */
};

void host_use_read(struct host_use *ret_use);
/* Count another process (and the children it waited for) to the run: its CPU time so far. At both
 * readings, or not at all. A process that is gone adds nothing. */
void host_use_add_process(struct host_use *use, long pid);
/* Both figures for the time between two readings; 0 when no time passed. */
void host_use_percent(const struct host_use *before, const struct host_use *after,
                      double *ret_busy_percent, double *ret_other_percent);
/* Print both figures for the time between two readings. */
void host_use_print(const struct host_use *before, const struct host_use *after);
/* The same for a benchmark of CPU time: says loudly that it is void when others were too busy. */
void host_use_print_cpu(const struct host_use *before, const struct host_use *after);
#endif

#ifndef BENCH_HOST_H
#define BENCH_HOST_H
/* host - how busy the machine was during a run, beside every figure: host_busy_percent (all use of
 * all cores, steal counted) and host_other_percent (use by processes outside the run, plus steal).
 * The run is this process and its children that were waited for. */
#include <stdint.h>

struct host_use {
    double busy_s, idle_s, steal_s; /* sums over all cores, from /proc/stat */
    double own_s;                   /* CPU of this process and its waited-for children */
};

void host_use_read(struct host_use *ret_use);
/* Print both figures for the time between two readings. */
void host_use_print(const struct host_use *before, const struct host_use *after);
#endif

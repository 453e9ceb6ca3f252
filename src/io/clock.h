#ifndef IO_CLOCK_H
#define IO_CLOCK_H
/* clock - the only place where time is read. */
#include <stdint.h>

uint64_t clock_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t clock_wall_s(void);        /* seconds since 1970, for people and `created` fields */
uint64_t clock_wall_ms(void);       /* milliseconds since 1970 */
uint64_t clock_thread_cpu_ns(void); /* CPU time of this thread */
#endif

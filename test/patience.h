#ifndef TEST_PATIENCE_H
#define TEST_PATIENCE_H
/* patience - how long a test waits for what has to come. It is a guard against a test that never
 * ends, not a promise of how quick anything is: what comes is seen at once, and on a machine that
 * is busy with others a thread may not run for seconds. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define PATIENCE_S 60u

/* uint64_t until_s = 0; while (!condition && patience(&until_s)) let something happen; */
__attribute__((unused)) static bool
patience(uint64_t *until_s)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (*until_s == 0)
        *until_s = (uint64_t)now.tv_sec + PATIENCE_S + 1;
    return (uint64_t)now.tv_sec < *until_s;
}
#endif

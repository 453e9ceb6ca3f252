/* Everything a core must not do, for the self-test of purity. The table of names is fine. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

double impure(double x, void **memory);
const char *impure_name(int i);
int seed = 4;
static int asked;
static const char *const names[] = {"one", "two"};

const char *
impure_name(int i)
{
    return names[i & 1];
}

double
impure(double x, void **memory)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    *memory = malloc((size_t)++asked);
    return exp(x) + (double)now.tv_sec + seed;
}

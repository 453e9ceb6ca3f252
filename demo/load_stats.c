/* load_stats - quantiles by nearest rank: always a value that was really seen; see load_stats.h. */
#include "load_stats.h"

#include <math.h>
#include <stdlib.h>

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void
load_stats_sort(double *values, size_t count)
{
    if (count > 1)
        qsort(values, count, sizeof(*values), compare);
}

double
load_stats_quantile(const double *sorted, size_t count, double q)
{
    double rank = ceil(q * (double)count);

    if (count == 0)
        return NAN;
    if (rank < 1.0)
        rank = 1.0;
    return sorted[rank >= (double)count ? count - 1 : (size_t)rank - 1];
}

double
load_stats_mean(const double *values, size_t count)
{
    double all = 0.0;

    for (size_t i = 0; i < count; i++)
        all += values[i];
    return count > 0 ? all / (double)count : NAN;
}

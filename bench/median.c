/* median - order statistics; see median.h. */
#include "median.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#define OUTSIDE_MAX 0.05 /* on each side */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* How many values may be left out at each end: P(Binomial(count, 1/2) <= left_out - 1) is the
 * chance that the true median lies below the (left_out + 1)th value. */
static size_t
left_out(size_t count)
{
    double chance = pow(0.5, (double)count), sum = 0.0;
    size_t k = 0;

    while (k < count / 2 && sum + chance <= OUTSIDE_MAX) {
        sum += chance;
        chance = chance * (double)(count - k) / (double)(k + 1);
        k++;
    }
    return k > 0 ? k - 1 : 0;
}

struct median
median_of(const double *values, size_t count)
{
    double sorted[MEDIAN_ROUNDS_MAX];
    size_t skip = left_out(count);

    must(count > 0 && count <= MEDIAN_ROUNDS_MAX);
    memcpy(sorted, values, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), by_value);
    return (struct median){.value = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0,
                           .low = sorted[skip],
                           .high = sorted[count - 1 - skip]};
}

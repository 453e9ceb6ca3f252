#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H
/* median - of few noisy rounds, and how far to trust it: the interval between two order statistics
 * that holds the true median with at least 90 % (binomial, no assumption about the noise but that
 * rounds are independent). 9 rounds: the 2nd to the 8th value (96 %); fewer than 5 have none. */
#include <stddef.h>

#define MEDIAN_ROUNDS_MAX 99u

struct median {
    double value;
    double low, high; /* 90 % interval; of fewer than 5 values: the least and the greatest */
};

/* count: 1..MEDIAN_ROUNDS_MAX. Does not change values. */
struct median median_of(const double *values, size_t count);
#endif

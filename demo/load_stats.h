#ifndef DEMO_LOAD_STATS_H
#define DEMO_LOAD_STATS_H
/* load_stats - figures over many values. */
#include <stddef.h>

/* Sort ascending, in place. No NAN among them. */
void load_stats_sort(double *values, size_t count);
/* The smallest value that a share of q (0..1) of the sorted values does not exceed (nearest rank);
 * NAN without any. */
double load_stats_quantile(const double *sorted, size_t count, double q);
double load_stats_mean(const double *values, size_t count); /* NAN without any */
#endif

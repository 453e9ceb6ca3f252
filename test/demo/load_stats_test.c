/* load_stats - quantiles are values that were seen, by nearest rank. */
#include "load_stats.h"

#include <math.h>

#include "tap.h"

int
main(void)
{
    static const struct {
        const char *label;
        size_t count;
        double q, wanted;
    } rows[] = {
        {"the median of one", 1, 0.5, 1},        {"the median of two is the lower", 2, 0.5, 1},
        {"the median of five", 5, 0.5, 3},       {"p95 of 20 is the 19th", 20, 0.95, 19},
        {"p95 of 19 is the last", 19, 0.95, 19}, {"p0 is the least", 20, 0.0, 1},
        {"p100 is the most", 20, 1.0, 20},
    };
    double values[20], shuffled[] = {3, -1, 2, 2, 10};

    for (size_t i = 0; i < 20; i++)
        values[i] = (double)(i + 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK(load_stats_quantile(values, rows[i].count, rows[i].q) == rows[i].wanted,
              rows[i].label);
    CHECK(isnan(load_stats_quantile(values, 0, 0.5)), "no quantile of nothing");
    CHECK(isnan(load_stats_mean(values, 0)), "no mean of nothing");
    CHECK(load_stats_mean(values, 20) == 10.5, "the mean");
    load_stats_sort(shuffled, 5);
    CHECK(shuffled[0] == -1 && shuffled[1] == 2 && shuffled[2] == 2 && shuffled[3] == 3 &&
              shuffled[4] == 10,
          "sorted ascending");
    return tap_done();
}

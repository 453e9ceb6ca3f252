/* median - medians of odd and even counts, and which order statistics bound the interval: the
 * tables of the sign test say 2nd..8th of 9 and 3rd..9th of 11 for at least 90 %. */
#include "median.h"

#include "tap.h"

static const struct {
    const char *label;
    size_t count;
    double value, low, high; /* of the values count, count - 1 ... 1 */
} rows[] = {
    {"one value is all there is", 1, 1.0, 1.0, 1.0},
    {"two: the middle between them", 2, 1.5, 1.0, 2.0},
    {"four: too few to leave any out", 4, 2.5, 1.0, 4.0},
    {"five: least to greatest hold 94 %", 5, 3.0, 1.0, 5.0},
    {"eight: 2nd to 7th", 8, 4.5, 2.0, 7.0},
    {"nine: 2nd to 8th", 9, 5.0, 2.0, 8.0},
    {"eleven: 3rd to 9th", 11, 6.0, 3.0, 9.0},
    {"twenty: 6th to 15th", 20, 10.5, 6.0, 15.0},
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double values[MEDIAN_ROUNDS_MAX];
        struct median m;

        for (size_t k = 0; k < rows[i].count; k++)
            values[k] = (double)(rows[i].count - k);
        m = median_of(values, rows[i].count);
        CHECK(m.value == rows[i].value, rows[i].label);
        CHECK(m.low == rows[i].low && m.high == rows[i].high, rows[i].label);
        CHECK(values[0] == (double)rows[i].count, "values stay as they were");
    }
    return tap_done();
}

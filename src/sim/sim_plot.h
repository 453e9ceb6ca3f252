#ifndef SIM_SIM_PLOT_H
#define SIM_SIM_PLOT_H
/* sim_plot - two charts in one SVG: how first tokens are distributed, by rule, and their p95 over
 * the time of a run. Plain SVG 1.1 without scripts or fonts of its own: any browser shows it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define SIM_PLOT_LINES_MAX 12u /* more are not drawn */

struct sim_plot_line {
    const char *name;
    const float *x, *y; /* NAN: a gap */
    uint32_t count;
};

struct sim_plot {
    const char *title, *x_name, *y_name;
    bool x_is_log, y_is_log; /* values that are not above 0 are gaps, then */
    const struct sim_plot_line *lines;
    uint32_t line_count;
};

/* All charts below each other. ERR_IO: it could not be written whole. */
MUST_USE enum err sim_plot_write(FILE *out, const struct sim_plot *plots, uint32_t count);
#endif

#ifndef SIM_FIT_REPORT_H
#define SIM_FIT_REPORT_H
/* fit_report - how honest the engine model is: engines fitted to some of the measured rows and
 * judged on others, three times, each harder than the one before. */
#include <stdio.h>

#include "sim/fit.h"

#define FIT_THREADS_MAX 64u

enum fit_split {                   /* what is kept from the fit */
                 FIT_SPLIT_POINTS, /* every second concurrency of each curve: interpolation, and one
                                      step of extrapolation at the ends */
                 FIT_SPLIT_CURVES, /* every second curve (prompt and output length) of an engine
                                      that has more than one: other lengths */
                 FIT_SPLIT_UNSEEN, /* every row of the engine: specifications, with efficiencies
                                      from engines of other models */
                 FIT_SPLIT_TABLE,  /* every row; speeds as base/speed_table has them, for engines of
                                      16 bit whose class is there */
                 FIT_SPLITS
};

struct fit_error {                     /* medians of |shown - measured| / measured */
    size_t rows;                       /* judged, none of them fitted */
    double ttft_percent, tpot_percent; /* NAN: no rows */
};

struct fit_group {                 /* rows of one engine */
    const struct gpu_point *point; /* one of them, for its names */
    size_t first, count;           /* of the report's rows */
    size_t fitted;                 /* of FIT_SPLIT_POINTS */
    struct fit_specs specs;
    struct fit_engine engine; /* by FIT_SPLIT_POINTS */
    struct fit_error errors[FIT_SPLITS];
};

struct fit_report {
    struct fit_row *rows; /* one group after the other */
    struct fit_group *groups;
    size_t row_count, group_count;
    size_t repeated;  /* rows left out: the same measurement once more */
    size_t too_large; /* no concurrency given, or more than one engine takes */
    struct fit_error errors[FIT_SPLITS];
    double repeat_ttft_percent, repeat_tpot_percent; /* median difference of two measurements of the
                                                        same point: no model can be nearer. NAN */
};

/* Fit and judge every engine in data->points, by the splits up to `last`, with up to `threads`
 * threads; the result does not depend on their number. *ret_report refers to data. ERR_NOT_FOUND:
 * no rows that can be judged; ERR_ARG, ERR_MEMORY. The caller closes it. */
MUST_USE enum err fit_report_open(const struct gpu_data *data, uint32_t threads,
                                  enum fit_split last, struct fit_report *ret_report);
void fit_report_close(struct fit_report *report);
/* A table of groups, then lines `figure NAME VALUE UNIT`. */
void fit_report_print(const struct fit_report *report, FILE *to);
#endif

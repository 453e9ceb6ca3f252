/* fit_report_test - measurements made by an engine that is known: the errors of rows not fitted
 * must be small; nothing is judged twice; and what comes of tables that hold nothing. */
#include "sim/fit_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define ROWS 24u

static struct gpu_point points[4 * ROWS];

static void
make(struct gpu_data *d, const char *version, double t0_ms, double scale)
{
    static const struct fit_specs specs = {.params = {2, 0.05, 1e-6, 10, 0.02, 0.2, 20, 0},
                                           .kv_tokens_cap = 1e7,
                                           .weights_bytes = 1e9};

    for (uint32_t i = 0; i < ROWS; i++) {
        struct gpu_point *p = &d->points[d->point_count++];
        struct fit_row row = {p, 0};
        struct fit_engine truth;
        struct closed_loop_seen seen = {0};

        *p = (struct gpu_point){.backend = "vllm",
                                .model = "m",
                                .system = "s",
                                .aggregated = true,
                                .tensor_parallel = 1,
                                .input_tokens = 300 + 500 * (i / 6),
                                .output_tokens = 50,
                                .concurrency = 1 + 4 * (i % 6)};
        memcpy(p->version, version, strlen(version) + 1);
        fit_by_specs(&specs, p, &truth);
        truth.params[FIT_T0] = t0_ms;
        CHECK(fit_show(&truth, &row, &seen) == ERR_OK, "the truth runs");
        p->ttft_ms = seen.ttft_ms * scale;
        p->tpot_ms = seen.tpot_ms * scale;
    }
}

static void
test_known(void)
{
    struct gpu_data d = {.points = points};
    struct fit_report one, two;
    uint32_t judged = 0;
    FILE *nowhere = fopen("/dev/null", "w");

    make(&d, "1", 15, 1);
    make(&d, "2", 25, 1.2);
    CHECK(fit_report_open(&d, 1, FIT_SPLIT_TABLE, &one) == ERR_OK, "two engines");
    CHECK(one.group_count == 2 && one.row_count == 2 * ROWS && one.repeated == 0, "all rows");
    for (int i = 0; i < 2; i++) {
        const struct fit_group *g = &one.groups[i];

        CHECK(g->fitted + g->errors[FIT_SPLIT_POINTS].rows == ROWS && g->fitted == ROWS / 2,
              "half is fitted, the other half judged");
        CHECK(g->errors[FIT_SPLIT_CURVES].rows == ROWS / 2, "half of the curves");
        CHECK(g->errors[FIT_SPLIT_UNSEEN].rows == ROWS, "all of one not seen");
        judged += (uint32_t)g->errors[FIT_SPLIT_POINTS].rows;
    }
    CHECK(judged == one.errors[FIT_SPLIT_POINTS].rows, "sums");
    CHECK(one.errors[FIT_SPLIT_POINTS].ttft_percent < 5 &&
              one.errors[FIT_SPLIT_POINTS].tpot_percent < 3,
          "between known points it is near");
    CHECK(one.errors[FIT_SPLIT_UNSEEN].tpot_percent > one.errors[FIT_SPLIT_POINTS].tpot_percent,
          "not seen is harder");
    CHECK(isnan(one.repeat_ttft_percent), "nothing was measured twice");
    fit_report_print(&one, nowhere);
    fclose(nowhere);

    for (uint32_t i = 0; i < ROWS; i++) { /* rows in another order, some once more, some useless */
        struct gpu_point t = points[i];

        points[i] = points[2 * ROWS - 1 - i];
        points[2 * ROWS - 1 - i] = t;
        points[2 * ROWS + i] = t;
        points[2 * ROWS + i].version[0] = 'x'; /* the same times under another name */
        points[3 * ROWS + i] = t;
        points[3 * ROWS + i].aggregated = i % 2 == 0;
        points[3 * ROWS + i].concurrency = ENGINE_SEQUENCES_MAX + 1;
    }
    d.point_count = 4 * ROWS;
    CHECK(fit_report_open(&d, 3, FIT_SPLIT_TABLE, &two) == ERR_OK, "again, by three threads");
    CHECK(two.repeated == ROWS && two.too_large == ROWS / 2 && two.row_count == 2 * ROWS,
          "left out");
    CHECK(memcmp(two.errors, one.errors, sizeof(one.errors)) == 0, "the same figures");
    fit_report_close(&one);
    fit_report_close(&two);
}

static void
test_nothing(void)
{
    struct gpu_data d = {.points = points};
    struct fit_report r;

    CHECK(fit_report_open(&d, 1, FIT_SPLIT_TABLE, &r) == ERR_NOT_FOUND, "no rows");
    CHECK(fit_report_open(&d, 0, FIT_SPLIT_TABLE, &r) == ERR_ARG, "no threads");
    points[0] = (struct gpu_point){.aggregated = true,
                                   .input_tokens = 10,
                                   .output_tokens = 10,
                                   .ttft_ms = 50,
                                   .tpot_ms = 5,
                                   .concurrency = 2};
    d.point_count = 1;
    CHECK(fit_report_open(&d, 1, FIT_SPLIT_TABLE, &r) == ERR_OK, "one row");
    CHECK(r.errors[FIT_SPLIT_POINTS].rows == 0 && r.errors[FIT_SPLIT_UNSEEN].rows == 1,
          "is either fitted or judged, never both");
    fit_report_close(&r);
}

int
main(void)
{
    test_known();
    test_nothing();
    return tap_done();
}

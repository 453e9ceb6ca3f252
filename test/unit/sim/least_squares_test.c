/* least_squares_test - known minima: of a straight line, of a curved valley, among wild points. */
#include "sim/least_squares.h"

#include <math.h>

#include "tap.h"

#define POINTS 20u

struct line {
    double y[POINTS];
    unsigned calls;
};

static void
line(void *context, const double *x, double *ret_residuals)
{
    struct line *l = context;

    l->calls++;
    for (uint32_t i = 0; i < POINTS; i++)
        ret_residuals[i] = x[0] + x[1] * i - l->y[i];
}

static void
valley(void *context, const double *x, double *ret_residuals) /* Rosenbrock's */
{
    (void)context;
    ret_residuals[0] = 10 * (x[1] - x[0] * x[0]);
    ret_residuals[1] = 1 - x[0];
}

static void
test_line(void)
{
    struct line l = {.calls = 0};
    struct least_squares p = {.params = 2,
                              .residuals = POINTS,
                              .robust = POINTS,
                              .steps_max = 50,
                              .scale = 0.1,
                              .difference = 1e-3,
                              .compute = line,
                              .context = &l};
    double x[2] = {0, 0}, cost = -1;

    for (uint32_t i = 0; i < POINTS; i++)
        l.y[i] = 3 + 0.5 * i;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_OK, "a line");
    CHECK(fabs(x[0] - 3) < 1e-4 && fabs(x[1] - 0.5) < 1e-5 && cost < 1e-6, "is found");
    CHECK(l.calls < 60, "with few evaluations");
    l.y[4] += 40;
    l.y[5] -= 90;
    x[0] = x[1] = 0;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_OK, "two wild points");
    CHECK(fabs(x[0] - 3) < 0.1 && fabs(x[1] - 0.5) < 0.01, "hardly move it");
    p.robust = 0;
    x[0] = x[1] = 0;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_OK, "as plain squares");
    CHECK(fabs(x[0] - 3) > 1, "they do");
}

static void
test_valley(void)
{
    struct least_squares p = {.params = 2,
                              .residuals = 2,
                              .steps_max = 500,
                              .scale = 1,
                              .difference = 1e-6,
                              .compute = valley};
    double x[2] = {-1.2, 1}, cost = -1;

    CHECK(least_squares_solve(&p, x, &cost) == ERR_OK, "a curved valley");
    CHECK(fabs(x[0] - 1) < 1e-3 && fabs(x[1] - 1) < 1e-3, "is walked to its end");
}

static void
test_limits(void)
{
    struct least_squares p = {.params = 2,
                              .residuals = 2,
                              .steps_max = 0,
                              .scale = 1,
                              .difference = 1e-6,
                              .compute = valley};
    double x[LEAST_SQUARES_PARAMS_MAX + 1] = {-1.2, 1}, cost = -1;

    CHECK(least_squares_solve(&p, x, &cost) == ERR_OK && x[0] == -1.2 && cost > 1, "no steps");
    p.params = 0;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_ARG, "no parameters");
    p.params = LEAST_SQUARES_PARAMS_MAX + 1;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_ARG, "too many");
    p.params = 2;
    p.residuals = 0;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_ARG, "no residuals");
    p.residuals = 2;
    p.scale = 0;
    CHECK(least_squares_solve(&p, x, &cost) == ERR_ARG, "no scale");
}

int
main(void)
{
    test_line();
    test_valley();
    test_limits();
    return tap_done();
}

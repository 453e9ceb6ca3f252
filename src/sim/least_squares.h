#ifndef SIM_LEAST_SQUARES_H
#define SIM_LEAST_SQUARES_H
/* least_squares - the parameters at which residuals that are costly to compute are small.
 *
 * Levenberg and Marquardt's method with differences for derivatives, renewed by Broyden's rule as
 * long as steps succeed: a residual may be a whole simulation, and each saved one counts. Residuals
 * beyond `scale` count linearly (soft L1), so that some wild measurements do not move everything.
 * GSL has such a solver too, but not this loss nor Broyden's rule, which would be most of this. */
#include <stdint.h>

#include "base/err.h"

#define LEAST_SQUARES_PARAMS_MAX    16u
#define LEAST_SQUARES_RESIDUALS_MAX 65536u

struct least_squares {
    uint32_t params;    /* 1..LEAST_SQUARES_PARAMS_MAX */
    uint32_t residuals; /* 1..LEAST_SQUARES_RESIDUALS_MAX */
    uint32_t robust;    /* the first so many may be wild */
    uint32_t steps_max;
    double scale;      /* > 0 */
    double difference; /* of a parameter, for a derivative; > 0 */
    /* Write all residuals at x, finite ones. */
    void (*compute)(void *context, const double *x, double *ret_residuals);
    void *context;
};

/* Improve x, which is the start, and give the cost there. ERR_ARG: a range above does not hold;
 * ERR_MEMORY; x is then untouched. */
MUST_USE enum err least_squares_solve(const struct least_squares *p, double *x, double *ret_cost);
#endif

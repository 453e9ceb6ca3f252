/* least_squares - damped steps with a kept Jacobian; see least_squares.h.
 *
 * A step that fails with a Jacobian that was only renewed gets a fresh one before the damping
 * grows: then either the derivatives were wrong or the step was too long, never both unknown. */
#include "sim/least_squares.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DAMPING_START 1e-2
#define DAMPING_MIN   1e-6
#define DAMPING_MAX   1e6
#define GAIN_MIN      1e-3 /* of the cost, by a step with a fresh Jacobian, to go on */

struct solver {
    const struct least_squares *p;
    uint32_t n, m;                /* parameters, residuals */
    double *r, *trial, *jacobian; /* jacobian: m rows of n */
    double damping;
    bool fresh;
};

/* Soft L1: z -> 2 s^2 (sqrt(1 + (z/s)^2) - 1), z^2 for small z. */
static double
cost_of(const struct least_squares *p, const double *r)
{
    double sum = 0;

    for (uint32_t i = 0; i < p->residuals; i++) {
        double z = r[i] / p->scale;

        sum += i < p->robust ? 2 * p->scale * p->scale * (sqrt(1 + z * z) - 1) : r[i] * r[i];
    }
    return sum;
}

/* How much of residual i a step should look at: the loss's slope over that of a square. */
static double
weight_of(const struct least_squares *p, uint32_t i, double r)
{
    double z = r / p->scale;

    return i < p->robust ? 1 / sqrt(1 + z * z) : 1;
}

static void
differentiate(struct solver *s, double *x)
{
    for (uint32_t j = 0; j < s->n; j++) {
        double at = x[j];

        x[j] = at + s->p->difference;
        s->p->compute(s->p->context, x, s->trial);
        x[j] = at;
        for (uint32_t i = 0; i < s->m; i++)
            s->jacobian[i * s->n + j] = (s->trial[i] - s->r[i]) / s->p->difference;
    }
    s->fresh = true;
}

/* Solve the symmetric positive a (n by n, row after row) for b, in place (Cholesky). False: it is
 * not positive. */
static bool
solve(double *a, double *b, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++) {
        double d = a[j * n + j];

        for (uint32_t k = 0; k < j; k++)
            d -= a[j * n + k] * a[j * n + k];
        if (!(d > 0))
            return false;
        a[j * n + j] = sqrt(d);
        for (uint32_t i = j + 1; i < n; i++) {
            for (uint32_t k = 0; k < j; k++)
                a[i * n + j] -= a[i * n + k] * a[j * n + k];
            a[i * n + j] /= a[j * n + j];
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < i; k++)
            b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (uint32_t i = n; i-- > 0;) {
        for (uint32_t k = i + 1; k < n; k++)
            b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
    return true;
}

/* The step that the Jacobian and the damping ask for. */
static bool
find_step(const struct solver *s, double step[LEAST_SQUARES_PARAMS_MAX])
{
    double a[LEAST_SQUARES_PARAMS_MAX * LEAST_SQUARES_PARAMS_MAX] = {0};
    uint32_t n = s->n;

    memset(step, 0, n * sizeof(*step));
    for (uint32_t i = 0; i < s->m; i++) {
        const double *row = &s->jacobian[i * n];
        double w = weight_of(s->p, i, s->r[i]);

        for (uint32_t j = 0; j < n; j++) {
            step[j] -= w * row[j] * s->r[i];
            for (uint32_t k = 0; k <= j; k++)
                a[j * n + k] += w * row[j] * row[k];
        }
    }
    for (uint32_t j = 0; j < n; j++)
        a[j * n + j] += s->damping * (a[j * n + j] + 1e-9);
    return solve(a, step, n);
}

/* After a step to trial: the Jacobian that explains it and differs least (Broyden). */
static void
renew(struct solver *s, const double *step)
{
    double square = 0;

    for (uint32_t j = 0; j < s->n; j++)
        square += step[j] * step[j];
    for (uint32_t i = 0; square > 0 && i < s->m; i++) {
        double *row = &s->jacobian[i * s->n], miss = s->trial[i] - s->r[i];

        for (uint32_t j = 0; j < s->n; j++)
            miss -= row[j] * step[j];
        for (uint32_t j = 0; j < s->n; j++)
            row[j] += miss * step[j] / square;
    }
    s->fresh = false;
}

static double
iterate(struct solver *s, double *x)
{
    double cost, step[LEAST_SQUARES_PARAMS_MAX], moved[LEAST_SQUARES_PARAMS_MAX];

    s->p->compute(s->p->context, x, s->r);
    cost = cost_of(s->p, s->r);
    differentiate(s, x);
    for (uint32_t i = 0; i < s->p->steps_max && s->damping <= DAMPING_MAX; i++) {
        double next = INFINITY, gain;

        if (find_step(s, step)) {
            for (uint32_t j = 0; j < s->n; j++)
                moved[j] = x[j] + step[j];
            s->p->compute(s->p->context, moved, s->trial);
            next = cost_of(s->p, s->trial);
        }
        gain = (cost - next) / cost;
        if (next < cost) {
            bool was_fresh = s->fresh;

            renew(s, step);
            memcpy(x, moved, s->n * sizeof(*x));
            memcpy(s->r, s->trial, s->m * sizeof(*s->r));
            cost = next;
            s->damping = fmax(s->damping / 5, DAMPING_MIN);
            if (gain < GAIN_MIN && was_fresh)
                break;
            if (gain >= GAIN_MIN)
                continue;
        }
        if (s->fresh)
            s->damping *= 5;
        else
            differentiate(s, x);
    }
    return cost;
}

enum err
least_squares_solve(const struct least_squares *p, double *x, double *ret_cost)
{
    struct solver s = {.p = p, .n = p->params, .m = p->residuals, .damping = DAMPING_START};
    enum err err = ERR_MEMORY;

    if (p->params < 1 || p->params > LEAST_SQUARES_PARAMS_MAX || p->residuals < 1 ||
        p->residuals > LEAST_SQUARES_RESIDUALS_MAX || !(p->scale > 0) || !(p->difference > 0))
        return ERR_ARG;
    s.r = calloc(s.m, sizeof(*s.r)); /* these for the call */
    s.trial = calloc(s.m, sizeof(*s.trial));
    s.jacobian = calloc((size_t)s.m * s.n, sizeof(*s.jacobian));
    if (s.r != NULL && s.trial != NULL && s.jacobian != NULL) {
        *ret_cost = iterate(&s, x);
        err = ERR_OK;
    }
    free(s.r);
    free(s.trial);
    free(s.jacobian);
    return err;
}

/* learn_curve - recursive least squares on logarithms; see learn_curve.h.
 *
 * Times err by a factor, so the filter works on ln(ms), and on the logarithms of the constants: a
 * constant stays positive by itself, an error of the whole scale is corrected exactly and in one
 * step, and the derivative of ln(ms) by ln(constant) is plainly that constant's share of the time.
 * The prior's covariance says what is likely wrong of it: first the scale of everything (a slower
 * card, other software), then prefill against decode, then each constant alone. So the first
 * request already moves all constants, and only what many different requests agree on bends the
 * curve.
 *
 * Bounds: a constant stays within a factor of its prior. Forgetting divides the covariance, which
 * in directions that no request shows would grow without limit; no variance exceeds its prior's.
 * An update subtracts an outer product from a symmetric matrix in doubles; should a variance still
 * be lost to rounding, the covariance starts anew at the constants learned so far.
 *
 * Without a prior, the first outcomes are kept: slopes between each pair, their median (Theil,
 * Sen) is the price of a token, the median of what is left the rest. One request in four may be
 * absurd, as first ones are. From there the filter goes on. */
#include "core/learn_curve.h"

#include <math.h>

#include "base/fmath.h"

#define FORGETTING     0.995
#define REACH          2.0794415 /* ln 8: a constant from its prior */
#define REACH_GUESS    6.9077553 /* ln 1000, where there is none */
#define CURVE_SURPRISE 0.3       /* of ln(ms), beyond what is uncertain: half of it counts */
#define VARIANCE_LEAST 1e-9      /* of a constant: less is lost to rounding */
#define START_LEAST    4u        /* outcomes for a slope */
#define SPAN_LEAST     64.0f     /* tokens between two outcomes that give one */

/* Standard deviations of ln: of everything, of prefill and decode apart, of each constant. */
#define SIGMA_SCALE       0.35
#define SIGMA_SCALE_GUESS 1.2
#define SIGMA_PART        0.25
static const double sigma_constant[CURVE_CONSTANTS] = {0.3, 0.15, 0.1, 0.15, 0.1, 0.1};

static size_t
covariance_at(size_t row, size_t column)
{
    return row >= column ? row * (row + 1) / 2 + column : column * (column + 1) / 2 + row;
}

static void
curve_unpack(const struct curve *c, float *ret_constants)
{
    ret_constants[CURVE_A] = c->a_ms;
    ret_constants[CURVE_B] = c->b_ms;
    ret_constants[CURVE_C] = c->c_ms;
    ret_constants[CURVE_T0] = c->t0_ms;
    ret_constants[CURVE_TK] = c->tk_ms;
    ret_constants[CURVE_TB] = c->tb_ms;
}

static struct curve
curve_pack(const float *c)
{
    return (struct curve){c[CURVE_A],  c[CURVE_B],  c[CURVE_C],
                          c[CURVE_T0], c[CURVE_TK], c[CURVE_TB]};
}

float
learn_curve_ms(const struct curve *curve, const struct work *work)
{
    const float *p = work->part;

    return curve->a_ms * p[CURVE_A] + curve->b_ms * p[CURVE_B] + curve->c_ms * p[CURVE_C] +
           curve->t0_ms * p[CURVE_T0] + curve->tk_ms * p[CURVE_TK] + curve->tb_ms * p[CURVE_TB];
}

static double
prior_covariance(size_t i, size_t j, bool guess)
{
    double scale = guess ? SIGMA_SCALE_GUESS : SIGMA_SCALE, v = scale * scale;

    if ((i <= CURVE_C) == (j <= CURVE_C))
        v += SIGMA_PART * SIGMA_PART;
    return i == j ? v + sigma_constant[i] * sigma_constant[i] : v;
}

static void
covariance_reset(struct curve_filter *f, bool guess)
{
    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        for (size_t j = 0; j <= i; j++)
            f->covariance[covariance_at(i, j)] = prior_covariance(i, j, guess);
    }
}

static void
filter_logs(struct curve_filter *f, const struct curve *curve)
{
    float c[CURVE_CONSTANTS];

    curve_unpack(curve, c);
    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        f->log[i] = c[i] > 0.0f ? fmath_log((double)c[i]) : 0.0;
}

void
learn_curve_init(struct curve_filter *f, const struct curve *prior, bool guess)
{
    *f = (struct curve_filter){.prior = *prior, .guess = guess};
    filter_logs(f, prior);
    covariance_reset(f, guess);
}

/* ---- The robust start. */

static float
median_of(float *list, size_t count)
{
    for (size_t i = 1; i < count; i++) { /* short lists, once in the life of a class */
        float x = list[i];
        size_t j = i;
        for (; j > 0 && list[j - 1] > x; j--)
            list[j] = list[j - 1];
        list[j] = x;
    }
    return count % 2 == 1 ? list[count / 2] : 0.5f * (list[count / 2 - 1] + list[count / 2]);
}

/* Median over pairs of the ms that one more token costs; 0: the outcomes are too much alike. */
static float
robust_slope(const struct curve_filter *f)
{
    static const size_t b = CURVE_B;
    float slopes[CURVE_FIRST_MAX * (CURVE_FIRST_MAX - 1) / 2];
    size_t count = 0;

    for (size_t i = 0; i < f->first_count; i++) {
        for (size_t j = 0; j < i; j++) {
            float tokens = f->first[i].work.part[b] - f->first[j].work.part[b];
            if (tokens >= SPAN_LEAST || tokens <= -SPAN_LEAST)
                slopes[count++] = (f->first[i].ms - f->first[j].ms) / tokens;
        }
    }
    return count >= START_LEAST ? median_of(slopes, count) : 0.0f;
}

/* What the kept outcomes were, over what the curve without its price of a token says. */
static float
robust_rest(const struct curve_filter *f, const struct curve *curve)
{
    float factors[CURVE_FIRST_MAX];
    struct curve without = *curve;

    without.b_ms = without.c_ms = 0.0f;
    for (size_t i = 0; i < f->first_count; i++) {
        const struct curve_first *o = &f->first[i];
        float tokens_ms = learn_curve_ms(curve, &o->work) - learn_curve_ms(&without, &o->work);
        factors[i] = (o->ms - tokens_ms) / learn_curve_ms(&without, &o->work);
    }
    return median_of(factors, f->first_count);
}

static float
within_bounds(float x, float least, float most)
{
    return !(x > least) ? least : x > most ? most : x; /* NAN: least */
}

/* The whole curve by the median of outcome/prior; then tokens by their slope, and the rest. */
static struct curve
robust_curve(const struct curve_filter *f)
{
    float factors[CURVE_FIRST_MAX], c[CURVE_CONSTANTS], scale, b, k;
    struct curve curve;

    for (size_t i = 0; i < f->first_count; i++)
        factors[i] = f->first[i].ms / learn_curve_ms(&f->prior, &f->first[i].work);
    scale = within_bounds(median_of(factors, f->first_count), 1e-3f, 1e3f);
    curve_unpack(&f->prior, c);
    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        c[i] *= scale;
    b = robust_slope(f);
    if (b > 0.0f && c[CURVE_B] > 0.0f) {
        k = within_bounds(b / c[CURVE_B], 0.1f,
                          10.0f); /* the context's price moves with the token's */
        c[CURVE_B] *= k;
        c[CURVE_C] *= k;
        curve = curve_pack(c);
        k = within_bounds(robust_rest(f, &curve), 0.1f, 10.0f);
        for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
            if (i != CURVE_B && i != CURVE_C)
                c[i] *= k;
        }
    }
    return curve_pack(c);
}

/* Keep an outcome with a prefill; *curve follows the kept ones. When there are enough, the filter
 * takes over, as from a prior. */
static void
robust_start(struct curve_filter *f, struct curve *curve, const struct work *work, float ms)
{
    if (!(work->part[CURVE_B] > 0.0f))
        return;
    f->first[f->first_count++] = (struct curve_first){*work, ms};
    *curve = robust_curve(f);
    if (f->first_count < CURVE_FIRST_MAX)
        return;
    filter_logs(f, curve);
    covariance_reset(f, false);
}

/* ---- The filter. */

static void
filter_forget(struct curve_filter *f, double weight)
{
    double grow = 1.0 + weight * (1.0 / FORGETTING - 1.0), shrink[CURVE_CONSTANTS];

    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        double most = prior_covariance(i, i, false), v = f->covariance[covariance_at(i, i)] * grow;
        shrink[i] = v > most ? sqrt(most / v) : 1.0;
    }
    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        for (size_t j = 0; j <= i; j++)
            f->covariance[covariance_at(i, j)] *= grow * shrink[i] * shrink[j];
    }
}

/* Move the constants along the gain, within their reach. */
static void
filter_move(struct curve_filter *f, struct curve *curve, const double *gain, double surprise)
{
    double reach = f->guess ? REACH_GUESS : REACH;
    float c[CURVE_CONSTANTS], prior[CURVE_CONSTANTS];

    curve_unpack(curve, c);
    curve_unpack(&f->prior, prior);
    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        double middle, x = f->log[i] + gain[i] * surprise;

        if (!(prior[i] > 0.0f))
            continue;
        middle = fmath_log((double)prior[i]);
        f->log[i] = x < middle - reach ? middle - reach : x > middle + reach ? middle + reach : x;
        c[i] = (float)fmath_exp(f->log[i]);
    }
    *curve = curve_pack(c);
}

void
learn_curve_observe(struct curve_filter *f, struct curve *curve, const struct work *work, float ms,
                    float variance, float weight)
{
    double share[CURVE_CONSTANTS], cross[CURVE_CONSTANTS], gain[CURVE_CONSTANTS], all;
    double total_ms = (double)learn_curve_ms(curve, work), sum = (double)variance, unsure, surprise;
    float c[CURVE_CONSTANTS];
    bool lost = false;

    if (f->guess && f->first_count < CURVE_FIRST_MAX) {
        robust_start(f, curve, work, ms);
        return;
    }
    filter_forget(f, (double)weight);
    curve_unpack(curve, c);
    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        share[i] = (double)(c[i] * work->part[i]) / total_ms;
    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        cross[i] = 0.0;
        for (size_t j = 0; j < CURVE_CONSTANTS; j++)
            cross[i] += f->covariance[covariance_at(i, j)] * share[j];
    }
    all = sum;
    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        all += share[i] * cross[i];
    unsure = CURVE_SURPRISE + 2.0 * sqrt(all - sum > 0.0 ? all - sum : 0.0);
    surprise = fmath_log((double)ms / total_ms);
    surprise *= unsure / (unsure + (surprise < 0.0 ? -surprise : surprise));
    for (size_t i = 0; i < CURVE_CONSTANTS; i++) {
        gain[i] = cross[i] / all;
        for (size_t j = 0; j <= i; j++)
            f->covariance[covariance_at(i, j)] -= gain[i] * cross[j];
        lost = lost || !(f->covariance[covariance_at(i, i)] > VARIANCE_LEAST);
    }
    if (lost)
        covariance_reset(f, false);
    filter_move(f, curve, gain, surprise);
}

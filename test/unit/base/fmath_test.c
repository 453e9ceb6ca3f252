/* fmath_test - against libm over large grids, the limits, and some bits fixed for good.
 * libm is not the truth, but its error is below 1 ulp (1.1e-16), far under what is asked here.
 * The fixed bits are what makes a record replay on another machine: they may never change. */
#include "base/fmath.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tap.h"

#define EXP_ERROR_MAX 4e-16 /* relative; measured 2.2e-16 */
#define LOG_ERROR_MAX 5e-16 /* relative; measured 4.4e-16 */

static double
relative(double got, double want)
{
    return got == want ? 0.0 : fabs(got - want) / fabs(want);
}

static void
check_exp(void)
{
    double worst = 0.0, worst_small = 0.0;
    bool grows = true, subnormal = true;
    double before = 0.0;

    for (int i = 0; i <= 1400000; i++) {
        double x = -700.0 + i * 0.001 + 1e-7, got = fmath_exp(x);
        worst = fmax(worst, relative(got, exp(x)));
        grows = grows && got > before;
        before = got;
    }
    for (double x = 1e-300; x < 1.0; x *= 1.7)
        worst_small = fmax(worst_small,
                           fmax(relative(fmath_exp(x), exp(x)), relative(fmath_exp(-x), exp(-x))));
    printf("# exp: relative error %.3g, near zero %.3g\n", worst, worst_small);
    CHECK(worst <= EXP_ERROR_MAX, "exp on -700..700 in steps of 0.001");
    CHECK(worst_small <= EXP_ERROR_MAX, "exp near zero");
    CHECK(grows, "exp grows strictly on that grid");
    /* Where the result is subnormal the error is absolute: one unit of the last place. */
    for (double x = -745.0; x < -708.0; x += 0.01)
        subnormal = subnormal && fabs(fmath_exp(x) - exp(x)) <= 0x1p-1074 + EXP_ERROR_MAX * exp(x);
    CHECK(subnormal, "exp where its result is subnormal");
}

static void
check_log(void)
{
    double worst = 0.0, near_one = 0.0;

    for (int exponent = -1074; exponent < 1024; exponent++) {
        for (double m = 1.0; m < 2.0; m += 0.0017)
            worst = fmax(worst, relative(fmath_log(ldexp(m, exponent)), log(ldexp(m, exponent))));
    }
    for (int i = -400000; i <= 400000; i++) {
        double x = 1.0 + i * 1e-6;
        near_one = fmax(near_one, relative(fmath_log(x), log(x)));
    }
    printf("# log: relative error %.3g, near one %.3g\n", worst, near_one);
    CHECK(worst <= LOG_ERROR_MAX, "log of every power of two and 588 steps between");
    CHECK(near_one <= LOG_ERROR_MAX, "log near one, where it vanishes");
}

static void
check_limits(void)
{
    const double infinity = (double)INFINITY, nan = (double)NAN;

    CHECK(fmath_exp(0.0) == 1.0 && fmath_exp(-0.0) == 1.0, "e^0");
    CHECK(fmath_exp(-746.0) == 0.0 && fmath_exp(-infinity) == 0.0, "exp underflows to 0");
    CHECK(fmath_exp(-745.0) > 0.0, "exp of -745 is the smallest number");
    CHECK(fmath_exp(709.79) == infinity && fmath_exp(infinity) == infinity, "exp overflows");
    CHECK(isfinite(fmath_exp(709.78)), "exp just below overflow");
    CHECK(isnan(fmath_exp(nan)), "exp of NaN");
    CHECK(fmath_log(1.0) == 0.0, "log 1");
    CHECK(fmath_log(0.0) == -infinity && fmath_log(-0.0) == -infinity, "log 0");
    CHECK(isnan(fmath_log(-1.0)) && isnan(fmath_log(-infinity)), "log below 0");
    CHECK(isnan(fmath_log(nan)) && fmath_log(infinity) == infinity, "log of NaN and infinity");
}

/* Bits of the result, so that no compiler, option or edit changes them unseen. */
static const struct {
    const char *label;
    double (*function)(double);
    double x;
    uint64_t bits;
} fixed[] = {
    {"exp 1", fmath_exp, 1.0, 0x4005bf0a8b14576au},
    {"exp -0.3", fmath_exp, -0.3, 0x3fe7b4c869c37c05u},
    {"exp 123.456", fmath_exp, 123.456, 0x4b11428e1cbc0143u},
    {"log 2", fmath_log, 2.0, 0x3fe62e42fefa39efu},
    {"log 0.1", fmath_log, 0.1, 0xc0026bb1bbb55515u},
    {"log 98765.4321", fmath_log, 98765.4321, 0x40270041ec088475u},
};

static void
check_bits(void)
{
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        double value = fixed[i].function(fixed[i].x);
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        if (bits != fixed[i].bits)
            printf("# %s: got 0x%016llx\n", fixed[i].label, (unsigned long long)bits);
        CHECK(bits == fixed[i].bits, fixed[i].label);
    }
}

int
main(void)
{
    check_exp();
    check_log();
    check_limits();
    check_bits();
    return tap_done();
}

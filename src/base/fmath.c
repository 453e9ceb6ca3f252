/* fmath - exp and log from IEEE operations alone; see fmath.h.
 * exp: x = k*ln2 + r, |r| <= ln2/2, Taylor to r^13 (remainder < 4e-18), times 2^k.
 * log: x = m*2^e, m in [sqrt(1/2), sqrt(2)), f = (m-1)/(m+1), 2*(f + f^3/3 + ... + f^21/21). */
#include "base/fmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW  1.90821492927058770002e-10
#define SQRT2    1.41421356237309504880

static double
from_bits(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* 2^k for -1022 <= k <= 1023. */
static double
two_to(int k)
{
    return from_bits((uint64_t)(k + 1023) << 52);
}

double
fmath_exp(double x)
{
    static const double inverse_factorial[] = {1.0,
                                               1.0,
                                               1.0 / 2,
                                               1.0 / 6,
                                               1.0 / 24,
                                               1.0 / 120,
                                               1.0 / 720,
                                               1.0 / 5040,
                                               1.0 / 40320,
                                               1.0 / 362880,
                                               1.0 / 3628800,
                                               1.0 / 39916800,
                                               1.0 / 479001600,
                                               1.0 / 6227020800.0};
    double k, r, sum = inverse_factorial[13];
    int exponent;

    if (x != x)
        return x;
    if (x > 709.782712893384)
        return (double)INFINITY;
    if (x < -745.2)
        return 0.0;
    k = floor(x * (1.0 / 0.6931471805599453) + 0.5);
    r = (x - k * LN2_HIGH) - k * LN2_LOW;
    for (int i = 12; i >= 0; i--)
        sum = sum * r + inverse_factorial[i];
    exponent = (int)k;
    if (exponent < -1021) /* the result is subnormal: scale twice */
        return sum * two_to(exponent + 100) * two_to(-100);
    if (exponent > 1023)
        return sum * two_to(1023) * two_to(exponent - 1023);
    return sum * two_to(exponent);
}

double
fmath_log(double x)
{
    uint64_t bits;
    int exponent = 0;
    double m, f, f2, sum = 0.0;

    if (x != x || x < 0.0)
        return (double)NAN;
    if (x == 0.0)
        return -(double)INFINITY;
    if (x > 1.7976931348623157e308)
        return x;
    if (x < 2.2250738585072014e-308) { /* subnormal */
        x *= 0x1p54;
        exponent = -54;
    }
    memcpy(&bits, &x, sizeof(bits));
    exponent += (int)(bits >> 52) - 1023;
    m = from_bits((bits & 0xfffffffffffffu) | (UINT64_C(1023) << 52));
    if (m > SQRT2) {
        m *= 0.5;
        exponent++;
    }
    f = (m - 1.0) / (m + 1.0);
    f2 = f * f;
    for (int i = 21; i >= 1; i -= 2)
        sum = sum * f2 + 1.0 / i;
    return exponent * LN2_HIGH + (2.0 * f * sum + exponent * LN2_LOW);
}

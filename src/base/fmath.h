#ifndef BASE_FMATH_H
#define BASE_FMATH_H
/* fmath - exp and log that give the same bits on every machine and compiler.
 * glibc picks another implementation where the CPU has FMA, so its last bit differs between
 * machines and a recorded run would not replay. These use only + - * / and sqrt, which IEEE 754
 * fixes, and are compiled with -ffp-contract=off. Relative error of exp and log
 * <= 5e-16, of pow <= 2e-13 (the product in the exponent rounds). */

/* e^x. Underflows to 0 below -745, overflows to +inf above 709.78. NaN gives NaN. */
double fmath_exp(double x);
/* Natural logarithm; -inf at 0, NaN below 0 and for NaN. */
double fmath_log(double x);
/* x^y for x > 0. */
double fmath_pow(double x, double y);
/* The quantile of the standard normal distribution at p in (0, 1) (Acklam's approximation,
 * relative error < 1.2e-9). */
double fmath_normal_quantile(double p);
#endif

#ifndef BASE_FMATH_H
#define BASE_FMATH_H
/* fmath - exp and log that give the same bits on every machine and compiler.
 * glibc picks another implementation where the CPU has FMA, so its last bit differs between
 * machines and a recorded run would not replay. These use only + - * / and floor, which IEEE 754
 * fixes, and are compiled with -ffp-contract=off. Relative error <= 5e-16. */

/* e^x. Underflows to 0 below -745, overflows to +inf above 709.78. NaN gives NaN. */
double fmath_exp(double x);
/* Natural logarithm; -inf at 0, NaN below 0 and for NaN. */
double fmath_log(double x);
#endif

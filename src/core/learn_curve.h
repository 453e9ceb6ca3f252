#ifndef CORE_LEARN_CURVE_H
#define CORE_LEARN_CURVE_H
/* learn_curve - the six constants of a curve, learned from measured times: recursive least squares
 * with forgetting, from the prior on. What a time consisted of is a `work`: how often each constant
 * is in it. So first tokens, steps, whole answers and an engine's own timings all teach one filter.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"

enum curve_constant { CURVE_A, CURVE_B, CURVE_C, CURVE_T0, CURVE_TK, CURVE_TB, CURVE_CONSTANTS };

/* ms = sum of constant[i] * part[i]: 1 (or 0), uncached tokens, these times their context, steps,
 * steps times thousands of KV tokens, steps times requests. */
struct work {
    float part[CURVE_CONSTANTS];
};

#define CURVE_FIRST_MAX 16u /* observations kept where there is no prior */
#define CURVE_TRIANGLE  (CURVE_CONSTANTS * (CURVE_CONSTANTS + 1) / 2)

struct curve_filter {
    double log[CURVE_CONSTANTS];       /* ln of each constant; of one that is 0: unused */
    double covariance[CURVE_TRIANGLE]; /* of these, lower triangle row by row */
    struct curve prior;
    bool guess; /* the prior says nothing of this hardware */
    uint32_t first_count;
    struct curve_first {
        struct work work;
        float ms;
    } first[CURVE_FIRST_MAX]; /* of a guess: for the robust start */
};

/* Start at a prior; a constant that is 0 there stays 0. guess: it is not of this hardware. */
void learn_curve_init(struct curve_filter *f, const struct curve *prior, bool guess);

/* Take one time: *curve (the filter's current one) is changed to what it says. ms > 0 and work's
 * sum > 0; variance of ln(ms); weight in (0, 1]: how much of the past it may replace. */
void learn_curve_observe(struct curve_filter *f, struct curve *curve, const struct work *work,
                         float ms, float variance, float weight);

float learn_curve_ms(const struct curve *curve, const struct work *work);
#endif

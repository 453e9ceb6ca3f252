/* tune: finds what it is asked to find, within its budget, the same way for the same seed; and
 * leaves things as they are when there is nothing to gain. */
#include "sim/tune.h"

#include <math.h>
#include <string.h>

#include "tap.h"

struct valley { /* a bowl with its ground somewhere, in the scales of its knobs, and a seed's noise
                 */
    double ground[3];
    uint32_t measured, seed_max;
    bool is_flat, fails;
};

static const struct tune_knob knobs[3] = {
    {"linear", 9.0, 0.0, 10.0, false, false},
    {"log", 1.0, 0.01, 1000.0, true, false},
    {"whole", 2.0, 1.0, 16.0, false, true},
};

static enum err
evaluate(void *user, const struct tune_point *points, uint32_t count, uint32_t seed, uint32_t seeds,
         double *ret_objectives)
{
    struct valley *v = user;

    if (v->fails)
        return ERR_IO;
    v->measured += count * seeds;
    v->seed_max = seed + seeds > v->seed_max ? seed + seeds : v->seed_max;
    for (uint32_t i = 0; i < count; i++) {
        const double *x = points[i].values;
        double a = (x[0] - v->ground[0]) / 10.0, b = log(x[1] / v->ground[1]) / 11.5;
        double c = (x[2] - v->ground[2]) / 15.0;
        ret_objectives[i] = v->is_flat ? 1.0 : a * a + b * b + c * c + 0.01 * (seed % 2);
        if (x[2] != floor(x[2]) || x[0] < 0.0 || x[0] > 10.0)
            ret_objectives[i] = NAN;
    }
    return ERR_OK;
}

int
main(void)
{
    struct valley v = {.ground = {3.0, 50.0, 11.0}}, again = v, flat = {.is_flat = true};
    struct valley broken = {.fails = true};
    struct tune_search search = {.knobs = knobs,
                                 .knob_count = 3,
                                 .seed = 1,
                                 .budget = 400,
                                 .evaluate = evaluate,
                                 .user = &v};
    struct tune_result r, same;
    struct tune_knob wrong = {"wrong", 1.0, 0.0, 2.0, true, false};

    CHECK(tune_run(&search, &r) == ERR_OK && r.improved, "something better is found");
    CHECK(fabs(r.point.values[0] - 3.0) < 1.0, "a linear knob");
    CHECK(fabs(log(r.point.values[1] / 50.0)) < 1.0, "a logarithmic one");
    CHECK(fabs(r.point.values[2] - 11.0) <= 1.0, "a whole one");
    CHECK(r.after < r.before && r.used == v.measured && v.measured <= 400 + 2 * TUNE_FRESH_SEEDS,
          "within the budget");
    CHECK(fabs(r.gain - (r.before - r.after)) < 1e-9 && r.gain_half < 1e-9,
          "a gain without chance");
    CHECK(v.seed_max == TUNE_SEEDS + TUNE_FRESH_SEEDS, "judged on seeds of their own");

    search.user = &again;
    CHECK(tune_run(&search, &same) == ERR_OK && memcmp(&r, &same, sizeof(r)) == 0,
          "the same seed, the same search");
    search.user = &flat;
    CHECK(tune_run(&search, &r) == ERR_OK && !r.improved && r.point.values[0] == 9.0,
          "no gain, no change");
    search.user = &broken;
    CHECK(tune_run(&search, &r) == ERR_IO, "an error ends it");
    search.knobs = &wrong;
    search.knob_count = 1;
    CHECK(tune_run(&search, &r) == ERR_ARG, "the logarithm of nothing");
    return tap_done();
}

#ifndef SIM_TUNE_H
#define SIM_TUNE_H
/* tune - a search for the constants of a rule, the same for all rules: whatever is compared was
 * given the same chances.
 *
 * Points are drawn at random, half of them all over the ranges and half around the start; the best
 * few are measured on more seeds (successive halving). From the best of those an evolution strategy
 * goes on: children that differ in some of the constants, with a step that grows with success and
 * shrinks without. All points are measured on the same seeds, so that differences are paired. What
 * is found counts only if it is better than the start on seeds that the search never saw, and how
 * far that is beyond chance is told.
 *
 * Deterministic by its seed; what takes time is in the caller's evaluate, a batch at once. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TUNE_KNOBS_MAX   16u
#define TUNE_BATCH_MAX   64u
#define TUNE_SEEDS       4u  /* of the search, from 0 on; the first round has one */
#define TUNE_FRESH_SEEDS 12u /* after them: they judge at the end */

struct tune_knob {
    const char *name;
    double start, min, max; /* min <= start <= max, min < max; is_log: min > 0 */
    bool is_log, is_whole;
};

struct tune_point {
    double values[TUNE_KNOBS_MAX];
};

struct tune_search {
    const struct tune_knob *knobs;
    uint32_t knob_count; /* 1..TUNE_KNOBS_MAX */
    uint64_t seed;
    uint32_t
        budget; /* measurements: of one point on one seed; without those that judge at the end */
    /* For each of count <= TUNE_BATCH_MAX points the mean over seeds [seed, seed + seeds) of what
     * is to be small, and finite. An error ends the search. */
    enum err (*evaluate)(void *user, const struct tune_point *points, uint32_t count, uint32_t seed,
                         uint32_t seeds, double *ret_objectives);
    void *user;
};

struct tune_result {
    struct tune_point point; /* what to use: the start, if nothing better was found */
    bool improved;
    double before, after;   /* objective on fresh seeds, of the start and of what was found */
    double gain, gain_half; /* before - after seed by seed: the mean, and half its 95 % interval */
    uint32_t used;          /* measurements */
};

/* ERR_ARG: the knobs; else what evaluate said. */
MUST_USE enum err tune_run(const struct tune_search *search, struct tune_result *ret_result);
#endif

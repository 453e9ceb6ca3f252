/* tune - the search; see tune.h. Inside, a point is in [0, 1] along each knob's own scale. */
#include "sim/tune.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "sim/sim_stats.h"

#define DRAWN      24u /* points of the first round, the start among them */
#define KEPT       6u  /* of them go on to the second */
#define SEEDS      TUNE_SEEDS
#define CHILDREN   6u   /* of a generation */
#define NEAR       0.15 /* deviation of draws around the start */
#define STEP_FIRST 0.2
#define STEP_MIN   0.01
#define STEP_UP    1.3
#define STEP_DOWN  0.7
#define MOVED_MIN  0.34 /* how likely a knob differs in a child, at least */

struct state {
    const struct tune_search *search;
    struct rng rng;
    uint32_t used;
    double best[TUNE_KNOBS_MAX];
    double best_objective; /* mean over SEEDS */
};

static double
place_of(const struct tune_knob *k, double value)
{
    return k->is_log ? log(value / k->min) / log(k->max / k->min)
                     : (value - k->min) / (k->max - k->min);
}

static double
value_at(const struct tune_knob *k, double place)
{
    double x = k->is_log ? k->min * exp(place * log(k->max / k->min))
                         : k->min + place * (k->max - k->min);

    x = k->is_whole ? floor(x + 0.5) : x;
    return fmin(fmax(x, k->min), k->max);
}

/* Back into [0, 1] by mirrors at its ends. */
static double
reflected(double x)
{
    x = fabs(fmod(x, 2.0));
    return x > 1.0 ? 2.0 - x : x;
}

static enum err
measure(struct state *s, const double (*places)[TUNE_KNOBS_MAX], uint32_t count, uint32_t seed,
        uint32_t seeds, double *ret_objectives)
{
    const struct tune_search *search = s->search;
    struct tune_point points[TUNE_BATCH_MAX];

    memset(points, 0, sizeof(points));
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < search->knob_count; k++)
            points[i].values[k] = value_at(&search->knobs[k], places[i][k]);
    }
    s->used += count * seeds;
    return search->evaluate(search->user, points, count, seed, seeds, ret_objectives);
}

/* The start and points at random, on one seed. */
static enum err
first_round(struct state *s, double (*places)[TUNE_KNOBS_MAX], double *objectives)
{
    for (uint32_t i = 0; i < DRAWN; i++) {
        for (uint32_t k = 0; k < s->search->knob_count; k++) {
            double start = place_of(&s->search->knobs[k], s->search->knobs[k].start);
            if (i == 0)
                places[i][k] = start;
            else if (i % 2 == 0)
                places[i][k] = rng_unit(&s->rng);
            else
                places[i][k] = reflected(start + NEAR * rng_normal(&s->rng));
        }
    }
    return measure(s, (const double(*)[TUNE_KNOBS_MAX])places, DRAWN, 0, 1, objectives);
}

/* The best of them and the start, on the other seeds too. */
static enum err
second_round(struct state *s, double (*places)[TUNE_KNOBS_MAX], const double *objectives)
{
    double kept[KEPT][TUNE_KNOBS_MAX], first[KEPT], more[KEPT];
    bool taken[DRAWN] = {true};
    enum err err;

    memcpy(kept[0], places[0], sizeof(kept[0]));
    first[0] = objectives[0];
    for (uint32_t n = 1; n < KEPT; n++) {
        uint32_t best = DRAWN;
        for (uint32_t i = 0; i < DRAWN; i++) {
            if (!taken[i] && (best == DRAWN || objectives[i] < objectives[best]))
                best = i;
        }
        taken[best] = true;
        memcpy(kept[n], places[best], sizeof(kept[n]));
        first[n] = objectives[best];
    }
    err = measure(s, (const double(*)[TUNE_KNOBS_MAX])kept, KEPT, 1, SEEDS - 1, more);
    for (uint32_t n = 0; err == ERR_OK && n < KEPT; n++) {
        double mean = (first[n] + more[n] * (SEEDS - 1)) / SEEDS;
        if (n == 0 || mean < s->best_objective) {
            s->best_objective = mean;
            memcpy(s->best, kept[n], sizeof(s->best));
        }
    }
    return err;
}

static void
child_of(struct state *s, double step, double *ret_places)
{
    uint32_t count = s->search->knob_count;
    uint32_t always = (uint32_t)rng_below(&s->rng, count);
    double moved = fmax(MOVED_MIN, 1.0 / count);

    for (uint32_t k = 0; k < count; k++) {
        ret_places[k] = s->best[k];
        if (k == always || rng_unit(&s->rng) < moved)
            ret_places[k] = reflected(s->best[k] + step * rng_normal(&s->rng));
    }
}

static enum err
evolve(struct state *s)
{
    double children[CHILDREN][TUNE_KNOBS_MAX] = {{0}}, objectives[CHILDREN], step = STEP_FIRST;

    while (s->used + CHILDREN * SEEDS <= s->search->budget) {
        uint32_t best = 0;
        enum err err;
        for (uint32_t i = 0; i < CHILDREN; i++)
            child_of(s, step, children[i]);
        err = measure(s, (const double(*)[TUNE_KNOBS_MAX])children, CHILDREN, 0, SEEDS, objectives);
        if (err != ERR_OK)
            return err;
        for (uint32_t i = 1; i < CHILDREN; i++) {
            if (objectives[i] < objectives[best])
                best = i;
        }
        if (objectives[best] < s->best_objective) {
            s->best_objective = objectives[best];
            memcpy(s->best, children[best], sizeof(s->best));
            step *= STEP_UP;
        } else {
            step = fmax(STEP_MIN, step * STEP_DOWN);
        }
    }
    return ERR_OK;
}

/* Seed by seed, so that chance can be told from gain. */
static enum err
judge(struct state *s, const double *start, struct tune_result *ret_result)
{
    const struct tune_search *search = s->search;
    double places[2][TUNE_KNOBS_MAX], objectives[2], gains[TUNE_FRESH_SEEDS];
    struct tune_result r = {0};
    struct sim_mean gain;

    memcpy(places[0], start, sizeof(places[0]));
    memcpy(places[1], s->best, sizeof(places[1]));
    for (uint32_t i = 0; i < TUNE_FRESH_SEEDS; i++) {
        enum err err = measure(s, (const double(*)[TUNE_KNOBS_MAX])places, 2, SEEDS + i, 1,
                               objectives);
        if (err != ERR_OK)
            return err;
        gains[i] = objectives[0] - objectives[1];
        r.before += objectives[0] / TUNE_FRESH_SEEDS;
        r.after += objectives[1] / TUNE_FRESH_SEEDS;
    }
    gain = sim_mean_of(gains, TUNE_FRESH_SEEDS);
    r.gain = gain.mean;
    r.gain_half = gain.half;
    r.improved = r.gain > 0.0;
    r.used = s->used;
    for (uint32_t k = 0; k < search->knob_count; k++)
        r.point.values[k] = r.improved ? value_at(&search->knobs[k], s->best[k])
                                       : search->knobs[k].start;
    *ret_result = r;
    return ERR_OK;
}

enum err
tune_run(const struct tune_search *search, struct tune_result *ret_result)
{
    double places[DRAWN][TUNE_KNOBS_MAX] = {{0}}, objectives[DRAWN];
    struct state s = {.search = search};
    enum err err;

    if (search->knob_count < 1 || search->knob_count > TUNE_KNOBS_MAX)
        return ERR_ARG;
    for (uint32_t k = 0; k < search->knob_count; k++) {
        const struct tune_knob *knob = &search->knobs[k];
        if (!(knob->min < knob->max) || !(knob->start >= knob->min) ||
            !(knob->start <= knob->max) || (knob->is_log && !(knob->min > 0.0)))
            return ERR_ARG;
    }
    rng_init(&s.rng, search->seed);
    err = first_round(&s, places, objectives);
    if (err == ERR_OK)
        err = second_round(&s, places, objectives);
    if (err == ERR_OK)
        err = evolve(&s);
    if (err == ERR_OK)
        err = judge(&s, places[0], ret_result);
    return err;
}

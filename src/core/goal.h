#ifndef CORE_GOAL_H
#define CORE_GOAL_H
/* goal - the deadline that a client gave for its first token, and its time per output token: which
 * nodes meet them nine times in ten, and which of those is the fullest. To take the fullest keeps
 * the others free for whoever is in a greater hurry, and lets them be emptied (best fit). Only a
 * client's own deadline asks for this: a goal that the configuration gives to everybody is one for
 * admission and for the cost, not a leave to be late by as much. */
#include "core/state.h"

#define GOAL_Z90 1.2816f /* deviations above the mean: one in ten is later */

struct goal {
    float first_ms; /* from now on; NAN: none was given */
    float step_ms;  /* NAN: none */
};

struct goal goal_of(const struct core *core, uint64_t now_ns, const struct request *r);

static inline bool
goal_given(const struct goal *goal)
{
    return goal->first_ms == goal->first_ms;
}

/* Set c->load and c->fits, whose terms are known. */
void goal_weigh(const struct goal *goal, const struct predict_node *node, struct candidate *c);
/* The fullest of those that fit; of equals the one that costs less. count: none fits. */
size_t goal_fullest(const struct candidate *list, size_t count);
#endif

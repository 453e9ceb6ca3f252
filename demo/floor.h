#ifndef DEMO_FLOOR_H
#define DEMO_FLOOR_H
/* floor - how well a request's first token could have been predicted: the core's own predictor, fed
 * with the truth about the node (its real speed and curve, its queue, batch and memory as the
 * request arrived) instead of estimates. What is still off then is noise of the engine, how far the
 * running iteration had come, and what the predictor's form cannot say. */
#include <stdbool.h>

#include "base/err.h"
#include "core/predict.h"
#include "outcome.h"

/* exact: know also when the running iteration ends, which no news could carry in time. ERR_ARG: no
 * truth is known of it, or no such model or GPU. */
MUST_USE enum err floor_predict(const struct outcome *o, bool exact, struct terms *ret_terms);
#endif

#ifndef DEMO_FLOOR_H
#define DEMO_FLOOR_H
/* floor - how well a request's first token could have been predicted: the core's own predictor, fed
 * with the truth about the node (its real speed and curve, its queue, batch and memory as the
 * request arrived, what was left of the running iteration) instead of estimates. What is still off
 * then is noise of the engine and what the predictor's form cannot say. */
#include "base/err.h"
#include "core/predict.h"
#include "outcome.h"

/* ERR_ARG: no truth is known of it, or no such model or GPU. */
MUST_USE
enum err floor_predict(const struct outcome *o, struct terms *ret_terms);
#endif

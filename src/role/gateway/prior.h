#ifndef ROLE_GATEWAY_PRIOR_H
#define ROLE_GATEWAY_PRIOR_H
/* prior - the first guess of how fast a kind of hardware runs a model, before anything was
 * measured: from the shipped speed table, by model size and GPU class. Core learns the rest. */
#include "base/span.h"
#include "core/event.h"

#define PRIOR_PARAMS_B 8.0 /* when nothing tells the size */

/* Billions of parameters that a model's name tells ("llama-3.1-8b", "Qwen2.5:0.5b-q4",
 * "mixtral-8x7b"); 0: none. */
double prior_params_b(struct span model_name);

/* Fill *ret_curve's curve, KV room and load time (its model and class are the caller's). params_b
 * 0: from the name, else PRIOR_PARAMS_B. gpu unknown to the table: a middle-of-the-road card,
 * marked as a guess. scale: the configuration's predict.constants_scale, multiplied into every
 * time. */
void prior_curve(struct span model_name, double params_b, struct span gpu, double scale,
                 struct event_curve *ret_curve);
#endif

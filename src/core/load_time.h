#ifndef CORE_LOAD_TIME_H
#define CORE_LOAD_TIME_H
/* load_time - how long a model takes until it is ready where it is not: learned, not believed.
 *
 * What is told (event_curve.load_ms, a node's rate of fetching, ready_in_ms of a node that loads)
 * is a prior. What a load then took over it is learned in logarithms: per model and hardware class,
 * apart for a wake, a load from disk and one over the network, and beginning at what the class
 * shows with other models; and per node for what it tells of itself. Outcomes are a load's states
 * as they are told, and, where no state is told in between, the first token of a request that woke
 * the model. The prior weighs as much as half an outcome, and fades. */
#include "core/state.h"

/* From its state to ready there. INFINITY: the node can not fetch it. */
float load_time_ms(const struct core *core, uint32_t node, uint32_t model);
/* The same, its placement there being known; NONE: it has none. */
float load_time_from_ms(const struct core *core, uint32_t node, uint32_t model, uint32_t placement);
/* Until this placement is ready; 0: it is. What is late is expected to be as late again. */
float load_time_left_ms(const struct core *core, uint64_t now_ns, uint32_t placement);
/* From disk, wherever; for a first guess of what a model's load costs. */
float load_time_usual_ms(const struct core *core, uint32_t model);

/* It begins to load, which is its state by now: as its node says (ready in told_ms, NAN unknown),
 * or because a request was sent there. was: its state before. */
void load_time_begins(struct core *core, uint32_t placement, uint32_t was, float told_ms);
/* The placement has a new state; was: the one before, MODEL_ABSENT: it was not known there. */
void load_time_told(struct core *core, const struct event_model *e, uint32_t placement,
                    uint32_t was);
/* The attempt goes to this placement, which may have to load for it. Before learn_chosen. */
void load_time_chosen(const struct core *core, struct attempt *a, uint32_t placement,
                      float ready_ms);
/* Its first token came. */
void load_time_started(struct core *core, const struct request *r, const struct attempt *a);
#endif

#ifndef SIM_SIM_QUEUE_H
#define SIM_SIM_QUEUE_H
/* sim_queue - what is still to happen, earliest first; what happens at the same nanosecond comes in
 * the order in which it was put. A heap with four children a node: half the levels of a binary one,
 * and the four stand in two cache lines. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sim_event {
    uint64_t at_ns;
    uint32_t order; /* set by the queue; wraps far beyond what can be waiting */
    uint32_t kind;  /* of the owner's own list */
    uint32_t a, b;  /* the owner's */
};

struct sim_queue { /* all zero: empty */
    struct sim_event *heap;
    size_t count, room;
    uint32_t order;
};

void sim_queue_fini(struct sim_queue *q);
/* Stops the program when memory is out: nothing simulated survives that. */
void sim_queue_put(struct sim_queue *q, uint64_t at_ns, uint32_t kind, uint32_t a, uint32_t b);
/* False: empty. */
bool sim_queue_take(struct sim_queue *q, struct sim_event *ret_event);
#endif

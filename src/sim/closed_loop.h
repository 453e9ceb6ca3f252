#ifndef SIM_CLOSED_LOOP_H
#define SIM_CLOSED_LOOP_H
/* closed_loop - the engine model under the load of a serving benchmark: so many clients, each sends
 * its next request when the last one has ended, all begin at once. What they see is the mean over
 * all requests, the opening burst among them: so the published curves were measured. */
#include "engine/engine.h"

#define CLOSED_LOOP_ROUNDS 10u /* requests for each client, as the benchmarks have it */

struct closed_loop {
    uint32_t prompt_tokens, output_tokens; /* >= 1; the longest */
    double length_share;     /* lengths are uniform from this share of them on; 1: all alike */
    uint32_t concurrency;    /* 1..ENGINE_SEQUENCES_MAX */
    uint32_t visible_tokens; /* the server shows tokens in pieces of so many; >= 1 */
    double front_ms;         /* on the way to the engine and back: delays nobody else */
};

struct closed_loop_seen { /* means */
    double ttft_ms, tpot_ms;
};

/* params.slots and quiet_tokens are set to what this needs. ERR_ARG: a range does not hold or the
 * engine does not take the figures; ERR_FULL: a request has no room in the KV; ERR_MEMORY. */
MUST_USE enum err closed_loop_run(const struct engine_speed *speed,
                                  const struct engine_params *params,
                                  const struct closed_loop *load,
                                  struct closed_loop_seen *ret_seen);
#endif

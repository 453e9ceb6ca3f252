#ifndef SIM_SIM_POOL_H
#define SIM_SIM_POOL_H
/* sim_pool - the connections that a gateway keeps to a node, as io/http_client keeps them: the one
 * used last is used next, what was idle for four seconds is closed, and what was cut in the middle
 * of an answer is not kept. Whether a request finds one is a round trip more or less. */
#include <stdbool.h>
#include <stdint.h>

#define SIM_POOL_MAX     64u
#define SIM_POOL_IDLE_NS UINT64_C(4000000000)

struct sim_pool {       /* all zero: none is kept */
    uint64_t *since_ns; /* of idle ones, the longest idle first */
    uint32_t count, room;
};

void sim_pool_fini(struct sim_pool *p);
/* Would a request find a connection? */
bool sim_pool_has(const struct sim_pool *p, uint64_t now_ns);
/* Take one for a request. False: there is none, one is to be made. */
bool sim_pool_take(struct sim_pool *p, uint64_t now_ns);
/* Keep the one whose request is over. Stops the program when memory is out. */
void sim_pool_give(struct sim_pool *p, uint64_t now_ns);
#endif

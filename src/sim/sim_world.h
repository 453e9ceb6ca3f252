#ifndef SIM_SIM_WORLD_H
#define SIM_SIM_WORLD_H
/* sim_world - a network of nodes, gateways and clients in virtual time, around the unchanged core.
 *
 * Engines are src/engine, as in `emulate`; each gateway has a core of its own and knows only what
 * reports and its own requests tell it. Same options, trace and places: the same run, bit for bit.
 */
#include <stdint.h>

#include "base/err.h"
#include "core/core.h"
#include "core/predict.h"
#include "sim/rtt_data.h"
#include "sim/sim_options.h"
#include "sim/sim_stats.h"
#include "sim/trace.h"

struct sim_world;

/* The world owns nothing of trace and rtt, which outlive it; a given world's plan stands in for
 * trace, which may then be NULL. ERR_ARG: options do not fit each
 * other, ERR_NOT_FOUND: nothing is known between two regions it needs; *ret_error says it.
 * ERR_MEMORY. */
MUST_USE enum err sim_world_open(const struct sim_options *options, const struct trace *trace,
                                 const struct rtt_data *rtt, struct sim_world **ret_world,
                                 struct sim_error *ret_error);
void sim_world_close(struct sim_world *w);
/* Run on to at_ms; true: something is left to do. */
bool sim_world_run(struct sim_world *w, double until_ms);
/* Between two runs: does all hold that must hold in every world? What does not is in the stats. It
 * looks at everything: not to be done often. */
void sim_world_check(struct sim_world *w);
/* After the last run: what is still on its way gets there, and everything is checked once more. */
void sim_world_finish(struct sim_world *w);
/* All that ended so far. stats->violations: what must hold in every world did not. */
struct sim_stats *sim_world_stats(struct sim_world *w);
/* Requests a second that the fleet can take within the SLO, all models together. */
double sim_world_capacity(const struct sim_world *w);

/* What a node is. Names live as long as the world and its round trips. */
struct sim_node_told {
    struct span region_name;
    const char *gpu, *model_name;
    uint32_t region, model;
    double speed; /* hidden: times what its hardware promises */
};
void sim_world_node(const struct sim_world *w, uint32_t node, struct sim_node_told *ret_node);
/* Virtual time, from the start. */
double sim_world_now_ms(const struct sim_world *w);

/* What all gateways sent to a node and what is not there yet. */
struct sim_coming {
    double requests, prompt_tokens;
    double uncached_tokens; /* of those, what the node did not have when they were sent */
};

/* What a gateway's core tells of headroom, as core_view_headroom: of at most so many models. */
uint32_t sim_world_headroom(const struct sim_world *w, uint32_t gateway,
                            struct headroom_view ret_views[CORE_VIEW_MAX]);

/* For bounds: what is true of a node now, as predict wants it, towards a gateway. Who is down or
 * cut off will be ready in SIM_NEVER_MS. */
#define SIM_NEVER_MS 1e9f
void sim_world_truth(struct sim_world *w, uint32_t gateway, uint32_t node, uint16_t model,
                     struct predict_node *ret_node);
void sim_world_coming(const struct sim_world *w, uint32_t node, struct sim_coming *ret_coming);
/* The true lengths of a request (id as core has it), and what of its prompt the node has cached. */
void sim_world_request(struct sim_world *w, uint64_t id, uint32_t node,
                       struct predict_request *ret_request);
#endif

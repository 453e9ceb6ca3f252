#ifndef SIM_SIM_GIVEN_H
#define SIM_SIM_GIVEN_H
/* sim_given - a world that somebody wrote down instead of one that is drawn from a seed: which
 * nodes and gateways stand where, and which request comes when to which gateway. `emulate
 * --write-fleet` and loadgen's --write-plan write such files, so that what ran on real sockets can
 * be simulated; an operator may write his own. Two tables (CSV or TSV):
 *
 *   fleet: kind (gateway, vllm), name, region, seed (of a node's noise; of what a gateway draws);
 *          of nodes: model, params_b, gpu, speed (the hidden one, over what the hardware promises)
 *   plan:  at_ms, gateway, model, prompt_tokens, prompt_bytes, output_tokens, max_tokens
 *
 * Engines other than vLLM, and nodes with several models, are not simulated. */
#include "sim/sim_options.h"
#include "sim/trace.h"

#define SIM_CLASSES_MAX        16u /* kinds of hardware in a world */
#define SIM_GIVEN_REQUESTS_MAX 5000000u
#define SIM_GIVEN_NAME_BYTES   64u

struct sim_given_node {
    uint16_t region, class, model;
    double speed;
    uint64_t seed;
};

struct sim_given_request { /* what the trace's row does not have */
    uint16_t gateway, model;
    uint32_t prompt_bytes, max_tokens; /* max_tokens 0: none was given */
};

struct sim_given {
    char regions[SIM_REGIONS_MAX][SIM_GIVEN_NAME_BYTES];
    char gpus[SIM_CLASSES_MAX][SIM_GIVEN_NAME_BYTES]; /* by class */
    struct {
        char name[SIM_GIVEN_NAME_BYTES];
        double params_b;
    } models[SIM_MODELS_MAX];
    struct {
        char name[SIM_GIVEN_NAME_BYTES];
        uint16_t region;
        uint64_t seed;
    } gateways[SIM_GATEWAYS_MAX];
    uint32_t region_count, class_count, model_count, gateway_count;
    struct sim_given_node *nodes;
    size_t node_count, node_room;
    struct trace trace;                 /* when, and how long; without prefixes */
    struct sim_given_request *requests; /* beside trace.requests */
    size_t request_room, more_room;
};

/* Read both. ERR_PARSE (an odd row; times that go back; a gateway or model of the plan that the
 * fleet lacks), ERR_FULL, ERR_IO, ERR_MEMORY: *error says it with file and line. The caller closes
 * it. */
MUST_USE enum err sim_given_open(const char *fleet, const char *plan, struct data_error *error,
                                 struct sim_given *ret_given);
/* The same out of open files, which the caller closes; where their errors go it is told. */
MUST_USE enum err sim_given_read(struct data_file *fleet, struct data_file *plan,
                                 struct sim_given *ret_given);
void sim_given_close(struct sim_given *g);
/* Let a world be this one: sizes, and a duration in which every request comes. g outlives it. */
void sim_given_use(const struct sim_given *g, struct sim_options *o);
#endif

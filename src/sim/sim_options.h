#ifndef SIM_SIM_OPTIONS_H
#define SIM_SIM_OPTIONS_H
/* sim_options - what a simulated world is made of. A plain value; sim_options_init has the
 * defaults, a scenario file and the command line change them. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/event.h"
#include "sim/sim_net.h"

#define SIM_NODES_MAX       131072u
#define SIM_GATEWAYS_MAX    64u
#define SIM_FAULTS_MAX      64u
#define SIM_LOAD_STEPS_MAX  16u
#define SIM_KNOBS_MAX       8u
#define SIM_MODELS_MAX      3u
#define SIM_POLL_NODES_MAX  160u        /* more than a gateway's poller asks once a second */
#define SIM_DURATION_MS_MAX 604800000.0 /* a week */

enum sim_fault_kind {
    SIM_FAULT_NODE_DOWN,        /* connections are refused, what runs there is cut */
    SIM_FAULT_NODE_SLOW,        /* every step takes `factor` times as long */
    SIM_FAULT_NODE_MUTE,        /* it serves, but tells nothing */
    SIM_FAULT_NODE_TELLS_LESS,  /* `factor` of its load, and of what it answered */
    SIM_FAULT_NODE_TELLS_FAST,  /* `factor` of its speed */
    SIM_FAULT_NODE_TELLS_SLOTS, /* `factor` of its slots; an engine that is full says 429 */
    SIM_FAULT_NODE_TELLS_READY, /* its model is being loaded, and it says it is ready */
    SIM_FAULT_REGION_DOWN,
    SIM_FAULT_PARTITION,    /* nothing passes between two regions */
    SIM_FAULT_REPORTS_LOST, /* `factor` of all reports to this gateway */
    SIM_FAULT_KIND_COUNT
};

struct sim_fault {
    uint32_t kind; /* enum sim_fault_kind */
    uint32_t a, b; /* node, region or gateway; b: the other region of a partition */
    double at_ms, for_ms;
    double factor;
};

struct sim_load_step { /* from at_ms on the load is `load` */
    double at_ms, load;
};

struct sim_given;

struct sim_options {
    /* A world that was written down (sim_given_use): then nodes, speeds, places and requests are
     * its own, and not drawn by what stands below. NULL: there is none. */
    const struct sim_given *given;
    uint64_t seed;
    const char *rule;            /* core's, or one of sim/rule */
    double knobs[SIM_KNOBS_MAX]; /* of the rule; NAN: its default */
    uint32_t nodes, gateways, regions;
    uint32_t gateway_regions;      /* they stand in the first so many; 0: in all, in turn */
    uint32_t models;               /* 1: 8B on mixed hardware; 3: 8B, 32B and 70B */
    double duration_ms, warmup_ms; /* what arrives in the warm-up is not counted */
    double load;                   /* arrivals over what the fleet can take within the SLO */
    bool shared; /* nodes have a second model, where their hardware runs it: half of the KV room
                    each, and turns on the GPU */
    double others_load; /* of all models but the first, at all times; 0: as the first */
    struct sim_load_step load_steps[SIM_LOAD_STEPS_MAX];
    uint32_t load_step_count;
    double day_ms, day_amplitude; /* each region's load swings by its longitude; 0: even */
    double output_factor;         /* on output lengths of the trace */
    double prompt_tokens_max;     /* longer ones are cut */
    double bytes_per_token;
    /* news */
    double heartbeat_ms;
    bool piggyback; /* a report on every first token and every end */
    bool agents;    /* reports carry queued prefill tokens, as a node agent's do */
    double report_loss;
    double rtt_every_ms; /* a measured round trip to each node */
    /* No node tells anything by itself: a gateway asks it, as it asks engines without an agent. The
     * five above do not count then. */
    bool polls;
    double poll_every_ms;
    /* the engines */
    double hidden_speed; /* each node's is 1 +- this, evenly */
    double step_noise;
    double pause_every_ms, pause_ms; /* means of an engine's pauses; every 0: none */
    double prior_scale;              /* gateways' curves are the truth times this */
    double host_cache;               /* prefix cache in host memory, in times of the KV capacity */
    bool exact_tokens;               /* engines run token by token */
    /* the network */
    double jitter, jitter_ms, loss, bytes_per_ms;
    /* requests */
    double deadline_share;                     /* of requests that state a TTFT goal */
    double deadline_ms, deadline_per_token_ms; /* the goal */
    double priority_high, priority_low;        /* shares of the classes */
    double slo_first_ms, slo_first_per_token_ms, slo_step_ms; /* of the report */
    double first_limit_ms;
    bool configured_slo; /* gateways have slo.ttft_p90 configured */
    bool floor;          /* also what prediction from the true state would have said */
    struct event_tuning tuning;
    struct sim_fault faults[SIM_FAULTS_MAX];
    uint32_t fault_count;
};

struct sim_error {
    char message[256];
};

void sim_options_init(struct sim_options *o);
/* Is every figure in its range, and does every fault hit something that is there? ERR_ARG:
 * *ret_error says which is not, by its name in a scenario. */
MUST_USE enum err sim_options_check(const struct sim_options *o, struct sim_error *ret_error);
/* The same for one fault. */
MUST_USE enum err sim_options_check_fault(const struct sim_options *o, const struct sim_fault *f,
                                          struct sim_error *ret_error);
#endif

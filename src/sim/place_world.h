#ifndef SIM_PLACE_WORLD_H
#define SIM_PLACE_WORLD_H
/* place_world - the simulator's world for placement: thousands of models, nodes with room for a few
 * of them, and demand that moves.
 *
 * It stands beside sim_world because it asks another question. There an engine runs iteration by
 * iteration and has one model; here a node has many, and what matters is where weights are: in
 * memory, asleep in the host's, on disk, or nowhere near. So a node's time is coarse: prompts are
 * computed one after the other, tokens come at the pace of a step that all models in use share, and
 * nothing is preempted. What decides is the unchanged core, one for each gateway (policy plan: with
 * core/plan; policy static: without), or what others do (lru, serverlessllm), who see the true
 * state at once.
 *
 * All requests are drawn before the run, so each policy meets the same ones, and a bound may know
 * the future. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sim/rtt_data.h"
#include "sim/trace.h"

#define PLACE_MODELS_MAX   4096u
#define PLACE_NODES_MAX    4096u
#define PLACE_REGIONS_MAX  64u
#define PLACE_GATEWAYS_MAX 8u       /* in a region */
#define PLACE_HELD_MAX     24u      /* models in a node's memory, of any size */
#define PLACE_REQUESTS_MAX 8000000u /* of a run */

enum place_policy {
    PLACE_PLAN,          /* core decides, core/plan loads */
    PLACE_STATIC,        /* core decides; models stay where the average demand, known before, wants
                            them */
    PLACE_ON_DEMAND,     /* core decides; nodes load what they are asked for */
    PLACE_LRU,           /* each region loads what it misses, the oldest goes */
    PLACE_SERVERLESSLLM, /* start where startup is fastest (OSDI'24), without live migration */
    PLACE_POLICIES
};

struct place_options {
    uint64_t seed;
    enum place_policy policy;
    uint32_t models, nodes, regions;
    uint32_t gateways;        /* in each region: they share its requests, and its nodes */
    uint32_t held;            /* models that fit in a node's memory */
    uint32_t slots;           /* requests that a node runs at once, for each model that fits */
    bool has_own_slots;       /* of those each copy has so many for itself; else all share them */
    uint32_t slots_odd;       /* instead, at every second node; 0: the same */
    const char *gpu;          /* of speed_table: what all nodes are, and ... */
    double hidden_speed;      /* ... how far from 1 factors on its speed go, that nobody tells */
    bool is_dealt;            /* at first memory is full, of other models from node to node, and
                                 nodes have all others on their disk; else as the policy has it */
    uint32_t asleep, on_disk; /* models beside those, in the host's memory and on its disk */
    double duration_ms, warmup_ms;
    double rate_s;                        /* requests a second, bursts not counted */
    uint32_t unasked;                     /* models that nobody asks for */
    double prompt_median, prompt_sigma;   /* tokens, log-normal; 0: lengths of the trace */
    uint32_t output_tokens;               /* of each answer then */
    double zipf;                          /* exponent of popularity */
    double taste;                         /* deviation of ln(a region's liking for a model) */
    double drift_every_ms;                /* two models change their popularity */
    double burst_every_ms;                /* a model's demand is... */
    double burst_factor;                  /* so many times what it was */
    double burst_ms;                      /* for so long */
    bool has_even_bursts;                 /* all models alike; else each power of two of ranks */
    double ramp_ms;                       /* after which it is that; 0: at once */
    double heartbeat_ms, demand_every_ms; /* what nodes and gateways tell */
    double news_ms;                       /* until a model's state is known, beside the way */
    double dies_ms; /* one gateway of each region answers no more from then on; 0: none does */
    double weights_mib, fetch_mib_s, disk_mib_s, host_mib_s, start_ms, wake_ms;
    double slo_first_ms, slo_first_per_token_ms;
    bool
        has_sizes; /* models are of 3 to 140 GiB, and as much slower; else all are of weights_mib */
    /* Loads of this share of nodes take so many times what they, and all that is known of their
     * hardware, tell. */
    double slow_share, slow_loads;
    uint32_t without; /* set of enum without: parts of core that are left out */
};

/* The world of E6. */
void place_options_init(struct place_options *o);

struct place_stats { /* of requests that came after the warm-up, and loads begun after it */
    uint64_t requests, answered, refused, failed;
    uint64_t slow; /* the first token missed the goal, or never came */
    uint64_t
        slow_unwarmed; /* of them, those that a warm copy with room would have answered in time */
    uint64_t waited;   /* for weights */
    uint64_t away;     /* answered from another region */
    uint64_t loads, loads_asked; /* asked: by directive; the rest by requests */
    uint64_t loads_again;        /* of them, those for which the region had asked not long before */
    uint64_t loads_belady;       /* that regions which answer their own need, the future known; 0:
                                    models have sizes */
    struct {                     /* place_bound: ours, and the least there could be */
        double cost_ms, least_ms;
        uint64_t loads; /* of the least */
    } pool;
    uint64_t directives, bursts;
    double first_mean_ms, first_p50_ms, first_p95_ms, first_p99_ms;
    double busy_share; /* of slots, on average */
    uint64_t digest;
    uint64_t violations;
    char violation[256];
};

/* One run. Names, lengths and round trips are read only. ERR_ARG: an option is out of range;
 * ERR_NOT_FOUND: not so many regions with known round trips; ERR_MEMORY. */
MUST_USE enum err place_run(const struct place_options *o, const struct trace *trace,
                            const struct rtt_data *rtt, struct place_stats *ret_stats);
#endif

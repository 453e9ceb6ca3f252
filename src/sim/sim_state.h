#ifndef SIM_SIM_STATE_H
#define SIM_SIM_STATE_H
/* sim_state - everything in a simulated world; private to sim_world, sim_fleet, sim_load,
 * sim_gateway, sim_node and sim_fault, which each own a part and share the queue.
 *
 * Time is nanoseconds from the start; engines count milliseconds of the same clock. Everything
 * random comes from the world's own generators, so a seed is a run. */
#include "base/rng.h"
#include "core/core.h"
#include "engine/engine.h"
#include "sim/sim_given.h"
#include "sim/sim_net.h"
#include "sim/sim_options.h"
#include "sim/sim_pool.h"
#include "sim/sim_queue.h"
#include "sim/sim_rule.h"
#include "sim/sim_stats.h"
#include "sim/sim_world.h"
#include "sim/trace.h"

#define SIM_NONE             UINT32_MAX
#define SIM_IDLE_LIMIT_MS    60000.0 /* as gateways have them */
#define SIM_CONNECT_LIMIT_MS 2000.0
#define SIM_SLOTS            256u       /* vLLM's, which it does not tell */
#define SIM_REQUESTS_MAX     (1u << 20) /* in flight */

enum sim_kind {
    SIM_CLIENT,      /* a: stream of clients: its next request */
    SIM_ARRIVE,      /* a: request slot, b: serial: at its gateway */
    SIM_SUBMIT,      /* a: attempt, b: serial: at the node */
    SIM_WAKE,        /* a: node, b: version: its engine has something to do */
    SIM_FIRST,       /* a: attempt, b: serial: first token at the gateway */
    SIM_DONE,        /* likewise the end */
    SIM_BROKEN,      /* likewise: a failure, as the attempt says */
    SIM_LATE,        /* likewise: hedge_after_ms are over */
    SIM_CANCEL,      /* a: cancellation: it gets to its node */
    SIM_BEAT,        /* a: node: tells every gateway */
    SIM_NEWS,        /* a: report, b: gateway */
    SIM_POLL,        /* a: gateway, b: node: it asks */
    SIM_POLL_ASKED,  /* likewise: the question gets there */
    SIM_POLL_TOLD,   /* likewise: the answer is back */
    SIM_TICK,        /* a: gateway */
    SIM_RTT,         /* a: gateway, b: node */
    SIM_FAULT_BEGIN, /* a: fault */
    SIM_FAULT_END
};

struct sim_report { /* what a node says, on its way */
    uint32_t node, next_free;
    uint32_t riders; /* who will still hear it */
    float running, waiting, queue_tokens, kv_tokens_used, kv_tokens_cap;
    float age_ms;                             /* as it arrives; NAN: nobody measured */
    float slots, prefill_tok_s, decode_tok_s; /* NAN: it does not say */
    uint64_t accepted_total;
};

struct sim_attempt {
    uint32_t node; /* SIM_NONE: not in use, or over */
    uint32_t news; /* report that rides on what comes next; SIM_NONE */
    uint32_t failure;
    uint32_t node_next, node_prev; /* of its node: attempts that the node knows */
    bool at_node, fresh, is_hedge;
    uint32_t cached_tokens;
    bool coming;          /* sent, and not there yet */
    double coming_tokens; /* of those, what it has not cached */
    uint32_t nth;         /* of its gateway at this node */
    float predicted_first_ms, floor_first_ms, hit_tokens;
    uint64_t dispatched_ns, first_ns; /* first_ns: 0, or when the first token gets to the gateway */
};

struct sim_request {
    uint32_t serial; /* 0: free */
    uint32_t next_free;
    uint32_t row;           /* of the trace */
    uint32_t stream, round; /* of clients */
    uint16_t region, gateway, model, priority;
    uint32_t prompt_tokens, output_tokens;
    float deadline_ms;
    uint32_t prompt_bytes, max_tokens;
    uint64_t sent_ns, arrived_ns, first_ns, held_ns;
    uint32_t answering; /* attempt that started; SIM_NONE */
    uint32_t tries;
    bool counted, hedged;
    struct sim_attempt attempts[ATTEMPTS_MAX];
};

struct sim_cancel { /* on its way */
    uint64_t id;    /* of the engine's */
    uint32_t node, next_free;
};

struct sim_node {
    struct engine *engine;
    uint16_t region, class, model;
    uint16_t also; /* a second model; MODEL_NONE */
    uint64_t seed;
    double speed; /* hidden */
    double slow;
    uint32_t down, mute; /* by so many faults */
    struct {             /* what it says, over what is so */
        double load, speed;
        uint32_t ready; /* by so many faults, and is not */
    } tells;
    uint32_t slots_kept;     /* it says 429 above; 0: its engine queues what comes */
    uint64_t accepted_total; /* tokens of what it answered */
    uint32_t restarts;
    struct engine_truth before; /* sums of engines before the restarts */
    uint64_t wake_ns;           /* UINT64_MAX: asleep */
    uint32_t wake_version, epoch;
    uint32_t first_attempt;
    struct sim_coming coming;
};

struct sim_poll { /* of a gateway's questions to a node */
    uint64_t sent_ns;
    uint32_t report; /* that comes back; SIM_NONE */
    uint16_t loads;  /* read since the last look at the models */
    uint16_t failures;
    bool fresh, wants_models, is_lost;
};

struct sim_wait { /* of a gateway: attempts in the order of their limit */
    uint32_t attempt, serial;
    uint64_t until_ns;
};

struct sim_gateway {
    struct core *core;
    void *memory, *rule_state;
    uint16_t region;
    double report_loss;
    uint64_t events;
    struct sim_pool *pools; /* [nodes] */
    uint32_t *dispatches;   /* [nodes]: how many so far */
    struct sim_poll *polls; /* [nodes]; NULL: nobody is asked */
    double round_ms;        /* when its first round of questions is */
    struct sim_wait *waits; /* a ring */
    size_t wait_first, wait_count, wait_room;
};

struct sim_stream { /* clients of one region that ask for one model: the trace from some place on */
    uint16_t region, gateway, model;
    uint32_t row, round;
    double left_ms; /* of the trace, until the next request; 0: now */
    double speed;   /* trace milliseconds a millisecond */
    struct rng rng;
};

struct sim_days { /* where the sun stands */
    uint64_t until_ns;
    double streams[SIM_MODELS_MAX][SIM_REGIONS_MAX]; /* how many there are */
    double pace[SIM_MODELS_MAX][SIM_REGIONS_MAX];    /* of one of them, times its usual one */
};

struct sim_class {
    const char *gpu;
    struct engine_speed speed[SIM_MODELS_MAX];
    bool runs[SIM_MODELS_MAX];
};

struct sim_world {
    struct sim_options options;
    const struct trace *trace;
    const struct rtt_data *rtt;
    uint64_t now_ns, end_ns;
    struct rng rng, net_rng;
    struct sim_queue queue;
    struct sim_net net;
    uint32_t region_place[SIM_REGIONS_MAX]; /* in rtt */
    struct sim_class classes[SIM_CLASSES_MAX];
    uint32_t class_count;
    struct sim_node *nodes;
    struct sim_gateway *gateways;
    struct sim_stream *streams;
    uint32_t stream_count;
    struct sim_days days;
    double prompt_mean, output_mean; /* tokens, as the options change them */
    double capacity[SIM_MODELS_MAX]; /* requests a second, of the fleet */
    double load;                     /* now */
    struct sim_request *requests;
    uint32_t request_count, request_room, request_free;
    uint32_t in_flight;
    uint32_t serial;
    struct sim_report *reports;
    uint32_t report_count, report_room, report_free;
    struct sim_cancel *cancels;
    uint32_t cancel_count, cancel_room, cancel_free, cancels_coming;
    uint64_t *blocks; /* room for one prompt's */
    uint32_t block_room;
    struct event event;
    struct actions actions;
    struct sim_stats stats;
};

static inline double
sim_now_ms(const struct sim_world *w)
{
    return (double)w->now_ns * 1e-6;
}

/* In ms from now, not in the past. */
static inline void
sim_put(struct sim_world *w, double in_ms, enum sim_kind kind, uint32_t a, uint32_t b)
{
    sim_queue_put(&w->queue, w->now_ns + (uint64_t)(in_ms > 0.0 ? in_ms * 1e6 : 0.0), kind, a, b);
}

static inline struct sim_request *
sim_request_of(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];

    return r->serial == serial ? r : NULL;
}

/* What the node's engine calls the model. */
static inline uint32_t
sim_engine_model(const struct sim_node *n, uint32_t model)
{
    return model == n->also ? 1 : 0;
}

/* ---- Who does what. */
MUST_USE enum err sim_fleet_open(struct sim_world *w);
void sim_fleet_close(struct sim_world *w);
/* A new engine at the node, as fast as its options say. */
void sim_fleet_engine(struct sim_world *w, uint32_t node);
const char *sim_fleet_model_name(const struct sim_world *w, uint32_t model);
MUST_USE enum err sim_load_open(struct sim_world *w);
void sim_load_close(struct sim_world *w);
/* The next request of a stream; of a given plan, the request `stream`. */
void sim_load_next(struct sim_world *w, uint32_t stream);
/* Between the client and the gateway of the request, one way, this time. */
double sim_load_hop_ms(struct sim_world *w, const struct sim_request *r);
void sim_load_forget(struct sim_world *w, uint32_t slot); /* the request is over */
/* The chain of the request's prompt blocks into w->blocks; how many. */
uint32_t sim_load_blocks(struct sim_world *w, const struct sim_request *r);
void sim_load_prefix(struct sim_world *w, const struct sim_request *r, struct prefix_chain *ret);

MUST_USE enum err sim_gateway_open(struct sim_world *w, uint32_t gateway);
void sim_gateway_close(struct sim_gateway *g, uint32_t nodes);
void sim_gateway_tick(struct sim_world *w, uint32_t gateway);
void sim_gateway_arrive(struct sim_world *w, uint32_t slot, uint32_t serial);
void sim_gateway_first(struct sim_world *w, uint32_t attempt, uint32_t serial);
void sim_gateway_done(struct sim_world *w, uint32_t attempt, uint32_t serial);
void sim_gateway_broken(struct sim_world *w, uint32_t attempt, uint32_t serial);
void sim_gateway_late(struct sim_world *w, uint32_t attempt, uint32_t serial);
void sim_gateway_news(struct sim_world *w, uint32_t gateway, const struct sim_report *report);
void sim_gateway_rtt(struct sim_world *w, uint32_t gateway, uint32_t node);
/* Round trips that a request of this gateway would cost at the node now. */
float sim_gateway_rounds(const struct sim_world *w, uint32_t gateway, uint32_t node);
/* w->event into its core, and what follows. */
void sim_gateway_tell(struct sim_world *w, struct sim_gateway *g);

MUST_USE enum err sim_poll_open(struct sim_world *w, uint32_t gateway);
void sim_poll_ask(struct sim_world *w, uint32_t gateway, uint32_t node);
void sim_poll_asked(struct sim_world *w, uint32_t gateway, uint32_t node);
void sim_poll_told(struct sim_world *w, uint32_t gateway, uint32_t node);

/* The attempt is on its way to its node; it is there, or never will be. */
void sim_node_expect(struct sim_world *w, uint32_t attempt);
void sim_node_arrived(struct sim_world *w, uint32_t attempt);
void sim_node_submit(struct sim_world *w, uint32_t attempt, uint32_t serial);
/* The gateway gave it up: tell the node, from this region. */
void sim_node_cancel(struct sim_world *w, uint32_t attempt, uint32_t from_region);
void sim_node_cancelled(struct sim_world *w, uint32_t cancel);
/* The attempt is over for its gateway. */
void sim_node_forget(struct sim_world *w, uint32_t attempt);
void sim_node_wake(struct sim_world *w, uint32_t node, uint32_t version);
void sim_node_beat(struct sim_world *w, uint32_t node);
void sim_node_crash(struct sim_world *w, uint32_t node);
/* Every step takes so many times as long from now on. */
void sim_node_slow(struct sim_world *w, uint32_t node, double factor);
/* What the node would say now, to so many who will hear it: a report. */
uint32_t sim_node_report(struct sim_world *w, uint32_t node, uint32_t riders);
/* What its engine says, and in sums those before it too. */
void sim_node_truth(const struct sim_world *w, uint32_t node, struct engine_truth *ret_truth);
void sim_node_close(struct sim_world *w);
/* Let go of the report. */
void sim_report_free(struct sim_world *w, uint32_t report);

void sim_fault_begin(struct sim_world *w, uint32_t fault);
void sim_fault_end(struct sim_world *w, uint32_t fault);
#endif

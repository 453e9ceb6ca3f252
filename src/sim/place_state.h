#ifndef SIM_PLACE_STATE_H
#define SIM_PLACE_STATE_H
/* place_state - all of a place_world; private to the files place_*. */
#include "base/rng.h"
#include "base/speed_table.h"
#include "core/core.h"
#include "sim/place_world.h"
#include "sim/sim_queue.h"

#define PLACE_NONE      UINT32_MAX
#define PLACE_TIERS_MAX 32u /* models asleep and on disk */
#define PLACE_LOADS_MAX 8u  /* that wait at a node */

enum place_kind {
    PLACE_ARRIVE,  /* a: request */
    PLACE_AT_NODE, /* a: request, b: try */
    PLACE_FIRST,   /* a: request, b: try: first token at the gateway */
    PLACE_END,     /* likewise the end */
    PLACE_STARTED, /* a: request: its prompt is computed, at the node */
    PLACE_FREED,   /* a: request: its slot is free again, likewise */
    PLACE_LOADED,  /* a: node */
    PLACE_LEAVES,  /* a: node: what was asked to go may have gone */
    PLACE_NEWS,    /* a: news, b: gateway: a model's state */
    PLACE_BEAT,    /* a: node, b: gateway: its load */
    PLACE_TICK,    /* a: gateway */
    PLACE_DEMAND,  /* a: gateway tells the others */
    PLACE_ASKED,   /* a: directive, at its node */
    PLACE_DEATH,   /* of a gateway in each region */
    PLACE_MOURNED  /* the others know it */
};

struct place_request {
    uint64_t at_ns; /* at its gateway */
    uint16_t model, region, gateway;
    uint16_t prompt_tokens, output_tokens;
    bool in_burst;
    /* what became of it */
    uint8_t tries;
    bool is_over, waited;
    uint32_t node; /* of the try under way */
    uint32_t next; /* in a list of those that wait */
    uint64_t first_ns;
};

enum place_copy_state { COPY_WAITING, COPY_LOADING, COPY_READY, COPY_LEAVING };

struct place_copy {
    uint16_t model;
    uint8_t state;        /* enum place_copy_state */
    uint32_t running;     /* requests at the node: those that wait for it too */
    uint32_t at_once;     /* of them, those that have a slot */
    uint32_t first, last; /* that wait until it is ready, or for one of its own slots */
    uint64_t used_ns;     /* when a request came last */
    uint64_t asked_ns;    /* when it began to wait */
    uint64_t leave_ns;    /* not before */
    uint64_t ready_ns;    /* as expected */
};

struct place_node {
    uint16_t region;
    uint32_t steered_by; /* a gateway of its region */
    struct place_copy copies[PLACE_HELD_MAX + PLACE_LOADS_MAX];
    uint32_t copy_count; /* of all states; those that wait have no memory yet */
    double slow;         /* its loads take so many times what is told of them */
    double speed;        /* and its requests the told time over this */
    uint32_t slots;      /* as options.slots */
    uint16_t asleep[PLACE_TIERS_MAX], on_disk[PLACE_TIERS_MAX]; /* newest first */
    uint32_t asleep_count, disk_count;
    uint32_t loading;     /* model that is being loaded; PLACE_NONE */
    uint32_t running;     /* requests that run */
    double prompt_tokens; /* of theirs and of those that wait for a slot: not computed yet */
    uint32_t first, last; /* requests that wait for a slot */
    double active;        /* models of theirs and of those that wait, in usual ones */
    uint64_t gpu_free_ns; /* when prompts that are to be computed are */
};

struct place_news {
    uint32_t node;
    uint16_t model, state;
    float ready_in_ms;
    uint64_t told_ns;
    uint32_t readers, next_free;
};

struct place_gateway {
    struct core *core;
    void *memory;
    uint32_t region;
    struct demand_rates *told; /* [models]: what it told last of its own count */
    uint64_t silent_ns;        /* it does nothing any more since then; 0: it lives */
};

struct place_asked { /* a directive on its way */
    struct action_plan action;
    bool load;
};

struct place_world {
    struct place_options options;
    const struct trace *trace;
    struct place_stats stats;
    struct rng rng;
    struct sim_queue queue;
    uint64_t now_ns, end_ns, warm_ns;
    double rtt_ms[PLACE_REGIONS_MAX][PLACE_REGIONS_MAX];
    struct speed_row speed;
    struct place_request *requests;
    uint32_t request_count, at;
    float *counts;       /* [model * regions + region]: requests of the run */
    double *weights_mib; /* by model */
    struct place_node *nodes;
    struct place_gateway *gateways; /* NULL: the policy has none */
    uint32_t gateway_count;
    struct place_news *news;
    uint32_t news_count, news_room, news_free;
    struct place_asked *asked;
    uint32_t asked_count, asked_room;
    uint64_t *unloaded_ns; /* [node * models + model]: when a directive said so last */
    uint64_t *loaded_ns;   /* [region * models + model]: likewise, of a load */
    struct event event;
    struct actions actions;
    double *first_ms; /* of answers that count */
    size_t first_count;
    double running_ms;  /* sums for busy_share */
    bool *held_at_warm; /* [model * regions + region]: in memory when the warm-up ends */
    double loads_mib;   /* of the loads that count */
};

static inline uint64_t
place_ns(double ms)
{
    return ms > 0.0 ? (uint64_t)(ms * 1e6) : 0;
}

static inline void
place_put(struct place_world *w, double in_ms, enum place_kind kind, uint32_t a, uint32_t b)
{
    sim_queue_put(&w->queue, w->now_ns + place_ns(in_ms), kind, a, b);
}

static inline double
place_one_way_ms(const struct place_world *w, uint32_t from, uint32_t to)
{
    return 0.5 * w->rtt_ms[from][to];
}

/* How much slower than the usual model it is: all of its weights are read for each token. */
static inline double
place_scale(const struct place_world *w, uint32_t model)
{
    return w->weights_mib[model] / w->options.weights_mib;
}

/* What a node of its own computes for the first token of a prompt. */
static inline double
place_prefill_ms(const struct place_world *w, uint32_t model, double prompt)
{
    const struct speed_row *s = &w->speed;

    return place_scale(w, model) * (s->a_ms + s->b_ms * prompt + 0.5 * s->c_ms * prompt * prompt);
}

void place_failed(struct place_world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* place_load: the requests of the run. */
MUST_USE enum err place_load_open(struct place_world *w);

/* place_bound: what knowing them is good for. */
void place_bound_begin(struct place_world *w); /* when the warm-up ends */
void place_bound_belady(struct place_world *w);
void place_bound_pool(struct place_world *w);

/* place_node. */
void place_node_init(struct place_world *w);
/* The state of the model there; NULL: it is not in memory, nor will be. */
struct place_copy *place_node_copy(struct place_world *w, uint32_t node, uint32_t model);
/* Is there memory for it, beside all that is there or comes? */
bool place_node_has_room(const struct place_world *w, uint32_t node, uint32_t model);
double place_node_load_ms(const struct place_world *w, uint32_t node, uint32_t model);
/* It is in memory from the start: only before the first event. */
void place_node_hold(struct place_world *w, uint32_t node, uint32_t model);
/* Likewise on its disk. */
void place_node_store(struct place_world *w, uint32_t node, uint32_t model);
void place_node_submit(struct place_world *w, uint32_t request);
void place_node_started(struct place_world *w, uint32_t request);
void place_node_freed(struct place_world *w, uint32_t request);
/* Load it as soon as may be. False: there is no room for more that wait. */
bool place_node_load(struct place_world *w, uint32_t node, uint32_t model, bool asked);
void place_node_unload(struct place_world *w, uint32_t node, uint32_t model);
void place_node_loaded(struct place_world *w, uint32_t node);
void place_node_go_on(struct place_world *w, uint32_t node);

/* place_gateway: a core for each gateway. */
MUST_USE enum err place_gateway_open(struct place_world *w);
void place_gateway_close(struct place_world *w);
void place_gateway_arrive(struct place_world *w, uint32_t request);
void place_gateway_first(struct place_world *w, uint32_t request, uint32_t tried);
void place_gateway_end(struct place_world *w, uint32_t request, uint32_t tried);
/* Its node does not take it. */
void place_gateway_failed(struct place_world *w, uint32_t request);
void place_gateway_tick(struct place_world *w, uint32_t gateway);
void place_gateway_news(struct place_world *w, uint32_t news, uint32_t gateway);
void place_gateway_beat(struct place_world *w, uint32_t node, uint32_t gateway);
void place_gateway_demand(struct place_world *w, uint32_t gateway);
void place_gateway_asked(struct place_world *w, uint32_t asked);
void place_gateway_death(struct place_world *w);
void place_gateway_mourned(struct place_world *w);
/* A model on a node changed: tell all. */
void place_gateway_told(struct place_world *w, uint32_t node, uint32_t model);
/* The request goes to this node. */
void place_send(struct place_world *w, uint32_t request, uint32_t node);

/* place_rule: where models are at first, and what others do. */
void place_rule_begin(struct place_world *w);
void place_rule_arrive(struct place_world *w, uint32_t request);
#endif

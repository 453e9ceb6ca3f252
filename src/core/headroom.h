#ifndef CORE_HEADROOM_H
#define CORE_HEADROOM_H
/* headroom - what a model's nodes in a region can take on top of what runs there, so that the goals
 * still hold: p90 of the first token, p90 of the time between two tokens.
 *
 * A node, its engine an endless cycle in which each model takes its turn: a step (t0) that all
 * requests share, and the work w that each request brings: its prefill, and what its tokens add to
 * every step. With lambda requests a millisecond the cycle lasts C = T0 / (1 - sum of lambda*w),
 * and lambda*L*C of them run. So each limit is a bound on lambda that can be written down:
 *
 *   prefill  the queue of prompts grows without end: lambda * (w + T0 * prompt/budget) = 1
 *   decode   the cycle is as long as two tokens may lie apart
 *   kv       what runs fills the KV room
 *   slots    or the engine's slots
 *
 * Others on the node (other models, and other gateways' requests) take their part of the cycle
 * before, and add their steps to T0, as often as they have something running at the limit. That is
 * why headroom is not additive over models that share nodes: what one takes, the others lose.
 * Speeds are not those of decisions, which have others' work in them already (headroom_pace.h).
 * Others' requests are what reports count beyond ours: B of them run, so B / (C * output) come.
 *
 * These are means, and the goals are about the slowest tenth. By how much they break before the
 * mean does depends on how many requests even chance out: 1 - tail/sqrt(n), with n the requests
 * that run in the region at the limit (fewer count where work comes in large pieces, as one long
 * prefill holds all of them up, and others' work counts as it does), or, of prefill, the prompts
 * that can be computed within what the goal leaves for waiting. The tails were found in the
 * simulator (doc/decisions/capacity.md); what is still wrong then, the hourly checks learn as a
 * factor (headroom_check.h).
 *
 * Ticks visit the nodes, as everywhere: sums of a round become what is told, once a second. */
#include "core/state.h"

struct headroom_node {          /* a node as one of its models sees it */
    struct curve curve;         /* at its pace */
    float kv_tokens_cap, slots; /* 0 unknown */
    float rtt_ms;
    float other_work;     /* the part of all time that others' requests take, 0..1 */
    float other_lumps_ms; /* the squares of the work of each, ms, as often as they come */
    float other_t0_ms;    /* their steps, as often as they run */
};

struct headroom_rates {             /* by limit */
    float most_ms[HEADROOM_LIMITS]; /* requests/ms */
    float pooled[HEADROOM_LIMITS];  /* n, see above */
};

/* Each finite and >= 0. Pure. */
void headroom_rates(const struct headroom_node *node, const struct model_mix *mix,
                    const struct headroom_goals *goals, struct headroom_rates *ret_rates);
/* What chance leaves of a limit. */
float headroom_tail(uint32_t limit, float pooled);
/* The goals as configured, or else the default: 1 s and 1 ms a prompt token; 60 ms. */
void headroom_goals(const struct core *core, struct headroom_goals *ret_goals);
/* Of a usual request; a guess until there was one. */
struct model_mix headroom_mix(const struct core *core, uint32_t model);

/* An attempt goes to this placement; a request ended well. */
void headroom_sent(struct core *core, uint32_t placement);
void headroom_ended(struct core *core, const struct request *r, const struct attempt *a,
                    const struct event_ended *e);
/* A tick visits the node; all were visited. False: there is more to tell than a tick should. */
void headroom_sweep(struct core *core, uint32_t node);
bool headroom_swept(struct core *core);

static inline struct headroom *
headroom_of(const struct core *core, uint32_t model, uint32_t region)
{
    return &core->headrooms[(size_t)model * core->config.regions_max + region];
}
#endif

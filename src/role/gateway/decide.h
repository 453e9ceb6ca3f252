#ifndef ROLE_GATEWAY_DECIDE_H
#define ROLE_GATEWAY_DECIDE_H
/* decide - the door to the core: the only file of the gateway that enters it.
 *
 * lock, read the clock inside, step, copy (now, event, actions) into the recorder's ring, unlock;
 * then the caller acts. The clock is read under the lock, so times in a record never run backwards.
 * The lock also guards which fleet is current: a fleet is swapped in before the core hears of what
 * is new in it, so whoever was told of a node or a model by the core finds it in decide_fleet().
 *
 * Everything here may be called from any thread. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/core.h"

struct door;
struct fleet;
struct recorder;

#define DECIDE_HOLD_BUCKETS 24u /* bucket i: holds below 2^(i+5) ns; the last has no bound */

struct decide_hold { /* how long the lock was held by steps, in a histogram of powers of two */
    uint64_t count, sum_ns;
    uint64_t buckets[DECIDE_HOLD_BUCKETS]; /* not cumulative */
};

/* A core with this configuration behind a lock. recorder: NULL, or one that gets every step; it
 * must outlive the door. measure: keep the histogram of holds (a second clock read a step).
 * ERR_ARG: the core refuses the configuration. */
MUST_USE enum err decide_open(const struct core_config *config, struct recorder *recorder,
                              bool measure, struct door **ret_door);
/* Drops its reference to the current fleet. NULL: does nothing. */
void decide_close(struct door *door);

/* One event into the core; *ret_actions as core_step has it. Returns the time of the step. */
uint64_t decide_step(struct door *door, const struct event *event, struct actions *ret_actions);

/* core_expect, without the lock. */
void decide_expect(const struct door *door, uint32_t node);

/* Reading: core_explain and core_view_* under the lock, at most CORE_VIEW_MAX entries a hold. */
void decide_explain(struct door *door, const struct event *arrived, struct decision *ret_decision);
uint32_t decide_view_nodes(struct door *door, uint32_t from, struct node_view *ret_views,
                           uint32_t *ret_next);
uint32_t decide_view_placements(struct door *door, uint32_t from, struct placement_view *ret_views,
                                uint32_t *ret_next);
uint32_t decide_view_demand(struct door *door, uint32_t from, struct demand_view *ret_views,
                            uint32_t *ret_next);
uint32_t decide_view_headroom(struct door *door, uint32_t from, struct headroom_view *ret_views,
                              uint32_t *ret_next);
void decide_view_goals(struct door *door, struct headroom_goals *ret_goals);
void decide_view_model(struct door *door, uint16_t model, struct model_view *ret_view);
bool decide_suspects_itself(struct door *door); /* core_suspects_itself */
void decide_view_prefix(struct door *door, struct prefix_view *ret_view);
void decide_view_hedges(struct door *door, struct hedge_view *ret_view);
void decide_hold(struct door *door, struct decide_hold *ret_hold);
uint64_t decide_steps(struct door *door); /* since the start */

/* Make fleet current: takes the caller's reference to it and drops the one to its predecessor. */
void decide_fleet_swap(struct door *door, struct fleet *fleet);
/* The current fleet with a reference for the caller; NULL before the first swap. */
struct fleet *decide_fleet(struct door *door);
/* Changes with every swap; reading it takes no lock. */
uint64_t decide_fleet_generation(const struct door *door);
#endif

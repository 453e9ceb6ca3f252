#ifndef CORE_CAPACITY_H
#define CORE_CAPACITY_H
/* capacity - what nodes there are and what they can take: the node table, the news about their
 * load, and our own reservations on top of it. */
#include "core/state.h"

/* A class that nobody described: the middle of the road (8B on an A100, doubled). */
extern const struct curve capacity_generic_curve;

void capacity_settle_curve(struct core *core, const struct event_curve *e);
void capacity_node(struct core *core, const struct event_node *e);
void capacity_node_gone(struct core *core, const struct event_node_gone *e);
/* See core_expect. */
void capacity_expect(const struct core *core, uint32_t node);
void capacity_report(struct core *core, const struct event_report *e);
void capacity_rtt(struct core *core, const struct event_rtt *e);
/* Do reports say that nearly all requests on the nodes are ours? Then our own count is as good as
 * news, however old those are. True as long as no report says anything. */
bool capacity_alone(const struct core *core);
/* Does the node's last report count this attempt? It says so, or it is told by the times. */
bool capacity_counts(const struct core *core, uint32_t node, const struct attempt *a);
/* A bounded piece of upkeep: news ages, buckets follow. */
void capacity_sweep(struct core *core);

/* What predict wants to know of a placement's node at now_ns. */
void capacity_estimate(const struct core *core, uint64_t now_ns, uint32_t placement,
                       struct predict_node *ret_node);
/* What a rule that does not predict as we do may see of it. */
void capacity_seen(const struct core *core, uint64_t now_ns, uint32_t placement,
                   struct rule_seen *ret_seen);
/* It was asked for its load, over a connection that is kept if that went well. */
void capacity_probed(struct core *core, uint32_t node, bool well);
/* A region's round trip until a node of it was measured. */
#define CAPACITY_REGION_UNKNOWN_MS 99.5f
/* What is known of the way to a node: its own round trip, the rest from its region. */
struct predict_path capacity_path(const struct core *core, const struct node_hot *hot);
/* The kernel saw so much delivered to the node (see event_started). */
void capacity_delivered(struct core *core, uint32_t node, float bytes_per_ms, bool limited);
/* Round trips a request to this node costs: 1 over a kept connection, 2 over a new one. */
float capacity_rounds(const struct node_hot *hot);

/* Reservations of an attempt on its node (a->node): made in the step that chooses, released on
 * started (prefill) and at the end (the rest), after which the attempt is at no node. */
void capacity_reserve(struct core *core, const struct request *r, struct attempt *a);
void capacity_connection(struct core *core, const struct attempt *a, bool fresh);
void capacity_started(struct core *core, const struct request *r, struct attempt *a);
void capacity_release(struct core *core, const struct request *r, struct attempt *a);

/* What a request occupies a node for, at a full batch: its prefill alone, its share of the steps.
 */
float capacity_work_ms(const struct core *core, uint32_t model, const struct curve *curve,
                       float uncached_tokens, float hit_tokens, float output_tokens);
/* Requests a second at a full batch. */
float capacity_weight(const struct core *core, uint32_t model, const struct curve *curve);
const struct class_curve *capacity_class(const struct core *core, uint32_t model, uint32_t class);
#endif

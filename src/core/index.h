#ifndef CORE_INDEX_H
#define CORE_INDEX_H
/* index - which nodes have a model, per (model, region), in buckets of headroom: what the model's
 * usual request (its mean prompt, its mean output) would cost there now, in J's milliseconds but
 * for the way, above what it costs where it costs least: most of the cost is decode that every node
 * has, and would put free and busy ones into one bucket. So a decision looks at the best few of
 * each region without looking at the rest. Kept incrementally: whoever changes a node or a
 * placement calls index_node or index_placement. Rings through the placements; nothing is
 * allocated. */
#include "core/state.h"

/* Lower ends of the ready buckets: from the first on, each three tenths above the one before. The
 * others have none. */
extern const float index_bucket_edges[INDEX_BUCKETS];

#define INDEX_READY_MASK ((1u << (BUCKET_READY_LAST + 1)) - 1) /* of bucket_masks */

void index_insert(struct core *core, uint32_t placement);
void index_remove(struct core *core, uint32_t placement);
/* The placement's state or its node changed: put it into its right bucket. */
void index_placement(struct core *core, uint32_t placement);
/* The same for every model of the node. */
void index_node(struct core *core, uint32_t node);
/* The same, but at the beginning of the next step: no client needs to wait for that. */
void index_node_later(struct core *core, uint32_t node);
void index_settle(struct core *core);
/* It was chosen: let its equals come first next time. */
void index_rotate(struct core *core, uint32_t placement);

/* Rough milliseconds of a bucket: its lower end. */
static inline float
index_bucket_ms(uint32_t bucket)
{
    return index_bucket_edges[bucket];
}

static inline size_t
index_slot(const struct core *core, uint32_t model, uint32_t region)
{
    return (size_t)model * core->config.regions_max + region;
}
/* Walk a bucket's ring: its first placement, then the next; NONE at the end. */
static inline uint32_t
index_first(const struct core *core, size_t slot, uint32_t bucket)
{
    return core->bucket_heads[slot * INDEX_BUCKETS + bucket];
}

static inline uint32_t
index_next(const struct core *core, size_t slot, uint32_t bucket, uint32_t placement)
{
    uint32_t next = core->links[placement].next;

    return next == core->bucket_heads[slot * INDEX_BUCKETS + bucket] ? NONE : next;
}
#endif

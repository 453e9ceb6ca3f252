#ifndef CORE_RING_H
#define CORE_RING_H
/* ring - which node a hash belongs to, the same at every gateway without a word between them: the
 * ready placements of each (model, region) share RING_SLOTS slots by rendezvous hashing of their
 * nodes' identities. A node that comes or goes moves only its own slots.
 *
 * Kept when a model gets ready or stops being so. That a node is full or failing is a gateway's own
 * view and leaves the ring as it is: whoever looks something up passes over it. */
#include "core/state.h"

#define RING_SLOTS 64u

/* The placement is ready now, and in index's rings; or no more, and out of them. */
void ring_add(struct core *core, uint32_t placement);
void ring_drop(struct core *core, uint32_t placement);

/* The placement that this hash belongs to; NONE: none is ready, or there is no index. */
static inline uint32_t
ring_at(const struct core *core, uint32_t model, uint32_t region, uint32_t hash)
{
    size_t slot = (size_t)model * core->config.regions_max + region;

    return core->prefix.ring == NULL ? NONE
                                     : core->prefix.ring[slot * RING_SLOTS + hash % RING_SLOTS] - 1;
}
#endif

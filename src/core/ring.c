/* ring - slots by rendezvous: each belongs to the node with the highest draw; see ring.h.
 * A ring holds placement + 1, so that memory that is zero is an empty ring. */
#include "core/ring.h"

#include "core/index.h"

/* What this placement's node draws for a slot. Of equal draws the one that came first stays, which
 * two gateways may see differently: one in 2^32. */
static uint32_t
draw_of(const struct core *core, uint32_t placement, uint32_t slot)
{
    uint64_t x = ((uint64_t)core->cold[core->links[placement].node].identity << 32) | slot;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u; /* the finaliser of SplitMix64 */
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((x ^ (x >> 31)) >> 32);
}

static uint32_t *
ring_of(const struct core *core, uint32_t placement, size_t *ret_slot)
{
    *ret_slot = index_slot(core, core->placements[placement].model,
                           core->hot[core->links[placement].node].region);
    return &core->prefix.ring[*ret_slot * RING_SLOTS];
}

/* Give it the slots of `which` (a bit each) where it draws more than who has them. */
static void
compete(const struct core *core, uint32_t *ring, uint64_t which, uint32_t placement)
{
    for (; which != 0; which &= which - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(which);
        if (ring[slot] == 0 || draw_of(core, placement, slot) > draw_of(core, ring[slot] - 1, slot))
            ring[slot] = placement + 1;
    }
}

void
ring_add(struct core *core, uint32_t placement)
{
    size_t slot;

    if (core->prefix.ring != NULL)
        compete(core, ring_of(core, placement, &slot), UINT64_MAX, placement);
}

void
ring_drop(struct core *core, uint32_t placement)
{
    uint64_t lost = 0;
    uint32_t *ring;
    size_t slot;

    if (core->prefix.ring == NULL)
        return;
    ring = ring_of(core, placement, &slot);
    for (uint32_t i = 0; i < RING_SLOTS; i++) {
        if (ring[i] != placement + 1)
            continue;
        ring[i] = 0;
        lost |= UINT64_C(1) << i;
    }
    if (lost == 0)
        return;
    for (uint32_t mask = core->bucket_masks[slot]; mask != 0; mask &= mask - 1) {
        uint32_t bucket = (uint32_t)__builtin_ctz(mask);
        for (uint32_t p = index_first(core, slot, bucket); p != NONE;
             p = index_next(core, slot, bucket, p)) {
            if (core->placements[p].state == MODEL_READY)
                compete(core, ring, lost, p);
        }
    }
}

/* index - rings of placements by (model, region, bucket); see index.h.
 *
 * Invariants: a placement is in exactly one ring, that of its node's region and its own bucket;
 * bit b of bucket_masks is set iff ring b is not empty; bit r of a model's region_mask is set iff
 * any ring of (model, r) is not empty. A head is the ring's first, its prev the last. */
#include "core/index.h"

#include <string.h>

#include "core/capacity.h"

#define BUCKET_0_MS 8.0f /* bucket 0: below; each further one doubles */

float
index_bucket_ms(uint32_t bucket)
{
    return bucket == 0 ? 0.0f : BUCKET_0_MS * (float)(1u << (bucket - 1));
}

static uint32_t
bucket_of_ms(float ms)
{
    uint32_t bucket = 0;

    for (float edge = BUCKET_0_MS; bucket < BUCKET_READY_LAST && !(ms < edge); edge *= 2.0f)
        bucket++;
    return bucket;
}

static uint32_t
bucket_of(const struct core *core, const struct placement *p)
{
    const struct node_hot *hot = &core->hot[p->node];
    struct predict_request request = {.prompt_tokens = INDEX_REFERENCE_TOKENS,
                                      .output_tokens = 1.0f};
    struct predict_node node;
    struct terms terms;

    if (hot->state != NODE_READY)
        return BUCKET_OUT;
    switch (p->state) {
    case MODEL_READY:
        capacity_estimate(core, core->now_ns, p, &node);
        predict_terms(&node, &request, &terms);
        return bucket_of_ms(terms.first_ms - terms.net_ms);
    case MODEL_LOADING:
        return BUCKET_LOADING;
    case MODEL_ON_DISK:
    case MODEL_SLEEPING:
        return BUCKET_LOADABLE;
    default:
        return BUCKET_OUT;
    }
}

void
index_insert(struct core *core, uint32_t placement)
{
    struct placement *p = &core->placements[placement];
    size_t slot = index_slot(core, p->model, core->hot[p->node].region);
    uint32_t bucket = bucket_of(core, p);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + bucket];

    p->bucket = (uint8_t)bucket;
    if (*head == NONE) {
        p->next = p->prev = placement;
        *head = placement;
    } else { /* at the end */
        p->next = *head;
        p->prev = core->placements[*head].prev;
        core->placements[p->prev].next = placement;
        core->placements[*head].prev = placement;
    }
    core->bucket_masks[slot] |= (uint16_t)(1u << bucket);
    core->models[p->model].region_mask |= UINT64_C(1) << core->hot[p->node].region;
    if (bucket <= BUCKET_READY_LAST)
        core->models[p->model].ready_count++;
}

void
index_remove(struct core *core, uint32_t placement)
{
    struct placement *p = &core->placements[placement];
    uint32_t region = core->hot[p->node].region;
    size_t slot = index_slot(core, p->model, region);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + p->bucket];

    if (p->next == placement) {
        *head = NONE;
        core->bucket_masks[slot] &= (uint16_t) ~(1u << p->bucket);
    } else {
        core->placements[p->prev].next = p->next;
        core->placements[p->next].prev = p->prev;
        if (*head == placement)
            *head = p->next;
    }
    if (core->bucket_masks[slot] == 0)
        core->models[p->model].region_mask &= ~(UINT64_C(1) << region);
    if (p->bucket <= BUCKET_READY_LAST)
        core->models[p->model].ready_count--;
}

void
index_placement(struct core *core, uint32_t placement)
{
    if (bucket_of(core, &core->placements[placement]) == core->placements[placement].bucket)
        return;
    index_remove(core, placement);
    index_insert(core, placement);
}

void
index_node(struct core *core, uint32_t node)
{
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next)
        index_placement(core, p);
}

void
index_rotate(struct core *core, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];
    size_t slot = index_slot(core, p->model, core->hot[p->node].region);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + p->bucket];

    if (*head == placement)
        *head = p->next; /* a ring: the former head is now its end */
}

uint32_t
index_first(const struct core *core, size_t slot, uint32_t bucket)
{
    return core->bucket_heads[slot * INDEX_BUCKETS + bucket];
}

uint32_t
index_next(const struct core *core, size_t slot, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];

    return p->next == core->bucket_heads[slot * INDEX_BUCKETS + p->bucket] ? NONE : p->next;
}

/* index - rings of placements by (model, region, bucket); see index.h.
 *
 * Invariants: a placement is in exactly one ring, that of its node's region and its own bucket;
 * bit b of bucket_masks is set iff ring b is not empty; bit r of a model's region_mask is set iff
 * any ring of (model, r) is not empty. A head is the ring's first, its prev the last. */
#include "core/index.h"

#include <math.h>
#include <string.h>

#include "core/capacity.h"
#include "core/claim.h"
#include "core/limit.h"
#include "core/model_slots.h"
#include "core/price.h"
#include "core/ring.h"

#define LEAST_RISE 2e-4f /* of the difference: the least cost follows slowly upwards */

const float index_bucket_edges[INDEX_BUCKETS] = {
    0.0f,    4.0f,    5.2f,    6.8f,    8.8f,     11.4f,    14.9f,    19.3f,
    25.1f,   32.6f,   42.4f,   55.1f,   71.7f,    93.2f,    121.2f,   157.5f,
    204.7f,  266.2f,  346.0f,  449.8f,  584.8f,   760.2f,   988.3f,   1284.7f,
    1670.2f, 2171.2f, 2822.6f, 3669.3f, INFINITY, INFINITY, INFINITY, INFINITY};

/* The last edge that is not above ms, without a branch that depends on it. */
static uint32_t
bucket_of_ms(float ms)
{
    uint32_t bucket = 0;

    for (uint32_t step = INDEX_BUCKETS / 2; step > 0; step /= 2)
        bucket += step * (ms >= index_bucket_edges[bucket + step]);
    return bucket;
}

/* What the model's usual request would cost there, but for the way. */
static float
usual_cost_ms(const struct core *core, uint32_t placement)
{
    const struct model_record *m = &core->models[core->placements[placement].model];
    struct predict_request request = {.prompt_tokens = m->prompt_mean,
                                      .output_tokens = m->output_mean};
    struct predict_node node;
    struct terms terms;
    struct price price;

    capacity_estimate(core, core->now_ns, placement, &node);
    node.path = (struct predict_path){0};
    predict_terms(&node, &request, &terms);
    price_node(&core->tuning, INFINITY, &node, &request, &terms, &price);
    return price.cost_ms + claim_ms(core, core->links[placement].node, price.cost_ms);
}

/* By how much it costs more there than where the model costs least. */
static float
excess_ms(struct core *core, uint32_t placement)
{
    struct model_record *m = &core->models[core->placements[placement].model];
    float cost_ms = usual_cost_ms(core, placement);

    if (!(m->least_cost_ms > 0.0f) || cost_ms < m->least_cost_ms)
        m->least_cost_ms = cost_ms;
    else
        m->least_cost_ms += LEAST_RISE * (cost_ms - m->least_cost_ms);
    return max_f(0.0f, cost_ms - m->least_cost_ms);
}

static uint32_t
bucket_of(struct core *core, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];
    const struct node_hot *hot = &core->hot[core->links[placement].node];
    bool busy = (hot->flags & NODE_FLAG_BUSY) != 0;

    if (hot->state != NODE_READY || (hot->flags & NODE_FLAG_EJECTED) != 0)
        return BUCKET_OUT;
    if (busy)
        return p->state == MODEL_READY && p->ready_at_ns <= core->now_ns ? BUCKET_FULL : BUCKET_OUT;
    switch (p->state) {
    case MODEL_READY:
        if (p->ready_at_ns > core->now_ns) /* it said so, and was not: the last to be asked */
            return BUCKET_LOADABLE;
        if (limit_reached(core, placement))
            return BUCKET_FULL;
        return bucket_of_ms(excess_ms(core, placement));
    case MODEL_LOADING:
        return BUCKET_LOADING;
    case MODEL_ON_DISK:
    case MODEL_SLEEPING:
        return BUCKET_LOADABLE;
    default:
        return BUCKET_OUT;
    }
}

/* It becomes one of the region's copies (sign 1), or is none any more (-1). Its slots change only
 * while it is in no ring. */
static void
count_copy(struct core *core, uint32_t placement, size_t slot, uint32_t sign)
{
    core->models[core->placements[placement].model].copies += sign;
    core->demands[slot].copies += sign;
    if (!model_slots_has(core, &core->hot[core->links[placement].node], placement))
        return;
    core->owns[slot].copies += sign;
    core->owns[slot].slots += sign * core->slotted[placement].slots;
}

static void
insert_into(struct core *core, uint32_t placement, uint32_t bucket)
{
    struct placement *p = &core->placements[placement];
    struct link *links = core->links;
    uint32_t region = core->hot[links[placement].node].region;
    size_t slot = index_slot(core, p->model, region);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + bucket];

    p->bucket = (uint8_t)bucket;
    if (*head == NONE) {
        links[placement].next = links[placement].prev = placement;
        *head = placement;
    } else { /* at the end */
        links[placement].next = *head;
        links[placement].prev = links[*head].prev;
        links[links[placement].prev].next = placement;
        links[*head].prev = placement;
    }
    core->bucket_masks[slot] |= 1u << bucket;
    core->models[p->model].region_mask |= UINT64_C(1) << region;
    core->models[p->model].ready_count += bucket <= BUCKET_READY_LAST;
    core->models[p->model].loading_count += bucket == BUCKET_LOADING;
    if (bucket <= BUCKET_LOADING)
        count_copy(core, placement, slot, 1u);
}

void
index_insert(struct core *core, uint32_t placement)
{
    insert_into(core, placement, bucket_of(core, placement));
    if (core->placements[placement].state == MODEL_READY)
        ring_add(core, placement);
}

static void
remove_from(struct core *core, uint32_t placement)
{
    struct placement *p = &core->placements[placement];
    struct link *links = core->links;
    uint32_t region = core->hot[links[placement].node].region;
    size_t slot = index_slot(core, p->model, region);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + p->bucket];

    if (links[placement].next == placement) {
        *head = NONE;
        core->bucket_masks[slot] &= ~(1u << p->bucket);
    } else {
        links[links[placement].prev].next = links[placement].next;
        links[links[placement].next].prev = links[placement].prev;
        if (*head == placement)
            *head = links[placement].next;
    }
    if (core->bucket_masks[slot] == 0)
        core->models[p->model].region_mask &= ~(UINT64_C(1) << region);
    core->models[p->model].ready_count -= p->bucket <= BUCKET_READY_LAST;
    core->models[p->model].loading_count -= p->bucket == BUCKET_LOADING;
    if (p->bucket <= BUCKET_LOADING)
        count_copy(core, placement, slot, UINT32_MAX);
}

void
index_remove(struct core *core, uint32_t placement)
{
    remove_from(core, placement);
    if (core->placements[placement].state == MODEL_READY)
        ring_drop(core, placement);
}

void
index_placement(struct core *core, uint32_t placement)
{
    uint32_t bucket = bucket_of(core, placement);

    if (bucket == core->placements[placement].bucket)
        return;
    remove_from(core, placement);
    insert_into(core, placement, bucket);
}

void
index_node(struct core *core, uint32_t node)
{
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next)
        index_placement(core, p);
}

void
index_settle(struct core *core)
{
    uint32_t node = core->moved;

    core->moved = NONE;
    if (node != NONE && node_known(core, node))
        index_node(core, node);
}

void
index_node_later(struct core *core, uint32_t node)
{
    if (core->moved != node)
        index_settle(core);
    core->moved = node;
}

void
index_rotate(struct core *core, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];
    size_t slot = index_slot(core, p->model, core->hot[core->links[placement].node].region);
    uint32_t *head = &core->bucket_heads[slot * INDEX_BUCKETS + p->bucket];

    if (*head == placement)
        *head = core->links[placement].next; /* a ring: the former head is now its end */
}

/* fallback - weighted least request on our own count; see fallback.h. */
#include "core/fallback.h"

#include <math.h>

#include "core/capacity.h"
#include "core/index.h"
#include "core/isolation.h"
#include "core/tuning.h"

#define FIND_MAX (2 * TUNING_CANDIDATES_MAX)

/* So long ago; 1 at least, when only what never was is older. */
static uint64_t
moment_before(uint64_t now_ns, float ms)
{
    uint64_t ns = (uint64_t)((double)ms * 1e6);

    return now_ns > ns ? now_ns - ns : 1;
}

enum fallback_age
fallback_age(const struct core *core, uint64_t now_ns, const struct candidate *list, size_t count)
{
    uint64_t old_ns = moment_before(now_ns, core->tuning.fresh_ms);
    uint64_t stale_ns = moment_before(now_ns, core->tuning.stale_ms);
    uint32_t heard = 0, old = 0, stale = 0;

    if (capacity_alone(core))
        return FALLBACK_FRESH;
    for (size_t i = 0; i < count; i++) {
        uint64_t report_ns = core->hot[list[i].node].report_ns;

        heard += report_ns != 0; /* who never tells is known by our own count alone, always */
        old += report_ns - 1 < old_ns - 1;
        stale += report_ns - 1 < stale_ns - 1;
    }
    if (2 * stale > heard)
        return FALLBACK_STALE;
    return 2 * old > heard ? FALLBACK_OLD : FALLBACK_FRESH;
}

float
fallback_cost_ms(const struct core *core, uint32_t placement)
{
    const struct node_hot *hot = &core->hot[core->links[placement].node];
    float weight = capacity_class(core, core->placements[placement].model, hot->class)->weight;
    float requests = (float)hot->own_requests * (SHARE_ONE / max_f((float)hot->share, 1.0f)) + 1.0f;
    float ms = hot->rtt_ms + 1000.0f * requests * hot->residual / weight;

    return ms + (float)hot->p_fail * (1.0f / SHARE_ONE) * (ISOLATION_DETECT_GUESS_MS + ms);
}

/* What was found so far, cheapest first. */
struct found {
    const struct core *core;
    const struct request *r;
    uint32_t *placements;
    float cost_ms[FIND_MAX];
    uint32_t count, most, left; /* left to look at */
};

static bool
dearer(const struct found *f, uint32_t at, float cost_ms, uint32_t node)
{
    if (f->cost_ms[at] != cost_ms)
        return f->cost_ms[at] > cost_ms;
    return f->core->links[f->placements[at]].node > node;
}

static void
offer(struct found *f, uint32_t placement)
{
    uint32_t node = f->core->links[placement].node, at;
    float cost_ms = fallback_cost_ms(f->core, placement);

    if (f->count == f->most && !dearer(f, f->most - 1, cost_ms, node))
        return;
    if (!request_may_go(f->r, node))
        return;
    at = f->count < f->most ? f->count++ : f->most - 1;
    for (; at > 0 && dearer(f, at - 1, cost_ms, node); at--) {
        f->cost_ms[at] = f->cost_ms[at - 1];
        f->placements[at] = f->placements[at - 1];
    }
    f->cost_ms[at] = cost_ms;
    f->placements[at] = placement;
}

static void
offer_region(struct found *f, uint32_t region)
{
    size_t slot = index_slot(f->core, f->r->arrived.model, region);
    uint32_t mask = f->core->bucket_masks[slot] & INDEX_READY_MASK;

    for (; mask != 0; mask &= mask - 1) {
        uint32_t bucket = (uint32_t)__builtin_ctz(mask);
        for (uint32_t p = index_first(f->core, slot, bucket); p != NONE && f->left > 0; f->left--) {
            offer(f, p);
            p = index_next(f->core, slot, bucket, p);
        }
    }
}

uint32_t
fallback_find(const struct core *core, const struct request *r, uint32_t most,
              uint32_t *ret_placements)
{
    struct found f = {.core = core,
                      .r = r,
                      .placements = ret_placements,
                      .most = most < FIND_MAX ? most : FIND_MAX,
                      .left = FALLBACK_SCAN_MAX};
    uint64_t regions = core->models[r->arrived.model].region_mask;

    offer_region(&f, core->config.own_region);
    regions &= ~(UINT64_C(1) << core->config.own_region);
    for (; regions != 0; regions &= regions - 1)
        offer_region(&f, (uint32_t)__builtin_ctzll(regions));
    return f.count;
}

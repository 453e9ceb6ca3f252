/* choose - which node; see choose.h.
 *
 * A rule that predicts sees a sample: the best of the own region, the best elsewhere by distance
 * and headroom together, and the two that load fastest. So a decision costs the same at 100 nodes
 * and at 100,000. Other rules see every ready node, as their originals do. */
#include "core/choose.h"

#include <math.h>
#include <string.h>

#include "core/capacity.h"
#include "core/explain.h"
#include "core/index.h"
#include "core/isolation.h"

#define OWN_REGION_MAX        8u
#define ELSEWHERE_MAX         8u
#define LOADING_MAX           2u
#define DONE_PART             0.1f /* of J: the weight of the whole answer's time */
#define REGION_RTT_UNKNOWN_MS 100.0f

/* Candidates as they are collected. verdicts counts why nodes that have the model cannot serve. */
struct pool {
    const struct core *core;
    const struct request *r;
    uint64_t now_ns;
    struct candidate *list;
    uint32_t *placements; /* beside list; NULL: found again by node */
    size_t count, max;
    uint32_t verdicts[WHY_COUNT];
    bool forgive; /* every node keeps failing: use them all the same */
};

static bool
was_tried(const struct request *r, uint32_t node)
{
    for (uint32_t i = 0; i + 1 < r->attempt; i++) {
        if (r->tried[i] == node)
            return true;
    }
    return false;
}

/* Add the placement unless something speaks against its node. */
static bool
pool_add(struct pool *pool, uint32_t placement)
{
    const struct core *core = pool->core;
    const struct placement *p = &core->placements[placement];
    const struct node_hot *hot = &core->hot[p->node];
    enum why_not verdict = isolation_verdict(core, pool->now_ns, p->node);

    if (was_tried(pool->r, p->node))
        verdict = WHY_TRIED;
    else if (pool->r->arrived.only_node != NODE_ANY && pool->r->arrived.only_node != p->node)
        verdict = WHY_RULE;
    if (verdict == WHY_FAILING && pool->forgive)
        verdict = WHY_CHOSEN;
    if (verdict != WHY_CHOSEN) {
        pool->verdicts[verdict]++;
        return false;
    }
    if (pool->count == pool->max)
        return false;
    if (pool->placements != NULL)
        pool->placements[pool->count] = placement;
    pool->list[pool->count++] = (struct candidate){
        .node = p->node,
        .region = hot->region,
        .own_region = hot->region == core->config.own_region,
        .ready = p->state == MODEL_READY,
        .rtt_ms = hot->rtt_ms,
        .weight = max_f(capacity_class(core, p->model, hot->class)->weight, 1e-6f),
        .requests = hot->others_requests + (float)hot->own_requests,
    };
    return true;
}

/* Up to `most` of one bucket from `at` on; returns how many were added. */
static uint32_t
pool_bucket(struct pool *pool, size_t slot, uint32_t bucket, uint32_t most)
{
    uint32_t added = 0;

    for (uint32_t p = index_first(pool->core, slot, bucket); p != NONE && added < most;
         p = index_next(pool->core, slot, p))
        added += pool_add(pool, p);
    return added;
}

static void
pool_all(struct pool *pool, uint32_t bucket_first, uint32_t bucket_last)
{
    uint64_t regions = pool->core->models[pool->r->arrived.model].region_mask;

    for (; regions != 0; regions &= regions - 1) {
        size_t slot = index_slot(pool->core, pool->r->arrived.model,
                                 (uint32_t)__builtin_ctzll(regions));
        for (uint32_t b = bucket_first; b <= bucket_last; b++)
            pool_bucket(pool, slot, b, UINT32_MAX);
    }
}

static void
pool_own_region(struct pool *pool)
{
    const struct core *core = pool->core;
    size_t slot = index_slot(core, pool->r->arrived.model, core->config.own_region);
    uint32_t mask = core->bucket_masks[slot] & ((1u << (BUCKET_READY_LAST + 1)) - 1), left;

    for (left = OWN_REGION_MAX; mask != 0 && left > 0; mask &= mask - 1)
        left -= pool_bucket(pool, slot, (uint32_t)__builtin_ctz(mask), left);
}

/* Where a walk over another region stands: its next ready placement and a rough cost of it. */
struct region_walk {
    size_t slot;
    uint32_t mask; /* buckets not begun */
    uint32_t next; /* placement; NONE: this region is used up */
    float rtt_ms, rough_ms;
};

static void
walk_next(const struct core *core, struct region_walk *w)
{
    if (w->next != NONE)
        w->next = index_next(core, w->slot, w->next);
    while (w->next == NONE && w->mask != 0) {
        w->next = index_first(core, w->slot, (uint32_t)__builtin_ctz(w->mask));
        w->mask &= w->mask - 1;
    }
    if (w->next != NONE)
        w->rough_ms = w->rtt_ms + index_bucket_ms(core->placements[w->next].bucket);
}

static void
pool_elsewhere(struct pool *pool)
{
    const struct core *core = pool->core;
    struct region_walk walks[CORE_REGIONS_MAX];
    uint64_t regions = core->models[pool->r->arrived.model].region_mask;
    uint32_t count = 0, left = ELSEWHERE_MAX;

    regions &= ~(UINT64_C(1) << core->config.own_region);
    for (; regions != 0; regions &= regions - 1) {
        uint32_t region = (uint32_t)__builtin_ctzll(regions);
        struct region_walk *w = &walks[count];
        *w = (struct region_walk){.slot = index_slot(core, pool->r->arrived.model, region),
                                  .next = NONE,
                                  .rtt_ms = core->region_rtt_ms[region]};
        w->mask = core->bucket_masks[w->slot] & ((1u << (BUCKET_READY_LAST + 1)) - 1);
        if (isnan(w->rtt_ms))
            w->rtt_ms = REGION_RTT_UNKNOWN_MS;
        walk_next(core, w);
        count += w->next != NONE;
    }
    while (left > 0 && count > 0) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < count; i++) {
            if (walks[i].rough_ms < walks[best].rough_ms)
                best = i;
        }
        left -= pool_add(pool, walks[best].next);
        walk_next(core, &walks[best]);
        if (walks[best].next == NONE)
            walks[best] = walks[--count];
    }
}

/* The few that are loading, or that a request would make load, nearest region first enough: they
 * are priced by what is left to load. */
static void
pool_loading(struct pool *pool, uint32_t bucket)
{
    const struct core *core = pool->core;
    uint64_t regions = core->models[pool->r->arrived.model].region_mask;
    uint32_t left = LOADING_MAX;

    for (; regions != 0 && left > 0; regions &= regions - 1) {
        size_t slot = index_slot(core, pool->r->arrived.model, (uint32_t)__builtin_ctzll(regions));
        left -= pool_bucket(pool, slot, bucket, left);
    }
}

static void
pool_collect(struct pool *pool, const struct rule *rule)
{
    uint32_t ready = pool->core->models[pool->r->arrived.model].ready_count;

    if (!rule->wants_prediction) {
        pool_all(pool, 0, BUCKET_READY_LAST);
    } else {
        if (ready <= OWN_REGION_MAX + ELSEWHERE_MAX) {
            pool_all(pool, 0, BUCKET_READY_LAST);
        } else {
            pool_own_region(pool);
            pool_elsewhere(pool);
            if (pool->count == 0) /* all of those are tried, ejected or busy */
                pool_all(pool, 0, BUCKET_READY_LAST);
        }
        pool_loading(pool, BUCKET_LOADING);
    }
    /* A request never waits for a load while a ready node can serve it. */
    if (pool->count == 0)
        pool_all(pool, BUCKET_LOADING, BUCKET_LOADING);
    if (pool->count == 0)
        pool_all(pool, BUCKET_LOADABLE, BUCKET_LOADABLE);
}

static enum refusal
refusal_of(const struct pool *pool)
{
    const struct core *core = pool->core;
    const struct model_record *m = &core->models[pool->r->arrived.model];

    if (m->placement_count == 0)
        return REFUSAL_NO_NODE;
    if (pool->verdicts[WHY_TRIED] > 0 || pool->r->attempt > 1)
        return REFUSAL_ALL_TRIED;
    if (pool->verdicts[WHY_FULL] > 0)
        return REFUSAL_FULL;
    if (pool->verdicts[WHY_FAILING] > 0)
        return REFUSAL_FAILING;
    if (pool->verdicts[WHY_DRAINING] > 0)
        return REFUSAL_DRAINING;
    return REFUSAL_NOT_READY;
}

static uint32_t
placement_of(const struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = core->cold[node].first_placement;

    while (p != NONE && core->placements[p].model != model)
        p = core->placements[p].node_next;
    return p;
}

/* Terms of one candidate; the raw parts are without what was learned of the node. */
static void
price(const struct pool *pool, uint32_t placement, struct candidate *c, struct choice *ret_raw)
{
    const struct core *core = pool->core;
    struct predict_node node;
    struct predict_request request = {
        .prompt_tokens = pool->r->prompt_tokens,
        .hit_tokens = pool->r->hit_tokens,
        .output_tokens = pool->r->output_tokens,
        .body_bytes = (float)pool->r->arrived.body_bytes,
        .rounds = capacity_rounds(&core->hot[c->node]),
    };

    capacity_estimate(core, pool->now_ns, &core->placements[placement], &node);
    predict_terms(&node, &request, &c->terms);
    if (ret_raw != NULL) {
        float own_ms = c->terms.queue_ms + c->terms.prefill_ms + c->terms.step_ms;
        ret_raw->placement = placement;
        ret_raw->queue_part = own_ms > 0.0f ? c->terms.queue_ms / own_ms : 0.0f;
        ret_raw->raw_ms = own_ms / max_f(node.residual, 1e-3f);
        ret_raw->raw_step_ms = c->terms.step_ms / max_f(node.residual, 1e-3f);
        if (c->terms.ready_ms > 0.0f) /* a load says nothing of speed */
            ret_raw->raw_ms = 0.0f;
    }
}

/* J = first + 0.1*done + p_fail*(detect + redo elsewhere). */
static void
price_all(const struct pool *pool)
{
    const struct core *core = pool->core;
    float best = INFINITY, second = INFINITY;
    size_t best_at = 0;

    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        price(pool, pool->placements[i], c, NULL);
        if (c->terms.first_ms < best) {
            second = best;
            best = c->terms.first_ms;
            best_at = i;
        } else if (c->terms.first_ms < second) {
            second = c->terms.first_ms;
        }
    }
    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        float redo = i == best_at ? second : best;
        if (isinf(redo))
            redo = c->terms.first_ms; /* nowhere else: the same again */
        c->fail_ms = (float)core->hot[c->node].p_fail / SHARE_ONE *
                     (core->cold[c->node].detect_ms + redo);
        c->cost_ms = c->terms.first_ms + DONE_PART * c->terms.done_ms + c->fail_ms;
    }
}

static void
pool_fill(struct pool *pool, const struct rule *rule)
{
    pool_collect(pool, rule);
    if (pool->count == 0 && pool->verdicts[WHY_FAILING] > 0) {
        pool->forgive = true; /* unknown is better than nothing */
        memset(pool->verdicts, 0, sizeof(pool->verdicts));
        pool_collect(pool, rule);
    }
}

void
choose(const struct core *core, uint64_t now_ns, const struct request *r, struct rng *rng,
       struct choice *ret_choice, struct decision *ret_decision)
{
    struct candidate sample[CANDIDATES_TIME_MAX];
    uint32_t placements[CANDIDATES_TIME_MAX];
    const struct rule *rule = rule_by_id(core->settings.rule);
    struct pool pool = {.core = core, .r = r, .now_ns = now_ns};
    struct rule_input input;
    size_t at;

    pool.list = rule->wants_prediction ? sample : core->scratch;
    pool.placements = rule->wants_prediction ? placements : NULL;
    pool.max = rule->wants_prediction ? CANDIDATES_TIME_MAX : core->config.nodes_max;
    *ret_choice = (struct choice){.placement = NONE};
    pool_fill(&pool, rule);
    explain_begin(core, now_ns, r, ret_decision);
    if (pool.count == 0) {
        ret_choice->refusal = refusal_of(&pool);
        return;
    }
    if (rule->wants_prediction)
        price_all(&pool);
    input = (struct rule_input){.candidates = pool.list,
                                .count = pool.count,
                                .last_node = core->models[r->arrived.model].last_node};
    at = rule->choose(&input, rng);
    price(&pool, placement_of(core, pool.list[at].node, r->arrived.model), &pool.list[at],
          ret_choice);
    ret_choice->chosen = pool.list[at];
    explain_candidates(core, rule, pool.list, pool.count, at, ret_decision);
}

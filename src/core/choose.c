/* choose - which node; see choose.h.
 *
 * A rule that predicts sees a sample: the best of the own region, the best elsewhere by distance
 * and headroom together, and the two that load fastest. So a decision costs the same at 100 nodes
 * and at 100,000. Other rules see every ready node, as their originals do.
 *
 * The rule time has two ways out of the least cost: a client's deadline makes it take the fullest
 * node that meets it (goal), and news too old make it count only what we sent (fallback). */
#include "core/choose.h"

#include <math.h>

#include "base/must.h"
#include "core/admit.h"
#include "core/capacity.h"
#include "core/claim.h"
#include "core/explain.h"
#include "core/fallback.h"
#include "core/goal.h"
#include "core/index.h"
#include "core/isolation.h"
#include "core/limit.h"
#include "core/prefix.h"
#include "core/price.h"
#include "core/ring.h"
#include "core/tuning.h"

#define LOADING_MAX  2u
#define RING_ASKED   2u /* slots of the ring */
#define READY_MASK   INDEX_READY_MASK
#define PACE_KEEP    0.8f /* of the goal: those that come later lengthen steps too */
#define PACE_STRETCH 1.25f
#define FULL_MAX     8u    /* full nodes looked at, to say why and for how long */
#define FAIL_SEEN    0.02f /* below it, how long a failure takes to notice is a guess */

_Static_assert(2 * TUNING_CANDIDATES_MAX + LOADING_MAX + PREFIX_HOLDERS_MAX + 1 + RING_ASKED <=
                   CANDIDATES_TIME_MAX,
               "a sample fits, and who has the prompt's beginning");

/* Candidates as they are collected: first only which placements, then, when their cache lines are
 * on their way, what is in them. */
struct pool {
    const struct core *core;
    const struct request *r;
    uint64_t now_ns;
    const struct rule *rule;
    struct candidate *list;
    size_t count, max;
    enum decision_mode mode;
    struct goal goal;
    uint32_t own_region_max, elsewhere_max; /* of a sample */
    float soft_ms;             /* how soon the first token should come, for the cost alone */
    struct prefix_found found; /* good once it was looked for */
    bool looked;
    uint32_t ring[RING_ASKED]; /* placements that the ring says; NONE */
    float ring_tokens, common_tokens;
    struct admit_room room;
    float need_tokens;           /* room for KV */
    bool full;                   /* these are at their limits: nothing can go there now */
    bool any_room;               /* limits do not count */
    float pace_ms;               /* goal for the time of a step; NAN: none */
    bool dated;                  /* there is a goal, so times must be known */
    const struct beside *beside; /* NULL: it is alone */
};

static bool
pool_has(const struct pool *pool, uint32_t placement)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->list[i].placement == placement)
            return true;
    }
    return false;
}

/* Take the placement unless the request may not go there. */
static bool
pool_add(struct pool *pool, uint32_t placement)
{
    const struct core *core = pool->core;
    uint32_t node = core->links[placement].node;

    if (pool->count == pool->max || !request_may_go(pool->r, node))
        return false;
    if (goal_given(&pool->goal) && pool_has(pool, placement))
        return false; /* a goal is looked for from both ends of the buckets */
    __builtin_prefetch(&core->hot[node]);
    __builtin_prefetch(&core->placements[placement]);
    pool->list[pool->count].node = node;
    pool->list[pool->count].hit_tokens = 0.0f;
    pool->list[pool->count++].placement = placement;
    return true;
}

/* Read what is known of candidates from `from` on. */
static void
pool_load(struct pool *pool, size_t from)
{
    const struct core *core = pool->core;

    for (size_t i = from; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        const struct placement *p = &core->placements[c->placement];
        const struct node_hot *hot = &core->hot[c->node];
        c->region = hot->region;
        if (pool->rule->wants == RULE_WANTS_PREDICTION)
            continue; /* it looks at costs alone, and they are to come */
        c->own_region = hot->region == core->config.own_region;
        c->ready = p->state == MODEL_READY;
        c->rtt_ms = hot->rtt_ms;
        c->weight = max_f(capacity_class(core, p->model, hot->class)->weight, 1e-6f);
        c->requests = hot->others_requests + (float)hot->own_requests;
        c->terms = (struct terms){0};
        c->ext_ms = c->late_ms = c->kv_ms = c->fail_ms = c->stick_ms = c->word_ms = c->cost_ms =
            0.0f;
        if (pool->rule->wants == RULE_WANTS_SEEN)
            capacity_seen(core, pool->now_ns, c->placement, &c->seen);
    }
}

/* Up to `most` of one bucket; returns how many were added. */
static uint32_t
pool_bucket(struct pool *pool, size_t slot, uint32_t bucket, uint32_t most)
{
    uint32_t added = 0;

    for (uint32_t p = index_first(pool->core, slot, bucket); p != NONE && added < most;
         p = index_next(pool->core, slot, bucket, p))
        added += pool_add(pool, p);
    return added;
}

static void
pool_all(struct pool *pool, uint32_t buckets)
{
    uint64_t regions = pool->core->models[pool->r->arrived.model].region_mask;

    for (; regions != 0; regions &= regions - 1) {
        size_t slot = index_slot(pool->core, pool->r->arrived.model,
                                 (uint32_t)__builtin_ctzll(regions));
        for (uint32_t mask = pool->core->bucket_masks[slot] & buckets; mask != 0; mask &= mask - 1)
            pool_bucket(pool, slot, (uint32_t)__builtin_ctz(mask), UINT32_MAX);
    }
}

/* The fullest of the own region that may begin in time. Returns how many were added. */
static uint32_t
pool_fullest(struct pool *pool, size_t slot, uint32_t most)
{
    const struct core *core = pool->core;
    uint32_t mask = core->bucket_masks[slot] & READY_MASK, left = most;
    /* What its bucket says more than the emptiest is what a node is busier. */
    float left_ms = pool->goal.first_ms - core->paths[core->config.own_region].rtt_ms;

    if (mask != 0)
        left_ms += index_bucket_ms((uint32_t)__builtin_ctz(mask));
    for (uint32_t bucket = BUCKET_READY_LAST + 1; bucket > 0 && left > 0; bucket--) {
        if ((mask & (1u << (bucket - 1))) != 0 && index_bucket_ms(bucket - 1) <= left_ms)
            left -= pool_bucket(pool, slot, bucket - 1, left);
    }
    return most - left;
}

static void
pool_own_region(struct pool *pool)
{
    const struct core *core = pool->core;
    size_t slot = index_slot(core, pool->r->arrived.model, core->config.own_region);
    uint32_t mask = core->bucket_masks[slot] & READY_MASK, left = pool->own_region_max;

    if (goal_given(&pool->goal))
        left -= pool_fullest(pool, slot, left / 2);
    for (; mask != 0 && left > 0; mask &= mask - 1)
        left -= pool_bucket(pool, slot, (uint32_t)__builtin_ctz(mask), left);
}

/* Regions elsewhere by a rough cost: round trip and the lower end of their best bucket. */
struct region_rank {
    float rough_ms;
    uint32_t region;
};

/* Keep ranks[0..count) sorted, cheapest first, and no longer than what can be picked. */
static uint32_t
rank_insert(struct region_rank *ranks, uint32_t count, uint32_t most, struct region_rank r)
{
    uint32_t at = count < most ? count++ : most;

    if (at == most) {
        if (!(r.rough_ms < ranks[most - 1].rough_ms))
            return count;
        at = most - 1;
    }
    for (; at > 0 && r.rough_ms < ranks[at - 1].rough_ms; at--)
        ranks[at] = ranks[at - 1];
    ranks[at] = r;
    return count;
}

/* Where the walk over a region's ready placements stands. */
struct region_walk {
    uint32_t mask; /* buckets not used up; the lowest is the current one */
    uint32_t next; /* in the current bucket; NONE: not looked up yet */
};

/* Take the region's next placement; false when that was its last. */
static bool
walk_take(const struct core *core, size_t slot, struct region_walk *w, uint32_t *ret_placement)
{
    uint32_t bucket = (uint32_t)__builtin_ctz(w->mask);

    if (w->next == NONE)
        w->next = index_first(core, slot, bucket);
    *ret_placement = w->next;
    w->next = index_next(core, slot, bucket, w->next);
    if (w->next == NONE)
        w->mask &= w->mask - 1;
    return w->mask != 0;
}

static float
walk_rough_ms(const struct core *core, uint32_t region, uint32_t mask)
{
    return core->paths[region].rtt_ms + index_bucket_ms((uint32_t)__builtin_ctz(mask));
}

static void
pool_elsewhere(struct pool *pool)
{
    const struct core *core = pool->core;
    uint32_t model = pool->r->arrived.model, count = 0, left = pool->elsewhere_max, placement;
    uint32_t most = pool->elsewhere_max;
    struct region_rank ranks[TUNING_CANDIDATES_MAX];
    struct region_walk walks[CORE_REGIONS_MAX];

    for (uint32_t i = 0; i < core->config.regions_max; i++) {
        uint32_t region = core->region_order[i];
        uint32_t mask = core->bucket_masks[index_slot(core, model, region)] & READY_MASK;
        if (mask == 0 || region == core->config.own_region)
            continue;
        if (count == most && core->paths[region].rtt_ms >= ranks[most - 1].rough_ms)
            break; /* nor is anything behind it near enough */
        walks[region] = (struct region_walk){mask, NONE};
        count = rank_insert(ranks, count, most,
                            (struct region_rank){walk_rough_ms(core, region, mask), region});
    }
    while (left > 0 && count > 0) {
        struct region_rank best = ranks[0];
        struct region_walk *w = &walks[best.region];
        bool more = walk_take(core, index_slot(core, model, best.region), w, &placement);
        left -= pool_add(pool, placement);
        if (more && w->next != NONE) /* the same bucket: still the cheapest */
            continue;
        for (uint32_t i = 1; i < count; i++)
            ranks[i - 1] = ranks[i];
        count--;
        if (more) {
            best.rough_ms = walk_rough_ms(core, best.region, w->mask);
            count = rank_insert(ranks, count, most, best);
        }
    }
}

/* A few that are loading: they are priced by what is left to load. */
static void
pool_loading(struct pool *pool)
{
    const struct core *core = pool->core;
    uint64_t regions = core->models[pool->r->arrived.model].region_mask;
    uint32_t left = LOADING_MAX;

    if (core->models[pool->r->arrived.model].loading_count == 0)
        return;
    for (; regions != 0 && left > 0; regions &= regions - 1) {
        size_t slot = index_slot(core, pool->r->arrived.model, (uint32_t)__builtin_ctzll(regions));
        left -= pool_bucket(pool, slot, BUCKET_LOADING, left);
    }
}

/* Nodes that keep failing, when there is no other: unknown is better than nothing. */
static void
pool_ejected(struct pool *pool)
{
    const struct core *core = pool->core;
    size_t kept = 0;

    pool_all(pool, 1u << BUCKET_OUT);
    for (size_t i = 0; i < pool->count; i++) {
        uint32_t placement = pool->list[i].placement;
        if (core->placements[placement].state == MODEL_READY &&
            isolation_verdict(core, pool->list[i].node) == WHY_FAILING)
            pool->list[kept++] = pool->list[i];
    }
    pool->count = kept;
}

/* A few of those that are at their limits. */
static void
pool_full(struct pool *pool)
{
    const struct core *core = pool->core;
    uint32_t model = pool->r->arrived.model, left = FULL_MAX;
    uint64_t regions = core->models[model].region_mask;

    for (; regions != 0 && left > 0; regions &= regions - 1) {
        size_t slot = index_slot(core, model, (uint32_t)__builtin_ctzll(regions));
        if ((core->bucket_masks[slot] & (1u << BUCKET_FULL)) != 0)
            left -= pool_bucket(pool, slot, BUCKET_FULL, left);
    }
    /* Who asked for one node by name goes there all the same. */
    pool->full = pool->count > 0 && pool->r->arrived.only_node == NODE_ANY;
}

/* Who has the beginning of the prompt: the first look, once. */
static void
pool_look(struct pool *pool)
{
    if (pool->looked)
        return;
    pool->looked = true;
    prefix_look(pool->core, pool->r,
                pool->rule->wants == RULE_WANTS_SEEN ? PREFIX_FOUND_MAX : PREFIX_HOLDERS_MAX,
                &pool->found);
}

/* Some of the ready ones: all, if they are few. */
static void
pool_sample(struct pool *pool)
{
    uint32_t ready = pool->core->models[pool->r->arrived.model].ready_count;

    if (ready <= pool->own_region_max + pool->elsewhere_max) {
        pool_all(pool, READY_MASK);
    } else {
        pool_own_region(pool);
        pool_look(pool); /* what it looks at next is fetched meanwhile */
        pool_elsewhere(pool);
    }
}

/* Our own count decides: the cheapest by it. */
static void
pool_fallback(struct pool *pool, enum decision_mode mode)
{
    uint32_t placements[2 * TUNING_CANDIDATES_MAX];
    uint32_t count = fallback_find(pool->core, pool->r, pool->own_region_max + pool->elsewhere_max,
                                   placements);

    pool->mode = count > 0 ? mode : DECISION_TIME; /* what must be loaded is priced in time */
    pool->count = 0;
    for (uint32_t i = 0; i < count; i++)
        pool_add(pool, placements[i]);
}

/* The rule time knows how old its news are, and what to do then. */
static void
pool_by_news(struct pool *pool)
{
    const struct core *core = pool->core;

    if (core->suspicion.suspected) {
        pool_fallback(pool, DECISION_SUSPICION);
        return;
    }
    pool_sample(pool);
    switch (fallback_age(core, pool->now_ns, pool->list, pool->count)) {
    case FALLBACK_STALE:
        pool_fallback(pool, DECISION_STALE);
        break;
    case FALLBACK_OLD:
        pool->own_region_max = core->tuning.own_region_old_max;
        pool->elsewhere_max = core->tuning.elsewhere_old_max;
        pool->count = 0;
        pool_sample(pool);
        break;
    default:
        break;
    }
}

static void
pool_collect(struct pool *pool)
{
    if (pool->rule == &rule_time)
        pool_by_news(pool);
    else if (pool->rule->wants == RULE_WANTS_PREDICTION)
        pool_sample(pool);
    else
        pool_all(pool, READY_MASK);
    if (pool->count == 0)
        pool_full(pool); /* a place there is free sooner than a model is loaded */
    if (pool->full)
        return;
    if (pool->mode == DECISION_TIME)
        pool_loading(pool);
    /* A request never waits for a load while a ready node can serve it. */
    if (pool->count == 0)
        pool_all(pool, 1u << BUCKET_LOADING);
    if (pool->count == 0)
        pool_all(pool, 1u << BUCKET_LOADABLE);
    if (pool->count == 0)
        pool_ejected(pool);
}

/* ---- Who has the beginning of the prompt. */

/* Is it a ready one of this model? Generations of placements come again, and what is remembered of
 * one that is gone, or has another model now, must not make it a candidate. */
static bool
is_ready_one(const struct pool *pool, uint32_t placement)
{
    const struct placement *p = &pool->core->placements[placement];

    return p->model == pool->r->arrived.model && p->bucket <= BUCKET_READY_LAST;
}

/* This one is expected to have so many tokens of it; add: a candidate, if it is none yet. */
static void
pool_hit(struct pool *pool, uint32_t placement, float hit_tokens, bool add)
{
    size_t i = 0;

    while (i < pool->count && pool->list[i].placement != placement)
        i++;
    if (i == pool->count && (!add || !is_ready_one(pool, placement) || !pool_add(pool, placement)))
        return;
    pool->list[i].hit_tokens = max_f(pool->list[i].hit_tokens, hit_tokens);
}

/* The region whose ring is asked: the own one, or the nearest that has any. */
static uint32_t
ring_region(const struct core *core, uint32_t model)
{
    uint64_t regions = core->models[model].region_mask;
    uint32_t best = core->config.own_region;

    if (ring_at(core, model, best, 0) != NONE)
        return best;
    for (float best_ms = INFINITY; regions != 0; regions &= regions - 1) {
        uint32_t region = (uint32_t)__builtin_ctzll(regions);
        if (core->paths[region].rtt_ms < best_ms && ring_at(core, model, region, 0) != NONE) {
            best_ms = core->paths[region].rtt_ms;
            best = region;
        }
    }
    return best;
}

/* Nobody is known to hold anything: other gateways may have sent the same to where the ring says.
 * As much is expected there as such prompts were found to have. */
static void
pool_ring(struct pool *pool)
{
    const struct core *core = pool->core;
    const struct request *r = pool->r;
    const struct model_record *m = &core->models[r->arrived.model];
    const struct prefix_chain *chain = r->chain;
    bool is_known = chain != NULL && chain->count > 0;
    uint64_t hash = is_known ? chain->hashes[0] : r->arrived.tenant * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t region;

    if (!is_known && (r->arrived.tenant == 0 || r->arrived.prompt_bytes < prefix_border_bytes(0)))
        return;
    if (is_known)
        pool->ring_tokens = prefix_hit_tokens(core, r, chain->count - 1);
    region = ring_region(core, r->arrived.model);
    for (uint32_t i = 0; i < RING_ASKED; i++) { /* the lesser loaded of them */
        uint32_t p = ring_at(core, r->arrived.model, region, (uint32_t)(hash >> (40 + 8 * i)));
        if (p == NONE)
            continue;
        pool_hit(pool, p, m->guess_hit[PREFIX_GUESS_RING] * pool->ring_tokens, true);
        pool->ring[i] = is_known ? p : NONE;
    }
}

/* More nodes hold its first borders than are remembered: any of them may. */
static void
pool_common(struct pool *pool)
{
    const struct model_record *m = &pool->core->models[pool->r->arrived.model];
    float hit_tokens;

    pool->common_tokens = prefix_hit_tokens(pool->core, pool->r, pool->found.common - 1);
    hit_tokens = m->guess_hit[PREFIX_GUESS_COMMON] * pool->common_tokens;
    for (size_t i = 0; i < pool->count; i++)
        pool->list[i].hit_tokens = max_f(pool->list[i].hit_tokens, hit_tokens);
}

/* The sample is collected; now those that are in it for their caches. */
static void
pool_prefix(struct pool *pool)
{
    const struct core *core = pool->core;
    const struct prefix_found *f = &pool->found;

    prefix_look_closer(core, pool->r, &pool->found);
    for (uint32_t i = 0; i < f->count; i++)
        pool_hit(pool, f->list[i].placement, prefix_hit_tokens(core, pool->r, f->list[i].border),
                 f->list[i].border == f->deepest);
    if (f->session_last != NONE)
        pool_hit(pool, f->session_last, 0.0f, true);
    /* Guesses are our own idea: a rule of others knows only what it sent. */
    if (pool->rule->wants == RULE_WANTS_SEEN || (core->tuning.without & WITHOUT_PREFIX) != 0)
        return;
    if (f->common > 0)
        pool_common(pool);
    else if (f->count == 0 && f->stale.placement != NONE)
        pool_hit(pool, f->stale.placement,
                 prefix_chance(f->stale.age) * prefix_hit_tokens(core, pool->r, f->stale.border),
                 true);
    else if (f->count == 0)
        pool_ring(pool);
}

/* Nobody can take it: the most hopeful reason among the nodes that know the model. */
static enum refusal
refusal_of(const struct pool *pool)
{
    const struct core *core = pool->core;
    uint32_t model = pool->r->arrived.model, seen[WHY_COUNT] = {0};
    uint64_t regions = core->models[model].region_mask;

    if (core->models[model].placement_count == 0)
        return REFUSAL_NO_NODE;
    if (pool->r->attempt > 1)
        return REFUSAL_ALL_TRIED;
    for (; regions != 0; regions &= regions - 1) {
        size_t slot = index_slot(core, model, (uint32_t)__builtin_ctzll(regions));
        uint32_t p = index_first(core, slot, BUCKET_OUT);
        for (; p != NONE; p = index_next(core, slot, BUCKET_OUT, p))
            seen[isolation_verdict(core, core->links[p].node)]++;
    }
    if (seen[WHY_FAILING] > 0)
        return REFUSAL_FAILING;
    return seen[WHY_DRAINING] > 0 ? REFUSAL_DRAINING : REFUSAL_NOT_READY;
}

/* How soon the first token should come, for the cost alone: as the client asked, else as
 * configured, else soon; less what it has waited already. */
static float
soft_ms(const struct core *core, uint64_t now_ns, const struct request *r)
{
    float ms = r->arrived.deadline_ms;

    if (isnan(ms))
        ms = core->settings.ttft_goal_ms;
    if (isnan(ms))
        ms = core->tuning.soft_first_ms;
    return max_f(0.0f, ms - ns_to_ms(now_ns - r->arrived_ns));
}

/* Would the steps of those that run there still be as short as they should be? Where others send
 * too, each of ours since the last report stands for some of theirs, and so does this one: they see
 * the same room. A goal that hardly an idle node meets is stretched, or all would be left idle; of
 * what it is then, too, lower classes get a part, or slow nodes would have nothing left for the top
 * one. */
static bool
keeps_pace(const struct pool *pool, const struct candidate *c, const struct predict_node *node)
{
    const struct node_hot *hot = &pool->core->hot[c->node];
    float step_ms = c->terms.step_ms / max_f(node->residual, 1e-3f), others;
    float idle_ms = predict_step_ms(&node->curve, 1.0f, pool->need_tokens), most_ms;

    if (node->running + node->waiting + node->beside < 1.0f)
        return true;
    if (hot->share < 65535u) {
        others = (SHARE_ONE / max_f((float)hot->share, 1.0f) - 1.0f) *
                 (1.0f + hot->own_recent_tokens / max_f(pool->r->prompt_tokens, 1.0f));
        step_ms += others * (node->curve.tb_ms + node->curve.tk_ms * 0.001f * pool->need_tokens);
    }
    most_ms = max_f(PACE_KEEP * pool->pace_ms, PACE_STRETCH * idle_ms * node->residual_step);
    return step_ms * node->residual_step <= pool->room.part * most_ms;
}

/* May the request go there now? Those in the buckets of ready ones are not at their limits: it
 * remains to be seen whether its KV fits. Where the model is being loaded no more may wait than
 * where it is ready: who is held can still go to the copy that comes first. */
static bool
has_room(const struct pool *pool, const struct candidate *c, const struct predict_node *node)
{
    if (pool->full)
        return false;
    if (pool->any_room)
        return true;
    if (pool->pace_ms == pool->pace_ms && !keeps_pace(pool, c, node))
        return false;
    if (pool->room.part == 1.0f && pool->core->placements[c->placement].state == MODEL_READY &&
        (node->kv_tokens_cap <= 0.0f ||
         node->kv_tokens_used + pool->need_tokens <= node->kv_tokens_cap))
        return true;
    return c->terms.queue_ms <= pool->room.queue_ms + c->terms.net_ms + c->terms.step_ms &&
           limit_room(pool->core, pool->now_ns, c->placement, pool->need_tokens, pool->room.part);
}

/* Is there a time by which it should begin? */
static bool
is_dated(const struct core *core, const struct request *r)
{
    return !isnan(r->arrived.deadline_ms) || !isnan(core->settings.ttft_goal_ms);
}

/* J but for what a failure would cost. */
static void
price(const struct pool *pool, struct candidate *c)
{
    const struct core *core = pool->core;
    const struct request *r = pool->r;
    struct predict_node node;
    struct predict_request request = {
        .prompt_tokens = r->prompt_tokens,
        .hit_tokens = c->hit_tokens,
        .output_tokens = r->output_tokens,
        .body_bytes = (float)r->arrived.body_bytes,
        .rounds = capacity_rounds(&core->hot[c->node]),
    };
    struct price p;

    capacity_estimate(core, pool->now_ns, c->placement, &node);
    predict_terms(&node, &request, &c->terms);
    price_node(&core->tuning, pool->soft_ms, &node, &request, &c->terms, &p);
    c->ext_ms = p.ext_ms;
    c->late_ms = p.late_ms;
    c->kv_ms = p.kv_ms;
    c->word_ms = claim_ms(core, c->node, p.cost_ms);
    c->cost_ms = p.cost_ms + c->word_ms;
    if (goal_given(&pool->goal))
        goal_weigh(&pool->goal, &node, c);
    c->barred = has_room(pool, c, &node) ? WHY_CHOSEN : WHY_FULL;
}

/* Who has the beginning of a prompt may cost a little more, or conversations would leave their
 * caches for every small difference, and soon nobody would have anything. How much more: what it
 * takes to read it again, once, but no more than stick_ms. Many that share a beginning at once are
 * another matter: until enough nodes have it, whoever is cheaper may become the next one. */
#define HOLDER_LOAD 0.6f /* of a holder's time that requests with one beginning may take */

static float
stick_most_ms(const struct pool *pool)
{
    const struct core *core = pool->core;
    const struct request *r = pool->r;
    uint64_t matched = prefix_matched(r, &pool->found);
    float rate = matched != 0 ? prefix_rate(core, pool->now_ns, matched) : 0.0f, hit, work_ms;
    const struct class_curve *cc;

    if (rate <= 0.0f)
        return core->tuning.stick_ms;
    hit = prefix_hit_tokens(core, r, pool->found.deepest);
    cc = capacity_class(core, r->arrived.model,
                        core->hot[core->links[pool->found.list[0].placement].node].class);
    work_ms = capacity_work_ms(core, r->arrived.model, &cc->curve, r->prompt_tokens - hit, hit,
                               r->output_tokens);
    return rate * work_ms * 0.001f > HOLDER_LOAD * (float)pool->found.deepest_count
               ? 0.0f
               : core->tuning.stick_ms;
}

static float
stick_ms(const struct pool *pool, const struct candidate *c, float most_ms)
{
    const struct core *core = pool->core;
    const struct node_hot *hot = &core->hot[c->node];
    const struct curve *curve = &capacity_class(core, pool->r->arrived.model, hot->class)->curve;
    float prompt = pool->r->prompt_tokens;
    float saved_ms = predict_prefill_ms(curve, prompt, 0.0f) -
                     predict_prefill_ms(curve, prompt - c->hit_tokens, c->hit_tokens);

    return min_f(most_ms, saved_ms * hot->residual);
}

/* J of all: with p_fail * (detect + redo elsewhere), less stick. Flat, with all it calls: a quarter
 * of a decision's time is saved. */
__attribute__((flatten)) static void
price_all(const struct pool *pool)
{
    const struct core *core = pool->core;
    float best = INFINITY, second = INFINITY, stick_most;

    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        price(pool, c);
        second = min_f(second, max_f(best, c->terms.first_ms));
        best = min_f(best, c->terms.first_ms);
    }
    if (pool->count == 1)
        second = best; /* nowhere else: the same again */
    stick_most = stick_most_ms(pool);
    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        float redo = c->terms.first_ms == best ? second : best;
        float detect_ms = ISOLATION_DETECT_GUESS_MS;
        float p_fail = (float)core->hot[c->node].p_fail * (1.0f / SHARE_ONE);
        if (p_fail > FAIL_SEEN) /* the cold record: one more cache line */
            detect_ms = core->cold[c->node].detect_ms;
        c->fail_ms = p_fail * (detect_ms + redo);
        c->stick_ms = c->hit_tokens > 0.0f ? stick_ms(pool, c, stick_most) : 0.0f;
        c->cost_ms += c->fail_ms - c->stick_ms;
        if (pool->mode == DECISION_STALE || pool->mode == DECISION_SUSPICION)
            c->cost_ms = fallback_cost_ms(core, c->placement);
    }
}

/* By when the first token is there. */
static void
note_times(const struct pool *pool, struct choice *ret_choice)
{
    for (size_t i = 0; i < pool->count; i++) {
        const struct candidate *c = &pool->list[i];
        const struct terms *t = &c->terms;
        float late_ms = GOAL_Z90 * t->sigma_ms, p90_ms = t->first_ms + late_ms;
        float idle_ms = p90_ms - t->queue_ms -
                        late_ms * t->queue_ms / max_f(t->first_ms - t->net_ms, 1e-3f);

        ret_choice->any_p90_ms = min_f(ret_choice->any_p90_ms, p90_ms);
        ret_choice->idle_p90_ms = min_f(ret_choice->idle_p90_ms, idle_ms);
        if (c->barred == WHY_CHOSEN)
            ret_choice->best_p90_ms = min_f(ret_choice->best_p90_ms, p90_ms);
    }
}

/* How little of what can fail it shares with the attempt beside it: another site first, then
 * another operator. */
static uint32_t
apartness(const struct core *core, uint32_t node, uint32_t beside)
{
    const struct node_cold *a = &core->cold[node], *b;

    if (beside == NODE_ANY) /* it left */
        return 0;
    b = &core->cold[beside];
    return 2u * (a->site != b->site) + (a->operator!= b->operator);
}

/* A second attempt has to come before the first one, and is of use where that one's misfortune is
 * not its own. */
static void
bar_beside(const struct pool *pool)
{
    const struct core *core = pool->core;
    uint32_t most = 0;

    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        if (c->barred == WHY_CHOSEN && core->placements[c->placement].bucket > BUCKET_READY_LAST)
            c->barred = WHY_NOT_READY;
        if (c->barred == WHY_CHOSEN && !(c->terms.first_ms < pool->beside->before_ms))
            c->barred = WHY_SLOWER;
        if (c->barred == WHY_CHOSEN && apartness(core, c->node, pool->beside->node) > most)
            most = apartness(core, c->node, pool->beside->node);
    }
    for (size_t i = 0; i < pool->count; i++) {
        struct candidate *c = &pool->list[i];
        if (c->barred == WHY_CHOSEN && apartness(core, c->node, pool->beside->node) < most)
            c->barred = WHY_TOGETHER;
    }
}

/* Only those that nothing bars may be chosen: they come first. Returns how many. */
static size_t
split_by_room(struct pool *pool, struct choice *ret_choice)
{
    size_t count = 0;

    if (pool->beside != NULL)
        bar_beside(pool);
    if (pool->dated)
        note_times(pool, ret_choice);
    while (count < pool->count && pool->list[count].barred == WHY_CHOSEN)
        count++;
    for (size_t i = count; i < pool->count; i++) {
        struct candidate other = pool->list[i];
        if (other.barred != WHY_CHOSEN)
            continue;
        pool->list[i] = pool->list[count];
        pool->list[count++] = other;
    }
    return count;
}

/* On what grounds it is expected to have any of the prompt. */
static void
choice_hit(const struct pool *pool, const struct candidate *c, struct choice *ret_choice)
{
    const struct prefix_found *f = &pool->found;

    ret_choice->guess = PREFIX_GUESS_NONE;
    ret_choice->hit_age = NAN;
    if (f->count == 0 && c->placement == f->stale.placement)
        ret_choice->hit_age = f->stale.age;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->list[i].placement == c->placement)
            ret_choice->hit_age = f->list[i].age;
    }
    if (!isnan(ret_choice->hit_age))
        return;
    if (c->placement == pool->ring[0] || c->placement == pool->ring[1]) {
        ret_choice->guess = PREFIX_GUESS_RING;
        ret_choice->guess_tokens = pool->ring_tokens;
    } else if (pool->common_tokens > 0.0f) {
        ret_choice->guess = PREFIX_GUESS_COMMON;
        ret_choice->guess_tokens = pool->common_tokens;
    }
}

/* The chosen one, and what the prefix index knew of it. */
static void
choice_take(const struct pool *pool, const struct candidate *c, struct choice *ret_choice)
{
    ret_choice->placement = c->placement;
    ret_choice->chosen = *c;
    ret_choice->matched = prefix_matched(pool->r, &pool->found);
    choice_hit(pool, c, ret_choice);
}

/* The rule's choice among the first `count`. */
static size_t
pick(struct pool *pool, size_t count, struct rng *rng)
{
    const struct core *core = pool->core;
    const struct request *r = pool->r;
    struct rule_input input = {.candidates = pool->list,
                               .count = count,
                               .last_node = core->models[r->arrived.model].last_node,
                               .now_ns = pool->now_ns,
                               .soft_ms = pool->soft_ms,
                               .state = core->rule_state};
    size_t at;

    if (pool->mode == DECISION_TIME && goal_given(&pool->goal)) {
        at = goal_fullest(pool->list, count);
        if (at < count) {
            pool->mode = DECISION_GOAL;
            return at;
        }
    }
    if (pool->mode == DECISION_TIME && (core->tuning.without & WITHOUT_SIGMA) == 0)
        input.temperature = core->tuning.temperature;
    input.request = (struct rule_request){.id = r->arrived.request,
                                          .session = r->arrived.session,
                                          .model = r->arrived.model,
                                          .tenant = r->arrived.tenant,
                                          .prompt_tokens = r->prompt_tokens,
                                          .output_tokens = r->output_tokens};
    if (r->chain != NULL && r->chain->count > 0)
        input.request.chain = r->chain;
    at = pool->rule->choose(&input, rng);
    must(at < count);
    return at;
}

const struct rule *
choose_rule(const struct core *core)
{
    return core->rule != NULL ? core->rule : rule_by_id(core->settings.rule);
}

void
choose(const struct core *core, uint64_t now_ns, const struct request *r, struct rng *rng,
       struct choice *ret_choice, struct decision *ret_decision)
{
    choose_beside(core, now_ns, r, NULL, rng, ret_choice, ret_decision);
}

void
choose_beside(const struct core *core, uint64_t now_ns, const struct request *r,
              const struct beside *beside, struct rng *rng, struct choice *ret_choice,
              struct decision *ret_decision)
{
    const struct rule *rule = choose_rule(core);
    bool predicts = rule->wants == RULE_WANTS_PREDICTION;
    struct candidate sample[CANDIDATES_TIME_MAX];
    struct pool pool = {.core = core,
                        .r = r,
                        .now_ns = now_ns,
                        .rule = rule,
                        .list = predicts ? sample : core->scratch,
                        .max = predicts ? CANDIDATES_TIME_MAX : core->config.nodes_max,
                        .mode = predicts ? DECISION_TIME : DECISION_RULE,
                        .goal = {NAN, NAN},
                        .own_region_max = core->tuning.own_region_max,
                        .elsewhere_max = core->tuning.elsewhere_max,
                        .soft_ms = soft_ms(core, now_ns, r),
                        .need_tokens = r->prompt_tokens + r->output_tokens,
                        .pace_ms = isnan(r->arrived.tpot_goal_ms) ? core->settings.tpot_goal_ms
                                                                  : r->arrived.tpot_goal_ms,
                        .room = admit_room(core, now_ns, r),
                        .dated = is_dated(core, r),
                        .beside = beside,
                        .ring = {NONE, NONE}};
    struct candidate *list;
    size_t at = 0, count, room, sampled;

    if (rule == &rule_time && beside == NULL)
        pool.goal = goal_of(core, now_ns, r);
    pool.any_room = r->arrived.only_node != NODE_ANY ||
                    (core->tuning.without & WITHOUT_ADMISSION) != 0;
    *ret_choice = (struct choice){.placement = NONE,
                                  .best_p90_ms = INFINITY,
                                  .any_p90_ms = INFINITY,
                                  .idle_p90_ms = INFINITY};
    explain_begin(core, now_ns, r, ret_decision);
    pool_collect(&pool);
    pool_look(&pool);
    if (pool.count == 0) {
        ret_choice->refusal = refusal_of(&pool);
        return;
    }
    pool_load(&pool, 0);
    sampled = pool.count;
    if (!pool.full) {
        pool_prefix(&pool);
        pool_load(&pool, sampled);
    }
    list = pool.list;
    count = pool.count;
    if (!predicts && !pool.full) { /* only what it chose is priced */
        at = pick(&pool, count, rng);
        pool.list += at;
        pool.count = 1;
    }
    price_all(&pool);
    room = split_by_room(&pool, ret_choice);
    if (room == 0) {
        ret_choice->refusal = REFUSAL_FULL;
        explain_full(pool.list, pool.count, ret_decision);
        return;
    }
    if (predicts)
        at = pick(&pool, room, rng);
    choice_take(&pool, &list[at], ret_choice);
    ret_decision->mode = (uint16_t)pool.mode;
    explain_candidates(core, pool.rule, list, count, predicts ? room : count, at, ret_decision);
}

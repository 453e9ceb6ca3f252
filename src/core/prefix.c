/* prefix - our own dispatches, by the hashes of what was sent; see prefix.h.
 *
 * A bucket is one cache line of (tag, placement, stamp), the newest first; a border with several
 * holders has an entry for each. The oldest makes room.
 *
 * An entry counts until the placement has computed as many prompt tokens since as its cache keeps.
 * An engine evicts the ends of prompts first, and a dispatch renews all borders of its prompt: so
 * who holds a border holds those before it, and the deepest one is found by looking at a few.
 *
 * What a cache keeps is not told by engines. The KV room that running requests leave is where we
 * begin; then a factor follows what they say of hits: a little up when something old was still
 * there, down when what should have been there was not. */
#include "core/prefix.h"

#include <string.h>

#include "base/fmath.h"
#include "core/capacity.h"
#include "core/readiness.h"

#define LOOKS          8u /* of the first round */
#define AHEAD          8u /* entered borders that are fetched ahead */
#define PLACE_MASK     ((1u << PREFIX_PLACE_BITS) - 1)
#define CACHE_TOKENS   100000.0f /* where nobody knows the KV capacity */
#define CACHE_PART_MIN 0.05f     /* of it that stays for prefixes, however much runs */
#define LN_CLASS_MAX   3.5f      /* host memory behind the accelerator's */
#define LN_NODE_MAX    1.5f
#define LN_UP          0.02f /* both: one in six that was thought old and there is not */
#define LN_DOWN        (-0.1f)
#define LN_FOUND       0.1f  /* it was thought gone and is there */
#define OLD            0.5f  /* age from which a hit says something of the size */
#define STALE          4.0f  /* age from which nobody looks */
#define RATIO_NEAR     1.25f /* further off, something else was cached than what was expected */
#define RATIO_PART     0.02f
#define RATIO_LEAST    0.85f /* what one node's claims may make of it, so that what is true stays */
#define RATIO_MOST     1.2f  /* near enough to lead it back */
#define GUESS_PART     0.02f
#define RATE_TAU_S     10.0
#define SESSION_SALT   0x9e3779b97f4a7c15u
#define NOTHING        0u /* matched: an honest hash is 0 once in 2^64 */

/* ---- Entries. */

/* Models on one node have caches of their own. */
static uint64_t
key_of(uint32_t model, uint64_t hash)
{
    return hash ^ ((model + 1) * UINT64_C(0xd6e8feb86659fd93));
}

static uint64_t
session_key(const struct request *r)
{
    return key_of(r->arrived.model, (r->arrived.session ^ SESSION_SALT) * SESSION_SALT);
}

static struct prefix_bucket *
line_of(const struct core *core, uint64_t key)
{
    return &core->prefix.buckets[(uint32_t)(key >> 32) & core->prefix.bucket_mask];
}

/* A bit for each way that has this tag. */
static uint32_t
ways_of(const struct prefix_bucket *b, uint32_t tag)
{
    uint32_t ways = 0;

    for (uint32_t i = 0; i < PREFIX_WAYS; i++)
        ways |= (uint32_t)(b->tags[i] == tag) << i;
    return ways;
}

/* The age of an entry in sizes of its cache; over 1: it should be gone. */
static float
age_of(const struct core *core, const struct prefix_bucket *b, uint32_t way)
{
    const struct prefix_cache *c = &core->prefix.caches[b->places[way] & PLACE_MASK];
    uint32_t age = c->clock - b->stamps[way];

    if (c->generation != b->places[way] >> PREFIX_PLACE_BITS)
        return INFINITY;
    return (float)age / max_f(1.0f, (float)c->size_tokens);
}

/* ---- Looking. */

/* The borders of the first round: evenly spread, the last one among them. */
static uint32_t
look_at(uint32_t borders, uint32_t i)
{
    return borders <= LOOKS ? i : (i + 1) * borders / LOOKS - 1;
}

static void
fetch(const struct core *core, uint32_t model, uint64_t hash)
{
    __builtin_prefetch(line_of(core, key_of(model, hash)));
}

const struct prefix_chain *
prefix_arrived(const struct core *core, uint32_t model, const struct prefix_chain *chain)
{
    uint32_t borders = chain->count;

    if (core->prefix.buckets == NULL || borders == 0 || borders > PREFIX_BORDERS_MAX)
        return NULL;
    for (uint32_t i = 0; i < LOOKS && i < borders; i++)
        fetch(core, model, chain->hashes[look_at(borders, i)]);
    return chain;
}

static void
found_add(struct prefix_found *f, uint32_t placement, uint32_t border, float age)
{
    struct prefix_holder *worst = &f->list[0];

    for (uint32_t i = 0; i < f->count; i++) {
        struct prefix_holder *h = &f->list[i];
        if (h->placement == placement) {
            if (border > h->border)
                *h = (struct prefix_holder){placement, border, age};
            return;
        }
        if (h->border < worst->border)
            worst = h;
    }
    if (f->count < f->most)
        f->list[f->count++] = (struct prefix_holder){placement, border, age};
    else if (border > worst->border)
        *worst = (struct prefix_holder){placement, border, age};
}

/* Who holds this border? False: nobody. */
static bool
look(const struct core *core, const struct request *r, uint32_t border, struct prefix_found *f)
{
    uint64_t key = key_of(r->arrived.model, r->chain->hashes[border]);
    const struct prefix_bucket *b = line_of(core, key);
    uint32_t holders = 0;

    for (uint32_t ways = ways_of(b, (uint32_t)key); ways != 0; ways &= ways - 1) {
        uint32_t way = (uint32_t)__builtin_ctz(ways);
        float age = age_of(core, b, way);
        if (age > 1.0f) {
            if (age < STALE && (f->stale.placement == NONE || border > f->stale.border))
                f->stale = (struct prefix_holder){b->places[way] & PLACE_MASK, border, age};
            continue;
        }
        holders++;
        found_add(f, b->places[way] & PLACE_MASK, border, age);
    }
    if (holders == PREFIX_HOLDERS_MAX && border >= f->common)
        f->common = border + 1;
    if (holders == 0 || (f->deepest_count > 0 && border <= f->deepest))
        return holders > 0;
    f->deepest = border;
    f->deepest_count = holders;
    return true;
}

/* Where the conversation was last: the newest entry of its key. */
static uint32_t
session_last(const struct core *core, const struct request *r)
{
    uint64_t key = session_key(r);
    const struct prefix_bucket *b = line_of(core, key);
    uint32_t ways = ways_of(b, (uint32_t)key);

    if (ways == 0 || age_of(core, b, (uint32_t)__builtin_ctz(ways)) > 1.0f)
        return NONE;
    return b->places[__builtin_ctz(ways)] & PLACE_MASK;
}

void
prefix_look(const struct core *core, const struct request *r, uint32_t most,
            struct prefix_found *ret_found)
{
    struct prefix_found *f = ret_found;
    uint32_t borders, above;

    f->count = f->deepest = f->deepest_count = f->common = f->from = f->to = 0;
    f->most = most;
    f->session_last = f->stale.placement = NONE;
    if (core->prefix.buckets == NULL || (core->tuning.without & WITHOUT_PREFIX) != 0)
        return;
    if (r->arrived.session != 0)
        f->session_last = session_last(core, r);
    if (r->chain == NULL)
        return;
    borders = above = r->chain->count;
    if (most > PREFIX_HOLDERS_MAX) {
        for (uint32_t i = borders; i > 0; i--)
            look(core, r, i - 1, f);
        return;
    }
    for (uint32_t i = borders < LOOKS ? borders : LOOKS; i > 0 && f->count < most; i--) {
        uint32_t border = look_at(borders, i - 1);
        if (!look(core, r, border, f) && f->deepest_count == 0)
            above = border;
    }
    f->from = f->deepest_count > 0 ? f->deepest + 1 : 0;
    f->to = above;
    for (uint32_t i = f->from; i < f->to; i++)
        fetch(core, r->arrived.model, r->chain->hashes[i]);
}

static struct prefix_rate *
rate_of(const struct core *core, uint64_t matched)
{
    return &core->prefix.rates[(matched >> 20) % PREFIX_RATES];
}

uint64_t
prefix_matched(const struct request *r, const struct prefix_found *found)
{
    return found->deepest_count == 0 ? NOTHING
                                     : key_of(r->arrived.model, r->chain->hashes[found->deepest]);
}

void
prefix_look_closer(const struct core *core, const struct request *r, struct prefix_found *found)
{
    for (uint32_t i = found->to; i > found->from; i--) {
        if (look(core, r, i - 1, found))
            break;
    }
    if (found->count > 0)
        __builtin_prefetch(rate_of(core, prefix_matched(r, found)));
}

float
prefix_hit_tokens(const struct core *core, const struct request *r, uint32_t border)
{
    const struct model_record *m = &core->models[r->arrived.model];
    float tokens = (float)prefix_border_bytes(border) / m->bytes_per_token[r->arrived.script];

    return max_f(0.0f, min_f(tokens * m->hit_ratio, r->prompt_tokens - 1.0f));
}

/* ---- Rates: of few borders, those that many share; a colder one gives way. */

static float
rate_now(uint64_t now_ns, const struct prefix_rate *rate)
{
    double s = (double)(int64_t)(now_ns - rate->noted_ns) * 1e-9;

    return s > 20.0 * RATE_TAU_S ? 0.0f : rate->per_s * (float)fmath_exp(-s / RATE_TAU_S);
}

float
prefix_rate(const struct core *core, uint64_t now_ns, uint64_t matched)
{
    const struct prefix_rate *rate = rate_of(core, matched);

    return rate->hash == matched ? rate_now(now_ns, rate) : 0.0f;
}

static void
rate_note(struct core *core, uint64_t matched)
{
    struct prefix_rate *rate = rate_of(core, matched);
    float one = (float)(1.0 / RATE_TAU_S), per_s = rate_now(core->now_ns, rate);

    if (rate->hash != matched && per_s > one)
        return;
    rate->per_s = (rate->hash == matched ? per_s : 0.0f) + one;
    rate->hash = matched;
    rate->noted_ns = core->now_ns;
}

/* ---- Entering. */

void
prefix_keep(struct core *core, struct request *r)
{
    struct prefix_chain *kept;

    if (r->chain == NULL)
        return;
    kept = &core->prefix.chains[r - core->requests];
    kept->count = r->chain->count;
    memcpy(kept->hashes, r->chain->hashes, kept->count * sizeof(kept->hashes[0]));
    r->chain = kept;
}

void
prefix_dispatched(struct core *core, const struct request *r, const struct attempt *a,
                  uint32_t placement, uint64_t matched)
{
    struct prefix_index *x = &core->prefix;

    if (x->buckets == NULL)
        return;
    if (x->later_count == ACTIONS_MAX)
        prefix_settle(core);
    x->later[x->later_count++] = (struct prefix_dispatch){
        .request = (uint32_t)(r - core->requests),
        .placement = placement,
        .uncached_tokens = r->prompt_tokens - a->hit_tokens,
        .matched = matched,
    };
}

/* The entry for (key, place) becomes the newest of its bucket; if it is none yet, the oldest makes
 * room: of the same border where that has its share of holders, else of all. */
static void
enter(struct core *core, uint64_t key, uint32_t place, uint32_t clock)
{
    struct prefix_bucket *b = line_of(core, key);
    uint32_t tag = (uint32_t)key, way = PREFIX_WAYS, holders = 0;

    for (uint32_t ways = ways_of(b, tag); ways != 0; ways &= ways - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(ways);
        if (b->places[i] == 0)
            continue;
        holders++;
        if (b->places[i] == place || holders == PREFIX_HOLDERS_MAX) {
            way = i;
            break;
        }
    }
    if (way == PREFIX_WAYS) {
        way = PREFIX_WAYS - 1;
        if (b->places[way] == 0)
            core->prefix.entries++;
        else if (age_of(core, b, way) <= 1.0f)
            core->prefix.evictions++;
    }
    for (; way > 0; way--) {
        b->tags[way] = b->tags[way - 1];
        b->places[way] = b->places[way - 1];
        b->stamps[way] = b->stamps[way - 1];
    }
    b->tags[0] = tag;
    b->places[0] = place;
    b->stamps[0] = clock;
}

static struct class_learned *
class_of_node(const struct core *core, uint32_t model, const struct node_hot *hot)
{
    return &core->learned[(size_t)model * core->config.classes_max + hot->class];
}

/* The prompt is in this cache now: its clock goes on, by others' requests too. */
static uint32_t
cache_advance(struct core *core, const struct prefix_dispatch *d)
{
    struct prefix_cache *c = &core->prefix.caches[d->placement];
    const struct node_hot *hot = &core->hot[core->links[d->placement].node];
    uint32_t model = core->placements[d->placement].model;
    const struct class_curve *cc = capacity_class(core, model, hot->class);
    float learned = c->size_ln + class_of_node(core, model, hot)->cache_ln;
    float cap = hot->kv_tokens_cap > 0.0f  ? hot->kv_tokens_cap
                : cc->kv_tokens_cap > 0.0f ? cc->kv_tokens_cap
                                           : CACHE_TOKENS;
    float room = max_f(CACHE_PART_MIN * cap, cap - hot->others_kv_tokens - hot->own_kv_tokens);
    float share = max_f(1.0f, (float)hot->share) / SHARE_ONE;

    c->size_tokens = (uint32_t)min_f(room * (float)fmath_exp((double)learned), 2e9f);
    c->clock += (uint32_t)min_f(max_f(0.0f, d->uncached_tokens) / share, 1e9f);
    return c->clock;
}

static void
settle(struct core *core, const struct prefix_dispatch *d)
{
    const struct request *r = &core->requests[d->request];
    uint32_t model = r->arrived.model, borders = r->chain != NULL ? r->chain->count : 0;
    uint32_t generation = core->prefix.caches[d->placement].generation;
    uint32_t place = d->placement | generation << PREFIX_PLACE_BITS, clock;

    for (uint32_t i = 0; i < borders && i < AHEAD; i++)
        fetch(core, model, r->chain->hashes[i]);
    clock = cache_advance(core, d);
    if (d->matched != NOTHING)
        rate_note(core, d->matched);
    if (r->arrived.session != 0)
        enter(core, session_key(r), place, clock);
    for (uint32_t i = 0; i < borders; i++) {
        if (i + AHEAD < borders)
            fetch(core, model, r->chain->hashes[i + AHEAD]);
        enter(core, key_of(model, r->chain->hashes[i]), place, clock);
    }
}

void
prefix_settle(struct core *core)
{
    for (uint32_t i = 0; i < core->prefix.later_count; i++)
        settle(core, &core->prefix.later[i]);
    core->prefix.later_count = 0;
}

/* ---- Learning. */

/* Something was expected there, because it had been sent before. */
static void
learn_cache(struct core *core, const struct request *r, const struct attempt *a, uint32_t placement,
            float cached)
{
    struct model_record *m = &core->models[r->arrived.model];
    struct class_learned *class = class_of_node(core, r->arrived.model, &core->hot[a->node]);
    struct prefix_cache *c = &core->prefix.caches[placement];
    float ratio = cached * prefix_chance(a->hit_age) / a->hit_tokens, step = 0.0f;

    if (a->hit_age > 1.0f)
        step = ratio > 0.5f ? LN_FOUND : 0.0f;
    else if (ratio < 0.5f)
        step = LN_DOWN;
    else if (a->hit_age > OLD)
        step = LN_UP;
    c->size_ln = min_f(LN_NODE_MAX, max_f(-LN_NODE_MAX, c->size_ln + step));
    class->cache_ln = min_f(LN_CLASS_MAX, max_f(-LN_CLASS_MAX, class->cache_ln + step));
    if (ratio < RATIO_NEAR && ratio > 1.0f / RATIO_NEAR)
        m->hit_ratio = min_f(
            RATIO_MOST, max_f(RATIO_LEAST, m->hit_ratio * (1.0f + RATIO_PART * (ratio - 1.0f))));
}

void
prefix_ended(struct core *core, const struct request *r, const struct attempt *a,
             const struct event_ended *e)
{
    struct model_record *m = &core->models[r->arrived.model];
    float cached = (float)e->cached_tokens;
    uint32_t p;

    if (core->prefix.buckets == NULL || a->node == NODE_ANY || r->chain == NULL ||
        (e->cached_known == 0 && e->cached_tokens == 0))
        return;
    if (a->guess != PREFIX_GUESS_NONE) {
        float *hit = &m->guess_hit[a->guess];
        *hit += GUESS_PART * (min_f(1.0f, cached / max_f(1.0f, a->guess_tokens)) - *hit);
        return;
    }
    p = readiness_find(core, a->node, r->arrived.model);
    if (p != NONE && !isnan(a->hit_age) && a->hit_tokens > 0.0f)
        learn_cache(core, r, a, p, cached);
}

/* ---- Caches. */

void
prefix_new(struct core *core, uint32_t placement)
{
    if (core->prefix.buckets == NULL)
        return;
    core->prefix.caches[placement].size_ln = 0.0f;
    prefix_forget(core, placement);
}

void
prefix_forget(struct core *core, uint32_t placement)
{
    struct prefix_cache *c;

    if (core->prefix.buckets == NULL)
        return;
    c = &core->prefix.caches[placement];
    c->generation = c->generation + 1 < PREFIX_GENERATIONS ? c->generation + 1 : 1;
}

void
prefix_forget_node(struct core *core, uint32_t node)
{
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next)
        prefix_forget(core, p);
}

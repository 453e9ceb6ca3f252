/* plan_worth - what a copy saves; see plan_worth.h. */
#include "core/plan_worth.h"

#include <math.h>

#include "base/fmath.h"
#include "core/capacity.h"
#include "core/demand.h"
#include "core/fair.h"
#include "core/index.h"
#include "core/load_time.h"

#define AHEAD_MS       60000.0f              /* demand is met so far ahead: a load and some more */
#define STAY_NS        UINT64_C(60000000000) /* what came stays, unless it is worth far less */
#define STAY_FACTOR    4.0f
#define WANTED_LEAST_S 1e-4f /* requests/s: less is no demand */
#define Z_MAX          3.0f
#define LOAD_GUESS     20000.0f

#define STAY_TOKENS_MIN 8u  /* shorter answers say little about how long one takes */
#define STAYS_MEAN      64u /* that stay_factor is a mean of */
#define STAY_FACTOR_MAX 1000.0f

/* Requests a second that all regions expect. */
static float
demand_all(const struct core *core, uint32_t model)
{
    uint64_t regions = core->models[model].demand_mask;
    float sum = 0.0f;

    for (; regions != 0; regions &= regions - 1)
        sum += demand_ahead(core, core->now_ns, model, (uint32_t)__builtin_ctzll(regions), 0.0f);
    return sum;
}

/* What the best ready copy in another region costs on top of what is the same everywhere: the way,
 * and how busy it is. INFINITY: there is none. */
static float
elsewhere_ms(const struct core *core, uint32_t model, uint32_t region)
{
    float best_ms = INFINITY;

    for (uint32_t i = 0; i < core->config.regions_max; i++) {
        uint32_t q = core->region_order[i];
        uint32_t mask;
        if (core->paths[q].rtt_ms >= best_ms)
            break;
        mask = core->bucket_masks[index_slot(core, model, q)] & INDEX_READY_MASK;
        if (q != region && mask != 0)
            best_ms = min_f(best_ms,
                            core->paths[q].rtt_ms + index_bucket_ms((uint32_t)__builtin_ctz(mask)));
    }
    return best_ms;
}

/* How long a request has its slot with a few beside it, as the class's curve says. */
static float
told_stay_ms(const struct core *core, uint32_t model, uint32_t class, float prompt, float output)
{
    const struct curve *c = &capacity_class(core, model, class)->curve;
    float kv_tokens = PREDICT_BATCH_GUESS * core->models[model].prompt_mean;

    return predict_prefill_ms(c, prompt, 0.0f) +
           output * predict_step_ms(c, PREDICT_BATCH_GUESS, kv_tokens);
}

/* The same of its usual request. Where copies have slots of their own, as long as it really is:
 * others take turns with it. (Where all share the node's, a copy's part of them has that in it.) */
static float
stay_s(const struct core *core, uint32_t model, uint32_t node)
{
    const struct model_record *m = &core->models[model];
    bool is_learned = m->stays > 0 && core->cold[node].model_slots > 0;
    float told_ms = told_stay_ms(core, model, core->hot[node].class, m->prompt_mean,
                                 m->output_mean);

    return 1e-3f * told_ms * (is_learned ? m->stay_factor : 1.0f);
}

/* From when its prompt's turn came to its end; NAN: it cannot be told. */
static float
stayed_ms(const struct core *core, const struct request *r, const struct attempt *a,
          const struct event_ended *e)
{
    const struct curve *c;

    if (e->engine_prefill_ms > 0.0f && e->engine_decode_ms > 0.0f)
        return e->engine_prefill_ms + e->engine_decode_ms;
    if (r->arrived.stream == 0 || a->started_ns == 0 || e->held_up != 0)
        return NAN;
    c = &capacity_class(core, r->arrived.model, core->hot[a->node].class)->curve;
    return predict_prefill_ms(c, (float)e->prompt_tokens, a->hit_tokens) +
           ns_to_ms(core->now_ns - a->started_ns);
}

void
plan_worth_ended(struct core *core, const struct request *r, const struct attempt *a,
                 const struct event_ended *e)
{
    struct model_record *m = &core->models[r->arrived.model];
    float ms, told_ms;

    if (a->node == NODE_ANY || e->prompt_tokens == 0 || e->output_tokens < STAY_TOKENS_MIN ||
        (core->tuning.without & WITHOUT_LEARNING) != 0)
        return;
    ms = stayed_ms(core, r, a, e);
    if (!(ms >= 0.0f))
        return;
    told_ms = told_stay_ms(core, r->arrived.model, core->hot[a->node].class,
                           (float)e->prompt_tokens, (float)e->output_tokens);
    if (m->stays < STAYS_MEAN)
        m->stays++;
    m->stay_factor += (min_f(STAY_FACTOR_MAX, ms / max_f(told_ms, 1e-3f)) - m->stay_factor) /
                      (float)m->stays;
}

/* Requests at once that a copy takes: its own slots, where the node's models have such; else the
 * node's, shared by as many as fit beside it. */
static float
copy_room(const struct core *core, uint32_t model, uint32_t node)
{
    uint32_t own = core->cold[node].model_slots;
    float slots = core->hot[node].slots > 0 ? (float)core->hot[node].slots : PREDICT_BATCH_GUESS;
    float part = core->models[model].weights_mib / max_f(core->cold[node].plan.memory_mib, 1.0f);

    return own > 0 ? (float)own : max_f(1.0f, slots * min_f(part, 1.0f));
}

/* Is it one of its region's copies, as index has them? */
static bool
is_copy(const struct core *core, uint32_t placement)
{
    return placement != NONE && core->placements[placement].bucket <= BUCKET_LOADING;
}

/* What the region's copies take at once, but for one: each its own slots, and those without as much
 * as the one that they are asked about. */
static float
room_beside(const struct core *core, uint32_t model, uint32_t region, uint32_t but, float room)
{
    size_t slot = index_slot(core, model, region);
    float own = (float)core->owns[slot].slots,
          shared = (float)(core->demands[slot].copies - core->owns[slot].copies);

    if (is_copy(core, but)) {
        own -= (float)core->slotted[but].slots;
        shared -= core->slotted[but].slots == 0 ? 1.0f : 0.0f;
    }
    return own + shared * room;
}

/* Requests at once: those that come while one stays (Little), but no less than there are, where
 * some are held since all copies are full. Of these we know ours. */
static float
requests_at_once(const struct core *core, uint32_t model, float rate, float stay, float beside)
{
    uint32_t held = core->fair.held > 0 ? fair_ahead(&core->fair, model, PRIORITIES_MAX - 1) : 0;

    if (held == 0)
        return rate * stay;
    return max_f(rate * stay,
                 beside + (float)held / max_f(PLAN_OWN_PART_LEAST, demand_own_part(core, model)));
}

/* The part of the demand that finds no room. upper: its upper quantile, in requests at once. */
static float
left_over(float room, float upper)
{
    return max_f(0.0f, 1.0f - room / max_f(upper, 1e-6f));
}

/* What a copy with this room takes of it, beside what the others take. */
static float
copy_part(float beside, float room, float at_once)
{
    return left_over(beside, at_once) - left_over(beside + room, at_once);
}

float
plan_price(const struct core *core, uint32_t model)
{
    return core->plan.price_ms_s_mib * core->models[model].weights_mib;
}

float
plan_worth(const struct core *core, uint32_t model, uint32_t node, uint32_t but)
{
    uint32_t region = core->hot[node].region;
    uint32_t local = core->demands[index_slot(core, model, region)].copies;
    float rate = demand_ahead(core, core->now_ns, model, core->config.own_region, AHEAD_MS);
    bool is_first = local == (is_copy(core, but) ? 1u : 0u);
    float saved_ms, waits_ms, at_once, z, room, beside, upper, part, stay;

    if (core->models[model].copies <= local) { /* none elsewhere */
        float load_ms = load_time_ms(core, node, model);
        if (isinf(load_ms))
            load_ms = LOAD_GUESS;
        if (is_first)
            return demand_all(core, model) * load_ms;
        saved_ms = load_ms;
    } else {
        float other_ms = elsewhere_ms(core, model, region);
        saved_ms = isinf(other_ms) ? LOAD_GUESS : other_ms - core->paths[region].rtt_ms;
    }
    if (!(saved_ms > 0.0f) || rate < WANTED_LEAST_S)
        return 0.0f;
    room = copy_room(core, model, node);
    beside = room_beside(core, model, region, but, room);
    stay = stay_s(core, model, node);
    at_once = requests_at_once(core, model, rate, stay, beside);
    waits_ms = is_first ? saved_ms : min_f(saved_ms, 1e3f * stay);
    z = (float)fmath_log((double)(rate * waits_ms / max_f(plan_price(core, model), 1e-3f))) /
        1.702f;
    z = max_f(0.0f, min_f(Z_MAX, z)); /* of the quantile that lack and excess ask for */
    upper = at_once + z * sqrtf(at_once);
    part = copy_part(beside, room, at_once);
    return rate * (saved_ms * part + waits_ms * max_f(0.0f, copy_part(beside, room, upper) - part));
}

float
plan_loss(const struct core *core, uint32_t p)
{
    const struct placement *pl = &core->placements[p];
    float worth;

    if (pl->state != MODEL_READY || core->placed[p].pinned ||
        core->models[pl->model].weights_mib < PLAN_WEIGHTS_LEAST_MIB)
        return INFINITY;
    worth = plan_worth(core, pl->model, core->links[p].node, p);
    if (core->placed[p].since_ns != 0 && core->now_ns - core->placed[p].since_ns < STAY_NS)
        worth = STAY_FACTOR * worth + plan_price(core, pl->model);
    return worth;
}

/* plan_worth - what a copy saves; see plan_worth.h. */
#include "core/plan_worth.h"

#include <math.h>

#include "base/fmath.h"
#include "core/capacity.h"
#include "core/demand.h"
#include "core/index.h"
#include "core/load_time.h"

#define AHEAD_MS       60000.0f              /* demand is met so far ahead: a load and some more */
#define STAY_NS        UINT64_C(60000000000) /* what came stays, unless it is worth far less */
#define STAY_FACTOR    4.0f
#define WANTED_LEAST_S 1e-4f /* requests/s: less is no demand */
#define Z_MAX          3.0f
#define LOAD_GUESS     20000.0f

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

/* How long a request stays on a node of this class with a few beside it. */
static float
stay_s(const struct core *core, uint32_t model, uint32_t class)
{
    const struct model_record *m = &core->models[model];
    const struct curve *c = &capacity_class(core, model, class)->curve;
    float step_ms = predict_step_ms(c, PREDICT_BATCH_GUESS, PREDICT_BATCH_GUESS * m->prompt_mean);

    return 1e-3f * (predict_prefill_ms(c, m->prompt_mean, 0.0f) + m->output_mean * step_ms);
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

/* The part of the demand that finds no room in so many copies. upper: its upper quantile, in
 * requests at once. */
static float
left_over(float copies, float room, float upper)
{
    if (copies <= 0.0f)
        return 1.0f;
    return max_f(0.0f, 1.0f - copies * room / max_f(upper, 1e-6f));
}

/* What the copy number nth takes of it. */
static float
copy_part(uint32_t nth, float room, float at_once)
{
    return left_over((float)nth - 1.0f, room, at_once) - left_over((float)nth, room, at_once);
}

float
plan_price(const struct core *core, uint32_t model)
{
    return core->plan.price_ms_s_mib * core->models[model].weights_mib;
}

float
plan_worth(const struct core *core, uint32_t model, uint32_t node, uint32_t nth)
{
    uint32_t region = core->hot[node].region, class = core->hot[node].class;
    uint32_t local = core->demands[index_slot(core, model, region)].copies;
    float rate = demand_ahead(core, core->now_ns, model, core->config.own_region, AHEAD_MS);
    float saved_ms, waits_ms, at_once, z, room, upper, part;

    if (core->models[model].copies <= local) { /* none elsewhere */
        float load_ms = load_time_ms(core, node, model);
        if (isinf(load_ms))
            load_ms = LOAD_GUESS;
        if (nth == 1)
            return demand_all(core, model) * load_ms;
        saved_ms = load_ms;
    } else {
        float other_ms = elsewhere_ms(core, model, region);
        saved_ms = isinf(other_ms) ? LOAD_GUESS : other_ms - core->paths[region].rtt_ms;
    }
    if (!(saved_ms > 0.0f) || rate < WANTED_LEAST_S)
        return 0.0f;
    at_once = rate * stay_s(core, model, class);
    waits_ms = nth == 1 ? saved_ms : min_f(saved_ms, 1e3f * stay_s(core, model, class));
    z = (float)fmath_log((double)(rate * waits_ms / max_f(plan_price(core, model), 1e-3f))) /
        1.702f;
    z = max_f(0.0f, min_f(Z_MAX, z)); /* of the quantile that lack and excess ask for */
    upper = at_once + z * sqrtf(at_once);
    room = copy_room(core, model, node);
    part = copy_part(nth, room, at_once);
    return rate * (saved_ms * part + waits_ms * max_f(0.0f, copy_part(nth, room, upper) - part));
}

float
plan_loss(const struct core *core, uint32_t p)
{
    const struct placement *pl = &core->placements[p];
    uint32_t node = core->links[p].node;
    uint32_t local = core->demands[index_slot(core, pl->model, core->hot[node].region)].copies;
    float worth;

    if (pl->state != MODEL_READY || core->placed[p].pinned ||
        core->models[pl->model].weights_mib < PLAN_WEIGHTS_LEAST_MIB)
        return INFINITY;
    worth = plan_worth(core, pl->model, node, local > 0 ? local : 1);
    if (core->placed[p].since_ns != 0 && core->now_ns - core->placed[p].since_ns < STAY_NS)
        worth = STAY_FACTOR * worth + plan_price(core, pl->model);
    return worth;
}

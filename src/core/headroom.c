/* headroom - nodes into cells of model by region; see headroom.h. */
#include "core/headroom.h"

#include <math.h>

#include "core/capacity.h"
#include "core/headroom_check.h"
#include "core/headroom_pace.h"
#include "core/isolation.h"
#include "core/model_slots.h"
#include "core/predict.h"
#include "core/suspicion.h"

#define GOAL_FIRST_MS     1000.0f /* where none is configured */
#define GOAL_PER_TOKEN_MS 1.0f
#define GOAL_STEP_MS      60.0f
#define MIX_PART          0.001f /* of one request in a usual one */
#define TOLD_EVERY_NS     UINT64_C(1000000000)
#define TICK_CELLS        256   /* that a tick tells, a model without any counted as one */
#define FREE_LEAST        0.02f /* of a node's time: more than the rest is never counted as taken */
#define KNOWN_TOKENS      8.0f  /* that tell how long a cycle is */
#define TAIL_LEAST        0.3f
#define UNLIKE_PART       2.0f /* how much less even prompts of unlike lengths make the cycle */

/* How much before the mean the p90 breaks, in 1/sqrt(n). */
static const float headroom_tails[HEADROOM_LIMITS] = {[HEADROOM_PREFILL] = 0.5f,
                                                      [HEADROOM_DECODE] = 1.0f,
                                                      [HEADROOM_KV] = 1.0f,
                                                      [HEADROOM_SLOTS] = 1.0f};

void
headroom_goals(const struct core *core, struct headroom_goals *ret_goals)
{
    const struct event_settings *s = &core->settings;
    bool first = s->ttft_goal_ms > 0.0f, step = s->tpot_goal_ms > 0.0f;

    *ret_goals = (struct headroom_goals){.first_ms = first ? s->ttft_goal_ms : GOAL_FIRST_MS,
                                         .first_per_token_ms = first ? 0.0f : GOAL_PER_TOKEN_MS,
                                         .step_ms = step ? s->tpot_goal_ms : GOAL_STEP_MS,
                                         .is_first_configured = first,
                                         .is_step_configured = step};
}

struct model_mix
headroom_mix(const struct core *core, uint32_t model)
{
    const struct model_record *m = &core->models[model];

    if (m->mix.count > 0.0f)
        return m->mix;
    return (struct model_mix){.prompt = m->prompt_mean,
                              .output = max_f(1.0f, m->output_mean),
                              .held = m->output_mean * (m->prompt_mean + 0.5f * m->output_mean),
                              .uncached = m->prompt_mean,
                              .uncached_sq = m->prompt_mean * m->prompt_mean};
}

/* ---- One node. */

/* How unevenly requests bring their work: its square's mean, where prompts are unlike. */
static float
lump_of(const struct headroom_work *w, const struct model_mix *mix)
{
    float unlike = max_f(0.0f, mix->uncached_sq / (mix->uncached * mix->uncached) - 1.0f);
    float all = w->prefill + w->decode;

    return all * (all + UNLIKE_PART * unlike * w->prefill);
}

/* The rate at which so many run: lambda = n / (L * C), C = T0 / (1 - others - lambda*w). */
static float
headroom_rate_of(float running, float free, float t0_ms, float output, float work_ms)
{
    return running * free / max_f(1e-6f, output * t0_ms + running * work_ms);
}

void
headroom_rates(const struct headroom_node *node, const struct model_mix *mix,
               const struct headroom_goals *goals, struct headroom_rates *ret_rates)
{
    const struct curve *c = &node->curve;
    struct headroom_work w = headroom_work_of(c, mix);
    float free = max_f(0.0f, 1.0f - node->other_work), t0 = c->t0_ms + node->other_t0_ms;
    float all = max_f(1e-6f, w.prefill + w.decode);
    float fill = w.prefill + t0 * mix->uncached / PREDICT_BUDGET_TOKENS;
    float step = goals->step_ms, *most = ret_rates->most_ms, *pooled = ret_rates->pooled;
    float own;
    float wait_ms, kv = INFINITY, slots = INFINITY;

    most[HEADROOM_PREFILL] = free / max_f(1e-6f, fill + w.decode);
    wait_ms = goals->first_ms + goals->first_per_token_ms * mix->prompt - node->rtt_ms - fill - t0;
    pooled[HEADROOM_PREFILL] = max_f(0.0f, wait_ms) / max_f(1e-6f, fill);
    most[HEADROOM_DECODE] = max_f(0.0f, free - t0 / step) / all;
    own = most[HEADROOM_DECODE] * all;
    pooled[HEADROOM_DECODE] = own * own * mix->output * step /
                              max_f(1e-6f, most[HEADROOM_DECODE] * lump_of(&w, mix) +
                                               node->other_lumps_ms);
    if (node->kv_tokens_cap > 0.0f)
        kv = node->kv_tokens_cap / max_f(1.0f, w.kv_tokens);
    if (node->slots > 0.0f)
        slots = node->slots;
    pooled[HEADROOM_KV] = kv;
    pooled[HEADROOM_SLOTS] = slots;
    most[HEADROOM_KV] = kv < INFINITY ? headroom_rate_of(kv, free, t0, mix->output, all) : kv;
    most[HEADROOM_SLOTS] = slots < INFINITY ? headroom_rate_of(slots, free, t0, mix->output, all)
                                            : slots;
}

float
headroom_tail(uint32_t limit, float pooled)
{
    if (!(pooled > 0.0f))
        return 0.0f;
    return max_f(TAIL_LEAST, 1.0f - headroom_tails[limit] / sqrtf(pooled));
}

/* ---- What comes in. */

void
headroom_sent(struct core *core, uint32_t placement)
{
    core->links[placement].sent++;
}

void
headroom_ended(struct core *core, const struct request *r, const struct attempt *a,
               const struct event_ended *e)
{
    struct model_mix *mix = &core->models[r->arrived.model].mix;
    float prompt = (float)e->prompt_tokens,
          cached = e->cached_known != 0 ? (float)e->cached_tokens : a->hit_tokens;
    float uncached = max_f(1.0f, prompt - cached), output = (float)e->output_tokens, part;

    headroom_pace_ended(core, r, a, e);
    if (e->prompt_tokens == 0 || e->output_tokens == 0)
        return;
    mix->count = min_f(mix->count + 1.0f, 1.0f / MIX_PART);
    part = 1.0f / mix->count;
    mix->prompt += part * (prompt - mix->prompt);
    mix->output += part * (output - mix->output);
    mix->held += part * (output * (prompt + 0.5f * output) - mix->held);
    mix->uncached += part * (uncached - mix->uncached);
    mix->uncached_sq += part * (uncached * uncached - mix->uncached_sq);
}

/* ---- A visit. */

/* The models that are ready there, and how much we send to each; how many. */
static uint32_t
headroom_turns(struct core *core, uint32_t node, float since_ms, struct headroom_turn *ret_turns)
{
    uint32_t count = 0;

    for (uint32_t p = core->cold[node].first_placement; p != NONE && count < CORE_NODE_MODELS_MAX;
         p = core->placements[p].node_next) {
        struct placed *placed = &core->placed[p];
        struct headroom_turn *t = &ret_turns[count];
        uint32_t sent = core->links[p].sent;
        if (since_ms > 0.0f)
            placed->sent_ms += min_f(1.0f, since_ms / (placed->pace.time_ms + since_ms)) *
                               ((float)sent / since_ms - placed->sent_ms);
        headroom_of(core, core->placements[p].model, core->hot[node].region)->sent += sent;
        core->links[p].sent = 0;
        if (core->placements[p].state != MODEL_READY)
            continue;
        t->placement = p;
        t->mix = headroom_mix(core, core->placements[p].model);
        t->own_ms = placed->sent_ms;
        t->others_ms = 0.0f;
        count++;
    }
    headroom_pace_look(core, node, since_ms, ret_turns, count);
    return count;
}

/* What we send of a model to a node: half by that node, half by all of the region. */
static float
usual_ms(const struct core *core, const struct headroom_turn *t)
{
    const struct headroom *h = headroom_of(core, core->placements[t->placement].model,
                                           core->hot[core->links[t->placement].node].region);
    float all = h->sent_ms * h->own_part / max_f(1.0f, (float)h->nodes);

    return 0.5f * (t->own_ms + all);
}

/* Other gateways have `running` requests there, and send models as we do: B = x * C * sum of usual
 * * output, with x the only unknown; and where none of ours tells how long the cycle is, C = T0 + B
 * * (mean work of a token). Fills in others_ms. */
static void
others_spread(const struct core *core, struct headroom_turn *turns, uint32_t count, float running)
{
    float tokens_ms = 0.0f, work = 0.0f, t0_ms = 0.0f, known = 0.0f, known_ms = 0.0f, cycle_ms;

    for (uint32_t i = 0; i < count; i++) {
        const struct headroom_turn *t = &turns[i];
        const struct pace *pace = &core->placed[t->placement].pace;
        float rate_ms = usual_ms(core, t);
        tokens_ms += rate_ms * t->mix.output;
        work += rate_ms * (t->at_pace.prefill + t->at_pace.decode);
        t0_ms += t->curve.t0_ms;
        known += pace->tokens;
        known_ms += pace->step_ms;
    }
    if (!(tokens_ms > 0.0f) || !(running > 0.0f))
        return;
    cycle_ms = known >= KNOWN_TOKENS ? known_ms / known : t0_ms + running * work / tokens_ms;
    for (uint32_t i = 0; i < count; i++)
        turns[i].others_ms = usual_ms(core, &turns[i]) * running /
                             max_f(1e-6f, tokens_ms * cycle_ms);
}

/* The part of all time that it takes. */
static float
turn_part(const struct headroom_turn *t)
{
    float at_base = t->at_base.prefill + t->at_base.decode;
    float at_pace = t->at_pace.prefill + t->at_pace.decode;

    return t->own_part * at_pace / max_f(1e-6f, at_base) + t->others_ms * at_pace;
}

/* Its part of the room for KV: by what each model would have, were it alone. */
static float
kv_cap_of(const struct core *core, const struct node_hot *hot, const struct headroom_turn *turns,
          uint32_t count, uint32_t which)
{
    float all = 0.0f, own = 0.0f;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t model = core->placements[turns[i].placement].model;
        float cap = capacity_class(core, model, hot->class)->kv_tokens_cap;
        all += cap;
        own = i == which ? cap : own;
    }
    if (hot->kv_tokens_cap > 0.0f)
        return hot->kv_tokens_cap * (own > 0.0f ? own / all : 1.0f / (float)count);
    return own / (float)count;
}

static void
headroom_add(struct core *core, uint32_t node, const struct headroom_turn *turns, uint32_t count,
             uint32_t which, const struct headroom_goals *goals)
{
    const struct headroom_turn *t = &turns[which];
    const struct node_hot *hot = &core->hot[node];
    uint32_t model = core->placements[t->placement].model, least = 0;
    struct headroom_sum *sum = &headroom_of(core, model, hot->region)->sum;
    struct headroom_node n = {.curve = t->curve,
                              .kv_tokens_cap = kv_cap_of(core, hot, turns, count, which),
                              .slots = model_slots_of(core, t->placement),
                              .rtt_ms = hot->rtt_ms};
    struct headroom_rates rates;

    for (uint32_t i = 0; i < count; i++) {
        if (i == which)
            continue;
        n.other_work += turn_part(&turns[i]);
        n.other_lumps_ms += turn_part(&turns[i]) * lump_of(&turns[i].at_pace, &turns[i].mix) /
                            max_f(1e-6f, turns[i].at_pace.prefill + turns[i].at_pace.decode);
        n.other_t0_ms += headroom_busy(&turns[i], goals->step_ms) * turns[i].curve.t0_ms;
    }
    n.other_work = min_f(1.0f - FREE_LEAST, n.other_work);
    headroom_rates(&n, &t->mix, goals, &rates);
    for (uint32_t k = 1; k < HEADROOM_LIMITS; k++) {
        if (rates.most_ms[k] < rates.most_ms[least])
            least = k;
    }
    sum->most_ms[least] += rates.most_ms[least];
    sum->pooled[least] += rates.pooled[least];
    sum->known_ms += t->known * rates.most_ms[least];
    sum->others_part += n.other_work;
    sum->sent_ms += t->own_ms + t->others_ms;
    sum->own_ms += t->own_ms;
    sum->nodes++;
}

/* Where nobody else sends, what reports count beyond ours are ours that ended meanwhile. Who hears
 * other gateways need not guess, and must not: most reports come with answers, so from nodes where
 * most is ours. */
static float
others_running(const struct core *core, const struct node_hot *hot)
{
    return core->gateways <= 1 && capacity_alone(core) ? 0.0f : hot->others_requests;
}

void
headroom_sweep(struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    struct node_cold *cold = &core->cold[node];
    struct headroom_turn turns[CORE_NODE_MODELS_MAX];
    struct headroom_goals goals;
    float since_ms = cold->headroom_ns > 0 ? ns_to_ms(core->now_ns - cold->headroom_ns) : 0.0f;
    uint32_t count;

    cold->headroom_ms = min_f(HEADROOM_TAU_MS, cold->headroom_ms + since_ms);
    if (since_ms > 0.0f)
        cold->others_batch += since_ms / cold->headroom_ms *
                              (others_running(core, hot) - cold->others_batch);
    cold->headroom_ns = core->now_ns;
    count = headroom_turns(core, node, since_ms, turns);
    if (count == 0 || hot->state != NODE_READY || (hot->flags & NODE_FLAG_EJECTED) != 0 ||
        !isnan(suspicion_silent_ms(core, core->now_ns, node)))
        return;
    headroom_goals(core, &goals);
    others_spread(core, turns, count, cold->others_batch);
    headroom_pace_learn(core, turns, count);
    for (uint32_t i = 0; i < count; i++)
        headroom_add(core, node, turns, count, i, &goals);
}

/* ---- A round. */

/* The sums become what is told. */
static void
headroom_tell(struct headroom *h, float rounds)
{
    const struct headroom_sum *sum = &h->sum;
    float most_ms = 0.0f, all_ms = 0.0f;

    h->limit = HEADROOM_PREFILL;
    for (uint32_t k = 0; k < HEADROOM_LIMITS; k++) {
        if (sum->most_ms[k] > sum->most_ms[h->limit])
            h->limit = k;
        all_ms += sum->most_ms[k];
        if (sum->most_ms[k] > 0.0f)
            most_ms += sum->most_ms[k] * headroom_tail(k, sum->pooled[k] / rounds);
    }
    h->most_ms = most_ms / rounds;
    h->sent_ms = sum->sent_ms / rounds;
    h->own_part = sum->sent_ms > 0.0f ? min_f(1.0f, sum->own_ms / sum->sent_ms) : 1.0f;
    h->known_part = all_ms > 0.0f ? sum->known_ms / all_ms : 0.0f;
    h->others_part = sum->nodes > 0 ? sum->others_part / (float)sum->nodes : 0.0f;
    h->nodes = (uint32_t)((float)sum->nodes / rounds + 0.5f);
    h->sum = (struct headroom_sum){0};
}

bool
headroom_swept(struct core *core)
{
    int32_t left = TICK_CELLS;
    uint32_t m = core->headroom_next;

    if (m == 0) {
        core->headroom_rounds++;
        if (core->now_ns - core->headroom_ns < TOLD_EVERY_NS)
            return true;
        core->headroom_ns = core->now_ns;
    }
    for (; m < core->config.models_max && left > 0; m++, left--) {
        for (uint64_t regions = core->models[m].region_mask; regions != 0;
             regions &= regions - 1, left--) {
            struct headroom *h = headroom_of(core, m, (uint32_t)__builtin_ctzll(regions));
            headroom_tell(h, (float)core->headroom_rounds);
            headroom_check_look(core, &core->models[m], h);
        }
    }
    core->headroom_next = m < core->config.models_max ? m : 0;
    if (core->headroom_next == 0)
        core->headroom_rounds = 0;
    return core->headroom_next == 0;
}

/* ---- What people may read. */

void
core_view_goals(const struct core *core, struct headroom_goals *ret_goals)
{
    headroom_goals(core, ret_goals);
}

static void
headroom_view_cell(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region,
                   struct headroom_view *v)
{
    const struct headroom *h = headroom_of(core, model, region);
    struct model_mix mix = headroom_mix(core, model);
    float correction = headroom_correction(h);

    *v = (struct headroom_view){
        .model = (uint16_t)model,
        .region = (uint16_t)region,
        .nodes = h->nodes,
        .limit = h->limit,
        .requests_s = 1000.0f * h->sent_ms,
        .most_requests_s = 1000.0f * h->most_ms * correction,
        .prompt_tokens = mix.prompt,
        .uncached_tokens = mix.uncached,
        .output_tokens = mix.output,
        .known_part = h->known_part,
        .others_part = h->others_part,
        .correction = correction,
        .checked = h->checked,
        .checked_ago_ms = NAN,
    };
    if (h->checked.at_ns != 0)
        v->checked_ago_ms = now_ns > h->checked.at_ns ? ns_to_ms(now_ns - h->checked.at_ns) : 0.0f;
}

uint32_t
core_view_headroom(const struct core *core, uint64_t now_ns, uint32_t from,
                   struct headroom_view *ret_views, uint32_t *ret_next)
{
    uint32_t count = 0, model = from;

    for (; model < core->config.models_max; model++) {
        uint64_t regions = core->models[model].region_mask;

        if (count + region_count(regions) > CORE_VIEW_MAX)
            break; /* a model is given whole: at most one row a region, and those all fit */
        for (; regions != 0; regions &= regions - 1)
            headroom_view_cell(core, now_ns, model, (uint32_t)__builtin_ctzll(regions),
                               &ret_views[count++]);
    }
    *ret_next = model < core->config.models_max ? model : UINT32_MAX;
    return count;
}

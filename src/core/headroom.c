/* headroom - nodes into cells of model by region; see headroom.h. */
#include "core/headroom.h"

#include <math.h>

#include "core/capacity.h"
#include "core/headroom_check.h"
#include "core/isolation.h"
#include "core/predict.h"
#include "core/suspicion.h"

#define GOAL_FIRST_MS     1000.0f /* where none is configured */
#define GOAL_PER_TOKEN_MS 1.0f
#define GOAL_STEP_MS      60.0f
#define MIX_PART          0.001f /* of one request in a usual one */
#define RATE_TAU_MS       30000.0f
#define TOLD_EVERY_NS     UINT64_C(1000000000)
#define TICK_CELLS        256   /* that a tick tells, a model without any counted as one */
#define FREE_LEAST        0.02f /* of a node's time: more than the rest is never counted as taken */
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

struct headroom_work { /* of one request, ms */
    float prefill, decode, kv_tokens;
};

static struct headroom_work
headroom_work_of(const struct curve *c, const struct model_mix *mix)
{
    float cached = max_f(0.0f, mix->prompt - mix->uncached);
    float kv_tokens = mix->held / mix->output;

    return (struct headroom_work){
        .prefill = c->a_ms + c->b_ms * mix->uncached +
                   c->c_ms * (mix->uncached * cached + 0.5f * mix->uncached_sq),
        .decode = mix->output * (c->tk_ms * 0.001f * kv_tokens + c->tb_ms),
        .kv_tokens = kv_tokens};
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
    float unlike = max_f(0.0f, mix->uncached_sq / (mix->uncached * mix->uncached) - 1.0f);
    float wait_ms, kv = INFINITY, slots = INFINITY;

    most[HEADROOM_PREFILL] = free / max_f(1e-6f, fill + w.decode);
    wait_ms = goals->first_ms + goals->first_per_token_ms * mix->prompt - node->rtt_ms - fill - t0;
    pooled[HEADROOM_PREFILL] = max_f(0.0f, wait_ms) / max_f(1e-6f, fill);
    most[HEADROOM_DECODE] = max_f(0.0f, free - t0 / step) / all;
    pooled[HEADROOM_DECODE] = most[HEADROOM_DECODE] * mix->output * step /
                              (1.0f + UNLIKE_PART * unlike * w.prefill / all);
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

struct headroom_turn { /* of a model on the node */
    uint32_t placement;
    struct model_mix mix;
    struct curve curve;
    struct headroom_work work;
    float own_ms;  /* requests/ms of ours */
    float sent_ms; /* of all gateways */
    float busy;    /* how often its step is in the cycle, 0..1 */
};

/* The class's curve by the node's factor on first tokens. The one on later tokens is no help: it
 * has the prefill of others in it, which is counted here as work of its own. */
static struct curve
headroom_curve(const struct core *core, uint32_t node, uint32_t model)
{
    const struct node_hot *hot = &core->hot[node];
    struct curve c = capacity_class(core, model, hot->class)->curve;
    float factor = max_f(hot->residual, 1e-3f);

    return (struct curve){.a_ms = c.a_ms * factor,
                          .b_ms = c.b_ms * factor,
                          .c_ms = c.c_ms * factor,
                          .t0_ms = c.t0_ms * factor,
                          .tk_ms = c.tk_ms * factor,
                          .tb_ms = c.tb_ms * factor};
}

/* The models that are ready there, and how much we send to each; how many. */
static uint32_t
headroom_turns(struct core *core, uint32_t node, float part, float since_ms,
               struct headroom_turn *ret_turns)
{
    uint32_t count = 0;

    for (uint32_t p = core->cold[node].first_placement; p != NONE && count < CORE_NODE_MODELS_MAX;
         p = core->placements[p].node_next) {
        struct placed *placed = &core->placed[p];
        struct headroom_turn *t = &ret_turns[count];
        uint32_t sent = core->links[p].sent;
        if (since_ms > 0.0f)
            placed->sent_ms += part * ((float)sent / since_ms - placed->sent_ms);
        headroom_of(core, core->placements[p].model, core->hot[node].region)->sent += sent;
        core->links[p].sent = 0;
        if (core->placements[p].state != MODEL_READY)
            continue;
        t->placement = p;
        t->mix = headroom_mix(core, core->placements[p].model);
        t->curve = headroom_curve(core, node, core->placements[p].model);
        t->work = headroom_work_of(&t->curve, &t->mix);
        t->own_ms = placed->sent_ms;
        count++;
    }
    return count;
}

/* What other gateways have running there, as far as their requests are like ours: of B requests
 * that bring work g each to a cycle of T0 the part B*g/(T0 + B*g) of all time. It is spread over
 * the models as ours is. Returns the part of all time that is taken, and fills in sent_ms, busy. */
static float
headroom_share_out(struct headroom_turn *turns, uint32_t count, float others)
{
    float own = 0.0f, t0 = 0.0f, each = 0.0f, taken, theirs;

    for (uint32_t i = 0; i < count; i++) {
        const struct headroom_turn *t = &turns[i];
        float work = t->work.prefill + t->work.decode;
        own += t->own_ms * work;
        t0 = max_f(t0, t->curve.t0_ms);
        each += work / t->mix.output / (float)count;
    }
    own = min_f(own, 1.0f - FREE_LEAST);
    theirs = others * each / max_f(1e-6f, t0 + others * each) * (1.0f - own);
    taken = own + theirs;
    for (uint32_t i = 0; i < count; i++) {
        struct headroom_turn *t = &turns[i];
        float work = max_f(1e-6f, t->work.prefill + t->work.decode);
        float part = own > 0.0f ? min_f(1.0f, t->own_ms * work / own) : 1.0f / (float)count;
        t->sent_ms = t->own_ms + theirs * part / work;
        t->busy = min_f(1.0f, t->sent_ms * t->mix.output * t->curve.t0_ms / (1.0f - taken));
    }
    return taken;
}

static void
headroom_add(struct core *core, uint32_t node, const struct headroom_turn *turns, uint32_t count,
             uint32_t which, float taken, const struct headroom_goals *goals)
{
    const struct headroom_turn *t = &turns[which];
    const struct node_hot *hot = &core->hot[node];
    uint32_t model = core->placements[t->placement].model, least = 0;
    struct headroom_sum *sum = &headroom_of(core, model, hot->region)->sum;
    float cap = hot->kv_tokens_cap > 0.0f ? hot->kv_tokens_cap
                                          : capacity_class(core, model, hot->class)->kv_tokens_cap;
    float work = t->work.prefill + t->work.decode;
    struct headroom_node n = {.curve = t->curve,
                              .kv_tokens_cap = cap / (float)count,
                              .slots = (float)hot->slots,
                              .rtt_ms = hot->rtt_ms,
                              .other_work = max_f(0.0f, taken - t->sent_ms * work)};
    struct headroom_rates rates;

    for (uint32_t i = 0; i < count; i++)
        n.other_t0_ms += i != which ? turns[i].busy * turns[i].curve.t0_ms : 0.0f;
    headroom_rates(&n, &t->mix, goals, &rates);
    for (uint32_t k = 1; k < HEADROOM_LIMITS; k++) {
        if (rates.most_ms[k] < rates.most_ms[least])
            least = k;
    }
    sum->most_ms[least] += rates.most_ms[least];
    sum->pooled[least] += rates.pooled[least];
    sum->sent_ms += t->sent_ms;
    sum->own_ms += t->own_ms;
    sum->nodes++;
}

void
headroom_sweep(struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    struct node_cold *cold = &core->cold[node];
    struct headroom_turn turns[CORE_NODE_MODELS_MAX];
    struct headroom_goals goals;
    float since_ms = cold->headroom_ns > 0 ? ns_to_ms(core->now_ns - cold->headroom_ns) : 0.0f;
    float part = since_ms / (since_ms + RATE_TAU_MS);
    float others = capacity_alone(core) ? 0.0f : hot->others_requests, taken;
    uint32_t count;

    if (cold->headroom_ns > 0)
        cold->others_batch += part * (others - cold->others_batch);
    cold->headroom_ns = core->now_ns;
    count = headroom_turns(core, node, part, since_ms, turns);
    if (count == 0 || hot->state != NODE_READY || (hot->flags & NODE_FLAG_EJECTED) != 0 ||
        !isnan(suspicion_silent_ms(core, core->now_ns, node)))
        return;
    headroom_goals(core, &goals);
    taken = headroom_share_out(turns, count, cold->others_batch);
    for (uint32_t i = 0; i < count; i++)
        headroom_add(core, node, turns, count, i, taken, &goals);
}

/* ---- A round. */

/* The sums become what is told. */
static void
headroom_tell(struct headroom *h, float rounds)
{
    const struct headroom_sum *sum = &h->sum;
    float most_ms = 0.0f;

    h->limit = HEADROOM_PREFILL;
    for (uint32_t k = 0; k < HEADROOM_LIMITS; k++) {
        if (sum->most_ms[k] > sum->most_ms[h->limit])
            h->limit = k;
        if (sum->most_ms[k] > 0.0f)
            most_ms += sum->most_ms[k] * headroom_tail(k, sum->pooled[k] / rounds);
    }
    h->most_ms = most_ms / rounds;
    h->sent_ms = sum->sent_ms / rounds;
    h->own_part = sum->sent_ms > 0.0f ? min_f(1.0f, sum->own_ms / sum->sent_ms) : 1.0f;
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

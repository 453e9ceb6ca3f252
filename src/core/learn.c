/* learn - what is learned when, and from what; see learn.h.
 *
 * A time is predicted as class curve * node factor, and each outcome teaches both. So that they do
 * not explain the same thing twice, the order is fixed:
 *
 *  1. The class's curve (learn_curve) sees the outcome less what sets this node apart from its
 *     class: deviations of nodes cancel out over a class, so what is left is the class's own. It
 *     learns fast while its covariance is wide, later over hundreds of outcomes.
 *  2. What the curve took, it takes away from the factors: every node's mean is relative to its
 *     class's curve, so as the curve moves by some ln(factor), all means of the class move by as
 *     much the other way. A node that no request reaches is brought up to date by the sweep.
 *  3. The node's factor learns from what is left, a running mean over its last outcomes, shrunk to
 *     its class: w*own + (1-w)*class, w = n/(n + k). k is how much one observation of a node is
 *     worth against the class: variance within a node over variance between nodes, both measured;
 *     the published k = 20 is where it starts and what it may not exceed
 *     (doc/decisions/shrinkage.md).
 *  4. A change detector (CUSUM) watches each node's outcomes against its own mean: a card that
 *     throttles or a neighbour that moved in shows within a few requests. Then the mean jumps to
 *     what they say, what was known before counts for little, and the prediction is less sure of
 *     itself for a while (doc/decisions/change.md).
 *
 * Evidence is worth what it is clean: a time spent in queues counts little, an engine's own account
 * of its prefill much. Where answers tell how much of the prompt was cached, a first token teaches
 * only at the end, when the true prefill is known. The steps of an answer teach factors alone: the
 * prefills of others stretch them, most where many run, and the curve would take that for the price
 * of KV and of company (doc/decisions/curves.md). */
#include "core/learn.h"

#include <math.h>
#include <string.h>

#include "base/fmath.h"
#include "core/capacity.h"

#define SHRINK_MAX          20.0f
#define SHRINK_MIN          0.5f
#define COUNT_MAX           15.0f /* of a node: older outcomes fade with 1/15 */
#define CLASS_COUNT_MAX     60.0f
#define CLASS_COUNT_START   0.0f /* outcomes that the class's own mean, 0, begins with */
#define OUTCOME_MAX         2.5f /* |ln(actual/predicted)| is cut here: one outlier stays one */
#define OVERTAKEN_WEIGHT    0.5f /* of an attempt that was given up: it took at least so long */
#define SURPRISE            0.3f /* of it, beyond what was expected: half of that much counts */
#define SIGMA_START         0.35f
#define SIGMA_MIN           0.03f
#define BETWEEN_START       0.01f /* variance of ln between nodes, before any is known */
#define STEP_TOKENS_MIN     8u    /* shorter outputs say little about steps */
#define PREFILL_TOKENS_MIN  64.0f /* nor does an engine's account of a shorter prefill */
#define ACCOUNT_PART        0.25f /* variance of an engine's own account, of that seen from here */
#define USUAL_PART          0.05f
#define CHANGE_SLACK        0.5f /* CUSUM: k, in sigmas */
#define CHANGE_LIMIT        8.0f /* and h: doc/decisions/change.md */
#define CHANGE_REACH        2.0f /* one outcome counts for at most so many */
#define CHANGE_COUNT_MIN    5.0f /* outcomes before a node's mean is one to change from */
#define CHANGE_COUNT        2.0f /* what a mean counts after it changed */
#define DOUBT_KEEP          0.8f /* of the doubt after a change, from outcome to outcome */
#define PROMPT_START_TOKENS 500.0f
#define PROMPT_REACH        50.0f /* one prompt counts for at most so many means: it doubles that */
#define TOKENS_SEEN_PROMPTS 100.0f /* mean prompts that bytes per token remember */

#define TOLD_PART 0.5f /* of what a node says of itself, in ln */
#define TOLD_MAX  0.2f /* so much faster or slower at most, in ln */

static const float bytes_per_token_start[SCRIPT_CLASS_COUNT] = {4.2f, 3.4f, 3.0f};

static float
clamp(float x, float least, float most)
{
    return min_f(most, max_f(least, x));
}

static float
ln(float x)
{
    return (float)fmath_log((double)x);
}

static uint32_t
curve_index(const struct core *core, uint32_t model, uint32_t class)
{
    return model * core->config.classes_max + class;
}

/* ---- Classes. */

static void
class_residual_init(struct class_residual *class, const struct work *usual)
{
    *class = (struct class_residual){
        .residual = {.count = CLASS_COUNT_START, .var = SIGMA_START * SIGMA_START},
        .between = BETWEEN_START,
        .usual = *usual};
}

/* What is learned of a class, begun when it is first wanted: there may be many more pairs of models
 * and classes than nodes. */
static struct class_learned *
learned_of(struct core *core, uint32_t index)
{
    static const struct work usual_first = {{1.0f, PROMPT_START_TOKENS, 0.0f, 1.0f, 1.0f, 1.0f}};
    static const struct work usual_step = {{0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.0f}};
    struct class_learned *known = &core->learned[index];

    if (known->begun)
        return known;
    known->begun = true;
    class_residual_init(&known->first, &usual_first);
    class_residual_init(&known->step, &usual_step);
    learn_curve_init(&known->filter, &core->curves[index].curve, true);
    return known;
}

void
learn_prior(struct core *core, uint32_t model, uint32_t class, const struct curve *prior,
            bool guess)
{
    uint32_t index = curve_index(core, model, class);
    struct class_curve *cc = &core->curves[index];
    struct curve_filter *f = &core->learned[index].filter;

    if (core->learned[index].begun && f->guess == guess &&
        memcmp(&f->prior, prior, sizeof(*prior)) == 0)
        return; /* told again: what was learned stays */
    cc->curve = *prior;
    if (!guess || core->learned[index].begun)
        learn_curve_init(&learned_of(core, index)->filter, prior, guess);
}

/* ---- Factors. */

/* How far a mean of `count` outcomes follows one that is delta away from it. Waits that no news
 * told of are rare and long; a plain mean follows them, and every other prediction is then too
 * late. So the pull of an outcome is bounded, less so while little is known. */
static float
pull(float delta, float count)
{
    float most = SURPRISE + 0.5f / max_f(count, 0.05f);

    return delta * most / (most + (delta < 0.0f ? -delta : delta));
}

static void
residual_add(struct residual *r, float x, float weight, float count_max)
{
    float part, delta = x - r->mean;

    r->count = min_f(count_max, r->count + weight);
    part = weight / r->count;
    r->mean += part * pull(delta, r->count - weight);
    r->var += part * (delta * (x - r->mean) - r->var);
}

/* What a node's own mean counts against its class's, 0..1. A mean that is further off than its
 * noise explains proves a node that is not like the others: it counts as its distance says. */
static float
own_part(const struct residual *own, const struct class_residual *class)
{
    float off = own->mean - class->residual.mean, between = class->between;
    float noise = class->residual.var / max_f(own->count, 0.5f), k;

    between = max_f(between, off * off - 4.0f * noise);
    k = clamp(class->residual.var / max_f(between, 1e-4f), SHRINK_MIN, SHRINK_MAX);
    return own->count / (own->count + k);
}

/* Node mean shrunk to its class; *ret_sigma: deviation of one outcome around it. */
static float
shrunk(const struct own_residual *own, const struct class_residual *class, float *ret_sigma)
{
    float w = own_part(&own->residual, class), unsure = (1.0f - w) * class->between + own->doubt;

    *ret_sigma = max_f(SIGMA_MIN, (float)sqrt((double)(class->residual.var + unsure)));
    return w * own->residual.mean + (1.0f - w) * class->residual.mean;
}

static void
mean_follow(struct own_residual *own, const struct class_residual *class)
{
    own->residual.mean -= class->moved - own->moved;
    own->moved = class->moved;
}

/* Bring the node's means up to the curve they are relative to, then on to the curve `index`. */
static void
means_follow(struct core *core, uint32_t node, uint32_t index)
{
    struct node_cold *cold = &core->cold[node];

    if (cold->curve != NONE) {
        mean_follow(&cold->first, &core->learned[cold->curve].first);
        mean_follow(&cold->step, &core->learned[cold->curve].step);
    }
    cold->curve = index;
    cold->first.moved = core->learned[index].first.moved;
    cold->step.moved = core->learned[index].step.moved;
}

void
learn_apply(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];
    uint32_t p = cold->first_placement, index;
    const struct class_learned *known;
    float sigma, mean, ignored;

    if (p == NONE || (core->tuning.without & WITHOUT_LEARNING) != 0)
        return;
    index = curve_index(core, core->placements[p].model, hot->class);
    means_follow(core, node, cold->curve != NONE ? cold->curve : index);
    known = learned_of(core, index);
    mean = shrunk(&cold->first, &known->first, &sigma);
    if (cold->first.residual.count == 0.0f)
        mean += cold->told_ln;
    hot->residual = (float)fmath_exp((double)mean);
    hot->residual_step = to_fixed(
        (float)fmath_exp((double)shrunk(&cold->step, &known->step, &ignored)), FIXED_ONE);
    hot->spread = (float)fmath_exp((double)sigma) - 1.0f;
}

void
learn_told(struct core *core, uint32_t node, float prefill_tok_s)
{
    struct node_cold *cold = &core->cold[node];
    uint32_t p = cold->first_placement;
    const struct model_record *m;
    const struct class_curve *cc;
    float ms;

    if (!(prefill_tok_s >= 1.0f) || prefill_tok_s > 1e9f || p == NONE ||
        cold->first.residual.count > 0.0f)
        return;
    m = &core->models[core->placements[p].model];
    cc = capacity_class(core, core->placements[p].model, core->hot[node].class);
    ms = predict_prefill_ms(&cc->curve, m->prompt_mean, 0.0f);
    cold->told_ln = clamp(TOLD_PART * ln(1000.0f * m->prompt_mean / (prefill_tok_s * ms)),
                          -TOLD_MAX, TOLD_MAX);
    learn_apply(core, node);
}

/* One outcome of a node: first its own mean, then what its class learns from it. */
static void
outcome(struct residual *own, struct class_residual *class, float x, float weight)
{
    struct residual *all = &class->residual;
    float off, expected = all->mean;

    if (own->count > 1.0f)
        expected = own->mean;
    residual_add(own, x, weight, COUNT_MAX);
    /* The class keeps the mean of all, and the variance around each node's own mean. */
    off = x - expected;
    all->count = min_f(CLASS_COUNT_MAX, all->count + weight);
    all->mean += weight / all->count * pull(x - all->mean, all->count - weight);
    all->var += weight / all->count * (off * off - all->var);
    off = own->mean - all->mean;
    off = off * off - all->var / max_f(own->count, 1.0f); /* less what is only noise */
    class->between = max_f(0.0005f, class->between + 0.05f * weight * (off - class->between));
}

/* CUSUM of one outcome against the node's mean, before it enters it. When it fires, the mean jumps
 * to what the outcomes since the sum began say. */
static bool
changed(struct own_residual *own, const struct class_residual *class, float x, float weight)
{
    float sigma = max_f(SIGMA_MIN, (float)sqrt((double)class->residual.var)), z, jump;

    own->doubt *= DOUBT_KEEP;
    if (own->residual.count < CHANGE_COUNT_MIN)
        return false;
    z = clamp((x - own->residual.mean) * (float)sqrt((double)weight) / sigma, -CHANGE_REACH,
              CHANGE_REACH);
    own->up = max_f(0.0f, own->up + z - CHANGE_SLACK);
    own->ups = own->up > 0.0f ? (uint16_t)(own->ups + 1) : 0;
    own->down = max_f(0.0f, own->down - z - CHANGE_SLACK);
    own->downs = own->down > 0.0f ? (uint16_t)(own->downs + 1) : 0;
    if (own->up < CHANGE_LIMIT && own->down < CHANGE_LIMIT)
        return false;
    if (own->up >= CHANGE_LIMIT)
        jump = sigma * (CHANGE_SLACK + own->up / (float)own->ups);
    else
        jump = -sigma * (CHANGE_SLACK + own->down / (float)own->downs);
    own->residual.mean += jump;
    own->residual.count = CHANGE_COUNT;
    own->doubt = 0.25f * jump * jump;
    own->up = own->down = 0.0f;
    own->ups = own->downs = 0;
    return true;
}

/* ---- Times. */

/* The curve moved: its class's mean moves the other way, its nodes' with `moved`. */
static void
compensate(struct class_residual *class, const struct curve *before, const struct curve *after)
{
    float by = ln(learn_curve_ms(after, &class->usual) / learn_curve_ms(before, &class->usual));

    class->moved += by;
    class->residual.mean -= by;
}

static void
teach(struct core *core, uint32_t index, const struct work *work, float ms, float variance,
      float weight)
{
    struct class_learned *known = learned_of(core, index);
    struct curve *curve = &core->curves[index].curve, before = *curve;

    learn_curve_observe(&known->filter, curve, work, ms, variance, weight);
    core->curves[index].weight = capacity_weight(core, index / core->config.classes_max, curve);
    compensate(&known->first, &before, curve);
    compensate(&known->step, &before, curve);
}

static void
usual_add(struct class_residual *class, const struct work *work, float weight)
{
    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        class->usual.part[i] += USUAL_PART * weight * (work->part[i] - class->usual.part[i]);
}

static float
apart(const struct own_residual *own, const struct class_residual *class)
{
    return own_part(&own->residual, class) * (own->residual.mean - class->residual.mean);
}

/* The node did `work` in ms. step_part: how much of it was steps, which have a factor of their own;
 * weight: 1, less for what says little. */
static void
learn_time(struct core *core, const struct request *r, const struct attempt *a,
           const struct work *work, float ms, float step_part, float weight)
{
    uint32_t index = curve_index(core, r->arrived.model, core->hot[a->node].class);
    const struct curve *curve = &core->curves[index].curve;
    struct class_learned *known = learned_of(core, index);
    struct node_cold *cold = &core->cold[a->node];
    float first_part = 1.0f - step_part, predicted_ms = learn_curve_ms(curve, work);
    float x, off, ignored;
    bool change = false;

    if (!(predicted_ms > 0.0f) || (core->tuning.without & WITHOUT_LEARNING) != 0)
        return;
    means_follow(core, a->node, index);
    ms = clamp(ms, 0.1f * predicted_ms, 12.0f * predicted_ms); /* one outlier stays one */
    if (first_part > 0.0f) {
        off = first_part * apart(&cold->first, &known->first) +
              step_part * shrunk(&cold->step, &known->step, &ignored);
        teach(core, index, work, ms * (float)fmath_exp((double)-off),
              known->first.residual.var / (weight * first_part), weight * first_part);
    }
    means_follow(core, a->node, index);
    x = ln(ms / learn_curve_ms(curve, work));
    if (first_part > 0.0f) {
        change |= changed(&cold->first, &known->first, x, weight * first_part);
        outcome(&cold->first.residual, &known->first, x, weight * first_part);
    }
    if (step_part > 0.0f) {
        change |= changed(&cold->step, &known->step, x, weight * step_part);
        outcome(&cold->step.residual, &known->step, x, weight * step_part);
    }
    if (step_part == 0.0f)
        usual_add(&known->first, work, weight);
    else if (first_part == 0.0f)
        usual_add(&known->step, work, weight);
    if (change) {
        cold->changes++;
        cold->changed_ns = core->now_ns;
    }
    learn_apply(core, a->node);
}

void
learn_chosen(const struct core *core, const struct request *r, struct attempt *a,
             const struct candidate *c)
{
    const struct node_hot *hot = &core->hot[c->node];
    const struct class_curve *cc = capacity_class(core, r->arrived.model, hot->class);
    const struct terms *t = &c->terms;
    float total = hot->others_requests + (float)hot->own_requests, slots = (float)hot->slots;
    float factor = 1.0f / max_f(hot->residual, 1e-3f), step_ms = t->step_ms * factor;
    float uncached = max_f(0.0f, r->prompt_tokens - c->hit_tokens), steps, queue_ms;
    float context = uncached * (c->hit_tokens + 0.5f * uncached);
    float alone_ms = cc->curve.a_ms + cc->curve.b_ms * uncached + cc->curve.c_ms * context;

    a->work = (struct work){{0}};
    if (core->placements[c->placement].state != MODEL_READY || !(step_ms > 0.0f) ||
        !(cc->curve.b_ms > 0.0f))
        return; /* a load says nothing of speed */
    /* Steps beside its own: those of the others between parts of its prefill, and the one that was
     * under way. All other waiting counts as tokens ahead of it. */
    queue_ms = t->queue_ms * factor;
    steps = total > 0.0f ? min_f(0.5f, queue_ms / step_ms) : 0.0f;
    queue_ms -= steps * step_ms;
    steps += 1.0f + max_f(0.0f, t->prefill_ms * factor - alone_ms) / step_ms;
    if (slots > 0.0f)
        total = min_f(total, slots);
    a->work.part[CURVE_A] = 1.0f;
    a->work.part[CURVE_B] = uncached + queue_ms / cc->curve.b_ms;
    a->work.part[CURVE_C] = context;
    a->work.part[CURVE_T0] = steps;
    a->work.part[CURVE_TK] = steps * 0.001f *
                             (hot->others_kv_tokens + hot->own_kv_tokens + r->prompt_tokens);
    a->work.part[CURVE_TB] = steps * (total + 1.0f);
    a->queue_part = t->queue_ms / (t->queue_ms + t->prefill_ms + t->step_ms);
}

static bool
has_work(const struct attempt *a)
{
    return a->node != NODE_ANY && a->work.part[CURVE_A] > 0.0f;
}

/* A long queue says more about the queue than about the node. */
static float
first_weight(const struct attempt *a)
{
    return 1.0f - 0.8f * a->queue_part;
}

void
learn_started(struct core *core, const struct request *r, struct attempt *a)
{
    if (!has_work(a) || r->arrived.stream == 0 || core->cold[a->node].tells_cached)
        return;
    a->taught = true;
    learn_time(core, r, a, &a->work, ns_to_ms(core->now_ns - a->dispatched_ns) - a->net_ms, 0.0f,
               first_weight(a));
}

void
learn_overtaken(struct core *core, const struct request *r, const struct attempt *a)
{
    float ms = ns_to_ms(core->now_ns - a->dispatched_ns);

    if (has_work(a) && ms > a->first_ms)
        learn_time(core, r, a, &a->work, ms - a->net_ms, 0.0f, OVERTAKEN_WEIGHT * first_weight(a));
}

/* One step as it was on average: half as when it was sent, half as now. */
static struct work
step_work(const struct core *core, const struct attempt *a)
{
    const struct node_hot *hot = &core->hot[a->node];
    float total = hot->others_requests + (float)hot->own_requests, slots = (float)hot->slots;
    float kv = 0.001f * (hot->others_kv_tokens + hot->own_kv_tokens);
    const float *first = a->work.part;

    if (slots > 0.0f)
        total = min_f(total, slots);
    return (struct work){{0.0f, 0.0f, 0.0f, 1.0f, 0.5f * (first[CURVE_TK] / first[CURVE_T0] + kv),
                          0.5f * (first[CURVE_TB] / first[CURVE_T0] + total)}};
}

static bool
tells_cached(const struct event_ended *e)
{
    return e->cached_known != 0 || e->cached_tokens > 0;
}

/* The prefill as it was: the tokens that the engine counted, without those it had cached; where it
 * does not tell these, without those it was expected to have. */
static void
correct(struct work *work, const struct request *r, const struct attempt *a,
        const struct event_ended *e)
{
    float guessed = max_f(0.0f, r->prompt_tokens - a->hit_tokens);
    float tokens = (float)e->prompt_tokens, uncached;
    float cached = tells_cached(e) ? (float)e->cached_tokens : a->hit_tokens;

    if (e->prompt_tokens == 0)
        return;
    cached = min_f(cached, tokens);
    uncached = tokens - cached;
    work->part[CURVE_B] = max_f(0.0f, work->part[CURVE_B] - guessed) + uncached;
    work->part[CURVE_C] = uncached * (cached + 0.5f * uncached);
}

/* What the engine says of its own prefill: no queue, no way, no steps in it. */
static void
learn_account(struct core *core, const struct request *r, const struct attempt *a,
              const struct event_ended *e)
{
    uint32_t index = curve_index(core, r->arrived.model, core->hot[a->node].class);
    const struct class_learned *known = learned_of(core, index);
    const struct node_cold *cold = &core->cold[a->node];
    struct work work = {{1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}};
    float ms = e->engine_prefill_ms, predicted_ms;

    work.part[CURVE_B] = max_f(0.0f, r->prompt_tokens - a->hit_tokens);
    correct(&work, r, a, e);
    predicted_ms = learn_curve_ms(&core->curves[index].curve, &work);
    if (e->prompt_tokens == 0 || !(ms > 0.0f) || work.part[CURVE_B] < PREFILL_TOKENS_MIN ||
        !(predicted_ms > 0.0f) || (core->tuning.without & WITHOUT_LEARNING) != 0)
        return;
    means_follow(core, a->node, index);
    ms = clamp(ms, 0.1f * predicted_ms, 12.0f * predicted_ms);
    teach(core, index, &work, ms * (float)fmath_exp((double)-apart(&cold->first, &known->first)),
          ACCOUNT_PART * known->first.residual.var, 1.0f);
    learn_apply(core, a->node);
}

/* A whole answer at once: first token and steps cannot be told apart, so each learns from the
 * total by its part of it. */
static void
learn_whole(struct core *core, const struct request *r, const struct attempt *a, struct work *work,
            const struct work *step, float steps, float ms)
{
    const struct curve *curve =
        &core->curves[curve_index(core, r->arrived.model, core->hot[a->node].class)].curve;
    float first_ms = learn_curve_ms(curve, work), all_ms;

    for (size_t i = 0; i < CURVE_CONSTANTS; i++)
        work->part[i] += steps * step->part[i];
    all_ms = learn_curve_ms(curve, work);
    if (all_ms > 0.0f)
        learn_time(core, r, a, work, ms, 1.0f - first_ms / all_ms, 1.0f);
}

static void
learn_times(struct core *core, const struct request *r, const struct attempt *a,
            const struct event_ended *e)
{
    float decode_ms = NAN, first_ms, steps = (float)e->output_tokens - 1.0f;
    float whole_ms = ns_to_ms(core->now_ns - a->dispatched_ns) - a->net_ms;
    bool streamed = r->arrived.stream != 0 && a->started_ns != 0;
    struct work work = a->work, step = step_work(core, a);

    correct(&work, r, a, e);
    learn_account(core, r, a, e);
    if (e->engine_decode_ms > 0.0f)
        decode_ms = e->engine_decode_ms;
    else if (streamed)
        decode_ms = ns_to_ms(core->now_ns - a->started_ns);
    first_ms = streamed ? ns_to_ms(a->started_ns - a->dispatched_ns) - a->net_ms
                        : whole_ms - decode_ms; /* NAN: not known */
    if (streamed ? !a->taught : first_ms > 0.0f)
        learn_time(core, r, a, &work, first_ms, 0.0f, first_weight(a));
    if (e->output_tokens >= STEP_TOKENS_MIN && decode_ms > 0.0f)
        learn_time(core, r, a, &step, decode_ms / steps, 1.0f, 1.0f);
    if (!streamed && isnan(decode_ms) && e->output_tokens > 0)
        learn_whole(core, r, a, &work, &step, steps, whole_ms);
}

/* ---- Lengths. */

void
learn_init_model(struct core *core, uint32_t model)
{
    struct model_record *m = &core->models[model];

    for (uint32_t s = 0; s < SCRIPT_CLASS_COUNT; s++) {
        m->bytes_per_token[s] = bytes_per_token_start[s];
        m->tokens_seen[s] = PROMPT_START_TOKENS;
    }
    m->output_mean = learn_output_mean(&core->outputs, model);
    m->prompt_mean = PROMPT_START_TOKENS;
}

float
learn_prompt_tokens(const struct model_record *m, uint32_t script, uint32_t prompt_bytes)
{
    return max_f(1.0f, (float)prompt_bytes / m->bytes_per_token[script]);
}

/* Bytes over tokens, summed over prompts: so that a long prompt, where an error costs most, counts
 * most, and the template around each does not make short ones look dear. */
static void
learn_prompt(struct model_record *m, const struct request *r, uint32_t prompt_tokens)
{
    uint32_t script = r->arrived.script;
    float tokens = (float)prompt_tokens, bytes = (float)r->arrived.prompt_bytes / tokens, *seen;

    m->prompt_mean += 0.02f * (min_f(PROMPT_REACH * m->prompt_mean, tokens) - m->prompt_mean);
    if (bytes < 0.2f || bytes > 20.0f) /* images, or a template that outweighs the text */
        return;
    seen = &m->tokens_seen[script];
    *seen = min_f(TOKENS_SEEN_PROMPTS * m->prompt_mean, *seen) + tokens;
    m->bytes_per_token[script] += (bytes - m->bytes_per_token[script]) *
                                  min_f(0.5f, tokens / *seen);
}

void
learn_ended(struct core *core, const struct request *r, const struct attempt *a,
            const struct event_ended *e)
{
    struct model_record *m = &core->models[r->arrived.model];

    if (e->prompt_tokens > 0)
        learn_prompt(m, r, e->prompt_tokens);
    if (e->output_tokens > 0) {
        learn_output_add(&core->outputs, r->arrived.tenant, r->arrived.model, r->prompt_tokens,
                         e->output_tokens);
        m->output_mean = learn_output_mean(&core->outputs, r->arrived.model);
    }
    if (a->node == NODE_ANY)
        return;
    core->cold[a->node].tells_cached = tells_cached(e);
    if (has_work(a))
        learn_times(core, r, a, e);
}

/* learn - running means of ln(actual/predicted), sketches of lengths; see learn.h.
 *
 * A node's factor is shrunk to its class: w*own + (1-w)*class, w = n/(n + k). k is how much one
 * observation of a node is worth against the class: variance within a node over variance between
 * nodes, both measured; the published k = 20 is where it starts and what it may not exceed
 * (doc/decisions/shrinkage.md). */
#include "core/learn.h"

#include <math.h>

#include "base/fmath.h"
#include "core/capacity.h"

#define SHRINK_MAX          20.0f
#define SHRINK_MIN          0.5f
#define COUNT_MAX           15.0f /* of a node: older outcomes fade with 1/15 */
#define CLASS_COUNT_MAX     60.0f
#define OUTCOME_MAX         2.5f /* |ln(actual/predicted)| is cut here: one outlier stays one */
#define SURPRISE            0.3f /* of it, beyond what was expected: half of that much counts */
#define SIGMA_START         0.35f
#define SIGMA_MIN           0.03f
#define BETWEEN_START       0.01f /* variance of ln between nodes, before any is known */
#define STEP_TOKENS_MIN     8u    /* shorter outputs say little about steps */
#define OUTPUT_KEEP         0.995f
#define OUTPUT_UNIT_MAX     1e3f
#define OUTPUT_START_TOKENS 200u
#define OUTPUT_START_WEIGHT 2.0f
#define PROMPT_START_TOKENS 500.0f
#define BYTES_COUNT_MAX     100.0f

static const float bytes_per_token_start[SCRIPT_CLASS_COUNT] = {4.2f, 3.4f, 3.0f};

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

/* Node mean shrunk to its class; *ret_sigma: deviation of one outcome around it. */
static float
shrunk(const struct residual *own, const struct residual *class, float between, float *ret_sigma)
{
    float within = class->count > 1.0f ? class->var : SIGMA_START * SIGMA_START;
    float k = min_f(SHRINK_MAX, max_f(SHRINK_MIN, within / max_f(between, 1e-4f)));
    float w = own->count / (own->count + k), unsure = (1.0f - w) * between;

    *ret_sigma = max_f(SIGMA_MIN, (float)sqrt((double)(within + unsure)));
    return w * own->mean + (1.0f - w) * class->mean;
}

void
learn_apply(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];
    uint32_t p = cold->first_placement;
    const struct class_curve *cc;
    float sigma, ignored;

    if (p == NONE)
        return;
    cc = capacity_class(core, core->placements[p].model, hot->class);
    hot->residual = (float)fmath_exp(
        (double)shrunk(&cold->first, &cc->first, cc->between_first, &sigma));
    hot->residual_step = to_fixed(
        (float)fmath_exp((double)shrunk(&cold->step, &cc->step, cc->between_step, &ignored)),
        FIXED_ONE);
    hot->spread = (float)fmath_exp((double)sigma) - 1.0f;
}

/* One outcome of a node: first its own mean, then what its class learns from it. */
static void
outcome(struct residual *own, struct residual *class, float *between, float x, float weight)
{
    float off, expected = class->mean;

    x = min_f(OUTCOME_MAX, max_f(-OUTCOME_MAX, x));
    if (own->count > 1.0f)
        expected = own->mean;
    residual_add(own, x, weight, COUNT_MAX);
    /* The class keeps the mean of all, and the variance around each node's own mean. */
    off = x - expected;
    class->count = min_f(CLASS_COUNT_MAX, class->count + weight);
    class->mean += weight / class->count * pull(x - class->mean, class->count - weight);
    class->var += weight / class->count * (off * off - class->var);
    off = own->mean - class->mean;
    off = off * off - class->var / max_f(own->count, 1.0f); /* less what is only noise */
    *between = max_f(0.0005f, *between + 0.05f * weight * (off - *between));
}

static struct class_curve *
class_of(struct core *core, const struct request *r)
{
    return &core->curves[(size_t)r->arrived.model * core->config.classes_max +
                         core->hot[r->node].class];
}

void
learn_started(struct core *core, const struct request *r)
{
    struct class_curve *cc;
    float actual_ms = ns_to_ms(core->now_ns - r->dispatched_ns) - r->net_ms;

    if (r->node == NODE_ANY || r->raw_ms <= 0.0f || r->arrived.stream == 0)
        return;
    cc = class_of(core, r);
    if (actual_ms < 0.1f * r->raw_ms) /* the path was faster than we thought */
        actual_ms = 0.1f * r->raw_ms;
    /* A long queue says more about the queue than about the node. */
    outcome(&core->cold[r->node].first, &cc->first, &cc->between_first,
            (float)fmath_log((double)(actual_ms / r->raw_ms)), 1.0f - 0.8f * r->queue_part);
    learn_apply(core, r->node);
}

static void
learn_steps(struct core *core, const struct request *r, uint32_t output_tokens)
{
    struct class_curve *cc = class_of(core, r);
    float ms = ns_to_ms(core->now_ns - r->started_ns) / (float)(output_tokens - 1);

    if (ms <= 0.0f || r->raw_step_ms <= 0.0f)
        return;
    outcome(&core->cold[r->node].step, &cc->step, &cc->between_step,
            (float)fmath_log((double)(ms / r->raw_step_ms)), 1.0f);
    learn_apply(core, r->node);
}

/* A whole answer at once: first token and steps cannot be told apart, so each learns from the
 * total by its part of it. */
static void
learn_whole(struct core *core, const struct request *r, uint32_t output_tokens)
{
    struct class_curve *cc = class_of(core, r);
    float steps_ms = (float)(output_tokens - 1) * r->raw_step_ms, raw_ms = r->raw_ms + steps_ms;
    float actual_ms = ns_to_ms(core->now_ns - r->dispatched_ns) - r->net_ms, x;

    if (r->raw_ms <= 0.0f)
        return;
    x = (float)fmath_log((double)(max_f(actual_ms, 0.1f * raw_ms) / raw_ms));
    outcome(&core->cold[r->node].first, &cc->first, &cc->between_first, x, r->raw_ms / raw_ms);
    if (steps_ms > 0.0f)
        outcome(&core->cold[r->node].step, &cc->step, &cc->between_step, x, steps_ms / raw_ms);
    learn_apply(core, r->node);
}

/* ---- Lengths. */

static uint32_t
output_bucket(uint32_t tokens)
{
    uint64_t square = (uint64_t)tokens * tokens; /* half octaves: log2 of the square */
    uint32_t bucket = tokens <= 1 ? 0 : 63u - (uint32_t)__builtin_clzll(square);

    return bucket < OUTPUT_BUCKETS ? bucket : OUTPUT_BUCKETS - 1;
}

/* The middle of each half octave, 2^((i + 1/2) / 2). */
static const float output_tokens_of[OUTPUT_BUCKETS] = {
    1.18920712f, 1.68179283f, 2.37841424f, 3.36358566f, 4.75682848f, 6.72717132f, 9.51365696f,
    13.4543426f, 19.0273139f, 26.9086853f, 38.0546278f, 53.8173706f, 76.1092557f, 107.634741f,
    152.218511f, 215.269482f, 304.437023f, 430.538964f, 608.874045f, 861.077929f, 1217.74809f,
    1722.15586f, 2435.49618f, 3444.31172f, 4870.99236f, 6888.62343f, 9741.98473f, 13777.2469f,
    19483.9695f, 27554.4937f, 38967.9389f, 55108.9875f, 77935.8778f, 110217.975f, 155871.756f,
    220435.95f,  311743.511f, 440871.9f,   623487.023f, 881743.799f};

/* Instead of letting all weights fade, each new one is heavier than the one before. */
static void
output_add(struct model_record *m, uint32_t tokens, float weight)
{
    uint32_t bucket = output_bucket(tokens);

    m->output_weight[bucket] += weight * m->output_unit;
    m->output_total += weight * m->output_unit;
    m->output_sum += weight * m->output_unit * output_tokens_of[bucket];
    m->output_mean = m->output_sum / m->output_total;
    m->output_unit *= 1.0f / OUTPUT_KEEP;
    if (m->output_unit < OUTPUT_UNIT_MAX)
        return;
    m->output_total = m->output_sum = 0.0f; /* afresh, so that no error of a sum stays */
    for (uint32_t i = 0; i < OUTPUT_BUCKETS; i++) {
        m->output_weight[i] /= m->output_unit;
        m->output_total += m->output_weight[i];
        m->output_sum += m->output_weight[i] * output_tokens_of[i];
    }
    m->output_unit = 1.0f;
}

void
learn_init_model(struct model_record *m)
{
    for (uint32_t s = 0; s < SCRIPT_CLASS_COUNT; s++) {
        m->bytes_per_token[s] = bytes_per_token_start[s];
        m->bytes_per_token_count[s] = 2.0f;
    }
    m->output_unit = 1.0f;
    output_add(m, OUTPUT_START_TOKENS, OUTPUT_START_WEIGHT);
    m->prompt_mean = PROMPT_START_TOKENS;
}

float
learn_prompt_tokens(const struct model_record *m, uint32_t script, uint32_t prompt_bytes)
{
    return max_f(1.0f, (float)prompt_bytes / m->bytes_per_token[script]);
}

float
learn_output_tokens(const struct model_record *m, uint32_t max_tokens)
{
    float sum = 0.0f, left = m->output_total, cap = (float)max_tokens;

    if (max_tokens == 0)
        return m->output_mean;
    for (uint32_t i = 0; i < OUTPUT_BUCKETS && output_tokens_of[i] < cap; i++) {
        sum += m->output_weight[i] * output_tokens_of[i];
        left -= m->output_weight[i];
    }
    return max_f(1.0f, (sum + max_f(0.0f, left) * cap) / m->output_total);
}

static void
learn_prompt(struct model_record *m, const struct request *r, uint32_t prompt_tokens)
{
    uint32_t script = r->arrived.script;
    float bytes = (float)r->arrived.prompt_bytes / (float)prompt_tokens;

    m->prompt_mean += 0.02f * ((float)prompt_tokens - m->prompt_mean);
    if (bytes < 0.2f || bytes > 20.0f) /* images, or a template that outweighs the text */
        return;
    m->bytes_per_token_count[script] = min_f(BYTES_COUNT_MAX, m->bytes_per_token_count[script] + 1);
    m->bytes_per_token[script] += (bytes - m->bytes_per_token[script]) /
                                  m->bytes_per_token_count[script];
}

void
learn_ended(struct core *core, const struct request *r, const struct event_ended *e)
{
    struct model_record *m = &core->models[r->arrived.model];

    if (e->prompt_tokens > 0)
        learn_prompt(m, r, e->prompt_tokens);
    if (e->output_tokens > 0)
        output_add(m, e->output_tokens, 1.0f);
    if (r->node == NODE_ANY || e->output_tokens == 0)
        return;
    if (r->arrived.stream == 0)
        learn_whole(core, r, e->output_tokens);
    else if (e->output_tokens >= STEP_TOKENS_MIN && r->started_ns != 0)
        learn_steps(core, r, e->output_tokens);
}

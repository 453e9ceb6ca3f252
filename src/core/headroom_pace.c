/* headroom_pace - tokens and the time they took, into speed; see headroom_pace.h.
 *
 * All sums are of the same half minute, so that the load and the time between tokens that it made
 * belong together; work is counted request by request, because nodes do not get the same prompts
 * (long ones go where prompts are read fast). */
#include "core/headroom_pace.h"

#include "base/fmath.h"
#include "core/capacity.h"
#include "core/predict.h"
#include "core/readiness.h"

#define ANSWER_TOKENS_MIN 8u        /* shorter ones say little about the time between tokens */
#define ANSWERS_MAX       30.0f     /* that a pace is a mean of */
#define ANSWERS_HALF      4.0f      /* so many are worth as much as what others say of it */
#define ANSWERS_TAU_MS    300000.0f /* how fast they are forgotten when no more come */
#define CLASS_MAX         100.0f    /* visits that a class's pace is a mean of */
#define TIME_LEAST_MS     1e-6f

struct headroom_work
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

float
headroom_busy(const struct headroom_turn *t, float cycle_ms)
{
    float running = (t->own_ms + t->others_ms) * t->mix.output * cycle_ms;

    return 1.0f - (float)fmath_exp(-(double)running); /* they come by chance */
}

static struct class_learned *
class_of(struct core *core, uint32_t placement)
{
    return &core->learned[(size_t)core->placements[placement].model * core->config.classes_max +
                          core->hot[core->links[placement].node].class];
}

/* What does not change as outcomes come in: of hardware that nobody knows, what was learned. */
static struct curve
pace_base(struct core *core, uint32_t placement)
{
    uint32_t class = core->hot[core->links[placement].node].class;
    const struct class_learned *known = class_of(core, placement);

    if (known->begun && !known->filter.guess)
        return known->filter.prior;
    return capacity_class(core, core->placements[placement].model, class)->curve;
}

/* ---- What comes in. */

/* The request's work is the node's, however its end came here. */
static void
work_add(struct core *core, struct pace *pace, uint32_t placement, const struct attempt *a,
         const struct event_ended *e)
{
    struct curve c = pace_base(core, placement);
    float prompt = (float)e->prompt_tokens, output = (float)e->output_tokens;
    float cached = min_f(prompt, e->cached_known != 0 ? (float)e->cached_tokens : a->hit_tokens);

    pace->work_ms += predict_prefill_ms(&c, prompt - cached, cached) +
                     output * (c.tb_ms + c.tk_ms * 0.001f * (prompt + 0.5f * output));
}

void
headroom_pace_ended(struct core *core, const struct request *r, const struct attempt *a,
                    const struct event_ended *e)
{
    uint32_t p;
    struct pace *pace;
    float steps = (float)e->output_tokens - 1.0f;

    if (a->node == NODE_ANY || e->prompt_tokens == 0)
        return;
    p = readiness_find(core, a->node, r->arrived.model);
    if (p == NONE)
        return;
    pace = &core->placed[p].pace;
    work_add(core, pace, p, a, e);
    if (e->output_tokens < ANSWER_TOKENS_MIN || r->arrived.stream == 0 || a->started_ns == 0 ||
        e->held_up != 0)
        return;
    pace->tokens += steps;
    pace->news_tokens += steps;
    pace->step_ms += e->engine_decode_ms > 0.0f ? e->engine_decode_ms
                                                : ns_to_ms(core->now_ns - a->started_ns);
}

/* ---- A visit. */

static struct curve
curve_sum(const struct curve *a, float a_part, const struct curve *b, float b_part)
{
    return (struct curve){.a_ms = a_part * a->a_ms + b_part * b->a_ms,
                          .b_ms = a_part * a->b_ms + b_part * b->b_ms,
                          .c_ms = a_part * a->c_ms + b_part * b->c_ms,
                          .t0_ms = a_part * a->t0_ms + b_part * b->t0_ms,
                          .tk_ms = a_part * a->tk_ms + b_part * b->tk_ms,
                          .tb_ms = a_part * a->tb_ms + b_part * b->tb_ms};
}

/* So much of `left` is taken by what is known from `count` answers. */
static float
part_known(float count, float *left)
{
    float part = *left * count / (count + ANSWERS_HALF);

    *left -= part;
    return part;
}

/* Its own pace as far as there were answers; for the rest the node's, the class's, the factor of
 * its first tokens. all_*: of all models of the node. */
static struct curve
pace_curve(struct core *core, struct headroom_turn *t, float all_count, float all_pace)
{
    const struct pace *own = &core->placed[t->placement].pace;
    const struct node_hot *hot = &core->hot[core->links[t->placement].node];
    const struct class_learned *class = class_of(core, t->placement);
    const struct curve *learned =
        &capacity_class(core, core->placements[t->placement].model, hot->class)->curve;
    float left = 1.0f, pace, others = all_count - own->count;

    pace = part_known(own->count, &left) * own->pace;
    if (others > 0.0f)
        pace += part_known(others, &left) * (all_pace - own->count * own->pace) / others;
    t->known = 1.0f - left;
    pace += part_known(class->pace_count, &left) * class->pace;
    return curve_sum(&t->base, pace, learned, left * max_f(hot->residual, 1e-3f));
}

void
headroom_pace_look(struct core *core, uint32_t node, float since_ms, struct headroom_turn *turns,
                   uint32_t count)
{
    float keep = 1.0f - since_ms / (since_ms + HEADROOM_TAU_MS), answers = 0.0f, sum = 0.0f;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        struct pace *pace = &core->placed[p].pace;
        pace->time_ms = keep * (pace->time_ms + since_ms);
        pace->work_ms *= keep;
        pace->step_ms *= keep;
        pace->tokens *= keep;
        pace->count *= 1.0f - since_ms / (since_ms + ANSWERS_TAU_MS);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct pace *pace = &core->placed[turns[i].placement].pace;
        answers += pace->count;
        sum += pace->count * pace->pace;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct headroom_turn *t = &turns[i];
        const struct pace *pace = &core->placed[t->placement].pace;
        t->base = pace_base(core, t->placement);
        t->at_base = headroom_work_of(&t->base, &t->mix);
        t->curve = pace_curve(core, t, answers, sum);
        t->at_pace = headroom_work_of(&t->curve, &t->mix);
        t->own_part = pace->work_ms / max_f(1.0f, pace->time_ms);
        t->cycle_ms = pace->tokens > 0.0f ? pace->step_ms / pace->tokens : 0.0f;
    }
}

void
headroom_pace_learn(struct core *core, struct headroom_turn *turns, uint32_t count)
{
    float work = 0.0f, part;

    if ((core->tuning.without & WITHOUT_LEARNING) != 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        work += turns[i].own_part +
                turns[i].others_ms * (turns[i].at_base.prefill + turns[i].at_base.decode);
    for (uint32_t i = 0; i < count; i++) {
        struct headroom_turn *t = &turns[i];
        struct pace *pace = &core->placed[t->placement].pace;
        struct class_learned *class = class_of(core, t->placement);
        float news = pace->news_tokens / t->mix.output, t0_ms = t->base.t0_ms;
        pace->news_tokens = 0.0f;
        if (news > 0.0f && t->cycle_ms > 0.0f) {
            for (uint32_t k = 0; k < count; k++)
                t0_ms += k != i ? headroom_busy(&turns[k], t->cycle_ms) * turns[k].base.t0_ms
                                : 0.0f;
            pace->count = min_f(ANSWERS_MAX, pace->count + news);
            pace->pace += min_f(1.0f, news / pace->count) *
                          (t->cycle_ms / max_f(TIME_LEAST_MS, t0_ms + t->cycle_ms * work) -
                           pace->pace);
        }
        part = pace->count / (pace->count + ANSWERS_HALF);
        if (!(part > 0.0f))
            continue;
        class->pace_count = min_f(CLASS_MAX, class->pace_count + part);
        class->pace += part / class->pace_count * (pace->pace - class->pace);
    }
}

/* model_load - of nodes and models; see model_load.h. */
#include "core/model_load.h"

#include <math.h>

#include "core/capacity.h"
#include "core/predict.h"

#define LOAD_TAU_MS        2000.0f /* what is shorter says nothing of load */
#define MODELS_A_TICK_LOAD 256u
#define LOAD_STEP_MS       60.0f /* between two tokens, where no goal is configured */
#define REQUEST_MS_MIN     1e-3f /* of a node that says it takes no time at all */

/* Requests a millisecond with this batch, before the node's own factor. */
static float
rate(const struct curve *c, float batch, float prompt_tokens, float output_tokens)
{
    float kv_tokens = batch * (prompt_tokens + 0.5f * output_tokens);
    float steps_ms = output_tokens * predict_step_ms(c, batch, kv_tokens) / batch;

    return 1.0f / max_f(predict_prefill_ms(c, prompt_tokens, 0.0f) + steps_ms, REQUEST_MS_MIN);
}

/* The largest batch: between two tokens of a request lies a step, and the prefill of those that
 * take the place of the finished ones. */
static float
batch_max(const struct predict_node *n, float prompt_tokens, float output_tokens, float step_ms)
{
    const struct curve *c = &n->curve;
    float kv_tokens = prompt_tokens + 0.5f * output_tokens;
    float each_ms = predict_prefill_ms(c, prompt_tokens, 0.0f) / output_tokens +
                    c->tk_ms * kv_tokens * 0.001f + c->tb_ms;
    float most = (step_ms - c->t0_ms) / max_f(each_ms, 1e-6f);

    if (n->kv_tokens_cap > 0.0f)
        most = min_f(most, n->kv_tokens_cap / kv_tokens);
    if (n->slots > 0.0f)
        most = min_f(most, n->slots);
    return max_f(1.0f, most);
}

float
model_load_batch(const struct core *core, uint32_t placement, const struct predict_node *n)
{
    const struct model_record *m = &core->models[core->placements[placement].model];
    float goal_ms = core->settings.tpot_goal_ms, step_ms = goal_ms > 0.0f ? goal_ms : LOAD_STEP_MS;

    return batch_max(n, m->prompt_mean, max_f(1.0f, m->output_mean),
                     step_ms / max_f(n->residual_step, 1e-3f));
}

/* What the node finishes now, and at most. */
static void
rates_of(const struct core *core, uint32_t placement, float *ret_now, float *ret_most)
{
    const struct model_record *m = &core->models[core->placements[placement].model];
    float prompt_tokens = m->prompt_mean, output_tokens = max_f(1.0f, m->output_mean);
    float most, batch, factor;
    struct predict_node n;

    capacity_estimate(core, core->now_ns, placement, &n);
    factor = max_f(n.residual_step, 1e-3f);
    most = model_load_batch(core, placement, &n);
    batch = min_f(most, n.running + n.waiting);
    *ret_most = rate(&n.curve, most, prompt_tokens, output_tokens) / factor;
    if (batch < 1.0f) /* of one it is busy only so much of the time */
        *ret_now = batch * rate(&n.curve, 1.0f, prompt_tokens, output_tokens) / factor;
    else
        *ret_now = rate(&n.curve, batch, prompt_tokens, output_tokens) / factor;
}

void
model_load_sweep(struct core *core, uint32_t node)
{
    float now, most;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        struct model_record *m = &core->models[core->placements[p].model];
        if (core->placements[p].state != MODEL_READY || core->hot[node].state != NODE_READY)
            continue;
        rates_of(core, p, &now, &most);
        m->rate_now += now;
        m->rate_most += most;
    }
}

bool
model_load_swept(struct core *core)
{
    uint32_t first = core->load_next, end = core->config.models_max;

    if (first == 0) {
        core->load_part = min_f(1.0f, ns_to_ms(core->now_ns - core->load_ns) / LOAD_TAU_MS);
        core->load_ns = core->now_ns;
    }
    if (end - first > MODELS_A_TICK_LOAD)
        end = first + MODELS_A_TICK_LOAD;
    for (uint32_t i = first; i < end; i++) {
        struct model_record *m = &core->models[i];
        if (m->rate_most > 0.0f)
            m->load += core->load_part * (min_f(1.0f, m->rate_now / m->rate_most) - m->load);
        m->rate_now = m->rate_most = 0.0f;
    }
    core->load_next = end < core->config.models_max ? end : 0;
    return core->load_next == 0;
}

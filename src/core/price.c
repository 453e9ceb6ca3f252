/* price - J, term by term; see price.h. */
#include "core/price.h"

static float
above_zero(float x)
{
    return x > 0.0f ? x : 0.0f;
}

/* The delay put on those that decode there: by our prefill, then by each of our steps. */
static float
ext_ms(const struct predict_node *node, const struct predict_request *request)
{
    const struct curve *c = &node->curve;
    float uncached = above_zero(request->prompt_tokens - request->hit_tokens);
    float kv_mean = request->prompt_tokens + 0.5f * request->output_tokens;
    float step = c->tb_ms + c->tk_ms * 0.001f * kv_mean;

    return (node->running + node->beside) * (uncached * c->b_ms * node->residual +
                                             request->output_tokens * step * node->residual_step);
}

/* 0 where there is plenty of room, 1 when it is all taken. */
static float
kv_need(const struct event_tuning *tuning, const struct predict_node *node,
        const struct predict_request *request)
{
    float used = node->kv_tokens_used + request->prompt_tokens + request->output_tokens, over;

    if (node->kv_tokens_cap <= 0.0f || used <= tuning->kv_from * node->kv_tokens_cap)
        return 0.0f;
    over = (used / node->kv_tokens_cap - tuning->kv_from) / (1.0f - tuning->kv_from);
    return over * over;
}

void
price_node(const struct event_tuning *tuning, float soft_ms, const struct predict_node *node,
           const struct predict_request *request, const struct terms *terms,
           struct price *ret_price)
{
    struct price *p = ret_price;

    p->ext_ms = tuning->ext_part * ext_ms(node, request);
    p->late_ms = tuning->late_factor * above_zero(terms->first_ms - soft_ms);
    p->kv_ms = tuning->kv_ms * kv_need(tuning, node, request);
    p->cost_ms = terms->first_ms + tuning->queue_part * terms->queue_ms +
                 tuning->done_part * terms->done_ms + p->ext_ms + p->late_ms + p->kv_ms;
}

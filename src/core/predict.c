/* predict - the sum of routing.md's terms; see predict.h.
 *
 * An engine with continuous batching runs iterations: each decodes one token of every running
 * request (step) and computes up to a budget of prefill tokens (b each). So a request that arrives
 * waits for the iteration that is under way, then for as many as the tokens ahead and its own fill,
 * and its first token comes out of the one that ends its prefill.
 *
 * No term is clamped: inputs are (capacity bounds what comes from outside), and with tokens and
 * factors below 1e9 no product here leaves the range of a float. */
#include "core/predict.h"

static float
positive(float x)
{
    return x > 0.0f ? x : 0.0f; /* NAN too */
}

float
predict_prefill_ms(const struct curve *curve, float uncached_tokens, float hit_tokens)
{
    float u = uncached_tokens;

    return curve->a_ms + curve->b_ms * u + curve->c_ms * u * (hit_tokens + 0.5f * u);
}

float
predict_step_ms(const struct curve *curve, float batch, float kv_tokens)
{
    return curve->t0_ms + curve->tk_ms * kv_tokens * 0.001f + curve->tb_ms * batch;
}

float
predict_load(const struct predict_node *node)
{
    float slots = node->slots > 0.0f ? node->slots : PREDICT_BATCH_GUESS;
    float load = (node->running + node->waiting) / slots;

    if (node->kv_tokens_cap > 0.0f && node->kv_tokens_used > load * node->kv_tokens_cap)
        load = node->kv_tokens_used / node->kv_tokens_cap;
    return load;
}

/* Until a slot is free: with every slot taken, requests end at a rate of slots/(L * step). */
static float
slot_wait_ms(const struct predict_node *node, float step_ms)
{
    float total = node->running + node->waiting;

    if (node->slots <= 0.0f || total < node->slots)
        return 0.0f;
    return (total - node->slots + 1.0f) * node->output_tokens_mean * step_ms / node->slots;
}

/* Until KV for the request is free: what runs gives its KV back over the length of an output. */
static float
kv_wait_ms(const struct predict_node *node, float need_tokens, float step_ms)
{
    float missing = need_tokens - (node->kv_tokens_cap - node->kv_tokens_used);

    if (node->kv_tokens_cap <= 0.0f || missing <= 0.0f || node->kv_tokens_used < 1.0f)
        return 0.0f;
    return missing / node->kv_tokens_used * node->output_tokens_mean * step_ms;
}

/* What a token of prefill costs beside its own b: every iteration it needs but the last, which is
 * the step of the first token itself, also decodes for the others. */
static float
shared_ms(const struct predict_node *node, float uncached_tokens, float step_ms)
{
    float tokens = node->queue_tokens + uncached_tokens;

    if (node->running + node->beside <= 0.0f || tokens <= PREDICT_BUDGET_TOKENS)
        return 0.0f;
    return step_ms * (1.0f / PREDICT_BUDGET_TOKENS - 1.0f / tokens);
}

float
predict_send_ms(const struct predict_path *path, float body_bytes)
{
    float window = PREDICT_WINDOW_BYTES, left = positive(body_bytes), ms = 0.0f;
    float full = path->bytes_per_ms * path->rtt_ms; /* bytes under way when the path is full */

    for (; left > window && (path->bytes_per_ms <= 0.0f || window < full); window *= 2.0f) {
        left -= window;
        ms += path->rtt_ms;
    }
    return path->bytes_per_ms > 0.0f ? ms + left / path->bytes_per_ms : ms;
}

float
predict_net_ms(const struct predict_path *path, float rounds, float body_bytes)
{
    return rounds * path->rtt_ms + predict_send_ms(path, body_bytes) + path->jitter_ms;
}

void
predict_terms(const struct predict_node *node, const struct predict_request *request,
              struct terms *ret_terms)
{
    struct terms *t = ret_terms;
    float uncached = positive(request->prompt_tokens - request->hit_tokens);
    float step = predict_step_ms(&node->curve, node->running + node->beside + 1.0f,
                                 node->kv_tokens_used + request->prompt_tokens);
    float shared = shared_ms(node, uncached, step);
    float slot_ms = slot_wait_ms(node, step);
    float queue = node->queue_tokens * (node->curve.b_ms + shared);

    if (slot_ms > queue)
        queue = slot_ms;
    queue += kv_wait_ms(node, request->prompt_tokens + request->output_tokens, step);
    if (node->iteration_left_ms == node->iteration_left_ms) /* known */
        queue += node->iteration_left_ms;
    else if (node->running + node->beside > 0.0f)
        queue += 0.5f * step;
    t->net_ms = predict_net_ms(&node->path, request->rounds, request->body_bytes);
    t->ready_ms = positive(node->ready_in_ms);
    t->queue_ms = queue * node->residual;
    t->prefill_ms = node->residual * (shared * uncached + predict_prefill_ms(&node->curve, uncached,
                                                                             request->hit_tokens));
    t->step_ms = step * node->residual;
    t->proof_ms = request->proof_ms;
    t->first_ms = t->net_ms + t->ready_ms + t->queue_ms + t->prefill_ms + t->step_ms + t->proof_ms;
    t->done_ms = t->first_ms + positive(request->output_tokens - 1.0f) * step * node->residual_step;
    t->sigma_ms = (t->first_ms - t->net_ms) * node->spread + node->path.jitter_ms;
}

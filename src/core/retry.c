/* retry - how often one more try is allowed: a bucket per model that first attempts fill; see
 * retry.h. */
#include "core/retry.h"

#define EARN             0.1f
#define PER_MS           0.001f /* at least one a second */
#define RETRY_TOKENS_MAX 20.0f

void
retry_earn(struct model_record *m)
{
    m->retry_tokens = min_f(RETRY_TOKENS_MAX, m->retry_tokens + EARN);
}

enum refusal
retry_allowed(struct core *core, const struct request *r, const struct event_failed *e)
{
    struct model_record *m = &core->models[r->arrived.model];

    if (e->started != 0)
        return REFUSAL_STARTED;
    if (e->failure == FAILURE_REQUEST)
        return REFUSAL_REQUEST;
    if (r->attempt >= ATTEMPTS_MAX)
        return REFUSAL_ALL_TRIED;
    m->retry_tokens = min_f(RETRY_TOKENS_MAX,
                            m->retry_tokens + PER_MS * ns_to_ms(core->now_ns - m->retry_ns));
    m->retry_ns = core->now_ns;
    if (m->retry_tokens < 1.0f)
        return REFUSAL_ALL_TRIED;
    m->retry_tokens -= 1.0f;
    return REFUSAL_NONE;
}

/* limit - bounds of a node; see limit.h.
 *
 * Gradient2 (Netflix, concurrency-limits), in tokens instead of requests:
 * limit <- 0.8*limit + 0.2*(limit*clamp(1.5*long/short, 0.5, 1) + q), where `long` is a mean over
 * 600 outcomes that follows down faster when it is off by more than two, and nothing changes while
 * less than half of the limit is used. */
#include "core/limit.h"

#include "core/capacity.h"
#include "core/index.h"
#include "core/model_slots.h"

#define SMOOTHING      0.2f
#define TOLERANCE      1.5f
#define GRADIENT_MIN   0.5f
#define QUEUE_REQUESTS 4.0f /* q: so many requests more each time */
#define LONG_OUTCOMES  600.0f
#define WARM_OUTCOMES  10.0f
#define DRIFT_MAX      2.0f /* long/short above: forget faster */
#define DRIFT_KEEP     0.95f
#define SLOWDOWN_MAX   100.0f
#define BUSY_KEEP      0.8f   /* of what was in flight when the node said 429 */
#define MORE_SLOTS     0.125f /* of its slots may wait at the node; at least one request */
/* The same of a model's own slots. They are few: were no more to wait than that, one that gets free
 * would stand empty until the next report says so to another gateway. */
#define MORE_OWN_SLOTS 1.0f
#define MORE_KV        1.1f /* of its KV capacity may be promised */

static float
kv_cap(const struct core *core, uint32_t placement)
{
    const struct node_hot *hot = &core->hot[core->links[placement].node];

    if (hot->kv_tokens_cap > 0.0f)
        return hot->kv_tokens_cap;
    return capacity_class(core, core->placements[placement].model, hot->class)->kv_tokens_cap;
}

/* Are all slots taken, and as many more as may wait for one? */
static bool
slots_taken(float requests, float slots, float more, float part)
{
    return slots > 0.0f && requests >= part * (slots + max_f(1.0f, more * slots));
}

/* Of the model's own slots. */
static bool
own_room(const struct core *core, uint32_t placement, bool is_news, float part)
{
    const struct slotted *s = &core->slotted[placement];
    float requests = (float)s->own_requests + (is_news ? (float)s->others_requests : 0.0f);

    return requests < 1.0f || !slots_taken(requests, (float)s->slots, MORE_OWN_SLOTS, part);
}

bool
limit_room(const struct core *core, uint64_t now_ns, uint32_t placement, float need_tokens,
           float part)
{
    const struct node_hot *hot = &core->hot[core->links[placement].node];
    float requests = (float)hot->own_requests, kv = hot->own_kv_tokens, cap;
    bool is_news = now_ns < hot->report_ns || ns_to_ms(now_ns - hot->report_ns) < LIMIT_NEWS_MS;

    if (is_news) {
        requests += hot->others_requests;
        kv += hot->others_kv_tokens;
    }
    if (requests < 1.0f)
        return true;
    if (slots_taken(requests, (float)hot->slots, MORE_SLOTS, part) ||
        (model_slots_has(core, hot, placement) && !own_room(core, placement, is_news, part)))
        return false;
    cap = kv_cap(core, placement);
    return cap <= 0.0f || kv + need_tokens <= part * MORE_KV * cap;
}

static float
limit_max(const struct core *core, uint32_t node)
{
    uint32_t p = core->cold[node].first_placement;
    float cap = p == NONE ? 0.0f : kv_cap(core, p);

    return cap > 0.0f ? max_f(MORE_KV * cap, LIMIT_TOKENS_MIN) : LIMIT_TOKENS_MAX;
}

static float
in_flight(const struct core *core, uint32_t node)
{
    return core->hot[node].own_kv_tokens + core->hot[node].others_kv_tokens;
}

bool
limit_reached(const struct core *core, uint32_t placement)
{
    uint32_t node = core->links[placement].node;
    const struct node_cold *cold = &core->cold[node];

    if ((core->tuning.without & WITHOUT_ADMISSION) != 0)
        return false;
    if (cold->limit_tokens > 0.0f && core->hot[node].own_requests > 0 &&
        in_flight(core, node) >= cold->limit_tokens)
        return true;
    return !limit_room(core, core->now_ns, placement, 0.0f, 1.0f);
}

void
limit_started(struct core *core, const struct request *r, const struct attempt *a)
{
    struct node_cold *cold;
    float slowdown, most, limit, gradient, part, tokens = r->prompt_tokens + r->output_tokens;

    if (a->node == NODE_ANY || r->arrived.stream == 0)
        return; /* of a whole answer the first token is not seen */
    slowdown = ns_to_ms(core->now_ns - a->dispatched_ns) / max_f(a->first_ms, 1.0f);
    slowdown = min_f(SLOWDOWN_MAX, max_f(slowdown, 1.0f / SLOWDOWN_MAX));
    cold = &core->cold[a->node];
    most = limit_max(core, a->node);
    limit = cold->limit_tokens;
    cold->slowdown_count = min_f(cold->slowdown_count + 1.0f, LONG_OUTCOMES);
    part = cold->slowdown_count <= WARM_OUTCOMES ? 1.0f / cold->slowdown_count
                                                 : 2.0f / (LONG_OUTCOMES + 1.0f);
    cold->slowdown += part * (slowdown - cold->slowdown);
    if (cold->slowdown > DRIFT_MAX * slowdown)
        cold->slowdown *= DRIFT_KEEP;
    if (limit <= 0.0f || limit > most)
        limit = most;
    if (in_flight(core, a->node) >= 0.5f * limit) {
        gradient = min_f(1.0f, max_f(GRADIENT_MIN, TOLERANCE * cold->slowdown / slowdown));
        limit += SMOOTHING * (limit * gradient + QUEUE_REQUESTS * tokens - limit);
    }
    cold->limit_tokens = min_f(most, max_f(LIMIT_TOKENS_MIN, limit));
}

void
limit_busy(struct core *core, uint32_t node)
{
    struct node_cold *cold = &core->cold[node];
    float limit = cold->limit_tokens > 0.0f ? cold->limit_tokens : limit_max(core, node);

    limit = min_f(limit, BUSY_KEEP * in_flight(core, node));
    cold->limit_tokens = max_f(LIMIT_TOKENS_MIN, limit);
}

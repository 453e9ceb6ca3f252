/* isolation - blame on nodes; see isolation.h. */
#include "core/isolation.h"

#include "core/index.h"
#include "core/prefix.h"

#define BLAME_FAILURE   3.00f
#define BLAME_SUCCESS   (-0.21f)
#define BLAME_EJECT     11.5f
#define EJECT_NS        UINT64_C(30000000000)
#define EJECT_TIMES_MAX 10u /* 300 s */
#define FAIL_PRIOR      0.01f
#define FAIL_UP         0.25f /* weight of a failure in the running probability */
#define FAIL_DOWN       0.1f  /* and of a success */
#define FAIL_TAU_MS     30000.0f
#define BUSY_GUESS_MS   1000.0f
#define BUSY_MAX_MS     60000.0f

void
isolation_reset(struct core *core, uint32_t node)
{
    core->hot[node].p_fail = to_fixed(FAIL_PRIOR, SHARE_ONE);
    core->cold[node].detect_ms = ISOLATION_DETECT_GUESS_MS;
    core->cold[node].decay_ns = core->now_ns;
}

bool
isolation_charged(uint32_t failure)
{
    switch (failure) {
    case FAILURE_CONNECT:
    case FAILURE_STATUS_5XX:
    case FAILURE_FIRST_BYTE:
    case FAILURE_STALL:
    case FAILURE_EOF:
    case FAILURE_MALFORMED:
    case FAILURE_TLS:
        return true;
    default:
        return false;
    }
}

static void
eject(struct core *core, uint32_t node, uint32_t failure)
{
    struct node_cold *cold = &core->cold[node];

    if (cold->ejections < EJECT_TIMES_MAX)
        cold->ejections++;
    cold->ejected_until_ns = core->now_ns + EJECT_NS * cold->ejections;
    cold->ejected_for = failure;
    cold->blame = 0.0f;
    core->hot[node].flags |= NODE_FLAG_EJECTED;
    prefix_forget_node(core, node);
    index_node(core, node);
}

/* Out since it could not even be reached, or was somebody else? */
static bool
is_out_of_reach(const struct core *core, uint32_t node)
{
    return (core->hot[node].flags & NODE_FLAG_EJECTED) != 0 &&
           (core->cold[node].ejected_for == FAILURE_CONNECT ||
            core->cold[node].ejected_for == FAILURE_TLS);
}

void
isolation_life(struct core *core, uint32_t node)
{
    if (!is_out_of_reach(core, node))
        return;
    core->hot[node].flags &= (uint8_t)~NODE_FLAG_EJECTED;
    core->hot[node].p_fail = to_fixed(FAIL_PRIOR, SHARE_ONE);
}

void
isolation_result(struct core *core, uint32_t node, uint32_t failure, float detect_ms)
{
    struct node_hot *hot = &core->hot[node];
    struct node_cold *cold = &core->cold[node];
    float p = (float)hot->p_fail / SHARE_ONE;

    if (failure == FAILURE_NONE) {
        p += FAIL_DOWN * (FAIL_PRIOR - p);
        cold->blame = max_f(0.0f, cold->blame + BLAME_SUCCESS);
        /* It answers again where before it could not even be reached, or was somebody else. */
        if (is_out_of_reach(core, node)) {
            hot->flags &= (uint8_t)~NODE_FLAG_EJECTED;
            p = FAIL_PRIOR;
            index_node(core, node);
        }
    } else if (isolation_charged(failure)) {
        p += FAIL_UP * (1.0f - p);
        cold->blame = min_f(BLAME_EJECT, cold->blame + BLAME_FAILURE);
        if (detect_ms >= 0.0f)
            cold->detect_ms += 0.3f * (min_f(detect_ms, 1e6f) - cold->detect_ms);
        if (cold->blame >= BLAME_EJECT && (hot->flags & NODE_FLAG_EJECTED) == 0 &&
            !core->suspicion.suspected)
            eject(core, node, failure);
    }
    hot->p_fail = to_fixed(p, SHARE_ONE);
}

void
isolation_busy(struct core *core, uint32_t node, float retry_after_ms)
{
    float ms = retry_after_ms > 0.0f ? min_f(retry_after_ms, BUSY_MAX_MS) : BUSY_GUESS_MS;

    core->cold[node].busy_until_ns = core->now_ns + (uint64_t)((double)ms * 1e6);
    core->hot[node].flags |= NODE_FLAG_BUSY;
    index_node(core, node);
}

void
isolation_sweep(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    struct node_cold *cold = &core->cold[node];
    float p = (float)hot->p_fail / SHARE_ONE, part = ns_to_ms(core->now_ns - cold->decay_ns);

    part = min_f(1.0f, part / FAIL_TAU_MS);
    hot->p_fail = to_fixed(p + part * (FAIL_PRIOR - p), SHARE_ONE);
    cold->decay_ns = core->now_ns;
    if ((hot->flags & NODE_FLAG_EJECTED) != 0 && core->now_ns >= cold->ejected_until_ns)
        hot->flags &= (uint8_t)~NODE_FLAG_EJECTED;
    if ((hot->flags & NODE_FLAG_BUSY) != 0 && core->now_ns >= cold->busy_until_ns)
        hot->flags &= (uint8_t)~NODE_FLAG_BUSY;
}

enum why_not
isolation_verdict(const struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];

    if (hot->state != NODE_READY)
        return WHY_DRAINING;
    if ((hot->flags & NODE_FLAG_EJECTED) != 0)
        return WHY_FAILING;
    if ((hot->flags & NODE_FLAG_BUSY) != 0)
        return WHY_FULL;
    return WHY_CHOSEN;
}

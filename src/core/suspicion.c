/* suspicion - who is silent; see suspicion.h. */
#include "core/suspicion.h"

#include <math.h>

#define ROUND_NODES  256u
#define SILENT_MIN   2u
#define ENTER_PART   0.3f
#define LEAVE_PART   0.15f
#define GAP_FADE_MS  300000.0f
#define GAPS_LATE    3.0f /* so many gaps without a report, and a second */
#define GAP_SLACK_MS 1000.0f
#define FORGET_MS    60000.0f

void
suspicion_vouch(struct core *core, uint32_t node, bool vouched)
{
    struct node_cold *cold = &core->cold[node];

    core->suspicion.vouched += (uint32_t)vouched - (uint32_t)cold->vouched;
    cold->vouched = vouched;
}

void
suspicion_report(struct core *core, uint32_t node, float gap_ms)
{
    float *ours = &core->cold[node].report_gap_ms;

    *ours = max_f(gap_ms, *ours - *ours * min_f(1.0f, gap_ms / GAP_FADE_MS));
}

void
suspicion_probe(struct core *core, uint32_t node, uint32_t failure)
{
    struct node_cold *cold = &core->cold[node];

    switch (failure) {
    case FAILURE_CONNECT:
    case FAILURE_FIRST_BYTE:
    case FAILURE_STALL:
    case FAILURE_EOF:
    case FAILURE_LOCAL:
        if (cold->silent_ns == 0)
            cold->silent_ns = core->now_ns;
        break;
    default: /* whatever it answers: it is heard */
        cold->asked = true;
        cold->silent_ns = 0;
        break;
    }
}

/* For how long nothing was heard that should have been; NAN: nothing is expected. */
static float
silent_ms(const struct core *core, uint64_t now_ns, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];
    float late_ms;

    if (cold->asked)
        return cold->silent_ns != 0 ? ns_to_ms(now_ns - cold->silent_ns) : 0.0f;
    if (cold->report_gap_ms <= 0.0f)
        return NAN;
    late_ms = ns_to_ms(now_ns - hot->report_ns);
    return max_f(0.0f, late_ms - GAPS_LATE * cold->report_gap_ms - GAP_SLACK_MS);
}

float
suspicion_silent_ms(const struct core *core, uint64_t now_ns, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    bool heard = (hot->flags & NODE_FLAG_REPORTS) != 0;
    float age_ms = heard && now_ns > hot->report_ns ? ns_to_ms(now_ns - hot->report_ns) : 0.0f;
    float ms = silent_ms(core, now_ns, node);

    if (!(ms > 0.0f) || (heard && age_ms <= SUSPICION_NEWS_MS))
        return NAN;
    return max_f(ms, age_ms);
}

void
suspicion_look(struct core *core, uint32_t node)
{
    struct suspicion *s = &core->suspicion;
    float ms = silent_ms(core, core->now_ns, node);

    if (isnan(ms) || (core->hot[node].flags & NODE_FLAG_EJECTED) != 0 ||
        (s->vouched > 0 && !core->cold[node].vouched))
        return;
    s->heard += ms == 0.0f;
    s->silent += ms > 0.0f && ms <= FORGET_MS;
    s->forgotten += ms > FORGET_MS;
    if (s->heard + s->silent + s->forgotten >= ROUND_NODES)
        suspicion_round(core);
}

void
suspicion_round(struct core *core)
{
    struct suspicion *s = &core->suspicion;
    float silent = (float)s->silent, expected = (float)(s->heard + s->silent);

    if (s->heard == 0) { /* nobody is left to compare with */
        silent += (float)s->forgotten;
        expected += (float)s->forgotten;
    }
    if (!s->suspected)
        s->suspected = silent >= SILENT_MIN && silent > ENTER_PART * expected &&
                       (core->tuning.without & WITHOUT_SELF_SUSPICION) == 0;
    else if (expected > 0.0f) /* all of them may have left, too */
        s->suspected = silent >= LEAVE_PART * expected;
    else
        s->suspected = false;
    s->heard = s->silent = s->forgotten = 0;
}

/* explain - the losers and why they lost; see explain.h. */
#include "core/explain.h"

#include <math.h>

#include "core/isolation.h"
#include "core/readiness.h"

void
explain_begin(const struct core *core, uint64_t now_ns, const struct request *r,
              struct decision *ret_decision)
{
    struct decision *d = ret_decision;

    d->request = r->arrived.request;
    d->now_ns = now_ns;
    d->attempt = r->attempt;
    d->rule = core->settings.rule;
    d->model = r->arrived.model;
    d->mode = DECISION_RULE;
    d->candidate_count = 0;
    d->admission = ADMISSION_NONE;
    d->held_ms = 0.0f;
    d->hedge_ms = NAN;
    d->considered = core->models[r->arrived.model].placement_count;
    d->prompt_tokens = r->prompt_tokens;
    d->hit_tokens = 0.0f;
    d->output_tokens = r->output_tokens;
}

static void
add(struct decision *d, const struct candidate *c, enum why_not why)
{
    d->candidates[d->candidate_count++] = (struct decision_candidate){
        .node = c->node,
        .region = c->region,
        .why = (uint16_t)why,
        .terms = c->terms,
        .hit_tokens = c->hit_tokens,
        .ext_ms = c->ext_ms,
        .late_ms = c->late_ms,
        .kv_ms = c->kv_ms,
        .fail_ms = c->fail_ms,
        .stick_ms = c->stick_ms,
        .word_ms = c->word_ms,
        .cost_ms = c->cost_ms,
    };
}

/* Why the nearest node was not even a candidate. */
static enum why_not
why_no_candidate(const struct core *core, uint32_t node, const struct decision *d)
{
    uint32_t p = readiness_find(core, node, d->model);

    if (p == NONE)
        return WHY_ABSENT;
    if (core->placements[p].state != MODEL_READY || core->placements[p].ready_at_ns > d->now_ns)
        return WHY_NOT_READY;
    if (isolation_verdict(core, node) != WHY_CHOSEN)
        return isolation_verdict(core, node);
    if (core->placements[p].bucket == BUCKET_FULL)
        return WHY_FULL;
    return d->attempt > 1 ? WHY_TRIED : WHY_SLOWER; /* not in the sample: others had more room */
}

#define LOSERS_MAX (DECISION_CANDIDATES_MAX - 2u) /* beside the chosen one and the nearest */

/* The cost up to which a loser is kept, where there is no room for all. */
static float
kept_cost_ms(const struct candidate *list, size_t count, size_t chosen)
{
    float best[LOSERS_MAX];

    for (size_t i = 0; i < LOSERS_MAX; i++)
        best[i] = INFINITY;
    for (size_t i = 0; i < count; i++) {
        size_t at = LOSERS_MAX - 1;
        if (i == chosen || !(list[i].cost_ms < best[at]))
            continue;
        for (; at > 0 && list[i].cost_ms < best[at - 1]; at--)
            best[at] = best[at - 1];
        best[at] = list[i].cost_ms;
    }
    return best[LOSERS_MAX - 1];
}

static enum why_not
why_of(const struct decision *d, const struct candidate *c, float tied_ms)
{
    switch ((enum decision_mode)d->mode) {
    case DECISION_RULE:
        return WHY_RULE;
    case DECISION_STALE:
    case DECISION_SUSPICION:
        return WHY_STALE;
    case DECISION_GOAL:
        return c->fits != 0 ? WHY_BUSIER_FITS : WHY_SLOWER;
    default:
        return c->cost_ms <= tied_ms ? WHY_TIED : WHY_SLOWER;
    }
}

void
explain_full(const struct candidate *list, size_t count, struct decision *decision)
{
    for (size_t i = 0; i < count && decision->candidate_count < DECISION_CANDIDATES_MAX; i++)
        add(decision, &list[i], WHY_FULL);
}

void
explain_candidates(const struct core *core, const struct rule *rule, const struct candidate *list,
                   size_t count, size_t room, size_t chosen, struct decision *decision)
{
    struct decision *d = decision;
    const struct candidate *won = &list[chosen];
    bool nearest_seen = core->nearest == NONE || core->nearest == won->node;
    bool priced = rule->wants == RULE_WANTS_PREDICTION;
    /* Closer than this, the softmin may take either. */
    float heat = (core->tuning.without & WITHOUT_SIGMA) != 0 ? 0.0f : core->tuning.temperature;
    float kept_ms = priced && count > LOSERS_MAX + 1 ? kept_cost_ms(list, count, chosen) : INFINITY;
    struct candidate nearest;

    d->hit_tokens = won->hit_tokens;
    add(d, won, WHY_CHOSEN);
    for (size_t i = 0; i < count && d->candidate_count < DECISION_CANDIDATES_MAX - 1; i++) {
        float near_ms = heat * (list[i].terms.sigma_ms + won->terms.sigma_ms);
        if (i == chosen || list[i].cost_ms > kept_ms)
            continue;
        nearest_seen = nearest_seen || list[i].node == core->nearest;
        add(d, &list[i],
            i >= room ? (enum why_not)list[i].barred : why_of(d, &list[i], won->cost_ms + near_ms));
    }
    if (nearest_seen)
        return;
    nearest = (struct candidate){.node = core->nearest, .region = core->hot[core->nearest].region};
    nearest.terms.net_ms = core->hot[core->nearest].rtt_ms;
    add(d, &nearest, why_no_candidate(core, core->nearest, d));
}

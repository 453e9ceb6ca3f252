/* sim_check - judges of a world, and the digest of what was decided in it; see sim_check.h. */
#include "sim/sim_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#define MIX UINT64_C(0x9e3779b97f4a7c15)

void
sim_check_failed(struct sim_world *w, const char *format, ...)
{
    int bytes;
    va_list args;

    if (w->stats.violations++ > 0)
        return;
    bytes = snprintf(w->stats.violation, sizeof(w->stats.violation),
                     "at %.6f s: ", sim_now_ms(w) / 1000.0);
    va_start(args, format);
    (void)vsnprintf(w->stats.violation + bytes, sizeof(w->stats.violation) - (size_t)bytes, format,
                    args);
    va_end(args);
}

/* ---- What cores want. */

static void
mix(struct sim_world *w, uint64_t x)
{
    w->stats.digest = (w->stats.digest ^ x) * MIX;
    w->stats.digest ^= w->stats.digest >> 32;
}

static void
mix_float(struct sim_world *w, float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    mix(w, bits);
}

static void
dispatch_check(struct sim_world *w, const struct action_dispatch *d)
{
    mix(w, (uint64_t)d->node << 32 | d->attempt);
    mix_float(w, d->first_ms);
    mix_float(w, d->done_ms);
    mix_float(w, d->hedge_after_ms);
    if (!(d->first_ms >= 0.0f) || !isfinite(d->first_ms) || !isfinite(d->done_ms) ||
        d->done_ms < d->first_ms || !(d->sigma_ms >= 0.0f) || !isfinite(d->sigma_ms))
        sim_check_failed(w, "node %" PRIu32 " is predicted to begin in %g ms +- %g, end in %g ms",
                         d->node, (double)d->first_ms, (double)d->sigma_ms, (double)d->done_ms);
    if (d->node >= w->options.nodes || d->attempt < 1 || d->attempt > ATTEMPTS_MAX)
        sim_check_failed(w, "attempt %" PRIu32 " at node %" PRIu32 ", which is not there",
                         d->attempt, d->node);
    if (!(d->first_limit_ms > 0.0f) || d->hedge_after_ms < 0.0f)
        sim_check_failed(w, "limits of %g and %g ms", (double)d->first_limit_ms,
                         (double)d->hedge_after_ms);
}

void
sim_check_actions(struct sim_world *w, const struct sim_gateway *g)
{
    for (uint32_t i = 0; i < w->actions.count; i++) {
        const struct action *a = &w->actions.list[i];

        mix(w, w->now_ns << 8 | a->kind);
        mix(w, (uint64_t)(g - w->gateways));
        switch ((enum action_kind)a->kind) {
        case ACTION_DISPATCH:
            mix(w, a->dispatch.request);
            dispatch_check(w, &a->dispatch);
            break;
        case ACTION_REFUSE:
            mix(w, a->refuse.request);
            mix(w, a->refuse.refusal);
            break;
        case ACTION_HOLD:
            mix(w, a->hold.request);
            mix_float(w, a->hold.hold_ms);
            break;
        case ACTION_CANCEL:
            mix(w, a->cancel.request);
            mix(w, a->cancel.attempt);
            break;
        default:
            sim_check_failed(w, "an action of kind %" PRIu32, a->kind);
            break;
        }
    }
}

/* ---- What came of a request. */

void
sim_check_sample(struct sim_world *w, const struct sim_request *r, const struct sim_attempt *a,
                 const struct sim_sample *s)
{
    if (r->arrived_ns < r->sent_ns || a->dispatched_ns < r->arrived_ns ||
        r->first_ns < a->dispatched_ns || r->first_ns > w->now_ns)
        sim_check_failed(w,
                         "sent at %" PRIu64 ", arrived %" PRIu64 ", dispatched %" PRIu64
                         ", first token %" PRIu64 ", done %" PRIu64 " ns",
                         r->sent_ns, r->arrived_ns, a->dispatched_ns, r->first_ns, w->now_ns);
    if (!(s->first_ms >= 0.0f) || !(s->done_ms >= s->first_ms) || !isfinite(s->done_ms))
        sim_check_failed(w, "first token after %g ms, done after %g", (double)s->first_ms,
                         (double)s->done_ms);
    if (a->cached_tokens > r->prompt_tokens)
        sim_check_failed(w, "%" PRIu32 " tokens cached of a prompt of %" PRIu32, a->cached_tokens,
                         r->prompt_tokens);
    if (r->tries < 1 || r->tries > ATTEMPTS_MAX)
        sim_check_failed(w, "answered after %" PRIu32 " tries", r->tries);
}

/* ---- The whole state. */

struct counts { /* of one gateway */
    uint32_t in_flight, held;
    uint32_t *at_nodes; /* [nodes]: live attempts */
};

/* What the world knows to be in flight. */
static void
count(struct sim_world *w, struct counts *counts)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < w->request_count; i++) {
        const struct sim_request *r = &w->requests[i];
        struct counts *c = &counts[r->gateway];
        uint32_t live = 0;

        used += r->serial != 0;
        if (r->serial == 0 || r->arrived_ns == 0)
            continue;
        for (uint32_t k = 0; k < ATTEMPTS_MAX; k++) {
            if (r->attempts[k].node == SIM_NONE)
                continue;
            live++;
            c->at_nodes[r->attempts[k].node]++;
        }
        c->in_flight++;
        c->held += live == 0;
    }
    if (used != w->in_flight)
        sim_check_failed(w, "%" PRIu32 " requests in flight, %" PRIu32 " counted", used,
                         w->in_flight);
}

static void
gateway_check(struct sim_world *w, uint32_t gateway, const struct counts *c)
{
    const struct core *core = w->gateways[gateway].core;
    struct node_view views[CORE_VIEW_MAX];
    struct core_load_view load;
    uint32_t next = 0;

    core_view_load(core, &load);
    if (load.requests != c->in_flight || load.held != c->held)
        sim_check_failed(w,
                         "gateway %" PRIu32 " has %" PRIu32 " requests, %" PRIu32
                         " held; its core believes %" PRIu32 ", %" PRIu32,
                         gateway, c->in_flight, c->held, load.requests, load.held);
    while (next != UINT32_MAX) {
        uint32_t n = core_view_nodes(core, 0, next, views, &next);
        for (uint32_t i = 0; i < n; i++) {
            const struct node_view *v = &views[i];
            if (v->own_outstanding != c->at_nodes[v->node])
                sim_check_failed(w,
                                 "gateway %" PRIu32 " has %" PRIu32 " attempts at node %" PRIu32
                                 "; its core believes %" PRIu32,
                                 gateway, c->at_nodes[v->node], v->node, v->own_outstanding);
            if (!(v->residual > 0.0f) || !isfinite(v->residual) || !(v->p_fail >= 0.0f) ||
                v->p_fail > 1.0f || !isfinite(v->queue_tokens) || v->queue_tokens < 0.0f)
                sim_check_failed(w,
                                 "gateway %" PRIu32 " sees node %" PRIu32
                                 " with residual %g, p_fail %g, %g tokens queued",
                                 gateway, v->node, (double)v->residual, (double)v->p_fail,
                                 (double)v->queue_tokens);
        }
    }
}

/* Attempts linked at nodes are those that say so. */
static void
nodes_check(struct sim_world *w)
{
    uint64_t linked = 0, said = 0, submitted = 0;

    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct engine_truth t;

        for (uint32_t a = w->nodes[n].first_attempt; a != SIM_NONE; linked++) {
            const struct sim_attempt *at =
                &w->requests[a / ATTEMPTS_MAX].attempts[a % ATTEMPTS_MAX];
            if (at->node != n || !at->at_node)
                sim_check_failed(w, "node %" PRIu32 " lists an attempt that is not there", n);
            a = at->node_next;
        }
        sim_node_truth(w, n, &t);
        submitted += t.requests_total;
        if (t.kv_tokens_used > t.kv_tokens_cap || !(t.queue_tokens >= 0.0))
            sim_check_failed(w, "node %" PRIu32 " holds %g tokens of %g, %g wait", n,
                             t.kv_tokens_used, t.kv_tokens_cap, t.queue_tokens);
    }
    for (uint32_t i = 0; i < w->request_count; i++) {
        for (uint32_t k = 0; w->requests[i].serial != 0 && k < ATTEMPTS_MAX; k++)
            said += w->requests[i].attempts[k].at_node;
    }
    if (linked != said)
        sim_check_failed(w, "%" PRIu64 " attempts at nodes, %" PRIu64 " listed", said, linked);
    if (submitted != w->stats.submitted)
        sim_check_failed(w, "%" PRIu64 " requests given to engines, %" PRIu64 " taken",
                         w->stats.submitted, submitted);
}

void
sim_check_now(struct sim_world *w)
{
    uint32_t nodes = w->options.nodes, gateways = w->options.gateways;
    struct counts *counts = calloc(gateways, sizeof(*counts));
    uint32_t *at_nodes = calloc((size_t)gateways * nodes, sizeof(*at_nodes));
    const struct sim_stats *s = &w->stats;

    must(counts != NULL && at_nodes != NULL);
    for (uint32_t g = 0; g < gateways; g++)
        counts[g].at_nodes = at_nodes + (size_t)g * nodes;
    count(w, counts);
    for (uint32_t g = 0; g < gateways; g++)
        gateway_check(w, g, &counts[g]);
    nodes_check(w);
    if (s->requests != s->answered_all + s->refused_all + w->in_flight)
        sim_check_failed(w,
                         "%" PRIu64 " requests: %" PRIu64 " answered, %" PRIu64 " refused, %" PRIu32
                         " in flight",
                         s->requests, s->answered_all, s->refused_all, w->in_flight);
    free(counts);
    free(at_nodes);
}

void
sim_check_end(struct sim_world *w)
{
    const struct sim_stats *s = &w->stats;
    uint64_t prompt = 0, output = 0;

    sim_check_now(w);
    if (w->in_flight != 0)
        sim_check_failed(w, "%" PRIu32 " requests never ended", w->in_flight);
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct engine_truth t;

        sim_node_truth(w, n, &t);
        prompt += t.prompt_tokens_total;
        output += t.output_tokens_total;
        if (t.running + t.waiting != 0 || t.kv_tokens_used > 0.0)
            sim_check_failed(w, "node %" PRIu32 " still has %" PRIu32 " requests, %g tokens", n,
                             t.running + t.waiting, t.kv_tokens_used);
    }
    if (prompt < s->answered_prompt_tokens || output < s->answered_output_tokens ||
        (s->submitted == s->answered_all &&
         (prompt != s->answered_prompt_tokens || output != s->answered_output_tokens)))
        sim_check_failed(w,
                         "engines computed %" PRIu64 " + %" PRIu64 " tokens; answers have %" PRIu64
                         " + %" PRIu64,
                         prompt, output, s->answered_prompt_tokens, s->answered_output_tokens);
}

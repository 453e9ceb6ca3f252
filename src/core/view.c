/* view - what people and other programs may read of core's state; see core.h. At most
 * CORE_VIEW_MAX rows a call, so that whoever holds the door's lock holds it shortly. */
#include <math.h>

#include "core/capacity.h"
#include "core/learn.h"
#include "core/load_time.h"
#include "core/model_load.h"
#include "core/suspicion.h"

static bool
is_ready(const struct core *core, uint64_t now_ns, uint32_t placement)
{
    const struct placement *p = &core->placements[placement];

    return p->state == MODEL_READY && p->ready_at_ns <= now_ns;
}

/* *ret_node: the node as this placement sees it. */
static struct speed_view
speed_of(const struct core *core, uint64_t now_ns, uint32_t placement,
         struct predict_node *ret_node)
{
    const struct model_record *m = &core->models[core->placements[placement].model];
    uint32_t node = core->links[placement].node, model = core->placements[placement].model;
    const struct class_curve *cc = capacity_class(core, model, core->hot[node].class);
    struct predict_node *n = ret_node;
    struct speed_view speed;
    float batch, step_ms, used;

    capacity_estimate(core, now_ns, placement, n);
    batch = model_load_batch(core, placement, n);
    step_ms = predict_step_ms(&cc->curve, batch, batch * m->prompt_mean);
    used = min_f(1.0f, max_f(predict_load(n), (n->running + n->waiting) / batch));
    speed.prefill_tok_s = 1000.0f / max_f(1e-3f, cc->curve.b_ms * n->residual);
    speed.decode_tok_s = 1000.0f * batch / max_f(1e-3f, step_ms * n->residual_step);
    speed.free_prefill_tok_s = speed.prefill_tok_s * (1.0f - used);
    speed.free_decode_tok_s = speed.decode_tok_s * (1.0f - used);
    return speed;
}

/* What a node can do on top of now, by the model it has ready with the most capacity: not additive
 * over models, since they share the hardware. */
static void
view_speed(const struct core *core, uint64_t now_ns, uint32_t placement, struct node_view *v)
{
    struct predict_node n;
    struct speed_view speed = speed_of(core, now_ns, placement, &n);

    if (speed.decode_tok_s < v->speed.decode_tok_s)
        return;
    v->speed = speed;
    v->queue_tokens = n.queue_tokens;
    v->running = n.running + n.beside;
    v->waiting = n.waiting;
    v->kv_tokens_used = n.kv_tokens_used;
    v->kv_tokens_cap = n.kv_tokens_cap;
}

static float
ago_ms(uint64_t then_ns, uint64_t now_ns)
{
    return then_ns != 0 && now_ns >= then_ns ? ns_to_ms(now_ns - then_ns) : NAN;
}

static void
view_ejected(const struct node_cold *cold, uint64_t now_ns, struct node_view *v)
{
    v->ejected = 1;
    v->ejected_for = cold->ejected_for;
    v->ejected_left_ms = 0.0f;
    if (cold->ejected_until_ns > now_ns)
        v->ejected_left_ms = ns_to_ms(cold->ejected_until_ns - now_ns);
}

static void
view_claims(const struct node_cold *cold, uint64_t now_ns, struct node_view *v)
{
    const struct claim *c = &cold->claim;

    v->word = 1.0f - c->doubt;
    v->claims_tested = c->tests;
    for (uint32_t k = 0; k < CLAIM_KIND_COUNT; k++)
        v->claims_broken[k] = c->broken[k];
    v->claim = c->kind;
    v->claimed = c->said;
    v->came = c->came;
    v->broken_first_ago_ms = ago_ms(c->first_ns, now_ns);
    v->broken_last_ago_ms = ago_ms(c->last_ns, now_ns);
}

static void
view_node(const struct core *core, uint64_t now_ns, uint32_t node, struct node_view *v)
{
    const struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];

    *v = (struct node_view){
        .node = node,
        .region = hot->region,
        .class = hot->class,
        .site = cold->site,
        .operator= cold->operator,
        .state = hot->state,
        .slots = hot->slots,
        .own_outstanding = hot->own_requests,
        .report_age_ms = NAN,
        .running = hot->others_requests + (float)hot->own_requests,
        .queue_tokens = hot->own_queue_tokens,
        .kv_tokens_used = hot->others_kv_tokens + hot->own_kv_tokens,
        .kv_tokens_cap = hot->kv_tokens_cap,
        .rtt_ms = cold->rtt_measured ? hot->rtt_ms : NAN,
        .residual = hot->residual,
        .spread = hot->spread,
        .p_fail = (float)hot->p_fail / SHARE_ONE,
        .ejected_left_ms = NAN,
    };
    view_claims(cold, now_ns, v);
    v->silent_ms = suspicion_silent_ms(core, now_ns, node);
    if ((hot->flags & NODE_FLAG_EJECTED) != 0)
        view_ejected(cold, now_ns, v);
    v->changes = cold->changes;
    v->changed_ago_ms = cold->changes > 0 && now_ns >= cold->changed_ns
                            ? ns_to_ms(now_ns - cold->changed_ns)
                            : NAN;
    if ((hot->flags & NODE_FLAG_REPORTS) != 0 && now_ns >= hot->report_ns)
        v->report_age_ms = ns_to_ms(now_ns - hot->report_ns);
    for (uint32_t p = cold->first_placement; p != NONE; p = core->placements[p].node_next) {
        if (!is_ready(core, now_ns, p))
            continue;
        v->models_ready++;
        view_speed(core, now_ns, p, v);
    }
}

uint32_t
core_view_nodes(const struct core *core, uint64_t now_ns, uint32_t from,
                struct node_view *ret_views, uint32_t *ret_next)
{
    uint32_t count = 0, node = from;

    for (; node < core->node_end && count < CORE_VIEW_MAX; node++) {
        if (node_known(core, node))
            view_node(core, now_ns, node, &ret_views[count++]);
    }
    *ret_next = node < core->node_end ? node : UINT32_MAX;
    return count;
}

uint32_t
core_view_placements(const struct core *core, uint64_t now_ns, uint32_t from,
                     struct placement_view *ret_views, uint32_t *ret_next)
{
    uint32_t count = 0, node = from;

    for (; node < core->node_end; node++) {
        uint32_t p = node_known(core, node) ? core->cold[node].first_placement : NONE;
        if (count + CORE_NODE_MODELS_MAX > CORE_VIEW_MAX)
            break; /* a node is given whole or not at all */
        for (; p != NONE; p = core->placements[p].node_next) {
            const struct placement *pl = &core->placements[p];
            struct predict_node n;
            ret_views[count] = (struct placement_view){
                .node = node,
                .model = pl->model,
                .state = pl->state == MODEL_LEAVING ? MODEL_ON_DISK : pl->state,
                .region = core->hot[node].region,
                .ready_in_ms = pl->state == MODEL_READY || pl->state == MODEL_LOADING
                                   ? load_time_left_ms(core, now_ns, p)
                                   : NAN,
                .slots = core->slotted[p].slots,
                .requests = (uint32_t)core->slotted[p].own_requests +
                            core->slotted[p].others_requests,
            };
            if (is_ready(core, now_ns, p))
                ret_views[count].speed = speed_of(core, now_ns, p, &n);
            count++;
        }
    }
    *ret_next = node < core->node_end ? node : UINT32_MAX;
    return count;
}

void
core_view_model(const struct core *core, uint16_t model, struct model_view *ret_view)
{
    const struct model_record *m;

    *ret_view = (struct model_view){.model = model};
    if (model >= core->config.models_max)
        return;
    m = &core->models[model];
    for (uint32_t s = 0; s < SCRIPT_CLASS_COUNT; s++)
        ret_view->bytes_per_token[s] = m->bytes_per_token[s];
    ret_view->output_tokens_mean = m->output_mean;
    ret_view->load = m->load;
    ret_view->requests_total = m->requests_total;
}

void
core_view_hedges(const struct core *core, struct hedge_view *ret_view)
{
    *ret_view = core->hedges;
}

void
core_view_prefix(const struct core *core, struct prefix_view *ret_view)
{
    *ret_view = (struct prefix_view){.entries = core->prefix.entries,
                                     .entries_max = core->prefix.buckets == NULL
                                                        ? 0
                                                        : (core->prefix.bucket_mask + UINT64_C(1)) *
                                                              PREFIX_WAYS,
                                     .evictions = core->prefix.evictions};
}

void
core_view_load(const struct core *core, struct core_load_view *ret_view)
{
    *ret_view = (struct core_load_view){core->requests_in_flight, core->fair.held};
}

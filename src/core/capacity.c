/* capacity - the node table; see capacity.h.
 *
 * A report tells what an engine holds in all. Ours are in it too, so it is split as it comes: own
 * requests that the engine must have seen by then are taken off, the rest is "others", which only
 * reports (and age) change. Ours are counted exactly, at once, and apart. */
#include "core/capacity.h"

#include <math.h>
#include <string.h>

#include "base/prefetch.h"
#include "core/claim.h"
#include "core/headroom.h"
#include "core/index.h"
#include "core/isolation.h"
#include "core/learn.h"
#include "core/load_time.h"
#include "core/model_load.h"
#include "core/model_slots.h"
#include "core/plan.h"
#include "core/prefix.h"
#include "core/readiness.h"
#include "core/suspicion.h"

#define TOKENS_LEAST       1e-3f /* of a queue: less, and products with it leave the range of a float */
#define SWEEP_REQUESTS     64u /* of one node */
#define SWEEP_NODES        32u /* nodes a tick looks after, ... */
#define SWEEP_PLACEMENTS   32u /* ... as long as they have no more models than that */
#define SHARE_TAU_MS       5000.0f
#define SHARE_FLOOR        0.0078125f /* of a gateway among at most 64 */
#define HEARD_PART         0.015625f  /* of one report in what reports say of others' part */
#define ALONE_PART         0.8f       /* ours, of all that reports count: nobody else sends there */
#define SPREAD_PER_MS      3e-5f      /* uncertainty that a report gains with age */
#define SPREAD_UNHEARD     0.5f       /* and when there never was one */
#define RTT_GUESS_MS       50.0f
#define CONNECTION_IDLE_NS UINT64_C(4000000000) /* a kept connection is closed after it */
#define FRESH_PART         0.2f                 /* of the last dispatch in the rate of new ones */
#define TOKENS_MAX         1e9f
#define RTT_REACH_MS       10.0f /* a round trip counts for at most twice ours and so much */
#define REGION_RTT_PART    0.2f
#define JITTER_PART        0.05f
#define JITTER_REACH       4.0f /* one round trip counts for at most so many times the mean */
#define JITTER_STEP_MS     1.0f /* and so much more, so that it can begin */
#define RATE_PART          0.2f
#define RATE_REACH         4.0f /* one rate counts for at most, or at least, so many times ours */
#define RATE_MIN           1.0f /* bytes/ms: 8 kbit/s */
#define RATE_MAX           1e7f /* 80 Gbit/s */
_Static_assert(SWEEP_PLACEMENTS >= CORE_NODE_MODELS_MAX, "each node gets its visit");

const struct curve capacity_generic_curve = {
    .a_ms = 2.0f, .b_ms = 0.18f, .c_ms = 5.9e-6f, .t0_ms = 24.0f, .tk_ms = 0.25f, .tb_ms = 0.0044f};

/* x in [0, max], or `other` when it is unknown or absurd. */
static float
sane(float x, float max, float other)
{
    return x >= 0.0f && x <= max ? x : other;
}

const struct class_curve *
capacity_class(const struct core *core, uint32_t model, uint32_t class)
{
    return &core->curves[(size_t)model * core->config.classes_max + class];
}

float
capacity_work_ms(const struct core *core, uint32_t model, const struct curve *curve,
                 float uncached_tokens, float hit_tokens, float output_tokens)
{
    float kv_tokens = PREDICT_BATCH_GUESS * core->models[model].prompt_mean;

    return predict_prefill_ms(curve, uncached_tokens, hit_tokens) +
           output_tokens * predict_step_ms(curve, PREDICT_BATCH_GUESS, kv_tokens) /
               PREDICT_BATCH_GUESS;
}

float
capacity_weight(const struct core *core, uint32_t model, const struct curve *curve)
{
    const struct model_record *m = &core->models[model];
    float ms = capacity_work_ms(core, model, curve, m->prompt_mean, 0.0f, m->output_mean);

    return 1000.0f / max_f(ms, 0.001f);
}

void
capacity_settle_curve(struct core *core, const struct event_curve *e)
{
    struct class_curve *cc;
    const struct curve *generic = &capacity_generic_curve;
    struct curve prior;

    if (e->model >= core->config.models_max || e->class >= core->config.classes_max)
        return;
    cc = &core->curves[(size_t)e->model * core->config.classes_max + e->class];
    prior = (struct curve){
        .a_ms = sane(e->curve.a_ms, 1e6f, generic->a_ms),
        .b_ms = sane(e->curve.b_ms, 1e3f, generic->b_ms),
        .c_ms = sane(e->curve.c_ms, 1.0f, generic->c_ms),
        .t0_ms = sane(e->curve.t0_ms, 1e6f, generic->t0_ms),
        .tk_ms = sane(e->curve.tk_ms, 1e3f, generic->tk_ms),
        .tb_ms = sane(e->curve.tb_ms, 1e3f, generic->tb_ms),
    };
    cc->kv_tokens_cap = sane(e->kv_tokens_cap, TOKENS_MAX, 0.0f);
    cc->load_ms = sane(e->load_ms, 1e8f, 0.0f);
    if (cc->load_ms > 0.0f)
        core->models[e->model].load_ms = cc->load_ms;
    core->models[e->model].weights_mib = sane(e->weights_mib, 1e9f, 0.0f);
    core->models[e->model].identity = e->identity != 0 ? e->identity : e->model;
    core->plan.weights_most_mib = max_f(core->plan.weights_most_mib,
                                        core->models[e->model].weights_mib);
    learn_prior(core, e->model, e->class, &prior, e->guess != 0);
    cc->weight = capacity_weight(core, e->model, &cc->curve);
}

static void
node_reset(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    struct node_cold *cold = &core->cold[node];
    uint32_t serial = cold->serial;

    memset(hot, 0, sizeof(*hot));
    memset(cold, 0, sizeof(*cold));
    cold->serial = serial; /* of all that was ever sent to this index: nobody may ack more */
    cold->first_placement = cold->first_attempt = NONE;
    cold->running = cold->waiting = cold->queue_tokens = cold->kv_tokens_used = NAN;
    cold->share = 1.0f;
    cold->curve = NONE;
    hot->residual = 1.0f;
    hot->residual_step = to_fixed(1.0f, FIXED_ONE);
    hot->spread = SPREAD_UNHEARD;
    hot->share = to_fixed(1.0f, SHARE_ONE);
    hot->flags = NODE_FLAG_USED;
    isolation_reset(core, node);
}

static void
placements_take(struct core *core, uint32_t node, bool insert)
{
    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next) {
        if (insert)
            index_insert(core, p);
        else
            index_remove(core, p);
    }
}

void
capacity_node(struct core *core, const struct event_node *e)
{
    struct node_hot *hot;
    struct node_cold *cold;

    if (e->node >= core->config.nodes_max || e->region >= core->config.regions_max ||
        e->class >= core->config.classes_max || e->state >= NODE_STATE_COUNT)
        return;
    if (node_known(core, e->node) && e->epoch < core->cold[e->node].epoch)
        return; /* a ghost */
    if (!node_known(core, e->node))
        node_reset(core, e->node);
    else
        placements_take(core, e->node, false);
    hot = &core->hot[e->node];
    cold = &core->cold[e->node];
    if (!cold->rtt_measured)
        hot->rtt_ms = sane(e->rtt_ms, 60000.0f, RTT_GUESS_MS);
    hot->region = (uint8_t)e->region;
    hot->class = (uint8_t)e->class;
    hot->state = (uint8_t)e->state;
    if (e->slots > 0 && (hot->flags & NODE_FLAG_SLOTS) == 0)
        hot->slots = e->slots > 65535u ? 65535u : (uint16_t)e->slots;
    if (e->epoch != cold->epoch) { /* it restarted */
        prefix_forget_node(core, e->node);
        claim_life(core, e->node);
        isolation_life(core, e->node);
    }
    cold->epoch = e->epoch;
    cold->identity = e->identity != 0 ? e->identity : e->node + 1;
    cold->site = e->site;
    cold->operator= e->operator;
    suspicion_vouch(core, e->node, e->unproven == 0);
    if (e->node >= core->node_end)
        core->node_end = e->node + 1;
    learn_apply(core, e->node);
    placements_take(core, e->node, true);
    plan_node(core, e);
}

/* An attempt by its name in lists of nodes. */
static struct attempt *
attempt_at(struct core *core, uint32_t name)
{
    return &core->requests[name / ATTEMPTS_AT_ONCE].attempts[name % ATTEMPTS_AT_ONCE];
}

void
capacity_node_gone(struct core *core, const struct event_node_gone *e)
{
    struct node_cold *cold;
    uint32_t p;

    if (!node_known(core, e->node) || e->epoch < core->cold[e->node].epoch)
        return;
    cold = &core->cold[e->node];
    for (uint32_t i = cold->first_attempt;
         i != NONE;) { /* they end by and by: nothing to release */
        struct attempt *a = attempt_at(core, i);
        i = a->node_next;
        a->node = NODE_ANY;
    }
    for (p = cold->first_placement; p != NONE;) {
        struct placement *placement = &core->placements[p];
        uint32_t next = placement->node_next;
        index_remove(core, p);
        prefix_forget(core, p);
        core->models[placement->model].placement_count--;
        placement->model = MODEL_NONE;
        placement->node_next = core->placement_free;
        core->placement_free = p;
        p = next;
    }
    plan_node_gone(core, e->node);
    suspicion_vouch(core, e->node, false);
    core->hot[e->node].flags = 0;
    if (core->nearest == e->node)
        core->nearest = NONE;
}

/* Had the engine what was dispatched then, when it looked? Half a round trip is the way there. */
static bool
seen_by(const struct node_hot *hot, uint64_t dispatched_ns, uint64_t seen_ns)
{
    return dispatched_ns + (uint64_t)((double)hot->rtt_ms * 0.5e6) <= seen_ns;
}

bool
capacity_counts(const struct core *core, uint32_t node, const struct attempt *a)
{
    const struct node_hot *hot = &core->hot[node];
    uint32_t acked = core->cold[node].acked;

    return acked != 0 ? a->serial <= acked : seen_by(hot, a->dispatched_ns, hot->report_ns);
}

/* What of ours the engine must have counted in its last report. The list is newest first, so only
 * what it cannot have seen is walked. */
struct own_seen {
    float requests, waiting, queue_tokens, kv_tokens, recent_tokens;
};

static struct own_seen
own_seen_by(const struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    struct own_seen seen = {.requests = (float)hot->own_requests,
                            .waiting = (float)core->cold[node].own_waiting,
                            .kv_tokens = hot->own_kv_tokens};

    if ((core->tuning.without & WITHOUT_OWN_COUNT) != 0)
        return (struct own_seen){0}; /* all is others' */
    for (uint32_t i = core->cold[node].first_attempt; i != NONE;) {
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        const struct attempt *a = &r->attempts[i % ATTEMPTS_AT_ONCE];

        if (capacity_counts(core, node, a))
            break;
        seen.requests -= 1.0f;
        seen.kv_tokens -= r->prompt_tokens + r->output_tokens;
        if (a->queued) {
            seen.waiting -= 1.0f;
            seen.recent_tokens += r->prompt_tokens - a->hit_tokens;
        }
        i = a->node_next;
    }
    seen.queue_tokens = max_f(0.0f, hot->own_queue_tokens - seen.recent_tokens);
    seen.kv_tokens = max_f(0.0f, seen.kv_tokens);
    return seen;
}

bool
capacity_alone(const struct core *core)
{
    return core->heard_own >= ALONE_PART * core->heard_requests;
}

/* What it answered to us over all that it counts. False: it does not count, or begins to. */
static bool
share_of_accepted(struct node_cold *cold, uint64_t total, float keep)
{
    uint64_t before = cold->accepted_total;
    float answered = cold->answered_since;

    cold->accepted_total = total == TOTAL_UNKNOWN ? 0 : total;
    cold->answered_since = 0.0f;
    if (total == TOTAL_UNKNOWN || before == 0 || total < before)
        return false;
    cold->accepted_tokens = keep * cold->accepted_tokens + (float)(total - before);
    cold->answered_tokens = keep * cold->answered_tokens + answered;
    if (cold->accepted_tokens < 1.0f)
        return false;
    cold->share = min_f(1.0f, cold->answered_tokens / cold->accepted_tokens);
    return true;
}

/* Our part of what the node was sent. G gateways that send alike have 1/G of all that reports
 * count, so the floor 1/(2G) is half of ours: by the G that are heard, else as reports have it.
 * Where nobody else sends, all is ours. */
static void
report_share(struct core *core, uint32_t node, float own, float total, uint64_t accepted_total)
{
    struct node_cold *cold = &core->cold[node];
    float ms = ns_to_ms(core->now_ns - cold->share_ns), floor = SHARE_FLOOR;
    float keep = ms >= SHARE_TAU_MS ? 0.0f : 1.0f - ms / SHARE_TAU_MS;

    if (total > 0.0f) {
        if (!share_of_accepted(cold, accepted_total, keep))
            cold->share = keep * cold->share + (1.0f - keep) * min_f(1.0f, own / total);
        core->heard_own += HEARD_PART * (min_f(own, total) - core->heard_own);
        core->heard_requests += HEARD_PART * (total - core->heard_requests);
    }
    if (core->gateways > 1)
        floor = 0.5f / (float)core->gateways;
    else if (core->heard_requests > 0.0f)
        floor = max_f(floor, 0.5f * core->heard_own / core->heard_requests);
    cold->share_ns = core->now_ns;
    if (capacity_alone(core) || (core->tuning.without & WITHOUT_SHARE) != 0)
        core->hot[node].share = to_fixed(1.0f, SHARE_ONE);
    else
        core->hot[node].share = to_fixed(max_f(cold->share, floor), SHARE_ONE);
}

/* Mean prompt of what waits there, when the engine counts requests and not tokens. */
static float
prompt_mean_of(const struct core *core, uint32_t node)
{
    uint32_t p = core->cold[node].first_placement;

    return p == NONE ? 0.0f : core->models[core->placements[p].model].prompt_mean;
}

/* A report that was true at report_ns. */
static void
report_heard(struct core *core, uint32_t node, uint64_t report_ns)
{
    struct node_hot *hot = &core->hot[node];

    if ((hot->flags & NODE_FLAG_REPORTS) != 0 && report_ns > hot->report_ns)
        suspicion_report(core, node, ns_to_ms(report_ns - hot->report_ns));
    hot->report_ns = report_ns;
    hot->flags |= NODE_FLAG_REPORTS;
}

/* What others have at nodes of its class, as far as their word counts whole. */
static void
usual_others(struct core *core, uint32_t node)
{
    const struct node_hot *hot = &core->hot[node];
    uint32_t p = core->cold[node].first_placement;
    struct class_learned *c;

    if (p == NONE || (hot->flags & NODE_FLAG_DOUBTED) != 0)
        return;
    c = &core->learned[(size_t)core->placements[p].model * core->config.classes_max + hot->class];
    c->others_requests += HEARD_PART * (hot->others_requests - c->others_requests);
    c->others_queue_tokens += HEARD_PART * (hot->others_queue_tokens - c->others_queue_tokens);
    c->others_kv_tokens += HEARD_PART * (hot->others_kv_tokens - c->others_kv_tokens);
}

void
capacity_expect(const struct core *core, uint32_t node)
{
    prefetch(&core->hot[node], sizeof(core->hot[node]));
    prefetch(&core->cold[node], sizeof(core->cold[node]));
}

void
capacity_report(struct core *core, const struct event_report *e)
{
    struct node_hot *hot;
    struct node_cold *cold;
    struct own_seen seen;
    uint64_t age_ns;
    float running = sane(e->running, 1e6f, NAN), waiting = sane(e->waiting, 1e6f, NAN);
    float queue = sane(e->prefill_tokens_in_flight, TOKENS_MAX, NAN);
    float kv = sane(e->kv_tokens_used, TOKENS_MAX, NAN), total = NAN;

    if (!node_known(core, e->node))
        return;
    hot = &core->hot[e->node];
    cold = &core->cold[e->node];
    age_ns = (uint64_t)((double)sane(e->age_ms, 60000.0f, 0.5f * hot->rtt_ms) * 1e6);
    report_heard(core, e->node, core->now_ns > age_ns ? core->now_ns - age_ns : 1);
    cold->acked = e->acked <= cold->serial ? e->acked : 0;
    seen = own_seen_by(core, e->node);
    if (isnan(running) && !isnan(waiting)) /* in-band news has only the queue */
        running = isnan(cold->running) ? max_f(0.0f, seen.requests - seen.waiting) : cold->running;
    if (!isnan(running) || !isnan(waiting)) {
        total = (isnan(running) ? 0.0f : running) + (isnan(waiting) ? 0.0f : waiting);
        hot->others_requests = max_f(0.0f, total - seen.requests);
        report_share(core, e->node, seen.requests, total,
                     e->is_word != 0 ? e->accepted_total : TOTAL_UNKNOWN);
    }
    if (!isnan(queue))
        hot->others_queue_tokens = max_f(0.0f, queue - seen.queue_tokens);
    else if (!isnan(waiting))
        hot->others_queue_tokens = max_f(0.0f, waiting - seen.waiting) *
                                   prompt_mean_of(core, e->node);
    if (!isnan(kv))
        hot->others_kv_tokens = max_f(0.0f, kv - seen.kv_tokens);
    hot->kv_tokens_cap = sane(e->kv_tokens_cap, TOKENS_MAX, hot->kv_tokens_cap);
    if (sane(e->slots, 65535.0f, 0.0f) >= 1.0f)
        hot->slots = (uint16_t)e->slots;
    if (cold->claim.slots_had > 0 && hot->slots > cold->claim.slots_had)
        hot->slots = cold->claim.slots_had;
    hot->own_recent_tokens = seen.recent_tokens;
    cold->running = running;
    cold->waiting = waiting;
    cold->queue_tokens = queue;
    cold->kv_tokens_used = kv;
    claim_report(core, e, total);
    if (e->is_word != 0)
        learn_told(core, e->node, e->prefill_tok_s);
    usual_others(core, e->node);
    index_node(core, e->node);
}

/* By how much round trips exceed what is usual of their node; one that hangs is one of many. */
static void
jitter_add(struct region_path *path, float over_ms)
{
    float most = JITTER_REACH * path->jitter_ms + JITTER_STEP_MS;

    path->jitter_ms += JITTER_PART * (min_f(max_f(0.0f, over_ms), most) - path->jitter_ms);
}

static void
regions_swap(struct core *core, uint32_t place)
{
    uint8_t *order = core->region_order, nearer = order[place + 1];

    order[place + 1] = order[place];
    order[place] = nearer;
    core->region_place[order[place]] = (uint8_t)place;
    core->region_place[order[place + 1]] = (uint8_t)(place + 1);
}

static bool
regions_wrong(const struct core *core, uint32_t place)
{
    return core->paths[core->region_order[place]].rtt_ms >
           core->paths[core->region_order[place + 1]].rtt_ms;
}

/* Its round trip changed: keep the regions in order. */
static void
regions_sort(struct core *core, uint32_t region)
{
    for (uint32_t i = core->region_place[region]; i > 0 && regions_wrong(core, i - 1); i--)
        regions_swap(core, i - 1);
    for (uint32_t i = core->region_place[region];
         i + 1 < core->config.regions_max && regions_wrong(core, i); i++)
        regions_swap(core, i);
}

void
capacity_rtt(struct core *core, const struct event_rtt *e)
{
    struct region_path *path;
    struct node_hot *hot;
    struct node_cold *cold;
    float rtt = sane(e->rtt_ms, 60000.0f, NAN);

    if (!node_known(core, e->node) || isnan(rtt))
        return;
    hot = &core->hot[e->node];
    cold = &core->cold[e->node];
    path = &core->paths[hot->region];
    if (cold->rtt_measured)
        jitter_add(path, rtt - hot->rtt_ms);
    /* Delay only ever adds: follow it down fast, up slowly, and after one that hangs hardly. */
    if (!cold->rtt_measured || rtt < hot->rtt_ms)
        hot->rtt_ms = cold->rtt_measured ? 0.5f * (hot->rtt_ms + rtt) : rtt;
    else
        hot->rtt_ms += 0.05f * min_f(rtt - hot->rtt_ms, hot->rtt_ms + RTT_REACH_MS);
    cold->rtt_measured = true;
    if (path->rtt_ms == CAPACITY_REGION_UNKNOWN_MS)
        path->rtt_ms = hot->rtt_ms;
    else
        path->rtt_ms += REGION_RTT_PART * (hot->rtt_ms - path->rtt_ms);
    regions_sort(core, hot->region);
    if (hot->connections == 0) /* it was measured over one that is kept */
        hot->connections = 1;
    if (core->nearest == NONE || !node_known(core, core->nearest) ||
        hot->rtt_ms < core->hot[core->nearest].rtt_ms)
        core->nearest = e->node;
}

void
capacity_probed(struct core *core, uint32_t node, bool well)
{
    struct node_hot *hot = &core->hot[node];

    if (well)
        hot->flags |= NODE_FLAG_PROBED;
    else
        hot->flags &= (uint8_t)~NODE_FLAG_PROBED;
}

float
capacity_rounds(const struct node_hot *hot)
{
    if ((hot->flags & NODE_FLAG_FRESH) != 0)
        return (hot->flags & NODE_FLAG_PROBED) != 0 ? 1.0f : 2.0f;
    return hot->own_requests < hot->connections ? 1.0f : 2.0f;
}

struct predict_path
capacity_path(const struct core *core, const struct node_hot *hot)
{
    const struct region_path *path = &core->paths[hot->region];

    return (struct predict_path){hot->rtt_ms, path->jitter_ms, path->bytes_per_ms};
}

/* What was not held back by the path says only that it can do so much. Either way one node moves
 * what its region is thought to carry by a bounded step, and every honest transfer moves it back.
 */
void
capacity_delivered(struct core *core, uint32_t node, float bytes_per_ms, bool limited)
{
    float rate = sane(bytes_per_ms, RATE_MAX, 0.0f), *ours;

    if (node == NODE_ANY || rate < RATE_MIN)
        return;
    ours = &core->paths[core->hot[node].region].bytes_per_ms;
    if (*ours == 0.0f)
        *ours = limited ? rate : 0.0f;
    else if (limited || rate > *ours)
        *ours += RATE_PART * (max_f(*ours / RATE_REACH, min_f(*ours * RATE_REACH, rate)) - *ours);
}

/* As far as its word is doubted the node may have what others of its class have, and hide it. */
static void
hidden_add(const struct core *core, uint32_t placement, float *queue_tokens, float *requests,
           float *kv_tokens)
{
    uint32_t node = core->links[placement].node;
    const struct class_learned *c =
        &core->learned[(size_t)core->placements[placement].model * core->config.classes_max +
                       core->hot[node].class];
    float doubt = claim_doubt(core, node);

    *queue_tokens = max_f(*queue_tokens, doubt * c->others_queue_tokens);
    *requests = max_f(*requests, doubt * c->others_requests);
    *kv_tokens = max_f(*kv_tokens, doubt * c->others_kv_tokens);
}

void
capacity_estimate(const struct core *core, uint64_t now_ns, uint32_t placement,
                  struct predict_node *ret_node)
{
    const struct placement *p = &core->placements[placement];
    const struct node_hot *hot = &core->hot[core->links[placement].node];
    const struct class_curve *cc = capacity_class(core, p->model, hot->class);
    float age_ms = now_ns > hot->report_ns ? ns_to_ms(now_ns - hot->report_ns) : 0.0f;
    float others = hot->others_queue_tokens, own = hot->own_queue_tokens;
    float total = hot->others_requests, kv = hot->others_kv_tokens;
    float spread = hot->spread;
    bool slotted = model_slots_has(core, hot, placement);

    if (slotted)
        own = model_slots_own_tokens(core, placement);
    if ((hot->flags & NODE_FLAG_DOUBTED) != 0)
        hidden_add(core, placement, &others, &total, &kv);
    /* The engine works on all that waits, in proportion. */
    if (others > TOKENS_LEAST && (core->tuning.without & WITHOUT_AGE_DRAIN) == 0)
        others = max_f(0.0f,
                       others - others * age_ms /
                                    ((others + own) * (cc->curve.b_ms * hot->residual + 1e-6f)));
    if (hot->share < 65535u &&
        hot->own_recent_tokens > 0.0f) /* what others sent since, as ours tells */
        others += hot->own_recent_tokens * (SHARE_ONE / (float)hot->share - 1.0f);
    if ((core->tuning.without & WITHOUT_OWN_COUNT) == 0) {
        total += (float)hot->own_requests;
        kv += hot->own_kv_tokens;
        others += own;
    }
    if ((hot->flags & NODE_FLAG_REPORTS) != 0)
        spread += min_f(1.0f, age_ms * SPREAD_PER_MS);
    else
        spread = max_f(spread, SPREAD_UNHEARD);
    *ret_node = (struct predict_node){
        .path = capacity_path(core, hot),
        .curve = cc->curve,
        .queue_tokens = others,
        .running = hot->slots > 0 ? min_f(total, (float)hot->slots) : total,
        .waiting = hot->slots > 0 ? max_f(0.0f, total - (float)hot->slots) : 0.0f,
        .slots = (float)hot->slots,
        .kv_tokens_used = kv,
        .kv_tokens_cap = hot->kv_tokens_cap > 0.0f ? hot->kv_tokens_cap : cc->kv_tokens_cap,
        .output_tokens_mean = core->models[p->model].output_mean,
        .residual = hot->residual,
        .residual_step = (float)hot->residual_step / FIXED_ONE,
        .iteration_left_ms = NAN,
        .ready_in_ms = load_time_left_ms(core, now_ns, placement),
        .spread = spread,
    };
    if (slotted)
        model_slots_estimate(core, placement, ret_node);
}

void
capacity_seen(const struct core *core, uint64_t now_ns, uint32_t placement,
              struct rule_seen *ret_seen)
{
    uint32_t node = core->links[placement].node;
    const struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];
    const struct class_curve *cc = capacity_class(core, core->placements[placement].model,
                                                  hot->class);
    bool heard = (hot->flags & NODE_FLAG_REPORTS) != 0;

    *ret_seen = (struct rule_seen){
        .report_age_ms = heard && now_ns > hot->report_ns ? ns_to_ms(now_ns - hot->report_ns)
                         : heard                          ? 0.0f
                                                          : NAN,
        .running = cold->running,
        .waiting = cold->waiting,
        .queue_tokens = cold->queue_tokens,
        .kv_tokens_used = cold->kv_tokens_used,
        .kv_tokens_cap = hot->kv_tokens_cap > 0.0f ? hot->kv_tokens_cap : cc->kv_tokens_cap,
        .own_requests = (float)hot->own_requests,
        .own_waiting = (float)cold->own_waiting,
        .own_queue_tokens = hot->own_queue_tokens,
        .own_kv_tokens = hot->own_kv_tokens,
        .others_queue_tokens = hot->others_queue_tokens,
        .others_kv_tokens = hot->others_kv_tokens,
        .slots = (float)hot->slots,
        .curve = cc->curve,
        .residual = hot->residual,
    };
}

void
capacity_reserve(struct core *core, const struct request *r, struct attempt *a)
{
    struct node_hot *hot = &core->hot[a->node];
    struct node_cold *cold = &core->cold[a->node];
    uint32_t name = (uint32_t)(r - core->requests) * ATTEMPTS_AT_ONCE + (uint32_t)(a - r->attempts);
    float uncached = r->prompt_tokens - a->hit_tokens;

    hot->flags &= (uint8_t)~NODE_FLAG_PROBED;
    a->dispatched_ns = core->now_ns;
    a->serial = ++cold->serial;
    a->started_ns = 0;
    a->node_prev = NONE;
    a->node_next = cold->first_attempt;
    if (a->node_next != NONE)
        attempt_at(core, a->node_next)->node_prev = name;
    cold->first_attempt = name;
    cold->dispatched_ns = core->now_ns;
    if (hot->own_requests < UINT16_MAX)
        hot->own_requests++;
    cold->own_waiting++;
    a->queued = true;
    hot->own_queue_tokens += uncached;
    hot->own_recent_tokens += uncached;
    hot->own_kv_tokens += r->prompt_tokens + r->output_tokens;
    if ((hot->flags & NODE_FLAG_SLOTS) != 0)
        model_slots_reserve(core, a->node, r->arrived.model);
    index_node_later(core, a->node);
}

void
capacity_connection(struct core *core, const struct attempt *a, bool fresh)
{
    struct node_hot *hot;
    struct node_cold *cold;
    bool expected_warm;

    if (a->node == NODE_ANY)
        return;
    hot = &core->hot[a->node];
    cold = &core->cold[a->node];
    expected_warm = hot->own_requests <= hot->connections; /* ours is counted already */
    if (expected_warm) {
        cold->fresh_rate += FRESH_PART * ((fresh ? 1.0f : 0.0f) - cold->fresh_rate);
        if (cold->fresh_rate > 0.5f)
            hot->flags |= NODE_FLAG_FRESH;
        else
            hot->flags &= (uint8_t)~NODE_FLAG_FRESH;
    }
    if (fresh || hot->connections < hot->own_requests)
        hot->connections = hot->own_requests;
}

/* Its prefill waits there no more. */
static void
prefill_release(struct core *core, const struct request *r, struct attempt *a)
{
    struct node_hot *hot = &core->hot[a->node];
    struct node_cold *cold = &core->cold[a->node];
    float uncached = r->prompt_tokens - a->hit_tokens;

    if (!a->queued)
        return;
    a->queued = false;
    cold->own_waiting--;
    if ((hot->flags & NODE_FLAG_SLOTS) != 0)
        model_slots_started(core, a->node, r->arrived.model);
    hot->own_queue_tokens = max_f(0.0f, hot->own_queue_tokens - uncached);
    if (!capacity_counts(core, a->node, a))
        hot->own_recent_tokens = max_f(0.0f, hot->own_recent_tokens - uncached);
    if (cold->own_waiting == 0) /* float sums drift: nothing of ours waits */
        hot->own_queue_tokens = hot->own_recent_tokens = 0.0f;
}

void
capacity_started(struct core *core, const struct request *r, struct attempt *a)
{
    a->started_ns = core->now_ns;
    if (a->node == NODE_ANY || (core->tuning.without & WITHOUT_RELEASE_FIRST) != 0)
        return;
    prefill_release(core, r, a);
    index_node(core, a->node);
}

void
capacity_release(struct core *core, const struct request *r, struct attempt *a)
{
    struct node_hot *hot;
    struct node_cold *cold;

    if (a->node == NODE_ANY)
        return;
    prefill_release(core, r, a); /* it is over too */
    hot = &core->hot[a->node];
    cold = &core->cold[a->node];
    if (a->node_prev != NONE)
        attempt_at(core, a->node_prev)->node_next = a->node_next;
    else
        cold->first_attempt = a->node_next;
    if (a->node_next != NONE)
        attempt_at(core, a->node_next)->node_prev = a->node_prev;
    if (hot->own_requests > 0)
        hot->own_requests--;
    hot->own_kv_tokens = max_f(0.0f, hot->own_kv_tokens - r->prompt_tokens - r->output_tokens);
    if (cold->first_attempt == NONE) { /* the same for what runs */
        hot->own_kv_tokens = 0.0f;
        hot->own_requests = 0;
    }
    if ((hot->flags & NODE_FLAG_SLOTS) != 0)
        model_slots_release(core, a->node, r->arrived.model);
    index_node(core, a->node);
    a->node = NODE_ANY;
}

/* Of a whole answer nothing is seen before its end: its prefill counts as done when the first token
 * was predicted. Otherwise it would stand in the queue for as long as it decodes. */
static void
sweep_requests(struct core *core, uint32_t node)
{
    uint32_t left = SWEEP_REQUESTS;

    for (uint32_t i = core->cold[node].first_attempt; i != NONE && left > 0; left--) {
        const struct request *r = &core->requests[i / ATTEMPTS_AT_ONCE];
        struct attempt *a = attempt_at(core, i);

        i = a->node_next;
        if (r->arrived.stream == 0 && a->started_ns == 0 &&
            ns_to_ms(core->now_ns - a->dispatched_ns) > a->first_ms)
            capacity_started(core, r, a);
    }
}

/* What a visit reads lies all over the memory, and was not used for long: it comes at once, rather
 * than one line after the other. Returns how many models the node has. */
static uint32_t
sweep_fetch(const struct core *core, uint32_t node)
{
    uint32_t count = 0;

    for (uint32_t p = core->cold[node].first_placement; p != NONE;
         p = core->placements[p].node_next, count++) {
        uint32_t model = core->placements[p].model;
        const struct model_record *m = &core->models[model];
        size_t slot = index_slot(core, model, core->hot[node].region);

        __builtin_prefetch(m);
        __builtin_prefetch(capacity_class(core, model, core->hot[node].class));
        __builtin_prefetch(&core->bucket_masks[slot]);
        __builtin_prefetch(&core->bucket_heads[slot * INDEX_BUCKETS + core->placements[p].bucket]);
        __builtin_prefetch(&m->rate_now);
        __builtin_prefetch(&m->mix);
        __builtin_prefetch(&core->headrooms[slot]);
        __builtin_prefetch(&core->headrooms[slot].sent);
    }
    return count;
}

static void
sweep_node(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];

    if (hot->connections > hot->own_requests && hot->own_requests == 0 &&
        core->now_ns - cold->dispatched_ns > CONNECTION_IDLE_NS)
        hot->connections = 1; /* the one that asks for its load */
    isolation_sweep(core, node);
    claim_sweep(core, node);
    suspicion_look(core, node);
    sweep_requests(core, node);
    learn_apply(core, node); /* its class learned from others */
    if (core->nearest == NONE || hot->rtt_ms < core->hot[core->nearest].rtt_ms)
        core->nearest = node;
    readiness_sweep(core, node);
    index_node(core, node);
    model_load_sweep(core, node);
    headroom_sweep(core, node);
}

/* All nodes were visited: the models' turn, a part of them a tick. False: they are not through. */
static bool
swept(struct core *core)
{
    if (core->headroom_next == 0 && !model_load_swept(core))
        return false;
    return headroom_swept(core);
}

void
capacity_sweep(struct core *core)
{
    uint32_t left = SWEEP_PLACEMENTS;

    for (uint32_t i = 0; i < SWEEP_NODES && left > 0 && core->node_end > 0; i++) {
        if (core->sweep >= core->node_end) {
            if (!swept(core))
                return;
            core->sweep = 0;
            suspicion_round(core);
            if (i > 0)
                break; /* once around is enough */
        }
        if (node_known(core, core->sweep)) {
            uint32_t models = sweep_fetch(core, core->sweep);
            if (models > left)
                return; /* the next tick's first */
            left -= models;
            sweep_node(core, core->sweep);
        }
        core->sweep++;
    }
}

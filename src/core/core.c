/* core - one step: an event goes to the module that knows it, and what follows is an action.
 *
 * A request is in the table from arrived until it ended, was refused or cancelled (flight). While
 * it is in flight at a node it is also in that node's list, newest first; while it is held, it
 * waits in fair. What frees a place lets one of those go (admit). */
#include "core/core.h"

#include <math.h>
#include <string.h>

#include "core/admit.h"
#include "core/capacity.h"
#include "core/choose.h"
#include "core/claim.h"
#include "core/demand.h"
#include "core/fair.h"
#include "core/flight.h"
#include "core/headroom.h"
#include "core/headroom_check.h"
#include "core/hedge.h"
#include "core/index.h"
#include "core/isolation.h"
#include "core/learn.h"
#include "core/limit.h"
#include "core/load_time.h"
#include "core/model_slots.h"
#include "core/plan.h"
#include "core/plan_worth.h"
#include "core/prefix.h"
#include "core/readiness.h"
#include "core/retry.h"
#include "core/ring.h"
#include "core/state.h"
#include "core/suspicion.h"
#include "core/tuning.h"

#define RETRY_START      10.0f
#define SKETCHES_DEFAULT 4096u

/* ---- Memory: one block, cut into tables. */

struct layout {
    size_t core, fair, hot, cold, placements, links, placed, slotted, curves, learned, models,
        sketches, tenant_sketches, tenant_tags, heads, masks, demands, owns, headrooms, paths,
        requests, request_heads, scratch, prefixes, caches, rates, chains, ring, bytes;
};

static size_t
part(size_t *at, size_t count, size_t bytes)
{
    size_t start = *at;

    *at = (start + count * bytes + 63u) & ~(size_t)63;
    return start;
}

static uint32_t
power_of_two_from(uint32_t x)
{
    uint32_t p = 1;

    while (p < x)
        p *= 2;
    return p;
}

static uint32_t
prefix_buckets(const struct core_config *c)
{
    return power_of_two_from((c->prefix_entries_max + PREFIX_WAYS - 1) / PREFIX_WAYS);
}

/* Sets of sketches of tenants: a power of two. */
static uint32_t
sketch_sets(const struct core_config *c)
{
    uint32_t max = c->sketches_max > 0 ? c->sketches_max : SKETCHES_DEFAULT;

    return power_of_two_from((max + OUTPUT_WAYS - 1) / OUTPUT_WAYS);
}

static struct layout
layout_of(const struct core_config *c)
{
    struct layout l = {0};
    size_t at = 0, slots = (size_t)c->models_max * c->regions_max;

    l.core = part(&at, 1, sizeof(struct core));
    l.hot = part(&at, c->nodes_max, sizeof(struct node_hot));
    l.cold = part(&at, c->nodes_max, sizeof(struct node_cold));
    l.placements = part(&at, c->placements_max, sizeof(struct placement));
    l.links = part(&at, c->placements_max, sizeof(struct link));
    l.placed = part(&at, c->placements_max, sizeof(struct placed));
    l.slotted = part(&at, c->placements_max, sizeof(struct slotted));
    l.curves = part(&at, (size_t)c->models_max * c->classes_max, sizeof(struct class_curve));
    l.learned = part(&at, (size_t)c->models_max * c->classes_max, sizeof(struct class_learned));
    l.models = part(&at, c->models_max, sizeof(struct model_record));
    l.sketches = part(&at, (size_t)c->models_max * (1 + OUTPUT_SIZES), sizeof(struct sketch));
    l.tenant_sketches = part(&at, (size_t)sketch_sets(c) * OUTPUT_WAYS, sizeof(struct sketch));
    l.tenant_tags = part(&at, sketch_sets(c), sizeof(struct sketch_tags));
    l.heads = part(&at, slots * INDEX_BUCKETS, sizeof(uint32_t));
    l.masks = part(&at, slots, sizeof(uint32_t));
    l.demands = part(&at, slots, sizeof(struct demand));
    l.owns = part(&at, slots, sizeof(struct own_slots));
    l.headrooms = part(&at, slots, sizeof(struct headroom));
    l.paths = part(&at, c->regions_max, sizeof(struct region_path));
    l.requests = part(&at, c->requests_max, sizeof(struct request));
    l.request_heads = part(&at, power_of_two_from(c->requests_max), sizeof(uint32_t));
    l.scratch = part(&at, c->nodes_max, sizeof(struct candidate));
    l.fair = part(&at, 1, fair_bytes(c));
    if (c->prefix_entries_max > 0) {
        l.caches = part(&at, c->placements_max, sizeof(struct prefix_cache));
        l.rates = part(&at, PREFIX_RATES, sizeof(struct prefix_rate));
        l.chains = part(&at, c->requests_max, sizeof(struct prefix_chain));
        l.ring = part(&at, slots * RING_SLOTS, sizeof(uint32_t));
        l.prefixes = part(&at, prefix_buckets(c), sizeof(struct prefix_bucket)); /* at the end */
    }
    l.bytes = at;
    return l;
}

static bool
config_good(const struct core_config *c)
{
    return c->nodes_max >= 1 && c->nodes_max <= CORE_NODES_MAX && c->models_max >= 1 &&
           c->models_max <= CORE_MODELS_MAX && c->regions_max >= 1 &&
           c->regions_max <= CORE_REGIONS_MAX && c->classes_max >= 1 &&
           c->classes_max <= CORE_CLASSES_MAX && c->placements_max >= 1 &&
           c->placements_max <= CORE_NODES_MAX * CORE_NODE_MODELS_MAX && c->requests_max >= 1 &&
           c->requests_max <= CORE_REQUESTS_MAX && c->sketches_max <= CORE_SKETCHES_MAX &&
           c->holds_max <= CORE_REQUESTS_MAX && c->own_region < c->regions_max &&
           c->rule < RULE_COUNT && c->prefix_entries_max <= CORE_PREFIX_MAX;
}

size_t
core_bytes(const struct core_config *c)
{
    return config_good(c) ? layout_of(c).bytes : 0;
}

void
core_scattered(const struct core_config *c, size_t *ret_offset, size_t *ret_bytes)
{
    struct layout l = layout_of(c);

    *ret_offset = c->prefix_entries_max > 0 ? l.prefixes : l.bytes;
    *ret_bytes = l.bytes - *ret_offset;
}

static void
tables_empty(struct core *core)
{
    const struct core_config *c = &core->config;
    size_t slots = (size_t)c->models_max * c->regions_max;

    for (size_t i = 0; i < slots * INDEX_BUCKETS; i++)
        core->bucket_heads[i] = NONE;
    for (uint32_t i = 0; i < c->placements_max; i++)
        core->placements[i].node_next = i + 1 < c->placements_max ? i + 1 : NONE;
    for (uint32_t i = 0; i < c->requests_max; i++)
        core->requests[i].hash_next = i + 1 < c->requests_max ? i + 1 : NONE;
    for (uint32_t i = 0; i <= core->request_mask; i++)
        core->request_heads[i] = NONE;
    for (uint32_t i = 0; i < c->regions_max; i++)
        core->paths[i].rtt_ms = CAPACITY_REGION_UNKNOWN_MS;
    for (uint32_t i = 0; i < CORE_REGIONS_MAX; i++)
        core->region_order[i] = core->region_place[i] = (uint8_t)i;
    learn_output_init(&core->outputs, c->models_max);
    for (uint32_t m = 0; m < c->models_max; m++) {
        learn_init_model(core, m);
        core->models[m].hit_ratio = 1.0f;
        hedge_init_model(&core->models[m]);
        core->models[m].retry_tokens = RETRY_START;
        core->models[m].last_node = NODE_ANY;
        for (uint32_t k = 0; k < c->classes_max; k++) {
            struct event_curve e = {.model = (uint16_t)m, .class = (uint16_t)k, .guess = 1};
            e.curve = capacity_generic_curve;
            capacity_settle_curve(core, &e);
        }
    }
}

enum err
core_init(void *memory, size_t bytes, const struct core_config *c, struct core **ret_core)
{
    struct layout l;
    char *base = memory;
    struct core *core = memory;

    if (!config_good(c))
        return ERR_ARG;
    l = layout_of(c);
    if (bytes < l.bytes || ((uintptr_t)memory & 63u) != 0)
        return ERR_ARG;
    core->config = *c;
    core->settings = (struct event_settings){.rule = c->rule,
                                             .ttft_goal_ms = NAN,
                                             .tpot_goal_ms = NAN,
                                             .first_limit_ms = 120000.0f,
                                             .idle_limit_ms = 60000.0f};
    core->tuning = tuning_default;
    core->rule = NULL;
    core->rule_state = NULL;
    core->hot = (struct node_hot *)(void *)(base + l.hot);
    core->cold = (struct node_cold *)(void *)(base + l.cold);
    core->placements = (struct placement *)(void *)(base + l.placements);
    core->links = (struct link *)(void *)(base + l.links);
    core->placed = (struct placed *)(void *)(base + l.placed);
    core->slotted = (struct slotted *)(void *)(base + l.slotted);
    core->curves = (struct class_curve *)(void *)(base + l.curves);
    core->learned = (struct class_learned *)(void *)(base + l.learned);
    core->models = (struct model_record *)(void *)(base + l.models);
    core->outputs = (struct output_tables){
        .models = (struct sketch *)(void *)(base + l.sketches),
        .tenants = (struct sketch *)(void *)(base + l.tenant_sketches),
        .tags = (struct sketch_tags *)(void *)(base + l.tenant_tags),
        .set_mask = sketch_sets(c) - 1,
    };
    core->bucket_heads = (uint32_t *)(void *)(base + l.heads);
    core->bucket_masks = (uint32_t *)(void *)(base + l.masks);
    core->demands = (struct demand *)(void *)(base + l.demands);
    core->owns = (struct own_slots *)(void *)(base + l.owns);
    core->headrooms = (struct headroom *)(void *)(base + l.headrooms);
    core->paths = (struct region_path *)(void *)(base + l.paths);
    core->requests = (struct request *)(void *)(base + l.requests);
    core->request_heads = (uint32_t *)(void *)(base + l.request_heads);
    core->scratch = (struct candidate *)(void *)(base + l.scratch);
    fair_init(&core->fair, c, base + l.fair);
    core->request_mask = power_of_two_from(c->requests_max) - 1;
    if (c->prefix_entries_max > 0) {
        core->prefix.buckets = (struct prefix_bucket *)(void *)(base + l.prefixes);
        core->prefix.caches = (struct prefix_cache *)(void *)(base + l.caches);
        core->prefix.rates = (struct prefix_rate *)(void *)(base + l.rates);
        core->prefix.chains = (struct prefix_chain *)(void *)(base + l.chains);
        core->prefix.ring = (uint32_t *)(void *)(base + l.ring);
        core->prefix.bucket_mask = prefix_buckets(c) - 1;
    }
    core->nearest = core->moved = NONE;
    rng_init(&core->rng, c->seed);
    tables_empty(core);
    *ret_core = core;
    return ERR_OK;
}

void
core_use_rule(struct core *core, const struct rule *rule, void *rule_state)
{
    core->rule = rule;
    core->rule_state = rule_state;
}

/* ---- Events. */

static bool
arrived_good(const struct core *core, const struct event_arrived *e)
{
    return e->model < core->config.models_max && e->script < SCRIPT_CLASS_COUNT &&
           e->tenant < TENANTS_MAX && e->priority < PRIORITIES_MAX;
}

static void
step_arrived(struct core *core, const struct event *event, struct actions *actions)
{
    const struct event_arrived *e = &event->arrived;
    const struct prefix_chain *chain;
    struct request *r;

    if (e->request == 0 || flight_find(core, e->request) != NULL || !arrived_good(core, e))
        return;
    chain = prefix_arrived(core, e->model, &event->prefix);
    core->models[e->model].requests_total++;
    r = flight_add(core, e);
    if (r == NULL) {
        demand_arrived(core, e->model, 0.0f);
        core->models[e->model].refused_total++;
        flight_refuse(actions, e->request, 0, REFUSAL_CROWDED, FAILURE_NONE, NAN);
        return;
    }
    if (e->other_model >= core->config.models_max || e->other_model == e->model)
        r->arrived.other_model = MODEL_NONE;
    flight_estimate(core, r);
    r->chain = chain;
    demand_arrived(core, e->model, r->prompt_tokens);
    retry_earn(&core->models[e->model]);
    admit_note(core, r);
    admit_place(core, r, FAILURE_NONE, actions);
    plan_arrived(core, e->model, e->request, actions);
    if (r->id != 0) /* refused, it is gone */
        prefix_keep(core, r);
}

static void
step_dispatched(struct core *core, const struct event_dispatched *e)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);
    struct predict_path path;

    if (a == NULL || a->node == NODE_ANY)
        return;
    capacity_connection(core, a, e->fresh_connection != 0);
    flight_observe(core, r, a, RULE_NEWS_DISPATCHED, NULL);
    /* Now it is known how many round trips it costs: the rest of the time is the node's. */
    path = capacity_path(core, &core->hot[a->node]);
    a->net_ms = predict_net_ms(&path, e->fresh_connection != 0 ? 2.0f : 1.0f,
                               (float)r->arrived.body_bytes);
}

static void
step_started(struct core *core, const struct event_started *e, struct actions *actions)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);

    if (a == NULL || a->started_ns != 0)
        return;
    flight_observe(core, r, a, RULE_NEWS_STARTED, NULL);
    learn_started(core, r, a);
    load_time_started(core, r, a);
    capacity_delivered(core, a->node, e->path_bytes_per_ms, e->path_limited != 0);
    limit_started(core, r, a);
    claim_started(core, r, a);
    headroom_check_started(core, r, a);
    capacity_started(core, r, a);
    hedge_started(core, r, a, actions);
    admit_freed(core, a->node, actions);
}

static void
step_ended(struct core *core, const struct event_ended *e, struct actions *actions)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);
    uint32_t node;

    if (a == NULL)
        return;
    flight_observe(core, r, a, RULE_NEWS_ENDED, e);
    learn_ended(core, r, a, e);
    claim_ended(core, a, e);
    if (a->node != NODE_ANY)
        core->cold[a->node].answered_since += (float)e->prompt_tokens + (float)e->output_tokens;
    demand_ended(core, r->arrived.model,
                 e->output_tokens > 0 ? (float)e->output_tokens : r->output_tokens);
    prefix_ended(core, r, a, e);
    headroom_ended(core, r, a, e);
    plan_worth_ended(core, r, a, e);
    headroom_check_ended(core, r, a, e);
    if (a->node != NODE_ANY)
        isolation_result(core, a->node, FAILURE_NONE, NAN);
    admit_ended(core, r, e->output_tokens);
    node = a->node;
    flight_drop(core, r);
    admit_freed(core, node, actions);
}

/* What follows for the request, when none of its attempts goes on. */
static void
failed_all(struct core *core, struct request *r, const struct event_failed *e,
           struct actions *actions)
{
    enum refusal refusal = retry_allowed(core, r, e);

    if (refusal == REFUSAL_NONE) {
        admit_place(core, r, e->failure, actions);
        return;
    }
    flight_refuse(actions, r->id, r->attempt, refusal, e->failure, NAN);
    flight_drop(core, r);
}

static void
step_failed(struct core *core, const struct event_failed *e, struct actions *actions)
{
    struct request *r;
    struct attempt *a = flight_attempt(core, e->request, e->attempt, &r);
    uint32_t node;

    if (a == NULL || e->failure >= FAILURE_COUNT)
        return;
    flight_observe(core, r, a, RULE_NEWS_FAILED, NULL);
    node = a->node;
    if (node != NODE_ANY) {
        readiness_failed(core, node, r->arrived.model);
        if (e->failure == FAILURE_BUSY) {
            claim_full(core, node);
            limit_busy(core, node);
            isolation_busy(core, node, e->retry_after_ms);
        } else if (e->failure == FAILURE_MODEL) {
            claim_no_model(core, node, r->arrived.model);
        } else if (isolation_charged(e->failure)) {
            isolation_result(core, node, e->failure, ns_to_ms(core->now_ns - a->dispatched_ns));
        }
    }
    flight_over(core, r, a);
    if (flight_beside(r, a) == NULL) /* else that one is the whole of it now */
        failed_all(core, r, e, actions);
    admit_freed(core, node, actions);
}

static void
step_settings(struct core *core, const struct event_settings *e)
{
    if (e->rule >= RULE_COUNT)
        return;
    core->settings = *e;
    if (!(e->first_limit_ms > 0.0f))
        core->settings.first_limit_ms = 120000.0f;
    if (!(e->idle_limit_ms > 0.0f))
        core->settings.idle_limit_ms = 60000.0f;
}

static void
step_probe(struct core *core, const struct event_probe *e)
{
    if (!node_known(core, e->node) || e->failure >= FAILURE_COUNT)
        return;
    capacity_probed(core, e->node, e->failure == FAILURE_NONE);
    suspicion_probe(core, e->node, e->failure);
    isolation_result(core, e->node, e->failure, NAN);
}

static void
step_cancelled(struct core *core, const struct event_cancelled *e, struct actions *actions)
{
    struct request *r = flight_find(core, e->request);
    uint32_t nodes[ATTEMPTS_AT_ONCE];

    if (r == NULL)
        return;
    for (uint32_t i = 0; i < ATTEMPTS_AT_ONCE; i++)
        nodes[i] = r->attempts[i].number != 0 ? r->attempts[i].node : NODE_ANY;
    flight_drop(core, r);
    for (uint32_t i = 0; i < ATTEMPTS_AT_ONCE && actions->count < ACTIONS_MAX; i++)
        admit_freed(core, nodes[i], actions);
}

static void
step_topology(struct core *core, const struct event *e, struct actions *actions)
{
    switch ((enum event_kind)e->kind) {
    case EVENT_SETTINGS:
        step_settings(core, &e->settings);
        break;
    case EVENT_TUNING:
        tuning_settle(&e->tuning, &core->tuning);
        break;
    case EVENT_CURVE:
        capacity_settle_curve(core, &e->curve);
        break;
    case EVENT_NODE:
        capacity_node(core, &e->node);
        break;
    case EVENT_NODE_GONE:
        capacity_node_gone(core, &e->node_gone);
        break;
    case EVENT_MODEL:
        readiness_model(core, &e->model);
        break;
    case EVENT_REPORT:
        capacity_report(core, &e->report);
        admit_freed(core, e->report.node, actions);
        break;
    case EVENT_RTT:
        capacity_rtt(core, &e->rtt);
        break;
    case EVENT_PROBE:
        step_probe(core, &e->probe);
        break;
    case EVENT_DEMAND:
        demand_told(core, &e->demand);
        break;
    case EVENT_GATEWAYS:
        core->gateways = e->gateways.count;
        plan_planners(core, e->gateways.planners, e->gateways.place);
        break;
    case EVENT_REQUESTS:
        model_slots_requests(core, &e->requests);
        admit_freed(core, e->requests.node, actions);
        break;
    case EVENT_TICK:
        capacity_sweep(core);
        admit_tick(core, actions);
        plan_tick(core, actions);
        break;
    default:
        break;
    }
}

void
core_step(struct core *core, uint64_t now_ns, const struct event *event,
          struct actions *ret_actions)
{
    ret_actions->count = 0;
    ret_actions->decision.candidate_count = 0;
    if (now_ns > core->now_ns)
        core->now_ns = now_ns;
    prefix_settle(core);
    index_settle(core);
    switch ((enum event_kind)event->kind) {
    case EVENT_ARRIVED:
        step_arrived(core, event, ret_actions);
        break;
    case EVENT_DISPATCHED:
        step_dispatched(core, &event->dispatched);
        break;
    case EVENT_STARTED:
        step_started(core, &event->started, ret_actions);
        break;
    case EVENT_ENDED:
        step_ended(core, &event->ended, ret_actions);
        break;
    case EVENT_FAILED:
        step_failed(core, &event->failed, ret_actions);
        break;
    case EVENT_LATE:
        hedge_late(core, &event->late, ret_actions);
        break;
    case EVENT_CANCELLED:
        step_cancelled(core, &event->cancelled, ret_actions);
        break;
    default:
        step_topology(core, event, ret_actions);
        break;
    }
}

bool
core_suspects_itself(const struct core *core)
{
    return core->suspicion.suspected;
}

void
core_expect(const struct core *core, uint32_t node)
{
    capacity_expect(core, node);
}

void
core_explain(const struct core *core, uint64_t now_ns, const struct event *arrived,
             struct decision *ret_decision)
{
    struct request r = {.attempt = 1, .hold = NONE};
    struct rng rng = core->rng;
    struct choice choice;

    ret_decision->candidate_count = 0;
    if (arrived->kind != EVENT_ARRIVED || !arrived_good(core, &arrived->arrived))
        return;
    if (now_ns < core->now_ns)
        now_ns = core->now_ns;
    r.arrived_ns = now_ns;
    flight_arrived(&r, &arrived->arrived);
    flight_estimate(core, &r);
    r.chain = prefix_arrived(core, arrived->arrived.model, &arrived->prefix);
    choose(core, now_ns, &r, &rng, &choice, ret_decision);
    ret_decision->admission = (uint16_t)admit_foresee(core, &r, &choice);
}

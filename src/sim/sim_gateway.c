/* sim_gateway - one gateway: a core of its own, connections, and what its actions make happen.
 *
 * It is to the core what role/gateway is: it turns what arrives into events and carries out what
 * follows, and it decides nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "engine/engine_table.h"
#include "sim/sim_check.h"

#define CORE_ALIGN_BYTES      64u
#define TICK_MS               100.0 /* as the gateway ticks; while requests are held: */
#define TICK_HELD_MS          10.0
#define CORE_START_NS         UINT64_C(1000000000) /* core's clock begins here: 0 means never */
#define REQUESTS_AT_ONCE      65536u
#define PREFIX_ENTRIES_A_NODE 2048u
#define PREFIX_ENTRIES_MAX    4194304u

static void act(struct sim_world *w, struct sim_gateway *g);

static void
step(struct sim_world *w, struct sim_gateway *g)
{
    w->stats.core_steps++;
    core_step(g->core, CORE_START_NS + w->now_ns, &w->event, &w->actions);
    sim_check_actions(w, g);
}

void
sim_gateway_tell(struct sim_world *w, struct sim_gateway *g)
{
    step(w, g);
    act(w, g);
}

static uint64_t
core_id(uint32_t slot, uint32_t serial)
{
    return (uint64_t)serial << 24 | slot;
}

/* ---- What the gateway is told at its start, as its configuration has it. */

static void
tell_models(struct sim_world *w, struct sim_gateway *g)
{
    float scale = (float)w->options.prior_scale;

    for (uint32_t m = 0; m < w->options.models; m++) {
        for (uint32_t c = 0; c < w->class_count; c++) {
            const struct engine_speed *s = &w->classes[c].speed[m];
            if (!w->classes[c].runs[m])
                continue;
            w->event.kind = EVENT_CURVE;
            w->event.curve = (struct event_curve){
                .model = (uint16_t)m,
                .class = (uint16_t)c,
                .curve = {(float)s->a_ms * scale, (float)s->b_ms * scale, (float)s->c_ms * scale,
                          (float)s->t0_ms * scale, (float)s->tk_ms * scale,
                          (float)s->tb_ms * scale},
                .kv_tokens_cap = (float)s->kv_tokens_cap,
            };
            sim_gateway_tell(w, g);
        }
    }
}

static void
tell_node(struct sim_world *w, struct sim_gateway *g, uint32_t node)
{
    const struct sim_node *n = &w->nodes[node];
    float rtt_ms = (float)w->net.rtt_ms[g->region][n->region];

    w->event.kind = EVENT_NODE;
    w->event.node = (struct event_node){.node = node,
                                        .epoch = n->epoch,
                                        .region = n->region,
                                        .class = n->class,
                                        .site = (uint16_t)(node / 4),
                                        .operator=(uint16_t)(node % 4),
                                        .slots = w->options.polls ? 0 : SIM_SLOTS,
                                        .rtt_ms = rtt_ms};
    sim_gateway_tell(w, g);
    w->event.kind = EVENT_MODEL;
    w->event.model = (struct event_model){
        .node = node, .model = n->model, .state = MODEL_READY, .ready_in_ms = NAN};
    sim_gateway_tell(w, g);
    if (n->also == MODEL_NONE)
        return;
    w->event.kind = EVENT_MODEL;
    w->event.model.model = n->also;
    sim_gateway_tell(w, g);
}

static void
tell_start(struct sim_world *w, struct sim_gateway *g)
{
    const struct sim_options *o = &w->options;

    w->event.kind = EVENT_SETTINGS;
    w->event.settings = (struct event_settings){
        .rule = RULE_TIME,
        .ttft_goal_ms = o->configured_slo ? (float)o->slo_first_ms : NAN,
        .tpot_goal_ms = o->configured_slo ? (float)o->slo_step_ms : NAN,
        .first_limit_ms = (float)o->first_limit_ms,
        .idle_limit_ms = (float)SIM_IDLE_LIMIT_MS};
    for (uint32_t i = 0; i < RULE_COUNT; i++) {
        if (strcmp(rule_by_id(i)->name, o->rule) == 0)
            w->event.settings.rule = i;
    }
    sim_gateway_tell(w, g);
    w->event.kind = EVENT_TUNING;
    w->event.tuning = o->tuning;
    sim_gateway_tell(w, g);
    w->event.kind = EVENT_GATEWAYS; /* they hear each other */
    w->event.gateways.count = o->gateways;
    sim_gateway_tell(w, g);
    tell_models(w, g);
    for (uint32_t i = 0; i < o->nodes; i++)
        tell_node(w, g, i);
}

/* A rule that core does not have brings its own memory. */
static enum err
use_rule(struct sim_world *w, struct sim_gateway *g, uint32_t index)
{
    const struct sim_rule *rule = sim_rule_find(w->options.rule);
    double knobs[SIM_KNOBS_MAX] = {0};
    struct sim_rule_setup setup = {.knobs = knobs,
                                   .nodes = w->options.nodes,
                                   .gateways = w->options.gateways,
                                   .gateway = index,
                                   .seed = w->options.seed,
                                   .tuning = &w->options.tuning,
                                   .world = w};

    if (rule == NULL)
        return ERR_OK;
    for (uint32_t i = 0; i < rule->knob_count; i++)
        knobs[i] = isnan(w->options.knobs[i]) ? sim_rule_knob(rule, i) : w->options.knobs[i];
    g->rule_state = calloc(1, rule->state_bytes + rule->node_bytes * w->options.nodes + 1);
    if (g->rule_state == NULL)
        return ERR_MEMORY;
    if (rule->init != NULL)
        rule->init(g->rule_state, &setup);
    core_use_rule(g->core, &rule->rule, g->rule_state);
    return ERR_OK;
}

/* As the gateway has it; none where no two prompts have anything in common. */
static uint32_t
prefix_entries(const struct sim_world *w)
{
    uint64_t wanted = (uint64_t)w->options.nodes * PREFIX_ENTRIES_A_NODE;

    if (w->trace->block_tokens == 0)
        return 0;
    return wanted < PREFIX_ENTRIES_MAX ? (uint32_t)wanted : PREFIX_ENTRIES_MAX;
}

enum err
sim_gateway_open(struct sim_world *w, uint32_t index)
{
    struct sim_gateway *g = &w->gateways[index];
    struct core_config config = {
        .seed = w->options.given != NULL ? w->options.given->gateways[index].seed
                                         : w->options.seed * 7919u + index,
        .nodes_max = w->options.nodes,
        .models_max = w->options.models,
        .regions_max = w->options.regions,
        .classes_max = w->class_count,
        .placements_max = w->options.shared ? 2 * w->options.nodes : w->options.nodes,
        .requests_max = REQUESTS_AT_ONCE,
        .own_region = g->region,
        .prefix_entries_max = prefix_entries(w),
    };
    size_t bytes = core_bytes(&config);
    uintptr_t at;
    enum err err;

    if (bytes == 0)
        return ERR_ARG;
    g->memory = calloc(1, bytes + CORE_ALIGN_BYTES);
    g->pools = calloc(w->options.nodes, sizeof(*g->pools));
    g->dispatches = calloc(w->options.nodes, sizeof(*g->dispatches));
    if (g->memory == NULL || g->pools == NULL || g->dispatches == NULL)
        return ERR_MEMORY;
    at = ((uintptr_t)g->memory + CORE_ALIGN_BYTES - 1) & ~(uintptr_t)(CORE_ALIGN_BYTES - 1);
    err = core_init((void *)at, bytes, &config, &g->core);
    if (err == ERR_OK)
        err = use_rule(w, g, index);
    if (err != ERR_OK)
        return err;
    tell_start(w, g);
    sim_put(w, TICK_MS * rng_unit(&w->rng), SIM_TICK, index, 0);
    if (w->options.polls)
        return sim_poll_open(w, index);
    for (uint32_t i = 0; i < w->options.nodes; i++)
        sim_put(w, w->options.rtt_every_ms * rng_unit(&w->rng), SIM_RTT, index, i);
    return ERR_OK;
}

void
sim_gateway_close(struct sim_gateway *g, uint32_t nodes)
{
    for (uint32_t i = 0; g->pools != NULL && i < nodes; i++)
        sim_pool_fini(&g->pools[i]);
    free(g->memory);
    free(g->rule_state);
    free(g->pools);
    free(g->dispatches);
    free(g->polls);
    free(g->waits);
}

/* ---- Attempts on their way. */

/* Remember the limit; all gateways use one, so the ring is in the order of time. */
static void
wait_add(struct sim_gateway *g, uint32_t attempt, uint32_t serial, uint64_t until_ns)
{
    if (g->wait_count == g->wait_room) {
        size_t room = g->wait_room == 0 ? 1024 : 2 * g->wait_room;
        struct sim_wait *waits = malloc(room * sizeof(*waits));
        must(waits != NULL);
        for (size_t i = 0; i < g->wait_count; i++)
            waits[i] = g->waits[(g->wait_first + i) % g->wait_room];
        free(g->waits);
        g->waits = waits;
        g->wait_first = 0;
        g->wait_room = room;
    }
    g->waits[(g->wait_first + g->wait_count++) % g->wait_room] = (struct sim_wait){attempt, serial,
                                                                                   until_ns};
}

float
sim_gateway_rounds(const struct sim_world *w, uint32_t gateway, uint32_t node)
{
    return sim_pool_has(&w->gateways[gateway].pools[node], w->now_ns) ? 1.0f : 2.0f;
}

static void
attempt_start(struct sim_world *w, struct sim_gateway *g, const struct action_dispatch *d)
{
    uint32_t slot = (uint32_t)(d->request & (SIM_REQUESTS_MAX - 1)), index = d->attempt - 1;
    uint32_t attempt = slot * ATTEMPTS_MAX + index;
    struct sim_request *r = &w->requests[slot];
    struct sim_attempt *a = &r->attempts[index];
    const struct sim_node *n = &w->nodes[d->node];
    double ms;

    must(d->request == core_id(slot, r->serial) && d->attempt <= ATTEMPTS_MAX);
    *a = (struct sim_attempt){.node = d->node,
                              .news = SIM_NONE,
                              .is_hedge = d->hedge != 0,
                              .predicted_first_ms = d->first_ms,
                              .floor_first_ms = NAN,
                              .dispatched_ns = w->now_ns};
    for (uint32_t i = 0; i < w->actions.decision.candidate_count; i++) {
        if (w->actions.decision.request == d->request &&
            w->actions.decision.candidates[i].node == d->node)
            a->hit_tokens = w->actions.decision.candidates[i].hit_tokens;
    }
    if (r->tries == 0 && r->held_ns != 0)
        r->held_ns = w->now_ns - r->held_ns;
    r->tries++;
    r->hedged = r->hedged || d->hedge != 0;
    w->stats.hedges += d->hedge != 0 && r->counted;
    a->nth = g->dispatches[d->node]++;
    a->fresh = !sim_pool_take(&g->pools[d->node], w->now_ns);
    w->event.kind = EVENT_DISPATCHED;
    w->event.dispatched = (struct event_dispatched){
        .request = d->request, .attempt = d->attempt, .fresh_connection = a->fresh};
    if (!isnan(d->hedge_after_ms))
        sim_put(w, (double)d->hedge_after_ms, SIM_LATE, attempt, r->serial);
    wait_add(g, attempt, r->serial, w->now_ns + (uint64_t)((double)d->first_limit_ms * 1e6));
    ms = sim_net_one_way_ms(&w->net, &w->net_rng, g->region, n->region) +
         sim_net_body_ms(&w->net, g->region, n->region, r->prompt_bytes, a->fresh);
    if (!w->net.cut[g->region][n->region]) {
        sim_node_expect(w, attempt);
        sim_put(w, ms, SIM_SUBMIT, attempt, r->serial);
    } else if (a->fresh) {
        a->failure = FAILURE_CONNECT;
        sim_put(w, SIM_CONNECT_LIMIT_MS, SIM_BROKEN, attempt, r->serial);
    }
    sim_gateway_tell(w, g);
}

/* Nothing more is expected of the attempt. Its connection is kept after a whole answer. */
static void
attempt_over(struct sim_world *w, struct sim_gateway *g, uint32_t attempt, bool is_whole)
{
    struct sim_attempt *a = &w->requests[attempt / ATTEMPTS_MAX].attempts[attempt % ATTEMPTS_MAX];

    if (a->node == SIM_NONE)
        return;
    if (is_whole)
        sim_pool_give(&g->pools[a->node], w->now_ns);
    if (a->news != SIM_NONE)
        sim_report_free(w, a->news);
    a->news = SIM_NONE;
    sim_node_arrived(w, attempt);
    sim_node_forget(w, attempt);
    a->node = SIM_NONE;
}

/* The node goes on with it until the cancellation gets there. */
static void
attempt_cancel(struct sim_world *w, struct sim_gateway *g, uint32_t attempt)
{
    const struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];

    if (r->attempts[attempt % ATTEMPTS_MAX].node == SIM_NONE)
        return;
    sim_node_cancel(w, attempt, g->region);
    attempt_over(w, g, attempt, false);
}

/* ---- The end of a request. */

static void
request_over(struct sim_world *w, struct sim_gateway *g, uint32_t slot)
{
    for (uint32_t i = 0; i < ATTEMPTS_MAX; i++)
        attempt_cancel(w, g, slot * ATTEMPTS_MAX + i);
    sim_load_forget(w, slot);
}

static void
refuse(struct sim_world *w, struct sim_gateway *g, const struct action_refuse *a)
{
    uint32_t slot = (uint32_t)(a->request & (SIM_REQUESTS_MAX - 1));
    struct sim_request *r = &w->requests[slot];

    w->stats.refused_all++;
    if (r->counted) {
        w->stats.refused++;
        w->stats.refused_by[a->refusal % 16]++;
        w->stats.refused_class[r->priority]++;
        w->stats.failed += a->failure != FAILURE_NONE;
    }
    request_over(w, g, slot);
}

/* Actions may come of telling that others are carried out (dispatched), so they are copied. */
static void
act(struct sim_world *w, struct sim_gateway *g)
{
    struct action list[ACTIONS_MAX];
    uint32_t count = w->actions.count;

    memcpy(list, w->actions.list, count * sizeof(list[0]));
    for (uint32_t i = 0; i < count; i++) {
        switch ((enum action_kind)list[i].kind) {
        case ACTION_DISPATCH:
            attempt_start(w, g, &list[i].dispatch);
            break;
        case ACTION_REFUSE:
            refuse(w, g, &list[i].refuse);
            break;
        case ACTION_HOLD:
            w->requests[list[i].hold.request & (SIM_REQUESTS_MAX - 1)].held_ns = w->now_ns;
            break;
        case ACTION_CANCEL:
            attempt_cancel(w, g,
                           (uint32_t)(list[i].cancel.request & (SIM_REQUESTS_MAX - 1)) *
                                   ATTEMPTS_MAX +
                               list[i].cancel.attempt - 1);
            break;
        default:
            break;
        }
    }
}

/* ---- What arrives. */

void
sim_gateway_arrive(struct sim_world *w, uint32_t slot, uint32_t serial)
{
    struct sim_request *r = &w->requests[slot];
    const struct trace_request *t = &w->trace->requests[r->row];
    struct sim_gateway *g = &w->gateways[r->gateway];

    must(r->serial == serial);
    r->arrived_ns = w->now_ns;
    w->event.kind = EVENT_ARRIVED;
    w->event.arrived = (struct event_arrived){
        .request = core_id(slot, serial),
        .max_tokens = r->max_tokens,
        .session = t->session == 0 ? 0 : t->session * 31 + r->stream * 64 + r->round + 1,
        .model = r->model,
        .other_model = MODEL_NONE,
        .tenant = w->options.given != NULL
                      ? 0
                      : (uint16_t)(1 + (r->stream * 64 + t->tenant) % (TENANTS_MAX - 1)),
        .priority = r->priority,
        .prompt_bytes = r->prompt_bytes,
        .body_bytes = r->prompt_bytes + 200,
        .stream = 1,
        .deadline_ms = r->deadline_ms,
        .tpot_goal_ms = NAN,
        .only_node = NODE_ANY,
    };
    sim_load_prefix(w, r, &w->event.prefix);
    sim_gateway_tell(w, g);
}

static void
news_ride(struct sim_world *w, struct sim_attempt *a, uint32_t gateway)
{
    uint32_t report = a->news;

    if (report == SIM_NONE)
        return;
    a->news = SIM_NONE;
    sim_gateway_news(w, gateway, &w->reports[report]);
    sim_report_free(w, report);
}

void
sim_gateway_first(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    struct sim_attempt *a;

    if (r == NULL || (a = &r->attempts[attempt % ATTEMPTS_MAX])->node == SIM_NONE)
        return;
    news_ride(w, a, r->gateway);
    if (r->answering == SIM_NONE) {
        r->answering = attempt % ATTEMPTS_MAX;
        r->first_ns = w->now_ns;
    }
    w->event.kind = EVENT_STARTED;
    w->event.started = (struct event_started){.request = core_id(attempt / ATTEMPTS_MAX, serial),
                                              .attempt = attempt % ATTEMPTS_MAX + 1,
                                              .path_bytes_per_ms = NAN};
    sim_gateway_tell(w, &w->gateways[r->gateway]);
}

static void
sample_add(struct sim_world *w, const struct sim_request *r, const struct sim_attempt *a)
{
    const struct sim_gateway *g = &w->gateways[r->gateway];
    double back_ms = sim_load_hop_ms(w, r);
    double first_ms = (double)(r->first_ns - r->sent_ns) * 1e-6 + back_ms;
    double done_ms = (double)(w->now_ns - r->sent_ns) * 1e-6 + back_ms;
    struct sim_sample s = {
        .sent_ms = (float)((double)r->sent_ns * 1e-6),
        .first_ms = (float)first_ms,
        .done_ms = (float)done_ms,
        .step_ms = r->output_tokens > 1 ? (float)((done_ms - first_ms) / (r->output_tokens - 1))
                                        : NAN,
        .served_ms = (float)((double)(r->first_ns - a->dispatched_ns) * 1e-6),
        .predicted_ms = a->predicted_first_ms,
        .floor_ms = a->floor_first_ms,
        .prompt_tokens = (float)r->prompt_tokens,
        .output_tokens = (float)r->output_tokens,
        .cached_tokens = (float)a->cached_tokens,
        .hit_tokens = a->hit_tokens,
        .nth = a->nth,
        .node = a->node,
        .region = r->region,
        .region_gateway = g->region,
        .region_node = w->nodes[a->node].region,
        .model = r->model,
        .priority = r->priority,
        .tries = (uint8_t)r->tries,
        .hedged = r->hedged,
        .was_held = r->held_ns != 0,
    };

    sim_check_sample(w, r, a, &s);
    w->stats.answered_all++;
    w->stats.answered_prompt_tokens += r->prompt_tokens;
    w->stats.answered_output_tokens += r->output_tokens;
    if (!r->counted)
        return;
    w->stats.hedges_won += a->is_hedge;
    sim_stats_add(&w->stats, &s);
}

void
sim_gateway_done(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    uint32_t slot = attempt / ATTEMPTS_MAX;
    struct sim_attempt *a;
    struct sim_gateway *g;

    if (r == NULL || (a = &r->attempts[attempt % ATTEMPTS_MAX])->node == SIM_NONE)
        return;
    g = &w->gateways[r->gateway];
    news_ride(w, a, r->gateway);
    sample_add(w, r, a);
    w->event.kind = EVENT_ENDED;
    w->event.ended = (struct event_ended){.request = core_id(slot, serial),
                                          .attempt = attempt % ATTEMPTS_MAX + 1,
                                          .prompt_tokens = r->prompt_tokens,
                                          .cached_tokens = a->cached_tokens,
                                          .cached_known = 1,
                                          .output_tokens = r->output_tokens,
                                          .engine_prefill_ms = NAN,
                                          .engine_decode_ms = NAN};
    attempt_over(w, g, attempt, true);
    request_over(w, g, slot);
    sim_gateway_tell(w, g);
}

void
sim_gateway_broken(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    struct sim_attempt *a;
    struct sim_gateway *g;

    if (r == NULL || (a = &r->attempts[attempt % ATTEMPTS_MAX])->node == SIM_NONE)
        return;
    g = &w->gateways[r->gateway];
    w->event.kind = EVENT_FAILED;
    w->event.failed = (struct event_failed){.request = core_id(attempt / ATTEMPTS_MAX, serial),
                                            .attempt = attempt % ATTEMPTS_MAX + 1,
                                            .failure = a->failure,
                                            .started = r->answering == attempt % ATTEMPTS_MAX,
                                            .retry_after_ms = NAN};
    attempt_over(w, g, attempt, false);
    sim_gateway_tell(w, g);
}

void
sim_gateway_late(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);

    if (r == NULL || r->answering != SIM_NONE ||
        r->attempts[attempt % ATTEMPTS_MAX].node == SIM_NONE)
        return;
    w->event.kind = EVENT_LATE;
    w->event.late = (struct event_late){.request = core_id(attempt / ATTEMPTS_MAX, serial),
                                        .attempt = attempt % ATTEMPTS_MAX + 1};
    sim_gateway_tell(w, &w->gateways[r->gateway]);
}

/* ---- News and time. */

void
sim_gateway_news(struct sim_world *w, uint32_t gateway, const struct sim_report *report)
{
    struct sim_gateway *g = &w->gateways[gateway];

    w->event.kind = EVENT_REPORT;
    w->event.report = (struct event_report){.node = report->node,
                                            .running = report->running,
                                            .waiting = report->waiting,
                                            .prefill_tokens_in_flight = report->queue_tokens,
                                            .kv_tokens_used = report->kv_tokens_used,
                                            .kv_tokens_cap = report->kv_tokens_cap,
                                            .slots = report->slots,
                                            .age_ms = report->age_ms,
                                            .is_word = w->options.agents && !w->options.polls,
                                            .accepted_total = report->accepted_total,
                                            .prefill_tok_s = report->prefill_tok_s,
                                            .decode_tok_s = report->decode_tok_s};
    sim_gateway_tell(w, g);
}

void
sim_gateway_rtt(struct sim_world *w, uint32_t gateway, uint32_t node)
{
    struct sim_gateway *g = &w->gateways[gateway];
    const struct sim_node *n = &w->nodes[node];

    sim_put(w, w->options.rtt_every_ms, SIM_RTT, gateway, node);
    if (n->down > 0 || w->net.cut[g->region][n->region])
        return;
    w->event.kind = EVENT_RTT;
    w->event.rtt = (struct event_rtt){
        .node = node,
        .rtt_ms = (float)(sim_net_one_way_ms(&w->net, &w->net_rng, g->region, n->region) +
                          sim_net_one_way_ms(&w->net, &w->net_rng, n->region, g->region))};
    sim_gateway_tell(w, g);
}

void
sim_gateway_tick(struct sim_world *w, uint32_t gateway)
{
    struct sim_gateway *g = &w->gateways[gateway];
    struct core_load_view load;

    while (g->wait_count > 0 && g->waits[g->wait_first].until_ns <= w->now_ns) {
        struct sim_wait wait = g->waits[g->wait_first];
        struct sim_request *r = sim_request_of(w, wait.attempt, wait.serial);
        struct sim_attempt *a = r == NULL ? NULL : &r->attempts[wait.attempt % ATTEMPTS_MAX];

        g->wait_first = (g->wait_first + 1) % g->wait_room;
        g->wait_count--;
        if (a == NULL || a->node == SIM_NONE || a->first_ns != 0)
            continue;
        a->failure = FAILURE_FIRST_BYTE;
        sim_gateway_broken(w, wait.attempt, wait.serial);
    }
    w->event.kind = EVENT_TICK;
    sim_gateway_tell(w, g);
    core_view_load(g->core, &load);
    sim_put(w, load.held > 0 ? TICK_HELD_MS : TICK_MS, SIM_TICK, gateway, 0);
}

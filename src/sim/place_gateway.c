/* place_gateway - the gateways of a place_world, one or some in each region: the unchanged core,
 * what it is told, and its actions. They share the requests of their region by chance and its nodes
 * by rendezvous, and steer those, if the policy is to plan at all. How busy a node is is read there
 * as it is told; what becomes of models travels. One that dies is missed by the others after a
 * while: then they have its nodes. What it had under way ends well: here it is about plans. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/tuning.h"
#include "sim/place_state.h"

#define ALIGN_BYTES      64u
#define START_NS         UINT64_C(1000000000) /* core's clock begins here */
#define REQUESTS_AT_ONCE 16384u
#define TICK_MS          100.0 /* as the gateway ticks */
#define BYTES_PER_TOKEN  4.2
#define AWAY_NS          UINT64_C(120000000000) /* as plan promises */
#define TOLD_LEAST_S     1e-4f                  /* requests/s: less is not told */
#define CLASSES          2u /* of hardware: whose loads take what is told of them, and the others */
#define MOURNED_MS       10000.0 /* as role/gateway/peers has it */
#define AGAIN_NS         UINT64_C(30000000000)

static void act(struct place_world *w, uint32_t gateway);

static void
tell(struct place_world *w, uint32_t gateway)
{
    core_step(w->gateways[gateway].core, START_NS + w->now_ns, &w->event, &w->actions);
    act(w, gateway);
}

/* ---- The start. */

static void
tell_curves(struct place_world *w, uint32_t gateway)
{
    const struct place_options *o = &w->options;
    const struct speed_row *s = &w->speed;

    for (uint32_t i = 0; i < o->models * CLASSES; i++) {
        uint32_t m = i / CLASSES;
        float scale = (float)place_scale(w, m);
        w->event.kind = EVENT_CURVE;
        w->event.curve = (struct event_curve){
            .model = (uint16_t)m,
            .class = (uint16_t)(i % CLASSES),
            .curve = {scale * (float)s->a_ms, scale * (float)s->b_ms, scale * (float)s->c_ms,
                      scale * (float)s->t0_ms, scale * (float)s->tk_ms, scale * (float)s->tb_ms},
            .load_ms = (float)(o->start_ms + 1000.0 * w->weights_mib[m] / o->disk_mib_s),
            .weights_mib = (float)w->weights_mib[m],
            .identity = m + 1};
        tell(w, gateway);
    }
}

static uint32_t
state_of(struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_copy *c = place_node_copy(w, node, model);
    const struct place_node *n = &w->nodes[node];

    if (c != NULL && c->state == COPY_READY)
        return MODEL_READY;
    if (c != NULL && c->state != COPY_LEAVING)
        return MODEL_LOADING;
    for (uint32_t i = 0; i < n->asleep_count; i++) {
        if (n->asleep[i] == model)
            return MODEL_SLEEPING;
    }
    if (c != NULL)
        return MODEL_SLEEPING; /* it is on its way there */
    for (uint32_t i = 0; i < n->disk_count; i++) {
        if (n->on_disk[i] == model)
            return MODEL_ON_DISK;
    }
    return MODEL_ABSENT;
}

static void
tell_node(struct place_world *w, uint32_t gateway, uint32_t node)
{
    const struct place_options *o = &w->options;
    const struct place_node *n = &w->nodes[node];
    uint32_t region = w->gateways[gateway].region;

    w->event.kind = EVENT_NODE;
    w->event.node = (struct event_node){.node = node,
                                        .epoch = 1,
                                        .region = n->region,
                                        .class = n->slow > 1.0,
                                        .slots = o->held * n->slots,
                                        .rtt_ms = (float)w->rtt_ms[region][n->region],
                                        .steered = o->policy == PLACE_PLAN &&
                                                   n->steered_by == gateway,
                                        .memory_mib = (float)(o->weights_mib * o->held),
                                        .fetch_mib_s = (float)o->fetch_mib_s};
    tell(w, gateway);
    w->event.kind = EVENT_RTT;
    w->event.rtt = (struct event_rtt){.node = node, .rtt_ms = (float)w->rtt_ms[region][n->region]};
    tell(w, gateway);
}

static void
tell_model(struct place_world *w, uint32_t gateway, uint32_t node, uint32_t model, uint32_t state,
           float ready_in_ms)
{
    w->event.kind = EVENT_MODEL;
    w->event.model = (struct event_model){.node = node,
                                          .model = (uint16_t)model,
                                          .state = (uint16_t)state,
                                          .ready_in_ms = ready_in_ms,
                                          .slots = w->options.has_own_slots ? w->nodes[node].slots
                                                                            : 0};
    tell(w, gateway);
}

/* What it has in memory, and on its disk. */
static void
tell_models(struct place_world *w, uint32_t gateway, uint32_t node)
{
    const struct place_node *n = &w->nodes[node];

    for (uint32_t i = 0; i < n->copy_count; i++)
        tell_model(w, gateway, node, n->copies[i].model, MODEL_READY, NAN);
    for (uint32_t i = 0; i < n->disk_count; i++)
        tell_model(w, gateway, node, n->on_disk[i], MODEL_ON_DISK, NAN);
}

/* Who is there: those of its region steer in the order of their indices. */
static void
tell_gateways(struct place_world *w, uint32_t gateway)
{
    struct event_gateways e = {.count = 0};

    for (uint32_t g = 0; g < w->gateway_count; g++) {
        bool is_planner = w->gateways[g].region == w->gateways[gateway].region &&
                          w->gateways[g].silent_ns == 0;
        e.count += w->gateways[g].silent_ns == 0;
        e.planners += is_planner;
        e.place += is_planner && g < gateway;
    }
    w->event.kind = EVENT_GATEWAYS;
    w->event.gateways = e;
    tell(w, gateway);
}

/* Which of the gateways of its region a hash belongs to, of those that live: by rendezvous. */
static uint32_t
chosen(const struct place_world *w, uint32_t region, uint32_t hash)
{
    uint32_t best = region;
    uint64_t most = 0;

    for (uint32_t g = region; g < w->gateway_count; g += w->options.regions) {
        struct rng rng;
        uint64_t weight;
        rng_init(&rng, (uint64_t)g << 32 | hash);
        weight = rng_u64(&rng);
        if (w->gateways[g].silent_ns == 0 && weight >= most) {
            most = weight;
            best = g;
        }
    }
    return best;
}

static enum err
gateway_open(struct place_world *w, uint32_t gateway)
{
    const struct place_options *o = &w->options;
    struct place_gateway *g = &w->gateways[gateway];
    struct core_config c = {.seed = o->seed * 131u + gateway,
                            .nodes_max = o->nodes,
                            .models_max = o->models,
                            .regions_max = o->regions,
                            .classes_max = CLASSES,
                            .placements_max = o->nodes * CORE_NODE_MODELS_MAX,
                            .requests_max = REQUESTS_AT_ONCE,
                            .own_region = g->region,
                            .rule = RULE_TIME};
    size_t bytes = core_bytes(&c);

    must(bytes > 0);
    g->memory = calloc(1, bytes + ALIGN_BYTES);
    g->told = calloc(o->models, sizeof(*g->told));
    if (g->memory == NULL || g->told == NULL)
        return ERR_MEMORY;
    must(core_init(
             (void *)(((uintptr_t)g->memory + ALIGN_BYTES - 1) & ~(uintptr_t)(ALIGN_BYTES - 1)),
             bytes, &c, &g->core) == ERR_OK);
    w->event.kind = EVENT_TUNING;
    w->event.tuning = tuning_default;
    w->event.tuning.without = WITHOUT_HEDGE | o->without;
    tell(w, gateway);
    if (o->gateways > 1)
        tell_gateways(w, gateway);
    tell_curves(w, gateway);
    for (uint32_t i = 0; i < o->nodes; i++) {
        tell_node(w, gateway, i);
        tell_models(w, gateway, i);
    }
    place_put(w, TICK_MS * rng_unit(&w->rng), PLACE_TICK, gateway, 0);
    place_put(w, o->demand_every_ms * rng_unit(&w->rng), PLACE_DEMAND, gateway, 0);
    for (uint32_t i = 0; i < o->nodes; i++)
        place_put(w, o->heartbeat_ms * rng_unit(&w->rng), PLACE_BEAT, i, gateway);
    return ERR_OK;
}

enum err
place_gateway_open(struct place_world *w)
{
    const struct place_options *o = &w->options;
    enum err err = ERR_OK;

    w->gateway_count = o->regions * o->gateways;
    w->unloaded_ns = calloc((size_t)o->nodes * o->models, sizeof(*w->unloaded_ns));
    w->loaded_ns = calloc((size_t)o->regions * o->models, sizeof(*w->loaded_ns));
    w->gateways = calloc(w->gateway_count, sizeof(*w->gateways));
    if (w->gateways == NULL || w->unloaded_ns == NULL || w->loaded_ns == NULL)
        return ERR_MEMORY;
    for (uint32_t n = 0; n < o->nodes; n++)
        w->nodes[n].steered_by = chosen(w, w->nodes[n].region, n);
    for (uint32_t g = 0; g < w->gateway_count; g++)
        w->gateways[g].region = g % o->regions;
    for (uint32_t g = 0; err == ERR_OK && g < w->gateway_count; g++)
        err = gateway_open(w, g);
    if (o->dies_ms > 0.0)
        place_put(w, o->dies_ms, PLACE_DEATH, 0, 0);
    return err;
}

void
place_gateway_close(struct place_world *w)
{
    for (uint32_t g = 0; w->gateways != NULL && g < w->gateway_count; g++) {
        free(w->gateways[g].memory);
        free(w->gateways[g].told);
    }
    free(w->gateways);
    free(w->unloaded_ns);
    free(w->loaded_ns);
    free(w->news);
    free(w->asked);
}

/* ---- Directives. */

/* What is now over what is usual, as this gateway believes. */
static bool
is_burst(const struct place_world *w, uint32_t gateway, uint32_t model)
{
    struct demand_view views[CORE_VIEW_MAX];
    uint32_t next, count = core_view_demand(w->gateways[gateway].core, START_NS + w->now_ns, model,
                                            views, &next);

    for (uint32_t i = 0; i < count && views[i].model == model; i++) {
        if (views[i].region == w->gateways[gateway].region)
            return views[i].all.requests_s > 1.9f * views[i].all.usual_requests_s;
    }
    return false;
}

static void
directive_check(struct place_world *w, uint32_t gateway, const struct action_plan *a, bool load)
{
    uint64_t *gone_ns = &w->unloaded_ns[(size_t)a->node * w->options.models + a->model];

    if (a->node >= w->options.nodes || a->model >= w->options.models ||
        w->nodes[a->node].steered_by != gateway || w->options.policy != PLACE_PLAN) {
        place_failed(w, "gateway %u steers node %u, which is not its own", gateway, a->node);
        return;
    }
    if (!(a->worth_ms_s >= 0.0f) || !(a->load_ms >= 0.0f))
        place_failed(w, "a directive is worth %g ms/s, and takes %g ms", (double)a->worth_ms_s,
                     (double)a->load_ms);
    if (!load)
        *gone_ns = w->now_ns;
    else if (*gone_ns != 0 && w->now_ns - *gone_ns < AWAY_NS && a->reason != PLAN_RETURNS &&
             !is_burst(w, gateway, a->model))
        place_failed(w, "model %u is back at node %u after %.1f s", a->model, a->node,
                     (double)(w->now_ns - *gone_ns) * 1e-9);
}

static void
directive(struct place_world *w, uint32_t gateway, const struct action *a)
{
    bool load = a->kind == ACTION_LOAD;

    directive_check(w, gateway, &a->plan, load);
    w->stats.directives += w->now_ns >= w->warm_ns;
    if (load) {
        uint64_t *last_ns =
            &w->loaded_ns[(size_t)w->gateways[gateway].region * w->options.models + a->plan.model];
        w->stats.loads_again += w->now_ns >= w->warm_ns && *last_ns != 0 &&
                                w->now_ns - *last_ns < AGAIN_NS;
        *last_ns = w->now_ns;
    }
    if (w->asked_count == w->asked_room) {
        uint32_t room = w->asked_room == 0 ? 1024 : 2 * w->asked_room;
        struct place_asked *asked = realloc(w->asked, room * sizeof(*asked));
        must(asked != NULL);
        w->asked = asked;
        w->asked_room = room;
    }
    w->asked[w->asked_count] = (struct place_asked){a->plan, load};
    place_put(w, place_one_way_ms(w, w->gateways[gateway].region, w->nodes[a->plan.node].region),
              PLACE_ASKED, w->asked_count++, 0);
}

void
place_gateway_asked(struct place_world *w, uint32_t asked)
{
    const struct place_asked a = w->asked[asked];

    if (a.load)
        (void)place_node_load(w, a.action.node, a.action.model, true); /* full: it stays silent */
    else
        place_node_unload(w, a.action.node, a.action.model);
}

/* ---- Requests. */

static void
mix(struct place_world *w, uint64_t x)
{
    w->stats.digest = (w->stats.digest ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    w->stats.digest ^= w->stats.digest >> 32;
}

static void
act(struct place_world *w, uint32_t gateway)
{
    struct action list[ACTIONS_MAX];
    uint32_t count = w->actions.count, loads = 0;

    memcpy(list, w->actions.list, count * sizeof(list[0]));
    for (uint32_t i = 0; i < count; i++) {
        const struct action *a = &list[i];
        mix(w, w->now_ns << 8 | a->kind);
        switch ((enum action_kind)a->kind) {
        case ACTION_DISPATCH:
            mix(w, a->dispatch.request << 32 | a->dispatch.node);
            place_send(w, (uint32_t)a->dispatch.request - 1, a->dispatch.node);
            w->event.kind = EVENT_DISPATCHED;
            w->event.dispatched = (struct event_dispatched){.request = a->dispatch.request,
                                                            .attempt = a->dispatch.attempt};
            tell(w, gateway);
            break;
        case ACTION_REFUSE:
            w->requests[a->refuse.request - 1].is_over = true;
            w->stats.refused += w->requests[a->refuse.request - 1].at_ns >= w->warm_ns;
            break;
        case ACTION_LOAD:
        case ACTION_UNLOAD:
            mix(w, (uint64_t)a->plan.node << 32 | a->plan.model);
            loads += a->kind == ACTION_LOAD;
            directive(w, gateway, a);
            break;
        default:
            break;
        }
    }
    if (loads > 1)
        place_failed(w, "%u loads in one step", loads);
}

void
place_gateway_arrive(struct place_world *w, uint32_t request)
{
    struct place_request *r = &w->requests[request];
    uint32_t bytes = (uint32_t)(r->prompt_tokens * BYTES_PER_TOKEN);

    w->event.kind = EVENT_ARRIVED;
    w->event.arrived = (struct event_arrived){.request = request + 1u,
                                              .model = r->model,
                                              .other_model = MODEL_NONE,
                                              .priority = PRIORITY_NORMAL,
                                              .prompt_bytes = bytes,
                                              .body_bytes = bytes,
                                              .stream = 1,
                                              .deadline_ms = NAN,
                                              .tpot_goal_ms = NAN,
                                              .only_node = NODE_ANY};
    w->event.prefix.count = 0;
    r->gateway = (uint16_t)chosen(w, r->region, request);
    tell(w, r->gateway);
}

/* Its load as it is now: it comes with every first token and every end, and from time to time. */
static void
tell_load(struct place_world *w, uint32_t node, uint32_t gateway)
{
    const struct place_node *n = &w->nodes[node];
    uint32_t waiting = 0;

    for (uint32_t i = n->first; i != PLACE_NONE; i = w->requests[i].next)
        waiting++;
    for (uint32_t i = 0; w->options.has_own_slots && i < n->copy_count; i++)
        waiting += n->copies[i].running - n->copies[i].at_once;
    w->event.kind = EVENT_REPORT;
    w->event.report = (struct event_report){.node = node,
                                            .running = (float)n->running,
                                            .waiting = (float)waiting,
                                            .prefill_tokens_in_flight = (float)n->prompt_tokens,
                                            .kv_tokens_used = NAN,
                                            .kv_tokens_cap = NAN,
                                            .slots = NAN,
                                            .age_ms = 0.0f};
    tell(w, gateway);
    for (uint32_t i = 0; w->options.has_own_slots && i < n->copy_count; i++) {
        w->event.kind = EVENT_REQUESTS;
        w->event.requests = (struct event_requests){
            .node = node, .model = n->copies[i].model, .requests = (float)n->copies[i].running};
        tell(w, gateway);
    }
}

void
place_gateway_first(struct place_world *w, uint32_t request, uint32_t tried)
{
    const struct place_request *r = &w->requests[request];

    if (w->gateways == NULL)
        return;
    tell_load(w, r->node, r->gateway);
    w->event.kind = EVENT_STARTED;
    w->event.started = (struct event_started){
        .request = request + 1u, .attempt = tried, .path_bytes_per_ms = NAN};
    tell(w, r->gateway);
}

void
place_gateway_end(struct place_world *w, uint32_t request, uint32_t tried)
{
    const struct place_request *r = &w->requests[request];

    if (w->gateways == NULL)
        return;
    tell_load(w, r->node, r->gateway);
    w->event.kind = EVENT_ENDED;
    w->event.ended = (struct event_ended){.request = request + 1u,
                                          .attempt = tried,
                                          .prompt_tokens = r->prompt_tokens,
                                          .output_tokens = r->output_tokens,
                                          .engine_prefill_ms = NAN,
                                          .engine_decode_ms = NAN};
    tell(w, r->gateway);
}

void
place_gateway_failed(struct place_world *w, uint32_t request)
{
    struct place_request *r = &w->requests[request];

    if (w->gateways == NULL) {
        r->is_over = true;
        w->stats.failed += r->at_ns >= w->warm_ns;
        return;
    }
    w->event.kind = EVENT_FAILED;
    w->event.failed = (struct event_failed){.request = request + 1u,
                                            .attempt = r->tries,
                                            .failure = FAILURE_BUSY,
                                            .retry_after_ms = NAN};
    tell(w, r->gateway);
}

/* ---- News. */

void
place_gateway_told(struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_copy *c = place_node_copy(w, node, model);
    uint32_t i = w->news_free;

    if (w->gateways == NULL || w->now_ns == 0)
        return;
    if (i != PLACE_NONE) {
        w->news_free = w->news[i].next_free;
    } else {
        if (w->news_count == w->news_room) {
            uint32_t room = w->news_room == 0 ? 1024 : 2 * w->news_room;
            struct place_news *news = realloc(w->news, room * sizeof(*news));
            must(news != NULL);
            w->news = news;
            w->news_room = room;
        }
        i = w->news_count++;
    }
    w->news[i] = (struct place_news){.node = node,
                                     .model = (uint16_t)model,
                                     .state = (uint16_t)state_of(w, node, model),
                                     .ready_in_ms = NAN,
                                     .readers = w->gateway_count};
    if (w->news[i].state == MODEL_LOADING && c != NULL && c->ready_ns > w->now_ns)
        w->news[i].ready_in_ms = (float)((double)(c->ready_ns - w->now_ns) * 1e-6 /
                                         w->nodes[node].slow);
    for (uint32_t g = 0; g < w->gateway_count; g++)
        place_put(w,
                  w->options.news_ms +
                      place_one_way_ms(w, w->nodes[node].region, w->gateways[g].region),
                  PLACE_NEWS, i, g);
}

void
place_gateway_news(struct place_world *w, uint32_t news, uint32_t gateway)
{
    struct place_news *n = &w->news[news];
    const struct place_news told = *n;

    if (--n->readers == 0) {
        n->next_free = w->news_free;
        w->news_free = news;
    }
    tell_model(w, gateway, told.node, told.model, told.state, told.ready_in_ms);
}

void
place_gateway_beat(struct place_world *w, uint32_t node, uint32_t gateway)
{
    place_put(w, w->options.heartbeat_ms, PLACE_BEAT, node, gateway);
    tell_load(w, node, gateway);
}

/* What the gateways of a region told last, all but this one, into w->event. */
static void
demand_sum(struct place_world *w, uint32_t region, uint32_t model, uint32_t but)
{
    struct event_demand *e = &w->event.demand;

    w->event.kind = EVENT_DEMAND;
    *e = (struct event_demand){.model = (uint16_t)model, .region = (uint16_t)region};
    for (uint32_t g = region; g < w->gateway_count; g += w->options.regions) {
        const struct demand_rates *t = &w->gateways[g].told[model];
        if (g == but || w->gateways[g].silent_ns != 0)
            continue;
        e->requests_s += t->requests_s;
        e->prompt_tok_s += t->prompt_tok_s;
        e->output_tok_s += t->output_tok_s;
        e->usual_requests_s += t->usual_requests_s;
        e->ahead_requests_s += t->ahead_requests_s;
    }
}

/* What it counts itself of this model, to all others. */
static void
tell_demand(struct place_world *w, uint32_t gateway, const struct demand_view *v)
{
    struct demand_rates *t = &w->gateways[gateway].told[v->model];

    *t = (struct demand_rates){fmaxf(0.0f, v->all.requests_s - v->told.requests_s),
                               fmaxf(0.0f, v->all.prompt_tok_s - v->told.prompt_tok_s),
                               fmaxf(0.0f, v->all.output_tok_s - v->told.output_tok_s),
                               fmaxf(0.0f, v->all.usual_requests_s - v->told.usual_requests_s),
                               fmaxf(0.0f, v->all.ahead_requests_s - v->told.ahead_requests_s)};
    if (t->usual_requests_s < TOLD_LEAST_S) {
        t->requests_s = 0.0f;
        return; /* what they know of it fades */
    }
    for (uint32_t g = 0; g < w->gateway_count; g++) {
        if (g == gateway)
            continue;
        demand_sum(w, v->region, v->model, g);
        tell(w, g);
    }
}

void
place_gateway_demand(struct place_world *w, uint32_t gateway)
{
    struct demand_view views[CORE_VIEW_MAX];
    uint32_t from = 0;

    if (w->gateways[gateway].silent_ns != 0)
        return;
    place_put(w, w->options.demand_every_ms, PLACE_DEMAND, gateway, 0);
    while (from != UINT32_MAX) {
        uint32_t count = core_view_demand(w->gateways[gateway].core, START_NS + w->now_ns, from,
                                          views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (views[i].region == w->gateways[gateway].region)
                tell_demand(w, gateway, &views[i]);
        }
    }
}

/* ---- A gateway of each region dies. */

void
place_gateway_death(struct place_world *w)
{
    for (uint32_t g = 0; g < w->options.regions; g++)
        w->gateways[g].silent_ns = w->now_ns;
    place_put(w, MOURNED_MS, PLACE_MOURNED, 0, 0);
}

/* The others have its nodes. */
void
place_gateway_mourned(struct place_world *w)
{
    for (uint32_t g = 0; g < w->gateway_count; g++) {
        if (w->gateways[g].silent_ns == 0)
            tell_gateways(w, g);
    }
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct place_node *node = &w->nodes[n];
        if (w->gateways[node->steered_by].silent_ns == 0)
            continue;
        node->steered_by = chosen(w, node->region, n);
        tell_node(w, node->steered_by, n);
        memset(w->unloaded_ns + (size_t)n * w->options.models, 0,
               w->options.models * sizeof(*w->unloaded_ns)); /* it does not know why they went */
    }
}

void
place_gateway_tick(struct place_world *w, uint32_t gateway)
{
    if (w->gateways[gateway].silent_ns != 0)
        return;
    place_put(w, TICK_MS, PLACE_TICK, gateway, 0);
    w->event.kind = EVENT_TICK;
    tell(w, gateway);
}

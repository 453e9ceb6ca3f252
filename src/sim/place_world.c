/* place_world - the loop of a run, and its figures; see place_world.h. */
#include "sim/place_world.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/place_state.h"
#include "sim/sim_stats.h"

#define INSIDE_REGION_MS 1.0
#define DRAIN_MS         300000.0 /* after the last arrival */
#define PARAMS_B         8.03

void
place_failed(struct place_world *w, const char *format, ...)
{
    va_list args;

    if (w->stats.violations++ > 0)
        return;
    va_start(args, format);
    (void)vsnprintf(w->stats.violation, sizeof(w->stats.violation), format, args);
    va_end(args);
}

void
place_options_init(struct place_options *o)
{
    *o = (struct place_options){
        .seed = 1,
        .policy = PLACE_PLAN,
        .models = 2000,
        .nodes = 500,
        .regions = 16,
        .gateways = 1,
        .held = 16, /* 8,000 places: a quarter of 2,000 models in 16 regions */
        .slots = 6,
        .gpu = "h200",
        .asleep = 8,
        .on_disk = 8,
        .duration_ms = 900000.0,
        .warmup_ms = 300000.0,
        .rate_s = 600.0,
        .zipf = 1.0,
        .taste = 1.0,
        .drift_every_ms = 5000.0,
        .burst_every_ms = 5000.0,
        .burst_factor = 3.0,
        .burst_ms = 60000.0,
        .heartbeat_ms = 2000.0,
        .demand_every_ms = 30000.0,
        .weights_mib = 15317.0, /* 8B, bf16 */
        .fetch_mib_s = 2000.0,
        .disk_mib_s = 5000.0,
        .host_mib_s = 20000.0,
        .start_ms = 5000.0,
        .wake_ms = 300.0,
        .slo_first_ms = 1000.0,
        .slo_first_per_token_ms = 1.0,
        .slow_loads = 1.0,
    };
}

static bool
within(double x, double low, double high)
{
    return x >= low && x <= high;
}

static bool
options_good(const struct place_options *o)
{
    return o->policy < PLACE_POLICIES && within(o->models, 1, PLACE_MODELS_MAX) &&
           within(o->nodes, 1, PLACE_NODES_MAX) && within(o->regions, 1, PLACE_REGIONS_MAX) &&
           o->regions <= o->nodes && within(o->gateways, 1, PLACE_GATEWAYS_MAX) &&
           within(o->held, 1, PLACE_HELD_MAX) && within(o->slots, 1, 256) &&
           within(o->slots_odd, 0, o->has_own_slots ? 256 : 0) && o->gpu != NULL &&
           within(o->hidden_speed, 0.0, 0.9) && o->unasked < o->models &&
           within(o->prompt_median, 0.0, 1e5) && within(o->prompt_sigma, 0.0, 5.0) &&
           (!o->is_dealt || (o->held + o->on_disk >= o->models && !o->has_sizes)) &&
           o->asleep + o->on_disk <= PLACE_TIERS_MAX && o->asleep <= PLACE_TIERS_MAX &&
           within(o->duration_ms, 1.0, 86400000.0) && within(o->warmup_ms, 0.0, o->duration_ms) &&
           within(o->rate_s, 1e-3, 1e5) && within(o->zipf, 0.0, 3.0) &&
           within(o->taste, 0.0, 3.0) && within(o->drift_every_ms, 1.0, 1e12) &&
           within(o->burst_every_ms, 1.0, 1e12) && within(o->burst_factor, 1.0, 100.0) &&
           within(o->burst_ms, 1.0, 1e9) && within(o->ramp_ms, 0.0, 1e9) &&
           within(o->slow_share, 0.0, 1.0) && within(o->slow_loads, 1.0, 1000.0) &&
           within(o->heartbeat_ms, 10.0, 1e9) && within(o->demand_every_ms, 10.0, 1e9) &&
           within(o->news_ms, 0.0, 1e6) && within(o->dies_ms, 0.0, o->gateways > 1 ? 1e9 : 0.0) &&
           within(o->weights_mib, 1.0, 1e6) && within(o->fetch_mib_s, 1.0, 1e6) &&
           within(o->disk_mib_s, 1.0, 1e6) && within(o->host_mib_s, 1.0, 1e6) &&
           within(o->start_ms, 0.0, 1e6) && within(o->wake_ms, 0.0, 1e6) &&
           within(o->rate_s * o->burst_factor * o->duration_ms / 1000.0, 0.0, PLACE_REQUESTS_MAX);
}

/* ---- A request. */

void
place_send(struct place_world *w, uint32_t request, uint32_t node)
{
    struct place_request *r = &w->requests[request];

    r->node = node;
    r->tries++;
    place_put(w, place_one_way_ms(w, r->region, w->nodes[node].region), PLACE_AT_NODE, request,
              r->tries);
}

/* What an idle node of the own region with the model in memory would need. */
static double
warm_ms(const struct place_world *w, const struct place_request *r)
{
    const struct speed_row *s = &w->speed;
    double prompt = r->prompt_tokens;

    return w->rtt_ms[r->region][r->region] + place_prefill_ms(w, r->model, prompt) +
           place_scale(w, r->model) * (s->t0_ms + s->tb_ms + s->tk_ms * 1e-3 * prompt);
}

static double
goal_ms(const struct place_world *w, const struct place_request *r)
{
    return w->options.slo_first_ms + w->options.slo_first_per_token_ms * r->prompt_tokens;
}

static void
first(struct place_world *w, uint32_t request, uint32_t tried)
{
    struct place_request *r = &w->requests[request];

    if (r->first_ns != 0 || r->is_over)
        place_failed(w, "request %u begins twice", request);
    r->first_ns = w->now_ns;
    place_gateway_first(w, request, tried);
}

static void
end(struct place_world *w, uint32_t request, uint32_t tried)
{
    struct place_request *r = &w->requests[request];

    if (r->is_over || r->first_ns == 0)
        place_failed(w, "request %u ends twice, or never began", request);
    r->is_over = true;
    place_gateway_end(w, request, tried);
}

/* ---- The loop. */

static void
next_arrival(struct place_world *w)
{
    if (w->at < w->request_count)
        sim_queue_put(&w->queue, w->requests[w->at].at_ns, PLACE_ARRIVE, w->at, 0);
    w->at++;
}

static void
happen(struct place_world *w, const struct sim_event *e)
{
    switch ((enum place_kind)e->kind) {
    case PLACE_ARRIVE:
        next_arrival(w);
        place_rule_arrive(w, e->a);
        break;
    case PLACE_AT_NODE:
        place_node_submit(w, e->a);
        break;
    case PLACE_FIRST:
        first(w, e->a, e->b);
        break;
    case PLACE_END:
        end(w, e->a, e->b);
        break;
    case PLACE_STARTED:
        place_node_started(w, e->a);
        break;
    case PLACE_FREED:
        place_node_freed(w, e->a);
        break;
    case PLACE_LOADED:
        place_node_loaded(w, e->a);
        break;
    case PLACE_LEAVES:
        place_node_go_on(w, e->a);
        break;
    case PLACE_NEWS:
        place_gateway_news(w, e->a, e->b);
        break;
    case PLACE_BEAT:
        place_gateway_beat(w, e->a, e->b);
        break;
    case PLACE_TICK:
        place_gateway_tick(w, e->a);
        break;
    case PLACE_DEMAND:
        place_gateway_demand(w, e->a);
        break;
    case PLACE_ASKED:
        place_gateway_asked(w, e->a);
        break;
    case PLACE_DEATH:
        place_gateway_death(w);
        break;
    case PLACE_MOURNED:
        place_gateway_mourned(w);
        break;
    }
}

static void
run(struct place_world *w)
{
    uint64_t last_ns = w->end_ns + place_ns(DRAIN_MS);
    struct sim_event e;

    next_arrival(w);
    if (w->warm_ns == 0)
        place_bound_begin(w);
    while (sim_queue_take(&w->queue, &e) && e.at_ns < last_ns) {
        if (e.at_ns < w->now_ns)
            place_failed(w, "an event of the past");
        if (e.at_ns >= w->end_ns && (e.kind == PLACE_BEAT || e.kind == PLACE_DEMAND))
            continue; /* who answers goes on: nobody else */
        if (w->now_ns < w->warm_ns && e.at_ns >= w->warm_ns)
            place_bound_begin(w);
        w->now_ns = e.at_ns;
        happen(w, &e);
    }
}

/* ---- Figures. */

/* Does its node still have it? */
static bool
is_at_node(struct place_world *w, const struct place_request *r)
{
    const struct place_copy *c = r->node == PLACE_NONE ? NULL
                                                       : place_node_copy(w, r->node, r->model);

    return c != NULL && c->running > 0;
}

static void
figures(struct place_world *w)
{
    struct place_stats *s = &w->stats;
    double sum = 0.0, slots = 0.0;

    for (uint32_t i = 0; i < w->request_count; i++) {
        const struct place_request *r = &w->requests[i];
        double first_ms = (double)(r->first_ns - r->at_ns) * 1e-6;
        bool counts = r->at_ns >= w->warm_ns, is_slow;

        if (!r->is_over && w->gateways != NULL && !is_at_node(w, r))
            place_failed(w, "request %u never ended", i);
        if (!counts)
            continue;
        s->failed += !r->is_over; /* its node has more than it can do */
        s->requests++;
        s->waited += r->waited;
        is_slow = r->first_ns == 0 || first_ms > goal_ms(w, r);
        s->slow += is_slow;
        s->slow_unwarmed += is_slow && warm_ms(w, r) <= goal_ms(w, r);
        if (r->first_ns == 0 || !r->is_over)
            continue;
        s->answered++;
        s->away += w->nodes[r->node].region != r->region;
        w->first_ms[w->first_count++] = first_ms;
        sum += first_ms;
    }
    if (s->answered + s->refused + s->failed != s->requests)
        place_failed(w, "%llu requests: %llu answered, %llu refused, %llu failed",
                     (unsigned long long)s->requests, (unsigned long long)s->answered,
                     (unsigned long long)s->refused, (unsigned long long)s->failed);
    s->first_mean_ms = w->first_count > 0 ? sum / (double)w->first_count : NAN;
    s->first_p50_ms = sim_quantile(w->first_ms, w->first_count, 0.5);
    s->first_p95_ms = sim_quantile(w->first_ms, w->first_count, 0.95);
    s->first_p99_ms = sim_quantile(w->first_ms, w->first_count, 0.99);
    for (uint32_t i = 0; i < w->options.nodes; i++)
        slots += w->nodes[i].slots;
    s->busy_share = w->running_ms / (w->options.duration_ms * slots * w->options.held);
}

/* Shares of models by size, 1.5B to 70B in bf16. */
static const struct {
    double share, gib;
} sizes[] = {{0.25, 3.0}, {0.2, 8.0}, {0.3, 15.0}, {0.12, 30.0}, {0.08, 61.0}, {0.05, 140.0}};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static bool
weights_draw(struct place_world *w)
{
    const struct place_options *o = &w->options;
    struct rng rng;

    rng_init(&rng, o->seed * 104729u + 5u);
    w->weights_mib = calloc(o->models, sizeof(*w->weights_mib));
    if (w->weights_mib == NULL)
        return false;
    for (uint32_t m = 0; m < o->models; m++) {
        double x = rng_unit(&rng);
        size_t i = 0;
        while (i + 1 < SIZES && x >= sizes[i].share)
            x -= sizes[i++].share;
        w->weights_mib[m] = o->has_sizes ? 1024.0 * sizes[i].gib : o->weights_mib;
    }
    return true;
}

static enum err
world_open(struct place_world *w, const struct rtt_data *rtt)
{
    const struct place_options *o = &w->options;
    uint32_t places[PLACE_REGIONS_MAX];
    enum err err;

    if (speed_table_find(PARAMS_B, span_of(o->gpu), &w->speed) != ERR_OK)
        return ERR_ARG;
    rng_init(&w->rng, o->seed);
    err = rtt_data_spread(rtt, (uint32_t)rng_below(&w->rng, rtt->rtt.count), o->regions, places);
    if (err != ERR_OK)
        return err;
    for (uint32_t a = 0; a < o->regions; a++) {
        for (uint32_t b = 0; b < o->regions; b++) {
            float ms = rtt->rtt.ms[places[a] * rtt->rtt.count + places[b]];
            w->rtt_ms[a][b] = a == b || isnan(ms) ? INSIDE_REGION_MS : (double)ms;
        }
    }
    w->nodes = calloc(o->nodes, sizeof(*w->nodes));
    w->held_at_warm = calloc((size_t)o->models * o->regions, sizeof(*w->held_at_warm));
    if (w->nodes == NULL || w->held_at_warm == NULL || !weights_draw(w))
        return ERR_MEMORY;
    place_node_init(w);
    err = place_load_open(w);
    if (err != ERR_OK)
        return err;
    w->first_ms = malloc((w->request_count + 1) * sizeof(*w->first_ms));
    if (w->first_ms == NULL)
        return ERR_MEMORY;
    place_rule_begin(w);
    return o->policy == PLACE_PLAN || o->policy == PLACE_STATIC || o->policy == PLACE_ON_DEMAND
               ? place_gateway_open(w)
               : ERR_OK;
}

enum err
place_run(const struct place_options *o, const struct trace *trace, const struct rtt_data *rtt,
          struct place_stats *ret_stats)
{
    struct place_world *w;
    enum err err;

    if (!options_good(o) || trace->count == 0 || o->regions > rtt->rtt.count)
        return ERR_ARG;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return ERR_MEMORY;
    w->options = *o;
    w->trace = trace;
    w->news_free = PLACE_NONE;
    w->end_ns = place_ns(o->duration_ms);
    w->warm_ns = place_ns(o->warmup_ms);
    err = world_open(w, rtt);
    if (err == ERR_OK) {
        run(w);
        figures(w);
        if (!o->has_sizes)
            place_bound_belady(w);
        place_bound_pool(w);
        *ret_stats = w->stats;
    }
    place_gateway_close(w);
    sim_queue_fini(&w->queue);
    free(w->requests);
    free(w->counts);
    free(w->weights_mib);
    free(w->held_at_warm);
    free(w->nodes);
    free(w->first_ms);
    free(w);
    return err;
}

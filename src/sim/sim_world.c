/* sim_world - the loop; see sim_world.h. */
#include "sim/sim_world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "sim/sim_check.h"

#define DRAIN_MS  3600000.0 /* after the last arrival, for what still runs */
#define SETTLE_MS 3600000.0 /* after that, for what nobody waits for any more */
#define LOOK_MS   100.0

/* Are the regions of a world that is given among the round trips? */
static enum err
given_check(const struct sim_given *given, const struct rtt_data *rtt, struct sim_error *ret_error)
{
    uint32_t places[SIM_REGIONS_MAX];
    struct span names[SIM_REGIONS_MAX];
    struct data_error error;
    enum err err;

    for (uint32_t i = 0; i < given->region_count; i++)
        names[i] = span_of(given->regions[i]);
    err = rtt_data_pick(rtt, names, given->region_count, &error, places);
    if (err != ERR_OK)
        span_copy(span_of(error.text), ret_error->message, sizeof(ret_error->message));
    return err;
}

/* What the options and the data have to do with each other. */
static enum err
data_check(const struct sim_options *o, const struct trace *trace, const struct rtt_data *rtt,
           struct sim_error *ret_error)
{
    enum err err = sim_options_check(o, ret_error);

    if (err != ERR_OK)
        return err;
    if (o->regions > rtt->rtt.count)
        (void)snprintf(ret_error->message, sizeof(ret_error->message),
                       "regions: %u, but %s has round trips of %u", o->regions, rtt->name,
                       (unsigned)rtt->rtt.count);
    else if (trace->count < 2 || !(trace->span_ms > 0.0))
        (void)snprintf(ret_error->message, sizeof(ret_error->message),
                       "trace: %s needs two requests at different times", trace->name);
    else if (o->polls && o->nodes > SIM_POLL_NODES_MAX)
        (void)snprintf(ret_error->message, sizeof(ret_error->message),
                       "news.polls: a gateway asks %u nodes at most in time, not %u",
                       SIM_POLL_NODES_MAX, (unsigned)o->nodes);
    else if (o->given != NULL)
        return given_check(o->given, rtt, ret_error);
    else
        return ERR_OK;
    return ERR_ARG;
}

static void
means(struct sim_world *w)
{
    double prompt = 0.0, output = 0.0;

    for (size_t i = 0; i < w->trace->count; i++) {
        prompt += fmin(w->trace->requests[i].prompt_tokens, w->options.prompt_tokens_max);
        output += w->trace->requests[i].output_tokens * w->options.output_factor;
    }
    w->prompt_mean = prompt / (double)w->trace->count;
    w->output_mean = fmax(1.0, output / (double)w->trace->count);
}

enum err
sim_world_open(const struct sim_options *options, const struct trace *trace,
               const struct rtt_data *rtt, struct sim_world **ret_world,
               struct sim_error *ret_error)
{
    struct sim_world *w;
    enum err err;

    if (options->given != NULL)
        trace = &options->given->trace;
    err = data_check(options, trace, rtt, ret_error);
    if (err != ERR_OK)
        return err;
    (void)snprintf(ret_error->message, sizeof(ret_error->message), "out of memory");
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return ERR_MEMORY;
    w->options = *options;
    w->trace = trace;
    w->rtt = rtt;
    w->end_ns = (uint64_t)(options->duration_ms * 1e6);
    w->request_free = w->report_free = w->cancel_free = SIM_NONE;
    rng_init(&w->rng, options->seed);
    rng_init(&w->net_rng, options->seed ^ UINT64_C(0x6e657477));
    means(w);
    err = sim_fleet_open(w);
    if (err == ERR_OK)
        err = sim_load_open(w);
    if (err != ERR_OK) {
        if (err == ERR_NOT_FOUND)
            (void)snprintf(ret_error->message, sizeof(ret_error->message),
                           "%s has not so many regions with known round trips", rtt->name);
        else if (err == ERR_ARG)
            (void)snprintf(ret_error->message, sizeof(ret_error->message),
                           "this fleet cannot serve every model of the load");
        sim_world_close(w);
        return err;
    }
    for (uint32_t i = 0; i < w->options.fault_count; i++)
        sim_put(w, w->options.faults[i].at_ms, SIM_FAULT_BEGIN, i, 0);
    *ret_world = w;
    return ERR_OK;
}

void
sim_world_close(struct sim_world *w)
{
    if (w == NULL)
        return;
    sim_fleet_close(w);
    sim_load_close(w);
    sim_node_close(w);
    sim_stats_fini(&w->stats);
    sim_queue_fini(&w->queue);
    free(w);
}

static void
happen(struct sim_world *w, const struct sim_event *e)
{
    switch ((enum sim_kind)e->kind) {
    case SIM_CLIENT:
        sim_load_next(w, e->a);
        break;
    case SIM_ARRIVE:
        sim_gateway_arrive(w, e->a, e->b);
        break;
    case SIM_SUBMIT:
        sim_node_submit(w, e->a, e->b);
        break;
    case SIM_WAKE:
        sim_node_wake(w, e->a, e->b);
        break;
    case SIM_FIRST:
        sim_gateway_first(w, e->a, e->b);
        break;
    case SIM_DONE:
        sim_gateway_done(w, e->a, e->b);
        break;
    case SIM_BROKEN:
        sim_gateway_broken(w, e->a, e->b);
        break;
    case SIM_LATE:
        sim_gateway_late(w, e->a, e->b);
        break;
    case SIM_CANCEL:
        sim_node_cancelled(w, e->a);
        break;
    case SIM_BEAT:
        sim_node_beat(w, e->a);
        break;
    case SIM_NEWS:
        sim_gateway_news(w, e->b, &w->reports[e->a]);
        sim_report_free(w, e->a);
        break;
    case SIM_POLL:
        sim_poll_ask(w, e->a, e->b);
        break;
    case SIM_POLL_ASKED:
        sim_poll_asked(w, e->a, e->b);
        break;
    case SIM_POLL_TOLD:
        sim_poll_told(w, e->a, e->b);
        break;
    case SIM_TICK:
        sim_gateway_tick(w, e->a);
        break;
    case SIM_RTT:
        sim_gateway_rtt(w, e->a, e->b);
        break;
    case SIM_FAULT_BEGIN:
        sim_fault_begin(w, e->a);
        break;
    case SIM_FAULT_END:
        sim_fault_end(w, e->a);
        break;
    }
}

bool
sim_world_run(struct sim_world *w, double until_ms)
{
    uint64_t until_ns = (uint64_t)(until_ms * 1e6);
    uint64_t drained_ns = w->end_ns + (uint64_t)(DRAIN_MS * 1e6);
    struct sim_event e;

    while (sim_queue_take(&w->queue, &e)) {
        if (e.at_ns < w->now_ns)
            sim_check_failed(w, "an event of the past");
        w->now_ns = e.at_ns;
        w->stats.events++;
        happen(w, &e);
        if (w->now_ns >= w->end_ns && (w->in_flight == 0 || w->now_ns >= drained_ns))
            return false;
        if (w->now_ns >= until_ns)
            return true;
    }
    return false;
}

static bool
is_idle(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (w->nodes[i].wake_ns != UINT64_MAX)
            return false;
    }
    return w->cancels_coming == 0;
}

void
sim_world_finish(struct sim_world *w)
{
    uint64_t last_ns = w->now_ns + (uint64_t)(SETTLE_MS * 1e6), look_ns = w->now_ns;
    struct sim_event e;

    while (w->now_ns < last_ns && (w->now_ns < look_ns || !is_idle(w))) {
        if (w->now_ns >= look_ns)
            look_ns = w->now_ns + (uint64_t)(LOOK_MS * 1e6);
        if (!sim_queue_take(&w->queue, &e))
            break;
        w->now_ns = e.at_ns;
        happen(w, &e);
    }
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct engine_truth t;

        sim_node_truth(w, i, &t);
        w->stats.preemptions += t.preemptions_total;
        w->stats.prefill_tokens += t.prompt_tokens_total - t.cached_tokens_total;
    }
    sim_check_end(w);
}

void
sim_world_check(struct sim_world *w)
{
    sim_check_now(w);
}

struct sim_stats *
sim_world_stats(struct sim_world *w)
{
    return &w->stats;
}

double
sim_world_capacity(const struct sim_world *w)
{
    double total = 0.0;

    for (uint32_t m = 0; m < w->options.models; m++)
        total += w->capacity[m];
    return total;
}

void
sim_world_node(const struct sim_world *w, uint32_t node, struct sim_node_told *ret_node)
{
    const struct sim_node *n = &w->nodes[node];

    *ret_node = (struct sim_node_told){.region_name = w->rtt->rtt.names[w->region_place[n->region]],
                                       .gpu = w->classes[n->class].gpu,
                                       .model_name = sim_fleet_model_name(w, n->model),
                                       .region = n->region,
                                       .model = n->model,
                                       .speed = n->speed};
}

double
sim_world_now_ms(const struct sim_world *w)
{
    return sim_now_ms(w);
}

uint32_t
sim_world_headroom(const struct sim_world *w, uint32_t gateway,
                   struct headroom_view ret_views[CORE_VIEW_MAX])
{
    uint32_t next;

    return core_view_headroom(w->gateways[gateway].core, 0, 0, ret_views, &next);
}

void
sim_world_truth(struct sim_world *w, uint32_t gateway, uint32_t node, uint16_t model,
                struct predict_node *ret_node)
{
    const struct sim_node *n = &w->nodes[node];
    const struct engine_speed *s = &w->classes[n->class].speed[model];
    struct engine_truth t;
    double slower = n->slow / n->speed;

    engine_truth(n->engine, sim_now_ms(w), sim_engine_model(n, model), &t);
    *ret_node = (struct predict_node){
        .curve = {(float)s->a_ms, (float)s->b_ms, (float)s->c_ms, (float)s->t0_ms, (float)s->tk_ms,
                  (float)s->tb_ms},
        .queue_tokens = (float)t.queue_tokens,
        .running = (float)t.running,
        .waiting = (float)t.waiting,
        .slots = 256.0f,
        .kv_tokens_used = (float)t.kv_tokens_used,
        .kv_tokens_cap = (float)t.kv_tokens_cap,
        .output_tokens_mean = (float)w->output_mean,
        .residual = (float)slower,
        .residual_step = (float)slower,
        .iteration_left_ms = (float)(t.iteration_left_ms / slower),
        .ready_in_ms =
            n->down > 0 || w->net.cut[w->gateways[gateway].region][n->region] ? SIM_NEVER_MS : 0.0f,
        .path = {.rtt_ms = (float)w->net.rtt_ms[w->gateways[gateway].region][n->region],
                 .bytes_per_ms = (float)w->net.bytes_per_ms},
    };
}

void
sim_world_coming(const struct sim_world *w, uint32_t node, struct sim_coming *ret_coming)
{
    *ret_coming = w->nodes[node].coming;
}

void
sim_world_request(struct sim_world *w, uint64_t id, uint32_t node,
                  struct predict_request *ret_request)
{
    const struct sim_request *r = &w->requests[id & (SIM_REQUESTS_MAX - 1)];
    struct engine_request request = {.model = sim_engine_model(&w->nodes[node], r->model),
                                     .prompt_tokens = r->prompt_tokens,
                                     .output_tokens = r->output_tokens};

    request.block_count = sim_load_blocks(w, r);
    request.blocks = w->blocks;
    *ret_request = (struct predict_request){
        .prompt_tokens = (float)r->prompt_tokens,
        .hit_tokens = (float)engine_cached_tokens(w->nodes[node].engine, &request),
        .output_tokens = (float)r->output_tokens,
        .body_bytes = (float)r->prompt_bytes,
        .rounds = sim_gateway_rounds(w, r->gateway, node),
    };
}

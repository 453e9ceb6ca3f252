/* sim_poll - how a gateway hears of engines that have no agent: it asks each about once a second,
 * as role/gateway/poll does, on the connections that its requests use, and looks at the models now
 * and then, which is a question more. What it never does here is choose among too many nodes: there
 * are no more than it can ask (SIM_POLL_NODES_MAX).
 *
 * ask -> [SIM_POLL_ASKED] the node answers what is true then -> [SIM_POLL_TOLD] -> a pause -> ask
 */
#include <math.h>
#include <stdlib.h>

#include "sim/sim_state.h"

#define ROUND_MS     20.0 /* questions go out in rounds */
#define MODELS_EVERY 5u   /* reads of the load between two looks at the models */
#define BACK_OFF_MAX 3u   /* 2^n pauses after failures */
#define ANSWER_MS    5000.0

enum err
sim_poll_open(struct sim_world *w, uint32_t gateway)
{
    struct sim_gateway *g = &w->gateways[gateway];

    g->polls = calloc(w->options.nodes, sizeof(*g->polls));
    if (g->polls == NULL)
        return ERR_MEMORY;
    g->round_ms = ROUND_MS * rng_unit(&w->rng);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        g->polls[i] = (struct sim_poll){.report = SIM_NONE, .wants_models = true};
        sim_put(w, g->round_ms, SIM_POLL, gateway, i);
    }
    return ERR_OK;
}

/* In the first round after a pause. */
static void
ask_later(struct sim_world *w, uint32_t gateway, uint32_t node, double pause_ms)
{
    double first_ms = w->gateways[gateway].round_ms, due_ms = sim_now_ms(w) + pause_ms;
    double rounds = ceil((due_ms - first_ms) / ROUND_MS);

    sim_put(w, first_ms + rounds * ROUND_MS - sim_now_ms(w), SIM_POLL, gateway, node);
}

static void
tell_probe(struct sim_world *w, struct sim_gateway *g, uint32_t node, enum failure failure)
{
    w->event.kind = EVENT_PROBE;
    w->event.probe = (struct event_probe){.node = node, .failure = (uint32_t)failure};
    sim_gateway_tell(w, g);
}

void
sim_poll_ask(struct sim_world *w, uint32_t gateway, uint32_t node)
{
    struct sim_gateway *g = &w->gateways[gateway];
    struct sim_poll *p = &g->polls[node];
    uint32_t from = g->region, to = w->nodes[node].region;

    p->fresh = !sim_pool_take(&g->pools[node], w->now_ns);
    p->sent_ns = w->now_ns;
    p->is_lost = w->net.cut[from][to] > 0;
    if (p->is_lost)
        sim_put(w, p->fresh ? SIM_CONNECT_LIMIT_MS : ANSWER_MS, SIM_POLL_TOLD, gateway, node);
    else
        sim_put(w,
                sim_net_one_way_ms(&w->net, &w->net_rng, from, to) +
                    sim_net_body_ms(&w->net, from, to, 0.0, p->fresh),
                SIM_POLL_ASKED, gateway, node);
}

void
sim_poll_asked(struct sim_world *w, uint32_t gateway, uint32_t node)
{
    struct sim_gateway *g = &w->gateways[gateway];
    struct sim_poll *p = &g->polls[node];
    const struct sim_node *n = &w->nodes[node];
    double back_ms = sim_net_one_way_ms(&w->net, &w->net_rng, n->region, g->region);

    p->is_lost = n->down > 0 || n->mute > 0 || w->net.cut[n->region][g->region] > 0;
    if (p->is_lost && n->down == 0)
        back_ms = ANSWER_MS;
    else if (!p->is_lost && !p->wants_models)
        p->report = sim_node_report(w, node, 1);
    sim_put(w, back_ms, SIM_POLL_TOLD, gateway, node);
}

static void
failed(struct sim_world *w, uint32_t gateway, uint32_t node)
{
    struct sim_gateway *g = &w->gateways[gateway];
    struct sim_poll *p = &g->polls[node];
    double pause_ms;

    if (p->failures < BACK_OFF_MAX)
        p->failures++;
    pause_ms = w->options.poll_every_ms * (double)(1u << p->failures);
    p->wants_models = true;
    tell_probe(w, g, node, w->nodes[node].down > 0 ? FAILURE_CONNECT : FAILURE_FIRST_BYTE);
    ask_later(w, gateway, node, pause_ms * (0.5 + rng_unit(&w->rng)));
}

void
sim_poll_told(struct sim_world *w, uint32_t gateway, uint32_t node)
{
    struct sim_gateway *g = &w->gateways[gateway];
    struct sim_poll *p = &g->polls[node];
    double took_ms = (double)(w->now_ns - p->sent_ns) * 1e-6;

    if (p->is_lost) {
        failed(w, gateway, node);
        return;
    }
    sim_pool_give(&g->pools[node], w->now_ns);
    if (p->wants_models) { /* then the load, in its turn */
        p->wants_models = false;
        p->loads = 0;
        ask_later(w, gateway, node, 0.0);
    } else {
        w->reports[p->report].age_ms = (float)(took_ms / 2.0);
        sim_gateway_news(w, gateway, &w->reports[p->report]);
        sim_report_free(w, p->report);
        p->report = SIM_NONE;
        p->failures = 0;
        p->wants_models = ++p->loads >= MODELS_EVERY;
        ask_later(w, gateway, node, w->options.poll_every_ms);
    }
    tell_probe(w, g, node, FAILURE_NONE);
    if (p->fresh)
        return;
    w->event.kind = EVENT_RTT;
    w->event.rtt = (struct event_rtt){.node = node, .rtt_ms = (float)took_ms};
    sim_gateway_tell(w, g);
}

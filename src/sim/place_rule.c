/* place_rule - where models are at first, and what others do with requests and models.
 *
 * lru: each region keeps what it asks for. A model that is not in its memory is loaded there, in
 * place of what nobody asked for longest, while the request goes to the best copy elsewhere, if
 * there is one. serverlessllm (Fu et al., OSDI'24; its storage-aware
 * scheduler): an instance takes up to a target of requests at once; beyond it another one starts
 * where startup is fastest, by the queue of loads and the tier, wherever that is; instances stay
 * until their memory is needed. Its live migration is left out. Both see the true state of all
 * nodes at once, which no real one does, and pay the way there. */
#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim/place_state.h"

/* ---- Where models are at first. */

/* A node of the region with room for the model, the emptiest; PLACE_NONE. */
static uint32_t
room_in(struct place_world *w, uint32_t region, uint32_t model)
{
    uint32_t best = PLACE_NONE;

    for (uint32_t n = region; n < w->options.nodes; n += w->options.regions) {
        if (!place_node_has_room(w, n, model) || place_node_copy(w, n, model) != NULL)
            continue;
        if (best == PLACE_NONE || w->nodes[n].copy_count < w->nodes[best].copy_count)
            best = n;
    }
    return best;
}

/* Each model once, where it is asked for most; the rest of a region's memory by its demand for each
 * copy (D'Hondt's rule: the load of copies is as even as may be). */
static void
begin_static(struct place_world *w)
{
    const struct place_options *o = &w->options;
    uint32_t *copies = calloc((size_t)o->models * o->regions, sizeof(*copies));

    must(copies != NULL);
    for (uint32_t m = 0; m < o->models; m++) {
        const float *counts = w->counts + (size_t)m * o->regions;
        uint32_t best = PLACE_NONE, node = PLACE_NONE;
        for (uint32_t r = 0; r < o->regions; r++) {
            uint32_t at = room_in(w, r, m);
            if (at != PLACE_NONE && (best == PLACE_NONE || counts[r] > counts[best])) {
                best = r;
                node = at;
            }
        }
        if (node == PLACE_NONE)
            break;
        place_node_hold(w, node, m);
        copies[(size_t)m * o->regions + best]++;
    }
    for (uint32_t r = 0; r < o->regions; r++) {
        for (;;) {
            uint32_t best = PLACE_NONE, node;
            double most = 0.0;
            for (uint32_t m = 0; m < o->models; m++) {
                size_t i = (size_t)m * o->regions + r;
                double each = (double)w->counts[i] / (copies[i] + 1.0);
                if (each > most && room_in(w, r, m) != PLACE_NONE) {
                    most = each;
                    best = m;
                }
            }
            if (best == PLACE_NONE || (node = room_in(w, r, best)) == PLACE_NONE)
                break;
            place_node_hold(w, node, best);
            copies[(size_t)best * o->regions + r]++;
        }
    }
    free(copies);
}

/* Each model once, anywhere; the rest is drawn. */
static void
begin_anyhow(struct place_world *w)
{
    const struct place_options *o = &w->options;

    for (uint32_t i = 0; i < o->nodes * o->held; i++) {
        uint32_t model = i < o->models ? i : (uint32_t)rng_below(&w->rng, o->models);
        uint32_t node = room_in(w, (uint32_t)rng_below(&w->rng, o->regions), model);
        if (node != PLACE_NONE)
            place_node_hold(w, node, model);
    }
}

/* As full as memory is, other models from node to node, and the rest on disk. */
static void
begin_dealt(struct place_world *w)
{
    const struct place_options *o = &w->options;

    for (uint32_t n = 0; n < o->nodes; n++) {
        for (uint32_t i = 0; i < o->models; i++) {
            uint32_t model = (n * o->models / o->nodes + i) % o->models;
            if (place_node_has_room(w, n, model))
                place_node_hold(w, n, model);
            else
                place_node_store(w, n, model);
        }
    }
}

void
place_rule_begin(struct place_world *w)
{
    if (w->options.is_dealt)
        begin_dealt(w);
    else if (w->options.policy == PLACE_STATIC)
        begin_static(w);
    else
        begin_anyhow(w);
}

/* ---- What others do. */

/* The copy of the model that a request would start soonest at, by what is known of queues. */
struct chance {
    uint32_t node;
    double ms;
};

static void
chance_take(struct chance *best, uint32_t node, double ms)
{
    if (ms < best->ms)
        *best = (struct chance){node, ms};
}

/* How long requests stay, roughly. */
static double
stay_ms(const struct place_world *w, uint32_t request)
{
    const struct place_request *r = &w->requests[request];

    return place_scale(w, r->model) *
           (w->speed.a_ms + w->speed.b_ms * r->prompt_tokens + w->speed.t0_ms * r->output_tokens);
}

/* Until the copy could take it: now, when another one ends, or when it is loaded. */
static double
copy_wait_ms(const struct place_world *w, uint32_t request, uint32_t node,
             const struct place_copy *c)
{
    double wait_ms = 0.0, over = (double)c->running - w->nodes[node].slots + 1.0;

    if (c->state == COPY_WAITING || c->state == COPY_LOADING)
        wait_ms = c->ready_ns > w->now_ns ? (double)(c->ready_ns - w->now_ns) * 1e-6 : 0.0;
    if (over > 0.0)
        wait_ms += over / w->nodes[node].slots * stay_ms(w, request);
    return wait_ms;
}

/* The queue of loads there, and its own. */
static double
startup_ms(struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_node *n = &w->nodes[node];
    double ms = place_node_load_ms(w, node, model);
    bool has_idle = place_node_has_room(w, node, model);

    for (uint32_t i = 0; i < n->copy_count; i++) {
        const struct place_copy *c = &n->copies[i];
        if (c->state == COPY_WAITING)
            ms += place_node_load_ms(w, node, c->model);
        if (c->state == COPY_LOADING && c->ready_ns > w->now_ns)
            ms += (double)(c->ready_ns - w->now_ns) * 1e-6;
        has_idle = has_idle || (c->state == COPY_READY && c->running == 0);
    }
    return has_idle ? ms : INFINITY;
}

static void
arrive_serverlessllm(struct place_world *w, uint32_t request)
{
    const struct place_request *r = &w->requests[request];
    struct chance best = {PLACE_NONE, INFINITY};

    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct place_copy *c = place_node_copy(w, n, r->model);
        double way_ms = w->rtt_ms[r->region][w->nodes[n].region];
        if (c != NULL)
            chance_take(&best, n, way_ms + copy_wait_ms(w, request, n, c));
        else if (way_ms < best.ms)
            chance_take(&best, n, way_ms + startup_ms(w, n, r->model));
    }
    if (best.node == PLACE_NONE)
        place_gateway_failed(w, request);
    else
        place_send(w, request, best.node);
}

/* When the model that would go was asked for last; where loads wait, later than that. */
static uint64_t
goes_ns(const struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_node *n = &w->nodes[node];
    uint64_t oldest = UINT64_MAX;

    if (place_node_has_room(w, node, model))
        return 0;
    for (uint32_t i = 0; i < n->copy_count; i++) {
        const struct place_copy *c = &n->copies[i];
        if (c->state == COPY_READY && c->running == 0 && c->used_ns < oldest)
            oldest = c->used_ns;
    }
    for (uint32_t i = 0; i < n->copy_count; i++) {
        if (n->copies[i].state == COPY_LOADING || n->copies[i].state == COPY_WAITING)
            return w->now_ns + n->copies[i].ready_ns; /* behind all that load nothing */
    }
    return oldest;
}

static void
arrive_lru(struct place_world *w, uint32_t request)
{
    const struct place_request *r = &w->requests[request];
    struct chance best = {PLACE_NONE, INFINITY};
    uint64_t oldest_ns = UINT64_MAX;
    uint32_t oldest = PLACE_NONE;
    bool is_here = false;

    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct place_copy *c = place_node_copy(w, n, r->model);
        bool is_own = w->nodes[n].region == r->region;
        if (c != NULL)
            chance_take(&best, n,
                        w->rtt_ms[r->region][w->nodes[n].region] + copy_wait_ms(w, request, n, c));
        is_here = is_here || (is_own && c != NULL);
        if (is_own && goes_ns(w, n, r->model) < oldest_ns) {
            oldest_ns = goes_ns(w, n, r->model);
            oldest = n;
        }
    }
    if (best.node == PLACE_NONE && oldest == PLACE_NONE) {
        place_gateway_failed(w, request);
        return;
    }
    place_send(w, request, best.node != PLACE_NONE ? best.node : oldest);
    if (!is_here && oldest != PLACE_NONE)
        (void)place_node_load(w, oldest, r->model, false); /* full: the next request tries again */
}

void
place_rule_arrive(struct place_world *w, uint32_t request)
{
    switch (w->options.policy) {
    case PLACE_LRU:
        arrive_lru(w, request);
        break;
    case PLACE_SERVERLESSLLM:
        arrive_serverlessllm(w, request);
        break;
    default:
        place_gateway_arrive(w, request);
        break;
    }
}

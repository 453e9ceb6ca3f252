/* place_bound - what knowing the future is good for: bounds on what any policy could do.
 *
 * Belady's is of loads, for regions that answer all of their requests themselves: of what is in
 * memory, the model that is asked for latest goes. Who may send requests elsewhere needs fewer
 * loads, so it bounds the traffic of such caches and says little of a plan.
 *
 * The pool's is of cost, in the plan's own currency, for nodes that serve each other: the way to
 * another region for each request that has no copy at home, and for each load what it takes from
 * disk. It knows every request, begins with what the run had in memory when the warm-up ended,
 * finds every model ready and idle in the nearest other region, never needs a second copy, and is
 * freed of the limit of memory at each moment: a MiB has a rent instead, the one at which the bound
 * is highest (Lagrange: whatever the rent, who keeps to the memory pays no more rent than all of it
 * costs, so no policy's cost is less than the best cost with rent, less that). */
#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim/place_state.h"

/* ---- Belady: of those in memory, the one that is asked for latest goes. */

struct region_cache {
    uint32_t *next;   /* [models]: request that asks for it next; only of those in memory */
    uint32_t *models; /* in memory */
    uint32_t count, room;
};

/* Loads of one region that answers all of its requests itself. nexts: by request, the next one of
 * its model and region. */
static uint64_t
belady_region(const struct place_world *w, uint32_t region, uint32_t room, const uint32_t *nexts,
              struct region_cache *c)
{
    uint64_t loads = 0;

    for (uint32_t m = 0; m < w->options.models; m++)
        c->next[m] = 0; /* 0: not in memory; else its next request + 1 */
    c->count = 0;
    c->room = room;
    for (uint32_t i = 0; i < w->request_count; i++) {
        const struct place_request *r = &w->requests[i];
        uint32_t at;
        if (r->region != region)
            continue;
        if (c->next[r->model] == 0) {
            loads += r->at_ns >= w->warm_ns;
            at = c->count;
            if (c->count == c->room) {
                at = 0;
                for (uint32_t k = 1; k < c->count; k++)
                    at = c->next[c->models[k]] > c->next[c->models[at]] ? k : at;
                c->next[c->models[at]] = 0;
            } else {
                c->count++;
            }
            c->models[at] = r->model;
        }
        c->next[r->model] = nexts[i]; /* never again: UINT32_MAX */
    }
    return loads;
}

void
place_bound_belady(struct place_world *w)
{
    const struct place_options *o = &w->options;
    uint32_t *nexts = malloc((w->request_count + 1) * sizeof(*nexts));
    uint32_t *last = malloc((size_t)o->models * o->regions * sizeof(*last));
    uint32_t rooms[PLACE_REGIONS_MAX] = {0};
    struct region_cache c = {.next = calloc(o->models, sizeof(uint32_t)),
                             .models = calloc(o->models, sizeof(uint32_t))};

    must(nexts != NULL && last != NULL && c.next != NULL && c.models != NULL);
    for (size_t i = 0; i < (size_t)o->models * o->regions; i++)
        last[i] = UINT32_MAX;
    for (uint32_t i = w->request_count; i > 0; i--) {
        const struct place_request *r = &w->requests[i - 1];
        uint32_t *l = &last[(size_t)r->model * o->regions + r->region];
        nexts[i - 1] = *l;
        *l = i; /* its index + 1 */
    }
    for (uint32_t n = 0; n < o->nodes; n++)
        rooms[w->nodes[n].region] += o->held;
    for (uint32_t r = 0; r < o->regions; r++) {
        uint32_t room = rooms[r] < o->models ? rooms[r] : o->models;
        if (room > 0)
            w->stats.loads_belady += belady_region(w, r, room, nexts, &c);
    }
    free(nexts);
    free(last);
    free(c.next);
    free(c.models);
}

/* ---- The pool. */

#define SEARCH_STEPS 48u /* of the rent */

struct pool_region {
    uint32_t region;
    const double *at_ms;   /* requests that count, by model, each in the order of time */
    const uint32_t *first; /* [models + 1]: where each model's begin */
    double way_ms;         /* to the nearest other region, and back */
    double room_mib, from_ms, until_ms;
};

struct pool_cost {
    double ms, mib_ms; /* way and loads; rent apart: what is held, for how long */
    uint64_t loads;
};

/* The least for one model in one region: kept through a gap for its rent, or not. */
static struct pool_cost
pool_model(const struct place_world *w, const struct pool_region *p, uint32_t model, double rent)
{
    double mib = w->weights_mib[model], at_ms = p->from_ms;
    double load_ms = w->options.start_ms + 1000.0 * mib / w->options.disk_mib_s;
    struct pool_cost with = {0}, without = {0};

    if (!w->held_at_warm[(size_t)model * w->options.regions + p->region])
        with = (struct pool_cost){.ms = load_ms, .loads = 1};
    for (uint32_t i = p->first[model]; i < p->first[model + 1]; i++) {
        with.mib_ms += mib * (p->at_ms[i] - at_ms);
        at_ms = p->at_ms[i];
        if (without.ms + rent * without.mib_ms + load_ms < with.ms + rent * with.mib_ms) {
            with = without;
            with.ms += load_ms;
            with.loads++;
        }
        without.ms += p->way_ms;
        if (with.ms + rent * with.mib_ms < without.ms + rent * without.mib_ms)
            without = with; /* it goes when it has answered */
    }
    return without;
}

/* ret: all models of the region, at this rent. Returns the bound that it gives. */
static double
pool_at(const struct place_world *w, const struct pool_region *p, double rent,
        struct pool_cost *ret_cost)
{
    *ret_cost = (struct pool_cost){0};
    for (uint32_t m = 0; m < w->options.models; m++) {
        struct pool_cost c = pool_model(w, p, m, rent);
        ret_cost->ms += c.ms;
        ret_cost->mib_ms += c.mib_ms;
        ret_cost->loads += c.loads;
    }
    return ret_cost->ms + rent * (ret_cost->mib_ms - p->room_mib * (p->until_ms - p->from_ms));
}

/* The bound is concave in the rent: it rises as long as more is held than there is room for. */
static void
pool_region_add(struct place_world *w, const struct pool_region *p)
{
    double low = 0.0, high = 1.0, best;
    struct pool_cost cost;

    best = pool_at(w, p, 0.0, &cost);
    for (uint32_t i = 0; i < SEARCH_STEPS; i++) {
        double rent = 0.5 * (low + high), bound = pool_at(w, p, rent, &cost);
        best = fmax(best, bound);
        if (cost.mib_ms > p->room_mib * (p->until_ms - p->from_ms))
            low = rent;
        else
            high = rent;
    }
    w->stats.pool.least_ms += best;
    w->stats.pool.loads += cost.loads;
}

/* What ours cost, by the same rules. */
static void
pool_ours(struct place_world *w)
{
    const struct place_options *o = &w->options;
    double sum_ms = 0.0;

    for (uint32_t i = 0; i < w->request_count; i++) {
        const struct place_request *r = &w->requests[i];
        if (r->at_ns >= w->warm_ns && r->node != PLACE_NONE)
            sum_ms += w->rtt_ms[r->region][w->nodes[r->node].region] -
                      w->rtt_ms[r->region][r->region];
    }
    w->stats.pool.cost_ms = sum_ms + w->loads_mib * 1000.0 / o->disk_mib_s +
                            (double)w->stats.loads * o->start_ms;
}

void
place_bound_begin(struct place_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        const struct place_node *node = &w->nodes[n];
        for (uint32_t i = 0; i < node->copy_count; i++)
            w->held_at_warm[(size_t)node->copies[i].model * w->options.regions + node->region] |=
                node->copies[i].state != COPY_WAITING;
    }
}

void
place_bound_pool(struct place_world *w)
{
    const struct place_options *o = &w->options;
    double *at_ms = malloc((w->request_count + 1) * sizeof(*at_ms));
    uint32_t *first = malloc((o->models + 2) * sizeof(*first));

    must(at_ms != NULL && first != NULL);
    for (uint32_t region = 0; region < o->regions; region++) {
        struct pool_region p = {region, at_ms, first, INFINITY, 0.0, o->warmup_ms, o->duration_ms};

        for (uint32_t m = 0; m < o->models + 2; m++)
            first[m] = 0;
        for (uint32_t i = 0; i < w->request_count; i++) {
            const struct place_request *r = &w->requests[i];
            first[r->model + 2] += r->region == region && r->at_ns >= w->warm_ns;
        }
        for (uint32_t m = 2; m < o->models + 2; m++)
            first[m] += first[m - 1];
        for (uint32_t i = 0; i < w->request_count; i++) { /* first[m + 1] goes on to its end */
            const struct place_request *r = &w->requests[i];
            if (r->region == region && r->at_ns >= w->warm_ns)
                at_ms[first[r->model + 1]++] = (double)r->at_ns * 1e-6;
        }
        for (uint32_t q = 0; q < o->regions; q++) {
            if (q != region)
                p.way_ms = fmin(p.way_ms, w->rtt_ms[region][q] - w->rtt_ms[region][region]);
        }
        for (uint32_t n = 0; n < o->nodes; n++)
            p.room_mib += w->nodes[n].region == region ? o->held * o->weights_mib : 0.0;
        pool_region_add(w, &p);
    }
    pool_ours(w);
    free(at_ms);
    free(first);
}

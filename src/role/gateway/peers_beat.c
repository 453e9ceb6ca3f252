/* peers_beat - once a second: who is still there, and what all of them want, into the core; see
 * peers.h. On the first lane. */
#include <math.h>
#include <stdio.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/members.h"
#include "role/gateway/peers_state.h"

#define TELL_AGAIN_NS 20000000000u /* the core lets what it was told fade, a little by then */
#define TELL_PART     0.02f        /* a change that is worth telling */
#define TELL_MUCH_NS  60000000000u /* of who says more than it may, in the log */

static struct loop *
loop_of(const struct peers *p)
{
    return p->gateway->lanes[0].loop;
}

/* ---- Into the core. */

static void
tell(struct peers *p, const struct event *event)
{
    struct actions actions;

    recorder_wait_room(p->gateway->recorder);
    decide_step(p->gateway->door, event, &actions);
    must(actions.count == 0); /* it is news, and nothing waits for it */
}

static struct peers_cell *
cell_of(struct peers *p, uint32_t model, uint32_t region)
{
    return &p->cells[(size_t)model * CORE_REGIONS_MAX + region];
}

/* The index of a region; CORE_REGIONS_MAX: no node is there, and no gateway like us. */
static uint32_t
region_of(const struct roster *roster, struct span name)
{
    for (uint32_t i = 0; i < roster->regions.count; i++) {
        if (span_eq(roster->regions.list[i], name))
            return i;
    }
    return CORE_REGIONS_MAX;
}

static void
add(struct demand_rates *sum, const struct demand_rates *r, float part)
{
    sum->requests_s += part * r->requests_s;
    sum->prompt_tok_s += part * r->prompt_tok_s;
    sum->output_tok_s += part * r->output_tok_s;
    sum->usual_requests_s += part * r->usual_requests_s;
    sum->ahead_requests_s += part * r->ahead_requests_s;
}

/* What it says of requests: the most of now, of what is usual, and of what is ahead. */
static float
said_requests_s(const struct peer *peer)
{
    float sum = 0.0f;

    for (uint32_t k = 0; k < peer->row_count; k++) {
        const struct demand_rates *r = &peer->rows[k].rates;
        sum += fmaxf(r->requests_s, fmaxf(r->usual_requests_s, r->ahead_requests_s));
    }
    return sum;
}

/* Nobody can check what another gateway says of its clients, and models are loaded for it, others
 * give way: so it counts for as much as a gateway like us could be asked for, or as much as the
 * configuration allows. What it says of its models keeps its proportions. */
static void
bound(struct peers *p, struct peer *peer, const struct config *config, uint64_t now_ns)
{
    const struct config_gateway *named = peers_named(config, span_of(peer->name));
    float said = said_requests_s(peer), most = PEERS_REQUESTS_FACTOR * p->own_requests_s;

    most = named != NULL && named->requests_s_max > 0 ? (float)named->requests_s_max
                                                      : fmaxf(PEERS_REQUESTS_S, most);
    peer->counted_part = said > most ? most / said : 1.0f;
    if (said <= most || (p->told_much_ns != 0 && now_ns - p->told_much_ns < TELL_MUCH_NS))
        return;
    p->told_much_ns = now_ns;
    log_warn("gateway %s: says that it is asked for %.4g requests a second: %.4g of it count "
             "(`gateways[].requests_per_second_max` can say how many may)",
             peer->name, (double)said, (double)most);
}

/* Of a request so many tokens are to be believed. */
static struct demand_rates
plausible(struct demand_rates r)
{
    float requests_s = fmaxf(r.requests_s, r.usual_requests_s);

    r.prompt_tok_s = fminf(r.prompt_tok_s, PEERS_PROMPT_TOKENS * requests_s);
    r.output_tok_s = fminf(r.output_tok_s, PEERS_OUTPUT_TOKENS * requests_s);
    return r;
}

static void
sum_up(struct peers *p, const struct fleet *fleet, uint64_t now_ns)
{
    for (uint32_t i = 0; i < fleet->model_count * CORE_REGIONS_MAX; i++)
        p->cells[i].sum = (struct demand_rates){.requests_s = 0.0f};
    for (uint32_t i = 0; i < p->count; i++) {
        struct peer *peer = p->list[i];
        uint32_t region = region_of(fleet->roster, span_of(peer->region));

        bound(p, peer, &roster_base(fleet->roster)->config, now_ns);
        for (uint32_t k = 0; k < peer->row_count && region < CORE_REGIONS_MAX; k++) {
            const struct peer_row *row = &peer->rows[k];
            const struct demand_rates rates = plausible(row->rates);
            if (row->model < fleet->model_count)
                add(&cell_of(p, row->model, region)->sum, &rates,
                    peer->counted_part * peers_part(p->clock_ns - row->heard_ns));
        }
    }
}

static bool
differs(float a, float b)
{
    return fabsf(a - b) > TELL_PART * fmaxf(a, b);
}

static bool
is_news(const struct peers_cell *c, uint64_t now_ns)
{
    const struct demand_rates *a = &c->sum, *b = &c->told;

    if (a->usual_requests_s + a->requests_s > 0.0f && now_ns - c->told_ns > TELL_AGAIN_NS)
        return true;
    return differs(a->requests_s, b->requests_s) || differs(a->prompt_tok_s, b->prompt_tok_s) ||
           differs(a->output_tok_s, b->output_tok_s) ||
           differs(a->usual_requests_s, b->usual_requests_s) ||
           differs(a->ahead_requests_s, b->ahead_requests_s);
}

static void
tell_cell(struct peers *p, uint32_t model, uint32_t region, uint64_t now_ns)
{
    struct peers_cell *c = cell_of(p, model, region);
    struct event event = {.kind = EVENT_DEMAND};

    if (!is_news(c, now_ns))
        return;
    event.demand = (struct event_demand){
        .model = (uint16_t)model,
        .region = (uint16_t)region,
        .requests_s = c->sum.requests_s,
        .prompt_tok_s = c->sum.prompt_tok_s,
        .output_tok_s = c->sum.output_tok_s,
        .usual_requests_s = c->sum.usual_requests_s,
        .ahead_requests_s = c->sum.ahead_requests_s,
    };
    c->told = c->sum;
    c->told_ns = now_ns;
    tell(p, &event);
}

/* What changed of what others want. */
static void
tell_demand(struct peers *p)
{
    struct fleet *fleet = decide_fleet(p->gateway->door);
    uint64_t now_ns = clock_now_ns();
    uint32_t count;

    peers_lock(p);
    count = p->count;
    sum_up(p, fleet, now_ns);
    peers_unlock(p);
    for (uint32_t m = 0; m < fleet->model_count; m++) {
        for (uint32_t r = 0; r < fleet->roster->regions.count; r++)
            tell_cell(p, m, r, now_ns);
    }
    p->has_cells = count > 0;
    fleet_unref(fleet);
}

static void
tell_gateways(struct peers *p)
{
    const struct members_planners planners = members_planners(p->gateway->members);
    const struct event event = {.kind = EVENT_GATEWAYS,
                                .gateways = {peers_count(p), planners.count, planners.place}};
    const struct event_gateways *told = &p->gateways_told;

    if (told->count == event.gateways.count && told->planners == planners.count &&
        told->place == planners.place)
        return;
    p->gateways_told = event.gateways;
    tell(p, &event);
}

/* Time passes for those that are silent only while they could be heard. */
static bool
clock_on(struct peers *p)
{
    uint64_t now_ns = clock_now_ns();
    struct bus_state bus;
    bool is_deaf = p->bus != NULL && (bus_read_state(p->bus, &bus), !bus.connected);

    if (p->beat_ns != 0 && !is_deaf)
        p->clock_ns += now_ns - p->beat_ns;
    p->beat_ns = is_deaf ? 0 : now_ns;
    return !is_deaf;
}

static void
on_beat(struct loop_timer *timer)
{
    struct peers *p = CONTAINER_OF(timer, struct peers, beat_timer);
    const struct fleet *fleet = lane_fleet(&p->gateway->lanes[0]);
    bool can_hear, is_empty;

    peers_lock(p);
    can_hear = clock_on(p);
    peers_sweep(p, &roster_base(fleet->roster)->config);
    is_empty = p->count == 0;
    peers_unlock(p);
    if (can_hear && (p->bus != NULL || !is_empty || p->gateways_told.count > 1))
        tell_gateways(p);
    if (can_hear && (!is_empty || p->has_cells))
        tell_demand(p);
    loop_timer_set(loop_of(p), timer, loop_now_ns(loop_of(p)) + PEERS_BEAT_NS, on_beat);
}

/* ---- Life. */

void
peers_beat_open(struct peers *p)
{
    loop_timer_set(loop_of(p), &p->beat_timer, loop_now_ns(loop_of(p)) + 1, on_beat);
}

void
peers_beat_close(struct peers *p)
{
    loop_timer_stop(&p->beat_timer);
}

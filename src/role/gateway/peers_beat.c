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
#define SAY_LEAST_S   1e-4f        /* requests: less is no demand */
#define ROWS_MAX      (CORE_MODELS_USUAL)

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

static void
sum_up(struct peers *p, const struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->model_count * CORE_REGIONS_MAX; i++)
        p->cells[i].sum = (struct demand_rates){.requests_s = 0.0f};
    for (uint32_t i = 0; i < p->count; i++) {
        const struct peer *peer = p->list[i];
        uint32_t region = region_of(fleet->roster, span_of(peer->region));

        for (uint32_t k = 0; k < peer->row_count && region < CORE_REGIONS_MAX; k++) {
            const struct peer_row *row = &peer->rows[k];
            if (row->model < fleet->model_count)
                add(&cell_of(p, row->model, region)->sum, &row->rates,
                    peers_part(p->clock_ns - row->heard_ns));
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
    sum_up(p, fleet);
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
    const struct event event = {.kind = EVENT_GATEWAYS, .gateways = {peers_count(p)}};

    if (p->alive_told == event.gateways.count)
        return;
    p->alive_told = event.gateways.count;
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
    bool can_hear, is_empty;

    peers_lock(p);
    can_hear = clock_on(p);
    peers_sweep(p);
    is_empty = p->count == 0;
    peers_unlock(p);
    if (can_hear && (p->bus != NULL || !is_empty || p->alive_told > 1))
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

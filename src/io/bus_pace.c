/* bus_pace - waits that double, each with a most of its own; see bus_pace.h. */
#include "io/bus_pace.h"

void
bus_pace_init(struct bus_pace *p)
{
    *p = (struct bus_pace){.ms = BUS_PACE_MS_FIRST};
}

void
bus_pace_let_in(struct bus_pace *p)
{
    p->was_let_in = true;
    p->refusals = 0;
    p->is_told = false;
    p->is_refusal_told = false;
}

void
bus_pace_lasted(struct bus_pace *p)
{
    p->ms = BUS_PACE_MS_FIRST;
}

uint64_t
bus_pace_wait_ns(struct bus_pace *p, enum bus_away why, struct rng *rng)
{
    uint32_t most = why == BUS_AWAY_BUSY ? BUS_PACE_MS_BUSY : BUS_PACE_MS_ABSENT, ms;

    p->refusals = why == BUS_AWAY_REFUSED ? p->refusals + 1 : 0;
    if (why == BUS_AWAY_REFUSED && (!p->was_let_in || p->refusals > BUS_PACE_SOON_MAX)) {
        p->refusals = BUS_PACE_SOON_MAX; /* it does not run over */
        ms = BUS_PACE_MS_REFUSED;
    } else {
        ms = p->ms < most ? p->ms : most;
        p->ms = ms * 2;
    }
    return ms * 500000ull + rng_below(rng, ms * 1000000ull);
}

bool
bus_pace_tell(struct bus_pace *p, enum bus_away why)
{
    bool *told = why == BUS_AWAY_REFUSED ? &p->is_refusal_told : &p->is_told;
    bool is_news = !*told;

    *told = true;
    return is_news;
}

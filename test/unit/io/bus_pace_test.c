/* bus_pace_test - how long a bus waits for its server, in virtual time: nothing here waits. */
#include "io/bus_pace.h"

#include "tap.h"

#define SEEDS      200u
#define TRIES_MAX  64u
#define AWAY_NS    20000000000u /* a server is gone for so long */
#define MS         1000000u
#define ROW_TRIES  12u
#define FLEET      10000u
#define TLS_A_S    1300u /* handshakes a second of a server with four cores */
#define PER_SECOND 1000u

static struct rng rng;

/* One row: waits of these tries in a row, in the middle of what is drawn from. */
static const struct {
    const char *label, *tries; /* a: absent, b: busy, r: refused, +: let in, L: it lasted */
    uint32_t ms[ROW_TRIES];
} rows[] = {
    {"nobody listens there", "aaaaaa", {250, 500, 1000, 2000, 2000, 2000}},
    {"somebody does, in vain", "bbbbbbbb", {250, 500, 1000, 2000, 4000, 8000, 10000, 10000}},
    {"a stranger is refused", "rr", {15000, 15000}},
    {"and its ordinary pace is untouched", "rab", {15000, 250, 500}},
    {"who was let in before is refused", "+rrrrrr", {250, 500, 1000, 2000, 15000, 15000}},
    {"a server is gone, comes back and knows nobody yet",
     "+aaaaarrrrrr",
     {250, 500, 1000, 2000, 2000, 2000, 2000, 2000, 2000, 15000, 15000}},
    {"refusals are in a row", "+rrrarrrrr", {250, 500, 1000, 2000, 2000, 2000, 2000, 2000, 15000}},
    {"let in again", "+rrrrr+r", {250, 500, 1000, 2000, 15000, 2000}},
    {"a connection that ended soon is no new beginning", "aab+b", {250, 500, 1000, 2000}},
    {"one that lasted is", "aab+Lb", {250, 500, 1000, 250}},
};

static enum bus_away
away_of(char c)
{
    return c == 'a' ? BUS_AWAY_ABSENT : c == 'b' ? BUS_AWAY_BUSY : BUS_AWAY_REFUSED;
}

/* All waits are by half more or less than the row says. */
static bool
keeps_row(size_t row)
{
    struct bus_pace p;
    unsigned n = 0;

    bus_pace_init(&p);
    for (const char *c = rows[row].tries; *c != '\0'; c++) {
        uint64_t want_ns = (uint64_t)rows[row].ms[n] * MS, ns;

        if (*c == '+') {
            bus_pace_let_in(&p);
        } else if (*c == 'L') {
            bus_pace_lasted(&p);
        } else {
            ns = bus_pace_wait_ns(&p, away_of(*c), &rng);
            if (ns < want_ns / 2 || ns >= want_ns / 2 + want_ns)
                return false;
            n++;
        }
    }
    return true;
}

/* A server dies and is there again AWAY_NS later. When does a bus ask it, after that? */
static uint64_t
asks_after_ns(uint64_t seed)
{
    struct bus_pace p;
    struct rng own;
    uint64_t now_ns = 0;

    rng_init(&own, seed);
    bus_pace_init(&p);
    bus_pace_let_in(&p);
    bus_pace_lasted(&p);
    now_ns = bus_pace_wait_ns(&p, BUS_AWAY_BUSY, &own); /* the connection ended */
    while (now_ns < AWAY_NS)
        now_ns += bus_pace_wait_ns(&p, BUS_AWAY_ABSENT, &own);
    return now_ns - AWAY_NS;
}

static void
check_return(void)
{
    uint64_t latest_ns = 0, first_half = 0;

    for (uint64_t seed = 0; seed < FLEET; seed++) {
        uint64_t ns = asks_after_ns(seed);

        latest_ns = ns > latest_ns ? ns : latest_ns;
        first_half += ns < BUS_PACE_MS_ABSENT / 2 * (uint64_t)MS;
    }
    CHECK(latest_ns < 3u * BUS_PACE_MS_ABSENT / 2 * (uint64_t)MS,
          "a server that is back is asked within 3 s");
    CHECK(first_half > FLEET / 4 && first_half < 3 * FLEET / 4, "and not by all at once");
}

/* Who finds it too busy: so many of the fleet ask a second when that goes on. */
static void
check_crowd(void)
{
    struct bus_pace p;
    uint64_t sum_ns = 0;

    bus_pace_init(&p);
    for (unsigned i = 0; i < ROW_TRIES; i++)
        (void)bus_pace_wait_ns(&p, BUS_AWAY_BUSY, &rng);
    for (unsigned i = 0; i < SEEDS; i++)
        sum_ns += bus_pace_wait_ns(&p, BUS_AWAY_BUSY, &rng);
    CHECK((uint64_t)FLEET * PER_SECOND / (sum_ns / SEEDS / MS) < TLS_A_S,
          "ten thousand that find it busy are fewer a second than it can let in");
}

static void
check_told(void)
{
    struct bus_pace p;
    unsigned told = 0;

    bus_pace_init(&p);
    CHECK(bus_pace_tell(&p, BUS_AWAY_ABSENT), "that it cannot be reached is told");
    for (unsigned i = 0; i < TRIES_MAX; i++)
        told += bus_pace_tell(&p, i % 2 == 0 ? BUS_AWAY_BUSY : BUS_AWAY_ABSENT);
    CHECK(told == 0, "once, whatever the way it cannot");
    CHECK(bus_pace_tell(&p, BUS_AWAY_REFUSED), "that it refuses us is news");
    for (unsigned i = 0; i < TRIES_MAX; i++)
        told += bus_pace_tell(&p, i % 2 == 0 ? BUS_AWAY_REFUSED : BUS_AWAY_ABSENT);
    CHECK(told == 0, "once, too, where servers of both kinds are asked in turn");
    bus_pace_let_in(&p);
    CHECK(bus_pace_tell(&p, BUS_AWAY_REFUSED) && bus_pace_tell(&p, BUS_AWAY_BUSY),
          "after a connection both are news again");
}

int
main(void)
{
    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned good = 0;

        for (unsigned n = 0; n < SEEDS; n++)
            good += keeps_row(i);
        CHECK(good == SEEDS, rows[i].label);
    }
    check_return();
    check_crowd();
    check_told();
    return tap_done();
}

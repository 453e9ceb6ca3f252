#ifndef IO_BUS_PACE_H
#define IO_BUS_PACE_H
/* bus_pace - when a bus without connection tries again, and whether its reason is to be told.
 *
 * After a loss it waits 0.25 s, then twice as long each time, up to a most that depends on what
 * came of the last try; all by half more or less, so that thousands do not come back at once. A
 * port at which nobody listens costs nobody anything: who waits for a server to come back asks
 * often. With a server that is there and came to nothing thousands may be coming to nothing: it
 * gets time. Refused credentials are mended by people, in minutes; but who was let in with them
 * before may have found a server that is just being set up anew, and asks soon a few times. Reads
 * no clock. One thread. */
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

#define BUS_PACE_MS_FIRST   250u
#define BUS_PACE_MS_ABSENT  2000u /* the most of each */
#define BUS_PACE_MS_BUSY    10000u
#define BUS_PACE_MS_REFUSED 15000u /* from the first on */
#define BUS_PACE_SOON_MAX   4u     /* refusals in a row of who was let in before */

/* What came of the last try, or ended the last connection. */
enum bus_away {
    BUS_AWAY_ABSENT,  /* nobody listens there */
    BUS_AWAY_BUSY,    /* somebody does, and it came to nothing */
    BUS_AWAY_REFUSED, /* who we are, or the server is: that will not be better soon */
};

struct bus_pace {
    uint32_t ms, refusals; /* refusals: in a row */
    bool was_let_in;
    bool is_told, is_refusal_told; /* since the last connection */
};

void bus_pace_init(struct bus_pace *p);
/* The server let us in. */
void bus_pace_let_in(struct bus_pace *p);
/* A connection ended that had lasted: what comes is the first try after a loss. */
void bus_pace_lasted(struct bus_pace *p);
/* How long to wait now. */
uint64_t bus_pace_wait_ns(struct bus_pace *p, enum bus_away why, struct rng *rng);
/* Is this reason to be told? That it is away is once, and that it is refused is once, while there
 * is no connection: of two servers one may refuse and one be gone, and that is no line a try. */
bool bus_pace_tell(struct bus_pace *p, enum bus_away why);
#endif

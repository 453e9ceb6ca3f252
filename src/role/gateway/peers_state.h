#ifndef ROLE_GATEWAY_PEERS_STATE_H
#define ROLE_GATEWAY_PEERS_STATE_H
/* peers_state - what the files of peers share, and nobody else includes:
 *   peers.c       what other gateways say, judged and kept; who is there
 *   peers_beat.c  what follows from it each second
 *   peers_say.c   what we say ourselves */
#include <pthread.h>
#include <stdatomic.h>

#include "base/must.h"
#include "base/rng.h"
#include "core/core.h"
#include "role/gateway/lane.h"
#include "role/gateway/peers.h"
#include "role/poster.h"

struct peer_row { /* what its clients ask of a model */
    uint16_t model;
    uint64_t heard_ns; /* by the clock of peers */
    struct demand_rates rates;
};

struct peer {
    char name[PEERS_NAME_BYTES], region[PEERS_NAME_BYTES];
    struct demand_sender sender;
    uint64_t heard_ns;    /* by the clock of peers */
    uint64_t heard_at_ns; /* monotonic, for people */
    uint64_t messages, refused;
    float counted_part; /* of what it says */
    uint32_t row_count;
    struct peer_row rows[PEERS_MODELS_MAX];
};

struct peers_cell { /* what others want of a model in a region */
    struct demand_rates sum, told;
    uint64_t told_ns; /* monotonic; 0: never */
};

struct peers {
    struct gateway *gateway;
    struct bus *bus;        /* of members; NULL: the configuration has none, or it is closed */
    _Atomic uint32_t alive; /* with us */
    pthread_mutex_t lock;
    /* under it: */
    struct peer *list[PEERS_MAX]; /* [0..count), by name */
    uint32_t count;
    uint64_t clock_ns; /* time in which somebody could be heard: it stands while the bus is down */
    /* What is read of those that have no place in the list, [is_named], and of our own name. */
    struct bucket strangers_read[2];
    struct demand_sender own_name;
    uint64_t verdicts[PEERS_VERDICT_COUNT];
    uint64_t logged_ns[PEERS_VERDICT_COUNT];
    /* of the first lane: */
    struct loop_timer beat_timer, say_timer;
    uint64_t beat_ns;                    /* when the last beat was; 0: the bus was down */
    struct peers_cell *cells;            /* [CORE_MODELS_USUAL][CORE_REGIONS_MAX] */
    bool has_cells;                      /* some were told, and not all of them 0 */
    struct event_gateways gateways_told; /* to the core; count 0: nothing */
    uint64_t epoch, seq;                 /* of what we say */
    float own_requests_s;                /* that we are asked for, of all models */
    uint64_t told_much_ns; /* when somebody was last told of who says more than it may */
    bool is_over;          /* we said that we go */
    struct poster *poster; /* NULL: the configuration names nobody to post to, or we have no key */
    struct roster *posted; /* whose gateways those are */
    struct rng rng;
};

static inline void
peers_lock(struct peers *p)
{
    must(pthread_mutex_lock(&p->lock) == 0);
}

static inline void
peers_unlock(struct peers *p)
{
    must(pthread_mutex_unlock(&p->lock) == 0);
}

/* How much of what was said so long ago counts: all, then less, then nothing. */
static inline float
peers_part(uint64_t age_ns)
{
    if (age_ns <= PEERS_ALIVE_NS)
        return 1.0f;
    if (age_ns >= PEERS_FORGET_NS)
        return 0.0f;
    return (float)(PEERS_FORGET_NS - age_ns) / (float)(PEERS_FORGET_NS - PEERS_ALIVE_NS);
}

/* Under the lock: drop who and what is too old, and whom the configuration gives another key; count
 * who is alive. */
void peers_sweep(struct peers *p, const struct config *config);

void peers_beat_open(struct peers *p);
void peers_beat_close(struct peers *p);
void peers_say_open(struct peers *p);
/* Say that we go, if we said anything on the bus. */
void peers_say_close(struct peers *p);
#endif

#ifndef ROLE_GATEWAY_USAGE_H
#define ROLE_GATEWAY_USAGE_H
/* usage - what each key used, counted by each lane and written once a second by one thread.
 *
 * A lane adds up in a table of its own; when something is in it, a timer hands the table to the
 * writer and another one takes its place. So a request costs a look-up, no lock and no wait, and
 * memory is bounded: what finds no row any more, because the disk takes nothing for so long, is
 * counted as lost. Killed, a gateway loses what it counted in the last second or two. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/span.h"
#include "io/usage_store.h"
#include "io/worker.h"

#define USAGE_ROWS_MAX    4096u       /* keys times models that a lane can hold unwritten */
#define USAGE_WRITE_NS    1000000000u /* from the first count to its writing */
#define USAGE_RETRY_NS    5000000000u
#define USAGE_ASKS_MAX    8u /* questions that a lane has under way */
#define USAGE_HOURS_A_DAY 24u

struct gateway;
struct lane;
struct usage;

/* Of all lanes, which must be open. directory: see usage_store. ERR_MEMORY, ERR_ARG, ERR_IO. */
MUST_USE enum err usage_open(struct gateway *gateway, const char *directory,
                             struct usage **ret_usage);
/* End the writing thread. Counting goes on; NULL: does nothing. */
void usage_stop(struct usage *usage);
/* Write what is left, after the lanes are closed. NULL: does nothing. */
void usage_close(struct usage *usage);

/* On the lane's own thread: this was used with this key ("" without one); model: an index of the
 * fleet, or one that is none. Does nothing where no usage is kept. */
void usage_add(struct lane *lane, struct span key, uint32_t model,
               const struct usage_counts *counts);

/* A question to the store: asked on a lane, answered on the writer's thread, told on the lane. */
struct usage_ask {
    LIST_ENTRY(usage_ask) link; /* private, like the job */
    struct worker_job job;
    struct usage *usage;
    struct lane *lane;
    void (*answer)(struct usage_ask *ask, struct usage_store *store); /* may block */
    void (*tell)(struct usage_ask *ask);                              /* the ask is the caller's */
    void (*drop)(struct usage_ask *ask); /* instead of tell, when the gateway stops before */
};
/* ERR_FULL: USAGE_ASKS_MAX of this lane are under way; none of the functions is called. */
MUST_USE enum err usage_ask(struct usage *usage, struct lane *lane, struct usage_ask *ask);

struct usage_health {
    bool writes;             /* the last writing went well */
    uint64_t failures, lost; /* writings, requests */
};
struct usage_health usage_health(const struct usage *usage);
#endif

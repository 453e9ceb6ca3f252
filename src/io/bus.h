#ifndef IO_BUS_H
#define IO_BUS_H
/* bus - messages between nodes and gateways: one interface over what carries them (bus_nats, a NATS
 * server; in tests bus_local, within one process).
 *
 * What travels is soft state, told again soon, so the bus never waits and never keeps: what cannot
 * be sent now is dropped and counted, a subscriber that is too slow loses its oldest messages, and
 * nothing of a time without connection is sent later. Order holds within a subscription, for
 * messages of one sender. Whoever publishes what he subscribed to hears himself.
 *
 * Subjects are words of letters, digits, '-' and '_' with dots between them; a pattern may have `*`
 * for a word and `>` for all the rest. Messages whose subject is of another form, or whose body is
 * too large, are not delivered. Callbacks run on one thread of the bus, one at a time; a slow one
 * delays the others of this bus, but takes no room from them. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/message.h"

#define BUS_SUBJECT_BYTES_MAX    255u
#define BUS_BODY_BYTES_MAX       MESSAGE_BYTES_MAX
#define BUS_NAME_BYTES_MAX       63u /* of who takes part: config_is_name */
#define BUS_SUBSCRIPTIONS_MAX    16u
#define BUS_PENDING_MESSAGES_MAX 16384u /* of a subscription, waiting for its callback */
#define BUS_PENDING_BYTES_MAX    16777216u
#define BUS_TURN_MESSAGES        32u /* that it is called for in a row, and that wait no more then */
#define BUS_REQUESTS_MAX         64u /* under way */
#define BUS_TIMEOUT_NS_MAX       600000000000u
#define BUS_WORDS_BYTES_MAX      256u

struct bus;

struct bus_message { /* valid during the call */
    struct span subject;
    struct span reply; /* for bus_reply; empty: no answer is expected */
    struct span body;  /* at most BUS_BODY_BYTES_MAX; not looked at by anybody yet */
};
typedef void bus_message_fn(const struct bus_message *message, void *user);

/* What came of a request: ERR_OK, body is the answer; ERR_TIMEOUT; ERR_NOT_FOUND: nobody listens
 * there; ERR_CLOSED: the bus was closed. body: valid during the call. */
typedef void bus_reply_fn(enum err err, struct span body, void *user);

struct bus_state {
    bool connected;
    uint64_t since_ms; /* wall clock: connected since then, or not since then */
    uint64_t connects; /* how often it was connected, so one more than reconnects */
    uint64_t attempts; /* to connect, all together */
    uint64_t published, received;
    uint64_t dropped_out; /* not sent: no connection, or more than it takes */
    uint64_t dropped_in;  /* came, and waited too long for a callback that was too slow */
    uint64_t refused_in;  /* came with a subject or size that nobody may have */
    uint64_t errors;      /* times that `error` was written */
    uint64_t error_ms;    /* wall clock: when */
    char server[BUS_WORDS_BYTES_MAX];  /* which, and its version; "": not known yet */
    char warning[BUS_WORDS_BYTES_MAX]; /* about it; "": none */
    char error[BUS_WORDS_BYTES_MAX];   /* the last, in words, printable; "": none yet */
};

bool bus_is_subject(struct span subject);
bool bus_is_pattern(struct span pattern);
bool bus_matches(struct span pattern, struct span subject);

/* All of these from any thread, callbacks too; none waits for the network. */

/* ERR_ARG: no subject, or too large a body; ERR_AGAIN: dropped and counted. */
MUST_USE enum err bus_publish(struct bus *bus, struct span subject, struct span body);
/* Callbacks may begin before it returns, and end with bus_close. ERR_ARG: no pattern; ERR_FULL. */
MUST_USE enum err bus_subscribe(struct bus *bus, struct span pattern, bus_message_fn *fn,
                                void *user);
/* Publish, and call fn once with what came of it, not later than timeout_ns from now (above 0, at
 * most BUS_TIMEOUT_NS_MAX). Of several answers the first counts. On an error fn is not called:
 * ERR_ARG, ERR_AGAIN as bus_publish; ERR_FULL: too many are under way. */
MUST_USE enum err bus_request(struct bus *bus, struct span subject, struct span body,
                              uint64_t timeout_ns, bus_reply_fn *fn, void *user);
/* Answer a message, now or later. Where answers go was written by others, so only to where requests
 * wait for them: ERR_ARG otherwise; else as bus_publish. */
MUST_USE enum err bus_reply(struct bus *bus, struct span reply, struct span body);
void bus_read_state(struct bus *bus, struct bus_state *ret_state);

/* Send what was published, if that does not take long; end requests with ERR_CLOSED; free. No
 * callback runs any more when it returns. Not from a callback. NULL: does nothing. */
void bus_close(struct bus *bus);
#endif

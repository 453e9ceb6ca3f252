#ifndef IO_BUS_CORE_H
#define IO_BUS_CORE_H
/* bus_core - what all kinds of bus share: subscriptions with their queues, the thread that calls
 * back, requests and their time limits, the state. A kind embeds struct bus as its first member,
 * and brings three functions; what arrives it gives to bus_deliver. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "io/bus.h"

#define BUS_INBOX_BYTES_MAX 128u

struct bus_kind {
    /* Send. subject is valid and ends in a zero; so does reply, "": none. Never waits. ERR_AGAIN:
     * dropped; it is counted by the caller. */
    enum err (*publish)(struct bus *bus, const char *subject, const char *reply, struct span body);
    /* There is one more of bus->subscriptions. */
    void (*subscribed)(struct bus *bus);
    /* Stop: no bus_deliver any more when it returns. */
    void (*stop)(struct bus *bus);
    /* Free all but what bus_fini frees, *bus too. */
    void (*free)(struct bus *bus);
};

STAILQ_HEAD(bus_queue, bus_item);

struct bus_subscription {
    char pattern[BUS_SUBJECT_BYTES_MAX + 1]; /* does not change */
    bus_message_fn *fn;                      /* NULL: answers to our requests */
    void *user;
    struct bus_queue queue;
    uint32_t pending_count, pending_bytes;
};

struct bus_request_slot {
    uint64_t id; /* 0: free */
    uint64_t deadline_ns;
    bus_reply_fn *fn;
    void *user;
};

struct bus {
    const struct bus_kind *kind;
    pthread_t thread; /* calls back */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic bool is_closing; /* set under the lock */
    bool is_waiting;         /* the thread wants a signal */
    bool has_inbox;
    uint64_t last_request;
    char inbox[BUS_INBOX_BYTES_MAX]; /* where answers to us go, up to the request's number */
    struct bus_request_slot requests[BUS_REQUESTS_MAX];
    struct bus_subscription subscriptions[BUS_SUBSCRIPTIONS_MAX];
    _Atomic uint32_t subscription_count; /* those below it do not change */
    struct bus_state state;
};

static inline bool
bus_is_inbox(const struct bus_subscription *s)
{
    return s->fn == NULL;
}

/* name: of who takes part. Nothing runs yet. ERR_ARG; ERR_IO: logged. */
MUST_USE enum err bus_init(struct bus *bus, const struct bus_kind *kind, struct span name);
/* Start the thread that calls back. ERR_IO: logged. */
MUST_USE enum err bus_start(struct bus *bus);
/* End that thread, and all requests with ERR_CLOSED. */
void bus_end(struct bus *bus);
/* Of one that was inited, and not started or ended. */
void bus_fini(struct bus *bus);

/* A message came for bus->subscriptions[index]. nobody: it says that nobody listens where it was
 * sent to. From any thread but under no lock of the kind's that its functions take. */
void bus_deliver(struct bus *bus, uint32_t index, const struct bus_message *message, bool nobody);
/* Those that were delivered may be called for now: once for many, so that the two threads do not
 * fight for the lock at each message. */
void bus_wake(struct bus *bus);
/* One came that nobody may have. */
void bus_refuse(struct bus *bus);

/* The state, from the kind's thread. */
void bus_set_connected(struct bus *bus, bool connected);
void bus_set_server(struct bus *bus, const char *server, const char *warning);
void bus_count_attempt(struct bus *bus);
/* What went wrong, in words; control bytes become '?'. */
void bus_set_error(struct bus *bus, const char *format, ...) PRINTF_LIKE(2, 3);

/* A thread that gets no signals: those are for the program's own. ERR_IO: logged. */
MUST_USE enum err bus_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg);
#endif

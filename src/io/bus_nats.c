/* bus_nats - one thread that connects, reads, writes and comes back; see bus_nats.h.
 *
 * libnats is given this thread as its event loop, so that publishing only appends to a buffer (its
 * other way writes to the socket under a lock that publishers wait for), and messages come to our
 * queues without its own threads between; only answers to requests go through a thread of libnats,
 * for it says that nobody listens only there. After each turn the thread naps, longer when there is
 * much to do: what comes meanwhile is read and written at once, which costs a tenth of doing it one
 * by one (doc/decisions/bus.md).
 *
 * States: away (nc NULL: publishing drops), connecting (the thread blocks in it, for seconds),
 * connected. nc changes under `link`; publishers hold that lock for an append, nobody holds it for
 * longer but bus_close. libnats calls us back under a lock of its own, so those callbacks touch
 * atomics only. */
#include "io/bus_nats.h"

#include <errno.h>
#include <nats/nats.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "base/rng.h"
#include "io/bus_core.h"
#include "io/bus_nats_connect.h"
#include "io/bus_nats_guard.h"
#include "io/bus_pace.h"
#include "io/clock.h"
#include "io/log.h"

#define NAP_NS        1000000
#define NAP_MUCH_NS   5000000
#define MUCH_MESSAGES 4u /* in a turn */
#define TAKEN_MAX     1024u
#define TAKEN_BYTES   1048576u
#define READS_MAX     256u
#define READ_BYTES    16384        /* more to read than this does not wait for a nap */
#define STEADY_NS     10000000000u /* a connection that lasted so long was a good one */
#define COMPLAINT_NS  10000000000u
#define TOO_LARGE     "%zu bytes are more than the server takes: its max_payload is too small"
#define FLUSH_MS      300 /* at the end */

struct nats_bus {
    struct bus bus; /* first */
    struct bus_nats_plan plan;
    struct rng rng;
    struct bus_pace pace;
    pthread_t thread;
    int wake_fd;
    int socket;                     /* of nc; libnats closes it */
    int waiting_max;                /* bytes that may wait there over a nap */
    _Atomic uint32_t turn_messages; /* read and published since the last nap */
    _Atomic bool is_closing, is_woken, wants_write, is_attached, has_inbox;
    uint32_t inbox;       /* which subscription is */
    pthread_mutex_t link; /* for: */
    natsConnection *nc;
    natsSubscription *subscriptions[BUS_SUBSCRIPTIONS_MAX];
    uint32_t subscribed_count;
    /* Delivered, and to be freed together: libnats frees on a thread, and waking that costs more
     * than all else about a few messages. */
    natsMsg *taken[TAKEN_MAX];
    size_t taken_count, taken_bytes; /* bytes: of their bodies */
    char told[BUS_WORDS_BYTES_MAX];  /* the server's last complaint on this connection */
    uint64_t complained_ns;          /* when one was logged; 0: none yet */
    uint64_t too_large_ns;           /* under link: when it was logged that one was; 0: not yet */
};

static struct nats_bus *
nats_of(struct bus *bus)
{
    return CONTAINER_OF(bus, struct nats_bus, bus);
}

static void
wake(struct nats_bus *b)
{
    const uint64_t one = 1;

    if (!atomic_exchange(&b->is_woken, true))
        must(write(b->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void
wake_clear(struct nats_bus *b)
{
    uint64_t count;

    (void)!read(b->wake_fd, &count, sizeof(count));
    atomic_store(&b->is_woken, false);
}

/* --- what libnats calls: attach within bus_nats_connect, the others from any thread --- */

static natsStatus
on_attach(void **user, void *loop, natsConnection *nc, natsSock socket)
{
    struct nats_bus *b = loop;

    (void)nc;
    bus_nats_guard_release(socket);
    b->socket = socket;
    atomic_store(&b->wants_write, false);
    atomic_store(&b->is_attached, true);
    *user = b;
    return NATS_OK;
}

static natsStatus
on_read(void *user, bool add)
{
    (void)user; /* we read as long as it is attached */
    (void)add;
    return NATS_OK;
}

static natsStatus
on_write(void *user, bool add)
{
    struct nats_bus *b = user;

    atomic_store(&b->wants_write, add);
    if (add)
        wake(b);
    return NATS_OK;
}

static natsStatus
on_detach(void *user)
{
    struct nats_bus *b = user;

    wake(b);
    atomic_store(&b->is_attached, false); /* the last: *b may be freed now */
    return NATS_OK;
}

static void
deliver(struct nats_bus *b, uint32_t index, natsMsg *m)
{
    const char *reply = natsMsg_GetReply(m);
    struct bus_message message = {.subject = span_of(natsMsg_GetSubject(m)),
                                  .reply = span_of(reply != NULL ? reply : ""),
                                  .body = {natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)}};

    bus_deliver(&b->bus, index, &message, natsMsg_IsNoResponders(m));
}

static void
on_answer(natsConnection *nc, natsSubscription *s, natsMsg *m, void *user)
{
    struct nats_bus *b = user;

    (void)nc;
    (void)s;
    deliver(b, b->inbox, m);
    natsMsg_Destroy(m);
    bus_wake(&b->bus);
}

static void
on_last_answer(void *user)
{
    struct nats_bus *b = user;

    atomic_store(&b->has_inbox, false); /* the last: *b may be freed now */
}

/* Threads that libnats starts get no signals: those are for the program's own. */
static void
signals_off(sigset_t *ret_before)
{
    sigset_t all;

    must(sigfillset(&all) == 0);
    must(pthread_sigmask(SIG_SETMASK, &all, ret_before) == 0);
}

static void
signals_on(const sigset_t *before)
{
    must(pthread_sigmask(SIG_SETMASK, before, NULL) == 0);
}

/* --- subscriptions, under link --- */

static natsStatus
subscribe_inbox(struct nats_bus *b, uint32_t index)
{
    natsSubscription **s = &b->subscriptions[index];
    sigset_t before;
    natsStatus status;

    b->inbox = index;
    signals_off(&before);
    status = natsConnection_Subscribe(s, b->nc, b->bus.subscriptions[index].pattern, on_answer, b);
    signals_on(&before);
    if (status == NATS_OK) {
        atomic_store(&b->has_inbox, true);
        if (natsSubscription_SetOnCompleteCB(*s, on_last_answer, b) != NATS_OK)
            atomic_store(&b->has_inbox, false); /* it is over already */
    }
    return status;
}

/* False: this connection cannot have it. */
static bool
subscribe_new(struct nats_bus *b)
{
    uint32_t count = atomic_load(&b->bus.subscription_count);

    while (b->subscribed_count < count) {
        uint32_t i = b->subscribed_count;
        const struct bus_subscription *s = &b->bus.subscriptions[i];
        natsStatus status;

        if (bus_is_inbox(s))
            status = subscribe_inbox(b, i);
        else
            status = natsConnection_SubscribeSync(&b->subscriptions[i], b->nc, s->pattern);
        if (status != NATS_OK)
            return false;
        b->subscribed_count++;
    }
    return true;
}

static void
nats_subscribed(struct bus *bus)
{
    struct nats_bus *b = nats_of(bus);

    must(pthread_mutex_lock(&b->link) == 0);
    if (b->nc != NULL)
        (void)subscribe_new(b); /* not: the connection is just ending, and the next one has it */
    must(pthread_mutex_unlock(&b->link) == 0);
}

/* Under link: is it to be logged? Now and then, for all that is said may be too large. */
static bool
is_told_too_large(struct nats_bus *b)
{
    uint64_t now_ns = clock_now_ns();

    if (b->too_large_ns != 0 && now_ns - b->too_large_ns < COMPLAINT_NS)
        return false;
    b->too_large_ns = now_ns;
    return true;
}

static enum err
nats_publish(struct bus *bus, const char *subject, const char *reply, struct span body)
{
    struct nats_bus *b = nats_of(bus);
    natsStatus s = NATS_CONNECTION_DISCONNECTED;
    bool is_told = false;

    must(pthread_mutex_lock(&b->link) == 0);
    if (b->nc != NULL && natsConnection_Buffered(b->nc) < (int)BUS_NATS_BUFFER_BYTES_MAX) {
        if (reply[0] != '\0')
            s = natsConnection_PublishRequest(b->nc, subject, reply, body.data, (int)body.bytes);
        else
            s = natsConnection_Publish(b->nc, subject, body.data, (int)body.bytes);
    }
    if (s == NATS_MAX_PAYLOAD)
        is_told = is_told_too_large(b);
    must(pthread_mutex_unlock(&b->link) == 0);
    atomic_fetch_add(&b->turn_messages, 1);
    if (s == NATS_MAX_PAYLOAD)
        bus_set_error(bus, TOO_LARGE, body.bytes);
    if (is_told)
        log_warn("bus: " TOO_LARGE, body.bytes);
    return s == NATS_OK ? ERR_OK : ERR_AGAIN;
}

/* --- the thread --- */

static void
free_messages(struct nats_bus *b)
{
    while (b->taken_count > 0)
        natsMsg_Destroy(b->taken[--b->taken_count]);
    b->taken_bytes = 0;
}

static void
take_message(struct nats_bus *b, uint32_t index, natsMsg *m)
{
    deliver(b, index, m);
    b->taken[b->taken_count++] = m;
    b->taken_bytes += (size_t)natsMsg_GetDataLength(m);
    if (b->taken_count == TAKEN_MAX || b->taken_bytes >= TAKEN_BYTES)
        free_messages(b);
}

/* What was read, into our queues. */
static void
take_messages(struct nats_bus *b)
{
    uint32_t count;

    must(pthread_mutex_lock(&b->link) == 0);
    count = b->subscribed_count;
    must(pthread_mutex_unlock(&b->link) == 0);
    for (uint32_t i = 0; i < count; i++) {
        natsMsg *m = NULL;
        int waiting = 0;

        if (bus_is_inbox(&b->bus.subscriptions[i]))
            continue;
        (void)natsSubscription_GetPending(b->subscriptions[i], &waiting, NULL);
        atomic_fetch_add(&b->turn_messages, (uint32_t)waiting);
        while (waiting-- > 0 && natsSubscription_NextMsg(&m, b->subscriptions[i], 1) == NATS_OK)
            take_message(b, i, m);
    }
}

/* The server's complaints do not end a connection (what it does not permit), or do. The state has
 * the newest; the log has one now and then, for a server can say as many as it likes. */
static void
hear_complaints(struct nats_bus *b)
{
    const char *text = "";
    natsStatus s = natsConnection_GetLastError(b->nc, &text);
    uint64_t now_ns = clock_now_ns();

    if (s == NATS_OK || strncmp(text, b->told, sizeof(b->told) - 1) == 0)
        return;
    snprintf(b->told, sizeof(b->told), "%s", text);
    if (s != NATS_NOT_PERMITTED)
        return;
    bus_set_error(&b->bus, "the server does not permit it: %s", text);
    if (b->complained_ns == 0 || now_ns - b->complained_ns >= COMPLAINT_NS) {
        log_warn("bus: the server does not permit it: %s", text);
        b->complained_ns = now_ns;
    }
}

static void
nap(long ns)
{
    const struct timespec t = {.tv_nsec = ns};

    (void)nanosleep(&t, NULL);
}

/* Until little is left. A read takes BUS_NATS_IO_BYTES; of TLS it takes one record, however small.
 */
static void
read_all(struct nats_bus *b)
{
    int waiting = 0;
    unsigned reads = 0;

    do {
        natsConnection_ProcessReadEvent(b->nc);
        take_messages(b);
        hear_complaints(b);
    } while (++reads < READS_MAX && atomic_load(&b->is_attached) &&
             ioctl(b->socket, FIONREAD, &waiting) == 0 && waiting > b->waiting_max);
    bus_wake(&b->bus);
}

static void
serve(struct nats_bus *b)
{
    while (!atomic_load(&b->is_closing) && !natsConnection_IsClosed(b->nc)) {
        struct pollfd polled[2] = {{.fd = b->wake_fd, .events = POLLIN},
                                   {.fd = b->socket, .events = POLLIN}};

        if (atomic_load(&b->wants_write))
            polled[1].events |= POLLOUT;
        if (poll(polled, 2, -1) < 0)
            continue;
        if (polled[0].revents != 0)
            wake_clear(b);
        if (polled[1].revents == 0)
            continue;
        if ((polled[1].revents & ~POLLOUT) != 0)
            read_all(b);
        if ((polled[1].revents & POLLOUT) != 0)
            natsConnection_ProcessWriteEvent(b->nc);
        nap(atomic_exchange(&b->turn_messages, 0) > MUCH_MESSAGES ? NAP_MUCH_NS : NAP_NS);
    }
}

/* The connection is to be used. False: it is of no use. */
static bool
begin(struct nats_bus *b, const struct bus_nats_server *server, natsConnection *nc)
{
    bool good;

    b->told[0] = '\0';
    b->waiting_max = server->tls ? 0 : READ_BYTES;
    must(pthread_mutex_lock(&b->link) == 0);
    b->nc = nc;
    b->subscribed_count = 0;
    good = subscribe_new(b);
    must(pthread_mutex_unlock(&b->link) == 0);
    return good;
}

static void
end(struct nats_bus *b)
{
    natsConnection *nc = b->nc;
    uint32_t count;

    free_messages(b);
    must(pthread_mutex_lock(&b->link) == 0);
    b->nc = NULL;
    count = b->subscribed_count;
    must(pthread_mutex_unlock(&b->link) == 0);
    natsConnection_Close(nc);
    while (atomic_load(&b->is_attached) || atomic_load(&b->has_inbox))
        nap(NAP_NS); /* another thread is just closing it, or has an answer in hand */
    for (uint32_t i = 0; i < count; i++)
        natsSubscription_Destroy(b->subscriptions[i]);
    natsConnection_Destroy(nc);
}

static void
tell_connected(struct nats_bus *b, const struct bus_nats_server *server,
               const struct nats_info *info)
{
    char words[BUS_WORDS_BYTES_MAX], warning[BUS_WORDS_BYTES_MAX] = "";

    snprintf(words, sizeof(words), "NATS %s at %.150s:%s%s", info->version, server->host,
             server->port, server->tls ? " by TLS" : "");
    if (nats_info_is_old(info->version))
        snprintf(warning, sizeof(warning),
                 "NATS %s has known holes: whoever reaches it can stop it; have %s or later",
                 info->version, NATS_VERSION_LEAST);
    bus_set_server(&b->bus, words, warning);
    bus_set_connected(&b->bus, true);
    log_info("bus: connected to %s%s%s", words, warning[0] != '\0' ? ": " : "", warning);
}

/* The log has each kind of reason once for each time that it is away; the state has the newest. */
static void
tell_away(struct nats_bus *b, const struct bus_nats_server *server, enum bus_away why,
          const char *words)
{
    if (atomic_load(&b->is_closing))
        return;
    bus_set_error(&b->bus, "%s:%s: %s", server->host, server->port, words);
    if (bus_pace_tell(&b->pace, why))
        log_warn("bus: %s:%s: %s; trying on", server->host, server->port, words);
}

/* One connection, from its beginning to its end. Why there is none any more. */
static enum bus_away
connect_once(struct nats_bus *b, const struct bus_nats_server *server)
{
    const struct bus_nats_loop loop = {b, on_attach, on_read, on_write, on_detach};
    struct bus_nats_outcome outcome;
    uint64_t began_ns = clock_now_ns();
    char words[BUS_WORDS_BYTES_MAX] = "the connection ended";
    natsConnection *nc;

    bus_count_attempt(&b->bus);
    nc = bus_nats_connect(&b->plan, server, &loop, b->wake_fd, &outcome);
    if (nc == NULL) {
        tell_away(b, server, outcome.why, outcome.words);
        return outcome.why;
    }
    if (begin(b, server, nc)) {
        bus_pace_let_in(&b->pace);
        tell_connected(b, server, &outcome.info);
        serve(b);
    }
    if (b->told[0] != '\0')
        snprintf(words, sizeof(words), "the connection ended: %.200s", b->told);
    end(b);
    bus_set_connected(&b->bus, false);
    tell_away(b, server, BUS_AWAY_BUSY, words);
    if (clock_now_ns() - began_ns >= STEADY_NS)
        bus_pace_lasted(&b->pace);
    return BUS_AWAY_BUSY;
}

static void
wait_ns(struct nats_bus *b, uint64_t ns)
{
    uint64_t until_ns = clock_now_ns() + ns, now_ns;

    while (!atomic_load(&b->is_closing) && (now_ns = clock_now_ns()) < until_ns) {
        struct pollfd polled = {.fd = b->wake_fd, .events = POLLIN};

        if (poll(&polled, 1, (int)((until_ns - now_ns) / 1000000u) + 1) > 0)
            wake_clear(b);
    }
}

static void *
thread_main(void *arg)
{
    struct nats_bus *b = arg;
    size_t next = 0;

    while (!atomic_load(&b->is_closing)) {
        const struct bus_nats_server *server = &b->plan.servers[next++ % b->plan.server_count];
        enum bus_away why;

        wake_clear(b); /* from now on it means the end */
        if (atomic_load(&b->is_closing))
            break;
        why = connect_once(b, server);
        wait_ns(b, bus_pace_wait_ns(&b->pace, why, &b->rng));
    }
    nats_ReleaseThreadMemory();
    return NULL;
}

/* --- open and close --- */

static void
nats_stop(struct bus *bus)
{
    struct nats_bus *b = nats_of(bus);

    must(pthread_mutex_lock(&b->link) == 0);
    if (b->nc != NULL)
        (void)natsConnection_FlushTimeout(b->nc, FLUSH_MS); /* not: then they are lost */
    must(pthread_mutex_unlock(&b->link) == 0);
    atomic_store(&b->is_closing, true);
    wake(b);
    must(pthread_join(b->thread, NULL) == 0);
}

static void
nats_free(struct bus *bus)
{
    struct nats_bus *b = nats_of(bus);

    bus_nats_plan_fini(&b->plan);
    must(pthread_mutex_destroy(&b->link) == 0);
    if (b->wake_fd >= 0)
        close(b->wake_fd);
    free(b);
}

static const struct bus_kind nats = {nats_publish, nats_subscribed, nats_stop, nats_free};

static enum err
open_library(void)
{
    sigset_t before;
    natsStatus s;

    signals_off(&before);
    s = nats_Open(-1);
    signals_on(&before);
    if (s != NATS_OK)
        log_error("bus: libnats: %s", natsStatus_GetText(s));
    return s == NATS_OK ? ERR_OK : ERR_IO;
}

static enum err
open_rest(struct nats_bus *b)
{
    uint64_t seed;
    enum err err = open_library();

    if (err != ERR_OK)
        return err;
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->wake_fd < 0 || getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        log_error("bus: %s", strerror(errno));
        return ERR_IO;
    }
    rng_init(&b->rng, seed);
    bus_pace_init(&b->pace);
    err = bus_start(&b->bus);
    return err;
}

enum err
bus_nats_open(const struct bus_nats_options *o, struct bus **ret_bus)
{
    struct nats_bus *b = calloc(1, sizeof(*b));
    enum err err;

    if (b == NULL)
        return ERR_MEMORY;
    b->wake_fd = -1;
    must(pthread_mutex_init(&b->link, NULL) == 0);
    err = bus_nats_plan(o, &b->plan);
    if (err == ERR_OK)
        err = bus_init(&b->bus, &nats, o->name);
    if (err != ERR_OK) {
        nats_free(&b->bus);
        return err;
    }
    err = open_rest(b);
    if (err == ERR_OK) {
        err = bus_thread(&b->thread, thread_main, b);
        if (err == ERR_OK) {
            *ret_bus = &b->bus;
            return ERR_OK;
        }
        bus_end(&b->bus);
    }
    bus_fini(&b->bus);
    nats_free(&b->bus);
    return err;
}

/* bus_core - queues, and the thread that empties them; see bus_core.h.
 *
 * Each subscription has a queue of its own with a limit; what is over it pushes the oldest out. The
 * thread takes a few messages of each in turn, so a flood on one subject does not keep the others
 * waiting. Between turns it ends requests whose time is up. */
#include "io/bus_core.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "wire/config.h"

struct bus_item {
    STAILQ_ENTRY(bus_item) next;
    uint16_t subject_bytes, reply_bytes, body_bytes;
    bool nobody;
    char bytes[]; /* subject, reply, body */
};

static void
lock(struct bus *bus)
{
    must(pthread_mutex_lock(&bus->lock) == 0);
}

static void
unlock(struct bus *bus)
{
    must(pthread_mutex_unlock(&bus->lock) == 0);
}

enum err
bus_init(struct bus *bus, const struct bus_kind *kind, struct span name)
{
    pthread_condattr_t attributes;
    unsigned char bytes[12];
    size_t at;

    if (!config_is_name(name))
        return ERR_ARG;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        log_error("bus: no random bytes");
        return ERR_IO;
    }
    bus->kind = kind;
    /* Nobody who may not listen there can guess it. */
    at = (size_t)snprintf(bus->inbox, sizeof(bus->inbox), "_INBOX.%.*s.", (int)name.bytes,
                          name.data);
    for (size_t i = 0; i < sizeof(bytes); i++)
        at += (size_t)snprintf(bus->inbox + at, sizeof(bus->inbox) - at, "%02x", bytes[i]);
    snprintf(bus->inbox + at, sizeof(bus->inbox) - at, ".");
    bus->state.since_ms = clock_wall_ms();
    must(pthread_mutex_init(&bus->lock, NULL) == 0);
    must(pthread_condattr_init(&attributes) == 0);
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    must(pthread_cond_init(&bus->changed, &attributes) == 0);
    must(pthread_condattr_destroy(&attributes) == 0);
    return ERR_OK;
}

/* Under the lock. */
static struct bus_item *
take_first(struct bus_subscription *s)
{
    struct bus_item *item = STAILQ_FIRST(&s->queue);

    if (item != NULL) {
        STAILQ_REMOVE_HEAD(&s->queue, next);
        s->pending_count--;
        s->pending_bytes -= item->body_bytes;
    }
    return item;
}

void
bus_fini(struct bus *bus)
{
    uint32_t count = atomic_load(&bus->subscription_count);

    for (uint32_t i = 0; i < count; i++) {
        struct bus_item *item;

        while ((item = take_first(&bus->subscriptions[i])) != NULL)
            free(item);
    }
    must(pthread_cond_destroy(&bus->changed) == 0);
    must(pthread_mutex_destroy(&bus->lock) == 0);
}

static struct bus_item *
make_item(const struct bus_message *m, bool nobody)
{
    size_t bytes = m->subject.bytes + m->reply.bytes + m->body.bytes;
    struct bus_item *item = malloc(sizeof(*item) + bytes);
    char *at;

    if (item == NULL)
        return NULL;
    item->subject_bytes = (uint16_t)m->subject.bytes;
    item->reply_bytes = (uint16_t)m->reply.bytes;
    item->body_bytes = (uint16_t)m->body.bytes;
    item->nobody = nobody;
    at = mempcpy(item->bytes, m->subject.data, m->subject.bytes);
    if (m->reply.bytes > 0)
        at = mempcpy(at, m->reply.data, m->reply.bytes);
    if (m->body.bytes > 0)
        memcpy(at, m->body.data, m->body.bytes);
    return item;
}

void
bus_deliver(struct bus *bus, uint32_t index, const struct bus_message *message, bool nobody)
{
    struct bus_subscription *s = &bus->subscriptions[index];
    struct bus_item *item = NULL, *old;

    if (!bus_is_subject(message->subject) || message->body.bytes > BUS_BODY_BYTES_MAX ||
        (message->reply.bytes > 0 && !bus_is_subject(message->reply))) {
        bus_refuse(bus);
        return;
    }
    item = make_item(message, nobody);
    lock(bus);
    bus->state.received++;
    if (item == NULL)
        bus->state.dropped_in++;
    while (item != NULL && (s->pending_count >= BUS_PENDING_MESSAGES_MAX ||
                            s->pending_bytes > BUS_PENDING_BYTES_MAX - BUS_BODY_BYTES_MAX)) {
        old = take_first(s);
        free(old);
        bus->state.dropped_in++;
    }
    if (item != NULL) {
        STAILQ_INSERT_TAIL(&s->queue, item, next);
        s->pending_count++;
        s->pending_bytes += item->body_bytes;
    }
    unlock(bus);
}

void
bus_wake(struct bus *bus)
{
    lock(bus);
    if (bus->is_waiting)
        must(pthread_cond_signal(&bus->changed) == 0);
    bus->is_waiting = false; /* one signal wakes it */
    unlock(bus);
}

void
bus_refuse(struct bus *bus)
{
    lock(bus);
    bus->state.refused_in++;
    unlock(bus);
}

/* An answer came, or the word that nobody listens: for the request whose number ends the subject.
 * Under the lock, which is given up for the call. */
static void
answer(struct bus *bus, const struct bus_message *m, bool nobody)
{
    size_t prefix_bytes = strlen(bus->inbox);
    uint64_t id = 0;

    if (span_u64(span_from(m->subject, prefix_bytes), &id) != ERR_OK || id == 0)
        return;
    for (size_t i = 0; i < BUS_REQUESTS_MAX; i++) {
        struct bus_request_slot request = bus->requests[i];

        if (request.id != id)
            continue;
        bus->requests[i].id = 0;
        unlock(bus);
        if (nobody)
            request.fn(ERR_NOT_FOUND, SPAN_LIT(""), request.user);
        else
            request.fn(ERR_OK, m->body, request.user);
        lock(bus);
        return;
    }
}

/* Under the lock if these are answers, which is given up for the call; else not. */
static void
call(struct bus *bus, const struct bus_subscription *s, const struct bus_item *item)
{
    const char *reply = item->bytes + item->subject_bytes;
    struct bus_message m = {.subject = {item->bytes, item->subject_bytes},
                            .reply = {reply, item->reply_bytes},
                            .body = {reply + item->reply_bytes, item->body_bytes}};

    if (bus_is_inbox(s))
        answer(bus, &m, item->nobody);
    else
        s->fn(&m, s->user);
}

/* Some messages of a subscription. Under the lock, which is given up once for all of them, or for
 * each answer. */
static void
call_some(struct bus *bus, struct bus_subscription *s)
{
    struct bus_queue some = STAILQ_HEAD_INITIALIZER(some);
    bool is_inbox = bus_is_inbox(s);
    struct bus_item *item;

    for (uint32_t i = 0; i < BUS_TURN_MESSAGES && (item = take_first(s)) != NULL; i++)
        STAILQ_INSERT_TAIL(&some, item, next);
    if (!is_inbox)
        unlock(bus);
    while ((item = STAILQ_FIRST(&some)) != NULL) {
        STAILQ_REMOVE_HEAD(&some, next);
        if (!bus->is_closing)
            call(bus, s, item);
        free(item);
    }
    if (!is_inbox)
        lock(bus);
}

/* Some messages of each subscription. False: there was none. Under the lock, which is given up for
 * the calls. */
static bool
call_round(struct bus *bus)
{
    uint32_t count = atomic_load(&bus->subscription_count);
    bool any = false;

    for (uint32_t i = 0; i < count && !bus->is_closing; i++) {
        struct bus_subscription *s = &bus->subscriptions[i];

        if (!STAILQ_EMPTY(&s->queue)) {
            call_some(bus, s);
            any = true;
        }
    }
    return any;
}

/* End the requests whose time is up before now; the next one's time, UINT64_MAX: none; 0: some were
 * ended, and their functions may have made others. Under the lock, which is given up for the calls.
 */
static uint64_t
end_requests(struct bus *bus, uint64_t now_ns, enum err err)
{
    uint64_t next_ns = UINT64_MAX;
    bool any = false;

    for (size_t i = 0; i < BUS_REQUESTS_MAX; i++) {
        struct bus_request_slot request = bus->requests[i];

        if (request.id == 0)
            continue;
        if (request.deadline_ns > now_ns) {
            next_ns = request.deadline_ns < next_ns ? request.deadline_ns : next_ns;
            continue;
        }
        bus->requests[i].id = 0;
        unlock(bus);
        request.fn(err, SPAN_LIT(""), request.user);
        lock(bus);
        any = true;
    }
    return any ? 0 : next_ns;
}

/* Under the lock. */
static void
wait_until(struct bus *bus, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};

    bus->is_waiting = true;
    if (until_ns == UINT64_MAX)
        must(pthread_cond_wait(&bus->changed, &bus->lock) == 0);
    else
        (void)pthread_cond_timedwait(&bus->changed, &bus->lock, &until);
    bus->is_waiting = false;
}

static void *
thread_main(void *arg)
{
    struct bus *bus = arg;

    lock(bus);
    while (!bus->is_closing) {
        bool any = call_round(bus);
        uint64_t next_ns = end_requests(bus, clock_now_ns(), ERR_TIMEOUT);

        if (!any && next_ns > 0 && !bus->is_closing)
            wait_until(bus, next_ns);
    }
    (void)end_requests(bus, UINT64_MAX, ERR_CLOSED);
    unlock(bus);
    return NULL;
}

enum err
bus_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    int failed;

    must(sigfillset(&all) == 0);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    failed = pthread_create(ret_thread, NULL, run, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (failed != 0)
        log_error("bus: no thread: %s", strerror(failed));
    return failed == 0 ? ERR_OK : ERR_IO;
}

enum err
bus_start(struct bus *bus)
{
    return bus_thread(&bus->thread, thread_main, bus);
}

void
bus_end(struct bus *bus)
{
    lock(bus);
    bus->is_closing = true;
    must(pthread_cond_signal(&bus->changed) == 0);
    unlock(bus);
    must(pthread_join(bus->thread, NULL) == 0);
}

void
bus_close(struct bus *bus)
{
    if (bus == NULL)
        return;
    must(!pthread_equal(pthread_self(), bus->thread));
    bus->kind->stop(bus);
    bus_end(bus);
    bus_fini(bus);
    bus->kind->free(bus);
}

void
bus_set_connected(struct bus *bus, bool connected)
{
    lock(bus);
    if (connected)
        bus->state.connects++;
    if (connected != bus->state.connected)
        bus->state.since_ms = clock_wall_ms();
    bus->state.connected = connected;
    unlock(bus);
}

void
bus_set_server(struct bus *bus, const char *server, const char *warning)
{
    lock(bus);
    snprintf(bus->state.server, sizeof(bus->state.server), "%s", server);
    snprintf(bus->state.warning, sizeof(bus->state.warning), "%s", warning);
    unlock(bus);
}

void
bus_count_attempt(struct bus *bus)
{
    lock(bus);
    bus->state.attempts++;
    unlock(bus);
}

void
bus_set_error(struct bus *bus, const char *format, ...)
{
    char words[BUS_WORDS_BYTES_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    for (char *c = words; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
    lock(bus);
    memcpy(bus->state.error, words, sizeof(words));
    bus->state.errors++;
    bus->state.error_ms = clock_wall_ms();
    unlock(bus);
}

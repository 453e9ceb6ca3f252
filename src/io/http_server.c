/* http_server - the listeners and the set of their connections: accepting, as many as there may be;
 * draining; closing. What happens on one connection is in http_session.c. */
#include "io/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/http_session.h"
#include "io/log.h"
#include "io/tls_connection.h"

#define SECOND_NS      1000000000u
#define ACCEPT_TELL_NS 60000000000u /* between two lines about the same trouble */

static bool
is_full(const struct http_server *s)
{
    return s->connection_count >= s->limits.connections_max;
}

/* ---- Accepting. */

static void
on_accept_retry(struct loop_timer *timer)
{
    http_server_resume(CONTAINER_OF(timer, struct http_server, accept_retry));
}

static void
set_interest(struct http_server *s, unsigned interest)
{
    for (size_t i = 0; i < s->listener_count; i++)
        loop_interest(&s->listeners[i].watch, interest);
}

void
http_server_resume(struct http_server *s)
{
    if (!is_full(s))
        set_interest(s, LOOP_READ);
}

/* No connection was there. Out of descriptors or memory, the listener stays ready and would be
 * asked again at once, for ever: wait a little. */
static void
accept_failed(struct http_server *s, int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
        return; /* nothing there any more, or the one that was is gone again */
    if (s->accept_told_ns == 0 || loop_now_ns(s->loop) - s->accept_told_ns >= ACCEPT_TELL_NS) {
        log_warn("http: cannot accept connections now: %s", strerror(error));
        s->accept_told_ns = loop_now_ns(s->loop);
    }
    set_interest(s, 0);
    loop_timer_set(s->loop, &s->accept_retry, loop_now_ns(s->loop) + HTTP_ACCEPT_RETRY_NS,
                   on_accept_retry);
}

/* So many connections has nobody. Told in plain words where the client can read them, then closed;
 * an answer that the socket has no room for is not worth waiting. */
static void
turn_away(struct http_server *s, int fd)
{
    char body[HTTP_REFUSAL_BYTES_MAX], text[2 * HTTP_REFUSAL_BYTES_MAX], message[128];
    int bytes;

    snprintf(
        message, sizeof(message),
        "too many connections from this address: limits.connections_per_address_max is %" PRIu32,
        s->limits.connections_per_address_max);
    bytes = (int)http_refusal_text(429, "too_many_connections", message, body);
    bytes = snprintf(text, sizeof(text),
                     "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n"
                     "content-length: %d\r\nconnection: close\r\n\r\n%.*s",
                     bytes, bytes, body);
    (void)send(fd, text, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    close(fd);
    if (s->turned_away_told_ns == 0 ||
        loop_now_ns(s->loop) - s->turned_away_told_ns >= ACCEPT_TELL_NS) {
        log_warn("http: a client is turned away: %s", message);
        s->turned_away_told_ns = loop_now_ns(s->loop);
    }
}

/* Accept what is there, up to a batch; how many. */
static size_t
accept_batch(struct http_server *s, int listener)
{
    size_t count = 0;

    for (; count < HTTP_ACCEPT_BATCH && !is_full(s); count++) {
        struct sockaddr_storage peer;
        socklen_t peer_bytes = sizeof(peer);
        int fd = accept4(listener, (struct sockaddr *)&peer, &peer_bytes,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            accept_failed(s, errno);
            return count;
        }
        if (s->limits.addresses != NULL &&
            http_addresses_enter(s->limits.addresses, (struct sockaddr *)&peer,
                                 s->limits.connections_per_address_max) != ERR_OK)
            turn_away(s, fd);
        else
            http_session_open(s, fd, (struct sockaddr *)&peer, peer_bytes);
    }
    if (is_full(s))
        set_interest(s, 0); /* the rest waits in the kernel's queue */
    return count;
}

static void
on_listener(struct loop_watch *watch, unsigned ready)
{
    struct http_listener *l = CONTAINER_OF(watch, struct http_listener, watch);

    (void)ready;
    accept_batch(l->server, watch->fd);
}

/* ---- Life. */

static bool
set_option(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

/* A listening descriptor, or -1 with errno. */
static int
listen_on(const struct sockaddr *address, socklen_t address_bytes, bool reuse_port,
          const char *device)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

    if (fd < 0)
        return -1;
    /* TCP_NODELAY is inherited by what is accepted: one call instead of one a connection. */
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) && set_option(fd, IPPROTO_TCP, TCP_NODELAY) &&
        (!reuse_port || set_option(fd, SOL_SOCKET, SO_REUSEPORT)) &&
        (device == NULL ||
         setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) == 0) &&
        bind(fd, address, address_bytes) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void
tell_listen_failed(const struct sockaddr *address, int error)
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in6 v6 = {0};
    struct sockaddr_in v4 = {0};
    bool is_v6 = address->sa_family == AF_INET6;

    if (is_v6)
        memcpy(&v6, address, sizeof(v6));
    else
        memcpy(&v4, address, sizeof(v4));
    (void)inet_ntop(address->sa_family, is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr, host,
                    sizeof(host)); /* else it is "?" */
    log_error("http: cannot listen on %s%s%s:%u: %s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
              ntohs(is_v6 ? v6.sin6_port : v4.sin_port), strerror(error));
}

/* Watch a listening socket, which is the server's from now on, or closed. */
static enum err
add_listener(struct http_server *s, int fd)
{
    struct http_listener *l = &s->listeners[s->listener_count];
    socklen_t bytes = sizeof(s->address);
    enum err err = ERR_FULL;

    if (s->listener_count < HTTP_LISTENERS_MAX)
        err = s->listener_count > 0 || getsockname(fd, (struct sockaddr *)&s->address, &bytes) == 0
                  ? loop_add(s->loop, &l->watch, fd, is_full(s) ? 0 : LOOP_READ, on_listener)
                  : ERR_IO;
    if (err != ERR_OK) {
        close(fd);
        return err;
    }
    l->server = s;
    s->listener_count++;
    return ERR_OK;
}

enum err
http_server_open(struct loop *loop, const struct sockaddr *address, socklen_t address_bytes,
                 bool reuse_port, const char *device, const struct http_server_limits *limits,
                 const struct http_server_fn *fn, void *user, struct http_server **ret_server)
{
    struct http_server *s = calloc(1, sizeof(*s));
    int fd;

    if (s == NULL)
        return ERR_MEMORY;
    must(fn->request != NULL);
    s->loop = loop;
    s->limits = *limits;
    s->fn = *fn;
    s->user = user;
    s->message_limits = (struct http1_limits){.head_bytes_max = HTTP_HEAD_BYTES_MAX,
                                              .target_bytes_max = HTTP_TARGET_BYTES_MAX,
                                              .headers_max = HTTP_HEADERS_MAX,
                                              .body_bytes_max = limits->body_bytes_max};
    LIST_INIT(&s->connections);
    TAILQ_INIT(&s->turns);
    if (address != NULL) {
        fd = listen_on(address, address_bytes, reuse_port, device);
        if (fd < 0 || add_listener(s, fd) != ERR_OK) {
            tell_listen_failed(address, errno);
            http_server_close(s);
            return ERR_IO;
        }
    }
    *ret_server = s;
    return ERR_OK;
}

enum err
http_server_adopt(struct http_server *s, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    enum err err = ERR_IO;

    if (s->draining) {
        close(fd);
        return ERR_OK;
    }
    if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
        fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && set_option(fd, IPPROTO_TCP, TCP_NODELAY))
        err = add_listener(s, fd);
    else
        close(fd);
    if (err != ERR_OK)
        log_error("http: cannot take over a listening socket: %s",
                  err == ERR_IO ? strerror(errno) : err_name(err));
    return err;
}

size_t
http_server_listeners(const struct http_server *s, int *fds, size_t fds_max)
{
    size_t count = s->listener_count < fds_max ? s->listener_count : fds_max;

    for (size_t i = 0; i < count; i++)
        fds[i] = s->listeners[i].watch.fd;
    return count;
}

static void
close_listeners(struct http_server *s)
{
    loop_timer_stop(&s->accept_retry);
    for (size_t i = 0; i < s->listener_count; i++) {
        int fd = s->listeners[i].watch.fd;
        loop_remove(&s->listeners[i].watch);
        close(fd);
    }
    s->listener_count = 0;
}

/* ---- Draining. */

bool
http_server_is_impatient(const struct http_server *s)
{
    return s->draining && loop_now_ns(s->loop) >= s->grace_until_ns;
}

static void
on_grace_timer(struct loop_timer *timer)
{
    struct http_server *s = CONTAINER_OF(timer, struct http_server, grace_timer);
    struct http_session *c, *next;

    LIST_FOREACH_SAFE (c, &s->connections, link, next)
        c->protocol->drain(c);
}

void
http_server_drain(struct http_server *s, uint64_t grace_ns)
{
    s->draining = true;
    s->grace_until_ns = loop_now_ns(s->loop) + grace_ns;
    for (size_t i = 0; i < s->listener_count; i++) {
        /* whoever got in by now is not turned away by a reset */
        while (accept_batch(s, s->listeners[i].watch.fd) == HTTP_ACCEPT_BATCH)
            ;
    }
    close_listeners(s);
    on_grace_timer(&s->grace_timer);
    if (grace_ns > 0)
        loop_timer_set(s->loop, &s->grace_timer, s->grace_until_ns, on_grace_timer);
}

void
http_server_close(struct http_server *s)
{
    struct http_session *c;

    if (s == NULL)
        return;
    close_listeners(s);
    loop_timer_stop(&s->grace_timer);
    while ((c = LIST_FIRST(&s->connections)) != NULL)
        http_session_close(c);
    loop_undefer(&s->turns_task);
    tls_buffers_close(s->tls_buffers);
    free(s->spare_out.data);
    arena_spares_fini(&s->spare_blocks);
    free(s);
}

enum err
http_server_use_tls(struct http_server *s, http_server_tls_fn *context,
                    const struct tls_tickets *tickets, struct tls_stats *stats)
{
    must(s->tls_buffers == NULL);
    s->tls_buffers = tls_buffers_open(tickets, stats);
    if (s->tls_buffers == NULL)
        return ERR_MEMORY;
    s->tls = context;
    return ERR_OK;
}

enum err
http_server_share(struct http_server *s)
{
    must(s->listener_count > 0);
    if (set_option(s->listeners[0].watch.fd, SOL_SOCKET, SO_REUSEPORT))
        return ERR_OK;
    log_error("http: SO_REUSEPORT: %s", strerror(errno));
    return ERR_IO;
}

/* ---- What it is. */

void
http_server_address(const struct http_server *s, struct sockaddr_storage *ret_address)
{
    *ret_address = s->address;
}

size_t
http_server_exchanges(const struct http_server *s)
{
    return s->exchange_count;
}

size_t
http_server_connections(const struct http_server *s)
{
    return s->connection_count;
}

/* Made anew at most once a second. Not by strftime, whose words depend on the locale. */
struct span
http_server_date(struct http_server *s)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    uint64_t now_ns = loop_now_ns(s->loop);
    char text[64];
    struct tm t;
    time_t wall;

    if (now_ns >= s->date_until_ns) {
        wall = (time_t)clock_wall_s();
        must(gmtime_r(&wall, &t) != NULL);
        snprintf(text, sizeof(text), "date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                 days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour,
                 t.tm_min, t.tm_sec);
        span_copy(span_of(text), s->date, sizeof(s->date));
        s->date_until_ns = now_ns + SECOND_NS;
    }
    return span_of(s->date);
}

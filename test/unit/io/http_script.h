#ifndef UNIT_IO_HTTP_SCRIPT_H
#define UNIT_IO_HTTP_SCRIPT_H
/* http_script - a scripted HTTP server and a caller that notes what it is told, on one loop and
 * real loopback sockets, for the tests of the client. The server reads a request, takes the next
 * step of its script, and sends what stands there. Nothing here depends on how long anything takes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/http_client.h"
#include "patience.h"

#define MS         1000000u
#define PEERS_MAX  128u
#define STEPS_MAX  6u
#define BODY_BYTES (1024u * 1024u)

/* ---- The server. */

enum after { STAY, CLOSE, RESET, DRIP, DRIP_CLOSE, EARLY };

struct step {
    const char *text;
    enum after after;
};

struct peer {
    struct loop_watch watch;
    char *bytes;
    size_t have;
    const char *drip; /* one byte a pass */
    bool drip_close;
    struct sockaddr_in address;
};

static struct {
    struct loop_watch listener;
    struct sockaddr_in address;
    struct peer peers[PEERS_MAX];
    unsigned connections, requests;
    struct step steps[STEPS_MAX];
    unsigned step;
    char request[8192]; /* the last one's head and the start of its body */
    struct span want_body;
    bool body_differs;
} server;

static struct loop *loop;
static struct http_client *client;
static struct http_target *target;

static void
peer_close(struct peer *p, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (p->watch.loop == NULL)
        return;
    if (reset)
        setsockopt(p->watch.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    loop_remove(&p->watch);
    close(p->watch.fd);
    free(p->bytes);
    p->bytes = NULL;
    p->drip = NULL;
}

static void
peer_send(struct peer *p, const char *text, size_t bytes)
{
    if (bytes != 0 && send(p->watch.fd, text, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        printf("# the test's server could not send\n");
}

/* The step that the next request meets; the last one of a full script stays. */
static const struct step *
next_step(void)
{
    return &server.steps[server.step < STEPS_MAX ? server.step : STEPS_MAX - 1];
}

static void
peer_step(struct peer *p)
{
    const struct step *s = next_step();

    server.step++;
    if (s->text == NULL)
        return; /* silence */
    if (s->after == DRIP || s->after == DRIP_CLOSE) {
        p->drip = s->text;
        p->drip_close = s->after == DRIP_CLOSE;
        return;
    }
    peer_send(p, s->text, strlen(s->text));
    if (s->after == CLOSE || s->after == RESET)
        peer_close(p, s->after == RESET);
}

/* How long the request at p->bytes is; 0: not whole yet. */
static size_t
request_bytes(const struct peer *p, size_t *ret_head)
{
    const char *end = memmem(p->bytes, p->have, "\r\n\r\n", 4);
    const char *length;
    size_t head;

    if (end == NULL)
        return 0;
    head = (size_t)(end - p->bytes) + 4;
    *ret_head = head;
    length = memmem(p->bytes, head, "content-length: ", 16);
    head += length == NULL ? 0 : strtoul(length + 16, NULL, 10);
    if (next_step()->after == EARLY)
        return *ret_head;
    return head <= p->have ? head : 0;
}

static void
peer_ready(struct loop_watch *watch, unsigned ready)
{
    struct peer *p = CONTAINER_OF(watch, struct peer, watch);
    size_t whole, head = 0;
    ssize_t got = recv(watch->fd, p->bytes + p->have, 2 * BODY_BYTES - p->have, MSG_DONTWAIT);

    (void)ready;
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            peer_close(p, false);
        return;
    }
    p->have += (size_t)got;
    while (p->watch.loop != NULL && (whole = request_bytes(p, &head)) != 0) {
        bool early = whole == head && next_step()->after == EARLY;
        server.requests++;
        span_copy((struct span){p->bytes, whole}, server.request, sizeof(server.request));
        if (server.want_body.bytes != 0 && !early)
            server.body_differs |= !span_eq(server.want_body,
                                            (struct span){p->bytes + head, whole - head});
        memmove(p->bytes, p->bytes + whole, p->have - whole);
        p->have -= whole;
        peer_step(p);
        if (early) { /* and reads no more */
            loop_interest(&p->watch, 0);
            return;
        }
    }
}

static void
server_accept(struct loop_watch *watch, unsigned ready)
{
    struct peer *p = &server.peers[server.connections % PEERS_MAX];
    socklen_t bytes = sizeof(p->address);
    int fd = accept4(watch->fd, (struct sockaddr *)&p->address, &bytes, SOCK_NONBLOCK);
    int one = 1;

    (void)ready;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    memset(&p->watch, 0, sizeof(p->watch));
    p->bytes = malloc(2 * BODY_BYTES);
    p->have = 0;
    p->drip = NULL;
    server.connections++;
    if (p->bytes == NULL || loop_add(loop, &p->watch, fd, LOOP_READ, peer_ready) != ERR_OK)
        abort();
}

static int
listen_socket(int backlog, struct sockaddr_in *ret_address)
{
    socklen_t bytes = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), small = 16384;

    *ret_address = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) != 0 ||
        bind(fd, (struct sockaddr *)ret_address, bytes) != 0 || listen(fd, backlog) != 0 ||
        getsockname(fd, (struct sockaddr *)ret_address, &bytes) != 0)
        abort();
    return fd;
}

static void
open_target_at(const struct sockaddr_in *address, const struct sockaddr_in *from)
{
    if (http_client_open(loop, &client) != ERR_OK ||
        http_target_open(client, (const struct sockaddr *)address, sizeof(*address),
                         SPAN_LIT("node.example:8000"), (const struct sockaddr *)from,
                         from != NULL ? sizeof(*from) : 0, &target) != ERR_OK)
        abort();
}

/* A server with this script, and a client with a target that points at it. */
static void
begin(const struct step *steps, size_t count)
{
    memset(&server, 0, sizeof(server));
    for (size_t i = 0; i < count; i++)
        server.steps[i] = steps[i];
    if (loop_add(loop, &server.listener, listen_socket(128, &server.address), LOOP_READ,
                 server_accept) != ERR_OK)
        abort();
    open_target_at(&server.address, NULL);
}

static void
finish(void)
{
    http_client_close(client);
    client = NULL;
    for (unsigned i = 0; i < PEERS_MAX; i++)
        peer_close(&server.peers[i], false);
    loop_remove(&server.listener);
    close(server.listener.fd);
}

/* One pass of the loop, then one byte of every dripping peer. */
static void
pass(void)
{
    bool dripping = false;

    for (unsigned i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &server.peers[i];
        if (p->watch.loop == NULL || p->drip == NULL)
            continue;
        if (*p->drip != '\0') {
            peer_send(p, p->drip++, 1);
            dripping = true;
        } else if (p->drip_close) {
            peer_close(p, false);
        } else {
            p->drip = NULL;
        }
    }
    loop_pass(loop, dripping ? 0 : 10 * MS);
}

/* ---- The caller. */

enum where { NOWHERE, AT_SENT, AT_HEAD, AT_DATA, AT_END, AT_FAILED };
enum what { NOTHING, CANCEL, CLOSE_TARGET, CLOSE_CLIENT, PAUSE, START_ANOTHER };

struct probe {
    struct http_call *call;
    enum where where; /* does `what` there */
    enum what what;
    struct probe *another;
    bool done, ended, failed, fresh, cancelled, resumed;
    enum http_failure why;
    unsigned sent, heads, status, trailers;
    size_t body_bytes, paused_at_bytes, most_while_paused;
    uint64_t body_sum;
    char body[64], last_header[64], trailer[64];
    bool path_known; /* at the head */
    struct http_path path;
    struct loop_timer timer;
};

static const struct http_call_fn probe_fn;
static const struct http_call_limits no_limits;

static void
start(struct probe *p, const struct http_call_request *r, const struct http_call_limits *limits)
{
    if (http_call_start(target, r, limits, &probe_fn, p, &p->call) != ERR_OK)
        abort();
}

static const struct http_call_request plain = {.method = {"POST", 4},
                                               .target = {"/v1/completions", 15}};

static void
resume_later(struct loop_timer *timer)
{
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);

    p->resumed = true;
    http_call_resume(p->call);
}

static void
act(struct probe *p, enum where where)
{
    if (p->where != where)
        return;
    switch (p->what) {
    case CANCEL:
        p->cancelled = true;
        http_call_cancel(p->call);
        break;
    case CLOSE_TARGET:
        p->cancelled = true;
        http_target_close(target);
        break;
    case CLOSE_CLIENT:
        p->cancelled = true;
        http_client_close(client);
        client = NULL;
        break;
    case PAUSE:
        http_call_pause(p->call);
        p->paused_at_bytes = p->body_bytes;
        p->resumed = false;
        loop_timer_set(loop, &p->timer, loop_now_ns(loop) + 60 * MS, resume_later);
        p->where = NOWHERE;
        break;
    case START_ANOTHER:
        start(p->another, &plain, &no_limits);
        break;
    case NOTHING:
        break;
    }
}

static void
on_sent(struct http_call *c, bool fresh, void *user)
{
    struct probe *p = user;

    (void)c;
    p->sent++;
    p->fresh = fresh;
    act(p, AT_SENT);
}

static void
on_head(struct http_call *c, const struct http_response *r, void *user)
{
    struct probe *p = user;

    p->heads++;
    p->path_known = http_call_path(c, &p->path);
    p->status = r->status;
    if (r->header_count > 0)
        span_copy(r->headers[r->header_count - 1].value, p->last_header, sizeof(p->last_header));
    act(p, AT_HEAD);
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct probe *p = user;

    (void)c;
    for (size_t i = 0; i < bytes.bytes; i++) {
        if (p->body_bytes + i < sizeof(p->body) - 1)
            p->body[p->body_bytes + i] = bytes.data[i];
        p->body_sum = p->body_sum * 31 + (unsigned char)bytes.data[i];
    }
    p->body_bytes += bytes.bytes;
    if (p->what == PAUSE && p->where == NOWHERE && !p->resumed &&
        p->body_bytes - p->paused_at_bytes > p->most_while_paused)
        p->most_while_paused = p->body_bytes - p->paused_at_bytes;
    act(p, AT_DATA);
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t trailer_count, void *user)
{
    struct probe *p = user;

    (void)c;
    p->trailers = (unsigned)trailer_count;
    if (trailer_count > 0)
        span_copy(trailers[0].value, p->trailer, sizeof(p->trailer));
    p->done = p->ended = true;
    act(p, AT_END);
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    struct probe *p = user;

    (void)c;
    p->done = p->failed = true;
    p->why = why;
    act(p, AT_FAILED);
}

static const struct http_call_fn probe_fn = {on_sent, on_head, on_data, on_end, on_failed};

static bool
wait_for(const struct probe *p)
{
    uint64_t until_s = 0;

    while (!p->done && !p->cancelled && patience(&until_s))
        pass();
    return p->done || p->cancelled;
}

__attribute__((unused)) static void
settle(void)
{
    for (unsigned i = 0; i < 8; i++)
        loop_pass(loop, 0);
}

__attribute__((unused)) static void
probe_call(struct probe *p)
{
    start(p, &plain, &no_limits);
    wait_for(p);
}

#define OK_TEXT "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-last: here\r\n\r\n"                        \
    "5\r\nhello\r\n1;x=y\r\n \r\n00a\r\nwide world\r\n0\r\nx-sum: 42\r\n\r\n"

#endif

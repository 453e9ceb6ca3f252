#ifndef HTTP_SERVER_FIXTURE_H
#define HTTP_SERVER_FIXTURE_H
/* http_server_fixture - for the tests of the server: a server on a real loopback socket with a
 * handler that does a thing for each path, and a client of raw bytes in the same thread. The loop
 * is turned pass by pass until what is waited for is there. */

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "io/http_server.h"
#include "patience.h"
#include "tap.h"

#define RECEIVED_MAX 4194304u
#define BIG_BYTES    3000000u
#define SECOND_NS    1000000000u

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct sockaddr_in address;
    struct http_exchange *waiting; /* of "/later", until the test answers it */
    char log[4096];                /* what the callbacks were */
    size_t stream_left;            /* of "/stream" */
    size_t requests, dones;
    size_t pending_max;
    struct http_server_limits limits;
    struct http_share *share; /* of whoever sends a body; NULL: none */
};

struct client {
    int fd;
    bool ended, reset; /* ended by a reset: what was sent to it may be lost on a real network */
    char *data;
    size_t bytes;
};

/* ---- The handler. */

__attribute__((unused)) static void
note(struct fixture *f, const char *what)
{
    size_t at = strlen(f->log);

    snprintf(f->log + at, sizeof(f->log) - at, "%s;", what);
}

__attribute__((unused)) static void
go_on_streaming(struct fixture *f, struct http_exchange *x)
{
    static char piece[10000];

    memset(piece, 's', sizeof(piece));
    while (f->stream_left > 0 && http_response_pending(x) <= f->limits.high_water_bytes) {
        size_t n = f->stream_left < sizeof(piece) ? f->stream_left : sizeof(piece);
        http_response_write(x, (struct span){piece, n});
        f->stream_left -= n;
        if (http_response_pending(x) > f->pending_max)
            f->pending_max = http_response_pending(x);
    }
    if (f->stream_left == 0)
        http_response_end(x);
}

__attribute__((unused)) static void
echo(struct http_exchange *x, const struct http_request *r)
{
    const struct http_header headers[] = {
        {SPAN_LIT("content-type"), SPAN_LIT("text/plain")},
        {SPAN_LIT("x-path"), r->path},
        {SPAN_LIT("x-query"), r->query},
        {SPAN_LIT("x-last"), http_request_header(r, SPAN_LIT("X-Echo"))},
        {SPAN_LIT("x-evil"), SPAN_LIT("a\r\nx-injected: b")},
    };

    http_respond(x, 200, headers, span_eq_text(r->path, "/evil") ? 5 : 4, r->body);
}

__attribute__((unused)) static void
on_request(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct fixture *f = user;
    bool padded = true;

    note(f, "request");
    f->requests++;
    for (size_t i = 0; i < HTTP_BODY_PADDING; i++)
        padded = padded && r->body.data[r->body.bytes + i] == 0;
    if (!padded)
        note(f, "no padding");
    if (span_eq_text(r->path, "/later")) {
        must(f->waiting == NULL);
        f->waiting = x;
        http_exchange_set_user(x, f);
    } else if (span_eq_text(r->path, "/chunks")) {
        const struct span parts[] = {SPAN_LIT("b"), SPAN_LIT(""), SPAN_LIT("cd")};
        http_response_start(x, 200, NULL, 0);
        http_response_write(x, SPAN_LIT("a"));
        http_response_write(x, SPAN_LIT(""));
        http_response_writev(x, parts, 3);
        http_response_end(x);
    } else if (span_eq_text(r->path, "/trailers") || span_eq_text(r->path, "/trailers-length")) {
        const struct http_header names = {SPAN_LIT("trailer"), SPAN_LIT("X-End")};
        const struct http_header trailers[] = {
            {SPAN_LIT("X-End"), http_exchange_takes_trailers(x) ? SPAN_LIT("y") : SPAN_LIT("n")},
            {SPAN_LIT("x-evil"), SPAN_LIT("a\r\nx-injected: b")},
            {SPAN_LIT("Content-Length"), SPAN_LIT("7")}};
        if (r->path.bytes == sizeof("/trailers") - 1)
            http_response_start(x, 200, &names, 1);
        else
            http_response_start_length(x, 200, &names, 1, 3);
        http_response_write(x, SPAN_LIT("abc"));
        http_response_end_trailers(x, trailers, 3);
    } else if (span_eq_text(r->path, "/length")) {
        http_response_start_length(x, 200, NULL, 0, 3);
        http_response_write(x, SPAN_LIT("ab"));
        http_response_write(x, SPAN_LIT("cdef"));
        http_response_end(x);
    } else if (span_eq_text(r->path, "/short")) {
        http_response_start_length(x, 200, NULL, 0, 3);
        http_response_write(x, SPAN_LIT("ab"));
        http_response_end(x);
    } else if (span_eq_text(r->path, "/abort")) {
        http_response_start(x, 200, NULL, 0);
        http_response_write(x, SPAN_LIT("part"));
        http_response_abort(x);
    } else if (span_eq_text(r->path, "/none")) {
        http_respond(x, 204, NULL, 0, SPAN_LIT("not sent"));
    } else if (span_eq_text(r->path, "/stream")) {
        http_response_start(x, 200, NULL, 0);
        go_on_streaming(f, x);
    } else {
        echo(x, r);
    }
}

__attribute__((unused)) static void
on_gone(struct http_exchange *x, void *user)
{
    struct fixture *f = user;

    note(f, http_exchange_is_slow(x) ? "slow" : "gone");
    http_response_write(x, SPAN_LIT("nobody reads this"));
    if (f->waiting == x)
        f->waiting = NULL;
}

__attribute__((unused)) static void
on_drained(struct http_exchange *x, void *user)
{
    struct fixture *f = user;

    note(f, "drained");
    CHECK(http_response_pending(x) <= f->limits.low_water_bytes, "drained: below the mark");
    go_on_streaming(f, x);
}

__attribute__((unused)) static void
on_done(struct http_exchange *x, void *user)
{
    struct fixture *f = user;

    note(f, "done");
    f->dones++;
    http_response_abort(x); /* too late: does nothing */
    if (f->waiting == x)
        f->waiting = NULL;
}

static bool
on_admit(const struct http_request *r, void *user, struct http_share **ret_share)
{
    struct fixture *f = user;

    *ret_share = f->share;
    if (f->share != NULL)
        note(f, "share");
    return !span_eq_text(r->path, "/stranger") && r->body.bytes == 0;
}

static const struct http_server_fn handlers = {.request = on_request,
                                               .admit = on_admit,
                                               .gone = on_gone,
                                               .drained = on_drained,
                                               .done = on_done};

/* ---- The fixture and the client. */

__attribute__((unused)) static struct http_server_limits
usual_limits(void)
{
    return (struct http_server_limits){.body_bytes_max = 1000000,
                                       .connections_max = 1000,
                                       .head_ns = 60 * (uint64_t)SECOND_NS,
                                       .body_idle_ns = 60 * (uint64_t)SECOND_NS,
                                       .keep_alive_ns = 60 * (uint64_t)SECOND_NS,
                                       .write_idle_ns = 60 * (uint64_t)SECOND_NS,
                                       .high_water_bytes = 100000,
                                       .low_water_bytes = 20000};
}

__attribute__((unused)) static void
open_fixture(struct fixture *f, struct http_server_limits limits)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage bound;

    *f = (struct fixture){.limits = limits};
    must(loop_open(&f->loop) == ERR_OK);
    must(http_server_open(f->loop, (struct sockaddr *)&any, sizeof(any), false, NULL, &limits,
                          &handlers, f, &f->server) == ERR_OK);
    http_server_address(f->server, &bound);
    memcpy(&f->address, &bound, sizeof(f->address));
}

__attribute__((unused)) static void
close_fixture(struct fixture *f)
{
    http_server_close(f->server);
    loop_close(f->loop);
}

__attribute__((unused)) static struct client
connect_to(struct fixture *f)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    must(c.fd >= 0 && (c.data = malloc(RECEIVED_MAX)) != NULL);
    must(connect(c.fd, (struct sockaddr *)&f->address, sizeof(f->address)) == 0);
    return c;
}

__attribute__((unused)) static void
close_client(struct client *c)
{
    close(c->fd);
    free(c->data);
}

__attribute__((unused)) static void
turn(struct fixture *f, int passes)
{
    for (int i = 0; i < passes; i++)
        loop_pass(f->loop, 0);
}

/* All of it, turning the loop while the socket is full; false: the server does not want it. */
__attribute__((unused)) static bool
send_to(struct fixture *f, struct client *c, struct span bytes)
{
    while (bytes.bytes > 0) {
        ssize_t n = send(c->fd, bytes.data, bytes.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        bytes = span_from(bytes, n > 0 ? (size_t)n : 0);
        loop_pass(f->loop, 0);
    }
    return true;
}

__attribute__((unused)) static void
receive(struct client *c)
{
    ssize_t n;

    while (!c->ended && c->bytes < RECEIVED_MAX) {
        n = recv(c->fd, c->data + c->bytes, RECEIVED_MAX - c->bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        c->ended = n <= 0;
        c->reset = n < 0;
        c->bytes += n > 0 ? (size_t)n : 0;
    }
}

__attribute__((unused)) static bool
has(const struct client *c, const char *text)
{
    return c->bytes > 0 && memmem(c->data, c->bytes, text, strlen(text)) != NULL;
}

__attribute__((unused)) static size_t
count(const struct client *c, const char *text)
{
    const char *at = c->data, *end = c->data + c->bytes;
    size_t found = 0;

    while ((at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
        at += strlen(text);
        found++;
    }
    return found;
}

/* How often a byte comes behind the first head. (count, of so many, takes minutes under TSan.) */
__attribute__((unused)) static size_t
count_byte(const struct client *c, char byte)
{
    const char *at = memmem(c->data, c->bytes, "\r\n\r\n", 4), *end = c->data + c->bytes;
    size_t found = 0;

    for (; at != NULL && at < end; at++)
        found += *at == byte;
    return found;
}

/* Turn until the client has got text that many times (NULL: until the end of the connection). */
__attribute__((unused)) static bool
await(struct fixture *f, struct client *c, const char *text, size_t times)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        size_t before = c->bytes;

        receive(c);
        until_s = c->bytes > before ? 0 : until_s;
        if (text == NULL ? c->ended : count(c, text) >= times)
            return true;
        if (c->ended)
            return false;
        loop_pass(f->loop, 1000000);
    }
    return false;
}

/* Turn until the server has so many connections. */
__attribute__((unused)) static bool
await_connections(struct fixture *f, size_t wanted)
{
    uint64_t until_s = 0;

    while (http_server_connections(f->server) != wanted && patience(&until_s))
        loop_pass(f->loop, 1000000);
    return http_server_connections(f->server) == wanted;
}

/* Turn until the callbacks were these. */
__attribute__((unused)) static bool
await_log(struct fixture *f, const char *log)
{
    uint64_t until_s = 0;

    while (strcmp(f->log, log) != 0 && patience(&until_s))
        loop_pass(f->loop, 1000000);
    if (strcmp(f->log, log) != 0)
        printf("# log: %s, wanted: %s\n", f->log, log);
    return strcmp(f->log, log) == 0;
}

/* ---- Bytes of requests. */

#define H   "Host: a\r\n"
#define C   "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
#define ALL "\r\n\r\n"

#endif

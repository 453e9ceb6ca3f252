/* http_server_test - the server on real loopback sockets, against a client of raw bytes in the same
 * thread: the loop is turned pass by pass until what is waited for is there. Times of limits are
 * small, and only what comes of them is checked, never when. */
#include "io/http_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "tap.h"

#define PASSES_MAX   20000 /* of at most 1 ms: a test that waits longer has failed */
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
    size_t pending_max;
    struct http_server_limits limits;
};

struct client {
    int fd;
    bool ended;
    char *data;
    size_t bytes;
};

/* ---- The handler. */

static void
note(struct fixture *f, const char *what)
{
    size_t at = strlen(f->log);

    snprintf(f->log + at, sizeof(f->log) - at, "%s;", what);
}

static void
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

static void
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

static void
on_request(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct fixture *f = user;
    bool padded = true;

    note(f, "request");
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

static void
on_gone(struct http_exchange *x, void *user)
{
    struct fixture *f = user;

    note(f, "gone");
    http_response_write(x, SPAN_LIT("nobody reads this"));
    if (f->waiting == x)
        f->waiting = NULL;
}

static void
on_drained(struct http_exchange *x, void *user)
{
    struct fixture *f = user;

    note(f, "drained");
    CHECK(http_response_pending(x) <= f->limits.low_water_bytes, "drained: below the mark");
    go_on_streaming(f, x);
}

static void
on_done(struct http_exchange *x, void *user)
{
    note(user, "done");
    http_response_abort(x); /* too late: does nothing */
}

static const struct http_server_fn handlers = {
    .request = on_request, .gone = on_gone, .drained = on_drained, .done = on_done};

/* ---- The fixture and the client. */

static struct http_server_limits
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

static void
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

static void
close_fixture(struct fixture *f)
{
    http_server_close(f->server);
    loop_close(f->loop);
}

static struct client
connect_to(struct fixture *f)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    must(c.fd >= 0 && (c.data = malloc(RECEIVED_MAX)) != NULL);
    must(connect(c.fd, (struct sockaddr *)&f->address, sizeof(f->address)) == 0);
    return c;
}

static void
close_client(struct client *c)
{
    close(c->fd);
    free(c->data);
}

static void
turn(struct fixture *f, int passes)
{
    for (int i = 0; i < passes; i++)
        loop_pass(f->loop, 0);
}

/* All of it, turning the loop while the socket is full; false: the server does not want it. */
static bool
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

static void
receive(struct client *c)
{
    ssize_t n;

    while (!c->ended && c->bytes < RECEIVED_MAX) {
        n = recv(c->fd, c->data + c->bytes, RECEIVED_MAX - c->bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        c->ended = n <= 0;
        c->bytes += n > 0 ? (size_t)n : 0;
    }
}

static bool
has(const struct client *c, const char *text)
{
    return c->bytes > 0 && memmem(c->data, c->bytes, text, strlen(text)) != NULL;
}

static size_t
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

/* Turn until the client has got text that many times (NULL: until the end of the connection). */
static bool
await(struct fixture *f, struct client *c, const char *text, size_t times)
{
    for (int i = 0; i < PASSES_MAX; i++) {
        receive(c);
        if (text == NULL ? c->ended : count(c, text) >= times)
            return true;
        if (c->ended)
            return false;
        loop_pass(f->loop, 1000000);
    }
    return false;
}

/* Turn until the callbacks were these. */
static bool
await_log(struct fixture *f, const char *log)
{
    for (int i = 0; i < PASSES_MAX && strcmp(f->log, log) != 0; i++)
        loop_pass(f->loop, 1000000);
    if (strcmp(f->log, log) != 0)
        printf("# log: %s, wanted: %s\n", f->log, log);
    return strcmp(f->log, log) == 0;
}

/* ---- One exchange a row, on a connection of its own. */

#define H   "Host: a\r\n"
#define C   "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
#define ALL "\r\n\r\n"

static const struct {
    const char *label, *request;
    const char *status, *has[3], *lacks;
    bool closes;
    const char *log;
} rows[] = {
    /* ---- Answered. */
    {"get",
     "GET /a?b=c HTTP/1.1\r\n" H "x-echo: 1\r\nX-ECHO: 2\r\n\r\n",
     "HTTP/1.1 200 OK\r\ndate: ",
     {"x-path: /a\r\nx-query: b=c\r\nx-last: 2\r\n", "content-length: 0\r\n", ALL},
     "connection:",
     false,
     "request;done;"},
    {"no injection",
     "GET /evil HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {ALL, ALL, ALL},
     "injected",
     false,
     "request;done;"},
    {"post",
     "POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
     "HTTP/1.1 200",
     {"content-length: 5\r\n", ALL, ALL "hello"},
     "connection:",
     false,
     "request;done;"},
    {"absolute target",
     "GET http://b:1/a?c HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"x-path: /a\r\nx-query: c\r\n", ALL, ALL},
     "connection:",
     false,
     "request;done;"},
    {"absolute target without a path",
     "GET http://b?c HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"x-path: /\r\nx-query: c\r\n", ALL, ALL},
     "connection:",
     false,
     "request;done;"},
    {"star",
     "OPTIONS * HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"x-path: *\r\nx-query: \r\n", ALL, ALL},
     "connection:",
     false,
     "request;done;"},
    {"client closes",
     "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", ALL, ALL},
     "keep-alive",
     true,
     "request;done;"},
    {"1.0",
     "GET / HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", ALL, ALL},
     "keep-alive",
     true,
     "request;done;"},
    {"1.0 keep-alive",
     "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: keep-alive\r\n", ALL, ALL},
     "close",
     false,
     "request;done;"},
    {"1.0 in parts",
     "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", ALL, ALL "abcd"},
     "chunked",
     true,
     "request;done;"},
    {"in parts",
     "GET /chunks HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"transfer-encoding: chunked\r\n", ALL, ALL "1\r\na\r\n3\r\nbcd\r\n0" ALL},
     "content-length",
     false,
     "request;done;"},
    {"in parts to HEAD",
     "HEAD /chunks HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"transfer-encoding: chunked\r\n", ALL, ALL},
     "bcd",
     false,
     "request;done;"},
    {"by length, the rest cut",
     "GET /length HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"content-length: 3\r\n", ALL, ALL "abc"},
     "abcd",
     false,
     "request;done;"},
    {"by length to HEAD",
     "HEAD /length HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"content-length: 3\r\n", ALL, ALL},
     "abc",
     false,
     "request;done;"},
    {"shorter than its length",
     "GET /short HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"content-length: 3\r\n", ALL, ALL "ab"},
     "close",
     true,
     "request;"},
    {"aborted",
     "GET /abort HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"chunked\r\n", ALL, ALL "4\r\npart\r\n"},
     "\r\n0\r\n",
     true,
     "request;"},
    {"HEAD",
     "HEAD / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
     "HTTP/1.1 200",
     {"content-length: 5\r\n", ALL, ALL},
     "hello",
     false,
     "request;done;"},
    {"204",
     "GET /none HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 204 No Content\r\n",
     {ALL, ALL, ALL},
     "content-length",
     false,
     "request;done;"},
    {"chunked request",
     C "3\r\nabc\r\n2;x\r\nde\r\n0\r\nt: 1\r\n\r\n",
     "HTTP/1.1 200",
     {"content-length: 5\r\n", ALL, ALL "abcde"},
     "connection:",
     false,
     "request;done;"},
    /* ---- Refused. */
    {"no host",
     "GET / HTTP/1.1\r\n\r\n",
     "HTTP/1.1 400 Bad Request\r\n",
     {"content-type: application/json\r\n", "connection: close\r\n",
      "{\"error\":{\"message\":\"this is not an HTTP/1.1 request\",\"type\":"
      "\"invalid_request_error\",\"param\":null,\"code\":\"malformed_request\"}}"},
     "request;",
     true,
     ""},
    {"second host",
     "GET / HTTP/1.1\r\n" H H "\r\n",
     "HTTP/1.1 400",
     {ALL, ALL, ALL},
     "chunked",
     true,
     ""},
    {"length and chunked",
     "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "HTTP/1.1 400",
     {ALL, ALL, ALL},
     "chunked",
     true,
     ""},
    {"bare LF", "GET / HTTP/1.1\n" H "\r\n", "HTTP/1.1 400", {ALL, ALL, ALL}, "chunked", true, ""},
    {"folded",
     "GET / HTTP/1.1\r\n" H "a: b\r\n c\r\n\r\n",
     "HTTP/1.1 400",
     {ALL, ALL, ALL},
     "chunked",
     true,
     ""},
    {"bad chunk size", C "x\r\n", "HTTP/1.1 400", {ALL, ALL, ALL}, "chunked", true, ""},
    {"bad chunk end", C "1\r\nab\r\n", "HTTP/1.1 400", {ALL, ALL, ALL}, "chunked", true, ""},
    {"too large a body",
     "POST / HTTP/1.1\r\n" H "Content-Length: 1000001\r\n\r\nhello",
     "HTTP/1.1 413",
     {"limits.body_bytes_max is 1000000", "\"body_too_large\"", ALL},
     "chunked",
     true,
     ""},
    {"too large a body, expecting",
     "POST / HTTP/1.1\r\n" H "Content-Length: 1000001\r\nExpect: 100-continue\r\n\r\n",
     "HTTP/1.1 413",
     {ALL, ALL, ALL},
     "100 Continue",
     true,
     ""},
    {"too large a chunk",
     C "f4241\r\n",
     "HTTP/1.1 413",
     {"limits.body_bytes_max is 1000000", ALL, ALL},
     "chunked",
     true,
     ""},
    {"behind a good one",
     "GET /a HTTP/1.1\r\n" H "\r\nGET / HTTP/3.0\r\n\r\n",
     "HTTP/1.1 200",
     {"HTTP/1.1 400", "connection: close\r\n", "malformed"},
     "chunked",
     true,
     "request;done;"},
};

static void
test_row(size_t i)
{
    struct fixture f;
    struct client c;
    bool good;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    CHECK(send_to(&f, &c, span_of(rows[i].request)), rows[i].label);
    CHECK(await(&f, &c, rows[i].has[2], 1), "answered to the end");
    CHECK(!rows[i].closes || await(&f, &c, NULL, 0), "closed");
    turn(&f, 10);
    receive(&c);
    good = c.bytes > 0 && memcmp(c.data, rows[i].status, strlen(rows[i].status)) == 0 &&
           has(&c, rows[i].has[0]) && has(&c, rows[i].has[1]) && has(&c, rows[i].has[2]);
    CHECK(good, "what it must hold");
    CHECK(!has(&c, rows[i].lacks), "what it must not hold");
    if (!good || has(&c, rows[i].lacks))
        printf("# got: %.*s\n", (int)c.bytes, c.data);
    CHECK(c.ended == rows[i].closes, "left open or closed as it should be");
    CHECK(await_log(&f, rows[i].log), "callbacks");
    CHECK(http_server_exchanges(f.server) == 0, "no exchange is left");
    close_client(&c);
    close_fixture(&f);
}

/* ---- What takes more than a row. */

static void
test_large_refusals(void)
{
    static char request[HTTP_HEAD_BYTES_MAX + 1000];
    struct fixture f;
    struct client c;
    size_t at;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    memset(request, 'a', sizeof(request));
    memcpy(request, "GET /", 5);
    send_to(&f, &c, (struct span){request, HTTP_TARGET_BYTES_MAX + 100});
    CHECK(await(&f, &c, NULL, 0) && has(&c, "HTTP/1.1 414"), "414: target too long");
    close_client(&c);

    c = connect_to(&f);
    memcpy(request, "GET / HTTP/1.1\r\nHost: a\r\na: ", 28);
    send_to(&f, &c, (struct span){request, sizeof(request)});
    CHECK(await(&f, &c, NULL, 0) && has(&c, "HTTP/1.1 431"), "431: head too large");
    close_client(&c);

    c = connect_to(&f);
    at = (size_t)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 0; i < HTTP_HEADERS_MAX; i++)
        at += (size_t)snprintf(request + at, sizeof(request) - at, "a: b\r\n");
    send_to(&f, &c, (struct span){request, at});
    CHECK(await(&f, &c, NULL, 0) && has(&c, "HTTP/1.1 431"), "431: too many headers");
    close_client(&c);
    CHECK(strcmp(f.log, "") == 0, "the handler saw none of them");
    close_fixture(&f);
}

/* The client sends a whole large body before it looks: the answer must survive that. */
static void
test_refusal_is_read(void)
{
    struct http_server_limits limits = usual_limits();
    struct fixture f;
    struct client c;
    char *body = calloc(1, BIG_BYTES);

    must(body != NULL);
    limits.body_bytes_max = 100;
    open_fixture(&f, limits);
    c = connect_to(&f);
    CHECK(send_to(&f, &c, SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 3000000\r\n\r\n")) &&
              send_to(&f, &c, (struct span){body, BIG_BYTES}),
          "the body is taken");
    CHECK(await(&f, &c, "\r\n\r\n{\"error\"", 1) && has(&c, "HTTP/1.1 413"),
          "and the answer comes");
    close_client(&c);
    close_fixture(&f);
    free(body);
}

static void
test_keep_alive(void)
{
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    for (size_t i = 1; i <= 5; i++) {
        CHECK(send_to(&f, &c, SPAN_LIT("POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello")),
              "send");
        CHECK(await(&f, &c, "hello", i), "one after the other");
    }
    CHECK(http_server_connections(f.server) == 1, "over one connection");
    close_client(&c);
    close_fixture(&f);
}

static void
test_pipelining(void)
{
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    CHECK(send_to(&f, &c,
                  SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n"
                           "POST /1 HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"
                           "GET /2 HTTP/1.1\r\n" H "\r\nGET /3 HT")),
          "three and a half at once");
    turn(&f, 10);
    CHECK(send_to(&f, &c, SPAN_LIT("TP/1.1\r\n" H "\r\n")),
          "the other half, while the first waits");
    CHECK(await_log(&f, "request;"), "one at a time");
    turn(&f, 10);
    CHECK(f.waiting != NULL && http_exchange_user(f.waiting) == &f, "the exchange is open");
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("first"));
    CHECK(await(&f, &c, "x-path: /3", 1), "all are answered");
    CHECK(memmem(c.data, c.bytes, "first", 5) < memmem(c.data, c.bytes, "x-path: /1", 10) &&
              memmem(c.data, c.bytes, "x-path: /1", 10) < memmem(c.data, c.bytes, "x-path: /2", 10),
          "in order");
    CHECK(await_log(&f, "request;done;request;done;request;done;request;done;"), "callbacks");
    close_client(&c);
    close_fixture(&f);
}

static void
test_chunked_in_pieces(void)
{
    static const char request[] = C "3\r\nabc\r\n2;x\r\nde\r\n0\r\nt: 1\r\n\r\n";
    const size_t bytes = sizeof(request) - 1;
    struct fixture f;
    struct client c;
    bool good = true;

    open_fixture(&f, usual_limits());
    for (size_t cut = 1; cut < bytes; cut++) {
        c = connect_to(&f);
        good = good && send_to(&f, &c, (struct span){request, cut});
        turn(&f, 3);
        good = good && c.bytes == 0;
        good = good && send_to(&f, &c, (struct span){request + cut, bytes - cut});
        good = good && await(&f, &c, ALL "abcde", 1);
        close_client(&c);
    }
    CHECK(good, "chunked request cut at every byte");
    c = connect_to(&f);
    for (size_t i = 0; i < bytes; i++)
        send_to(&f, &c, (struct span){request + i, 1});
    CHECK(await(&f, &c, ALL "abcde", 1), "byte by byte");
    close_client(&c);
    close_fixture(&f);
}

/* Long enough to be read to its place; what is counted comes back to nothing. */
static void
test_large_body(bool chunked)
{
    const size_t bytes = 700001;
    struct http_server_limits limits = usual_limits();
    _Atomic size_t counted = 0;
    struct fixture f;
    struct client c;
    char *body = malloc(bytes), head[200];
    const char *start;

    must(body != NULL);
    limits.buffers_bytes = &counted;
    limits.buffers_bytes_max = 2000000;
    for (size_t i = 0; i < bytes; i++)
        body[i] = (char)('a' + i % 23);
    open_fixture(&f, limits);
    c = connect_to(&f);
    snprintf(head, sizeof(head),
             chunked ? "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
                     : "POST / HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n",
             bytes);
    CHECK(send_to(&f, &c, span_of(head)) && send_to(&f, &c, (struct span){body, bytes / 2}),
          "half");
    turn(&f, 10);
    CHECK(atomic_load(&counted) >= bytes / 2 && atomic_load(&counted) <= bytes * 2,
          "it is counted");
    CHECK(send_to(&f, &c, (struct span){body + bytes / 2, bytes - bytes / 2}) &&
              send_to(&f, &c, chunked ? SPAN_LIT("\r\n0\r\n\r\n") : SPAN_LIT("")) &&
              send_to(&f, &c, SPAN_LIT("GET /behind HTTP/1.1\r\n" H "\r\n")),
          "the rest, and a next one");
    CHECK(await(&f, &c, "x-path: /behind", 1), "both are answered");
    start = memmem(c.data, c.bytes, ALL, 4);
    CHECK(start != NULL && c.bytes > bytes + 4 && memcmp(start + 4, body, bytes) == 0,
          "the body came as it was sent");
    CHECK(await_log(&f, "request;done;request;done;"), "callbacks");
    CHECK(atomic_load(&counted) == 0, "nothing is counted any more");
    close_client(&c);
    close_fixture(&f);
    free(body);
}

static void
test_buffers_limit(void)
{
    struct http_server_limits limits = usual_limits();
    _Atomic size_t counted = 5000;
    struct fixture f;
    struct client c;

    limits.buffers_bytes = &counted;
    limits.buffers_bytes_max = 6000;
    open_fixture(&f, limits);
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\nhello"));
    CHECK(await(&f, &c, NULL, 0) && has(&c, "HTTP/1.1 503"), "503: no room for all bodies");
    CHECK(has(&c, "limits.buffers_bytes_max is 6000"), "it names the limit");
    close_client(&c);
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\nhello"));
    turn(&f, 10);
    CHECK(atomic_load(&counted) == 6000, "an announced length is the most that is taken");
    close_client(&c);
    for (int i = 0; i < PASSES_MAX && http_server_connections(f.server) > 0; i++)
        loop_pass(f.loop, 1000000);
    CHECK(atomic_load(&counted) == 5000, "given back by a client that leaves");
    close_fixture(&f);
}

static void
test_expect(void)
{
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    send_to(&f, &c,
            SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
    CHECK(await(&f, &c, "HTTP/1.1 100 Continue\r\n\r\n", 1), "go on");
    send_to(&f, &c, SPAN_LIT("hello"));
    CHECK(await(&f, &c, "hello", 1) && has(&c, "HTTP/1.1 200"), "then the answer");
    close_client(&c);
    c = connect_to(&f);
    send_to(
        &f, &c,
        SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"));
    CHECK(await(&f, &c, "hello", 1) && !has(&c, "100 Continue"), "the body is there already");
    close_client(&c);
    close_fixture(&f);
}

enum leaving { CLOSE, RESET, HALF_CLOSE, CLOSE_WITH_NEXT, SERVER_CLOSES };

static void
test_gone(enum leaving how, const char *label)
{
    const struct linger reset = {.l_onoff = 1};
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, "request;"), label);
    http_response_start(f.waiting, 200, NULL, 0);
    http_response_write(f.waiting, SPAN_LIT("begun"));
    CHECK(await(&f, &c, "begun", 1), "the response has begun");
    CHECK(http_server_exchanges(f.server) == 1, "an exchange is open");
    if (how == CLOSE_WITH_NEXT) {
        send_to(&f, &c, SPAN_LIT("GET /next HTTP/1.1\r\n" H "\r\n"));
        turn(&f, 10);
    }
    if (how == RESET || how == CLOSE_WITH_NEXT)
        must(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    if (how == HALF_CLOSE)
        must(shutdown(c.fd, SHUT_WR) == 0);
    else if (how != SERVER_CLOSES)
        close(c.fd);
    if (how == SERVER_CLOSES) {
        http_server_close(f.server);
        f.server = NULL;
    }
    CHECK(await_log(&f, "request;gone;"), "gone, once, and nothing else");
    CHECK(f.server == NULL || http_server_connections(f.server) == 0, "no connection is left");
    if (how == HALF_CLOSE || how == SERVER_CLOSES)
        close(c.fd);
    free(c.data);
    close_fixture(&f);
}

/* A client that does not read: what waits stays bounded, and drained is called once it reads. */
static void
test_back_pressure(void)
{
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    f.stream_left = BIG_BYTES;
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n"));
    for (int i = 0; i < 500; i++)
        loop_pass(f.loop, 0);
    CHECK(f.pending_max <= f.limits.high_water_bytes + 20000, "what waits is bounded");
    CHECK(await(&f, &c, "0\r\n\r\n", 1), "all of it comes once the client reads");
    CHECK(c.bytes > BIG_BYTES && count(&c, "ssss") == BIG_BYTES / 4, "and all of it is there");
    CHECK(strstr(f.log, "drained;drained;") != NULL, "drained was called again and again");
    CHECK(strcmp(f.log + strlen(f.log) - 5, "done;") == 0, "and done at the end");
    close_client(&c);
    close_fixture(&f);
}

enum slowness { SLOW_HEAD, SLOW_BODY, SLOW_NEXT, SLOW_READER, SILENT };

static void
test_slow(enum slowness how, const char *label, const char *expect, const char *log)
{
    struct http_server_limits limits = usual_limits();
    struct fixture f;
    struct client c;

    limits.head_ns = how == SLOW_HEAD ? 20000000 : limits.head_ns;
    limits.body_idle_ns = how == SLOW_BODY ? 20000000 : limits.body_idle_ns;
    limits.keep_alive_ns = how == SLOW_NEXT || how == SILENT ? 20000000 : limits.keep_alive_ns;
    limits.write_idle_ns = how == SLOW_READER ? 20000000 : limits.write_idle_ns;
    limits.high_water_bytes = 100000000;
    open_fixture(&f, limits);
    f.stream_left = 20000000; /* more than all socket buffers */
    c = connect_to(&f);
    if (how == SLOW_HEAD)
        send_to(&f, &c, SPAN_LIT("GET / HTTP/1.1\r\nHost"));
    else if (how == SLOW_BODY)
        send_to(&f, &c, SPAN_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhel"));
    else if (how == SLOW_NEXT)
        send_to(&f, &c, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    else if (how == SLOW_READER)
        send_to(&f, &c, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, log), label);
    if (how == SLOW_READER) { /* it went already; what the kernel has may be read now */
        CHECK(http_server_connections(f.server) == 0, "closed");
        receive(&c);
    } else {
        CHECK(await(&f, &c, NULL, 0), "closed");
    }
    CHECK(has(&c, expect) || c.bytes == strlen(expect), "with this");
    close_client(&c);
    close_fixture(&f);
}

static void
test_connection_limit(void)
{
    struct http_server_limits limits = usual_limits();
    struct fixture f;
    struct client c[3];

    limits.connections_max = 2;
    open_fixture(&f, limits);
    for (size_t i = 0; i < 3; i++) {
        c[i] = connect_to(&f); /* the kernel completes it, accepted or not */
        send_to(&f, &c[i], SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    }
    CHECK(await(&f, &c[0], ALL, 1) && await(&f, &c[1], ALL, 1), "two are served");
    turn(&f, 20);
    receive(&c[2]);
    CHECK(http_server_connections(f.server) == 2 && c[2].bytes == 0, "the third waits");
    close_client(&c[0]);
    CHECK(await(&f, &c[2], ALL, 1), "until there is room");
    close_client(&c[1]);
    close_client(&c[2]);
    close_fixture(&f);
}

static void
test_drain(void)
{
    struct fixture f;
    struct client idle, busy, unread;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    open_fixture(&f, usual_limits());
    idle = connect_to(&f);
    unread = connect_to(&f);
    busy = connect_to(&f);
    send_to(&f, &busy, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, "request;"), "one is busy");
    for (int i = 0; i < PASSES_MAX && http_server_connections(f.server) < 3; i++)
        loop_pass(f.loop, 1000000);
    must(send(unread.fd, "GET / HTTP/1.1\r\n" H "\r\n", 27, 0) ==
         27); /* not seen by the loop yet */
    http_server_drain(f.server);
    CHECK(await(&f, &idle, NULL, 0) && idle.bytes == 0, "the idle one closes");
    CHECK(await(&f, &unread, NULL, 0) && has(&unread, "connection: close\r\n"),
          "a request that was on its way is answered");
    CHECK(connect(fd, (struct sockaddr *)&f.address, sizeof(f.address)) != 0, "no new ones");
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("late"));
    CHECK(await(&f, &busy, NULL, 0) && has(&busy, "late") && has(&busy, "connection: close\r\n"),
          "the busy one is answered and closes");
    CHECK(http_server_connections(f.server) == 0 && http_server_exchanges(f.server) == 0, "empty");
    close(fd);
    close_client(&idle);
    close_client(&busy);
    close_client(&unread);
    close_fixture(&f);
}

static void
test_addresses(void)
{
    struct sockaddr_storage peer, local;
    struct sockaddr_in mine;
    socklen_t mine_bytes = sizeof(mine);
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, "request;"), "open");
    must(getsockname(c.fd, (struct sockaddr *)&mine, &mine_bytes) == 0);
    http_exchange_peer(f.waiting, &peer, &local);
    CHECK(((struct sockaddr_in *)&peer)->sin_port == mine.sin_port, "the peer's address");
    CHECK(((struct sockaddr_in *)&local)->sin_port == f.address.sin_port, "ours");
    CHECK(arena_take(http_exchange_arena(f.waiting), 100000) != NULL, "an arena");
    http_response_abort(f.waiting);
    CHECK(await(&f, &c, NULL, 0) && c.bytes == 0, "aborted before it began");
    CHECK(strcmp(f.log, "request;") == 0, "no callback for what was aborted");
    close_client(&c);
    close_fixture(&f);
}

/* Two listeners on one port, and an address that is taken. */
static void
test_listening(void)
{
    struct http_server_limits limits = usual_limits();
    struct http_server *first = NULL, *second = NULL, *third = NULL;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage bound;
    struct loop *loop;

    must(loop_open(&loop) == ERR_OK);
    CHECK(http_server_open(loop, (struct sockaddr *)&any, sizeof(any), true, "lo", &limits,
                           &handlers, NULL, &first) == ERR_OK,
          "bound to a device");
    http_server_address(first, &bound);
    CHECK(http_server_open(loop, (struct sockaddr *)&bound, sizeof(any), true, "lo", &limits,
                           &handlers, NULL, &second) == ERR_OK,
          "a second listener on the port");
    CHECK(http_server_open(loop, (struct sockaddr *)&bound, sizeof(any), false, NULL, &limits,
                           &handlers, NULL, &third) == ERR_IO &&
              third == NULL,
          "taken");
    http_server_close(first);
    http_server_close(second);
    http_server_close(NULL);
    loop_close(loop);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        test_row(i);
    test_large_refusals();
    test_refusal_is_read();
    test_keep_alive();
    test_pipelining();
    test_chunked_in_pieces();
    test_large_body(false);
    test_large_body(true);
    test_buffers_limit();
    test_expect();
    test_gone(CLOSE, "client closes");
    test_gone(RESET, "client resets");
    test_gone(HALF_CLOSE, "client closes its side");
    test_gone(CLOSE_WITH_NEXT, "client leaves with a next request unread");
    test_gone(SERVER_CLOSES, "the server is closed");
    test_back_pressure();
    test_slow(SLOW_HEAD, "slow head", "HTTP/1.1 408", "");
    test_slow(SLOW_BODY, "slow body", "HTTP/1.1 408", "");
    test_slow(SLOW_NEXT, "no next request", "HTTP/1.1 200", "request;done;");
    test_slow(SILENT, "nothing at all", "", "");
    test_slow(SLOW_READER, "slow reader", "HTTP/1.1 200", "request;gone;");
    test_connection_limit();
    test_drain();
    test_addresses();
    test_listening();
    return tap_done();
}

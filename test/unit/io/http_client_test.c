/* http_client_test - calls against a scripted server on the same loop, over real loopback sockets.
 * The server reads a request, takes the next step of its script, and sends what stands there.
 * Limits are short where one should pass, and nothing depends on how long anything takes. */
#include "io/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/clock.h"
#include "tap.h"

#define MS         1000000u
#define PEERS_MAX  128u
#define STEPS_MAX  6u
#define BODY_BYTES (1024u * 1024u)
#define PASSES_MAX 5000u /* of 10 ms at most: a test that hangs ends */

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

    (void)c;
    p->heads++;
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
    for (unsigned i = 0; i < PASSES_MAX && !p->done && !p->cancelled; i++)
        pass();
    return p->done || p->cancelled;
}

static void
settle(void)
{
    for (unsigned i = 0; i < 8; i++)
        loop_pass(loop, 0);
}

static void
probe_call(struct probe *p)
{
    start(p, &plain, &no_limits);
    wait_for(p);
}

/* ---- Scripts. */

#define OK_TEXT "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-last: here\r\n\r\n"                        \
    "5\r\nhello\r\n1;x=y\r\n \r\n00a\r\nwide world\r\n0\r\nx-sum: 42\r\n\r\n"

struct want { /* of one call; a row's calls go one after the other */
    unsigned status;
    const char *body; /* NULL: failed, with why */
    enum http_failure why;
    unsigned sent;
    bool fresh;
    unsigned connections; /* so far */
};

static const struct {
    const char *label;
    struct step steps[STEPS_MAX];
    struct want wants[3];
    size_t idle; /* kept at the end */
} scripts[] = {
    {"a kept connection is used again",
     {{OK_TEXT, STAY}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = false, .connections = 1}},
     1},
    {"Connection: close",
     {{"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", STAY},
      {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = true, .connections = 2}},
     1},
    {"HTTP/1.0 is not kept",
     {{"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"ended by close",
     {{"HTTP/1.1 200 OK\r\n\r\nas long as it takes", CLOSE}},
     {{200, "as long as it takes", .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"closed under us: sent again, once, on a fresh one",
     {{OK_TEXT, STAY}, {"", CLOSE}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 2, .fresh = true, .connections = 2}},
     1},
    {"reset under us: the same",
     {{OK_TEXT, STAY}, {"", RESET}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 2, .fresh = true, .connections = 2}},
     1},
    {"closed under us twice: not a third time",
     {{OK_TEXT, STAY}, {"", CLOSE}, {"", CLOSE}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {0, NULL, HTTP_FAILED_EOF, .sent = 2, .fresh = true, .connections = 2}},
     0},
    {"a fresh one closed without a word: not sent again",
     {{"", CLOSE}, {OK_TEXT, STAY}},
     {{0, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = true, .connections = 2}},
     1},
    {"a kept one closed after one byte: not sent again",
     {{OK_TEXT, STAY}, {"H", CLOSE}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {0, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = false, .connections = 1}},
     0},
    {"closed while nobody used it: dropped quietly",
     {{OK_TEXT, CLOSE}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = true, .connections = 2}},
     1},
    {"more than the response: the connection is dropped",
     {{OK_TEXT "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", STAY}, {OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = true, .connections = 2}},
     1},
    {"garbage",
     {{"SSH-2.0-OpenSSH\r\n\r\n", STAY}},
     {{0, NULL, HTTP_FAILED_MALFORMED, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"a chunk that is none",
     {{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", STAY}},
     {{200, NULL, HTTP_FAILED_MALFORMED, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"cut in the head",
     {{"HTTP/1.1 200 OK\r\ncontent-le", CLOSE}},
     {{0, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"cut in the body",
     {{"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", CLOSE}},
     {{200, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"cut between chunks",
     {{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", CLOSE}},
     {{200, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"reset while a body ends by close",
     {{"HTTP/1.1 200 OK\r\n\r\nhalf", RESET}},
     {{200, NULL, HTTP_FAILED_EOF, .sent = 1, .fresh = true, .connections = 1}},
     0},
    {"1xx are swallowed",
     {{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" OK_TEXT, STAY}},
     {{200, "ok", .sent = 1, .fresh = true, .connections = 1}},
     1},
    {"204 has no body, and the connection is kept",
     {{"HTTP/1.1 204 No Content\r\n\r\n", STAY}, {OK_TEXT, STAY}},
     {{204, "", .sent = 1, .fresh = true, .connections = 1},
      {200, "ok", .sent = 1, .fresh = false, .connections = 1}},
     1},
    {"chunked, a byte at a time, and trailers",
     {{CHUNKED, DRIP}, {CHUNKED, STAY}},
     {{200, "hello wide world", .sent = 1, .fresh = true, .connections = 1},
      {200, "hello wide world", .sent = 1, .fresh = false, .connections = 1}},
     1},
    {"by close, a byte at a time",
     {{"HTTP/1.1 200 OK\r\n\r\nslow", DRIP_CLOSE}},
     {{200, "slow", .sent = 1, .fresh = true, .connections = 1}},
     0},
};

static bool
as_wanted(const struct probe *p, const struct want *w)
{
    if (w->body == NULL ? !p->failed || p->why != w->why
                        : !p->ended || strcmp(p->body, w->body) != 0)
        return false;
    return p->status == w->status && p->sent == w->sent && p->fresh == w->fresh &&
           server.connections == w->connections;
}

static void
test_scripts(void)
{
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        begin(scripts[i].steps, STEPS_MAX);
        for (size_t k = 0; k < 3 && scripts[i].wants[k].sent != 0; k++) {
            struct probe p = {0};
            probe_call(&p);
            CHECK(as_wanted(&p, &scripts[i].wants[k]), scripts[i].label);
            settle();
        }
        CHECK(http_target_idle(target) == scripts[i].idle, scripts[i].label);
        finish();
    }
}

static void
test_trailers(void)
{
    struct probe p = {0};

    begin(&(struct step){CHUNKED, STAY}, 1);
    probe_call(&p);
    CHECK(p.ended && p.trailers == 1 && strcmp(p.trailer, "42") == 0, "trailers are handed over");
    CHECK(strcmp(p.last_header, "here") == 0, "headers are handed over");
    finish();
}

/* ---- The request. */

static void
test_request(void)
{
    const struct http_header headers[] = {{SPAN_LIT("Authorization"), SPAN_LIT("Bearer x")},
                                          {SPAN_LIT("x-empty"), SPAN_LIT("")}};
    const struct http_header split[] = {{SPAN_LIT("x"), SPAN_LIT("a\r\nhost: evil")}};
    const struct span parts[] = {SPAN_LIT("{\"a\""), SPAN_LIT(""), SPAN_LIT(":1}")};
    struct span many[HTTP_CALL_PARTS_MAX + 1] = {{NULL, 0}};
    struct http_call_request r = {SPAN_LIT("POST"), SPAN_LIT("/v1/x?y=z"), headers, 2, parts, 3};
    struct probe p = {0}, get = {0}, head = {0};

    begin((struct step[]){{OK_TEXT, STAY},
                          {OK_TEXT, STAY},
                          {"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", STAY}},
          3);
    start(&p, &r, &no_limits);
    CHECK(p.sent == 0 && server.requests == 0, "start calls nobody");
    wait_for(&p);
    CHECK(strcmp(server.request, "POST /v1/x?y=z HTTP/1.1\r\nhost: node.example:8000\r\n"
                                 "Authorization: Bearer x\r\nx-empty: \r\ncontent-length: 7\r\n\r\n"
                                 "{\"a\":1}") == 0,
          "the request, byte for byte");
    r = (struct http_call_request){.method = SPAN_LIT("GET"), .target = SPAN_LIT("/metrics")};
    start(&get, &r, &no_limits);
    wait_for(&get);
    CHECK(get.ended && strcmp(server.request, "GET /metrics HTTP/1.1\r\n"
                                              "host: node.example:8000\r\n\r\n") == 0,
          "GET says no length");
    r.method = SPAN_LIT("HEAD");
    start(&head, &r, &no_limits);
    wait_for(&head);
    CHECK(head.ended && head.status == 200 && head.body_bytes == 0, "HEAD has no body");
    CHECK(http_target_idle(target) == 1 && server.connections == 1, "and the connection is kept");
    r.headers = split;
    r.header_count = 1;
    CHECK(http_call_start(target, &r, &no_limits, &probe_fn, &p, &p.call) == ERR_ARG,
          "a header cannot be split");
    r.header_count = 0;
    r.target = SPAN_LIT("/a b");
    CHECK(http_call_start(target, &r, &no_limits, &probe_fn, &p, &p.call) == ERR_ARG,
          "nor the target");
    r.target = SPAN_LIT("/");
    r.parts = many;
    r.part_count = HTTP_CALL_PARTS_MAX + 1;
    CHECK(http_call_start(target, &r, &no_limits, &probe_fn, &p, &p.call) == ERR_FULL,
          "too many parts");
    finish();
}

static char body[BODY_BYTES];

static const struct http_call_request *
large_request(struct span *parts)
{
    static struct http_call_request r;
    static const size_t cuts[] = {0, 1, 70000, 70001, 900000, BODY_BYTES};

    for (size_t i = 0; i < BODY_BYTES; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < 5; i++)
        parts[i] = (struct span){body + cuts[i], cuts[i + 1] - cuts[i]};
    r = (struct http_call_request){
        .method = SPAN_LIT("POST"), .target = SPAN_LIT("/"), .parts = parts, .part_count = 5};
    return &r;
}

/* More than the kernel takes for a peer that does not read. */
static const struct http_call_request *
endless_request(struct span *parts)
{
    static struct http_call_request r;

    for (size_t i = 0; i < HTTP_CALL_PARTS_MAX; i++)
        parts[i] = (struct span){body, BODY_BYTES};
    r = (struct http_call_request){.method = SPAN_LIT("POST"),
                                   .target = SPAN_LIT("/"),
                                   .parts = parts,
                                   .part_count = HTTP_CALL_PARTS_MAX};
    return &r;
}

static void
test_large_body(void)
{
    struct span parts[5];
    struct probe p = {0}, again = {0};

    begin((struct step[]){{OK_TEXT, STAY}, {"", CLOSE}, {OK_TEXT, STAY}}, 3);
    server.want_body = (struct span){body, BODY_BYTES};
    start(&p, large_request(parts), &no_limits);
    wait_for(&p);
    CHECK(p.ended && server.requests == 1 && !server.body_differs, "1 MB in 5 parts arrives");
    CHECK(http_target_idle(target) == 1, "and the connection is kept");
    start(&again, large_request(parts), &no_limits);
    wait_for(&again);
    CHECK(again.ended && again.sent == 2 && server.requests == 3 && !server.body_differs,
          "and is sent whole again");
    finish();
}

static void
test_early_response(void)
{
    struct span parts[HTTP_CALL_PARTS_MAX];
    struct probe p = {0};

    begin(&(struct step){"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig", EARLY}, 1);
    start(&p, endless_request(parts), &no_limits);
    wait_for(&p);
    CHECK(p.ended && p.status == 413 && strcmp(p.body, "big") == 0, "an early answer is delivered");
    CHECK(p.sent == 0 && http_target_idle(target) == 0, "and its connection not kept");
    finish();
}

/* ---- Limits and failures. */

static void
test_limits(void)
{
    static const struct {
        const char *label;
        struct step step;
        struct http_call_limits limits;
        enum http_failure why;
    } rows[] = {
        {"first byte",
         {NULL, STAY},
         {.first_byte_ns = 20 * MS, .idle_ns = 1},
         HTTP_FAILED_FIRST_BYTE},
        {"a 1xx is no first byte",
         {"HTTP/1.1 100 Continue\r\n\r\n", STAY},
         {.first_byte_ns = 20 * MS, .idle_ns = 1},
         HTTP_FAILED_FIRST_BYTE},
        {"idle in the head",
         {"HTTP/1.1 200 OK\r\n", STAY},
         {.first_byte_ns = 60000ull * MS, .idle_ns = 20 * MS},
         HTTP_FAILED_IDLE},
        {"idle in the body",
         {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", STAY},
         {.first_byte_ns = 60000ull * MS, .idle_ns = 20 * MS},
         HTTP_FAILED_IDLE},
        {"too large", {OK_TEXT, STAY}, {.body_bytes_max = 1}, HTTP_FAILED_MALFORMED},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct probe p = {0};
        begin(&rows[i].step, 1);
        start(&p, &plain, &rows[i].limits);
        wait_for(&p);
        CHECK(p.failed && p.why == rows[i].why && p.sent == 1, rows[i].label);
        CHECK(http_target_idle(target) == 0, rows[i].label);
        finish();
    }
}

/* Not after a time-out: the request reached the peer over a kept connection, which said nothing. */
static void
test_no_resend_after_timeout(void)
{
    const struct http_call_limits limits = {.first_byte_ns = 20 * MS};
    struct probe a = {0}, b = {0};

    begin(&(struct step){OK_TEXT, STAY}, 1);
    probe_call(&a);
    start(&b, &plain, &limits);
    wait_for(&b);
    CHECK(b.failed && b.why == HTTP_FAILED_FIRST_BYTE && b.sent == 1 && !b.fresh &&
              server.requests == 2,
          "a time-out on a kept connection is no reason to send again");
    finish();
}

static void
test_stuck_sending(void)
{
    const struct http_call_limits limits = {.first_byte_ns = 50 * MS};
    struct span parts[HTTP_CALL_PARTS_MAX];
    struct probe p = {0};

    begin(&(struct step){"", EARLY}, 1);
    start(&p, endless_request(parts), &limits);
    wait_for(&p);
    CHECK(p.failed && p.why == HTTP_FAILED_FIRST_BYTE && p.sent == 0,
          "a peer that does not take the request");
    finish();
}

static void
test_connect(void)
{
    const struct http_call_limits limits = {.connect_ns = 20 * MS};
    struct sockaddr_in address;
    struct probe refused = {0}, stuck = {0};
    int fd = listen_socket(0, &address), fillers[4];

    close(fd);
    open_target_at(&address, NULL);
    start(&refused, &plain, &no_limits);
    wait_for(&refused);
    CHECK(refused.failed && refused.why == HTTP_FAILED_CONNECT && refused.sent == 0, "refused");
    http_client_close(client);

    fd = listen_socket(0, &address); /* nobody accepts: after a few, the kernel answers no more */
    for (unsigned i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&address, sizeof(address)) != 0 &&
            errno != EINPROGRESS)
            abort();
    }
    settle();
    open_target_at(&address, NULL);
    start(&stuck, &plain, &limits);
    wait_for(&stuck);
    CHECK(stuck.failed && stuck.why == HTTP_FAILED_CONNECT_TIMEOUT && stuck.sent == 0,
          "nobody answers");
    http_client_close(client);
    for (unsigned i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
}

static void
test_bind(void)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, bad = {.sin_family = AF_INET};
    struct probe p = {0}, q = {0};

    begin(&(struct step){OK_TEXT, STAY}, 1);
    http_client_close(client);
    inet_pton(AF_INET, "127.0.0.2", &from.sin_addr);
    open_target_at(&server.address, &from);
    probe_call(&p);
    CHECK(p.ended && server.peers[0].address.sin_addr.s_addr == from.sin_addr.s_addr,
          "from the address it is bound to");
    http_client_close(client);
    inet_pton(AF_INET, "192.0.2.1", &bad.sin_addr); /* for documentation: nobody has it */
    open_target_at(&server.address, &bad);
    probe_call(&q);
    CHECK(q.failed && q.why == HTTP_FAILED_LOCAL, "an address that is not ours");
    CHECK(http_target_open(client, (struct sockaddr *)&bad, sizeof(bad), SPAN_LIT("a\nb"), NULL, 0,
                           &target) == ERR_ARG,
          "a host that is none");
    finish();
}

/* ---- What callbacks may do. */

static void
test_from_callbacks(void)
{
    static const struct {
        const char *label;
        enum where where;
        enum what what;
    } rows[] = {
        {"cancel at sent", AT_SENT, CANCEL},
        {"cancel at head", AT_HEAD, CANCEL},
        {"cancel at data", AT_DATA, CANCEL},
        {"close target at sent", AT_SENT, CLOSE_TARGET},
        {"close target at head", AT_HEAD, CLOSE_TARGET},
        {"close target at data", AT_DATA, CLOSE_TARGET},
        {"close target at end", AT_END, CLOSE_TARGET},
        {"close target at failed", AT_FAILED, CLOSE_TARGET},
        {"close client at sent", AT_SENT, CLOSE_CLIENT},
        {"close client at head", AT_HEAD, CLOSE_CLIENT},
        {"close client at data", AT_DATA, CLOSE_CLIENT},
        {"close client at end", AT_END, CLOSE_CLIENT},
        {"close client at failed", AT_FAILED, CLOSE_CLIENT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct probe p = {.where = rows[i].where, .what = rows[i].what}, other = {0};
        bool fails = rows[i].where == AT_FAILED;
        unsigned before;
        begin(&(struct step){fails ? "nonsense\r\n\r\n" : CHUNKED, STAY}, 1);
        start(&p, &plain, &no_limits);
        start(&other, &plain, &no_limits); /* answered by nobody */
        wait_for(&p);
        before = p.sent + p.heads + p.ended + p.failed + (unsigned)p.body_bytes;
        settle();
        CHECK(p.cancelled &&
                  before == p.sent + p.heads + p.ended + p.failed + (unsigned)p.body_bytes,
              rows[i].label);
        CHECK(!other.done, "the other call hears nothing");
        finish();
    }
}

static void
test_start_from_callbacks(void)
{
    static const enum where wheres[] = {AT_SENT, AT_DATA, AT_END};

    for (size_t i = 0; i < sizeof(wheres) / sizeof(wheres[0]); i++) {
        struct probe b = {0}, a = {.where = wheres[i], .what = START_ANOTHER, .another = &b};
        begin((struct step[]){{OK_TEXT, STAY}, {OK_TEXT, STAY}}, 2);
        probe_call(&a);
        wait_for(&b);
        CHECK(a.ended && b.ended && a.call != b.call, "a call starts another");
        CHECK(server.connections == (wheres[i] == AT_SENT ? 2u : 1u),
              "over the kept one, if it is");
        finish();
    }
}

static void
test_cancel_before_begin(void)
{
    struct probe p = {0};

    begin(&(struct step){OK_TEXT, STAY}, 1);
    start(&p, &plain, &no_limits);
    http_call_cancel(p.call);
    settle();
    CHECK(server.connections == 0 && !p.done && p.sent == 0, "cancelled before its turn");
    start(&p, &plain, &no_limits);
    loop_pass(loop, 0); /* connecting now */
    http_call_cancel(p.call);
    settle();
    CHECK(!p.done && p.sent == 0, "cancelled while connecting");
    finish();
}

/* ---- Back-pressure. */

/* Paused at the first data for longer than the idle limit; the rest comes after. */
static void
test_pause(void)
{
    static char text[200 + BODY_BYTES];
    const struct http_call_limits limits = {.idle_ns = 20 * MS};
    struct probe p = {.where = AT_DATA, .what = PAUSE};
    struct step step = {"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n", STAY};
    int head;

    begin(&step, 1);
    memset(text, 'z', sizeof(text) - 1);
    head = snprintf(text, sizeof(text), "%s", step.text);
    text[head] = 'z';
    text[head + 300000] = '\0';
    server.steps[0].text = text;
    start(&p, &plain, &limits);
    wait_for(&p);
    CHECK(p.ended && p.resumed && p.body_bytes == 300000, "paused, resumed, all came");
    CHECK(p.most_while_paused <= 65536, "while paused no more than one buffer comes");
    CHECK(http_target_idle(target) == 1, "and the connection is kept");
    finish();
}

/* The peer breaks off while the call is paused: not heard before it is resumed, and the loop does
 * not turn around it either. */
static void
test_pause_broken(void)
{
    struct probe p = {.where = AT_HEAD, .what = PAUSE};
    unsigned passes = 0;

    begin(&(struct step){"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", STAY}, 1);
    start(&p, &plain, &no_limits);
    while (p.heads == 0)
        pass();
    peer_close(&server.peers[0], true);
    for (; passes < 100000 && !p.resumed; passes++) {
        loop_pass(loop, 10 * MS);
        CHECK(p.resumed || !p.done, "nothing is heard while paused");
    }
    CHECK(passes < 1000, "and nothing turns");
    wait_for(&p);
    CHECK(p.failed && p.why == HTTP_FAILED_EOF, "resumed: it is found broken");
    finish();
}

/* ---- The pool. */

static void
test_pool_limit(void)
{
    static struct probe probes[HTTP_POOL_IDLE_MAX + 6];
    size_t count = sizeof(probes) / sizeof(probes[0]), ended = 0;

    memset(probes, 0, sizeof(probes));
    begin(&(struct step){OK_TEXT, STAY}, 1);
    for (size_t i = 0; i < STEPS_MAX; i++)
        server.steps[i].text = OK_TEXT;
    for (size_t i = 0; i < count; i++)
        start(&probes[i], &plain, &no_limits);
    for (size_t i = 0; i < count; i++) {
        wait_for(&probes[i]);
        ended += probes[i].ended;
    }
    CHECK(ended == count && server.connections == count, "many at once");
    CHECK(http_target_idle(target) == HTTP_POOL_IDLE_MAX, "kept up to the limit");
    finish();
}

static void
test_pool_expiry(void)
{
    struct probe p = {0};

    begin(&(struct step){OK_TEXT, STAY}, 1);
    probe_call(&p);
    CHECK(http_target_idle(target) == 1, "kept");
    for (unsigned i = 0; i < PASSES_MAX && http_target_idle(target) != 0; i++)
        loop_pass(loop, 10 * MS);
    CHECK(http_target_idle(target) == 0, "and closed when it is old");
    finish();
}

int
main(void)
{
    if (loop_open(&loop) != ERR_OK)
        return 1;
    test_scripts();
    test_trailers();
    test_request();
    test_large_body();
    test_early_response();
    test_limits();
    test_no_resend_after_timeout();
    test_stuck_sending();
    test_connect();
    test_bind();
    test_from_callbacks();
    test_start_from_callbacks();
    test_cancel_before_begin();
    test_pause();
    test_pause_broken();
    test_pool_limit();
    test_pool_expiry();
    loop_close(loop);
    return tap_done();
}

/* http_server_test - a table of exchanges, one a connection: what is answered, what is refused and
 * how; then what concerns the listener and all connections together. */
#include "http_server_fixture.h"

/* ---- One exchange a row, on a connection of its own. */

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
     "GET http://a/a?c HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"x-path: /a\r\nx-query: c\r\n", ALL, ALL},
     "connection:",
     false,
     "request;done;"},
    {"absolute target without a path",
     "GET http://a?c HTTP/1.1\r\n" H "\r\n",
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
    {"with trailers, the bad ones left out",
     "GET /trailers HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"trailer: X-End\r\n", ALL, ALL "3\r\nabc\r\n0\r\nX-End: y" ALL},
     "injected",
     false,
     "request;done;"},
    {"no place for trailers",
     "GET /trailers-length HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"content-length: 3\r\n", ALL, ALL "abc"},
     "X-End: ",
     false,
     "request;done;"},
    {"trailers to 1.0",
     "GET /trailers HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200",
     {ALL, ALL, ALL "abc"},
     "X-End: ",
     true,
     "request;done;"},
    {"trailers to HEAD",
     "HEAD /trailers HTTP/1.1\r\n" H "\r\n",
     "HTTP/1.1 200",
     {"transfer-encoding: chunked\r\n", ALL, ALL},
     "X-End: ",
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
    {"a stranger's body",
     "POST /stranger HTTP/1.1\r\n" H "Content-Length: 500000\r\n\r\nhello",
     "HTTP/1.1 200",
     {"connection: close\r\n", "content-length: 0\r\n", ALL},
     "hello",
     true,
     "request;done;"},
    {"a stranger's body, none of it here",
     "POST /stranger HTTP/1.1\r\n" H "Content-Length: 500000\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", "content-length: 0\r\n", ALL},
     "hello",
     true,
     "request;done;"},
    {"a stranger's body, expecting",
     "POST /stranger HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", "content-length: 0\r\n", ALL},
     "100 Continue",
     true,
     "request;done;"},
    {"a stranger's chunks",
     "POST /stranger HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
     "HTTP/1.1 200",
     {"connection: close\r\n", "content-length: 0\r\n", ALL},
     "hello",
     true,
     "request;done;"},
    {"what came with the head is nobody's burden",
     "POST /stranger HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
     "HTTP/1.1 200",
     {"content-length: 5\r\n", ALL, ALL "hello"},
     "connection:",
     false,
     "request;done;"},
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
    CHECK(c.ended == rows[i].closes && !c.reset, "left open or closed as it should be");
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
    must(shutdown(c.fd, SHUT_WR) == 0);
    CHECK(await(&f, &c, NULL, 0) && !c.reset, "no reset could overtake it");
    close_client(&c);
    close_fixture(&f);
    free(body);
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
    must(await_connections(&f, 3));
    must(send(unread.fd, "GET / HTTP/1.1\r\n" H "\r\n", 27, 0) ==
         27); /* not seen by the loop yet */
    http_server_drain(f.server, 0);
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

/* Whoever was told that the connection is kept may send one more request. */
static void
test_drain_with_grace(void)
{
    struct fixture f;
    struct client idle, streaming, quiet;

    open_fixture(&f, usual_limits());
    idle = connect_to(&f);
    quiet = connect_to(&f);
    streaming = connect_to(&f);
    send_to(&f, &idle, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&f, &idle, ALL, 1) && !has(&idle, "connection: close"), "kept alive");
    f.stream_left = BIG_BYTES;
    send_to(&f, &streaming, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&f, &streaming, ALL, 1) && !has(&streaming, "connection: close"),
          "a stream whose head said that the connection is kept");
    must(await_connections(&f, 3));
    http_server_drain(f.server, 60 * (uint64_t)SECOND_NS);
    turn(&f, 20);
    CHECK(http_server_connections(f.server) == 3, "nobody is turned away");
    CHECK(await(&f, &streaming, "0\r\n\r\n", 1), "the stream ends");
    send_to(&f, &idle, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    send_to(&f, &streaming, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&f, &idle, NULL, 0) && has(&idle, "connection: close\r\n") && !idle.reset,
          "the next answer says that it is the last");
    CHECK(await(&f, &streaming, NULL, 0) && has(&streaming, "connection: close\r\n") &&
              !streaming.reset,
          "after the stream, too");
    CHECK(http_server_connections(f.server) == 1, "the quiet one waits");
    http_server_drain(f.server, 1);
    CHECK(await(&f, &quiet, NULL, 0) && quiet.bytes == 0, "until there is no more grace");
    close_client(&idle);
    close_client(&quiet);
    close_client(&streaming);
    close_fixture(&f);
}

/* A listening socket that somebody else opened, and a second one, as after a hand-over. */
static void
test_adopt(void)
{
    struct http_server_limits limits = usual_limits();
    struct fixture f, other;
    struct client c, early;
    int fds[4];

    open_fixture(&other, limits);
    open_fixture(&f, limits);
    CHECK(http_server_listeners(other.server, fds, 4) == 1, "a server tells its socket");
    CHECK(http_server_adopt(f.server, dup(fds[0])) == ERR_OK, "another one takes it over");
    CHECK(http_server_listeners(f.server, fds, 4) == 2, "beside its own");
    early = connect_to(&other); /* waits in the queue of the common socket */
    send_to(&f, &early, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&f, &early, ALL, 1), "it is answered by who has the socket now");
    http_server_drain(other.server, 0);
    c = connect_to(&other);
    send_to(&f, &c, SPAN_LIT("GET / HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&f, &c, ALL, 1), "the first one's leaving closes nothing");
    CHECK(http_server_adopt(f.server, -1) == ERR_IO, "no socket at all");
    close_client(&c);
    close_client(&early);
    close_fixture(&f);
    close_fixture(&other);
    must(loop_open(&f.loop) == ERR_OK);
    CHECK(http_server_open(f.loop, NULL, 0, false, NULL, &limits, &handlers, &f, &f.server) ==
              ERR_OK,
          "a server without a listener");
    CHECK(http_server_listeners(f.server, fds, 4) == 0, "listens nowhere");
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
    CHECK(http_server_open(loop, (struct sockaddr *)&any, sizeof(any), false, "lo", &limits,
                           &handlers, NULL, &first) == ERR_OK,
          "bound to a device");
    http_server_address(first, &bound);
    CHECK(http_server_open(loop, (struct sockaddr *)&bound, sizeof(any), true, "lo", &limits,
                           &handlers, NULL, &second) == ERR_IO,
          "nobody else who would share, before it is shared");
    CHECK(http_server_share(first) == ERR_OK, "shared");
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

static void
test_address_limit(void)
{
    struct http_server_limits limits = usual_limits();
    struct client a, b, c;
    struct fixture f;

    must(http_addresses_open((struct hash_key){1, 2}, &limits.addresses) == ERR_OK);
    limits.connections_per_address_max = 2;
    open_fixture(&f, limits);
    a = connect_to(&f);
    b = connect_to(&f);
    c = connect_to(&f);
    CHECK(await(&f, &c, "limits.connections_per_address_max is 2", 1) &&
              has(&c, "connection: close"),
          "a third one is told the limit, and closed");
    CHECK(http_server_connections(f.server) == 2, "the two stay");
    close_client(&a);
    must(await_connections(&f, 1));
    close_client(&c);
    c = connect_to(&f);
    CHECK(send_to(&f, &c, SPAN_LIT("GET /a HTTP/1.1\r\n" H "\r\n")) && await(&f, &c, "200 OK", 1),
          "when one has gone, another one may come");
    close_client(&b);
    close_client(&c);
    close_fixture(&f);
    http_addresses_close(limits.addresses);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        test_row(i);
    test_large_refusals();
    test_refusal_is_read();
    test_connection_limit();
    test_address_limit();
    test_drain();
    test_drain_with_grace();
    test_adopt();
    test_listening();
    return tap_done();
}

/* http_session_test - one connection over its life: one request after the other and many at once,
 * requests in pieces, large bodies, clients that leave, do not read, or are slow. Times of limits
 * are small, and only what comes of them is checked, never when. */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "http_server_fixture.h"

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

/* Until what was sent is with the server's kernel, which may be busy with others. */
static void
await_arrival(const struct client *c)
{
    uint64_t until_s = 0;
    int left = 1;

    while (ioctl(c->fd, SIOCOUTQ, &left) == 0 && left > 0 && patience(&until_s))
        usleep(1000);
    must(left == 0);
}

#define CROWD      60u
#define CROWD_EACH 40u
#define TURNS_MAX  64u /* of pipelined requests in a pass */

/* Many that pipeline take turns; who does not is not behind all of theirs. */
static void
test_turns(void)
{
    static const char request[] = "GET /1 HTTP/1.1\r\n" H "\r\n";
    char many[CROWD_EACH * sizeof(request)];
    struct client crowd[CROWD], c;
    struct fixture f;
    size_t before, most = 0, bytes = 0;
    bool good = true;

    open_fixture(&f, usual_limits());
    for (size_t i = 0; i < CROWD_EACH; i++)
        bytes += (size_t)snprintf(many + bytes, sizeof(many) - bytes, "%s", request);
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = connect_to(&f);
        must(send(crowd[i].fd, many, bytes, 0) == (ssize_t)bytes);
        await_arrival(&crowd[i]);
    }
    c = connect_to(&f);
    while (f.requests < CROWD) /* the first of each */
        loop_pass(f.loop, 1000000);
    must(send(c.fd, request, sizeof(request) - 1, 0) > 0);
    await_arrival(&c);
    for (unsigned i = 0; i < 5; i++) {
        before = f.requests;
        loop_pass(f.loop, 0);
        most = f.requests - before > most ? f.requests - before : most;
    }
    receive(&c);
    CHECK(most <= TURNS_MAX + 1, "some in a pass, however many there are");
    CHECK(count(&c, "x-path: /1") == 1, "one among them is answered at once");
    for (size_t i = 0; i < CROWD; i++)
        receive(&crowd[i]);
    for (size_t i = 1; i < CROWD; i++) {
        size_t first = count(&crowd[0], "x-path"), this = count(&crowd[i], "x-path");
        good = good && this + 1 >= first && first + 1 >= this;
    }
    CHECK(good && count(&crowd[0], "x-path") < CROWD_EACH, "and they in turn");
    close_client(&crowd[1]); /* which waits for its turn */
    for (size_t i = 0; i < CROWD; i++) {
        if (i != 1)
            good = good && await(&f, &crowd[i], "x-path", CROWD_EACH);
    }
    CHECK(good, "all are answered");
    for (size_t i = 0; i < CROWD; i++) {
        if (i != 1)
            close_client(&crowd[i]);
    }
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
    must(await_connections(&f, 0));
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
    CHECK(c.bytes > BIG_BYTES && count_byte(&c, 's') == BIG_BYTES, "and all of it is there");
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

/* A client that takes bytes again and again, but few, is cut off by a reset; one whose answer is
 * slow to be made never is. */
static void
test_pace(void)
{
    struct http_server_limits limits = usual_limits();
    struct client slow, patient;
    uint64_t until_s = 0;
    char bytes[1000];
    struct fixture f;

    limits.download_bytes_per_second_min = 1000000000;
    limits.pace_grace_ns = 20000000;
    limits.high_water_bytes = 100000000;
    open_fixture(&f, limits);
    f.stream_left = 20000000; /* more than all socket buffers */
    patient = connect_to(&f);
    send_to(&f, &patient, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, "request;"), "an answer that is made slowly");
    http_response_start(f.waiting, 200, NULL, 0);
    slow = connect_to(&f);
    send_to(&f, &slow, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n"));
    for (int i = 0; strstr(f.log, "slow") == NULL && patience(&until_s); i++) {
        if (i % 20 == 0)
            http_response_write(f.waiting, SPAN_LIT("p"));
        (void)recv(slow.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        receive(&patient);
        loop_pass(f.loop, 1000000);
    }
    CHECK(strcmp(f.log, "request;request;slow;") == 0, "few bytes are too few");
    receive(&slow);
    CHECK(slow.reset, "and the client is told by a reset");
    http_response_end(f.waiting);
    CHECK(await(&f, &patient, "0\r\n\r\n", 1), "the other one is none of that");
    close_client(&slow);
    close_client(&patient);
    close_fixture(&f);
}

/* A large answer that waits for its client has room that new bodies do not get. */
static void
test_waiting_answer(void)
{
    struct http_server_limits limits = usual_limits();
    _Atomic size_t total = 0;
    struct client c, d;
    struct fixture f;

    limits.buffers_bytes = &total;
    limits.buffers_bytes_max = 1000000;
    limits.high_water_bytes = 100000000;
    open_fixture(&f, limits);
    f.stream_left = 20000000; /* more than all socket buffers */
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n"));
    CHECK(await_log(&f, "request;") && total > 1000000, "what waits is counted");
    d = connect_to(&f);
    CHECK(send_to(&f, &d, SPAN_LIT("POST /a HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n")) &&
              await(&f, &d, "limits.buffers_bytes_max is 1000000", 1),
          "a new body finds no room");
    close_client(&c);
    CHECK(await_log(&f, "request;gone;") && total == 0, "until the client has left");
    close_client(&d);
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

/* A head that never stops coming: the limit is on all of it, not on the silence within. */
static void
test_dripping_head(void)
{
    struct http_server_limits limits = usual_limits();
    struct fixture f;
    struct client c;

    limits.head_ns = 20000000;
    open_fixture(&f, limits);
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET / HTTP/1.1\r\n" H "a: "));
    for (unsigned i = 0; i < HTTP_HEAD_BYTES_MAX && !c.ended && c.bytes == 0; i++) {
        send_to(&f, &c, SPAN_LIT("b"));
        receive(&c);
    }
    CHECK(await(&f, &c, "HTTP/1.1 408", 1), "a dripping head");
    close_client(&c);
    close_fixture(&f);
}

/* What ends a connection early, and what the client can see of it. */
static void
test_ends(void)
{
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /later HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
    CHECK(await_log(&f, "request;"), "open");
    send_to(&f, &c, SPAN_LIT("GET /behind HTTP/1.1\r\n" H "\r\n"));
    turn(&f, 10);
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("last"));
    CHECK(await(&f, &c, "last", 1), "answered");
    must(shutdown(c.fd, SHUT_WR) == 0);
    CHECK(await(&f, &c, NULL, 0) && count(&c, "HTTP/1.1 200") == 1, "nothing behind a close");
    CHECK(!c.reset, "but what comes behind it does no harm");
    CHECK(await_log(&f, "request;done;"), "done");
    close_client(&c);

    f.waiting = NULL;
    c = connect_to(&f);
    send_to(&f, &c, SPAN_LIT("GET /later HTTP/1.0\r\n\r\n"));
    CHECK(await_log(&f, "request;done;request;"), "open");
    http_response_start(f.waiting, 200, NULL, 0);
    http_response_write(f.waiting, SPAN_LIT("part"));
    CHECK(await(&f, &c, "part", 1), "a body that only the end ends");
    http_response_abort(f.waiting);
    CHECK(await(&f, &c, NULL, 0) && c.reset, "broken off by a reset, or it would look whole");
    close_client(&c);
    close_fixture(&f);
}

static void
on_release(struct http_share *share)
{
    (void)share;
}

static void
test_share(void)
{
    struct http_share share = {.release = on_release};
    struct http_server_limits limits = usual_limits();
    _Atomic size_t total = 0;
    struct client c, d;
    struct fixture f;

    limits.buffers_bytes = &total;
    limits.buffers_bytes_max = 1000000;
    limits.share_bytes_max = 100000;
    open_fixture(&f, limits);
    f.share = &share;
    c = connect_to(&f);
    d = connect_to(&f);
    CHECK(send_to(&f, &c, SPAN_LIT("POST /a HTTP/1.1\r\n" H "Content-Length: 90000\r\n\r\nhello")),
          "one that comes slowly");
    turn(&f, 10);
    CHECK(share.bytes == 16384 && total == share.bytes, "counted as it comes");
    CHECK(send_to(&f, &d, SPAN_LIT("POST /a HTTP/1.1\r\n" H "Content-Length: 99000\r\n\r\n")) &&
              await(&f, &d, "limits.buffers_bytes_per_key_max is 100000", 1) && has(&d, " 429 "),
          "another one that its share has no room for");
    close_client(&c);
    close_client(&d);
    must(await_connections(&f, 0));
    CHECK(share.bytes == 0 && total == 0, "all is given back");
    close_fixture(&f);
}

int
main(void)
{
    test_keep_alive();
    test_share();
    test_pipelining();
    test_turns();
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
    test_slow(SLOW_READER, "slow reader", "HTTP/1.1 200", "request;slow;");
    test_pace();
    test_waiting_answer();
    test_dripping_head();
    test_addresses();
    test_ends();
    return tap_done();
}

/* http_client_test - what goes over the wire and what is made of it: scripts of answers, the
 * request byte for byte, large bodies, limits, connecting. */
#include <arpa/inet.h>

#include "http_script.h"
#include "tap.h"

/* ---- Scripts. */

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
    CHECK(!http_call_path(p.call, &p.path), "no path is known before there is a connection");
    wait_for(&p);
    CHECK(p.ended && server.requests == 1 && !server.body_differs, "1 MB in 5 parts arrives");
    CHECK(p.path_known && p.path.bytes_per_ms > 0.0f && p.path.bytes_per_ms < 1e12f,
          "and the kernel tells how fast it went");
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
    loop_close(loop);
    return tap_done();
}

/* tls_client_test - calls over TLS, to our own server and to one that does what servers may do and
 * should not: whom the client takes for the one it looks for, why it refuses others, sessions it
 * comes back with, ends that are cut off, large bodies both ways. */
#include <fcntl.h>
#include <openssl/err.h>

#include "http_server_fixture.h"
#include "io/http_call.h"
#include "tls_fixture.h"

#define BODY_BYTES ((size_t)64 << 20)

static struct identity root, other_root, node, late, elsewhere, alice;
static struct tls_context *server_now;
static struct tls_stats stats;
static struct fixture f;
static struct http_client *client;
static struct http_target *target;

static struct tls_context *
give_context(void *user)
{
    (void)user;
    return server_now;
}

/* A server with this identity, and a target that wants the name by ca, or the pin. */
static void
begin(const struct identity *server, const struct identity *clients_ca, const struct identity *ca,
      const struct identity *own, const char *name, const unsigned char *pin)
{
    struct http_server_limits limits = usual_limits();
    struct tls_context *context = client_context(ca, own);
    struct tls_tickets tickets;

    limits.body_bytes_max = BODY_BYTES;
    open_fixture(&f, limits);
    server_now = server_context(server, clients_ca, clients_ca != NULL, true);
    must(tls_tickets_init(&tickets, 1) == ERR_OK);
    must(http_server_use_tls(f.server, give_context, &tickets, &stats) == ERR_OK);
    must(http_client_open(f.loop, &client) == ERR_OK);
    must(http_target_open(client, (struct sockaddr *)&f.address, sizeof(f.address),
                          SPAN_LIT("node.example:8443"), NULL, 0, &target) == ERR_OK);
    must(http_target_use_tls(target, context, span_of(name), pin) == ERR_OK);
    tls_unref(context);
}

static void
finish(void)
{
    http_client_close(client);
    close_fixture(&f);
    tls_unref(server_now);
}

/* ---- Calls. */

struct probe {
    struct http_call *call;
    bool done, failed, fresh, paused;
    enum http_failure why;
    unsigned status;
    size_t body_bytes;
    bool differs; /* from want */
    struct span want;
    struct loop_timer timer;
    size_t pause_at_bytes;
};

static void
on_sent(struct http_call *c, bool fresh, void *user)
{
    struct probe *p = user;

    (void)c;
    p->fresh = fresh;
}

static void
on_head(struct http_call *c, const struct http_response *r, void *user)
{
    struct probe *p = user;

    (void)c;
    p->status = r->status;
}

static void
on_timer(struct loop_timer *timer)
{
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);

    http_call_resume(p->call);
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct probe *p = user;

    if (p->want.bytes > 0)
        p->differs = p->differs || p->body_bytes + bytes.bytes > p->want.bytes ||
                     memcmp(p->want.data + p->body_bytes, bytes.data, bytes.bytes) != 0;
    p->body_bytes += bytes.bytes;
    if (p->pause_at_bytes != 0 && p->body_bytes > p->pause_at_bytes) {
        p->pause_at_bytes += 1000000;
        http_call_pause(c);
        loop_timer_set(f.loop, &p->timer, loop_now_ns(f.loop) + 3000000, on_timer);
    }
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t trailer_count, void *user)
{
    struct probe *p = user;

    (void)c;
    (void)trailers;
    (void)trailer_count;
    p->done = true;
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    struct probe *p = user;

    (void)c;
    p->done = p->failed = true;
    p->why = why;
}

/* Until no connection is kept. */
static bool
await_no_idle(void)
{
    uint64_t until_s = 0;

    while (http_target_idle(target) > 0 && patience(&until_s))
        loop_pass(f.loop, 1000000);
    return http_target_idle(target) == 0;
}

static void
call(struct probe *p, const char *path, struct span body)
{
    static const struct http_call_fn fn = {on_sent, on_head, on_data, on_end, on_failed};
    const struct http_call_limits limits = {.connect_ns = 20 * (uint64_t)SECOND_NS};
    const struct http_call_request r = {
        .method = SPAN_LIT("POST"), .target = span_of(path), .parts = &body, .part_count = 1};
    uint64_t until_s = 0;

    must(http_call_start(target, &r, &limits, &fn, p, &p->call) == ERR_OK);
    while (!p->done && patience(&until_s)) {
        size_t before = p->body_bytes;

        loop_pass(f.loop, 1000000);
        until_s = p->body_bytes > before ? 0 : until_s;
    }
    loop_timer_stop(&p->timer);
}

/* ---- Who is taken for whom. */

static const struct {
    const char *label;
    const struct identity *server, *ca; /* ca NULL: the pin */
    const char *name;
    const struct identity *pinned;
    const char *why; /* part of what is told; NULL: it is good */
} judgements[] = {
    {"by CA and name", &node, &root, "node.example", NULL, NULL},
    {"by CA and address", &node, &root, "127.0.0.1", NULL, NULL},
    {"by CA and address of 6", &node, &root, "::1", NULL, NULL},
    {"another name", &node, &root, "nodes.example", NULL, "ostname mismatch"},
    {"another address", &node, &root, "127.0.0.2", NULL, "IP address mismatch"},
    {"the name of another", &elsewhere, &root, "node.example", NULL, "ostname mismatch"},
    {"another CA", &node, &other_root, "node.example", NULL, "unable to get local issuer"},
    {"its own certificate as CA", &node, &node, "node.example", NULL, NULL},
    {"expired", &late, &root, "node.example", NULL, "expired"},
    {"by its pin", &node, NULL, "any.example", &node, NULL},
    {"by its pin, though expired", &late, NULL, "node.example", &late, NULL},
    {"by the pin of another", &node, NULL, "node.example", &elsewhere, "not the pinned one"},
};

static void
test_judgements(void)
{
    for (size_t i = 0; i < sizeof(judgements) / sizeof(judgements[0]); i++) {
        const char *label = judgements[i].label, *why = judgements[i].why;
        struct probe p = {0};

        begin(judgements[i].server, NULL, judgements[i].ca, NULL, judgements[i].name,
              judgements[i].pinned != NULL ? judgements[i].pinned->pin : NULL);
        call(&p, "/a", SPAN_LIT("hello"));
        CHECK(p.done && p.failed == (why != NULL), label);
        if (why != NULL) {
            CHECK(p.why == HTTP_FAILED_TLS, label);
            CHECK(strstr(target->tls->why, why) != NULL, target->tls->why);
            CHECK(f.log[0] == '\0', "nothing was sent to a stranger");
        } else {
            CHECK(p.status == 200 && p.body_bytes == 5, label);
        }
        finish();
    }
}

static void
test_own_certificate(void)
{
    struct probe p = {0};

    begin(&node, &root, &root, &alice, "node.example", NULL);
    call(&p, "/a", SPAN_LIT("hello"));
    CHECK(p.status == 200, "mutual TLS: shown");
    finish();
    p = (struct probe){0};
    begin(&node, &root, &root, NULL, "node.example", NULL);
    call(&p, "/a", SPAN_LIT("hello"));
    CHECK(p.failed, "mutual TLS: not shown"); /* in TLS 1.3 known only after the handshake */
    finish();
}

/* A plain port, and one that closes at once. */
static void
test_no_tls(void)
{
    struct tls_context *context = client_context(&root, NULL);
    struct probe p = {0};

    open_fixture(&f, usual_limits());
    must(http_client_open(f.loop, &client) == ERR_OK);
    must(http_target_open(client, (struct sockaddr *)&f.address, sizeof(f.address),
                          SPAN_LIT("node.example"), NULL, 0, &target) == ERR_OK);
    must(http_target_use_tls(target, context, SPAN_LIT("node.example"), NULL) == ERR_OK);
    tls_unref(context);
    call(&p, "/a", SPAN_LIT("hello"));
    CHECK(p.failed && p.why == HTTP_FAILED_TLS, "a port without TLS");
    CHECK(strstr(target->tls->why, "wrong version number") != NULL, target->tls->why);
    http_client_close(client);
    close_fixture(&f);
}

/* ---- Connections and sessions. */

static void
test_sessions(void)
{
    struct probe p = {0};
    struct http_connection *idle;

    begin(&node, NULL, &root, NULL, "node.example", NULL);
    call(&p, "/a", SPAN_LIT("hello"));
    CHECK(p.fresh && http_target_idle(target) == 1, "kept");
    p = (struct probe){0};
    call(&p, "/a", SPAN_LIT("hello"));
    CHECK(!p.fresh && p.status == 200, "taken again");
    idle = TAILQ_FIRST(&target->idle);
    CHECK(!tls_is_resumed(idle->transport.tls), "the first has a session of its own");
    http_connection_close(idle);
    turn(&f, 5);
    p = (struct probe){0};
    call(&p, "/a", SPAN_LIT("hello"));
    idle = TAILQ_FIRST(&target->idle);
    CHECK(p.fresh && idle != NULL && tls_is_resumed(idle->transport.tls), "the next resumes it");

    /* The server ends it while it is idle: found out before anything is sent, or sent again. */
    http_server_drain(f.server, 0);
    CHECK(await_no_idle(), "a goodbye to an idle connection ends it");
    finish();
}

/* ---- Large bodies. */

static void
test_large(void)
{
    char *body = malloc(BODY_BYTES);
    struct probe p = {0};

    must(body != NULL);
    for (size_t i = 0; i < BODY_BYTES; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    begin(&node, NULL, &root, NULL, "node.example", NULL);
    p.want = (struct span){body, BODY_BYTES};
    call(&p, "/a", p.want);
    CHECK(p.done && !p.failed && p.body_bytes == BODY_BYTES && !p.differs, "64 MiB there and back");
    CHECK(http_target_idle(target) == 1, "and the connection is kept");

    p = (struct probe){.want = p.want, .pause_at_bytes = 50000};
    call(&p, "/a", (struct span){body, 5000000});
    CHECK(!p.failed && p.body_bytes == 5000000 && !p.differs, "paused again and again");
    finish();
    free(body);
}

/* ---- A server that does as the test says. */

static int
listen_somewhere(struct sockaddr_in *ret_address)
{
    socklen_t bytes = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret_address = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(fd >= 0 && bind(fd, (struct sockaddr *)ret_address, bytes) == 0 && listen(fd, 9) == 0 &&
         getsockname(fd, (struct sockaddr *)ret_address, &bytes) == 0);
    return fd;
}

enum ending { GOODBYE, CUT, TICKET_LATER };

/* One answer without a length, whose end is as given; returns how the call took it. */
static struct probe
odd_answer(enum ending ending, const char *text)
{
    static const struct http_call_fn fn = {on_sent, on_head, on_data, on_end, on_failed};
    const struct http_call_limits limits = {0};
    const struct http_call_request r = {.method = SPAN_LIT("GET"), .target = SPAN_LIT("/")};
    struct tls_context *context = client_context(&root, NULL);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    struct sockaddr_in address;
    int listener = listen_somewhere(&address), fd = -1;
    struct probe p = {0};
    SSL *ssl = SSL_new(server);
    bool shaken = false, answered = false;
    uint64_t until_s = 0;

    must(SSL_CTX_use_certificate(server, node.certificate) == 1 &&
         SSL_CTX_use_PrivateKey(server, node.key) == 1);
    SSL_free(ssl);
    ssl = SSL_new(server);
    must(loop_open(&f.loop) == ERR_OK && http_client_open(f.loop, &client) == ERR_OK);
    must(http_target_open(client, (struct sockaddr *)&address, sizeof(address),
                          SPAN_LIT("node.example"), NULL, 0, &target) == ERR_OK);
    must(http_target_use_tls(target, context, SPAN_LIT("node.example"), NULL) == ERR_OK);
    tls_unref(context);
    must(http_call_start(target, &r, &limits, &fn, &p, &p.call) == ERR_OK);
    while (!p.done && patience(&until_s)) {
        char request[4096];

        loop_pass(f.loop, 1000000);
        if (fd < 0 && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
            must(SSL_set_fd(ssl, fd) == 1);
        shaken = shaken || (fd >= 0 && SSL_accept(ssl) == 1);
        if (shaken && !answered && SSL_read(ssl, request, sizeof(request)) > 0) {
            must(SSL_write(ssl, text, (int)strlen(text)) > 0);
            if (ending == GOODBYE)
                SSL_shutdown(ssl); /* the socket stays open */
            else if (ending == CUT)
                shutdown(fd, SHUT_WR);
            answered = true;
        }
    }
    if (ending == TICKET_LATER) {
        CHECK(http_target_idle(target) == 1, "kept");
        must(SSL_new_session_ticket(ssl) == 1);
        (void)SSL_do_handshake(ssl);
        for (int i = 0; i < 5; i++)
            loop_pass(f.loop, 1000000);
        CHECK(http_target_idle(target) == 1, "a ticket to an idle connection leaves it there");
        must(SSL_write(ssl, "x", 1) == 1);
        CHECK(await_no_idle(), "data does not");
    }
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(server);
    close(fd);
    close(listener);
    http_client_close(client);
    loop_close(f.loop);
    return p;
}

static void
test_ends(void)
{
    static const char endless[] = "HTTP/1.1 200 OK\r\n\r\nall of it",
                      whole[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                      short_of[] = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok";
    struct probe p = odd_answer(GOODBYE, endless);

    CHECK(p.done && !p.failed && p.body_bytes == 9, "ended by a goodbye: whole");
    p = odd_answer(CUT, endless);
    CHECK(p.failed && p.why == HTTP_FAILED_EOF && p.body_bytes == 9, "without: truncated");
    p = odd_answer(CUT, whole);
    CHECK(p.done && !p.failed && p.body_bytes == 2, "a length says it all");
    p = odd_answer(GOODBYE, short_of);
    CHECK(p.failed && p.why == HTTP_FAILED_EOF, "a length that is not reached");
    (void)odd_answer(TICKET_LATER, whole);
}

int
main(void)
{
    make_identity(&root, NULL, "root", NULL, 365);
    make_identity(&other_root, NULL, "other root", NULL, 365);
    make_identity(&node, &root, "node", "DNS:node.example,IP:127.0.0.1,IP:::1", 90);
    make_identity(&late, &root, "late", "DNS:node.example", -1);
    make_identity(&elsewhere, &root, "elsewhere", "DNS:elsewhere.example", 90);
    make_identity(&alice, &root, "alice", "DNS:alice.example", 90);
    test_judgements();
    test_own_certificate();
    test_no_tls();
    test_sessions();
    test_large();
    test_ends();
    free_identity(&root);
    free_identity(&other_root);
    free_identity(&node);
    free_identity(&late);
    free_identity(&elsewhere);
    free_identity(&alice);
    return tap_done();
}

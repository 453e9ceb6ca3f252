/* tls_test - the server over TLS, on real sockets, with OpenSSL's own client: what is agreed on and
 * what is refused, sessions that come back, records cut anywhere, slow readers, goodbyes.
 * Certificates: tls_certificates_test. Handlers are those of the plain tests: nothing above knows
 * the difference. */
#include <malloc.h>

#include "io/http_session.h"
#include "tls_server_fixture.h"

static struct identity root, node, alice;
/* ---- What is agreed on. */

static const struct {
    const char *label;
    int version_max;
    const char *alpn;
    bool http2; /* offered by us */
    bool good;
    const char *chosen;
    int version; /* agreed on */
    int reason;  /* of a refusal, as the client sees it */
} agreements[] = {
    {"1.3 by default", 0, NULL, true, true, "", TLS1_3_VERSION, 0},
    {"1.2 too", TLS1_2_VERSION, "\x08http/1.1", true, true, "http/1.1", TLS1_2_VERSION, 0},
    {"1.1 not", TLS1_1_VERSION, NULL, true, false, NULL, 0, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION},
    {"1.0 not", TLS1_VERSION, NULL, true, false, NULL, 0, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION},
    {"http/1.1", 0, "\x08http/1.1", true, true, "http/1.1", TLS1_3_VERSION, 0},
    {"h2 before http/1.1", 0, "\x08http/1.1\x02h2", true, true, "h2", TLS1_3_VERSION, 0},
    {"h2 not offered", 0, "\x02h2\x08http/1.1", false, true, "http/1.1", TLS1_3_VERSION, 0},
    {"nothing in common", 0, "\x04smtp", true, false, NULL, 0,
     SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL},
    {"only h2, not offered", 0, "\x02h2", false, false, NULL, 0,
     SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL},
};

static void
test_agreements(void)
{
    for (size_t i = 0; i < sizeof(agreements) / sizeof(agreements[0]); i++) {
        const char *label = agreements[i].label;
        uint64_t failed = atomic_load(&stats.failed);
        const unsigned char *name;
        struct tls_client t;
        unsigned bytes;
        struct fixture f;
        bool good;

        open_tls(&f, server_context(&node, NULL, false, agreements[i].http2), usual_limits());
        t = connect_tls(&f, (struct wish){.version_max = agreements[i].version_max,
                                          .alpn = agreements[i].alpn});
        good = shake(&f, &t);
        turn(&f, 3);
        CHECK(good == agreements[i].good, label);
        SSL_get0_alpn_selected(t.ssl, &name, &bytes);
        if (good) {
            CHECK(SSL_version(t.ssl) == agreements[i].version, label);
            CHECK(span_eq_text((struct span){(const char *)name, bytes}, agreements[i].chosen),
                  label);
        } else {
            CHECK(t.reason == agreements[i].reason, label);
            CHECK(atomic_load(&stats.failed) == failed + 1, label);
        }
        if (good && !(bytes == 2)) {
            CHECK(send_tls(&f, &t, SPAN_LIT(GET)) && await_tls(&f, &t, "x-path: /a", 1), label);
        }
        close_tls_client(&t);
        close_tls(&f);
    }
}

/* Over h2 the server's first frame is SETTINGS, and it answers our preface. */
static void
test_http2(void)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    uint64_t until_s = 0;
    struct tls_client t;
    struct fixture f;

    open_tls(&f, server_context(&node, NULL, false, true), usual_limits());
    t = connect_tls(&f, (struct wish){.alpn = "\x02h2"});
    CHECK(shake(&f, &t), "h2: handshake");
    CHECK(send_tls(&f, &t, (struct span){preface, sizeof(preface)}), "h2: preface");
    while (t.c.bytes < 9 && patience(&until_s)) {
        loop_pass(f.loop, 1000000);
        receive_tls(&t);
    }
    CHECK(t.c.bytes >= 9 && t.c.data[3] == 4, "h2: SETTINGS come first");
    close_tls_client(&t);
    close_tls(&f);
}

/* ---- Sessions. */

static void
test_resumption(void)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    for (size_t i = 0; i < 2; i++) {
        struct tls_client t;
        struct fixture f;
        SSL_SESSION *session;

        open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
        t = connect_tls(&f, (struct wish){.version_max = versions[i]});
        CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) &&
                  await_tls(&f, &t, "x-path: /a", 1),
              "resume: the first time");
        CHECK(!SSL_session_reused(t.ssl) && last_session != NULL, "resume: a ticket");
        SSL_shutdown(t.ssl);
        close_tls_client(&t);
        session = last_session;
        last_session = NULL;

        /* A reload: another certificate, the same tickets. */
        tls_unref(context_now);
        context_now = server_context(&alice, NULL, false, false);
        t = connect_tls(&f, (struct wish){.version_max = versions[i], .session = session});
        CHECK(shake(&f, &t) && SSL_session_reused(t.ssl), "resume: the second time, reloaded");
        CHECK(send_tls(&f, &t, SPAN_LIT(GET)) && await_tls(&f, &t, "x-path: /a", 1),
              "resume: it carries data");
        SSL_shutdown(t.ssl);
        close_tls_client(&t);
        /* Of TLS 1.3 a ticket is for one use: there is a new one each time. */
        CHECK((last_session != NULL) == (versions[i] == TLS1_3_VERSION), "resume: a new ticket");

        /* A session of those who need no certificate does not get in where one is needed. */
        tls_unref(context_now);
        context_now = server_context(&node, &root, true, false);
        t = connect_tls(&f,
                        (struct wish){.version_max = versions[i],
                                      .session = last_session != NULL ? last_session : session});
        (void)shake(&f, &t);
        (void)send_tls(&f, &t, SPAN_LIT(GET));
        CHECK(!await_tls(&f, &t, "x-path: /a", 1) && t.failed, "resume: no way around a rule");
        close_tls_client(&t);
        SSL_SESSION_free(session);
        SSL_SESSION_free(last_session);
        last_session = NULL;
        close_tls(&f);
    }
    CHECK(atomic_load(&stats.resumed) == 2, "resume: counted");
}

static void
test_tickets(void)
{
    const uint64_t hour_ns = TLS_TICKET_EPOCH_NS;
    struct tls_tickets t, u, v;
    struct tls_ticket_keys made, found;
    unsigned char saved[TLS_TICKET_SAVED_BYTES];
    bool old;

    must(tls_tickets_init(&t, 5 * hour_ns) == ERR_OK &&
         tls_tickets_init(&v, 5 * hour_ns) == ERR_OK);
    u = t;
    tls_tickets_now(&t, 5 * hour_ns + 1, &made);
    CHECK(tls_tickets_find(&v, 5 * hour_ns, made.name, &found, &old) == ERR_NOT_FOUND,
          "tickets: of another process");
    CHECK(tls_tickets_find(&u, 5 * hour_ns, made.name, &found, &old) == ERR_OK && !old &&
              memcmp(&made, &found, sizeof(made)) == 0,
          "tickets: of another thread");
    CHECK(tls_tickets_find(&u, 7 * hour_ns, made.name, &found, &old) == ERR_OK && old &&
              memcmp(&made, &found, sizeof(made)) == 0,
          "tickets: two hours later, to be made anew");
    CHECK(tls_tickets_find(&u, 8 * hour_ns, made.name, &found, &old) == ERR_NOT_FOUND,
          "tickets: three hours later");
    tls_tickets_now(&t, 8 * hour_ns, &made);
    CHECK(tls_tickets_find(&u, 8 * hour_ns, made.name, &found, &old) == ERR_OK && !old,
          "tickets: threads turn alike");
    tls_tickets_now(&t, 8 * hour_ns, &found);
    CHECK(memcmp(&made, &found, sizeof(made)) == 0, "tickets: the same within the hour");

    tls_tickets_save(&t, saved);
    CHECK(tls_tickets_load(&v, saved, 8 * hour_ns) == ERR_OK &&
              tls_tickets_find(&v, 9 * hour_ns, made.name, &found, &old) == ERR_OK && old &&
              memcmp(&made, &found, sizeof(made)) == 0,
          "tickets: of the process before");
    tls_tickets_turn(&u, 9 * hour_ns);
    CHECK(memcmp(&u, &v, sizeof(u)) == 0, "tickets: which goes on alike");
    tls_tickets_turn(&t, 12 * hour_ns);
    for (size_t i = 0; i < TLS_TICKET_EPOCHS; i++) {
        for (size_t k = 0; k < TLS_TICKET_EPOCHS; k++)
            CHECK(memcmp(t.secrets[i], u.secrets[k], TLS_TICKET_SECRET_BYTES) != 0,
                  "tickets: old secrets are gone");
    }
    CHECK(tls_tickets_load(&v, saved, 8 * hour_ns - 1) == ERR_PARSE, "tickets: of the future");
    saved[0] ^= 1;
    CHECK(tls_tickets_load(&v, saved, 8 * hour_ns) == ERR_PARSE, "tickets: of another form");
    memset(saved + 8, 0xff, sizeof(saved) - 8);
    saved[0] ^= 1;
    CHECK(tls_tickets_load(&v, saved, 8 * hour_ns) == ERR_PARSE, "tickets: that cannot be");
    CHECK(memcmp(&u, &v, sizeof(u)) == 0, "tickets: untouched by these");
}

/* Two listeners of a process have the same tickets, and not the same sessions. */
static void
test_realms(void)
{
    struct tls_server_options o = {.cert = file_of("node.crt", node.cert_pem),
                                   .key = file_of("node.key", node.key_pem),
                                   .realm = "public"};
    struct tls_context *context;
    struct tls_client t;
    struct fixture f;
    SSL_SESSION *session;

    must(tls_server_open(&o, &context) == ERR_OK);
    open_tls(&f, context, usual_limits());
    t = connect_tls(&f, (struct wish){0});
    must(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) && await_tls(&f, &t, "x-path: /a", 1));
    SSL_shutdown(t.ssl); /* without it the session is lost */
    close_tls_client(&t);
    session = last_session;
    last_session = NULL;
    o.realm = "admin";
    tls_unref(context_now);
    must(tls_server_open(&o, &context_now) == ERR_OK);
    t = connect_tls(&f, (struct wish){.session = session});
    CHECK(shake(&f, &t) && !SSL_session_reused(t.ssl), "realms: a session of another listener");
    close_tls_client(&t);
    SSL_SESSION_free(session);
    close_tls(&f);
}

/* ---- Bytes. */

static void
write_text(SSL *ssl, const char *text)
{
    must(SSL_write(ssl, text, (int)strlen(text)) == (int)strlen(text));
}

/* Everything the client sends goes through this: in pieces of one byte, each read by itself. */
static void
test_cut_records(void)
{
    struct tls_client t;
    struct fixture f;
    BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
    char *text, buffer[16384];
    bool done = false, asked_again = false;
    uint64_t until_s = 0;
    long bytes;
    ssize_t n;

    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(t.ssl, in, out);
    SSL_set_connect_state(t.ssl);
    while (!has(&t.c, "x-path: /b") && patience(&until_s)) {
        size_t got = 0;

        if (!done && SSL_do_handshake(t.ssl) == 1) {
            done = true;
            write_text(t.ssl, "GET /a HTTP/1.1\r\n");
            write_text(t.ssl, H "\r\nGET /b HTTP");
        }
        if (done && SSL_read_ex(t.ssl, t.c.data + t.c.bytes, RECEIVED_MAX - t.c.bytes, &got) == 1)
            t.c.bytes += got;
        if (done && has(&t.c, "x-path: /a") && !asked_again) {
            asked_again = true;
            write_text(t.ssl, "/1.1\r\n" H "\r\n");
        }
        bytes = BIO_get_mem_data(out, &text);
        for (long i = 0; i < bytes; i++) {
            must(send(t.c.fd, text + i, 1, MSG_NOSIGNAL) == 1);
            loop_pass(f.loop, 0);
        }
        (void)BIO_reset(out);
        loop_pass(f.loop, 1000000);
        while ((n = recv(t.c.fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
            must(BIO_write(in, buffer, (int)n) == n);
    }
    CHECK(has(&t.c, "x-path: /a") && has(&t.c, "x-path: /b"), "records cut at each byte");
    close_tls_client(&t);
    close_tls(&f);
}

static void
test_pipelined(void)
{
    static char many[64 * sizeof(GET)];
    struct tls_client t;
    struct fixture f;
    size_t bytes = 0;

    for (int i = 0; i < 60; i++)
        bytes += (size_t)snprintf(many + bytes, sizeof(many) - bytes, "%s", GET);
    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, (struct span){many, bytes}), "pipelined: sent");
    CHECK(await_tls(&f, &t, "x-path: /a", 60), "pipelined: 60 in one record");

    /* One is answered later, the next is in a record behind it: it waits inside of us. */
    CHECK(send_tls(&f, &t, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n")), "pipelined: later");
    turn(&f, 5);
    must(f.waiting != NULL);
    CHECK(send_tls(&f, &t, SPAN_LIT(GET)) && send_tls(&f, &t, SPAN_LIT(GET)), "pipelined: behind");
    turn(&f, 5);
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("late"));
    f.waiting = NULL;
    CHECK(await_tls(&f, &t, "x-path: /a", 62), "pipelined: read when their turn comes");
    close_tls_client(&t);
    close_tls(&f);
}

/* A body in records, behind it a request in the same read of the socket. */
static void
test_bodies(void)
{
    static char body[900000];
    struct tls_client t;
    struct fixture f;
    char head[128];

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)('a' + i * 7 % 26);
    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t), "bodies: handshake");
    for (int i = 1; i <= 4; i++) {
        snprintf(head, sizeof(head), "POST /a HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n",
                 sizeof(body));
        CHECK(send_tls(&f, &t, span_of(head)) &&
                  send_tls(&f, &t, (struct span){body, sizeof(body)}) &&
                  send_tls(&f, &t, SPAN_LIT(GET)),
              "bodies: sent");
        t.c.bytes = 0;
        CHECK(await_tls(&f, &t, "x-path: /a", 2), "bodies: both answered");
        CHECK(memmem(t.c.data, t.c.bytes, body, sizeof(body)) != NULL, "bodies: whole");
    }
    close_tls_client(&t);
    close_tls(&f);
}

static int
server_fd(const struct fixture *f)
{
    return LIST_FIRST(&f->server->connections)->transport.watch.fd;
}

/* The client does not read for a while, and the kernel takes little at once. */
static void
test_slow_reader(void)
{
    struct tls_client t;
    struct fixture f;
    int small = 20000;

    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    f.stream_left = BIG_BYTES;
    CHECK(shake(&f, &t), "slow: handshake");
    must(setsockopt(t.c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
    must(setsockopt(server_fd(&f), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    CHECK(send_tls(&f, &t, SPAN_LIT("GET /stream HTTP/1.1\r\n" H "\r\n")), "slow: asked");
    turn(&f, 50);
    CHECK(strstr(f.log, "done") == NULL, "slow: not done while bytes wait");
    CHECK(f.pending_max < 200000, "slow: back-pressure");
    CHECK(await_tls(&f, &t, "\r\n0\r\n\r\n", 1), "slow: all came");
    CHECK(count_byte(&t.c, 's') == BIG_BYTES, "slow: nothing lost, nothing twice");
    turn(&f, 3);
    CHECK(strstr(f.log, "done") != NULL, "slow: done");
    close_tls_client(&t);
    close_tls(&f);
}

/* ---- Ends. */

static void
test_ends(void)
{
    struct tls_client t;
    struct fixture f;

    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n")),
          "ends: asked");
    turn(&f, 5);
    SSL_shutdown(t.ssl); /* the socket stays open */
    CHECK(await_log(&f, "request;gone;"), "ends: a goodbye while an exchange is open");
    close_tls_client(&t);

    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n")),
          "ends: asked again");
    turn(&f, 5);
    f.log[0] = '\0';
    shutdown(t.c.fd, SHUT_WR);
    CHECK(await_log(&f, "gone;"), "ends: cut off while an exchange is open");
    close_tls_client(&t);

    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT("GET /a HTTP/1.0\r\n\r\n")), "ends: HTTP/1.0");
    CHECK(await_tls(&f, &t, NULL, 0) && t.goodbye && has(&t.c, "x-path: /a"),
          "ends: we say goodbye");
    close_tls_client(&t);

    /* HTTP/1.0, ended by the end: when it is broken off, nobody may take it for whole. */
    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT("GET /abort HTTP/1.0\r\n\r\n")),
          "ends: to be broken off");
    CHECK(await_tls(&f, &t, NULL, 0) && !t.goodbye, "ends: no goodbye then");
    close_tls_client(&t);

    /* Plain HTTP to a port of TLS, and nonsense. */
    t = connect_tls(&f, (struct wish){0});
    CHECK(send_to(&f, &t.c, SPAN_LIT(GET)) && await(&f, &t.c, NULL, 0), "ends: plain HTTP");
    close_tls_client(&t);
    close_tls(&f);
}

/* New keys are cheap to ask for and dear to make: a few are fine, a flood is the end. And nobody
 * can fill our memory by not reading the answers. */
static void
test_new_keys(void)
{
    struct tls_client t;
    struct fixture f;
    unsigned sent = 0;

    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT("GET /later HTTP/1.1\r\n" H "\r\n")),
          "new keys: asked");
    for (; sent < 100; sent++) {
        must(SSL_key_update(t.ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
        CHECK(SSL_do_handshake(t.ssl) == 1, "new keys: sent");
        turn(&f, 1);
    }
    must(f.waiting != NULL);
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("late"));
    f.waiting = NULL;
    CHECK(await_tls(&f, &t, "late", 1), "new keys: a hundred times, and the answer comes");
    for (; sent < 2 * TLS_MESSAGES_MAX && http_server_connections(f.server) > 0; sent++) {
        if (SSL_key_update(t.ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(t.ssl) != 1)
            break;
        turn(&f, 1);
    }
    ERR_clear_error();
    turn(&f, 5);
    CHECK(http_server_connections(f.server) == 0 && sent < TLS_MESSAGES_MAX,
          "new keys: the end of a flood");
    close_tls_client(&t);
    close_tls(&f);
}

static void
test_silence(void)
{
    struct http_server_limits limits = usual_limits();
    struct tls_client t;
    struct fixture f;

    limits.head_ns = 20000000;
    open_tls(&f, server_context(&node, NULL, false, false), limits);
    t = connect_tls(&f, (struct wish){0});
    (void)SSL_connect(t.ssl); /* the client's hello, and no more */
    must(await_connections(&f, 1));
    CHECK(await_connections(&f, 0), "silence: a handshake has head_ns");
    close_tls_client(&t);
    close_tls(&f);
}

/* ---- What an idle connection costs. */

static void
tell_memory(void)
{
    enum { CONNECTIONS = 200 };
    static struct tls_client t[CONNECTIONS];
    size_t before, both, clients_only;
    struct fixture f;

    /* With the clients' side, and then without the server's. */
    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t[0] = connect_tls(&f, (struct wish){0});
    CHECK(shake(&f, &t[0]) && send_tls(&f, &t[0], SPAN_LIT(GET)) &&
              await_tls(&f, &t[0], "x-path: /a", 1),
          "memory: the first");
    before = mallinfo2().uordblks;
    for (int i = 1; i < CONNECTIONS; i++) {
        t[i] = connect_tls(&f, (struct wish){0});
        CHECK(shake(&f, &t[i]) && send_tls(&f, &t[i], SPAN_LIT(GET)) &&
                  await_tls(&f, &t[i], "x-path: /a", 1),
              "memory: one more");
    }
    both = mallinfo2().uordblks - before;
    CHECK(http_server_connections(f.server) == CONNECTIONS, "memory: all are there");
    close_tls(&f);
    clients_only = mallinfo2().uordblks - before;
    printf("# an idle connection: %.1f KiB\n",
           (double)(both - clients_only) / 1024.0 / (CONNECTIONS - 1));
    for (int i = 0; i < CONNECTIONS; i++)
        close_tls_client(&t[i]);
}

/* TLS 1.2 could begin anew within a connection, at our cost: it is refused (CVE-2011-1473). */
static void
test_renegotiation(void)
{
    struct tls_client t;
    struct fixture f;

    open_tls(&f, server_context(&node, NULL, false, false), usual_limits());
    t = connect_tls(&f, (struct wish){.version_max = TLS1_2_VERSION});
    CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) && await_tls(&f, &t, "x-path: /a", 1),
          "renegotiation: served before");
    must(SSL_renegotiate(t.ssl) == 1);
    (void)SSL_do_handshake(t.ssl);
    ERR_clear_error();
    CHECK(!await_tls(&f, &t, "x-path: /a", 2) && t.failed && t.reason == SSL_R_NO_RENEGOTIATION,
          "renegotiation: refused");
    close_tls_client(&t);
    turn(&f, 5);
    CHECK(http_server_connections(f.server) == 0, "renegotiation: nothing is left of it");
    close_tls(&f);
}

int
main(void)
{
    make_identity(&root, NULL, "root", NULL, 365);
    make_identity(&node, &root, "node", "DNS:node.example,IP:127.0.0.1", 90);
    make_identity(&alice, &root, "alice", "IP:127.0.0.9", 90);
    test_agreements();
    test_http2();
    test_resumption();
    test_tickets();
    test_realms();
    test_cut_records();
    test_pipelined();
    test_bodies();
    test_slow_reader();
    test_ends();
    test_new_keys();
    test_renegotiation();
    test_silence();
    tell_memory();
    SSL_SESSION_free(last_session);
    free_identity(&root);
    free_identity(&node);
    free_identity(&alice);
    return tap_done();
}

/* bus_nats_connect_test - what a try to connect came to, and what is made of it: servers that are
 * full, slow, ending, no NATS servers or not there are asked again soon; who is refused is not.
 * Most of them are scripts, some a real NATS server behind a wire that holds what we say. */
#include "io/bus_nats_connect.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus_box.h"
#include "io/log.h"
#include "nats_server.h"
#include "tap.h"
#include "tls_fixture.h"

#define TEXT_MAX    4096u
#define NONCE_BYTES 8u
#define UNLUCKY     3u /* connections with a nonce whose signature cannot be sent */
#define REFUSALS    2u
#define SHORT_MS    100 /* for handshakes that never end */
#define INFO(more)                                                                                 \
    "INFO {\"server_id\":\"s\",\"version\":\"2.11.16\",\"max_payload\":8192" more "}\r\n"
#define PLAIN INFO("")
#define TLS   INFO(",\"tls_required\":true")

static struct nats_server server; /* the real one */
static struct identity root, other;

/* --- what listens --- */

struct wire {
    int fd;
    char url[48];
    pthread_t thread;
    void (*serve)(struct wire *w, int fd); /* a connection, up to its end, which is the caller's */
    const char *info, *answer;             /* of a script */
    char nonces[2][NONCE_BYTES + 1];       /* of one that signs: unlucky, good */
    unsigned connections;
    _Atomic bool is_asked; /* it heard CONNECT */
    _Atomic int kept;      /* a connection that stays when it was served; -1: none */
};

static void
send_text(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL); /* who has gone hears nothing */
}

/* What a client says, up to and with a word of it, or to its end. */
static void
hear(int fd, const char *word, char text[TEXT_MAX])
{
    size_t have = 0;
    ssize_t n;

    text[0] = '\0';
    while (strstr(text, word) == NULL && have < TEXT_MAX - 1) {
        n = recv(fd, text + have, TEXT_MAX - 1 - have, 0);
        if (n <= 0)
            return;
        have += (size_t)n;
        text[have] = '\0';
    }
}

/* INFO, and an answer to what comes then, which begins TLS or ends with PING. */
static void
serve_script(struct wire *w, int fd)
{
    char text[TEXT_MAX];

    send_text(fd, w->info);
    hear(fd, strstr(w->info, "tls_required") != NULL ? "\x16" : "PING\r\n", text);
    send_text(fd, w->answer);
    shutdown(fd, SHUT_WR);
    hear(fd, "\x01\x02", text);
}

/* Nothing any more once CONNECT, or TLS, was heard. */
static void
serve_silence(struct wire *w, int fd)
{
    char text[TEXT_MAX];

    send_text(fd, w->info);
    hear(fd, strstr(w->info, "tls_required") != NULL ? "\x16" : "PING\r\n", text);
    atomic_store(&w->is_asked, text[0] != '\0');
    hear(fd, "\x01\x02", text);
}

/* Who comes first is let in, and stays. */
static void
serve_first(struct wire *w, int fd)
{
    char text[TEXT_MAX];

    if (w->kept >= 0) {
        serve_silence(w, fd);
        return;
    }
    send_text(fd, w->info);
    hear(fd, "PING\r\n", text);
    if (text[0] == '\0')
        return;
    w->kept = dup(fd);
    must(w->kept >= 0);
    send_text(fd, "PONG\r\n");
}

/* Who does not sign is refused. */
static void
serve_nonces(struct wire *w, int fd)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof(text), INFO(",\"auth_required\":true,\"nonce\":\"%s\""),
             w->nonces[w->connections < UNLUCKY ? 0 : 1]);
    send_text(fd, text);
    hear(fd, "PING\r\n", text);
    send_text(fd, strstr(text, "\"sig\":\"") != NULL ? "PONG\r\n"
                                                     : "-ERR 'Authorization Violation'\r\n");
    hear(fd, "\x01\x02", text);
}

/* The real server's words go to the client, but not the other way. */
static void
serve_held(struct wire *w, int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(server.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int up = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[TEXT_MAX];
    ssize_t n;

    (void)w;
    must(up >= 0 && connect(up, (struct sockaddr *)&a, sizeof(a)) == 0);
    while ((n = recv(up, text, sizeof(text), 0)) > 0)
        (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL);
    close(up);
    shutdown(fd, SHUT_WR);
    hear(fd, "\x01\x02", text); /* or what it said first would make an end without words */
}

static void *
wire_main(void *arg)
{
    struct wire *w = arg;
    int fd;

    while ((fd = accept(w->fd, NULL, NULL)) >= 0) {
        w->serve(w, fd);
        w->connections++;
        close(fd);
    }
    return NULL;
}

static void
wire_open(struct wire *w, const char *scheme)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(a);

    w->kept = -1;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(w->fd >= 0 && bind(w->fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
         listen(w->fd, 8) == 0 && getsockname(w->fd, (struct sockaddr *)&a, &bytes) == 0);
    snprintf(w->url, sizeof(w->url), "%s://127.0.0.1:%u", scheme, ntohs(a.sin_port));
    must(pthread_create(&w->thread, NULL, wire_main, w) == 0);
}

static void
wire_close(struct wire *w)
{
    shutdown(w->fd, SHUT_RDWR);
    must(pthread_join(w->thread, NULL) == 0);
    close(w->fd);
    if (w->kept >= 0)
        close(w->kept);
}

/* --- who asks --- */

/* No try of these comes so far. */
static natsStatus
no_attach(void **user, void *loop, natsConnection *nc, natsSock socket)
{
    (void)user;
    (void)loop;
    (void)nc;
    (void)socket;
    return NATS_ERR;
}

static natsStatus
no_event(void *user, bool add)
{
    (void)user;
    (void)add;
    return NATS_ERR;
}

static natsStatus
no_detach(void *user)
{
    (void)user;
    return NATS_ERR;
}

/* One try; handshake_ms: 0: as long as it may take. */
static struct bus_nats_outcome
ask_for(const char *url, const struct identity *ca, const char *password, int handshake_ms)
{
    static int loop_;
    const struct bus_nats_loop loop = {&loop_, no_attach, no_event, no_event, no_detach};
    struct bus_nats_options o = {.name = SPAN_LIT("a"), .url = span_of(url)};
    struct bus_nats_plan plan = {0};
    struct bus_nats_outcome outcome;
    int wake_fd = eventfd(0, EFD_CLOEXEC);

    if (ca != NULL)
        o.ca = file_of("ca.pem", ca->cert_pem);
    if (password != NULL) {
        o.user = SPAN_LIT("u");
        o.password = span_of(password);
    }
    must(wake_fd >= 0 && bus_nats_plan(&o, &plan) == ERR_OK);
    plan.handshake_ms = handshake_ms > 0 ? handshake_ms : plan.handshake_ms;
    must(bus_nats_connect(&plan, &plan.servers[0], &loop, wake_fd, &outcome) == NULL);
    bus_nats_plan_fini(&plan);
    close(wake_fd);
    return outcome;
}

static struct bus_nats_outcome
ask(const char *url, const struct identity *ca, const char *password)
{
    return ask_for(url, ca, password, 0);
}

static void
check_scripts(void)
{
    static const struct {
        const char *label, *info, *answer, *words;
        enum bus_away why;
    } rows[] = {
        {"a server that ends when it is asked", "", "", "says nothing", BUS_AWAY_BUSY},
        {"no NATS server", "SSH-2.0\r\n", "", "no NATS server", BUS_AWAY_BUSY},
        {"one that ends after CONNECT", PLAIN, "", "PONG", BUS_AWAY_BUSY},
        {"asked too late", PLAIN, "-ERR 'Authentication Timeout'\r\n", "Authentication Timeout",
         BUS_AWAY_BUSY},
        {"a full one", PLAIN, "-ERR 'maximum connections exceeded'\r\n", "maximum", BUS_AWAY_BUSY},
        {"one that is ending", PLAIN, "-ERR 'Server Shutdown'\r\n", "Shutdown", BUS_AWAY_BUSY},
        {"one that knows us not", PLAIN, "-ERR 'Authorization Violation'\r\n", "user `u`",
         BUS_AWAY_REFUSED},
        {"one that ends within TLS", TLS, "", "TLS came to nothing", BUS_AWAY_BUSY},
        {"one that speaks no TLS then", TLS, "-ERR 'x'\r\n", "TLS came to nothing", BUS_AWAY_BUSY},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire w = {.serve = serve_script, .info = rows[i].info, .answer = rows[i].answer};
        bool tls = strcmp(rows[i].info, TLS) == 0;
        struct bus_nats_outcome outcome;

        wire_open(&w, tls ? "tls" : "nats");
        outcome = ask(w.url, tls ? &root : NULL, "p");
        CHECK(outcome.why == rows[i].why && strstr(outcome.words, rows[i].words) != NULL,
              rows[i].label);
        wire_close(&w);
    }
}

static void
check_absent(void)
{
    CHECK(ask(server.url, NULL, NULL).why == BUS_AWAY_ABSENT, "a port at which nobody listens");
    CHECK(ask("nats://no-such-host.invalid", NULL, NULL).why == BUS_AWAY_ABSENT, "no such host");
}

/* The real server, which waits for who asks for a tenth of a second. */
static void
check_real(void)
{
    struct wire w = {.serve = serve_held};
    struct bus_nats_outcome outcome;
    char text[TEXT_MAX];

    snprintf(text, sizeof(text),
             "listen: \"%s\"\nauthorization { user: u, password: p, timeout: 0.1 }\n",
             server.address);
    must(nats_server_start(&server, text));
    outcome = ask(server.url, NULL, "q");
    CHECK(outcome.why == BUS_AWAY_REFUSED, "a wrong password");
    wire_open(&w, "nats");
    outcome = ask(w.url, NULL, "p");
    CHECK(outcome.why == BUS_AWAY_BUSY && strstr(outcome.words, "Authentication Timeout") != NULL,
          "a right one that comes too late");
    wire_close(&w);
    nats_server_kill(&server);
}

static void
write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    must(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    must(chmod(path, 0600) == 0);
}

static void
check_real_tls(void)
{
    struct wire w = {.serve = serve_held};
    struct identity own = {0};
    struct bus_nats_outcome outcome;
    char cert[160], key[160], text[TEXT_MAX];

    make_identity(&own, &root, "bus", "IP:127.0.0.1", 30);
    snprintf(cert, sizeof(cert), "%s/tls.crt", server.folder);
    snprintf(key, sizeof(key), "%s/tls.key", server.folder);
    write_file(cert, own.cert_pem);
    write_file(key, own.key_pem);
    snprintf(text, sizeof(text),
             "listen: \"%s\"\ntls { cert_file: \"%s\", key_file: \"%s\", timeout: 0.1 }\n",
             server.address, cert, key);
    must(nats_server_start(&server, text));
    outcome = ask(server.url, NULL, NULL);
    CHECK(outcome.why == BUS_AWAY_REFUSED, "nats:// where TLS is");
    wire_open(&w, "tls");
    outcome = ask(w.url, &root, NULL);
    CHECK(outcome.why == BUS_AWAY_BUSY && strstr(outcome.words, "TLS came to nothing") != NULL,
          "TLS that takes too long");
    wire_close(&w);
    snprintf(text, sizeof(text), "tls://%s", server.address);
    outcome = ask(text, &other, NULL);
    CHECK(outcome.why == BUS_AWAY_REFUSED && strstr(outcome.words, "certificate") != NULL,
          "a certificate that nobody we trust has signed");
    nats_server_kill(&server);
    unlink(cert);
    unlink(key);
    free_identity(&own);
}

/* --- signatures --- */

/* A nonce of which the signature's first byte is 0, or is not. */
static void
find_nonce(const unsigned char secret[64], bool zero, char ret[NONCE_BYTES + 1])
{
    unsigned char signature[crypto_sign_BYTES];
    unsigned n = 0;

    do {
        snprintf(ret, NONCE_BYTES + 1, "%08x", n++);
        must(crypto_sign_detached(signature, NULL, (unsigned char *)ret, NONCE_BYTES, secret) == 0);
    } while ((signature[0] == 0) != zero);
}

/* A seed in a file of the server's folder, its public key in text. */
static void
make_nkey(unsigned char secret[64], char path[160], char ret_public[NKEY_PUBLIC_TEXT_BYTES + 1])
{
    unsigned char seed[NKEY_BYTES], public[NKEY_BYTES];
    char text[NKEY_SEED_TEXT_BYTES + 1];

    randombytes_buf(seed, sizeof(seed));
    must(crypto_sign_ed25519_seed_keypair(public, secret, seed) == 0);
    nkey_write_seed(seed, text);
    nkey_write_public(public, ret_public);
    snprintf(path, 160, "%s/a.nkey", server.folder);
    write_file(path, text);
}

static struct bus *
open_bus(const char *url, const char *nkey_path)
{
    struct bus_nats_options o = {
        .name = SPAN_LIT("a"), .url = span_of(url), .nkey_path = nkey_path};
    struct bus *bus = NULL;

    must(bus_nats_open(&o, &bus) == ERR_OK);
    return bus;
}

static void
check_signatures(const unsigned char secret[64], const char *path)
{
    struct wire w = {.serve = serve_nonces};
    struct bus_state now;
    struct bus *bus;

    find_nonce(secret, true, w.nonces[0]);
    find_nonce(secret, false, w.nonces[1]);
    wire_open(&w, "nats");
    bus = open_bus(w.url, path);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "nonces whose signatures cannot be sent");
    bus_read_state(bus, &now);
    CHECK(now.attempts == 1 && now.errors == 0, "are no refusal, and cost no wait");
    bus_close(bus);
    wire_close(&w);
}

/* --- handshakes without an end --- */

static void
check_silence(void)
{
    struct wire w = {.serve = serve_silence, .info = PLAIN};
    struct bus *bus;

    wire_open(&w, "nats");
    CHECK(ask_for(w.url, NULL, NULL, SHORT_MS).why == BUS_AWAY_BUSY,
          "a server that says nothing after CONNECT is left");
    atomic_store(&w.is_asked, false);
    bus = open_bus(w.url, NULL);
    while (!atomic_load(&w.is_asked))
        usleep(1000);
    bus_close(bus);
    CHECK(true, "and keeps no program from its end");
    wire_close(&w);
    w = (struct wire){.serve = serve_silence, .info = TLS};
    wire_open(&w, "tls");
    CHECK(ask_for(w.url, &root, NULL, SHORT_MS).why == BUS_AWAY_BUSY, "nor does one within TLS");
    wire_close(&w);
}

/* Two buses of one program at one server. */
static void
check_neighbour(void)
{
    struct wire w = {.serve = serve_first, .info = PLAIN};
    struct bus_state now;
    char text[TEXT_MAX];
    struct bus *bus;

    wire_open(&w, "nats");
    bus = open_bus(w.url, NULL);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "one is let in");
    CHECK(ask_for(w.url, NULL, NULL, SHORT_MS).why == BUS_AWAY_BUSY, "another is left waiting");
    send_text(w.kept, "PING\r\n");
    hear(w.kept, "PONG\r\n", text);
    CHECK(strstr(text, "PONG\r\n") != NULL, "and is cut, but not the first");
    bus_read_state(bus, &now);
    CHECK(now.connected && now.attempts == 1 && now.errors == 0, "which never noticed");
    bus_close(bus);
    wire_close(&w);
}

/* --- refused by a server that knew us --- */

struct lines {
    _Atomic unsigned ended, refused;
};

static bool
count_line(struct span line, void *user)
{
    struct lines *lines = user;

    lines->refused += memmem(line.data, line.bytes, "refused our nkey", 16) != NULL;
    lines->ended += memmem(line.data, line.bytes, "connection ended", 16) != NULL;
    return true;
}

static void
check_forgotten(const char *path, const char *public, const char *stranger)
{
    struct lines lines = {0};
    char knows[TEXT_MAX], forgets[TEXT_MAX];
    struct bus_state before;
    struct bus *bus;

    snprintf(forgets, sizeof(forgets),
             "listen: \"%s\"\nauthorization { users: [ { nkey: %s } ] }\n", server.address,
             stranger);
    snprintf(knows, sizeof(knows), "listen: \"%s\"\nauthorization { users: [ { nkey: %s } ] }\n",
             server.address, public);
    log_divert(count_line, &lines, false);
    must(nats_server_start(&server, knows));
    bus = open_bus(server.url, path);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "let in");
    nats_server_kill(&server);
    must(nats_server_start(&server, forgets));
    CHECK(BUS_STATE_WAIT(bus, strstr(state.error, "refused our nkey") != NULL),
          "a server that came back and knows nobody yet");
    bus_read_state(bus, &before);
    CHECK(BUS_STATE_WAIT(bus, state.attempts >= before.attempts + REFUSALS), "is asked again");
    CHECK(lines.ended == 1 && lines.refused == 1, "the log has one line of each reason");
    nats_server_kill(&server);
    must(nats_server_start(&server, knows));
    CHECK(BUS_STATE_WAIT(bus, state.connected && state.connects == 2),
          "and when it does, it is in");
    nats_server_kill(&server);
    snprintf(forgets, sizeof(forgets), "listen: \"%s\"\n", server.address);
    must(nats_server_start(&server, forgets));
    CHECK(BUS_STATE_WAIT(bus, strstr(state.error, "no users with an nkey") != NULL),
          "one that gives nothing to sign");
    bus_close(bus);
    log_divert(NULL, NULL, false);
    nats_server_kill(&server);
}

int
main(void)
{
    unsigned char secret[64];
    char path[160], public[NKEY_PUBLIC_TEXT_BYTES + 1], stranger[NKEY_PUBLIC_TEXT_BYTES + 1];

    if (!nats_server_exists())
        return tap_skip("there is no nats-server (Debian: nats-server)");
    must(sodium_init() >= 0);
    nats_server_init(&server);
    make_identity(&root, NULL, "root", NULL, 30);
    make_identity(&other, NULL, "other root", NULL, 30);
    make_nkey(secret, path, stranger);
    make_nkey(secret, path, public);
    check_scripts();
    check_absent();
    check_real();
    check_real_tls();
    check_signatures(secret, path);
    check_silence();
    check_neighbour();
    check_forgotten(path, public, stranger);
    unlink(path);
    free_identity(&root);
    free_identity(&other);
    nats_server_fini(&server);
    return tap_done();
}

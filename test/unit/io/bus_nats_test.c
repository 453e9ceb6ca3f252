/* bus_nats_test - the bus over a real NATS server: who may come in and say what, requests, a server
 * that is killed and comes back under traffic, and neighbours that send what nobody may have. */
#include "io/bus_nats.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "bus_box.h"
#include "nats_server.h"
#include "tap.h"
#include "tls_fixture.h"
#include "wire/nats_config.h"

#define SHORT_NS         200000000u
#define LONG_NS          60000000000u
#define TEXT_MAX         8192u
#define ROLES            3u
#define PATH_MAX_        160u
#define STOPPED_MESSAGES 16384u /* 64 MiB */
#define TLS_MESSAGES     10000u

static struct nats_server server;
static char paths[ROLES + 1][PATH_MAX_]; /* seeds: of gateway gw1, nodes a and b; of a stranger */
static char config[TEXT_MAX];

/* A seed in a file, and its user in *u. */
static void
make_user(unsigned i, enum nats_role role, const char *name, struct nats_user *u)
{
    unsigned char seed[NKEY_BYTES], public[32], secret[64];
    char text[NKEY_SEED_TEXT_BYTES + 1];
    FILE *file;

    randombytes_buf(seed, sizeof(seed));
    must(crypto_sign_ed25519_seed_keypair(public, secret, seed) == 0);
    nkey_write_seed(seed, text);
    snprintf(paths[i], sizeof(paths[i]), "%s/%u.nkey", server.folder, i);
    file = fopen(paths[i], "we");
    must(file != NULL && fprintf(file, "%s\n", text) > 0 && fclose(file) == 0);
    must(chmod(paths[i], 0600) == 0);
    u->role = role;
    snprintf(u->name, sizeof(u->name), "%s", name);
    nkey_write_public(public, u->nkey);
}

static void
make_users(void)
{
    struct nats_user users[ROLES + 1] = {0};
    struct arena arena;
    struct span text;

    make_user(0, NATS_ROLE_GATEWAY, "gw1", &users[0]);
    make_user(1, NATS_ROLE_NODE, "a", &users[1]);
    make_user(2, NATS_ROLE_NODE, "b", &users[2]);
    make_user(3, NATS_ROLE_NODE, "stranger", &users[3]);
    arena_init(&arena, 1u << 20);
    must(nats_config_write(server.address, users, ROLES, &arena, &text) == ERR_OK &&
         text.bytes < sizeof(config));
    span_copy(text, config, sizeof(config));
    arena_fini(&arena);
}

static struct bus *
open_as(const char *name, const char *nkey_path)
{
    struct bus_nats_options o = {
        .name = span_of(name), .url = span_of(server.url), .nkey_path = nkey_path};
    struct bus *bus = NULL;

    must(bus_nats_open(&o, &bus) == ERR_OK);
    return bus;
}

/* Until what we subscribed to is known to the server: it answers in order. */
static bool
settle(struct bus *bus, const char *subject)
{
    struct bus_box box = BUS_BOX_INIT;
    enum err err = ERR_AGAIN;

    for (int ms = 0; ms < BUS_BOX_WAIT_MS && err == ERR_AGAIN; ms++) {
        err = bus_request(bus, span_of(subject), SPAN_LIT(""), LONG_NS, bus_box_answer, &box);
        if (err == ERR_AGAIN)
            usleep(1000); /* there is no room for it yet */
    }
    return err == ERR_OK && BUS_BOX_WAIT(&box, box.answers == 1 && box.err == ERR_NOT_FOUND);
}

static void
check_options(void)
{
    static const struct {
        const char *label, *name, *url, *user, *password;
    } rows[] = {
        {"no name", "", "nats://127.0.0.1", "", ""},
        {"a name that is a pattern", "*", "nats://127.0.0.1", "", ""},
        {"no URL", "a", "", "", ""},
        {"another scheme", "a", "http://127.0.0.1", "", ""},
        {"a password in the URL", "a", "nats://u:p@127.0.0.1", "", ""},
        {"no host", "a", "nats://:4222", "", ""},
        {"no port after the colon", "a", "nats://h:", "", ""},
        {"a port over all ports", "a", "nats://h:65536", "", ""},
        {"a path", "a", "nats://h:4222/x", "", ""},
        {"one of two is bad", "a", "nats://h,nats://", "", ""},
        {"TLS without anybody to trust", "a", "tls://h", "", ""},
        {"a user without password", "a", "nats://h", "u", ""},
    };
    struct bus *bus = NULL;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bus_nats_options o = {.name = span_of(rows[i].name),
                                     .url = span_of(rows[i].url),
                                     .user = span_of(rows[i].user),
                                     .password = span_of(rows[i].password)};

        CHECK(bus_nats_open(&o, &bus) == ERR_ARG && bus == NULL, rows[i].label);
    }
}

static void
check_seed_files(void)
{
    struct bus_nats_options o = {
        .name = SPAN_LIT("a"), .url = SPAN_LIT("nats://127.0.0.1:1"), .nkey_path = paths[1]};
    struct bus *bus = NULL;

    must(chmod(paths[1], 0640) == 0);
    CHECK(bus_nats_open(&o, &bus) == ERR_IO && bus == NULL, "a seed that others may read");
    must(chmod(paths[1], 0600) == 0);
    o.nkey_path = server.folder;
    CHECK(bus_nats_open(&o, &bus) == ERR_IO, "a folder is no seed");
    o.nkey_path = "/nowhere/seed";
    CHECK(bus_nats_open(&o, &bus) == ERR_IO, "there is no such file");
    must(truncate(paths[3], 20) == 0);
    o.nkey_path = paths[3];
    CHECK(bus_nats_open(&o, &bus) == ERR_PARSE, "half a seed");
    make_user(3, NATS_ROLE_NODE, "stranger", &(struct nats_user){.name = ""});
}

/* There is no server, then there is one. */
static void
check_start(void)
{
    struct bus *bus = open_as("gw1", paths[0]);
    struct bus_box box = BUS_BOX_INIT;

    CHECK(bus_publish(bus, SPAN_LIT("iso.elsewhere"), SPAN_LIT("1")) == ERR_AGAIN,
          "without a server a message is dropped");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.a"), SPAN_LIT(""), LONG_NS, bus_box_answer, &box) ==
              ERR_AGAIN,
          "so is a request");
    CHECK(BUS_STATE_WAIT(bus, !state.connected && state.dropped_out == 2 &&
                                  strstr(state.error, "Connection refused") != NULL),
          "the state says why");
    must(nats_server_start(&server, config));
    CHECK(BUS_STATE_WAIT(bus, state.connected && state.connects == 1 &&
                                  strstr(state.server, "NATS 2.") != NULL),
          "it comes by itself when there is one");
    bus_close(bus);
    CHECK(box.answers == 0, "what was not sent is not answered");
}

static void
check_talk(void)
{
    struct bus *gateway = open_as("gw1", paths[0]), *a = open_as("a", paths[1]);
    struct bus_box reports = BUS_BOX_INIT, orders = BUS_BOX_INIT, asker = BUS_BOX_INIT;

    orders.bus = a;
    must(bus_subscribe(gateway, SPAN_LIT("iso.report.>"), bus_box_message, &reports) == ERR_OK);
    must(bus_subscribe(a, SPAN_LIT("iso.ctl.a"), bus_box_message, &orders) == ERR_OK);
    CHECK(BUS_STATE_WAIT(gateway, state.connected) && BUS_STATE_WAIT(a, state.connected),
          "an nkey lets in");
    CHECK(settle(gateway, "iso.check.gw1") && settle(a, "iso.check.a"),
          "a word to nobody and back");
    CHECK(bus_publish(a, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("{\"v\":1}")) == ERR_OK &&
              BUS_BOX_WAIT(&reports, reports.messages == 1 &&
                                         strcmp(reports.subject, "iso.report.eu.a") == 0 &&
                                         strcmp(reports.body, "{\"v\":1}") == 0),
          "a report is heard");
    CHECK(bus_request(gateway, SPAN_LIT("iso.ctl.a"), SPAN_LIT("drain"), LONG_NS, bus_box_answer,
                      &asker) == ERR_OK &&
              BUS_BOX_WAIT(&asker, asker.answers == 1 && asker.err == ERR_OK &&
                                       strcmp(asker.body, "drain") == 0),
          "an order is answered");
    CHECK(bus_publish(a, SPAN_LIT("iso.report.eu.b"), SPAN_LIT("{}")) == ERR_OK &&
              BUS_STATE_WAIT(a, strstr(state.error, "iso.report.eu.b") != NULL &&
                                    strstr(state.error, "does not permit") != NULL),
          "a node that speaks under another's name is told");
    CHECK(bus_subscribe(a, SPAN_LIT("iso.report.>"), bus_box_message, &orders) == ERR_OK &&
              BUS_STATE_WAIT(a, strstr(state.error, "iso.report.>") != NULL),
          "nor does it hear what is not for it");
    CHECK(settle(a, "iso.check.a") && reports.messages == 1, "nobody heard it");
    CHECK(BUS_STATE_WAIT(a, state.connected && state.connects == 1), "it stays connected");
    CHECK(bus_publish(a, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("last")) == ERR_OK, "a last word");
    bus_close(a);
    CHECK(BUS_BOX_WAIT(&reports, strcmp(reports.body, "last") == 0), "is sent before the end");
    bus_close(gateway);
}

static void
check_refused(void)
{
    struct bus *stranger = open_as("stranger", paths[3]), *nobody = open_as("x", NULL);

    CHECK(BUS_STATE_WAIT(stranger, strstr(state.error, "refused our nkey U") != NULL),
          "an unknown nkey is refused, in words");
    CHECK(BUS_STATE_WAIT(nobody, strstr(state.error, "wants credentials") != NULL),
          "so is who shows none");
    CHECK(BUS_STATE_WAIT(stranger, state.connects == 0), "and it was never in");
    bus_close(stranger);
    bus_close(nobody);
}

struct traffic {
    struct bus *bus;
    _Atomic bool stop;
    _Atomic uint64_t sent, dropped;
};

static void *
send_on(void *arg)
{
    struct traffic *t = arg;

    while (!atomic_load(&t->stop)) {
        if (bus_publish(t->bus, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("{}")) == ERR_OK)
            atomic_fetch_add(&t->sent, 1);
        else
            atomic_fetch_add(&t->dropped, 1);
        usleep(500);
    }
    return NULL;
}

static void
check_restart(void)
{
    struct bus *gateway = open_as("gw1", paths[0]);
    struct traffic t = {.bus = open_as("a", paths[1])};
    struct bus_box reports = BUS_BOX_INIT;
    struct bus_state before;
    uint64_t dropped;
    unsigned heard;
    pthread_t thread;

    must(bus_subscribe(gateway, SPAN_LIT("iso.report.>"), bus_box_message, &reports) == ERR_OK);
    must(pthread_create(&thread, NULL, send_on, &t) == 0);
    CHECK(BUS_BOX_WAIT(&reports, reports.messages > 10), "reports come");
    nats_server_kill(&server);
    CHECK(BUS_STATE_WAIT(gateway, !state.connected) && BUS_STATE_WAIT(t.bus, !state.connected),
          "the server was killed, and both know");
    dropped = atomic_load(&t.dropped);
    while (atomic_load(&t.dropped) < dropped + 20)
        usleep(1000);
    CHECK(true, "the sender goes on, and drops");
    heard = reports.messages;
    must(nats_server_start(&server, config));
    CHECK(BUS_BOX_WAIT(&reports, reports.messages > heard + 10), "it is back, and reports come");
    bus_read_state(gateway, &before);
    CHECK(before.connected && before.connects == 2, "by a second connection");
    atomic_store(&t.stop, true);
    must(pthread_join(thread, NULL) == 0);
    bus_read_state(t.bus, &before);
    CHECK(before.published == t.sent && before.dropped_out == t.dropped, "the drops are counted");
    bus_close(t.bus);
    bus_close(gateway);
}

/* Another client, which says what it likes. */
static void
say_raw(const char *head, size_t body_bytes)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(server.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static char body[2 * BUS_BODY_BYTES_MAX];
    char answer[1024];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n;

    must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    memset(body, 'x', sizeof(body));
    must(dprintf(fd, "CONNECT {\"verbose\":false}\r\n%s", head) > 0);
    must(write(fd, body, body_bytes) == (ssize_t)body_bytes);
    must(dprintf(fd, "\r\nPING\r\n") > 0);
    do {
        n = recv(fd, answer, sizeof(answer) - 1, 0);
        must(n > 0);
        answer[n] = '\0';
    } while (strstr(answer, "PONG") == NULL);
    close(fd);
}

/* A server that takes nothing any more, and is not gone: no call waits for it, or this would never
 * end. */
static void
check_stopped(struct bus *bus, const char *label)
{
    static char body[BUS_BODY_BYTES_MAX];
    struct bus_state before, after;
    unsigned sent = 0;

    must(kill(server.pid, SIGSTOP) == 0);
    bus_read_state(bus, &before);
    while (sent < STOPPED_MESSAGES && bus_publish(bus, SPAN_LIT("iso.elsewhere"),
                                                  (struct span){body, sizeof(body)}) == ERR_OK) {
        if (++sent % 64 == 0)
            usleep(1000); /* the socket is to be filled, too */
    }
    for (unsigned i = 0; i < 1000; i++)
        (void)!bus_publish(bus, SPAN_LIT("iso.elsewhere"), (struct span){body, sizeof(body)});
    bus_read_state(bus, &after);
    CHECK(sent < STOPPED_MESSAGES && after.dropped_out > before.dropped_out, label);
    must(kill(server.pid, SIGCONT) == 0);
    CHECK(BUS_STATE_WAIT(bus, state.connected) && settle(bus, "iso.check.gw1"), "and goes on");
}

/* A server that lets everybody do everything. */
static void
check_hostile(void)
{
    struct bus *bus;
    struct bus_box box = BUS_BOX_INIT;
    struct bus_state now;
    char text[256], body[16];
    unsigned sent = 0;

    nats_server_kill(&server);
    snprintf(text, sizeof(text), "listen: \"%s\"\nauthorization { user: u, password: \"p w\" }\n",
             server.address);
    must(nats_server_start(&server, text));
    bus = open_as("gw1", NULL);
    CHECK(BUS_STATE_WAIT(bus, state.errors > 0), "no password, no way in");
    bus_close(bus);
    bus = NULL;
    must(bus_nats_open(&(struct bus_nats_options){.name = SPAN_LIT("gw1"),
                                                  .url = span_of(server.url),
                                                  .user = SPAN_LIT("u"),
                                                  .password = SPAN_LIT("p w")},
                       &bus) == ERR_OK);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "by password");
    bus_close(bus);
    nats_server_kill(&server);
    snprintf(text, sizeof(text), "listen: \"%s\"\n", server.address);
    must(nats_server_start(&server, text));
    bus = open_as("gw1", NULL);
    must(bus_subscribe(bus, SPAN_LIT("iso.>"), bus_box_message, &box) == ERR_OK);
    CHECK(BUS_STATE_WAIT(bus, state.connected) && settle(bus, "check"), "a server without users");
    say_raw("PUB iso.report.eu.a 4097\r\n", BUS_BODY_BYTES_MAX + 1);
    say_raw("PUB iso.report.e\x1b[2J 1\r\n", 1);
    say_raw("PUB iso.report.a a=b 1\r\n", 1);
    say_raw("PUB iso.report.eu.a 4096\r\n", BUS_BODY_BYTES_MAX);
    CHECK(BUS_BOX_WAIT(&box, box.messages == 1 && box.body_bytes == BUS_BODY_BYTES_MAX),
          "a message at the limit comes");
    bus_read_state(bus, &now);
    CHECK(now.refused_in == 3 && now.connected, "too large, or with odd subjects: refused");
    bus_box_lock(&box);
    box.held = true;
    bus_box_unlock(&box);
    while (sent < BUS_PENDING_MESSAGES_MAX + 100) {
        snprintf(body, sizeof(body), "%u", sent);
        if (bus_publish(bus, SPAN_LIT("iso.report.eu.a"), span_of(body)) == ERR_OK)
            sent++;
        else
            usleep(1000);
    }
    CHECK(BUS_STATE_WAIT(bus, state.received == sent + 2), "a slow callback delays no reading");
    bus_read_state(bus, &now);
    CHECK(now.dropped_in >= 100 - BUS_TURN_MESSAGES, "what waits too long is dropped and counted");
    bus_box_lock(&box);
    box.held = false;
    bus_box_unlock(&box);
    CHECK(BUS_BOX_WAIT(&box, strcmp(box.body, body) == 0), "the newest is not");
    bus_close(bus);
    bus = open_as("gw1", NULL);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "one that only sends");
    check_stopped(bus, "a server that is stopped: what it cannot take is dropped");
    bus_close(bus);
}

static void
write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    must(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* tls://, with this to trust. */
static struct bus *
open_tls(const struct identity *ca)
{
    char url[64];
    struct bus *bus = NULL;

    snprintf(url, sizeof(url), "tls://%s", server.address);
    must(bus_nats_open(&(struct bus_nats_options){.name = SPAN_LIT("gw1"),
                                                  .url = span_of(url),
                                                  .ca = file_of("ca.pem", ca->cert_pem)},
                       &bus) == ERR_OK);
    return bus;
}

static void
check_tls(void)
{
    struct identity root = {0}, other = {0}, own = {0};
    char cert[PATH_MAX_], key[PATH_MAX_], text[TEXT_MAX];
    struct bus_box box = BUS_BOX_INIT;
    unsigned sent = 0;
    struct bus *bus;

    make_identity(&root, NULL, "root", NULL, 30);
    make_identity(&other, NULL, "other root", NULL, 30);
    make_identity(&own, &root, "bus", "IP:127.0.0.1", 30);
    snprintf(cert, sizeof(cert), "%s/tls.crt", server.folder);
    snprintf(key, sizeof(key), "%s/tls.key", server.folder);
    write_file(cert, own.cert_pem);
    write_file(key, own.key_pem);
    snprintf(text, sizeof(text), "listen: \"%s\"\ntls { cert_file: \"%s\", key_file: \"%s\" }\n",
             server.address, cert, key);
    nats_server_kill(&server);
    must(nats_server_start(&server, text));
    bus = open_as("gw1", NULL);
    CHECK(BUS_STATE_WAIT(bus, strstr(state.error, "wants TLS") != NULL), "nats:// where TLS is");
    bus_close(bus);
    bus = open_tls(&other);
    CHECK(BUS_STATE_WAIT(bus, strstr(state.error, "certificate is not good") != NULL),
          "a certificate that nobody we trust has signed");
    bus_close(bus);
    bus = open_tls(&root);
    CHECK(BUS_STATE_WAIT(bus, state.connected && strstr(state.server, "TLS") != NULL) &&
              settle(bus, "check"),
          "TLS, and a word back");
    must(bus_subscribe(bus, SPAN_LIT("iso.report.>"), bus_box_message, &box) == ERR_OK);
    while (sent < TLS_MESSAGES) {
        if (bus_publish(bus, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("{}")) == ERR_OK)
            sent++;
    }
    CHECK(BUS_BOX_WAIT(&box, box.messages == TLS_MESSAGES), "many messages over TLS");
    bus_close(bus);
    bus = open_tls(&root);
    CHECK(BUS_STATE_WAIT(bus, state.connected), "one that only sends, by TLS");
    check_stopped(bus, "a server that is stopped behind TLS");
    bus_close(bus);
    unlink(cert);
    unlink(key);
    free_identity(&root);
    free_identity(&other);
    free_identity(&own);
}

int
main(void)
{
    if (!nats_server_exists())
        return tap_skip("there is no nats-server (Debian: nats-server)");
    must(sodium_init() >= 0);
    nats_server_init(&server);
    make_users();
    check_options();
    check_seed_files();
    check_start();
    check_talk();
    check_refused();
    check_restart();
    check_hostile();
    check_tls();
    for (size_t i = 0; i <= ROLES; i++)
        unlink(paths[i]);
    nats_server_fini(&server);
    return tap_done();
}

/* e2e_node_bus_test - a node agent on a real bus: a gateway that knows nothing hears of it, sends
 * it requests, and loses it when it goes; the bus dies and comes back; directives come over it. */
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_node.h"
#include "e2e_page.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "nats_server.h"
#include "patience.h"
#include "tap.h"
#include "wire/directive.h"

#define NODES     "/network/v1/nodes"
#define ANSWER_NS 60000000000u

enum { GATEWAY = 3 }; /* first byte of its seed */

static struct nats_server server;
static char server_text[160];
static struct e2e_engine *engine;
static struct e2e_gateway gateway;
static struct e2e_node node;

static bool
goes(uint16_t port, const char *path, const char *text)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (!e2e_page_has(port, path, text))
            return true;
        usleep(10000);
    }
    return false;
}

static unsigned
ask(void)
{
    struct e2e_reply reply;
    unsigned status;

    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    status = reply.whole ? reply.status : 0;
    e2e_reply_fini(&reply);
    return status;
}

static void
start_node(void)
{
    struct signature_secret secret;
    char key[SIGNATURE_KEY_TEXT_SIZE];

    e2e_node_key(GATEWAY, &secret, key);
    e2e_node_start(&node,
                   "auth: none\nbus: {nats: \"%s\"}\n"
                   "gateways: [{name: gw, key: \"%s\", may: [infer, drain]}]\n"
                   "engines: [{url: \"http://127.0.0.1:%u\", name: e1, kind: openai}]\n",
                   server.url, key, e2e_engine_port(engine));
}

/* ---- Who asks for all, over and over. */

#define ASKS        200u
#define ASK_WAIT_US 20000u /* shorter than a node waits between two reports */

struct heard {
    _Atomic uint32_t hellos, reports, fulls;
};

static void
on_said(const struct bus_message *message, void *user)
{
    struct heard *h = user;

    if (span_starts(message->subject, SPAN_LIT("iso.hello.")))
        atomic_fetch_add(&h->hellos, 1);
    else
        atomic_fetch_add(&h->reports, 1);
    if (memmem(message->body.data, message->body.bytes, "\"full\":true", 11) != NULL)
        atomic_fetch_add(&h->fulls, 1);
}

static void
test_asked(void)
{
    const struct bus_nats_options o = {.name = SPAN_LIT("gw"), .url = span_of(server.url)};
    const struct span hello = SPAN_LIT("{\"v\":1,\"want\":\"hello\"}");
    static struct heard h;
    uint64_t until_s = 0, until_hello_s = 0;
    struct bus *bus;
    uint32_t asked = 0;

    must(bus_nats_open(&o, &bus) == ERR_OK);
    must(bus_subscribe(bus, SPAN_LIT("iso.hello.*"), on_said, &h) == ERR_OK);
    must(bus_subscribe(bus, SPAN_LIT("iso.report.>"), on_said, &h) == ERR_OK);
    while (asked < ASKS && patience(&until_s)) {
        asked += bus_publish(bus, SPAN_LIT("iso.ctl.n1"), hello) == ERR_OK;
        usleep(ASK_WAIT_US);
    }
    while (atomic_load(&h.hellos) == 0 && patience(&until_hello_s))
        usleep(10000);
    CHECK(atomic_load(&h.hellos) > 0 && atomic_load(&h.fulls) > 0, "who asks for all gets it");
    CHECK(4 * atomic_load(&h.hellos) < 3 * atomic_load(&h.reports) &&
              4 * atomic_load(&h.fulls) < 3 * atomic_load(&h.reports),
          "who asks over and over does not use up what the node may say to others");
    bus_close(bus);
}

/* A gateway refuses what the node says: it counts, and its log says why. */
static void
test_not_heard(void)
{
    const struct bus_nats_options o = {.name = SPAN_LIT("gw"), .url = span_of(server.url)};
    const struct span expired = SPAN_LIT(
        "{\"words\":\"its record has expired\",\"v\":1,\"gateway\":\"gw\","
        "\"verdict\":\"expired\"}");
    struct e2e_reply reply;
    uint64_t until_s = 0;
    double count = 0.0;
    uint32_t sent = 0;
    struct bus *bus;

    must(bus_nats_open(&o, &bus) == ERR_OK);
    while (count < 1.0 && patience(&until_s)) {
        sent += bus_publish(bus, SPAN_LIT("iso.ctl.n1"), expired) == ERR_OK;
        usleep(20000);
        e2e_ask(node.admin_port, "GET", "/metrics", "", "", &reply);
        count = e2e_number(reply.body, "\nisochrone_node_not_heard_total ");
        e2e_reply_fini(&reply);
    }
    CHECK(sent > 0 && count >= 1.0, "a gateway that does not hear the node tells it");
    bus_close(bus);
}

/* ---- Directives. */

struct answer {
    sem_t came;
    enum err err;
    char text[1024];
};

static void
on_reply(enum err err, struct span body, void *user)
{
    struct answer *a = user;

    a->err = err;
    span_copy(body, a->text, sizeof(a->text));
    must(sem_post(&a->came) == 0);
}

static void
test_directive(void)
{
    const struct bus_nats_options o = {.name = SPAN_LIT("gw"), .url = span_of(server.url)};
    struct directive d = {.v = MESSAGE_VERSION,
                          .node = SPAN_LIT("n1"),
                          .epoch = e2e_node_report(&node)->epoch,
                          .nonce = {1},
                          .issued_s = clock_wall_s(),
                          .expires_s = clock_wall_s() + 60,
                          .action = DIRECTIVE_DRAIN};
    char key[SIGNATURE_KEY_TEXT_SIZE], text[MESSAGE_BYTES_MAX];
    struct signature_secret secret;
    struct answer a = {.err = ERR_IO};
    uint64_t until_s = 0;
    struct bus *bus;
    size_t bytes;

    must(sem_init(&a.came, 0, 0) == 0 && bus_nats_open(&o, &bus) == ERR_OK);
    e2e_node_key(GATEWAY, &secret, key);
    must(directive_sign(&d, &secret) == ERR_OK && directive_write(&d, text, &bytes) == ERR_OK);
    while (bus_request(bus, SPAN_LIT("iso.ctl.n1"), (struct span){text, bytes}, ANSWER_NS, on_reply,
                       &a) != ERR_OK) { /* until this bus is connected */
        must(patience(&until_s));
        usleep(10000);
    }
    while (sem_wait(&a.came) != 0)
        ;
    CHECK(a.err == ERR_OK && strstr(a.text, "\"verdict\":\"good\",\"result\":\"done\"") != NULL,
          "a directive over the bus is carried out and answered");
    CHECK(e2e_page_comes(gateway.admin_port, NODES, "\"state\":\"drain\""),
          "and the gateway hears that the node drains");
    bus_close(bus);
    sem_destroy(&a.came);
}

int
main(void)
{
    static const struct gateway_options options = {.rule = -1, .seed = 1};

    if (!nats_server_exists()) {
        printf("1..0 # SKIP there is no nats-server\n");
        return 0;
    }
    nats_server_init(&server);
    snprintf(server_text, sizeof(server_text), "listen: \"%s\"\nmax_payload: 8KB\n",
             server.address);
    must(nats_server_start(&server, server_text));
    engine = e2e_engine_start("m", e2e_good);
    start_node();
    e2e_gateway_start(&gateway, &options, "bus: {nats: \"%s\"}\n", server.url);
    CHECK(e2e_wait_ready(&gateway, 1),
          "a gateway that comes later hears of the node and its model");
    CHECK(e2e_page_has(gateway.admin_port, NODES, "\"node\":\"n1\""), "by its name");
    CHECK(ask() == 200, "and is answered through it");

    nats_server_kill(&server);
    CHECK(ask() == 200, "the bus dies, and requests go on");
    must(nats_server_start(&server, server_text));
    CHECK(e2e_page_comes(node.admin_port, "/metrics", "\nisochrone_node_bus_connected 1\n") &&
              e2e_page_comes(gateway.admin_port, "/network/v1/bus", "\"connected\":true"),
          "it comes back, and so do they");
    CHECK(ask() == 200, "requests still go on");

    e2e_node_stop(&node);
    CHECK(goes(gateway.admin_port, NODES, "\"node\":\"n1\""), "it says that it is gone");
    start_node();
    CHECK(e2e_wait_ready(&gateway, 1), "another life of it is there");
    CHECK(ask() == 200, "and takes requests");
    test_asked();
    test_not_heard();
    test_directive();
    e2e_node_stop(&node);
    e2e_gateway_stop(&gateway);
    e2e_engine_stop(engine);
    nats_server_fini(&server);
    return tap_done();
}

/* e2e_steer_test - a gateway that asks things of a node over a real NATS server: a node that obeys,
 * refuses, has another clock, answers nonsense or nothing, restarts or leaves. What comes of it is
 * told in words, and what plan wanted is not asked for again at once. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "e2e.h"
#include "e2e_node.h"
#include "e2e_page.h"
#include "io/bus_nats.h"
#include "nats_server.h"
#include "patience.h"
#include "tap.h"

#define GATEWAY_SEED 3

static struct nats_server server;
static struct bus *bus; /* of the nodes */
static struct e2e_gateway gateway;
static struct e2e_engine *engine;
static struct bus_node node;

/* ---- What the node does with directives. */

enum mode { BEGINS, DOES, REFUSES, CLOCK, GARBAGE, OTHER, MUTE };

static struct {
    pthread_mutex_t lock;
    enum mode mode;
    unsigned heard; /* directives that are well signed */
    struct report_outcome outcome;
} box = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
set_mode(enum mode mode)
{
    must(pthread_mutex_lock(&box.lock) == 0);
    box.mode = mode;
    must(pthread_mutex_unlock(&box.lock) == 0);
}

static unsigned
heard(void)
{
    unsigned count;

    must(pthread_mutex_lock(&box.lock) == 0);
    count = box.heard;
    must(pthread_mutex_unlock(&box.lock) == 0);
    return count;
}

static void
fill(enum mode mode, struct directive_reply *r)
{
    r->verdict = mode == CLOCK ? DIRECTIVE_NOT_YET : DIRECTIVE_GOOD;
    r->result = mode == BEGINS ? DIRECTIVE_BEGUN
                : mode == DOES ? DIRECTIVE_DONE
                               : DIRECTIVE_REFUSED;
    r->ready_in_ms = mode == BEGINS ? 60000.0 : (double)NAN;
    if (mode == REFUSES)
        r->words = SPAN_LIT("there is no room for it");
    if (mode == CLOCK)
        r->words = SPAN_LIT("issued in the future: the clocks differ by 3600 s");
    if (mode == OTHER)
        r->nonce[0] ^= 1;
}

static void
on_directive(const struct bus_message *message, void *user)
{
    struct directive_reply reply = {.v = MESSAGE_VERSION, .node = span_of(node.name)};
    char text[MESSAGE_BYTES_MAX];
    struct signature_data data;
    struct message_error error;
    struct directive d;
    size_t bytes;

    (void)user;
    if (directive_parse(message->body, &d, &error) != ERR_OK)
        return; /* it is asked for a hello, or for all */
    must(pthread_mutex_lock(&box.lock) == 0);
    directive_data(&d, &data);
    box.heard += signature_is_good(&d.gateway, &data, &d.signature) && d.epoch == node.epoch;
    memcpy(box.outcome.nonce, d.nonce, sizeof(d.nonce));
    reply.epoch = d.epoch;
    memcpy(reply.nonce, d.nonce, sizeof(d.nonce));
    fill(box.mode, &reply);
    if (box.mode == GARBAGE)
        must(bus_reply(bus, message->reply, SPAN_LIT("{\"v\":1,\"verdict\":\"fine\"}")) == ERR_OK);
    else if (box.mode != MUTE)
        must(directive_reply_write(&reply, text, &bytes) == ERR_OK &&
             bus_reply(bus, message->reply, (struct span){text, bytes}) == ERR_OK);
    must(pthread_mutex_unlock(&box.lock) == 0);
}

/* ---- Asking. */

/* POST /network/v1/nodes/n0/ACTION; its number, 0: it cannot be asked. */
static unsigned
ask(const char *action, const char *body)
{
    struct e2e_reply reply;
    char path[96];
    double id;

    snprintf(path, sizeof(path), "/network/v1/nodes/n0/%s", action);
    e2e_ask(gateway.admin_port, "POST", path, "", body, &reply);
    id = reply.status == 202 ? e2e_number(reply.body, "\"id\":") : 0.0;
    e2e_reply_fini(&reply);
    return id > 0.0 ? (unsigned)id : 0;
}

static bool
comes(unsigned id, const char *text)
{
    char path[64];

    snprintf(path, sizeof(path), "/network/v1/directives/%u", id);
    return e2e_page_comes(gateway.admin_port, path, text);
}

#define LOAD "{\"model\":\"m\"}"

/* ---- Setting up. */

static void
start_gateway(void)
{
    static const struct gateway_options options = {.rule = -1, .seed = 1};
    struct signature_file file = {
        .owner = SIGNATURE_OWNER_GATEWAY, .name = "gw", .is_secret = true};
    static char obeys[SIGNATURE_SHORT_SIZE];
    char line[SIGNATURE_FILE_BYTES_MAX], text[SIGNATURE_KEY_TEXT_SIZE], path[256];

    e2e_node_key(GATEWAY_SEED, &file.secret, text);
    signature_key_of_secret(&file.secret, &file.key);
    signature_file_text(&file, true, line);
    e2e_path("gateway.key", path, sizeof(path));
    e2e_write_file(path, "%s", line);
    e2e_gateway_start(&gateway, &options,
                      "name: gw\nkey: file:%s\nregion: eu-west\nbus: {nats: \"%s\"}\n", path,
                      server.url);
    CHECK(e2e_page_comes(gateway.admin_port, "/network/v1/bus", "\"connected\":true"),
          "it comes to the bus");
    signature_key_short(&file.key, obeys);
    node.obeys = obeys;
}

static void
setup(void)
{
    struct bus_nats_options o = {.name = SPAN_LIT("nodes")};
    static char text[160];

    nats_server_init(&server);
    snprintf(text, sizeof(text), "listen: \"%s\"\nmax_payload: 8KB\n", server.address);
    must(nats_server_start(&server, text));
    o.url = span_of(server.url);
    must(bus_nats_open(&o, &bus) == ERR_OK);
    engine = e2e_engine_start("m", e2e_good);
    bus_node_init(&node, bus, 0, e2e_engine_port(engine));
    node.model = "m";
    node.memory_bytes = UINT64_C(80) << 30;
    start_gateway();
    bus_node_hello(&node);
    bus_node_report(&node, true);
    CHECK(e2e_wait_ready(&gateway, 1), "a node joins");
}

/* ---- By hand. */

static const struct {
    enum mode mode;
    const char *state, *words;
} answers[] = {
    {DOES, "\"state\":\"done\"", "\"words\":\"\""},
    {REFUSES, "\"state\":\"refused\"", "there is no room for it"},
    {GARBAGE, "\"state\":\"silent\"", "what came back is no answer: "},
    {OTHER, "\"state\":\"silent\"", "the answer to something else"},
    {MUTE, "\"state\":\"silent\"", "no answer over the bus within 10 s"},
};

static void
test_answers(void)
{
    CHECK(comes(ask("load", LOAD), "what came back is no answer"),
          "nobody hears it on the bus, and its URL is no agent's");
    must(bus_subscribe(bus, SPAN_LIT("iso.ctl.n0"), on_directive, NULL) == ERR_OK);
    usleep(200000); /* until the server knows; else the first goes to the URL, too */
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        unsigned id;

        set_mode(answers[i].mode);
        id = ask("load", LOAD);
        CHECK(id != 0 && comes(id, answers[i].state) && comes(id, answers[i].words),
              answers[i].words);
    }
    CHECK(heard() == 5, "all were signed, for this life of the node");
}

/* What was begun, and what the reports say then. */
static void
test_outcomes(void)
{
    unsigned id;

    set_mode(BEGINS);
    id = ask("load", LOAD);
    CHECK(comes(id, "\"state\":\"begun\"") && comes(id, "\"ready_in_ms\":5"),
          "it begins, and says how long it takes");
    box.outcome.result = DIRECTIVE_FAILED;
    box.outcome.took_ms = 1234.0;
    box.outcome.words = SPAN_LIT("out of memory");
    node.outcome = &box.outcome;
    bus_node_report(&node, false);
    CHECK(comes(id, "\"state\":\"failed\"") && comes(id, "out of memory") &&
              comes(id, "\"took_ms\":1234"),
          "a report says that it failed, why, and after how long");
    id = ask("load", LOAD);
    CHECK(comes(id, "\"state\":\"begun\""), "another one");
    box.outcome.result = DIRECTIVE_DONE;
    box.outcome.words = SPAN_LIT("");
    bus_node_report(&node, false);
    CHECK(comes(id, "\"state\":\"done\""), "is done");
    id = ask("sleep", "");
    CHECK(comes(id, "\"state\":\"begun\""), "a third one");
    node.outcome = NULL;
    bus_node_restart(&node);
    CHECK(comes(id, "\"state\":\"failed\"") && comes(id, "the node restarted"),
          "ends with the node's life");
    set_mode(DOES);
    CHECK(comes(ask("unload", LOAD), "\"state\":\"done\""), "its next life is asked as such");
}

static void
test_cannot(void)
{
    CHECK(ask("load", "{}") == 0 && ask("load", "{\"model\":\"a\\\"b\"}") == 0 &&
              ask("drain", LOAD) == 0 && ask("load", "[]") == 0 && ask("explode", "{}") == 0,
          "what makes no sense is not asked");
    CHECK(e2e_page_has(gateway.admin_port, "/metrics",
                       "isochrone_directives_total{by=\"person\",result=\"silent\"} 4"),
          "all is counted");
}

/* ---- By plan. */

static void
chat(void)
{
    struct e2e_reply reply;

    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    e2e_reply_fini(&reply);
}

static bool
steering_comes(const char *words)
{
    return e2e_page_comes(gateway.admin_port, "/network/v1/nodes/n0", words);
}

static void
test_plan(void)
{
    unsigned before, i;

    CHECK(steering_comes("nobody says how large `m` is"), "a model without a size");
    node.model_bytes = UINT64_C(8) << 30;
    bus_node_report(&node, true);
    CHECK(steering_comes("\"steered\":true"), "with one the node is steered");
    node.model_state = MODEL_DORMANT;
    bus_node_report(&node, true);
    CHECK(steering_comes("\"state\":\"dormant\""), "its model sleeps");
    set_mode(REFUSES);
    before = heard();
    for (i = 0; i < 600 && heard() == before; i++) {
        chat();
        usleep(100000);
    }
    CHECK(heard() == before + 1, "who asks for it makes plan ask for it");
    CHECK(e2e_metric(&gateway, "isochrone_directives_total{by=\"plan\",result=\"refused\"} 1") &&
              e2e_page_has(gateway.admin_port, "/network/v1/plan", "\"by\":\"plan\""),
          "the node refuses");
    for (i = 0; i < 30; i++) {
        chat();
        usleep(100000);
    }
    CHECK(heard() == before + 1, "and is not asked for the same again at once");
    set_mode(CLOCK);
    CHECK(comes(ask("load", LOAD), "the clocks differ by 3600 s"), "a clock that is off is told");
    CHECK(steering_comes("not steered for a minute: it refused: issued in the future: the clocks "
                         "differ by 3600 s"),
          "and the node is left alone for a while");
    bus_node_gone(&node);
    CHECK(e2e_page_comes(gateway.admin_port, "/network/v1/nodes/n0", "node_not_found") &&
              ask("load", LOAD) == 0,
          "who left is not asked");
}

/* The gateway stops while the bus has directives that nobody answers. */
static void
test_stop(void)
{
    unsigned before = heard();
    uint64_t until_s = 0;

    set_mode(MUTE);
    bus_node_restart(&node);
    CHECK(e2e_wait_ready(&gateway, 1) && ask("load", LOAD) > 0 && ask("drain", "{}") > 0,
          "two that wait for answers");
    while (heard() < before + 2 && patience(&until_s))
        usleep(100000);
    CHECK(heard() == before + 2, "are heard");
    e2e_gateway_stop(&gateway);
    CHECK(true, "and the gateway ends");
}

int
main(void)
{
    if (!nats_server_exists()) {
        puts("1..0 # SKIP there is no nats-server");
        return 0;
    }
    setup();
    test_answers();
    test_outcomes();
    test_cannot();
    test_plan();
    test_stop();
    bus_close(bus);
    e2e_engine_stop(engine);
    nats_server_fini(&server);
    return tap_done();
}

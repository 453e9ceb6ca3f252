/* e2e_members_test - nodes that come over a real NATS server: they join, are routed to, drain,
 * leave, come back, and lie; and the server dies under load. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_box.h"
#include "bus_node.h"
#include "e2e.h"
#include "e2e_page.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "nats_server.h"
#include "role/gateway/attempt.h"
#include "tap.h"
#include "wire/report_sender.h"

#define WAIT_MS 60000 /* a guard */

static struct nats_server server;
static char server_text[160];
static struct bus *bus; /* of the nodes */
static struct e2e_gateway gateway;
static struct e2e_engine *engines[3];
static struct bus_node nodes[3];
static struct signature_secret operator_secret;

/* ---- Looking at the gateway. */

static bool
page_has(const struct e2e_gateway *g, const char *path, const char *text)
{
    struct e2e_reply reply;
    bool has;

    e2e_ask(g->admin_port, "GET", path, "", "", &reply);
    has = reply.body != NULL && strstr(reply.body, text) != NULL;
    e2e_reply_fini(&reply);
    return has;
}

/* Wait until a page of the admin side says so (or does not). */
static bool
wait_page(const struct e2e_gateway *g, const char *path, const char *text, bool has)
{
    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        if (page_has(g, path, text) == has)
            return true;
        usleep(10000);
    }
    return false;
}

static unsigned
chat(const struct e2e_gateway *g, char node[64])
{
    struct e2e_reply reply;
    unsigned status;

    e2e_ask(g->port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    status = reply.status;
    snprintf(node, 64, "%s", e2e_header(&reply, "isochrone-node"));
    e2e_reply_fini(&reply);
    return status;
}

/* How many of 8 requests go to the node? */
static unsigned
share_of(const char *name)
{
    char node[64];
    unsigned count = 0;

    for (int i = 0; i < 8; i++) {
        CHECK(chat(&gateway, node) == 200, "a request is answered");
        count += strcmp(node, name) == 0;
    }
    return count;
}

/* ---- Setting up. */

static struct bus *
open_bus(const char *name)
{
    const struct bus_nats_options o = {.name = span_of(name), .url = span_of(server.url)};
    struct bus *b;

    must(bus_nats_open(&o, &b) == ERR_OK);
    return b;
}

static void
wait_connected(struct bus *b)
{
    struct bus_state state;

    for (int ms = 0; ms < WAIT_MS; ms += 5) {
        bus_read_state(b, &state);
        if (state.connected)
            return;
        usleep(5000);
    }
    must(false);
}

static void
start_gateway(struct e2e_gateway *g)
{
    static const struct gateway_options options = {.rule = -1, .seed = 1};
    char key[SIGNATURE_KEY_TEXT_SIZE];
    struct signature_key public;

    signature_key_of_secret(&operator_secret, &public);
    signature_key_text(&public, key);
    e2e_gateway_start(g, &options, "bus: {nats: \"%s\"}\noperators: {trust: [\"%s\"]}\n",
                      server.url, key);
    CHECK(wait_page(g, "/network/v1/bus", "\"connected\":true", true), "it comes to the bus");
}

static void
setup(void)
{
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {7};

    signature_secret_of_seed(seed, &operator_secret);
    nats_server_init(&server);
    snprintf(server_text, sizeof(server_text), "listen: \"%s\"\nmax_payload: 8KB\n",
             server.address);
    must(nats_server_start(&server, server_text));
    bus = open_bus("nodes");
    wait_connected(bus);
    for (unsigned i = 0; i < 3; i++) {
        engines[i] = e2e_engine_start("m", e2e_good);
        bus_node_init(&nodes[i], bus, i, e2e_engine_port(engines[i]));
        nodes[i].model = "m";
    }
    nodes[0].operator_secret = &operator_secret;
    start_gateway(&gateway);
}

static void
join(struct bus_node *n)
{
    bus_node_hello(n);
    bus_node_report(n, true);
}

/* ---- Life. */

static void
test_join(void)
{
    char node[64];

    CHECK(chat(&gateway, node) == 404, "nobody is there, so nobody has the model");
    join(&nodes[0]);
    CHECK(e2e_wait_ready(&gateway, 1), "who says hello and reports is a node");
    CHECK(chat(&gateway, node) == 200 && strcmp(node, "n0") == 0, "and answers requests");
    CHECK(page_has(&gateway, "/network/v1/nodes/n0", "\"source\":\"bus\"") &&
              page_has(&gateway, "/network/v1/nodes/n0", "\"proven\":true"),
          "its operator is trusted");
    join(&nodes[1]);
    CHECK(e2e_wait_ready(&gateway, 2), "another one");
    CHECK(page_has(&gateway, "/network/v1/nodes/n1", "\"proven\":false") &&
              page_has(&gateway, "/network/v1/nodes/n1", "no operator vouches"),
          "of which nothing is proven, and why");
    CHECK(page_has(&gateway, "/network/v1/nodes/n1", "\"region\":\"eu-west\""), "where it says");
    bus_node_chain(&nodes[0]);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n0", "\"signed_seq\":1", true),
          "the chain covers what was heard");
}

static void
test_drain(void)
{
    nodes[1].state = NODE_DRAIN;
    bus_node_report(&nodes[1], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "\"state\":\"drain\"", true), "it drains");
    CHECK(share_of("n0") == 8, "and gets nothing more");
    nodes[1].state = NODE_READY;
    nodes[0].state = NODE_MAINT;
    bus_node_report(&nodes[1], false);
    bus_node_report(&nodes[0], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n0", "\"state\":\"maint\"", true) &&
              wait_page(&gateway, "/network/v1/nodes/n1", "\"state\":\"ready\"", true),
          "another one's turn");
    CHECK(share_of("n1") == 8, "the first one gets nothing");
    nodes[0].state = NODE_READY;
    bus_node_report(&nodes[0], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n0", "\"state\":\"ready\"", true), "and is back");
}

static void
test_leave(void)
{
    char text[MESSAGE_BYTES_MAX], epoch[64];
    struct bus_node ghost = nodes[1];

    bus_node_gone(&nodes[1]);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "node_not_found", true), "it left");
    CHECK(share_of("n0") == 8, "who is there answers");
    bus_node_report(&ghost, true);
    bus_node_hello(&ghost);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"is_gone\":2", true), "a ghost is no node");
    CHECK(page_has(&gateway, "/network/v1/nodes/n1", "node_not_found"), "and stays away");
    bus_node_restart(&nodes[1]);
    CHECK(e2e_wait_ready(&gateway, 2), "it starts again");
    bus_node_gone(&nodes[1]); /* quick: no pause between any of these */
    bus_node_restart(&nodes[1]);
    bus_node_gone(&ghost);
    bus_node_report(&ghost, false);
    CHECK(wait_page(&gateway, "/network/v1/bus", "old_epoch", true), "its ghosts lose");
    snprintf(epoch, sizeof(epoch), "\"epoch\":%llu", (unsigned long long)nodes[1].epoch);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", epoch, true) && e2e_wait_ready(&gateway, 2),
          "its new life counts");
    CHECK(bus_node_report_text(&nodes[1], false, text) > 0, "a report is lost");
    bus_node_report(&nodes[1], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "\"seq\":3", true), "the next one is taken");
}

/* ---- What is missing is asked for, over the bus: nobody has to be reached for it. */

static void
test_asks(void)
{
    static struct bus_box box = BUS_BOX_INIT;
    struct bus_node n = nodes[2];

    n.bus = bus;
    snprintf(n.name, sizeof(n.name), "n9");
    must(bus_subscribe(bus, SPAN_LIT("iso.ctl.n9"), bus_box_message, &box) == ERR_OK);
    bus_node_report(&n, true);
    CHECK(BUS_BOX_WAIT(&box, box.messages == 1) && strstr(box.body, "\"want\":\"hello\"") != NULL,
          "who reports and is not known is asked who it is");
    bus_node_hello(&n);
    bus_node_report(&n, false);
    CHECK(BUS_BOX_WAIT(&box, box.messages == 2) && strstr(box.body, "\"want\":\"full\"") != NULL,
          "who was missed is asked for all");
    bus_node_report(&n, true);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n9", "\"seq\":3", true), "and tells it");
    must(bus_publish(bus, SPAN_LIT("iso.hello.n9"), SPAN_LIT("{\"v\":1}")) == ERR_OK);
    CHECK(BUS_BOX_WAIT(&box, box.messages == 3) &&
              strstr(box.body, "{\"words\":\"epoch: it is missing\"") != NULL,
          "who is refused is told why");
    must(bus_publish(bus, SPAN_LIT("iso.hello.n9"), SPAN_LIT("{\"v\":1}")) == ERR_OK);
    bus_node_gone(&n);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n9", "node_not_found", true), "it goes");
    CHECK(BUS_BOX_WAIT(&box, box.messages == 3), "and was told once");
}

/* ---- Who tells everything by itself is not asked. */

static double
polls(void)
{
    struct e2e_reply reply;
    double count;

    e2e_ask(gateway.admin_port, "GET", "/metrics", "", "", &reply);
    count = e2e_number(reply.body, "\nisochrone_polls_total ");
    e2e_reply_fini(&reply);
    return count;
}

/* Do the first two come to be asked nothing for a while, in which they report? */
static bool
come_to_rest(void)
{
    for (int ms = 0; ms < WAIT_MS; ms += 1500) {
        double before = polls();
        for (int i = 0; i < 30; i++) {
            bus_node_report(&nodes[0], false);
            bus_node_report(&nodes[1], false);
            usleep(50000);
        }
        if (polls() == before)
            return true;
    }
    return false;
}

static void
test_rest(void)
{
    double before;

    CHECK(come_to_rest(), "who reports is not asked, once its round trip was measured");
    before = polls();
    for (int ms = 0; ms < WAIT_MS && polls() < before + 4; ms += 20)
        usleep(20000);
    CHECK(polls() >= before + 4, "who becomes silent is");
    CHECK(come_to_rest(), "until it reports again");
}

/* ---- What rides on answers. */

/* {"epoch", "at_us", "state", "engine"} of a moment that is later than all before. */
static void
piggyback(char *text, size_t size)
{
    static _Atomic uint64_t at_us = 1000000000;

    snprintf(text, size,
             "{\"epoch\":%llu,\"at_us\":%llu,\"state\":\"ready\",\"engine\":{\"running\":1}}",
             (unsigned long long)nodes[0].epoch, (unsigned long long)atomic_fetch_add(&at_us, 1));
}

static unsigned tells_times = 1;

static bool
tells_of_itself(struct e2e_call *call)
{
    char json[256], head[320], comment[320];

    piggyback(json, sizeof(json));
    if (strstr(call->body, "\"stream\":true") == NULL) {
        snprintf(head, sizeof(head), "Isochrone-Report: %s\r\n", json);
        e2e_json(call, 200, head,
                 "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                 "\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}");
        return true;
    }
    e2e_stream_head(call);
    e2e_chunk(call,
              "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},"
              "\"finish_reason\":\"stop\"}]}\n\n");
    for (unsigned i = 0; i < tells_times; i++) {
        snprintf(comment, sizeof(comment), ": isochrone-report %s\n\n", json);
        e2e_chunk(call, comment);
        piggyback(json, sizeof(json));
    }
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

/* The same behind a JSON body. */
static bool
tells_behind(struct e2e_call *call)
{
    char json[256], lines[320];

    piggyback(json, sizeof(json));
    snprintf(lines, sizeof(lines), "0\r\nIsochrone-Report: %s\r\n\r\n", json);
    e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                   "trailer: Isochrone-Report\r\ntransfer-encoding: chunked\r\n\r\n");
    e2e_chunk(call,
              "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
              "\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}");
    e2e_send(call, lines);
    return true;
}

static bool
is_silent_about_it(const struct e2e_reply *reply)
{
    return strcasestr(reply->head, "isochrone-report") == NULL &&
           strcasestr(reply->head, "isochrone-gateway") == NULL &&
           strcasestr(reply->body, "isochrone-report") == NULL;
}

static void
test_piggyback(void)
{
    static char head[E2E_HEAD_BYTES_MAX], body[E2E_HEAD_BYTES_MAX];
    struct e2e_reply reply;

    e2e_engine_script(engines[0], tells_of_itself);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200 && is_silent_about_it(&reply), "clients see nothing of a report");
    e2e_reply_fini(&reply);
    e2e_engine_last(engines[0], head, body, sizeof(head));
    CHECK(strcasestr(head, "isochrone-gateway: gateway-") != NULL &&
              strcasestr(head, "isochrone-dispatch: ") != NULL,
          "a member hears who asks, and how often");
    CHECK(page_has(&gateway, "/network/v1/bus", "\"piggybacks\":1"), "the report is taken");
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole && is_silent_about_it(&reply), "nor in a stream");
    e2e_reply_fini(&reply);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"piggybacks\":2", true), "that one, too");
    e2e_engine_script(engines[0], tells_behind);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200 && reply.whole && is_silent_about_it(&reply) &&
              strcasestr(reply.head, "trailer") == NULL,
          "nor of a trailer");
    e2e_reply_fini(&reply);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"piggybacks\":3", true), "which is taken");
    e2e_engine_script(engines[0], tells_of_itself);
    tells_times = 1000;
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole && is_silent_about_it(&reply), "a flood of them");
    e2e_reply_fini(&reply);
    _Static_assert(ATTEMPT_REPORTS_MAX == 16, "and the three before");
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"piggybacks\":19", true),
          "an answer tells so often, and no more");
    e2e_engine_script(engines[0], e2e_good);
}

/* ---- Lies. */

static void
test_lies(void)
{
    struct bus_node twin = nodes[0], old = nodes[2], late = nodes[2];
    char text[MESSAGE_BYTES_MAX], body[MESSAGE_BYTES_MAX + 64];
    size_t bytes;

    twin.secret.bytes[0] ^= 1;
    signature_secret_of_seed(twin.secret.bytes, &twin.secret);
    twin.operator_secret = NULL;
    twin.epoch++;
    bus_node_hello(&twin);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"other_key\":1", true),
          "another one with this name is refused");
    CHECK(!page_has(&gateway, "/network/v1/nodes/n0", "\"rival_ago_ms\":null"), "and shown");
    late.operator_secret = &operator_secret;
    late.clock_s = 3600;
    bus_node_hello(&late);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"bad_identity\":1", true),
          "a clock an hour off");
    bytes = bus_node_hello_text(&old, text);
    text[bytes - 10] = text[bytes - 10] == '0' ? '1' : '0'; /* in its signature */
    must(bus_publish(bus, SPAN_LIT("iso.hello.n2"), (struct span){text, bytes}) == ERR_OK);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"bad_signature\":1", true), "forged");
    must(bus_publish(bus, SPAN_LIT("iso.report.x.n0"), SPAN_LIT("{\"v\":1")) == ERR_OK);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"malformed\":3", true), "malformed");
    bytes = bus_node_report_text(&nodes[0], false, text);
    must(bus_publish(bus, SPAN_LIT("iso.report.x.n1"), (struct span){text, bytes}) == ERR_OK);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"wrong_name\":1", true), "under another's name");
    memset(body, ' ', sizeof(body));
    memcpy(body, text, bytes);
    must(bus_publish(bus, SPAN_LIT("iso.report.x.n0"), (struct span){body, MESSAGE_BYTES_MAX}) ==
         ERR_OK);
    CHECK(wait_page(&gateway, "/metrics", "isochrone_bus_refused_total{reason=\"wrong_name\"} 1",
                    true),
          "it is counted by reason");
    for (unsigned i = 0; i < REPORT_PER_MINUTE_MAX + 100; i++)
        bus_node_report(&nodes[0], false);
    CHECK(wait_page(&gateway, "/network/v1/bus", "too_often", true), "a flood");
    (void)share_of("n0"); /* requests go on */
}

/* ---- What its word is worth. */

#define STREAMS 3u

static _Atomic bool may_end;

static bool
streams_until_told(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                    "\"hi\"}}]}\n\n");
    for (int ms = 0; ms < WAIT_MS && !atomic_load(&may_end); ms += 5)
        usleep(5000);
    e2e_chunk(call, "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},"
                    "\"finish_reason\":\"stop\"}]}\n\n");
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

static void
set_state(struct bus_node *n, enum node_state state, const char *word)
{
    char path[96], text[32];

    n->state = state;
    bus_node_report(n, false);
    snprintf(path, sizeof(path), "/network/v1/nodes/%s", n->name);
    snprintf(text, sizeof(text), "\"state\":\"%s\"", word);
    CHECK(wait_page(&gateway, path, text, true), word);
}

/* Requests of ours run at n1, and it says that it is idle. The pauses are those by which a witness
 * is one, whatever clocks and ways do. */
static void
test_idle(void)
{
    int fds[STREAMS];

    set_state(&nodes[0], NODE_DRAIN, "drain"); /* n1 has all requests */
    e2e_engine_script(engines[1], streams_until_told);
    for (unsigned i = 0; i < STREAMS; i++) {
        fds[i] = e2e_open_request(gateway.port, "/v1/chat/completions", "", E2E_STREAM);
        CHECK(e2e_read_until(fds[i], "hi"), "n1 begins to answer");
    }
    CHECK(page_has(&gateway, "/network/v1/nodes/n1", "\"word\":1,"), "nothing is known against it");
    usleep(2200000);
    bus_node_restart(&nodes[1]); /* of a life the first report is held against what comes */
    usleep(1000000);
    atomic_store(&may_end, true);
    for (unsigned i = 0; i < STREAMS; i++) {
        CHECK(e2e_read_until(fds[i], "[DONE]"), "and ends");
        close(fds[i]);
    }
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "\"broken\":{\"load\":1,", true),
          "it said that it has none, and had ours");
    CHECK(!page_has(&gateway, "/network/v1/nodes/n1", "\"word\":1,") &&
              page_has(&gateway, "/network/v1/nodes/n1", "\"last\":\"load\",\"said\":0,\"came\":1"),
          "its word counts less, and why");
    e2e_engine_script(engines[1], e2e_good);
    set_state(&nodes[0], NODE_READY, "ready");
}

/* What the node's word costs a request that comes now. */
static double
word_ms(const char *node)
{
    struct e2e_reply reply;
    char name[80];
    const char *at;
    double ms = -1.0;

    e2e_ask(gateway.admin_port, "POST", "/network/v1/explain", "", E2E_CHAT, &reply);
    snprintf(name, sizeof(name), "{\"node\":\"%s\"", node);
    at = reply.body != NULL ? strstr(reply.body, name) : NULL;
    at = at != NULL ? strstr(at, "\"word_ms\":") : NULL;
    if (at != NULL)
        ms = strtod(at + 10, NULL);
    e2e_reply_fini(&reply);
    return ms;
}

/* It counts requests that nobody sent: until hardly anything of its word is left. */
static void
test_acks(void)
{
    static char head[E2E_HEAD_BYTES_MAX], body[E2E_HEAD_BYTES_MAX];
    const char *name;
    double before_ms = word_ms("n1");

    e2e_engine_last(engines[1], head, body, sizeof(head));
    name = strcasestr(head, "isochrone-gateway: ");
    CHECK(name != NULL, "it knows who asks");
    if (name == NULL)
        return;
    snprintf(nodes[1].ack_gateway, sizeof(nodes[1].ack_gateway), "%.*s",
             (int)strcspn(name + 19, "\r"), name + 19);
    nodes[1].ack = MESSAGE_NUMBER_MAX;
    for (unsigned i = 0; i < 8; i++)
        bus_node_report(&nodes[1], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "\"ack\":8,", true), "each time it is found");
    CHECK(before_ms > 0.0 && word_ms("n1") > before_ms, "each time it costs more to go there");
    CHECK(word_ms("n0") == 0.0, "to the other one it costs nothing");
    CHECK(page_has(&gateway, "/network/v1/nodes/n0", "\"word\":1,"), "the other one is believed");
    nodes[1].ack = 0;
}

/* ---- Over HTTP. */

static void
test_http(void)
{
    char text[MESSAGE_BYTES_MAX + 1];
    struct e2e_reply reply;

    text[bus_node_report_text(&nodes[2], true, text)] = '\0';
    e2e_ask(gateway.admin_port, "POST", "/network/v1/bus/report", "", text, &reply);
    CHECK(reply.status == 409 && strstr(reply.body, "\"want\":\"hello\"") != NULL,
          "who is not known is asked for a hello");
    e2e_reply_fini(&reply);
    text[bus_node_hello_text(&nodes[2], text)] = '\0';
    e2e_ask(gateway.admin_port, "POST", "/network/v1/bus/hello", "", text, &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "news") != NULL, "and is taken");
    e2e_reply_fini(&reply);
    text[bus_node_report_text(&nodes[2], false, text)] = '\0';
    e2e_ask(gateway.admin_port, "POST", "/network/v1/bus/report", "", text, &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"want\":\"full\"") != NULL,
          "a report was missed: all is wanted");
    e2e_reply_fini(&reply);
    text[bus_node_report_text(&nodes[2], true, text)] = '\0';
    e2e_ask(gateway.admin_port, "POST", "/network/v1/bus/report", "", text, &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"want\":\"\"") != NULL, "here it is");
    e2e_reply_fini(&reply);
    CHECK(e2e_wait_ready(&gateway, 3), "it is a node");
    text[bus_node_hello_text(&nodes[2], text)] = '\0';
    e2e_ask(gateway.port, "POST", "/network/v1/bus/hello", "", text, &reply);
    CHECK(reply.status == 404, "the public side takes no messages");
    e2e_reply_fini(&reply);
}

/* ---- Death. */

static struct {
    _Atomic bool stop;
    _Atomic unsigned asked, failed;
} load;

static void *
ask_on(void *argument)
{
    char node[64];

    while (!atomic_load(&load.stop)) {
        atomic_fetch_add(&load.asked, 1);
        if (chat(argument, node) != 200)
            atomic_fetch_add(&load.failed, 1);
    }
    return NULL;
}

static void
wait_asked(unsigned more)
{
    unsigned from = atomic_load(&load.asked);

    for (int ms = 0; ms < WAIT_MS && atomic_load(&load.asked) < from + more; ms++)
        usleep(1000);
}

static void
report_all(void)
{
    for (unsigned i = 0; i < 2; i++)
        bus_node_report(&nodes[i], false);
}

static void
test_deaths(void)
{
    struct e2e_gateway other;
    pthread_t thread;

    start_gateway(&other);
    report_all();
    CHECK(wait_page(&other, "/network/v1/bus", "unannounced", true),
          "a late gateway hears reports");
    for (unsigned i = 0; i < 2; i++)
        bus_node_hello(&nodes[i]); /* it asked for them */
    for (unsigned i = 0; i < 2; i++)
        bus_node_report(&nodes[i], true);
    CHECK(e2e_wait_ready(&other, 2), "and knows all when they said hello");
    must(pthread_create(&thread, NULL, ask_on, &gateway) == 0);
    wait_asked(20);
    nats_server_kill(&server);
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"connected\":false", true), "the bus is dead");
    wait_asked(100);
    must(nats_server_start(&server, server_text));
    CHECK(wait_page(&gateway, "/network/v1/bus", "\"connected\":true", true), "it is back");
    wait_connected(bus);
    report_all();
    wait_asked(20);
    printf("# figure bus_kill_failed_requests %u requests\n", atomic_load(&load.failed));
    CHECK(atomic_load(&load.failed) == 0, "no request noticed the death of the bus");
    e2e_gateway_stop(&other);
    wait_asked(50);
    atomic_store(&load.stop, true);
    must(pthread_join(thread, NULL) == 0);
    CHECK(atomic_load(&load.failed) == 0, "nor the end of another gateway");
}

int
main(void)
{
    if (!nats_server_exists()) {
        printf("1..0 # SKIP there is no nats-server\n");
        return 0;
    }
    setup();
    test_join();
    test_asks();
    test_rest();
    test_drain();
    nodes[1].state = NODE_DRAIN; /* so that the first one has all requests */
    bus_node_report(&nodes[1], false);
    CHECK(wait_page(&gateway, "/network/v1/nodes/n1", "\"state\":\"drain\"", true), "alone");
    test_piggyback();
    nodes[1].state = NODE_READY;
    test_leave();
    test_idle();
    test_acks();
    test_lies();
    test_http();
    test_deaths();
    e2e_gateway_stop(&gateway);
    for (unsigned i = 0; i < 3; i++)
        e2e_engine_stop(engines[i]);
    bus_close(bus);
    nats_server_fini(&server);
    return tap_done();
}

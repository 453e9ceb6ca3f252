/* e2e_bus_http_test - nodes that say what they say over HTTP, to the public side of a gateway that
 * takes it: who proves it is taken, who does not is told why, and nobody costs much. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "e2e.h"
#include "role/gateway/bus_http.h"
#include "role/gateway/members.h"
#include "tap.h"
#include "wire/message_proof.h"

#define FLOOD_MAX 1000000u /* a guard */
#define AT_ONCE   100u

static struct e2e_gateway gateway;
static struct e2e_engine *engine;
static struct bus_node node, other;

/* ---- Posting. */

/* Post text to a side of the gateway; the status. *ret_body: where to keep the answer; or NULL. */
static unsigned
post(uint16_t port, const char *kind, const char *headers, const char *text, char ret_body[512])
{
    struct e2e_reply reply;
    char path[64];
    unsigned status;

    snprintf(path, sizeof(path), BUS_HTTP_PATH "%s", kind);
    e2e_ask(port, "POST", path, headers, text, &reply);
    status = reply.status;
    if (ret_body != NULL)
        snprintf(ret_body, 512, "%s", reply.body != NULL ? reply.body : "");
    e2e_reply_fini(&reply);
    return status;
}

/* The header by which this node shows that it says so. */
static const char *
shown_by(const struct bus_node *n, const char *kind, const char *text, char header[256])
{
    char value[MESSAGE_PROOF_TEXT_SIZE];

    message_proof_write(&n->secret, span_of(kind), span_of(text), value);
    snprintf(header, 256, "Isochrone-Signature: %s\r\n", value);
    return header;
}

static const char *
hello_of(struct bus_node *n, char text[MESSAGE_BYTES_MAX + 1])
{
    text[bus_node_hello_text(n, text)] = '\0';
    return text;
}

static const char *
report_of(struct bus_node *n, bool full, char text[MESSAGE_BYTES_MAX + 1])
{
    text[bus_node_report_text(n, full, text)] = '\0';
    return text;
}

static bool
page_has(const char *path, const char *text)
{
    struct e2e_reply reply;
    bool has;

    e2e_ask(gateway.admin_port, "GET", path, "", "", &reply);
    has = reply.body != NULL && strstr(reply.body, text) != NULL;
    e2e_reply_fini(&reply);
    return has;
}

/* ---- */

static void
test_join(void)
{
    char text[MESSAGE_BYTES_MAX + 1], header[256], body[512];
    struct e2e_reply reply;

    report_of(&node, true, text);
    CHECK(post(gateway.port, "report", shown_by(&node, "report", text, header), text, body) ==
                  409 &&
              strstr(body, "\"verdict\":\"unannounced\"") != NULL &&
              strstr(body, "\"want\":\"hello\"") != NULL,
          "who is not known is asked for a hello");
    CHECK(post(gateway.port, "hello", "", hello_of(&node, text), body) == 200 &&
              strstr(body, "\"verdict\":\"news\"") != NULL,
          "a hello is signed itself");
    report_of(&node, true, text);
    CHECK(post(gateway.port, "report", shown_by(&node, "report", text, header), text, body) == 200,
          "a report is taken by its header");
    CHECK(e2e_wait_ready(&gateway, 1), "it is a node");
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 401, "to ask for something a key is needed all the same");
    e2e_reply_fini(&reply);
}

static void
test_proof(void)
{
    char text[MESSAGE_BYTES_MAX + 1], header[256], body[512];

    report_of(&node, false, text);
    CHECK(post(gateway.port, "report", "", text, body) == 401 &&
              strstr(body, "\"verdict\":\"unproven\"") != NULL &&
              strstr(body, "Isochrone-Signature") != NULL,
          "without it, it is told what is missing");
    CHECK(post(gateway.port, "report", shown_by(&other, "report", text, header), text, NULL) == 401,
          "by another key");
    CHECK(post(gateway.port, "report", shown_by(&node, "chain", text, header), text, NULL) == 401,
          "of another kind");
    CHECK(post(gateway.port, "report", shown_by(&node, "report", "{}", header), text, NULL) == 401,
          "over other bytes");
    CHECK(post(gateway.port, "report", "Isochrone-Signature: ed25519:12\r\n", text, body) == 400 &&
              strstr(body, "128 digits") != NULL,
          "malformed");
    CHECK(page_has("/network/v1/nodes/n0", "\"seq\":2"), "none of them had an effect");
    shown_by(&node, "report", text, header);
    CHECK(post(gateway.port, "report", header, text, NULL) == 200, "by the node: taken");
    CHECK(post(gateway.port, "report", header, text, body) == 409 &&
              strstr(body, "\"verdict\":\"repeated\"") != NULL,
          "said again by somebody: old");
    CHECK(page_has("/network/v1/bus", "\"unproven\":4"), "they are counted");
    report_of(&node, false, text);
    CHECK(post(gateway.admin_port, "report", "", text, NULL) == 200,
          "who may come in on the admin side needs none");
}

static void
test_bounds(void)
{
    static char large[MESSAGE_BYTES_MAX + 2];
    char body[512];

    memset(large, ' ', sizeof(large) - 1);
    CHECK(post(gateway.port, "report", "", large, body) == 413 &&
              strstr(body, "\"verdict\":\"oversized\"") != NULL,
          "too large");
    CHECK(post(gateway.port, "report", "", "", body) == 400 &&
              strstr(body, "Content-Length") != NULL,
          "empty");
    CHECK(post(gateway.port, "report", "", "{\"v\":1}", body) == 400 &&
              strstr(body, "no name of a node") != NULL,
          "nobody's");
    CHECK(post(gateway.port, "report", "", "{\"node\":\"n0\"", body) == 400, "no JSON");
    CHECK(post(gateway.port, "directive", "", "{}", NULL) == 404, "another kind");
    CHECK(page_has("/network/v1/nodes/n0", "\"source\":\"bus\""), "the node is still there");
}

/* Read so many answers; how many of them have the text. */
static unsigned
read_answers(int fd, unsigned count, const char *text)
{
    static char all[AT_ONCE * 1024];
    unsigned ends = 0, found = 0;
    size_t bytes = 0;

    while (ends < count) {
        ssize_t n = read(fd, all + bytes, sizeof(all) - 1 - bytes);

        must(n > 0);
        bytes += (size_t)n;
        all[bytes] = '\0';
        ends = 0;
        for (const char *at = all; (at = strstr(at, "\"want\":\"\"}")) != NULL; at++)
            ends++;
    }
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

/* Nodes that are none, one after the other. */
static void
test_strangers(void)
{
    char text[MESSAGE_BYTES_MAX + 1], body[512];
    unsigned status = 200, count = 0;
    struct bus_node n;

    for (; status == 200 && count < 4 * MEMBERS_ADDRESS_STRANGERS_MAX; count++) {
        bus_node_init(&n, NULL, 1000 + count, e2e_engine_port(engine));
        status = post(gateway.port, "hello", "", hello_of(&n, text), body);
    }
    CHECK(status == 429 && strstr(body, "busy_address") != NULL, "an address brings so many");
    CHECK(post(gateway.port, "hello", "", hello_of(&node, text), NULL) != 429,
          "one that is known is heard");
}

/* More than an address may say, as fast as it can. */
static void
test_flood(void)
{
    static char requests[AT_ONCE * 128];
    char text[MESSAGE_BYTES_MAX + 1];
    unsigned sent = 0, refused = 0;
    int fd = e2e_connect(gateway.port);
    size_t at = 0;

    for (unsigned i = 0; i < AT_ONCE; i++)
        at += (size_t)snprintf(requests + at, sizeof(requests) - at,
                               "POST " BUS_HTTP_PATH "report HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Content-Length: 2\r\n\r\n{}");
    for (; refused == 0 && sent < FLOOD_MAX; sent += AT_ONCE) {
        e2e_write(fd, requests);
        refused = read_answers(fd, AT_ONCE, "\"verdict\":\"busy_address\"");
    }
    close(fd);
    CHECK(refused > 0 && sent > BUS_HTTP_PER_MINUTE_MAX / 2, "an address may say so much");
    CHECK(page_has("/network/v1/bus", "\"busy_address\":"), "what is too much is counted");
    report_of(&node, false, text);
    CHECK(post(gateway.admin_port, "report", "", text, NULL) == 200, "others are heard");
}

int
main(void)
{
    static const struct gateway_options options = {.rule = -1, .seed = 1};
    char path[128];

    e2e_path("keys.yaml", path, sizeof(path));
    e2e_write_file(path, "keys: []\n");
    e2e_gateway_start(&gateway, &options, "bus: {http: true}\nkeys: \"file:%s\"\n", path);
    engine = e2e_engine_start("m", e2e_good);
    bus_node_init(&node, NULL, 0, e2e_engine_port(engine));
    bus_node_init(&other, NULL, 1, e2e_engine_port(engine));
    node.model = "m";
    test_join();
    test_proof();
    test_bounds();
    test_strangers();
    test_flood();
    e2e_gateway_stop(&gateway);
    e2e_engine_stop(engine);
    return tap_done();
}

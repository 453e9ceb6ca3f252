/* e2e_node_test - a node agent between a gateway and an engine: what it passes on and what it
 * refuses, that it guards its engine, and that what it says of itself is so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e_node.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"
#include "wire/keys.h"

#define YAML                                                                                       \
    "auth: none\nengines: [{url: \"http://127.0.0.1:%u\", name: e1, kind: openai, slots: 2}]\n"

static struct e2e_engine *engine;
static struct e2e_node node;

static bool
comes(bool (*is)(const struct report *r))
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (is(e2e_node_report(&node)))
            return true;
        usleep(10000);
    }
    return false;
}

/* ---- Passing on. */

#define ODD                                                                                        \
    ": hello\r\n\r\ndata: {\"id\":\"c1\",\r\ndata: \"choices\":[{\"index\":0,\"delta\":{"          \
    "\"content\":\"gr\\u00fc\xc3\x9f\"}}]}\r\n\r\nevent: x\ndata: y\n\ndata: [DONE]\n\n"

/* One byte a packet, comments, several kinds of line ends, events that are no JSON. */
static bool
odd_framing(struct e2e_call *call)
{
    e2e_stream_head(call);
    for (size_t i = 0; i + 1 < sizeof(ODD); i++)
        e2e_chunk(call, (char[]){ODD[i], '\0'});
    e2e_chunk(call, "");
    return true;
}

static void
test_through(void)
{
    struct e2e_reply reply;
    char head[8192], body[8192];

    e2e_engine_script(engine, e2e_good);
    e2e_ask(node.port, "POST", "/v1/chat/completions",
            "authorization: Bearer of-a-gateway\r\nx-request-id: r1\r\ncookie: a=b\r\n", E2E_CHAT,
            &reply);
    e2e_engine_last(engine, head, body, sizeof(body));
    CHECK(reply.status == 200 && reply.whole && strstr(reply.body, "hi there") != NULL,
          "an answer comes through");
    CHECK(strcmp(body, E2E_CHAT) == 0, "the body as it was sent");
    CHECK(strstr(head, "of-a-gateway") == NULL && strstr(head, "cookie") == NULL,
          "no credential and nothing that an engine need not see");
    CHECK(strstr(head, "x-request-id: r1") != NULL, "but the request's id");
    CHECK(e2e_header(&reply, "isochrone-report")[0] == '\0', "no report to who is no gateway");
    e2e_reply_fini(&reply);

    e2e_engine_script(engine, odd_framing);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole && reply.body_bytes == sizeof(ODD) - 1 &&
              memcmp(reply.body, ODD, sizeof(ODD) - 1) == 0,
          "a stream, byte for byte");
    e2e_reply_fini(&reply);
}

static void
test_only_models(void)
{
    static const char *const paths[] = {
        "/metrics",          "/v1/load_lora_adapter", "/sleep", "/slots", "/props", "/v1/files",
        "/network/v1/drain", "/v1/chat/completions/"};
    struct e2e_reply reply;
    unsigned good = 0;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        e2e_ask(node.port, "POST", paths[i], "", "{}", &reply);
        good += reply.status == 404;
        e2e_reply_fini(&reply);
    }
    CHECK(good == sizeof(paths) / sizeof(paths[0]), "nothing but the model API");
    e2e_ask(node.port, "GET", "/v1/chat/completions", "", "", &reply);
    CHECK(reply.status == 405, "by its methods");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "GET", "/v1/models", "", "", &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"id\":\"m\"") != NULL, "its models");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", "{\"model\":\"m\",", &reply);
    CHECK(reply.status == 400, "no JSON");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", "{\"model\":\"nobodys\"}", &reply);
    CHECK(reply.status == 404 && strstr(reply.body, "model_not_found") != NULL, "nobody's model");
    e2e_reply_fini(&reply);
    CHECK(e2e_engine_strays(engine) == 0, "and the engine hears of none of it");
}

/* ---- What it says of itself. */

static void
test_report(void)
{
    struct message_error error;
    struct report piggyback;
    struct e2e_reply reply;
    const struct report *r = e2e_node_report(&node);
    uint64_t seq = r->seq, accepted = r->engine.accepted_total;
    const char *comment, *line;

    CHECK(span_eq_text(r->node, "n1") && r->epoch > 0 && seq > 0 && r->full && r->pages == 1,
          "a full report");
    CHECK(r->state == NODE_READY && r->engine.slots == 2 && r->engine.running == 0 &&
              r->engine.waiting == 0 && span_eq_text(r->engine.kind, "openai"),
          "of an idle engine");
    CHECK(r->model_count == 1 && span_eq_text(r->models[0].id, "m") &&
              r->models[0].state == MODEL_READY,
          "and its model");
    CHECK(accepted > 0, "tokens are counted");

    e2e_engine_script(engine, e2e_good);
    e2e_ask(node.port, "POST", "/v1/chat/completions",
            "Isochrone-Gateway: gw1\r\nIsochrone-Dispatch: 41\r\n", E2E_CHAT, &reply);
    CHECK(strncmp(reply.trailers, "isochrone-report: ", 18) == 0 &&
              strcmp(e2e_header(&reply, "trailer"), "isochrone-report") == 0 && reply.whole,
          "behind an answer comes a trailer");
    line = reply.trailers + (reply.trailers[0] != '\0' ? 18 : 0);
    CHECK(report_parse_piggyback((struct span){line, strcspn(line, "\r")}, &piggyback, &error) ==
                  ERR_OK &&
              piggyback.ack_count == 1 && piggyback.acks[0].number == 41 &&
              span_eq_text(piggyback.acks[0].name, "gw1") && piggyback.engine.running == 0 &&
              piggyback.engine.accepted_total == accepted + 9,
          "that says what is counted, this answer too");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "POST", "/v1/chat/completions",
            "Isochrone-Gateway: gw1\r\nIsochrone-Dispatch: 42\r\n", E2E_STREAM, &reply);
    comment = strstr(reply.body, ": isochrone-report {");
    CHECK(comment != NULL && strstr(comment, "\n\ndata: [DONE]\n\n") != NULL,
          "and so does the end of a stream");
    comment = comment != NULL ? comment + 19 : "";
    CHECK(report_parse_piggyback((struct span){comment, strcspn(comment, "\n")}, &piggyback,
                                 &error) == ERR_OK &&
              piggyback.acks[0].number == 42,
          "with the newest");
    e2e_reply_fini(&reply);
    r = e2e_node_report(&node);
    CHECK(r->ack_count == 1 && r->acks[0].number == 42, "reports tell it, too");
    CHECK(r->engine.accepted_total == accepted + 18, "usage is what the engine said");
    while (e2e_node_report(&node)->seq < seq + 3)
        usleep(10000);
    CHECK(true, "reports go on by themselves");
}

static void
test_hello(uint64_t *ret_epoch)
{
    struct signature_data data;
    struct message_error error;
    struct report_hello hello;
    struct e2e_reply reply;

    e2e_ask(node.port, "GET", "/network/v1/hello", "", "", &reply);
    CHECK(report_hello_parse((struct span){reply.body, reply.body_bytes}, &hello, &error) == ERR_OK,
          "a hello");
    report_hello_data(&hello, &data);
    CHECK(signature_is_good(&hello.identity.key, &data, &hello.signature) &&
              span_eq_text(hello.identity.node, "n1"),
          "signed by the node's key");
    *ret_epoch = hello.epoch;
    e2e_reply_fini(&reply);
}

/* ---- Guarding. */

static bool
hang(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    e2e_wait_hangup(call);
    return false;
}

static bool
is_full(const struct report *r)
{
    return r->engine.running == 2 && r->engine.waiting == 16;
}

static bool
is_idle(const struct report *r)
{
    return r->engine.running == 0 && r->engine.waiting == 0;
}

static void
test_guard(void)
{
    uint32_t hangups = e2e_engine_hangups(engine), calls = e2e_engine_calls(engine);
    struct e2e_reply reply;
    int open[18];

    e2e_engine_script(engine, hang);
    for (size_t i = 0; i < 2; i++)
        open[i] = e2e_open_request(node.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_wait_count(e2e_engine_calls, engine, calls + 2), "two at the engine");
    for (size_t i = 2; i < 18; i++)
        open[i] = e2e_open_request(node.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(comes(is_full), "as many as may wait are waiting");
    CHECK(e2e_engine_calls(engine) == calls + 2, "the engine has no more");
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 429 && e2e_header(&reply, "retry-after")[0] != '\0' &&
              strstr(reply.body, "node_full") != NULL,
          "and who comes now is told when to come again");
    e2e_reply_fini(&reply);
    for (size_t i = 2; i < 18; i++)
        close(open[i]); /* those that wait, and leave */
    CHECK(e2e_read_until(open[0], "content") && e2e_read_until(open[1], "content"), "the two run");
    close(open[0]);
    close(open[1]);
    CHECK(e2e_wait_count(e2e_engine_hangups, engine, hangups + 2), "who leaves ends the call");
    CHECK(comes(is_idle), "and nothing is left");
    CHECK(e2e_engine_calls(engine) == calls + 2, "of those that waited none was sent");
}

static bool
is_failed(const struct report *r)
{
    return r->model_count == 1 && r->models[0].state == MODEL_FAILED;
}

static bool
is_ready(const struct report *r)
{
    return r->model_count == 1 && r->models[0].state == MODEL_READY;
}

static bool
break_off(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n");
    return false;
}

static bool
no_answer(struct e2e_call *call)
{
    (void)call;
    return false;
}

static void
test_failures(void)
{
    struct e2e_reply reply;

    e2e_engine_script(engine, break_off);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && !reply.whole, "what broke off does not look whole");
    e2e_reply_fini(&reply);
    e2e_engine_script(engine, no_answer);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 502, "no answer is an error");
    e2e_reply_fini(&reply);
    CHECK(comes(is_idle), "neither stays counted");
}

/* ---- What a key may. */

static void
add_key(char *text, size_t size, const char *name)
{
    unsigned char sha256[KEY_SHA256_BYTES];
    char hex[2 * KEY_SHA256_BYTES + 1];
    size_t at = strlen(text);

    keys_sha256(span_of(name), sha256);
    message_hex(sha256, sizeof(sha256), hex);
    snprintf(text + at, size - at, "  - {name: %s, sha256: \"%s\"}\n", name, hex);
}

/* The status that this key's owner gets, and whether the words are there. */
static unsigned
ask_as(const char *key, const char *method, const char *path, const char *words)
{
    char header[128];
    struct e2e_reply reply;
    unsigned status;

    snprintf(header, sizeof(header), "authorization: Bearer %s\r\n", key);
    e2e_ask(node.port, method, path, header, strcmp(method, "POST") == 0 ? E2E_CHAT : "", &reply);
    status = strstr(reply.body, words) != NULL ? reply.status : 0;
    e2e_reply_fini(&reply);
    return status;
}

static void
test_keys(void)
{
    struct signature_secret secret;
    char keys[1024] = "keys:\n", path[256], gw[SIGNATURE_KEY_TEXT_SIZE],
         ops[SIGNATURE_KEY_TEXT_SIZE];
    struct e2e_reply reply;
    uint32_t calls;

    add_key(keys, sizeof(keys), "gw");
    add_key(keys, sizeof(keys), "ops");
    add_key(keys, sizeof(keys), "stray");
    e2e_write_file(e2e_path("keys.yaml", path, sizeof(path)), "%s", keys);
    e2e_node_key(3, &secret, gw);
    e2e_node_key(4, &secret, ops);
    e2e_node_start(&node,
                   "keys: file:%s\nengines: [{url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                   "gateways: [{name: gw, key: \"%s\", may: [infer]}, "
                   "{name: ops, key: \"%s\", may: [load]}]\n",
                   path, e2e_engine_port(engine), gw, ops);
    e2e_engine_script(engine, e2e_good);
    CHECK(ask_as("gw", "POST", "/v1/chat/completions", "hi there") == 200, "whose key may infer");
    calls = e2e_engine_calls(engine);
    CHECK(ask_as("ops", "POST", "/v1/chat/completions", "gateway ops has no `infer`") == 403,
          "and whose may not, which is said");
    CHECK(ask_as("ops", "GET", "/network/v1/report", "\"node\":\"n1\"") == 200,
          "but may look, as all who come in");
    CHECK(ask_as("stray", "POST", "/v1/chat/completions", "no gateway") == 403,
          "a key of no gateway");
    CHECK(ask_as("nobody", "POST", "/v1/chat/completions", "invalid_api_key") == 401, "no key");
    CHECK(e2e_engine_calls(engine) == calls, "the engine hears of none of them");
    e2e_ask(node.port, "POST", "/v1/chat/completions",
            "authorization: Bearer gw\r\nIsochrone-Gateway: gw\r\nIsochrone-Dispatch: 7\r\n",
            E2E_CHAT, &reply);
    CHECK(reply.status == 200 && strstr(reply.trailers, "{\"gw\":7}") != NULL,
          "a gateway is counted");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "POST", "/v1/chat/completions",
            "authorization: Bearer gw\r\nIsochrone-Gateway: ops\r\nIsochrone-Dispatch: 9000\r\n",
            E2E_CHAT, &reply);
    CHECK(reply.status == 200 && strstr(reply.trailers, "ops") == NULL,
          "but not in another's name");
    e2e_reply_fini(&reply);
    CHECK(ask_as("gw", "GET", "/network/v1/report", "\"ack\":{\"gw\":7}") == 200,
          "nor do others hear so");
    e2e_node_stop(&node);
}

/* ---- With a gateway before it. */

static void
test_gateway(void)
{
    const struct gateway_options options = {.rule = -1, .seed = 1, .poll_ns = 20000000};
    struct e2e_gateway gateway;
    struct e2e_reply reply;

    e2e_engine_script(engine, e2e_good);
    e2e_gateway_start(&gateway, &options, "engines: [{url: \"http://127.0.0.1:%u\", name: n1}]\n",
                      node.port);
    CHECK(e2e_wait_ready(&gateway, 1), "a gateway takes it for an engine");
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole && strstr(reply.body, "there") != NULL &&
              strcmp(e2e_header(&reply, "isochrone-node"), "n1") == 0,
          "and is answered through it");
    CHECK(e2e_header(&reply, "isochrone-report")[0] == '\0' &&
              strstr(reply.body, "isochrone-report") == NULL,
          "no report goes to clients");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&gateway);
}

static bool
has_drained(const struct report *r)
{
    return r->state == NODE_DRAIN;
}

static bool
slow_end(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    usleep(300000);
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

static void
test_drain(void)
{
    struct e2e_reply reply;
    int open;

    e2e_engine_script(engine, slow_end);
    open = e2e_open_request(node.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(open, "content"), "a request is under way");
    e2e_ask(node.admin_port, "POST", "/network/v1/drain", "", "", &reply);
    CHECK(reply.status == 202, "a drain is asked for");
    e2e_reply_fini(&reply);
    CHECK(comes(has_drained), "reports say so");
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 503 && strstr(reply.body, "node_draining") != NULL, "nothing new");
    e2e_reply_fini(&reply);
    CHECK(e2e_read_until(open, "[DONE]"), "and what runs goes to its end");
    close(open);
    pthread_join(node.thread, NULL);
    node_close(node.node);
    CHECK(true, "then it ends by itself");
}

/* The clock was set back since the last life: so says the file. */
static void
set_epoch(uint64_t epoch)
{
    char path[256];

    e2e_write_file(e2e_path("n1.epoch", path, sizeof(path)), "%llu\n", (unsigned long long)epoch);
}

int
main(void)
{
    uint64_t first, second;
    uint16_t port;

    engine = e2e_engine_start("m", e2e_good);
    port = e2e_engine_port(engine);
    e2e_node_start(&node, YAML, port);
    test_through();
    test_only_models();
    test_report();
    test_guard();
    test_failures();
    test_hello(&first);
    e2e_engine_stop(engine);
    CHECK(comes(is_failed), "the engine dies, and the node says so");
    e2e_node_stop(&node);
    engine = e2e_engine_start("m", e2e_good);
    set_epoch(first + 10000000);
    e2e_node_start(&node, YAML, e2e_engine_port(engine));
    CHECK(comes(is_ready), "an engine is there");
    test_hello(&second);
    CHECK(second == first + 10000001, "a life's epoch is higher than the last one's");
    test_gateway();
    test_drain();
    test_keys();
    e2e_engine_stop(engine);
    return tap_done();
}

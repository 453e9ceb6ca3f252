/* e2e_node_models_test - an engine whose models come and go, for ever: neither the agent's table
 * nor its reports grow with it, what is running or pinned is kept, and a gateway has those that are
 * there and no ghosts. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "e2e_node.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define MODELS     40u
#define PLACES_MAX 6u /* models of a report of one page; many more come here */

enum { GATEWAY = 3 }; /* the first byte of its seed */

static struct e2e_engine *engine;
static struct e2e_node node;
static struct e2e_gateway gateway;
static atomic_bool may_end;

/* Says something, and ends when the test lets it. */
static bool
until_told(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    while (!atomic_load(&may_end))
        usleep(1000);
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

/* As the node tells it; NULL: it does not. */
static const struct report_model *
told(const char *model)
{
    const struct report *r = e2e_node_report(&node);

    for (size_t i = 0; i < r->model_count; i++) {
        if (span_eq_text(r->models[i].id, model))
            return &r->models[i];
    }
    return NULL;
}

static bool
pin(const char *model, unsigned char nonce, enum directive_action action)
{
    return e2e_node_direct(&node, GATEWAY, action, model, nonce, "done");
}

/* The engine has this model now, and the node has told so. */
static bool
serve(const char *model)
{
    uint64_t until_s = 0, seq;

    e2e_engine_serve(engine, model);
    while (patience(&until_s)) {
        const struct report_model *m = told(model);

        if (m != NULL && m->state == MODEL_READY)
            break;
        usleep(10000);
    }
    seq = e2e_node_report(&node)->seq;
    while (e2e_node_report(&node)->seq < seq + 2) {
        if (!patience(&until_s))
            return false;
        usleep(10000);
    }
    return true;
}

static bool
gateway_has(const char *model)
{
    char text[64];

    snprintf(text, sizeof(text), "\"model\":\"%s\"", model);
    return e2e_page_comes(gateway.admin_port, "/network/v1/nodes/n1", text);
}

static bool
gateway_has_no(const char *model)
{
    char text[64];
    uint64_t until_s = 0;

    snprintf(text, sizeof(text), "\"model\":\"%s\"", model);
    while (e2e_page_has(gateway.admin_port, "/network/v1/nodes/n1", text)) {
        if (!patience(&until_s))
            return false;
        usleep(10000);
    }
    return true;
}

/* One is pinned and one has a request: they stay known while others come and go. */
static void
test_come_and_go(void)
{
    char name[16];
    size_t most = 0;
    bool good = true;
    int open;

    CHECK(pin("m", 1, DIRECTIVE_PIN) && serve("busy"), "one is pinned, and goes");
    open = e2e_open_request(node.port, "/v1/chat/completions", "",
                            "{\"model\":\"busy\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                            "\"content\":\"hello\"}]}");
    CHECK(e2e_read_until(open, "content"), "another one has a request");
    for (unsigned i = 0; i < MODELS; i++) {
        const struct report *r;

        snprintf(name, sizeof(name), "v%u", i);
        good = good && serve(name);
        r = e2e_node_report(&node);
        most = r->model_count > most ? r->model_count : most;
        good = good && r->pages == 1;
    }
    CHECK(good && most > 0 && most <= PLACES_MAX, "many come and go, and few are told of");
    CHECK(told("v0") == NULL && told("v39") != NULL, "those that went are forgotten");
    CHECK(told("m") != NULL && told("m")->pinned && told("m")->state == MODEL_ABSENT,
          "but not the one that is pinned");
    CHECK(told("busy") != NULL, "nor the one with a request");
    CHECK(gateway_has("v39") && gateway_has_no("v38") && gateway_has_no("busy"),
          "a gateway has the last one, and no ghosts");
    atomic_store(&may_end, true);
    CHECK(e2e_read_until(open, "[DONE]"), "that one goes to its end");
    close(open);
    CHECK(serve("w1") && serve("w2") && serve("w3") && told("busy") == NULL,
          "and is forgotten then");
}

static void
test_again(void)
{
    CHECK(serve("m") && told("m")->pinned, "the pinned one comes again, and is pinned");
    CHECK(pin("m", 2, DIRECTIVE_UNPIN), "until it is not");
    CHECK(serve("v0") && gateway_has("v0") && gateway_has_no("m"),
          "one that was forgotten comes again, at the gateway, too");
}

int
main(void)
{
    struct gateway_options options = {.rule = -1, .seed = 1};
    char key[SIGNATURE_KEY_TEXT_SIZE];
    struct signature_secret secret;

    engine = e2e_engine_start("m", until_told);
    e2e_node_key(GATEWAY, &secret, key);
    e2e_gateway_start(&gateway, &options, "name: gw\nbus: {http: true}\nauth: none\n");
    e2e_node_start(&node,
                   "auth: none\nengines: [{url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                   "gateways: [{name: gw, key: \"%s\", may: [infer, load], url: "
                   "\"http://127.0.0.1:%u\"}]\n",
                   e2e_engine_port(engine), key, gateway.port);
    test_come_and_go();
    test_again();
    e2e_node_stop(&node);
    e2e_gateway_stop(&gateway);
    e2e_engine_stop(engine);
    return tap_done();
}

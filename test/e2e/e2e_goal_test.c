/* e2e_goal_test - what else decides than the least cost: a client's deadline, and silence of many.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"
#include "e2e_page.h"
#include "tap.h"

#define CONTENT(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"

/* Writes a word, and goes on until the client leaves. */
static bool
endless(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    e2e_wait_hangup(call);
    return false;
}

static void
start(struct e2e_gateway *g, struct e2e_engine *const engines[2])
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 200000000};

    e2e_gateway_start(g, &options,
                      "engines:\n"
                      "  - {name: first, url: \"http://127.0.0.1:%u\", kind: openai}\n"
                      "  - {name: second, url: \"http://127.0.0.1:%u\", kind: openai}\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      e2e_engine_port(engines[0]), e2e_engine_port(engines[1]));
    CHECK(e2e_wait_ready(g, 2), "two engines");
}

/* One stream runs on, somewhere. Where would the next request go? */
static void
test_deadline(struct e2e_engine *const engines[2])
{
    struct e2e_gateway g;
    struct e2e_reply reply;
    uint32_t before[2], busy;
    char head[64];
    int fd;

    start(&g, engines);
    for (int i = 0; i < 2; i++) {
        e2e_engine_script(engines[i], endless);
        before[i] = e2e_engine_calls(engines[i]);
    }
    fd = e2e_open_request(g.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(fd, "one"), "a stream runs on");
    busy = e2e_engine_calls(engines[0]) > before[0] ? 0 : 1;
    e2e_ask(g.admin_port, "POST", "/network/v1/explain", "", E2E_CHAT, &reply);
    CHECK(strstr(reply.body, "\"mode\":\"time\"") != NULL, "without a deadline: the least cost");
    e2e_reply_fini(&reply);
    e2e_ask(g.admin_port, "POST", "/network/v1/explain", "isochrone-deadline-ms: 60000\r\n",
            E2E_CHAT, &reply);
    snprintf(head, sizeof(head), "\"node\":\"%s\",\"considered\"", busy == 0 ? "first" : "second");
    CHECK(strstr(reply.body, "\"mode\":\"goal\"") != NULL && strstr(reply.body, head) != NULL,
          "with one: the node that is busy and meets it");
    CHECK(strstr(reply.body, "\"why\":\"busier_fits\"") != NULL, "the other one is kept free");
    e2e_reply_fini(&reply);
    close(fd);
    CHECK(e2e_page_comes(g.admin_port, "/metrics", "isochrone_decisions_total{mode=\"time\"} 1\n"),
          "what decided is counted");
    e2e_gateway_stop(&g);
}

static void
test_silence(struct e2e_engine *engines[2])
{
    struct e2e_gateway g;
    struct e2e_reply reply;

    start(&g, engines);
    CHECK(e2e_page_has(g.admin_port, "/metrics", "isochrone_self_suspicion 0\n"), "all is well");
    for (int i = 0; i < 2; i++)
        e2e_engine_stop(engines[i]);
    CHECK(e2e_page_comes(g.admin_port, "/metrics", "isochrone_self_suspicion 1\n"),
          "nobody answers any more: it may be us");
    e2e_ask(g.admin_port, "POST", "/network/v1/explain", "", E2E_CHAT, &reply);
    CHECK(strstr(reply.body, "\"mode\":\"suspicion\"") != NULL &&
              strstr(reply.body, "\"why\":\"stale\"") != NULL,
          "our own count decides");
    e2e_reply_fini(&reply);
    CHECK(!e2e_page_has(g.admin_port, "/network/v1/nodes", "\"ejected\":true"),
          "and nobody is put out for it");
    e2e_gateway_stop(&g);
}

int
main(void)
{
    struct e2e_engine *engines[2];

    for (int i = 0; i < 2; i++)
        engines[i] = e2e_engine_start("engine-name", e2e_good);
    test_deadline(engines);
    test_silence(engines);
    return tap_done();
}

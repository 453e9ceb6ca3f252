/* e2e_hedge_test - a first token that is late: another engine is asked too, whoever begins first
 * answers, and the other one sees that it may stop. Which engine is asked first is the gateway's
 * choice, so scripts go by the order in which they are asked. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define ENGINES      3u
#define PROMPT_BYTES 40000u /* earns enough for all that is hedged here */
#define CONTENT(text)                                                                              \
    "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"         \
    "\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"

static struct e2e_engine *engines[ENGINES];
static struct e2e_gateway gateway;
static _Atomic unsigned asked; /* of the requests that a test is about */
static unsigned sent;          /* second attempts, as answers told */

/* How many engines were asked before this one. */
static unsigned
order(void)
{
    return atomic_fetch_add(&asked, 1);
}

static void
wait_asked(unsigned count)
{
    uint64_t until_s = 0;

    while (atomic_load(&asked) < count && patience(&until_s))
        usleep(10000);
}

static bool
says_nothing(struct e2e_call *call)
{
    if (order() > 0)
        return e2e_good_stream(call);
    e2e_wait_hangup(call);
    return false;
}

static bool
says_no_content(struct e2e_call *call)
{
    if (order() > 0)
        return e2e_good_stream(call);
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"poison\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
    e2e_wait_hangup(call);
    return false;
}

static bool
first_after_all(struct e2e_call *call)
{
    if (order() > 0) {
        e2e_stream_head(call);
        e2e_wait_hangup(call);
        return false;
    }
    wait_asked(2);
    return e2e_good_stream(call);
}

static bool
two_fail(struct e2e_call *call)
{
    unsigned before = order();

    if (before > 1)
        return e2e_good_stream(call);
    if (before == 1)
        e2e_json(call, 500, "", "{\"error\":{\"message\":\"boom\"}}");
    else
        wait_asked(2);
    if (before == 0) /* the head is begun: it is not sent again over another connection */
        e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-ty");
    return false;
}

static bool
nobody_answers(struct e2e_call *call)
{
    order();
    e2e_wait_hangup(call);
    return false;
}

static bool
goes_on_for_long(struct e2e_call *call)
{
    if (order() > 0) {
        e2e_stream_head(call);
        e2e_chunk(call, CONTENT("one"));
    }
    e2e_wait_hangup(call);
    return false;
}

static void
set_scripts(e2e_script *script)
{
    atomic_store(&asked, 0);
    for (uint32_t i = 0; i < ENGINES; i++)
        e2e_engine_script(engines[i], script);
}

static uint32_t
hangups(void)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < ENGINES; i++)
        sum += e2e_engine_hangups(engines[i]);
    return sum;
}

/* Wait until so many engines saw that nobody listens any more. */
static bool
hangups_come(uint32_t count)
{
    uint64_t until_s = 0;

    while (hangups() < count && patience(&until_s))
        usleep(10000);
    return hangups() == count;
}

static void
ask(const char *body, struct e2e_reply *reply)
{
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", body, reply);
}

/* On a busy machine the second engine may be the first to read its request, and then does what was
 * meant for the first: once more. */
static void
ask_late(e2e_script *script, struct e2e_reply *reply)
{
    for (unsigned i = 0;; i++) {
        uint32_t before = hangups();
        bool second;

        set_scripts(script);
        ask(E2E_STREAM, reply);
        second = strstr(e2e_header(reply, "isochrone-reason"), "hedged") != NULL;
        sent += strcmp(e2e_header(reply, "isochrone-attempts"), "2") == 0;
        CHECK(hangups_come(before + 1), "the other engine sees that it may stop");
        if (second == (script != first_after_all) || i == 9)
            return;
        e2e_reply_fini(reply);
    }
}

/* A long prompt, answered at once: two hundredths of it are what hedges may cost. */
static void
earn(void)
{
    char *body = malloc(PROMPT_BYTES + 200);
    struct e2e_reply reply;
    int bytes;

    if (body == NULL)
        abort();
    bytes = snprintf(body, 200,
                     "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                     "\"content\":\"");
    memset(body + bytes, 'a', PROMPT_BYTES);
    snprintf(body + bytes + PROMPT_BYTES, 20, "\"}]}");
    set_scripts(e2e_good_stream);
    ask(body, &reply);
    CHECK(reply.status == 200 && strcmp(e2e_header(&reply, "isochrone-attempts"), "1") == 0,
          "a long prompt is answered");
    e2e_reply_fini(&reply);
    free(body);
}

static void
test_won(e2e_script *script, const char *label)
{
    struct e2e_reply reply, why;

    ask_late(script, &reply);
    CHECK(reply.status == 200 && reply.whole, label);
    CHECK(strstr(reply.body, "\"content\":\" there\"") != NULL &&
              strstr(reply.body, "poison") == NULL && strstr(reply.body, "[DONE]") != NULL,
          "one answer, and nothing of the other engine's");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "2") == 0, "two attempts");
    CHECK(strstr(e2e_header(&reply, "isochrone-reason"), "hedged") != NULL, "and why");
    e2e_explain(&gateway, e2e_header(&reply, "x-request-id"), &why);
    CHECK(strstr(why.body, "\"overtaken\":true") != NULL &&
              strstr(why.body, "\"overtaken\":false") != NULL,
          "explain has both, and which was given up");
    CHECK(strstr(why.body, "\"hedge_ms\":null") != NULL &&
              strstr(strstr(why.body, "\"hedge_ms\":null") + 16, "\"hedge_ms\":") != NULL,
          "and which was the second");
    CHECK(strstr(why.body, "\"failure\":\"first_byte\"") == NULL, "none of them failed");
    e2e_reply_fini(&why);
    e2e_reply_fini(&reply);
}

static void
test_lost(void)
{
    struct e2e_reply reply;

    ask_late(first_after_all, &reply);
    CHECK(reply.status == 200 && reply.whole, "the first one begins after all");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "2") == 0 &&
              strstr(e2e_header(&reply, "isochrone-reason"), "hedged") == NULL,
          "two attempts, and the first one's answer");
    e2e_reply_fini(&reply);
}

static void
test_both_fail(void)
{
    struct e2e_reply reply;

    set_scripts(two_fail);
    ask(E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole, "both fail: a third engine answers");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "3") == 0, "as the third attempt");
    e2e_reply_fini(&reply);
}

static void
test_client_leaves(void)
{
    uint32_t before = hangups();
    int fd;

    set_scripts(nobody_answers);
    fd = e2e_open_request(gateway.port, "/v1/chat/completions", "", E2E_STREAM);
    wait_asked(2);
    close(fd);
    CHECK(hangups_come(before + 2), "the client leaves: both engines see it");
    before = hangups();
    set_scripts(goes_on_for_long);
    fd = e2e_open_request(gateway.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(fd, "one"), "the second one answers");
    CHECK(hangups_come(before + 1), "the first one is left");
    close(fd);
    CHECK(hangups_come(before + 2), "the client leaves: so is the second");
}

static void
start(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};

    e2e_gateway_start(&gateway, &options,
                      "limits: {first_byte: 2s}\nengines:\n"
                      "  - {name: a, url: \"http://127.0.0.1:%u\", kind: openai, site: s1}\n"
                      "  - {name: b, url: \"http://127.0.0.1:%u\", kind: openai, site: s2}\n"
                      "  - {name: c, url: \"http://127.0.0.1:%u\", kind: openai, site: s3}\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      e2e_engine_port(engines[0]), e2e_engine_port(engines[1]),
                      e2e_engine_port(engines[2]));
    CHECK(e2e_wait_ready(&gateway, ENGINES), "three engines");
}

static void
test_no_budget(void)
{
    struct e2e_reply reply;
    uint32_t before = hangups();

    set_scripts(says_nothing);
    ask(E2E_STREAM, &reply);
    CHECK(hangups_come(before + 1), "an engine that says nothing is given up in the end");
    CHECK(reply.status == 200 && reply.whole, "nothing earned yet: answered all the same");
    CHECK(strstr(e2e_header(&reply, "isochrone-reason"), "retried") != NULL, "by a retry");
    CHECK(!e2e_page_has(gateway.admin_port, "/metrics",
                        "isochrone_hedges_skipped_total{reason=\"budget\"} 0\n"),
          "counted");
    e2e_reply_fini(&reply);
}

int
main(void)
{
    char line[100];

    for (uint32_t i = 0; i < ENGINES; i++)
        engines[i] = e2e_engine_start("engine-name", e2e_good);
    start();
    test_no_budget();
    earn();
    test_won(says_nothing, "an engine that says nothing is overtaken");
    test_won(says_no_content, "and one that says nothing of use");
    test_lost();
    test_client_leaves();
    test_both_fail();
    sent += 3; /* the client left twice, and both failed */
    snprintf(line, sizeof(line), "isochrone_hedges_total %u\n", sent);
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", line), "all are counted");
    CHECK(!e2e_page_has(gateway.admin_port, "/metrics", "isochrone_hedges_won_total 0\n"),
          "and those that won");
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", "isochrone_requests_in_flight 0\n"),
          "nothing is left over");
    e2e_gateway_stop(&gateway);
    for (uint32_t i = 0; i < ENGINES; i++)
        e2e_engine_stop(engines[i]);
    return tap_done();
}

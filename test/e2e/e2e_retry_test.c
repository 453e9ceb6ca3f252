/* e2e_retry_test - an engine that fails before content: another one answers, and the client does
 * not notice; or, when nobody can, is told so. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e.h"
#include "tap.h"

static struct e2e_engine *bad, *good;

static bool
status_500(struct e2e_call *call)
{
    e2e_json(call, 500, "", "{\"error\":{\"message\":\"boom\"}}");
    return true;
}

static bool
status_401(struct e2e_call *call)
{
    e2e_json(call, 401, "", "{\"error\":{\"message\":\"key\"}}");
    return true;
}

static bool
busy(struct e2e_call *call)
{
    e2e_json(call, 503, "retry-after: 7\r\n", "{\"error\":{\"message\":\"full\"}}");
    return true;
}

static bool
no_http(struct e2e_call *call)
{
    e2e_send(call, "SSH-2.0-OpenSSH\r\n\r\n");
    e2e_wait_hangup(call);
    return false;
}

static bool
no_json(struct e2e_call *call)
{
    if (strstr(call->body, "\"stream\":true") != NULL) {
        e2e_stream_head(call);
        e2e_chunk(call, "data: {\"id\":\"poison\n\n");
        e2e_wait_hangup(call);
        return false;
    }
    e2e_json(call, 200, "", "{\"id\":\"poison\"");
    return true;
}

static bool
cut_in_head(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-ty");
    return false;
}

static bool
cut_before_content(struct e2e_call *call)
{
    if (strstr(call->body, "\"stream\":true") == NULL)
        return cut_in_head(call);
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"poison\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
    return false;
}

static bool
error_200(struct e2e_call *call)
{
    if (strstr(call->body, "\"stream\":true") != NULL) {
        e2e_stream_head(call);
        e2e_chunk(call, "data: {\"error\":{\"message\":\"poison\"}}\n\n");
        e2e_chunk(call, "");
        return true;
    }
    e2e_json(call, 200, "", "{\"error\":{\"message\":\"poison\"}}");
    return true;
}

static bool
wrong_type(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\npoison");
    return true;
}

static bool
silent(struct e2e_call *call)
{
    e2e_wait_hangup(call);
    return false;
}

static bool
smuggled(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
                   "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    e2e_wait_hangup(call);
    return false;
}

static const struct {
    const char *label, *class;
    e2e_script *script;
} faults[] = {
    {"status 500", "5xx", status_500},
    {"our key refused", "5xx", status_401},
    {"busy", "busy", busy},
    {"no HTTP", "malformed", no_http},
    {"no JSON", "malformed", no_json},
    {"cut in the head", "eof", cut_in_head},
    {"cut before content", "eof", cut_before_content},
    {"an error with status 200", "5xx", error_200},
    {"a page", "malformed", wrong_type},
    {"length and chunks", "malformed", smuggled},
    {"nothing at all", "first_byte", silent},
};

static void
start(struct e2e_gateway *g)
{
    /* `nearest` and the round trips of regions make the bad engine the first choice every time */
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};

    e2e_gateway_start(
        g, &options,
        "region: us-east\nrule: nearest\nlimits: {first_byte: 300ms}\n"
        "engines:\n"
        "  - {name: bad, url: \"http://127.0.0.1:%u\", kind: openai, region: us-east}\n"
        "  - {name: good, url: \"http://127.0.0.1:%u\", kind: openai, region: eu-west}\n"
        "models: {m: {aliases: [engine-name]}}\n",
        e2e_engine_port(bad), e2e_engine_port(good));
    CHECK(e2e_wait_ready(g, 2), "ready");
}

static void
check_retried(const struct e2e_gateway *g, const char *label, const char *body)
{
    struct e2e_reply reply;

    e2e_ask(g->port, "POST", "/v1/chat/completions", "", body, &reply);
    CHECK(reply.status == 200 && reply.whole, label);
    CHECK(strstr(reply.body, "there") != NULL, "the good engine's answer");
    CHECK(strstr(reply.body, "poison") == NULL, "and nothing of the bad one's");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), "good") == 0, "which is named");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "2") == 0, "after two attempts");
    e2e_reply_fini(&reply);
}

static void
test_faults(void)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct e2e_gateway g;
        struct e2e_reply reply;
        char line[128];
        uint32_t before = e2e_engine_calls(bad);

        e2e_engine_script(bad, faults[i].script);
        start(&g); /* a fresh one: failures of the row before are forgotten */
        check_retried(&g, faults[i].label, E2E_CHAT);
        CHECK(e2e_engine_calls(bad) == before + 1, "the bad engine was asked once");
        e2e_gateway_stop(&g);
        start(&g);
        check_retried(&g, faults[i].label, E2E_STREAM);
        e2e_ask(g.admin_port, "GET", "/metrics", "", "", &reply);
        snprintf(line, sizeof(line), "isochrone_engine_failures_total{class=\"%s\"} 1\n",
                 faults[i].class);
        CHECK(strstr(reply.body, line) != NULL, "the failure was classed");
        e2e_reply_fini(&reply);
        e2e_gateway_stop(&g);
    }
}

/* Nobody listens where the first engine was. */
static void
test_refused(void)
{
    struct e2e_gateway g;
    uint16_t port = e2e_engine_port(bad);

    start(&g);
    e2e_engine_stop(bad);
    check_retried(&g, "connection refused", E2E_CHAT);
    e2e_gateway_stop(&g);
    bad = e2e_engine_start("engine-name", e2e_good);
    (void)port;
}

static void
test_all_fail(void)
{
    struct e2e_gateway g;
    struct e2e_reply reply;

    e2e_engine_script(bad, status_500);
    e2e_engine_script(good, status_500);
    start(&g);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 502 && strstr(reply.body, "engine_failed") != NULL, "every try failed");
    CHECK(strcmp(e2e_header(&reply, "x-should-retry"), "false") == 0, "asking again is of no use");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "2") == 0, "both were tried");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
    e2e_engine_script(bad, busy);
    e2e_engine_script(good, busy);
    start(&g);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 429 || reply.status == 503, "everybody is busy");
    CHECK(e2e_header(&reply, "x-should-retry")[0] == '\0', "later it may work");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
}

int
main(void)
{
    bad = e2e_engine_start("engine-name", e2e_good);
    good = e2e_engine_start("engine-name", e2e_good);
    test_faults();
    test_refused();
    test_all_fail();
    e2e_engine_stop(bad);
    e2e_engine_stop(good);
    return tap_done();
}

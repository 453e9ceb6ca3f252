/* e2e_stream_test - streams through a gateway: passed on as they come, never ended silently, held
 * up for a slow client, cancelled for one that left. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e.h"
#include "tap.h"

#define CONTENT(text)                                                                              \
    "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"         \
    "\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define FINISH                                                                                     \
    "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{},"       \
    "\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

static struct e2e_gateway gateway;
static struct e2e_engine *engine;

static void
ask(const char *body, struct e2e_reply *reply)
{
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", body, reply);
}

static void
test_through(void)
{
    struct e2e_reply reply;
    char head[8192], body[8192];

    e2e_engine_script(engine, e2e_good_stream);
    ask(E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole, "a whole stream");
    CHECK(strncmp(e2e_header(&reply, "content-type"), "text/event-stream", 17) == 0, "of events");
    CHECK(strcmp(e2e_header(&reply, "x-accel-buffering"), "no") == 0, "that nobody should gather");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), "first") == 0, "from this node");
    CHECK(strstr(reply.body, "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\"") != NULL,
          "the model's name is put back");
    CHECK(strstr(reply.body, "engine-name") == NULL, "everywhere");
    CHECK(strstr(reply.body, "\"content\":\" there\"") != NULL, "content");
    CHECK(strstr(reply.body, "\"usage\"") == NULL, "no usage that was not asked for");
    CHECK(reply.body_bytes > 14 &&
              strcmp(reply.body + reply.body_bytes - 14, "data: [DONE]\n\n") == 0,
          "and [DONE] at the end");
    e2e_reply_fini(&reply);
    e2e_engine_last(engine, head, body, sizeof(body));
    CHECK(strstr(body, "\"include_usage\":true") != NULL, "usage is always asked of the engine");
    ask("{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"messages\":[]}",
        &reply);
    CHECK(strstr(reply.body, "\"usage\":{\"prompt_tokens\":7") != NULL, "usage that was asked for");
    e2e_reply_fini(&reply);
}

/* One byte a packet, CRLF line ends, a comment, data over two lines. */
static bool
odd_framing(struct e2e_call *call)
{
    static const char text[] =
        ": hello\r\n\r\n"
        "data: {\"id\":\"c1\",\"model\":\"engine-name\",\r\ndata: \"choices\":[{\"index\":0,"
        "\"delta\":{\"content\":\"gr\\u00fc\xc3\x9f\"},\"finish_reason\":null}]}\r\n\r\n" FINISH
            DONE;

    e2e_stream_head(call);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        e2e_chunk(call, (char[]){text[i], '\0'});
    e2e_chunk(call, "");
    return true;
}

static void
test_framing(void)
{
    struct e2e_reply reply;

    e2e_engine_script(engine, odd_framing);
    ask(E2E_STREAM, &reply);
    CHECK(reply.whole, "odd framing is read");
    CHECK(strncmp(reply.body,
                  "data: {\"id\":\"c1\",\"model\":\"m\",\ndata: \"choices\":[{\"index\":0,"
                  "\"delta\":{\"content\":\"gr\\u00fc\xc3\x9f\"}",
                  85) == 0,
          "and passed on exactly, comments apart");
    e2e_reply_fini(&reply);
}

static bool
slow_first(struct e2e_call *call)
{
    usleep(150000); /* longer than the keep-alive interval of this gateway */
    return e2e_good_stream(call);
}

static void
test_keep_alive(void)
{
    struct e2e_reply reply;

    e2e_engine_script(engine, slow_first);
    ask(E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole, "committed before the engine answered");
    CHECK(strncmp(reply.body, ": keep-alive\n\n", 14) == 0, "kept alive by comments");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), "first") == 0 ||
              strstr(reply.body, ": isochrone node=first") != NULL,
          "the node is told");
    CHECK(strstr(reply.body, ": isochrone node=first region=here attempts=1\n\ndata: [DONE]") !=
              NULL,
          "in a comment at the end");
    e2e_reply_fini(&reply);
}

/* ---- Broken off after content: an error event, never a silent end. */

static bool
cut(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    return false;
}

static bool
end_without_finish(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    e2e_chunk(call, "");
    return true;
}

static bool
done_without_finish(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one") DONE);
    e2e_chunk(call, "");
    return true;
}

static bool
garbage_after_content(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    e2e_chunk(call, "data: <html>poison</html>\n\n");
    e2e_wait_hangup(call);
    return false;
}

static bool
error_after_content(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    e2e_chunk(call, "data: {\"error\":{\"message\":\"cuda\"}}\n\n");
    e2e_wait_hangup(call);
    return false;
}

static bool
stall_after_content(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one"));
    e2e_wait_hangup(call);
    return false;
}

static const struct {
    const char *label;
    e2e_script *script;
    const char *failure;
} broken[] = {
    {"connection cut", cut, "(eof)"},
    {"end without a finish reason", end_without_finish, "(eof)"},
    {"[DONE] without a finish reason", done_without_finish, "(eof)"},
    {"garbage", garbage_after_content, "(malformed)"},
    {"an error event", error_after_content, "(5xx)"},
    {"silence", stall_after_content, "(stall)"},
};

static void
test_broken(void)
{
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct e2e_reply reply;
        uint32_t before = e2e_engine_calls(engine);
        const char *error;

        e2e_engine_script(engine, broken[i].script);
        ask(E2E_STREAM, &reply);
        error = strstr(reply.body, "data: {\"error\":{\"message\":");
        CHECK(reply.status == 200 && reply.whole, broken[i].label);
        CHECK(strstr(reply.body, "\"content\":\"one\"") != NULL, "what came before is passed on");
        CHECK(error != NULL && strstr(error, "\"code\":\"stream_interrupted\"") != NULL,
              "then an error event");
        CHECK(error != NULL && strstr(error, broken[i].failure) != NULL, "that says why");
        CHECK(strstr(reply.body, "[DONE]") == NULL, "and no [DONE]");
        CHECK(strstr(reply.body, "poison") == NULL, "no bytes of garbage");
        CHECK(e2e_engine_calls(engine) == before + 1, "nobody else is asked after content");
        e2e_reply_fini(&reply);
    }
}

/* ---- Ends that are good though they look odd. */

static bool
closes_after_done(struct e2e_call *call)
{
    /* as llama-server does */
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one") FINISH DONE);
    return false;
}

static bool
ends_without_done(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one") FINISH);
    e2e_chunk(call, "");
    return true;
}

static bool
never_ends_after_done(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, CONTENT("one") FINISH DONE);
    e2e_wait_hangup(call);
    return false;
}

static void
test_odd_ends(void)
{
    e2e_script *const scripts[] = {closes_after_done, ends_without_done, never_ends_after_done};

    for (size_t i = 0; i < 3; i++) {
        struct e2e_reply reply;
        e2e_engine_script(engine, scripts[i]);
        ask(E2E_STREAM, &reply);
        CHECK(reply.whole && strstr(reply.body, "error") == NULL, "an odd end is no error");
        CHECK(strstr(reply.body, DONE) != NULL, "and has its [DONE]");
        e2e_reply_fini(&reply);
    }
}

/* ---- The client's side. */

#define FLOOD_CHUNKS 5000u
static _Atomic unsigned flooded; /* chunks of 20 kB that the gateway took */

static bool
endless(struct e2e_call *call)
{
    char pad[19900] = "", text[20100];

    memset(pad, 'x', sizeof(pad) - 1);
    snprintf(text, sizeof(text),
             "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
             "\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n",
             pad);
    e2e_stream_head(call);
    for (flooded = 0; flooded < FLOOD_CHUNKS; flooded++) {
        char probe;
        e2e_chunk(call, text);
        if (recv(call->fd, &probe, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
            break;
    }
    e2e_wait_hangup(call);
    return false;
}

/* Wait until the flood comes to rest: its bytes are with the gateway or stuck before it. */
static unsigned
flood_at_rest(void)
{
    unsigned before = 0;

    for (;;) {
        usleep(300000);
        if (flooded == before && before > 0)
            return before;
        before = flooded;
    }
}

/* The value of a metric of the gateway. */
static double
metric(const char *name)
{
    struct e2e_reply reply;
    char line[128];
    const char *at;
    double value = -1.0;

    snprintf(line, sizeof(line), "\nisochrone_%s ", name);
    e2e_ask(gateway.admin_port, "GET", "/metrics", "", "", &reply);
    at = strstr(reply.body, line);
    if (at != NULL)
        value = strtod(at + strlen(line), NULL);
    e2e_reply_fini(&reply);
    return value;
}

static void
test_client_gone(void)
{
    uint32_t before = e2e_engine_hangups(engine);
    int fd;

    e2e_engine_script(engine, stall_after_content);
    fd = e2e_open_request(gateway.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(fd, "\"content\":\"one\""), "content came");
    close(fd);
    CHECK(e2e_wait_count(e2e_engine_hangups, engine, before + 1),
          "the engine is let go when the client left");
    e2e_engine_script(engine, endless);
    fd = e2e_open_request(gateway.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(fd, "xxxx"), "a flood begins");
    CHECK(flood_at_rest() < FLOOD_CHUNKS, "that stops when the client does not read");
    CHECK(metric("requests_in_flight") == 1.0, "the slow client is still served");
    close(fd);
    CHECK(e2e_wait_count(e2e_engine_hangups, engine, before + 2), "until it leaves");
    CHECK(metric("streams_interrupted_total") == 6.0, "what was interrupted was counted");
}

int
main(void)
{
    const struct gateway_options options = {
        .rule = -1, .poll_ns = 50000000, .keep_alive_ns = 60000000};

    engine = e2e_engine_start("engine-name", e2e_good_stream);
    e2e_gateway_start(&gateway, &options,
                      "region: here\nlimits: {idle: 300ms}\n"
                      "engines: [{name: first, url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      e2e_engine_port(engine));
    CHECK(e2e_wait_ready(&gateway, 1), "ready");
    test_through();
    test_framing();
    test_keep_alive();
    test_odd_ends();
    test_broken();
    test_client_gone();
    e2e_gateway_stop(&gateway);
    e2e_engine_stop(engine);
    return tap_done();
}

/* e2e_hostile_test - what found its way through a storm of faults: engines that trickle, flood and
 * lie before any content, operators who reload and stop at once, start twice or write slowly, and
 * clients who leave by the hundred. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_page.h"
#include "tap.h"

#define MANY_ENGINES  20000u /* reading them lasts longer than stopping */
#define STORM_CLIENTS 300u

static struct e2e_engine *bad, *good;

/* ---- Engines. */

static bool
hung_up(struct e2e_call *call)
{
    char byte;

    return recv(call->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Signs of life, but never a token. */
static bool
comments_for_ever(struct e2e_call *call)
{
    e2e_stream_head(call);
    while (!hung_up(call)) {
        e2e_chunk(call, ": still here\n\n");
        usleep(20000);
    }
    return false;
}

static bool
empty_deltas_for_ever(struct e2e_call *call)
{
    e2e_stream_head(call);
    while (!hung_up(call)) {
        e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                        "\"delta\":{\"content\":\"\"},\"finish_reason\":null}]}\n\n");
        usleep(20000);
    }
    return false;
}

static bool
flood_of_roles(struct e2e_call *call)
{
    e2e_stream_head(call);
    while (!hung_up(call))
        e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                        "\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
    return false;
}

static bool
complains_for_ever(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                   "transfer-encoding: chunked\r\n\r\n");
    while (!hung_up(call))
        e2e_chunk(call, "                                                                poison");
    return false;
}

static bool
answers_nothing(struct e2e_call *call)
{
    if (strstr(call->body, "\"stream\":true") != NULL)
        return flood_of_roles(call);
    e2e_json(call, 200, "", "{\"object\":\"poison\",\"choices\":[]}");
    return true;
}

static bool
complains_in_html(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 413 Too Large\r\ncontent-type: text/html\r\ncontent-length: 19\r\n\r\n"
                   "<script>poison</scr");
    return true;
}

static const struct {
    const char *label, *class;
    e2e_script *script;
} faults[] = {
    {"comments for ever", "first_byte", comments_for_ever},
    {"empty deltas for ever", "first_byte", empty_deltas_for_ever},
    {"a flood before content", "malformed", flood_of_roles},
    {"a complaint without end", "malformed", complains_for_ever},
    {"an answer without choices", "malformed", answers_nothing},
};

/* The bad engine is the first choice every time: `nearest`, and it stands here. */
static void
start(struct e2e_gateway *g)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};

    e2e_gateway_start(
        g, &options,
        "region: us-east\nrule: nearest\nlimits: {first_byte: 300ms, idle: 200ms}\n"
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
    CHECK(strstr(reply.body, "there") != NULL && strstr(reply.body, "poison") == NULL,
          "the good engine's answer, and nothing of the bad one's");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "2") == 0, "after two attempts");
    e2e_reply_fini(&reply);
}

static void
test_engines(void)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct e2e_gateway g;
        char line[128];

        e2e_engine_script(bad, faults[i].script);
        start(&g);
        check_retried(&g, faults[i].label, E2E_STREAM);
        snprintf(line, sizeof(line), "isochrone_engine_failures_total{class=\"%s\"} 1\n",
                 faults[i].class);
        CHECK(e2e_metric(&g, line), "the engine is charged");
        if (faults[i].script == answers_nothing)
            check_retried(&g, "in one piece", E2E_CHAT);
        e2e_gateway_stop(&g);
    }
}

/* A 4xx is the client's to see, but only as an error of ours when it is no JSON. */
static void
test_complaint(void)
{
    struct e2e_gateway g;
    struct e2e_reply reply;

    e2e_engine_script(bad, complains_in_html);
    start(&g);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 413 && reply.whole, "the engine's status");
    CHECK(strstr(reply.body, "refused_by_engine") != NULL && strstr(reply.body, "poison") == NULL,
          "in our words");
    CHECK(strcmp(e2e_header(&reply, "content-type"), "application/json") == 0, "as JSON");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
}

/* ---- Operators. */

static void
write_config(const char *path, const char *more)
{
    e2e_write_file(path,
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "threads: 2\n"
                   "models: {m: {aliases: [engine-name]}}\n"
                   "engines:\n"
                   "  - {name: good, url: \"http://127.0.0.1:%u\", kind: openai}\n%s",
                   e2e_engine_port(good), more);
}

/* The gateway ends while the worker still reads the new file. */
static void
test_reload_and_stop(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    const size_t line_bytes = 80;
    char path[256], *more = calloc(MANY_ENGINES, line_bytes);
    struct e2e_gateway g;
    size_t at = 0;

    must(more != NULL);
    for (uint32_t i = 0; i < MANY_ENGINES; i++)
        at += (size_t)snprintf(more + at, line_bytes,
                               "  - {name: x%u, url: \"http://127.0.%u.%u:9\", kind: openai}\n", i,
                               i / 200, i % 200 + 1);
    e2e_path("slow.yaml", path, sizeof(path));
    write_config(path, "");
    e2e_gateway_load(&g, &options, path);
    CHECK(e2e_wait_ready(&g, 1), "ready");
    write_config(path, more);
    gateway_reload(g.gateway);
    gateway_reload(g.gateway);
    gateway_stop(g.gateway);
    e2e_gateway_stop(&g);
    CHECK(true, "stopped in the middle of a reload");
    free(more);
}

/* A file that is being written is empty for a moment. */
static void
test_empty_file(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    char path[256];
    struct e2e_gateway g;
    struct e2e_reply reply;

    e2e_path("empty.yaml", path, sizeof(path));
    write_config(path, "");
    e2e_gateway_load(&g, &options, path);
    CHECK(e2e_wait_ready(&g, 1), "ready");
    e2e_write_file(path, "\n\n");
    gateway_reload(g.gateway);
    CHECK(e2e_metric(&g, "isochrone_reload_failures_total 1\n"), "an empty file is an error");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200, "and the old configuration is kept");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
}

/* A second gateway with threads must not become a silent partner on the first one's port. */
static void
test_port_taken(void)
{
    struct gateway_options options = {.rule = -1};
    struct gateway *second = NULL;
    char path[256];
    struct e2e_gateway g;

    e2e_path("twice.yaml", path, sizeof(path));
    write_config(path, "");
    e2e_gateway_load(&g, &options, path);
    e2e_write_file(path, "listen: {public: \"127.0.0.1:%u\", admin: \"127.0.0.1:0\"}\nthreads: 2\n",
                   g.port);
    must(roster_load(path, 0, NULL, &options.roster) == ERR_OK);
    CHECK(gateway_open(&options, &second) == ERR_IO && second == NULL, "the port is taken");
    e2e_gateway_stop(&g);
}

/* Its body was on its way when the gateway was told to go: it is answered all the same. */
static void
test_drain_waits_for_bodies(void)
{
    static const char body[] = E2E_CHAT;
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    char path[256], text[512];
    struct e2e_gateway g;
    struct e2e_reply reply;
    int fd;

    e2e_path("drain.yaml", path, sizeof(path));
    write_config(path, "limits: {drain: 20s}\n");
    e2e_gateway_load(&g, &options, path);
    CHECK(e2e_wait_ready(&g, 1), "ready");
    fd = e2e_connect(g.port);
    snprintf(text, sizeof(text),
             "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %zu\r\n\r\n%.9s",
             sizeof(body) - 1, body);
    e2e_write(fd, text);
    gateway_stop(g.gateway);
    do { /* until the looks at what is left have begun */
        e2e_ask(g.admin_port, "GET", "/readyz", "", "", &reply);
        usleep(50000);
        e2e_reply_fini(&reply);
    } while (reply.status != 503);
    e2e_write(fd, body + 9);
    CHECK(e2e_read_until(fd, "HTTP/1.1 200 OK"), "what was on its way is answered");
    close(fd);
    e2e_gateway_stop(&g);
}

/* ---- Clients. */

/* Many streams at once, each dropped at another point: nothing is left of them. */
static void
test_cancel_storm(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    char path[256], buffer[512];
    struct e2e_gateway g;
    struct e2e_reply reply;

    e2e_path("storm.yaml", path, sizeof(path));
    write_config(path, "");
    e2e_gateway_load(&g, &options, path);
    CHECK(e2e_wait_ready(&g, 1), "ready");
    for (unsigned i = 0; i < STORM_CLIENTS; i++) {
        int fd;
        if (i % 5 == 0) { /* within the head or the body */
            fd = e2e_connect(g.port);
            snprintf(buffer, sizeof(buffer),
                     "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %zu\r\n\r\n"
                     "%s",
                     strlen(E2E_STREAM), E2E_STREAM);
            buffer[i * 7 % strlen(buffer)] = '\0';
            e2e_write(fd, buffer);
        } else {
            fd = e2e_open_request(g.port, "/v1/chat/completions", "", E2E_STREAM);
        }
        if (i % 5 > 1 && recv(fd, buffer, 1 + i * 3 % (sizeof(buffer) - 1), 0) <= 0)
            CHECK(false, "an answer");
        close(fd);
    }
    CHECK(e2e_metric(&g, "isochrone_requests_in_flight 0\n"), "none is left in flight");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    CHECK(reply.status == 200 && reply.whole, "and others are served");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
}

/* Who has no key is told so before the body: it would take room from those who have one. */
static void
test_stranger(void)
{
    static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
                               "content-length: 60000000\r\n\r\n{";
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    char path[256], more[512];
    struct e2e_gateway g;
    int fd;

    e2e_path("keys.yaml", path, sizeof(path));
    e2e_write_file(path, "keys: []\n");
    snprintf(more, sizeof(more), "keys: file:%s\n", path);
    e2e_path("stranger.yaml", path, sizeof(path));
    write_config(path, more);
    e2e_gateway_load(&g, &options, path);
    fd = e2e_connect(g.port);
    e2e_write(fd, head);
    CHECK(e2e_read_until(fd, "HTTP/1.1 401 "), "told at once");
    CHECK(e2e_read_until(fd, "missing_api_key"), "what is missing");
    close(fd);
    e2e_gateway_stop(&g);
}

int
main(void)
{
    bad = e2e_engine_start("engine-name", e2e_good);
    good = e2e_engine_start("engine-name", e2e_good);
    test_engines();
    test_complaint();
    test_reload_and_stop();
    test_empty_file();
    test_port_taken();
    test_drain_waits_for_bodies();
    test_cancel_storm();
    test_stranger();
    e2e_engine_stop(bad);
    e2e_engine_stop(good);
    return tap_done();
}

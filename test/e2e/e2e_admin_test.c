/* e2e_admin_test - what the gateway tells about itself and to whom; reload; two lanes; draining. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"
#include "patience.h"
#include "tap.h"

static struct e2e_engine *engine;

static bool
page_contains(uint16_t port, const char *path, const char *headers, unsigned status,
              const char *text)
{
    struct e2e_reply reply;
    bool good;

    e2e_ask(port, "GET", path, headers, "", &reply);
    good = reply.status == status && strstr(reply.body, text) != NULL;
    if (!good)
        printf("# %s: %u %s\n", path, reply.status, reply.body);
    e2e_reply_fini(&reply);
    return good;
}

static bool
page_comes(uint16_t port, const char *path, const char *text)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        struct e2e_reply reply;
        bool good;
        e2e_ask(port, "GET", path, "", "", &reply);
        good = strstr(reply.body, text) != NULL;
        e2e_reply_fini(&reply);
        if (good)
            return true;
        usleep(20000);
    }
    return false;
}

/* ---- What is told. */

static const struct {
    const char *label, *path, *text;
} pages[] = {
    {"livez", "/livez", "ok"},
    {"readyz", "/readyz", "\"ready\":true"},
    {"nodes", "/network/v1/nodes", "\"node\":\"first\""},
    {"a node", "/network/v1/nodes/first", "\"engine_name\":\"engine-name\""},
    {"nodes, paged", "/network/v1/nodes?limit=0", "{\"nodes\":[],\"next\":0}"},
    {"capacity", "/network/v1/capacity", "\"region\":\"here\",\"nodes_ready\":1"},
    {"capacity: its goals", "/network/v1/capacity", "\"ttft_source\":\"default\""},
    {"capacity: within them", "/network/v1/capacity", "\"pool\":\"m\",\"pool_models\":1"},
    {"capacity: how sure", "/network/v1/capacity", "\"expected_error_from\":\"simulation\""},
    {"capacity: what it assumes", "/network/v1/capacity", "\"assumes\":[\"requests"},
    {"capacity: not checked yet", "/network/v1/capacity", "\"checked\":null"},
    {"nodes: heard of", "/network/v1/nodes/first", "\"silent_ms\":null"},
    {"readiness: heard of", "/network/v1/readiness", "\"silent\":0,\"silent_ms\":null"},
    {"metrics: capacity", "/metrics",
     "isochrone_capacity_extra_requests_per_second{model=\"m\",region=\"here\"}"},
    {"readiness", "/network/v1/readiness", "\"ready\":1"},
    {"demand", "/network/v1/demand",
     "{\"model\":\"m\",\"regions\":[{\"region\":\"here\",\"requests_s\":"},
    {"plan: no node is steered", "/network/v1/plan", "\"directives\":[]"},
    {"metrics: requests", "/metrics", "isochrone_requests_total{model=\"m\",code=\"200\"} 2\n"},
    {"metrics: ttft", "/metrics", "isochrone_ttft_seconds_count 1\n"},
    {"metrics: predicted", "/metrics", "isochrone_ttft_predicted_seconds_count 1\n"},
    {"metrics: tokens", "/metrics", "isochrone_output_tokens_total 4\n"},
    {"metrics: build", "/metrics", "isochrone_build_info{version="},
    {"metrics: hold", "/metrics", "isochrone_lock_hold_seconds_count"},
};

static const struct {
    const char *label, *headers, *text;
    unsigned status;
} guards[] = {
    {"another site's page", "origin: http://evil.example\r\n", "origin_not_allowed", 403},
    {"a page of ours", "origin: http://127.0.0.1\r\n", "ok", 200},
};

/* What a path does not take is told, and not taken for nothing. */
static const struct {
    const char *path, *text;
    unsigned status;
} queries[] = {
    {"/network/v1/nodes?watch", "no parameter `watch`, but: from limit", 400},
    {"/network/v1/nodes?limit=1&watch=1", "unknown_parameter", 400},
    {"/network/v1/nodes?limit=ten", "whole numbers", 400},
    {"/network/v1/nodes?limit=1&from=0&", "\"next\"", 200},
    {"/network/v1/nodes?", "\"next\"", 200},
    {"/network/v1/nodes/first?limit=1", "no parameter `limit`\"", 400},
    {"/network/v1/capacity?=1", "no parameter `?`", 400},
    {"/network/v1/capacity?%22%0a", "no parameter `?`", 400},
    {"/network/v1/usage?sicne=24h", "but: since by key", 400},
    {"/readyz?verbose", "\"ready\":true", 200},
    {"/metrics?name=x", "isochrone_build_info", 200},
};

static void
check_queries(const struct e2e_gateway *g)
{
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        CHECK(page_contains(g->admin_port, queries[i].path, "", queries[i].status, queries[i].text),
              queries[i].path);
}

static void
check_explain(const struct e2e_gateway *g, const char *id)
{
    struct e2e_reply reply;
    char path[128];

    snprintf(path, sizeof(path), "/network/v1/explain/%s", id);
    CHECK(page_contains(g->admin_port, path, "", 200, "\"why\":\"chosen\""), "explain an answer");
    CHECK(page_contains(g->admin_port, path, "", 200, "\"prefill_ms\":"), "in milliseconds");
    CHECK(page_contains(g->admin_port, "/network/v1/explain/0000000000000000", "", 404,
                        "request_not_found"),
          "an id that is none");
    CHECK(page_contains(g->admin_port, "/network/v1/explain/ff00000000000001", "", 404,
                        "request_not_found"),
          "an id of a lane that is none");
    e2e_ask(g->admin_port, "POST", "/network/v1/explain", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"node\":\"first\"") != NULL, "a dry run");
    e2e_reply_fini(&reply);
    e2e_ask(g->admin_port, "POST", "/network/v1/explain", "", "{", &reply);
    CHECK(reply.status == 400, "a dry run of nonsense");
    e2e_reply_fini(&reply);
}

static void
test_pages(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .measure_hold = true};
    struct e2e_gateway g;
    struct e2e_reply reply;
    uint32_t calls;
    int fd;

    e2e_gateway_start(&g, &options,
                      "region: here\n"
                      "engines: [{name: first, url: \"http://127.0.0.1:%u\"}]\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      e2e_engine_port(engine));
    CHECK(e2e_wait_ready(&g, 1), "an engine's kind is found by asking");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    e2e_reply_fini(&reply);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_STREAM, &reply);
    calls = e2e_engine_calls(engine);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        CHECK(page_contains(g.admin_port, pages[i].path, "", 200, pages[i].text), pages[i].label);
    check_queries(&g);
    check_explain(&g, e2e_header(&reply, "x-request-id"));
    CHECK(e2e_engine_calls(engine) == calls, "looking costs no completion");
    e2e_reply_fini(&reply);
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++)
        CHECK(page_contains(g.admin_port, "/livez", guards[i].headers, guards[i].status,
                            guards[i].text),
              guards[i].label);
    fd = e2e_connect(g.admin_port);
    e2e_write(fd, "GET /livez HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    CHECK(e2e_read_until(fd, "host_not_allowed"), "a name that was bound to us");
    close(fd);
    CHECK(page_contains(g.port, "/network/v1/nodes", "", 404, "unknown_url"),
          "the public side tells nothing of nodes");
    CHECK(page_contains(g.port, "/metrics", "", 404, "unknown_url"), "nor metrics");
    e2e_gateway_stop(&g);
}

static void
test_up_side(void)
{
    const struct gateway_options options = {
        .rule = -1, .poll_ns = 50000000, .admin_on_public = true};
    struct e2e_gateway g;

    e2e_gateway_start(&g, &options, "engines: []\n");
    CHECK(page_contains(g.port, "/network/v1/nodes", "", 200, "{\"nodes\":[]"),
          "under up the admin side is on the public listener");
    CHECK(page_contains(g.port, "/readyz", "", 503,
                        "no engines are configured, and no node came by itself yet"),
          "not ready, and why");
    CHECK(page_contains(g.port, "/network/v1/nodes", "x-forwarded-for: 203.0.113.7\r\n", 404,
                        "unknown_url"),
          "but not what a proxy on this machine brings");
    e2e_gateway_stop(&g);
}

/* ---- Pages of other sites, where there are no keys. */

static const struct {
    const char *label, *host, *origin;
    unsigned status;
} visitors[] = {
    {"a program", "127.0.0.1:4141", NULL, 200},
    {"by IPv6", "[::1]:4141", NULL, 200},
    {"by name", "localhost:4141", NULL, 200},
    {"out of a container", "host.docker.internal:4141", NULL, 200},
    {"by the machine's name", "box", NULL, 200},
    {"in the local network", "box.local", NULL, 200},
    {"a name that was bound to us", "evil.example:4141", NULL, 403},
    {"a name that looks like a zone", "evillocal.example", NULL, 403},
    {"a page of this machine", "localhost:4141", "http://localhost:3000", 200},
    {"a program with an origin of its own", "localhost:4141", "app://obsidian.md", 200},
    {"a page of another site", "localhost:4141", "https://evil.example", 403},
    {"a page that hides whose it is", "localhost:4141", "null", 403},
};

static void
check_visitors(uint16_t port, bool all_come)
{
    for (size_t i = 0; i < sizeof(visitors) / sizeof(visitors[0]); i++) {
        unsigned status = all_come ? 200 : visitors[i].status;
        char text[512], wanted[32];
        int fd = e2e_connect(port);

        snprintf(text, sizeof(text),
                 "GET /v1/models HTTP/1.1\r\nhost: %s\r\n%s%s%s"
                 "connection: close\r\n\r\n",
                 visitors[i].host, visitors[i].origin != NULL ? "origin: " : "",
                 visitors[i].origin != NULL ? visitors[i].origin : "",
                 visitors[i].origin != NULL ? "\r\n" : "");
        snprintf(wanted, sizeof(wanted), "HTTP/1.1 %u ", status);
        e2e_write(fd, text);
        CHECK(e2e_read_until(fd, wanted), visitors[i].label);
        close(fd);
    }
}

static void
test_other_sites(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_gateway g;

    e2e_gateway_start(&g, &options, "engines: []\n");
    check_visitors(g.port, false);
    e2e_gateway_stop(&g);
    e2e_gateway_start(&g, &options, "auth: none\nengines: []\n");
    check_visitors(g.port, true);
    e2e_gateway_stop(&g);
}

/* ---- Reload. */

/* Reload over the network: the answer has this status and holds all these texts. */
static bool
reload_says(const struct e2e_gateway *g, unsigned status, const char *first, const char *second)
{
    struct e2e_reply reply;
    bool good;

    e2e_ask(g->admin_port, "POST", "/network/v1/reload", "", "", &reply);
    good = reply.status == status && strstr(reply.body, first) != NULL &&
           strstr(reply.body, second) != NULL;
    if (!good)
        printf("# %u %s\n", reply.status, reply.body);
    e2e_reply_fini(&reply);
    return good;
}

static void
write_config(const char *path, uint16_t first, uint16_t second, const char *more)
{
    e2e_write_file(path,
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "engines:\n"
                   "  - {name: first, url: \"http://127.0.0.1:%u\", kind: openai}\n"
                   "  - {name: second, url: \"http://127.0.0.1:%u\", kind: openai}\n"
                   "models: {m: {aliases: [engine-name]}}\n%s",
                   first, second, more);
}

static void
test_reload(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_engine *second = e2e_engine_start("engine-name", e2e_good);
    struct e2e_gateway g;
    struct e2e_reply reply;
    char path[256];

    e2e_path("gateway.yaml", path, sizeof(path));
    e2e_write_file(path,
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "engines: [{name: first, url: \"http://127.0.0.1:%u\", kind: openai}]\n",
                   e2e_engine_port(engine));
    e2e_gateway_load(&g, &options, path);
    CHECK(e2e_wait_ready(&g, 1), "one engine");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 404, "no model of this name yet");
    e2e_reply_fini(&reply);

    write_config(path, e2e_engine_port(engine), e2e_engine_port(second), "no_such_key: 1\n");
    CHECK(
        reload_says(&g, 422, "{\"reloaded\":false,", "gateway.yaml:6:1: unknown key `no_such_key`"),
        "who asks for a reload hears file, line and column");
    CHECK(page_comes(g.admin_port, "/metrics", "isochrone_reload_failures_total 1\n"),
          "an error in the file");
    CHECK(page_contains(g.admin_port, "/readyz", "", 200, "\"nodes\":1"), "keeps the old one");

    write_config(path, e2e_engine_port(engine), e2e_engine_port(second), "rule: random\n");
    CHECK(reload_says(&g, 200, "reload: rule: time -> random", "engines[second]: added (http://"),
          "and what differs");
    CHECK(page_comes(g.admin_port, "/metrics", "isochrone_reloads_total 1\n"), "a good one");
    CHECK(e2e_wait_ready(&g, 2), "brings the second engine");
    CHECK(page_contains(g.admin_port, "/network/v1/nodes/first", "", 200, "\"index\":0"),
          "the first one keeps its index");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200, "the alias is known now");
    CHECK(strncmp(e2e_header(&reply, "isochrone-reason"), "random", 6) == 0, "and the rule");
    e2e_reply_fini(&reply);

    e2e_write_file(path,
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "engines: [{name: second, url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                   "models: {m: {aliases: [engine-name]}}\n",
                   e2e_engine_port(second));
    gateway_reload(g.gateway);
    CHECK(page_comes(g.admin_port, "/metrics", "isochrone_reloads_total 2\n"), "a third one");
    CHECK(page_contains(g.admin_port, "/network/v1/nodes/first", "", 404, "node_not_found"),
          "takes the first engine out");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200 && strcmp(e2e_header(&reply, "isochrone-node"), "second") == 0,
          "the second one answers");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&g);
    e2e_engine_stop(second);
}

/* ---- Draining. */

static _Atomic bool go_on;

static bool
wait_then_finish(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"a\"}}]}\n\n");
    while (!go_on)
        usleep(1000);
    e2e_chunk(call, "data: {\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{},"
                    "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

static void
test_drain(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_gateway g;
    int fd;

    e2e_engine_script(engine, wait_then_finish);
    for (int patient = 1; patient >= 0; patient--) {
        go_on = false;
        e2e_gateway_start(&g, &options,
                          "limits: {drain: 10s}\n"
                          "engines: [{name: first, url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                          "models: {m: {aliases: [engine-name]}}\n",
                          e2e_engine_port(engine));
        CHECK(e2e_wait_ready(&g, 1), "ready");
        fd = e2e_open_request(g.port, "/v1/chat/completions", "", E2E_STREAM);
        CHECK(e2e_read_until(fd, "\"content\":\"a\""), "a stream has begun");
        gateway_stop(g.gateway);
        CHECK(page_comes(g.admin_port, "/readyz", "draining"), "not ready while it drains");
        if (patient) {
            go_on = true;
            CHECK(e2e_read_until(fd, "data: [DONE]\n\n"), "what runs may end");
        } else {
            gateway_stop(g.gateway);
            CHECK(e2e_read_until(fd, "gateway_stopping"), "the second time it is told so");
            go_on = true;
        }
        e2e_gateway_stop(&g);
        close(fd);
    }
    e2e_engine_script(engine, e2e_good);
}

/* ---- Two lanes. */

#define CLIENTS  8
#define REQUESTS 25

static struct e2e_gateway two;

static void *
client(void *failures)
{
    _Atomic int *count = failures;

    for (int i = 0; i < REQUESTS; i++) {
        struct e2e_reply reply;
        char path[128];
        e2e_ask(two.port, "POST", "/v1/chat/completions", "", i % 2 == 0 ? E2E_CHAT : E2E_STREAM,
                &reply);
        if (reply.status != 200 || !reply.whole || strstr(reply.body, "there") == NULL)
            ++*count;
        e2e_reply_fini(&reply);
        snprintf(path, sizeof(path), "%s", i % 5 == 0 ? "/metrics" : "/network/v1/capacity");
        if (i % 5 <= 1) {
            e2e_ask(two.admin_port, "GET", path, "", "", &reply);
            if (reply.status != 200)
                ++*count;
            e2e_reply_fini(&reply);
        }
    }
    return NULL;
}

/* The id of an answer tells its lane; explain finds it from the first one. */
static void
check_both_lanes(void)
{
    bool seen[2] = {false, false};

    for (int i = 0; i < 200 && !(seen[0] && seen[1]); i++) {
        struct e2e_reply reply;
        char path[128], id[17];
        e2e_ask(two.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
        snprintf(id, sizeof(id), "%.16s", e2e_header(&reply, "x-request-id"));
        e2e_reply_fini(&reply);
        snprintf(path, sizeof(path), "/network/v1/explain/%s", id);
        if (id[0] == '0' && id[1] >= '0' && id[1] <= '1' && !seen[id[1] - '0'])
            seen[id[1] - '0'] = page_contains(two.admin_port, path, "", 200, "\"why\":\"chosen\"");
    }
    CHECK(seen[0] && seen[1], "both lanes answer, and each can be asked why");
}

static void
test_two_lanes(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 20000000, .measure_hold = true};
    struct e2e_engine *second = e2e_engine_start("engine-name", e2e_good);
    pthread_t clients[CLIENTS];
    _Atomic int failures = 0;
    char path[256];

    e2e_path("two.yaml", path, sizeof(path));
    write_config(path, e2e_engine_port(engine), e2e_engine_port(second), "threads: 2\n");
    e2e_gateway_load(&two, &options, path);
    CHECK(e2e_wait_ready(&two, 2), "two lanes, two engines");
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, client, &failures);
    for (int i = 0; i < 5; i++) { /* reloads meanwhile */
        usleep(20000);
        gateway_reload(two.gateway);
        page_comes(two.admin_port, "/metrics",
                   (const char *[]){"isochrone_reloads_total 1\n", "isochrone_reloads_total 2\n",
                                    "isochrone_reloads_total 3\n", "isochrone_reloads_total 4\n",
                                    "isochrone_reloads_total 5\n"}[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    CHECK(failures == 0, "every request was answered");
    CHECK(page_contains(two.admin_port, "/metrics", "", 200, "isochrone_requests_in_flight 0\n"),
          "and none is left");
    check_both_lanes();
    e2e_gateway_stop(&two);
    e2e_engine_stop(second);
}

int
main(void)
{
    engine = e2e_engine_start("engine-name", e2e_good);
    test_pages();
    test_up_side();
    test_other_sites();
    test_reload();
    test_drain();
    test_two_lanes();
    e2e_engine_stop(engine);
    return tap_done();
}

/* e2e_keys_test - what a key may: its limits at once and a minute, over all loops; its models, its
 * class and its wishes; and what a reload changes. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_page.h"
#include "io/clock.h"
#include "tap.h"
#include "wire/keys.h"

static struct e2e_engine *engine;
static struct e2e_gateway gateway;
static char keys_path[256], config_path[256];

/* Keys sk-alice (with these limits), sk-bob (one model, no wishes, low), sk-old (expired). */
static void
write_keys(const char *limits)
{
    static const char *const names[] = {"sk-alice", "sk-bob", "sk-old"};
    char hex[3][2 * KEY_SHA256_BYTES + 1];

    for (size_t k = 0; k < 3; k++) {
        unsigned char sha256[KEY_SHA256_BYTES];
        keys_sha256(span_of(names[k]), sha256);
        for (size_t i = 0; i < sizeof(sha256); i++)
            snprintf(hex[k] + 2 * i, 3, "%02x", sha256[i]);
    }
    e2e_write_file(keys_path,
                   "keys:\n"
                   "  - {name: alice, sha256: \"%s\"%s}\n"
                   "  - {name: bob, sha256: \"%s\", priority: low, may_claim: normal, preferences: "
                   "[], models: [m]}\n"
                   "  - {name: old, sha256: \"%s\", expires: 2020-01-01}\n",
                   hex[0], limits, hex[1], hex[2]);
}

static void
start(const char *limits)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};

    write_keys(limits);
    e2e_write_file(config_path,
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "threads: 2\n"
                   "keys: file:keys.yaml\n"
                   "state: state\n"
                   "engines: [{name: one, url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                   "models: {m: {aliases: [engine-name]}, n: {}}\n",
                   e2e_engine_port(engine));
    e2e_gateway_load(&gateway, &options, config_path);
    CHECK(e2e_wait_ready(&gateway, 1), "ready");
}

static unsigned
ask(const char *key, const char *headers, const char *body, struct e2e_reply *reply)
{
    char head[512];

    snprintf(head, sizeof(head), "authorization: Bearer %s\r\n%s", key, headers);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", head, body, reply);
    return reply->status;
}

/* ---- At once. */

static _Atomic bool go_on;

static bool
wait_then_answer(struct e2e_call *call)
{
    while (!go_on)
        usleep(1000);
    return e2e_good(call);
}

static void
test_concurrency(void)
{
    struct e2e_reply reply;
    int fd[2];

    start(", concurrency: 2");
    e2e_engine_script(engine, wait_then_answer);
    for (int i = 0; i < 2; i++)
        fd[i] = e2e_open_request(gateway.port, "/v1/chat/completions",
                                 "authorization: Bearer sk-alice\r\n", E2E_CHAT);
    CHECK(e2e_metric(&gateway, "isochrone_requests_in_flight 2\n"), "two are in");
    CHECK(ask("sk-alice", "", E2E_CHAT, &reply) == 429, "a third one is not");
    CHECK(strstr(reply.body, "concurrency of the key `alice` is 2") != NULL &&
              strstr(reply.body, "\"code\":\"rate_limit_exceeded\"") != NULL &&
              strstr(reply.body, "\"param\":\"concurrency\"") != NULL,
          "it says which limit");
    CHECK(strcmp(e2e_header(&reply, "retry-after"), "1") == 0 &&
              strcmp(e2e_header(&reply, "retry-after-ms"), "1000") == 0,
          "and when to come again");
    e2e_reply_fini(&reply);
    go_on = true;
    for (int i = 0; i < 2; i++) {
        CHECK(e2e_read_until(fd[i], "hi there"), "the two are answered");
        close(fd[i]);
    }
    CHECK(ask("sk-alice", "", E2E_CHAT, &reply) == 200, "then there is room");
    CHECK(e2e_header(&reply, "x-ratelimit-limit-requests")[0] == '\0',
          "no limit a minute, no header of one");
    e2e_reply_fini(&reply);
    CHECK(e2e_metric(&gateway, "isochrone_key_refusals_total{reason=\"concurrency\"} 1\n"),
          "it is counted");
    e2e_engine_script(engine, e2e_good);
    e2e_gateway_stop(&gateway);
}

/* ---- Usage. */

static bool
usage_comes(uint16_t port, const char *path, const char *headers, const char *text)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct e2e_reply reply;
        bool good;
        e2e_ask(port, "GET", path, headers, "", &reply);
        good = reply.status == 200 && strstr(reply.body, text) != NULL;
        e2e_reply_fini(&reply);
        if (good)
            return true;
        usleep(10000);
    }
    return false;
}

/* All that the tests above used, over two gateways. */
static void
test_usage(void)
{
    int fd;

    start("");
    CHECK(usage_comes(gateway.admin_port, "/network/v1/usage?by=key,model", "",
                      "\"key\":\"alice\",\"model\":\"m\",\"requests\":"),
          "what was used before is there");
    CHECK(usage_comes(gateway.port, "/network/v1/usage?by=key", "x-api-key: sk-bob\r\n",
                      "\"rows\":[{\"key\":\"bob\","),
          "a key sees its own");
    for (unsigned i = 0; i < 12; i++) { /* more than may be under way; their clients leave */
        fd = e2e_connect(gateway.port);
        e2e_write(fd, "GET /network/v1/usage HTTP/1.1\r\nhost: a\r\nx-api-key: sk-bob\r\n\r\n");
        close(fd);
    }
    e2e_gateway_stop(&gateway);
}

/* ---- Requests a minute, asked for by many at once on both loops. */

#define CLIENTS   8
#define EACH      6
#define A_MINUTE  20
#define ITS_TEXT  ", requests_per_minute: 20"
#define REFILL_NS (UINT64_C(60000000000) / A_MINUTE)

static _Atomic int let_in, refused, odd;

static void *
client(void *argument)
{
    (void)argument;
    for (int i = 0; i < EACH; i++) {
        struct e2e_reply reply;
        unsigned status = ask("sk-alice", "", i % 2 == 0 ? E2E_CHAT : E2E_STREAM, &reply);

        let_in += status == 200;
        refused += status == 429;
        odd += status != 200 && status != 429;
        e2e_reply_fini(&reply);
    }
    return NULL;
}

static void
test_requests(void)
{
    uint64_t began_ns, took_ns;
    pthread_t clients[CLIENTS];
    struct e2e_reply reply;

    start(ITS_TEXT);
    began_ns = clock_now_ns();
    CHECK(ask("sk-alice", "", E2E_CHAT, &reply) == 200, "the first of this minute");
    CHECK(strcmp(e2e_header(&reply, "x-ratelimit-limit-requests"), "20") == 0 &&
              strcmp(e2e_header(&reply, "x-ratelimit-remaining-requests"), "19") == 0 &&
              e2e_header(&reply, "x-ratelimit-reset-requests")[0] != '\0' &&
              e2e_header(&reply, "x-ratelimit-limit-tokens")[0] == '\0',
          "the answer says how many are left");
    e2e_reply_fini(&reply);
    for (int i = 0; i < CLIENTS; i++)
        must(pthread_create(&clients[i], NULL, client, NULL) == 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    took_ns = clock_now_ns() - began_ns;
    CHECK(odd == 0 && let_in + refused == CLIENTS * EACH, "all were answered");
    CHECK(let_in >= A_MINUTE - 1 && let_in <= A_MINUTE + (int)(took_ns / REFILL_NS),
          "as many as the limit says, over both loops");
    write_keys(", requests_per_minute: 1"); /* whatever time it took: none is left of that */
    gateway_reload(gateway.gateway);
    CHECK(e2e_metric(&gateway, "isochrone_reloads_total 1\n"), "a reload");
    CHECK(ask("sk-alice", "", E2E_CHAT, &reply) == 429, "it keeps what was counted");
    CHECK(strstr(reply.body, "requests_per_minute of the key `alice` is 1") != NULL &&
              strstr(reply.body, "\"param\":\"requests_per_minute\"") != NULL &&
              strcmp(e2e_header(&reply, "x-ratelimit-remaining-requests"), "0") == 0 &&
              e2e_header(&reply, "retry-after")[0] != '\0' &&
              e2e_header(&reply, "retry-after-ms")[0] != '\0',
          "and names the new limit");
    e2e_reply_fini(&reply);
    CHECK(ask("sk-bob", "", E2E_CHAT, &reply) == 200, "another key has its own");
    e2e_reply_fini(&reply);
    write_keys("");
    gateway_reload(gateway.gateway);
    CHECK(e2e_metric(&gateway, "isochrone_reloads_total 2\n"), "a reload without it");
    CHECK(ask("sk-alice", "", E2E_CHAT, &reply) == 200, "lets her in");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&gateway);
}

/* ---- Tokens a minute. */

static const char *
left_of(const char *body)
{
    static char left[64];
    struct e2e_reply reply;

    ask("sk-alice", "", body, &reply);
    snprintf(left, sizeof(left), "%u %s", reply.status,
             e2e_header(&reply, "x-ratelimit-remaining-tokens"));
    e2e_reply_fini(&reply);
    return left;
}

#define ASKING(max_tokens)                                                                         \
    "{\"model\":\"m\",\"max_tokens\":" max_tokens                                                  \
    ",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"

static bool
stream_for_ever(struct e2e_call *call)
{
    e2e_stream_head(call);
    for (int i = 0; i < 50; i++)
        e2e_chunk(call, "data: {\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"
                        "\"content\":\"a\"}}]}\n\n");
    e2e_chunk(call, "data: {\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"enough\"}}]}\n\n");
    e2e_wait_hangup(call);
    return false;
}

/* One token is earned in 6 ms or more here: figures are compared with room for some seconds. */
static void
test_tokens(void)
{
    struct e2e_reply reply;
    unsigned status = 0, left = 0;
    int fd;

    start(", tokens_per_minute: 10000");
    CHECK(sscanf(left_of(ASKING("9000")), "%u %u", &status, &left) == 2 && status == 200 &&
              left >= 900 && left < 2000,
          "what an answer may need is taken");
    CHECK(sscanf(left_of(ASKING("9000")), "%u %u", &status, &left) == 2 && status == 200,
          "what it did not use is given back");
    CHECK(sscanf(left_of(ASKING("1000000")), "%u %u", &status, &left) == 2 && status == 429,
          "more than there is of a minute that has begun");
    e2e_engine_script(engine, stream_for_ever);
    fd = e2e_open_request(gateway.port, "/v1/chat/completions",
                          "authorization: Bearer sk-alice\r\n", E2E_STREAM);
    CHECK(e2e_read_until(fd, "enough"), "a long answer");
    close(fd);
    CHECK(e2e_metric(&gateway, "isochrone_requests_in_flight 0\n"), "whose client leaves");
    e2e_engine_script(engine, e2e_good);
    write_keys(", tokens_per_minute: 60"); /* 51 of 10000 is a part of it */
    gateway_reload(gateway.gateway);
    CHECK(e2e_metric(&gateway, "isochrone_reloads_total 1\n"), "a smaller limit");
    CHECK(ask("sk-alice", "", ASKING("60"), &reply) == 429, "it paid for what it saw");
    CHECK(strstr(reply.body, "tokens_per_minute of the key `alice` is 60") != NULL &&
              strstr(reply.body, "\"param\":\"tokens_per_minute\"") != NULL,
          "and is told which limit");
    CHECK(e2e_header(&reply, "retry-after-ms")[0] != '\0' &&
              strcmp(e2e_header(&reply, "x-ratelimit-limit-tokens"), "60") == 0,
          "and when to come again");
    e2e_reply_fini(&reply);
    CHECK(e2e_metric(&gateway, "isochrone_key_refusals_total{reason=\"tokens_per_minute\"} 2\n"),
          "counted");
    e2e_gateway_stop(&gateway);
}

/* ---- What it may claim. */

static const struct {
    const char *label, *key, *headers, *body, *granted, *contains;
    unsigned status;
} claims[] = {
    {"no wish", "sk-bob", "", E2E_CHAT, "", "", 200},
    {"a class that it may claim", "sk-bob", "x-gateway-inference-objective: normal\r\n", E2E_CHAT,
     "", "", 200},
    {"a class above", "sk-bob", "x-gateway-inference-objective: high\r\n", E2E_CHAT, "priority", "",
     200},
    {"a deadline", "sk-bob", "isochrone-deadline-ms: 1\r\n", E2E_CHAT, "deadline", "", 200},
    {"other models", "sk-bob", "",
     "{\"model\":\"none\",\"models\":[\"m\"],\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}",
     "models", "model_not_found", 404},
    {"all of it", "sk-bob", "x-gateway-inference-objective: high\r\nx-llm-d-slo-ttft-ms: 1\r\n",
     "{\"model\":\"m\",\"models\":[\"n\"],\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}",
     "priority, deadline, models", "", 200},
    {"one who may", "sk-alice", "isochrone-deadline-ms: 60000\r\n",
     "{\"model\":\"none\",\"models\":[\"m\"],\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}",
     "", "", 200},
    {"but for her class", "sk-alice", "x-gateway-inference-objective: high\r\n", E2E_CHAT,
     "priority", "", 200},
    {"a model that is not for it", "sk-bob", "",
     "{\"model\":\"n\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}", "",
     "\"code\":\"model_not_allowed\"", 403},
    {"nor as the second choice", "sk-bob", "",
     "{\"model\":\"n\",\"models\":[\"m\"],\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}",
     "models", "model_not_allowed", 403},
    {"too late", "sk-old", "", E2E_CHAT, "", "\"code\":\"expired_api_key\"", 401},
};

/* The last answer's id: why it went where it went, for its key. */
static bool
explained(const char *key, const char *id, const char *text)
{
    struct e2e_reply reply;
    char head[128], path[128];
    bool good;

    snprintf(head, sizeof(head), "x-api-key: %s\r\n", key);
    snprintf(path, sizeof(path), "/network/v1/explain/%s", id);
    e2e_ask(gateway.port, "GET", path, head, "", &reply);
    good = reply.status == 200 && strstr(reply.body, text) != NULL;
    e2e_reply_fini(&reply);
    return good;
}

static bool
models_of(const char *key, const char *path, unsigned status, const char *text)
{
    struct e2e_reply reply;
    char head[128];
    bool good;

    snprintf(head, sizeof(head), "x-api-key: %s\r\n", key);
    e2e_ask(gateway.port, "GET", path, head, "", &reply);
    good = reply.status == status && strstr(reply.body, text) != NULL;
    e2e_reply_fini(&reply);
    return good;
}

static void
test_claims(void)
{
    struct e2e_reply reply;

    start("");
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        bool good = ask(claims[i].key, claims[i].headers, claims[i].body, &reply) ==
                    claims[i].status;

        good = good && strstr(reply.body, claims[i].contains) != NULL &&
               strcmp(e2e_header(&reply, "isochrone-not-granted"), claims[i].granted) == 0;
        if (!good)
            printf("# %u %s\n# %s\n", reply.status, reply.head, reply.body);
        CHECK(good, claims[i].label);
        if (strcmp(claims[i].granted, "priority, deadline, models") == 0)
            CHECK(explained(claims[i].key, e2e_header(&reply, "x-request-id"),
                            "\"class\":\"normal\",\"not_granted\":\"priority, deadline, models\""),
                  "explain tells the same");
        e2e_reply_fini(&reply);
    }
    write_keys(", models: [n]");
    gateway_reload(gateway.gateway);
    CHECK(e2e_metric(&gateway, "isochrone_reloads_total 1\n"), "a reload that takes a model away");
    CHECK(models_of("sk-bob", "/v1/models", 200, "\"id\":\"m\""), "models are those of the key");
    CHECK(models_of("sk-alice", "/v1/models", 200, "\"data\":[]"), "and no others");
    CHECK(models_of("sk-alice", "/v1/models/m", 404, "model_not_found"), "nor by name");
    CHECK(models_of("sk-old", "/v1/models", 401, "expired_api_key"), "nor after its time");
    CHECK(e2e_metric(&gateway, "isochrone_key_refusals_total{reason=\"model\"} 2\n") &&
              e2e_metric(&gateway, "isochrone_key_refusals_total{reason=\"expired\"} 2\n"),
          "all of it is counted");
    e2e_gateway_stop(&gateway);
}

int
main(void)
{
    e2e_path("keys.yaml", keys_path, sizeof(keys_path));
    e2e_path("gateway.yaml", config_path, sizeof(config_path));
    engine = e2e_engine_start("engine-name", e2e_good);
    test_concurrency();
    test_requests();
    test_tokens();
    test_claims();
    test_usage();
    e2e_engine_stop(engine);
    return tap_done();
}

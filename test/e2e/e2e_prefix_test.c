/* e2e_prefix_test - prompts with one beginning, between two emulated engines on real sockets: the
 * gateway sends them where that beginning is cached, the engine finds it there, and one tenant
 * learns nothing of what another one asked. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "e2e.h"
#include "role/emulate/emulate.h"
#include "role/emulate/emulate_fleet.h"
#include "tap.h"
#include "wire/keys.h"

#define SYSTEM_BYTES 20000u

static struct e2e_gateway gateway;
static struct emulate_options fleet_options;
static struct emulate_fleet fleet;
static _Atomic bool stopping;
static _Atomic uint32_t fleet_port;

/* ---- The engines: two of a fleet that have the same model ready. */

static void *
run_fleet(void *unused)
{
    struct loop *loop;
    struct emulate *e;

    (void)unused;
    must(loop_open(&loop) == ERR_OK);
    must(emulate_open(loop, &fleet_options, &e) == ERR_OK);
    atomic_store(&fleet_port, emulate_port(e));
    while (!atomic_load(&stopping))
        loop_pass(loop, 10000000);
    emulate_close(e);
    loop_close(loop);
    return NULL;
}

static bool
is_good(const struct emulate_fleet_node *n, uint32_t model)
{
    return n->kind == EMULATE_FLEET_VLLM && n->held[0].model == model &&
           n->held[0].state == ENGINE_MODEL_READY;
}

static void
pick(const struct emulate_fleet_node *ret_pair[2])
{
    for (uint32_t model = 0; model < EMULATE_FLEET_MODELS; model++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < fleet.node_count && count < 2; i++) {
            if (is_good(&fleet.nodes[i], model))
                ret_pair[count++] = &fleet.nodes[i];
        }
        if (count == 2)
            return;
    }
    must(false);
}

static void
start_gateway(const struct emulate_fleet_node *const pair[2], const char *keys_path)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};

    e2e_gateway_start(&gateway, &options,
                      "keys: file:%s\nregion: here\n"
                      "engines:\n"
                      "  - {name: one, url: \"http://127.%u.%u.%u:%u\", kind: vllm}\n"
                      "  - {name: two, url: \"http://127.%u.%u.%u:%u\", kind: vllm}\n"
                      "models: {m: {aliases: [\"%s\"]}}\n",
                      keys_path, pair[0]->address >> 16 & 255, pair[0]->address >> 8 & 255,
                      pair[0]->address & 255, atomic_load(&fleet_port),
                      pair[1]->address >> 16 & 255, pair[1]->address >> 8 & 255,
                      pair[1]->address & 255, atomic_load(&fleet_port),
                      emulate_fleet_model_id(pair[0], pair[0]->held[0].model));
}

/* ---- Questions. */

/* A long system prompt, and a short question of its own. */
static void
chat_body(char *body, size_t size, unsigned question)
{
    size_t at = (size_t)snprintf(body, size,
                                 "{\"model\":\"m\",\"max_tokens\":4,\"messages\":[{\"role\":"
                                 "\"system\",\"content\":\"");

    for (unsigned i = 0; at < SYSTEM_BYTES; i++)
        at += (size_t)snprintf(body + at, size - at, "Rule %u: be of use.\\n", i);
    snprintf(body + at, size - at, "\"},{\"role\":\"user\",\"content\":\"Question %u\"}]}",
             question);
}

static double
number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? -1.0 : strtod(at + strlen(name), NULL);
}

/* The names of keys are their own secrets. */
static void
put_key(FILE *file, const char *name)
{
    unsigned char sha256[KEY_SHA256_BYTES];

    keys_sha256(span_of(name), sha256);
    fprintf(file, "  - {name: %s, sha256: \"", name);
    for (size_t i = 0; i < sizeof(sha256); i++)
        fprintf(file, "%02x", sha256[i]);
    fputs("\"}\n", file);
}

static void
ask(const char *key, unsigned question, struct e2e_reply *ret_reply)
{
    static char body[SYSTEM_BYTES + 1024];
    char headers[128];

    chat_body(body, sizeof(body), question);
    snprintf(headers, sizeof(headers), "authorization: Bearer %s\r\n", key);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", headers, body, ret_reply);
}

/* What its decision says, as who asked may see it. */
static void
explain(const char *key, const struct e2e_reply *of, struct e2e_reply *ret_reply)
{
    char path[128], headers[128];

    snprintf(path, sizeof(path), "/network/v1/explain/%s", e2e_header(of, "x-request-id"));
    snprintf(headers, sizeof(headers), "authorization: Bearer %s\r\n", key);
    e2e_ask(gateway.port, "GET", path, headers, "", ret_reply);
}

static void
test_hits(void)
{
    struct e2e_reply reply, why;
    char home[64];

    ask("alice", 1, &reply);
    CHECK(reply.status == 200 && number_after(reply.body, "\"cached_tokens\":") == 0.0,
          "the first one is read whole");
    snprintf(home, sizeof(home), "%s", e2e_header(&reply, "isochrone-node"));
    e2e_reply_fini(&reply);
    for (unsigned question = 2; question < 6; question++) {
        ask("alice", question, &reply);
        CHECK(strcmp(e2e_header(&reply, "isochrone-node"), home) == 0,
              "the next with this beginning goes where it is");
        CHECK(number_after(reply.body, "\"cached_tokens\":") > SYSTEM_BYTES / 4.2 * 0.9,
              "and there it is");
        explain("alice", &reply, &why);
        CHECK(number_after(why.body, "\"hit_tokens\":") > SYSTEM_BYTES / 4.2 * 0.8,
              "as it was expected");
        CHECK(number_after(why.body, "\"stick_ms\":") > 0.0, "and taken into account");
        e2e_reply_fini(&why);
        e2e_reply_fini(&reply);
    }
}

static void
test_tenants(void)
{
    struct e2e_reply reply, why;

    ask("bob", 1, &reply);
    CHECK(reply.status == 200, "another key asks the same");
    explain("bob", &reply, &why);
    CHECK(number_after(why.body, "\"hit_tokens\":") == 0.0,
          "and is not told that somebody did before");
    e2e_reply_fini(&why);
    e2e_reply_fini(&reply);
}

static void
test_metrics(void)
{
    struct e2e_reply reply;
    double hit, cached;

    e2e_ask(gateway.admin_port, "GET", "/metrics", "", "", &reply);
    hit = number_after(reply.body, "\nisochrone_prefix_hit_tokens_total ");
    cached = number_after(reply.body, "\nisochrone_prefix_cached_tokens_total ");
    CHECK(hit > 0.8 * 4 * SYSTEM_BYTES / 4.2, "what was expected is counted");
    CHECK(cached > hit * 0.8 && cached < hit * 1.5, "beside what was found");
    CHECK(number_after(reply.body, "\nisochrone_prefix_entries ") >= 19.0, "and what is known");
    e2e_reply_fini(&reply);
}

int
main(void)
{
    const struct emulate_fleet_node *pair[2];
    char path[256];
    pthread_t thread;
    FILE *keys;

    emulate_options_init(&fleet_options);
    fleet_options.seed = 7;
    fleet_options.nodes = 24;
    fleet_options.regions = 1;
    fleet_options.port = 0;
    must(emulate_fleet_init(&fleet, &fleet_options) == ERR_OK);
    pick(pair);
    must(pthread_create(&thread, NULL, run_fleet, NULL) == 0);
    while (atomic_load(&fleet_port) == 0)
        ;
    keys = fopen(e2e_path("keys.yaml", path, sizeof(path)), "w");
    must(keys != NULL);
    fputs("keys:\n", keys);
    put_key(keys, "alice");
    put_key(keys, "bob");
    must(fclose(keys) == 0);
    start_gateway(pair, path);
    CHECK(e2e_wait_ready(&gateway, 2), "both are ready");
    test_hits();
    test_tenants();
    test_metrics();
    e2e_gateway_stop(&gateway);
    atomic_store(&stopping, true);
    must(pthread_join(thread, NULL) == 0);
    emulate_fleet_fini(&fleet);
    return tap_done();
}

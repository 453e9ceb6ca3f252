/* e2e_prefix_test - prompts with one beginning, between two emulated engines on real sockets: the
 * gateway sends them where that beginning is cached, the engine finds it there, and one tenant
 * learns nothing of what another one asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_fleet.h"
#include "e2e_page.h"
#include "tap.h"
#include "wire/keys.h"

#define SYSTEM_BYTES 20000u

static struct e2e_gateway gateway;

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
    CHECK(reply.status == 200 && e2e_number(reply.body, "\"cached_tokens\":") == 0.0,
          "the first one is read whole");
    snprintf(home, sizeof(home), "%s", e2e_header(&reply, "isochrone-node"));
    e2e_reply_fini(&reply);
    for (unsigned question = 2; question < 6; question++) {
        ask("alice", question, &reply);
        CHECK(strcmp(e2e_header(&reply, "isochrone-node"), home) == 0,
              "the next with this beginning goes where it is");
        CHECK(e2e_number(reply.body, "\"cached_tokens\":") > SYSTEM_BYTES / 4.2 * 0.9,
              "and there it is");
        explain("alice", &reply, &why);
        CHECK(e2e_number(why.body, "\"hit_tokens\":") > SYSTEM_BYTES / 4.2 * 0.8,
              "as it was expected");
        CHECK(e2e_number(why.body, "\"stick_ms\":") > 0.0, "and taken into account");
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
    CHECK(e2e_number(why.body, "\"hit_tokens\":") == 0.0,
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
    hit = e2e_number(reply.body, "\nisochrone_prefix_hit_tokens_total ");
    cached = e2e_number(reply.body, "\nisochrone_prefix_cached_tokens_total ");
    CHECK(hit > 0.8 * 4 * SYSTEM_BYTES / 4.2, "what was expected is counted");
    CHECK(cached > hit * 0.8 && cached < hit * 1.5, "beside what was found");
    CHECK(e2e_number(reply.body, "\nisochrone_prefix_entries ") >= 19.0, "and what is known");
    e2e_reply_fini(&reply);
}

int
main(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_fleet *fleet = e2e_fleet_start(0.0);
    char path[256], more[300];
    uint32_t pair[2];
    FILE *keys;

    keys = fopen(e2e_path("keys.yaml", path, sizeof(path)), "w");
    must(keys != NULL);
    fputs("keys:\n", keys);
    put_key(keys, "alice");
    put_key(keys, "bob");
    must(fclose(keys) == 0);
    snprintf(more, sizeof(more), "keys: file:%s\n", path);
    pair[0] = e2e_fleet_find(fleet, NULL, 0);
    pair[1] = e2e_fleet_find(fleet, NULL, pair[0] + 1);
    e2e_fleet_gateway(fleet, pair, 2, &options, more, 0, &gateway);
    test_hits();
    test_tenants();
    test_metrics();
    e2e_gateway_stop(&gateway);
    e2e_fleet_stop(fleet);
    return tap_done();
}

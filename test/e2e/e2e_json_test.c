/* e2e_json_test - whole answers through a gateway: what reaches the engine, what comes back, and
 * how each bad request is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"
#include "tap.h"
#include "wire/keys.h"

static struct e2e_gateway gateway;
static struct e2e_engine *engine;

static void
test_through(void)
{
    struct e2e_reply reply;
    char head[8192], body[8192];

    e2e_ask(
        gateway.port, "POST", "/v1/chat/completions",
        "authorization: Bearer sk-client-secret\r\nx-api-key: sk-other-secret\r\ncookie: a=b\r\n"
        "x-conversation-id: 77\r\nx-request-id: mine-1\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "{\"temperature\":0.5, "
        "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"}]}",
        &reply);
    CHECK(reply.status == 200 && reply.whole, "a whole answer");
    CHECK(strstr(reply.body, "\"model\":\"m\"") != NULL, "the client's name of the model is back");
    CHECK(strstr(reply.body, "engine-name") == NULL, "the engine's name is not seen");
    CHECK(strstr(reply.body, "\"content\":\"hi there\"") != NULL, "the content is");
    CHECK(strlen(e2e_header(&reply, "x-request-id")) == 16, "our request id");
    CHECK(strcmp(e2e_header(&reply, "isochrone-client-request-id"), "mine-1") == 0,
          "the client's id is echoed beside it");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), "first") == 0, "which node");
    CHECK(strcmp(e2e_header(&reply, "isochrone-region"), "here") == 0, "which region");
    CHECK(strcmp(e2e_header(&reply, "isochrone-attempts"), "1") == 0, "how many attempts");
    CHECK(strstr(e2e_header(&reply, "isochrone-reason"), "time") != NULL, "why");
    CHECK(strstr(e2e_header(&reply, "server-timing"), "route;dur=") != NULL, "and how long");
    e2e_reply_fini(&reply);

    e2e_engine_last(engine, head, body, sizeof(body));
    CHECK(strcmp(body, "{\"temperature\":0.5, \"model\":\"engine-name\",\"messages\":[{\"role\":"
                       "\"user\",\"content\":\"h\"}]}") == 0,
          "only the model's name is exchanged in the body");
    CHECK(strstr(head, "secret") == NULL, "the client's keys do not reach the engine");
    CHECK(strcasestr(head, "cookie") == NULL, "nor its cookies");
    CHECK(strcasestr(head, "conversation") == NULL, "nor what makes llama-server go on");
    CHECK(strcasestr(head, "authorization: Bearer engine-key\r\n") != NULL,
          "our key towards the engine does");
    CHECK(strstr(head, "0af7651916cd43dd8448eb211c80319c") != NULL, "and the trace");
}

static void
test_alias(void)
{
    struct e2e_reply reply;

    e2e_ask(gateway.port, "POST", "/v1/completions", "",
            "{\"prompt\":\"x\",\"model\":\"other/M\\u002d1\"}", &reply);
    CHECK(reply.status == 200, "an alias is the model");
    CHECK(strstr(reply.body, "\"model\":\"other/M\\u002d1\"") != NULL,
          "the name comes back as it was written");
    e2e_reply_fini(&reply);
}

static const struct {
    const char *label, *method, *path, *body;
    unsigned status;
    const char *contains;
} refusals[] = {
    {"malformed JSON", "POST", "/v1/chat/completions", "{\n  \"model\": }", 400, "line 2"},
    {"duplicate key", "POST", "/v1/chat/completions",
     "{\"model\":\"m\",\"model\":\"m\",\"messages\":[]}", 400, "model"},
    {"no messages", "POST", "/v1/chat/completions", "{\"model\":\"m\"}", 400, "messages"},
    {"unknown model", "POST", "/v1/chat/completions", "{\"model\":\"zzz\",\"messages\":[]}", 404,
     "\"code\":\"model_not_found\""},
    {"a model nobody has", "POST", "/v1/chat/completions", "{\"model\":\"idle\",\"messages\":[]}",
     503, "\"code\":\"no_node\""},
    {"wrong path", "GET", "/v2/x", "", 404, "\"code\":\"unknown_url\""},
    {"wrong method", "GET", "/v1/chat/completions", "", 405, "method_not_allowed"},
    {"body too large", "POST", "/v1/chat/completions", NULL, 413, "limits.body_bytes_max"},
};

static void
test_refusals(void)
{
    char *large = calloc(1, 40001);

    memset(large, ' ', 40000);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct e2e_reply reply;
        e2e_ask(gateway.port, refusals[i].method, refusals[i].path, "",
                refusals[i].body != NULL ? refusals[i].body : large, &reply);
        CHECK(reply.status == refusals[i].status, refusals[i].label);
        CHECK(strncmp(reply.body, "{\"error\":{\"message\":", 20) == 0, refusals[i].label);
        CHECK(strstr(reply.body, refusals[i].contains) != NULL, refusals[i].label);
        e2e_reply_fini(&reply);
    }
    free(large);
}

static void
test_models(void)
{
    struct e2e_reply reply;

    e2e_ask(gateway.port, "GET", "/v1/models", "", "", &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"id\":\"m\"") != NULL, "models are listed");
    CHECK(strstr(reply.body, "idle") == NULL, "those without a node are not");
    CHECK(strstr(reply.body, "engine-name") == NULL, "nor engines' names");
    e2e_reply_fini(&reply);
    e2e_ask(gateway.port, "GET", "/v1/models/other%2FM-1", "", "", &reply);
    CHECK(reply.status == 200, "an alias can be asked for");
    e2e_reply_fini(&reply);
}

static bool
engine_complains(struct e2e_call *call)
{
    e2e_json(call, 400, "", "{\"error\":{\"message\":\"context too long\",\"n_ctx\":4096}}");
    return true;
}

static void
test_complaint(void)
{
    struct e2e_reply reply;
    uint32_t before = e2e_engine_calls(engine);

    e2e_engine_script(engine, engine_complains);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 400, "the engine's status is passed on");
    CHECK(strcmp(reply.body, "{\"error\":{\"message\":\"context too long\",\"n_ctx\":4096}}") == 0,
          "and its words, unwrapped");
    CHECK(e2e_engine_calls(engine) == before + 1, "and nobody else is asked");
    e2e_reply_fini(&reply);
    e2e_engine_script(engine, e2e_good);
}

static void
test_keys(void)
{
    struct e2e_gateway guarded;
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_reply reply;
    unsigned char sha256[KEY_SHA256_BYTES];
    char path[256], hex[2 * KEY_SHA256_BYTES + 1], explain[128];

    keys_sha256(span_of("sk-alice"), sha256);
    for (size_t i = 0; i < sizeof(sha256); i++)
        snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    e2e_path("keys.yaml", path, sizeof(path));
    e2e_write_file(path, "keys:\n  - {name: alice, sha256: \"%s\", tokens_per_minute: 9}\n", hex);
    e2e_gateway_start(&guarded, &options,
                      "keys: file:%s\nengines: [{url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      path, e2e_engine_port(engine));
    CHECK(e2e_wait_ready(&guarded, 1), "the guarded gateway is ready");
    e2e_ask(guarded.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 401 && strstr(reply.body, "missing_api_key") != NULL, "no key");
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "POST", "/v1/chat/completions", "x-api-key: sk-bob\r\n", E2E_CHAT,
            &reply);
    CHECK(reply.status == 401 && strstr(reply.body, "invalid_api_key") != NULL, "a wrong key");
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "GET", "/v1/models", "", "", &reply);
    CHECK(reply.status == 401, "models need a key too");
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "POST", "/v1/chat/completions", "authorization: bearer sk-alice\r\n",
            E2E_CHAT, &reply);
    CHECK(reply.status == 200, "a right key");
    snprintf(explain, sizeof(explain), "/network/v1/explain/%s",
             e2e_header(&reply, "x-request-id"));
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "GET", explain, "x-api-key: sk-alice\r\n", "", &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"why\":\"chosen\"") != NULL,
          "the key that asked may see why");
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "GET", explain, "", "", &reply);
    CHECK(reply.status == 401, "nobody else");
    e2e_reply_fini(&reply);
    e2e_ask(guarded.port, "POST", "/v1/chat/completions", "x-api-key: sk-alice\r\n", E2E_CHAT,
            &reply);
    CHECK(reply.status == 429 && e2e_header(&reply, "retry-after")[0] != '\0',
          "the tokens of this minute are used up");
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&guarded);
}

int
main(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};

    engine = e2e_engine_start("engine-name", e2e_good);
    e2e_gateway_start(&gateway, &options,
                      "region: here\nlimits: {body_bytes_max: 32KiB}\n"
                      "engines: [{name: first, url: \"http://127.0.0.1:%u\", kind: openai, key: "
                      "engine-key}]\n"
                      "models: {m: {aliases: [engine-name, other/M-1]}, idle: {}}\n",
                      e2e_engine_port(engine));
    CHECK(e2e_wait_ready(&gateway, 1), "ready");
    test_through();
    test_alias();
    test_refusals();
    test_models();
    test_complaint();
    e2e_gateway_stop(&gateway);
    test_keys();
    e2e_engine_stop(engine);
    return tap_done();
}

/* config_node_test - a node's configuration: what it says, and every way in which it is wrong. */
#include "wire/config_node.h"

#include "tap.h"

#define ARENA_BYTES (8u << 20)
#define KEY         "\"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\""
#define OTHER_KEY   "\"ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\""
#define PIN         "\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\""
#define LEAST       "key: file:k\nidentity: file:i\nengines: [{url: \"http://a\"}]\n"
#define GATEWAYS    "gateways: [{name: g, key: " KEY ", may: [infer]}]\n"

static struct arena arena;
static struct config_node node;
static struct config_problems problems;

static enum err
parse(const char *yaml)
{
    arena_fini(&arena);
    arena_init(&arena, ARENA_BYTES);
    return config_node_parse(span_of(yaml), NULL, NULL, &arena, &node, &problems);
}

static void
check_whole(void)
{
    CHECK(parse("name: ams1-gpu0\n"
                "region: eu-west\n"
                "listen: {public: \"0.0.0.0:8443\", tls: {cert: file:c, key: file:d}}\n"
                "key: file:node.key\n"
                "identity: file:node.identity\n"
                "labels: {site: ams1, gpu: \"H100 80GB\"}\n"
                "gateways:\n"
                "  - {name: ams-gw, key: " KEY ", may: [infer, load, drain], pin: " PIN "}\n"
                "  - {name: fra-gw, key: " OTHER_KEY ", may: [load], url: \"https://fra:8443\", "
                "url_pin: " PIN ", client_cert: file:c, client_key: file:d}\n"
                "guard: {requests_max: 256, tokens_max: 400000, loading: 5m, waiting: 5s}\n"
                "memory: 80GiB\n"
                "models: {\"qwen3:8b\": {bytes: 5GiB}, other: {}}\n"
                "engines: [{url: \"http://127.0.0.1:8000\", kind: vllm}]\n"
                "bus: {nats: \"nats://bus:4222\", nkey: file:n}\n"
                "limits: {idle: 30s}\n"
                "state: /var/lib/isochrone\nkeys: file:gateways.yaml\n") == ERR_OK,
          "every key");
    for (size_t i = 0; i < problems.count; i++)
        printf("# %u:%u: %s\n", problems.list[i].line, problems.list[i].column,
               problems.list[i].text);
    CHECK(problems.count == 0, "nothing to say");
    CHECK(span_eq_text(node.name, "ams1-gpu0") && span_eq_text(node.key_file, "node.key") &&
              span_eq_text(node.identity_file, "node.identity"),
          "who it is");
    CHECK(node.memory_bytes == 80ull << 30 && node.model_count == 2 &&
              span_eq_text(node.models[0].name, "qwen3:8b") && node.models[0].bytes == 5ull << 30 &&
              node.models[1].bytes == 0,
          "room for weights, and their size");
    CHECK(node.labels.count == 2 && span_eq_text(node.labels.list[0].name, "gpu") &&
              span_eq_text(node.labels.list[0].value, "H100 80GB"),
          "labels, sorted");
    CHECK(node.base.gateway_count == 2 &&
              node.base.gateways[0].may ==
                  (DIRECTIVE_MAY_INFER | DIRECTIVE_MAY_LOAD | DIRECTIVE_MAY_DRAIN) &&
              node.base.gateways[1].may == DIRECTIVE_MAY_LOAD &&
              node.base.gateways[1].key.bytes[0] == 0x3d && node.base.gateways[0].pin.bytes > 0,
          "gateways");
    CHECK(node.base.gateways[0].at.url.bytes == 0 &&
              span_eq_text(node.base.gateways[1].at.name, "fra-gw") &&
              span_eq_text(node.base.gateways[1].at.host, "fra") &&
              node.base.gateways[1].at.port == 8443 && node.base.gateways[1].at.tls &&
              node.base.gateways[1].at.pin.bytes > 0 &&
              span_eq_text(node.base.gateways[1].at.client_key_file, "d"),
          "where one is told over HTTP");
    CHECK(node.guard_requests_max == 256 && node.guard_tokens_max == 400000 &&
              node.guard_loading_ns == 300000000000u && node.guard_waiting_ns == 5000000000u,
          "its guard");
    CHECK(node.base.engine_count == 1 && node.base.bus.nats_count == 1 &&
              node.base.idle_ns == 30000000000u &&
              span_eq_text(node.base.keys_file, "gateways.yaml") &&
              span_eq_text(node.base.region, "eu-west") && !node.base.unbuilt,
          "and what a gateway has, too");
}

static void
check_least(void)
{
    CHECK(parse(LEAST) == ERR_OK && problems.count == 1 && problems.list[0].warning &&
              strstr(problems.list[0].text, "no gateways") != NULL,
          "the least, with a warning");
    CHECK(span_eq_text(node.base.public_listen, "127.0.0.1:4143") &&
              span_eq_text(node.base.admin_listen, "127.0.0.1:4144") &&
              node.guard_requests_max == 0 && node.guard_loading_ns == 120000000000u &&
              node.guard_waiting_ns == 30000000000u,
          "and defaults");
    CHECK(parse("key: file:k\nidentity: file:i\nengines: []\n" GATEWAYS) == ERR_PARSE &&
              strstr(problems.list[0].text, "needs an engine") != NULL,
          "no engine is too few");
    CHECK(parse("") == ERR_PARSE && problems.errors == 2,
          "an empty file lacks a key and an engine");
    CHECK(parse(LEAST GATEWAYS "listen: {public: \"0.0.0.0:1\"}\nauth: none\n") == ERR_OK,
          "off loopback, for everybody");
    CHECK(parse(LEAST GATEWAYS "listen: {public: \"0.0.0.0:1\", tls: {cert: file:c, key: file:d, "
                               "client_ca: file:e}}\n") == ERR_OK,
          "off loopback, for whom the CA knows");
}

/* One row: a file with one error, behind LEAST, which has three lines. */
static const struct {
    const char *yaml;
    uint32_t line, column;
    const char *words;
} bad[] = {
    {"gatewaays: []", 4, 1, "did you mean `gateways`?"},
    {"rule: time", 4, 1, "unknown key `rule`"},
    {"models: []", 4, 9, "models are up to 256 names"},
    {"models: {m: {size: 3GiB}}", 4, 14, "unknown key `size`"},
    {"models: {m: {bytes: 0}}", 4, 21, "too small"},
    {"memory: lots", 4, 9, "is not a size"},
    {"name: A", 4, 7, "`A` is not a name"},
    {"labels: [a]", 4, 9, "labels are names with texts"},
    {"labels: {A: b}", 4, 13, "a label is a name"},
    {"labels: {a: [b]}", 4, 13, "a label is a name"},
    {"labels: {a: 'x\"y'}", 4, 13, "a label is a name"},
    {"gateways: {}", 4, 11, "gateways are a list of up to 64"},
    {"gateways: [a]", 4, 12, "a gateway must be keys"},
    {"gateways: [{name: g, key: " KEY "}]", 4, 12, "needs a name, its key, and what it may"},
    {"gateways: [{name: g, key: k, may: []}]", 4, 27, "64 digits"},
    {"gateways: [{name: g, key: " KEY ", may: infer}]", 4, 108, "may is a list"},
    {"gateways: [{name: g, key: " KEY ", may: [all]}]", 4, 109, "infer, load or drain"},
    {"gateways: [{name: g, key: " KEY ", may: [load], pin: x}]", 4, 121, "SHA-256 of the public"},
    {"gateways: [{name: g, key: " KEY ", may: []}, {name: g, key: " OTHER_KEY ", may: []}]", 4, 120,
     "the gateway's name `g` is used twice"},
    {"gateways: [{name: g, key: " KEY ", may: []}, {name: h, key: " KEY ", may: []}]", 4, 128,
     "the gateway's key"},
    {"gateways: [{name: g, key: " KEY ", may: [infer], pin: " PIN "}]", 1, 1, "is about TLS"},
    {"gateways: [{name: g, key: " KEY ", may: [], url: \"http://a/b\"}]", 4, 117,
     "the address of a gateway"},
    {"gateways: [{name: g, key: " KEY ", may: [], url: \"http://a\", url_pin: " PIN "}]", 4, 129,
     "`url_pin` is about TLS"},
    {"gateways: [{name: g, key: " KEY ", may: [], url: \"https://a\", url_pin: " PIN
     ", ca: file:a}]",
     4, 130, "`url_pin` is instead of a CA"},
    {"gateways: [{name: g, key: " KEY ", may: [], url: \"https://a\", client_cert: file:a}]", 4,
     130, "client_cert and client_key go together"},
    {"guard: {requests_max: 0}", 4, 23, "too small"},
    {"guard: {loading: 2h}", 4, 18, "too large"},
    {"guard: {waiting: 2h}", 4, 18, "too large"},
    {"guard: {tokens_max: x}", 4, 21, "not a whole number"},
    {"guard: 3", 4, 8, "guard must be keys"},
    {"bus: {nkey: file:n}", 4, 6, "a bus needs a server"},
    {"listen: {public: \"0.0.0.0:1\"}", 4, 18, "who calls is not known"},
    {GATEWAYS "listen: {public: \"0.0.0.0:1\", tls: {cert: file:c, key: file:d}}", 5, 18,
     "who calls is not known"},
    {"listen: {public: \"0.0.0.0:1\", tls: {cert: file:c, key: file:d, client_ca: file:e, "
     "client_auth: optional}}",
     4, 18, "who calls is not known"},
    {"listen: {admin: \"0.0.0.0:1\", admin_tls: none}", 4, 17, "admin_token"},
    {"engines: []", 4, 1, "engines"},
};

static void
check_bad(void)
{
    char text[1024];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct config_problem *p = NULL;

        snprintf(text, sizeof(text), "%s%s\n", LEAST, bad[i].yaml);
        CHECK(parse(text) == ERR_PARSE, "is refused");
        for (size_t k = 0; k < problems.count && p == NULL; k++)
            p = problems.list[k].warning ? NULL : &problems.list[k];
        if (p == NULL)
            continue;
        if (p->line != bad[i].line || p->column != bad[i].column ||
            strstr(p->text, bad[i].words) == NULL)
            printf("# %u:%u: %s\n", p->line, p->column, p->text);
        CHECK(problems.errors == 1 && p->line == bad[i].line && p->column == bad[i].column &&
                  strstr(p->text, bad[i].words) != NULL,
              bad[i].words);
    }
}

static void
check_is(void)
{
    arena_fini(&arena);
    arena_init(&arena, ARENA_BYTES);
    CHECK(config_node_is(SPAN_LIT(GATEWAYS), &arena), "a node's");
    CHECK(config_node_is(SPAN_LIT("key: file:k\nidentity: file:i\n"), &arena), "this, too");
    CHECK(!config_node_is(SPAN_LIT("engines: []\nregion: a\n"), &arena), "a gateway's");
    CHECK(!config_node_is(SPAN_LIT("key: file:k\ngateways: [{name: b, url: http://b}]\n"), &arena),
          "a gateway's that tells others");
    CHECK(!config_node_is(SPAN_LIT(""), &arena) && !config_node_is(SPAN_LIT("gateways: ["), &arena),
          "nothing, and no YAML");
}

int
main(void)
{
    check_whole();
    check_least();
    check_bad();
    check_is();
    arena_fini(&arena);
    return tap_done();
}

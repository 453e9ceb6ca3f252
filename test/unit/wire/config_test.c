/* config_test - the sample of the documentation, every key, and what is said about what is wrong.
 */
#include "wire/config.h"

#include <math.h>

#include "tap.h"

#define ARENA_BYTES (8u << 20)

#define RECORD   "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OPERATOR "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

static const char sample[] =
    "listen: {public: 0.0.0.0:4141, admin: 127.0.0.1:4142, tls: {cert: "
    "file:/etc/isochrone/tls.crt, "
    "key: file:/etc/isochrone/tls.key}}\n"
    "region: eu-west\n"
    "upstream_bind: 10.0.0.1\n"
    "keys: file:/etc/isochrone/keys.yaml          # hashed at rest\n"
    "limits: {body_bytes_max: 64MiB, buffers_bytes_max: 1GiB, connect: 2s, first_byte: 120s, idle: "
    "60s}\n"
    "rule: time                                    # time | nearest | least_request\n"
    "slo: {ttft_p90: 1s, tpot_p90: 60ms}\n"
    "bus: {nats: nats://bus.example:4222, nkey: file:/etc/isochrone/bus.nkey}\n"
    "operators: {trust: [" OPERATOR "]}\n"
    "models:\n"
    "  llama-3.1-8b: {aliases: [\"llama3.1:8b\", \"meta-llama/Llama-3.1-8B-Instruct\"], accept: "
    "{quantization: [bf16, fp8]}}\n"
    "engines:\n"
    "  - {name: ams1-gpu0, url: \"http://10.0.0.5:8000\", key: file:/etc/isochrone/vllm.key, "
    "region: "
    "eu-west, operator: acme, site: ams1}\n"
    "  - {url: \"https://gpu7.example:8443\", pin: "
    "\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\", region: us-east, operator: "
    "bolt}\n";

static const char *
environment(const char *name, void *user)
{
    (void)user;
    if (strcmp(name, "REGION") == 0)
        return "us-east";
    if (strcmp(name, "SECRET") == 0)
        return "s3cret value";
    if (strcmp(name, "EMPTY") == 0)
        return "";
    if (strcmp(name, "TWO_LINES") == 0)
        return "a\nb";
    return NULL;
}

static struct arena arena;
static struct config config;
static struct config_problems problems;

static enum err
parse(const char *yaml)
{
    arena_fini(&arena);
    arena_init(&arena, ARENA_BYTES);
    return config_parse(span_of(yaml), environment, NULL, &arena, &config, &problems);
}

static void
check_sample(void)
{
    static const char *const unbuilt[] = {"`accept`"};
    const struct config_engine *e;

    CHECK(parse(sample) == ERR_OK && problems.errors == 0, "the sample");
    CHECK(config.unbuilt && problems.count == 1, "one key of a part that is not built yet");
    for (size_t i = 0; i < problems.count && i < 1; i++) {
        CHECK(problems.list[i].warning, "are warnings");
        CHECK(strstr(problems.list[i].text, unbuilt[i]) != NULL, "and are named, in order");
    }
    CHECK(span_eq_text(config.public_listen, "0.0.0.0:4141"), "listen.public");
    CHECK(span_eq_text(config.region, "eu-west"), "region");
    CHECK(span_eq_text(config.upstream_bind, "10.0.0.1"), "upstream_bind");
    CHECK(span_eq_text(config.keys_file, "/etc/isochrone/keys.yaml"), "keys");
    CHECK(config.bus.nats_count == 1 &&
              span_eq_text(config.bus.nats[0], "nats://bus.example:4222") &&
              span_eq_text(config.bus.nkey_file, "/etc/isochrone/bus.nkey"),
          "bus");
    CHECK(config.operators.trust_count == 1 && config.operators.trust[0].bytes[0] == 0xd7,
          "operators");
    CHECK(config.first_byte_ns == 120000000000u && config.connect_ns == 2000000000u, "limits");
    CHECK(config.ttft_goal_ms == 1000.0 && config.tpot_goal_ms == 60.0, "slo");
    CHECK(config.model_count == 1 && config.models[0].alias_count == 2, "models");
    CHECK(span_eq_text(config.models[0].aliases[0], "llama3.1:8b"), "aliases");
    CHECK(config.engine_count == 2, "engines");
    e = config.engines;
    CHECK(span_eq_text(e[0].name, "ams1-gpu0") && span_eq_text(e[0].host, "10.0.0.5") &&
              e[0].port == 8000,
          "an engine");
    CHECK(span_eq_text(e[0].key_file, "/etc/isochrone/vllm.key") && e[0].key.bytes == 0,
          "its credential is a file");
    CHECK(span_eq_text(e[0].operator, "acme") && span_eq_text(e[0].site, "ams1"), "its labels");
    CHECK(span_eq_text(e[1].name, "gpu7-example-8443") && e[1].port == 8443, "a name from the URL");
    CHECK(e[1].tls && !e[0].tls && e[1].pin_sha256[0] == 0xe3 && e[1].pin_sha256[31] == 0x55,
          "its pin");
    CHECK(config.tls.certificate_count == 1 &&
              span_eq_text(config.tls.certificates[0].cert.path, "/etc/isochrone/tls.crt") &&
              span_eq_text(config.tls.certificates[0].key.path, "/etc/isochrone/tls.key") &&
              config.admin_tls.certificate_count == 0,
          "listen.tls");
}

static void
check_defaults(void)
{
    CHECK(parse("") == ERR_OK, "an empty file");
    CHECK(problems.count == 1 && problems.list[0].warning, "warns that there are no engines");
    CHECK(parse("bus: {http: true}\n") == ERR_OK && problems.count == 0 &&
              parse("bus: {nats: nats://a}\n") == ERR_OK && problems.count == 0,
          "but not where nodes come by themselves");
    CHECK(parse("") == ERR_OK, "empty again");
    CHECK(span_eq_text(config.public_listen, "127.0.0.1:4141"), "public");
    CHECK(span_eq_text(config.admin_listen, "127.0.0.1:4142"), "admin");
    CHECK(span_eq_text(config.region, "local"), "region");
    CHECK(strcmp(config_log_levels[config.log_level], "info") == 0 && !config.log_json, "log");
    CHECK(config.body_bytes_max == 64u << 20 && config.buffers_bytes_max == 1u << 30, "sizes");
    CHECK(config.connect_ns == 2000000000u && config.idle_ns == 60000000000u &&
              config.drain_ns == 30000000000u,
          "times");
    CHECK(config.threads == 1 && config.rule == RULE_TIME && config.constants_scale == 1.0,
          "others");
    CHECK(isnan(config.ttft_goal_ms) && isnan(config.tpot_goal_ms) && !config.unbuilt, "no goals");
}

static void
check_every_key(void)
{
    CHECK(
        parse("listen: {public: \"[::1]:80\", admin: localhost:81}\n"
              "auth: none\nadmin_token: file:a.token\nthreads: 64\nregion: ${REGION}\n"
              "limits: {body_bytes_max: 1048576, buffers_bytes_max: 2MiB, connect: 250ms, "
              "first_byte: 1m, idle: 1h, drain: 5s, holds_max: 99, "
              "json_values_max: 2048, usage_days: 7}\n"
              "state: /var/lib/iso\n"
              "rule: least_request\npredict: {constants_scale: 1.3}\nrtt: file:rtt.csv\n"
              "models:\n  small:\n  big: {params: 70B}\n"
              "engines:\n"
              "- {url: http://a, key: \"${SECRET}\", gpu: h100x2, kind: llama-server, slots: 4}\n"
              "- {url: \"http://[::2]:1/\", key: \"${NONE:-file:k}\", site: \"${EMPTY:-s1}\"}\n") ==
            ERR_OK,
        "every key");
    CHECK(problems.count == 0, "nothing to say");
    if (problems.count > 0 || config.engine_count != 2) {
        printf("# %u:%u: %s\n", problems.list[0].line, problems.list[0].column,
               problems.list[0].text);
        return;
    }
    CHECK(config.auth_none && span_eq_text(config.admin_token_file, "a.token"), "access");
    CHECK(config.threads == 64 && config.rule == RULE_LEAST_REQUEST, "threads and rule");
    CHECK(config.body_bytes_max == 1048576 && config.buffers_bytes_max == 2097152, "sizes");
    CHECK(config.holds_max == 99, "so many may wait");
    CHECK(config.json_values_max == 2048, "so many values");
    CHECK(config.usage_days == 7 && span_eq_text(config.state_dir, "/var/lib/iso"), "state");
    CHECK(config.connect_ns == 250000000u && config.first_byte_ns == 60000000000u &&
              config.idle_ns == 3600000000000u && config.drain_ns == 5000000000u,
          "durations");
    CHECK(config.constants_scale == 1.3 && span_eq_text(config.rtt_file, "rtt.csv"), "scale, rtt");
    CHECK(config.model_count == 2 && config.models[1].params_b == 70.0, "models");
    CHECK(span_eq_text(config.region, "us-east"), "a variable");
    CHECK(span_eq_text(config.engines[0].key, "s3cret value"), "a secret from a variable");
    CHECK(config.engines[0].port == 80 && config.engines[0].slots == 4, "port and slots");
    CHECK(span_eq_text(config.engines[0].kind, "llama-server"), "kind");
    CHECK(span_eq_text(config.engines[1].host, "::2") && config.engines[1].port == 1, "IPv6");
    CHECK(span_eq_text(config.engines[1].name, "--2-1"), "its name");
    CHECK(span_eq_text(config.engines[1].key_file, "k"), "a default of a variable");
    CHECK(span_eq_text(config.engines[1].site, "s1"), "an empty variable has the default too");
}

/* One row: a file with one error. */
static const struct {
    const char *yaml;
    uint32_t line, column;
    const char *words; /* somewhere in the text */
} bad[] = {
    {"regoin: eu", 1, 1, "unknown key `regoin`; did you mean `region`?"},
    {"limits: {conect: 2s}", 1, 10, "did you mean `connect`?"},
    {"prefix: {scope: world}", 1, 17, "write for example `scope: tenant`"},
    {"prefix: {secret: hunter2}", 1, 18, "file:"},
    {"zebra: 1", 1, 1, "unknown key `zebra`"},
    {"limits: {buffers: 1MiB}", 1, 10, "unknown key `buffers`; did you mean `buffers_bytes_max`?"},
    {"region: EU", 1, 9, "`EU` is not a name"},
    {"region: [a]", 1, 9, "region takes one value; write for example `region: eu-west`"},
    {"region:", 1, 8, "region has no value"},
    {"limits: 3", 1, 9, "limits must be keys with values"},
    {"limits: {idle: 60}", 1, 16, "`60` is not a duration"},
    {"limits: {idle: 0s}", 1, 16, "`0s` is too small"},
    {"limits: {idle: 9999h}", 1, 16, "too large"},
    {"limits: {body_bytes_max: 64MB}", 1, 26, "write for example `body_bytes_max: 64MiB`"},
    {"limits: {body_bytes_max: 2GiB}", 1, 9, "buffers_bytes_max"},
    {"threads: 0", 1, 10, "too small"},
    {"limits: {holds_max: 0}", 1, 21, "too small"},
    {"limits: {json_values_max: 100}", 1, 27, "too small"},
    {"limits: {usage_days: 0}", 1, 22, "too small"},
    {"state: \"\"", 1, 8, "state has no value"},
    {"threads: two", 1, 10, "not a whole number"},
    {"rule: neerest", 1, 7, "did you mean `nearest`?"},
    {"rule: 5", 1, 7, "there are time, nearest"},
    {"predict: {constants_scale: 0}", 1, 28, "a number from 0.1 to 10"},
    {"auth: yes", 1, 7, "`yes` is not `none`"},
    {"auth: none\nkeys: file:k", 1, 7, "contradict"},
    {"keys: keys.yaml", 1, 7, "`keys.yaml` is not file:"},
    {"admin_token: \"file:\"", 1, 14, "path of a file"},
    {"listen: {public: 4141}", 1, 18, "`4141` is not an address"},
    {"listen: {public: \"0.0.0.0:4141\"}", 1, 18, "`auth: none` to let everybody in"},
    {"listen: {admin: \"0.0.0.0:4142\", admin_tls: none}", 1, 17, "admin_token"},
    {"listen: {admin: \"127.0.0.1:4141\"}", 1, 17, "one address"},
    {"listen: {public: \"127.evil.example:1\"}", 1, 18, "not on loopback"},
    {"listen: {tls: {cert: file:c}}", 1, 15, "a certificate and its key"},
    {"listen: {tls: {cert: file:c, key: file:k, client_auth: optional}}", 1, 43, "set `client_ca"},
    {"listen: {tls: {cert: file:c, key: file:k, client_ca: file:a, client_auth: maybe}}", 1, 75,
     "`required` or `optional`"},
    {"listen: {tls: {cert: c, key: file:k}}", 1, 22, "file: and a path"},
    {"log: {level: loud}", 1, 14, "`loud` is not one of error, warn, info and debug"},
    {"log: {format: xml}", 1, 15, "`xml` is not text or json"},
    {"log: {leevl: info}", 1, 7, "did you mean `level`"},
    {"access_log: {file: a.log}\nlog: {file: a.log}", 2, 13, "are one file"},
    {"admin_token: file:t\nlisten: {admin: \"0.0.0.0:4142\"}", 2, 17, "or `admin_tls: none`"},
    {"listen: {admin_tls: {key: file:k}}", 1, 21, "admin_tls needs a certificate"},
    {"listen: {admin_tls: maybe}", 1, 21, "must be keys with values"},
    {"listen: {tls: {certificates: []}}", 1, 30, "a list of 1 to 256"},
    {"listen: {tls: {certificates: file:c}}", 1, 30, "a list of 1 to 256"},
    {"listen: {tls: {certificates: [{cert: file:c}]}}", 1, 31, "a certificate needs its key"},
    {"listen: {tls: {certificates: [{cert: file:c, key: file:k, kye: x}]}}", 1, 59,
     "did you mean `key`"},
    {"listen: {tls: {cert: file:c, key: file:k, certificates: [{cert: file:c, key: file:k}]}}", 1,
     43, "instead of cert and key"},
    {"upstream_bind: 10.0.0.1:80", 1, 16, "is not an address"},
    {"engines: [{url: \"https://a\", pin: sha256:abc}]", 1, 35, "SHA-256 of a public key"},
    {"engines: [{url: \"http://a\", ca: file:a}]", 1, 29, "`ca` is about TLS"},
    {"engines: [{url: \"https://a\", client_key: file:a}]", 1, 30, "set both"},
    {"engines: [{url: \"https://a\", ca: file:a, pin: "
     "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]",
     1, 42, "keep one"},
    {"bus: {}", 1, 6, "a bus needs a server"},
    {"bus: {nats: []}", 1, 13, "nats is 1 to 8 servers"},
    {"bus: {nats: [a, b, c, d, e, f, g, h, i]}", 1, 13, "nats is 1 to 8 servers"},
    {"bus: {nats: \"http://a:4222\"}", 1, 13, "is not a server"},
    {"bus: {nats: \"nats://\"}", 1, 13, "is not a server"},
    {"bus: {nats: \"nats://u:p@a\"}", 1, 13, "is not a server"},
    {"bus: {nats: \"nats://a/b\"}", 1, 13, "is not a server"},
    {"bus: {nats: [\"nats://a\", {b: c}]}", 1, 26, "nats takes one value"},
    {"bus: {nats: \"nats://a\", user: x}", 1, 25, "go together"},
    {"bus: {nats: \"nats://a\", password: file:p}", 1, 25, "go together"},
    {"bus: {nats: \"nats://a\", nkey: file:n, user: x, password: file:p}", 1, 25, "keep one"},
    {"bus: {nats: \"nats://a\", nkey: SUAB}", 1, 31, "file: and a path"},
    {"bus: {nats: \"nats://a\", user: \"a b\", password: file:p}", 1, 31, "without spaces"},
    {"bus: {nats: \"nats://a\", ca: file:c}", 1, 25, "no server begins with tls://"},
    {"bus: {nats: \"tls://a\"}", 1, 6, "vouches for the server"},
    {"bus: {nats: \"nats://a\", nkye: file:n}", 1, 25, "did you mean `nkey`"},
    {"bus: {reach: [], nkey: file:n}", 1, 6, "a bus needs a server"},
    {"bus: {http: yes}", 1, 13, "not true or false"},
    {"bus: {http: true, user: u, password: file:p}", 1, 6, "a bus needs a server"},
    {"bus: {reach: 10.0.0.0/8}", 1, 14, "reach is a list of up to 64 ranges"},
    {"bus: {reach: [10.0.0.1/8]}", 1, 15, "range of addresses"},
    {"bus: {reach: [{a: b}]}", 1, 15, "reach takes one value"},
    {"operators: {revoke: ed25519:12}", 1, 21, "revoke is a list"},
    {"operators: {revoke: [\"sha256:12\"]}", 1, 22, "64 digits"},
    {"operators: {revoke: [\"" OPERATOR "\", \"" OPERATOR "\"]}", 1, 98, "twice"},
    {"operators: {trust: ed25519:12}", 1, 20, "trust is a list"},
    {"operators: {only: perhaps}", 1, 19, "true or false"},
    {"operators: {trust: [\"ed25519:12\"]}", 1, 21, "64 digits"},
    {"operators: {trust: [\"" OPERATOR "\", \"" OPERATOR "\"]}", 1, 97, "twice"},
    {"models: [a]", 1, 9, "models are names"},
    {"models: {a: {params: 8}}", 1, 22, "`8` is not a number of parameters"},
    {"models: {a: {aliases: b}}", 1, 23, "aliases are a list"},
    {"models: {a: {aliases: [\"b c\"]}}", 1, 24, "without spaces"},
    {"models: {a: {aliases: [b]}, c: {aliases: [b]}}", 1, 43, "`b` is used twice"},
    {"models: {a: {aliases: [c]}, c: {}}", 1, 29, "`c` is used twice"},
    {"engines: {}", 1, 10, "engines are a list"},
    {"engines: [a]", 1, 11, "an engine must be keys"},
    {"engines: [{name: a}]", 1, 11, "needs a url"},
    {"engines: [{url: \"10.0.0.1:80\"}]", 1, 17, "http://host:port, no path"},
    {"engines: [{url: \"http://a/v1\"}]", 1, 17, "no path"},
    {"engines: [{url: \"http://a:0\"}]", 1, 17, "address of an engine"},
    {"engines: [{url: \"http://u:p@a\"}]", 1, 17, "address of an engine"},
    {"engines: [{url: \"http://a\", kind: vlm}]", 1, 35, "vllm, sglang, llama-server"},
    {"engines: [{url: \"http://a\"}, {url: \"http://a:80\", name: b}]", 1, 36,
     "`a:80` is used twice"},
    {"engines:\n- {url: http://a, name: x}\n- {url: http://b, name: x}", 3, 25,
     "on line 2 already"},
    {"region: ${NOPE}", 1, 9, "the variable NOPE is not set"},
    {"region: ${1}", 1, 9, "is no variable"},
    {"region: ${REGION-x}", 1, 9, "is no variable"},
    {"region: \"${REGION\"", 1, 9, "without its `}`"},
    {"region: ${TWO_LINES}", 1, 9, "line break"},
    {"region: ${SECRET}", 1, 9, "`${...}` is not a name"}, /* its text is not shown */
    {"region: a\nregion: b", 2, 1, "stands here twice; the first is on line 1"},
    {"region: &x a", 1, 9, "anchors (`&x`)"},
    {"region: *x", 1, 9, "aliases (`*x`)"},
    {"region: !!str a", 1, 9, "tags"},
    {"region: \"a\\nb\"", 1, 9, "line break"},
    {"region: a\n--- \nregion: b", 2, 1, "second document"},
    {"region: a\n  b: c", 2, 4, "this is no YAML"},
    {"region: [", 2, 1, "this is no YAML"},
    {"region: \001", 1, 9, "this is no YAML"},
    {"? [a]\n: b", 1, 3, "plain word"},
    {"- a", 1, 1, "the configuration must be keys"},
    {"a: [[[[[[[[[[[[[[[[[[", 1, 19, "deeper than 16"},
};

static void
check_bad(void)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t found = 0;
        char label[160];

        snprintf(label, sizeof(label), "row %zu: %s", i, bad[i].words);
        CHECK(parse(bad[i].yaml) == ERR_PARSE, label);
        CHECK(problems.errors == 1, label);
        while (found < problems.count && problems.list[found].warning)
            found++;
        CHECK(found < problems.count && problems.list[found].line == bad[i].line &&
                  problems.list[found].column == bad[i].column,
              label);
        CHECK(found < problems.count && strstr(problems.list[found].text, bad[i].words) != NULL,
              label);
    }
}

static void
check_many(void)
{
    char yaml[4096];
    size_t bytes = 0;

    CHECK(parse("rule: x\nregion: A\nlimits: {idle: 1, conect: 2s}\n") == ERR_PARSE, "all at once");
    CHECK(problems.errors == 4 && problems.count == 5, "four errors and a warning");
    for (size_t i = 1; i < problems.count; i++) {
        const struct config_problem *p = &problems.list[i - 1], *q = &problems.list[i];

        CHECK(p->line < q->line || (p->line == q->line && p->column < q->column), "in order");
    }
    for (int i = 0; i < 100; i++)
        bytes += (size_t)snprintf(yaml + bytes, sizeof(yaml) - bytes, "k%d: 1\n", i);
    CHECK(parse(yaml) == ERR_PARSE, "more than the list holds");
    CHECK(problems.count == CONFIG_PROBLEMS_MAX && problems.errors == 100, "are counted");
    arena_fini(&arena);
    arena_init(&arena, 4096);
    CHECK(config_parse(span_of(sample), NULL, NULL, &arena, &config, &problems) == ERR_PARSE &&
              problems.errors > 0,
          "a small arena is an error");
    CHECK(parse("engines: [{url: \"http://a\", key: plain}]") == ERR_OK && problems.count == 1 &&
              problems.list[0].warning,
          "a secret in the file is a warning");
    CHECK(strstr(problems.list[0].text, "plain") == NULL, "which does not show it");
}

static void
check_dump(void)
{
    struct span first, second;
    char copy[4096];

    CHECK(
        parse("auth: none\nprefix: {scope: network, secret: file:p}\nslo: {ttft_p90: "
              "1500ms}\nlimits: {connect: 1001us}\nmodels: {\"m:1\": "
              "{aliases: [a, b], params: 500M}}\n"
              "log: {file: l.log, level: warn, format: json}\n"
              "bus: {http: true, reach: [10.0.0.0/8, \"fd00:1::/32\", 1.2.3.4], nats: "
              "[\"tls://b\", \"nats://c:1\"], user: u, password: file:w, ca: file:z}\n"
              "operators: {only: true, trust: [\"" OPERATOR "\"], revoke: [\"" OPERATOR
              "\", \"" RECORD "\"]}\n"
              "listen: {tls: {cert: file:c, key: file:d, client_ca: file:e, client_auth: "
              "optional}}\n"
              "engines: [{url: \"http://a\", key: \"${SECRET}\"}, {url: \"https://c\", ca: file:f, "
              "client_cert: file:g, client_key: file:h}, {url: \"http://b\", key: "
              "\"file:k\\\"\"}]") == ERR_OK,
        "a configuration");
    CHECK(config_dump(&config, &arena, &first) == ERR_OK && first.bytes < sizeof(copy),
          "is dumped");
    span_copy(first, copy, sizeof(copy));
    CHECK(strstr(copy, "s3cret") == NULL && strstr(copy, "key: \"***\"") != NULL,
          "without secrets");
    CHECK(strstr(copy, "connect: 1001us") != NULL && strstr(copy, "ttft_p90: 1500ms") != NULL,
          "with units");
    CHECK(strstr(copy, "prefix: {scope: network, secret: \"file:p\"}") != NULL, "and paths");
    CHECK(strstr(copy, ", tls: {cert: \"file:c\", key: \"file:d\", client_ca: \"file:e\", "
                       "client_auth: optional}") != NULL &&
              strstr(copy, "ca: \"file:f\", client_cert: \"file:g\", client_key: \"file:h\"") !=
                  NULL,
          "and TLS");
    CHECK(strstr(copy, "log: {file: \"l.log\", level: warn, format: json}") != NULL, "and logs");
    CHECK(strstr(copy,
                 "bus: {http: true, reach: [\"10.0.0.0/8\", \"fd00:1:0:0:0:0:0:0/32\", "
                 "\"1.2.3.4/32\"], nats: [\"tls://b\", \"nats://c:1\"], user: \"u\", password: "
                 "\"file:w\", ca: \"file:z\"}\noperators: {only: true, trust: [\"" OPERATOR
                 "\"], revoke: [\"" OPERATOR "\", \"" RECORD "\"]}\n") != NULL,
          "and the bus");
    CHECK(strstr(copy, "params: 0.5B") != NULL && strstr(copy, "body_bytes_max: 64MiB") != NULL,
          "and defaults");
    CHECK(parse(copy) == ERR_OK, "can be read");
    CHECK(config_dump(&config, &arena, &second) == ERR_OK && span_eq_text(second, copy),
          "and gives the same again");
}

static void
check_certificates(void)
{
    struct span dump;
    char copy[4096];

    CHECK(parse("admin_token: file:t\n"
                "listen:\n"
                "  admin: 10.0.0.1:4142\n"
                "  tls:\n"
                "    certificates:\n"
                "      - {cert: file:a.crt, key: file:a.key}\n"
                "      - {cert: file:b.crt, key: file:b.key}\n"
                "  admin_tls: {cert: file:c, key: file:d}\n") == ERR_OK,
          "several certificates");
    CHECK(config.tls.certificate_count == 2 && config.admin_tls.certificate_count == 1 &&
              span_eq_text(config.tls.certificates[1].key.path, "b.key") &&
              config.tls.certificates[1].key.line == 7 &&
              config.tls.certificates[1].key.column == 33,
          "and where they stand");
    CHECK(config_dump(&config, &arena, &dump) == ERR_OK && dump.bytes < sizeof(copy), "are dumped");
    span_copy(dump, copy, sizeof(copy));
    CHECK(strstr(copy, ", tls: {certificates: [{cert: \"file:a.crt\", key: \"file:a.key\"}, "
                       "{cert: \"file:b.crt\", key: \"file:b.key\"}]}, "
                       "admin_tls: {cert: \"file:c\", key: \"file:d\"}}\n") != NULL,
          "as they were");
    CHECK(parse(copy) == ERR_OK && config.tls.certificate_count == 2, "and read again");
    CHECK(parse("admin_token: file:t\nlisten: {admin: 10.0.0.1:4142, admin_tls: none}\n") ==
                  ERR_OK &&
              config.admin_tls.none && config_dump(&config, &arena, &dump) == ERR_OK,
          "plain off loopback, if it is said");
    span_copy(dump, copy, sizeof(copy));
    CHECK(strstr(copy, ", admin_tls: none}\n") != NULL, "as it was");
}

static void
check_values(void)
{
    static const struct {
        const char *text;
        double params_b;
    } names[] = {
        {"llama-3.1-8b", 8},
        {"Qwen2.5-32B-Instruct", 32},
        {"70b", 70},
        {"qwen2.5:0.5b", 0.5},
        {"mixtral-8x7b-instruct", 8 * 7 * 0.83},
        {"SmolLM-135M", 0.135},
        {"meta-llama/Llama-3.1-8B-Instruct", 8},
        {"qwen3-235b-a22b", 235},
        {"gpt-4o", 0},
        {"phi-3-mini", 0},
        {"model-8bit", 0},
        {"b", 0},
        {"", 0},
        {"99999999999999b", 0},
    };
    static const char *const words[] = {"region", "rule", "limits"};
    uint64_t value = 0;
    struct span host;
    uint16_t port = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK(fabs(config_params_from_name(span_of(names[i].text)) - names[i].params_b) < 1e-9,
              names[i].text);
    CHECK(config_duration(SPAN_LIT("18446744073709551615h"), &value) == ERR_PARSE, "an overflow");
    CHECK(config_duration(SPAN_LIT("s"), &value) == ERR_PARSE, "no number");
    CHECK(config_duration(SPAN_LIT("-1s"), &value) == ERR_PARSE, "a sign");
    CHECK(config_duration(SPAN_LIT("1 s"), &value) == ERR_PARSE && value == 0, "a space");
    CHECK(config_size(SPAN_LIT("10"), &value) == ERR_OK && value == 10, "plain bytes");
    CHECK(config_size(SPAN_LIT("1TiB"), &value) == ERR_OK && value >> 40 == 1, "a TiB");
    CHECK(config_host_port(SPAN_LIT("a:0"), &host, &port) == ERR_OK && port == 0, "port 0");
    CHECK(config_host_port(SPAN_LIT("a:65536"), &host, &port) == ERR_PARSE, "too high a port");
    CHECK(config_host_port(SPAN_LIT(":80"), &host, &port) == ERR_PARSE, "no host");
    CHECK(config_host_port(SPAN_LIT("[::1]"), &host, &port) == ERR_PARSE, "no port");
    CHECK(config_host_port(SPAN_LIT("[::1"), &host, &port) == ERR_PARSE, "no bracket");
    CHECK(config_host_port(SPAN_LIT("::1:80"), &host, &port) == ERR_PARSE, "IPv6 without brackets");
    CHECK(config_host_port(SPAN_LIT("[1.2.3.4:5]:80"), &host, &port) == ERR_PARSE, "no IPv6");
    CHECK(config_host_port(SPAN_LIT("a/b:80"), &host, &port) == ERR_PARSE, "no host name");
    CHECK(config_url(SPAN_LIT("http://[::1]/"), &host, &port) == ERR_OK && port == 80 &&
              span_eq_text(host, "::1"),
          "a URL of IPv6");
    CHECK(config_url(SPAN_LIT("https://a"), &host, &port) == ERR_UNSUPPORTED && port == 443,
          "https");
    CHECK(config_url(SPAN_LIT("ftp://a"), &host, &port) == ERR_PARSE, "another scheme");
    CHECK(config_is_loopback(SPAN_LIT("127.0.0.53")) && config_is_loopback(SPAN_LIT("::1")) &&
              !config_is_loopback(SPAN_LIT("10.0.0.1")) && !config_is_loopback(SPAN_LIT("127.a")),
          "loopback");
    CHECK(strcmp(config_nearest(SPAN_LIT("rgeion"), words, 3), "region") == 0,
          "neighbours swapped");
    CHECK(config_nearest(SPAN_LIT("ru"), words, 3) == NULL, "too short a word");
    CHECK(config_nearest(SPAN_LIT("listen"), words, 3) == NULL, "too far away");
}

int
main(void)
{
    arena_init(&arena, ARENA_BYTES);
    check_sample();
    check_defaults();
    check_every_key();
    check_bad();
    check_many();
    check_dump();
    check_certificates();
    check_values();
    arena_fini(&arena);
    return tap_done();
}

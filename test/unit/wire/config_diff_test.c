/* config_diff_test - what is said of two configurations, line by line. */
#include "wire/config_diff.h"

#include "tap.h"

#define ARENA_BYTES (8u << 20)

static const struct {
    const char *label, *before, *after, *lines; /* lines: each ended by a newline */
} rows[] = {
    {"nothing", "region: eu\nengines: [{url: \"http://a:1\"}]\n",
     "engines: [{url: \"http://a:1\"}]\nregion: \"eu\"\n", ""},
    {"a default that is written out is none", "", "limits: {drain: 30s}\n", ""},
    {"a limit", "limits: {drain: 10s}\n", "limits: {drain: 1500ms}\n",
     "limits.drain: 10s -> 1500ms\n"},
    {"a key that needs a restart", "threads: 1\n", "threads: 2\n",
     "threads: 1 -> 2 (with the next process: restart, or SIGUSR2)\n"},
    {"listeners too", "", "listen: {public: \"127.0.0.1:5\"}\n",
     "listen.public: 127.0.0.1:4141 -> 127.0.0.1:5 (with the next process: restart, or "
     "SIGUSR2)\n"},
    {"the log", "log: {level: debug}\n", "log: {file: l, format: json}\n",
     "log.level: debug -> info\nlog.format: text -> json\nlog.file: none -> l\n"},
    {"what was not there", "", "upstream_bind: 10.0.0.1\n", "upstream_bind: none -> 10.0.0.1\n"},
    {"what is gone", "slo: {ttft_p90: 1s, tpot_p90: 50ms}\n", "slo: {tpot_p90: 50ms}\n",
     "slo.ttft_p90: 1s -> none\n"},
    {"a whole mapping is gone", "slo: {ttft_p90: 1s}\n", "", "slo.ttft_p90: 1s -> none\n"},
    {"engines by name, in any order",
     "engines:\n  - {name: gpu0, url: \"http://a:1\", region: eu-west}\n"
     "  - {name: gpu1, url: \"http://b:1\"}\n",
     "engines:\n  - {name: gpu2, url: \"http://c:1\"}\n"
     "  - {name: gpu0, url: \"http://a:1\", region: us-east, slots: 4}\n",
     "engines[gpu0].region: eu-west -> us-east\nengines[gpu0].slots: none -> 4\n"
     "engines[gpu1]: removed (http://b:1)\nengines[gpu2]: added (http://c:1)\n"},
    {"the first engine", "", "engines: [{name: x, url: \"http://c:1\"}]\n",
     "engines[x]: added (http://c:1)\n"},
    {"a credential: that it differs, and no more",
     "engines: [{name: x, url: \"http://c:1\", key: sesame}]\n",
     "engines: [{name: x, url: \"http://c:1\", key: other}]\n", "engines[x].key: changed\n"},
    {"a credential that moves to a file",
     "engines: [{name: x, url: \"http://c:1\", key: sesame}]\n",
     "engines: [{name: x, url: \"http://c:1\", key: \"file:k\"}]\n",
     "engines[x].key: *** -> file:k\n"},
    {"a list that differs late",
     "models: {a: {aliases: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, "
     "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ccccccccccccccccccccccccccccccccccccccc, d]}}\n",
     "models: {a: {aliases: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, "
     "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ccccccccccccccccccccccccccccccccccccccc, e]}}\n",
     "models[a].aliases: changed, beyond what is shown: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, "
     "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccc\n"},
    {"none and nothing", "", "listen: {admin_tls: none}\n", ""},
    {"certificates", "listen: {tls: {cert: file:a, key: file:b}}\n",
     "listen: {tls: {certificates: [{cert: file:a, key: file:b}, {cert: file:c, key: file:d}]}}\n",
     "listen.tls.cert: file:a -> none\nlisten.tls.key: file:b -> none\n"
     "listen.tls.certificates: none -> [{cert: file:a, key: file:b}, {cert: file:c, key: "
     "file:d}]\n"},
    {"models", "models: {a: {aliases: [b]}, gone: {}}\n",
     "models: {a: {aliases: [b, c]}, new: {}}\n",
     "models[a].aliases: [b] -> [b, c]\nmodels[gone]: removed\nmodels[new]: added\n"},
    {"a model like a key", "models: {engines: {params: 8B}}\n", "models: {engines: {params: 7B}}\n",
     "models[engines].params: 8B -> 7B\n"},
};

/* The same of nodes. */
static const struct {
    const char *label, *before, *after, *lines;
} node_rows[] = {
    {"nothing", "key: file:k\nengines: [{url: \"http://a:1\"}]\n",
     "engines:\n  - url: \"http://a:1\"\nkey: \"file:k\"\n", ""},
    {"what it is told", "guard: {requests_max: 2}\n", "guard: {loading: 5s}\nlabels: {a: b}\n",
     "guard.requests_max: 2 -> none\nguard.loading: none -> 5s\nlabels.a: none -> b\n"},
    {"gateways", "gateways: [{name: a}]\n", "gateways: [{name: b}]\n",
     "gateways: [{name: a}] -> [{name: b}]\n"},
    {"what needs a restart", "key: file:k\nlisten: {public: \"a:1\"}\n",
     "key: file:l\nlisten: {public: \"a:2\"}\nbus: {nats: \"nats://b\"}\n",
     "key: file:k -> file:l (with the next process: restart)\n"
     "listen.public: a:1 -> a:2 (with the next process: restart)\n"
     "bus.nats: none -> nats://b (with the next process: restart)\n"},
    {"engines, of which nothing is shown", "engines: [{url: \"http://a:1\", key: sesame}]\n",
     "engines: [{url: \"http://a:1\", key: other}]\n", "engines: changed\n"},
    {"no engines any more", "engines: [{url: \"http://a:1\"}]\n", "name: a\n",
     "name: none -> a (with the next process: restart)\n"
     "engines: changed\n"},
};

struct lines {
    char text[16384];
    size_t bytes;
};

static void
add_line(const char *text, void *user)
{
    struct lines *lines = user;

    lines->bytes += (size_t)snprintf(lines->text + lines->bytes, sizeof(lines->text) - lines->bytes,
                                     "%s\n", text);
}

static bool
parse(const char *yaml, struct arena *arena, struct config *ret_config)
{
    static struct config_problems problems;

    return config_parse(span_of(yaml), NULL, NULL, arena, ret_config, &problems) == ERR_OK;
}

/* A value and a path that are longer than a line may be. */
static void
check_long(struct arena *arena)
{
    static char before[8192], after[8192];
    static struct lines lines;
    struct config old, new;
    size_t at = 0;

    at += (size_t)snprintf(before, sizeof(before), "models: {\"%0200d\": {aliases: [", 7);
    for (unsigned i = 0; i < CONFIG_ALIASES_MAX; i++)
        at += (size_t)snprintf(before + at, sizeof(before) - at, "%sa%0200u", i > 0 ? ", " : "", i);
    memcpy(after, before, at);
    snprintf(before + at, sizeof(before) - at, "]}}\n");
    after[at - 1] = 'x';
    snprintf(after + at, sizeof(after) - at, "], params: 8B}}\n");
    CHECK(parse(before, arena, &old) && parse(after, arena, &new), "long names are read");
    CHECK(config_diff(&old, &new, arena, add_line, &lines) == ERR_OK, "and compared");
    CHECK(lines.bytes < 2 * CONFIG_DIFF_TEXT_BYTES && strstr(lines.text, "00007") == NULL,
          "cut to their place");
}

static void
check_nodes(void)
{
    for (size_t i = 0; i < sizeof(node_rows) / sizeof(node_rows[0]); i++) {
        struct lines lines = {.bytes = 0};
        struct arena arena;

        arena_init(&arena, ARENA_BYTES);
        CHECK(config_diff_node(span_of(node_rows[i].before), span_of(node_rows[i].after), &arena,
                               add_line, &lines) == ERR_OK &&
                  strcmp(lines.text, node_rows[i].lines) == 0,
              node_rows[i].label);
        if (strcmp(lines.text, node_rows[i].lines) != 0)
            printf("# got:\n# %s", lines.text);
        arena_fini(&arena);
        arena_init(&arena, 1024);
        CHECK(config_diff_node(span_of(node_rows[i].before), span_of(node_rows[i].after), &arena,
                               add_line, &lines) == ERR_FULL,
              "a full arena");
        arena_fini(&arena);
    }
}

int
main(void)
{
    check_nodes();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lines lines = {.bytes = 0};
        struct config before, after;
        struct arena arena;

        arena_init(&arena, ARENA_BYTES);
        CHECK(parse(rows[i].before, &arena, &before) && parse(rows[i].after, &arena, &after),
              rows[i].label);
        CHECK(config_diff(&before, &after, &arena, add_line, &lines) == ERR_OK, rows[i].label);
        CHECK(strcmp(lines.text, rows[i].lines) == 0, rows[i].label);
        if (strcmp(lines.text, rows[i].lines) != 0)
            printf("# got:\n# %s", lines.text);
        arena_fini(&arena);
    }
    {
        struct arena arena;
        struct config config;
        arena_init(&arena, ARENA_BYTES);
        check_long(&arena);
        arena_fini(&arena);
        arena_init(&arena, 1024);
        config_defaults(&config);
        CHECK(config_diff(&config, &config, &arena, add_line, NULL) == ERR_FULL, "a full arena");
        arena_fini(&arena);
    }
    return tap_done();
}

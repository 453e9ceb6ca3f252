/* keys_test - a key file read, keys found in it, lines written that can be read again. */
#include "wire/keys.h"

#include "tap.h"

#define SHA_ABC  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static struct arena arena;
static struct keys keys;
static struct config_problems problems;

static enum err
parse(struct span yaml)
{
    return keys_parse(yaml, &arena, &keys, &problems);
}

static const struct {
    const char *yaml, *words;
} bad[] = {
    {"keys: [{name: a}]", "needs a name and a sha256"},
    {"keys: [{name: a, sha256: \"12\"}]", "64 hexadecimal digits"},
    {"keys: [{name: A b, sha256: \"" SHA_ABC "\"}]", "not a name"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", tokens: 3}]", "unknown key `tokens`"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", concurrency: -1}]", "whole number"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\"}, {name: b, sha256: \"" SHA_ABC "\"}]", "one key"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", requests_per_minute: 60000001}]", "too large"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", priority: hihg}]", "high, normal or low"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", may_claim: low}]", "below the key's own priority"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", preferences: deadline}]", "are a list"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", preferences: [gold]}]", "deadline or models"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", models: []}]", "1 to 64 names"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", models: [a b]}]", "no spaces"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", expires: tomorrow}]", "a day, or a time"},
    {"keys: [{name: a, sha256: \"" SHA_ABC "\", expires: 2027-02-29}]", "a day, or a time"},
    {"keys: [a]", "a key must be"},
    {"keys: 3", "list"},
    {"- a", "the key file must be"},
    {"keys: [", "no YAML"},
};

static void
check_file(void)
{
    const struct key_entry *entry;

    CHECK(parse(SPAN_LIT("keys:\n"
                         "  - {name: zero, sha256: \"" SHA_ZERO "\"}\n"
                         "  - {name: alice, sha256: \"" SHA_ABC "\", concurrency: 32, "
                         "tokens_per_minute: 100000}\n")) == ERR_OK,
          "a key file");
    CHECK(keys.count == 2 && problems.count == 0, "two keys");
    entry = keys_find(&keys, SPAN_LIT("abc"));
    CHECK(entry != NULL && span_eq_text(entry->name, "alice"), "found by its text");
    CHECK(entry != NULL && entry->concurrency_max == 32 && entry->tokens_per_minute_max == 100000,
          "with its limits");
    CHECK(keys_find(&keys, SPAN_LIT("abcd")) == NULL, "another key is not");
    CHECK(keys_find(&keys, SPAN_LIT("")) == NULL, "nor an empty one");
    CHECK(parse(SPAN_LIT("")) == ERR_OK && keys.count == 0, "an empty file");
    CHECK(keys_find(&keys, SPAN_LIT("abc")) == NULL, "has no key");
    CHECK(parse(SPAN_LIT("keys:\n")) == ERR_OK && keys.count == 0, "nor an empty list");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(parse(span_of(bad[i].yaml)) == ERR_PARSE, bad[i].words);
        CHECK(problems.count == 1 && strstr(problems.list[0].text, bad[i].words) != NULL,
              bad[i].words);
    }
}

static void
check_claims(void)
{
    const struct key_entry *e;

    CHECK(parse(SPAN_LIT("keys:\n"
                         "  - {name: alice, sha256: \"" SHA_ABC "\", requests_per_minute: 600,\n"
                         "     priority: low, may_claim: high, preferences: [models],\n"
                         "     models: [tiny, \"meta/Big:8b\"], expires: 2027-01-31T18:00:00Z}\n"
                         "  - {name: alice, sha256: \"" SHA_ZERO "\", priority: high}\n")) ==
              ERR_OK,
          "a name may have two keys");
    e = keys_find(&keys, SPAN_LIT("abc"));
    CHECK(e != NULL && e->line == 2 && e->requests_per_minute_max == 600, "a key with all");
    CHECK(e != NULL && e->priority == PRIORITY_LOW && e->best == PRIORITY_HIGH, "may claim more");
    CHECK(e != NULL && e->preferences == KEY_MAY_MODELS, "one wish of two");
    CHECK(e != NULL && e->model_count == 2 && span_eq_text(e->models[1], "meta/Big:8b"), "models");
    CHECK(e != NULL && e->expires_s == 1801418400u, "until when");
    e = &keys.list[0];
    CHECK(e->line == 5 && e->best == PRIORITY_HIGH && e->preferences == KEY_PREFERENCES_ALL &&
              e->model_count == 0 && e->expires_s == 0,
          "what is left out: as much as its class, all wishes, all models, for ever");
    CHECK(parse(SPAN_LIT("keys: [{name: a, sha256: \"" SHA_ABC "\", preferences: []}]")) ==
                  ERR_OK &&
              keys.list[0].preferences == 0,
          "no wishes at all");
}

static const struct {
    const char *text;
    uint64_t s; /* UINT64_MAX: none */
} times[] = {
    {"1970-01-01", 0},
    {"1970-03-01", 5097600},
    {"2000-02-29", 951782400},
    {"2000-03-01T00:00:01Z", 951868801},
    {"2026-12-31", 1798675200},
    {"2100-03-01", 4107542400},
    {"9999-12-31T23:59:59Z", 253402300799},
    {"2100-02-29", UINT64_MAX},
    {"1969-12-31", UINT64_MAX},
    {"2026-13-01", UINT64_MAX},
    {"2026-00-01", UINT64_MAX},
    {"2026-01-00", UINT64_MAX},
    {"2026-1-01", UINT64_MAX},
    {"2026-01-01T24:00:00Z", UINT64_MAX},
    {"2026-01-01T00:00:00", UINT64_MAX},
    {"", UINT64_MAX},
};

static void
check_times(void)
{
    char text[KEYS_TIME_BYTES];
    uint64_t s, again;

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        bool good = times[i].s != UINT64_MAX;

        CHECK((keys_time(span_of(times[i].text), &s) == ERR_OK) == good, times[i].text);
        CHECK(!good || s == times[i].s, times[i].text);
    }
    for (s = 0, again = 0; s < 253402300799u && again == s; s += 86399 * 97) {
        keys_time_text(s, text);
        if (keys_time(span_of(text), &again) != ERR_OK)
            again = UINT64_MAX;
        if (again != s)
            break;
        again += 86399 * 97;
    }
    CHECK(s >= 253402300799u, "every time can be written and read again");
}

/* The i-th of some keys that differ in all they can. */
static struct key_entry
entry_of(unsigned i, struct span models[2])
{
    return (struct key_entry){.name = SPAN_LIT("bob-1"),
                              .concurrency_max = i,
                              .requests_per_minute_max = i % 2 == 0 ? 0 : 60 + i,
                              .tokens_per_minute_max = i % 3 == 0 ? 0 : 1000,
                              .priority = (enum priority)(i % 3),
                              .best = (enum priority)(i % 2 == 0 ? 0 : i % 3),
                              .preferences = i % 4,
                              .models = models,
                              .model_count = i % 3,
                              .expires_s = i % 5 == 0 ? 0 : UINT64_C(86400) * i};
}

static void
check_line(void)
{
    struct span models[2] = {SPAN_LIT("tiny"), SPAN_LIT("meta/Big:8b")};
    char text[KEY_TEXT_BYTES_MAX + 2], file[16384] = "keys:\n";
    struct span line;
    size_t bytes = strlen(file);
    struct key_entry e;

    memset(text, 'k', sizeof(text));
    for (unsigned i = 0; i < 20; i++) { /* keys k, kk, kkk ... */
        e = entry_of(i, models);
        keys_sha256((struct span){text, i + 1}, e.sha256);
        CHECK(keys_line(&e, &arena, &line) == ERR_OK, "a line");
        memcpy(file + bytes, line.data, line.bytes); /* 20 lines of some 300 bytes */
        bytes += line.bytes;
    }
    CHECK(parse((struct span){file, bytes}) == ERR_OK && keys.count == 20,
          "lines appended make a file");
    for (unsigned i = 0; i < 20; i++) {
        const struct key_entry *x = keys_find(&keys, (struct span){text, i + 1});

        e = entry_of(i, models);
        CHECK(x != NULL && x->concurrency_max == e.concurrency_max &&
                  x->requests_per_minute_max == e.requests_per_minute_max &&
                  x->tokens_per_minute_max == e.tokens_per_minute_max &&
                  x->priority == e.priority && x->best == e.best &&
                  x->preferences == e.preferences && x->model_count == e.model_count &&
                  x->expires_s == e.expires_s && x->line == i + 2,
              "each key is found with its limits");
        CHECK(x != NULL && (x->model_count < 2 || span_eq(x->models[1], models[1])),
              "and its models");
    }
    keys_sha256((struct span){text, KEY_TEXT_BYTES_MAX + 1}, keys.list[0].sha256);
    CHECK(keys_find(&keys, (struct span){text, KEY_TEXT_BYTES_MAX + 1}) == NULL, "too long a key");
    e = entry_of(0, models);
    e.name = SPAN_LIT("Bob");
    CHECK(keys_line(&e, &arena, &line) == ERR_ARG, "no name");
    e = entry_of(0, models);
    e.concurrency_max = UINT32_MAX;
    CHECK(keys_line(&e, &arena, &line) == ERR_ARG, "too large");
    e = entry_of(1, models);
    models[0] = SPAN_LIT("a\", priority: \"high");
    CHECK(keys_line(&e, &arena, &line) == ERR_ARG, "a name that would break out of its quotes");
}

/* Hashes that begin alike: only the whole tells them apart. */
static void
check_alike(void)
{
    struct key_entry list[4] = {{.name = SPAN_LIT("a")},
                                {.name = SPAN_LIT("b")},
                                {.name = SPAN_LIT("c")},
                                {.name = SPAN_LIT("d")}};
    struct keys some = {list, 4};

    for (size_t i = 0; i < 4; i++)
        keys_sha256(SPAN_LIT("abc"), list[i].sha256);
    list[0].sha256[KEY_SHA256_BYTES - 1] = 0;
    list[1].sha256[KEY_SHA256_BYTES - 1] = 1;
    list[3].sha256[KEY_SHA256_BYTES - 1] = 0xff;
    CHECK(keys_find(&some, SPAN_LIT("abc")) == &list[2], "the one, not its neighbours");
    some.count = 2;
    CHECK(keys_find(&some, SPAN_LIT("abc")) == NULL, "none of them");
    CHECK(keys_find(&some, SPAN_LIT("abd")) == NULL, "another");
}

static const struct {
    const char *text;
    uint32_t set; /* UINT32_MAX: none */
} preferences[] = {
    {"none", 0},
    {"deadline", KEY_MAY_DEADLINE},
    {"models,deadline", KEY_PREFERENCES_ALL},
    {"models, deadline", KEY_PREFERENCES_ALL},
    {"", UINT32_MAX},
    {"models,", UINT32_MAX},
    {"all", UINT32_MAX},
};

int
main(void)
{
    arena_init(&arena, 16u << 20);
    check_file();
    check_claims();
    check_times();
    check_line();
    check_alike();
    for (size_t i = 0; i < sizeof(preferences) / sizeof(preferences[0]); i++) {
        uint32_t set = UINT32_MAX;

        CHECK((keys_preferences(span_of(preferences[i].text), &set) == ERR_OK) ==
                      (preferences[i].set != UINT32_MAX) &&
                  set == preferences[i].set,
              preferences[i].text);
    }
    arena_fini(&arena);
    return tap_done();
}

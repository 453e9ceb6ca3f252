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
check_line(void)
{
    char text[KEY_TEXT_BYTES_MAX + 2], file[8192] = "keys:\n";
    unsigned char sha256[KEY_SHA256_BYTES];
    struct span line;
    size_t bytes = strlen(file);

    memset(text, 'k', sizeof(text));
    for (unsigned i = 0; i < 20; i++) { /* keys k, kk, kkk ... */
        keys_sha256((struct span){text, i + 1}, sha256);
        CHECK(keys_line(SPAN_LIT("bob-1"), sha256, i, i % 2 == 0 ? 0 : 1000,
                        i % 3 == 0   ? PRIORITY_NORMAL
                        : i % 3 == 1 ? PRIORITY_LOW
                                     : PRIORITY_HIGH,
                        &arena, &line) == ERR_OK,
              "a line");
        memcpy(file + bytes, line.data, line.bytes); /* 20 lines of some 130 bytes */
        bytes += line.bytes;
    }
    CHECK(parse((struct span){file, bytes}) == ERR_OK && keys.count == 20,
          "lines appended make a file");
    for (unsigned i = 0; i < 20; i++) {
        const struct key_entry *entry = keys_find(&keys, (struct span){text, i + 1});

        CHECK(entry != NULL && entry->concurrency_max == i &&
                  entry->tokens_per_minute_max == (i % 2 == 0 ? 0 : 1000) &&
                  entry->priority == (i % 3 == 0   ? PRIORITY_NORMAL
                                      : i % 3 == 1 ? PRIORITY_LOW
                                                   : PRIORITY_HIGH),
              "each key is found with its limits");
    }
    keys_sha256((struct span){text, KEY_TEXT_BYTES_MAX + 1}, keys.list[0].sha256);
    CHECK(keys_find(&keys, (struct span){text, KEY_TEXT_BYTES_MAX + 1}) == NULL, "too long a key");
    CHECK(keys_line(SPAN_LIT("Bob"), sha256, 0, 0, PRIORITY_NORMAL, &arena, &line) == ERR_ARG,
          "no name");
    CHECK(keys_line(SPAN_LIT("a"), sha256, UINT32_MAX, 0, PRIORITY_NORMAL, &arena, &line) ==
              ERR_ARG,
          "too large");
}

int
main(void)
{
    arena_init(&arena, 4u << 20);
    check_file();
    check_line();
    arena_fini(&arena);
    return tap_done();
}

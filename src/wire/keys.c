/* keys - the key file by a schema of its own, and the look-up: SHA-256 of what the client sent,
 * then a binary search, so that neither the file nor a leak of memory gives a key away; see keys.h.
 */
#include "wire/keys.h"

/* One hash a request: the plain functions, a third of what EVP's look-ups and allocations cost. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "wire/schema.h"

void
keys_sha256(struct span text, unsigned char ret_sha256[KEY_SHA256_BYTES])
{
    SHA256_CTX state;

    /* these cannot fail: they only compute */
    must(SHA256_Init(&state) == 1 && SHA256_Update(&state, text.data, text.bytes) == 1);
    must(SHA256_Final(ret_sha256, &state) == 1);
}

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* struct key_entry */
static void
read_sha256(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct key_entry *entry = base;
    bool good = node->text.bytes == 2 * (size_t)KEY_SHA256_BYTES;

    if (!schema_is_scalar(r, key, node))
        return;
    for (size_t i = 0; good && i < KEY_SHA256_BYTES; i++) {
        int high = digit_of(node->text.data[2 * i]), low = digit_of(node->text.data[2 * i + 1]);

        good = high >= 0 && low >= 0;
        if (good)
            entry->sha256[i] = (unsigned char)(high * 16 + low);
    }
    if (!good)
        schema_bad_value(r, key, node, "64 hexadecimal digits (`isochrone key add` writes them)");
}

static const char *const priority_names[PRIORITIES_MAX] = {
    [PRIORITY_HIGH] = "high", [PRIORITY_NORMAL] = "normal", [PRIORITY_LOW] = "low"};

enum err
keys_priority(struct span text, enum priority *ret_priority)
{
    for (unsigned i = 0; i < PRIORITIES_MAX; i++) {
        if (span_eq_text(text, priority_names[i])) {
            *ret_priority = (enum priority)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

/* struct key_entry */
static void
read_priority(struct schema_reader *r, const struct schema_key *key,
              const struct yaml_tree_node *node, void *base)
{
    struct key_entry *entry = base;

    if (!schema_is_scalar(r, key, node))
        return;
    if (keys_priority(node->text, &entry->priority) != ERR_OK)
        schema_bad_value(r, key, node, "high, normal or low");
}

#define AT(member_) .offset = offsetof(struct key_entry, member_)

static const struct schema_key entry_keys[] = {
    {.name = "name", .read = schema_name, AT(name), .example = "alice"},
    {.name = "sha256", .read = read_sha256, .example = "\"9f86d0...\""},
    {.name = "concurrency",
     .read = schema_u32,
     AT(concurrency_max),
     .example = "32",
     .max = KEY_CONCURRENCY_MAX},
    {.name = "tokens_per_minute",
     .read = schema_u64,
     AT(tokens_per_minute_max),
     .example = "100000",
     .max = KEY_TOKENS_PER_MINUTE_MAX},
    {.name = "priority", .read = read_priority, .example = "high"},
    {.name = NULL},
};

/* ---- The file. */

static int
entry_order(const void *a, const void *b)
{
    const struct key_entry *x = a, *y = b;

    return memcmp(x->sha256, y->sha256, KEY_SHA256_BYTES);
}

/* struct keys */
static void
read_entries(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct keys *keys = base;

    (void)key;
    if (node->type == YAML_TREE_SCALAR && node->text.bytes == 0)
        return; /* `keys:` and nothing below: nobody may come in */
    if (node->type != YAML_TREE_SEQUENCE || node->count > KEYS_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "keys are a list of at most %u entries; `isochrone key add NAME` writes one",
                       KEYS_MAX);
        return;
    }
    keys->list = arena_zeroed(r->arena, node->count * sizeof(keys->list[0]));
    if (keys->list == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        keys->list[keys->count].priority = PRIORITY_NORMAL;
        schema_read(r, entry_keys, "a key", n, &keys->list[keys->count++]);
        if (n->type != YAML_TREE_MAPPING)
            continue;
        if (yaml_tree_get(n, "name") == NULL || yaml_tree_get(n, "sha256") == NULL)
            config_problem(r->problems, n->line, n->column, false,
                           "a key needs a name and a sha256; `isochrone key add NAME` writes both");
    }
    qsort(keys->list, keys->count, sizeof(keys->list[0]), entry_order);
    for (size_t i = 1; i < keys->count && r->problems->errors == 0; i++) {
        const struct key_entry *a = &keys->list[i - 1], *b = &keys->list[i];

        if (memcmp(a->sha256, b->sha256, KEY_SHA256_BYTES) == 0)
            config_problem(r->problems, node->line, node->column, false,
                           "`%.*s` and `%.*s` are one key: take one out", (int)a->name.bytes,
                           a->name.data, (int)b->name.bytes, b->name.data);
    }
}

static const struct schema_key file_keys[] = {
    {.name = "keys", .read = read_entries},
    {.name = NULL},
};

enum err
keys_parse(struct span yaml, struct arena *arena, struct keys *ret_keys,
           struct config_problems *ret_problems)
{
    struct schema_reader r = {.arena = arena, .problems = ret_problems};
    struct yaml_tree_node *root = NULL;
    enum err err;

    *ret_keys = (struct keys){NULL, 0};
    ret_problems->count = 0;
    ret_problems->errors = 0;
    err = yaml_tree_parse(yaml, arena, ret_problems, &root);
    if (err == ERR_OK && root != NULL)
        schema_read(&r, file_keys, "the key file", root, ret_keys);
    return ret_problems->errors > 0 ? ERR_PARSE : ERR_OK;
}

const struct key_entry *
keys_find(const struct keys *keys, struct span key_text)
{
    struct key_entry wanted = {.name = {NULL, 0}};

    if (key_text.bytes == 0 || key_text.bytes > KEY_TEXT_BYTES_MAX || keys->count == 0)
        return NULL;
    keys_sha256(key_text, wanted.sha256);
    return bsearch(&wanted, keys->list, keys->count, sizeof(keys->list[0]), entry_order);
}

enum err
keys_line(struct span name, const unsigned char sha256[KEY_SHA256_BYTES], uint32_t concurrency_max,
          uint64_t tokens_per_minute_max, enum priority priority, struct arena *arena,
          struct span *ret_line)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * KEY_SHA256_BYTES + 1] = {0}, limits[128];
    int bytes = 0;

    if (!config_is_name(name) || concurrency_max > KEY_CONCURRENCY_MAX ||
        tokens_per_minute_max > KEY_TOKENS_PER_MINUTE_MAX || priority >= PRIORITIES_MAX)
        return ERR_ARG;
    for (size_t i = 0; i < KEY_SHA256_BYTES; i++) {
        hex[2 * i] = digits[sha256[i] >> 4];
        hex[2 * i + 1] = digits[sha256[i] & 15];
    }
    limits[0] = '\0';
    if (concurrency_max > 0)
        bytes = snprintf(limits, sizeof(limits), ", concurrency: %" PRIu32, concurrency_max);
    if (tokens_per_minute_max > 0)
        bytes += snprintf(limits + bytes, sizeof(limits) - (size_t)bytes,
                          ", tokens_per_minute: %" PRIu64, tokens_per_minute_max);
    if (priority != PRIORITY_NORMAL)
        snprintf(limits + bytes, sizeof(limits) - (size_t)bytes, ", priority: %s",
                 priority_names[priority]);
    return arena_printf(arena, ret_line, "  - {name: %.*s, sha256: \"%s\"%s}\n", (int)name.bytes,
                        name.data, hex, limits);
}

/* keys - the key file by a schema of its own, and the look-up: SHA-256 of what the client sent,
 * then a binary search, so that neither the file nor a leak of memory gives a key away; see keys.h.
 *
 * Time tells nothing. What is compared is never a key but its hash: a client who measures how far a
 * comparison went learns how the hash of its own guess begins, which it could have computed, and
 * how the hash of some key begins, from which nobody gets to a key of 256 random bits. Even so only
 * the first 8 bytes steer the search; the rest is compared in constant time.
 */
#include "wire/keys.h"

/* One hash a request: the plain functions, a third of what EVP's look-ups and allocations cost. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdarg.h>
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

const char *
keys_priority_name(enum priority priority)
{
    return priority_names[priority];
}

/* enum priority */
static void
read_priority(struct schema_reader *r, const struct schema_key *key,
              const struct yaml_tree_node *node, void *base)
{
    enum priority *ret = (void *)((char *)base + key->offset);

    if (!schema_is_scalar(r, key, node))
        return;
    if (keys_priority(node->text, ret) != ERR_OK)
        schema_bad_value(r, key, node, "high, normal or low");
}

static const struct {
    const char *name;
    uint32_t bit;
} preference_names[] = {{"deadline", KEY_MAY_DEADLINE}, {"models", KEY_MAY_MODELS}};
#define PREFERENCES_COUNT (sizeof(preference_names) / sizeof(preference_names[0]))

/* One word; 0: it is none. */
static uint32_t
preference_bit(struct span word)
{
    for (size_t i = 0; i < PREFERENCES_COUNT; i++) {
        if (span_eq_text(word, preference_names[i].name))
            return preference_names[i].bit;
    }
    return 0;
}

enum err
keys_preferences(struct span text, uint32_t *ret_preferences)
{
    uint32_t set = 0, bit;

    if (span_eq_text(text, "none")) {
        *ret_preferences = 0;
        return ERR_OK;
    }
    for (;;) {
        size_t comma = span_find(text, ',');

        bit = preference_bit(span_trim((struct span){text.data, comma}));
        if (bit == 0)
            return ERR_NOT_FOUND;
        set |= bit;
        if (comma == text.bytes)
            break;
        text = span_from(text, comma + 1);
    }
    *ret_preferences = set;
    return ERR_OK;
}

/* struct key_entry: a list, which may be empty */
static void
read_preferences(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, void *base)
{
    struct key_entry *entry = base;

    if (node->type != YAML_TREE_SEQUENCE) {
        config_problem(r->problems, node->line, node->column, false,
                       "preferences are a list; write for example `preferences: %s`", key->example);
        return;
    }
    entry->preferences = 0;
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        uint32_t bit = n->type == YAML_TREE_SCALAR ? preference_bit(n->text) : 0;

        if (bit == 0 && n->type != YAML_TREE_BAD)
            config_problem(r->problems, n->line, n->column, false,
                           "a preference is deadline or models");
        entry->preferences |= bit;
    }
}

/* struct key_entry */
static void
read_models(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct key_entry *entry = base;

    if (node->type != YAML_TREE_SEQUENCE || node->count == 0 || node->count > KEY_MODELS_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "models are a list of 1 to %u names; write for example `models: %s`, or "
                       "leave it out for all",
                       KEY_MODELS_MAX, key->example);
        return;
    }
    entry->models = arena_zeroed(r->arena, node->count * sizeof(entry->models[0]));
    if (entry->models == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        if (n->type == YAML_TREE_SCALAR && config_is_model_name(n->text))
            entry->models[entry->model_count++] = n->text;
        else if (n->type != YAML_TREE_BAD)
            config_problem(r->problems, n->line, n->column, false,
                           "a model's name has 1 to %u characters and no spaces",
                           CONFIG_MODEL_NAME_BYTES_MAX);
    }
}

/* ---- Times, in the calendar that everybody uses, all in UTC. */

#define YEAR_MIN  1970u
#define YEAR_MAX  9999u
#define DAY_S     86400u
#define DATE_FORM "0000-00-00"
#define TIME_FORM "0000-00-00T00:00:00Z"

static uint32_t
month_days(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

/* Days from 1970 to the first of this year. */
static uint64_t
year_days(uint32_t year)
{
    uint64_t y = year - 1;

    return 365 * (uint64_t)(year - YEAR_MIN) + (y / 4 - y / 100 + y / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400);
}

/* Is text of this form, where 0 stands for any digit? */
static bool
has_form(struct span text, struct span form)
{
    if (text.bytes != form.bytes)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        bool digit = text.data[i] >= '0' && text.data[i] <= '9';

        if (form.data[i] == '0' ? !digit : text.data[i] != form.data[i])
            return false;
    }
    return true;
}

static uint32_t
digits_at(struct span text, size_t from, size_t count)
{
    uint32_t value = 0;

    for (size_t i = from; i < from + count; i++)
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    return value;
}

enum err
keys_time(struct span text, uint64_t *ret_s)
{
    bool exact = has_form(text, SPAN_LIT(TIME_FORM));
    uint32_t year, month, day, hour = 0, minute = 0, second = 0;
    uint64_t days;

    if (!exact && !has_form(text, SPAN_LIT(DATE_FORM)))
        return ERR_PARSE;
    year = digits_at(text, 0, 4);
    month = digits_at(text, 5, 2);
    day = digits_at(text, 8, 2);
    if (exact) {
        hour = digits_at(text, 11, 2);
        minute = digits_at(text, 14, 2);
        second = digits_at(text, 17, 2);
    }
    if (year < YEAR_MIN || month < 1 || month > 12 || day < 1 || day > month_days(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return ERR_PARSE;
    days = year_days(year) + day - 1;
    for (uint32_t m = 1; m < month; m++)
        days += month_days(year, m);
    *ret_s = days * DAY_S + hour * 3600 + minute * 60 + second;
    return ERR_OK;
}

static void
put_digits(char *at, size_t count, uint64_t value)
{
    while (count > 0) {
        at[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

void
keys_time_text(uint64_t s, char ret_text[KEYS_TIME_BYTES])
{
    uint64_t days = s / DAY_S, rest = s % DAY_S;
    uint32_t year, month = 1;

    memcpy(ret_text, TIME_FORM, KEYS_TIME_BYTES);
    if (days >= year_days(YEAR_MAX + 1))
        days = year_days(YEAR_MAX + 1) - 1;
    year = YEAR_MIN + (uint32_t)(days / 366);
    while (year_days(year + 1) <= days)
        year++;
    days -= year_days(year);
    for (; days >= month_days(year, month); month++)
        days -= month_days(year, month);
    put_digits(ret_text, 4, year);
    put_digits(ret_text + 5, 2, month);
    put_digits(ret_text + 8, 2, days + 1);
    put_digits(ret_text + 11, 2, rest / 3600);
    put_digits(ret_text + 14, 2, rest / 60 % 60);
    put_digits(ret_text + 17, 2, rest % 60);
}

/* struct key_entry */
static void
read_expires(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct key_entry *entry = base;

    if (!schema_is_scalar(r, key, node))
        return;
    if (keys_time(node->text, &entry->expires_s) != ERR_OK || entry->expires_s == 0)
        schema_bad_value(r, key, node, "a day, or a time in UTC");
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
    {.name = "requests_per_minute",
     .read = schema_u64,
     AT(requests_per_minute_max),
     .example = "600",
     .max = KEY_REQUESTS_PER_MINUTE_MAX},
    {.name = "tokens_per_minute",
     .read = schema_u64,
     AT(tokens_per_minute_max),
     .example = "100000",
     .max = KEY_TOKENS_PER_MINUTE_MAX},
    {.name = "priority", .read = read_priority, AT(priority), .example = "normal"},
    {.name = "may_claim", .read = read_priority, AT(best), .example = "high"},
    {.name = "preferences", .read = read_preferences, .example = "[deadline, models]"},
    {.name = "models", .read = read_models, .example = "[llama-3.1-8b]"},
    {.name = "expires", .read = read_expires, .example = "2027-01-31"},
    {.name = NULL},
};

/* ---- The file. */

static int
entry_order(const void *a, const void *b)
{
    const struct key_entry *x = a, *y = b;

    return memcmp(x->sha256, y->sha256, KEY_SHA256_BYTES);
}

static void
read_entry(struct schema_reader *r, const struct yaml_tree_node *node, struct key_entry *entry)
{
    const struct yaml_tree_node *claim = yaml_tree_get(node, "may_claim");

    *entry = (struct key_entry){.line = node->line,
                                .priority = PRIORITY_NORMAL,
                                .best = PRIORITIES_MAX,
                                .preferences = KEY_PREFERENCES_ALL};
    schema_read(r, entry_keys, "a key", node, entry);
    if (node->type != YAML_TREE_MAPPING)
        return;
    if (yaml_tree_get(node, "name") == NULL || yaml_tree_get(node, "sha256") == NULL)
        config_problem(r->problems, node->line, node->column, false,
                       "a key needs a name and a sha256; `isochrone key add NAME` writes both");
    if (entry->best == PRIORITIES_MAX)
        entry->best = entry->priority;
    else if (entry->best > entry->priority)
        config_problem(r->problems, claim->line, claim->column, false,
                       "may_claim: %s is below the key's own priority, %s",
                       priority_names[entry->best], priority_names[entry->priority]);
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
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next)
        read_entry(r, n, &keys->list[keys->count++]);
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

/* The first 8 bytes as a number that sorts as they do. */
static uint64_t
beginning(const unsigned char sha256[KEY_SHA256_BYTES])
{
    uint64_t value = 0;

    for (size_t i = 0; i < sizeof(value); i++)
        value = value << 8 | sha256[i];
    return value;
}

const struct key_entry *
keys_find(const struct keys *keys, struct span key_text)
{
    unsigned char sha256[KEY_SHA256_BYTES];

    if (key_text.bytes == 0 || key_text.bytes > KEY_TEXT_BYTES_MAX)
        return NULL;
    keys_sha256(key_text, sha256);
    return keys_find_sha256(keys, sha256);
}

const struct key_entry *
keys_find_sha256(const struct keys *keys, const unsigned char sha256[KEY_SHA256_BYTES])
{
    const struct key_entry *found = NULL;
    size_t low = 0, high = keys->count;
    uint64_t wanted = beginning(sha256);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (beginning(keys->list[middle].sha256) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < keys->count && beginning(keys->list[low].sha256) == wanted; low++) {
        if (CRYPTO_memcmp(keys->list[low].sha256, sha256, KEY_SHA256_BYTES) == 0)
            found = &keys->list[low];
    }
    return found;
}

/* ---- A line for the file. */

struct line {
    struct arena *arena;
    struct span text;
    enum err err;
};

static void line_add(struct line *line, const char *format, ...) PRINTF_LIKE(2, 3);
static void
line_add(struct line *line, const char *format, ...)
{
    char text[CONFIG_MODEL_NAME_BYTES_MAX + 64];
    va_list args;

    if (line->err != ERR_OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    line->err = arena_printf(line->arena, &line->text, "%.*s%s", (int)line->text.bytes,
                             line->text.data, text);
}

static bool
is_writable(const struct key_entry *e)
{
    for (size_t i = 0; i < e->model_count; i++) {
        for (size_t k = 0; k < e->models[i].bytes; k++) {
            char c = e->models[i].data[k];

            if (c == '"' || c == '\\' || c < 0x21 || c > 0x7e)
                return false; /* inside quotes all others stand for themselves */
        }
        if (!config_is_model_name(e->models[i]))
            return false;
    }
    return config_is_name(e->name) && e->concurrency_max <= KEY_CONCURRENCY_MAX &&
           e->requests_per_minute_max <= KEY_REQUESTS_PER_MINUTE_MAX &&
           e->tokens_per_minute_max <= KEY_TOKENS_PER_MINUTE_MAX && e->priority < PRIORITIES_MAX &&
           e->best <= e->priority && e->model_count <= KEY_MODELS_MAX;
}

enum err
keys_line(const struct key_entry *e, struct arena *arena, struct span *ret_line)
{
    struct line line = {.arena = arena, .text = SPAN_LIT("")};
    char until[KEYS_TIME_BYTES];

    if (!is_writable(e))
        return ERR_ARG;
    line_add(&line, "  - {name: %.*s, sha256: \"", (int)e->name.bytes, e->name.data);
    for (size_t i = 0; i < KEY_SHA256_BYTES; i++)
        line_add(&line, "%02x", e->sha256[i]);
    line_add(&line, "\"");
    if (e->concurrency_max > 0)
        line_add(&line, ", concurrency: %" PRIu32, e->concurrency_max);
    if (e->requests_per_minute_max > 0)
        line_add(&line, ", requests_per_minute: %" PRIu64, e->requests_per_minute_max);
    if (e->tokens_per_minute_max > 0)
        line_add(&line, ", tokens_per_minute: %" PRIu64, e->tokens_per_minute_max);
    if (e->priority != PRIORITY_NORMAL)
        line_add(&line, ", priority: %s", priority_names[e->priority]);
    if (e->best != e->priority)
        line_add(&line, ", may_claim: %s", priority_names[e->best]);
    if (e->preferences != KEY_PREFERENCES_ALL) {
        const char *comma = "";

        line_add(&line, ", preferences: [");
        for (size_t i = 0; i < PREFERENCES_COUNT; i++) {
            if ((e->preferences & preference_names[i].bit) == 0)
                continue;
            line_add(&line, "%s%s", comma, preference_names[i].name);
            comma = ", ";
        }
        line_add(&line, "]");
    }
    for (size_t i = 0; i < e->model_count; i++)
        line_add(&line, "%s\"%.*s\"%s", i == 0 ? ", models: [" : ", ", (int)e->models[i].bytes,
                 e->models[i].data, i + 1 == e->model_count ? "]" : "");
    if (e->expires_s > 0) {
        keys_time_text(e->expires_s, until);
        line_add(&line, ", expires: \"%s\"", until);
    }
    line_add(&line, "}\n");
    *ret_line = line.text;
    return line.err;
}

/* cmd_key - keys of clients: make one (32 random bytes, shown once; the file gets its SHA-256 and
 * limits), list them, take one out. Those of nodes, operators and gateways are cli_identity's.
 *
 * The file is replaced as a whole (cli_edit), after the new text was read as a gateway would read
 * it: a gateway never finds a file that this command broke. What people wrote into it stays. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "cli/cli_edit.h"
#include "cli/cli_identity.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "wire/keys.h"

#define KEY_RANDOM_BYTES 32u
#define KEY_PREFIX       "isk-"
#define KEY_TEXT_SIZE    (sizeof(KEY_PREFIX) + (KEY_RANDOM_BYTES * 4 + 2) / 3)
#define KEY_MEMORY_MAX   ((size_t)256 << 20)
#define KEY_FILE_DEFAULT "keys.yaml"

const char cmd_key_help[] =
    "Make a key for a client, shown once; list them, take one out.\n"
    "\n"
    "  isochrone key add alice\n"
    "  isochrone key add alice --file /etc/isochrone/keys.yaml --rpm 600\n"
    "  KEY=$(isochrone key add batch --priority low --models llama-3.1-8b)\n"
    "  isochrone key list\n"
    "  isochrone key remove alice\n"
    "  isochrone key node --help  # keys of nodes, operators, gateways\n"
    "\n"
    "      --file FILE             the key file (keys.yaml); made if it is not there\n"
    "      --json                  name and key, or the list, as JSON\n"
    "For a new one; what is left out is not limited:\n"
    "      --concurrency N         requests at once\n"
    "      --rpm N                 requests a minute\n"
    "      --tpm N                 tokens a minute, prompts and answers together\n"
    "      --priority CLASS        high, normal or low: who goes first when not all\n"
    "                              can (normal)\n"
    "      --may-claim CLASS       the highest class that a request may ask for\n"
    "                              itself (x-gateway-inference-objective); without it\n"
    "                              the key's own\n"
    "      --preferences LIST      wishes that are granted: deadline, models, or none\n"
    "                              (all)\n"
    "      --models LIST           models that it may use, with commas between them\n"
    "                              (all)\n"
    "      --expires TIME          valid until: 2027-01-31 or 2027-01-31T18:00:00Z,\n"
    "                              in UTC\n"
    "\n"
    "Clients send theirs as `Authorization: Bearer isk-...`. A running gateway reads\n"
    "the file again on SIGHUP; what was counted stays. `isochrone usage` shows what\n"
    "each key has used.\n"
    "Exit status: 0 done, 1 not done, 2 wrong use.\n";

struct key_command {
    const char *verb, *name, *path;
    const char *concurrency, *requests, *tokens, *priority, *claim, *preferences, *models, *expires;
    bool json;
    struct key_entry entry;   /* a new one */
    char text[KEY_TEXT_SIZE]; /* the key */
    struct arena arena;
};

/* isk- and 32 random bytes in base64 for URLs. */
static enum err
key_make(char text[KEY_TEXT_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[KEY_RANDOM_BYTES];
    char *to = text + sizeof(KEY_PREFIX) - 1;
    uint32_t bits = 0, bit_count = 0;

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return ERR_IO; /* up to 256 bytes come whole or not at all */
    memcpy(text, KEY_PREFIX, sizeof(KEY_PREFIX));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bits = bits << 8 | bytes[i];
        bit_count += 8;
        while (bit_count >= 6) {
            bit_count -= 6;
            *to++ = digits[bits >> bit_count & 63];
        }
    }
    if (bit_count > 0)
        *to++ = digits[bits << (6 - bit_count) & 63];
    *to = '\0';
    return ERR_OK;
}

static void
complain(const char *path, const struct config_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        fprintf(stderr, "%s:%u:%u: error: %s\n", path, problems->list[i].line,
                problems->list[i].column, problems->list[i].text);
}

static enum err
refuse_form(const struct key_command *k)
{
    fprintf(stderr,
            "key: %s cannot be changed by this command, because its list is not written line by "
            "line (`keys:`, then `  - {name: ...}` on each)\n",
            k->path);
    return ERR_PARSE;
}

/* The new text can be read, and has so many keys. */
static enum err
check_change(struct key_command *k, struct span text, size_t keys_wanted)
{
    struct config_problems problems;
    struct keys after;

    if (keys_parse(text, &k->arena, &after, &problems) == ERR_OK && after.count == keys_wanted)
        return ERR_OK;
    return refuse_form(k);
}

/* The old text and a line more, into *ret_text. Says why not. */
static enum err
text_with(struct key_command *k, struct span old, const struct keys *before, struct span *ret_text)
{
    struct span line;
    const char *head = "";

    for (size_t i = 0; i < before->count; i++) {
        if (span_eq_text(before->list[i].name, k->name)) {
            fprintf(stderr, "key: %s has a key named %s already; take another name\n", k->path,
                    k->name);
            return ERR_EXISTS;
        }
    }
    if (old.bytes == 0)
        head = "keys:\n";
    else if (old.data[old.bytes - 1] != '\n')
        head = "\n";
    keys_sha256(span_of(k->text), k->entry.sha256);
    if (keys_line(&k->entry, &k->arena, &line) != ERR_OK ||
        arena_printf(&k->arena, ret_text, "%.*s%s%.*s", (int)old.bytes, old.data, head,
                     (int)line.bytes, line.data) != ERR_OK) {
        fprintf(stderr, "key: this does not fit into a key file\n");
        return ERR_FULL;
    }
    return check_change(k, *ret_text, before->count + 1);
}

/* Where line number `line` (from 1) begins. */
static size_t
line_at(struct span text, uint32_t line)
{
    size_t at = 0;

    for (uint32_t i = 1; i < line && at < text.bytes; i++)
        at += span_find(span_from(text, at), '\n') + 1;
    return at < text.bytes ? at : text.bytes;
}

static size_t
indent_of(struct span line)
{
    size_t i = 0;

    while (i < line.bytes && line.data[i] == ' ')
        i++;
    return i;
}

/* The old text without the lines of this entry: its first, and those that follow further to the
 * right. Says why not. */
static enum err
text_without(struct key_command *k, struct span old, const struct keys *before,
             struct span *ret_text)
{
    const struct key_entry *entry = NULL;
    size_t from, to, indent, found = 0;

    for (size_t i = 0; i < before->count; i++) {
        if (span_eq_text(before->list[i].name, k->name)) {
            entry = &before->list[i];
            found++;
        }
    }
    if (found != 1) {
        fprintf(stderr, "key: %s has %s named %s%s\n", k->path,
                found == 0 ? "no key" : "several keys", k->name,
                found == 0 ? "" : ": delete the right one's line by hand");
        return ERR_NOT_FOUND;
    }
    from = line_at(old, entry->line);
    indent = indent_of(span_from(old, from));
    if (!span_starts(span_from(old, from + indent), SPAN_LIT("- ")))
        return refuse_form(k);
    for (to = line_at(old, entry->line + 1); to < old.bytes;) {
        struct span rest = span_from(old, to);

        if (indent_of(rest) <= indent || rest.data[indent_of(rest)] == '\n')
            break;
        to += span_find(rest, '\n') + 1;
    }
    if (to > old.bytes)
        to = old.bytes;
    if (arena_printf(&k->arena, ret_text, "%.*s%.*s", (int)from, old.data, (int)(old.bytes - to),
                     old.data + to) != ERR_OK)
        return ERR_FULL;
    return check_change(k, *ret_text, before->count - 1);
}

typedef enum err change_fn(struct key_command *k, struct span old, const struct keys *before,
                           struct span *ret_text);

/* Change the file. Says why not. */
static int
change(struct key_command *k, change_fn *fn)
{
    struct config_problems problems;
    struct cli_edit edit;
    struct keys before;
    struct span text;
    enum err err = cli_edit_open(&edit, k->path, CONFIG_BYTES_MAX, &k->arena);

    if (err != ERR_OK) {
        fprintf(stderr, "key: %s: %s\n", k->path, cli_read_words(err));
    } else if (keys_parse(edit.text, &k->arena, &before, &problems) != ERR_OK) {
        complain(k->path, &problems);
        err = ERR_PARSE;
    } else {
        err = fn(k, edit.text, &before, &text);
        if (err == ERR_OK) {
            err = cli_edit_replace(&edit, text, &k->arena);
            if (err != ERR_OK)
                fprintf(stderr, "key: %s: %s\n", k->path, cli_read_words(err));
        }
    }
    cli_edit_close(&edit);
    return err == ERR_OK ? CLI_OK : CLI_FAILED;
}

static int
key_add(struct key_command *k)
{
    if (key_make(k->text) != ERR_OK) {
        fprintf(stderr, "key: no random bytes: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    k->entry.name = span_of(k->name);
    if (change(k, text_with) != CLI_OK)
        return CLI_FAILED;
    if (k->json) {
        printf("{\"name\":\"%s\",\"key\":\"%s\"}\n", k->name, k->text);
    } else {
        printf("%s\n", k->text);
        fprintf(stderr, "Keep it: it is shown only this once. Its hash is in %s.\n", k->path);
    }
    return CLI_OK;
}

static int
key_remove(struct key_command *k)
{
    return change(k, text_without);
}

/* ---- The list. */

static int
entry_order(const void *a, const void *b)
{
    const struct key_entry *x = a, *y = b;

    return (x->line > y->line) - (x->line < y->line);
}

static const char *
preferences_text(const struct key_entry *e)
{
    static const char *const texts[] = {"none", "deadline", "models", "deadline, models"};

    return texts[e->preferences & KEY_PREFERENCES_ALL];
}

static void
put_limit(struct cli_table *t, uint64_t limit)
{
    if (limit == 0)
        cli_table_text(t, CLI_PLAIN, "");
    else
        cli_table_printf(t, CLI_PLAIN, "%" PRIu64, limit);
}

static void
print_keys(struct key_command *k, const struct keys *keys)
{
    static const struct cli_column columns[] = {
        {"NAME", "", 12, true, false, 0},        {"AT ONCE", "", 0, false, true, 0},
        {"REQUESTS", "/min", 0, false, true, 0}, {"TOKENS", "/min", 0, false, true, 0},
        {"CLASS", "", 0, true, false, 0},        {"MAY CLAIM", "", 0, true, false, 2},
        {"WISHES", "", 0, true, false, 1},       {"MODELS", "", 12, true, true, 0},
        {"EXPIRES", "", 0, true, true, 0},
    };
    struct cli_table t;

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), &k->arena);
    for (size_t i = 0; i < keys->count; i++) {
        const struct key_entry *e = &keys->list[i];
        char until[KEYS_TIME_BYTES] = "";

        cli_table_text(&t, CLI_PLAIN, e->name.data);
        put_limit(&t, e->concurrency_max);
        put_limit(&t, e->requests_per_minute_max);
        put_limit(&t, e->tokens_per_minute_max);
        cli_table_text(&t, CLI_PLAIN, keys_priority_name(e->priority));
        cli_table_text(&t, CLI_PLAIN, keys_priority_name(e->best));
        cli_table_text(&t, CLI_PLAIN, preferences_text(e));
        if (e->model_count > 1)
            cli_table_printf(&t, CLI_PLAIN, "%s and %zu more", e->models[0].data,
                             e->model_count - 1);
        else
            cli_table_text(&t, CLI_PLAIN, e->model_count == 1 ? e->models[0].data : "");
        if (e->expires_s > 0)
            keys_time_text(e->expires_s, until);
        cli_table_text(&t, CLI_PLAIN, until);
    }
    cli_table_print(&t);
}

static void
put_json_limit(cJSON *json, const char *name, uint64_t limit)
{
    if (limit == 0)
        cJSON_AddNullToObject(json, name);
    else
        cJSON_AddNumberToObject(json, name, (double)limit);
}

static cJSON *
entry_json(const struct key_entry *e)
{
    cJSON *json = cJSON_CreateObject(), *list;
    char until[KEYS_TIME_BYTES];

    cJSON_AddStringToObject(json, "name", e->name.data);
    put_json_limit(json, "concurrency", e->concurrency_max);
    put_json_limit(json, "requests_per_minute", e->requests_per_minute_max);
    put_json_limit(json, "tokens_per_minute", e->tokens_per_minute_max);
    cJSON_AddStringToObject(json, "priority", keys_priority_name(e->priority));
    cJSON_AddStringToObject(json, "may_claim", keys_priority_name(e->best));
    list = cJSON_AddArrayToObject(json, "preferences");
    if ((e->preferences & KEY_MAY_DEADLINE) != 0)
        cJSON_AddItemToArray(list, cJSON_CreateString("deadline"));
    if ((e->preferences & KEY_MAY_MODELS) != 0)
        cJSON_AddItemToArray(list, cJSON_CreateString("models"));
    if (e->model_count == 0)
        cJSON_AddNullToObject(json, "models");
    else
        list = cJSON_AddArrayToObject(json, "models");
    for (size_t i = 0; i < e->model_count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(e->models[i].data));
    keys_time_text(e->expires_s, until);
    if (e->expires_s > 0)
        cJSON_AddStringToObject(json, "expires", until);
    else
        cJSON_AddNullToObject(json, "expires");
    return json;
}

static int
print_keys_json(const struct keys *keys)
{
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "keys");
    char *text;

    for (size_t i = 0; i < keys->count; i++)
        cJSON_AddItemToArray(list, entry_json(&keys->list[i]));
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        return CLI_FAILED;
    puts(text);
    cJSON_free(text);
    return CLI_OK;
}

static int
key_list(struct key_command *k)
{
    struct config_problems problems;
    struct keys keys;
    struct span text;
    enum err err = cli_read_file(k->path, CONFIG_BYTES_MAX, &k->arena, &text);

    if (err != ERR_OK) {
        fprintf(stderr, "key: %s: %s\n", k->path, cli_read_words(err));
        return CLI_FAILED;
    }
    if (keys_parse(text, &k->arena, &keys, &problems) != ERR_OK) {
        complain(k->path, &problems);
        return CLI_FAILED;
    }
    if (keys.count > 0)
        qsort(keys.list, keys.count, sizeof(keys.list[0]), entry_order);
    if (k->json)
        return print_keys_json(&keys);
    if (keys.count == 0)
        printf("no key in %s; `isochrone key add NAME` makes one\n", k->path);
    else
        print_keys(k, &keys);
    return CLI_OK;
}

/* ---- Options. */

/* A limit given as an option; 0 where it is not given. */
static bool
limit_parse(const char *option, const char *text, uint64_t max, uint64_t *ret)
{
    if (text == NULL)
        return true;
    if (span_u64(span_of(text), ret) == ERR_OK && *ret > 0 && *ret <= max)
        return true;
    return cli_identity_wrong(
        "--%s is a whole number from 1 to %" PRIu64 "; leave it out for no limit", option, max);
}

static bool
class_parse(const char *option, const char *text, enum priority *ret)
{
    return text == NULL || keys_priority(span_of(text), ret) == ERR_OK ||
           cli_identity_wrong("--%s is high, normal or low", option);
}

static bool
models_parse(struct key_command *k)
{
    struct span rest = k->models != NULL ? span_of(k->models) : SPAN_LIT("");
    struct key_entry *e = &k->entry;

    e->models = arena_zeroed(&k->arena, KEY_MODELS_MAX * sizeof(e->models[0]));
    if (e->models == NULL)
        return cli_identity_wrong("out of memory");
    while (rest.bytes > 0) {
        size_t comma = span_find(rest, ',');
        struct span name = span_trim((struct span){rest.data, comma});

        if (!config_is_model_name(name) || e->model_count == KEY_MODELS_MAX)
            return cli_identity_wrong(
                "--models is a list of 1 to %u names with commas between them", KEY_MODELS_MAX);
        e->models[e->model_count++] = name;
        rest = span_from(rest, comma + 1);
    }
    return k->models == NULL || e->model_count > 0 || cli_identity_wrong("--models names no model");
}

static bool
limits_parse(struct key_command *k)
{
    struct key_entry *e = &k->entry;
    uint64_t concurrency = 0;

    e->priority = PRIORITY_NORMAL;
    e->preferences = KEY_PREFERENCES_ALL;
    if (!limit_parse("concurrency", k->concurrency, KEY_CONCURRENCY_MAX, &concurrency) ||
        !limit_parse("rpm", k->requests, KEY_REQUESTS_PER_MINUTE_MAX,
                     &e->requests_per_minute_max) ||
        !limit_parse("tpm", k->tokens, KEY_TOKENS_PER_MINUTE_MAX, &e->tokens_per_minute_max) ||
        !class_parse("priority", k->priority, &e->priority))
        return false;
    e->concurrency_max = (uint32_t)concurrency;
    e->best = e->priority;
    if (!class_parse("may-claim", k->claim, &e->best))
        return false;
    if (e->best > e->priority)
        return cli_identity_wrong("--may-claim is below --priority");
    if (k->preferences != NULL &&
        keys_preferences(span_of(k->preferences), &e->preferences) != ERR_OK)
        return cli_identity_wrong(
            "--preferences are deadline and models with commas between them, or none");
    if (k->expires != NULL &&
        (keys_time(span_of(k->expires), &e->expires_s) != ERR_OK || e->expires_s == 0))
        return cli_identity_wrong(
            "--expires is a day or a time in UTC: 2027-01-31 or 2027-01-31T18:00:00Z");
    return models_parse(k);
}

/* False: wrong use, and why was said. */
static bool
options_parse(int argc, char **argv, struct key_command *k)
{
    const struct cli_option options[] = {
        {"file", 'f', NULL, &k->path},
        {"json", 0, &k->json, NULL},
        {"concurrency", 0, NULL, &k->concurrency},
        {"rpm", 0, NULL, &k->requests},
        {"requests-per-minute", 0, NULL, &k->requests},
        {"tpm", 0, NULL, &k->tokens},
        {"tokens-per-minute", 0, NULL, &k->tokens},
        {"priority", 0, NULL, &k->priority},
        {"class", 0, NULL, &k->priority},
        {"may-claim", 0, NULL, &k->claim},
        {"preferences", 0, NULL, &k->preferences},
        {"models", 0, NULL, &k->models},
        {"expires", 0, NULL, &k->expires},
    };
    bool adds, lists;

    if (argc < 2) {
        fputs(cmd_key_help, stderr);
        return false;
    }
    k->verb = argv[1];
    adds = strcmp(k->verb, "add") == 0;
    lists = strcmp(k->verb, "list") == 0;
    if (!adds && !lists && strcmp(k->verb, "remove") != 0)
        return cli_identity_wrong(
            "`%s` is none of add, list, remove, node, operator, gateway, sign and show", k->verb);
    argv[1] = argv[0]; /* the verb is read: what follows are options and a name */
    if (!cli_options(argc - 1, argv + 1, options, sizeof(options) / sizeof(options[0]), &k->name))
        return false;
    if (lists)
        return k->name == NULL || cli_identity_wrong("list takes no name");
    if (k->name == NULL)
        return cli_identity_wrong("whose key? isochrone key %s NAME", k->verb);
    if (!config_is_name(span_of(k->name)))
        return cli_identity_wrong("`%s` is no name: take 1 to 63 of a-z, 0-9 and -", k->name);
    return !adds || limits_parse(k);
}

int
cmd_key(int argc, char **argv)
{
    struct key_command k = {.path = KEY_FILE_DEFAULT};
    int code = CLI_USAGE;

    if (argc > 1 && cli_identity_has(argv[1]))
        return cli_identity(argc - 1, argv + 1);
    arena_init(&k.arena, KEY_MEMORY_MAX);
    if (options_parse(argc, argv, &k)) {
        if (strcmp(k.verb, "add") == 0)
            code = key_add(&k);
        else
            code = strcmp(k.verb, "list") == 0 ? key_list(&k) : key_remove(&k);
    }
    arena_fini(&k.arena);
    return code;
}

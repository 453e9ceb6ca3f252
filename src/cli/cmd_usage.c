/* cmd_usage - what each key used of each model, as a gateway wrote it down. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "wire/config.h"

const char cmd_usage_help[] =
    "What each key used of each model: requests and tokens.\n"
    "\n"
    "  isochrone usage                      # of the last 24 hours\n"
    "  isochrone usage --since 7d --by key\n"
    "  isochrone usage --key alice --by hour,model\n"
    "  isochrone usage --json\n"
    "\n"
    "      --since TIME       back from now: 24h, 90m, 7d (24h); whole hours are\n"
    "                         shown\n"
    "      --by LIST          what to tell apart: key, model, hour (key,model)\n"
    "      --key NAME         of this key alone\n" CLI_ADMIN_HELP "\n"
    "FAILED and REFUSED are among REQUESTS: answers of 5xx, and what the client was\n"
    "not let have.\n"
    "CACHED is among PROMPT, where engines tell it. Who left early is counted by\n"
    "estimate. The figures are a second or two old, and kept for limits.usage_days.\n"
    "Exit status: 0 done, 1 no answer or no usage is kept, 2 wrong use.\n";

struct usage_options {
    const char *since, *by, *key;
};

/* Letters, digits and commas: what all of these values are made of. */
static bool
is_plain(const char *text)
{
    return text == NULL || (text[0] != '\0' &&
                            strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789,") == strlen(text));
}

static bool
options_good(const struct usage_options *o)
{
    if (!is_plain(o->since))
        fprintf(stderr, "isochrone usage: --since is a time back from now: 24h, 90m, 7d\n");
    else if (!is_plain(o->by))
        fprintf(stderr, "isochrone usage: --by is key, model and hour, with commas between them\n");
    else if (o->key != NULL && !config_is_name(span_of(o->key)))
        fprintf(stderr, "isochrone usage: `%s` is no name of a key\n", o->key);
    else
        return true;
    return false;
}

static bool
is_by(const cJSON *json, const char *word)
{
    const cJSON *by;

    cJSON_ArrayForEach(by, cJSON_GetObjectItemCaseSensitive(json, "by"))
    {
        if (cJSON_IsString(by) && strcmp(by->valuestring, word) == 0)
            return true;
    }
    return false;
}

/* "2026-11-21T10:00:00Z" as "2026-11-21 10:00". */
static void
put_hour(struct cli_table *t, const char *text)
{
    if (strlen(text) == 20)
        cli_table_printf(t, CLI_PLAIN, "%.10s %.5s", text, text + 11);
    else
        cli_table_text(t, CLI_PLAIN, text);
}

static void
put_count(struct cli_table *t, enum cli_colour colour, const cJSON *row, const char *name)
{
    double value = cli_json_number(row, name);

    cli_table_printf(t, value > 0.0 ? colour : CLI_PLAIN, "%.0f", value);
}

static void
print_rows(struct cli_admin *a, const cJSON *json)
{
    static const struct cli_column columns[] = {
        {"HOUR", "UTC", 0, true, true, 0},        {"KEY", "", 12, true, true, 0},
        {"MODEL", "", 12, true, true, 0},         {"REQUESTS", "", 0, false, false, 0},
        {"FAILED", "", 0, false, true, 2},        {"REFUSED", "", 0, false, true, 1},
        {"PROMPT", "tokens", 0, false, false, 0}, {"CACHED", "tokens", 0, false, true, 3},
        {"OUTPUT", "tokens", 0, false, false, 0},
    };
    bool by_hour = is_by(json, "hour"), by_key = is_by(json, "key"),
         by_model = is_by(json, "model");
    struct cli_table t;
    const cJSON *row;

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), &a->arena);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "rows"))
    {
        const char *key = cli_json_text(row, "key"), *model = cli_json_text(row, "model");

        put_hour(&t, by_hour ? cli_json_text(row, "hour") : "");
        cli_table_text(&t, CLI_PLAIN, by_key && key[0] == '\0' ? "(without)" : key);
        cli_table_text(&t, CLI_PLAIN, by_model && model[0] == '\0' ? "(none)" : model);
        put_count(&t, CLI_PLAIN, row, "requests");
        put_count(&t, CLI_BAD, row, "failed");
        put_count(&t, CLI_WARN, row, "refused");
        put_count(&t, CLI_PLAIN, row, "prompt_tokens");
        put_count(&t, CLI_PLAIN, row, "cached_tokens");
        put_count(&t, CLI_PLAIN, row, "output_tokens");
    }
    cli_table_print(&t);
    if (cli_json_true(json, "more"))
        puts("\nand more: ask for less with --since, --key or --by");
}

static int
show(struct cli_admin *a, const struct usage_options *o)
{
    struct span path, text;
    cJSON *json;

    if (arena_printf(&a->arena, &path, "/network/v1/usage?since=%s%s%s%s%s",
                     o->since != NULL ? o->since : "24h", o->by != NULL ? "&by=" : "",
                     o->by != NULL ? o->by : "", o->key != NULL ? "&key=" : "",
                     o->key != NULL ? o->key : "") != ERR_OK)
        return CLI_FAILED;
    json = cli_admin_json(a, path.data, (struct span){NULL, 0}, &text);
    if (json == NULL)
        return CLI_FAILED;
    if (a->json)
        printf("%.*s\n", (int)text.bytes, text.data);
    else if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "rows")) == 0)
        puts("nothing was used in this time");
    else
        print_rows(a, json);
    cJSON_Delete(json);
    return CLI_OK;
}

int
cmd_usage(int argc, char **argv)
{
    struct cli_admin a = {.command = argv[0]};
    struct usage_options o = {NULL, NULL, NULL};
    const struct cli_option options[] = {{"since", 0, NULL, &o.since},
                                         {"by", 0, NULL, &o.by},
                                         {"key", 0, NULL, &o.key},
                                         CLI_ADMIN_OPTIONS(a)};
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), NULL) ||
        !options_good(&o))
        return CLI_USAGE;
    result = cli_admin_open(&a);
    if (result == CLI_OK)
        result = show(&a, &o);
    cli_admin_close(&a);
    return result;
}

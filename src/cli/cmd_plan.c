/* cmd_plan - what nodes were asked to load and unload, by whom, why, and what came of it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"

#define WORDS_MAX 16u /* lines of what was said; --json has all */

const char cmd_plan_help[] =
    "What nodes were asked to load and unload, by whom, why, and what came of it.\n"
    "\n"
    "  isochrone plan\n"
    "  isochrone plan --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "WHY: spilled: requests that had to wait or go far have cost as much as a load;\n"
    "headroom: more is expected than the copies take; ready_nowhere; gives_way:\n"
    "another model is worth more there; asked: a person wanted it. WORTH: waiting\n"
    "that it saves (of what gives way: costs), in ms a second. Below: what nodes and\n"
    "engines said, the last first.\n"
    "Exit status: 0 done, 1 no answer, 2 wrong use.\n";

static enum cli_colour
colour_of(const char *state)
{
    if (strcmp(state, "done") == 0)
        return CLI_GOOD;
    return strcmp(state, "asked") == 0 || strcmp(state, "begun") == 0 ? CLI_WARN : CLI_BAD;
}

static void
print_row(struct cli_table *t, const cJSON *d)
{
    const char *state = cli_json_text(d, "state");
    bool is_open = strcmp(state, "begun") == 0;
    char took[CLI_NUMBER_BYTES] = "-";
    double took_ms = cli_json_number(d, is_open ? "ready_in_ms" : "took_ms");

    if (isfinite(took_ms))
        cli_milliseconds(took_ms, took);
    cli_table_text(t, CLI_PLAIN, cli_json_text(d, "node"));
    cli_table_text(t, CLI_PLAIN, cli_json_text(d, "model"));
    cli_table_text(t, CLI_PLAIN, cli_json_text(d, "action"));
    cli_table_text(t, CLI_PLAIN, cli_json_text(d, "reason"));
    cli_table_text(t, colour_of(state), state);
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(d, "asked_ago_ms") / 1e3 + 0.5));
    cli_table_printf(t, CLI_PLAIN, "%s%s", is_open && isfinite(took_ms) ? "left: " : "", took);
    cli_table_number(t, CLI_PLAIN, cli_json_number(d, "worth_ms_s"));
}

static bool
is_same(const cJSON *a, const cJSON *b)
{
    static const char *const keys[] = {"node", "model", "action", "words"};
    bool same = true;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        same = same && strcmp(cli_json_text(a, keys[i]), cli_json_text(b, keys[i])) == 0;
    return same;
}

/* What nodes and engines said, whole, each once: the last first. */
static void
print_words(const cJSON *list)
{
    const cJSON *d, *before;
    unsigned count = 0;

    cJSON_ArrayForEach(d, list)
    {
        bool is_told = cli_json_text(d, "words")[0] == '\0' || count == WORDS_MAX;

        for (before = list->child; before != d && !is_told; before = before->next)
            is_told = is_same(before, d);
        if (is_told)
            continue;
        cli_print(stdout, cli_json_text(d, "node"));
        fputs(": ", stdout);
        cli_print(stdout, cli_json_text(d, "action"));
        fputs(cli_json_text(d, "model")[0] != '\0' ? " " : "", stdout);
        cli_print(stdout, cli_json_text(d, "model"));
        fputs(": ", stdout);
        cli_print(stdout, cli_json_text(d, "words"));
        putchar('\n');
        count++;
    }
    if (count > 0)
        putchar('\n');
}

static void
print_plan(struct cli_admin *a, const cJSON *json)
{
    static const struct cli_column columns[] = {
        {"NODE", "", 16, true, false, 0}, {"MODEL", "", 20, true, false, 0},
        {"WHAT", "", 0, true, false, 0},  {"WHY", "", 0, true, false, 0},
        {"STATE", "", 0, true, false, 0}, {"ASKED", "s ago", 0, false, false, 0},
        {"TOOK", "", 0, true, true, 0},   {"WORTH", "ms/s", 0, false, true, 1},
    };
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "directives"), *d;
    double steered = cli_json_number(json, "nodes_steered");
    struct cli_table t;

    if (cJSON_GetArraySize(list) > 0) {
        cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), &a->arena);
        cJSON_ArrayForEach(d, list)
        {
            print_row(&t, d);
        }
        cli_table_print(&t);
        putchar('\n');
        print_words(list);
    }
    if (steered > 0.0) {
        printf("%.0f node%s steered by this gateway%s\n", steered, steered == 1.0 ? " is" : "s are",
               cJSON_GetArraySize(list) == 0 ? "; nothing was asked yet" : "");
        return;
    }
    fputs("no node is steered by this gateway: ", stdout);
    cli_print(stdout, cli_json_text(json, "why_none"));
    putchar('\n');
}

int
cmd_plan(int argc, char **argv)
{
    struct cli_admin a = {.command = argv[0]};
    const struct cli_option options[] = {CLI_ADMIN_OPTIONS(a)};
    struct span text;
    cJSON *json;
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), NULL))
        return CLI_USAGE;
    result = cli_admin_open(&a);
    if (result == CLI_OK) {
        json = cli_admin_json(&a, "/network/v1/plan", (struct span){NULL, 0}, &text);
        if (json == NULL)
            result = CLI_FAILED;
        else if (a.json)
            printf("%.*s\n", (int)text.bytes, text.data);
        else
            print_plan(&a, json);
        cJSON_Delete(json);
    }
    cli_admin_close(&a);
    return result;
}

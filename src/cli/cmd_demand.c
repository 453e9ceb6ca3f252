/* cmd_demand - how much is asked for, by model and region: now, usually, soon; and who says so. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "cli/cli_view.h"

#define NAMES_BYTES 256u

const char cmd_demand_help[] =
    "How much is asked for, by model and region.\n"
    "\n"
    "  isochrone demand\n"
    "  isochrone demand llama-3.1-8b       # one model\n"
    "  isochrone demand --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "Requests a second: NOW over half a minute, USUAL over ten, SOON in a minute,\n"
    "TREND by how much more a minute; READ and WRITE: tokens of prompts and answers a\n"
    "second. OTHERS is the part that other gateways count, TOLD BY which; the rest\n"
    "this gateway counts itself, for the region it stands in. Who is refused wanted\n"
    "an answer too.\n"
    "Exit status: 0 done, 1 no answer or no such model, 2 wrong use.\n";

/* "gw-a, gw-b and 3 more"; "": nobody. */
static void
told_by(const cJSON *region, char text[NAMES_BYTES])
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(region, "told_by"), *name;
    double count = cli_json_number(region, "told_by_count"), named = 0.0;
    size_t at = 0;

    text[0] = '\0';
    cJSON_ArrayForEach(name, list)
    {
        int n;

        if (!cJSON_IsString(name))
            continue;
        n = snprintf(text + at, NAMES_BYTES - at, "%s%s", at > 0 ? ", " : "", name->valuestring);
        if (n < 0 || (size_t)n >= NAMES_BYTES - at) {
            text[at] = '\0';
            break;
        }
        at += (size_t)n;
        named += 1.0;
    }
    if (count > named)
        snprintf(text + at, NAMES_BYTES - at, " and %.0f more", count - named);
}

static void
row(struct cli_table *t, const char *model, const cJSON *region)
{
    static const char *const figures[] = {
        "requests_s",   "usual_requests_s", "ahead_requests_s", "trend_requests_s_min",
        "prompt_tok_s", "output_tok_s",     "told_requests_s"};
    char names[NAMES_BYTES];

    cli_table_text(t, CLI_PLAIN, model);
    cli_table_text(t, CLI_PLAIN, cli_json_text(region, "region"));
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
        cli_table_number(t, CLI_PLAIN, cli_json_number(region, figures[i]));
    told_by(region, names);
    cli_table_text(t, CLI_PLAIN, names);
}

int
cmd_demand(int argc, char **argv)
{
    static const struct cli_column columns[] = {
        {"MODEL", "", 12, true, false, 0},      {"REGION", "", 8, true, false, 0},
        {"NOW", "req/s", 0, false, false, 0},   {"USUAL", "req/s", 0, false, false, 0},
        {"SOON", "req/s", 0, false, false, 0},  {"TREND", "a minute", 0, false, true, 3},
        {"READ", "tok/s", 0, false, false, 2},  {"WRITE", "tok/s", 0, false, false, 2},
        {"OTHERS", "req/s", 0, false, true, 1}, {"TOLD BY", "", 8, true, true, 1},
    };
    static const struct cli_view view = {
        "/network/v1/demand",          columns, sizeof(columns) / sizeof(columns[0]), row, NULL,
        "nobody asked for a model yet"};

    return cli_view_show(&view, argc, argv);
}

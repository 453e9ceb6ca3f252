/* cmd_readiness - which model is where, and in which of its states. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "cli/cli_view.h"

const char cmd_readiness_help[] =
    "Which model is where, and in which state: nodes by model and region.\n"
    "\n"
    "  isochrone readiness\n"
    "  isochrone readiness llama-3.1-8b    # one model\n"
    "  isochrone readiness --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "SLEEPING wakes on a request, DORMANT only when it is told to (isochrone wake).\n"
    "SILENT nodes say nothing and do not answer; what they had is not counted\n"
    "elsewhere.\n"
    "NEXT is when the first of those that load will be ready. States that no node is\n"
    "in are left out.\n"
    "Exit status: 0 done, 1 no answer or no such model, 2 wrong use.\n";

static void
row(struct cli_table *t, const char *model, const cJSON *region)
{
    static const char *const states[] = {"loading", "sleeping", "dormant", "on_disk",
                                         "downloading"};
    double ready = cli_json_number(region, "ready"), failed = cli_json_number(region, "failed");
    double silent = cli_json_number(region, "silent");

    cli_table_text(t, CLI_PLAIN, model);
    cli_table_text(t, CLI_PLAIN, cli_json_text(region, "region"));
    cli_table_number(t, ready > 0.0 ? CLI_GOOD : CLI_WARN, ready);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        cli_table_number(t, CLI_PLAIN, cli_json_number(region, states[i]));
    cli_table_number(t, failed > 0.0 ? CLI_BAD : CLI_PLAIN, failed);
    cli_table_number(t, silent > 0.0 ? CLI_BAD : CLI_PLAIN, silent);
    cli_table_number(t, CLI_PLAIN, cli_json_number(region, "ready_in_ms") / 1e3);
}

int
cmd_readiness(int argc, char **argv)
{
    static const struct cli_column columns[] = {
        {"MODEL", "", 12, true, false, 0},   {"REGION", "", 8, true, false, 0},
        {"READY", "", 0, false, false, 0},   {"LOADING", "", 0, false, true, 0},
        {"SLEEPING", "", 0, false, true, 0}, {"DORMANT", "", 0, false, true, 0},
        {"ON DISK", "", 0, false, true, 0},  {"DOWNLOAD", "", 0, false, true, 0},
        {"FAILED", "", 0, false, true, 0},   {"SILENT", "", 0, false, true, 0},
        {"NEXT", "s", 0, false, true, 0},
    };
    static const struct cli_view view = {
        "/network/v1/readiness", columns, sizeof(columns) / sizeof(columns[0]), row, NULL, NULL};

    return cli_view_show(&view, argc, argv);
}

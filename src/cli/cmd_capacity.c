/* cmd_capacity - what the network can take, by model and region, and how much of it is free. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "cli/cli_view.h"

const char cmd_capacity_help[] =
    "What the network can take, by model and region.\n"
    "\n"
    "  isochrone capacity\n"
    "  isochrone capacity llama-3.1-8b     # one model\n"
    "  isochrone capacity --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "Tokens a second: what the ready nodes read (prompts) and write (answers) at full load, and\n"
    "what is free of it now. A node that has several models counts for each of them.\n"
    "Exit status: 0 done, 1 no answer or no such model, 2 wrong use.\n";

static void
row(struct cli_table *t, const char *model, const cJSON *region)
{
    double ready = cli_json_number(region, "nodes_ready");

    cli_table_text(t, CLI_PLAIN, model);
    cli_table_text(t, CLI_PLAIN, cli_json_text(region, "region"));
    cli_table_number(t, ready > 0.0 ? CLI_PLAIN : CLI_BAD, ready);
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "prefill_tok_s") + 0.5));
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "free_prefill_tok_s") + 0.5));
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "decode_tok_s") + 0.5));
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "free_decode_tok_s") + 0.5));
}

int
cmd_capacity(int argc, char **argv)
{
    static const struct cli_column columns[] = {
        {"MODEL", "", 12, true, false, 0},     {"REGION", "", 8, true, false, 0},
        {"NODES", "", 0, false, false, 0},     {"READ", "tok/s", 0, false, false, 0},
        {"READ", "free", 0, false, false, 0},  {"WRITE", "tok/s", 0, false, false, 0},
        {"WRITE", "free", 0, false, false, 0},
    };
    static const struct cli_view view = {"/network/v1/capacity", columns,
                                         sizeof(columns) / sizeof(columns[0]), row, NULL};

    return cli_view_show(&view, argc, argv);
}

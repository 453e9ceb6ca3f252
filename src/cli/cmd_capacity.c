/* cmd_capacity - what the network can take, by model and region, and how much of it is free. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "cli/cli_view.h"

#define ERROR_NOTED_PERCENT 25.0

const char cmd_capacity_help[] =
    "What the network can take on top of now, by model and region.\n"
    "\n"
    "  isochrone capacity\n"
    "  isochrone capacity llama-3.1-8b     # one model\n"
    "  isochrone capacity --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "EXTRA requests a second, READ (prompt tokens to compute) and WRITE (answer\n"
    "tokens), all three together at the model's usual mix, while p90 of the first\n"
    "token and of the time between tokens stay within the SLO: the configured one,\n"
    "else 1 s + 1 ms a prompt token and 60 ms. 0, where no node could keep it with\n"
    "one more, though `isochrone nodes` may have them FREE: that is speed, however\n"
    "late tokens come.\n"
    "ERROR, how far off that may be: with a sign, by how much too much (+) or too\n"
    "little (-) was told in the last hour that came near it; with ~ it never was\n"
    "near, and of such in the simulator nine in ten were off by less.\n"
    "LIMIT, what would break first: prefill (prompts wait to be read), decode (tokens\n"
    "come too far apart), memory (no room for what runs), slots (too many at once).\n"
    "SHARES: with how many models it shares nodes; then the lines do not add up, what\n"
    "one model takes the others lose. REACHED: where in the last hour the SLO ceased\n"
    "to hold, in requests a second (\">\": it held up to there).\n"
    "Exit status: 0 done, 1 no answer or no such model, 2 wrong use.\n";

static void
put_reached(struct cli_table *t, const cJSON *checked)
{
    double held = cli_json_number(checked, "held_requests_s");
    double broke = cli_json_number(checked, "broke_requests_s");
    char low[CLI_NUMBER_BYTES], high[CLI_NUMBER_BYTES];

    cli_number(held, low);
    cli_number(broke, high);
    if (isfinite(held) && isfinite(broke))
        cli_table_printf(t, CLI_PLAIN, "%s..%s", low, high);
    else if (isfinite(held))
        cli_table_printf(t, CLI_PLAIN, ">%s", low);
    else if (isfinite(broke))
        cli_table_printf(t, CLI_PLAIN, "<%s", high);
    else
        cli_table_text(t, CLI_PLAIN, "");
}

static void
put_error(struct cli_table *t, const cJSON *region, const cJSON *checked)
{
    double percent = cli_json_number(checked, "error_percent");
    double usual = cli_json_number(region, "expected_error_percent");

    if (isfinite(percent))
        cli_table_printf(t, fabs(percent) > ERROR_NOTED_PERCENT ? CLI_WARN : CLI_PLAIN, "%+.0f %%",
                         percent);
    else if (isfinite(usual))
        cli_table_printf(t, usual > ERROR_NOTED_PERCENT ? CLI_WARN : CLI_PLAIN, "~%.0f %%", usual);
    else
        cli_table_text(t, CLI_PLAIN, "");
}

static const char *
limit_word(const char *limit)
{
    return strcmp(limit, "kv") == 0 ? "memory" : limit;
}

/* Is there a row whose nodes have speed left, and still nothing more would be in time? */
static bool
has_late(const cJSON *json, const char *wanted)
{
    const cJSON *m, *r;
    bool found = false;

    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(json, "models"))
    {
        bool is_shown = wanted == NULL || strcmp(cli_json_text(m, "model"), wanted) == 0;

        cJSON_ArrayForEach(r, cJSON_GetObjectItemCaseSensitive(m, "regions"))
        {
            found = found || (is_shown && cli_json_number(r, "extra_requests_s") <= 0.0 &&
                              cli_json_number(r, "free_decode_tok_s") > 0.0);
        }
    }
    return found;
}

/* The SLO that counts, and what was assumed. */
static void
foot(const cJSON *json, const char *wanted)
{
    const cJSON *slo = cJSON_GetObjectItemCaseSensitive(json, "slo");
    double per_token = cli_json_number(slo, "ttft_p90_ms_per_prompt_token");
    char first[CLI_NUMBER_BYTES], each[CLI_NUMBER_BYTES], step[CLI_NUMBER_BYTES];

    if (slo == NULL)
        return;
    cli_milliseconds(cli_json_number(slo, "ttft_p90_ms"), first);
    cli_milliseconds(per_token, each);
    cli_milliseconds(cli_json_number(slo, "tpot_p90_ms"), step);
    printf("\nOn top of now, if requests and others' load stay as they are; p90 within\n%s", first);
    if (per_token > 0.0)
        printf(" + %s a prompt token", each);
    printf(" to the first token, %s between tokens.\n", step);
    if (has_late(json, wanted))
        puts("EXTRA is 0 where one request more would be later than that, though nodes have\n"
             "speed left (FREE of `isochrone nodes`).");
}

static void
row(struct cli_table *t, const char *model, const cJSON *region)
{
    const cJSON *checked = cJSON_GetObjectItemCaseSensitive(region, "checked");
    double ready = cli_json_number(region, "nodes_ready");
    double others = cli_json_number(region, "pool_models") - 1.0;

    cli_table_text(t, CLI_PLAIN, model);
    cli_table_text(t, CLI_PLAIN, cli_json_text(region, "region"));
    cli_table_number(t, ready > 0.0 ? CLI_PLAIN : CLI_BAD, ready);
    cli_table_number(t, CLI_PLAIN, cli_json_number(region, "extra_requests_s"));
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "extra_prefill_tok_s") + 0.5));
    cli_table_number(t, CLI_PLAIN, floor(cli_json_number(region, "extra_decode_tok_s") + 0.5));
    put_error(t, region, checked);
    cli_table_text(t, CLI_PLAIN,
                   ready > 0.0 ? limit_word(cli_json_text(region, "limited_by")) : "");
    cli_table_number(t, CLI_PLAIN, others);
    put_reached(t, checked);
}

int
cmd_capacity(int argc, char **argv)
{
    static const struct cli_column columns[] = {
        {"MODEL", "", 12, true, false, 0},       {"REGION", "", 8, true, false, 0},
        {"NODES", "", 0, false, false, 0},       {"EXTRA", "req/s", 0, false, false, 0},
        {"READ", "tok/s", 0, false, false, 0},   {"WRITE", "tok/s", 0, false, false, 0},
        {"ERROR", "", 0, false, true, 0},        {"LIMIT", "", 0, true, false, 0},
        {"SHARES", "models", 0, false, true, 2}, {"REACHED", "req/s", 0, false, true, 1},
    };
    static const struct cli_view view = {
        "/network/v1/capacity", columns, sizeof(columns) / sizeof(columns[0]), row, foot, NULL};

    return cli_view_show(&view, argc, argv);
}

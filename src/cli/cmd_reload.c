/* cmd_reload - have a gateway read its configuration again, and see what that changed. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"

const char cmd_reload_help[] =
    "Have the gateway read its configuration again; no request is disturbed.\n"
    "\n"
    "  isochrone reload\n"
    "  isochrone reload --admin http://10.0.0.1:4142 --token file:admin.token\n"
    "\n" CLI_ADMIN_HELP "\n"
    "Prints every key that differs, and which of them wait for the next process. When\n"
    "the file has an error the gateway keeps what it has, and this prints where the\n"
    "error is.\n"
    "SIGHUP does the same; what it finds is in the gateway's log.\n"
    "Exit status: 0 taken over, 1 not (an error in the file, or no answer), 2 wrong\n"
    "use.\n";

static void
print(const cJSON *json)
{
    const cJSON *message;

    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(json, "messages"))
    {
        const char *level = cli_json_text(message, "level"), *text = cli_json_text(message, "text");
        bool quiet = strcmp(level, "info") == 0;
        FILE *out = quiet ? stdout : stderr;

        if (!quiet) {
            cli_print(out, level);
            fputs(": ", out);
        }
        cli_print(out, text);
        fputc('\n', out);
    }
}

int
cmd_reload(int argc, char **argv)
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
        json = cli_admin_json(&a, "/network/v1/reload", SPAN_LIT(""), &text);
        if (json != NULL && a.json)
            printf("%.*s\n", (int)text.bytes, text.data);
        else if (json != NULL)
            print(json);
        result = cli_json_true(json, "reloaded") ? CLI_OK : CLI_FAILED;
        cJSON_Delete(json);
    }
    cli_admin_close(&a);
    return result;
}

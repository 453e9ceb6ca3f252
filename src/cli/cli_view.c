/* cli_view - a table by model and region; see cli_view.h. Models in the order of their names, as
 * regions in each. */
#include "cli/cli_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_nearest.h"
#include "cli/cli_options.h"

struct view_row {
    const char *model;
    const cJSON *region;
};

static int
row_order(const void *a, const void *b)
{
    const struct view_row *x = a, *y = b;
    int order = strcmp(x->model, y->model);

    return order != 0
               ? order
               : strcmp(cli_json_text(x->region, "region"), cli_json_text(y->region, "region"));
}

/* No such model: its name, and the nearest one. */
static int
no_model(const struct cli_admin *a, const cJSON *models, const char *wanted)
{
    struct cli_nearest nearest = {.wanted = wanted};
    char hint[CLI_NEAREST_HINT_BYTES];
    const cJSON *m;

    cJSON_ArrayForEach(m, models)
    {
        cli_nearest_offer(&nearest, cli_json_text(m, "model"));
    }
    fprintf(stderr, "isochrone %s: there is no model `%s`", a->command, wanted);
    cli_print(stderr, cli_nearest_hint(&nearest, hint));
    if (hint[0] == '\0' && cJSON_GetArraySize(models) > 0)
        fputs("; without one all are shown", stderr);
    fputc('\n', stderr);
    return CLI_FAILED;
}

static int
print_view(struct cli_admin *a, const struct cli_view *view, const cJSON *json, const char *wanted)
{
    const cJSON *models = cJSON_GetObjectItemCaseSensitive(json, "models");
    size_t count = 0, room = 0;
    struct view_row *rows = NULL;
    const cJSON *m, *region;
    bool known = wanted == NULL;
    struct cli_table t;

    cJSON_ArrayForEach(m, models)
    {
        room += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(m, "regions"));
    }
    rows = arena_take(&a->arena, (room + 1) * sizeof(*rows));
    if (rows == NULL)
        return CLI_FAILED;
    cJSON_ArrayForEach(m, models)
    {
        const char *model = cli_json_text(m, "model");

        if (wanted != NULL && strcmp(model, wanted) != 0)
            continue;
        known = true;
        cJSON_ArrayForEach(region, cJSON_GetObjectItemCaseSensitive(m, "regions"))
        {
            rows[count++] = (struct view_row){model, region};
        }
    }
    if (!known)
        return no_model(a, models, wanted);
    if (count == 0) {
        puts(view->none != NULL ? view->none : "no node has a model yet");
        return CLI_OK;
    }
    qsort(rows, count, sizeof(*rows), row_order);
    cli_table_init(&t, view->columns, view->column_count, &a->arena);
    for (size_t i = 0; i < count; i++)
        view->row(&t, rows[i].model, rows[i].region);
    cli_table_print(&t);
    if (view->foot != NULL)
        view->foot(json, wanted);
    return CLI_OK;
}

int
cli_view_show(const struct cli_view *view, int argc, char **argv)
{
    struct cli_admin a = {.command = argv[0]};
    const struct cli_option options[] = {CLI_ADMIN_OPTIONS(a)};
    const char *wanted;
    struct span text;
    cJSON *json;
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), &wanted))
        return CLI_USAGE;
    result = cli_admin_open(&a);
    if (result == CLI_OK) {
        json = cli_admin_json(&a, view->path, (struct span){NULL, 0}, &text);
        if (json == NULL)
            result = CLI_FAILED;
        else if (a.json)
            printf("%.*s\n", (int)text.bytes, text.data);
        else
            result = print_view(&a, view, json, wanted);
        cJSON_Delete(json);
    }
    cli_admin_close(&a);
    return result;
}

#ifndef CLI_CLI_VIEW_H
#define CLI_CLI_VIEW_H
/* cli_view - the commands that show the network by model and region: the same question, options and
 * order, another row. */
#include <cjson/cJSON.h>

#include "cli/cli_table.h"

struct cli_view {
    const char *path; /* answers {"models": [{"model", "regions": [region]}]} */
    const struct cli_column *columns;
    size_t column_count;
    void (*row)(struct cli_table *t, const char *model, const cJSON *region);
    /* What to say below the table, of one model or (NULL) all. NULL: nothing. */
    void (*foot)(const cJSON *json, const char *model);
    const char *none; /* to say when there is no row; NULL: that no node has a model */
};

/* The whole command. Returns its exit code. */
int cli_view_show(const struct cli_view *view, int argc, char **argv);
#endif

/* cli_nearest - the name that was meant; see cli_nearest.h. */
#include "cli/cli_nearest.h"

#include <stdio.h>
#include <string.h>

#define PART_BYTES_MIN 3u /* what is shorter is a part of too much */

void
cli_nearest_offer(struct cli_nearest *n, const char *name)
{
    const char *const rivals[] = {n->name, name};
    const char *nearest = config_nearest(span_of(n->wanted), rivals, 2);
    bool is_part = strlen(n->wanted) >= PART_BYTES_MIN && strstr(name, n->wanted) != NULL;

    if (strlen(name) < sizeof(n->name) && (nearest == name || (n->name[0] == '\0' && is_part)))
        snprintf(n->name, sizeof(n->name), "%s", name);
}

const char *
cli_nearest_hint(const struct cli_nearest *n, char ret_hint[CLI_NEAREST_HINT_BYTES])
{
    ret_hint[0] = '\0';
    if (n->name[0] != '\0')
        snprintf(ret_hint, CLI_NEAREST_HINT_BYTES, "; did you mean `%s`?", n->name);
    return ret_hint;
}

#ifndef CLI_CLI_NEAREST_H
#define CLI_CLI_NEAREST_H
/* cli_nearest - which of the names that there are was meant by one that there is not. They come one
 * by one, as those of many nodes come page by page, and nothing is kept but the best so far: the
 * nearest by edit distance, else the first that the wanted one is a part of. */
#include "wire/config.h"

#define CLI_NEAREST_HINT_BYTES (CONFIG_MODEL_NAME_BYTES_MAX + 24)

struct cli_nearest { /* zero it, set wanted */
    const char *wanted;
    char name[CONFIG_MODEL_NAME_BYTES_MAX + 1]; /* "": nothing comes near */
};

void cli_nearest_offer(struct cli_nearest *n, const char *name);
/* "; did you mean `NAME`?", or "" where nothing comes near. A name from outside: for cli_print. */
const char *cli_nearest_hint(const struct cli_nearest *n, char ret_hint[CLI_NEAREST_HINT_BYTES]);
#endif

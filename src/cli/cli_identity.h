#ifndef CLI_CLI_IDENTITY_H
#define CLI_CLI_IDENTITY_H
/* cli_identity - the words of `isochrone key` that are about nodes, operators and gateways: make
 * their keys, sign who a node is, show what a file says. */
#include <stdbool.h>

#include "base/err.h"

extern const char cli_identity_help[];

/* Is it one of these words: node, operator, gateway, sign, show? */
bool cli_identity_has(const char *verb);
/* argv[0] is the word. Returns an exit code. */
int cli_identity(int argc, char **argv);
/* Complain on standard error, as `isochrone key` does. Returns false. */
bool cli_identity_wrong(const char *format, ...) PRINTF_LIKE(1, 2);
#endif

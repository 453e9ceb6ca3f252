#ifndef CLI_CLI_STEER_H
#define CLI_CLI_STEER_H
/* cli_steer - the words of cmd_control, meant for a node: see cmd_steer.c. */
#include <stdbool.h>

#include "wire/directive.h"

/* Is it for a node: is --node among the options, or, without --engine, where the gateway is? */
bool cli_steer_is_meant(int argc, char **argv);
/* The command, for a node. Returns its exit code. */
int cli_steer(int argc, char **argv, enum directive_action action);
#endif

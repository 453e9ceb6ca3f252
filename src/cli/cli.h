#ifndef CLI_CLI_H
#define CLI_CLI_H
/* cli - the subcommands of isochrone. One file each, cmd_<word>.c, with two symbols:
 * int cmd_<word>(int argc, char **argv), where argv[0] is the word itself and argv[-1] the program,
 * and const char cmd_<word>_help[], examples first (load, unload, sleep and wake are one file,
 * cmd_control.c; pin, unpin, drain and ready another, cmd_steer.c). main.c has the table and prints
 * the help for
 * `--help`, so a command only prints it (to stderr) on wrong use.
 * Exit codes: 0 done, 1 it did not work, 2 wrong use. Text for people and --json go to stdout,
 * complaints to stderr. */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define CLI_OK     0
#define CLI_FAILED 1
#define CLI_USAGE  2

int cmd_bus(int argc, char **argv);
int cmd_capacity(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_demand(int argc, char **argv);
int cmd_emulate(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_node(int argc, char **argv);
int cmd_nodes(int argc, char **argv);
int cmd_pin(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_readiness(int argc, char **argv);
int cmd_ready(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_sim(int argc, char **argv);
int cmd_sleep(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_unload(int argc, char **argv);
int cmd_unpin(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_usage(int argc, char **argv);
int cmd_wake(int argc, char **argv);
extern const char cmd_bus_help[], cmd_capacity_help[], cmd_check_help[], cmd_demand_help[],
    cmd_emulate_help[], cmd_explain_help[], cmd_gateway_help[], cmd_key_help[], cmd_load_help[],
    cmd_node_help[], cmd_nodes_help[], cmd_readiness_help[], cmd_reload_help[], cmd_replay_help[],
    cmd_sim_help[], cmd_sleep_help[], cmd_status_help[], cmd_unload_help[], cmd_up_help[],
    cmd_usage_help[], cmd_wake_help[], cmd_pin_help[], cmd_unpin_help[], cmd_drain_help[],
    cmd_ready_help[], cmd_plan_help[];

/* What is left of fd, into arena. ERR_IO: errno; ERR_FULL: more than bytes_max, or the arena. */
MUST_USE enum err cli_read_fd(int fd, size_t bytes_max, struct arena *arena, struct span *ret_text);
/* The file at path. ERR_IO: errno; ERR_FULL as above. */
MUST_USE enum err cli_read_file(const char *path, size_t bytes_max, struct arena *arena,
                                struct span *ret_text);
/* Where state is to be kept: the first of $STATE_DIRECTORY, as a service manager says it; else, for
 * a program that a person runs, isochrone in $XDG_STATE_HOME or ~/.local/state. NULL: nowhere. */
const char *cli_state_path(bool is_persons, struct arena *arena);
/* What to say about such an error; errno as it was then. */
const char *cli_read_words(enum err err);
/* The secret in the file that `text` names ("file:PATH"), without blanks and line ends behind it.
 * CLI_OK; or CLI_USAGE, CLI_FAILED: told on standard error, for the command and its --option. */
int cli_read_secret(const char *command, const char *option, const char *text, struct arena *arena,
                    struct span *ret_secret);
/* The same, as the value of an Authorization header. */
int cli_read_bearer(const char *command, const char *option, const char *text, struct arena *arena,
                    struct span *ret_authorization);
#endif

#ifndef CLI_CLI_H
#define CLI_CLI_H
/* cli - the subcommands of isochrone. One file each, cmd_<word>.c, with two symbols:
 * int cmd_<word>(int argc, char **argv), where argv[0] is the word itself, and
 * const char cmd_<word>_help[], examples first. main.c has the table and prints the help for
 * `--help`, so a command only prints it (to stderr) on wrong use.
 * Exit codes: 0 done, 1 it did not work, 2 wrong use. Text for people and --json go to stdout,
 * complaints to stderr. */

#define CLI_OK     0
#define CLI_FAILED 1
#define CLI_USAGE  2

int cmd_replay(int argc, char **argv);
extern const char cmd_replay_help[];
#endif

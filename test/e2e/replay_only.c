/* replay_only - of the program, the one command `replay`: a build whose only task is to decide
 * alike (replay.sh) compiles core, the record's format and this, not the sixty thousand lines
 * around them. */
#include "cli/cli.h"

int
main(int argc, char **argv)
{
    return argc > 1 ? cmd_replay(argc - 1, argv + 1) : 2;
}

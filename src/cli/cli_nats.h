#ifndef CLI_CLI_NATS_H
#define CLI_CLI_NATS_H
/* cli_nats - keys of a NATS server's users, and a server of our own: the installed nats-server as a
 * child, on loopback, with a configuration in which each may say and hear what its role needs. It
 * ends with us, also when we are killed. */
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/nkey.h"

#define CLI_NATS_PORT       4222u
#define CLI_NATS_PORTS      16u /* that are tried, from there on */
#define CLI_NATS_URL_BYTES  48u
#define CLI_NATS_GATEWAY    "up" /* names of its users */
#define CLI_NATS_NODE       "node-1"
#define CLI_NATS_USERS_FILE "users.txt" /* of the state: more users, as `bus config` reads them */

struct cli_nats { /* texts in the arena */
    pid_t pid;    /* 0: it does not run */
    char url[CLI_NATS_URL_BYTES];
    const char *gateway_nkey, *node_nkey, *node_key; /* files */
    const char *folder;
};

/* Make a user's key: its seed in this file, its public half in ret_public. CLI_OK, or CLI_FAILED:
 * told for the command. */
int cli_nats_make_nkey(const char *command, const char *path,
                       char ret_public[NKEY_PUBLIC_TEXT_BYTES + 1]);

/* Start it, with its files in the folder `bus` of state_path; keys that are there are kept. Waits
 * until it listens. CLI_OK, or CLI_FAILED: told for `isochrone up`, with what to do. Before this
 * process has other threads. */
int cli_nats_start(const char *state_path, struct arena *arena, struct cli_nats *ret_nats);
/* End it and wait. It may not run. */
void cli_nats_stop(struct cli_nats *nats);
#endif

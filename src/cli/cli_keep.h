#ifndef CLI_CLI_KEEP_H
#define CLI_CLI_KEEP_H
/* cli_keep - what a command makes the first time, and finds there from then on: folders, and keys
 * in files that only their owner reads. All of them return CLI_OK; or CLI_FAILED: told for the
 * command.
 */
#include "base/arena.h"
#include "wire/signature.h"

/* The folder at this absolute path, with all on the way. */
int cli_keep_folder(const char *command, const char *path, struct arena *arena);
/* Write a new secret to a file that was not there. */
int cli_keep_secret(const char *command, const char *path, const char *text);
/* The key of a node or a gateway in this file, a new one of this name when there is none; its
 * public half. */
int cli_keep_key(const char *command, const char *path, enum signature_owner owner,
                 const char *name, struct arena *arena, char ret_public[SIGNATURE_KEY_TEXT_SIZE]);
#endif

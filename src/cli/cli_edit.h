#ifndef CLI_CLI_EDIT_H
#define CLI_CLI_EDIT_H
/* cli_edit - changing a small file as a whole: whoever reads it meanwhile finds the old text or the
 * new one, also after a crash. One at a time changes it; others wait. */
#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/span.h"

struct cli_edit {
    int fd;           /* of the file, locked; -1: not open */
    const char *path; /* where it really is: links are followed */
    mode_t mode;
    uid_t owner;
    gid_t group;
    struct span text; /* what stands there */
};

/* Lock and read the file at path, at most bytes_max. A file that is not there is made, empty, for
 * its owner only. ERR_IO: errno; ERR_FULL: too large. Close it either way. */
MUST_USE enum err cli_edit_open(struct cli_edit *edit, const char *path, size_t bytes_max,
                                struct arena *arena);
/* Put text in its place, with the rights that it had. ERR_IO: errno, the old text stands. */
MUST_USE enum err cli_edit_replace(struct cli_edit *edit, struct span text, struct arena *arena);
void cli_edit_close(struct cli_edit *edit);
#endif

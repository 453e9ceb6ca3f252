#ifndef SCRATCH_H
#define SCRATCH_H
/* scratch - folders for what a test or a benchmark writes. They are gone, with all in them, when
 * the process that made them ends by itself; what it forked leaves them alone. */
#include <stddef.h>

#define SCRATCH_FOLDERS_MAX 64u /* at once, of one process */
#define SCRATCH_PATH_BYTES  64u

/* A new folder of this name, which is in its path. */
void scratch_make(const char *name, char ret_path[SCRATCH_PATH_BYTES]);
/* Gone before the end. */
void scratch_remove(const char *path);
#endif

/* scratch - what was made is remembered with the process that made it, and removed by atexit; see
 * scratch.h. For one thread. */
#include "scratch.h"

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

#define OPEN_FOLDERS_MAX 8

static struct {
    char path[SCRATCH_PATH_BYTES]; /* "": nothing */
    pid_t pid;
} folders[SCRATCH_FOLDERS_MAX];

static int
remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    (void)remove(path); /* whoever still writes there is not ours to judge */
    return 0;
}

static void
remove_all(void)
{
    for (size_t i = 0; i < SCRATCH_FOLDERS_MAX; i++) {
        if (folders[i].path[0] != '\0' && folders[i].pid == getpid())
            scratch_remove(folders[i].path);
    }
}

void
scratch_make(const char *name, char ret_path[SCRATCH_PATH_BYTES])
{
    static bool begun;
    size_t i = 0;

    while (i < SCRATCH_FOLDERS_MAX && folders[i].path[0] != '\0')
        i++;
    must(i < SCRATCH_FOLDERS_MAX);
    must(snprintf(ret_path, SCRATCH_PATH_BYTES, "/tmp/isochrone-%s-XXXXXX", name) <
         (int)SCRATCH_PATH_BYTES);
    must(mkdtemp(ret_path) != NULL);
    must(begun || atexit(remove_all) == 0);
    begun = true;
    memcpy(folders[i].path, ret_path, SCRATCH_PATH_BYTES);
    folders[i].pid = getpid();
}

void
scratch_remove(const char *path)
{
    for (size_t i = 0; i < SCRATCH_FOLDERS_MAX; i++) {
        if (strcmp(folders[i].path, path) != 0)
            continue;
        nftw(path, remove_one, OPEN_FOLDERS_MAX, FTW_DEPTH | FTW_PHYS);
        folders[i].path[0] = '\0';
        return;
    }
}

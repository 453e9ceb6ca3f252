/* cli_edit - lock, write beside, rename; see cli_edit.h. The lock is on the file itself, which a
 * rename replaces: so whoever got it looks whether it is still the file of that name. */
#include "cli/cli_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define TRIES_MAX 100u /* each is lost to another who changed the file */

/* Lock the file of this name. ERR_AGAIN: it was replaced meanwhile. */
static enum err
lock(struct cli_edit *e)
{
    struct stat held, named;

    e->fd = open(e->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (e->fd < 0 || flock(e->fd, LOCK_EX) != 0 || fstat(e->fd, &held) != 0)
        return ERR_IO;
    if (stat(e->path, &named) != 0 || named.st_ino != held.st_ino || named.st_dev != held.st_dev) {
        cli_edit_close(e);
        return ERR_AGAIN;
    }
    e->mode = held.st_mode & 07777;
    e->owner = held.st_uid;
    e->group = held.st_gid;
    return ERR_OK;
}

enum err
cli_edit_open(struct cli_edit *e, const char *path, size_t bytes_max, struct arena *arena)
{
    char *real = realpath(path, NULL); /* NULL: it is not there yet */
    struct span name;
    enum err err = arena_printf(arena, &name, "%s", real != NULL ? real : path);

    free(real);
    *e = (struct cli_edit){.fd = -1};
    if (err != ERR_OK)
        return ERR_FULL;
    e->path = name.data;
    err = ERR_AGAIN;
    for (unsigned i = 0; i < TRIES_MAX && err == ERR_AGAIN; i++)
        err = lock(e);
    if (err == ERR_AGAIN) {
        errno = EBUSY;
        err = ERR_IO;
    }
    return err == ERR_OK ? cli_read_fd(e->fd, bytes_max, arena, &e->text) : err;
}

static enum err
write_all(int fd, struct span text)
{
    while (text.bytes > 0) {
        ssize_t n = write(fd, text.data, text.bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        text = span_from(text, (size_t)n);
    }
    return ERR_OK;
}

/* A rename is lasting when its directory was written. */
static enum err
sync_directory(const char *path, struct arena *arena)
{
    struct span copy;
    int fd, failed;

    if (arena_printf(arena, &copy, "%s", path) != ERR_OK)
        return ERR_FULL;
    fd = open(dirname((char *)(uintptr_t)copy.data), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    failed = fsync(fd);
    close(fd);
    return failed == 0 ? ERR_OK : ERR_IO;
}

enum err
cli_edit_replace(struct cli_edit *e, struct span text, struct arena *arena)
{
    struct span beside;
    int fd = -1, error;
    enum err err = ERR_IO;

    if (arena_printf(arena, &beside, "%s.new", e->path) != ERR_OK)
        return ERR_FULL;
    if (unlink(beside.data) != 0 &&
        errno != ENOENT) /* left by one that crashed: we have the lock */
        return ERR_IO;
    fd = open(beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    if ((e->owner == geteuid() && e->group == getegid()) ||
        fchown(fd, e->owner, e->group) == 0) /* else it would be another's file afterwards */
        err = fchmod(fd, e->mode) == 0 ? write_all(fd, text) : ERR_IO;
    if (err == ERR_OK && fsync(fd) != 0)
        err = ERR_IO;
    if (err == ERR_OK && rename(beside.data, e->path) != 0)
        err = ERR_IO;
    if (err == ERR_OK)
        err = sync_directory(e->path, arena);
    error = errno;
    close(fd);
    if (err != ERR_OK)
        (void)unlink(beside.data); /* renamed already: it is not there */
    errno = error;
    return err;
}

void
cli_edit_close(struct cli_edit *e)
{
    if (e->fd >= 0)
        close(e->fd); /* and with it the lock */
    e->fd = -1;
}

#ifndef IO_INHERIT_H
#define IO_INHERIT_H
/* inherit - descriptors that come from the process before this one and go to the one after it, by
 * the protocol of socket activation (sd_listen_fds(3)): they stand from number 3 on, LISTEN_FDS
 * says how many, LISTEN_FDNAMES their names, LISTEN_PID whom they are meant for. So a service
 * manager and a process of ours that hands over are the same thing to whoever takes them. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/err.h"

#define INHERIT_MAX        128u
#define INHERIT_NAME_BYTES 32u /* with its zero; longer names are cut */

struct inherit_fd {
    int fd; /* -1: taken */
    char name[INHERIT_NAME_BYTES];
};

struct inherit {
    struct inherit_fd list[INHERIT_MAX];
    size_t count;
};

/* What the environment hands to this process, which may be nothing; every descriptor is closed on
 * exec from now on, and the variables are gone. Before there are threads. ERR_PARSE, ERR_FULL,
 * ERR_IO: logged, *in is empty. */
MUST_USE enum err inherit_read(struct inherit *in);
/* ERR_FULL. */
MUST_USE enum err inherit_add(struct inherit *in, const char *name, int fd);
/* The next descriptor of this name, the caller's from now on; -1: none is left. */
int inherit_take(struct inherit *in, const char *name);
bool inherit_has(const struct inherit *in, const char *name); /* one is left */
void inherit_close(struct inherit *in);                       /* those that nobody took */

/* Is it a socket that listens at this address (port 0: any)? ERR_ARG: it is something else, logged
 * with name. */
MUST_USE enum err inherit_check(int fd, const char *name, const struct sockaddr *wanted);

/* Start the program argv[0], found anew as a shell would find it, with these descriptors, which
 * stay the caller's. The environment is ours but for what names a process. ERR_IO, ERR_MEMORY:
 * logged, nothing was started. A program that cannot be executed ends with 127. */
MUST_USE enum err inherit_start(char *const *argv, const struct inherit *give, pid_t *ret_pid);
#endif

/* inherit - reading LISTEN_FDS, and starting a process that can; see inherit.h. Between fork and
 * exec there may be only calls that are safe in the child of a process with threads: everything
 * that needs memory is prepared before, and LISTEN_PID, known only there, is written digit by
 * digit into its place. */
#include "io/inherit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"
#include "io/log.h"

#define FIRST_FD       3
#define PID_DIGITS     20u
#define ENV_EXTRA      4u /* three variables, and the end */
#define NOT_EXECUTABLE 127

/* ---- The list. */

enum err
inherit_add(struct inherit *in, const char *name, int fd)
{
    if (in->count == INHERIT_MAX)
        return ERR_FULL;
    in->list[in->count].fd = fd;
    snprintf(in->list[in->count].name, INHERIT_NAME_BYTES, "%s", name);
    in->count++;
    return ERR_OK;
}

/* Where the first of this name stands that nobody took; in->count: nowhere. */
static size_t
find(const struct inherit *in, const char *name)
{
    size_t i = 0;

    while (i < in->count && (in->list[i].fd < 0 || strcmp(in->list[i].name, name) != 0))
        i++;
    return i;
}

int
inherit_take(struct inherit *in, const char *name)
{
    size_t at = find(in, name);
    int fd = -1;

    if (at < in->count) {
        fd = in->list[at].fd;
        in->list[at].fd = -1;
    }
    return fd;
}

bool
inherit_has(const struct inherit *in, const char *name)
{
    return find(in, name) < in->count;
}

void
inherit_close(struct inherit *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->list[i].fd >= 0)
            close(in->list[i].fd);
    }
    in->count = 0;
}

/* ---- Taking. */

static enum err
read_list(struct inherit *in, uint64_t count, struct span names)
{
    for (uint64_t i = 0; i < count; i++) {
        struct span name = {names.data, span_find(names, ':')};
        int fd = FIRST_FD + (int)i;
        char text[INHERIT_NAME_BYTES];

        span_copy(name.bytes > 0 ? name : SPAN_LIT("unknown"), text, sizeof(text));
        names = span_from(names, name.bytes + 1);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            log_error("LISTEN_FDS: descriptor %d: %s", fd, strerror(errno));
            return ERR_IO;
        }
        if (inherit_add(in, text, fd) != ERR_OK) {
            log_error("LISTEN_FDS: more than %u descriptors", INHERIT_MAX);
            return ERR_FULL;
        }
    }
    return ERR_OK;
}

enum err
inherit_read(struct inherit *in)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    uint64_t pid_value, count;
    enum err err = ERR_OK;

    in->count = 0;
    if (pid == NULL || fds == NULL)
        return ERR_OK;
    if (span_u64(span_of(pid), &pid_value) != ERR_OK || span_u64(span_of(fds), &count) != ERR_OK ||
        count > INHERIT_MAX) {
        log_error("LISTEN_PID %s, LISTEN_FDS %s: no number of at most %u", pid, fds, INHERIT_MAX);
        return ERR_PARSE;
    }
    if (pid_value == (uint64_t)getpid()) /* else they are meant for somebody else */
        err = read_list(in, count, span_of(names != NULL ? names : ""));
    if (err != ERR_OK)
        in->count = 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return err;
}

/* ---- Checking. */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static void
address_text(const union address *a, char *text, size_t size)
{
    bool v6 = a->any.sa_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "?";

    if ((a->any.sa_family != AF_INET && !v6) ||
        inet_ntop(a->any.sa_family, v6 ? (const void *)&a->v6.sin6_addr : &a->v4.sin_addr, host,
                  sizeof(host)) == NULL)
        snprintf(text, size, "an address of another family");
    else
        snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", host,
                 ntohs(v6 ? a->v6.sin6_port : a->v4.sin_port));
}

static bool
same_address(const union address *is, const union address *wanted)
{
    if (is->any.sa_family != wanted->any.sa_family)
        return false;
    if (is->any.sa_family == AF_INET)
        return is->v4.sin_addr.s_addr == wanted->v4.sin_addr.s_addr &&
               (wanted->v4.sin_port == 0 || is->v4.sin_port == wanted->v4.sin_port);
    return is->any.sa_family == AF_INET6 &&
           memcmp(&is->v6.sin6_addr, &wanted->v6.sin6_addr, sizeof(is->v6.sin6_addr)) == 0 &&
           (wanted->v6.sin6_port == 0 || is->v6.sin6_port == wanted->v6.sin6_port);
}

enum err
inherit_check(int fd, const char *name, const struct sockaddr *wanted)
{
    union address is = {0}, should = {.any = {.sa_family = wanted->sa_family}};
    socklen_t bytes = sizeof(is), int_bytes = sizeof(int);
    char is_text[64], should_text[64];
    int listens = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_bytes) != 0 || listens == 0 ||
        getsockname(fd, &is.any, &bytes) != 0) {
        log_error("the inherited descriptor %d (`%s`) is no listening socket", fd, name);
        return ERR_ARG;
    }
    if (wanted->sa_family == AF_INET6)
        memcpy(&should.v6, wanted, sizeof(should.v6));
    else
        memcpy(&should.v4, wanted, sizeof(should.v4));
    if (same_address(&is, &should))
        return ERR_OK;
    address_text(&is, is_text, sizeof(is_text));
    address_text(&should, should_text, sizeof(should_text));
    log_error("the inherited socket `%s` listens at %s, the configuration says listen.%s: %s", name,
              is_text, name, should_text);
    return ERR_ARG;
}

/* ---- Giving. */

/* All a child needs, made before it exists. */
struct child {
    char *const *argv;
    char **environment;
    char *pid_digits; /* PID_DIGITS spaces behind LISTEN_PID= */
    char count_text[32], pid_text[16 + PID_DIGITS];
    char names_text[sizeof("LISTEN_FDNAMES=") + INHERIT_MAX * INHERIT_NAME_BYTES];
    int fds[INHERIT_MAX]; /* copies above all the numbers that are to be given */
    size_t count;
};

static bool
names_a_process(const char *variable)
{
    static const char *const names[] = {
        "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "WATCHDOG_PID="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static enum err
make_environment(struct child *c, const struct inherit *give)
{
    size_t count = 0, at;

    for (char **e = environ; *e != NULL; e++)
        count++;
    c->environment = calloc(count + ENV_EXTRA, sizeof(*c->environment));
    if (c->environment == NULL)
        return ERR_MEMORY;
    count = 0;
    for (char **e = environ; *e != NULL; e++) {
        if (!names_a_process(*e))
            c->environment[count++] = *e;
    }
    snprintf(c->count_text, sizeof(c->count_text), "LISTEN_FDS=%zu", give->count);
    at = (size_t)snprintf(c->pid_text, sizeof(c->pid_text), "LISTEN_PID=");
    c->pid_digits = c->pid_text + at;
    at = (size_t)snprintf(c->names_text, sizeof(c->names_text), "LISTEN_FDNAMES=");
    for (size_t i = 0; i < give->count; i++)
        at += (size_t)snprintf(c->names_text + at, sizeof(c->names_text) - at, "%s%s",
                               i > 0 ? ":" : "", give->list[i].name);
    c->environment[count++] = c->count_text;
    c->environment[count++] = c->pid_text;
    c->environment[count++] = c->names_text;
    return ERR_OK;
}

/* Copies with numbers that no dup2 below runs over. */
static enum err
copy_fds(struct child *c, const struct inherit *give)
{
    for (; c->count < give->count; c->count++) {
        c->fds[c->count] = fcntl(give->list[c->count].fd, F_DUPFD_CLOEXEC,
                                 FIRST_FD + (int)give->count);
        if (c->fds[c->count] < 0) {
            log_error("no descriptor for a new process: %s", strerror(errno));
            return ERR_IO;
        }
    }
    return ERR_OK;
}

/* In the child. */
static void
become(const struct child *c)
{
    char digits[PID_DIGITS];
    size_t at = sizeof(digits);
    long pid = (long)getpid();
    sigset_t none;

    for (size_t i = 0; i < c->count; i++) {
        if (dup2(c->fds[i], FIRST_FD + (int)i) < 0)
            _exit(NOT_EXECUTABLE);
    }
    do {
        digits[--at] = (char)('0' + pid % 10);
        pid /= 10;
    } while (pid != 0);
    memcpy(c->pid_digits, digits + at, sizeof(digits) - at);
    c->pid_digits[sizeof(digits) - at] = '\0';
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* our threads have some blocked */
    execvpe(c->argv[0], c->argv, c->environment);
    _exit(NOT_EXECUTABLE);
}

enum err
inherit_start(char *const *argv, const struct inherit *give, pid_t *ret_pid)
{
    struct child *c = calloc(1, sizeof(*c)); /* too large for a stack */
    enum err err = ERR_MEMORY;
    pid_t pid;

    if (c == NULL)
        return ERR_MEMORY;
    c->argv = argv;
    err = make_environment(c, give);
    if (err == ERR_OK)
        err = copy_fds(c, give);
    if (err == ERR_OK) {
        pid = fork();
        if (pid == 0)
            become(c);
        if (pid > 0)
            *ret_pid = pid;
        else
            err = ERR_IO;
        if (pid < 0)
            log_error("fork: %s", strerror(errno));
    }
    for (size_t i = 0; i < c->count; i++)
        close(c->fds[i]);
    free(c->environment);
    free(c);
    return err;
}

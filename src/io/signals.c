/* signals - signalfd on a loop; see signals.h. */
#include "io/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/must.h"
#include "io/log.h"

static void
on_ready(struct loop_watch *watch, unsigned ready)
{
    struct signals *s = CONTAINER_OF(watch, struct signals, watch);
    struct signalfd_siginfo info;

    (void)ready;
    while (s->watch.loop != NULL && read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        s->fn((int)info.ssi_signo, s->user);
}

enum err
signals_open(struct signals *s, struct loop *loop, const int *numbers, signals_fn *fn, void *user)
{
    enum err err;
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (unsigned i = 0; numbers[i] != 0; i++) {
        must(i < SIGNALS_MAX);
        sigaddset(&set, numbers[i]);
    }
    s->fn = fn;
    s->user = user;
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return ERR_IO;
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        log_error("signalfd: %s", strerror(errno));
        return ERR_IO;
    }
    err = loop_add(loop, &s->watch, fd, LOOP_READ, on_ready);
    if (err != ERR_OK)
        close(fd);
    return err;
}

void
signals_close(struct signals *s)
{
    int fd = s->watch.fd;

    if (s->watch.loop == NULL)
        return;
    loop_remove(&s->watch);
    close(fd);
}

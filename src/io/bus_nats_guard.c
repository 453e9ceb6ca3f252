/* bus_nats_guard - see bus_nats_guard.h. Between the look at a descriptor and its shutdown it may
 * be closed and be another's: a connection that is cut then is one that may be cut at any time. */
#include "io/bus_nats_guard.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/must.h"
#include "base/span.h"
#include "io/log.h"
#include "io/thread.h"

#define AGAIN_MS 100 /* it may have had no socket just then */

struct bus_nats_guard {
    struct sockaddr_storage peer;
    pthread_t thread;
    int done_fd, wake_fd, limit_ms;
};

static bool
is_to_be_cut(const struct bus_nats_guard *g, int fd)
{
    struct sockaddr_storage peer = {0};
    socklen_t bytes = sizeof(peer), int_bytes = sizeof(int);
    int released = 1;

    return getpeername(fd, (struct sockaddr *)&peer, &bytes) == 0 &&
           memcmp(&peer, &g->peer, sizeof(peer)) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &released, &int_bytes) == 0 && released == 0;
}

static void
cut(const struct bus_nats_guard *g)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        uint64_t fd;

        if (span_u64(span_of(entry->d_name), &fd) == ERR_OK && is_to_be_cut(g, (int)fd))
            (void)shutdown((int)fd, SHUT_RDWR); /* not: it has ended by itself */
    }
    if (folder != NULL)
        closedir(folder);
}

static void *
guard_main(void *arg)
{
    const struct bus_nats_guard *g = arg;
    struct pollfd polled[2] = {{.fd = g->done_fd, .events = POLLIN},
                               {.fd = g->wake_fd, .events = POLLIN}};

    (void)poll(polled, 2, g->limit_ms); /* no signal comes here */
    while (poll(polled, 1, 0) == 0) {
        cut(g);
        (void)poll(polled, 1, AGAIN_MS);
    }
    return NULL;
}

struct bus_nats_guard *
bus_nats_guard_open(const struct sockaddr_storage *peer, int wake_fd, int limit_ms)
{
    struct bus_nats_guard *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        log_error("bus: no memory");
        return NULL;
    }
    *g = (struct bus_nats_guard){.peer = *peer, .wake_fd = wake_fd, .limit_ms = limit_ms};
    g->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (g->done_fd < 0) {
        log_error("bus: %s", strerror(errno));
    } else if (thread_start(&g->thread, "bus", guard_main, g)) {
        return g;
    } else {
        close(g->done_fd);
    }
    free(g);
    return NULL;
}

void
bus_nats_guard_close(struct bus_nats_guard *g)
{
    const uint64_t one = 1;

    must(write(g->done_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    must(pthread_join(g->thread, NULL) == 0);
    close(g->done_fd);
    free(g);
}

void
bus_nats_guard_release(int socket)
{
    const int on = 1;

    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* not: it has ended */
}

/* notify_test - datagrams to a service manager's socket: by path, abstract, or to nobody. */
#include "io/notify.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"

static char got[2048];

/* The next datagram's text, "" when there is none. */
static const char *
received(int fd)
{
    ssize_t bytes = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

    got[bytes > 0 ? bytes : 0] = '\0';
    return got;
}

static int
manager(const char *name, bool abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, name, strlen(name));
    if (abstract)
        address.sun_path[0] = '\0';
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static const struct {
    const char *label, *usec, *pid; /* pid "me": our own */
    uint64_t ns;
} watchdogs[] = {
    {"not asked for", NULL, NULL, 0},
    {"20 s", "20000000", NULL, 20000000000u},
    {"for us", "20000000", "me", 20000000000u},
    {"for another process", "20000000", "1", 0},
    {"nonsense", "20s", NULL, 0},
    {"zero", "0", NULL, 0},
    {"absurd", "18446744073709551615", NULL, 0},
    {"for nobody", "20000000", "x", 0},
};

int
main(void)
{
    char path[64], long_path[200], text[1000], me[32];
    struct notify n;
    int fd;

    snprintf(path, sizeof(path), "/tmp/isochrone-notify-%ld", (long)getpid());
    for (int abstract = 0; abstract <= 1; abstract++) {
        path[0] = abstract ? '@' : '/';
        fd = manager(path, abstract);
        if (fd < 0)
            return tap_skip("no datagram socket");
        CHECK(notify_open(&n, path) == ERR_OK, path);
        notify_send(&n, "READY=%d\nSTATUS=%s", 1, "Serving.");
        CHECK(strcmp(received(fd), "READY=1\nSTATUS=Serving.") == 0, "one datagram");
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        notify_send(&n, "%s", text);
        CHECK(strlen(received(fd)) == NOTIFY_TEXT_BYTES_MAX - 1, "a long one is cut");
        close(fd);
        unlink(path);
        errno = 0;
        notify_send(&n, "WATCHDOG=1");
        CHECK(n.fd >= 0, "a manager that is gone is no error");
        notify_close(&n);
    }
    CHECK(notify_open(&n, NULL) == ERR_OK && n.fd < 0, "nobody listens");
    notify_send(&n, "READY=1");
    CHECK(notify_open(&n, "relative") == ERR_ARG && n.fd < 0, "a relative path");
    memset(long_path, '/', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    CHECK(notify_open(&n, long_path) == ERR_ARG && n.fd < 0, "a path that is too long");
    snprintf(me, sizeof(me), "%ld", (long)getpid());
    for (size_t i = 0; i < sizeof(watchdogs) / sizeof(watchdogs[0]); i++) {
        const char *pid = watchdogs[i].pid;
        if (pid != NULL && strcmp(pid, "me") == 0)
            pid = me;
        CHECK(notify_watchdog_ns(watchdogs[i].usec, pid) == watchdogs[i].ns, watchdogs[i].label);
    }
    return tap_done();
}

/* notify - datagrams to the service manager; see notify.h. */
#include "io/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/span.h"
#include "io/log.h"

#define WATCHDOG_USEC_MAX UINT64_C(86400000000) /* a day */

enum err
notify_open(struct notify *n, const char *path)
{
    size_t bytes = path != NULL ? strlen(path) : 0;

    *n = (struct notify){.fd = -1, .address = {.sun_family = AF_UNIX}};
    if (bytes == 0)
        return ERR_OK;
    if ((path[0] != '/' && path[0] != '@') || bytes >= sizeof(n->address.sun_path)) {
        log_error("NOTIFY_SOCKET %s: is neither a path nor @NAME of at most %zu bytes", path,
                  sizeof(n->address.sun_path) - 1);
        return ERR_ARG;
    }
    memcpy(n->address.sun_path, path, bytes);
    if (path[0] == '@') /* abstract: as long as its name, and not ended by a zero */
        n->address.sun_path[0] = '\0';
    n->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes +
                                   (path[0] == '/'));
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd >= 0)
        return ERR_OK;
    log_error("NOTIFY_SOCKET: %s", strerror(errno));
    return ERR_IO;
}

void
notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

void
notify_send(const struct notify *n, const char *format, ...)
{
    char text[NOTIFY_TEXT_BYTES_MAX];
    va_list args;
    int bytes;

    if (n->fd < 0)
        return;
    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (bytes <= 0)
        return;
    if ((size_t)bytes >= sizeof(text))
        bytes = (int)sizeof(text) - 1;
    if (sendto(n->fd, text, (size_t)bytes, MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
               n->address_bytes) < 0)
        log_debug("NOTIFY_SOCKET: %s", strerror(errno));
}

uint64_t
notify_watchdog_ns(const char *usec, const char *pid)
{
    uint64_t value;

    if (usec == NULL || span_u64(span_of(usec), &value) != ERR_OK || value == 0 ||
        value > WATCHDOG_USEC_MAX)
        return 0;
    if (pid != NULL && pid[0] != '\0') { /* it may be meant for the process that started us */
        uint64_t wanted;
        if (span_u64(span_of(pid), &wanted) != ERR_OK || wanted != (uint64_t)getpid())
            return 0;
    }
    return value * 1000;
}

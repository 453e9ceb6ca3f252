#ifndef IO_NOTIFY_H
#define IO_NOTIFY_H
/* notify - what a service manager (systemd) wants to hear of a service: ready, reloading, stopping,
 * alive. Lines like "READY=1" in one datagram to the socket that NOTIFY_SOCKET names.
 *
 * The protocol is one sendto() and is promised to stay as it is (sd_notify(3)); libsystemd would
 * bring six more for it, so it is written here. Thread: any, sends do not block. */
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

#define NOTIFY_TEXT_BYTES_MAX 512u

struct notify {
    int fd; /* -1: nobody wants to hear */
    socklen_t address_bytes;
    struct sockaddr_un address;
};

/* path: of NOTIFY_SOCKET; a first '@' is an abstract socket. NULL or "": nobody listens, and sends
 * do nothing. ERR_ARG, ERR_IO: logged; then, too, *n is usable and does nothing. */
MUST_USE enum err notify_open(struct notify *n, const char *path);
void notify_close(struct notify *n);
/* One datagram, cut to NOTIFY_TEXT_BYTES_MAX. A manager that does not listen is no error of ours.
 */
void notify_send(const struct notify *n, const char *format, ...) PRINTF_LIKE(2, 3);

/* How often the manager wants to hear that we are alive, at the latest, by WATCHDOG_USEC and
 * WATCHDOG_PID; 0: it does not. */
uint64_t notify_watchdog_ns(const char *usec, const char *pid);
#endif

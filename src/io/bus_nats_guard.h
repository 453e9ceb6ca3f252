#ifndef IO_BUS_NATS_GUARD_H
#define IO_BUS_NATS_GUARD_H
/* bus_nats_guard - an end for handshakes that have none.
 *
 * Once it has sent CONNECT, or begun TLS, libnats waits for the server without a limit, and it
 * gives nobody the socket before all is done. A server that stops just then, or a machine that is
 * gone, would keep this thread until the program ends. So while libnats connects, a thread of ours
 * watches the time and the wish to end; then it looks among all descriptors for those that are
 * connected to this server and not released, and shuts them down: libnats takes it for the server's
 * doing. At worst that ends the handshake of another bus of this program, which tries again. */
#include <stdbool.h>
#include <sys/socket.h>

struct bus_nats_guard;

/* From now on. peer: the server's address. wake_fd: readable when it shall end. NULL: out of memory
 * or threads, logged. */
struct bus_nats_guard *bus_nats_guard_open(const struct sockaddr_storage *peer, int wake_fd,
                                           int limit_ms);
/* The handshake is over. Waits for the thread, which waits for nothing. */
void bus_nats_guard_close(struct bus_nats_guard *g);
/* This connection is through: no guard looks at it any more. It is marked by TCP's keepalive, which
 * libnats sets on none of its sockets. */
void bus_nats_guard_release(int socket);
#endif

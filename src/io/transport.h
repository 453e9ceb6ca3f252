#ifndef IO_TRANSPORT_H
#define IO_TRANSPORT_H
/* transport - the bytes of one connection, whatever carries them: a socket as it is, or TLS over
 * it (io/tls). Sessions and calls above know the peer's bytes only.
 *
 * Calls are those of sockets, and never block. Belongs to a loop and its thread. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "io/loop.h"

struct transport { /* embed it, zeroed */
    struct loop_watch watch;
};

/* Watch fd, which is the transport's from now on, closed when this fails. */
MUST_USE enum err transport_open(struct transport *t, struct loop *loop, int fd, unsigned interest,
                                 loop_watch_fn *fn);
/* Not open: does nothing. */
void transport_close(struct transport *t);

/* Bytes; 0: the peer has ended its side; -1 and errno, EAGAIN: nothing now. */
ssize_t transport_recv(struct transport *t, void *data, size_t bytes);
/* Is there something to read? 1, 0 or -1 as transport_recv would say; nothing is taken. */
int transport_peek(struct transport *t);
/* How many bytes were taken; -1 and errno, EAGAIN: none now. */
ssize_t transport_send(struct transport *t, const void *data, size_t bytes);
ssize_t transport_sendv(struct transport *t, struct iovec *pieces, size_t count);
/* Let transport_close reset the connection, so that its end cannot be taken for one in order. */
void transport_reset_at_close(struct transport *t);
/* We send no more. false: the connection is gone. */
bool transport_shutdown(struct transport *t);
#endif

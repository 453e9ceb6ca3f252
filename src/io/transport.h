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

struct tls;
struct tls_context;
struct tls_buffers;
struct tls_peer;

struct transport { /* embed it, zeroed */
    struct loop_watch watch;
    struct tls *tls; /* NULL: plain */
};

enum transport_protocol { TRANSPORT_HTTP1, TRANSPORT_HTTP2 };

/* Watch fd, which is the transport's from now on, closed when this fails. */
MUST_USE enum err transport_open(struct transport *t, struct loop *loop, int fd, unsigned interest,
                                 loop_watch_fn *fn);
/* Not open: does nothing. */
void transport_close(struct transport *t);

/* ---- TLS. From now on, before any byte was sent or received, the transport speaks it. peer: NULL
 * on the server's side. ERR_MEMORY: it is to be closed. */
MUST_USE enum err transport_use_tls(struct transport *t, struct tls_context *context,
                                    struct tls_buffers *buffers, struct tls_peer *peer);
/* Go on with the handshake whenever the transport is ready, until it is done; a plain one is done
 * at once. ERR_AGAIN: what the loop is to say was asked for; ERR_CLOSED: the peer went away;
 * ERR_PARSE: it failed, and the transport is to be closed. */
MUST_USE enum err transport_handshake(struct transport *t);
/* What was agreed on with the client; without TLS it is HTTP/1. */
enum transport_protocol transport_protocol(const struct transport *t);
/* Whose certificate the client has shown (tls_client), "": none. */
const char *transport_client(const struct transport *t);
/* Its pin (tls_client_pin), TLS_PIN_BYTES. False: there is none. */
bool transport_client_pin(const struct transport *t, unsigned char *ret_pin);
/* There is something to read, or the end, that the loop will not announce: go on reading until
 * EAGAIN, or ask again when there is room. */
bool transport_has_pending(const struct transport *t);
/* Bytes that transport_send took wait here for the kernel: ask the loop for LOOP_WRITE, and call
 * transport_send or transport_flush then. They are few, and block what comes after them. */
bool transport_wants_write(const struct transport *t);
/* Hand the kernel what waits here: 0, look at transport_wants_write; -1 and errno as below. */
ssize_t transport_flush(struct transport *t);

/* ---- Bytes. 0: the peer has ended its side; -1 and errno, EAGAIN: nothing now. */
ssize_t transport_recv(struct transport *t, void *data, size_t bytes);
/* Is there something to read? 1, 0 or -1 as transport_recv would say; nothing is taken. */
int transport_peek(struct transport *t);
/* How many bytes were taken; 0: none, but some that waited; -1 and errno, EAGAIN: none now. */
ssize_t transport_send(struct transport *t, const void *data, size_t bytes);
ssize_t transport_sendv(struct transport *t, struct iovec *pieces, size_t count);
/* How many bytes of what was sent the peer has not got yet: here, in the kernel, on the way. With
 * TLS encrypted ones, which are a few more. A system call. */
uint64_t transport_unread(const struct transport *t);
/* Let transport_close reset the connection, so that its end cannot be taken for one in order. */
void transport_reset_at_close(struct transport *t);
/* We send no more. false: the connection is gone. */
bool transport_shutdown(struct transport *t);
#endif

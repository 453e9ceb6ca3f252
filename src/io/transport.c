/* transport - plain sockets, one system call for each call, or TLS (tls_connection.h), which makes
 * one at most; see transport.h. */
#include "io/transport.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tls_connection.h"

enum err
transport_open(struct transport *t, struct loop *loop, int fd, unsigned interest, loop_watch_fn *fn)
{
    enum err err = loop_add(loop, &t->watch, fd, interest, fn);

    if (err != ERR_OK)
        close(fd);
    return err;
}

void
transport_close(struct transport *t)
{
    if (t->watch.fd < 0)
        return;
    if (t->tls != NULL)
        tls_close(t->tls);
    t->tls = NULL;
    loop_remove(&t->watch);
    close(t->watch.fd);
    t->watch.fd = -1;
}

/* ---- TLS. */

enum err
transport_use_tls(struct transport *t, struct tls_context *context, struct tls_buffers *buffers,
                  struct tls_peer *peer)
{
    t->tls = tls_open(context, buffers, peer, t->watch.fd);
    return t->tls != NULL ? ERR_OK : ERR_MEMORY;
}

enum err
transport_handshake(struct transport *t)
{
    enum err err = t->tls != NULL ? tls_handshake(t->tls) : ERR_OK;

    if (err == ERR_AGAIN)
        loop_interest(&t->watch, LOOP_READ | (tls_wants_write(t->tls) ? LOOP_WRITE : 0u));
    return err;
}

enum transport_protocol
transport_protocol(const struct transport *t)
{
    return t->tls != NULL && tls_is_http2(t->tls) ? TRANSPORT_HTTP2 : TRANSPORT_HTTP1;
}

const char *
transport_client(const struct transport *t)
{
    return t->tls != NULL ? tls_client(t->tls) : "";
}

bool
transport_client_pin(const struct transport *t, unsigned char *ret_pin)
{
    return t->tls != NULL && tls_client_pin(t->tls, ret_pin);
}

bool
transport_has_pending(const struct transport *t)
{
    return t->tls != NULL && tls_has_pending(t->tls);
}

bool
transport_wants_write(const struct transport *t)
{
    return t->tls != NULL && tls_wants_write(t->tls);
}

ssize_t
transport_flush(struct transport *t)
{
    return t->tls != NULL ? tls_sendv(t->tls, NULL, 0) : 0;
}

/* ---- Bytes. */

ssize_t
transport_recv(struct transport *t, void *data, size_t bytes)
{
    return t->tls != NULL ? tls_recv(t->tls, data, bytes) : recv(t->watch.fd, data, bytes, 0);
}

int
transport_peek(struct transport *t)
{
    char byte;

    if (t->tls != NULL)
        return tls_peek(t->tls);
    return (int)recv(t->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

ssize_t
transport_send(struct transport *t, const void *data, size_t bytes)
{
    /* iov_base is not const, though sending writes nothing there. */
    const struct iovec piece = {(void *)(uintptr_t)data, bytes};

    return t->tls != NULL ? tls_sendv(t->tls, &piece, 1)
                          : send(t->watch.fd, data, bytes, MSG_NOSIGNAL);
}

ssize_t
transport_sendv(struct transport *t, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};

    return t->tls != NULL ? tls_sendv(t->tls, pieces, count)
                          : sendmsg(t->watch.fd, &message, MSG_NOSIGNAL);
}

uint64_t
transport_unread(const struct transport *t)
{
    int queued = 0;

    if (ioctl(t->watch.fd, SIOCOUTQ, &queued) != 0)
        queued = 0; /* no kernel that we know of: what it took counts as taken */
    return (uint64_t)queued + (t->tls != NULL ? tls_kept_bytes(t->tls) : 0);
}

void
transport_reset_at_close(struct transport *t)
{
    const struct linger reset = {.l_onoff = 1};

    /* That it could not be set means the connection is gone already. */
    (void)setsockopt(t->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (t->tls != NULL)
        tls_hush(t->tls);
}

bool
transport_shutdown(struct transport *t)
{
    if (t->tls != NULL)
        tls_shutdown(t->tls);
    return shutdown(t->watch.fd, SHUT_WR) == 0;
}

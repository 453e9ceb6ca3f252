/* transport - plain sockets, one system call for each call; see transport.h. */
#include "io/transport.h"

#include <sys/socket.h>
#include <unistd.h>

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
    loop_remove(&t->watch);
    close(t->watch.fd);
    t->watch.fd = -1;
}

ssize_t
transport_recv(struct transport *t, void *data, size_t bytes)
{
    return recv(t->watch.fd, data, bytes, 0);
}

int
transport_peek(struct transport *t)
{
    char byte;

    return (int)recv(t->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

ssize_t
transport_send(struct transport *t, const void *data, size_t bytes)
{
    return send(t->watch.fd, data, bytes, MSG_NOSIGNAL);
}

ssize_t
transport_sendv(struct transport *t, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};

    return sendmsg(t->watch.fd, &message, MSG_NOSIGNAL);
}

void
transport_reset_at_close(struct transport *t)
{
    const struct linger reset = {.l_onoff = 1};

    /* That it could not be set means the connection is gone already. */
    (void)setsockopt(t->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

bool
transport_shutdown(struct transport *t)
{
    return shutdown(t->watch.fd, SHUT_WR) == 0;
}

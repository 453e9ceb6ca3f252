/* http_client - clients, their targets, and the connections to these; see http_client.h. The life
 * of a call is in http_call.c.
 *
 * A connection belongs to a call or stands in its target's pool, newest first: the newest is taken,
 * the oldest ones run out and are closed. While it stands there, whatever it has to say means that
 * it is of no use: it is closed without a word. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "io/http_call.h"
#include "io/log.h"

/* ---- Connections and the pool. */

void
http_connection_close(struct http_connection *connection)
{
    if (connection->call != NULL) {
        connection->call->connection = NULL;
    } else {
        TAILQ_REMOVE(&connection->target->idle, connection, link);
        connection->target->idle_count--;
    }
    transport_close(&connection->transport);
    free(connection);
}

static void
idle_expired(struct loop_timer *timer)
{
    struct http_target *target = CONTAINER_OF(timer, struct http_target, idle_timer);
    uint64_t now_ns = loop_now_ns(target->client->loop);
    struct http_connection *oldest;

    while ((oldest = TAILQ_LAST(&target->idle, http_connections)) != NULL) {
        uint64_t expires_ns = oldest->idle_since_ns + HTTP_POOL_IDLE_NS;
        if (expires_ns > now_ns) {
            loop_timer_set(target->client->loop, timer, expires_ns, idle_expired);
            return;
        }
        http_connection_close(oldest);
    }
}

void
http_connection_keep(struct http_connection *connection)
{
    struct http_target *target = connection->target;
    struct loop *loop = target->client->loop;

    loop_interest(&connection->transport.watch, LOOP_READ);
    connection->call->connection = NULL;
    connection->call = NULL;
    connection->idle_since_ns = loop_now_ns(loop);
    TAILQ_INSERT_HEAD(&target->idle, connection, link);
    target->idle_count++;
    if (target->idle_count > HTTP_POOL_IDLE_MAX)
        http_connection_close(TAILQ_LAST(&target->idle, http_connections));
    /* A timer that is armed stands at or before the oldest one's time, and looks again then. */
    if (target->idle_timer.deadline_ns == 0)
        loop_timer_set(loop, &target->idle_timer, connection->idle_since_ns + HTTP_POOL_IDLE_NS,
                       idle_expired);
}

bool
http_error_is_local(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == EADDRNOTAVAIL || error == EACCES || error == EPERM || error == EAGAIN;
}

/* A socket on its way to the target; -1: *ret_why says why not. */
static int
open_socket(const struct http_target *target, enum http_failure *ret_why)
{
    const struct sockaddr *address = (const struct sockaddr *)&target->address;
    int one = 1, fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *ret_why = HTTP_FAILED_LOCAL;
    if (fd < 0)
        return -1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        goto failed;
    /* No port yet: the kernel picks it at connect, when it need only be unique per peer. */
    if (target->bind_bytes != 0 &&
        (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) != 0 ||
         bind(fd, (const struct sockaddr *)&target->bind_address, target->bind_bytes) != 0))
        goto failed;
    if (connect(fd, address, target->address_bytes) == 0 || errno == EINPROGRESS || errno == EINTR)
        return fd;
    if (!http_error_is_local(errno))
        *ret_why = HTTP_FAILED_CONNECT;
failed:
    close(fd);
    return -1;
}

struct http_connection *
http_connection_open(struct http_target *target, struct http_call *call, enum http_failure *ret_why)
{
    struct http_connection *connection = calloc(1, sizeof(*connection));
    int fd;

    *ret_why = HTTP_FAILED_LOCAL;
    if (connection == NULL)
        return NULL;
    fd = open_socket(target, ret_why);
    if (fd < 0)
        goto out;
    if (transport_open(&connection->transport, target->client->loop, fd, LOOP_WRITE,
                       http_connection_ready) != ERR_OK)
        goto out;
    connection->target = target;
    connection->call = call;
    return connection;
out:
    free(connection);
    return NULL;
}

/* The first failure is told, and then the first after a success. */
static void
tell_handshake(struct http_target *target, bool good)
{
    if (!good && !target->tls_told)
        log_warn("%.*s: TLS: %s", (int)target->host_bytes, target->host,
                 target->tls->why[0] != '\0' ? target->tls->why : "the handshake failed");
    target->tls_told = !good;
}

enum err
http_connection_handshake(struct http_connection *connection)
{
    struct http_target *target = connection->target;
    struct transport *t = &connection->transport;
    enum err err;

    if (target->tls == NULL)
        return ERR_OK;
    if (t->tls == NULL && transport_use_tls(t, target->tls->context, target->client->tls_buffers,
                                            target->tls) != ERR_OK)
        return ERR_MEMORY;
    err = transport_handshake(t);
    if (err == ERR_AGAIN)
        return err;
    tell_handshake(target, err == ERR_OK);
    return err == ERR_OK ? ERR_OK : ERR_PARSE;
}

struct http_connection *
http_connection_take(struct http_target *target, struct http_call *call)
{
    struct http_connection *newest = TAILQ_FIRST(&target->idle);

    if (newest == NULL)
        return NULL;
    TAILQ_REMOVE(&target->idle, newest, link);
    target->idle_count--;
    newest->call = call;
    return newest;
}

/* An idle connection is readable: is it only TLS that had something to say, a ticket or new keys?
 */
static bool
is_only_tls(struct http_connection *connection)
{
    return connection->transport.tls != NULL && transport_peek(&connection->transport) < 0 &&
           errno == EAGAIN;
}

void
http_connection_ready(struct loop_watch *watch, unsigned ready)
{
    struct http_connection *connection = CONTAINER_OF(watch, struct http_connection,
                                                      transport.watch);

    if (connection->call != NULL)
        http_call_ready(connection->call, ready);
    else if (!is_only_tls(connection))
        http_connection_close(connection);
}

/* ---- Clients and targets. */

enum err
http_client_open(struct loop *loop, struct http_client **ret_client)
{
    struct http_client *client = malloc(sizeof(*client)); /* not zeroed: the buffer is large */

    if (client == NULL)
        return ERR_MEMORY;
    client->loop = loop;
    client->spare_count = 0;
    client->running = NULL;
    client->tls_buffers = NULL;
    LIST_INIT(&client->targets);
    LIST_INIT(&client->spares);
    *ret_client = client;
    return ERR_OK;
}

void
http_client_close(struct http_client *client)
{
    struct http_target *target;
    struct http_call *call;

    if (client == NULL)
        return;
    while ((target = LIST_FIRST(&client->targets)) != NULL)
        http_target_close(target);
    while ((call = LIST_FIRST(&client->spares)) != NULL) {
        LIST_REMOVE(call, link);
        http_call_free(call);
    }
    if (client->running != NULL)
        client->running->client = NULL; /* it is over, and frees itself */
    tls_buffers_close(client->tls_buffers);
    free(client);
}

enum err
http_target_open(struct http_client *client, const struct sockaddr *address,
                 socklen_t address_bytes, struct span host, const struct sockaddr *bind_address,
                 socklen_t bind_bytes, struct http_target **ret_target)
{
    struct http_target *target;

    if (address_bytes > sizeof(target->address) || bind_bytes > sizeof(target->bind_address) ||
        host.bytes > HTTP_HOST_BYTES_MAX || !http1_header_is_clean(SPAN_LIT("host"), host))
        return ERR_ARG;
    target = calloc(1, sizeof(*target) + host.bytes);
    if (target == NULL)
        return ERR_MEMORY;
    target->client = client;
    TAILQ_INIT(&target->idle);
    memcpy(&target->address, address, address_bytes);
    target->address_bytes = address_bytes;
    if (bind_bytes != 0)
        memcpy(&target->bind_address, bind_address, bind_bytes);
    target->bind_bytes = bind_bytes;
    if (host.bytes != 0)
        memcpy(target->host, host.data, host.bytes);
    target->host_bytes = host.bytes;
    LIST_INSERT_HEAD(&client->targets, target, link);
    *ret_target = target;
    return ERR_OK;
}

enum err
http_target_use_tls(struct http_target *target, struct tls_context *context, struct span name,
                    const unsigned char *pin)
{
    struct http_client *client = target->client;
    struct tls_peer *peer = calloc(1, sizeof(*peer));
    enum err err;

    must(target->tls == NULL && LIST_EMPTY(&target->calls));
    if (client->tls_buffers == NULL)
        client->tls_buffers = tls_buffers_open(NULL, NULL);
    if (peer == NULL || client->tls_buffers == NULL) {
        free(peer);
        return ERR_MEMORY;
    }
    err = tls_peer_init(peer, context, name, pin);
    if (err != ERR_OK) {
        free(peer);
        return err;
    }
    target->tls = peer;
    return ERR_OK;
}

void
http_target_close(struct http_target *target)
{
    struct http_call *call;
    struct http_connection *connection;

    if (target == NULL)
        return;
    while ((call = LIST_FIRST(&target->calls)) != NULL)
        http_call_cancel(call);
    while ((connection = TAILQ_FIRST(&target->idle)) != NULL)
        http_connection_close(connection);
    loop_timer_stop(&target->idle_timer);
    LIST_REMOVE(target, link);
    if (target->tls != NULL)
        tls_peer_fini(target->tls);
    free(target->tls);
    free(target);
}

size_t
http_target_idle(const struct http_target *target)
{
    return target->idle_count;
}

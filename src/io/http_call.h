#ifndef IO_HTTP_CALL_H
#define IO_HTTP_CALL_H
/* http_call - what http_client.c (clients, targets, connections and their pools) and http_call.c
 * (the life of one call) know of each other. Users include http_client.h. */
#include "base/list.h"
#include "io/http_client.h"
#include "io/tls_connection.h"
#include "io/transport.h"
#include "wire/http1.h"

#define HTTP_READ_BYTES 65536u /* the buffer of a client */

struct http_connection {
    struct transport transport;
    struct http_target *target;
    struct http_call *call;            /* NULL: idle */
    TAILQ_ENTRY(http_connection) link; /* in target->idle */
    uint64_t idle_since_ns;
};

enum http_phase { /* http_call.c says what they mean */
                  HTTP_WAITING,
                  HTTP_CONNECTING,
                  HTTP_SENDING,
                  HTTP_SENT,
                  HTTP_OVER
};

struct http_call {
    LIST_ENTRY(http_call) link;         /* in target->calls, or client->spares; OVER: in none */
    struct http_client *client;         /* OVER: NULL when it was closed */
    struct http_target *target;         /* until OVER */
    struct http_connection *connection; /* from CONNECTING to OVER */
    struct loop_task task;
    struct loop_timer timer; /* the one limit that runs now */
    enum http_phase phase;
    bool fresh;       /* the connection was opened for this call */
    bool got_byte;    /* of the response, 1xx included */
    bool got_head;    /* of the final response */
    uint8_t interims; /* 1xx so far */
    bool send_failed; /* the peer takes no more; it may have answered before */
    bool paused;
    bool to_head;                    /* a HEAD request */
    uint64_t first_byte_deadline_ns; /* 0: none */
    struct http_call_fn fn;
    void *user;
    struct http_call_limits limits;
    struct http1_limits parser_limits;
    struct http1_parser parser;
    char *head; /* of the request; the call's own */
    size_t head_bytes, head_capacity;
    size_t sent_bytes, request_bytes; /* head and parts */
    size_t part_count;
    struct span parts[HTTP_CALL_PARTS_MAX];
};

TAILQ_HEAD(http_connections, http_connection);
LIST_HEAD(http_calls, http_call);

struct http_target {
    LIST_ENTRY(http_target) link;
    struct http_client *client;
    struct http_calls calls;
    struct http_connections idle; /* newest first */
    size_t idle_count;
    struct loop_timer idle_timer; /* for the last of them */
    struct tls_peer *tls;         /* NULL: plain */
    bool tls_told;                /* that handshakes fail */
    struct sockaddr_storage address, bind_address;
    socklen_t address_bytes, bind_bytes; /* bind_bytes 0: the kernel's choice */
    size_t host_bytes;
    char host[];
};

LIST_HEAD(http_targets, http_target);

struct http_client {
    struct loop *loop;
    struct http_targets targets;
    struct http_calls spares; /* call objects to use again, with their buffers */
    size_t spare_count;
    struct tls_buffers *tls_buffers;              /* NULL: no target speaks TLS */
    struct http_call *running;                    /* the one whose callbacks may be on the stack */
    struct http_header headers[HTTP_HEADERS_MAX]; /* what a callback gets */
    char bytes[HTTP_READ_BYTES];
};

/* ---- http_client.c: give the call a connection: the newest kept one, NULL: none is there; */
struct http_connection *http_connection_take(struct http_target *target, struct http_call *call);
/* or a new one on its way to the target, watched for LOOP_WRITE. NULL: *ret_why says why not. */
struct http_connection *http_connection_open(struct http_target *target, struct http_call *call,
                                             enum http_failure *ret_why);
/* It is connected: go on until it can be sent to. ERR_AGAIN: not yet; ERR_PARSE: no TLS, told;
 * ERR_MEMORY. */
MUST_USE enum err http_connection_handshake(struct http_connection *connection);
/* The call lets go of its connection, which waits for another one. */
void http_connection_keep(struct http_connection *connection);
/* Close it, whether idle or a call's, which then has none. */
void http_connection_close(struct http_connection *connection);
/* Whether an errno says something about us and not about the peer. */
bool http_error_is_local(int error);
/* What the connection's watch calls. */
void http_connection_ready(struct loop_watch *watch, unsigned ready);

/* ---- http_call.c: something happened on the call's connection. */
void http_call_ready(struct http_call *call, unsigned ready);
/* Free a call that is in no list. */
void http_call_free(struct http_call *call);
#endif

#ifndef IO_HTTP_SERVER_H
#define IO_HTTP_SERVER_H
/* http_server - HTTP/1.1 towards clients: listeners, keep-alive connections, whole requests in,
 * responses by length or chunked out. No decision is taken here.
 *
 * A connection carries one exchange at a time; pipelined requests wait, and take turns with those
 * of other connections, so that a flood of them is nobody's concern. The body is read whole before
 * fn.request is called, in one piece with HTTP_BODY_PADDING readable bytes behind it. Malformed or
 * forbidden heads (wire/http1 has the policy) are answered here with 400, 413, 414, 431 or 408 as
 * JSON {"error":{...}} and the connection is closed.
 *
 * Back-pressure: http_response_write never blocks or refuses; http_response_pending says how much
 * waits for the client, and fn.drained is called when it has fallen to low_water_bytes again after
 * it was over high_water_bytes. A server belongs to one loop and its thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/span.h"
#include "io/http_addresses.h"
#include "io/loop.h"

#define HTTP_HEAD_BYTES_MAX           65536u /* request line and headers; 431 (414 for the target) */
#define HTTP_TARGET_BYTES_MAX         8192u
#define HTTP_HEADERS_MAX              100u
#define HTTP_TRAILERS_MAX             4u  /* of a response */
#define HTTP_BODY_PADDING             64u /* who reads text by blocks reads past the end */
#define HTTP_EXCHANGE_ARENA_BYTES_MAX 16777216u
#define HTTP_LISTENERS_MAX            128u /* of one server */

struct http_header {
    struct span name, value; /* name as sent: compare with span_eq_nocase */
};

struct http_exchange; /* one request and its response */

struct http_share;

struct http_request {
    struct span method, target; /* target as sent: path and query */
    struct span path, query;    /* query without '?', empty when there is none */
    const struct http_header *headers;
    size_t header_count;
    uint64_t header_bits; /* which names may be among them: http_request_header; 0: any */
    struct span body;     /* mutable by nobody; HTTP_BODY_PADDING bytes behind it are readable */
    /* As `admit` set it for this request; NULL: it did not, or was not asked. In `request` only. */
    struct http_share *share;
};

/* What one client of many, however it is known, has of the memory for bodies. The server's user
 * owns it; release says that a body that was counted in it is gone. Any thread. */
struct http_share {
    _Atomic size_t bytes;
    void (*release)(struct http_share *share);
};

/* Called on the loop's thread. `user` is what http_server_open got. All but request may be NULL.
 * None is called from within a call of the exchange: they come from the loop, or http_server_close.
 */
struct http_server_fn {
    /* A whole request. Answer now or later; r lives until the exchange ends. */
    void (*request)(struct http_exchange *x, const struct http_request *r, void *user);
    /* May this client send us a body? Asked when the head is here and the body is not, whole; r is
     * gone after it and has no body. False: the request comes at once, without its body, to be
     * refused, and the connection ends after that. True: *ret_share may be set to what the body is
     * counted in, beside the sum (NULL before). */
    bool (*admit)(const struct http_request *r, void *user, struct http_share **ret_share);
    /* The client went away before the response was complete. Called at most once, never after
     * done. The exchange is still valid until the callback returns; then it is gone. */
    void (*gone)(struct http_exchange *x, void *user);
    /* Pending bytes fell below the low-water mark after they were above the high one. */
    void (*drained)(struct http_exchange *x, void *user);
    /* The response is whole, but waits here for its client: all in the exchange's arena is dropped
     * now, but for the request's method and path. Move what gone and done will want of the
     * exchange's user into `to`, which becomes the arena, and set it so. False: it stays as it is.
     * NULL: nothing is dropped where a user is set. */
    bool (*shrink)(struct http_exchange *x, struct arena *to, void *user);
    /* The response is complete and handed to the kernel; the exchange is gone after this. */
    void (*done)(struct http_exchange *x, void *user);
    /* What came was answered here and is no request for anybody: malformed, too large, too slow.
     * peer: an address of its family's size; protocol, code: static texts. */
    void (*refused)(const struct sockaddr *peer, const char *protocol, unsigned status,
                    const char *code, void *user);
};

struct http_server_limits {
    size_t body_bytes_max;          /* 413 above it, naming limits.body_bytes_max */
    size_t connections_max;         /* accept stops above it */
    uint64_t head_ns, body_idle_ns; /* from first byte to whole head; silence within a body: 408 */
    uint64_t keep_alive_ns;         /* idle between exchanges: closed */
    uint64_t write_idle_ns;         /* the client takes no byte of what waits: closed */
    size_t high_water_bytes, low_water_bytes;
    /* Bytes of bodies in all connections of the process, large answers that wait among them; 503
     * naming limits.buffers_bytes_max. Both may be NULL (no limit in common). The counter is shared
     * by all loops, updated atomically. */
    _Atomic size_t *buffers_bytes;
    size_t buffers_bytes_max;
    size_t share_bytes_max; /* of one http_share; 429 naming limits.buffers_bytes_per_key_max */
    uint64_t upload_bytes_per_second_min; /* the mean of a body while it comes; 0: none; else 408 */
    /* The mean of an answer while it waits for its client; 0: none; else it is cut off. */
    uint64_t download_bytes_per_second_min;
    uint64_t pace_grace_ns; /* before either of the two means something */
    /* Connections of one client address in the process; more are turned away. NULL: no limit. */
    struct http_addresses *addresses;
    uint32_t connections_per_address_max;
};

struct http_server;

/* Listen on address (SO_REUSEADDR; SO_REUSEPORT when reuse_port, so that each loop has a listener
 * of its own; bound to device when not NULL, as SO_BINDTODEVICE has it). address NULL: nowhere,
 * until http_server_adopt. ERR_IO: logged. On success the caller owns *ret_server. */
MUST_USE enum err http_server_open(struct loop *loop, const struct sockaddr *address,
                                   socklen_t address_bytes, bool reuse_port, const char *device,
                                   const struct http_server_limits *limits,
                                   const struct http_server_fn *fn, void *user,
                                   struct http_server **ret_server);
/* Let later servers of this user listen at the same address, if they are opened with reuse_port.
 * This one had it alone until now: so a set of servers opens its first one without reuse_port, and
 * a stranger who is there already is an error and no silent partner. ERR_IO: logged. */
MUST_USE enum err http_server_share(struct http_server *s);
/* Take over a socket that listens already (another process opened it) and accept from it from now
 * on; a server that drains closes it. ERR_IO, ERR_MEMORY, ERR_FULL: logged; fd is closed then, too.
 */
MUST_USE enum err http_server_adopt(struct http_server *s, int fd);
/* The sockets that it listens on, at most fds_max, still its own; how many. */
size_t http_server_listeners(const struct http_server *s, int *fds, size_t fds_max);
/* The bound address of the first of them (port 0 was filled in). */
/* Speak TLS (tls.h) on connections that come from now on, with the context that `context` gives for
 * each (user: the server's) and of which the connection holds a reference: so a reload takes effect
 * at once. NULL from it: this one is plain. tickets: the same for all servers of a process. stats:
 * where to count; NULL: nowhere. Once, before the loop runs. ERR_MEMORY. */
struct tls_context;
struct tls_tickets;
struct tls_stats;
typedef struct tls_context *http_server_tls_fn(void *user);
MUST_USE enum err http_server_use_tls(struct http_server *s, http_server_tls_fn *context,
                                      const struct tls_tickets *tickets, struct tls_stats *stats);
/* The bound address (port 0 was filled in). */
void http_server_address(const struct http_server *s, struct sockaddr_storage *ret_address);
/* Accept no more; connections close after their next response, which says so, but those that were
 * told that they are kept: they are idle then. Idle ones wait grace_ns for a request that may be on
 * its way (a close would meet it with a reset), then they close; 0: at once.
 * http_server_connections says how many are left. */
void http_server_drain(struct http_server *s, uint64_t grace_ns);
size_t http_server_exchanges(const struct http_server *s); /* in progress */
size_t http_server_connections(const struct http_server *s);
/* Close everything at once (fn.gone is called for open exchanges). Not from within a callback of
 * the server. NULL: does nothing. */
void http_server_close(struct http_server *s);

/* ---- The exchange. */
struct arena *http_exchange_arena(struct http_exchange *x); /* dropped with the exchange */
void *http_exchange_user(const struct http_exchange *x);    /* NULL until set */
void http_exchange_set_user(struct http_exchange *x, void *user);
/* ret_local may be NULL: it costs a system call. */
void http_exchange_peer(const struct http_exchange *x, struct sockaddr_storage *ret_peer,
                        struct sockaddr_storage *ret_local);
const struct http_request *http_exchange_request(const struct http_exchange *x);
/* Has its protocol a place for trailers, and will the response have a body? (Whether anybody looks
 * at them is another matter: they are for who agreed on that.) */
bool http_exchange_takes_trailers(const struct http_exchange *x);
const char *http_exchange_protocol(const struct http_exchange *x); /* "HTTP/1.1", "HTTP/2" */
/* Whose certificate the client has shown, and by what name (tls_client); "": none. */
const char *http_exchange_client_certificate(const struct http_exchange *x);
/* The pin of that certificate's key, TLS_PIN_BYTES. False: none was shown. */
bool http_exchange_client_pin(const struct http_exchange *x, unsigned char *ret_pin);
uint64_t http_exchange_began_ns(const struct http_exchange *x);   /* when the request was whole */
unsigned http_exchange_status(const struct http_exchange *x);     /* of the answer; 0: none yet */
uint64_t http_exchange_body_bytes(const struct http_exchange *x); /* of the answer, so far */
/* Is this the first exchange of its connection? */
bool http_exchange_is_first(const struct http_exchange *x);
/* In fn.gone: did the client not leave, but take its answer too slowly and was cut off? */
bool http_exchange_is_slow(const struct http_exchange *x);
/* The last value of the header named so; empty when there is none. */
struct span http_request_header(const struct http_request *r, struct span name);

/* A whole response, status 200..999. Content-Length is written here; headers[] must not contain it,
 * nor Connection, Transfer-Encoding or Date (which are written as needed). A header whose name or
 * value could break the head is left out and logged. Copies everything. */
void http_respond(struct http_exchange *x, unsigned status, const struct http_header *headers,
                  size_t header_count, struct span body);
/* Or in parts, chunked (HTTP/1.0 clients: ended by close): start, write any number, end. */
void http_response_start(struct http_exchange *x, unsigned status,
                         const struct http_header *headers, size_t header_count);
/* Or in parts with a known length; what is written above it is left out, and a response ended below
 * it is aborted. */
void http_response_start_length(struct http_exchange *x, unsigned status,
                                const struct http_header *headers, size_t header_count,
                                uint64_t body_bytes);
/* Parts are joined into one write per connection and loop pass. Copies. An empty part does nothing.
 */
void http_response_write(struct http_exchange *x, struct span part);
void http_response_writev(struct http_exchange *x, const struct span *parts, size_t part_count);
void http_response_end(struct http_exchange *x);
/* The same with trailers behind the body, of a response in parts without a known length that
 * announced their names in a header Trailer, to who http_exchange_takes_trailers. One whose name or
 * value could break out of its line is left out, and so is one that says how a message is framed or
 * where it goes. At most HTTP_TRAILERS_MAX. Copies. */
void http_response_end_trailers(struct http_exchange *x, const struct http_header *trailers,
                                size_t trailer_count);
/* After the head: close the connection once the response is whole, whatever the head announced.
 * (What llama-server does after a stream, and emulate after it.) */
void http_response_close_after(struct http_exchange *x);
/* Break the response off so that the client sees it is not whole: the connection is closed. The
 * exchange is gone after this; no callback tells so. */
void http_response_abort(struct http_exchange *x);
/* How much waits for the client. Where its connection has other answers that wait, each counts for
 * more: compare it with the marks, it is no number of bytes. */
size_t http_response_pending(const struct http_exchange *x);
#endif

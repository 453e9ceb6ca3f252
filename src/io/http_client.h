#ifndef IO_HTTP_CLIENT_H
#define IO_HTTP_CLIENT_H
/* http_client - HTTP/1.1 towards engines (and admin ports): keep-alive pools per target, one call
 * per connection at a time, separate limits for connect, first byte and idle.
 *
 * A kept connection that turns out closed before any byte of the response came is no failure: the
 * call is sent again, once, on a fresh one (fn.sent is called again). Everything else that goes
 * wrong is reported once through fn.failed. A client belongs to one loop and its thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/span.h"
#include "io/http_server.h" /* struct http_header */
#include "io/loop.h"

#define HTTP_CALL_PARTS_MAX          16u /* pieces of a body (splices) */
#define HTTP_HOST_BYTES_MAX          512u
#define HTTP_RESPONSE_HEAD_BYTES_MAX 65536u
#define HTTP_POOL_IDLE_MAX           64u         /* kept connections per target */
#define HTTP_POOL_IDLE_NS            4000000000u /* llama-server closes at 5 s: be first */

struct http_client; /* the pools of one loop */
struct http_target; /* one host:port with its kept connections */
struct http_call;

struct http_response {
    unsigned status;
    const struct http_header *headers;
    size_t header_count;
    bool fresh_connection;
};

enum http_failure {
    HTTP_FAILED_CONNECT, /* refused, unreachable */
    HTTP_FAILED_CONNECT_TIMEOUT,
    HTTP_FAILED_FIRST_BYTE, /* limits.first_byte passed */
    HTTP_FAILED_IDLE,       /* limits.idle passed after the first byte */
    HTTP_FAILED_EOF,        /* ended before the response was whole; reset */
    HTTP_FAILED_MALFORMED,  /* not HTTP as wire/http1 accepts it */
    HTTP_FAILED_LOCAL,      /* descriptors or memory of ours */
    HTTP_FAILED_TLS         /* no handshake, or whoever is there is not who it should be */
};

/* All five must be set; the struct itself is copied at the start. */
struct http_call_fn {
    /* The request was handed to the kernel whole. fresh: over a new connection. */
    void (*sent)(struct http_call *c, bool fresh, void *user);
    /* The head; 1xx are swallowed. r lives until the callback returns. */
    void (*head)(struct http_call *c, const struct http_response *r, void *user);
    /* Body bytes, unchunked, as they came; they live until the callback returns. */
    void (*data)(struct http_call *c, struct span bytes, void *user);
    /* Whole. The call is gone after this. Trailers are handed over (count may be 0). */
    void (*end)(struct http_call *c, const struct http_header *trailers, size_t trailer_count,
                void *user);
    /* Over. The call is gone after this. */
    void (*failed)(struct http_call *c, enum http_failure why, void *user);
};

struct http_call_limits {
    /* 0: none. connect covers the handshake of TLS; first_byte runs from the last byte of the
     * request that the kernel took, 1xx do not end it; idle is silence from then on. */
    uint64_t connect_ns, first_byte_ns, idle_ns;
    uint64_t body_bytes_max; /* of the response; 0: none; MALFORMED above it */
};

struct http_call_request {
    struct span method, target;
    const struct http_header *headers; /* without Host, Content-Length, Connection */
    size_t header_count;
    const struct span *parts; /* the body in pieces; they must live until end, failed or cancel */
    size_t part_count;
};

MUST_USE enum err http_client_open(struct loop *loop, struct http_client **ret_client);
/* Calls in progress are cancelled, targets are closed. May be called from any callback. NULL: does
 * nothing. */
void http_client_close(struct http_client *client);

/* A target: where, the Host header's value, and optionally the source address (upstream_bind; NULL,
 * 0: none), copied. Close it when nothing will call it again, unless its client was closed; calls
 * in progress are cancelled. May be called from any callback. ERR_ARG: a host or an address that
 * cannot be; ERR_MEMORY. */
MUST_USE enum err http_target_open(struct http_client *client, const struct sockaddr *address,
                                   socklen_t address_bytes, struct span host,
                                   const struct sockaddr *bind_address, socklen_t bind_bytes,
                                   struct http_target **ret_target);
/* Speak TLS with this target, before any call: with the context (a reference is taken), whose CA
 * must vouch for a certificate with this name (a host or an address without brackets); or with
 * whoever has the key that pin (TLS_PIN_BYTES) is the hash of. ERR_ARG, ERR_MEMORY. Why a handshake
 * failed is logged, once until one succeeds. */
struct tls_context;
MUST_USE enum err http_target_use_tls(struct http_target *target, struct tls_context *context,
                                      struct span name, const unsigned char *pin);
void http_target_close(struct http_target *target);
size_t http_target_idle(const struct http_target *target); /* kept connections now */

/* Start a call. fn is never called from within. r, its headers, limits and fn are copied; the bytes
 * of the parts are not. ERR_FULL, ERR_MEMORY, ERR_ARG (bytes that must not stand in a head):
 * nothing was started. */
MUST_USE enum err http_call_start(struct http_target *target, const struct http_call_request *r,
                                  const struct http_call_limits *limits,
                                  const struct http_call_fn *fn, void *user,
                                  struct http_call **ret_call);
/* Close its connection at once: no more callbacks, the call is gone. May be called from within
 * any callback of the call but end and failed. */
void http_call_cancel(struct http_call *call);
/* What the kernel found the path to carry towards the peer of a call: bytes per ms, delivered and
 * acknowledged, and whether that was as much as the path could. While slow start goes on, or the
 * sender had nothing to send, it was not: then the path carries so much at least. */
struct http_path {
    float bytes_per_ms;
    bool limited;
};
/* False: the kernel has found nothing, or the call has no connection (now). */
bool http_call_path(const struct http_call *call, struct http_path *ret_path);
/* Back-pressure: stop and go on reading. What was read already (one buffer at most) is still handed
 * over, the end included. While paused the idle limit does not run. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
#endif

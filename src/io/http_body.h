#ifndef IO_HTTP_BODY_H
#define IO_HTTP_BODY_H
/* http_body - the body of a request while it comes: memory that grows with what came, counted in
 * the sum over all bodies of the process (limits.buffers_bytes_max) before it is taken. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "io/http_server.h"

#define HTTP_BODY_STEP_BYTES 16384u /* the first memory, and what an announcement is worth */

struct http_body { /* zeroed: empty */
    char *data;    /* capacity and HTTP_BODY_PADDING behind it are allocated */
    size_t bytes, capacity;
};

/* Room for `need` bytes in all: twice as much as before at least, so that what came pays for what
 * may come; never more than length, the announced one (UINT64_MAX: none; else >= need). ERR_FULL:
 * above the sum; ERR_MEMORY. */
MUST_USE enum err http_body_grow(struct http_body *b, const struct http_server_limits *limits,
                                 size_t need, uint64_t length);
/* Put part behind what is there, unless it was read to its place already. */
MUST_USE enum err http_body_add(struct http_body *b, const struct http_server_limits *limits,
                                struct span part, uint64_t length);
/* The whole body, padded; empty when there was none. */
struct span http_body_end(struct http_body *b);
void http_body_fini(struct http_body *b, const struct http_server_limits *limits);
#endif

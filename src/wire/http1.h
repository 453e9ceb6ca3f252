#ifndef WIRE_HTTP1_H
#define WIRE_HTTP1_H
/* http1 - HTTP/1.1 messages out of bytes: llhttp with every lenient flag off, and a stricter policy
 * above it, because two parsers that disagree are a request smuggling hole. Refused: a second Host or
 * none (1.1), Content-Length with Transfer-Encoding, two Content-Lengths, any Transfer-Encoding but
 * "chunked" alone, bare LF and bare CR, obs-fold, bad chunk sizes, control bytes in values, versions other than
 * 1.0 and 1.1, Upgrade and CONNECT. Limits as in the struct. No I/O. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct http1_header_at { /* offsets into the head buffer, which may move while it grows */
    uint32_t name_at, name_bytes, value_at, value_bytes;
};

struct http1_limits {
    size_t head_bytes_max, target_bytes_max;
    uint32_t headers_max;
    uint64_t body_bytes_max; /* UINT64_MAX: none */
};

enum http1_status { /* why parsing stopped */
    HTTP1_OK,
    HTTP1_BAD,            /* 400 */
    HTTP1_BODY_TOO_LARGE, /* 413 */
    HTTP1_TARGET_TOO_LONG, /* 414 */
    HTTP1_HEAD_TOO_LARGE  /* 431 */
};
/* The owner of this module (io needs it) completes this header: struct http1_parser with
 * http1_request_init / http1_response_init / http1_feed and friends. */
#endif

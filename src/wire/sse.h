#ifndef WIRE_SSE_H
#define WIRE_SSE_H
/* sse - server-sent events cut out of bytes that may be split anywhere (WHATWG HTML, "server-sent
 * events"): LF, CR and CRLF line ends, a BOM at the start, comments, data over several lines.
 * Bytes are collected only when an event is not whole in one piece. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

#define SSE_EVENT_BYTES_MAX 1048576u /* one event with its framing */

struct sse_event {
    struct span data;  /* data lines joined by LF; empty for a comment */
    struct span raw;   /* the event as it came, with the blank line that ends it */
    bool comment_only; /* nothing but comments */
    bool done;         /* data is [DONE] */
};

struct sse_reader { /* zero it, then sse_reader_fini */
    char *held;
    size_t held_bytes, held_cap_bytes;
    struct span rest; /* what of the current input is not read yet */
    bool started, cr_pending;
    char *joined; /* data of several lines */
    size_t joined_cap_bytes;
};

void sse_reader_fini(struct sse_reader *r);
/* Give more bytes; all events of the former ones must have been taken. */
void sse_reader_feed(struct sse_reader *r, struct span bytes);
/* The next whole event; it lives until the next call. ERR_AGAIN: feed more. ERR_FULL: an event over
 * the limit. ERR_MEMORY. */
MUST_USE enum err sse_reader_next(struct sse_reader *r, struct sse_event *ret_event);
/* Bytes of an unfinished event are held: the stream ended in the middle of one. */
bool sse_reader_partial(const struct sse_reader *r);
#endif

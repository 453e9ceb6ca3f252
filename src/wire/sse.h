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
    struct span data;  /* data lines joined by LF; empty for a comment and for an empty event */
    struct span raw;   /* the event as it came, with the blank line that ends it */
    bool comment_only; /* nothing but comments and blank lines */
    bool done;         /* data is [DONE] */
};

struct sse_reader { /* zero it, then sse_reader_fini */
    char *held;
    size_t held_bytes, held_cap_bytes;
    struct span rest; /* what of the current input is not read yet */
    bool started;     /* a BOM may only stand before */
    bool cr_pending;  /* the last event ended in CR: an LF that follows belongs to it */
    bool held_whole;  /* held is the event given last */
    enum err failed;  /* ERR_FULL and ERR_MEMORY stick */
    char *joined;     /* data of several lines */
    size_t joined_cap_bytes;
};

void sse_reader_fini(struct sse_reader *r);
/* Give more bytes; all events of the former ones must have been taken. The bytes must live until
 * sse_reader_next has said ERR_AGAIN. */
void sse_reader_feed(struct sse_reader *r, struct span bytes);
/* The next whole event; it lives until the next call. All raws in a row are the input, byte for
 * byte. ERR_AGAIN: feed more. ERR_FULL: an event over the limit. ERR_MEMORY. The last two end it.
 */
MUST_USE enum err sse_reader_next(struct sse_reader *r, struct sse_event *ret_event);
/* Bytes of an unfinished event are held: the stream ended in the middle of one. */
bool sse_reader_partial(const struct sse_reader *r);
#endif

/* sse - cutting a stream into events; see sse.h. An event ends with a blank line. While it is not
 * whole its bytes are held, and nothing else: where it goes on is told by their last byte or two.
 *
 * A CR at the very end of the input may be half of a CRLF. If it ends a blank line behind an LF
 * (the stream has CRLF or LF ends) we wait for the next byte, so that `raw` is whole; behind a CR
 * (a stream of bare CRs) the event is given at once, and an LF that follows is skipped. */
#include "wire/sse.h"

#include <stdlib.h>

#include "base/must.h"

#define HELD_BYTES_FIRST 4096u
#define LOOK_BYTES       256u /* how far to look for one line end before looking for the other */

void
sse_reader_fini(struct sse_reader *r)
{
    free(r->held);
    free(r->joined);
    *r = (struct sse_reader){0};
}

void
sse_reader_feed(struct sse_reader *r, struct span bytes)
{
    must(r->rest.bytes == 0);
    if (r->failed == ERR_OK)
        r->rest = bytes;
}

bool
sse_reader_partial(const struct sse_reader *r)
{
    return r->rest.bytes > 0 || (r->held_bytes > 0 && !r->held_whole);
}

/* Where the first CR or LF from `at` on stands, or s.bytes. Piece by piece: lines that end in a CR
 * cost no search for the LF that may be a million bytes away, or nowhere. */
static size_t
line_end(struct span s, size_t at)
{
    while (at < s.bytes) {
        size_t bytes = s.bytes - at < LOOK_BYTES ? s.bytes - at : LOOK_BYTES;
        size_t lf = span_find((struct span){s.data + at, bytes}, '\n');
        size_t end = span_find((struct span){s.data + at, lf}, '\r');

        if (end < bytes)
            return at + end;
        at += bytes;
    }
    return s.bytes;
}

/* Does the event that began in `held` end in `rest`? *ret_bytes: how much of rest belongs to it. */
static bool
event_end(const struct sse_reader *r, size_t *ret_bytes)
{
    const struct span s = r->rest;
    const char last = r->held_bytes > 0 ? r->held[r->held_bytes - 1] : '\n';
    bool blank = last == '\n' || last == '\r'; /* the line we are in has no byte yet */
    size_t at = 0, end, next;

    if (r->held_bytes > 1 && last == '\r' && r->held[r->held_bytes - 2] == '\n') {
        *ret_bytes = s.data[0] == '\n'; /* this is what we waited for */
        return true;
    }
    if (s.data[0] == '\n' && (r->held_bytes > 0 ? last == '\r' : r->cr_pending))
        at = 1; /* the other half of a CRLF */
    for (;; at = next, blank = true) {
        end = line_end(s, at);
        if (end == s.bytes)
            return false;
        next = end + 1;
        if (s.data[end] == '\r' && next < s.bytes && s.data[next] == '\n')
            next++;
        if (blank && end == at)
            break;
    }
    *ret_bytes = next;
    if (s.data[end] == '\n' || next < s.bytes || s.data[next - 1] == '\n')
        return true;
    return (end > 0 ? s.data[end - 1] : last) != '\n' || (end == 0 && r->held_bytes == 0);
}

/* At least `bytes` bytes in *buffer, doubling. */
static enum err
reserve(char **buffer, size_t *cap_bytes, size_t bytes)
{
    size_t cap = *cap_bytes > 0 ? *cap_bytes : HELD_BYTES_FIRST;
    char *grown;

    if (bytes <= *cap_bytes)
        return ERR_OK;
    while (cap < bytes)
        cap *= 2;
    grown = realloc(*buffer, cap); /* lives with the stream; at most twice SSE_EVENT_BYTES_MAX */
    if (grown == NULL)
        return ERR_MEMORY;
    *buffer = grown;
    *cap_bytes = cap;
    return ERR_OK;
}

/* Move the first `bytes` bytes of rest behind what is held. */
static enum err
hold(struct sse_reader *r, size_t bytes)
{
    enum err err;

    if (bytes > SSE_EVENT_BYTES_MAX - r->held_bytes)
        return ERR_FULL;
    err = reserve(&r->held, &r->held_cap_bytes, r->held_bytes + bytes);
    if (err != ERR_OK)
        return err;
    if (bytes > 0)
        memcpy(r->held + r->held_bytes, r->rest.data, bytes);
    r->held_bytes += bytes;
    r->rest = span_from(r->rest, bytes);
    return ERR_OK;
}

/* The value of a `data` line, or false when it is another field. */
static bool
data_line(struct span line, struct span *ret_value)
{
    if (!span_starts(line, SPAN_LIT("data")))
        return false;
    line = span_from(line, 4);
    if (line.bytes > 0 && line.data[0] != ':')
        return false;
    line = span_from(line, 1);
    if (line.bytes > 0 && line.data[0] == ' ')
        line = span_from(line, 1);
    *ret_value = line;
    return true;
}

/* One more data line: the first is taken where it stands, from the second on they are copied. */
static enum err
add_data(struct sse_reader *r, struct sse_event *event, size_t lines, struct span value)
{
    size_t bytes = event->data.bytes;
    enum err err;

    if (lines == 0) {
        event->data = value;
        return ERR_OK;
    }
    err = reserve(&r->joined, &r->joined_cap_bytes, event->raw.bytes);
    if (err != ERR_OK)
        return err;
    if (lines == 1 && bytes > 0)
        memcpy(r->joined, event->data.data, bytes);
    r->joined[bytes++] = '\n';
    if (value.bytes > 0)
        memcpy(r->joined + bytes, value.data, value.bytes);
    event->data = (struct span){r->joined, bytes + value.bytes};
    return ERR_OK;
}

/* Read the lines of a whole event. */
static enum err
read_event(struct sse_reader *r, struct span raw, struct sse_event *ret_event)
{
    struct sse_event event = {.raw = raw, .comment_only = true};
    struct span left = raw, value;
    size_t lines = 0;

    if (r->cr_pending && left.data[0] == '\n')
        left = span_from(left, 1);
    if (!r->started && span_starts(left, SPAN_LIT("\xef\xbb\xbf")))
        left = span_from(left, 3);
    while (left.bytes > 0) {
        size_t end = line_end(left, 0);
        struct span line = {left.data, end};
        left = span_from(left,
                         end + 1); /* a CRLF leaves an empty line behind, which says nothing */
        if (line.bytes == 0 || line.data[0] == ':')
            continue;
        event.comment_only = false;
        if (data_line(line, &value)) {
            enum err err = add_data(r, &event, lines++, value);
            if (err != ERR_OK)
                return err;
        }
    }
    event.done = span_eq(event.data, SPAN_LIT("[DONE]"));
    r->started = true;
    r->cr_pending = raw.data[raw.bytes - 1] == '\r';
    *ret_event = event;
    return ERR_OK;
}

enum err
sse_reader_next(struct sse_reader *r, struct sse_event *ret_event)
{
    struct span raw;
    size_t bytes = 0;
    bool whole;

    if (r->held_whole) {
        r->held_whole = false;
        r->held_bytes = 0;
    }
    if (r->failed != ERR_OK)
        return r->failed;
    if (r->rest.bytes == 0)
        return ERR_AGAIN;
    whole = event_end(r, &bytes);
    raw = (struct span){r->rest.data, bytes};
    if (whole && r->held_bytes == 0) {
        r->failed = bytes > SSE_EVENT_BYTES_MAX ? ERR_FULL : ERR_OK;
        r->rest = span_from(r->rest, bytes);
    } else {
        r->failed = hold(r, whole ? bytes : r->rest.bytes);
        r->held_whole = whole;
        raw = (struct span){r->held, r->held_bytes};
    }
    if (r->failed == ERR_OK && whole)
        r->failed = read_event(r, raw, ret_event);
    if (r->failed != ERR_OK) {
        r->rest = (struct span){0};
        return r->failed;
    }
    return whole ? ERR_OK : ERR_AGAIN;
}

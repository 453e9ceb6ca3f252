/* http1 - where a message begins and ends: lines, lengths and chunks. The head is collected line by
 * line, and every byte of it is checked for CR, LF and other control bytes on the way, so that all
 * that is refused for its lines is refused before anybody takes the lines apart (http1_head.c).
 * llhttp, which many others read with, is held against it by the fuzz target: what passes here
 * means the same there.
 *
 * States: HEAD -> LENGTH | UNTIL_CLOSE | SIZE | DONE;  SIZE -> EXTENSION -> SIZE_LF -> DATA ->
 * DATA_CR
 * -> DATA_LF -> SIZE;  SIZE_LF of the last chunk -> TRAILERS -> DONE;  any -> FAILED.
 *
 * Why the answer does not depend on how the input is cut: each check fires at a byte whose place
 * in the message decides, never at the end of a piece of input. */
#include "wire/http1.h"

#include <stdlib.h>

#include "base/must.h"
#include "wire/http1_head.h"

#define KEEP_BYTES_MAX   2048u /* of a head buffer, from message to message */
#define KEEP_HEADERS_MAX 32u
#define FIRST_LINE_EXTRA 32u /* method, version, spaces and CR LF around a target */
#define SIZE_DIGITS_MAX  16u

enum state {
    STATE_HEAD,
    STATE_LENGTH,
    STATE_UNTIL_CLOSE,
    STATE_SIZE,
    STATE_EXTENSION,
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILERS,
    STATE_DONE,
    STATE_FAILED
};

static void
start(struct http1_parser *p, const struct http1_limits *limits, bool is_response, bool to_head)
{
    must(limits->head_bytes_max <= HTTP1_HEAD_BYTES_LIMIT);
    must(limits->target_bytes_max <= HTTP1_HEAD_BYTES_LIMIT);
    *p = (struct http1_parser){.limits = limits, .is_response = is_response, .to_head = to_head};
}

void
http1_request_init(struct http1_parser *p, const struct http1_limits *limits)
{
    start(p, limits, false, false);
}

void
http1_response_init(struct http1_parser *p, const struct http1_limits *limits, bool to_head)
{
    start(p, limits, true, to_head);
}

void
http1_next(struct http1_parser *p)
{
    char *head = p->head;
    struct http1_header_at *headers = p->headers;
    uint32_t head_capacity = p->head_capacity, header_capacity = p->header_capacity;

    if (head_capacity > KEEP_BYTES_MAX) {
        free(head);
        head = NULL;
        head_capacity = 0;
    }
    if (header_capacity > KEEP_HEADERS_MAX) {
        free(headers);
        headers = NULL;
        header_capacity = 0;
    }
    start(p, p->limits, p->is_response, p->to_head);
    p->head = head;
    p->headers = headers;
    p->head_capacity = head_capacity;
    p->header_capacity = header_capacity;
}

void
http1_fini(struct http1_parser *p)
{
    free(p->head);
    free(p->headers);
    p->head = NULL;
    p->headers = NULL;
    p->head_capacity = 0;
    p->header_capacity = 0;
}

static enum http1_event
fail(struct http1_parser *p, enum http1_status status)
{
    p->state = STATE_FAILED;
    p->status = (uint8_t)status;
    return HTTP1_ERROR;
}

/* ---- Lines of the head and of the trailers. */

static bool
in_first_line(const struct http1_parser *p)
{
    return p->line_count == 0;
}

/* The place in the message up to which the present line may go. */
static size_t
scan_limit(const struct http1_parser *p)
{
    size_t first = p->limits->target_bytes_max + FIRST_LINE_EXTRA;

    if (in_first_line(p) && !p->is_response && first < p->limits->head_bytes_max)
        return first;
    return p->limits->head_bytes_max;
}

/* The part of a line that text begins with, up to its LF if that is there: a CR may end it, no
 * other control byte but tab may be in it. false: one is. */
static bool
find_part(const char *text, size_t bytes, size_t *ret_bytes, bool *ret_with_lf)
{
    size_t n = http1_plain_bytes(text, bytes);

    if (n < bytes && text[n] == '\r')
        n++;
    *ret_with_lf = n < bytes && text[n] == '\n';
    *ret_bytes = n;
    return n == bytes || *ret_with_lf;
}

/* A method, or "HTTP/": what is neither is told so at once, not when its head takes too long. */
static bool
may_begin(const struct http1_parser *p, char c)
{
    return p->is_response ? c == 'H' : c >= 'A' && c <= 'Z';
}

/* Look at that part: n bytes, with the LF behind them or not. false: forbidden bytes. */
static bool
scan_part(struct http1_parser *p, const char *text, size_t n, bool with_lf)
{
    bool ends_in_cr = n > 0 ? text[n - 1] == '\r' : p->cr_seen;
    size_t text_bytes = n > 0 && ends_in_cr ? n - 1 : n;

    if ((p->cr_seen && n > 0) || (with_lf && !ends_in_cr))
        return false; /* a CR without LF, or an LF without CR */
    if (p->line_bytes == 0 && text_bytes > 0 &&
        (in_first_line(p) ? !may_begin(p, text[0]) : text[0] == ' ' || text[0] == '\t'))
        return false; /* another protocol or body bytes; or folded */
    p->cr_seen = ends_in_cr;
    p->line_bytes += (uint32_t)text_bytes;
    return true;
}

/* Look through input for the empty line. NEED_MORE: not there yet; HEAD: it is; *ret_used either
 * way. */
static enum http1_event
scan_lines(struct http1_parser *p, struct span input, size_t *ret_used)
{
    size_t at = 0, already = p->head_bytes;

    for (;;) {
        size_t limit = scan_limit(p), room = limit > already + at ? limit - already - at : 0;
        size_t window = input.bytes - at < room ? input.bytes - at : room;
        const char *text = input.data + at;
        size_t n;
        bool with_lf;

        if (!find_part(text, window, &n, &with_lf) || !scan_part(p, text, n, with_lf))
            return fail(p, HTTP1_BAD);
        at += n;
        if (!with_lf && at < input.bytes)
            return fail(p, limit < p->limits->head_bytes_max ? HTTP1_TARGET_TOO_LONG
                                                             : HTTP1_HEAD_TOO_LARGE);
        *ret_used = at;
        if (!with_lf)
            return HTTP1_NEED_MORE;
        *ret_used = ++at;
        p->cr_seen = false;
        if (p->line_bytes == 0) /* the empty line; before a first line it is refused */
            return in_first_line(p) ? fail(p, HTTP1_BAD) : HTTP1_HEAD;
        p->line_bytes = 0;
        if (p->line_count++ > p->limits->headers_max)
            return fail(p, HTTP1_HEAD_TOO_LARGE);
    }
}

static bool
keep_head(struct http1_parser *p, const char *text, size_t bytes)
{
    size_t need = p->head_bytes + bytes; /* <= head_bytes_max: no overflow */

    if (bytes == 0)
        return true;
    if (need > p->head_capacity) {
        size_t capacity = p->head_capacity == 0 ? need : need + need / 2;
        char *head = realloc(p->head, capacity);
        if (head == NULL)
            return false;
        p->head = head;
        p->head_capacity = (uint32_t)capacity;
    }
    memcpy(p->head + p->head_bytes, text, bytes);
    p->head_bytes += (uint32_t)bytes;
    return true;
}

/* Room for as many headers as there are lines. */
static bool
keep_headers(struct http1_parser *p)
{
    struct http1_header_at *headers;

    if (p->line_count <= p->header_capacity)
        return true;
    headers = realloc(p->headers, p->line_count * sizeof(*headers));
    if (headers == NULL)
        return false;
    p->headers = headers;
    p->header_capacity = p->line_count;
    return true;
}

/* Which body follows this head. */
static enum http1_event
begin_body(struct http1_parser *p)
{
    bool never = p->is_response && (p->status_code < 200 || p->status_code == 204);
    bool none = never || (p->is_response && (p->to_head || p->status_code == 304));

    if (p->has_length)
        p->body_bytes = p->body_left;
    if (never && (p->chunked || p->body_bytes > 0))
        return fail(p, HTTP1_BAD); /* others would read a body here */
    if (none) {
        p->state = STATE_DONE;
    } else if (p->chunked) {
        p->state = STATE_SIZE;
        p->body_left = 0;
    } else if (p->has_length) {
        if (p->body_left > p->limits->body_bytes_max)
            return fail(p, HTTP1_BODY_TOO_LARGE);
        p->state = p->body_left > 0 ? STATE_LENGTH : STATE_DONE;
    } else if (p->is_response) {
        p->state = STATE_UNTIL_CLOSE;
        p->keep_alive = false;
    } else {
        p->state = STATE_DONE;
    }
    return HTTP1_HEAD;
}

static enum http1_event
feed_lines(struct http1_parser *p, struct span input, size_t *ret_used)
{
    enum http1_event event = scan_lines(p, input, ret_used);
    enum http1_status status;

    if (event == HTTP1_ERROR)
        return event;
    if (!keep_head(p, input.data, *ret_used))
        return fail(p, HTTP1_NO_MEMORY);
    if (event == HTTP1_NEED_MORE)
        return event;
    if (!keep_headers(p))
        return fail(p, HTTP1_NO_MEMORY);
    status = p->state == STATE_HEAD ? http1_head_read(p) : http1_trailers_read(p);
    if (status != HTTP1_OK)
        return fail(p, status);
    if (p->state == STATE_HEAD)
        return begin_body(p);
    p->state = STATE_DONE;
    return HTTP1_COMPLETE;
}

/* ---- Bodies. */

/* Hand out what there is of body_left; at its end go on in `then`. */
static enum http1_event
feed_counted(struct http1_parser *p, struct span input, enum state then, size_t *ret_used,
             struct span *ret_body)
{
    size_t n = input.bytes < p->body_left ? input.bytes : (size_t)p->body_left;

    if (n == 0)
        return HTTP1_NEED_MORE;
    p->body_left -= n;
    if (p->body_left == 0)
        p->state = (uint8_t)then;
    *ret_used = n;
    *ret_body = (struct span){input.data, n};
    return HTTP1_BODY;
}

/* Up to the limit, so that a long piece and many short ones come to the same. */
static enum http1_event
feed_until_close(struct http1_parser *p, struct span input, size_t *ret_used, struct span *ret_body)
{
    uint64_t room = p->limits->body_bytes_max - p->body_bytes;
    size_t n = input.bytes < room ? input.bytes : (size_t)room;

    if (input.bytes == 0)
        return HTTP1_NEED_MORE;
    if (n == 0)
        return fail(p, HTTP1_BODY_TOO_LARGE);
    p->body_bytes += n;
    *ret_used = n;
    *ret_body = (struct span){input.data, n};
    return HTTP1_BODY;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A byte of a size line up to its CR. */
static enum http1_status
chunk_size_byte(struct http1_parser *p, char c)
{
    int digit = p->state == STATE_SIZE ? hex_value(c) : -1;

    if (digit >= 0) {
        p->body_left = p->body_left << 4 | (uint64_t)digit;
        return ++p->size_digits > SIZE_DIGITS_MAX ? HTTP1_BAD : HTTP1_OK;
    }
    if (p->size_digits == 0)
        return HTTP1_BAD;
    if (c == '\r') {
        p->state = STATE_SIZE_LF;
        return HTTP1_OK;
    }
    if (p->state == STATE_SIZE && c != ';')
        return HTTP1_BAD;
    p->state = STATE_EXTENSION;
    if (http1_plain_bytes(&c, 1) == 0 || ++p->extension_bytes > HTTP1_CHUNK_EXTENSION_BYTES_MAX)
        return HTTP1_BAD;
    return HTTP1_OK;
}

static enum http1_status
chunk_begins(struct http1_parser *p)
{
    p->size_digits = 0;
    if (p->body_left == 0) {
        p->state = STATE_TRAILERS;
        p->trailers_at = p->head_bytes;
        return HTTP1_OK;
    }
    if (__builtin_add_overflow(p->body_bytes, p->body_left, &p->body_bytes) ||
        p->body_bytes > p->limits->body_bytes_max)
        return HTTP1_BODY_TOO_LARGE;
    p->state = STATE_DATA;
    return HTTP1_OK;
}

/* One byte of what stands between the data of chunks. */
static enum http1_status
chunk_byte(struct http1_parser *p, char c)
{
    switch (p->state) {
    case STATE_SIZE:
    case STATE_EXTENSION:
        return chunk_size_byte(p, c);
    case STATE_SIZE_LF:
        return c == '\n' ? chunk_begins(p) : HTTP1_BAD;
    case STATE_DATA_CR:
        p->state = STATE_DATA_LF;
        return c == '\r' ? HTTP1_OK : HTTP1_BAD;
    default: /* STATE_DATA_LF */
        p->state = STATE_SIZE;
        return c == '\n' ? HTTP1_OK : HTTP1_BAD;
    }
}

static enum http1_event
feed_chunk_frame(struct http1_parser *p, struct span input, size_t *ret_used)
{
    for (size_t i = 0; i < input.bytes; i++) {
        enum http1_status status = chunk_byte(p, input.data[i]);
        if (status != HTTP1_OK)
            return fail(p, status);
        *ret_used = i + 1;
        if (p->state == STATE_DATA || p->state == STATE_TRAILERS)
            break;
    }
    return HTTP1_NEED_MORE;
}

/* One step in one state; NEED_MORE may also mean that the state changed. */
static enum http1_event
step(struct http1_parser *p, struct span input, size_t *ret_used, struct span *ret_body)
{
    switch ((enum state)p->state) {
    case STATE_HEAD:
    case STATE_TRAILERS:
        return feed_lines(p, input, ret_used);
    case STATE_LENGTH:
        return feed_counted(p, input, STATE_DONE, ret_used, ret_body);
    case STATE_DATA:
        return feed_counted(p, input, STATE_DATA_CR, ret_used, ret_body);
    case STATE_UNTIL_CLOSE:
        return feed_until_close(p, input, ret_used, ret_body);
    case STATE_SIZE:
    case STATE_EXTENSION:
    case STATE_SIZE_LF:
    case STATE_DATA_CR:
    case STATE_DATA_LF:
        return feed_chunk_frame(p, input, ret_used);
    case STATE_DONE:
        return HTTP1_COMPLETE;
    case STATE_FAILED:
        break;
    }
    return HTTP1_ERROR;
}

enum http1_event
http1_feed(struct http1_parser *p, struct span input, size_t *ret_used, struct span *ret_body)
{
    enum http1_event event;
    size_t at = 0;

    do {
        size_t used = 0;
        event = step(p, span_from(input, at), &used, ret_body);
        at += used;
    } while (event == HTTP1_NEED_MORE && at < input.bytes);
    *ret_used = at;
    return event;
}

enum http1_event
http1_finish(struct http1_parser *p)
{
    if (p->state == STATE_UNTIL_CLOSE)
        p->state = STATE_DONE;
    if (p->state == STATE_DONE)
        return HTTP1_COMPLETE;
    return p->state == STATE_FAILED ? HTTP1_ERROR : fail(p, HTTP1_BAD);
}

/* ---- What the message says. */

bool
http1_is_fresh(const struct http1_parser *p)
{
    return p->state == STATE_HEAD && p->head_bytes == 0;
}

enum http1_status
http1_status(const struct http1_parser *p)
{
    return (enum http1_status)p->status;
}

struct span
http1_method(const struct http1_parser *p)
{
    return (struct span){p->head, p->method_bytes};
}

struct span
http1_target(const struct http1_parser *p)
{
    return (struct span){p->head + p->target_at, p->target_bytes};
}

unsigned
http1_status_code(const struct http1_parser *p)
{
    return p->status_code;
}

unsigned
http1_minor(const struct http1_parser *p)
{
    return p->minor;
}

bool
http1_keep_alive(const struct http1_parser *p)
{
    return p->keep_alive;
}

bool
http1_expects_continue(const struct http1_parser *p)
{
    return p->expects_continue;
}

bool
http1_chunked(const struct http1_parser *p)
{
    return p->chunked;
}

bool
http1_content_length(const struct http1_parser *p, uint64_t *ret_bytes)
{
    if (p->has_length)
        *ret_bytes = p->body_bytes;
    return p->has_length;
}

uint64_t
http1_length_left(const struct http1_parser *p)
{
    return p->state == STATE_LENGTH ? p->body_left : 0;
}

static void
header_at(const struct http1_parser *p, size_t index, struct span *ret_name, struct span *ret_value)
{
    const struct http1_header_at *at = &p->headers[index];

    *ret_name = (struct span){p->head + at->name_at, at->name_bytes};
    *ret_value = (struct span){p->head + at->value_at, at->value_bytes};
}

size_t
http1_header_count(const struct http1_parser *p)
{
    return p->header_count;
}

void
http1_header(const struct http1_parser *p, size_t index, struct span *ret_name,
             struct span *ret_value)
{
    must(index < p->header_count);
    header_at(p, index, ret_name, ret_value);
}

size_t
http1_trailer_count(const struct http1_parser *p)
{
    return p->trailer_count;
}

void
http1_trailer(const struct http1_parser *p, size_t index, struct span *ret_name,
              struct span *ret_value)
{
    must(index < p->trailer_count);
    header_at(p, p->header_count + index, ret_name, ret_value);
}

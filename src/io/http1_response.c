/* http1_response - responses of HTTP/1.x: heads, bodies by length, in chunks, or until the end of
 * the connection, all into the connection's output buffer. */
#include <string.h>

#include "base/must.h"
#include "io/http_session.h"
#include "io/log.h"

/* What a head needs beside the handler's headers: status, date, length or encoding, connection. */
#define HEAD_EXTRA_BYTES (HTTP1_STATUS_LINE_BYTES_MAX + HTTP_DATE_BYTES + 40u + 30u + 30u)

/* ---- Heads. */

static void
put_text(struct http1_writer *w, struct span text)
{
    must(http1_write_text(w, text) == ERR_OK); /* the room was reserved */
}

static void
put_length(struct http1_writer *w, uint64_t length)
{
    char digits[20];

    put_text(w, SPAN_LIT("content-length: "));
    put_text(w, (struct span){digits, http1_decimal(length, digits)});
    put_text(w, SPAN_LIT("\r\n"));
}

static void
put_headers(struct http1_writer *w, const struct http_header *headers, size_t header_count)
{
    for (size_t i = 0; i < header_count; i++) {
        enum err err = http1_write_header(w, headers[i].name, headers[i].value);
        must(err == ERR_OK || err == ERR_ARG);
        if (err == ERR_ARG)
            log_warn("http: a response header with forbidden bytes was left out");
    }
}

/* How the body goes, and whether the connection stays, which both go into the head. */
static void
put_framing(struct http1_writer *w, struct http_exchange *x, unsigned status, uint64_t length)
{
    struct http1_session *h = &x->session->h1;
    bool is_old = http1_minor(&h->parser) == 0;

    if (x->framing == HTTP_FRAME_CHUNKED && is_old) {
        x->framing = HTTP_FRAME_UNTIL_CLOSE;
        h->keep_alive = h->keep_alive && x->bodiless;
    }
    h->keep_alive = h->keep_alive && !x->session->server->draining;
    if (status == 204 || status == 304)
        ; /* no body, and nothing about one */
    else if (x->framing == HTTP_FRAME_LENGTH)
        put_length(w, length);
    else if (x->framing == HTTP_FRAME_CHUNKED)
        put_text(w, SPAN_LIT("transfer-encoding: chunked\r\n"));
    if (!h->keep_alive)
        put_text(w, SPAN_LIT("connection: close\r\n"));
    else if (is_old)
        put_text(w, SPAN_LIT("connection: keep-alive\r\n"));
}

bool
http1_response_head(struct http_exchange *x, unsigned status, const struct http_header *headers,
                    size_t header_count, uint64_t length, size_t more)
{
    struct http_session *c = x->session;
    struct http1_writer w = {.capacity = HEAD_EXTRA_BYTES};

    for (size_t i = 0; i < header_count; i++)
        w.capacity += http1_header_bytes(headers[i].name, headers[i].value);
    w.data = http_session_reserve(c, w.capacity + more);
    if (w.data == NULL)
        return false;
    must(http1_write_status(&w, status) == ERR_OK);
    put_text(&w, http_server_date(c->server));
    put_headers(&w, headers, header_count);
    put_framing(&w, x, status, length);
    put_text(&w, SPAN_LIT("\r\n"));
    c->out.bytes += w.bytes;
    http_session_wake(c);
    return true;
}

/* ---- Bodies. */

/* The parts as they are. */
static void
append(struct http_session *c, const struct span *parts, size_t part_count, size_t bytes)
{
    char *room = http_session_reserve(c, bytes);

    if (room == NULL)
        return;
    c->out.bytes += bytes;
    for (size_t i = 0; i < part_count && bytes > 0; i++) {
        size_t n = parts[i].bytes < bytes ? parts[i].bytes : bytes;
        if (n > 0)
            memcpy(room, parts[i].data, n);
        room += n;
        bytes -= n;
    }
}

static void
append_chunk(struct http_session *c, const struct span *parts, size_t part_count, size_t bytes)
{
    char size[HTTP1_CHUNK_SIZE_BYTES_MAX];
    struct span size_line = {size, http1_chunk_size(bytes, size)}, end = SPAN_LIT("\r\n");

    if (http_session_reserve(c, size_line.bytes + bytes + end.bytes) == NULL)
        return; /* the three below fit now */
    append(c, &size_line, 1, size_line.bytes);
    append(c, parts, part_count, bytes);
    append(c, &end, 1, end.bytes);
}

void
http1_response_body(struct http_exchange *x, const struct span *parts, size_t part_count,
                    size_t bytes)
{
    if (x->framing == HTTP_FRAME_CHUNKED)
        append_chunk(x->session, parts, part_count, bytes);
    else
        append(x->session, parts, part_count, bytes);
    http_session_wake(x->session);
}

void
http1_response_end(struct http_exchange *x, const struct http_header *trailers,
                   size_t trailer_count)
{
    struct http1_writer w = {.capacity = sizeof("0\r\n\r\n") - 1};

    http_session_wake(x->session);
    if (x->framing != HTTP_FRAME_CHUNKED || x->bodiless)
        return;
    for (size_t i = 0; i < trailer_count; i++)
        w.capacity += http1_header_bytes(trailers[i].name, trailers[i].value);
    w.data = http_session_reserve(x->session, w.capacity);
    if (w.data == NULL)
        return;
    put_text(&w, SPAN_LIT("0\r\n"));
    put_headers(&w, trailers, trailer_count);
    put_text(&w, SPAN_LIT("\r\n"));
    x->session->out.bytes += w.bytes;
}

/* ---- Refusals. */

void
http1_session_refuse(struct http_session *c, unsigned status, const char *code, const char *message)
{
    const struct http_header type = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};
    struct http_exchange *x = &c->h1.exchange;
    char text[HTTP_REFUSAL_BYTES_MAX];
    struct span body = {text, http_refusal_text(status, code, message, text)};

    http_exchange_refused(c, status, code);
    http_exchange_fini(x);
    http_body_fini(&c->h1.body, &c->server->limits);
    *x = (struct http_exchange){.session = c, .framing = HTTP_FRAME_LENGTH};
    c->h1.keep_alive = false;
    c->h1.state = HTTP1_REFUSING;
    c->limit = HTTP_LIMIT_NONE;
    if (http1_response_head(x, status, &type, 1, body.bytes, body.bytes))
        append(c, &body, 1, body.bytes);
}

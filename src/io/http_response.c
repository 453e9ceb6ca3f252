/* http_response - the exchange's side of the server: heads, bodies by length, in chunks, or until
 * the end of the connection, all into the connection's output buffer. Calls on an exchange that is
 * not being answered (any more) do nothing: the handler may learn late that it is over. */
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "io/http_session.h"
#include "io/log.h"

/* What a head needs beside the handler's headers: status, date, length or encoding, connection. */
#define HEAD_EXTRA_BYTES (HTTP1_STATUS_LINE_BYTES_MAX + HTTP_DATE_BYTES + 40u + 30u + 30u)

static struct http_session *
connection_of(struct http_exchange *x)
{
    return CONTAINER_OF(x, struct http_session, exchange);
}

static const struct http_session *
connection_of_const(const struct http_exchange *x)
{
    return (const void *)((const char *)x - offsetof(struct http_session, exchange));
}

static bool
is_open(struct http_exchange *x)
{
    return connection_of(x)->state == HTTP_ANSWERING && !x->ended;
}

/* ---- The request's side. */

struct arena *
http_exchange_arena(struct http_exchange *x)
{
    return &x->arena;
}

void *
http_exchange_user(const struct http_exchange *x)
{
    return x->user;
}

void
http_exchange_set_user(struct http_exchange *x, void *user)
{
    x->user = user;
}

void
http_exchange_peer(const struct http_exchange *x, struct sockaddr_storage *ret_peer,
                   struct sockaddr_storage *ret_local)
{
    const struct http_session *c = connection_of_const(x);
    socklen_t bytes = sizeof(*ret_local);

    memset(ret_peer, 0, sizeof(*ret_peer));
    memcpy(ret_peer, &c->peer, sizeof(c->peer));
    /* Asked when wanted: most servers never look. It fails for a dead socket only. */
    if (getsockname(c->watch.fd, (struct sockaddr *)ret_local, &bytes) != 0)
        memset(ret_local, 0, sizeof(*ret_local));
}

bool
http_exchange_is_first(const struct http_exchange *x)
{
    return !connection_of_const(x)->answered;
}

struct span
http_request_header(const struct http_request *r, struct span name)
{
    for (size_t i = r->header_count; i > 0; i--) {
        if (span_eq_nocase(r->headers[i - 1].name, name))
            return r->headers[i - 1].value;
    }
    return (struct span){"", 0};
}

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
put_framing(struct http1_writer *w, struct http_session *c, unsigned status, uint64_t length)
{
    struct http_exchange *x = &c->exchange;
    bool is_old = http1_minor(&c->parser) == 0;

    if (x->framing == HTTP_FRAME_CHUNKED && is_old) {
        x->framing = HTTP_FRAME_UNTIL_CLOSE;
        x->keep_alive = x->keep_alive && x->bodiless;
    }
    x->keep_alive = x->keep_alive && !c->server->draining;
    if (status == 204 || status == 304)
        ; /* no body, and nothing about one */
    else if (x->framing == HTTP_FRAME_LENGTH)
        put_length(w, length);
    else if (x->framing == HTTP_FRAME_CHUNKED)
        put_text(w, SPAN_LIT("transfer-encoding: chunked\r\n"));
    if (!x->keep_alive)
        put_text(w, SPAN_LIT("connection: close\r\n"));
    else if (is_old)
        put_text(w, SPAN_LIT("connection: keep-alive\r\n"));
}

/* The head, with room for `more` bytes behind it. false: no memory. */
static bool
put_head(struct http_session *c, unsigned status, const struct http_header *headers,
         size_t header_count, enum http_framing framing, uint64_t length, size_t more)
{
    struct http_exchange *x = &c->exchange;
    struct http1_writer w = {.capacity = HEAD_EXTRA_BYTES};

    must(status >= 200 && status <= 999 && !x->started);
    for (size_t i = 0; i < header_count; i++)
        w.capacity += http1_header_bytes(headers[i].name, headers[i].value);
    x->started = true;
    x->framing = framing;
    x->bodiless = x->bodiless || status == 204 || status == 304;
    x->length_left = x->bodiless ? 0 : length;
    w.data = http_session_reserve(c, w.capacity + more);
    if (w.data == NULL)
        return false;
    must(http1_write_status(&w, status) == ERR_OK);
    put_text(&w, http_server_date(c->server));
    put_headers(&w, headers, header_count);
    put_framing(&w, c, status, length);
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

static void
mark_high_water(struct http_session *c)
{
    if (http_response_pending(&c->exchange) > c->server->limits.high_water_bytes)
        c->exchange.over_high = true;
}

void
http_response_writev(struct http_exchange *x, const struct span *parts, size_t part_count)
{
    struct http_session *c = connection_of(x);
    size_t bytes = 0;

    if (!is_open(x) || x->bodiless)
        return;
    must(x->started);
    for (size_t i = 0; i < part_count; i++)
        bytes += parts[i].bytes; /* they all lie in memory: no overflow */
    if (x->framing == HTTP_FRAME_LENGTH) {
        bytes = bytes < x->length_left ? bytes : (size_t)x->length_left;
        x->length_left -= bytes;
    }
    if (bytes == 0) /* in chunks, an empty one would end the body */
        return;
    if (x->framing == HTTP_FRAME_CHUNKED)
        append_chunk(c, parts, part_count, bytes);
    else
        append(c, parts, part_count, bytes);
    mark_high_water(c);
    http_session_wake(c);
}

void
http_response_write(struct http_exchange *x, struct span part)
{
    http_response_writev(x, &part, 1);
}

void
http_respond(struct http_exchange *x, unsigned status, const struct http_header *headers,
             size_t header_count, struct span body)
{
    if (!is_open(x))
        return;
    if (put_head(connection_of(x), status, headers, header_count, HTTP_FRAME_LENGTH, body.bytes,
                 body.bytes))
        http_response_write(x, body);
    x->ended = true;
}

void
http_response_start(struct http_exchange *x, unsigned status, const struct http_header *headers,
                    size_t header_count)
{
    if (is_open(x))
        put_head(connection_of(x), status, headers, header_count, HTTP_FRAME_CHUNKED, 0, 0);
}

void
http_response_start_length(struct http_exchange *x, unsigned status,
                           const struct http_header *headers, size_t header_count,
                           uint64_t body_bytes)
{
    if (is_open(x))
        put_head(connection_of(x), status, headers, header_count, HTTP_FRAME_LENGTH, body_bytes, 0);
}

void
http_response_end(struct http_exchange *x)
{
    struct http_session *c = connection_of(x);
    struct span last = SPAN_LIT("0\r\n\r\n");

    if (!is_open(x))
        return;
    must(x->started);
    if (x->framing == HTTP_FRAME_LENGTH && x->length_left > 0) {
        http_response_abort(x);
        return;
    }
    if (x->framing == HTTP_FRAME_CHUNKED && !x->bodiless)
        append(c, &last, 1, last.bytes);
    x->ended = true;
    http_session_wake(c);
}

void
http_response_close_after(struct http_exchange *x)
{
    if (!is_open(x))
        return;
    must(x->started);
    x->keep_alive = false;
}

void
http_response_abort(struct http_exchange *x)
{
    struct http_session *c = connection_of(x);

    if (c->state != HTTP_ANSWERING) /* an ended response may still be cut off: not all is written */
        return;
    c->state = HTTP_ABORTED;
    c->server->exchange_count--;
    http_session_wake(c);
}

size_t
http_response_pending(const struct http_exchange *x)
{
    const struct http_session *c = connection_of_const(x);

    return c->out.bytes - c->out.at;
}

/* ---- Refusals. */

void
http_session_refuse(struct http_session *c, unsigned status, const char *code, const char *message)
{
    const struct http_header type = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};
    const char *kind = status < 500 ? "invalid_request_error" : "server_error";
    char text[512];
    int bytes = snprintf(text, sizeof(text),
                         "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
                         "\"code\":\"%s\"}}",
                         message, kind, code);
    struct span body = {text, (size_t)bytes};

    must(bytes > 0 && (size_t)bytes < sizeof(text)); /* the words are ours */
    arena_fini(&c->exchange.arena);
    c->exchange = (struct http_exchange){.keep_alive = false};
    c->state = HTTP_REFUSING;
    c->limit = HTTP_LIMIT_NONE;
    if (put_head(c, status, &type, 1, HTTP_FRAME_LENGTH, body.bytes, body.bytes))
        append(c, &body, 1, body.bytes);
}

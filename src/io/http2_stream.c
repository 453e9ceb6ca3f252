/* http2_stream - one request and its response on an HTTP/2 connection. nghttp2 has looked at what
 * RFC 9113 8 asks of a head (names in small letters, pseudo-headers, no Connection, no
 * Transfer-Encoding, the length kept); what comes on top is the policy of wire/http1, so that a
 * request means the same whichever way it came. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/http2_session.h"
#include "io/log.h"

#define FRAME_HEAD_BYTES     9u
#define HEADER_COST_BYTES    32u /* of each, beside name and value: RFC 9113 6.5.2 */
#define RESPONSE_HEADERS_OWN 3u  /* :status, date, content-length */

static struct http2_stream *
stream_of(struct http_exchange *x)
{
    return CONTAINER_OF(x, struct http2_stream, exchange);
}

static nghttp2_session *
wire_of(const struct http2_stream *st)
{
    return st->session->h2->nghttp2;
}

static void
out_of_memory(struct http2_stream *st)
{
    st->session->out_of_memory = true;
    http_session_wake(st->session);
}

/* nghttp2 is not to be called any more. */
static bool
is_broken(const struct http2_stream *st)
{
    return st->session->out_of_memory;
}

/* ---- Life. */

/* Silence from now on is limited. */
static void
limit(struct http2_stream *st, uint64_t wait_ns)
{
    st->deadline_ns = wait_ns > 0 ? loop_now_ns(st->session->server->loop) + wait_ns : 0;
}

struct http2_stream *
http2_stream_open(struct http_session *c, int32_t id)
{
    struct http2_stream *st = calloc(1, sizeof(*st));

    if (st == NULL)
        return NULL;
    st->id = id;
    st->session = c;
    st->announced_bytes = UINT64_MAX;
    st->exchange.session = c;
    arena_init_sharing(&st->exchange.arena, HTTP_EXCHANGE_ARENA_BYTES_MAX,
                       &c->server->spare_blocks);
    limit(st, c->server->limits.head_ns); /* the frame that opens it may come in pieces, too */
    TAILQ_INSERT_TAIL(&c->h2->streams, st, link);
    c->h2->stream_count++;
    return st;
}

void
http2_stream_free(struct http2_stream *st)
{
    struct http2_session *h = st->session->h2;

    http_exchange_gone(&st->exchange);
    TAILQ_REMOVE(st->state == HTTP2_FINISHED ? &h->finished : &h->streams, st, link);
    h->stream_count--;
    h->heads_bytes -= st->kept_bytes;
    h->waiting_bytes -= st->out.bytes - st->out.at;
    http_exchange_fini(&st->exchange);
    http_body_fini(&st->body, &st->session->server->limits);
    free(st->out.data);
    free(st->trailers);
    http_output_count(st->session->server, 0, &st->out_counted);
    free(st);
}

void
http2_stream_shrink(struct http2_stream *st)
{
    if (!st->exchange.ended || st->exchange.shrunk)
        return;
    http_exchange_shrink(&st->exchange);
    http_body_fini(&st->body, &st->session->server->limits);
    st->session->h2->heads_bytes -= st->kept_bytes;
    st->kept_bytes = 0;
}

static void
limit_body(struct http2_stream *st)
{
    const struct http_server *s = st->session->server;

    limit(st, http_body_wait_ns(&st->body, &s->limits, loop_now_ns(s->loop)));
}

/* The client has so long to take more of what waits for it, if something does. */
static void
limit_answer(struct http2_stream *st)
{
    uint64_t until_ns = http_pace_until_ns(&st->pace, &st->session->server->limits);

    st->deadline_ns = until_ns != UINT64_MAX ? until_ns : 0;
}

static void
reset(struct http2_stream *st, uint32_t error_code)
{
    if (is_broken(st))
        return;
    if (nghttp2_submit_rst_stream(wire_of(st), NGHTTP2_FLAG_NONE, st->id, error_code) != 0)
        out_of_memory(st);
    http_session_wake(st->session);
}

/* ---- Refusals. */

/* Answer in place of an exchange. */
static void
refuse(struct http2_stream *st, unsigned status, const char *code, const char *message)
{
    const struct http_header type = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};
    struct http_exchange *x = &st->exchange;
    char text[HTTP_REFUSAL_BYTES_MAX];
    struct span body = {text, http_refusal_text(status, code, message, text)};

    http_exchange_refused(st->session, status, code);
    st->state = HTTP2_REFUSED;
    http_body_fini(&st->body, &st->session->server->limits);
    x->framing = HTTP_FRAME_LENGTH;
    if (!http2_stream_respond(x, status, &type, 1, body.bytes, body.bytes))
        return;
    http2_stream_body(x, &body, 1, body.bytes);
    http2_stream_end(x, NULL, 0);
    x->ended = true;
    http2_stream_shrink(st);
}

static void
refuse_as(struct http2_stream *st, struct http_refusal r)
{
    refuse(st, r.status, r.code, r.message);
}

static void
refuse_for_memory(struct http2_stream *st, enum err err)
{
    refuse_as(st, http_body_no_room(&st->body, &st->session->server->limits, err));
}

static void
refuse_body(struct http2_stream *st)
{
    refuse_as(st, http_body_too_large(&st->session->server->limits));
}

static void
refuse_head(struct http2_stream *st)
{
    char text[160];

    if (st->refusal == 414) {
        snprintf(text, sizeof(text), "the request target is longer than %u bytes",
                 HTTP_TARGET_BYTES_MAX);
        refuse(st, 414, "target_too_long", text);
    } else if (st->refusal == 431) {
        snprintf(text, sizeof(text), "the head has more than %u bytes or %u headers",
                 HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX);
        refuse(st, 431, "head_too_large", text);
    } else if (st->refusal == 429) {
        snprintf(text, sizeof(text),
                 "the heads of the requests open on this connection have more than %u bytes",
                 HTTP2_HEADS_BYTES_MAX);
        refuse(st, 429, "heads_full", text);
    } else if (st->refusal == 503) {
        refuse_for_memory(st, ERR_MEMORY);
    } else {
        refuse(st, 400, "malformed_request", "this is not a request that can be read in one way");
    }
}

/* ---- The head. */

/* The first thing that is wrong counts. */
static void
deserve(struct http2_stream *st, uint16_t status)
{
    if (st->refusal == 0)
        st->refusal = status;
}

static void
take_pseudo(struct http2_stream *st, struct span name, struct span value)
{
    struct http_request *r = &st->exchange.request;

    if (span_eq_text(name, ":method"))
        r->method = value;
    else if (span_eq_text(name, ":path"))
        r->target = value;
    else if (span_eq_text(name, ":authority"))
        st->authority = value;
    /* :scheme says nothing that the connection does not. */
}

/* Into the arena. */
static void
keep_header(struct http2_stream *st, struct span name, struct span value)
{
    struct http_header *h = &st->session->h2->headers[st->header_count];
    char *copy = arena_take(&st->exchange.arena, name.bytes + value.bytes);
    struct span own_name, own_value;

    if (copy == NULL) {
        deserve(st, 503);
        return;
    }
    memcpy(copy, name.data, name.bytes);
    memcpy(copy + name.bytes, value.data, value.bytes);
    own_name = (struct span){copy, name.bytes};
    own_value = (struct span){copy + name.bytes, value.bytes};
    if (name.bytes > 0 && name.data[0] == ':') {
        take_pseudo(st, own_name, own_value);
        return;
    }
    if (!http1_header_is_clean(own_name, own_value))
        deserve(st, 400);
    *h = (struct http_header){own_name, own_value};
    st->header_count++;
}

bool
http2_stream_header(struct http2_stream *st, struct span name, struct span value, bool is_trailer)
{
    const size_t cost_bytes = name.bytes + value.bytes + HEADER_COST_BYTES; /* far below 2^31 */
    struct http2_session *h = st->session->h2;

    st->head_bytes += cost_bytes;
    if (is_trailer)
        return st->head_bytes <= HTTP2_HEAD_BYTES_END;
    if (st->head_bytes > HTTP_HEAD_BYTES_MAX || st->header_count == HTTP_HEADERS_MAX)
        deserve(st, 431);
    else if (span_eq_text(name, ":path") && value.bytes > HTTP_TARGET_BYTES_MAX)
        deserve(st, 414);
    else if (cost_bytes > HTTP2_HEADS_BYTES_MAX - h->heads_bytes)
        deserve(st, 429);
    if (st->refusal == 0) {
        st->kept_bytes += cost_bytes;
        h->heads_bytes += cost_bytes;
        keep_header(st, name, value);
    }
    return st->head_bytes <= HTTP2_HEAD_BYTES_END;
}

/* Visible ASCII without '#', from '/' on (or all of the server, "*"). */
static bool
is_clean_target(struct span target)
{
    if (target.bytes == 0 || (target.data[0] != '/' && !span_eq_text(target, "*")))
        return false;
    for (size_t i = 0; i < target.bytes; i++) {
        unsigned char byte = (unsigned char)target.data[i];
        if (byte <= 0x20 || byte >= 0x7f || byte == '#')
            return false;
    }
    return true;
}

/* One host, however it is said: with :authority and Host, they agree; with neither, it is none. */
static void
settle_host(struct http2_stream *st)
{
    struct http_header *headers = st->session->h2->headers;
    bool has_host = false;

    for (uint32_t i = 0; i < st->header_count; i++) {
        if (!span_eq_text(headers[i].name, "host"))
            continue;
        if (has_host || !http1_host_is_clean(headers[i].value) ||
            (st->authority.bytes > 0 && !span_eq_nocase(headers[i].value, st->authority)))
            deserve(st, 400);
        has_host = true;
    }
    if (!http1_host_is_clean(st->authority))
        deserve(st, 400);
    if (has_host)
        return;
    if (st->authority.bytes == 0)
        deserve(st, 400);
    else if (st->header_count == HTTP_HEADERS_MAX)
        deserve(st, 431);
    else
        headers[st->header_count++] = (struct http_header){SPAN_LIT("host"), st->authority};
}

/* The head as a request, without its body. */
static void
fill_head(struct http2_stream *st)
{
    struct http_request *r = &st->exchange.request;
    size_t bytes = st->header_count * sizeof(struct http_header);
    struct http_header *headers = arena_take(&st->exchange.arena, bytes + (bytes == 0));
    struct span length;

    if (headers == NULL) {
        deserve(st, 503);
        return;
    }
    memcpy(headers, st->session->h2->headers, bytes);
    r->headers = headers;
    r->header_count = st->header_count;
    http_request_index(r);
    r->body = (struct span){"", 0};
    http_request_split(r);
    length = http_request_header(r, SPAN_LIT("content-length"));
    if (length.bytes > 0 && span_u64(length, &st->announced_bytes) != ERR_OK)
        deserve(st, 400);
}

static void
begin(struct http2_stream *st)
{
    limit(st, 0);
    st->exchange.request.body = http_body_end(&st->body);
    st->state = HTTP2_ANSWERING;
    http_exchange_begin(&st->exchange);
    http2_stream_shrink(st); /* it was answered at once: before the next one needs as much */
}

static void
go_on(struct http2_stream *st)
{
    static const char name[] = ":status", value[] = "100";
    const nghttp2_nv nv = {(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
                           sizeof(name) - 1, sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE};

    if (is_broken(st))
        return;
    if (nghttp2_submit_headers(wire_of(st), NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL) != 0)
        out_of_memory(st);
}

void
http2_stream_head(struct http2_stream *st, bool is_whole)
{
    const struct http_server *s = st->session->server;
    const struct http_request *r = &st->exchange.request;
    struct http_share *share = NULL;
    enum err err;

    if (st->state != HTTP2_READING)
        return; /* it came too late */
    if (!is_clean_target(r->target) || span_eq_text(r->method, "CONNECT"))
        deserve(st, 400);
    settle_host(st);
    if (st->refusal == 0)
        fill_head(st);
    if (st->refusal != 0)
        refuse_head(st);
    else if (st->announced_bytes != UINT64_MAX && st->announced_bytes > s->limits.body_bytes_max)
        refuse_body(st);
    else if (is_whole || (s->fn.admit != NULL && !s->fn.admit(r, s->user, &share)))
        begin(st);
    else if ((err = http_body_expect(&st->body, &s->limits, share, st->announced_bytes,
                                     loop_now_ns(s->loop))) != ERR_OK)
        refuse_for_memory(st, err);
    else {
        st->exchange.request.share = share;
        limit_body(st);
        if (span_eq_nocase(http_request_header(r, SPAN_LIT("expect")), SPAN_LIT("100-continue")))
            go_on(st);
    }
}

/* ---- The body. */

void
http2_stream_data(struct http2_stream *st, struct span part)
{
    const struct http_server_limits *limits = &st->session->server->limits;
    enum err err;

    if (st->state != HTTP2_READING)
        return; /* for nobody */
    if (part.bytes > limits->body_bytes_max - st->body.bytes) {
        refuse_body(st);
        return;
    }
    err = http_body_add(&st->body, limits, part, st->announced_bytes);
    if (err != ERR_OK)
        refuse_for_memory(st, err);
    else
        limit_body(st);
}

void
http2_stream_whole(struct http2_stream *st)
{
    if (st->state == HTTP2_READING)
        begin(st);
}

/* The client takes too little of what waits: whoever made it may stop. The reset goes out when the
 * connection lets it. */
static void
cut_slow(struct http2_stream *st)
{
    struct http_exchange *x = &st->exchange;

    x->slow = true;
    http_exchange_gone(x);
    http_exchange_fini(x);
    x->ended = false; /* or the rest of it would be taken for the end */
    st->session->h2->waiting_bytes -= st->out.bytes - st->out.at;
    http_output_clear(&st->out);
    http_output_count(st->session->server, st->out.capacity, &st->out_counted);
    http_body_fini(&st->body, &st->session->server->limits);
    st->state = HTTP2_REFUSED;
    reset(st, NGHTTP2_CANCEL);
}

void
http2_stream_late(struct http2_stream *st)
{
    const struct http_server *s = st->session->server;

    limit(st, 0);
    if (st->state != HTTP2_READING)
        cut_slow(st);
    else if (st->exchange.request.headers == NULL)
        refuse(st, 408, "request_timeout", "the request's head took too long");
    else
        refuse_as(st, http_body_late(&st->body, &s->limits, loop_now_ns(s->loop)));
}

/* ---- The response. */

static void
copy_small(char *to, struct span name)
{
    for (size_t at = 0; at < name.bytes; at++) {
        char byte = name.data[at];
        to[at] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
    }
}

/* name in small letters: itself, or a copy. NULL: no memory. */
static const char *
small_letters(struct arena *a, struct span name)
{
    size_t at = 0;
    char *small;

    while (at < name.bytes && !(name.data[at] >= 'A' && name.data[at] <= 'Z'))
        at++;
    if (at == name.bytes)
        return name.data;
    small = arena_take(a, name.bytes);
    if (small != NULL)
        copy_small(small, name);
    return small;
}

/* Is the value another one each time? Such a header would only push others out of the table that
 * both sides keep of headers, and cost an entry to make and to drop. */
static bool
varies(const char *name, size_t bytes)
{
    static const struct span names[] = {
        SPAN_INIT("x-request-id"),     SPAN_INIT("server-timing"),
        SPAN_INIT("content-length"),   SPAN_INIT("endpoint-load-metrics"),
        SPAN_INIT("traceparent"),      SPAN_INIT("isochrone-client-request-id"),
        SPAN_INIT("isochrone-reason"),
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (span_eq((struct span){name, bytes}, names[i]))
            return true;
    }
    return span_starts((struct span){name, bytes}, SPAN_LIT("x-ratelimit-re")); /* maining, set */
}

/* nghttp2 copies both. */
static bool
write_nv(struct arena *a, nghttp2_nv *nv, struct span name, struct span value)
{
    const char *small = small_letters(a, name);

    if (small == NULL)
        return false;
    *nv = (nghttp2_nv){(uint8_t *)(uintptr_t)small, (uint8_t *)(uintptr_t)value.data, name.bytes,
                       value.bytes,
                       varies(small, name.bytes) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
    return true;
}

/* Into nv[header_count + RESPONSE_HEADERS_OWN]; 0: no memory. status and length: their digits. */
static size_t
write_head(struct http_exchange *x, struct span status, const struct http_header *headers,
           size_t header_count, struct span length, nghttp2_nv *nv)
{
    struct span date = http_server_date(x->session->server);
    struct arena *a = &x->arena;
    size_t count = 0;

    date = span_trim(span_from((struct span){date.data, date.bytes - 2}, sizeof("date:") - 1));
    if (!write_nv(a, &nv[count++], SPAN_LIT(":status"), status) ||
        !write_nv(a, &nv[count++], SPAN_LIT("date"), date))
        return 0;
    for (size_t i = 0; i < header_count; i++) {
        struct span value = span_trim(headers[i].value);
        if (!http1_header_is_clean(headers[i].name, value))
            log_warn("http: a response header with forbidden bytes was left out");
        else if (!write_nv(a, &nv[count++], headers[i].name, value))
            return 0;
    }
    if (length.bytes > 0 && !write_nv(a, &nv[count++], SPAN_LIT("content-length"), length))
        return 0;
    return count;
}

static ssize_t
read_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
          nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)buffer;
    (void)user;
    return http2_stream_take(source->ptr, length, flags);
}

bool
http2_stream_respond(struct http_exchange *x, unsigned status, const struct http_header *headers,
                     size_t header_count, uint64_t length, size_t more)
{
    struct http2_stream *st = stream_of(x);
    bool says_length = x->framing == HTTP_FRAME_LENGTH && status != 204 && status != 304;
    const nghttp2_data_provider body = {.source = {.ptr = st}, .read_callback = read_body};
    bool has_body = !x->bodiless && !(x->framing == HTTP_FRAME_LENGTH && length == 0);
    char digits[20], code_digits[20];
    struct span text = {digits, says_length ? http1_decimal(length, digits) : 0};
    struct span code = {code_digits, http1_decimal(status, code_digits)};
    nghttp2_nv *nv = arena_take(&x->arena, (header_count + RESPONSE_HEADERS_OWN) * sizeof(*nv));
    size_t count = nv != NULL ? write_head(x, code, headers, header_count, text, nv) : 0;

    (void)more;
    if (count == 0 || is_broken(st) ||
        nghttp2_submit_response(wire_of(st), st->id, nv, count, has_body ? &body : NULL) != 0) {
        out_of_memory(st);
        return false;
    }
    http_session_wake(st->session);
    return true;
}

/* nghttp2 may go on with the body. */
static void
resume(struct http2_stream *st)
{
    int error;

    http_session_wake(st->session);
    if (!st->deferred || is_broken(st))
        return;
    st->deferred = false;
    error = nghttp2_session_resume_data(wire_of(st), st->id);
    if (error != 0 && error != NGHTTP2_ERR_INVALID_ARGUMENT) /* that: the stream has ended */
        out_of_memory(st);
}

void
http2_stream_body(struct http_exchange *x, const struct span *parts, size_t part_count,
                  size_t bytes)
{
    struct http2_stream *st = stream_of(x);
    char *room = http_output_reserve(&st->out, bytes);

    if (room == NULL) {
        out_of_memory(st);
        return;
    }
    http_pace_wait(&st->pace, loop_now_ns(st->session->server->loop));
    limit_answer(st);
    st->out.bytes += bytes;
    st->session->h2->waiting_bytes += bytes;
    http_output_count(st->session->server, st->out.capacity, &st->out_counted);
    for (size_t i = 0; i < part_count && bytes > 0; i++) {
        size_t n = parts[i].bytes < bytes ? parts[i].bytes : bytes;
        if (n > 0)
            memcpy(room, parts[i].data, n);
        room += n;
        bytes -= n;
    }
    resume(st);
}

/* Until their turn comes: what waits for the client may be large, and the arena is dropped before
 * it is out. */
struct http2_trailers {
    size_t count;
    nghttp2_nv list[HTTP_TRAILERS_MAX];
    char text[]; /* names, in small letters, and values */
};

/* NULL: no memory. */
static struct http2_trailers *
keep_trailers(const struct http_header *trailers, size_t trailer_count)
{
    struct http2_trailers *t;
    size_t bytes = 0;
    char *at;

    for (size_t i = 0; i < trailer_count; i++)
        bytes += trailers[i].name.bytes + trailers[i].value.bytes;
    t = calloc(1, sizeof(*t) + bytes);
    if (t == NULL)
        return NULL;
    at = t->text;
    for (size_t i = 0; i < trailer_count; i++) {
        const struct http_header *h = &trailers[i];
        t->list[t->count++] = (nghttp2_nv){(uint8_t *)at, (uint8_t *)at + h->name.bytes,
                                           h->name.bytes, h->value.bytes, NGHTTP2_NV_FLAG_NO_INDEX};
        copy_small(at, h->name);
        if (h->value.bytes > 0)
            memcpy(at + h->name.bytes, h->value.data, h->value.bytes);
        at += h->name.bytes + h->value.bytes;
    }
    return t;
}

void
http2_stream_end(struct http_exchange *x, const struct http_header *trailers, size_t trailer_count)
{
    struct http2_stream *st = stream_of(x);

    if (trailer_count > 0 && (st->trailers = keep_trailers(trailers, trailer_count)) == NULL)
        out_of_memory(st);
    x->ended = true;
    resume(st);
}

void
http2_stream_abort(struct http_exchange *x)
{
    struct http2_stream *st = stream_of(x);

    if (st->state == HTTP2_FINISHED)
        return; /* all of it is in frames: it goes out, and is freed behind them */
    st->state = HTTP2_REFUSED;
    reset(st, NGHTTP2_INTERNAL_ERROR);
}

size_t
http2_stream_pending(const struct http_exchange *x)
{
    const struct http2_stream *st = (const void *)((const char *)x -
                                                   offsetof(struct http2_stream, exchange));
    const size_t high_bytes = st->session->server->limits.high_water_bytes;
    uint64_t own = st->out.bytes - st->out.at, used = st->session->h2->waiting_bytes;
    uint64_t left = 2 * high_bytes > used ? 2 * high_bytes - used : 1;

    return own * high_bytes / left; /* far below 2^64 */
}

ssize_t
http2_stream_take(struct http2_stream *st, size_t length, uint32_t *ret_flags)
{
    size_t left = st->out.bytes - st->out.at;

    if (left == 0 && !st->exchange.ended) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *ret_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left <= length && st->exchange.ended)
        *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
    if ((*ret_flags & NGHTTP2_DATA_FLAG_EOF) != 0 && st->trailers != NULL) {
        *ret_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM; /* they end it */
        if (nghttp2_submit_trailer(wire_of(st), st->id, st->trailers->list, st->trailers->count) !=
            0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)(left < length ? left : length);
}

bool
http2_stream_put(struct http2_stream *st, const uint8_t *frame_head, size_t length)
{
    struct http_session *c = st->session;
    uint64_t now_ns = loop_now_ns(c->server->loop);
    char *room = http_session_reserve(c, FRAME_HEAD_BYTES + length);

    if (room == NULL)
        return false;
    memcpy(room, frame_head, FRAME_HEAD_BYTES);
    if (length > 0)
        memcpy(room + FRAME_HEAD_BYTES, st->out.data + st->out.at, length);
    c->out.bytes += FRAME_HEAD_BYTES + length;
    st->out.at += length;
    c->h2->waiting_bytes -= length;
    http_pace_took(&st->pace, st->pace.bytes + length, now_ns);
    if (st->out.at == st->out.bytes) {
        http_output_clear(&st->out);
        http_output_count(c->server, st->out.capacity, &st->out_counted);
        http_pace_rest(&st->pace, now_ns);
    }
    limit_answer(st);
    return true;
}

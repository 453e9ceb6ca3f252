/* http_exchange - a request and its response as handlers see them: http_server.h. What goes out,
 * and how, is the protocol's. Calls on an exchange that is not open (any more) do nothing: the
 * handler may learn late that it is over. */
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "io/http_session.h"
#include "io/log.h"

static bool
is_open(const struct http_exchange *x)
{
    return x->open && !x->ended;
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
    const struct http_session *c = x->session;
    socklen_t bytes = sizeof(*ret_local);

    memset(ret_peer, 0, sizeof(*ret_peer));
    memcpy(ret_peer, &c->peer, sizeof(c->peer));
    if (ret_local == NULL)
        return;
    /* Asked when wanted: most servers never look. It fails for a dead socket only. */
    if (getsockname(c->transport.watch.fd, (struct sockaddr *)ret_local, &bytes) != 0)
        memset(ret_local, 0, sizeof(*ret_local));
}

const struct http_request *
http_exchange_request(const struct http_exchange *x)
{
    return &x->request;
}

bool
http_exchange_takes_trailers(const struct http_exchange *x)
{
    return is_open(x) && !span_eq_text(x->request.method, "HEAD") &&
           x->session->protocol->takes_trailers(x);
}

const char *
http_exchange_protocol(const struct http_exchange *x)
{
    return x->session->protocol->name;
}

const char *
http_exchange_client_certificate(const struct http_exchange *x)
{
    return transport_client(&x->session->transport);
}

bool
http_exchange_client_pin(const struct http_exchange *x, unsigned char *ret_pin)
{
    return transport_client_pin(&x->session->transport, ret_pin);
}

uint64_t
http_exchange_began_ns(const struct http_exchange *x)
{
    return x->began_ns;
}

unsigned
http_exchange_status(const struct http_exchange *x)
{
    return x->status;
}

uint64_t
http_exchange_body_bytes(const struct http_exchange *x)
{
    return x->body_bytes;
}

bool
http_exchange_is_first(const struct http_exchange *x)
{
    return !x->session->answered;
}

bool
http_exchange_is_slow(const struct http_exchange *x)
{
    return x->slow || x->session->slow;
}

/* A bit for a name: by its length and its first letter, of either case. */
static uint64_t
bit_of(struct span name)
{
    unsigned first = name.bytes > 0 ? (unsigned char)name.data[0] | 0x20u : 0;

    return (uint64_t)1 << ((name.bytes * 7 + first) & 63);
}

void
http_request_index(struct http_request *r)
{
    r->header_bits = 0;
    for (size_t i = 0; i < r->header_count; i++)
        r->header_bits |= bit_of(r->headers[i].name);
}

struct span
http_request_header(const struct http_request *r, struct span name)
{
    /* Most names that are asked for are not there. */
    if (r->header_bits != 0 && (r->header_bits & bit_of(name)) == 0)
        return (struct span){"", 0};
    for (size_t i = r->header_count; i > 0; i--) {
        if (span_eq_nocase(r->headers[i - 1].name, name))
            return r->headers[i - 1].value;
    }
    return (struct span){"", 0};
}

void
http_request_split(struct http_request *r)
{
    struct span rest = r->target;
    size_t at;

    if (rest.data[0] != '/' && rest.bytes > 1) {
        for (at = 0; at + 3 <= rest.bytes && memcmp(rest.data + at, "://", 3) != 0; at++)
            ;
        rest = span_from(rest, at + 3);
        for (at = 0; at < rest.bytes && rest.data[at] != '/' && rest.data[at] != '?'; at++)
            ;
        rest = span_from(rest, at);
    }
    at = span_find(rest, '?');
    r->path = (struct span){rest.data, at};
    r->query = span_from(rest, at + 1);
    if (r->path.bytes == 0)
        r->path = SPAN_LIT("/");
}

/* ---- Its life, for the protocols. */

void
http_exchange_begin(struct http_exchange *x)
{
    struct http_server *s = x->session->server;

    x->bodiless = span_eq_text(x->request.method, "HEAD");
    x->open = true;
    x->began_ns = loop_now_ns(s->loop);
    s->exchange_count++;
    s->fn.request(x, &x->request, s->user);
}

void
http_exchange_fini(struct http_exchange *x)
{
    if (x->open)
        x->session->server->exchange_count--;
    x->open = false;
    arena_fini(&x->arena);
}

/* What of the request is told of when all is over, into `to`. */
static bool
keep_little(struct http_exchange *x, struct arena *to)
{
    const struct http_server *s = x->session->server;
    struct http_request r = {.body = {"", x->request.body.bytes}}; /* how long it was */

    if (arena_copy(to, x->request.method, &r.method) != ERR_OK ||
        arena_copy(to, x->request.path, &r.path) != ERR_OK)
        return false;
    if (s->fn.shrink != NULL ? !s->fn.shrink(x, to, s->user) : x->user != NULL)
        return false;
    r.target = r.path;
    x->request = r;
    return true;
}

void
http_exchange_shrink(struct http_exchange *x)
{
    struct arena little;

    if (x->shrunk)
        return;
    x->shrunk = true; /* or not to be */
    arena_init_small(&little, HTTP_EXCHANGE_ARENA_BYTES_MAX, HTTP_SHRUNK_BYTES);
    if (x->open && !keep_little(x, &little)) {
        arena_fini(&little);
        return;
    }
    arena_fini(&x->arena);
    x->arena = little;
}

void
http_exchange_gone(struct http_exchange *x)
{
    struct http_server *s;

    if (!x->open)
        return;
    s = x->session->server;
    x->open = false; /* so that calls from within gone do nothing */
    s->exchange_count--;
    if (s->fn.gone != NULL)
        s->fn.gone(x, s->user);
}

void
http_exchange_done(struct http_exchange *x)
{
    struct http_server *s = x->session->server;

    x->open = false; /* so that calls from within done do nothing */
    s->exchange_count--;
    x->session->answered = true;
    if (s->fn.done != NULL)
        s->fn.done(x, s->user);
}

void
http_exchange_drained(struct http_exchange *x)
{
    struct http_server *s;

    if (!x->open || !x->over_high)
        return;
    s = x->session->server;
    if (http_response_pending(x) > s->limits.low_water_bytes)
        return;
    x->over_high = false;
    if (s->fn.drained != NULL && !x->ended)
        s->fn.drained(x, s->user);
}

/* ---- Heads. */

/* false: no memory. */
static bool
put_head(struct http_exchange *x, unsigned status, const struct http_header *headers,
         size_t header_count, enum http_framing framing, uint64_t length, size_t more)
{
    must(status >= 200 && status <= 999 && !x->started);
    x->started = true;
    x->status = status;
    x->framing = framing;
    x->bodiless = x->bodiless || status == 204 || status == 304;
    x->length_left = x->bodiless ? 0 : length;
    return x->session->protocol->head(x, status, headers, header_count, length, more);
}

void
http_respond(struct http_exchange *x, unsigned status, const struct http_header *headers,
             size_t header_count, struct span body)
{
    if (!is_open(x))
        return;
    if (put_head(x, status, headers, header_count, HTTP_FRAME_LENGTH, body.bytes, body.bytes)) {
        http_response_write(x, body);
        x->session->protocol->end(x, NULL, 0);
    }
    x->ended = true;
}

void
http_response_start(struct http_exchange *x, unsigned status, const struct http_header *headers,
                    size_t header_count)
{
    if (is_open(x))
        put_head(x, status, headers, header_count, HTTP_FRAME_CHUNKED, 0, 0);
}

void
http_response_start_length(struct http_exchange *x, unsigned status,
                           const struct http_header *headers, size_t header_count,
                           uint64_t body_bytes)
{
    if (is_open(x))
        put_head(x, status, headers, header_count, HTTP_FRAME_LENGTH, body_bytes, 0);
}

/* ---- Bodies. */

void
http_response_writev(struct http_exchange *x, const struct span *parts, size_t part_count)
{
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
    x->body_bytes += bytes;
    if (bytes == 0) /* in chunks, an empty one would end the body */
        return;
    x->session->protocol->body(x, parts, part_count, bytes);
    if (http_response_pending(x) > x->session->server->limits.high_water_bytes)
        x->over_high = true;
}

void
http_response_write(struct http_exchange *x, struct span part)
{
    http_response_writev(x, &part, 1);
}

void
http_response_end(struct http_exchange *x)
{
    http_response_end_trailers(x, NULL, 0);
}

/* Behind the body nothing may change what a message is: RFC 9110 6.5.1. */
static bool
is_trailer(const struct http_header *h)
{
    static const struct span never[] = {SPAN_INIT("content-length"),
                                        SPAN_INIT("transfer-encoding"),
                                        SPAN_INIT("trailer"),
                                        SPAN_INIT("content-encoding"),
                                        SPAN_INIT("content-type"),
                                        SPAN_INIT("content-range"),
                                        SPAN_INIT("host"),
                                        SPAN_INIT("connection"),
                                        SPAN_INIT("te"),
                                        SPAN_INIT("set-cookie"),
                                        SPAN_INIT("authorization"),
                                        SPAN_INIT("upgrade"),
                                        SPAN_INIT("keep-alive"),
                                        SPAN_INIT("cache-control")};

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (span_eq_nocase(h->name, never[i]))
            return false;
    }
    return h->name.bytes > 0 && h->name.data[0] != ':' && http1_header_is_clean(h->name, h->value);
}

void
http_response_end_trailers(struct http_exchange *x, const struct http_header *trailers,
                           size_t trailer_count)
{
    struct http_header list[HTTP_TRAILERS_MAX];
    size_t count = 0;

    if (!is_open(x))
        return;
    must(x->started && trailer_count <= HTTP_TRAILERS_MAX);
    if (x->framing == HTTP_FRAME_LENGTH && x->length_left > 0) {
        http_response_abort(x);
        return;
    }
    for (size_t i = 0; i < trailer_count && x->framing == HTTP_FRAME_CHUNKED && !x->bodiless; i++) {
        if (is_trailer(&trailers[i]))
            list[count++] = trailers[i];
        else
            log_warn("http: a trailer that may not be one was left out");
    }
    x->session->protocol->end(x, list, count);
    x->ended = true;
}

void
http_response_close_after(struct http_exchange *x)
{
    if (!is_open(x))
        return;
    must(x->started);
    x->session->protocol->close_after(x);
}

void
http_response_abort(struct http_exchange *x)
{
    if (!x->open) /* an ended response may still be cut off: not all is written */
        return;
    x->open = false;
    x->session->server->exchange_count--;
    x->session->protocol->abort(x);
}

size_t
http_response_pending(const struct http_exchange *x)
{
    return x->session->protocol->pending(x);
}

/* ---- Refusals. */

void
http_exchange_refused(struct http_session *c, unsigned status, const char *code)
{
    if (c->server->fn.refused != NULL)
        c->server->fn.refused(&c->peer.any, c->protocol->name, status, code, c->server->user);
}

size_t
http_refusal_text(unsigned status, const char *code, const char *message,
                  char text[HTTP_REFUSAL_BYTES_MAX])
{
    const char *kind = status < 500 ? "invalid_request_error" : "server_error";
    int bytes = snprintf(text, HTTP_REFUSAL_BYTES_MAX,
                         "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
                         "\"code\":\"%s\"}}",
                         message, kind, code);

    must(bytes > 0 && (size_t)bytes < HTTP_REFUSAL_BYTES_MAX);
    return (size_t)bytes;
}

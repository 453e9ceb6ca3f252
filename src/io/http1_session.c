/* http1_session - HTTP/1.x on one client's connection: requests in, one after the other, each with
 * the limits on its time and size; http_session.h has the states. The answers are in
 * http1_response.c.
 *
 * While an exchange is open, the socket is still watched for reading, since an end of stream there
 * is how a client says that it has gone (as nginx has it, half-closed clients count as gone). Bytes
 * of a next request are only peeked at: they stay in the socket, unwatched, until their turn. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/http2_session.h"

/* ---- What belongs to a request. */

static void
update_interest(struct http_session *c)
{
    unsigned interest = c->blocked ? LOOP_WRITE : 0;

    if (c->h1.state != HTTP1_REFUSING && c->h1.state != HTTP1_QUEUED && !c->h1.input_waiting)
        interest |= LOOP_READ;
    loop_interest(&c->transport.watch, interest);
}

static void
free_kept(struct http_session *c)
{
    free(c->h1.kept);
    c->h1.kept = NULL;
    c->h1.kept_at = 0;
    c->h1.kept_bytes = 0;
}

/* The exchange is over, one way or the other. */
static void
end_exchange(struct http_session *c)
{
    http_exchange_fini(&c->h1.exchange);
    http_body_fini(&c->h1.body, &c->server->limits);
}

static void
on_fini(struct http_session *c)
{
    if (c->h1.state == HTTP1_QUEUED)
        TAILQ_REMOVE(&c->server->turns, c, h1.turn);
    c->h1.state = HTTP1_GONE;
    http_exchange_gone(&c->h1.exchange);
    end_exchange(c);
    free_kept(c);
    http1_fini(&c->h1.parser);
}

static void
on_drain(struct http_session *c)
{
    if (http_server_is_impatient(c->server) && c->h1.state == HTTP1_READING &&
        http1_is_fresh(&c->h1.parser) && transport_peek(&c->transport) <= 0)
        http_session_close(c); /* nothing of a request has come, neither here nor in the socket */
}

/* The announced length, UINT64_MAX: none. */
static uint64_t
announced_bytes(const struct http_session *c)
{
    uint64_t length;

    return http1_content_length(&c->h1.parser, &length) ? length : UINT64_MAX;
}

/* ---- A request, piece by piece. */

static void
refuse(struct http_session *c, struct http_refusal r)
{
    http1_session_refuse(c, r.status, r.code, r.message);
}

static void
refuse_for_memory(struct http_session *c, enum err err)
{
    refuse(c, http_body_no_room(&c->h1.body, &c->server->limits, err));
}

static void
refuse_message(struct http_session *c, enum http1_status status)
{
    char text[160];

    switch (status) {
    case HTTP1_BODY_TOO_LARGE:
        refuse(c, http_body_too_large(&c->server->limits));
        break;
    case HTTP1_TARGET_TOO_LONG:
        snprintf(text, sizeof(text), "the request target is longer than %u bytes",
                 HTTP_TARGET_BYTES_MAX);
        http1_session_refuse(c, 414, "target_too_long", text);
        break;
    case HTTP1_HEAD_TOO_LARGE:
        snprintf(text, sizeof(text), "the head has more than %u bytes or %u headers",
                 HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX);
        http1_session_refuse(c, 431, "head_too_large", text);
        break;
    case HTTP1_NO_MEMORY:
        refuse_for_memory(c, ERR_MEMORY);
        break;
    default:
        http1_session_refuse(c, 400, "malformed_request", "this is not an HTTP/1.1 request");
        break;
    }
}

static void
go_on(struct http_session *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char *room = http_session_reserve(c, sizeof(text) - 1);

    if (room == NULL)
        return;
    memcpy(room, text, sizeof(text) - 1);
    c->out.bytes += sizeof(text) - 1;
    http_session_wake(c);
}

/* What the head says, into r and headers[http1_header_count()]; no body. */
static void
fill_head(const struct http_session *c, struct http_header *headers, struct http_request *r)
{
    size_t count = http1_header_count(&c->h1.parser);

    for (size_t i = 0; i < count; i++)
        http1_header(&c->h1.parser, i, &headers[i].name, &headers[i].value);
    r->method = http1_method(&c->h1.parser);
    r->target = http1_target(&c->h1.parser);
    http_request_split(r);
    r->headers = headers;
    r->header_count = count;
    http_request_index(r);
    r->body = (struct span){"", 0};
    r->share = NULL;
}

static enum err
fill_request(struct http_session *c)
{
    struct http_request *r = &c->h1.exchange.request;
    size_t count = http1_header_count(&c->h1.parser);
    struct http_header *headers = arena_take(&c->h1.exchange.arena,
                                             (count + (count == 0)) * sizeof(*headers));

    if (headers == NULL)
        return ERR_MEMORY;
    fill_head(c, headers, r);
    r->body = http_body_end(&c->h1.body);
    r->share = c->h1.body.share;
    return ERR_OK;
}

/* The request is whole; or it was not admitted, and its body stays unread. */
static void
begin_exchange(struct http_session *c, bool whole)
{
    struct http_exchange *x = &c->h1.exchange;

    *x = (struct http_exchange){.session = c};
    c->h1.keep_alive = whole && http1_keep_alive(&c->h1.parser);
    c->h1.unread = !whole;
    arena_init_sharing(&x->arena, HTTP_EXCHANGE_ARENA_BYTES_MAX, &c->server->spare_blocks);
    if (fill_request(c) != ERR_OK) {
        refuse_for_memory(c, ERR_MEMORY);
        return;
    }
    c->h1.state = HTTP1_ANSWERING;
    c->limit = HTTP_LIMIT_NONE;
    http_exchange_begin(x);
}

static bool
is_admitted(const struct http_session *c, struct http_share **ret_share)
{
    struct http_header headers[HTTP_HEADERS_MAX];
    struct http_request r;

    if (c->server->fn.admit == NULL)
        return true;
    must(http1_header_count(&c->h1.parser) <= HTTP_HEADERS_MAX); /* the parser's limit */
    fill_head(c, headers, &r);
    return c->server->fn.admit(&r, c->server->user, ret_share);
}

/* The head is whole, and so many bytes came behind it. */
static void
on_head(struct http_session *c, size_t came_bytes)
{
    bool body_follows = http1_chunked(&c->h1.parser) ||
                        http1_length_left(&c->h1.parser) > came_bytes;
    struct http_share *share = NULL;
    enum err err;

    c->h1.has_head = true;
    if (!body_follows)
        return;
    if (!is_admitted(c, &share)) {
        begin_exchange(c, false);
        return;
    }
    err = http_body_expect(&c->h1.body, &c->server->limits, share, announced_bytes(c),
                           loop_now_ns(c->server->loop));
    if (err != ERR_OK)
        refuse_for_memory(c, err);
    else if (came_bytes == 0 && http1_expects_continue(&c->h1.parser))
        go_on(c);
}

/* The limit that runs while more of a request is waited for. The head's runs from its first byte.
 */
static void
limit_reading(struct http_session *c)
{
    if (c->h1.has_head)
        http_session_limit(
            c, HTTP_LIMIT_BODY,
            http_body_wait_ns(&c->h1.body, &c->server->limits, loop_now_ns(c->server->loop)));
    else if (c->limit != HTTP_LIMIT_HEAD)
        http_session_limit(c, HTTP_LIMIT_HEAD, c->server->limits.head_ns);
}

/* Go on with the request; returns how much of the input belongs to it. */
static size_t
take_input(struct http_session *c, struct span input)
{
    struct span rest = input, part = {NULL, 0};
    enum err err;

    while (c->h1.state == HTTP1_READING) {
        size_t used = 0;
        enum http1_event event = http1_feed(&c->h1.parser, rest, &used, &part);

        rest = span_from(rest, used);
        switch (event) {
        case HTTP1_NEED_MORE:
            limit_reading(c);
            return input.bytes;
        case HTTP1_HEAD:
            on_head(c, rest.bytes);
            break;
        case HTTP1_BODY:
            err = http_body_add(&c->h1.body, &c->server->limits, part, announced_bytes(c));
            if (err != ERR_OK)
                refuse_for_memory(c, err);
            break;
        case HTTP1_COMPLETE:
            begin_exchange(c, true);
            break;
        case HTTP1_ERROR:
            refuse_message(c, http1_status(&c->h1.parser));
            break;
        }
    }
    return input.bytes - rest.bytes;
}

static void read_pending(struct http_session *c);

/* ---- From exchange to exchange. */

/* The answer was refused or the connection is to end, and everything is written. */
static void
linger(struct http_session *c)
{
    c->h1.state = HTTP1_LINGERING;
    c->h1.input_waiting = false;
    free_kept(c);
    if (!transport_shutdown(&c->transport)) {
        http_session_close(c);
        return;
    }
    http_session_limit(c, HTTP_LIMIT_LINGER, HTTP_LINGER_NS);
    update_interest(c);
}

/* The next request, or its beginning, is here. May free the session. */
static void
take_turn(struct http_session *c)
{
    struct http1_session *h = &c->h1;

    TAILQ_REMOVE(&c->server->turns, c, h1.turn);
    h->state = HTTP1_READING;
    http_session_limit(c, HTTP_LIMIT_KEEP_ALIVE, c->server->limits.keep_alive_ns);
    if (h->kept_bytes > 0) {
        h->kept_at += take_input(c,
                                 (struct span){h->kept + h->kept_at, h->kept_bytes - h->kept_at});
        if (h->kept_at == h->kept_bytes)
            free_kept(c);
    }
    update_interest(c);
    if (transport_has_pending(&c->transport))
        read_pending(c);
}

static void
on_turns(struct loop_task *task)
{
    struct http_server *s = CONTAINER_OF(task, struct http_server, turns_task);
    struct http_session *c;

    for (unsigned i = 0; i < HTTP1_TURNS && (c = TAILQ_FIRST(&s->turns)) != NULL; i++)
        take_turn(c);
    if (!TAILQ_EMPTY(&s->turns))
        loop_defer_late(s->loop, task, on_turns);
}

/* Who pipelines takes turns with all who do, a few of them in a pass: however many there are, who
 * sends one request after the other waits for these few. */
static void
ask_for_turn(struct http_session *c)
{
    c->h1.state = HTTP1_QUEUED;
    http_session_limit(c, HTTP_LIMIT_NONE, 0); /* it is not the client that is waited for */
    TAILQ_INSERT_TAIL(&c->server->turns, c, h1.turn);
    loop_defer_late(c->server->loop, &c->server->turns_task, on_turns);
}

/* The response is with the kernel, whole. */
static void
finish_exchange(struct http_session *c)
{
    struct http1_session *h = &c->h1;
    bool keep_alive = h->keep_alive && !http_server_is_impatient(c->server), unread = h->unread;

    h->state = HTTP1_READING;
    http_exchange_done(&h->exchange);
    end_exchange(c);
    http_session_pace_anew(c);
    if (!keep_alive) {
        if (c->h1.kept_bytes > 0 || c->h1.input_waiting || unread)
            linger(c); /* unread bytes: a plain close would reset the connection */
        else
            http_session_close(c);
        return;
    }
    http1_next(&h->parser);
    h->has_head = false;
    h->input_waiting = false;
    if (h->kept_bytes > 0 || transport_has_pending(&c->transport))
        ask_for_turn(c);
    else
        http_session_limit(c, HTTP_LIMIT_KEEP_ALIVE, c->server->limits.keep_alive_ns);
    update_interest(c);
}

static void
aborted(struct http_session *c)
{
    /* Where only the end of the connection ends the body, a plain end would look like success. */
    if (c->h1.exchange.framing == HTTP_FRAME_UNTIL_CLOSE)
        transport_reset_at_close(&c->transport);
    http_session_close(c);
}

static void
flush(struct http_session *c)
{
    bool was_limited = c->limit == HTTP_LIMIT_WRITE, alive = http_session_write(c);
    bool empty = c->out.bytes == 0;

    /* A request is only read while writing after 100 Continue. */
    if (was_limited && c->limit == HTTP_LIMIT_NONE && c->h1.state == HTTP1_READING)
        http_session_limit(c, HTTP_LIMIT_BODY, c->server->limits.body_idle_ns);
    if (c->h1.state == HTTP1_ABORTED) {
        aborted(c);
    } else if (!alive) {
        http_session_close(c);
    } else if (c->h1.state == HTTP1_ANSWERING && c->h1.exchange.ended && empty) {
        finish_exchange(c);
    } else if (c->h1.state == HTTP1_REFUSING && empty) {
        linger(c);
    } else {
        update_interest(c);
        http_exchange_drained(&c->h1.exchange);
    }
}

static void
on_flush(struct http_session *c)
{
    if (c->h1.state == HTTP1_ANSWERING && c->limit == HTTP_LIMIT_WRITE && !c->out_of_memory)
        return; /* blocked: the loop says when there is room again */
    flush(c);
}

/* ---- What the loop says. */

/* Where the next bytes go: to their place in the body when there is much room for them, so that
 * long bodies are not copied. */
static char *
read_target(struct http_session *c, size_t *ret_bytes)
{
    uint64_t left = http1_length_left(&c->h1.parser);
    struct http_body *body = &c->h1.body;
    size_t room = body->capacity - body->bytes;

    /* When it fails, it fails again for the bytes that come, and is answered then. */
    if (room == 0 && left > 0 && body->bytes > 0 &&
        http_body_grow(body, &c->server->limits, body->bytes + 1, announced_bytes(c)) == ERR_OK)
        room = body->capacity - body->bytes;
    *ret_bytes = sizeof(c->server->input);
    if (room == 0 || left == 0 || (room < left && room < sizeof(c->server->input)))
        return c->server->input;
    *ret_bytes = room < left ? room : (size_t)left;
    return body->data + body->bytes;
}

/* What of a piece of input belongs to a next request waits in memory of its own. */
static void
keep(struct http_session *c, struct span rest)
{
    if (rest.bytes == 0 || c->h1.state != HTTP1_ANSWERING)
        return;
    c->h1.kept = malloc(rest.bytes);
    if (c->h1.kept == NULL) {
        c->h1.keep_alive = false; /* they are lost: this answer is the last */
        return;
    }
    memcpy(c->h1.kept, rest.data, rest.bytes);
    c->h1.kept_bytes = rest.bytes;
}

/* The first bytes of the connection are the preface of HTTP/2 (RFC 9113 3.4), which no client sends
 * in pieces; those that do are no HTTP/1.1 and refused. */
static bool
is_http2(const struct http_session *c, struct span input)
{
    return !c->answered && http1_is_fresh(&c->h1.parser) &&
           span_starts(input, SPAN_LIT(NGHTTP2_CLIENT_MAGIC));
}

/* false: the session is gone, or speaks HTTP/2. */
static bool
read_piece(struct http_session *c)
{
    size_t bytes, used;
    char *target = read_target(c, &bytes);
    ssize_t n = transport_recv(&c->transport, target, bytes);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        http_session_close(c);
        return false;
    }
    if (is_http2(c, (struct span){target, (size_t)n})) {
        (void)http2_session_begin(c, (struct span){target, (size_t)n});
        return false;
    }
    used = take_input(c, (struct span){target, (size_t)n});
    keep(c, (struct span){target + used, (size_t)n - used});
    update_interest(c);
    return true;
}

static void
read_request(struct http_session *c)
{
    if (read_piece(c) && transport_has_pending(&c->transport))
        read_pending(c);
}

/* Readable while an exchange is open: the next request, or the end. */
static void
peek(struct http_session *c)
{
    int n = transport_peek(&c->transport);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        http_session_close(c);
    } else if (n > 0) {
        c->h1.input_waiting = true;
        update_interest(c);
    }
}

/* What the socket will not announce is read on, as far as the state lets us. */
static void
read_pending(struct http_session *c)
{
    while (c->h1.state == HTTP1_READING && transport_has_pending(&c->transport)) {
        if (!read_piece(c))
            return;
    }
    if (c->h1.state == HTTP1_ANSWERING && !c->h1.input_waiting &&
        transport_has_pending(&c->transport))
        peek(c);
}

static void
throw_away(struct http_session *c)
{
    ssize_t n = transport_recv(&c->transport, c->server->input, sizeof(c->server->input));

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        http_session_close(c);
}

static void
on_ready(struct http_session *c, unsigned ready)
{
    switch (c->h1.state) {
    case HTTP1_READING:
        if (ready & (LOOP_READ | LOOP_HANGUP))
            read_request(c); /* on a hang-up it says what there is: bytes, the end, an error */
        else
            flush(c);
        break;
    case HTTP1_ANSWERING:
        if (ready & LOOP_HANGUP)
            http_session_close(c);
        else if (ready & LOOP_READ)
            peek(c);
        else
            flush(c);
        break;
    case HTTP1_LINGERING:
        throw_away(c);
        break;
    default: /* the last answer is being written, or the flush task ends it */
        if (ready & LOOP_HANGUP)
            http_session_close(c);
        else
            flush(c);
        break;
    }
}

static void
on_late(struct http_session *c)
{
    switch (c->limit) {
    case HTTP_LIMIT_HEAD:
        http1_session_refuse(c, 408, "request_timeout", "the request's head took too long");
        break;
    case HTTP_LIMIT_BODY:
        refuse(c, http_body_late(&c->h1.body, &c->server->limits, loop_now_ns(c->server->loop)));
        break;
    case HTTP_LIMIT_WRITE:
        (void)http_session_cut_slow(c);
        break;
    default: /* silence: there is nobody to tell */
        http_session_close(c);
        break;
    }
}

/* ---- What exchanges say beside their answers. */

static void
on_abort(struct http_exchange *x)
{
    x->session->h1.state = HTTP1_ABORTED;
    http_session_wake(x->session);
}

static void
on_close_after(struct http_exchange *x)
{
    x->session->h1.keep_alive = false;
}

static size_t
on_pending(const struct http_exchange *x)
{
    return x->session->out.bytes - x->session->out.at;
}

static bool
takes_trailers(const struct http_exchange *x)
{
    return http1_minor(&x->session->h1.parser) > 0;
}

const struct http_protocol http1_protocol = {
    .name = "HTTP/1.1",
    .ready = on_ready,
    .flush = on_flush,
    .late = on_late,
    .fini = on_fini,
    .drain = on_drain,
    .head = http1_response_head,
    .body = http1_response_body,
    .takes_trailers = takes_trailers,
    .end = http1_response_end,
    .abort = on_abort,
    .close_after = on_close_after,
    .pending = on_pending,
};

void
http1_session_init(struct http_session *c)
{
    c->protocol = &http1_protocol;
    http1_request_init(&c->h1.parser, &c->server->message_limits);
}

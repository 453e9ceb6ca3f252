/* http_session - one client's connection; http_session.h has the states. In the usual case an
 * exchange costs one read and one write: a request comes whole, the answer is collected in one
 * buffer and written by the flush task at the end of the pass.
 *
 * While an exchange is open, the socket is still watched for reading, since an end of stream there
 * is how a client says that it has gone (as nginx has it, half-closed clients count as gone). Bytes
 * of a next request are only peeked at: they stay in the socket, unwatched, until their turn. */
#include "io/http_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

static void on_timer(struct loop_timer *timer);
static void on_flush(struct loop_task *task);

/* ---- Limits on time. */

/* The one timer is only ever moved: an old deadline that comes up with nothing to limit is ignored,
 * which is cheaper than taking the timer out and in at each exchange. */
static void
limit(struct http_session *c, enum http_limit what, uint64_t wait_ns)
{
    c->limit = wait_ns > 0 ? what : HTTP_LIMIT_NONE;
    if (wait_ns > 0)
        loop_timer_set(c->server->loop, &c->timer, loop_now_ns(c->server->loop) + wait_ns,
                       on_timer);
}

/* ---- Life. */

static void
update_interest(struct http_session *c)
{
    unsigned interest = c->blocked ? LOOP_WRITE : 0;

    if (c->state != HTTP_REFUSING && !c->input_waiting)
        interest |= LOOP_READ;
    loop_interest(&c->watch, interest);
}

static void
free_body(struct http_session *c)
{
    _Atomic size_t *total = c->server->limits.buffers_bytes;

    if (total != NULL && c->body_capacity > 0)
        atomic_fetch_sub_explicit(total, c->body_capacity, memory_order_relaxed);
    free(c->body);
    c->body = NULL;
    c->body_bytes = 0;
    c->body_capacity = 0;
}

static void
free_kept(struct http_session *c)
{
    free(c->kept);
    c->kept = NULL;
    c->kept_at = 0;
    c->kept_bytes = 0;
}

/* The exchange is over, one way or the other. */
static void
end_exchange(struct http_session *c)
{
    arena_fini(&c->exchange.arena);
    free_body(c);
}

void
http_session_close(struct http_session *c)
{
    struct http_server *s = c->server;

    if (c->state == HTTP_ANSWERING) {
        c->state = HTTP_GONE; /* so that calls from within gone do nothing */
        s->exchange_count--;
        if (s->fn.gone != NULL)
            s->fn.gone(&c->exchange, s->user);
    }
    end_exchange(c);
    loop_timer_stop(&c->timer);
    loop_undefer(&c->flush);
    loop_remove(&c->watch);
    close(c->watch.fd);
    free_kept(c);
    free(c->out.data);
    http1_fini(&c->parser);
    LIST_REMOVE(c, link);
    s->connection_count--;
    free(c);
    http_server_resume(s);
}

bool
http_session_is_idle(const struct http_session *c)
{
    char byte;

    return c->state == HTTP_READING && http1_is_fresh(&c->parser) &&
           recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* ---- Writing. */

char *
http_session_reserve(struct http_session *c, size_t bytes)
{
    struct http_output *out = &c->out;
    size_t capacity = out->capacity;
    char *data;

    if (out->at > 0 && out->bytes + bytes > capacity) {
        memmove(out->data, out->data + out->at, out->bytes - out->at);
        out->bytes -= out->at;
        out->at = 0;
    }
    if (out->bytes + bytes > capacity) {
        capacity = capacity * 2 > out->bytes + bytes ? capacity * 2 : out->bytes + bytes;
        data = realloc(out->data, capacity);
        if (data == NULL) {
            c->out_of_memory = true;
            http_session_wake(c);
            return NULL;
        }
        out->data = data;
        out->capacity = capacity;
    }
    return out->data + out->bytes;
}

void
http_session_wake(struct http_session *c)
{
    /* Late: first all requests leave for the engines, then all answers for the clients. A peer that
     * gets its share of a pass in one burst is woken once for it. */
    loop_defer_late(c->server->loop, &c->flush, on_flush);
}

static void
out_is_empty(struct http_session *c)
{
    c->out.at = 0;
    c->out.bytes = 0;
    if (c->out.capacity > HTTP_OUT_KEEP_BYTES) {
        free(c->out.data);
        c->out.data = NULL;
        c->out.capacity = 0;
    }
}

/* Write what waits. false: the client is gone. */
static bool
write_out(struct http_session *c)
{
    struct http_output *out = &c->out;
    bool progress = false, blocked = false;

    while (out->at < out->bytes && !blocked) {
        ssize_t n = send(c->watch.fd, out->data + out->at, out->bytes - out->at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        blocked = n < 0 && errno == EAGAIN;
        progress = progress || n > 0;
        out->at += n > 0 ? (size_t)n : 0;
    }
    if (blocked && (progress || c->limit != HTTP_LIMIT_WRITE))
        limit(c, HTTP_LIMIT_WRITE, c->server->limits.write_idle_ns);
    if (!blocked && c->limit == HTTP_LIMIT_WRITE)
        limit(c, HTTP_LIMIT_BODY, /* a request is only read while writing after 100 Continue */
              c->state == HTTP_READING ? c->server->limits.body_idle_ns : 0);
    if (!blocked && out->bytes > 0)
        out_is_empty(c);
    c->blocked = blocked;
    return true;
}

/* ---- A request, piece by piece. */

/* More memory for the body: twice as much each time, so that what came pays for what may come; an
 * announced length only keeps it from becoming too much. Counted in the common sum first. */
static enum err
grow_body(struct http_session *c, size_t need)
{
    _Atomic size_t *total = c->server->limits.buffers_bytes;
    size_t capacity = c->body_capacity * 2, more;
    uint64_t length;
    char *body;

    capacity = capacity > HTTP_BODY_STEP_BYTES ? capacity : HTTP_BODY_STEP_BYTES;
    capacity = capacity > need ? capacity : need;
    if (http1_content_length(&c->parser, &length) && capacity > length)
        capacity = (size_t)length; /* >= need: the parser hands out no more */
    more = capacity - c->body_capacity;
    if (total != NULL && atomic_fetch_add_explicit(total, more, memory_order_relaxed) + more >
                             c->server->limits.buffers_bytes_max) {
        atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
        return ERR_FULL;
    }
    body = realloc(c->body, capacity + HTTP_BODY_PADDING);
    if (body == NULL) {
        if (total != NULL)
            atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
        return ERR_MEMORY;
    }
    c->body = body;
    c->body_capacity = capacity;
    return ERR_OK;
}

static enum err
add_to_body(struct http_session *c, struct span part)
{
    size_t need = c->body_bytes + part.bytes; /* <= body_bytes_max + one read */
    enum err err;

    if (c->body == NULL ||
        part.data != c->body + c->body_bytes) { /* else it was read to its place */
        if (need > c->body_capacity && (err = grow_body(c, need)) != ERR_OK)
            return err;
        memcpy(c->body + c->body_bytes, part.data, part.bytes);
    }
    c->body_bytes = need;
    return ERR_OK;
}

static void
refuse_for_memory(struct http_session *c, enum err err)
{
    char text[160];

    if (err == ERR_MEMORY) {
        http_session_refuse(c, 503, "out_of_memory", "no memory for this request now");
        return;
    }
    snprintf(text, sizeof(text), "no room for this body now: limits.buffers_bytes_max is %zu",
             c->server->limits.buffers_bytes_max);
    http_session_refuse(c, 503, "buffers_full", text);
}

static void
refuse_message(struct http_session *c, enum http1_status status)
{
    char text[160];

    switch (status) {
    case HTTP1_BODY_TOO_LARGE:
        snprintf(text, sizeof(text), "the body is too large: limits.body_bytes_max is %zu",
                 c->server->limits.body_bytes_max);
        http_session_refuse(c, 413, "body_too_large", text);
        break;
    case HTTP1_TARGET_TOO_LONG:
        snprintf(text, sizeof(text), "the request target is longer than %u bytes",
                 HTTP_TARGET_BYTES_MAX);
        http_session_refuse(c, 414, "target_too_long", text);
        break;
    case HTTP1_HEAD_TOO_LARGE:
        snprintf(text, sizeof(text), "the head has more than %u bytes or %u headers",
                 HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX);
        http_session_refuse(c, 431, "head_too_large", text);
        break;
    case HTTP1_NO_MEMORY:
        refuse_for_memory(c, ERR_MEMORY);
        break;
    default:
        http_session_refuse(c, 400, "malformed_request", "this is not an HTTP/1.1 request");
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

/* "/path?query" out of the target, which may be a whole URL (RFC 9112 3.2.2). */
static void
split_target(struct http_request *r)
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

/* What the head says, into r and headers[http1_header_count()]; no body. */
static void
fill_head(const struct http_session *c, struct http_header *headers, struct http_request *r)
{
    static const char nothing[HTTP_BODY_PADDING];
    size_t count = http1_header_count(&c->parser);

    for (size_t i = 0; i < count; i++)
        http1_header(&c->parser, i, &headers[i].name, &headers[i].value);
    r->method = http1_method(&c->parser);
    r->target = http1_target(&c->parser);
    split_target(r);
    r->headers = headers;
    r->header_count = count;
    r->body = (struct span){nothing, 0};
}

static enum err
fill_request(struct http_session *c)
{
    struct http_request *r = &c->exchange.request;
    size_t count = http1_header_count(&c->parser);
    struct http_header *headers = arena_take(&c->exchange.arena,
                                             (count + (count == 0)) * sizeof(*headers));

    if (headers == NULL)
        return ERR_MEMORY;
    fill_head(c, headers, r);
    if (c->body_bytes > 0) {
        memset(c->body + c->body_bytes, 0, HTTP_BODY_PADDING);
        r->body = (struct span){c->body, c->body_bytes};
    }
    return ERR_OK;
}

/* The request is whole; or it was not admitted, and its body stays unread. */
static void
begin_exchange(struct http_session *c, bool whole)
{
    struct http_exchange *x = &c->exchange;
    struct http_server *s = c->server;

    *x = (struct http_exchange){.keep_alive = whole && http1_keep_alive(&c->parser),
                                .unread = !whole};
    arena_init(&x->arena, HTTP_EXCHANGE_ARENA_BYTES_MAX);
    if (fill_request(c) != ERR_OK) {
        refuse_for_memory(c, ERR_MEMORY);
        return;
    }
    x->bodiless = span_eq_text(x->request.method, "HEAD");
    c->state = HTTP_ANSWERING;
    c->limit = HTTP_LIMIT_NONE;
    s->exchange_count++;
    s->fn.request(x, &x->request, s->user);
}

static bool
is_admitted(const struct http_session *c)
{
    struct http_header headers[HTTP_HEADERS_MAX];
    struct http_request r;

    if (c->server->fn.admit == NULL)
        return true;
    must(http1_header_count(&c->parser) <= HTTP_HEADERS_MAX); /* the parser's limit */
    fill_head(c, headers, &r);
    return c->server->fn.admit(&r, c->server->user);
}

/* The head is whole, and so many bytes came behind it. */
static void
on_head(struct http_session *c, size_t came_bytes)
{
    bool body_follows = http1_chunked(&c->parser) || http1_length_left(&c->parser) > came_bytes;

    c->has_head = true;
    if (body_follows && !is_admitted(c))
        begin_exchange(c, false);
    else if (body_follows && came_bytes == 0 && http1_expects_continue(&c->parser))
        go_on(c);
}

/* The limit that runs while more of a request is waited for. The head's runs from its first byte.
 */
static void
limit_reading(struct http_session *c)
{
    if (c->has_head)
        limit(c, HTTP_LIMIT_BODY, c->server->limits.body_idle_ns);
    else if (c->limit != HTTP_LIMIT_HEAD)
        limit(c, HTTP_LIMIT_HEAD, c->server->limits.head_ns);
}

/* Go on with the request; returns how much of the input belongs to it. */
static size_t
take_input(struct http_session *c, struct span input)
{
    struct span rest = input, part = {NULL, 0};
    enum err err;

    while (c->state == HTTP_READING) {
        size_t used = 0;
        enum http1_event event = http1_feed(&c->parser, rest, &used, &part);

        rest = span_from(rest, used);
        switch (event) {
        case HTTP1_NEED_MORE:
            limit_reading(c);
            return input.bytes;
        case HTTP1_HEAD:
            on_head(c, rest.bytes);
            break;
        case HTTP1_BODY:
            err = add_to_body(c, part);
            if (err != ERR_OK)
                refuse_for_memory(c, err);
            break;
        case HTTP1_COMPLETE:
            begin_exchange(c, true);
            break;
        case HTTP1_ERROR:
            refuse_message(c, http1_status(&c->parser));
            break;
        }
    }
    return input.bytes - rest.bytes;
}

/* ---- From exchange to exchange. */

/* The answer was refused or the connection is to end, and everything is written. */
static void
linger(struct http_session *c)
{
    c->state = HTTP_LINGERING;
    c->input_waiting = false;
    free_kept(c);
    if (shutdown(c->watch.fd, SHUT_WR) != 0) {
        http_session_close(c);
        return;
    }
    limit(c, HTTP_LIMIT_LINGER, HTTP_LINGER_NS);
    update_interest(c);
}

/* The response is with the kernel, whole. */
static void
finish_exchange(struct http_session *c)
{
    struct http_server *s = c->server;
    bool keep_alive = c->exchange.keep_alive && !s->draining, unread = c->exchange.unread;

    s->exchange_count--;
    c->answered = true;
    c->state = HTTP_READING; /* so that calls from within done do nothing */
    if (s->fn.done != NULL)
        s->fn.done(&c->exchange, s->user);
    end_exchange(c);
    if (!keep_alive) {
        if (c->kept_bytes > 0 || c->input_waiting || unread)
            linger(c); /* unread bytes: a plain close would reset the connection */
        else
            http_session_close(c);
        return;
    }
    http1_next(&c->parser);
    c->has_head = false;
    c->input_waiting = false;
    limit(c, HTTP_LIMIT_KEEP_ALIVE, s->limits.keep_alive_ns);
    if (c->kept_bytes > 0) {
        c->kept_at += take_input(c,
                                 (struct span){c->kept + c->kept_at, c->kept_bytes - c->kept_at});
        if (c->kept_at == c->kept_bytes)
            free_kept(c);
    }
    update_interest(c);
}

static void
drained_below(struct http_session *c)
{
    struct http_server *s = c->server;

    if (!c->exchange.over_high || http_response_pending(&c->exchange) > s->limits.low_water_bytes)
        return;
    c->exchange.over_high = false;
    if (s->fn.drained != NULL && !c->exchange.ended)
        s->fn.drained(&c->exchange, s->user);
}

static void
aborted(struct http_session *c)
{
    const struct linger reset = {.l_onoff = 1};

    /* Where only the end of the connection ends the body, a plain end would look like success.
     * That it could not be set means the connection is gone already. */
    if (c->exchange.framing == HTTP_FRAME_UNTIL_CLOSE)
        (void)setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    http_session_close(c);
}

static void
flush(struct http_session *c)
{
    bool alive = !c->out_of_memory && write_out(c), empty = c->out.bytes == 0;

    if (c->state == HTTP_ABORTED) {
        aborted(c);
    } else if (!alive) {
        http_session_close(c);
    } else if (c->state == HTTP_ANSWERING && c->exchange.ended && empty) {
        finish_exchange(c);
    } else if (c->state == HTTP_REFUSING && empty) {
        linger(c);
    } else {
        update_interest(c);
        if (c->state == HTTP_ANSWERING)
            drained_below(c);
    }
}

static void
on_flush(struct loop_task *task)
{
    struct http_session *c = CONTAINER_OF(task, struct http_session, flush);

    if (c->state == HTTP_ANSWERING && c->limit == HTTP_LIMIT_WRITE && !c->out_of_memory)
        return; /* blocked: the loop says when there is room again */
    flush(c);
}

/* ---- What the loop says. */

/* Where the next bytes go: to their place in the body when there is much room for them, so that
 * long bodies are not copied. */
static char *
read_target(struct http_session *c, size_t *ret_bytes)
{
    uint64_t left = http1_length_left(&c->parser);
    size_t room = c->body_capacity - c->body_bytes;

    /* When it fails, it fails again for the bytes that come, and is answered then. */
    if (room == 0 && left > 0 && c->body_bytes > 0 && grow_body(c, c->body_bytes + 1) == ERR_OK)
        room = c->body_capacity - c->body_bytes;
    *ret_bytes = sizeof(c->server->input);
    if (room == 0 || left == 0 || (room < left && room < sizeof(c->server->input)))
        return c->server->input;
    *ret_bytes = room < left ? room : (size_t)left;
    return c->body + c->body_bytes;
}

/* What of a piece of input belongs to a next request waits in memory of its own. */
static void
keep(struct http_session *c, struct span rest)
{
    if (rest.bytes == 0 || c->state != HTTP_ANSWERING)
        return;
    c->kept = malloc(rest.bytes);
    if (c->kept == NULL) {
        c->exchange.keep_alive = false; /* they are lost: this answer is the last */
        return;
    }
    memcpy(c->kept, rest.data, rest.bytes);
    c->kept_bytes = rest.bytes;
}

static void
read_request(struct http_session *c)
{
    size_t bytes, used;
    char *target = read_target(c, &bytes);
    ssize_t n = recv(c->watch.fd, target, bytes, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        http_session_close(c);
        return;
    }
    used = take_input(c, (struct span){target, (size_t)n});
    keep(c, (struct span){target + used, (size_t)n - used});
    update_interest(c);
}

/* Readable while an exchange is open: the next request, or the end. */
static void
peek(struct http_session *c)
{
    char byte;
    ssize_t n = recv(c->watch.fd, &byte, 1, MSG_PEEK);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        http_session_close(c);
    } else if (n > 0) {
        c->input_waiting = true;
        update_interest(c);
    }
}

static void
throw_away(struct http_session *c)
{
    ssize_t n = recv(c->watch.fd, c->server->input, sizeof(c->server->input), 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        http_session_close(c);
}

static void
on_ready(struct loop_watch *watch, unsigned ready)
{
    struct http_session *c = CONTAINER_OF(watch, struct http_session, watch);

    switch (c->state) {
    case HTTP_READING:
        if (ready & (LOOP_READ | LOOP_HANGUP))
            read_request(c); /* on a hang-up it says what there is: bytes, the end, an error */
        else
            flush(c);
        break;
    case HTTP_ANSWERING:
        if (ready & LOOP_HANGUP)
            http_session_close(c);
        else if (ready & LOOP_READ)
            peek(c);
        else
            flush(c);
        break;
    case HTTP_LINGERING:
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
on_timer(struct loop_timer *timer)
{
    struct http_session *c = CONTAINER_OF(timer, struct http_session, timer);

    switch (c->limit) {
    case HTTP_LIMIT_NONE:
        break;
    case HTTP_LIMIT_HEAD:
        http_session_refuse(c, 408, "request_timeout", "the request's head took too long");
        break;
    case HTTP_LIMIT_BODY:
        http_session_refuse(c, 408, "request_timeout", "the request's body took too long");
        break;
    default: /* silence: there is nobody to tell */
        http_session_close(c);
        break;
    }
}

void
http_session_open(struct http_server *s, int fd, const struct sockaddr *peer, socklen_t peer_bytes)
{
    struct http_session *c = calloc(1, sizeof(*c));

    if (c == NULL || loop_add(s->loop, &c->watch, fd, LOOP_READ, on_ready) != ERR_OK) {
        free(c);
        close(fd);
        return;
    }
    c->server = s;
    if (peer_bytes <= sizeof(c->peer))
        memcpy(&c->peer, peer, peer_bytes);
    http1_request_init(&c->parser, &s->message_limits);
    LIST_INSERT_HEAD(&s->connections, c, link);
    s->connection_count++;
    limit(c, HTTP_LIMIT_KEEP_ALIVE, s->limits.keep_alive_ns);
}

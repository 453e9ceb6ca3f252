/* http_call - the life of a call; see http_client.h.
 *
 * A call goes through these phases, all of them on the loop's thread:
 *   WAITING     until the end of the pass it was started in: nothing calls back from within start,
 *               and connections that turn out closed in this pass are gone before one is chosen;
 *   CONNECTING  no kept connection was there; with TLS, until the handshake is done;
 *   SENDING     the kernel took a part of the request; it says when it takes more;
 *   SENT        the request is out whole. The response may begin before this;
 *   OVER        it ended, failed or was cancelled: nothing but its memory is left.
 * Callbacks may cancel the call, or close its target or the whole client. So all that may call back
 * stands between call_enter and call_leave, looks at the phase after each callback, and only
 * call_leave gives the memory back.
 *
 * All reads go through one buffer of the client, so an open stream costs no buffer of its own. */
#include <errno.h>
#include <linux/tcp.h> /* netinet/tcp.h of glibc 2.36 ends before the delivery rate */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/must.h"
#include "io/http_call.h"

#define READS_MAX              4u    /* of one connection in one turn */
#define SPARE_CALLS_MAX        1024u /* kept for reuse per client */
#define SPARE_HEAD_BYTES       1024u /* a larger request head is freed when it has done its duty */
#define REQUEST_HEAD_BYTES_MAX 131072u
#define JOINED_BYTES_MAX       16384u /* of a request; longer ones go out from where they lie */
#define INTERIMS_MAX           16u    /* 1xx before a response */
#define SLOW_START_UNENDED     0x7fffffffu /* a threshold of slow start that was never met */

static void call_timed_out(struct loop_timer *timer);
static void call_begin(struct http_call *call, bool fresh);

/* ---- The end of a call. */

void
http_call_free(struct http_call *call)
{
    http1_fini(&call->parser);
    free(call->head);
    free(call);
}

static void
drop_large_head(struct http_call *call)
{
    if (call->head_capacity <= SPARE_HEAD_BYTES || call->sent_bytes < call->head_bytes)
        return;
    free(call->head);
    call->head = NULL;
    call->head_capacity = 0;
}

/* Keep the memory for another call, or free it. */
static void
call_release(struct http_call *call)
{
    if (call->client == NULL || call->client->spare_count == SPARE_CALLS_MAX) {
        http_call_free(call);
        return;
    }
    call->sent_bytes = call->head_bytes;
    drop_large_head(call);
    http1_next(&call->parser);
    LIST_INSERT_HEAD(&call->client->spares, call, link);
    call->client->spare_count++;
}

/* Nothing of the call is left but its memory. */
static void
call_detach(struct http_call *call)
{
    if (call->connection != NULL)
        http_connection_close(call->connection);
    loop_undefer(&call->task);
    loop_timer_stop(&call->timer);
    LIST_REMOVE(call, link);
    call->phase = HTTP_OVER;
}

/* Around everything that may call back. */
static void
call_enter(struct http_call *call)
{
    must(call->client->running == NULL);
    call->client->running = call;
}

static void
call_leave(struct http_call *call)
{
    if (call->client != NULL)
        call->client->running = NULL;
    if (call->phase == HTTP_OVER)
        call_release(call);
}

static void
call_fail(struct http_call *call, enum http_failure why)
{
    call_detach(call);
    call->fn.failed(call, why, call->user);
}

/* The response is whole. left_bytes: what the peer sent behind it. */
static void
call_complete(struct http_call *call, bool at_eof, size_t left_bytes)
{
    struct http_header *trailers = call->client->headers;
    size_t count = http1_trailer_count(&call->parser);

    must(count <= HTTP_HEADERS_MAX); /* the parser's limit */
    for (size_t i = 0; i < count; i++)
        http1_trailer(&call->parser, i, &trailers[i].name, &trailers[i].value);
    /* What came too much or too early belongs to nobody: such a connection is out of step. */
    if (!at_eof && left_bytes == 0 && call->phase == HTTP_SENT && http1_keep_alive(&call->parser) &&
        !transport_has_pending(&call->connection->transport))
        http_connection_keep(call->connection);
    call_detach(call);
    call->fn.end(call, trailers, count, call->user);
}

/* The connection ended or broke, before the response was whole. */
static void
call_lost(struct http_call *call)
{
    /* A kept connection that nothing came over was closed before our request met it, most likely.
     * On a fresh one the peer saw the request: whether to send it again is not ours to decide. */
    if (call->fresh || call->got_byte) {
        call_fail(call, HTTP_FAILED_EOF);
        return;
    }
    http_connection_close(call->connection);
    call_begin(call, true);
}

void
http_call_cancel(struct http_call *call)
{
    must(call->phase != HTTP_OVER);
    call_detach(call);
    if (call->client->running != call)
        call_release(call); /* else when its callback has returned */
}

/* ---- Limits. */

/* `limit_ns` from now; 0: none. */
static uint64_t
from_now_ns(const struct http_call *call, uint64_t limit_ns)
{
    uint64_t deadline_ns;

    if (limit_ns == 0)
        return 0;
    if (__builtin_add_overflow(loop_now_ns(call->client->loop), limit_ns, &deadline_ns))
        return UINT64_MAX;
    return deadline_ns;
}

static bool
awaits_first_byte(const struct http_call *call)
{
    return !call->got_head && http1_is_fresh(&call->parser);
}

/* Something moved: set the timer to the limit that runs now. */
static void
call_limit(struct http_call *call)
{
    uint64_t deadline_ns;

    if (call->phase == HTTP_CONNECTING)
        deadline_ns = from_now_ns(call, call->limits.connect_ns);
    else if (call->paused && (call->phase == HTTP_SENT || call->got_head))
        deadline_ns = 0;
    else if (awaits_first_byte(call))
        deadline_ns = call->first_byte_deadline_ns;
    else
        deadline_ns = from_now_ns(call, call->limits.idle_ns);
    if (deadline_ns != 0)
        loop_timer_set(call->client->loop, &call->timer, deadline_ns, call_timed_out);
    else
        loop_timer_stop(&call->timer);
}

static void
call_timed_out(struct loop_timer *timer)
{
    struct http_call *call = CONTAINER_OF(timer, struct http_call, timer);

    call_enter(call);
    if (call->phase == HTTP_CONNECTING)
        call_fail(call, HTTP_FAILED_CONNECT_TIMEOUT);
    else
        call_fail(call, awaits_first_byte(call) ? HTTP_FAILED_FIRST_BYTE : HTTP_FAILED_IDLE);
    call_leave(call);
}

/* ---- The response. */

/* The head of a response: hand it over, unless it is a 1xx. */
static void
take_head(struct http_call *call)
{
    struct http_header *headers = call->client->headers;
    struct http_response response = {.status = http1_status_code(&call->parser),
                                     .headers = headers,
                                     .header_count = http1_header_count(&call->parser),
                                     .fresh_connection = call->fresh};

    if (response.status < 200)
        return;
    must(response.header_count <= HTTP_HEADERS_MAX); /* the parser's limit */
    for (size_t i = 0; i < response.header_count; i++)
        http1_header(&call->parser, i, &headers[i].name, &headers[i].value);
    call->got_head = true;
    call->fn.head(call, &response, call->user);
}

/* Some bytes of the response. */
static void
take_bytes(struct http_call *call, struct span input)
{
    if (!call->got_byte)
        drop_large_head(call); /* it will not be sent again */
    call->got_byte = true;
    while (call->phase != HTTP_OVER) {
        struct span body = {NULL, 0};
        size_t used = 0;
        enum http1_event event = http1_feed(&call->parser, input, &used, &body);

        input = span_from(input, used);
        if (event == HTTP1_NEED_MORE)
            return;
        if (event == HTTP1_HEAD)
            take_head(call);
        else if (event == HTTP1_BODY)
            call->fn.data(call, body, call->user);
        else if (event == HTTP1_COMPLETE && call->got_head)
            call_complete(call, false, input.bytes);
        else if (event == HTTP1_COMPLETE && call->interims++ < INTERIMS_MAX)
            http1_next(&call->parser); /* it was a 1xx */
        else if (http1_status(&call->parser) == HTTP1_NO_MEMORY)
            call_fail(call, HTTP_FAILED_LOCAL);
        else
            call_fail(call, HTTP_FAILED_MALFORMED);
    }
}

/* The peer ended the connection in order. */
static void
take_eof(struct http_call *call)
{
    if (call->got_head && http1_finish(&call->parser) == HTTP1_COMPLETE)
        call_complete(call, true, 0);
    else
        call_lost(call);
}

/* Read while there may be more: a read that did not fill the buffer emptied the socket, and what
 * the loop will not announce is read to its end. */
static void
call_read(struct http_call *call)
{
    char *buffer = call->client->bytes;
    struct transport *t = &call->connection->transport;

    for (unsigned i = 0; (i < READS_MAX || transport_has_pending(t)) && !call->paused; i++) {
        ssize_t bytes = transport_recv(t, buffer, HTTP_READ_BYTES);

        if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (bytes < 0 && http_error_is_local(errno)) {
            call_fail(call, HTTP_FAILED_LOCAL);
            return;
        }
        if (bytes < 0) {
            call_lost(call);
            return;
        }
        if (bytes == 0) {
            take_eof(call);
            return;
        }
        take_bytes(call, (struct span){buffer, (size_t)bytes});
        if (call->phase == HTTP_OVER)
            return;
        call_limit(call);
        if ((size_t)bytes < HTTP_READ_BYTES && !transport_has_pending(t))
            return;
    }
}

/* ---- The path. */

bool
http_call_path(const struct http_call *call, struct http_path *ret_path)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof(info);

    if (call->connection == NULL ||
        getsockopt(call->connection->transport.watch.fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) !=
            0 ||
        info.tcpi_delivery_rate == 0) /* an older kernel fills less of it */
        return false;
    *ret_path = (struct http_path){
        .bytes_per_ms = (float)((double)info.tcpi_delivery_rate * 1e-3),
        .limited = !info.tcpi_delivery_rate_app_limited &&
                   info.tcpi_snd_ssthresh < SLOW_START_UNENDED &&
                   info.tcpi_snd_cwnd >= info.tcpi_snd_ssthresh,
    };
    return true;
}

/* ---- The request. */

/* What is left of head and parts as an array for the kernel; returns how many pieces. */
static size_t
gather(const struct http_call *call, struct iovec *pieces)
{
    size_t skip = call->sent_bytes, count = 0;

    for (size_t i = 0; i <= call->part_count; i++) {
        struct span s = i == 0 ? (struct span){call->head, call->head_bytes} : call->parts[i - 1];

        if (skip >= s.bytes) {
            skip -= s.bytes;
            continue;
        }
        /* iov_base is not const, though sending writes nothing there. */
        pieces[count].iov_base = (void *)(uintptr_t)(s.data + skip);
        pieces[count++].iov_len = s.bytes - skip;
        skip = 0;
    }
    return count;
}

/* Ask the loop for what the call needs to hear. While it is paused, what can be read is asked for
 * only until there is something: a short pause costs no system call. */
static void
call_watch(struct http_call *call)
{
    struct loop_watch *watch = &call->connection->transport.watch;
    unsigned reading = call->paused ? watch->interest & LOOP_READ : LOOP_READ;
    bool sending = call->phase == HTTP_SENDING && !call->send_failed;

    loop_interest(watch, reading | (sending ? LOOP_WRITE : 0u));
}

/* Hand the kernel what is left. What is short is joined first, in the buffer for reading, which is
 * free between two reads: copying it twice costs less than an array of pieces to check. */
static ssize_t
send_rest(struct http_call *call)
{
    struct iovec pieces[HTTP_CALL_PARTS_MAX + 1];
    struct transport *t = &call->connection->transport;
    size_t piece_count = gather(call, pieces);
    size_t left_bytes = call->request_bytes - call->sent_bytes;
    char *at = call->client->bytes;

    if (left_bytes == 0)
        return transport_flush(t);
    if (left_bytes > JOINED_BYTES_MAX)
        return transport_sendv(t, pieces, piece_count);
    for (size_t i = 0; i < piece_count; i++) {
        memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return transport_send(t, call->client->bytes, left_bytes);
}

static void
call_send(struct http_call *call)
{
    ssize_t bytes = send_rest(call);

    if (bytes > 0) {
        call->sent_bytes += (size_t)bytes;
    } else if (bytes < 0 && errno != EAGAIN && errno != EINTR) {
        if (http_error_is_local(errno)) {
            call_fail(call, HTTP_FAILED_LOCAL);
            return;
        }
        call->send_failed = true;
    }
    call->phase = call->sent_bytes == call->request_bytes &&
                          !transport_wants_write(&call->connection->transport)
                      ? HTTP_SENT
                      : HTTP_SENDING;
    call->first_byte_deadline_ns = from_now_ns(call, call->limits.first_byte_ns);
    call_limit(call);
    call_watch(call);
    if (call->phase == HTTP_SENT)
        call->fn.sent(call, call->fresh, call->user);
    else if (call->send_failed)
        call_read(call); /* the peer may have answered and closed */
}

/* Choose or open a connection. fresh: not a kept one, it has just failed us. */
static void
call_begin(struct http_call *call, bool fresh)
{
    enum http_failure why;

    call->sent_bytes = 0;
    call->send_failed = false;
    call->connection = fresh ? NULL : http_connection_take(call->target, call);
    call->fresh = call->connection == NULL;
    if (!call->fresh) {
        call_send(call);
        return;
    }
    call->connection = http_connection_open(call->target, call, &why);
    if (call->connection == NULL) {
        call_fail(call, why);
        return;
    }
    call->phase = HTTP_CONNECTING;
    call_limit(call);
}

/* ---- What the loop says. */

static void
call_connected(struct http_call *call, unsigned ready)
{
    struct transport *t = &call->connection->transport;
    int error = 0;
    socklen_t bytes = sizeof(error);
    enum err err;

    if ((ready & LOOP_HANGUP) && t->tls == NULL)
        must(getsockopt(t->watch.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0);
    if (error != 0) {
        call_fail(call, HTTP_FAILED_CONNECT);
        return;
    }
    err = http_connection_handshake(call->connection);
    if (err == ERR_OK)
        call_send(call);
    else if (err != ERR_AGAIN)
        call_fail(call, err == ERR_MEMORY ? HTTP_FAILED_LOCAL : HTTP_FAILED_TLS);
}

/* There is something to read, but the call is paused: look away until it is resumed. Broken
 * connections cannot be looked away from, only taken out. */
static void
call_look_away(struct http_call *call, unsigned ready)
{
    struct loop_watch *watch = &call->connection->transport.watch;

    if (ready & LOOP_HANGUP)
        loop_remove(watch);
    else
        loop_interest(watch, watch->interest & ~LOOP_READ);
}

void
http_call_ready(struct http_call *call, unsigned ready)
{
    struct http_connection *connection = call->connection;

    call_enter(call);
    if (call->phase == HTTP_CONNECTING) {
        call_connected(call, ready);
        ready = 0;
    }
    if (ready & LOOP_WRITE)
        call_send(call);
    /* Sending may have ended it, or found the connection closed and opened another. */
    if ((ready & (LOOP_READ | LOOP_HANGUP)) && call->connection == connection) {
        if (call->paused)
            call_look_away(call, ready);
        else
            call_read(call);
    }
    call_leave(call);
}

/* Resumed after its broken connection was taken out: what still lies in the socket is to be read.
 * Or with bytes that the loop will not announce. */
static void
call_look_again(struct http_call *call)
{
    struct loop_watch *watch = &call->connection->transport.watch;

    if (call->paused || call->phase == HTTP_CONNECTING)
        return;
    if (watch->loop == NULL &&
        loop_add(call->client->loop, watch, watch->fd, LOOP_READ, http_connection_ready) != ERR_OK)
        call_fail(call, HTTP_FAILED_LOCAL);
    else if (transport_has_pending(&call->connection->transport))
        call_read(call);
}

/* The end of the pass in which the call was started, or resumed with something to read. */
static void
call_turn(struct loop_task *task)
{
    struct http_call *call = CONTAINER_OF(task, struct http_call, task);

    call_enter(call);
    if (call->phase == HTTP_WAITING)
        call_begin(call, false);
    else
        call_look_again(call);
    call_leave(call);
}

void
http_call_pause(struct http_call *call)
{
    if (call->paused)
        return;
    call->paused = true;
    if (call->phase == HTTP_SENDING || call->phase == HTTP_SENT)
        call_limit(call);
}

void
http_call_resume(struct http_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (call->phase != HTTP_SENDING && call->phase != HTTP_SENT)
        return;
    if (awaits_first_byte(call))
        call->first_byte_deadline_ns = from_now_ns(call, call->limits.first_byte_ns);
    call_limit(call);
    if (call->connection->transport.watch.loop != NULL)
        call_watch(call);
    if (call->connection->transport.watch.loop == NULL ||
        transport_has_pending(&call->connection->transport))
        loop_defer(call->client->loop, &call->task, call_turn);
}

/* ---- Starting a call. */

/* Whether the request must say how long its body is: all but those that never have one. */
static bool
says_length(const struct http_call_request *r, size_t body_bytes)
{
    return body_bytes != 0 || !(span_eq_text(r->method, "GET") || span_eq_text(r->method, "HEAD"));
}

/* Room for the head. */
static enum err
head_reserve(struct http_call *call, const struct http_call_request *r)
{
    /* The line's blanks and version, host, length and the empty line. */
    size_t bytes = 128 + r->method.bytes + call->target->host_bytes;

    if (r->target.bytes > HTTP_TARGET_BYTES_MAX || r->header_count > HTTP_HEADERS_MAX)
        return ERR_FULL;
    bytes += r->target.bytes;
    for (size_t i = 0; i < r->header_count; i++) {
        bytes += http1_header_bytes(r->headers[i].name, r->headers[i].value);
        if (bytes > REQUEST_HEAD_BYTES_MAX)
            return ERR_FULL;
    }
    if (bytes < SPARE_HEAD_BYTES)
        bytes = SPARE_HEAD_BYTES;
    if (bytes > call->head_capacity) {
        free(call->head);
        call->head = malloc(bytes);
        call->head_capacity = call->head != NULL ? bytes : 0;
    }
    return call->head != NULL ? ERR_OK : ERR_MEMORY;
}

/* The request's head into call->head. ERR_ARG: bytes that must not stand there. */
static enum err
head_write(struct http_call *call, const struct http_call_request *r, size_t body_bytes)
{
    struct http1_writer w = {.data = call->head, .capacity = call->head_capacity};
    struct span host = {call->target->host, call->target->host_bytes};
    char digits[20];
    struct span length = {digits, http1_decimal(body_bytes, digits)};
    enum err err = http1_write_request(&w, r->method, r->target);

    if (err == ERR_OK)
        err = http1_write_header(&w, SPAN_LIT("host"), host);
    for (size_t i = 0; i < r->header_count && err == ERR_OK; i++)
        err = http1_write_header(&w, r->headers[i].name, r->headers[i].value);
    if (err == ERR_OK && says_length(r, body_bytes))
        err = http1_write_header(&w, SPAN_LIT("content-length"), length);
    if (err == ERR_OK)
        err = http1_write_text(&w, SPAN_LIT("\r\n"));
    call->head_bytes = w.bytes;
    return err;
}

/* A call object: a spare one, which keeps its buffers, or a new one. NULL: no memory. */
static struct http_call *
call_take(struct http_client *client, bool to_head)
{
    struct http_call *call = LIST_FIRST(&client->spares);

    if (call == NULL) {
        call = calloc(1, sizeof(*call));
        if (call != NULL)
            http1_response_init(&call->parser, &call->parser_limits, to_head);
        return call;
    }
    LIST_REMOVE(call, link);
    client->spare_count--;
    if (call->to_head != to_head) {
        http1_fini(&call->parser);
        http1_response_init(&call->parser, &call->parser_limits, to_head);
    }
    return call;
}

enum err
http_call_start(struct http_target *target, const struct http_call_request *r,
                const struct http_call_limits *limits, const struct http_call_fn *fn, void *user,
                struct http_call **ret_call)
{
    bool to_head = span_eq_text(r->method, "HEAD");
    size_t body_bytes = 0;
    struct http_call *call;
    enum err err;

    must(fn->sent != NULL && fn->head != NULL && fn->data != NULL && fn->end != NULL &&
         fn->failed != NULL);
    if (r->part_count > HTTP_CALL_PARTS_MAX)
        return ERR_FULL;
    for (size_t i = 0; i < r->part_count; i++) {
        if (__builtin_add_overflow(body_bytes, r->parts[i].bytes, &body_bytes))
            return ERR_FULL;
    }
    call = call_take(target->client, to_head);
    if (call == NULL)
        return ERR_MEMORY;
    *call = (struct http_call){
        .client = target->client,
        .target = target,
        .fn = *fn,
        .user = user,
        .limits = *limits,
        .to_head = to_head,
        .parser = call->parser,
        .parser_limits = {.head_bytes_max = HTTP_RESPONSE_HEAD_BYTES_MAX,
                          .headers_max = HTTP_HEADERS_MAX,
                          .body_bytes_max = limits->body_bytes_max != 0 ? limits->body_bytes_max
                                                                        : UINT64_MAX},
        .head = call->head,
        .head_capacity = call->head_capacity,
        .part_count = r->part_count,
    };
    LIST_INSERT_HEAD(&target->calls, call, link);
    err = head_reserve(call, r);
    if (err == ERR_OK)
        err = head_write(call, r, body_bytes);
    if (err != ERR_OK) {
        http_call_cancel(call);
        return err;
    }
    for (size_t i = 0; i < r->part_count; i++)
        call->parts[i] = r->parts[i];
    call->request_bytes = call->head_bytes + body_bytes;
    loop_defer(target->client->loop, &call->task, call_turn);
    *ret_call = call;
    return ERR_OK;
}

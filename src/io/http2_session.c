/* http2_session - one client's connection in HTTP/2: nghttp2 reads and makes the frames and keeps
 * the rules of the protocol; here are the loop, the limits and the end.
 *
 * Frames are made once at the end of a pass, for all streams that have something to say, and leave
 * in one write. What a connection may do that costs us more than it is worth (resets, pings,
 * settings, empty frames) comes out of one allowance: who uses it up is asked to calm down, and cut
 * off. (CVE-2023-44487, CVE-2024-28182, CVE-2025-8671 and their like.)
 *
 * Draining takes two steps: a notice that no more streams are wanted, which lets those that are on
 * their way arrive; after a tick the GOAWAY that says which was the last. */
#include "io/http2_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/log.h"

#define SECOND_NS 1000000000u

static void on_tick(struct loop_timer *timer);
static void read_frames(struct http_session *c);

/* ---- The allowance. */

static void
glitch(struct http_session *c)
{
    struct http2_session *h = c->h2;
    uint64_t now_ns = loop_now_ns(c->server->loop), step_ns = SECOND_NS / HTTP2_GLITCHES_PER_SECOND;
    uint64_t earned = (now_ns - h->glitches_ns) / step_ns;

    if (c->out_of_memory)
        return;
    h->glitches_ns += earned * step_ns;
    h->glitches = earned < HTTP2_GLITCHES_MAX - h->glitches ? h->glitches + (uint32_t)earned
                                                            : HTTP2_GLITCHES_MAX;
    if (h->glitches > 0) {
        h->glitches--;
        return;
    }
    h->spent = true;
    if (nghttp2_session_terminate_session(h->nghttp2, NGHTTP2_ENHANCE_YOUR_CALM) != 0)
        c->out_of_memory = true;
    http_session_wake(c);
}

/* ---- What nghttp2 says. */

/* Out of memory, nghttp2 must come back from where it is: http2_memory.h. */
static int
carry_on(const struct http_session *c)
{
    return c->out_of_memory ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static struct http2_stream *
stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_session *c = user;
    struct http2_stream *st;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    st = http2_stream_open(c, frame->hd.stream_id);
    if (st == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* that stream is reset */
    must(nghttp2_session_set_stream_user_data(session, st->id, st) == 0);
    loop_timer_set(c->server->loop, &c->h2->tick, loop_now_ns(c->server->loop) + HTTP2_TICK_NS,
                   on_tick);
    if (c->limit == HTTP_LIMIT_KEEP_ALIVE)
        c->limit = HTTP_LIMIT_NONE;
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags, void *user)
{
    struct http2_stream *st = stream_of(session, frame->hd.stream_id);

    (void)flags;
    if (st == NULL || http2_stream_header(st, (struct span){(const char *)name, name_bytes},
                                          (struct span){(const char *)value, value_bytes},
                                          frame->headers.cat != NGHTTP2_HCAT_REQUEST))
        return carry_on(user);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int
on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
              size_t bytes, void *user)
{
    struct http2_stream *st = stream_of(session, id);

    (void)flags;
    if (st != NULL)
        http2_stream_data(st, (struct span){(const char *)data, bytes});
    return carry_on(user);
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_session *c = user;
    struct http2_stream *st = stream_of(session, frame->hd.stream_id);
    bool is_last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (st != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            http2_stream_head(st, is_last);
        else if (st != NULL && is_last)
            http2_stream_whole(st);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !is_last)
            glitch(c);
        if (st != NULL && is_last)
            http2_stream_whole(st);
        break;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            glitch(c);
        break;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_PRIORITY:
        glitch(c);
        break;
    default:
        break;
    }
    return carry_on(c);
}

/* Ours have gone out: where the answer is whole and the request is not, the client may stop
 * sending (RFC 9113 8.1); and a reset for an error of theirs comes out of the allowance. */
static int
on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    int32_t id = frame->hd.stream_id;

    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        frame->rst_stream.error_code != NGHTTP2_INTERNAL_ERROR)
        glitch(user);
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && carry_on(user) == 0 &&
        nghttp2_session_get_stream_remote_close(session, id) == 0)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    return carry_on(user);
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct http_session *c = user;
    struct http2_stream *st = stream_of(session, id);

    if (st == NULL)
        return 0;
    if (st->exchange.open && st->exchange.ended && error_code == NGHTTP2_NO_ERROR) {
        TAILQ_REMOVE(&c->h2->streams, st, link);
        TAILQ_INSERT_TAIL(&c->h2->finished, st, link);
        st->state = HTTP2_FINISHED;
        http_session_wake(c);
    } else {
        http2_stream_free(st);
    }
    return carry_on(c);
}

static int
on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_head,
             size_t length, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)frame;
    (void)user;
    return http2_stream_put(source->ptr, frame_head, length) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- The end of a connection. */

static void
linger(struct http_session *c)
{
    c->h2->lingering = true;
    if (!transport_shutdown(&c->transport)) {
        http_session_close(c);
        return;
    }
    http_session_limit(c, HTTP_LIMIT_LINGER, HTTP_LINGER_NS);
    loop_interest(&c->transport.watch, LOOP_READ);
}

static void
on_fini(struct http_session *c)
{
    struct http2_session *h = c->h2;
    struct http2_stream *st;

    while ((st = TAILQ_FIRST(&h->finished)) != NULL || (st = TAILQ_FIRST(&h->streams)) != NULL)
        http2_stream_free(st);
    loop_timer_stop(&h->tick);
    http2_memory_drop(&h->memory);
    free(h);
    c->h2 = NULL;
}

static void
on_drain(struct http_session *c)
{
    if (c->h2->notice_sent || c->h2->lingering || c->out_of_memory)
        return;
    c->h2->notice_sent = true;
    if (nghttp2_submit_shutdown_notice(c->h2->nghttp2) != 0)
        c->out_of_memory = true;
    http_session_wake(c);
    loop_timer_set(c->server->loop, &c->h2->tick, loop_now_ns(c->server->loop) + HTTP2_TICK_NS,
                   on_tick);
}

/* ---- Frames out. */

/* Make frames until there are enough for one write. false: the connection cannot go on. */
static bool
make_frames(struct http_session *c)
{
    struct http2_session *h = c->h2;

    http_session_borrow(c);
    while (c->out.bytes - c->out.at < HTTP2_OUT_BYTES && !c->out_of_memory) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->nghttp2, &data);
        char *room;

        if (n <= 0)
            return n == 0;
        room = http_session_reserve(c, (size_t)n);
        if (room == NULL)
            return false;
        memcpy(room, data, (size_t)n);
        c->out.bytes += (size_t)n;
    }
    return !c->out_of_memory;
}

/* The kernel has everything: responses that were whole are done. */
static void
finish_streams(struct http_session *c)
{
    struct http2_stream *st;

    while ((st = TAILQ_FIRST(&c->h2->finished)) != NULL) {
        if (st->exchange.open) /* else it was aborted, too late */
            http_exchange_done(&st->exchange);
        http2_stream_free(st);
    }
}

static void
tell_drained(struct http_session *c)
{
    struct http2_stream *st, *next;

    TAILQ_FOREACH_SAFE (st, &c->h2->streams, link, next) {
        http2_stream_shrink(st);
        http_exchange_drained(&st->exchange);
    }
}

/* ---- A client that does not read. */

static bool
is_full(const struct http_session *c)
{
    const struct http2_session *h = c->h2;

    return c->blocked && !c->out_of_memory &&
           (h->stream_count >= HTTP2_BLOCKED_STREAMS_MAX ||
            nghttp2_session_get_outbound_queue_size(h->nghttp2) >= HTTP2_BLOCKED_FRAMES_MAX);
}

/* What has not gone out waits, and as little as can be beside it. */
static void
wait_for_room(struct http_session *c)
{
    struct http2_stream *st;

    TAILQ_FOREACH (st, &c->h2->streams, link)
        http2_stream_shrink(st);
    TAILQ_FOREACH (st, &c->h2->finished, link)
        http2_stream_shrink(st);
    loop_interest(&c->transport.watch, LOOP_WRITE | (is_full(c) ? 0u : LOOP_READ));
}

/* Nothing is on its way: wait for the next stream, or end. */
static void
rest_or_end(struct http_session *c)
{
    struct http2_session *h = c->h2;

    if (c->out_of_memory)
        return; /* the next flush ends it */
    if (!nghttp2_session_want_read(h->nghttp2) && !nghttp2_session_want_write(h->nghttp2)) {
        linger(c);
        return;
    }
    if (h->stream_count == 0 && c->limit == HTTP_LIMIT_NONE) {
        http_session_pace_anew(c);
        http_session_limit(c, HTTP_LIMIT_KEEP_ALIVE, c->server->limits.keep_alive_ns);
    }
    loop_interest(&c->transport.watch, LOOP_READ);
    if (transport_has_pending(&c->transport))
        read_frames(c); /* what was left there while it was full; it may free the session */
}

/* Frames are made only for a kernel that takes them: until then what waits does so where it is.
 * false: the connection cannot go on. */
static bool
write_frames(struct http_session *c)
{
    bool more = true;

    if (c->blocked && !http_session_write(c))
        return false;
    while (more && !c->blocked) {
        if (!make_frames(c))
            return false;
        more = c->out.bytes - c->out.at >= HTTP2_OUT_BYTES;
        if (!http_session_write(c))
            return false;
    }
    return true;
}

static void
flush(struct http_session *c)
{
    if (c->h2->lingering)
        return;
    if (!write_frames(c)) {
        http_session_close(c);
        return;
    }
    if (c->blocked) {
        wait_for_room(c);
        return;
    }
    finish_streams(c);
    tell_drained(c);
    rest_or_end(c);
}

static void
on_flush(struct http_session *c)
{
    if (c->blocked && !c->out_of_memory && !c->h2->lingering)
        wait_for_room(c); /* the loop says when there is some */
    else
        flush(c);
}

/* ---- Frames in. */

/* false: the session is gone. */
static bool
take_input(struct http_session *c, struct span input)
{
    struct http2_session *h = c->h2;

    /* What is wrong in a frame nghttp2 answers itself; an error here is a flood, no HTTP/2 at all,
     * or no memory. Who does not read cannot be told to calm down, and what we would answer piles
     * up: that ends here, too. */
    if (c->out_of_memory ||
        (!h->spent &&
         nghttp2_session_mem_recv(h->nghttp2, (const uint8_t *)input.data, input.bytes) < 0) ||
        (h->spent && c->blocked) ||
        nghttp2_session_get_outbound_queue_size(h->nghttp2) > HTTP2_QUEUE_MAX) {
        http_session_close(c);
        return false;
    }
    http_session_wake(c);
    return true;
}

static void
read_frames(struct http_session *c)
{
    char *input = c->server->input;
    size_t bytes = c->blocked ? HTTP2_BLOCKED_PIECE_BYTES : sizeof(c->server->input);

    for (unsigned i = 0; i < HTTP2_READS_MAX || transport_has_pending(&c->transport); i++) {
        ssize_t n;

        if (is_full(c))
            return; /* the flush that is due asks for what comes then */
        n = transport_recv(&c->transport, input, bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            http_session_close(c);
            return;
        }
        if (!take_input(c, (struct span){input, (size_t)n}))
            return;
        if ((size_t)n < bytes && !transport_has_pending(&c->transport))
            return; /* the socket is empty, or says that it is not */
    }
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
    if (c->h2->lingering)
        throw_away(c);
    else if ((ready & LOOP_HANGUP) && is_full(c))
        http_session_close(c);
    else if ((ready & (LOOP_READ | LOOP_HANGUP)) && !(c->blocked && (ready & LOOP_WRITE)))
        read_frames(c);
    else
        flush(c); /* first: what there is to read is announced again */
}

/* ---- Time. */

static void
on_late(struct http_session *c)
{
    if (c->limit == HTTP_LIMIT_WRITE) {
        (void)http_session_cut_slow(c);
        return;
    }
    if (c->limit != HTTP_LIMIT_KEEP_ALIVE || c->out_of_memory) {
        http_session_close(c);
        return;
    }
    if (nghttp2_session_terminate_session(c->h2->nghttp2, NGHTTP2_NO_ERROR) != 0)
        c->out_of_memory = true;
    http_session_limit(c, HTTP_LIMIT_LINGER, HTTP_LINGER_NS);
    http_session_wake(c);
}

static void
on_tick(struct loop_timer *timer)
{
    struct http2_session *h = CONTAINER_OF(timer, struct http2_session, tick);
    struct http_session *c = h->session;
    uint64_t now_ns = loop_now_ns(c->server->loop);
    struct http2_stream *st, *next;

    TAILQ_FOREACH_SAFE (st, &h->streams, link, next) {
        if (st->deadline_ns != 0 && st->deadline_ns <= now_ns)
            http2_stream_late(st);
    }
    if (!c->out_of_memory && h->notice_sent && nghttp2_session_want_read(h->nghttp2) &&
        nghttp2_submit_goaway(h->nghttp2, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(h->nghttp2), NGHTTP2_NO_ERROR,
                              NULL, 0) != 0)
        c->out_of_memory = true;
    http_session_wake(c);
    if (h->stream_count > 0)
        loop_timer_set(c->server->loop, timer, now_ns + HTTP2_TICK_NS, on_tick);
}

/* ---- The beginning. */

static void
on_close_after(struct http_exchange *x)
{
    on_drain(x->session);
}

static bool
takes_trailers(const struct http_exchange *x)
{
    (void)x;
    return true;
}

const struct http_protocol http2_protocol = {
    .name = "HTTP/2",
    .ready = on_ready,
    .flush = on_flush,
    .late = on_late,
    .fini = on_fini,
    .drain = on_drain,
    .head = http2_stream_respond,
    .body = http2_stream_body,
    .takes_trailers = takes_trailers,
    .end = http2_stream_end,
    .abort = http2_stream_abort,
    .close_after = on_close_after,
    .pending = http2_stream_pending,
};

static nghttp2_session_callbacks *
make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    return callbacks;
}

static nghttp2_option *
make_options(void)
{
    nghttp2_option *options;

    if (nghttp2_option_new(&options) != 0)
        return NULL;
    nghttp2_option_set_max_outbound_ack(options, HTTP2_ACKS_MAX);
    nghttp2_option_set_max_settings(options, HTTP2_SETTINGS_MAX);
    nghttp2_option_set_max_continuations(options, HTTP2_CONTINUATIONS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(options, HTTP2_GLITCHES_MAX,
                                               HTTP2_GLITCHES_PER_SECOND);
    nghttp2_option_set_no_closed_streams(options, 1);
    return options;
}

static bool
make_session(struct http_session *c, struct http2_session *h)
{
    nghttp2_mem memory = http2_memory_functions(&h->memory);
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *options = make_options();
    bool made = callbacks != NULL && options != NULL &&
                nghttp2_session_server_new3(&h->nghttp2, callbacks, c, options, &memory) == 0;

    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return made;
}

static bool
submit_settings(nghttp2_session *session)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_BYTES_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    return nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof(settings) / sizeof(settings[0])) == 0 &&
           nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                                 HTTP2_CONNECTION_WINDOW) == 0;
}

bool
http2_session_begin(struct http_session *c, struct span input)
{
    struct http2_session *h = calloc(1, sizeof(*h));

    if (h != NULL)
        h->memory.failed = &c->out_of_memory;
    if (h == NULL || !make_session(c, h)) {
        if (h != NULL)
            http2_memory_drop(&h->memory);
        free(h);
        http_session_close(c);
        return false;
    }
    c->protocol->fini(c);
    TAILQ_INIT(&h->streams);
    TAILQ_INIT(&h->finished);
    h->session = c;
    h->glitches = HTTP2_GLITCHES_MAX;
    h->glitches_ns = loop_now_ns(c->server->loop);
    c->h2 = h;
    c->protocol = &http2_protocol;
    if (!submit_settings(h->nghttp2)) {
        http_session_close(c);
        return false;
    }
    http_session_wake(c);
    return input.bytes == 0 || take_input(c, input);
}

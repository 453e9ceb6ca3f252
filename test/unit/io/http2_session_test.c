/* http2_session_test - HTTP/2 on a real socket: a client by nghttp2 for what is proper, frames by
 * hand for what is not. Handlers are those of the HTTP/1 tests: nothing above may know the
 * difference. */
#include <nghttp2/nghttp2.h>

#include "http_server_fixture.h"

#define STREAMS_MAX 2048u
#define PIECE_BYTES 65536u

struct h2_stream { /* what came on it; index: (id - 1) / 2 */
    unsigned status;
    size_t body_bytes;
    char body[512]; /* its beginning, zero-terminated */
    char headers[1024];
    bool closed;
    uint32_t error_code;
    const char *upload;
    size_t upload_bytes;
    bool continued;
};

struct h2 {
    struct fixture *f;
    struct client c;
    nghttp2_session *session;
    bool goaway, stopped_reading;
    uint32_t goaway_code;
    int32_t goaway_last;
    struct h2_stream streams[STREAMS_MAX];
};

static struct h2_stream *
stream_at(struct h2 *h, int32_t id)
{
    must(id > 0 && (uint32_t)id / 2 < STREAMS_MAX);
    return &h->streams[id / 2];
}

static ssize_t
on_send(nghttp2_session *session, const uint8_t *data, size_t bytes, int flags, void *user)
{
    struct h2 *h = user;
    ssize_t n = send(h->c.fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

    (void)session;
    (void)flags;
    if (n >= 0)
        return n;
    return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int
on_client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                 size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                 void *user)
{
    struct h2_stream *st = stream_at(user, frame->hd.stream_id);
    size_t at = strlen(st->headers);

    (void)session;
    (void)flags;
    if (name_bytes == 7 && memcmp(name, ":status", 7) == 0) {
        st->status = (unsigned)strtoul((const char *)value, NULL, 10);
        st->continued = st->continued || st->status == 100;
    }
    snprintf(st->headers + at, sizeof(st->headers) - at, "%.*s: %.*s\n", (int)name_bytes, name,
             (int)value_bytes, value);
    return 0;
}

static int
on_client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
               size_t bytes, void *user)
{
    struct h2_stream *st = stream_at(user, id);
    size_t at = strlen(st->body);

    (void)session;
    (void)flags;
    snprintf(st->body + at, sizeof(st->body) - at, "%.*s", (int)bytes, data);
    st->body_bytes += bytes;
    return 0;
}

static int
on_client_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct h2_stream *st = stream_at(user, id);

    (void)session;
    st->closed = true;
    st->error_code = error_code;
    return 0;
}

static int
on_client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        h->goaway = true;
        h->goaway_code = frame->goaway.error_code;
        h->goaway_last = frame->goaway.last_stream_id;
    }
    return 0;
}

/* opens_windows: as it takes what comes; else the test does. */
static struct h2 *
open_h2_with(struct fixture *f, bool opens_windows)
{
    struct h2 *h = calloc(1, sizeof(*h));
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *options;

    must(h != NULL && nghttp2_session_callbacks_new(&callbacks) == 0);
    must(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_no_auto_window_update(options, !opens_windows);
    h->f = f;
    h->c = connect_to(f);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_client_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_client_frame);
    must(nghttp2_session_client_new2(&h->session, callbacks, h, options) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    return h;
}

static struct h2 *
open_h2(struct fixture *f)
{
    return open_h2_with(f, true);
}

static void
close_h2(struct h2 *h)
{
    nghttp2_session_del(h->session);
    close_client(&h->c);
    free(h);
}

/* Both sides have their turn. */
static void
h2_turn(struct h2 *h)
{
    static uint8_t piece[PIECE_BYTES];
    ssize_t n;

    (void)nghttp2_session_send(h->session); /* an error is seen by what did not come */
    loop_pass(h->f->loop, 1000000);
    if (h->stopped_reading)
        return;
    while ((n = recv(h->c.fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
        (void)nghttp2_session_mem_recv(h->session, piece, (size_t)n);
    if (n == 0 || errno != EAGAIN)
        h->c.ended = true;
}

/* Until "/later" waits for its answer. */
static void
await_waiting(struct h2 *h)
{
    uint64_t until_s = 0;

    while (h->f->waiting == NULL && patience(&until_s))
        h2_turn(h);
    must(h->f->waiting != NULL);
}

static bool
await_closed(struct h2 *h, int32_t id)
{
    uint64_t until_s = 0;

    while (!stream_at(h, id)->closed && !h->c.ended && patience(&until_s))
        h2_turn(h);
    return stream_at(h, id)->closed;
}

static bool
await_end(struct h2 *h)
{
    uint64_t until_s = 0;

    while (!h->c.ended && patience(&until_s))
        h2_turn(h);
    return h->c.ended;
}

static ssize_t
read_upload(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
            nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = stream_at(user, id);
    size_t n = st->upload_bytes < length ? st->upload_bytes : length;

    (void)session;
    (void)source;
    memcpy(buffer, st->upload, n);
    st->upload += n;
    st->upload_bytes -= n;
    if (st->upload_bytes == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v),                \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

/* extra: NULL, or name and value of one more header. */
static int32_t
ask_with(struct h2 *h, const char *method, const char *path, const char *name, const char *value,
         struct span body)
{
    const nghttp2_nv nv[] = {NV(":method", method), NV(":path", path), NV(":scheme", "http"),
                             NV(":authority", "a"), NV(name != NULL ? name : "", value)};
    const nghttp2_data_provider provider = {.read_callback = read_upload};
    int32_t id = nghttp2_session_get_next_stream_id(h->session);

    stream_at(h, id)->upload = body.data;
    stream_at(h, id)->upload_bytes = body.bytes;
    must(nghttp2_submit_request(h->session, NULL, nv, name != NULL ? 5 : 4,
                                body.bytes > 0 ? &provider : NULL, NULL) == id);
    return id;
}

static int32_t
ask(struct h2 *h, const char *method, const char *path, struct span body)
{
    return ask_with(h, method, path, NULL, "", body);
}

/* ---- What is proper. */

static void
test_exchanges(void)
{
    struct fixture f;
    struct h2 *h;
    int32_t id;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    id = ask_with(h, "POST", "/a?b=c", "x-echo", "e", SPAN_LIT("hello"));
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 200, "an answer");
    CHECK(strcmp(stream_at(h, id)->body, "hello") == 0, "with the body");
    CHECK(strstr(stream_at(h, id)->headers, "x-path: /a\nx-query: b=c\nx-last: e\n") != NULL,
          "path, query and header as HTTP/1 gives them");
    CHECK(strstr(stream_at(h, id)->headers, "content-length: 5\n") != NULL, "the length is told");
    CHECK(strcmp(f.log, "request;done;") == 0, "the same callbacks");
    id = ask(h, "GET", "/chunks", (struct span){"", 0});
    CHECK(await_closed(h, id) && strcmp(stream_at(h, id)->body, "abcd") == 0, "in parts");
    id = ask(h, "GET", "/trailers", (struct span){"", 0});
    CHECK(await_closed(h, id) && strcmp(stream_at(h, id)->body, "abc") == 0 &&
              strstr(stream_at(h, id)->headers, "trailer: X-End\nx-end: y\n") != NULL &&
              strstr(stream_at(h, id)->headers, "injected") == NULL &&
              stream_at(h, id)->error_code == 0,
          "trailers, the bad ones left out");
    id = ask(h, "GET", "/trailers-length", (struct span){"", 0});
    CHECK(await_closed(h, id) && strstr(stream_at(h, id)->headers, "x-end:") == NULL,
          "none behind a known length");
    id = ask(h, "HEAD", "/trailers", (struct span){"", 0});
    CHECK(await_closed(h, id) && strstr(stream_at(h, id)->headers, "x-end:") == NULL,
          "none without a body");
    id = ask(h, "HEAD", "/a", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->body_bytes == 0, "HEAD has no body");
    id = ask(h, "GET", "/none", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 204 &&
              strstr(stream_at(h, id)->headers, "content-length") == NULL,
          "204: neither body nor length");
    id = ask(h, "GET", "/short", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->error_code != 0, "too short: reset");
    id = ask(h, "GET", "/abort", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->error_code == NGHTTP2_INTERNAL_ERROR,
          "aborted: reset");
    id = ask(h, "GET", "/evil", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 200 &&
              strstr(stream_at(h, id)->headers, "injected") == NULL,
          "forbidden bytes do not go out");
    CHECK(http_server_connections(f.server) == 1, "over one connection");
    close_h2(h);
    close_fixture(&f);
}

static void
test_many(void)
{
    struct fixture f;
    struct h2 *h;
    int32_t later, ids[100];
    bool good = true;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    later = ask(h, "GET", "/later", (struct span){"", 0});
    for (size_t i = 0; i < 100; i++)
        ids[i] = ask(h, "POST", "/x", SPAN_LIT("many"));
    for (size_t i = 0; i < 100; i++)
        good = good && await_closed(h, ids[i]) && strcmp(stream_at(h, ids[i])->body, "many") == 0;
    CHECK(good, "a hundred at once");
    CHECK(!stream_at(h, later)->closed && http_server_exchanges(f.server) == 1,
          "and one that takes longer is not in their way");
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("now"));
    CHECK(await_closed(h, later) && strcmp(stream_at(h, later)->body, "now") == 0, "until it is");
    close_h2(h);
    close_fixture(&f);
}

static void
test_bodies(void)
{
    static char big[1000001];
    struct http_server_limits limits = usual_limits();
    _Atomic size_t total = 0;
    struct fixture f;
    struct h2 *h;
    int32_t id;

    memset(big, 'b', sizeof(big));
    limits.buffers_bytes = &total;
    limits.buffers_bytes_max = 1500000;
    open_fixture(&f, limits);
    h = open_h2(&f);
    id = ask(h, "POST", "/x", (struct span){big, 1000000});
    CHECK(await_closed(h, id) && stream_at(h, id)->body_bytes == 1000000,
          "a large body, both ways");
    CHECK(total == 0, "its memory is given back");
    id = ask(h, "POST", "/x", (struct span){big, 1000001});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 413 &&
              strstr(stream_at(h, id)->body, "limits.body_bytes_max") != NULL,
          "a byte more: 413");
    id = ask_with(h, "POST", "/x", "content-length", "1000001", (struct span){big, 1000001});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 413, "announced: 413 at once");
    id = ask_with(h, "POST", "/x", "expect", "100-continue", SPAN_LIT("hello"));
    CHECK(await_closed(h, id) && stream_at(h, id)->continued &&
              strcmp(stream_at(h, id)->body, "hello") == 0,
          "100 Continue");
    id = ask(h, "POST", "/stranger", (struct span){big, 900000});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 200 &&
              stream_at(h, id)->body_bytes == 0 && stream_at(h, id)->error_code == 0,
          "not admitted: answered without its body");
    id = ask(h, "POST", "/x", (struct span){big, 1000000});
    (void)ask(h, "POST", "/x", (struct span){big, 1000000});
    (void)ask(h, "POST", "/x", (struct span){big, 1000000});
    CHECK(await_closed(h, id) && await_closed(h, id + 2) && await_closed(h, id + 4), "three");
    CHECK(stream_at(h, id)->status == 503 || stream_at(h, id + 2)->status == 503 ||
              stream_at(h, id + 4)->status == 503,
          "more than all may have together: 503");
    CHECK(total == 0, "nothing is left of them");
    close_h2(h);
    close_fixture(&f);
}

static void
test_back_pressure(void)
{
    struct fixture f;
    struct h2 *h;
    int32_t id;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    f.stream_left = BIG_BYTES;
    id = ask(h, "GET", "/stream", (struct span){"", 0});
    h2_turn(h);
    h->stopped_reading = true;
    for (unsigned i = 0; i < 50; i++)
        h2_turn(h);
    CHECK(f.stream_left > 0 && f.pending_max < f.limits.high_water_bytes + 30000,
          "a client that does not read holds the source");
    h->stopped_reading = false;
    CHECK(await_closed(h, id) && stream_at(h, id)->body_bytes == BIG_BYTES, "then it goes on");
    CHECK(strstr(f.log, "drained;") != NULL, "by being told");
    close_h2(h);
    close_fixture(&f);
}

/* A large answer that waits for a window has room that new bodies do not get. */
static void
test_waiting_answer(void)
{
    static const char part[10000];
    const nghttp2_settings_entry no_window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    const struct http_header end = {SPAN_LIT("x-end"), SPAN_LIT("z")};
    struct http_server_limits limits = usual_limits();
    _Atomic size_t total = 0;
    struct fixture f;
    struct h2 *h;
    int32_t id;

    limits.buffers_bytes = &total;
    limits.buffers_bytes_max = 1000000;
    open_fixture(&f, limits);
    h = open_h2_with(&f, false);
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &no_window, 1) == 0);
    id = ask(h, "GET", "/later", (struct span){"", 0});
    await_waiting(h);
    http_response_start(f.waiting, 200, NULL, 0);
    for (unsigned i = 0; i < 6; i++)
        http_response_write(f.waiting, (struct span){part, sizeof(part)});
    CHECK(total == 0, "a little is for nothing");
    for (unsigned i = 0; i < 44; i++)
        http_response_write(f.waiting, (struct span){part, sizeof(part)});
    CHECK(total >= 500000, "what waits is counted");
    http_response_end_trailers(f.waiting, &end, 1);
    must(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 1000000) == 0);
    must(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, id, 1000000) == 0);
    CHECK(await_closed(h, id) && stream_at(h, id)->body_bytes == 500000 &&
              strstr(stream_at(h, id)->headers, "x-end: z\n") != NULL,
          "all of it comes, trailers too");
    h2_turn(h);
    CHECK(total == 0, "and its room is given back");
    close_h2(h);
    close_fixture(&f);
}

/* Many answers of which nobody takes anything hold little in all, and one that is read goes on. */
static void
test_shared_room(void)
{
    const nghttp2_settings_entry no_window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    struct fixture f;
    struct h2 *h;
    int32_t id = 0;

    open_fixture(&f, usual_limits());
    h = open_h2_with(&f, false);
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &no_window, 1) == 0);
    f.stream_left = BIG_BYTES;
    for (unsigned i = 0; i < 50; i++)
        id = ask(h, "GET", "/stream", (struct span){"", 0});
    for (unsigned i = 0; i < 50; i++)
        h2_turn(h);
    CHECK(http_server_exchanges(f.server) == 50, "fifty answers that nobody takes");
    CHECK(BIG_BYTES - f.stream_left < 2 * f.limits.high_water_bytes + 50 * 10000,
          "have little more than two, and a piece each");
    must(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 2 * BIG_BYTES) ==
         0);
    must(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, id, 2 * BIG_BYTES) == 0);
    CHECK(await_closed(h, id) && f.stream_left == 0, "one that is taken ends");
    CHECK(stream_at(h, id)->body_bytes > BIG_BYTES / 2, "with what there was");
    close_h2(h);
    close_fixture(&f);
}

/* A stream whose window opens by a byte now and then is cut off, and its connection goes on: with
 * another one whose answer is slow to be made, and a next one. */
static void
test_slow_stream(void)
{
    const nghttp2_settings_entry no_window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    struct http_server_limits limits = usual_limits();
    int32_t id, later;
    uint64_t until_s = 0;
    struct fixture f;
    struct h2 *h;

    limits.download_bytes_per_second_min = 1000;
    limits.pace_grace_ns = 200000000;
    open_fixture(&f, limits);
    h = open_h2_with(&f, false);
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &no_window, 1) == 0);
    f.stream_left = BIG_BYTES;
    later = ask(h, "GET", "/later", (struct span){"", 0});
    await_waiting(h);
    must(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, later, 10) == 0);
    http_response_start(f.waiting, 200, NULL, 0);
    http_response_write(f.waiting, SPAN_LIT("p"));
    id = ask(h, "GET", "/stream", (struct span){"", 0});
    for (unsigned i = 0; !stream_at(h, id)->closed && !h->c.ended && patience(&until_s); i++) {
        if (i % 100 == 99)
            must(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, id, 1) == 0);
        h2_turn(h);
    }
    CHECK(stream_at(h, id)->closed && stream_at(h, id)->error_code == NGHTTP2_CANCEL,
          "a byte now and then is too little: reset");
    CHECK(strcmp(f.log, "request;request;slow;") == 0, "and whoever made it is told");
    CHECK(http_server_exchanges(f.server) == 1, "the other one is none of that");
    http_response_end(f.waiting);
    CHECK(await_closed(h, later) && stream_at(h, later)->error_code == 0, "and ends well");
    id = ask(h, "GET", "/none", (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 204, "and the next");
    close_h2(h);
    close_fixture(&f);
}

/* A connection that is read a little now and then: at its end each exchange is told. */
static void
test_slow_connection(void)
{
    const nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20000000};
    struct http_server_limits limits = usual_limits();
    uint64_t until_s = 0;
    char bytes[100];
    struct fixture f;
    struct h2 *h;

    limits.download_bytes_per_second_min = 1000000000;
    limits.pace_grace_ns = 20000000;
    limits.high_water_bytes = 100000000;
    open_fixture(&f, limits);
    h = open_h2(&f);
    must(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 20000000) == 0);
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &wide, 1) == 0);
    h2_turn(h);
    h->stopped_reading = true;
    f.stream_left = 20000000;
    (void)ask(h, "GET", "/later", (struct span){"", 0});
    (void)ask(h, "GET", "/stream", (struct span){"", 0});
    while (http_server_connections(f.server) > 0 && patience(&until_s)) {
        (void)recv(h->c.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        h2_turn(h);
    }
    CHECK(strstr(f.log, "slow;slow;") != NULL, "both of them end with it");
    close_h2(h);
    close_fixture(&f);
}

/* A head or a body that stops coming: 408, and in the end no connection is left. */
static void
test_slow(void)
{
#define PREFACE NGHTTP2_CLIENT_MAGIC "\0\0\0\4\0\0\0\0\0"
    const struct {
        struct span bytes;
        const char *answer;
    } rows[] = {
        {SPAN_LIT(PREFACE "\0\0\6\1\5\0\0\0\1\x83\x86"), "the request's head took too long"},
        {SPAN_LIT(PREFACE "\0\0\2\1\1\0\0\0\1\x83\x86"), "the request's head took too long"},
        {SPAN_LIT(PREFACE "\0\0\6\1\4\0\0\0\1\x83\x86\x84\x41\1a"
                          "\0\0\2\0\0\0\0\0\1ab"),
         "the request's body took too long"},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct http_server_limits limits = usual_limits();
    struct client c[sizeof(rows) / sizeof(rows[0])];
    struct fixture f;

    limits.head_ns = limits.body_idle_ns = 1000000;
    limits.keep_alive_ns = 50000000;
    open_fixture(&f, limits);
    for (size_t i = 0; i < count; i++) {
        c[i] = connect_to(&f);
        CHECK(send_to(&f, &c[i], rows[i].bytes), "half a request");
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(await(&f, &c[i], rows[i].answer, 1), rows[i].answer);
        CHECK(await(&f, &c[i], NULL, 0), "and the connection ends");
        close_client(&c[i]);
    }
    CHECK(f.log[0] == '\0', "no request came of it");
    close_fixture(&f);
}

/* ---- The client leaves; the server leaves. */

static void
test_leaving(void)
{
    struct fixture f;
    struct h2 *h;
    int32_t id;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    id = ask(h, "GET", "/later", (struct span){"", 0});
    await_waiting(h);
    must(nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL) == 0);
    h2_turn(h);
    CHECK(await_log(&f, "request;gone;") && http_server_exchanges(f.server) == 0,
          "a stream that is reset is gone");
    (void)ask(h, "GET", "/later", (struct span){"", 0});
    h2_turn(h);
    CHECK(await_log(&f, "request;gone;request;"), "the next");
    close_h2(h);
    CHECK(await_log(&f, "request;gone;request;gone;"), "is gone with its connection");
    close_fixture(&f);
}

static void
test_drain(void)
{
    uint64_t until_s = 0;
    struct fixture f;
    struct h2 *h;
    int32_t id, late;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    id = ask(h, "GET", "/later", (struct span){"", 0});
    await_waiting(h);
    http_server_drain(f.server, 0);
    late = ask(h, "POST", "/x", SPAN_LIT("was on its way"));
    CHECK(await_closed(h, late) && stream_at(h, late)->status == 200,
          "what was on its way is answered");
    while ((!h->goaway || h->goaway_last != late) && patience(&until_s))
        h2_turn(h);
    CHECK(h->goaway && h->goaway_code == 0 && h->goaway_last == late, "GOAWAY names the last");
    http_respond(f.waiting, 200, NULL, 0, SPAN_LIT("now"));
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 200, "what is open is answered");
    CHECK(await_end(h), "then the connection ends");
    close_h2(h);
    close_fixture(&f);
}

/* ---- What is not proper: each row's header makes the request ambiguous or forbidden. */

static void
test_forbidden(void)
{
    static const struct {
        const char *label, *path, *name, *value;
        unsigned status; /* 0: the stream is reset */
    } rows[] = {
        {"Connection", "/", "connection", "close", 0},
        {"Transfer-Encoding", "/", "transfer-encoding", "chunked", 0},
        {"TE other than trailers", "/", "te", "gzip", 0},
        {"another Host", "/", "host", "b", 400},
        {"the same Host", "/", "host", "a", 200},
        {"a length that is not kept", "/", "content-length", "7", 0},
        {"a line's end in a value", "/", "x-a", "b\r\nc: d", 0},
        {"a second :path", "/", ":path", "/b", 0},
        {"an unknown pseudo-header", "/", ":unknown", "b", 0},
        {"a fragment", "/a#b", NULL, "", 400},
        {"a blank in the path", "/a b", NULL, "", 0},
        {"a whole URL as path", "http://b/", NULL, "", 0},
        {"bytes above ASCII in the path", "/\xc3\xa4", NULL, "", 400},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        struct h2 *h;
        int32_t id;

        open_fixture(&f, usual_limits());
        h = open_h2(&f);
        id = ask_with(h, "POST", rows[i].path, rows[i].name, rows[i].value, SPAN_LIT("hello"));
        CHECK(await_closed(h, id), rows[i].label);
        CHECK(stream_at(h, id)->status == rows[i].status, rows[i].label);
        CHECK(strstr(f.log, "request") == NULL || rows[i].status == 200, rows[i].label);
        close_h2(h);
        close_fixture(&f);
    }
}

static void
test_limits_of_heads(void)
{
    static char text[70000];
    struct fixture f;
    struct h2 *h;
    int32_t id;

    memset(text, 'a', sizeof(text) - 1);
    text[0] = '/';
    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    text[HTTP_TARGET_BYTES_MAX + 1] = '\0';
    id = ask(h, "GET", text, (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 414, "too long a target");
    text[HTTP_TARGET_BYTES_MAX] = '\0';
    id = ask(h, "GET", text, (struct span){"", 0});
    CHECK(await_closed(h, id) && stream_at(h, id)->status == 200, "as long as it may be");
    close_h2(h);
    close_fixture(&f);
}

/* A flood of frames: cut off, and told why. */
static void
flood(const char *label, void (*frame)(struct h2 *h))
{
    struct fixture f;
    struct h2 *h;

    open_fixture(&f, usual_limits());
    h = open_h2(&f);
    for (unsigned i = 0; i < 1500 && !h->c.ended && !h->goaway; i++) {
        frame(h);
        h2_turn(h);
    }
    CHECK(h->goaway || h->c.ended, label);
    CHECK(!h->goaway || h->goaway_code == NGHTTP2_ENHANCE_YOUR_CALM ||
              h->goaway_code == NGHTTP2_INTERNAL_ERROR,
          label);
    CHECK(http_server_exchanges(f.server) <= 128, label);
    close_h2(h);
    close_fixture(&f);
}

static void
ping(struct h2 *h)
{
    must(nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL) == 0);
}

static void
settings(struct h2 *h)
{
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
}

static void
rapid_reset(struct h2 *h)
{
    int32_t id = ask(h, "GET", "/x", (struct span){"", 0});

    must(nghttp2_session_send(h->session) == 0);
    must(nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL) == 0);
}

/* We are made to reset: CVE-2025-8671. */
static void
made_to_reset(struct h2 *h)
{
    (void)ask_with(h, "POST", "/x", "content-length", "7", SPAN_LIT("hello"));
}

int
main(void)
{
    test_exchanges();
    test_many();
    test_bodies();
    test_back_pressure();
    test_shared_room();
    test_waiting_answer();
    test_slow_stream();
    test_slow_connection();
    test_slow();
    test_leaving();
    test_drain();
    test_forbidden();
    test_limits_of_heads();
    flood("pings", ping);
    flood("settings", settings);
    flood("rapid reset", rapid_reset);
    flood("resets of ours", made_to_reset);
    return tap_done();
}

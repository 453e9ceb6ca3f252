/* http2_attack_test - frames by hand of clients that mean harm: who never reads, so that nothing
 * that we say of calming down arrives; who makes much out of few bytes by indexing headers. What is
 * asked of each: that it costs us a bounded amount, and that others are served. */
#include <malloc.h>
#include <nghttp2/nghttp2.h>

#include "http_server_fixture.h"
#include "io/http2_session.h"

#define FRAMES_BYTES_MAX 8388608u
#define VALUE_BYTES      3000u /* of the header that is sent once and then named by its index */
#define INDEXED_COST     (VALUE_BYTES + 3u + 32u)

#define CONNECTION_BYTES_MAX 262144u /* of our memory, for one connection beside its bodies */
#define TURN_BYTES           (HTTP2_READS_MAX * HTTP_INPUT_BYTES) /* that it may send in one */

struct frames { /* bytes to send */
    char *data;
    size_t bytes;
    size_t before_bytes, peak_bytes; /* of the heap, in all; a sanitizer's says 0 */
};

static void
put(struct frames *b, struct span bytes)
{
    must(bytes.bytes <= FRAMES_BYTES_MAX - b->bytes);
    memcpy(b->data + b->bytes, bytes.data, bytes.bytes);
    b->bytes += bytes.bytes;
}

static void
put_frame(struct frames *b, unsigned type, unsigned flags, uint32_t stream, struct span payload)
{
    const unsigned char head[9] = {(unsigned char)(payload.bytes >> 16),
                                   (unsigned char)(payload.bytes >> 8),
                                   (unsigned char)payload.bytes,
                                   (unsigned char)type,
                                   (unsigned char)flags,
                                   (unsigned char)(stream >> 24),
                                   (unsigned char)(stream >> 16),
                                   (unsigned char)(stream >> 8),
                                   (unsigned char)stream};

    put(b, (struct span){(const char *)head, sizeof(head)});
    put(b, payload);
}

static struct frames
begin_frames(void)
{
    struct frames b = {.data = malloc(FRAMES_BYTES_MAX)};

    must(b.data != NULL);
    put(&b, SPAN_LIT(NGHTTP2_CLIENT_MAGIC));
    put_frame(&b, NGHTTP2_SETTINGS, 0, 0, SPAN_LIT(""));
    return b;
}

/* A head: POST / of "a", then the header x-a; the first time in full, later by its index, so many
 * times. */
static void
put_head(struct frames *b, uint32_t stream, unsigned flags, bool first, size_t times)
{
    static char block[65536];
    size_t at = 0;

    if (first) {
        static const char begin[] = "\x83\x86\x84\x41\x01"
                                    "a"
                                    "\x40\x03x-a\x7f\xb9\x16"; /* 127 + 57 + 22 * 128 = 3000 */
        memcpy(block, begin, sizeof(begin) - 1);
        at = sizeof(begin) - 1;
        memset(block + at, 'v', VALUE_BYTES);
        at += VALUE_BYTES;
    } else {
        memcpy(block, "\x83\x86\x84\xbf", 4);
        at = 4;
    }
    must(at + times <= sizeof(block));
    memset(block + at, 0xbe, times);
    at += times;
    must(at <= 16384);
    put_frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | flags, stream,
              (struct span){block, at});
}

static void
measure(struct frames *b)
{
    size_t bytes = mallinfo2().uordblks;

    b->before_bytes = b->before_bytes != 0 ? b->before_bytes : bytes;
    b->peak_bytes = bytes > b->peak_bytes ? bytes : b->peak_bytes;
}

/* Send what goes, reading nothing; false: the server ended the connection, or waits too long. */
static bool
push(struct fixture *f, struct client *c, struct frames *b)
{
    struct span rest = {b->data, b->bytes};
    uint64_t until_s = 0;

    b->bytes = 0;
    while (rest.bytes > 0 && patience(&until_s)) {
        ssize_t n = send(c->fd, rest.data, rest.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        rest = span_from(rest, n > 0 ? (size_t)n : 0);
        measure(b);
        loop_pass(f->loop, n > 0 ? 0 : 100000);
    }
    return rest.bytes == 0;
}

/* A dozen requests whose answers are 15,000 bytes of a header, which no window holds back. */
static void
put_much(struct frames *b, uint32_t *next)
{
    static char head[15064] = "\x82\x86\x84\x41\x01"
                              "a"
                              "\0\x06x-echo\x7f\x99\x74"; /* 127 + 25 + 116 * 128; not indexed */
    const size_t begin = 6 + 1 + 1 + 6 + 3;

    memset(head + begin, 'e', 15000);
    for (unsigned i = 0; i < 12; i++, *next += 2)
        put_frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, *next,
                  (struct span){head, begin + 15000});
}

static void
ask_much(struct fixture *f, struct client *c, struct frames *b, uint32_t *next)
{
    put_much(b, next);
    must(push(f, c, b));
}

/* A client that asks much, reads nothing, and goes on: with resets, or with more streams than there
 * may be, each refused by a frame that nobody takes. It is not listened to any more, and cut off in
 * the end. */
static void
test_unread(bool with_resets)
{
    struct http_server_limits limits = usual_limits();
    struct frames b = begin_frames();
    struct fixture f;
    struct client c;
    uint32_t id = 1;

    limits.write_idle_ns = SECOND_NS;
    open_fixture(&f, limits);
    c = connect_to(&f);
    must(await_connections(&f, 1));
    measure(&b);
    for (unsigned i = 0; i < 30; i++)
        put_much(&b, &id);
    for (unsigned i = 0; i < 20000; i++, id += 2) {
        put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id,
                  SPAN_LIT("\x82\x86\x84\x01\x01"
                           "a"));
        if (with_resets)
            put_frame(&b, NGHTTP2_RST_STREAM, 0, id, SPAN_LIT("\0\0\0\x8"));
    }
    (void)push(&f, &c, &b);
    printf("# %zu bytes at most\n", b.peak_bytes - b.before_bytes);
    /* Before it is known that nobody reads, a turn is answered, with as much as it asked. */
    CHECK(b.peak_bytes - b.before_bytes <= CONNECTION_BYTES_MAX + TURN_BYTES,
          "what it costs is bounded");
    CHECK(await_connections(&f, 0), "and the connection ends");
    close_client(&c);
    close_fixture(&f);
    free(b.data);
}

/* A connection whose "/later" is answered, and the answer is whole and in frames, but not with the
 * kernel, which has too much of others that nobody reads. How much it takes is its own affair:
 * false: this time it took all. */
static bool
answer_late(struct fixture *f, struct client *c, struct frames *b, uint32_t *ret_id)
{
    int listener, room_bytes = 65536;
    struct http2_stream *later;
    uint64_t until_s = 0;

    *ret_id = 3;
    open_fixture(f, usual_limits());
    must(http_server_listeners(f->server, &listener, 1) == 1);
    must(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &room_bytes, sizeof(room_bytes)) == 0);
    *c = connect_to(f); /* to a socket that takes little at once */
    put_frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
              SPAN_LIT("\x82\x86\x04\x06/later\x01\x01"
                       "a"));
    must(push(f, c, b) && await_log(f, "request;"));
    later = CONTAINER_OF(f->waiting, struct http2_stream, exchange);
    while (!later->session->blocked)
        ask_much(f, c, b, ret_id);
    http_respond(f->waiting, 204, NULL, 0, SPAN_LIT(""));
    for (unsigned i = 0; i < 4; i++)
        ask_much(f, c, b, ret_id);
    while (f->waiting != NULL && later->state != HTTP2_FINISHED && patience(&until_s)) {
        char some[4096];
        must(recv(c->fd, some, sizeof(some), MSG_DONTWAIT) > 0 || errno == EAGAIN);
        loop_pass(f->loop, 100000);
    }
    return f->waiting != NULL && later->state == HTTP2_FINISHED && later->session->blocked;
}

/* Such an answer is cut off: too late for the client to see, and nobody is told that it was done.
 */
static void
test_late_abort(void)
{
    struct frames b = begin_frames(), begin = {.data = malloc(FRAMES_BYTES_MAX)};
    uint64_t until_s = 0, until_done_s = 0;
    struct fixture f;
    struct client c;
    bool is_late;
    uint32_t id;

    must(begin.data != NULL);
    put(&begin, (struct span){b.data, b.bytes});
    while (!(is_late = answer_late(&f, &c, &b, &id)) && patience(&until_s)) {
        close_client(&c);
        close_fixture(&f);
        b.bytes = 0;
        put(&b, (struct span){begin.data, begin.bytes});
    }
    CHECK(is_late, "in frames, and not sent");
    http_response_abort(f.waiting);
    while ((f.requests < (id - 1) / 2 || http_server_exchanges(f.server) > 0) && !c.ended &&
           patience(&until_done_s)) {
        c.bytes = 0;
        receive(&c);
        loop_pass(f.loop, 100000); /* what it did not listen to before comes now */
    }
    CHECK(f.requests == (id - 1) / 2 && http_server_exchanges(f.server) == 0 && !c.ended,
          "all others are done");
    CHECK(f.dones == f.requests - 1, "and who was too late hears nothing");
    memset(f.log, 0, sizeof(f.log));
    put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id,
              SPAN_LIT("\x82\x86\x84\x01\x01"
                       "a"));
    must(push(&f, &c, &b));
    CHECK(await_log(&f, "request;done;"), "and the connection goes on");
    close_client(&c);
    close_fixture(&f);
    free(b.data);
    free(begin.data);
}

/* Many heads by their indexes, all open: 60 KB each for 30 bytes. */
static void
test_heads_held(void)
{
    struct frames b = begin_frames();
    struct fixture f;
    struct client c;
    uint32_t id = 1;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    put_head(&b, id, 0, true, 0);
    for (unsigned i = 0; i < 95; i++)
        put_head(&b, id += 2, 0, false, 19);
    must(push(&f, &c, &b));
    CHECK(await(&f, &c, "heads_full", 90), "few of them are kept, the others answered 429");
    CHECK(count(&c, "heads_full") <= 94, "few, but some");
    for (uint32_t i = 1; i <= id; i += 2)
        put_frame(&b, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, i, SPAN_LIT("body"));
    must(push(&f, &c, &b));
    CHECK(await(&f, &c, "body", 3) && strstr(f.log, "request;") != NULL, "those are served");
    put_head(&b, id += 2, NGHTTP2_FLAG_END_STREAM, false, 19);
    memset(f.log, 0, sizeof(f.log));
    must(push(&f, &c, &b));
    CHECK(await_log(&f, "request;done;"), "and give back their room");
    close_client(&c);
    close_fixture(&f);
    free(b.data);
}

/* As many streams as there may be, each with an answer that waits for a window. */
static void
test_no_window(void)
{
    static char block[1500] = "\x82\x86\x04\x02/x\x41\x01"
                              "a"
                              "\0\x01x\x7f\xc8\x0a"; /* 127 + 72 + 10 * 128 = 1479 */
    const size_t begin = 15, filler = 1479;
    struct frames b = {.data = malloc(FRAMES_BYTES_MAX)};
    uint64_t until_s = 0;
    uint32_t id = 1;
    struct fixture f;
    struct client c;

    must(b.data != NULL);
    memset(block + begin, 'x', filler);
    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    must(await_connections(&f, 1));
    measure(&b);
    put(&b, SPAN_LIT(NGHTTP2_CLIENT_MAGIC));
    put_frame(&b, NGHTTP2_SETTINGS, 0, 0, SPAN_LIT("\0\x4\0\0\0\0"));
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++, id += 2) {
        put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id,
                  (struct span){block, begin + filler});
        put_frame(&b, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, (struct span){block, 300});
    }
    must(push(&f, &c, &b));
    while (http_server_exchanges(f.server) < HTTP2_STREAMS_MAX && patience(&until_s))
        loop_pass(f.loop, 1000000);
    turn(&f, 10);
    measure(&b);
    printf("# %zu bytes at most\n", b.peak_bytes - b.before_bytes);
    CHECK(http_server_exchanges(f.server) == HTTP2_STREAMS_MAX,
          "so many answers wait for a window");
    CHECK(b.peak_bytes - b.before_bytes <= CONNECTION_BYTES_MAX, "and cost little");
    close_client(&c);
    close_fixture(&f);
    free(b.data);
}

/* A head, or trailers, of 24 MB out of 8 KB: not gone through to its end. */
static void
test_bomb(bool as_trailers)
{
    struct frames b = begin_frames();
    struct fixture f;
    struct client c;

    open_fixture(&f, usual_limits());
    c = connect_to(&f);
    put_head(&b, 1, 0, true, as_trailers ? 0 : 8000);
    if (as_trailers) {
        char *block = malloc(8000);
        must(block != NULL);
        memset(block, 0xbe, 8000);
        put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
                  (struct span){block, 8000});
        free(block);
    }
    (void)push(&f, &c, &b);
    CHECK(await_connections(&f, 0), as_trailers ? "a bomb of trailers ends the connection"
                                                : "a bomb of headers ends the connection");
    CHECK(f.log[0] == '\0' || strcmp(f.log, "share;") == 0, "no request came of it");
    close_client(&c);
    close_fixture(&f);
    free(b.data);
}

int
main(void)
{
    test_unread(false);
    test_unread(true);
    test_no_window();
    test_late_abort();
    test_heads_held();
    test_bomb(false);
    test_bomb(true);
    return tap_done();
}

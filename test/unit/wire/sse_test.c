/* sse_test - every row is fed whole, byte by byte, and cut in two and in three at every place: the
 * events are the same and their raws add up to the input. Then random streams against a plain
 * reader that has the whole stream before it. */
#include "wire/sse.h"

#include "base/rng.h"
#include "tap.h"

#define EVENTS_MAX       64u
#define STREAM_BYTES_MAX 256u

/* SPAN_LIT for tables: without its cast, which is no constant. */
#define TEXT(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

struct seen {
    char data[EVENTS_MAX][STREAM_BYTES_MAX]; /* of events that are not comments alone */
    size_t bytes[EVENTS_MAX];
    size_t count, comments, dones;
    char raw[STREAM_BYTES_MAX * 2];
    size_t raw_bytes;
    bool partial;
};

static void
add_data(struct seen *seen, struct span data)
{
    if (seen->count >= EVENTS_MAX || data.bytes > STREAM_BYTES_MAX)
        abort();
    if (data.bytes > 0)
        memcpy(seen->data[seen->count], data.data, data.bytes);
    seen->bytes[seen->count++] = data.bytes;
}

static void
feed(struct sse_reader *r, struct span piece, struct seen *seen)
{
    struct sse_event event;
    enum err err;
    char *copy = malloc(piece.bytes +
                        (piece.bytes == 0)); /* its own memory: reads behind it show */

    if (copy == NULL)
        abort();
    if (piece.bytes > 0)
        memcpy(copy, piece.data, piece.bytes);
    sse_reader_feed(r, (struct span){copy, piece.bytes});
    while ((err = sse_reader_next(r, &event)) == ERR_OK) {
        memcpy(seen->raw + seen->raw_bytes, event.raw.data, event.raw.bytes);
        seen->raw_bytes += event.raw.bytes;
        seen->comments += event.comment_only;
        seen->dones += event.done;
        if (!event.comment_only)
            add_data(seen, event.data);
    }
    if (err != ERR_AGAIN)
        abort();
    free(copy);
}

/* The stream in pieces that end at the given places. */
static void
read_cut(struct span stream, size_t first, size_t second, struct seen *ret_seen)
{
    struct sse_reader r = {0};

    memset(ret_seen, 0, sizeof(*ret_seen));
    feed(&r, (struct span){stream.data, first}, ret_seen);
    feed(&r, (struct span){stream.data + first, second - first}, ret_seen);
    feed(&r, span_from(stream, second), ret_seen);
    ret_seen->partial = sse_reader_partial(&r);
    sse_reader_fini(&r);
}

static void
read_bytewise(struct span stream, struct seen *ret_seen)
{
    struct sse_reader r = {0};

    memset(ret_seen, 0, sizeof(*ret_seen));
    for (size_t i = 0; i < stream.bytes; i++)
        feed(&r, (struct span){stream.data + i, 1}, ret_seen);
    ret_seen->partial = sse_reader_partial(&r);
    sse_reader_fini(&r);
}

static bool
same_data(const struct seen *a, const struct seen *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->bytes[i] != b->bytes[i] || memcmp(a->data[i], b->data[i], a->bytes[i]) != 0)
            return false;
    }
    return true;
}

/* What came raw is the beginning of the stream, all of it when nothing is left over. */
static bool
raw_is(const struct seen *seen, struct span stream)
{
    return seen->raw_bytes <= stream.bytes &&
           memcmp(seen->raw, stream.data, seen->raw_bytes) == 0 &&
           seen->partial == (seen->raw_bytes < stream.bytes);
}

/* One row: the data of its events joined by `|`. */
static const struct {
    const char *label;
    struct span stream;
    const char *data;
    size_t comments, dones;
    bool partial;
} rows[] = {
    {"two and done", TEXT("data: {\"a\":1}\n\ndata: {\"a\":2}\n\ndata: [DONE]\n\n"),
     "{\"a\":1}|{\"a\":2}|[DONE]", 0, 1, false},
    {"CRLF", TEXT("data: a\r\n\r\ndata: b\r\n\r\n"), "a|b", 0, 0, false},
    {"CR", TEXT("data: a\r\rdata: b\r\r"), "a|b", 0, 0, false},
    {"mixed ends", TEXT("data: a\r\n\ndata: b\n\r\ndata: c\r\n\r"), "a|b", 0, 0, true},
    {"no space", TEXT("data:a\n\ndata:  b\n\n"), "a| b", 0, 0, false},
    {"several lines", TEXT("data: a\ndata: b\ndata:\ndata\n\n"), "a\nb\n\n", 0, 0, false},
    {"first line empty", TEXT("data:\ndata: b\n\n"), "\nb", 0, 0, false},
    {"comment", TEXT(": keep-alive\n\ndata: a\n\n"), "a", 1, 0, false},
    {"comment inside", TEXT(": x\ndata: a\n: y\n\n"), "a", 0, 0, false},
    {"other fields", TEXT("event: delta\nid: 7\nretry: 5\ndata: a\nfoo\n\n"), "a", 0, 0, false},
    {"fields that begin with data", TEXT("database: x\ndatax\n\n"), "", 0, 0, false},
    {"no data", TEXT("event: ping\n\n"), "", 0, 0, false},
    {"BOM",
     TEXT("\xef\xbb\xbf"
          "data: a\n\n"),
     "a", 0, 0, false},
    {"BOM later is text",
     TEXT("data: a\n\n\xef\xbb\xbf"
          "data: b\n\n"),
     "a|", 0, 0, false},
    {"blank lines", TEXT("\n\ndata: a\n\n\n\n"), "a", 4, 0, false},
    {"cut at the end", TEXT("data: a\n\ndata: b\n"), "a", 0, 0, true},
    {"cut in a line", TEXT("data: a\n\nda"), "a", 0, 0, true},
    {"not done", TEXT("data: [DONE] \n\ndata: x[DONE]\n\n"), "[DONE] |x[DONE]", 0, 0, false},
    {"done without a space", TEXT("data:[DONE]\r\n\r\n"), "[DONE]", 0, 1, false},
    {"NUL", TEXT("data: a\0b\n\n"), NULL, 0, 0, false},
    {"nothing", TEXT(""), NULL, 0, 0, false},
};

static bool
row_good(size_t i, const struct seen *seen)
{
    char joined[STREAM_BYTES_MAX];
    size_t used = 0;

    for (size_t e = 0; e < seen->count; e++) {
        if (e > 0)
            joined[used++] = '|';
        memcpy(joined + used, seen->data[e], seen->bytes[e]);
        used += seen->bytes[e];
    }
    return (rows[i].data == NULL || span_eq_text((struct span){joined, used}, rows[i].data)) &&
           seen->dones == rows[i].dones && seen->partial == rows[i].partial &&
           seen->comments == rows[i].comments && raw_is(seen, rows[i].stream);
}

static void
test_rows(void)
{
    static struct seen seen;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const size_t bytes = rows[i].stream.bytes;
        bool good = true;
        read_cut(rows[i].stream, bytes, bytes, &seen);
        CHECK(row_good(i, &seen), rows[i].label);
        read_bytewise(rows[i].stream, &seen);
        CHECK(row_good(i, &seen), rows[i].label);
        for (size_t first = 0; first <= bytes; first++) {
            for (size_t second = first; second <= bytes; second++) {
                read_cut(rows[i].stream, first, second, &seen);
                good = good && row_good(i, &seen);
            }
        }
        CHECK(good, rows[i].label);
    }
}

/* The same, read with the whole stream at hand: line ends made one, then line by line. */
static void
read_plain(struct span stream, struct seen *ret_seen)
{
    char text[STREAM_BYTES_MAX], data[STREAM_BYTES_MAX * 2];
    size_t bytes = 0, data_bytes = 0, start = 0;
    bool any = false;

    memset(ret_seen, 0, sizeof(*ret_seen));
    for (size_t i = span_starts(stream, SPAN_LIT("\xef\xbb\xbf")) ? 3 : 0; i < stream.bytes; i++) {
        if (stream.data[i] != '\n' || i == 0 || stream.data[i - 1] != '\r')
            text[bytes++] = stream.data[i] == '\r' ? '\n' : stream.data[i];
    }
    for (size_t i = 0; i < bytes; i++) {
        struct span line = {text + start, i - start};
        if (text[i] != '\n')
            continue;
        start = i + 1;
        if (line.bytes == 0) {
            if (any)
                add_data(ret_seen, (struct span){data, data_bytes > 0 ? data_bytes - 1 : 0});
            any = false;
            data_bytes = 0;
        } else if (line.data[0] != ':') {
            size_t colon = span_find(line, ':');
            struct span value = span_from(line, colon + 1);
            any = true;
            if (!span_eq_text((struct span){line.data, colon}, "data"))
                continue;
            value = span_starts(value, SPAN_LIT(" ")) ? span_from(value, 1) : value;
            memcpy(data + data_bytes, value.data, value.bytes);
            data_bytes += value.bytes;
            data[data_bytes++] = '\n';
        }
    }
}

static void
test_random(void)
{
    static const char *const pieces[] = {"\n",   "\r",    "\r\n", "\n\n",         "\r\n\r\n",
                                         "data", "data:", ": ",   "data: [DONE]", "x",
                                         " ",    "\r\r",  "id:",  "\xef\xbb\xbf"};
    static struct seen plain, cut;
    struct rng rng;
    bool good = true;

    rng_init(&rng, 2);
    for (int round = 0; round < 100000 && good; round++) {
        char text[STREAM_BYTES_MAX];
        struct span stream = {text, 0};
        size_t count = rng_below(&rng, 20), first, second;
        for (size_t i = 0; i < count; i++) {
            const char *piece = pieces[rng_below(&rng, sizeof(pieces) / sizeof(pieces[0]))];
            memcpy(text + stream.bytes, piece, strlen(piece));
            stream.bytes += strlen(piece);
        }
        first = rng_below(&rng, stream.bytes + 1);
        second = first + rng_below(&rng, stream.bytes - first + 1);
        read_plain(stream, &plain);
        /* a CR at the very end may be waiting for its LF: the plain reader never waits */
        if (stream.bytes > 1 && text[stream.bytes - 1] == '\r' && text[stream.bytes - 2] == '\n')
            continue;
        read_cut(stream, first, second, &cut);
        good = same_data(&plain, &cut) && raw_is(&cut, stream);
        read_bytewise(stream, &cut);
        good = good && same_data(&plain, &cut) && raw_is(&cut, stream);
        if (!good)
            printf("# round %d, cut at %zu and %zu\n", round, first, second);
    }
    CHECK(good, "random streams");
}

/* Feed `piece` at a time until bytes are gone; the first error, or ERR_AGAIN. */
static enum err
feed_all(struct sse_reader *r, const char *text, size_t bytes, size_t piece, size_t *ret_events)
{
    struct sse_event event;
    enum err err = ERR_AGAIN;

    for (size_t at = 0; at < bytes && err == ERR_AGAIN; at += piece) {
        sse_reader_feed(r, (struct span){text + at, bytes - at < piece ? bytes - at : piece});
        while ((err = sse_reader_next(r, &event)) == ERR_OK)
            ++*ret_events;
    }
    return err;
}

static void
test_limit(void)
{
    const size_t most = SSE_EVENT_BYTES_MAX;
    char *text = malloc(most + 1);
    static const size_t pieces[] = {SIZE_MAX / 2, 70000, 1};

    if (text == NULL)
        abort();
    memset(text, 'x', most + 1);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct sse_reader r = {0};
        size_t events = 0;
        memcpy(text + most - 2, "\n\nx", 3);
        CHECK(feed_all(&r, text, most, pieces[i], &events) == ERR_AGAIN && events == 1,
              "the largest event");
        memcpy(text + most - 2, "x\n\n", 3);
        CHECK(feed_all(&r, text, most + 1, pieces[i], &events) == ERR_FULL && events == 1,
              "one byte more");
        CHECK(feed_all(&r, "data: a\n\n", 9, 9, &events) == ERR_FULL && events == 1, "it sticks");
        sse_reader_fini(&r);
        memset(text, 'x', most + 1);
        CHECK(feed_all(&r, text, most + 1, pieces[i], &events) == ERR_FULL, "a line without end");
        sse_reader_fini(&r);
    }
    free(text);
}

/* What an engine may send to keep us busy: as many lines as an event can have, without the LF that
 * a careless search would look for to the end from each of them. Were it so, this would take
 * minutes, and the limit of the test runner would end it. */
static void
test_bare_cr(void)
{
    const size_t most = SSE_EVENT_BYTES_MAX;
    char *text = malloc(most);

    if (text == NULL)
        abort();
    for (size_t i = 0; i < most; i += 2) {
        text[i] = ':';
        text[i + 1] = '\r';
    }
    memcpy(text + most - 4, "\rx:x", 4);
    for (size_t i = 0; i < 8; i++) {
        struct sse_reader r = {0};
        size_t events = 0;
        CHECK(feed_all(&r, text, most, SIZE_MAX / 2, &events) == ERR_AGAIN && events == 1,
              "as many lines of bare CRs as fit");
        sse_reader_fini(&r);
    }
    free(text);
}

int
main(void)
{
    test_rows();
    test_random();
    test_limit();
    test_bare_cr();
    return tap_done();
}

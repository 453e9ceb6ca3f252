/* http2_session_fuzz - any frames on a connection of HTTP/2. The first two bytes say how it goes:
 * bits of struct harness_way, and where the input is cut. The rest is what comes behind the
 * preface: bytes as they are, or (bit 3) frames as type, flags, stream and length, a byte each, and
 * payload, so that a change of a byte leaves the frames behind it whole.
 *
 * Beside what the harness checks: what goes out is whole frames, on streams that were opened, and
 * nothing of a body behind its end; cut or whole, the same requests come out as far as both go. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/http2_session.h"
#include "server_harness.h"

#define HEAD_BYTES       2u
#define FRAME_HEAD_BYTES 9u
#define INPUT_BYTES_MAX  (1u << 20)
#define LONG_FRAME_BYTES 16384u
#define STREAMS_SEEN     65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct harness_result whole, cut;
static char input[INPUT_BYTES_MAX];

/* Frames out of the short form; a length of 255 is a long frame of the payload again and again. */
static size_t
put_frames(const uint8_t *data, size_t bytes, char *out)
{
    size_t at = 0;

    while (bytes >= 4 && at + FRAME_HEAD_BYTES + LONG_FRAME_BYTES < INPUT_BYTES_MAX) {
        size_t length = data[3] < bytes - 4 ? data[3] : bytes - 4;
        size_t wire = data[3] == 255 && length > 0 ? LONG_FRAME_BYTES : length;
        const char head[FRAME_HEAD_BYTES] = {
            0, (char)(wire >> 8), (char)wire, (char)data[0], (char)data[1], 0, 0, 0, (char)data[2]};

        memcpy(out + at, head, sizeof(head));
        at += sizeof(head);
        for (size_t i = 0; i < wire; i++)
            out[at++] = (char)data[4 + i % length];
        data += 4 + length;
        bytes -= 4 + length;
    }
    return at;
}

static uint32_t
number(const char *at, size_t bytes)
{
    uint32_t n = 0;

    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | (uint8_t)at[i];
    return n;
}

static void
check_frames(const struct harness_result *r)
{
    static bool ended[STREAMS_SEEN];
    struct span out = r->output;

    memset(ended, 0, sizeof(ended));
    while (out.bytes >= FRAME_HEAD_BYTES) {
        size_t length = number(out.data, 3);
        uint8_t type = (uint8_t)out.data[3], flags = (uint8_t)out.data[4];
        uint32_t stream = number(out.data + 5, 4);

        must(length <= LONG_FRAME_BYTES && stream < UINT32_C(1) << 31);
        if (out.bytes < FRAME_HEAD_BYTES + length)
            break;
        if (type == NGHTTP2_DATA || type == NGHTTP2_HEADERS || type == NGHTTP2_RST_STREAM)
            must(stream % 2 == 1);
        if ((type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) && stream < STREAMS_SEEN) {
            must(!ended[stream]);
            ended[stream] = flags & NGHTTP2_FLAG_END_STREAM;
        }
        if (type == NGHTTP2_RST_STREAM && stream < STREAMS_SEEN)
            ended[stream] = true;
        out = span_from(out, FRAME_HEAD_BYTES + length);
    }
    must(out.bytes == 0 || r->cut_off);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct harness_way way = {.cut = SIZE_MAX};
    struct span in = {input, sizeof(NGHTTP2_CLIENT_MAGIC) - 1};
    uint32_t count;

    if (bytes < HEAD_BYTES || bytes > INPUT_BYTES_MAX / 2)
        return 0;
    way.waits = data[0] & 1;
    way.slow = data[0] & 2;
    way.refuses = data[0] & 4;
    memcpy(input, NGHTTP2_CLIENT_MAGIC, in.bytes);
    if (data[0] & 8) {
        in.bytes += put_frames(data + HEAD_BYTES, bytes - HEAD_BYTES, input + in.bytes);
    } else {
        memcpy(input + in.bytes, data + HEAD_BYTES, bytes - HEAD_BYTES);
        in.bytes += bytes - HEAD_BYTES;
    }
    server_harness_run(in, &way, &whole);
    check_frames(&whole);
    way.cut = sizeof(NGHTTP2_CLIENT_MAGIC) - 1 +
              (in.bytes - sizeof(NGHTTP2_CLIENT_MAGIC) + 1) * data[1] / 256;
    server_harness_run(in, &way, &cut);
    check_frames(&cut);
    if (way.refuses || way.slow || whole.request_count >= HTTP2_STREAMS_MAX)
        return 0; /* how many streams are open at once, and what was refused, depends on the cut */
    /* What comes on a stream that was answered is an error of the connection or of nobody, as the
     * answer has gone out or not: one may have ended earlier than the other. */
    count = whole.request_count < cut.request_count ? whole.request_count : cut.request_count;
    must(count == 0 || whole.after[count - 1] == cut.after[count - 1]);
    return 0;
}

/* http1_session_fuzz - any bytes on a connection of HTTP/1: the whole session, with its limits, the
 * answers and the end. The first two bytes say how it goes: bits of struct harness_way, and where
 * the input is cut.
 *
 * Beside what the harness checks: cut or whole, the same requests come out and the same answers;
 * and the answers are HTTP, one for each request, in order, nothing behind the last. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/http2_session.h"
#include "server_harness.h"

#define HEAD_BYTES   2u
#define OUTPUT_BYTES (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct harness_result whole, cut;

/* The final answers, parsed; interim ones are left out of them, since they depend on how the
 * request was cut. */
static void
check_answers(const struct harness_result *r)
{
    static const struct http1_limits limits = {
        .head_bytes_max = 100000, .headers_max = 100, .body_bytes_max = UINT64_MAX};
    struct span in = r->output, body;
    struct http1_parser p;
    uint32_t answers = 0;
    enum http1_event event = HTTP1_NEED_MORE;

    http1_response_init(&p, &limits, r->to_head[0]);
    while (in.bytes > 0) {
        size_t used = 0;
        event = http1_feed(&p, in, &used, &body);
        must(event != HTTP1_ERROR);
        in = span_from(in, used);
        if (event != HTTP1_COMPLETE)
            continue;
        if (http1_status_code(&p) >= 200)
            answers++;
        /* one more than requests: a refusal of what never became one */
        must(answers <= r->request_count + 1);
        must(in.bytes == 0 || http1_keep_alive(&p) || http1_status_code(&p) < 200);
        http1_fini(&p);
        http1_response_init(&p, &limits, answers < r->request_count && r->to_head[answers]);
    }
    if (!http1_is_fresh(&p) && http1_finish(&p) != HTTP1_COMPLETE)
        must(r->cut_off);
    http1_fini(&p);
}

/* Without "100 Continue". */
static size_t
copy_final(struct span output, char *copy)
{
    static const struct span interim = SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n");
    size_t bytes = 0;

    must(output.bytes <= OUTPUT_BYTES);
    while (output.bytes > 0) {
        const char *at = memmem(output.data, output.bytes, interim.data, interim.bytes);
        size_t n = at != NULL ? (size_t)(at - output.data) : output.bytes;
        memcpy(copy + bytes, output.data, n);
        bytes += n;
        output = span_from(output, at != NULL ? n + interim.bytes : n);
    }
    return bytes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char *copy;
    static char *other;
    struct harness_way way = {.cut = SIZE_MAX};
    struct span in;
    size_t copy_bytes;

    if (copy == NULL)
        must((copy = malloc(OUTPUT_BYTES)) != NULL && (other = malloc(OUTPUT_BYTES)) != NULL);
    if (bytes < HEAD_BYTES)
        return 0;
    in = (struct span){(const char *)data + HEAD_BYTES, bytes - HEAD_BYTES};
    if (span_starts(in, SPAN_LIT(NGHTTP2_CLIENT_MAGIC)))
        return 0; /* http2_session_fuzz */
    way.waits = data[0] & 1;
    way.slow = data[0] & 2;
    way.refuses = data[0] & 4;
    server_harness_run(in, &way, &whole);
    check_answers(&whole);
    if (way.refuses || whole.request_count > HARNESS_REQUESTS_MAX)
        return 0; /* who asks to send a body is refused before it comes; with it, after it */
    copy_bytes = copy_final(whole.output, copy);
    way.cut = in.bytes * data[1] / 256;
    server_harness_run(in, &way, &cut);
    must(whole.requests == cut.requests && whole.request_count == cut.request_count);
    must(copy_final(cut.output, other) == copy_bytes);
    must(memcmp(copy, other, copy_bytes) == 0);
    return 0;
}

/* stream - checking and passing on events; see stream.h.
 *
 * An event goes on as `data: ` and its data with the model's name exchanged, two or three pieces of
 * the engine's own bytes; it is never built anew. Comments of engines end here. */
#include "role/gateway/stream.h"

#include <math.h>
#include <string.h>

#include "role/gateway/answer.h"
#include "role/gateway/request.h"

#define PARTS_MAX 5u

/* ---- Silence. */

static void on_silence(struct loop_timer *timer);

/* How long the engine may leave us without content now; 0: as long as it likes. */
static uint64_t
silence_max_ns(const struct request *r)
{
    if (r->stream.heard_ns == 0) /* until its head comes, the call watches */
        return 0;
    return r->started ? r->stream.gap_ns : r->stream.first_ns;
}

/* Wake up for whatever comes first: a keep-alive, or the engine's limit on silence. */
static void
watch(struct request *r)
{
    struct stream *s = &r->stream;
    uint64_t next_ns = s->said_ns + r->lane->gateway->keep_alive_ns;
    uint64_t silence_ns = silence_max_ns(r);

    if (silence_ns != 0 && s->heard_ns + silence_ns < next_ns)
        next_ns = s->heard_ns + silence_ns;
    loop_timer_set(r->lane->loop, &s->silence, next_ns, on_silence);
}

static void
commit(struct request *r)
{
    struct answer_head head;

    answer_head_init(&head);
    answer_head_add(&head, SPAN_LIT("content-type"), SPAN_LIT("text/event-stream; charset=utf-8"));
    answer_head_add(&head, SPAN_LIT("cache-control"), SPAN_LIT("no-cache"));
    answer_head_add(&head, SPAN_LIT("x-accel-buffering"), SPAN_LIT("no"));
    answer_request_head(&head, r);
    http_response_start(r->exchange, 200, head.list, head.count);
    r->committed = true;
}

static void finish_done(struct request *r);

static void
on_silence(struct loop_timer *timer)
{
    struct request *r = CONTAINER_OF(timer, struct request, stream.silence);
    struct stream *s = &r->stream;
    uint64_t now_ns = loop_now_ns(r->lane->loop), silence_ns = silence_max_ns(r);

    if (s->done) { /* the engine said [DONE], but does not end its response */
        attempt_cancel(r);
        finish_done(r);
        return;
    }
    if (s->paused) { /* the client is slow, not the engine */
        s->heard_ns = s->said_ns = now_ns;
    } else if (silence_ns != 0 && now_ns - s->heard_ns >= silence_ns) {
        attempt_fail(r, r->started ? FAILURE_STALL : FAILURE_FIRST_BYTE, NAN);
        return;
    } else if (now_ns - s->said_ns >= r->lane->gateway->keep_alive_ns) {
        if (!r->committed) {
            metrics_add(&r->lane->metrics.early_commits, 1);
            s->early = true;
            r->now_ns = now_ns;
            commit(r);
        }
        http_response_write(r->exchange, SPAN_LIT(": keep-alive\n\n"));
        s->said_ns = now_ns;
    }
    watch(r);
}

/* ---- Life. */

void
stream_open(struct request *r)
{
    r->stream.said_ns = loop_now_ns(r->lane->loop);
    watch(r);
}

void
stream_reset(struct request *r, uint64_t first_ns, uint64_t gap_ns)
{
    struct stream *s = &r->stream;

    sse_reader_fini(&s->reader);
    s->reader = (struct sse_reader){0};
    s->first_ns = first_ns;
    s->gap_ns = gap_ns;
    s->heard_ns = 0;
    s->held_bytes = 0;
    s->finishes = 0;
    s->done = false;
    s->paused = false;
}

void
stream_head(struct request *r)
{
    r->stream.heard_ns = loop_now_ns(r->lane->loop);
    watch(r);
}

void
stream_close(struct request *r)
{
    loop_timer_stop(&r->stream.silence);
    sse_reader_fini(&r->stream.reader);
}

void
stream_drained(struct request *r)
{
    if (!r->stream.paused)
        return;
    r->stream.paused = false;
    r->stream.heard_ns = loop_now_ns(r->lane->loop);
    attempt_resume(r);
}

void
stream_error(struct request *r, const struct openai_error *error)
{
    struct arena *arena = http_exchange_arena(r->exchange);
    struct span json;

    if (openai_error_write(error, (struct span){r->id_text, REQUEST_ID_BYTES}, arena, &json) !=
        ERR_OK)
        json = SPAN_LIT("{\"error\":{\"message\":\"the stream broke off\",\"type\":"
                        "\"server_error\",\"param\":null,\"code\":null}}");
    http_response_writev(r->exchange, (struct span[]){SPAN_LIT("data: "), json, SPAN_LIT("\n\n")},
                         3);
}

/* ---- Passing on. */

/* Keep what may still be replaced by another node's answer. ERR_FULL: so much before any content is
 * no answer; ERR_MEMORY. */
static enum err
hold(struct request *r, const struct span *parts, size_t count)
{
    struct stream *s = &r->stream;
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += parts[i].bytes;
    if (bytes > STREAM_HELD_BYTES_MAX - s->held_bytes)
        return ERR_FULL;
    if (bytes > s->held_room - s->held_bytes) {
        size_t room = 2 * (s->held_bytes + bytes);
        char *held = arena_take(http_exchange_arena(r->exchange), room);
        if (held == NULL)
            return ERR_MEMORY;
        if (s->held_bytes > 0)
            memcpy(held, s->held, s->held_bytes);
        s->held = held;
        s->held_room = room;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].bytes > 0)
            memcpy(s->held + s->held_bytes, parts[i].data, parts[i].bytes);
        s->held_bytes += parts[i].bytes;
    }
    return ERR_OK;
}

/* From here on the client has content of this node: no other one can take over. */
static void
start(struct request *r)
{
    request_started(r);
    if (!r->committed)
        commit(r);
    http_response_write(r->exchange, (struct span){r->stream.held, r->stream.held_bytes});
    r->stream.held_bytes = 0;
}

static enum err
pass(struct request *r, const struct span *parts, size_t count)
{
    struct stream *s = &r->stream;

    if (!r->started)
        return hold(r, parts, count);
    http_response_writev(r->exchange, parts, count);
    s->said_ns = s->heard_ns = loop_now_ns(r->lane->loop);
    watch(r);
    if (!s->paused && http_response_pending(r->exchange) > STREAM_HIGH_WATER_BYTES) {
        s->paused = true;
        attempt_pause(r);
    }
    return ERR_OK;
}

/* Pass on data as one event, with the client's name of the model. Data of several lines is JSON
 * with line ends between its tokens (never within the name): each line gets its own `data: `. */
static enum err
pass_data(struct request *r, struct span data, struct span model_range)
{
    const char *model = model_range.data;

    for (;;) {
        size_t bytes = span_find(data, '\n');
        struct span line = {data.data, bytes}, parts[PARTS_MAX];
        size_t count = 0;
        enum err err;

        parts[count++] = SPAN_LIT("data: ");
        if (model_range.bytes > 0 && model >= line.data && model < line.data + bytes) {
            parts[count++] = (struct span){line.data, (size_t)(model - line.data)};
            parts[count++] = r->model_json;
            line = span_from(line, (size_t)(model - line.data) + model_range.bytes);
        }
        parts[count++] = line;
        parts[count++] = bytes < data.bytes ? SPAN_LIT("\n") : SPAN_LIT("\n\n");
        err = pass(r, parts, count);
        if (err != ERR_OK || bytes == data.bytes)
            return err;
        data = span_from(data, bytes + 1);
    }
}

/* One event of the engine. False: the attempt failed, and r may be gone. */
static bool
take_event(struct request *r, const struct sse_event *event)
{
    struct stream *s = &r->stream;
    struct openai_reply reply;
    enum err err;

    if (openai_reply_parse(event->data, &reply) != ERR_OK) {
        attempt_fail(r, FAILURE_MALFORMED, NAN);
        return false;
    }
    if (reply.is_error) {
        attempt_fail(r, FAILURE_STATUS_5XX, NAN);
        return false;
    }
    if (reply.usage.known)
        r->usage = reply.usage;
    s->finishes += reply.finishes;
    if (reply.usage_only && !r->openai.usage_asked)
        return true; /* we asked for it, the client did not */
    if (!r->started && (reply.has_content || reply.has_finish))
        start(r);
    err = pass_data(r, event->data, reply.model_range);
    if (err != ERR_OK) {
        attempt_fail(r, err == ERR_FULL ? FAILURE_MALFORMED : FAILURE_LOCAL, NAN);
        return false;
    }
    return true;
}

/* The engine said all it had to say. */
static void
take_done(struct request *r)
{
    struct lane *lane = r->lane;

    r->stream.done = true;
    loop_timer_set(lane->loop, &r->stream.silence, loop_now_ns(lane->loop) + STREAM_DONE_WAIT_NS,
                   on_silence);
}

void
stream_data(struct request *r, struct span bytes)
{
    struct sse_event event;
    enum err err;

    if (r->stream.done)
        return; /* whatever follows [DONE] is nobody's */
    sse_reader_feed(&r->stream.reader, bytes);
    while ((err = sse_reader_next(&r->stream.reader, &event)) == ERR_OK) {
        if (event.done) {
            take_done(r);
            return;
        }
        if (event.data.bytes > 0 && !take_event(r, &event))
            return;
    }
    if (err != ERR_AGAIN)
        attempt_fail(r, err == ERR_MEMORY ? FAILURE_LOCAL : FAILURE_MALFORMED, NAN);
}

/* Every choice has its finish reason: end the client's stream. The call is over. */
static void
finish_done(struct request *r)
{
    struct http_exchange *x = r->exchange;
    char text[512];
    struct put comment = {.text = text, .room_bytes = sizeof(text)};

    if (r->stream.finishes == 0) {
        request_failed(r, FAILURE_EOF, NAN);
        return;
    }
    if (r->stream.early)
        answer_request_comment(&comment, r);
    http_response_write(x, (struct span){text, comment.bytes});
    http_response_write(x, SPAN_LIT("data: [DONE]\n\n"));
    request_ended(r);
    request_close(r);
    http_response_end(x);
}

void
stream_end(struct request *r)
{
    if (!r->stream.done && r->stream.finishes < r->openai.choices) {
        request_failed(r, FAILURE_EOF, NAN);
        return;
    }
    finish_done(r);
}

/* stream - checking and passing on events; see stream.h.
 *
 * An event goes on as `data: ` and its data with the model's name exchanged, two or three pieces of
 * the engine's own bytes; it is never built anew. Comments of engines end here. */
#include "role/gateway/stream.h"

#include <math.h>
#include <string.h>

#include "role/answer.h"
#include "role/gateway/answer_request.h"
#include "role/gateway/request.h"

#define PARTS_MAX 5u

/* ---- Silence. */

static void on_silence(struct loop_timer *timer);

/* When the engine has been silent for too long, or is to be left after [DONE]; UINT64_MAX: never.
 */
static uint64_t
limit_ns(const struct attempt *a)
{
    const struct stream_source *s = &a->source;
    uint64_t most_ns = a->request->started ? s->gap_ns : s->first_ns;

    if (a->call == NULL || s->heard_ns == 0) /* until its head comes, the call watches */
        return UINT64_MAX;
    if (s->done)
        most_ns = STREAM_DONE_WAIT_NS;
    return most_ns != 0 ? s->heard_ns + most_ns : UINT64_MAX; /* 0: as long as it likes */
}

/* Wake up for whatever comes first: a keep-alive, or an engine's limit on silence. */
static void
watch(struct request *r)
{
    struct stream *s = &r->stream;
    uint64_t next_ns = s->said_ns + r->lane->gateway->keep_alive_ns;

    for (uint32_t i = 0; i < REQUEST_ATTEMPTS; i++) {
        if (limit_ns(&r->attempts[i]) < next_ns)
            next_ns = limit_ns(&r->attempts[i]);
    }
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

static void finish_done(struct attempt *a);

/* The attempt's limit is reached. The request may be gone after it. */
static void
give_up(struct attempt *a)
{
    if (a->source.done) { /* the engine said [DONE], but does not end its response */
        attempt_cancel(a);
        finish_done(a);
        return;
    }
    attempt_fail(a, a->request->started ? FAILURE_STALL : FAILURE_FIRST_BYTE, NAN);
}

static void
on_silence(struct loop_timer *timer)
{
    struct request *r = CONTAINER_OF(timer, struct request, stream.silence);
    struct stream *s = &r->stream;
    struct attempt *over = NULL;
    uint64_t now_ns = loop_now_ns(r->lane->loop);

    if (s->paused && !r->shown->source.done) { /* the client is slow, not the engine */
        r->shown->source.heard_ns = s->said_ns = now_ns;
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
    for (uint32_t i = 0; i < REQUEST_ATTEMPTS; i++) {
        if (limit_ns(&r->attempts[i]) <= now_ns)
            over = &r->attempts[i];
    }
    watch(r); /* if two are over, it comes again at once for the other */
    if (over != NULL)
        give_up(over);
}

/* ---- Life. */

void
stream_source_open(struct stream_source *s, uint64_t first_ns, uint64_t gap_ns)
{
    sse_reader_fini(&s->reader);
    s->reader = (struct sse_reader){0};
    s->first_ns = first_ns;
    s->gap_ns = gap_ns;
    s->heard_ns = 0;
    s->held_bytes = 0;
    s->finishes = 0;
    s->done = false;
}

void
stream_source_close(struct stream_source *s)
{
    sse_reader_fini(&s->reader);
}

void
stream_open(struct request *r)
{
    r->stream.said_ns = loop_now_ns(r->lane->loop);
    watch(r);
}

void
stream_head(struct attempt *a)
{
    a->source.heard_ns = loop_now_ns(a->request->lane->loop);
    watch(a->request);
}

void
stream_close(struct request *r)
{
    loop_timer_stop(&r->stream.silence);
}

void
stream_drained(struct request *r)
{
    if (!r->stream.paused)
        return;
    r->stream.paused = false;
    r->shown->source.heard_ns = loop_now_ns(r->lane->loop);
    attempt_resume(r->shown);
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
hold(struct attempt *a, const struct span *parts, size_t count)
{
    struct stream_source *s = &a->source;
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += parts[i].bytes;
    if (bytes > STREAM_HELD_BYTES_MAX - s->held_bytes)
        return ERR_FULL;
    if (bytes > s->held_room - s->held_bytes) {
        size_t room = 2 * (s->held_bytes + bytes);
        char *held = arena_take(http_exchange_arena(a->request->exchange), room);
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
start(struct attempt *a)
{
    struct request *r = a->request;

    request_started(a);
    if (!r->committed)
        commit(r);
    http_response_write(r->exchange, (struct span){a->source.held, a->source.held_bytes});
    a->source.held_bytes = 0;
}

static enum err
pass(struct attempt *a, const struct span *parts, size_t count)
{
    struct request *r = a->request;
    struct stream *s = &r->stream;

    if (!r->started)
        return hold(a, parts, count);
    http_response_writev(r->exchange, parts, count);
    s->said_ns = a->source.heard_ns = loop_now_ns(r->lane->loop);
    watch(r);
    if (!s->paused && http_response_pending(r->exchange) > STREAM_HIGH_WATER_BYTES) {
        s->paused = s->held_up = true;
        attempt_pause(a);
    }
    return ERR_OK;
}

/* Pass on data as one event, with the client's name of the model. Data of several lines is JSON
 * with line ends between its tokens (never within the name): each line gets its own `data: `. */
static enum err
pass_data(struct attempt *a, struct span data, struct span model_range)
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
            parts[count++] = a->request->model_json;
            line = span_from(line, (size_t)(model - line.data) + model_range.bytes);
        }
        parts[count++] = line;
        parts[count++] = bytes < data.bytes ? SPAN_LIT("\n") : SPAN_LIT("\n\n");
        err = pass(a, parts, count);
        if (err != ERR_OK || bytes == data.bytes)
            return err;
        data = span_from(data, bytes + 1);
    }
}

/* One event of the engine. False: the attempt failed, and its request may be gone. */
static bool
take_event(struct attempt *a, const struct sse_event *event)
{
    struct request *r = a->request;
    struct openai_reply reply;
    enum err err;

    if (openai_reply_parse(event->data, &reply) != ERR_OK) {
        attempt_fail(a, FAILURE_MALFORMED, NAN);
        return false;
    }
    if (reply.is_error) {
        attempt_fail(a, FAILURE_STATUS_5XX, NAN);
        return false;
    }
    if (reply.usage.known)
        a->usage = reply.usage;
    a->source.finishes += reply.finishes;
    if (reply.usage_only && !r->openai.usage_asked)
        return true; /* we asked for it, the client did not */
    if (!r->started && (reply.has_content || reply.has_finish))
        start(a);
    err = pass_data(a, event->data, reply.model_range);
    if (err != ERR_OK) {
        attempt_fail(a, err == ERR_FULL ? FAILURE_MALFORMED : FAILURE_LOCAL, NAN);
        return false;
    }
    a->source.pieces += reply.has_content;
    return true;
}

/* The engine said all it had to say. */
static void
take_done(struct attempt *a)
{
    a->source.done = true;
    a->source.heard_ns = loop_now_ns(a->request->lane->loop);
    watch(a->request);
}

/* Comments end here; one of them is a member's last word on how busy it is. */
static void
take_comment(struct attempt *a, struct span raw)
{
    const struct span begin = SPAN_LIT(": isochrone-report ");

    if (span_starts(raw, begin)) {
        struct span rest = span_from(raw, begin.bytes);
        attempt_take_report(a, (struct span){rest.data, span_find(rest, '\n')});
    }
}

void
stream_data(struct attempt *a, struct span bytes)
{
    struct stream_source *s = &a->source;
    struct sse_event event;
    enum err err;

    if (s->done)
        return; /* whatever follows [DONE] is nobody's */
    sse_reader_feed(&s->reader, bytes);
    while ((err = sse_reader_next(&s->reader, &event)) == ERR_OK) {
        if (event.done) {
            take_done(a);
            return;
        }
        if (event.comment_only)
            take_comment(a, event.raw);
        else if (event.data.bytes > 0 && !take_event(a, &event))
            return;
    }
    if (err != ERR_AGAIN)
        attempt_fail(a, err == ERR_MEMORY ? FAILURE_LOCAL : FAILURE_MALFORMED, NAN);
}

/* Every choice has its finish reason: end the client's stream. The call is over. */
static void
finish_done(struct attempt *a)
{
    struct request *r = a->request;
    struct http_exchange *x = r->exchange;
    char text[512];
    struct put comment = {.text = text, .room_bytes = sizeof(text)};

    if (a->source.finishes == 0) {
        request_failed(a, FAILURE_EOF, NAN);
        return;
    }
    if (r->stream.early)
        answer_request_comment(&comment, r);
    http_response_write(x, (struct span){text, comment.bytes});
    http_response_write(x, SPAN_LIT("data: [DONE]\n\n"));
    request_ended(a);
    request_close(r);
    http_response_end(x);
}

void
stream_end(struct attempt *a)
{
    if (!a->source.done && a->source.finishes < a->request->openai.choices) {
        request_failed(a, FAILURE_EOF, NAN);
        return;
    }
    finish_done(a);
}

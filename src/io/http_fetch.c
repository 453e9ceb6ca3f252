/* http_fetch - the callbacks of a call, as one; see http_fetch.h. */
#include "io/http_fetch.h"

#include <string.h>

#include "base/list.h"
#include "base/must.h"

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    (void)call, (void)fresh, (void)user;
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    (void)call;
    ((struct http_fetch *)user)->status = response->status;
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct http_fetch *f = user;
    size_t room = f->room - f->bytes, count = bytes.bytes < room ? bytes.bytes : room;

    (void)call;
    if (count > 0)
        memcpy(f->data + f->bytes, bytes.data, count);
    f->bytes += count;
}

static void
end(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    f->call = NULL;
    loop_timer_stop(&f->whole_timer);
    f->over(f, is_whole, why);
}

static void
on_whole(struct loop_timer *timer)
{
    struct http_fetch *f = CONTAINER_OF(timer, struct http_fetch, whole_timer);

    http_call_cancel(f->call);
    end(f, false, HTTP_FAILED_IDLE);
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t trailer_count, void *user)
{
    (void)call, (void)trailers, (void)trailer_count;
    end(user, true, HTTP_FAILED_EOF);
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    (void)call;
    end(user, false, why);
}

enum err
http_fetch_start(struct http_fetch *f, struct http_target *target,
                 const struct http_call_request *request, const struct http_call_limits *limits)
{
    static const struct http_call_fn fn = {
        .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};

    enum err err;

    must(f->call == NULL);
    f->status = 0;
    f->bytes = 0;
    err = http_call_start(target, request, limits, &fn, f, &f->call);
    if (err == ERR_OK && f->loop != NULL && f->call != NULL)
        loop_timer_set(f->loop, &f->whole_timer, loop_now_ns(f->loop) + HTTP_FETCH_WHOLE_NS,
                       on_whole);
    return err;
}

void
http_fetch_cancel(struct http_fetch *f)
{
    if (f->call != NULL)
        http_call_cancel(f->call);
    f->call = NULL;
    loop_timer_stop(&f->whole_timer);
}

/* load_ready - asks each target in turns; see load_ready.h. */
#include "load_ready.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "io/clock.h"
#include "io/loop.h"

#define ASK_EVERY_NS   100000000u
#define SAME_TURNS     6u /* answers in a row that say the same */
#define BODY_BYTES_MAX 1024u

struct asked { /* one target */
    struct http_target *target;
    struct http_call *call; /* NULL: none in flight */
    char body[BODY_BYTES_MAX], last_body[BODY_BYTES_MAX];
    size_t body_bytes;
    unsigned status, same;
};

struct ready {
    struct loop *loop;
    struct asked asked[LOAD_PLAN_TARGETS_MAX];
    uint32_t count;
    uint64_t deadline_ns;
    struct loop_timer timer;
};

static void
on_head(struct http_call *c, const struct http_response *response, void *user)
{
    (void)c;
    ((struct asked *)user)->status = response->status;
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct asked *a = user;
    size_t room = BODY_BYTES_MAX - 1 - a->body_bytes;
    size_t take = bytes.bytes < room ? bytes.bytes : room;

    (void)c;
    memcpy(a->body + a->body_bytes, bytes.data, take);
    a->body_bytes += take;
}

static void
over(struct asked *a, bool ready)
{
    a->body[a->body_bytes] = '\0';
    if (!ready)
        a->same = 0;
    else if (strcmp(a->body, a->last_body) == 0)
        a->same++;
    else
        a->same = 1;
    memcpy(a->last_body, a->body, sizeof(a->body));
    a->call = NULL;
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t count, void *user)
{
    (void)c;
    (void)trailers;
    (void)count;
    over(user, ((struct asked *)user)->status == 200);
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    (void)c;
    (void)why;
    over(user, false);
}

static void
ask(struct asked *a)
{
    static const struct http_call_fn fn = {load_run_on_sent, on_head, on_data, on_end, on_failed};
    const struct http_call_limits limits = {.connect_ns = 1000000000u,
                                            .first_byte_ns = 1000000000u};
    const struct http_call_request request = {.method = SPAN_LIT("GET"),
                                              .target = SPAN_LIT("/readyz")};

    a->body_bytes = 0;
    a->status = 0;
    if (http_call_start(a->target, &request, &limits, &fn, a, &a->call) != ERR_OK)
        a->call = NULL; /* asked again at the next turn */
}

static void
on_turn(struct loop_timer *timer)
{
    struct ready *ready = CONTAINER_OF(timer, struct ready, timer);
    uint32_t settled = 0;

    for (uint32_t i = 0; i < ready->count; i++)
        settled += ready->asked[i].same >= SAME_TURNS;
    if (settled == ready->count || clock_now_ns() > ready->deadline_ns) {
        loop_stop(ready->loop);
        return;
    }
    for (uint32_t i = 0; i < ready->count; i++)
        if (ready->asked[i].call == NULL)
            ask(&ready->asked[i]);
    loop_timer_set(ready->loop, timer, loop_now_ns(ready->loop) + ASK_EVERY_NS, on_turn);
}

enum err
load_ready(struct loop *loop, struct http_client *client, const struct load_options *options,
           double seconds)
{
    struct ready ready = {.loop = loop};
    enum err err = ERR_OK;

    for (uint32_t i = 0; err == ERR_OK && i < options->target_count; i++) {
        const struct sockaddr_in *address = &options->targets[i].public_address;

        err = http_target_open(client, (const struct sockaddr *)address, sizeof(*address),
                               SPAN_LIT("localhost"), NULL, 0, &ready.asked[i].target);
        ready.count += err == ERR_OK;
    }
    if (err == ERR_OK) {
        ready.deadline_ns = clock_now_ns() + (uint64_t)(seconds * 1e9);
        loop_timer_set(loop, &ready.timer, clock_now_ns(), on_turn);
        loop_run(loop);
        loop_timer_stop(&ready.timer);
    }
    for (uint32_t i = 0; i < ready.count; i++) {
        if (ready.asked[i].same < SAME_TURNS) {
            fprintf(stderr, "%s is not ready: status %u %s\n", options->targets[i].name,
                    ready.asked[i].status, ready.asked[i].last_body);
            err = ERR_TIMEOUT;
        }
        http_target_close(ready.asked[i].target);
    }
    return err;
}

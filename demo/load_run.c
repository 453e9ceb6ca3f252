/* load_run - one flight a request; see load_run.h.
 *
 * A timer stands for the next item that is due. A flight ends with its call; the run ends when the
 * last item was sent and no flight is left, or the time to drain is over. */
#include "load_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/list.h"
#include "io/clock.h"
#include "io/loop.h"
#include "load_reply.h"
#include "wire/sse.h"

struct load_flight {
    LIST_ENTRY(load_flight) link;
    struct load_run *run;
    size_t index;
    struct http_call *call;
    struct sse_reader reader;
    char *body;
    struct span part;
    uint64_t sent_ns;
    bool done; /* [DONE] was read */
};

LIST_HEAD(load_flights, load_flight);

struct load_run {
    struct loop *loop;
    const struct load_options *options;
    const struct load_item *items;
    size_t item_count, next;
    struct load_result *results;
    struct http_target *targets[2][LOAD_PLAN_TARGETS_MAX]; /* [second] */
    struct load_flights flights;
    uint32_t open_count;
    uint64_t start_ns;
    struct loop_timer timer;
};

const char *
load_run_end_name(enum load_end end)
{
    static const char *const names[] = {"unsent", "open", "ok", "status", "error", "failed"};

    return names[end];
}

static double
ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return (double)(int64_t)(to_ns - from_ns) * 1e-6;
}

static void
flight_free(struct load_flight *flight)
{
    LIST_REMOVE(flight, link);
    flight->run->open_count--;
    sse_reader_fini(&flight->reader);
    free(flight->body);
    free(flight);
}

/* Its call is gone. */
static void
flight_over(struct load_flight *flight, enum load_end end)
{
    struct load_run *run = flight->run;
    struct load_result *r = &run->results[flight->index];

    r->e2e_ms = ms_between(flight->sent_ns, clock_now_ns());
    r->end = r->status != 200 && end == LOAD_END_OK ? LOAD_END_STATUS
             : r->end == LOAD_END_ERROR             ? LOAD_END_ERROR
                                                    : end;
    if (run->options->over != NULL)
        run->options->over(flight->index, r, run->options->user);
    flight_free(flight);
    if (run->next == run->item_count && run->open_count == 0)
        loop_stop(run->loop);
}

/* ---- What the client calls. */

void
load_run_on_sent(struct http_call *c, bool fresh, void *user)
{
    (void)c;
    (void)fresh;
    (void)user;
}

static void
on_head(struct http_call *c, const struct http_response *response, void *user)
{
    struct load_flight *flight = user;
    struct load_result *r = &flight->run->results[flight->index];

    (void)c;
    r->status = response->status;
    for (size_t i = 0; i < response->header_count; i++) {
        struct span name = response->headers[i].name, value = response->headers[i].value;
        uint64_t attempts;

        if (span_eq_nocase(name, SPAN_LIT("x-request-id")))
            span_copy(value, r->id, sizeof(r->id));
        else if (span_eq_nocase(name, SPAN_LIT("isochrone-node")))
            span_copy(value, r->node, sizeof(r->node));
        else if (span_eq_nocase(name, SPAN_LIT("isochrone-region")))
            span_copy(value, r->region, sizeof(r->region));
        else if (span_eq_nocase(name, SPAN_LIT("server-timing")))
            r->predicted_ms = load_reply_timing_ms(value, "predict");
        else if (span_eq_nocase(name, SPAN_LIT("isochrone-attempts")) &&
                 span_u64(value, &attempts) == ERR_OK)
            r->attempts = (unsigned)attempts;
    }
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct load_flight *flight = user;
    struct load_result *r = &flight->run->results[flight->index];
    struct sse_event event;

    (void)c;
    if (r->status != 200)
        return;
    sse_reader_feed(&flight->reader, bytes);
    while (sse_reader_next(&flight->reader, &event) == ERR_OK) {
        if (event.done) {
            flight->done = true;
        } else if (load_reply_has_content(event.data)) {
            if (r->tokens++ == 0)
                r->ttft_ms = ms_between(flight->sent_ns, clock_now_ns());
        } else if (load_reply_is_error(event.data)) {
            r->end = LOAD_END_ERROR;
        }
    }
}

static enum err call(struct load_flight *flight);

/* There was no answer: the other gateway is asked, if there is one. False: there is not. */
static bool
go_second(struct load_flight *flight)
{
    struct load_run *run = flight->run;
    struct load_result *r = &run->results[flight->index];

    if (r->second || run->targets[1][run->items[flight->index].target] == NULL)
        return false;
    r->second = true;
    r->status = 0;
    return call(flight) == ERR_OK;
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t count, void *user)
{
    struct load_flight *flight = user;

    (void)c;
    (void)trailers;
    (void)count;
    if (flight->run->results[flight->index].status == 503 && go_second(flight))
        return;
    flight_over(flight, flight->done ? LOAD_END_OK : LOAD_END_ERROR);
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    struct load_flight *flight = user;

    (void)c;
    (void)why;
    if (flight->run->results[flight->index].status == 0 && go_second(flight))
        return;
    flight_over(flight, LOAD_END_FAILED);
}

/* ---- Sending. */

static enum err
call(struct load_flight *flight)
{
    static const struct http_call_fn fn = {load_run_on_sent, on_head, on_data, on_end, on_failed};
    const struct http_header headers[] = {{SPAN_LIT("content-type"), SPAN_LIT("application/json")},
                                          {SPAN_LIT("accept"), SPAN_LIT("text/event-stream")}};
    const struct http_call_limits limits = {.connect_ns = 5000000000u};
    const struct http_call_request request = {
        .method = SPAN_LIT("POST"),
        .target = SPAN_LIT("/v1/chat/completions"),
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .parts = &flight->part,
        .part_count = 1,
    };
    const struct load_run *run = flight->run;
    uint32_t target = run->items[flight->index].target;

    return http_call_start(run->targets[run->results[flight->index].second][target], &request,
                           &limits, &fn, flight, &flight->call);
}

static void
send_item(struct load_run *run, size_t index)
{
    const struct load_item *item = &run->items[index];
    struct load_result *r = &run->results[index];
    struct load_flight *flight;

    if (run->open_count == LOAD_RUN_OPEN_MAX || (flight = calloc(1, sizeof(*flight))) == NULL)
        return;
    flight->body = load_plan_body(item, run->options->models[item->model], run->options->max_tokens,
                                  &flight->part.bytes);
    flight->part.data = flight->body;
    flight->run = run;
    flight->index = index;
    flight->sent_ns = clock_now_ns();
    if (flight->body == NULL || call(flight) != ERR_OK) {
        free(flight->body);
        free(flight);
        return;
    }
    LIST_INSERT_HEAD(&run->flights, flight, link);
    run->open_count++;
    r->end = LOAD_END_OPEN;
    r->sent_ms = ms_between(run->start_ns, flight->sent_ns);
    r->late_ms = r->sent_ms - item->at_ms;
}

static void
on_drained(struct loop_timer *timer)
{
    loop_stop(timer->loop);
}

static void
on_due(struct loop_timer *timer)
{
    struct load_run *run = (struct load_run *)((char *)timer - offsetof(struct load_run, timer));
    double now_ms = ms_between(run->start_ns, clock_now_ns());

    while (run->next < run->item_count && run->items[run->next].at_ms <= now_ms)
        send_item(run, run->next++);
    if (run->next < run->item_count)
        loop_timer_set(run->loop, timer,
                       run->start_ns + (uint64_t)(run->items[run->next].at_ms * 1e6), on_due);
    else
        loop_timer_set(run->loop, timer,
                       loop_now_ns(run->loop) + (uint64_t)(run->options->drain_seconds * 1e9),
                       on_drained);
}

/* What is still in the air stays open. */
static void
land_all(struct load_run *run)
{
    struct load_flight *flight;
    uint64_t now_ns = clock_now_ns();

    loop_timer_stop(&run->timer);
    while ((flight = LIST_FIRST(&run->flights)) != NULL) {
        struct load_result *r = &run->results[flight->index];

        r->e2e_ms = ms_between(flight->sent_ns, now_ns);
        if (isnan(r->ttft_ms))
            r->ttft_ms = r->e2e_ms;
        http_call_cancel(flight->call);
        flight_free(flight);
    }
    for (uint32_t i = 0; i < 2 * LOAD_PLAN_TARGETS_MAX; i++)
        if (run->targets[i % 2][i / 2] != NULL)
            http_target_close(run->targets[i % 2][i / 2]);
}

static enum err
open_targets(struct load_run *run, struct http_client *client)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; err == ERR_OK && i < 2 * run->options->target_count; i++) {
        const struct load_target *t = &run->options->targets[i / 2];
        const struct sockaddr_in *to = i % 2 == 0 ? &t->public_address : &t->second_address;

        if (to->sin_port != 0)
            err = http_target_open(client, (const struct sockaddr *)to, sizeof(*to),
                                   span_of(t->name), NULL, 0, &run->targets[i % 2][i / 2]);
    }
    return err;
}

enum err
load_run(struct loop *loop, struct http_client *client, const struct load_options *options,
         const struct load_item *items, size_t item_count, struct load_result **ret_results)
{
    struct load_run run = {
        .loop = loop, .options = options, .items = items, .item_count = item_count};
    enum err err;

    if (item_count == 0)
        return ERR_ARG;
    run.results = calloc(item_count, sizeof(*run.results));
    if (run.results == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < item_count; i++)
        run.results[i].predicted_ms = run.results[i].ttft_ms = run.results[i].e2e_ms = NAN;
    LIST_INIT(&run.flights);
    err = open_targets(&run, client);
    if (err == ERR_OK) {
        run.start_ns = clock_now_ns();
        loop_timer_set(loop, &run.timer, run.start_ns, on_due);
        loop_run(loop);
    }
    land_all(&run);
    if (err == ERR_OK)
        *ret_results = run.results;
    else
        free(run.results);
    return err;
}

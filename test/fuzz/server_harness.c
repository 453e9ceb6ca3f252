/* server_harness - the server, its handler and its client for session fuzzing; see
 * server_harness.h. */
#include "server_harness.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/must.h"
#include "fuzz_clock.h"
#include "io/http2_session.h"
#include "io/log.h"
#include "io/tls_ticket.h"

#define OUTPUT_BYTES_MAX   (64u << 20)
#define BODY_BYTES_MAX     60000u
#define BUFFERS_BYTES_MAX  200000u
#define SHARE_BYTES_MAX    100000u
#define LONG_BYTES         90000u /* of the answer that must wait for the client */
#define QUIET_PASSES       3u
#define PASSES_MAX         10000u
#define ENDING_SECONDS_MAX 600u
#define PIECE_BYTES        65536u
#define SAYINGS_MAX        2000u

/* ---- The handler. */

enum action { ANSWER, CHUNKS, LONG, ABORT, SHORT, LATER, NEVER, LAST, ACTION_COUNT };

struct open_exchange {
    struct http_exchange *exchange; /* NULL: free */
    enum action action;
    size_t left; /* of a long answer */
    bool answered;
};

static struct {
    struct loop *loop;
    struct http_server *server;
    _Atomic size_t buffers_bytes;
    struct http_share share;
    size_t sharing; /* bodies that count in it */
    struct open_exchange open[HTTP2_STREAMS_MAX];
    const struct harness_way *way;
    struct harness_result *result;
    struct tls_context *tls; /* NULL: plain */
    char *output;
    size_t output_bytes;
} h;

static struct open_exchange *
find(const struct http_exchange *x)
{
    for (size_t i = 0; i < HTTP2_STREAMS_MAX; i++) {
        if (h.open[i].exchange == x)
            return &h.open[i];
    }
    return NULL;
}

static void
note(struct span s)
{
    h.result->requests = hash_fnv(h.result->requests, &s.bytes, sizeof(s.bytes));
    h.result->requests = hash_fnv(h.result->requests, s.data, s.bytes);
}

static void
check_head(const struct http_request *r)
{
    size_t hosts = 0;

    must(r->method.bytes > 0 && r->target.bytes > 0 && r->target.bytes <= HTTP_TARGET_BYTES_MAX);
    must(http1_header_is_clean(r->method, SPAN_LIT("")));
    for (size_t i = 0; i < r->target.bytes; i++)
        must(r->target.data[i] > 0x20 && r->target.data[i] < 0x7f && r->target.data[i] != '#');
    must(r->path.bytes > 0 && r->path.bytes + r->query.bytes <= r->target.bytes + 1);
    must(r->header_count <= HTTP_HEADERS_MAX);
    for (size_t i = 0; i < r->header_count; i++) {
        must(http1_header_is_clean(r->headers[i].name, r->headers[i].value));
        hosts += span_eq_nocase(r->headers[i].name, SPAN_LIT("host"));
    }
    must(hosts <= 1); /* none in HTTP/1.0 */
}

static void
check_request(const struct http_request *r)
{
    check_head(r);
    must(r->body.bytes <= BODY_BYTES_MAX);
    for (size_t i = 0; i < HTTP_BODY_PADDING; i++)
        must(r->body.data[r->body.bytes + i] == 0);
    note(r->method);
    note(r->target);
    for (size_t i = 0; i < r->header_count; i++) {
        note(r->headers[i].name);
        note(r->headers[i].value);
    }
    note(r->body);
}

static enum action
action_of(const struct http_request *r)
{
    return r->target.bytes < 2 ? ANSWER : (enum action)(r->target.data[1] % ACTION_COUNT);
}

/* As much of a long answer as may wait. */
static void
go_on(struct open_exchange *o)
{
    static const char piece[5000];
    struct http_exchange *x = o->exchange;

    while (o->left > 0 && http_response_pending(x) <= 20000) {
        size_t n = o->left < sizeof(piece) ? o->left : sizeof(piece);
        http_response_write(x, (struct span){piece, n});
        o->left -= n;
    }
    if (o->left == 0) {
        o->answered = true;
        http_response_end(x);
    }
}

static void
leave(struct open_exchange *o)
{
    must(o != NULL && o->exchange != NULL);
    o->exchange = NULL;
}

static void
answer(struct open_exchange *o, const struct http_request *r)
{
    struct http_exchange *x = o->exchange;
    const struct http_header headers[] = {{SPAN_LIT("x-target"), r->target},
                                          {SPAN_LIT("x-evil"), SPAN_LIT("a\r\nb: c")}};
    const struct http_header trailers[] = {
        headers[0], headers[1], {SPAN_LIT("Content-Length"), SPAN_LIT("1")}};

    o->answered = o->action != LONG;
    switch (o->action) {
    case CHUNKS:
        http_response_start(x, 200, headers, 1);
        http_response_write(x, SPAN_LIT("one"));
        http_response_write(x, SPAN_LIT(""));
        http_response_write(x, r->body);
        http_response_end_trailers(x, trailers, sizeof(trailers) / sizeof(trailers[0]));
        break;
    case LONG:
        o->left = LONG_BYTES;
        http_response_start(x, 200, headers, 1);
        go_on(o);
        break;
    case ABORT:
        http_response_start(x, 200, headers, 1);
        http_response_write(x, SPAN_LIT("a part"));
        leave(o);
        h.result->cut_off = true;
        http_response_abort(x);
        break;
    case SHORT: /* less than announced: broken off, unless it has no body at all */
        http_response_start_length(x, 200, headers, 1, 9);
        http_response_write(x, SPAN_LIT("part"));
        if (!span_eq_text(r->method, "HEAD")) {
            leave(o);
            h.result->cut_off = true;
        }
        http_response_end(x);
        break;
    case LAST:
        http_response_start_length(x, 201, headers, 1, r->body.bytes);
        http_response_write(x, r->body);
        http_response_close_after(x);
        http_response_end(x);
        break;
    default:
        http_respond(x, r->body.bytes == 1 ? 204 : 200, headers, 2, r->body);
        break;
    }
}

static void
on_request(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct open_exchange *o = find(NULL);

    (void)user;
    must(o != NULL && find(x) == NULL); /* no more than HTTP2_STREAMS_MAX at once */
    check_request(r);
    if (h.result->request_count < HARNESS_REQUESTS_MAX) {
        h.result->to_head[h.result->request_count] = span_eq_text(r->method, "HEAD");
        h.result->after[h.result->request_count] = h.result->requests;
    }
    h.result->request_count++;
    *o = (struct open_exchange){.exchange = x, .action = action_of(r)};
    http_exchange_set_user(x, (void *)(uintptr_t)r);
    if (o->action != LATER && o->action != NEVER)
        answer(o, r);
}

static void
on_release(struct http_share *share)
{
    must(share == &h.share && h.sharing > 0);
    h.sharing--;
}

static bool
on_admit(const struct http_request *r, void *user, struct http_share **ret_share)
{
    (void)user;
    check_head(r);
    must(r->body.bytes == 0 && *ret_share == NULL);
    if (h.way->refuses && r->target.bytes > 1 && r->target.data[1] == 'n')
        return false;
    *ret_share = &h.share;
    h.sharing++;
    return true;
}

static void
on_gone(struct http_exchange *x, void *user)
{
    (void)user;
    leave(find(x));
    h.result->cut_off = true;
    http_respond(x, 200, NULL, 0, SPAN_LIT("nobody reads this"));
}

static void
on_drained(struct http_exchange *x, void *user)
{
    struct open_exchange *o = find(x);

    (void)user;
    must(o != NULL && o->action == LONG && !o->answered);
    go_on(o);
}

static void
on_done(struct http_exchange *x, void *user)
{
    struct open_exchange *o = find(x);

    (void)user;
    must(o != NULL && o->answered);
    leave(o);
    http_response_abort(x); /* too late: does nothing */
}

/* ---- The server. */

static struct tls_context *
give_context(void *user)
{
    (void)user;
    return h.tls;
}

void
server_harness_use_tls(struct tls_context *context)
{
    h.tls = context;
}

static void
open_once(void)
{
    static const struct http_server_fn fn = {.request = on_request,
                                             .admit = on_admit,
                                             .gone = on_gone,
                                             .drained = on_drained,
                                             .done = on_done};
    const struct http_server_limits limits = {.body_bytes_max = BODY_BYTES_MAX,
                                              .connections_max = 8,
                                              .head_ns = 10 * SECOND_NS,
                                              .body_idle_ns = 5 * SECOND_NS,
                                              .keep_alive_ns = 20 * SECOND_NS,
                                              .write_idle_ns = 15 * SECOND_NS,
                                              .high_water_bytes = 20000,
                                              .low_water_bytes = 5000,
                                              .buffers_bytes = &h.buffers_bytes,
                                              .buffers_bytes_max = BUFFERS_BYTES_MAX,
                                              .share_bytes_max = SHARE_BYTES_MAX,
                                              .upload_bytes_per_second_min = 1000,
                                              .download_bytes_per_second_min = 1000,
                                              .pace_grace_ns = 10 * SECOND_NS};

    struct tls_tickets tickets;

    if (h.loop != NULL)
        return;
    log_set_level(LOG_ERROR);
    h.share.release = on_release;
    must(loop_open(&h.loop) == ERR_OK);
    must(http_server_open(h.loop, NULL, 0, false, NULL, &limits, &fn, NULL, &h.server) == ERR_OK);
    must(tls_tickets_init(&tickets, fuzz_now_ns) == ERR_OK);
    if (h.tls != NULL)
        must(http_server_use_tls(h.server, give_context, &tickets, NULL) == ERR_OK);
    h.output = malloc(OUTPUT_BYTES_MAX);
    must(h.output != NULL);
}

/* Read what is there; false: nothing was. */
static bool
receive(int fd)
{
    bool any = false;
    ssize_t n;

    while ((n = recv(fd, h.output + h.output_bytes, OUTPUT_BYTES_MAX - h.output_bytes,
                     MSG_DONTWAIT)) > 0) {
        h.output_bytes += (size_t)n;
        must(h.output_bytes < OUTPUT_BYTES_MAX);
        any = true;
    }
    return any;
}

/* Turn the loop until nothing comes of it any more. */
static void
turn(int fd, bool reads)
{
    unsigned quiet = 0;

    for (unsigned i = 0; i < PASSES_MAX && quiet < QUIET_PASSES; i++) {
        uint32_t before = h.result->request_count;
        loop_pass(h.loop, 0);
        quiet = (reads && receive(fd)) || h.result->request_count != before ? 0 : quiet + 1;
    }
    must(quiet == QUIET_PASSES);
}

/* Answer, or break off, what waits; false: nothing did. */
static bool
answer_waiting(void)
{
    bool any = false;

    for (size_t i = 0; i < HTTP2_STREAMS_MAX; i++) {
        struct open_exchange *o = &h.open[i];
        struct http_exchange *x = o->exchange;

        if (x == NULL || o->answered)
            continue;
        if (o->action == LATER) {
            answer(o, http_exchange_user(x));
            any = true;
        } else if (o->action == NEVER) {
            leave(o);
            h.result->cut_off = true;
            http_response_abort(x);
            any = true;
        }
    }
    return any;
}

static void
feed(int fd, struct span in, bool reads)
{
    unsigned stuck = 0;

    while (in.bytes > 0 && stuck < 2) {
        ssize_t n = send(fd, in.data, in.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return;
        in = span_from(in, n > 0 ? (size_t)n : 0);
        stuck = n > 0 ? 0 : stuck + 1;
        turn(fd, reads);
    }
}

/* A client that answers. */
static void
converse(int fd, const struct harness_way *way)
{
    static char piece[PIECE_BYTES];
    unsigned wait_s;
    size_t n;

    for (unsigned i = 0; i < SAYINGS_MAX && way->say((struct span){h.output, h.output_bytes}, piece,
                                                     sizeof(piece), &n, &wait_s, way->user);
         i++) {
        fuzz_now_ns += wait_s * SECOND_NS;
        feed(fd, (struct span){piece, n}, true);
        turn(fd, true);
    }
}

static void
end(int fd)
{
    if (h.way->waits) {
        for (unsigned s = 0; s < ENDING_SECONDS_MAX && http_server_connections(h.server) > 0; s++) {
            fuzz_now_ns += SECOND_NS;
            turn(fd, true);
        }
        must(http_server_connections(h.server) == 0);
        receive(fd);
    }
    close(fd);
    for (unsigned i = 0; i < 10 && http_server_connections(h.server) > 0; i++)
        loop_pass(h.loop, 0);
    fuzz_now_ns += 1000 * SECOND_NS; /* allowances and dates are fresh for the next one */
    loop_pass(h.loop, 0);
}

void
server_harness_run(struct span input, const struct harness_way *way,
                   struct harness_result *ret_result)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNIX};
    size_t cut = way->cut < input.bytes ? way->cut : input.bytes;
    int fds[2], small = 8192;

    open_once();
    h.way = way;
    h.result = ret_result;
    h.output_bytes = 0;
    *ret_result = (struct harness_result){.requests = HASH_FNV_START};
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    if (way->slow)
        must(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    http_session_open(h.server, fds[0], &nobody, sizeof(nobody));
    must(http_server_connections(h.server) == 1);
    if (way->say != NULL) {
        converse(fds[1], way);
    } else {
        feed(fds[1], (struct span){input.data, cut}, !way->slow);
        feed(fds[1], span_from(input, cut), !way->slow);
    }
    turn(fds[1], true);
    while (answer_waiting())
        turn(fds[1], true);
    end(fds[1]);
    ret_result->output = (struct span){h.output, h.output_bytes};
    must(http_server_connections(h.server) == 0 && http_server_exchanges(h.server) == 0);
    must(atomic_load(&h.buffers_bytes) == 0);
    must(atomic_load(&h.share.bytes) == 0 && h.sharing == 0);
    for (size_t i = 0; i < HTTP2_STREAMS_MAX; i++)
        must(h.open[i].exchange == NULL);
}

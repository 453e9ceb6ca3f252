/* fault_test - the n-th allocation or system call of a gateway fails, for n = 1, 2, ... until there
 * is no n-th any more, for each kind of fault and each kind of request. Each time a fresh gateway
 * and fresh engines are asked twice while the fault is armed, then once more.
 *
 * What must hold: nothing crashes or hangs; the client gets the whole answer, an error with a
 * status, an event in the stream that says so, or an answer that is recognisably cut off, and never
 * two of them; the question after it is answered; and nothing is counted as in flight any more.
 *
 * usage: fault_test            every STRIDE-th n, for the gate
 *        fault_test --all      every n
 *        fault_test SCENARIO   every n of one
 *        fault_test SCENARIO FAULT N   one run; what a failure prints */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "fault.h"
#include "io/log.h"
#include "tap.h"
#include "wire/http1.h"
#include "wire/keys.h"

#define STRIDE         9u
#define POINTS_MAX     3000u /* of one kind in one scenario: a guard */
#define HANG_S         10    /* no answer within this is none */
#define PROMPT_BYTES   300000u
#define BODY_BYTES_MAX 65536u
#define API_KEY        "sk-alice"
#define READY_TRIES    5000u /* of 1 ms */
#define STREAMS        2u
#define FAILURES_SHOWN 5u

/* ---- Answers and what is thought of them. */

enum verdict { WHOLE, ERROR_STATUS, ERROR_EVENT, CUT, VERDICTS };

struct answer {
    unsigned status;
    bool whole;
    const char *wrong; /* what must never be; NULL: nothing */
    char body[BODY_BYTES_MAX];
    size_t bytes;
};

struct tally {
    unsigned count[VERDICTS];
};

static void
add_body(struct answer *a, const void *data, size_t bytes)
{
    if (bytes >= sizeof(a->body) - a->bytes) {
        a->wrong = "more than anybody said";
        return;
    }
    memcpy(a->body + a->bytes, data, bytes);
    a->bytes += bytes;
    a->body[a->bytes] = '\0';
}

static unsigned
times(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

/* NULL, or what is wrong with it. */
static const char *
judge(const struct answer *a, bool stream, struct tally *tally)
{
    bool error = strstr(a->body, "\"error\":{") != NULL;
    bool all = stream ? strstr(a->body, "data: [DONE]\n\n") != NULL &&
                            times(a->body, "\"content\":\"hi\"") == 1 &&
                            times(a->body, "\"content\":\" there\"") == 1
                      : times(a->body, "\"content\":\"hi there\"") == 1 &&
                            a->body[a->bytes - 1] == '}';

    if (a->wrong != NULL)
        return a->wrong;
    if (times(a->body, "\"content\":\"hi") > 1)
        return "content comes twice";
    if (!a->whole)
        tally->count[CUT]++;
    else if (a->status == 200 && all && !error)
        tally->count[WHOLE]++;
    else if (a->status == 200 && stream && error)
        tally->count[ERROR_EVENT]++;
    else if (a->status >= 400 && error)
        tally->count[ERROR_STATUS]++;
    else
        return a->status == 200 ? "an answer that lacks something, and does not say so"
                                : "an error that says nothing";
    return NULL;
}

/* ---- The world: a gateway and two engines, the first of which is asked first. */

static struct {
    struct e2e_engine *first, *second;
    struct e2e_gateway gateway;
} world;

static bool
status_500(struct e2e_call *call)
{
    e2e_json(call, 500, "", "{\"error\":{\"message\":\"boom\"}}");
    return true;
}

static bool
leaves_after_content(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    return false;
}

static void
await_ready(void)
{
    for (unsigned i = 0; i < READY_TRIES; i++) {
        struct e2e_reply reply;
        bool good;
        e2e_ask(world.gateway.port, "GET", "/readyz", "", "", &reply);
        good = strstr(reply.body, "\"ready_placements\":2}") != NULL;
        e2e_reply_fini(&reply);
        if (good)
            return;
        usleep(1000);
    }
    must(false);
}

#define CONFIG                                                                                     \
    "region: us-east\nrule: nearest\nengines:\n"                                                   \
    "  - {name: first, url: \"http://127.0.0.1:%u\", kind: openai, region: us-east}\n"             \
    "  - {name: second, url: \"http://127.0.0.1:%u\", kind: openai, region: eu-west}\n"            \
    "models: {m: {aliases: [engine-name]}}\n"

/* A file of keys beside the configuration, and a state directory for what they use. */
static const char *
write_keyed_config(void)
{
    static char path[256];
    unsigned char sha256[KEY_SHA256_BYTES];
    char keys_path[256], hex[2 * KEY_SHA256_BYTES + 1];

    keys_sha256(SPAN_LIT(API_KEY), sha256);
    for (size_t i = 0; i < sizeof(sha256); i++)
        snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    e2e_write_file(e2e_path("keys.yaml", keys_path, sizeof(keys_path)),
                   "keys: [{name: alice, sha256: \"%s\", requests_per_minute: 1000, "
                   "tokens_per_minute: 10000000, concurrency: 4}]\n",
                   hex);
    e2e_write_file(e2e_path("config.yaml", path, sizeof(path)),
                   "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                   "keys: file:keys.yaml\nstate: state\n" CONFIG,
                   e2e_engine_port(world.first), e2e_engine_port(world.second));
    return path;
}

static void
open_world(e2e_script *script, bool keyed)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 1000000000000u, .seed = 1};

    world.first = e2e_engine_start("engine-name", script != NULL ? script : e2e_good);
    world.second = e2e_engine_start("engine-name", e2e_good);
    fault_marks(true);
    if (keyed)
        e2e_gateway_load(&world.gateway, &options, write_keyed_config());
    else
        e2e_gateway_start(&world.gateway, &options, CONFIG, e2e_engine_port(world.first),
                          e2e_engine_port(world.second));
    fault_marks(false);
    await_ready();
}

static void
close_world(void)
{
    e2e_gateway_stop(&world.gateway);
    e2e_engine_stop(world.first);
    e2e_engine_stop(world.second);
}

/* Nothing is in flight or in memory; the connections may just be about to be closed. */
static bool
is_at_rest(void)
{
    for (unsigned i = 0; i < READY_TRIES; i++) {
        struct e2e_reply reply;
        bool good;
        e2e_ask(world.gateway.admin_port, "GET", "/metrics", "", "", &reply);
        good = reply.whole && strstr(reply.body, "isochrone_requests_in_flight 0\n") != NULL &&
               strstr(reply.body, "isochrone_buffers_bytes 0\n") != NULL;
        e2e_reply_fini(&reply);
        if (good)
            return true;
        usleep(1000);
    }
    return false;
}

/* ---- A client of HTTP/1.1 that keeps its connection. */

struct client {
    int fd; /* -1: none */
    struct http1_parser parser;
};

static const struct http1_limits limits = {
    .head_bytes_max = 65536, .headers_max = 100, .body_bytes_max = UINT64_MAX};

static int
open_socket(uint16_t port)
{
    const struct timeval wait = {.tv_sec = HANG_S};
    int fd = e2e_connect(port);

    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0);
    must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0);
    return fd;
}

static void
leave(struct client *c)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    http1_fini(&c->parser);
}

/* Make sure of a connection; what came over a kept one without being asked for is wrong. */
static void
enter(struct client *c, uint16_t port, struct answer *a)
{
    char byte;
    ssize_t n;

    if (c->fd >= 0) {
        n = recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        if (n > 0)
            a->wrong = "a second answer";
        if (n >= 0 || errno != EAGAIN)
            leave(c);
    }
    if (c->fd >= 0)
        return;
    c->fd = open_socket(port);
    http1_response_init(&c->parser, &limits, false);
}

/* Feed what came; true: the answer is over. */
static bool
take(struct client *c, struct answer *a, struct span in)
{
    for (;;) {
        struct span body;
        size_t used = 0;
        enum http1_event event = http1_feed(&c->parser, in, &used, &body);

        in = span_from(in, used);
        if (event == HTTP1_NEED_MORE)
            return false;
        if (event == HTTP1_HEAD)
            a->status = http1_status_code(&c->parser);
        if (event == HTTP1_BODY)
            add_body(a, body.data, body.bytes);
        if (event == HTTP1_ERROR)
            a->wrong = "no HTTP";
        if (event != HTTP1_COMPLETE && event != HTTP1_ERROR)
            continue;
        a->whole = event == HTTP1_COMPLETE;
        if (in.bytes > 0)
            a->wrong = "more than one answer";
        return true;
    }
}

static void
send_text(int fd, const char *text)
{
    size_t bytes = strlen(text);

    while (bytes > 0) {
        ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* it may have answered all the same */
        text += n;
        bytes -= (size_t)n;
    }
}

static void
ask(struct client *c, uint16_t port, const char *first_line, const char *body, struct answer *a)
{
    char head[300], piece[16384];
    ssize_t n;

    memset(a, 0, offsetof(struct answer, body));
    a->bytes = 0;
    a->body[0] = '\0';
    enter(c, port, a);
    snprintf(head, sizeof(head),
             "%s HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: " API_KEY
             "\r\ncontent-length: %zu\r\n\r\n",
             first_line, strlen(body));
    send_text(c->fd, head);
    send_text(c->fd, body);
    do
        n = recv(c->fd, piece, sizeof(piece), 0);
    while (n > 0 && !take(c, a, (struct span){piece, (size_t)n}));
    if (n < 0 && errno == EAGAIN)
        a->wrong = "no answer, and no end either";
    if (n == 0 && !http1_is_fresh(&c->parser))
        a->whole = http1_finish(&c->parser) == HTTP1_COMPLETE;
    if (!a->whole || a->wrong != NULL || !http1_keep_alive(&c->parser))
        leave(c);
    else
        http1_next(&c->parser);
}

/* ---- A client of HTTP/2: STREAMS requests at once on a connection. */

struct h2 {
    struct answer *answers; /* of stream 1, 3, ... */
    const char *body;
    size_t body_at[STREAMS];
    bool closed[STREAMS];
};

static int
h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags, void *user)
{
    struct h2 *h = user;

    (void)session;
    (void)value_bytes;
    (void)flags;
    if (name_bytes == 7 && memcmp(name, ":status", 7) == 0)
        h->answers[frame->hd.stream_id / 2].status = (unsigned)strtoul((const char *)value, NULL,
                                                                       10);
    return 0;
}

static int
h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t bytes,
        void *user)
{
    struct h2 *h = user;

    (void)session;
    (void)flags;
    add_body(&h->answers[id / 2], data, bytes);
    return 0;
}

static int
h2_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct h2 *h = user;

    (void)session;
    h->closed[id / 2] = true;
    h->answers[id / 2].whole = error_code == NGHTTP2_NO_ERROR && h->answers[id / 2].status != 0;
    return 0;
}

static ssize_t
h2_upload(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
          nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    size_t left = strlen(h->body) - h->body_at[id / 2], n = left < length ? left : length;

    (void)session;
    (void)source;
    memcpy(buffer, h->body + h->body_at[id / 2], n);
    h->body_at[id / 2] += n;
    if (n == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1,        \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

static nghttp2_session *
h2_open(struct h2 *h)
{
    const nghttp2_nv nv[] = {NV(":method", "POST"), NV(":path", "/v1/chat/completions"),
                             NV(":scheme", "http"), NV(":authority", "a")};
    const nghttp2_data_provider provider = {.read_callback = h2_upload};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;

    must(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_close);
    must(nghttp2_session_client_new(&session, callbacks, h) == 0);
    nghttp2_session_callbacks_del(callbacks);
    must(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    for (unsigned i = 0; i < STREAMS; i++)
        must(nghttp2_submit_request(session, NULL, nv, 4, &provider, NULL) == (int32_t)(2 * i + 1));
    return session;
}

static void
h2_ask(uint16_t port, const char *body, struct answer answers[STREAMS])
{
    struct h2 h = {.answers = answers, .body = body};
    nghttp2_session *session = h2_open(&h);
    int fd = open_socket(port);
    uint8_t piece[16384];
    const uint8_t *out;
    bool all = false;
    ssize_t n = 1;

    memset(answers, 0, STREAMS * sizeof(*answers));
    while (!all && n > 0) {
        while ((n = nghttp2_session_mem_send(session, &out)) > 0) {
            for (ssize_t at = 0, sent = 1; at < n && sent > 0; at += sent)
                sent = send(fd, out + at, (size_t)(n - at), MSG_NOSIGNAL);
        }
        n = recv(fd, piece, sizeof(piece), 0);
        if (n > 0 && nghttp2_session_mem_recv(session, piece, (size_t)n) < 0)
            answers[0].wrong = "no HTTP/2";
        all = true;
        for (unsigned i = 0; i < STREAMS; i++)
            all = all && h.closed[i];
    }
    for (unsigned i = 0; i < STREAMS && n < 0 && errno == EAGAIN; i++) {
        if (!h.closed[i])
            answers[i].wrong = "no answer, and no end either";
    }
    nghttp2_session_del(session);
    close(fd);
}

/* ---- Scenarios: two questions while the fault is armed. NULL, or what is wrong. */

static const char *
chat_twice(const char *body, bool stream, struct tally *tally)
{
    static struct answer a;
    struct client c = {.fd = -1};
    const char *wrong = NULL;

    for (unsigned i = 0; i < 2 && wrong == NULL; i++) {
        ask(&c, world.gateway.port, "POST /v1/chat/completions", body, &a);
        wrong = judge(&a, stream, tally);
    }
    leave(&c);
    return wrong;
}

static const char *
run_json(struct tally *tally)
{
    return chat_twice(E2E_CHAT, false, tally);
}

/* What is said about usage, too, is whole or an error. */
static const char *
run_keyed(struct tally *tally)
{
    static struct answer a;
    struct client c = {.fd = -1};
    const char *wrong = chat_twice(E2E_CHAT, false, tally);

    if (wrong != NULL)
        return wrong;
    ask(&c, world.gateway.port, "GET /network/v1/usage?by=key,model", "", &a);
    leave(&c);
    if (a.whole && strstr(a.body, a.status == 200 ? "\"more\":false}" : "\"error\":{") == NULL)
        return "an answer that lacks something";
    return a.wrong;
}

static const char *
run_stream(struct tally *tally)
{
    return chat_twice(E2E_STREAM, true, tally);
}

static const char *
run_long(struct tally *tally)
{
    static char body[PROMPT_BYTES + 200];
    int bytes = snprintf(body, sizeof(body),
                         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"");

    memset(body + bytes, 'a', PROMPT_BYTES);
    snprintf(body + bytes + PROMPT_BYTES, 20, "\"}]}");
    return chat_twice(body, false, tally);
}

static const char *
h2_twice(const char *body, bool stream, struct tally *tally)
{
    static struct answer answers[STREAMS];
    const char *wrong = NULL;

    for (unsigned i = 0; i < 2; i++) {
        h2_ask(world.gateway.port, body, answers);
        for (unsigned j = 0; j < STREAMS && wrong == NULL; j++)
            wrong = judge(&answers[j], stream, tally);
    }
    return wrong;
}

static const char *
run_h2_json(struct tally *tally)
{
    return h2_twice(E2E_CHAT, false, tally);
}

static const char *
run_h2_stream(struct tally *tally)
{
    return h2_twice(E2E_STREAM, true, tally);
}

/* What the gateway tells about itself: whole, an error, or cut off. */
static const char *
run_admin(struct tally *tally)
{
    static const char *const lines[] = {"GET /metrics",
                                        "GET /network/v1/nodes",
                                        "GET /network/v1/capacity",
                                        "GET /network/v1/demand",
                                        "GET /network/v1/readiness",
                                        "GET /network/v1/events",
                                        "POST /network/v1/explain"};
    static struct answer a;
    struct client c = {.fd = -1};
    const char *wrong = NULL;

    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]) && wrong == NULL; i++) {
        ask(&c, world.gateway.admin_port, lines[i], lines[i][0] == 'P' ? E2E_CHAT : "", &a);
        wrong = a.wrong;
        if (!a.whole)
            tally->count[CUT]++;
        else if (a.status == 200 && a.bytes > 0)
            tally->count[WHOLE]++;
        else if (a.status >= 400 && strstr(a.body, "\"error\"") != NULL)
            tally->count[ERROR_STATUS]++;
        else if (wrong == NULL)
            wrong = "an answer that is none";
    }
    leave(&c);
    return wrong;
}

/* Starting itself: it does, or says that it does not. */
static bool
start_strikes(enum fault kind, uint64_t n, struct tally *tally)
{
    static const char text[] = "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
                               "engines: [{name: first, url: \"http://127.0.0.1:1\"}]\n"
                               "models: {m: {aliases: [engine-name]}}\n";
    struct gateway_options options = {.rule = -1, .seed = 1};
    struct gateway *gateway = NULL;
    enum err err;
    bool struck;

    fault_concerns_me(true);
    fault_arm(kind, n);
    err = roster_read(span_of(text), "test.yaml", 0, NULL, &options.roster);
    if (err == ERR_OK)
        err = gateway_open(&options, &gateway);
    struck = fault_disarm() >= n;
    fault_concerns_me(false);
    gateway_close(gateway);
    tally->count[err == ERR_OK ? WHOLE : ERROR_STATUS]++;
    return struck;
}

static const struct scenario {
    const char *name;
    e2e_script *script;                 /* of the first engine; NULL: it is good */
    const char *(*run)(struct tally *); /* NULL: only the start */
    bool keyed;
} scenarios[] = {
    {"json", .run = run_json},
    {"keyed", .run = run_keyed, .keyed = true},
    {"stream", .run = run_stream},
    {"long", .run = run_long},
    {"retry", .script = status_500, .run = run_json},
    {"left", .script = leaves_after_content, .run = run_stream},
    {"h2_json", .run = run_h2_json},
    {"h2_stream", .run = run_h2_stream},
    {"admin", .run = run_admin},
    {"start", .run = NULL},
};

/* ---- Runs. */

static char present[200]; /* the run that goes on now, for who dies in it */

static void
on_abort(int signal_number)
{
    (void)signal_number;
    if (write(STDERR_FILENO, present, strlen(present)) < 0)
        return;
}

/* One run; NULL, or what is wrong. *ret_struck: there was an n-th point. */
static const char *
run(const struct scenario *s, enum fault kind, uint64_t n, struct tally *tally, bool *ret_struck)
{
    static struct answer a;
    struct client c = {.fd = -1};
    struct tally after = {0};
    const char *wrong;

    snprintf(present, sizeof(present), "fault_test %s %s %llu\n", s->name, fault_name(kind),
             (unsigned long long)n);
    if (s->run == NULL) {
        *ret_struck = start_strikes(kind, n, tally);
        return NULL;
    }
    open_world(s->script, s->keyed);
    fault_arm(kind, n);
    wrong = s->run(tally);
    *ret_struck = fault_disarm() >= n;
    e2e_engine_script(world.first, e2e_good);
    ask(&c, world.gateway.port, "POST /v1/chat/completions", E2E_CHAT, &a);
    if (wrong == NULL)
        wrong = judge(&a, false, &after);
    if (wrong == NULL && after.count[WHOLE] != 1)
        wrong = "the question after it is not answered";
    leave(&c);
    if (wrong == NULL && !is_at_rest())
        wrong = "something is in flight for ever";
    close_world();
    return wrong;
}

/* All n of a kind, every stride-th at least. */
static void
run_kind(const struct scenario *s, enum fault kind, uint64_t stride)
{
    struct tally tally = {0};
    unsigned failures = 0;
    bool struck = true;
    uint64_t n = 1;
    char label[100];

    for (; struck && n <= POINTS_MAX; n += stride) {
        const char *wrong = run(s, kind, n, &tally, &struck);
        if (wrong != NULL && failures++ < FAILURES_SHOWN)
            printf("# %s, after %s; repeat: fault_test %s %s %llu\n", wrong, fault_where(), s->name,
                   fault_name(kind), (unsigned long long)n);
    }
    snprintf(label, sizeof(label), "%s, %s: %llu points, %u whole, %u errors, %u events, %u cut",
             s->name, fault_name(kind), (unsigned long long)(n - 1 - (struck ? 0 : stride)),
             tally.count[WHOLE], tally.count[ERROR_STATUS], tally.count[ERROR_EVENT],
             tally.count[CUT]);
    CHECK(failures == 0 && !struck, label);
    fflush(stdout);
}

static int
run_one(const char *scenario, const char *kind, uint64_t n)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        for (int k = 0; k < FAULT_COUNT; k++) {
            struct tally tally = {0};
            const char *wrong;
            bool struck;
            if (strcmp(scenarios[i].name, scenario) != 0 || strcmp(fault_name(k), kind) != 0)
                continue;
            wrong = run(&scenarios[i], (enum fault)k, n, &tally, &struck);
            printf("# %s\n", fault_where());
            CHECK(wrong == NULL, wrong != NULL ? wrong : "as it should be");
            CHECK(struck, "there is such a point");
        }
    }
    return tap_done();
}

int
main(int argc, char **argv)
{
    bool all = argc == 2 && strcmp(argv[1], "--all") == 0;

    log_set_level(LOG_ERROR);
    must(signal(SIGABRT, on_abort) != SIG_ERR);
    if (argc == 4)
        return run_one(argv[1], argv[2], strtoull(argv[3], NULL, 10));
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (argc == 2 && !all && strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        for (int kind = 0; kind < FAULT_COUNT; kind++)
            run_kind(&scenarios[i], (enum fault)kind, argc == 2 ? 1 : STRIDE);
    }
    return tap_done();
}

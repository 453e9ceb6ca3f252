/* smuggling_requests - each case sent to a gateway in front of an engine that writes down what it
 * is asked: what the client hears and what the engine gets must be what one strict parser reads, in
 * whatever pieces it comes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/must.h"
#include "e2e.h"
#include "smuggling_case.h"

#define ASKED_MAX 16u /* by one case */

/* What the engine was asked since it was looked at last. */
static struct {
    pthread_mutex_t lock;
    size_t count;
    char *bodies[ASKED_MAX];
    const char *wrong; /* a request that should not have been written so */
} asked = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- The engine. */

/* All that a gateway may send, each at most once; nothing of one hop, nothing of the client's but
 * the trace. */
static const char *const names[] = {
    "host",         "content-type",  "content-length", "accept",     "user-agent",
    "x-request-id", "authorization", "traceparent",    "tracestate", "isochrone-via",
};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

static const char *
header_wrong(struct span line, size_t body_bytes, unsigned *seen)
{
    size_t colon = span_find(line, ':');
    struct span value = span_from(line, colon + 2);
    uint64_t length;

    if (colon + 2 > line.bytes || line.data[colon + 1] != ' ')
        return "a line that is no header";
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.data[i] < ' ' || value.data[i] > '~')
            return "a strange byte in a value";
    }
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        if (!span_eq_text((struct span){line.data, colon}, names[i]))
            continue;
        if ((*seen & 1u << i) != 0)
            return "a header twice";
        *seen |= 1u << i;
        if (strcmp(names[i], "content-length") == 0 &&
            (span_u64(value, &length) != ERR_OK || length != body_bytes || value.data[0] == '0'))
            return "a length that is not the body's";
        return NULL;
    }
    return "a header that does not belong there";
}

/* The whole head, to the letter. NULL: good. */
static const char *
head_wrong(struct span head, size_t body_bytes)
{
    const struct span first = SPAN_LIT("POST /v1/completions HTTP/1.1\r\n");
    unsigned seen = 0;

    if (!span_starts(head, first))
        return "another request line";
    for (head = span_from(head, first.bytes);;) {
        struct span line = {head.data, span_find(head, '\r')};
        const char *wrong;

        if (line.bytes + 2 > head.bytes || head.data[line.bytes + 1] != '\n')
            return "a line without its end";
        head = span_from(head, line.bytes + 2);
        if (line.bytes == 0)
            break;
        wrong = header_wrong(line, body_bytes, &seen);
        if (wrong != NULL)
            return wrong;
    }
    if (head.bytes != 0)
        return "bytes behind the head";
    return (seen & 5u) == 5u ? NULL : "no host, or no length";
}

static bool
write_down(struct e2e_call *call)
{
    const char *wrong = head_wrong(span_of(call->head), strlen(call->body));
    char byte;

    if (wrong == NULL && recv(call->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        wrong = "bytes behind the request";
    pthread_mutex_lock(&asked.lock);
    if (asked.count < ASKED_MAX)
        asked.bodies[asked.count] = strdup(call->body);
    asked.count++;
    asked.wrong = wrong != NULL ? wrong : asked.wrong;
    pthread_mutex_unlock(&asked.lock);
    return e2e_good_json(call);
}

/* ---- One case. */

struct run {
    struct smuggling_client client;
    struct smuggling_asked asked; /* what the engine should have got */
};

void
smuggling_asked_add(struct smuggling_asked *to, struct span body)
{
    must(to->count < sizeof(to->bodies) / sizeof(to->bodies[0]));
    to->bodies[to->count++] = body;
}

/* Look at what the engine got, and forget it. */
static const char *
check_asked(const struct smuggling_asked *wanted)
{
    const char *wrong;

    pthread_mutex_lock(&asked.lock);
    wrong = asked.wrong;
    if (wrong == NULL && asked.count != wanted->count)
        wrong = asked.count > wanted->count ? "more requests were forwarded" : "fewer forwarded";
    for (size_t i = 0; i < asked.count && i < ASKED_MAX; i++) {
        struct span got = span_of(asked.bodies[i]);
        if (wrong == NULL && !span_eq(got, wanted->bodies[i]))
            wrong = "another body was forwarded";
        free(asked.bodies[i]);
    }
    asked.count = 0;
    asked.wrong = NULL;
    pthread_mutex_unlock(&asked.lock);
    return wrong;
}

/* What comes back, in order. ret_open: the connection should be in step behind it. */
static const char *
check_responses(const struct smuggling_case *c, struct run *run, bool *ret_open)
{
    *ret_open = false;
    for (size_t i = 0; i < c->expect_count; i++) {
        const struct smuggling_expect *e = &c->expect[i];
        struct smuggling_response response;
        const char *wrong;

        if (e->status == 0) { /* wait */
            shutdown(run->client.fd, SHUT_WR);
            if (smuggling_client_read(&run->client, false, &response) == NULL)
                return "an answer to half a request";
            return smuggling_client_ended(&run->client) ? NULL : "bytes that answer nothing";
        }
        wrong = smuggling_client_read(&run->client, e->head, &response);
        if (wrong != NULL)
            return wrong;
        if (response.status != e->status) {
            printf("# status %u\n", response.status);
            return "another status";
        }
        if (response.closes != e->close)
            return e->close ? "it does not end the connection" : "it ends the connection";
        if (e->rest.bytes > 0)
            smuggling_asked_add(&run->asked, e->rest);
        if (e->close)
            return smuggling_client_ended(&run->client) ? NULL : "more behind the last response";
    }
    *ret_open = true;
    return NULL;
}

/* A good request behind all this is read as one. */
static const char *
check_in_step(struct run *run)
{
    struct smuggling_response response;
    char text[256];
    int bytes = snprintf(
        text, sizeof(text),
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
        sizeof(SMUGGLING_PROBE) - 1, SMUGGLING_PROBE);

    smuggling_send(run->client.fd, (struct span){text, (size_t)bytes}, SMUGGLING_WHOLE);
    if (smuggling_client_read(&run->client, false, &response) != NULL || response.status != 200)
        return "out of step";
    smuggling_asked_add(&run->asked, SPAN_LIT(SMUGGLING_PROBE));
    shutdown(run->client.fd, SHUT_WR);
    return smuggling_client_ended(&run->client) ? NULL : "more responses than requests";
}

static const char *
run_case(const struct smuggling_case *c, uint16_t port, enum smuggling_cut cut)
{
    static struct run run;
    const char *wrong, *wrong_asked;
    bool open;

    run.asked.count = 0;
    smuggling_client_open(&run.client, port);
    smuggling_send(run.client.fd, c->bytes, cut);
    wrong = check_responses(c, &run, &open);
    if (wrong == NULL && open)
        wrong = check_in_step(&run);
    smuggling_client_close(&run.client);
    wrong_asked = check_asked(&run.asked);
    return wrong != NULL ? wrong : wrong_asked;
}

static const char *
run_http2_case(const struct smuggling_case *c, uint16_t port, enum smuggling_cut cut)
{
    struct smuggling_asked wanted = {.count = 0};
    const char *wrong = smuggling_run_http2_case(c, port, cut, &wanted);
    const char *wrong_asked = check_asked(&wanted);

    return wrong != NULL ? wrong : wrong_asked;
}

typedef const char *runner(const struct smuggling_case *c, uint16_t port, enum smuggling_cut cut);

static size_t
run_list(const struct smuggling_list *list, runner *run, uint16_t port, struct e2e_engine *engine)
{
    size_t held = 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *wrong[SMUGGLING_CUTS];
        for (unsigned cut = 0; cut < SMUGGLING_CUTS; cut++) {
            wrong[cut] = run(&list->cases[i], port, (enum smuggling_cut)cut);
            if (wrong[cut] == NULL && e2e_engine_strays(engine) > 0)
                wrong[cut] = "the engine was asked what nobody asks";
        }
        held += smuggling_verdict(&list->cases[i], wrong);
    }
    return held;
}

size_t
smuggling_run_requests(const struct smuggling_list *http1, const struct smuggling_list *http2)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};
    struct e2e_engine *engine = e2e_engine_start("m", write_down);
    struct e2e_gateway g;
    size_t held;

    e2e_gateway_start(&g, &options,
                      "engines: [{name: one, url: \"http://127.0.0.1:%u\", kind: openai}]\n",
                      e2e_engine_port(engine));
    must(e2e_wait_ready(&g, 1));
    held = run_list(http1, run_case, g.port, engine);
    held += run_list(http2, run_http2_case, g.port, engine);
    e2e_gateway_stop(&g);
    e2e_engine_stop(engine);
    return held;
}

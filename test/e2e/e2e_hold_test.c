/* e2e_hold_test - an engine with one place, and more who want it: who is held, who goes next, who
 * is turned away, and what becomes of those who leave. */
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define CALLS_MAX 256u

static struct e2e_engine *slow, *spare;
static sem_t go; /* one more answer */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char order[CALLS_MAX + 1]; /* the letters of the calls, as they came */

/* A body whose text is this letter. */
static const char *
body_of(char letter, const char *extra)
{
    static _Thread_local char text[256];

    snprintf(
        text, sizeof(text),
        "{\"model\":\"m\",%s\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"%c\"}"
        "]}",
        extra, letter);
    return text;
}

/* Note who came, and answer when the test says so. */
static bool
gated(struct e2e_call *call)
{
    const char *content = strstr(call->body, "\"content\":\"");
    size_t count;

    must(pthread_mutex_lock(&lock) == 0);
    count = strlen(order);
    if (content != NULL && count < CALLS_MAX)
        order[count] = content[11];
    must(pthread_mutex_unlock(&lock) == 0);
    while (sem_wait(&go) != 0)
        ;
    return e2e_good(call);
}

static bool
came(const char *letters)
{
    uint64_t until_s = 0;
    bool same;

    while (patience(&until_s)) {
        must(pthread_mutex_lock(&lock) == 0);
        same = strcmp(order, letters) == 0;
        must(pthread_mutex_unlock(&lock) == 0);
        if (same)
            return true;
        usleep(20000);
    }
    return false;
}

static void
start(struct e2e_gateway *g, unsigned threads)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};

    must(pthread_mutex_lock(&lock) == 0);
    memset(order, 0, sizeof(order));
    must(pthread_mutex_unlock(&lock) == 0);
    e2e_gateway_start(g, &options,
                      "threads: %u\nlimits: {holds_max: 64}\n"
                      "engines:\n"
                      "  - {name: slow, url: \"http://127.0.0.1:%u\", kind: openai, slots: 1}\n"
                      "  - {name: spare, url: \"http://127.0.0.1:%u\", kind: openai}\n"
                      "models: {m: {aliases: [engine-name]}, o: {aliases: [other-name]}}\n",
                      threads, e2e_engine_port(slow), e2e_engine_port(spare));
    CHECK(e2e_wait_ready(g, 2), "ready");
}

static int
ask(const struct e2e_gateway *g, char letter, const char *headers)
{
    return e2e_open_request(g->port, "/v1/chat/completions", headers, body_of(letter, ""));
}

/* One runs, one waits at the engine; whoever comes now is held. */
static void
fill(const struct e2e_gateway *g, int fds[2])
{
    fds[0] = ask(g, '1', "");
    CHECK(came("1"), "the first runs");
    fds[1] = ask(g, '2', "");
    CHECK(came("12"), "the second waits there");
}

static void
start_full(struct e2e_gateway *g, unsigned threads, int fds[2])
{
    start(g, threads);
    fill(g, fds);
}

static void
finish(int fd)
{
    CHECK(e2e_read_until(fd, "there"), "answered");
    close(fd);
}

/* The engine answers those two. */
static void
finish_two(const int fds[2])
{
    sem_post(&go);
    sem_post(&go);
    finish(fds[0]);
    finish(fds[1]);
}

/* Held ones go by class, then by deadline. */
static void
test_order(void)
{
    struct e2e_gateway g;
    int fds[6];

    start_full(&g, 1, fds);
    fds[2] = ask(&g, 'n', "isochrone-deadline-ms: 90000\r\n");
    CHECK(e2e_metric(&g, "isochrone_requests_held 1\n"), "one is held");
    fds[3] = ask(&g, 'l', "x-gateway-inference-objective: low\r\n");
    CHECK(e2e_metric(&g, "isochrone_requests_held 2\n"), "two are");
    fds[4] = ask(&g, 'e', "isochrone-deadline-ms: 60000\r\n");
    CHECK(e2e_metric(&g, "isochrone_requests_held 3\n"), "three are");
    fds[5] = ask(&g, 'h', "x-gateway-inference-objective: high\r\n");
    CHECK(e2e_metric(&g, "isochrone_requests_held 4\n"), "four are");
    sem_post(&go);
    CHECK(came("12h"), "a place is free: the highest class goes");
    for (int i = 0; i < 5; i++)
        sem_post(&go);
    CHECK(came("12henl"), "then the earlier deadline, the later one, and the lowest class");
    for (int i = 0; i < 6; i++)
        finish(fds[i]);
    CHECK(e2e_metric(&g, "isochrone_requests_held 0\n"), "nobody is held any more");
    CHECK(e2e_metric(&g, "isochrone_hold_seconds_count 4\n"), "four were");
    e2e_gateway_stop(&g);
}

static void
test_deadline(void)
{
    struct e2e_gateway g;
    struct e2e_reply reply;
    int fds[2];

    start(&g, 1);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "isochrone-deadline-ms: 1\r\n",
            body_of('x', ""), &reply);
    CHECK(reply.status == 503 && strstr(reply.body, "deadline_unreachable") != NULL,
          "a deadline that nobody can meet is refused at once");
    CHECK(e2e_header(&reply, "retry-after")[0] == '\0', "and asking again is of no use");
    e2e_reply_fini(&reply);
    fill(&g, fds);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "isochrone-deadline-ms: 500\r\n",
            body_of('x', ""), &reply);
    CHECK(reply.status == 503 && strstr(reply.body, "deadline_unreachable") != NULL,
          "one that an idle engine would meet is held, then refused");
    CHECK(e2e_header(&reply, "retry-after")[0] != '\0' &&
              e2e_header(&reply, "retry-after-ms")[0] != '\0',
          "with a time to come again");
    e2e_reply_fini(&reply);
    CHECK(e2e_metric(&g, "isochrone_refusals_total{reason=\"deadline\"} 2\n"), "both are counted");
    CHECK(came("12"), "neither reached the engine");
    finish_two(fds);
    e2e_gateway_stop(&g);
}

static void
test_leaves(void)
{
    struct e2e_gateway g;
    int fds[4];

    start_full(&g, 1, fds);
    fds[2] = ask(&g, 'a', "");
    fds[3] = ask(&g, 'b', "");
    CHECK(e2e_metric(&g, "isochrone_requests_held 2\n"), "two are held");
    close(fds[2]);
    close(fds[3]);
    CHECK(e2e_metric(&g, "isochrone_requests_held 0\n"), "they leave");
    finish_two(fds);
    fds[0] = ask(&g, 'c', "");
    CHECK(came("12c"), "and the engine never hears of them");
    sem_post(&go);
    finish(fds[0]);
    e2e_gateway_stop(&g);
}

static void
test_other_model(void)
{
    struct e2e_gateway g;
    struct e2e_reply reply;
    int fds[2];

    start_full(&g, 1, fds);
    e2e_ask(g.port, "POST", "/v1/chat/completions", "",
            body_of('d', "\"models\":[\"nobody-has-it\",\"m\",\"o\"],"), &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "there") != NULL,
          "the other model answers when the first has no room for long");
    CHECK(strstr(reply.body, "\"model\":\"o\"") != NULL, "and the client sees which one it was");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), "spare") == 0, "its engine is named");
    e2e_reply_fini(&reply);
    CHECK(e2e_metric(&g, "isochrone_other_model_total 1\n"), "it is counted");
    e2e_ask(g.port, "POST", "/v1/chat/completions", "",
            "{\"model\":\"nobody-has-it\",\"models\":[\"o\"],\"messages\":[]}", &reply);
    CHECK(reply.status == 200 && strstr(reply.body, "\"model\":\"o\"") != NULL,
          "or when the first does not exist");
    e2e_reply_fini(&reply);
    finish_two(fds);
    e2e_gateway_stop(&g);
}

/* The engine may read what it was sent only after the gateway is gone: nothing is taken back of
 * what lets it answer, and no test that counts comes after this one. */
static void
test_stop(void)
{
    struct e2e_gateway g;
    int fds[3];

    start_full(&g, 2, fds);
    fds[2] = ask(&g, 'a', "");
    CHECK(e2e_metric(&g, "isochrone_requests_held 1\n"), "one is held");
    sem_post(&go); /* so that draining does not wait for all its time */
    sem_post(&go);
    sem_post(&go);
    e2e_gateway_stop(&g);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    CHECK(true, "the gateway stopped");
}

/* Two loops, each with its requests; what one ends lets one of the other go. Some clients leave
 * just then, and the engine may read their requests even after the gateway is gone. */
static void *
crowd(void *arg)
{
    const struct e2e_gateway *g = arg;
    uintptr_t answered = 0;

    for (unsigned i = 0; i < 20; i++) {
        int fd = ask(g, 'c', i % 3 == 0 ? "x-gateway-inference-objective: high\r\n" : "");
        if (i % 5 == 4) {
            usleep(1000 * (i % 7));
            close(fd);
            continue;
        }
        answered += e2e_read_until(fd, "there");
        close(fd);
    }
    return (void *)answered;
}

static void
test_two_lanes(void)
{
    struct e2e_gateway g;
    pthread_t threads[8];
    uintptr_t answered = 0;

    e2e_engine_script(slow, e2e_good);
    start(&g, 2);
    for (unsigned i = 0; i < 8; i++)
        must(pthread_create(&threads[i], NULL, crowd, &g) == 0);
    for (unsigned i = 0; i < 8; i++) {
        void *one;
        must(pthread_join(threads[i], &one) == 0);
        answered += (uintptr_t)one;
    }
    CHECK(answered == 8 * 16, "all that stayed were answered");
    CHECK(e2e_metric(&g, "isochrone_requests_held 0\n"), "nobody is left behind");
    CHECK(e2e_metric(&g, "isochrone_requests_in_flight 0\n"), "nor in flight");
    e2e_gateway_stop(&g);
}

int
main(void)
{
    must(sem_init(&go, 0, 0) == 0);
    slow = e2e_engine_start("engine-name", gated);
    spare = e2e_engine_start("other-name", e2e_good);
    test_order();
    test_deadline();
    test_leaves();
    test_other_model();
    test_stop();
    test_two_lanes();
    e2e_engine_stop(slow);
    e2e_engine_stop(spare);
    return tap_done();
}

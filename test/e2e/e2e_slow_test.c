/* e2e_slow_test - clients that take their answers a byte at a time: each is cut off, its engine let
 * go, the cut counted and named; who waits for a slow engine is none of that. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define TURNS_MAX    6000u /* of 10 ms: a client that is served for so long is not cut off */
#define TAKEN_MAX    65536u
#define WINDOW_BYTES "\0\0\4\x8\0\0\0\0\1\0\0\0\1" /* WINDOW_UPDATE of stream 1 by one byte */
#define RESET_HEAD   "\0\0\4\x3\0\0\0\0\1"         /* RST_STREAM of stream 1 */

static struct e2e_engine *engine;

/* ---- Engines. */

static bool
floods(struct e2e_call *call)
{
    char pad[9900] = "", text[10100], probe;

    memset(pad, 'x', sizeof(pad) - 1);
    snprintf(text, sizeof(text),
             "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
             "\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n",
             pad);
    e2e_stream_head(call);
    while (recv(call->fd, &probe, 1, MSG_DONTWAIT | MSG_PEEK) != 0)
        e2e_chunk(call, text);
    e2e_wait_hangup(call);
    return false;
}

static bool
says_one_thing(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"content\":\"one\"},\"finish_reason\":null}]}\n\n");
    e2e_wait_hangup(call);
    return false;
}

/* ---- Clients. */

/* A byte now and then until the engine was let go. */
static bool
sip_http1(const struct e2e_gateway *g)
{
    uint32_t before = e2e_engine_hangups(engine);
    int fd = e2e_open_request(g->port, "/v1/chat/completions", "", E2E_STREAM);
    char byte;

    for (unsigned i = 0; i < TURNS_MAX && e2e_engine_hangups(engine) == before; i++) {
        (void)recv(fd, &byte, 1, MSG_DONTWAIT);
        usleep(10000);
    }
    close(fd);
    return e2e_engine_hangups(engine) > before;
}

static void
write_bytes(int fd, const char *bytes, size_t count)
{
    must(send(fd, bytes, count, MSG_NOSIGNAL) == (ssize_t)count);
}

/* All frames are read at once, but the stream's window opens by a byte now and then. */
static bool
sip_http2(const struct e2e_gateway *g)
{
    static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0" /* SETTINGS: no window */
                                "\0\0\x23\1\4\0\0\0\1\x83\x86\4\x14/v1/chat/completions"
                                "\x41\x9localhost";
    const char data_head[] = {0, 0, (char)strlen(E2E_STREAM), 0, 1, 0, 0, 0, 1};
    char *taken = malloc(TAKEN_MAX);
    int fd = e2e_connect(g->port);
    bool reset = false;
    size_t bytes = 0;
    ssize_t n = 1;

    must(taken != NULL);
    write_bytes(fd, begin, sizeof(begin) - 1);
    write_bytes(fd, data_head, sizeof(data_head));
    e2e_write(fd, E2E_STREAM);
    for (unsigned i = 0; i < TURNS_MAX && !reset && n != 0 && bytes < TAKEN_MAX; i++) {
        n = recv(fd, taken + bytes, TAKEN_MAX - bytes, MSG_DONTWAIT);
        bytes += n > 0 ? (size_t)n : 0;
        reset = memmem(taken, bytes, RESET_HEAD, sizeof(RESET_HEAD) - 1) != NULL;
        write_bytes(fd, WINDOW_BYTES, sizeof(WINDOW_BYTES) - 1);
        usleep(10000);
    }
    close(fd);
    free(taken);
    return reset;
}

static bool
file_has(const char *path, const char *text)
{
    char *all = calloc(1, TAKEN_MAX);
    uint64_t until_s = 0;
    bool has = false;

    must(all != NULL);
    while (!has && patience(&until_s)) { /* it is written by a thread of its own */
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        must(fd >= 0 && read(fd, all, TAKEN_MAX - 1) >= 0);
        close(fd);
        has = strstr(all, text) != NULL;
        usleep(10000);
    }
    free(all);
    return has;
}

int
main(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000};
    struct e2e_gateway g;
    char path[256];
    int patient;

    engine = e2e_engine_start("engine-name", says_one_thing);
    e2e_path("access.log", path, sizeof(path));
    e2e_gateway_start(&g, &options,
                      "region: here\naccess_log: {file: %s}\n"
                      "limits: {download_bytes_per_second_min: 1MiB, pace_grace: 50ms}\n"
                      "engines: [{name: first, url: \"http://127.0.0.1:%u\", kind: openai}]\n"
                      "models: {m: {aliases: [engine-name]}}\n",
                      path, e2e_engine_port(engine));
    CHECK(e2e_wait_ready(&g, 1), "ready");
    patient = e2e_open_request(g.port, "/v1/chat/completions", "", E2E_STREAM);
    CHECK(e2e_read_until(patient, "\"content\":\"one\""), "one waits for a slow engine");
    e2e_engine_script(engine, floods);
    CHECK(sip_http1(&g), "a client that sips, over HTTP/1: its engine is let go");
    CHECK(e2e_metric(&g, "isochrone_slow_clients_total 1\n"), "counted");
    CHECK(file_has(path, "\"outcome\":\"client_slow\""), "and named");
    CHECK(sip_http2(&g), "one that opens its window byte by byte: the stream is reset");
    CHECK(e2e_wait_count(e2e_engine_hangups, engine, 2), "and its engine let go");
    CHECK(e2e_metric(&g, "isochrone_slow_clients_total 2\n"), "counted");
    CHECK(e2e_metric(&g, "isochrone_requests_in_flight 1\n"), "the patient one is still there");
    close(patient);
    CHECK(e2e_metric(&g, "isochrone_requests_in_flight 0\n"), "until it leaves");
    CHECK(e2e_metric(&g, "isochrone_slow_clients_total 2\n"), "which is not slow");
    e2e_gateway_stop(&g);
    e2e_engine_stop(engine);
    return tap_done();
}

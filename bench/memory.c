/* memory - what the gateway keeps in RAM: `make bench-memory`.
 *
 * Idle with 1,000 engines that it polls; then with 9,000 streams open: the client's connection, the
 * engine's, and all that the gateway keeps for a request under way. The kernel's socket buffers are
 * not in it. Then 1,000 clients announce 64 MiB each and send slowly, four times as much in all as
 * all bodies may have: what it keeps of them, and how many it has sent away. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "canned.h"
#include "child.h"
#include "host.h"
#include "load.h"
#include "subject.h"

#define ENGINES  1000u
#define STREAMS  9000u
#define SETTLE_S 15 /* every engine has been asked at least twice */
#define HOLD_S   3
#define UPLOADS  1000u
#define ANNOUNCE ((uint64_t)64 << 20)
#define UPLOAD_S 20
#define UPLOAD_B                                                                                   \
    (SUBJECT_BUFFERS_MIB * 4u * 1048576u / UPLOADS / UPLOAD_S) /* a second, of each                \
                                                                */

/* What slow uploads cost beside what was there. */
static void
uploads(const struct load_plan *streams, const struct subject *gateway)
{
    static int fds[UPLOADS];
    struct load_plan plan = *streams;
    uint32_t open;

    plan.connections = UPLOADS;
    open = load_uploads_open(&plan, ANNOUNCE, UPLOAD_B, UPLOAD_S, fds);
    printf("figure slow_upload_rss_mib %.1f MiB\n", (double)child_rss_kib(gateway->pid) / 1024.0);
    printf("figure slow_upload_limit_mib %u MiB\n", SUBJECT_BUFFERS_MIB);
    printf("figure slow_uploads_refused %u uploads\n", UPLOADS - open);
    for (uint32_t i = 0; i < UPLOADS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

int
main(int argc, char **argv)
{
    static int fds[STREAMS];
    static struct canned_plan canned = {.port = SUBJECT_ENGINE_PORT, .tick_ms = 1000};
    struct load_plan plan = {
        .api_key = SUBJECT_API_KEY, .body_bytes = 2048, .stream = 1, .connections = STREAMS};
    struct host_use before, after;
    struct subject gateway;
    uint64_t idle_kib, open_kib;
    uint32_t failed;
    pid_t engine;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_memory ISOCHRONE\n");
        return 2;
    }
    child_raise_files();
    host_use_read(&before);
    engine = child_fork(canned_run, &canned, child_core(1));
    child_wait_listening(engine, canned.port, "the output above");
    subject_open_gateway(argv[1], subject_directory(),
                         &(struct subject_options){.engines = ENGINES}, &gateway);
    sleep(SETTLE_S);
    idle_kib = child_rss_kib(gateway.pid);
    plan.port = gateway.port;
    failed = load_streams_open(&plan, fds);
    if (failed > 0) {
        printf("VOID: %u of %u streams did not start\n", failed, STREAMS);
        return 1;
    }
    sleep(HOLD_S);
    open_kib = child_rss_kib(gateway.pid);
    printf("figure rss_idle_mib %.1f MiB\n", (double)idle_kib / 1024.0);
    printf("figure kib_per_open_stream %.1f KiB\n",
           ((double)open_kib - (double)idle_kib) / (double)STREAMS);
    for (uint32_t i = 0; i < STREAMS; i++)
        close(fds[i]);
    sleep(HOLD_S);
    uploads(&plan, &gateway);
    subject_close(&gateway);
    child_stop(engine);
    host_use_read(&after);
    host_use_print(&before, &after);
    return 0;
}

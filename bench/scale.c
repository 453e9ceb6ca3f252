/* scale - what many nodes cost a gateway: nodes that are nothing but what they say report once a
 * second over a real NATS server, through a few shared connections, while requests run; then
 * another gateway starts late and has to learn of all of them.
 *
 *   bench_scale PROGRAM [NODES [OTHER]]
 *
 * Their requests are answered by one canned engine, which listens at all of 127.0.0.0/8. OTHER is
 * another build of the program, which hears the same at the same time on the same core: on a busy
 * machine its CPU time says nothing, but the one over the other does. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "canned.h"
#include "child.h"
#include "host.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "io/log.h"
#include "load.h"
#include "nats_server.h"
#include "subject.h"

#define NODES_USUAL 10000u
#define NODES_MAX   16384u
#define SENDERS     4u
#define TICK_NS     10000000u
#define TICKS_S     100u
#define MEASURED_S  20.0
#define SETTLE_S    5
#define REQUESTS_S  50u
#define WAIT_S      30.0
#define PORT        4311u /* of the gateways: two each; the late one's is behind it */
#define PORT_OTHER  4315u
#define PAGE_BYTES  65536u
#define BODY_BYTES  1000u

enum want { WANT_NOTHING = 0, WANT_HELLO, WANT_FULL };

static struct {
    struct nats_server server;
    struct bus_node *nodes;
    _Atomic unsigned char *wants; /* enum want, by node */
    uint32_t count;
    struct bus *buses[SENDERS];
    _Atomic bool stop;
    _Atomic uint64_t asked, failed; /* requests, of all gateways */
} bench;

struct measured { /* a gateway in the steady state */
    uint16_t port;
    pid_t pid;
    pthread_t asker;
    struct child_use from;
};

/* ---- Nodes. */

/* A gateway wants to hear more of one. */
static void
on_ask(const struct bus_message *m, void *user)
{
    static const char before[] = "iso.ctl.n";
    char text[16];
    unsigned long node;

    (void)user;
    if (!span_starts(m->subject, span_of(before)))
        return;
    span_copy(span_from(m->subject, sizeof(before) - 1), text, sizeof(text));
    node = strtoul(text, NULL, 10);
    if (node >= bench.count)
        return;
    atomic_store(&bench.wants[node],
                 memmem(m->body.data, m->body.bytes, "hello", 5) != NULL ? WANT_HELLO : WANT_FULL);
}

static void
say(uint32_t node, bool on_time)
{
    enum want want = (enum want)atomic_exchange(&bench.wants[node], WANT_NOTHING);

    if (want == WANT_HELLO)
        bus_node_hello(&bench.nodes[node]);
    if (want != WANT_NOTHING || on_time)
        bus_node_report(&bench.nodes[node], want != WANT_NOTHING);
}

/* All nodes of one connection, each once a second, evenly; who is asked answers within a tick. */
static void *
send_on(void *argument)
{
    uint32_t first = (uint32_t)(uintptr_t)argument;
    uint64_t next_ns = clock_now_ns();

    for (uint32_t tick = 0; !atomic_load(&bench.stop); tick = (tick + 1) % TICKS_S) {
        uint64_t now_ns = clock_now_ns();
        for (uint32_t i = first, k = 0; i < bench.count; i += SENDERS, k++) {
            bool on_time = k % TICKS_S == tick;
            if (on_time || atomic_load_explicit(&bench.wants[i], memory_order_relaxed) != 0)
                say(i, on_time);
        }
        next_ns += TICK_NS;
        if (next_ns > now_ns)
            usleep((useconds_t)((next_ns - now_ns) / 1000u));
        else
            next_ns = now_ns; /* this machine is too slow for more */
    }
    return NULL;
}

static void
nodes_open(uint32_t count)
{
    bench.count = count;
    bench.nodes = calloc(count, sizeof(*bench.nodes));
    bench.wants = calloc(count, sizeof(*bench.wants));
    must(bench.nodes != NULL && bench.wants != NULL);
    for (uint32_t i = 0; i < SENDERS; i++) {
        char name[32];
        struct bus_nats_options o = {.url = span_of(bench.server.url)};
        snprintf(name, sizeof(name), "senders-%u", i);
        o.name = span_of(name);
        must(bus_nats_open(&o, &bench.buses[i]) == ERR_OK);
    }
    must(bus_subscribe(bench.buses[0], SPAN_LIT("iso.ctl.*"), on_ask, NULL) == ERR_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct bus_node *n = &bench.nodes[i];
        uint32_t address = i + 2;
        bus_node_init(n, bench.buses[i % SENDERS], i, SUBJECT_ENGINE_PORT);
        n->model = CANNED_MODEL;
        snprintf(n->url, sizeof(n->url), "http://127.%u.%u.%u:%u", address >> 16 & 255,
                 address >> 8 & 255, address & 255, SUBJECT_ENGINE_PORT);
        atomic_store(&bench.wants[i], WANT_HELLO); /* the first thing that it says */
    }
}

/* ---- Gateways. */

static pid_t
gateway_start(const char *program, const char *folder, uint16_t port, const char *region)
{
    char path[256], log[256];
    const char *const argv[] = {program, "gateway", "-f", path, NULL};
    FILE *file;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/%u.yaml", folder, port);
    snprintf(log, sizeof(log), "%s/%u.log", folder, port);
    file = fopen(path, "we");
    must(file != NULL);
    fprintf(file,
            "listen: {public: \"127.0.0.1:%u\", admin: \"127.0.0.1:%u\"}\nregion: %s\n"
            "bus: {nats: \"%s\"}\n",
            port, port + 1u, region, bench.server.url);
    must(fclose(file) == 0);
    pid = child_exec(argv, child_core(0), log);
    child_wait_listening(pid, port, log);
    return pid;
}

/* A figure of a page of the admin side: the number behind "key":; -1: it is not there. */
static double
page_number(uint16_t port, const char *path, const char *key)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(port + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char page[PAGE_BYTES], wanted[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t bytes = 0;
    const char *at;
    ssize_t n;

    must(fd >= 0);
    n = snprintf(page, sizeof(page),
                 "GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 || write(fd, page, (size_t)n) != n)
        n = -1;
    while (n > 0 && bytes < sizeof(page) - 1) {
        n = read(fd, page + bytes, sizeof(page) - 1 - bytes);
        bytes += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    page[bytes] = '\0';
    snprintf(wanted, sizeof(wanted), "\"%s\":", key);
    at = strstr(page, wanted);
    return at != NULL ? strtod(at + strlen(wanted), NULL) : -1.0;
}

/* Seconds from begun_ns until the gateway has them all, each with its model. */
static double
wait_all(uint16_t port, uint64_t begun_ns)
{
    double seconds = 0.0;

    while (seconds < WAIT_S && page_number(port, "/readyz", "ready_placements") < bench.count) {
        usleep(20000);
        seconds = (double)(clock_now_ns() - begun_ns) / 1e9;
    }
    return seconds;
}

/* ---- Requests. */

static void *
ask_on(void *argument)
{
    const struct measured *gateway = argument;
    const struct load_plan plan = {
        .port = gateway->port, .api_key = SUBJECT_API_KEY, .body_bytes = BODY_BYTES};

    while (!atomic_load(&bench.stop)) {
        atomic_fetch_add(&bench.asked, 1);
        if (load_once(&plan) != 200)
            atomic_fetch_add(&bench.failed, 1);
        usleep(1000000u / REQUESTS_S);
    }
    return NULL;
}

static void
figure(const char *name, double value, const char *unit)
{
    printf("figure %s %.4g %s\n", name, value, unit);
    fflush(stdout);
}

/* What it cost since it was looked at. */
static double
cpu_percent(const struct measured *g, double seconds)
{
    struct child_use to;

    child_use_read(g->pid, &to);
    return 100.0 * (double)(to.cpu_ns - g->from.cpu_ns) / 1e9 / seconds;
}

/* The steady state. list: the gateway, and the other one if count is 2. */
static void
measure(struct measured *list, unsigned count)
{
    struct host_use before, after;
    uint64_t begun_ns = clock_now_ns(), asked = atomic_load(&bench.asked);
    double reports = page_number(PORT, "/network/v1/bus", "reports"), seconds, cpu[2] = {0.0};

    host_use_read(&before);
    for (unsigned i = 0; i < count; i++)
        child_use_read(list[i].pid, &list[i].from);
    usleep((useconds_t)(MEASURED_S * 1e6));
    seconds = (double)(clock_now_ns() - begun_ns) / 1e9;
    for (unsigned i = 0; i < count; i++)
        cpu[i] = cpu_percent(&list[i], seconds);
    host_use_read(&after);
    figure("reporting_nodes",
           page_number(PORT, "/network/v1/bus", "in_fleet") -
               page_number(PORT, "/network/v1/bus", "silent"),
           "nodes");
    figure("reports_per_second",
           (page_number(PORT, "/network/v1/bus", "reports") - reports) / seconds, "1/s");
    figure("requests_per_second",
           (double)(atomic_load(&bench.asked) - asked) / seconds / (double)count, "1/s");
    figure("gateway_cpu_percent_of_core", cpu[0], "percent");
    if (count > 1) {
        figure("other_cpu_percent_of_core", cpu[1], "percent");
        figure("gateway_cpu_over_other", cpu[0] / cpu[1], "times");
    }
    figure("gateway_rss_mib", (double)child_rss_kib(list[0].pid) / 1024.0, "MiB");
    host_use_print(&before, &after);
}

int
main(int argc, char **argv)
{
    struct canned_plan canned = {.port = SUBJECT_ENGINE_PORT, .tick_ms = 100};
    uint32_t nodes = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : NODES_USUAL;
    struct measured measured[2] = {{.port = PORT}, {.port = PORT_OTHER}};
    unsigned count = argc > 3 ? 2 : 1;
    pthread_t senders[SENDERS];
    char text[160];
    pid_t engine, late;
    uint64_t begun_ns;

    if (argc < 2 || nodes == 0 || nodes > NODES_MAX) {
        fprintf(stderr, "bench_scale PROGRAM [NODES [OTHER]]: up to %u\n", NODES_MAX);
        return 2;
    }
    if (!nats_server_exists()) {
        puts("skipped: there is no nats-server");
        return 0;
    }
    log_set_level(LOG_ERROR);
    nats_server_init(&bench.server);
    snprintf(text, sizeof(text), "listen: \"%s\"\nmax_payload: 8KB\n", bench.server.address);
    must(nats_server_start(&bench.server, text));
    engine = child_fork(canned_run, &canned, child_core(1));
    for (unsigned i = 0; i < count; i++)
        measured[i].pid = gateway_start(i == 0 ? argv[1] : argv[3], bench.server.folder,
                                        measured[i].port, "us-east");
    nodes_open(nodes);
    begun_ns = clock_now_ns();
    for (uintptr_t i = 0; i < SENDERS; i++)
        must(pthread_create(&senders[i], NULL, send_on, (void *)i) == 0);
    figure("all_joined_s", wait_all(PORT, begun_ns), "s");
    for (unsigned i = 0; i < count; i++)
        must(pthread_create(&measured[i].asker, NULL, ask_on, &measured[i]) == 0);
    sleep(SETTLE_S);
    measure(measured, count);
    begun_ns = clock_now_ns();
    late = gateway_start(argv[1], bench.server.folder, PORT + 2, "eu-west");
    figure("late_gateway_ready_s", wait_all(PORT + 2, begun_ns), "s");
    atomic_store(&bench.stop, true);
    for (uint32_t i = 0; i < SENDERS; i++)
        must(pthread_join(senders[i], NULL) == 0);
    child_stop(late);
    for (unsigned i = 0; i < count; i++) {
        must(pthread_join(measured[i].asker, NULL) == 0);
        child_stop(measured[i].pid);
    }
    figure("scale_failed_requests", (double)atomic_load(&bench.failed), "requests");
    child_stop(engine);
    for (uint32_t i = 0; i < SENDERS; i++)
        bus_close(bench.buses[i]);
    nats_server_fini(&bench.server);
    return 0;
}

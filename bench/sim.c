/* sim - how fast the simulator is on one core: `make bench-sim`, with ISOCHRONE_DATA for public
 * data.
 *
 * NODES nodes of three models in 16 regions, 8 gateways, a load of 0.7, reports every second and on
 * every first token and end: what most experiments run. The clock starts when the fleet is warm;
 * what is counted are requests that came in while it ran, with all that they cause. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host.h"
#include "sim/sim_source.h"
#include "sim/sim_world.h"

#define NODES    1000u
#define WARM_MS  15000.0
#define END_MS   45000.0
#define PIECE_MS 1000.0
#define OVER_MS  10000.0 /* requests go on coming until after the last look */

/* Of this process, which has one thread: the time of one core. */
static double
cpu_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int
measure(const struct sim_source *source)
{
    const char *suffix = source->trace.synthetic ? "_synthetic" : "";
    struct host_use before, after;
    struct sim_options o;
    struct sim_error error;
    struct sim_world *w;
    const struct sim_stats *s;
    uint64_t requests, events, steps;
    double start_s, seconds, count, at_ms = 0.0;

    sim_options_init(&o);
    o.nodes = NODES;
    o.duration_ms = END_MS + OVER_MS;
    if (sim_world_open(&o, &source->trace, &source->rtt, &w, &error) != ERR_OK) {
        fprintf(stderr, "bench_sim: %s\n", error.message);
        return 1;
    }
    s = sim_world_stats(w);
    for (; at_ms < WARM_MS; at_ms += PIECE_MS)
        (void)sim_world_run(w, at_ms + PIECE_MS);
    requests = s->requests;
    events = s->events;
    steps = s->core_steps;
    host_use_read(&before);
    start_s = cpu_s();
    for (; at_ms < END_MS; at_ms += PIECE_MS)
        (void)sim_world_run(w, at_ms + PIECE_MS);
    seconds = cpu_s() - start_s;
    host_use_read(&after);
    count = (double)(s->requests - requests);
    printf("# %u nodes, %u gateways, trace %s: %.0f requests in %.0f s of the world, %.2f s of a "
           "core\n",
           NODES, (unsigned)o.gateways, source->trace.name, count, (END_MS - WARM_MS) / 1000.0,
           seconds);
    printf("figure sim_requests_per_second%s %.0f 1/s\n", suffix, count / seconds);
    printf("figure sim_us_per_request%s %.2f us\n", suffix, 1e6 * seconds / count);
    printf("figure sim_events_per_request%s %.1f 1\n", suffix,
           (double)(s->events - events) / count);
    printf("figure sim_core_steps_per_request%s %.1f 1\n", suffix,
           (double)(s->core_steps - steps) / count);
    host_use_print_cpu(&before, &after);
    sim_world_close(w);
    return 0;
}

int
main(void)
{
    const char *folder = getenv("ISOCHRONE_DATA");
    struct data_error error;
    struct sim_source source;
    int code;

    if (folder != NULL && folder[0] == '\0')
        folder = NULL;
    if (sim_source_open(folder, NULL, NULL, &error, &source) != ERR_OK) {
        fprintf(stderr, "bench_sim: %s\n", error.text);
        return 1;
    }
    code = measure(&source);
    sim_source_close(&source);
    return code;
}

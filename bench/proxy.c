/* proxy - what a request costs in our gateway, beside haproxy and nginx: `make bench-proxy`.
 *
 * The proxy under test has core 0 for itself, the engine core 1, the generator core 2 (with fewer
 * cores the last one is shared). All three proxies run all the time; the rounds visit them in
 * alternating order, and only ratios inside one round are compared, for the machine is never the
 * same for long. CPU is the scheduler's run time of all threads of the proxy, divided by requests
 * answered. Any answer but a plain 200 voids the whole run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "canned.h"
#include "child.h"
#include "host.h"
#include "load.h"
#include "median.h"
#include "subject.h"

#define ENGINES          8u
#define SUBJECTS         3u
#define CONNECTIONS      32u
#define BODY_BYTES       2048u
#define ROUNDS           11u
#define LONG_BYTES       409600u
#define LONG_ROUNDS      7u
#define LONG_CONNECTIONS 8u
#define WARM_S           0.3
#define MEASURED_S       1.5

enum { OURS, HAPROXY, NGINX };

struct bench {
    struct subject subjects[SUBJECTS];
    struct load_result results[MEDIAN_ROUNDS_MAX][SUBJECTS];
};

static void
run_rounds(struct bench *b, struct load_plan plan, size_t rounds, size_t subjects)
{
    plan.api_key = SUBJECT_API_KEY;
    plan.warm_s = WARM_S;
    plan.measured_s = MEASURED_S;
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < subjects; i++) {
            /* 0 1 2, 2 1 0, 1 2 0, 0 2 1 ... : each goes first, and after each, equally often */
            size_t at = ((round % 2 == 0 ? i : subjects - 1 - i) + round / 2) % subjects;
            struct load_result *r = &b->results[round][at];

            plan.port = b->subjects[at].port;
            plan.proxy = b->subjects[at].pid;
            load_run(&plan, r);
            printf("round %2zu  %-9s  %6.2f us CPU a request  %7.0f requests/s  p50 %6.0f us  "
                   "p99 %6.0f us\n",
                   round + 1, b->subjects[at].name, r->cpu_us, (double)r->requests / r->seconds,
                   r->p50_us, r->p99_us);
            fflush(stdout);
            if (r->errors > 0) {
                printf("VOID: %s gave %llu answers that are no plain 200\n", b->subjects[at].name,
                       (unsigned long long)r->errors);
                exit(1);
            }
        }
    }
}

enum field { CPU_US, RATE, P50_US, P99_US };

static double
field_of(const struct load_result *r, enum field field)
{
    switch (field) {
    case CPU_US:
        return r->cpu_us;
    case RATE:
        return (double)r->requests / r->seconds;
    case P50_US:
        return r->p50_us;
    case P99_US:
        return r->p99_us;
    }
    return 0.0;
}

static double
median_field(const struct bench *b, size_t subject, enum field field, size_t rounds)
{
    double values[MEDIAN_ROUNDS_MAX];

    for (size_t i = 0; i < rounds; i++)
        values[i] = field_of(&b->results[i][subject], field);
    return median_of(values, rounds).value;
}

static void
print_ratio(const struct bench *b, const char *name, size_t rival, size_t rounds)
{
    double values[MEDIAN_ROUNDS_MAX];
    struct median m;

    for (size_t i = 0; i < rounds; i++)
        values[i] = b->results[i][OURS].cpu_us / b->results[i][rival].cpu_us;
    m = median_of(values, rounds);
    printf("figure %s %.3f x\nfigure %s_low %.3f x\nfigure %s_high %.3f x\n", name, m.value, name,
           m.low, name, m.high);
}

static void
print_short(const struct bench *b)
{
    print_ratio(b, "h1_cpu_over_haproxy", HAPROXY, ROUNDS);
    print_ratio(b, "h1_cpu_over_nginx", NGINX, ROUNDS);
    for (size_t i = 0; i < SUBJECTS; i++) {
        const char *name = b->subjects[i].name;

        printf("figure h1_cpu_%s %.2f us\n", name, median_field(b, i, CPU_US, ROUNDS));
        printf("figure h1_rate_%s %.0f requests/s\n", name, median_field(b, i, RATE, ROUNDS));
        printf("figure h1_p50_%s %.0f us\n", name, median_field(b, i, P50_US, ROUNDS));
        printf("figure h1_p99_%s %.0f us\n", name, median_field(b, i, P99_US, ROUNDS));
    }
}

int
main(int argc, char **argv)
{
    static struct bench b;
    static uint16_t engine_port = SUBJECT_ENGINE_PORT;
    int proxy_core = child_core(0), engine_core = child_core(1), load_core = child_core(2);
    struct host_use before, after;
    const char *directory;
    pid_t engine;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_proxy ISOCHRONE\n");
        return 2;
    }
    child_raise_files();
    host_use_read(&before);
    directory = subject_directory();
    engine = child_fork(canned_run, &engine_port, engine_core);
    child_wait_listening(engine, engine_port, "the output above");
    subject_open_gateway(argv[1], directory, ENGINES, proxy_core, &b.subjects[OURS]);
    subject_open_haproxy(directory, ENGINES, proxy_core, &b.subjects[HAPROXY]);
    subject_open_nginx(directory, ENGINES, proxy_core, &b.subjects[NGINX]);
    child_pin_self(load_core);
    printf("2 KB chat request, 500 B answer, %u connections, %u engines; cores: proxy %d, engine "
           "%d, generator %d; configurations and logs in %s\n",
           CONNECTIONS, ENGINES, proxy_core, engine_core, load_core, directory);
    run_rounds(&b, (struct load_plan){.body_bytes = BODY_BYTES, .connections = CONNECTIONS}, ROUNDS,
               SUBJECTS);
    print_short(&b);
    printf("400 KB chat request, %u connections\n", LONG_CONNECTIONS);
    run_rounds(&b, (struct load_plan){.body_bytes = LONG_BYTES, .connections = LONG_CONNECTIONS},
               LONG_ROUNDS, 2);
    printf("figure long_prompt_cpu_ms %.3f ms\n",
           median_field(&b, OURS, CPU_US, LONG_ROUNDS) / 1e3);
    printf("figure long_prompt_cpu_haproxy_ms %.3f ms\n",
           median_field(&b, HAPROXY, CPU_US, LONG_ROUNDS) / 1e3);
    for (size_t i = 0; i < SUBJECTS; i++)
        subject_close(&b.subjects[i]);
    child_stop(engine);
    host_use_read(&after);
    host_use_print_cpu(&before, &after);
    return 0;
}

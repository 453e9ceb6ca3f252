/* bench_engine - what the timing model costs for one request: `make bench-engine`.
 *
 * NODES engines of an 8B model on an H100 at LOAD of what they can do with all their slots busy:
 * prompts of about 1,000 tokens, outputs of about 200, both log-normal, Poisson arrivals at random
 * nodes. A heap of the nodes' next events drives them as a simulator would, so each engine's memory
 * is as cold as it would be there. The heap's and the arrivals' own cost is in the figure. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/must.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "engine/engine_table.h"
#include "host.h"
#include "io/clock.h"

#define NODES         1000u
#define LOAD          0.7
#define PROMPT_TOKENS 1000.0 /* means */
#define OUTPUT_TOKENS 200.0
#define PROMPT_SIGMA  0.8 /* of ln */
#define OUTPUT_SIGMA  0.7
#define TOKENS_MAX    16384.0
#define WARMING       200000u /* requests before the clock starts */
#define MEASURED      400000u
#define OUTPUTS       64u

struct world {
    struct engine *engines[NODES];
    double next_ms[NODES]; /* of the engine */
    uint32_t heap[NODES];  /* nodes, soonest first */
    uint32_t place[NODES]; /* in the heap */
    struct rng rng;
    uint64_t first_tokens, ends;
};

static bool
sooner(const struct world *w, uint32_t a, uint32_t b)
{
    return w->next_ms[w->heap[a]] < w->next_ms[w->heap[b]];
}

static void
swap(struct world *w, uint32_t a, uint32_t b)
{
    uint32_t node = w->heap[a];

    w->heap[a] = w->heap[b];
    w->heap[b] = node;
    w->place[w->heap[a]] = a;
    w->place[w->heap[b]] = b;
}

/* The node's next event has moved. */
static void
reschedule(struct world *w, uint32_t node)
{
    uint32_t at = w->place[node];

    w->next_ms[node] = engine_next_ms(w->engines[node]);
    for (; at > 0 && sooner(w, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(w, at, (at - 1) / 2);
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= NODES)
            break;
        if (child + 1 < NODES && sooner(w, child + 1, child))
            child++;
        if (!sooner(w, child, at))
            break;
        swap(w, child, at);
        at = child;
    }
}

static void
run_node(struct world *w, uint32_t node, double now_ms)
{
    struct engine_output outputs[OUTPUTS];
    size_t count;

    do {
        count = engine_run(w->engines[node], now_ms, outputs, OUTPUTS);
        for (size_t i = 0; i < count; i++) {
            w->first_tokens += outputs[i].kind == ENGINE_OUTPUT_TOKEN && outputs[i].index == 0 ? 1
                                                                                               : 0;
            w->ends += outputs[i].kind == ENGINE_OUTPUT_END ? 1 : 0;
        }
    } while (count == OUTPUTS);
}

static uint32_t
tokens(struct world *w, double mean, double sigma)
{
    double x = mean * fmath_exp(sigma * rng_normal(&w->rng) - sigma * sigma / 2);

    return x < 1 ? 1 : x > TOKENS_MAX ? (uint32_t)TOKENS_MAX : (uint32_t)x;
}

static void
open_world(struct world *w, const struct engine_speed *speed)
{
    rng_init(&w->rng, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        struct engine_params params;

        engine_table_vllm(&params);
        params.quiet_tokens = true;
        must(engine_open(&params, i + 1, &w->engines[i]) == ERR_OK);
        must(engine_model(w->engines[i], 0, speed, ENGINE_MODEL_READY, 0) == ERR_OK);
        w->next_ms[i] = INFINITY;
        w->heap[i] = w->place[i] = i;
    }
}

/* One arrival after the other, the engines' events between them. Returns when the last came. */
static double
play(struct world *w, double now_ms, double gap_ms, uint32_t requests)
{
    for (uint32_t n = 0; n < requests; n++) {
        uint32_t node = (uint32_t)rng_below(&w->rng, NODES);
        struct engine_request r = {.id = (uint64_t)(now_ms * 1e3) << 20 | n,
                                   .prompt_tokens = tokens(w, PROMPT_TOKENS, PROMPT_SIGMA),
                                   .output_tokens = tokens(w, OUTPUT_TOKENS, OUTPUT_SIGMA)};

        now_ms += gap_ms * rng_exponential(&w->rng);
        while (w->next_ms[w->heap[0]] <= now_ms) {
            uint32_t due = w->heap[0];

            run_node(w, due, w->next_ms[due]);
            reschedule(w, due);
        }
        must(engine_submit(w->engines[node], now_ms, &r) == ERR_OK);
        reschedule(w, node);
    }
    return now_ms;
}

/* Per request of mean size with every slot busy, in one engine's ms. */
static double
request_ms(const struct engine_speed *s, uint32_t slots)
{
    double kv_tokens = PROMPT_TOKENS + OUTPUT_TOKENS / 2;

    return s->a_ms + s->b_ms * PROMPT_TOKENS +
           OUTPUT_TOKENS * (s->t0_ms / slots + s->tb_ms + s->tk_ms * kv_tokens / 1000);
}

/* Iterations and running requests of all nodes. */
static void
look(const struct world *w, double now_ms, uint64_t *ret_iterations, double *ret_running)
{
    *ret_iterations = 0;
    *ret_running = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct engine_truth t;

        engine_truth(w->engines[i], now_ms, 0, &t);
        *ret_iterations += t.iterations_total;
        *ret_running += t.running;
    }
}

int
main(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct engine_speed speed;
    struct engine_params params;
    struct host_use before, after;
    double gap_ms, now_ms, started_ms, running;
    uint64_t start_ns, ns, iterations_before, iterations;

    if (w == NULL || engine_table_speed(8, SPAN_LIT("H100"), &speed) != ERR_OK)
        return 1;
    engine_table_vllm(&params);
    gap_ms = request_ms(&speed, params.slots) / (LOAD * NODES);
    open_world(w, &speed);
    started_ms = play(w, 0, gap_ms, WARMING);
    look(w, started_ms, &iterations_before, &running);
    w->first_tokens = w->ends = 0;
    host_use_read(&before);
    start_ns = clock_now_ns();
    now_ms = play(w, started_ms, gap_ms, MEASURED);
    ns = clock_now_ns() - start_ns;
    host_use_read(&after);
    look(w, now_ms, &iterations, &running);
    printf("# %u engines, %.0f requests/s for %.1f s: %.1f running, %llu first tokens, %llu ends\n",
           NODES, 1000 / gap_ms, (now_ms - started_ms) / 1000, running / NODES,
           (unsigned long long)w->first_tokens, (unsigned long long)w->ends);
    printf("figure engine_us_per_request %.3f us\n", (double)ns / 1e3 / MEASURED);
    printf("figure engine_iterations_per_request %.2f 1\n",
           (double)(iterations - iterations_before) / MEASURED);
    host_use_print_cpu(&before, &after);
    for (uint32_t i = 0; i < NODES; i++)
        engine_close(w->engines[i]);
    free(w);
    return 0;
}

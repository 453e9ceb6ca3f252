#ifndef TEST_CORE_WORLD_H
#define TEST_CORE_WORLD_H
/* world - a core in memory of its own, and short ways to tell it things: for the tests of core. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/core.h"
#include "core/tuning.h"

#define WORLD_MS UINT64_C(1000000)

struct world {
    struct core *core;
    void *memory;
    uint64_t now_ns;
    struct actions actions; /* of the last step */
};

__attribute__((unused)) static void
world_open_wide(struct world *w, uint32_t nodes, uint32_t models, uint32_t placements,
                uint32_t rule, uint64_t seed)
{
    struct core_config c = {.seed = seed,
                            .nodes_max = nodes,
                            .models_max = models,
                            .regions_max = 8,
                            .classes_max = 4,
                            .placements_max = placements,
                            .requests_max = 64,
                            .prefix_entries_max = 65536,
                            .rule = rule};
    size_t bytes = core_bytes(&c);

    must(bytes > 0);
    w->memory = aligned_alloc(64, bytes);
    must(w->memory != NULL);
    memset(w->memory, 0, bytes);
    must(core_init(w->memory, bytes, &c, &w->core) == ERR_OK);
    w->now_ns = 1000 * WORLD_MS;
}

__attribute__((unused)) static void
world_open(struct world *w, uint32_t nodes, uint32_t rule, uint64_t seed)
{
    world_open_wide(w, nodes, 4, nodes * 4, rule, seed);
}

__attribute__((unused)) static void
world_close(struct world *w)
{
    free(w->memory);
}

__attribute__((unused)) static void
world_step(struct world *w, struct event e)
{
    core_step(w->core, w->now_ns, &e, &w->actions);
}

/* A node with one model in a state. */
__attribute__((unused)) static void
world_node(struct world *w, uint32_t node, uint16_t region, float rtt_ms, uint16_t model,
           uint16_t state)
{
    world_step(
        w,
        (struct event){
            .kind = EVENT_NODE,
            .node = {.node = node, .epoch = 1, .region = region, .slots = 64, .rtt_ms = rtt_ms}});
    world_step(w, (struct event){.kind = EVENT_RTT, .rtt = {.node = node, .rtt_ms = rtt_ms}});
    world_step(w, (struct event){
                      .kind = EVENT_MODEL,
                      .model = {.node = node, .model = model, .state = state, .ready_in_ms = NAN}});
}

__attribute__((unused)) static void
world_report(struct world *w, uint32_t node, float running, float waiting)
{
    world_step(w, (struct event){.kind = EVENT_REPORT,
                                 .report = {.node = node,
                                            .running = running,
                                            .waiting = waiting,
                                            .prefill_tokens_in_flight = NAN,
                                            .kv_tokens_used = NAN,
                                            .kv_tokens_cap = NAN,
                                            .slots = NAN,
                                            .age_ms = 0.0f}});
}

/* So many candidates of the own region, and as many elsewhere. */
__attribute__((unused)) static void
world_sample(struct world *w, uint16_t most)
{
    struct event e = {.kind = EVENT_TUNING, .tuning = tuning_default};

    e.tuning.own_region_max = e.tuning.elsewhere_max = most;
    world_step(w, e);
}

/* A request arrives; returns the node it is sent to, NODE_ANY when it is refused. */
__attribute__((unused)) static uint32_t
world_arrive(struct world *w, uint64_t id, uint16_t model)
{
    world_step(w, (struct event){.kind = EVENT_ARRIVED,
                                 .arrived = {.request = id,
                                             .model = model,
                                             .prompt_bytes = 2000,
                                             .body_bytes = 2100,
                                             .max_tokens = 100,
                                             .stream = 1,
                                             .other_model = MODEL_NONE,
                                             .deadline_ms = NAN,
                                             .only_node = NODE_ANY}});
    if (w->actions.count != 1 || w->actions.list[0].kind != ACTION_DISPATCH)
        return NODE_ANY;
    return w->actions.list[0].dispatch.node;
}

__attribute__((unused)) static void
world_started(struct world *w, uint64_t id, uint32_t attempt)
{
    world_step(
        w, (struct event){.kind = EVENT_STARTED, .started = {.request = id, .attempt = attempt}});
}

__attribute__((unused)) static void
world_ended(struct world *w, uint64_t id, uint32_t attempt, uint32_t output_tokens)
{
    world_step(w, (struct event){.kind = EVENT_ENDED,
                                 .ended = {.request = id,
                                           .attempt = attempt,
                                           .prompt_tokens = 476,
                                           .output_tokens = output_tokens,
                                           .engine_prefill_ms = NAN,
                                           .engine_decode_ms = NAN}});
}

__attribute__((unused)) static void
world_failed(struct world *w, uint64_t id, uint32_t attempt, uint32_t failure, uint32_t started)
{
    world_step(w, (struct event){.kind = EVENT_FAILED,
                                 .failed = {.request = id,
                                            .attempt = attempt,
                                            .failure = failure,
                                            .started = started,
                                            .retry_after_ms = NAN}});
}
#endif

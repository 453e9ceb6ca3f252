/* sim_given_fuzz - any bytes as a fleet, behind a byte 0 its plan: a world whose every part points
 * into another, or an error. */
#include "sim/sim_given.h"

#include "base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check(const struct sim_given *g)
{
    double before_ms = 0.0;

    must(g->node_count >= 1 && g->gateway_count >= 1 && g->trace.count >= 2);
    for (size_t i = 0; i < g->node_count; i++)
        must(g->nodes[i].region < g->region_count && g->nodes[i].class < g->class_count &&
             g->nodes[i].model < g->model_count && g->nodes[i].speed > 0.0);
    for (size_t i = 0; i < g->gateway_count; i++)
        must(g->gateways[i].region < g->region_count);
    for (size_t i = 0; i < g->trace.count; i++) {
        const struct trace_request *r = &g->trace.requests[i];

        must(r->at_ms >= before_ms && r->prompt_tokens >= 1 && r->output_tokens >= 1);
        must(g->requests[i].gateway < g->gateway_count && g->requests[i].model < g->model_count);
        before_ms = r->at_ms;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span all = {(const char *)data, bytes}, fleet = all;
    struct data_file *f = NULL, *p = NULL;
    struct data_error error = {""};
    struct sim_given given;

    fleet.bytes = span_find(all, '\0');
    must(data_file_open_memory("m", fleet, &error, &f) == ERR_OK);
    must(data_file_open_memory("m", span_from(all, fleet.bytes + 1), &error, &p) == ERR_OK);
    if (sim_given_read(f, p, &given) == ERR_OK) {
        check(&given);
        sim_given_close(&given);
    } else {
        must(error.text[0] == 'm');
    }
    data_file_close(f);
    data_file_close(p);
    return 0;
}

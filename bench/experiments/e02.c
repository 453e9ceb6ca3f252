/* e02 - one model on 4090, L40S, A100, H100 and H200: how far predictions of the first token are
 * off 200 requests after a node joined, beside the floor, which is what the same predictor would
 * have said had it known everything but the future. Priors are half as much again as the truth, and
 * each node's speed is hidden. */
#include "experiment.h"

#define AFTER 200u

bool
experiment_e2(const struct experiment *e)
{
    static struct experiment_cell cells[2];
    static const struct experiment_column columns[] = {
        {"error %", metric_error, 1},
        {"floor %", metric_floor, 1},
        {"TTFT p95 ms", metric_first_p95, 0},
    };
    uint32_t count = 0;

    for (uint32_t i = 0; i < 2; i++) {
        struct experiment_cell *c = experiment_add(
            e, cells, &count, i == 0 ? "after 200 requests" : "all requests", "time", TRACE_CONV);
        c->options.models = 1;
        c->options.nodes = 60;
        c->options.gateways = 3;
        c->options.prior_scale = 1.5;
        c->options.floor = true;
        c->options.duration_ms = 180000.0;
        c->options.warmup_ms = 0.0;
        c->nth_min = i == 0 ? AFTER : 0;
    }
    if (!experiment_run(e, "E2", cells, count))
        return false;
    experiment_table(e, "e2", "E2: predicted against actual TTFT, mixed hardware", cells, count,
                     columns, 3);
    experiment_figure(e, "e2_ttft_error_percent", experiment_mean(e, &cells[0], metric_error),
                      "percent");
    experiment_figure(e, "e2_floor_percent", experiment_mean(e, &cells[0], metric_floor),
                      "percent");
    experiment_figure(e, "e2_untrained_error_percent", experiment_mean(e, &cells[1], metric_error),
                      "percent");
    return true;
}

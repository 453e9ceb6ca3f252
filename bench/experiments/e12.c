/* e12 - decode-bound: outputs six times as long, load 0.9; KV room is what there is too little of.
 */
#include "experiment.h"

bool
experiment_e12(const struct experiment *e)
{
    static const char *const rules[] = {"time", "llmd", "least_request", "oracle"};
    static struct experiment_cell cells[8];
    uint32_t count = 0;

    for (uint32_t k = 0; k < 4; k++) {
        struct experiment_cell *c = experiment_add(e, cells, &count, rules[k], rules[k],
                                                   TRACE_CONV);
        c->options.output_factor = 6.0;
        c->options.load = 0.9;
        c->options.nodes = 120;
    }
    if (!experiment_run(e, "E12", cells, count))
        return false;
    experiment_table(e, "e12", "E12: outputs times six, load 0.9", cells, count, experiment_columns,
                     experiment_column_count);
    experiment_figure(e, "e12_p99_llmd_over_ours",
                      experiment_ratio(e, &cells[1], &cells[0], metric_first_p99), "ratio");
    experiment_figure(e, "e12_mean_e2e_llmd_over_ours",
                      experiment_ratio(e, &cells[1], &cells[0], metric_done_mean), "ratio");
    return true;
}

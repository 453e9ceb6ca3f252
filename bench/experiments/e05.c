/* e05 - prefixes: how many of the hits that the caches allow are found, and what that costs in
 * balance. What they allow is taken from a run that never leaves a holder, whatever it costs. */
#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "experiment.h"

#define NODES_LIMIT 1024u

/* Work of the fullest node over that of the mean one; work: the node's own milliseconds for what
 * was sent to it, by its true speed. Nodes of one model share its load, so each model is looked at
 * apart, and the models' figures are weighted by their requests. */
static void
measure_balance(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);
    double *work = calloc(NODES_LIMIT, sizeof(*work));
    uint16_t *models = calloc(NODES_LIMIT, sizeof(*models));
    double weighted = 0.0, requests = 0.0;

    must(work != NULL && models != NULL && job->options.nodes <= NODES_LIMIT);
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *x = &s->samples[i];
        struct predict_node n;
        float uncached = x->prompt_tokens - x->cached_tokens;
        sim_world_truth(w, 0, x->node, x->model, &n);
        work[x->node] += (double)(n.residual *
                                  (predict_prefill_ms(&n.curve, uncached, x->cached_tokens) +
                                   x->output_tokens * (n.curve.tb_ms +
                                                       n.curve.tk_ms * 0.001f * x->prompt_tokens)));
        models[x->node] = (uint16_t)(x->model + 1);
    }
    for (uint16_t m = 1; m <= job->options.models; m++) {
        double most = 0.0, sum = 0.0, nodes = 0.0;
        for (uint32_t i = 0; i < job->options.nodes; i++) {
            if (models[i] != m)
                continue;
            most = fmax(most, work[i]);
            sum += work[i];
            nodes += 1.0;
        }
        if (sum > 0.0) {
            weighted += sum * (most / (sum / nodes));
            requests += sum;
        }
    }
    ret_extras[0] = weighted / requests;
    free(work);
    free(models);
}

static struct experiment_cell *
add(const struct experiment *e, struct experiment_cell *cells, uint32_t *count, const char *name,
    double host_cache)
{
    struct experiment_cell *c = experiment_add(e, cells, count, name, "time", TRACE_PREFIX);

    c->options.host_cache = host_cache;
    c->measure = measure_balance;
    return c;
}

bool
experiment_e5(const struct experiment *e)
{
    static struct experiment_cell cells[10];
    static const struct experiment_column columns[] = {
        {"hits %", metric_hit, 2},
        {"max/mean work", metric_extra_0, 2},
        {"TTFT p50 ms", metric_first_p50, 0},
        {"p95 ms", metric_first_p95, 0},
        {"E2E mean ms", metric_done_mean, 0},
    };
    struct experiment_estimate hits, added;
    uint32_t count = 0;

    (void)add(e, cells, &count, "ours", 16.0);
    add(e, cells, &count, "prefixes off", 16.0)->options.tuning.without = WITHOUT_PREFIX;
    add(e, cells, &count, "T_stick 0", 16.0)->options.tuning.stick_ms = 0.0f;
    add(e, cells, &count, "T_stick 500 ms", 16.0)->options.tuning.stick_ms = 500.0f;
    add(e, cells, &count, "never leaves a holder", 16.0)->options.tuning.stick_ms = 1e6f;
    (void)add(e, cells, &count, "ours, HBM alone", 0.0);
    add(e, cells, &count, "never leaves a holder, HBM alone", 0.0)->options.tuning.stick_ms = 1e6f;
    if (!experiment_run(e, "E5", cells, count))
        return false;
    experiment_table(e, "e5", "E5: prefix reuse, Mooncake; host memory of 16 x HBM", cells, count,
                     columns, 5);
    hits = experiment_ratio(e, &cells[0], &cells[4], metric_hit);
    experiment_figure(
        e, "e5_hit_share_of_reachable",
        (struct experiment_estimate){100.0 * hits.value, 100.0 * hits.low, 100.0 * hits.high},
        "percent");
    added = experiment_mean(e, &cells[0], metric_extra_0);
    experiment_number(e, "e5_imbalance_added",
                      added.value - experiment_mean(e, &cells[1], metric_extra_0).value, "ratio");
    experiment_figure(e, "e5_p95_stick_0_over_ours",
                      experiment_ratio(e, &cells[2], &cells[0], metric_first_p95), "ratio");
    return true;
}

/* e13 - nodes that overstate: every fifth one, from the beginning, in one of four ways. What the
 * check of claims against outcomes is worth: how much goes to who lies, with the check and without,
 * over what goes to the same nodes when they tell the truth, and what all requests pay. Where
 * nobody lies the check must cost nothing, at even load as in bursts. */
#include <math.h>
#include <stdio.h>

#include "experiment.h"

#define NODES      120u
#define LIAR_EVERY 5u

/* 0: tokens that liars (or who would be) answered, in per cent; 1: tries a request, of those
 * counted. */
static void
measure_liars(const struct sim_job *job, struct sim_world *w, double *ret_extras)
{
    const struct sim_stats *s = sim_world_stats(w);
    double lied = 0.0, all = 0.0, tries = 0.0;

    (void)job;
    for (size_t i = 0; i < s->count; i++) {
        const struct sim_sample *x = &s->samples[i];
        double tokens = (double)x->prompt_tokens + (double)x->output_tokens;
        lied += x->node % LIAR_EVERY == 0 ? tokens : 0.0;
        all += tokens;
        tries += s->samples[i].tries;
    }
    ret_extras[0] = 100.0 * lied / fmax(1.0, all);
    ret_extras[1] = tries / fmax(1.0, (double)s->count);
}

static const struct {
    const char *name, *figure;
    uint32_t kind; /* enum sim_fault_kind; SIM_FAULT_KIND_COUNT: nobody lies */
    double factor, output_factor;
    uint32_t honest; /* the row that it is compared with */
} lies[] = {
    {"nobody", "honest", SIM_FAULT_KIND_COUNT, 0.0, 1.0, 0},
    {"nobody, bursts", "honest_bursts", SIM_FAULT_KIND_COUNT, 0.0, 1.0, 1},
    {"nobody, long answers", "honest_long", SIM_FAULT_KIND_COUNT, 0.0, 6.0, 2},
    {"idle", "idle", SIM_FAULT_NODE_TELLS_LESS, 0.0, 1.0, 0},
    {"idle, long answers", "idle_long", SIM_FAULT_NODE_TELLS_LESS, 0.0, 6.0, 2},
    {"half of its load", "half", SIM_FAULT_NODE_TELLS_LESS, 0.5, 1.0, 0},
    {"16 times its slots", "slots", SIM_FAULT_NODE_TELLS_SLOTS, 16.0, 1.0, 0},
    {"ready", "ready", SIM_FAULT_NODE_TELLS_READY, 0.0, 1.0, 0},
    {"8 times its speed", "fast", SIM_FAULT_NODE_TELLS_FAST, 8.0, 1.0, 0},
};
#define LIES (sizeof(lies) / sizeof(lies[0]))

static void
world_make(struct sim_options *o, uint32_t lie)
{
    o->nodes = NODES;
    o->models = 1;
    o->regions = 8;
    o->day_amplitude = 0.0;
    o->output_factor = lies[lie].output_factor;
    o->load = lies[lie].output_factor > 1.0 ? 0.9 : 0.7;
    o->warmup_ms = 30000.0;
    o->duration_ms = 90000.0;
    for (uint32_t i = 0; lie == 1 && i < 6; i++) /* up and down by a half, each ten seconds */
        o->load_steps[o->load_step_count++] = (struct sim_load_step){
            30000.0 + 10000.0 * i, o->load * (i % 2 == 0 ? 1.5 : 0.5)};
    for (uint32_t n = 0; lies[lie].kind != SIM_FAULT_KIND_COUNT && n < NODES; n += LIAR_EVERY)
        o->faults[o->fault_count++] = (struct sim_fault){
            .kind = lies[lie].kind, .a = n, .for_ms = o->duration_ms, .factor = lies[lie].factor};
}

bool
experiment_e13(const struct experiment *e)
{
    static struct experiment_cell cells[2 * LIES];
    static const struct experiment_column columns[] = {
        {"TTFT p50 ms", metric_first_p50, 0}, {"p95 ms", metric_first_p95, 0},
        {"p99 ms", metric_first_p99, 0},      {"E2E mean ms", metric_done_mean, 0},
        {"to liars %", metric_extra_0, 2},    {"tries", metric_extra_1, 3},
        {"refused %", metric_refused, 2},
    };
    struct experiment few = *e;
    char name[64], labels[2 * LIES][64];
    uint32_t count = 0;

    few.seeds = e->is_quick ? 3 : e->seeds;
    for (uint32_t i = 0; i < 2 * LIES; i++) {
        struct experiment_cell *c;
        (void)snprintf(labels[i], sizeof(labels[i]), "%s%s", lies[i / 2].name,
                       i % 2 == 0 ? "" : ", believed");
        c = experiment_add(&few, cells, &count, labels[i], "time", TRACE_CONV);
        world_make(&c->options, i / 2);
        c->options.tuning.without = i % 2 == 0 ? 0 : WITHOUT_CLAIMS;
        c->measure = measure_liars;
    }
    if (!experiment_run(&few, "E13", cells, count))
        return false;
    experiment_table(&few, "e13", "E13: every fifth node overstates", cells, count, columns, 7);
    for (uint32_t i = 0; i < LIES; i++) {
        (void)snprintf(name, sizeof(name), "e13_%s_p99_believed_over_ours", lies[i].figure);
        experiment_figure(
            &few, name, experiment_ratio(&few, &cells[2 * i + 1], &cells[2 * i], metric_first_p99),
            "ratio");
        if (lies[i].kind == SIM_FAULT_KIND_COUNT)
            continue;
        (void)snprintf(name, sizeof(name), "e13_%s_share_over_honest", lies[i].figure);
        experiment_number(
            &few, name,
            experiment_mean(&few, &cells[2 * i], metric_extra_0).value /
                experiment_mean(&few, &cells[2 * lies[i].honest], metric_extra_0).value,
            "ratio");
    }
    return true;
}

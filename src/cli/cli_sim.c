/* cli_sim - figures by a table of what they are; see cli_sim.h. */
#include "cli/cli_sim.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_table.h"
#include "sim/sim_plot.h"
#include "sim/sim_rule.h"
#include "sim/sim_scenario.h"
#include "sim/trace_stats.h"

#define NAME_BYTES_MAX 64u
#define GROUPS_MAX     4096u
#define SEEDS_MAX      CLI_SIM_SEEDS_MAX

#define FIGURE(member) offsetof(struct sim_result, figures.member)
static const struct figure {
    const char *name;
    size_t offset; /* of a double in sim_result */
} figures[] = {
    {"ttft_mean_ms", FIGURE(first_mean_ms)},
    {"ttft_p50_ms", FIGURE(first_p50_ms)},
    {"ttft_p90_ms", FIGURE(first_p90_ms)},
    {"ttft_p95_ms", FIGURE(first_p95_ms)},
    {"ttft_p99_ms", FIGURE(first_p99_ms)},
    {"e2e_mean_ms", FIGURE(done_mean_ms)},
    {"e2e_p50_ms", FIGURE(done_p50_ms)},
    {"e2e_p95_ms", FIGURE(done_p95_ms)},
    {"e2e_p99_ms", FIGURE(done_p99_ms)},
    {"tpot_mean_ms", FIGURE(step_mean_ms)},
    {"tpot_p90_ms", FIGURE(step_p90_ms)},
    {"slo_share", FIGURE(slo_share)},
    {"ttft_error_percent", FIGURE(error_percent)},
    {"ttft_error_floor_percent", FIGURE(floor_percent)},
    {"cached_share", FIGURE(hit_share)},
    {"away_share", FIGURE(away_share)},
    {"capacity_rps", offsetof(struct sim_result, capacity_rps)},
    {"cpu_s", offsetof(struct sim_result, cpu_s)},
};
#define FIGURE_COUNT (sizeof(figures) / sizeof(figures[0]))

#define COUNT(member) offsetof(struct sim_result, counts.member)
static const struct figure counts[] = {
    /* of a uint64_t */
    {"requests", COUNT(requests)},
    {"arrived", COUNT(arrived)},
    {"refused", COUNT(refused)},
    {"failed", COUNT(failed)},
    {"hedges", COUNT(hedges)},
    {"hedges_won", COUNT(hedges_won)},
    {"preemptions", COUNT(preemptions)},
    {"prefill_tokens", COUNT(prefill_tokens)},
    {"hedge_prefill_tokens", COUNT(hedge_prefill_tokens)},
    {"events", COUNT(events)},
    {"core_steps", COUNT(core_steps)},
};
#define COUNT_COUNT (sizeof(counts) / sizeof(counts[0]))

static size_t
index_of(const struct cli_sim *s, size_t load, size_t rule, size_t seed)
{
    return (load * s->rule_count + rule) * s->seed_count + seed;
}

static double
value_at(const struct sim_result *r, size_t offset)
{
    return *(const double *)(const void *)((const char *)r + offset);
}

static double
refused_share(const struct sim_result *r)
{
    return r->counts.arrived > 0 ? (double)r->counts.refused / (double)r->counts.arrived : 0.0;
}

/* Over seeds. offset: of a double; SIZE_MAX: the share that was refused. */
static struct sim_mean
mean_of(const struct cli_sim *s, size_t load, size_t rule, size_t offset)
{
    double values[SEEDS_MAX];

    for (size_t i = 0; i < s->seed_count; i++) {
        const struct sim_result *r = &s->results[index_of(s, load, rule, i)];
        values[i] = offset == SIZE_MAX ? refused_share(r) : value_at(r, offset);
    }
    return sim_mean_of(values, s->seed_count);
}

/* A rule's over the first rule's, seed by seed. */
static struct sim_mean
ratio_of(const struct cli_sim *s, size_t load, size_t rule, size_t offset)
{
    double values[SEEDS_MAX];

    for (size_t i = 0; i < s->seed_count; i++)
        values[i] = value_at(&s->results[index_of(s, load, rule, i)], offset) /
                    value_at(&s->results[index_of(s, load, 0, i)], offset);
    return sim_mean_of(values, s->seed_count);
}

/* ---- For people. */

void
cli_sim_head(const struct cli_sim *s)
{
    const struct sim_options *o = &s->jobs[0].options;

    if (s->title[0] != '\0') {
        cli_print(stdout, s->title);
        printf(": ");
    }
    printf("%" PRIu32 " nodes in %" PRIu32 " regions, %" PRIu32 " gateway%s, %g s, %zu seed%s from "
           "%" PRIu64 "\n",
           o->nodes, o->regions, o->gateways, o->gateways == 1 ? "" : "s", o->duration_ms / 1000.0,
           s->seed_count, s->seed_count == 1 ? "" : "s", o->seed);
    printf("trace %s, round trips %s%s\n\n", s->source->trace.name, s->source->rtt.name,
           s->source->trace.synthetic ? " (made up: no data was given)" : "");
}

static int
decimals(double value)
{
    return fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2;
}

static void
cell(struct cli_table *t, struct sim_mean m, double scale)
{
    double mean = m.mean * scale, half = m.half * scale;

    if (isnan(mean))
        cli_table_text(t, CLI_PLAIN, "-");
    else if (mean == 0.0 && !(half > 0.0))
        cli_table_text(t, CLI_PLAIN, "0");
    else if (isnan(half))
        cli_table_printf(t, CLI_PLAIN, "%.*f", decimals(mean), mean);
    else
        cli_table_printf(t, CLI_PLAIN, "%.*f +-%.*f", decimals(mean), mean, decimals(mean), half);
}

static const struct {
    size_t offset;
    double scale;
} shown[] = {
    {FIGURE(first_mean_ms), 1.0}, {FIGURE(first_p50_ms), 1.0}, {FIGURE(first_p95_ms), 1.0},
    {FIGURE(first_p99_ms), 1.0},  {FIGURE(done_mean_ms), 1.0}, {FIGURE(done_p99_ms), 1.0},
    {FIGURE(step_p90_ms), 1.0},   {FIGURE(slo_share), 100.0},  {SIZE_MAX, 100.0},
    {FIGURE(hit_share), 100.0},   {FIGURE(away_share), 100.0}, {FIGURE(error_percent), 1.0},
};

void
cli_sim_table(const struct cli_sim *s, struct arena *arena)
{
    char versus[NAME_BYTES_MAX];
    const struct cli_column columns[] = {
        {"LOAD", "%", 0, false, s->load_count < 2, 0},
        {"RULE", "", 12, true, false, 0},
        {"TTFT", "mean ms", 0, false, false, 0},
        {"TTFT", "p50 ms", 0, false, false, 2},
        {"TTFT", "p95 ms", 0, false, false, 0},
        {"TTFT", "p99 ms", 0, false, false, 0},
        {"ANSWER", "mean ms", 0, false, false, 0},
        {"ANSWER", "p99 ms", 0, false, false, 2},
        {"TOKEN", "p90 ms", 0, false, false, 1},
        {"IN TIME", "%", 0, false, false, 0},
        {"REFUSED", "%", 0, false, true, 0},
        {"CACHED", "%", 0, false, true, 2},
        {"AWAY", "%", 0, false, true, 3},
        {"ERROR", "%", 0, false, true, 3},
        {"p95 OF", versus, 0, false, s->rule_count < 2, 1},
    };
    struct cli_table t;

    (void)snprintf(versus, sizeof(versus), "%s", s->rules[0]);
    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), arena);
    for (size_t load = 0; load < s->load_count; load++) {
        for (size_t rule = 0; rule < s->rule_count; rule++) {
            cli_table_printf(&t, CLI_PLAIN, s->load_count < 2 ? "-" : "%.4g",
                             100.0 * s->loads[load]);
            cli_table_text(&t, CLI_PLAIN, s->rules[rule]);
            for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
                cell(&t, mean_of(s, load, rule, shown[i].offset), shown[i].scale);
            if (rule == 0)
                cli_table_text(&t, CLI_PLAIN, "-");
            else
                cell(&t, ratio_of(s, load, rule, FIGURE(first_p95_ms)), 1.0);
        }
    }
    cli_table_print(&t);
}

void
cli_sim_rules(struct arena *arena)
{
    static const struct cli_column columns[] = {
        {"RULE", "", 0, true, false, 0},
        {"CONSTANTS", "", 20, true, false, 1},
        {"SOURCE", "", 20, true, false, 0},
    };
    struct cli_table t;
    const char *name;

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), arena);
    for (size_t i = 0; (name = sim_rule_name(i)) != NULL; i++) {
        const struct sim_rule *rule = sim_rule_find(name);
        char text[512];
        size_t bytes = 0;

        text[0] = '\0';
        for (size_t k = 0; rule != NULL && k < rule->knob_count && bytes < sizeof(text); k++)
            bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%s%s %g",
                                      k > 0 ? ", " : "", rule->knobs[k].name,
                                      sim_rule_knob(rule, k));
        cli_table_text(&t, CLI_PLAIN, name);
        cli_table_text(&t, CLI_PLAIN, text);
        cli_table_text(&t, CLI_PLAIN, rule == NULL ? "of the gateway" : rule->source);
    }
    cli_table_print(&t);
}

/* ---- JSON. */

static void
add_number(cJSON *to, const char *name, bool synthetic, double value)
{
    char text[NAME_BYTES_MAX];

    (void)snprintf(text, sizeof(text), "%s%s", name, synthetic ? "_synthetic" : "");
    if (isfinite(value))
        (void)cJSON_AddNumberToObject(to, text, value);
    else
        (void)cJSON_AddNullToObject(to, text);
}

static void
add_run(const struct cli_sim *s, cJSON *runs, size_t index)
{
    const struct sim_job *job = &s->jobs[index];
    const struct sim_result *r = &s->results[index];
    const struct sim_rule *rule = sim_rule_find(job->options.rule);
    bool synthetic = s->source->trace.synthetic;
    char command[SIM_SCENARIO_LINE_BYTES_MAX + 512u], text[32];
    cJSON *run = cJSON_CreateObject(), *knobs;

    (void)cJSON_AddStringToObject(run, "rule", job->options.rule);
    (void)snprintf(text, sizeof(text), "%" PRIu64, job->options.seed);
    (void)cJSON_AddRawToObject(run, "seed", text); /* as a double it could lose its end */
    (void)cJSON_AddNumberToObject(run, "load", job->options.load);
    for (size_t i = 0; i < FIGURE_COUNT; i++)
        add_number(run, figures[i].name, synthetic, value_at(r, figures[i].offset));
    for (size_t i = 0; i < COUNT_COUNT; i++) {
        uint64_t count;
        memcpy(&count, (const char *)r + counts[i].offset, sizeof(count));
        add_number(run, counts[i].name, synthetic, (double)count);
    }
    knobs = cJSON_AddObjectToObject(run, "knobs");
    for (size_t i = 0; rule != NULL && i < rule->knob_count; i++)
        (void)cJSON_AddNumberToObject(knobs, rule->knobs[i].name, r->knobs[i]);
    (void)snprintf(text, sizeof(text), "%016" PRIx64, r->counts.digest);
    (void)cJSON_AddStringToObject(run, "digest", text);
    sim_batch_command(job, command, sizeof(command));
    (void)cJSON_AddStringToObject(run, "repeat", command);
    (void)cJSON_AddItemToArray(runs, run);
}

static void
add_mean(cJSON *to, const char *name, bool synthetic, struct sim_mean m)
{
    char text[NAME_BYTES_MAX];
    cJSON *pair;

    (void)snprintf(text, sizeof(text), "%s%s", name, synthetic ? "_synthetic" : "");
    pair = cJSON_AddObjectToObject(to, text);
    add_number(pair, "mean", false, m.mean);
    add_number(pair, "interval95", false, m.half);
}

void
cli_sim_json(const struct cli_sim *s)
{
    bool synthetic = s->source->trace.synthetic;
    cJSON *root = cJSON_CreateObject(), *list;
    char *text;

    (void)cJSON_AddStringToObject(root, "title", s->title);
    (void)cJSON_AddStringToObject(root, "trace", s->source->trace.name);
    (void)cJSON_AddStringToObject(root, "rtt", s->source->rtt.name);
    (void)cJSON_AddBoolToObject(root, "synthetic", synthetic);
    list = cJSON_AddArrayToObject(root, "summary");
    for (size_t i = 0; i < s->load_count * s->rule_count; i++) {
        size_t load = i / s->rule_count, rule = i % s->rule_count;
        cJSON *row = cJSON_CreateObject(), *ratios;

        (void)cJSON_AddStringToObject(row, "rule", s->rules[rule]);
        (void)cJSON_AddNumberToObject(row, "load", s->loads[load]);
        (void)cJSON_AddNumberToObject(row, "seeds", (double)s->seed_count);
        for (size_t f = 0; f < FIGURE_COUNT; f++)
            add_mean(row, figures[f].name, synthetic, mean_of(s, load, rule, figures[f].offset));
        add_mean(row, "refused_share", synthetic, mean_of(s, load, rule, SIZE_MAX));
        ratios = cJSON_AddObjectToObject(row, "over_first_rule");
        for (size_t f = 0; rule > 0 && f < FIGURE_COUNT; f++)
            add_mean(ratios, figures[f].name, synthetic,
                     ratio_of(s, load, rule, figures[f].offset));
        (void)cJSON_AddItemToArray(list, row);
    }
    list = cJSON_AddArrayToObject(root, "runs");
    for (size_t i = 0; i < s->load_count * s->rule_count * s->seed_count; i++)
        add_run(s, list, i);
    text = cJSON_Print(root);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

/* ---- Charts. */

struct curves { /* of a rule, means over seeds, at the first load */
    float quantile[SIM_CURVE_POINTS], first_ms[SIM_CURVE_POINTS];
    float at_s[SIM_TIME_BINS], p95_ms[SIM_TIME_BINS];
};

static void
curves_of(const struct cli_sim *s, size_t rule, struct curves *c)
{
    const struct sim_options *o = &s->jobs[0].options;
    double bin_s = (o->duration_ms - o->warmup_ms) / 1000.0 / SIM_TIME_BINS;

    for (uint32_t i = 0; i < SIM_CURVE_POINTS; i++) {
        double sum = 0.0;
        for (size_t k = 0; k < s->seed_count; k++)
            sum += (double)s->results[index_of(s, 0, rule, k)].first_ms_at[i];
        c->quantile[i] = (float)(100.0 * i / (SIM_CURVE_POINTS - 1));
        c->first_ms[i] = (float)(sum / (double)s->seed_count);
    }
    for (uint32_t i = 0; i < SIM_TIME_BINS; i++) {
        double sum = 0.0, count = 0.0;
        for (size_t k = 0; k < s->seed_count; k++) {
            float p95 = s->results[index_of(s, 0, rule, k)].first_ms_p95[i];
            sum += isnan(p95) ? 0.0 : (double)p95;
            count += !isnan(p95);
        }
        c->at_s[i] = (float)(o->warmup_ms / 1000.0 + (i + 0.5) * bin_s);
        c->p95_ms[i] = (float)(sum / count); /* 0/0: a gap */
    }
}

bool
cli_sim_plot(const struct cli_sim *s, const char *path)
{
    size_t count = s->rule_count < SIM_PLOT_LINES_MAX ? s->rule_count : SIM_PLOT_LINES_MAX;
    struct curves *curves = calloc(count, sizeof(*curves));
    struct sim_plot_line cdf[SIM_PLOT_LINES_MAX], time[SIM_PLOT_LINES_MAX];
    const struct sim_plot plots[] = {
        {"Time to the first token, all requests", "ms", "% of requests", true, false, cdf,
         (uint32_t)count},
        {"The slowest in twenty, over the run", "s", "p95 of TTFT, ms", false, true, time,
         (uint32_t)count},
    };
    FILE *out = curves == NULL ? NULL : fopen(path, "w");
    bool is_good = false;

    for (size_t i = 0; out != NULL && i < count; i++) {
        curves_of(s, i, &curves[i]);
        cdf[i] = (struct sim_plot_line){s->rules[i], curves[i].first_ms, curves[i].quantile,
                                        SIM_CURVE_POINTS};
        time[i] = (struct sim_plot_line){s->rules[i], curves[i].at_s, curves[i].p95_ms,
                                         SIM_TIME_BINS};
    }
    if (out != NULL)
        is_good = sim_plot_write(out, plots, 2) == ERR_OK;
    if (out != NULL && fclose(out) != 0)
        is_good = false;
    if (!is_good)
        fprintf(stderr, "isochrone sim: %s: %s\n", path, strerror(errno));
    free(curves);
    return is_good;
}

/* ---- What there is. */

static void
print_tokens(const char *name, const struct trace_tokens *t)
{
    printf("%s tokens: mean %.0f, p50 %" PRIu32 ", p95 %" PRIu32 ", p99 %" PRIu32
           ", largest %" PRIu32 "\n",
           name, t->mean, t->p50, t->p95, t->p99, t->max);
}

struct group { /* nodes of one kind in one region */
    struct sim_node_told node;
    uint32_t count;
    double speed; /* a sum */
};

static size_t
groups_of(const struct sim_world *w, uint32_t nodes, struct group *groups)
{
    size_t count = 0, at;

    for (uint32_t i = 0; i < nodes; i++) {
        struct sim_node_told n;

        sim_world_node(w, i, &n);
        for (at = 0; at < count; at++) {
            const struct sim_node_told *g = &groups[at].node;
            if (g->region == n.region && g->model == n.model && g->gpu == n.gpu)
                break;
        }
        if (at == GROUPS_MAX)
            continue;
        if (at == count)
            groups[count++] = (struct group){.node = n};
        groups[at].count++;
        groups[at].speed += n.speed;
    }
    return count;
}

static int
by_region(const void *a, const void *b)
{
    const struct sim_node_told *x = &((const struct group *)a)->node;
    const struct sim_node_told *y = &((const struct group *)b)->node;

    if (x->region != y->region)
        return x->region < y->region ? -1 : 1;
    if (x->model != y->model)
        return x->model < y->model ? -1 : 1;
    return strcmp(x->gpu, y->gpu);
}

static void
print_fleet(const struct sim_world *w, const struct cli_sim *s, struct arena *arena)
{
    static const struct cli_column columns[] = {
        {"REGION", "", 12, true, false, 0}, {"MODEL", "", 0, true, false, 0},
        {"GPU", "", 0, true, false, 0},     {"NODES", "", 0, false, false, 0},
        {"SPEED", "x", 0, false, false, 1},
    };
    struct group *groups = calloc(GROUPS_MAX, sizeof(*groups));
    size_t count = groups == NULL ? 0 : groups_of(w, s->jobs[0].options.nodes, groups);
    struct cli_table t;

    qsort(groups, count, sizeof(*groups), by_region);
    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), arena);
    for (size_t i = 0; i < count; i++) {
        const struct group *g = &groups[i];
        cli_table_printf(&t, CLI_PLAIN, "%.*s", (int)g->node.region_name.bytes,
                         g->node.region_name.data);
        cli_table_text(&t, CLI_PLAIN, g->node.model_name);
        cli_table_text(&t, CLI_PLAIN, g->node.gpu);
        cli_table_printf(&t, CLI_PLAIN, "%" PRIu32, g->count);
        cli_table_printf(&t, CLI_PLAIN, "%.2f", g->speed / g->count);
    }
    cli_table_print(&t);
    free(groups);
}

bool
cli_sim_describe(const struct cli_sim *s, struct arena *arena)
{
    const struct trace *t = &s->source->trace;
    struct trace_stats d;
    struct sim_error error = {"out of memory"};
    struct sim_world *w = NULL;

    if (trace_describe(t, &d) != ERR_OK ||
        sim_world_open(&s->jobs[0].options, t, &s->source->rtt, &w, &error) != ERR_OK) {
        fprintf(stderr, "isochrone sim: %s\n", error.message);
        return false;
    }
    cli_sim_head(s);
    printf(
        "trace: %zu requests in %.0f s, %.2f a second; peaks of %.1f in a second, %.1f over ten\n",
        d.count, d.span_s, d.rate_rps, d.peak_1s_rps, d.peak_10s_rps);
    print_tokens("prompt", &d.prompt);
    print_tokens("output", &d.output);
    printf("%.1f %% of prompt tokens were seen before; %zu conversations, %zu tenants\n",
           100.0 * d.repeated_share, d.session_count, d.tenant_count);
    printf("\nfleet of seed %" PRIu64 ": %.0f requests a second within the SLO\n",
           s->jobs[0].options.seed, sim_world_capacity(w));
    print_fleet(w, s, arena);
    sim_world_close(w);
    return true;
}

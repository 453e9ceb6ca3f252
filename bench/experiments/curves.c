/* curves - what bounds the figures that are hard to reach: each against what it is bought with.
 *
 *   E4   the price on others' delay: what it gains in the mean, what it costs in the tail
 *   E7   the part of a node's room that lower classes may use: what the top class notices
 *   E11  the length of pauses, the budget of hedging and the load up to which there is any
 *   E1   mean end-to-end time against the tail of the first token, for ours, for GORGO-cal, and for
 *        bounds that know what no gateway can
 *
 * Cells are the worlds of those experiments, but for what a curve is about. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "experiment.h"

#define PATH_BYTES_MAX 4096u
#define NAME_BYTES     80u
#define COST_MOST      10.0 /* per cent of p99 that E4 may cost */
#define COUNT(array)   (sizeof(array) / sizeof((array)[0]))

static struct experiment_cell cells[EXPERIMENT_CELLS_MAX];
static char names[EXPERIMENT_CELLS_MAX][NAME_BYTES];

/* The name of the next cell. */
__attribute__((format(printf, 2, 3))) static const char *
name_of(uint32_t at, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(names[at], NAME_BYTES, format, list);
    va_end(list);
    return names[at];
}

/* By how many per cent `over` is more than `under`. */
static struct experiment_estimate
percent_more(const struct experiment *e, const struct experiment_cell *over,
             const struct experiment_cell *under, experiment_metric *metric)
{
    struct experiment_estimate r = experiment_ratio(e, over, under, metric);

    return (struct experiment_estimate){100.0 * (r.value - 1.0), 100.0 * (r.low - 1.0),
                                        100.0 * (r.high - 1.0)};
}

/* The same the other way round: what `now` saves of `before`. */
static struct experiment_estimate
percent_less(const struct experiment *e, const struct experiment_cell *now,
             const struct experiment_cell *before, experiment_metric *metric)
{
    struct experiment_estimate p = percent_more(e, now, before, metric);

    return (struct experiment_estimate){-p.value, -p.high, -p.low};
}

/* ---- Tables of what is compared with another cell: on standard output and in a file. */

struct table {
    FILE *file; /* NULL: it could not be written, and was said */
};

__attribute__((format(printf, 2, 3))) static void
put(struct table *t, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vprintf(format, list);
    va_end(list);
    if (t->file == NULL)
        return;
    va_start(list, format);
    (void)vfprintf(t->file, format, list);
    va_end(list);
}

static void
put_value(struct table *t, struct experiment_estimate v)
{
    put(t, " %.2f [%.2f, %.2f] |", v.value, v.low, v.high);
}

static void
table_begin(const struct experiment *e, const char *name, const char *title, const char *heads,
            const char *line, struct table *ret_table)
{
    char path[PATH_BYTES_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s.md", e->out, name);
    ret_table->file = fopen(path, "w");
    if (ret_table->file == NULL)
        fprintf(stderr, "%s: cannot be written\n", path);
    put(ret_table, "\n### %s\n\n%s\n%s\n", title, heads, line);
}

static void
table_end(struct table *t)
{
    put(t, "\n");
    if (t->file != NULL && fclose(t->file) != 0)
        fputs("a table was not written whole\n", stderr);
}

/* ---- E4. */

/* Weights beside ext: as they are, and what a search on tuning seeds found around them. The first
 * of a set has no ext: its reference. */
struct set {
    const char *name;
    float done_part, late_factor; /* NAN: as it is */
    const float *ext_parts;
    uint32_t count;
};

static const float parts_all[] = {0.0f, 0.02f, 0.05f, 0.06f, 0.08f, 0.1f, 0.12f, 0.15f, 0.2f, 0.3f};
static const float parts_few[] = {0.0f, 0.05f, 0.06f, 0.08f, 0.1f, 0.15f};

#define SETS 4u
static const struct set sets[SETS] = {
    {"as it is", NAN, NAN, parts_all, COUNT(parts_all)},
    {"late 4", NAN, 4.0f, parts_few, COUNT(parts_few)},
    {"done 0.05", 0.05f, NAN, parts_few, COUNT(parts_few)},
    {"done 0.05, late 8", 0.05f, 8.0f, parts_few, COUNT(parts_few)},
};

/* All points, and of each set the most that is gained where it costs no more than a tenth. */
static void
ext_tell(const struct experiment *e)
{
    static float gain[SETS][COUNT(parts_all)], cost[SETS][COUNT(parts_all)];
    struct sim_plot_line lines[SETS];
    const struct sim_plot plot = {"E4: what a price on others' delay buys",
                                  "p99 of the first token, % more",
                                  "mean E2E without it, % more",
                                  false,
                                  false,
                                  lines,
                                  SETS};
    const struct experiment_cell *c = cells;
    struct table t;

    table_begin(e, "curve-e4", "E4: gain and cost by ext_part",
                "| weights | ext_part | mean E2E ms | p99 ms | gain % | cost % |",
                "|---|---:|---:|---:|---:|---:|", &t);
    for (uint32_t s = 0; s < SETS; s++) {
        const struct experiment_cell *none = c;
        for (uint32_t i = 0; i < sets[s].count; i++, c++) {
            struct experiment_estimate g = percent_more(e, none, c, metric_done_mean);
            struct experiment_estimate p = percent_more(e, c, none, metric_first_p99);
            put(&t, "| %s | %.2f | %.0f | %.0f |", sets[s].name, (double)sets[s].ext_parts[i],
                experiment_mean(e, c, metric_done_mean).value,
                experiment_mean(e, c, metric_first_p99).value);
            put_value(&t, g);
            put_value(&t, p);
            put(&t, "\n");
            gain[s][i] = (float)g.value;
            cost[s][i] = (float)p.value;
        }
        lines[s] = (struct sim_plot_line){sets[s].name, cost[s], gain[s], sets[s].count};
    }
    table_end(&t);
    experiment_chart(e, "curve-e4", &plot, 1);
    for (uint32_t s = 0; s < SETS; s++) {
        char name[NAME_BYTES];
        double most = 0.0;
        for (uint32_t i = 0; i < sets[s].count; i++) {
            if ((double)cost[s][i] <= COST_MOST)
                most = fmax(most, (double)gain[s][i]);
        }
        (void)snprintf(name, sizeof(name), "curve_e4_most_gain_percent_within_cost_%u", s);
        printf("       %s:\n", sets[s].name);
        experiment_number(e, name, most, "percent");
    }
}

static bool
curve_ext(const struct experiment *e)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < SETS; s++) {
        for (uint32_t i = 0; i < sets[s].count; i++) {
            struct experiment_cell *c = experiment_add(
                e, cells, &count,
                name_of(count, "%s, ext %.2f", sets[s].name, (double)sets[s].ext_parts[i]), "time",
                TRACE_CONV);
            struct event_tuning *w = &c->options.tuning;
            w->ext_part = sets[s].ext_parts[i];
            if (!isnan(sets[s].done_part))
                w->done_part = sets[s].done_part;
            if (!isnan(sets[s].late_factor))
                w->late_factor = sets[s].late_factor;
        }
    }
    if (!experiment_run(e, "curve of E4", cells, count))
        return false;
    ext_tell(e);
    return true;
}

/* ---- E7. */

static bool
curve_class(const struct experiment *e)
{
    static const float parts[] = {0.5f, 0.6f, 0.7f, 0.75f, 0.8f, 0.85f, 0.9f, 1.0f};
    static const float queues_ms[] = {0.0f, 30.0f, 100.0f};
    static const double steady[] = {0.8, 0.9, 1.0, 1.2};
    static float x[COUNT(parts)], ratio[COUNT(parts)], share[COUNT(parts)];
    const struct sim_plot_line lines[] = {{"top class p90 over calm", x, ratio, COUNT(parts)},
                                          {"goodput share", x, share, COUNT(parts)}};
    const struct sim_plot plot = {
        "E7: room for higher classes", "part for lower classes", "ratio", false, false, lines, 2};
    struct experiment few = *e;
    const struct experiment_cell *best;
    uint32_t count = 0, shown;
    struct table t;

    few.seeds = e->is_quick ? 4 : e->seeds;
    for (uint32_t i = 0; i < COUNT(parts); i++)
        experiment_e7_add(&few, cells, &count, name_of(count, "part %.2f", (double)parts[i]),
                          "time", 0.0)
            ->options.tuning.class_part = parts[i];
    for (uint32_t i = 0; i < COUNT(queues_ms); i++)
        experiment_e7_add(&few, cells, &count,
                          name_of(count, "queue %.0f ms", (double)queues_ms[i]), "time", 0.0)
            ->options.tuning.class_queue_ms = queues_ms[i];
    shown = count;
    for (uint32_t i = 0; i < COUNT(steady); i++)
        (void)experiment_e7_add(&few, cells, &count, name_of(count, "steady %.1f", steady[i]),
                                "time", steady[i]);
    if (!experiment_run(&few, "curve of E7", cells, count))
        return false;
    best = &cells[shown];
    for (uint32_t i = shown; i < count; i++) {
        if (experiment_mean(&few, &cells[i], metric_extra_0).value >
            experiment_mean(&few, best, metric_extra_0).value)
            best = &cells[i];
    }
    table_begin(&few, "curve-e7", "E7: by the room for lower classes",
                "| | top class p90, ratio | goodput share | recovery | refused % |",
                "|---|---:|---:|---:|---:|", &t);
    for (uint32_t i = 0; i < shown; i++) {
        struct experiment_estimate good = experiment_ratio(&few, &cells[i], best, metric_extra_0);
        struct experiment_estimate top = experiment_mean(&few, &cells[i], metric_extra_2);
        put(&t, "| %s |", cells[i].name);
        put_value(&t, top);
        put_value(&t, good);
        put(&t, " %.2f | %.1f |\n", experiment_mean(&few, &cells[i], metric_extra_1).value,
            experiment_mean(&few, &cells[i], metric_refused).value);
        if (i < COUNT(parts)) {
            x[i] = parts[i];
            ratio[i] = (float)top.value;
            share[i] = (float)good.value;
        }
    }
    table_end(&t);
    experiment_chart(&few, "curve-e7", &plot, 1);
    return true;
}

/* ---- E11. */

static void
hedge_row(const struct experiment *e, struct table *t, const struct experiment_cell *c,
          const struct experiment_cell *none)
{
    put(t, "| %s | %.0f | %.0f |", c->name, experiment_mean(e, none, metric_first_p99).value,
        experiment_mean(e, c, metric_first_p99).value);
    put_value(t, percent_less(e, c, none, metric_first_p99));
    put_value(t, experiment_mean(e, c, metric_extra_0));
    put(t, "\n");
}

static bool
curve_hedge(const struct experiment *e)
{
    static const double pauses_ms[] = {500.0, 1000.0, 2000.0, 4000.0, 8000.0};
    static const float parts[] = {0.005f, 0.01f, 0.05f}, loads[] = {0.7f, 0.8f, 1.0f};
    static const char heads[] = "| | p99 without ms | with ms | gain % | extra prefill % |";
    static float x[COUNT(pauses_ms)], gain[COUNT(pauses_ms)];
    const struct sim_plot_line line = {"gain in p99", x, gain, COUNT(pauses_ms)};
    const struct sim_plot plot = {
        "E11: hedging by the length of pauses", "pause, ms", "%", true, false, &line, 1};
    const struct experiment_cell *usual = NULL; /* without, with the pauses of E11 */
    uint32_t count = 0, paired;
    struct table t;

    for (uint32_t i = 0; i < COUNT(pauses_ms); i++) {
        for (uint32_t k = 0; k < 2; k++) {
            struct experiment_cell *c = experiment_e11_add(
                e, cells, &count, name_of(count, "pauses of %.1f s", pauses_ms[i] / 1000.0), 0.7);
            if (k == 1 && c->options.pause_ms == pauses_ms[i])
                usual = c;
            c->options.pause_ms = pauses_ms[i];
            c->options.tuning.without = k == 1 ? WITHOUT_HEDGE : 0;
        }
    }
    paired = count;
    for (uint32_t i = 0; i < COUNT(parts); i++)
        experiment_e11_add(e, cells, &count,
                           name_of(count, "budget of %.1f %%", 100.0 * (double)parts[i]), 0.7)
            ->options.tuning.hedge_part = parts[i];
    for (uint32_t i = 0; i < COUNT(loads); i++)
        experiment_e11_add(e, cells, &count,
                           name_of(count, "none above a load of %.1f", (double)loads[i]), 0.7)
            ->options.tuning.hedge_load_max = loads[i];
    if (!experiment_run(e, "curve of E11", cells, count))
        return false;
    table_begin(e, "curve-e11", "E11: by pauses, budget and load", heads,
                "|---|---:|---:|---:|---:|", &t);
    for (uint32_t i = 0; i < paired; i += 2) {
        hedge_row(e, &t, &cells[i], &cells[i + 1]);
        x[i / 2] = (float)pauses_ms[i / 2];
        gain[i / 2] = (float)percent_less(e, &cells[i], &cells[i + 1], metric_first_p99).value;
    }
    for (uint32_t i = paired; usual != NULL && i < count; i++)
        hedge_row(e, &t, &cells[i], usual);
    table_end(&t);
    experiment_chart(e, "curve-e11", &plot, 1);
    return true;
}

/* ---- E1. */

#define MEAN_WANTED 1.25 /* GORGO-cal's mean E2E over ours */

static const char *const frontier_rules[] = {"time", "oracle", "clairvoyant"};
static const double frontier_loads[] = {0.5, 0.7, 0.9};
#define FRONTIERS COUNT(frontier_rules)

/* What the mean is bought with. The first of `late` is where there is no soft deadline. */
static const float done_parts[] = {0.02f, 0.05f, 0.1f, 0.2f, 0.4f, 0.8f};
static const float late_factors[] = {0.0f, 0.5f, 1.0f, 2.0f, 4.0f, 10.0f};
static const float temperatures[] = {0.0f, 0.56f};
#define STEPS COUNT(done_parts)
_Static_assert(STEPS == COUNT(late_factors), "lines of the same length");

/* The first cell is GORGO-cal; then STEPS for each line: by rule, done_part and late_factor. */
static uint32_t
frontier_add(const struct experiment *e)
{
    uint32_t count = 0;

    (void)experiment_add(e, cells, &count, "gorgo_cal", "gorgo_cal", TRACE_CONV);
    for (uint32_t r = 0; r < FRONTIERS; r++) {
        const char *rule = frontier_rules[r];
        for (uint32_t i = 0; i < STEPS; i++)
            experiment_add(e, cells, &count,
                           name_of(count, "%s, done %.2f", rule, (double)done_parts[i]), rule,
                           TRACE_CONV)
                ->options.tuning.done_part = done_parts[i];
        for (uint32_t i = 0; i < STEPS; i++)
            experiment_add(e, cells, &count,
                           name_of(count, "%s, late %.1f", rule, (double)late_factors[i]), rule,
                           TRACE_CONV)
                ->options.tuning.late_factor = late_factors[i];
    }
    for (uint32_t i = 0; i < COUNT(temperatures); i++)
        experiment_add(e, cells, &count,
                       name_of(count, "time, temperature %.2f", (double)temperatures[i]), "time",
                       TRACE_CONV)
            ->options.tuning.temperature = temperatures[i];
    return count;
}

static void
frontier_table(const struct experiment *e, uint32_t count)
{
    struct table t;

    table_begin(e, "curve-e1", "E1: mean E2E against the tail of TTFT",
                "| | mean E2E ms | p99 TTFT ms | GORGO-cal's mean E2E over it |",
                "|---|---:|---:|---:|", &t);
    for (uint32_t i = 0; i < count; i++) {
        put(&t, "| %s | %.0f | %.0f |", cells[i].name,
            experiment_mean(e, &cells[i], metric_done_mean).value,
            experiment_mean(e, &cells[i], metric_first_p99).value);
        put_value(&t, experiment_ratio(e, &cells[0], &cells[i], metric_done_mean));
        put(&t, "\n");
    }
    table_end(&t);
}

/* GORGO-cal, ours and the bounds at each load. */
static bool
frontier_by_load(const struct experiment *e)
{
    uint32_t count = 0;
    struct table t;

    for (uint32_t i = 0; i < COUNT(frontier_loads); i++) {
        for (uint32_t r = 0; r <= FRONTIERS; r++) {
            const char *rule = r == 0 ? "gorgo_cal" : frontier_rules[r - 1];
            experiment_add(e, cells, &count,
                           name_of(count, "%s, load %.1f", rule, frontier_loads[i]), rule,
                           TRACE_CONV)
                ->options.load = frontier_loads[i];
        }
    }
    if (!experiment_run(e, "curve of E1 by load", cells, count))
        return false;
    table_begin(e, "curve-e1-loads", "E1: mean E2E by load",
                "| | mean E2E ms | p99 TTFT ms | GORGO-cal's mean E2E over it |",
                "|---|---:|---:|---:|", &t);
    for (uint32_t i = 0; i < count; i++) {
        put(&t, "| %s | %.0f | %.0f |", cells[i].name,
            experiment_mean(e, &cells[i], metric_done_mean).value,
            experiment_mean(e, &cells[i], metric_first_p99).value);
        put_value(
            &t, experiment_ratio(e, &cells[i - i % (FRONTIERS + 1)], &cells[i], metric_done_mean));
        put(&t, "\n");
    }
    table_end(&t);
    return true;
}

/* Lines by rule and weight, and what was wanted. */
static void
frontier_chart(const struct experiment *e)
{
    static float x[2 * FRONTIERS][STEPS], y[2 * FRONTIERS][STEPS], wanted_x[2], wanted_y[2];
    static char titles[2 * FRONTIERS][NAME_BYTES];
    struct sim_plot_line lines[2 * FRONTIERS + 1];
    const struct sim_plot plot = {"E1: the mean against the tail",
                                  "p99 of the first token, ms",
                                  "mean E2E, ms",
                                  false,
                                  false,
                                  lines,
                                  2 * FRONTIERS + 1};
    const struct experiment_cell *c = &cells[1];

    wanted_x[0] = INFINITY;
    for (uint32_t k = 0; k < 2 * FRONTIERS; k++) {
        (void)snprintf(titles[k], NAME_BYTES, "%s, by %s", frontier_rules[k / 2],
                       k % 2 == 0 ? "done" : "late");
        for (uint32_t i = 0; i < STEPS; i++, c++) {
            x[k][i] = (float)experiment_mean(e, c, metric_first_p99).value;
            y[k][i] = (float)experiment_mean(e, c, metric_done_mean).value;
            wanted_x[0] = fminf(wanted_x[0], x[k][i]);
            wanted_x[1] = fmaxf(wanted_x[1], x[k][i]);
        }
        lines[k] = (struct sim_plot_line){titles[k], x[k], y[k], STEPS};
    }
    wanted_y[0] = wanted_y[1] = (float)(experiment_mean(e, &cells[0], metric_done_mean).value /
                                        MEAN_WANTED);
    lines[2 * FRONTIERS] = (struct sim_plot_line){"wanted", wanted_x, wanted_y, 2};
    experiment_chart(e, "curve-e1", &plot, 1);
}

static bool
curve_frontier(const struct experiment *e)
{
    uint32_t count = frontier_add(e);

    if (!experiment_run(e, "curve of E1", cells, count))
        return false;
    frontier_table(e, count);
    frontier_chart(e);
    for (uint32_t k = 0; k < 2 * FRONTIERS; k++) {
        char name[NAME_BYTES];
        double most = 0.0;
        for (uint32_t i = 0; i < STEPS; i++)
            most = fmax(
                most,
                experiment_ratio(e, &cells[0], &cells[1 + k * STEPS + i], metric_done_mean).value);
        (void)snprintf(name, sizeof(name), "curve_e1_most_mean_e2e_gorgo_cal_over_%s_by_%s",
                       frontier_rules[k / 2], k % 2 == 0 ? "done" : "late");
        experiment_number(e, name, most, "ratio");
    }
    return frontier_by_load(e);
}

bool
experiment_curves(const struct experiment *e)
{
    bool ok = curve_ext(e);

    ok = curve_class(e) && ok;
    ok = curve_hedge(e) && ok;
    return curve_frontier(e) && ok;
}

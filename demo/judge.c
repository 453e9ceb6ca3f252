/* judge - the closing table and the figures of a demo, out of what its runs left in a folder.
 *
 *   judge FOLDER SEED RULE...
 *
 * FOLDER/RULE/results.jsonl is loadgen's, FOLDER/RULE/emulate.jsonl and emulate.out are emulate's.
 * The first rule is ours: the others are compared with it, and its predictions with what came. A
 * run on a machine that could not keep up says nothing: it is called void. Ends with 1 when a file
 * is missing or our rule did not answer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "floor.h"
#include "load_stats.h"
#include "outcome.h"
#include "role/emulate/emulate_fleet.h"

#define RULES_MAX        5u
#define PATH_BYTES_MAX   4096u
#define UNTRAINED_TURNS  10u  /* the first so many of each target, model and GPU */
#define TRAINED_TURN     100u /* after so many */
#define BUSY_PERCENT_MAX 70.0
#define LATE_MS_MAX      5.0
#define ERRORS_SHARE_MAX 0.01 /* of our own rule's requests */

struct judged {
    const char *rule;
    struct outcome_run run;
    double late_p99_ms; /* of the emulator */
    size_t emulated, ok, open;
    double p50_ms, p95_ms, p99_ms, mean_e2e_ms;
};

/* Of the emulated fleet, and not of the real engine beside it. */
static bool
is_emulated(const struct outcome *o)
{
    for (uint32_t i = 0; i < EMULATE_FLEET_MODELS; i++)
        if (strcmp(o->model, emulate_fleet_models[i].name) == 0)
            return true;
    return false;
}

static enum err
judge_times(struct judged *j)
{
    double *ttft = calloc(j->run.count + 1, sizeof(*ttft));
    double *e2e = calloc(j->run.count + 1, sizeof(*e2e));
    size_t answered = 0, ended = 0;

    if (ttft == NULL || e2e == NULL) {
        free(ttft);
        free(e2e);
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < j->run.count; i++) {
        const struct outcome *o = &j->run.list[i];

        if (!is_emulated(o))
            continue;
        j->emulated++;
        j->ok += o->ok;
        j->open += o->open;
        if (!o->ok && !o->open)
            continue;
        if (!isnan(o->ttft_ms))
            ttft[answered++] = o->ttft_ms;
        e2e[ended++] = o->e2e_ms;
    }
    load_stats_sort(ttft, answered);
    j->p50_ms = load_stats_quantile(ttft, answered, 0.50);
    j->p95_ms = load_stats_quantile(ttft, answered, 0.95);
    j->p99_ms = load_stats_quantile(ttft, answered, 0.99);
    j->mean_e2e_ms = load_stats_mean(e2e, ended);
    free(ttft);
    free(e2e);
    return ERR_OK;
}

static enum err
judge_read(const char *folder, const char *rule, struct judged *ret)
{
    char results[PATH_BYTES_MAX], truths[PATH_BYTES_MAX], out[PATH_BYTES_MAX];
    enum err err;

    (void)snprintf(results, sizeof(results), "%s/%s/results.jsonl", folder, rule);
    (void)snprintf(truths, sizeof(truths), "%s/%s/emulate.jsonl", folder, rule);
    (void)snprintf(out, sizeof(out), "%s/%s/emulate.out", folder, rule);
    ret->rule = rule;
    err = outcome_read(results, truths, &ret->run);
    if (err == ERR_OK)
        err = judge_times(ret);
    ret->late_p99_ms = outcome_late_ms(out);
    if (err == ERR_OK && isnan(ret->late_p99_ms)) {
        fprintf(stderr, "%s: no emulate_late_p99_ms in it\n", out);
        err = ERR_PARSE;
    }
    return err;
}

/* ---- Predictions. */

static double
error_percent(double predicted_ms, double actual_ms)
{
    return 100.0 * fabs(predicted_ms - actual_ms) / actual_ms;
}

struct errors { /* medians over the same requests, percent; NAN without any */
    double core, floor, exact;
    size_t count;
};

/* Of our predictions over the turns [from, to). */
static enum err
judge_errors(const struct judged *ours, unsigned from, unsigned to, struct errors *ret)
{
    size_t room = ours->run.count + 1, count = 0;
    double *core = calloc(3 * room, sizeof(*core)), *floor = core + room, *exact = floor + room;

    if (core == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < ours->run.count; i++) {
        const struct outcome *o = &ours->run.list[i];
        struct terms terms, exact_terms;

        if (!o->ok || isnan(o->predicted_ms) || o->attempts != 1 || o->turn < from ||
            o->turn >= to || floor_predict(o, false, &terms) != ERR_OK ||
            floor_predict(o, true, &exact_terms) != ERR_OK)
            continue;
        core[count] = error_percent(o->predicted_ms, o->ttft_ms);
        floor[count] = error_percent((double)terms.first_ms, o->ttft_ms);
        exact[count++] = error_percent((double)exact_terms.first_ms, o->ttft_ms);
    }
    load_stats_sort(core, count);
    load_stats_sort(floor, count);
    load_stats_sort(exact, count);
    *ret = (struct errors){.core = load_stats_quantile(core, count, 0.5),
                           .floor = load_stats_quantile(floor, count, 0.5),
                           .exact = load_stats_quantile(exact, count, 0.5),
                           .count = count};
    free(core);
    return ERR_OK;
}

/* ---- Telling. */

static void
print_table(const struct judged *list, size_t count, const char *seed)
{
    printf("\nfleet seed %s; the same requests at the same moments under each rule\n", seed);
    printf("%-14s %9s %11s %11s %11s %12s %7s %7s\n", "rule", "requests", "TTFT p50", "p95", "p99",
           "mean E2E", "errors", "open");
    for (size_t i = 0; i < count; i++) {
        const struct judged *j = &list[i];

        printf("%-14s %9zu %8.0f ms %8.0f ms %8.0f ms %9.0f ms %7zu %7zu\n", j->rule, j->emulated,
               j->p50_ms, j->p95_ms, j->p99_ms, j->mean_e2e_ms, j->emulated - j->ok - j->open,
               j->open);
    }
    printf(
        "open: not over when the run was; they count with what they had waited. A rule that fills\n"
        "a region beyond its capacity gets the worse the longer it runs: its p99 says how long it "
        "ran.\n\n");
}

/* The real engine, when there was one. */
static void
print_real(const struct judged *ours)
{
    size_t asked = 0, ok = 0;
    double ttft_ms = 0.0;

    for (size_t i = 0; i < ours->run.count; i++) {
        const struct outcome *o = &ours->run.list[i];

        if (is_emulated(o))
            continue;
        asked++;
        ok += o->ok;
        ttft_ms += o->ok ? o->ttft_ms : 0.0;
    }
    if (asked > 0)
        printf("real llama.cpp: %zu of %zu answered, mean time to first token %.0f ms\n\n", ok,
               asked, ok > 0 ? ttft_ms / (double)ok : NAN);
}

static void
print_ratio(const struct judged *list, size_t count, const char *rule)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(list[i].rule, rule) == 0)
            printf("figure demo_p95_ttft_%s_over_ours %.2f x\n", rule,
                   list[i].p95_ms / list[0].p95_ms);
}

static enum err
print_errors(const struct judged *ours)
{
    struct errors early, late;
    enum err err = judge_errors(ours, 0, UNTRAINED_TURNS, &early);

    if (err == ERR_OK)
        err = judge_errors(ours, TRAINED_TURN, UINT32_MAX, &late);
    if (err != ERR_OK)
        return err;
    if (early.count == 0 || late.count == 0) {
        fprintf(stderr, "no predictions to judge: %zu early, %zu late ones\n", early.count,
                late.count);
        return ERR_NOT_FOUND;
    }
    printf("predicted against actual time to first token: %zu early requests, %zu late ones.\n"
           "The floor is the same predictor with the node's true state; did it also know how far\n"
           "the running iteration has come, it would be off by %.1f %%.\n",
           early.count, late.count, late.exact);
    printf("figure demo_error_untrained %.1f %%\n", early.core);
    printf("figure demo_error_after_100 %.1f %%\n", late.core);
    printf("figure demo_error_floor %.1f %%\n", late.floor);
    return ERR_OK;
}

/* The worst of all runs. */
static void
print_machine(const struct judged *list, size_t count)
{
    double late_ms = 0.0, busy = 0.0, other = 0.0;

    for (size_t i = 0; i < count; i++) {
        late_ms = fmax(late_ms, list[i].late_p99_ms);
        busy = fmax(busy, list[i].run.host_busy_percent);
        other = fmax(other, list[i].run.host_other_percent);
    }
    printf("figure emulate_late_p99_ms %.2f ms\n", late_ms);
    printf("figure host_busy_percent %.1f %%\n", busy);
    printf("figure host_other_percent %.1f %%\n", other);
    if (busy > BUSY_PERCENT_MAX || late_ms >= LATE_MS_MAX)
        printf("\nTHESE FIGURES ARE VOID: the machine could not keep up (at most %.0f %% busy and "
               "%.0f ms late).\n",
               BUSY_PERCENT_MAX, LATE_MS_MAX);
}

int
main(int argc, char **argv)
{
    struct judged list[RULES_MAX] = {0};
    size_t count = 0;
    enum err err = ERR_OK;

    if (argc < 4 || argc > 3 + (int)RULES_MAX) {
        fprintf(stderr, "usage: judge FOLDER SEED RULE...\n");
        return 2;
    }
    for (int i = 3; err == ERR_OK && i < argc; i++)
        err = judge_read(argv[1], argv[i], &list[count++]);
    if (err == ERR_OK) {
        print_table(list, count, argv[2]);
        print_real(&list[0]);
        print_ratio(list, count, "nearest");
        print_ratio(list, count, "least_request");
        err = print_errors(&list[0]);
        print_machine(list, count);
    }
    if (err == ERR_OK &&
        (double)(list[0].emulated - list[0].ok) > ERRORS_SHARE_MAX * (double)list[0].emulated) {
        fprintf(stderr, "%zu of %zu requests were not answered under our own rule\n",
                list[0].emulated - list[0].ok, list[0].emulated);
        err = ERR_IO;
    }
    for (size_t i = 0; i < count; i++)
        outcome_fini(&list[i].run);
    return err == ERR_OK ? 0 : 1;
}

/* cmd_sim - simulated worlds around the gateway's own decision: `isochrone sim`. Which runs: every
 * rule at every load with every seed, all on the same worlds. What they showed is cli_sim's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_options.h"
#include "cli/cli_sim.h"
#include "sim/fit_report.h"
#include "sim/sim_rule.h"
#include "sim/sim_scenario.h"

#define SEEDS_DEFAULT  5u
#define NTH_MIN        20u /* prediction errors count from this request of a gateway at a node on */
#define RUNS_MAX       100000u
#define TEXT_BYTES_MAX 4096u
#define ARENA_BYTES    (64u << 20)
#define FIT_THREADS    8u

const char cmd_sim_help[] =
    "A simulated network around the very code that decides in a gateway: what would a\n"
    "rule, a load, a fault do?\n"
    "\n"
    "  isochrone sim                                    # five rules, 240 nodes\n"
    "  isochrone sim --data DIR --rule time,llmd --load 0.7,0.9 --seeds 5\n"
    "  isochrone sim overload.yaml --plot overload.svg  # a world out of a file\n"
    "  isochrone sim --trace mooncake --rtt aws --data DIR --json > runs.json\n"
    "  isochrone sim --nodes 60 --regions 4 \\\n"
    "      --set '{faults: [{kind: node_down, node: 3, at: 20s, for: 10s}]}'\n"
    "  isochrone sim --describe --trace my.jsonl.gz     # what is in it, the fleet\n"
    "  isochrone sim --list-rules                       # ours, others, and bounds\n"
    "\n"
    "      --rule NAME[,NAME]   rules to compare; the first is what the others are\n"
    "                           measured against\n"
    "      --seeds N | A-B      so many seeds, or these (5)\n"
    "      --load X[,X]         arrivals over what the fleet can take in time: 0.7 or\n"
    "                           70%\n"
    "      --nodes N            (240)   --gateways N   (8)   --regions N   (16)\n"
    "      --duration T         (60s), of which the first quarter warms up in the\n"
    "                           default world\n"
    "      --warmup T           (15s)\n"
    "      --set YAML           any other key of a scenario, in braces\n"
    "      --data DIR           public data: traces/, network/, geo/, gpu/ (or\n"
    "                           $ISOCHRONE_DATA)\n"
    "      --trace NAME|FILE    requests; `synthetic`: made up, what is taken without\n"
    "                           data\n"
    "      --rtt NAME|FILE      round trips; `builtin`: great circles\n"
    "      --fleet FILE, --plan FILE\n"
    "                           a world that is there: its nodes, its requests\n"
    "      --jobs N             at most so many runs at once (as many as there are\n"
    "                           CPUs)\n"
    "      --json               every figure of every run, and a summary\n"
    "      --plot FILE.svg      distribution of first tokens, and their p95 over time\n"
    "      --describe           only what the trace and the fleet are\n"
    "      --list-rules         only the rules, their constants and where they come\n"
    "                           from\n"
    "      --check-engine       only how near the engine model comes to measured\n"
    "                           engines\n"
    "\n"
    "A scenario has the keys title, trace, rtt, fleet, plan, seed, rule, knobs,\n"
    "nodes, gateways, gateway_regions, regions, models, duration, warmup, load,\n"
    "load_steps, day, news, engines, network, requests, slo, floor, tuning, without\n"
    "and faults; a wrong one is told with its place and the nearest name.\n"
    "Every run checks what must hold in any world. One that fails prints the command\n"
    "that repeats it.\n"
    "TTFT is the time to the first token, ANSWER to the last, TOKEN between two; IN\n"
    "TIME: both within the SLO; AWAY: answered outside the gateway's region; ERROR:\n"
    "of the predicted TTFT, median.\n"
    "Exit status: 0 done, 1 it did not work, 2 wrong use.\n";

struct sim {
    const char *file, *rule, *seeds, *load, *nodes, *gateways, *regions, *duration, *warmup, *set,
        *data, *trace, *rtt, *fleet, *plan, *jobs_text, *plot;
    bool json, describe, list_rules, check_engine;
    struct sim_scenario scenario;
    struct sim_source source;
    bool has_source;
    const char *rules[SIM_RULE_NAMES_MAX];
    double loads[CLI_SIM_LOADS_MAX];
    size_t rule_count, load_count, seed_count;
    uint64_t seed_first, workers;
    struct sim_job *jobs;
    struct sim_result *results;
    char data_words[TEXT_BYTES_MAX];
    struct config_problems problems;
    struct arena arena;
};

/* ---- What to simulate. */

/* Read into s; where: a file's name, or what to call it. */
static bool
read_yaml(struct sim *s, const char *where, struct span yaml, struct sim_scenario *into)
{
    const struct config_problems *p = &s->problems;

    if (sim_scenario_read(yaml, into, &s->problems) == ERR_OK)
        return true;
    for (size_t i = 0; i < p->count; i++) {
        if (where == s->file)
            fprintf(stderr, "%s:%u:%u: error: %s\n", where, (unsigned)p->list[i].line,
                    (unsigned)p->list[i].column, p->list[i].text);
        else
            fprintf(stderr, "isochrone sim: %s: %s\n", where, p->list[i].text);
    }
    return false;
}

static bool
read_scenario_file(struct sim *s)
{
    struct span text;
    enum err err = cli_read_file(s->file, SIM_SCENARIO_BYTES_MAX, &s->arena, &text);

    if (err == ERR_OK)
        return read_yaml(s, s->file, text, &s->scenario);
    fprintf(stderr, "isochrone sim: %s: %s\n", s->file, cli_read_words(err));
    return false;
}

/* Options that are keys of a scenario, as one: so they are judged together. */
static bool
read_keys(struct sim *s)
{
    const struct {
        const char *key, *value;
    } keys[] = {
        {"nodes", s->nodes},       {"gateways", s->gateways}, {"regions", s->regions},
        {"duration", s->duration}, {"warmup", s->warmup},
    };
    char text[TEXT_BYTES_MAX];
    size_t bytes = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && bytes < sizeof(text); i++) {
        if (keys[i].value != NULL)
            bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%s: %s\n", keys[i].key,
                                      keys[i].value);
    }
    return read_yaml(s, "the options", span_of(text), &s->scenario);
}

/* Each part of a list between commas, as the value of this key. */
static bool
read_list(struct sim *s, const char *key, const char *list, size_t count_max,
          void (*take)(struct sim *s, const struct sim_scenario *one))
{
    struct span rest = span_of(list);
    size_t count = 0;

    while (rest.bytes > 0 || count == 0) {
        struct span word = {rest.data, span_find(rest, ',')};
        char text[TEXT_BYTES_MAX];
        struct sim_scenario one;

        sim_scenario_init(&one);
        (void)snprintf(text, sizeof(text), "%s: %.*s\n", key, (int)word.bytes, word.data);
        if (!read_yaml(s, "the options", span_of(text), &one))
            return false;
        if (count++ == count_max) {
            fprintf(stderr, "isochrone sim: --%s: more than %zu\n", key, count_max);
            return false;
        }
        take(s, &one);
        rest = span_from(rest, word.bytes + 1);
    }
    return true;
}

static void
take_rule(struct sim *s, const struct sim_scenario *one)
{
    s->rules[s->rule_count++] = one->options.rule;
}

static void
take_load(struct sim *s, const struct sim_scenario *one)
{
    s->loads[s->load_count++] = one->options.load;
}

/* Without --rule: the scenario's, unless that is the default: then all that a gateway has. */
static bool
read_rules(struct sim *s)
{
    bool is_open = s->set == NULL && strcmp(s->scenario.options.rule, "time") == 0;

    if (s->rule != NULL)
        return read_list(s, "rule", s->rule, SIM_RULE_NAMES_MAX, take_rule);
    if (!is_open)
        take_rule(s, &s->scenario);
    for (uint32_t i = 0; is_open && i < RULE_COUNT; i++)
        s->rules[s->rule_count++] = sim_rule_name(i);
    return true;
}

/* N, or A-B. With --set alone, which repeats a run: its one. */
static bool
read_seeds(struct sim *s)
{
    uint64_t first = s->scenario.options.seed, last = first,
             count = s->set != NULL ? 1 : SEEDS_DEFAULT;
    struct span text = span_of(s->seeds != NULL ? s->seeds : "");
    struct span left = {text.data, span_find(text, '-')}, right = span_from(text, left.bytes + 1);
    bool is_good = true;

    if (s->seeds != NULL && left.bytes == text.bytes) {
        is_good = span_u64(text, &count) == ERR_OK;
    } else if (s->seeds != NULL) {
        is_good = span_u64(left, &first) == ERR_OK && span_u64(right, &last) == ERR_OK &&
                  last >= first;
        count = last - first + 1;
    }
    if (!is_good || count < 1 || count > CLI_SIM_SEEDS_MAX) {
        fprintf(stderr, "isochrone sim: --seeds %s: a number up to %u, or FIRST-LAST\n", s->seeds,
                CLI_SIM_SEEDS_MAX);
        return false;
    }
    s->seed_first = first;
    s->seed_count = (size_t)count;
    return true;
}

static bool
read_all(struct sim *s)
{
    if ((s->set != NULL && !read_yaml(s, "--set", span_of(s->set), &s->scenario)) ||
        !read_keys(s) || !read_rules(s) || !read_seeds(s))
        return false;
    if (s->load != NULL) {
        if (!read_list(s, "load", s->load, CLI_SIM_LOADS_MAX, take_load))
            return false;
    } else {
        take_load(s, &s->scenario);
    }
    if (s->jobs_text != NULL && (span_u64(span_of(s->jobs_text), &s->workers) != ERR_OK ||
                                 s->workers < 1 || s->workers > SIM_WORKERS_MAX)) {
        fprintf(stderr, "isochrone sim: --jobs %s: 1 to %u\n", s->jobs_text, SIM_WORKERS_MAX);
        return false;
    }
    if (s->rule_count * s->load_count * s->seed_count > RUNS_MAX) {
        fprintf(stderr, "isochrone sim: more than %u runs\n", RUNS_MAX);
        return false;
    }
    return true;
}

static const char *
data_folder(const struct sim *s)
{
    const char *folder = s->data != NULL ? s->data : getenv("ISOCHRONE_DATA");

    return folder != NULL && folder[0] != '\0' ? folder : NULL;
}

/* The world of two files: they say what the scenario says of others. */
static bool
open_given(struct sim *s, const char *fleet, const char *plan)
{
    const char *rtt = s->rtt != NULL ? s->rtt : s->scenario.rtt;
    struct data_error error;

    if (fleet[0] == '\0' || plan[0] == '\0') {
        fputs("isochrone sim: --fleet and --plan go together\n", stderr);
        return false;
    }
    if (sim_source_open_given(data_folder(s), fleet, plan, rtt, &error, &s->source) != ERR_OK) {
        fprintf(stderr, "isochrone sim: %s\n", error.text);
        return false;
    }
    s->has_source = true;
    sim_given_use(&s->source.given, &s->scenario.options);
    (void)snprintf(s->data_words, sizeof(s->data_words), "%s%s%s--fleet %s --plan %s --rtt %s",
                   s->data != NULL ? "--data " : "", s->data != NULL ? s->data : "",
                   s->data != NULL ? " " : "", fleet, plan,
                   s->source.rtt.builtin ? SIM_SOURCE_BUILTIN
                   : rtt[0] != '\0'      ? rtt
                                         : s->source.rtt.name);
    return true;
}

static bool
open_source(struct sim *s)
{
    const char *fleet = s->fleet != NULL ? s->fleet : s->scenario.fleet;
    const char *plan = s->plan != NULL ? s->plan : s->scenario.plan;
    const char *trace = s->trace != NULL ? s->trace : s->scenario.trace;
    const char *rtt = s->rtt != NULL ? s->rtt : s->scenario.rtt;
    struct data_error error;

    if (fleet[0] != '\0' || plan[0] != '\0')
        return open_given(s, fleet, plan);
    if (sim_source_open(data_folder(s), trace, rtt, &error, &s->source) != ERR_OK) {
        fprintf(stderr, "isochrone sim: %s\n", error.text);
        return false;
    }
    s->has_source = true;
    /* Names as they were found, so that the command does not hang on what is first in a folder. */
    (void)snprintf(s->data_words, sizeof(s->data_words), "%s%s%s--trace %s --rtt %s",
                   s->data != NULL ? "--data " : "", s->data != NULL ? s->data : "",
                   s->data != NULL ? " " : "",
                   s->source.trace.synthetic ? SIM_SOURCE_SYNTHETIC
                   : trace[0] != '\0'        ? trace
                                             : s->source.trace.name,
                   s->source.rtt.builtin ? SIM_SOURCE_BUILTIN
                   : rtt[0] != '\0'      ? rtt
                                         : s->source.rtt.name);
    return true;
}

/* ---- Running. */

static void
show_progress(void *user, const struct sim_progress *p)
{
    (void)user;
    fprintf(stderr, "\r%zu of %zu runs, %.0f s simulated", p->done, p->count, p->virtual_s);
    if (isfinite(p->left_s))
        fprintf(stderr, ", %.0f s left ", p->left_s);
    fputs("\033[K", stderr);
    if (p->done == p->count)
        fputs("\r\033[K", stderr);
}

static bool
make_jobs(struct sim *s)
{
    size_t count = s->rule_count * s->load_count * s->seed_count, at = 0;

    s->jobs = calloc(count, sizeof(*s->jobs));
    s->results = calloc(count, sizeof(*s->results));
    if (s->jobs == NULL || s->results == NULL) {
        fputs("isochrone sim: out of memory\n", stderr);
        return false;
    }
    for (size_t load = 0; load < s->load_count; load++) {
        for (size_t rule = 0; rule < s->rule_count; rule++) {
            for (size_t seed = 0; seed < s->seed_count; seed++, at++) {
                struct sim_options *o = &s->jobs[at].options;
                bool is_same = strcmp(s->rules[rule], s->scenario.options.rule) == 0;

                s->jobs[at] = (struct sim_job){.options = s->scenario.options,
                                               .trace = &s->source.trace,
                                               .rtt = &s->source.rtt,
                                               .data_words = s->data_words,
                                               .nth_min = NTH_MIN};
                o->rule = s->rules[rule];
                o->load = s->loads[load];
                o->seed = s->seed_first + seed;
                for (size_t k = 0; !is_same && k < SIM_KNOBS_MAX; k++)
                    o->knobs[k] = NAN; /* they are another rule's */
            }
        }
    }
    return true;
}

static bool
run(struct sim *s)
{
    bool is_shown = isatty(STDERR_FILENO) != 0;
    struct sim_batch_options options = {.workers = (uint32_t)s->workers,
                                        .progress = is_shown ? show_progress : NULL};
    size_t count = s->rule_count * s->load_count * s->seed_count, failed = 0;
    enum err err = sim_batch_run(s->jobs, count, &options, s->results);

    for (size_t i = 0; i < count; i++) {
        if (s->results[i].err != ERR_OK && failed++ == 0)
            fprintf(stderr, "isochrone sim: %s\n", s->results[i].error);
    }
    if (failed > 1)
        fprintf(stderr, "isochrone sim: %zu more of %zu runs failed\n", failed - 1, count);
    return err == ERR_OK;
}

static int
check_engine(const struct sim *s)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct gpu_data data;
    struct data_error error;
    struct fit_report report;
    enum err err;

    if (data_folder(s) == NULL) {
        fputs("isochrone sim: --check-engine needs measured engines: --data DIR\n", stderr);
        return CLI_USAGE;
    }
    if (gpu_data_open(data_folder(s), &error, &data) != ERR_OK) {
        fprintf(stderr, "isochrone sim: %s\n", error.text);
        return CLI_FAILED;
    }
    err = fit_report_open(&data,
                          cpus < 1             ? 1
                          : cpus > FIT_THREADS ? FIT_THREADS
                                               : (uint32_t)cpus,
                          FIT_SPLIT_TABLE, &report);
    if (err == ERR_OK) {
        fit_report_print(&report, stdout);
        fit_report_close(&report);
    } else {
        fprintf(stderr, "isochrone sim: %s/gpu: %s\n", data_folder(s),
                err == ERR_NOT_FOUND ? "no measured points of serving" : err_name(err));
    }
    gpu_data_close(&data);
    return err == ERR_OK ? CLI_OK : CLI_FAILED;
}

/* ---- The command. */

static int
simulate(struct sim *s)
{
    struct cli_sim seen = {.title = s->scenario.title,
                           .source = &s->source,
                           .rules = s->rules,
                           .loads = s->loads,
                           .rule_count = s->rule_count,
                           .load_count = s->load_count,
                           .seed_count = s->seed_count};

    if (!open_source(s) || !make_jobs(s))
        return CLI_FAILED;
    seen.jobs = s->jobs;
    seen.results = s->results;
    if (s->describe)
        return cli_sim_describe(&seen, &s->arena) ? CLI_OK : CLI_FAILED;
    if (!run(s))
        return CLI_FAILED;
    if (s->json) {
        cli_sim_json(&seen);
    } else {
        cli_sim_head(&seen);
        cli_sim_table(&seen, &s->arena);
    }
    return s->plot == NULL || cli_sim_plot(&seen, s->plot) ? CLI_OK : CLI_FAILED;
}

static bool
read_words(int argc, char **argv, struct sim *s)
{
    const struct cli_option options[] = {
        {"rule", 0, NULL, &s->rule},
        {"seeds", 0, NULL, &s->seeds},
        {"load", 0, NULL, &s->load},
        {"nodes", 0, NULL, &s->nodes},
        {"gateways", 0, NULL, &s->gateways},
        {"regions", 0, NULL, &s->regions},
        {"duration", 0, NULL, &s->duration},
        {"warmup", 0, NULL, &s->warmup},
        {"set", 0, NULL, &s->set},
        {"data", 0, NULL, &s->data},
        {"trace", 0, NULL, &s->trace},
        {"rtt", 0, NULL, &s->rtt},
        {"fleet", 0, NULL, &s->fleet},
        {"plan", 0, NULL, &s->plan},
        {"jobs", 0, NULL, &s->jobs_text},
        {"json", 0, &s->json, NULL},
        {"plot", 0, NULL, &s->plot},
        {"describe", 0, &s->describe, NULL},
        {"list-rules", 0, &s->list_rules, NULL},
        {"check-engine", 0, &s->check_engine, NULL},
    };

    return cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), &s->file);
}

int
cmd_sim(int argc, char **argv)
{
    struct sim *s = calloc(1, sizeof(*s));
    int code = CLI_USAGE;

    if (s == NULL)
        return CLI_FAILED;
    arena_init(&s->arena, ARENA_BYTES);
    sim_scenario_init(&s->scenario);
    if (!read_words(argc, argv, s)) {
        code = CLI_USAGE;
    } else if (s->list_rules) {
        cli_sim_rules(&s->arena);
        code = CLI_OK;
    } else if (s->check_engine) {
        code = check_engine(s);
    } else if (s->file != NULL && !read_scenario_file(s)) {
        code = CLI_FAILED;
    } else if (read_all(s)) {
        code = simulate(s);
    }
    if (s->has_source)
        sim_source_close(&s->source);
    free(s->jobs);
    free(s->results);
    arena_fini(&s->arena);
    free(s);
    return code;
}

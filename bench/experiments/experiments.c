/* experiments - runs the experiments by name: `make experiments-quick` all of them briefly. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "experiment.h"
#include "sim/trace_synthetic.h"

static const struct {
    const char *name, *about;
    experiment_fn *run;
} experiments[] = {
    {"e1", "faster is not closer: every rule in one world", experiment_e1},
    {"e2", "mixed hardware: how far predictions are off", experiment_e2},
    {"e3", "many gateways, old news", experiment_e3},
    {"e4", "the price of others' delay", experiment_e4},
    {"e5", "prefix reuse", experiment_e5},
    {"e6", "which models where: thousands of them, room for some", experiment_e6},
    {"e6-live", "the same on few nodes, as e06_live.py has it", experiment_e6_live},
    {"e7", "overload", experiment_e7},
    {"e11", "hedging", experiment_e11},
    {"e12", "decode-bound load", experiment_e12},
    {"e13", "nodes that overstate", experiment_e13},
    {"e14", "capacity as it is told, against what is reached", experiment_e14},
    {"ablations", "each part left out", experiment_ablations},
    {"e6-curves", "placement over the rate of requests; --quick: only by name",
     experiment_e6_curves},
    {"curves", "what bounds the figures that are hard to reach; --quick: only by name",
     experiment_curves},
};
#define EXPERIMENTS (sizeof(experiments) / sizeof(experiments[0]))

static const char *const trace_names[EXPERIMENT_TRACES] = {
    [TRACE_CONV] = "azure_llm_2023_conv",
    [TRACE_PREFIX] = "mooncake_conversation",
};

static void
usage(FILE *out)
{
    fputs("The experiments of the simulator: tables, and `figure` lines.\n\n"
          "  experiments --quick\n"
          "  experiments --data DIR --only e1,e3 --seeds 10 --out /tmp/experiments\n\n"
          "  --quick      shorter runs, 5 seeds\n"
          "  --tuning     on the part of the traces and the seeds that are for tuning\n"
          "  --only LIST  some of them\n"
          "  --data DIR   public data (or ISOCHRONE_DATA); without it a built-in load\n"
          "  --seeds N    so many (10; quick 5)\n"
          "  --jobs N     processes at once (all CPUs)\n"
          "  --out DIR    tables go there (build/experiments)\n\n",
          out);
    for (size_t i = 0; i < EXPERIMENTS; i++)
        fprintf(out, "  %-10s %s\n", experiments[i].name, experiments[i].about);
}

/* Is name in the list with commas? */
static bool
is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    }
    return false;
}

static bool
load_synthetic(struct experiment *e, struct data_error *error)
{
    for (uint32_t i = 0; i < EXPERIMENT_TRACES; i++) {
        struct trace_synthetic s = trace_synthetic_default(i + 1);
        if (trace_synthetic_open(&s, error, &e->traces[i]) != ERR_OK)
            return false;
    }
    return rtt_data_builtin(error, &e->rtt) == ERR_OK;
}

static bool
load_data(struct experiment *e, const char *folder, struct data_error *error)
{
    struct trace_options options = {.from_share = e->is_tuning ? 0.0 : EXPERIMENT_TUNED_SHARE,
                                    .to_share = e->is_tuning ? EXPERIMENT_TUNED_SHARE : 1.0};
    char path[DATA_PATH_BYTES_MAX];

    for (uint32_t i = 0; i < EXPERIMENT_TRACES; i++) {
        if (trace_find(folder, trace_names[i], error, path) != ERR_OK ||
            trace_open(path, &options, error, &e->traces[i]) != ERR_OK)
            return false;
    }
    return rtt_data_find(folder, NULL, error, &e->rtt) == ERR_OK;
}

static bool
run(const struct experiment *e, const char *only)
{
    bool ok = true;

    for (size_t i = 0; i < EXPERIMENTS; i++) {
        bool is_asked = only != NULL && is_listed(only, experiments[i].name);
        bool is_long = experiments[i].run == experiment_curves ||
                       experiments[i].run == experiment_e6_curves;
        bool is_usual = only == NULL && !(e->is_quick && is_long);
        if (is_asked || is_usual)
            ok = experiments[i].run(e) && ok;
    }
    return ok;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"seeds", required_argument, NULL, 's'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"out", required_argument, NULL, 'O'},
                                            {"tuning", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct experiment e = {.seeds = 0, .out = "build/experiments"};
    const char *folder = getenv("ISOCHRONE_DATA"), *only = NULL;
    struct data_error error;
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'q':
            e.is_quick = true;
            break;
        case 't':
            e.is_tuning = true;
            break;
        case 'o':
            only = optarg;
            break;
        case 'd':
            folder = optarg;
            break;
        case 's':
            e.seeds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'j':
            e.workers = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'O':
            e.out = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (e.seeds == 0)
        e.seeds = e.is_quick ? 5 : 10;
    if (e.seeds > EXPERIMENT_SEEDS_MAX)
        e.seeds = EXPERIMENT_SEEDS_MAX;
    if (mkdir(e.out, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "%s: %s\n", e.out, strerror(errno));
        return 1;
    }
    if (folder == NULL)
        fputs("no data (--data DIR, ISOCHRONE_DATA): a built-in load, figures end in _synthetic\n",
              stderr);
    if (!(folder == NULL ? load_synthetic(&e, &error) : load_data(&e, folder, &error))) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return run(&e, only) ? 0 : 1;
}

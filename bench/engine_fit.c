/* engine_fit - how honest the engine model is, by public measurements: `make bench-engine-fit`,
 * with ISOCHRONE_DATA or --data DIR; --quick: only the first of its splits. Nothing here depends on
 * how fast or busy this machine is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/fit_report.h"
#include "sim/fit_requests.h"

static const char *
data_folder(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--data") == 0)
            return argv[i + 1];
    return getenv("ISOCHRONE_DATA");
}

static enum err
replay_runs(const struct gpu_data *data)
{
    static struct fit_run runs[FIT_RUNS_MAX];
    size_t count;
    enum err err = fit_requests(data, runs, &count);

    if (err == ERR_OK)
        fit_requests_print(runs, count, stdout);
    return err;
}

int
main(int argc, char **argv)
{
    const char *folder = data_folder(argc, argv);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct gpu_data data;
    struct data_error error;
    struct fit_report report;
    enum err err;
    enum fit_split last = argc > 1 && strcmp(argv[1], "--quick") == 0 ? FIT_SPLIT_POINTS
                                                                      : FIT_SPLIT_TABLE;

    if (folder == NULL || folder[0] == '\0') {
        fprintf(stderr, "engine_fit: no data: give --data DIR or set ISOCHRONE_DATA\n");
        return 2;
    }
    if (gpu_data_open(folder, &error, &data) != ERR_OK) {
        fprintf(stderr, "engine_fit: %s\n", error.text);
        return 1;
    }
    err = fit_report_open(&data, cpus < 1 ? 1 : cpus > 8 ? 8 : (uint32_t)cpus, last, &report);
    if (err == ERR_OK) {
        fit_report_print(&report, stdout);
        fit_report_close(&report);
        err = replay_runs(&data);
    }
    if (err != ERR_OK)
        fprintf(stderr, "engine_fit: %s/gpu: %s\n", folder,
                err == ERR_NOT_FOUND ? "no measured points of serving" : err_name(err));
    gpu_data_close(&data);
    return err == ERR_OK ? 0 : 1;
}

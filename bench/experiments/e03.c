/* e03 - many gateways that share nothing but reports: how far the tail is from an oracle that sees
 * every node as it is; and what the age of news does.
 *
 * What sharing nothing costs is told by eight gateways in the one place where a single one stands
 * otherwise: apart, they would also be nearer to their clients. */
#include <stdio.h>

#include "experiment.h"

struct row {
    uint32_t gateways;
    double load, heartbeat_ms;
    bool piggyback;
    const char *figure; /* p99 over the oracle's; NULL: none */
};

static const struct row rows[] = {
    {1, 0.7, 1000.0, true, "e3_p99_over_oracle_1_at_07"},
    {8, 0.7, 1000.0, true, "e3_p99_over_oracle_8_at_07"},
    {16, 0.7, 1000.0, true, "e3_p99_over_oracle_16_at_07"},
    {8, 0.9, 1000.0, true, "e3_p99_over_oracle_8_at_09"},
    {8, 0.7, 5000.0, true, "e3_p99_over_oracle_8_at_07_heartbeat_5"},
    {8, 0.7, 5000.0, false, "e3_p99_over_oracle_8_at_07_heartbeat_5_alone"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

bool
experiment_e3(const struct experiment *e)
{
    static const char *const rules[] = {"time", "oracle", "least_request"};
    static struct experiment_cell cells[EXPERIMENT_CELLS_MAX];
    static char names[EXPERIMENT_CELLS_MAX][80];
    struct experiment_cell *together;
    uint32_t count = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t k = 0; k < 3; k++) {
            struct experiment_cell *c = experiment_add(e, cells, &count, names[count], rules[k],
                                                       TRACE_CONV);
            (void)snprintf(names[count - 1], sizeof(names[0]), "%s, %u gateways, %.1f, %.0f s%s",
                           rules[k], rows[i].gateways, rows[i].load, rows[i].heartbeat_ms / 1000.0,
                           rows[i].piggyback ? "" : " alone");
            c->options.gateways = rows[i].gateways;
            c->options.load = rows[i].load;
            c->options.heartbeat_ms = rows[i].heartbeat_ms;
            c->options.piggyback = rows[i].piggyback;
        }
    }
    together = experiment_add(e, cells, &count, "time, 8 gateways in one place, 0.7, 1 s", "time",
                              TRACE_CONV);
    together->options.gateways = 8;
    together->options.gateway_regions = 1;
    if (!experiment_run(e, "E3", cells, count))
        return false;
    experiment_table(e, "e3", "E3: gateways and the age of news", cells, count, experiment_columns,
                     experiment_column_count);
    for (uint32_t i = 0; i < ROWS; i++)
        experiment_figure(e, rows[i].figure,
                          experiment_ratio(e, &cells[3 * i], &cells[3 * i + 1], metric_first_p99),
                          "ratio");
    experiment_figure(
        e, "e3_p99_least_request_over_ours_heartbeat_5_alone",
        experiment_ratio(e, &cells[3 * ROWS - 1], &cells[3 * ROWS - 3], metric_first_p99), "ratio");
    experiment_figure(e, "gateways_8_p99_over_1",
                      experiment_ratio(e, together, &cells[0], metric_first_p99), "ratio");
    experiment_figure(e, "gateways_8_apart_p99_over_1",
                      experiment_ratio(e, &cells[3], &cells[0], metric_first_p99), "ratio");
    return true;
}

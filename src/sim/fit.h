#ifndef SIM_FIT_H
#define SIM_FIT_H
/* fit - the parameters of the engine model at which it shows what was measured. What is compared is
 * not a formula but the engine itself, run under the load of the benchmark (closed_loop), so the
 * pattern of its batches, its queue and its KV limit are in the fit. */
#include "sim/closed_loop.h"
#include "sim/fit_specs.h"

#define FIT_ROWS_MAX   4096u
#define FIT_CURVES_MAX 64u

struct fit_row {
    const struct gpu_point *point;
    uint32_t curve; /* < FIT_CURVES_MAX: rows of one prompt and output length */
};

/* One engine: a model on some GPUs, run by one version of a server. */
struct fit_engine {
    double params[FIT_PARAMS]; /* ms, see fit_specs.h */
    double expert_share, kv_tokens_cap, weights_bytes;
    uint32_t prefill_budget;
    bool prefill_first;
    uint32_t visible_tokens[FIT_CURVES_MAX]; /* see closed_loop.h; benchmarks set it by curve */
};

/* An engine as its specifications and its kind of server suggest, nothing measured. */
void fit_by_specs(const struct fit_specs *specs, const struct gpu_point *point,
                  struct fit_engine *ret_engine);
/* Fit *engine, which comes from fit_by_specs, to the rows. No rows: it stays as it is. ERR_ARG: too
 * many; ERR_MEMORY. */
MUST_USE enum err fit_rows(const struct fit_row *rows, size_t count, struct fit_engine *engine);

/* What a client of this engine sees at the row's load. ERR_FULL: the model says that it has no room
 * for it; else as closed_loop_run. */
MUST_USE enum err fit_show(const struct fit_engine *engine, const struct fit_row *row,
                           struct closed_loop_seen *ret_seen);
/* The engine's figures as src/engine takes them. */
void fit_speed(const struct fit_engine *engine, struct engine_speed *ret_speed);
/* Clients of one engine: a row's batch, or its concurrency when it has none. 0: not given, or more
 * than an engine of the model takes. */
uint32_t fit_concurrency(const struct gpu_point *point);
#endif

#ifndef SIM_FIT_REQUESTS_H
#define SIM_FIT_REQUESTS_H
/* fit_requests - the engine model against one real run: speeds come from times of single kernels,
 * never from the run; then the same requests arrive at the same times, and each one's first token
 * and pace are compared with what was measured. */
#include <stdio.h>

#include "sim/fit.h"

#define FIT_RUNS_MAX 64u

struct fit_run {                       /* one hardware and model */
    const struct gpu_request *request; /* one of them, for its names */
    size_t count;
    bool by_kernels; /* false: no kernels were measured; speeds of base/speed_table */
    bool known;      /* false: not there either; nothing below is set */
    struct engine_speed speed;
    uint32_t slots;                    /* max_num_seqs: as many as ran at once, at most */
    double ttft_percent, tpot_percent; /* median error of a request */
    double end_percent;                /* how much later, or sooner, the last token comes */
    uint64_t preemptions;
};

/* Speeds of a model out of its kernels; kv_tokens_cap and weights_bytes are left alone.
 * ERR_NOT_FOUND: too few kernels of it, or its layers are not known. */
MUST_USE enum err fit_kernels(const struct gpu_data *data, const char *hardware, const char *model,
                              struct engine_speed *speed);
/* Every run in data->requests, at most FIT_RUNS_MAX. ERR_FULL: more; ERR_MEMORY. */
MUST_USE enum err fit_requests(const struct gpu_data *data, struct fit_run *ret_runs,
                               size_t *ret_count);
/* Each run in words, then lines `figure NAME VALUE UNIT` of the run that is farthest off. */
void fit_requests_print(const struct fit_run *runs, size_t count, FILE *to);
#endif

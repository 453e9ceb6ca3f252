#ifndef DEMO_OUTCOME_H
#define DEMO_OUTCOME_H
/* outcome - what came of a run's requests, read back from loadgen's file, and beside each what the
 * emulator knows of it: the node's true state when it arrived. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define OUTCOME_NAME_BYTES 64u

struct outcome_truth { /* as emulate logged it; times in ms, since the arrival at the engine */
    bool known;
    char gpu[16], kind[24];
    bool fresh_connection;
    double rtt_ms, body_bytes, prompt_tokens, output_tokens, cached_tokens; /* cached: at arrival */
    double queue_tokens, running, waiting, kv_tokens_used, kv_tokens_cap;
    double speed, load_left_ms, iteration_left_ms;
    double first_ms;
};

struct outcome {
    char id[OUTCOME_NAME_BYTES], target[OUTCOME_NAME_BYTES], model[OUTCOME_NAME_BYTES];
    char node[2 * OUTCOME_NAME_BYTES];
    bool ok, open;                /* neither: it failed */
    unsigned attempts, turn;      /* turn: how many this target had sent to model and GPU before */
    double sent_ms;               /* since the start of the run */
    double predicted_ms, ttft_ms; /* NAN: none */
    double e2e_ms;
    struct outcome_truth truth; /* of the node that answered */
};

struct outcome_run {
    struct outcome *list; /* in the order they were sent */
    size_t count;
    double host_busy_percent, host_other_percent;
};

/* Read results (loadgen --out) and truths (emulate --log; NULL: none). ERR_IO: said; ERR_PARSE: a
 * line of results is none; ERR_MEMORY. outcome_fini also after a failure. */
MUST_USE enum err outcome_read(const char *results, const char *truths,
                               struct outcome_run *ret_run);
void outcome_fini(struct outcome_run *run);
/* How late the emulator was by its own account, the p99, in the file of what it printed; NAN: it
 * does not say. */
double outcome_late_ms(const char *path);
#endif

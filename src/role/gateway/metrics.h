#ifndef ROLE_GATEWAY_METRICS_H
#define ROLE_GATEWAY_METRICS_H
/* metrics - what one loop counted. Each counter has one writer, its loop, so counting is a plain
 * load and store; anyone may read at any time and adds up the loops. No ids in labels. */
#include <stdatomic.h>
#include <stdint.h>

#include "core/core.h"
#include "io/tls.h"
#include "role/access.h"

#define METRICS_MODELS  (CORE_MODELS_USUAL + 1u) /* the last: no model known yet */
#define METRICS_BUCKETS 18u                      /* 1 ms doubling to 65 s, and +Inf */

/* Status codes that are told apart. */
#define METRICS_CODES                                                                              \
    {                                                                                              \
        200, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 499, 500, 502, 503, 504, 0          \
    }
#define METRICS_CODE_COUNT 17u /* the last: any other */

struct metrics_histogram {
    _Atomic uint64_t buckets[METRICS_BUCKETS]; /* not cumulative */
    _Atomic uint64_t count, sum_us;
};

struct metrics {
    _Atomic uint64_t requests[METRICS_MODELS][METRICS_CODE_COUNT];
    _Atomic uint64_t failures[FAILURE_COUNT];    /* of attempts */
    _Atomic uint64_t modes[DECISION_MODE_COUNT]; /* decisions, by what decided */
    _Atomic uint64_t why_not[WHY_COUNT];         /* candidates not chosen, by reason */
    _Atomic uint64_t refusals[REFUSAL_COUNT];
    _Atomic uint64_t shed[PRIORITIES_MAX]; /* of these, for overload, by class */
    _Atomic uint64_t key_refusals[ACCESS_VERDICTS];
    _Atomic uint64_t held, holds;  /* now, and in all */
    _Atomic uint64_t other_models; /* answered by the other model that the client named */
    _Atomic uint64_t attempts, retries, streams_cut, in_flight, early_commits;
    _Atomic uint64_t slow_clients; /* answers cut off, for their client took them too slowly */
    _Atomic uint64_t polls, poll_failures;
    _Atomic uint64_t prompt_tokens, output_tokens;
    _Atomic uint64_t hit_tokens, cached_tokens; /* expected in prefix caches, and found there */
    struct tls_stats tls;                       /* handshakes of clients */
    struct metrics_histogram ttft_predicted, ttft_actual, ttft_error, hold;
};

static inline void
metrics_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t
metrics_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void metrics_observe(struct metrics_histogram *h, uint64_t us);
/* A request was answered with this status; model CORE_MODELS_USUAL: none was found. */
void metrics_request(struct metrics *m, uint32_t model, unsigned status);
/* Count why the losers of a decision lost. */
void metrics_decision(struct metrics *m, const struct decision *decision);

/* Short lower-case words for labels and JSON. */
const char *metrics_refusal_name(uint32_t refusal);
const char *metrics_why_name(uint32_t why);
const char *metrics_model_state_name(uint32_t state);
const char *metrics_node_state_name(uint32_t state);
const char *metrics_mode_name(uint32_t mode);
const char *metrics_rule_name(uint32_t rule);
const char *metrics_admission_name(uint32_t admission);
const char *metrics_priority_name(uint32_t priority);
const char *metrics_claim_name(uint32_t claim);
const char *metrics_access_name(uint32_t verdict);
#endif

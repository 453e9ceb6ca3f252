#ifndef SIM_TRACE_SYNTHETIC_H
#define SIM_TRACE_SYNTHETIC_H
/* trace_synthetic - load out of a seed, for who has no data: tenants with a system prompt each,
 * conversations that grow turn by turn, bursts. It is made up, and says so: what is measured on it
 * counts for nothing but the program itself. */
#include "sim/trace.h"

struct trace_synthetic {
    uint64_t seed;
    uint32_t count;                   /* requests; 1..TRACE_REQUESTS_MAX */
    uint32_t tenants;                 /* 1..TRACE_SYNTHETIC_TENANTS_MAX; the i-th has weight 1/i */
    double rate_rps;                  /* mean; > 0 */
    double burst_factor, burst_share; /* rate in a burst over the mean one, >= 1; share of time in
                                       * bursts, 0..1; their product is < 1 */
    double burst_s;                   /* mean duration of one; > 0 */
    double turn_share;                /* of requests that go on with a conversation; 0..1 */
    double prompt_median_tokens, prompt_sigma; /* text of a first turn, log-normal; a later one has
                                                * a quarter beside what was said before */
    double output_median_tokens, output_sigma;
    double system_median_tokens, system_sigma; /* system prompt of a tenant */
};

#define TRACE_SYNTHETIC_TENANTS_MAX 100000u

/* 20,000 requests, 10 a second, 40 tenants; chat of a thousand tokens. */
struct trace_synthetic trace_synthetic_default(uint64_t seed);
/* ERR_ARG: a range above; ERR_FULL, ERR_MEMORY. The caller gives *ret_trace to trace_close(). */
MUST_USE enum err trace_synthetic_open(const struct trace_synthetic *s, struct data_error *error,
                                       struct trace *ret_trace);
#endif

#ifndef SIM_TRACE_STATS_H
#define SIM_TRACE_STATS_H
/* trace_stats - what a trace looks like, in the numbers that papers print. */
#include "sim/trace.h"

struct trace_tokens {
    double mean;
    uint32_t p1, p5, p25, p50, p75, p95, p99, max;
};

struct trace_stats {
    size_t count;
    double span_s, rate_rps;
    double peak_1s_rps, peak_10s_rps, peak_60s_rps; /* highest mean over such a slice */
    double gap_cv;         /* deviation over mean of times between arrivals */
    double dispersion_60s; /* variance over mean of the counts of whole minutes; 0: under two */
    struct trace_tokens prompt, output;
    double repeated_share; /* of prompt tokens that lie in blocks seen before: an endless cache */
    double hit_share;      /* of requests that find at least one block */
    size_t session_count, tenant_count;
};

/* ERR_MEMORY. t has at least one request. */
MUST_USE enum err trace_describe(const struct trace *t, struct trace_stats *ret_stats);
#endif

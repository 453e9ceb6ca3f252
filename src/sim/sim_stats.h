#ifndef SIM_SIM_STATS_H
#define SIM_SIM_STATS_H
/* sim_stats - what came of the requests: one row each, and sums over them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_VIOLATION_BYTES 256u

struct sim_sample {
    float sent_ms;           /* from the start, by the client */
    float first_ms, done_ms; /* at the client, after it sent */
    float step_ms;           /* per output token after the first; NAN: there was one */
    float served_ms, predicted_ms, floor_ms; /* first token at the gateway since the dispatch */
    float prompt_tokens, output_tokens, cached_tokens, hit_tokens;
    uint32_t nth; /* of this gateway at this node, from 0 */
    uint32_t node;
    uint16_t region, region_gateway, region_node; /* of the client, the gateway and the node */
    uint16_t model, priority;
    uint8_t tries, hedged, was_held;
};

struct sim_stats {
    struct sim_sample *samples;
    size_t count, room;
    /* of requests that arrived after the warm-up */
    uint64_t arrived, refused, refused_by[16], failed, degraded, hedges, hedges_won;
    uint64_t refused_class[3], arrived_class[3];
    /* of all */
    uint64_t requests, events, core_steps, submitted;
    /* of engines, known when the world is finished */
    uint64_t preemptions, prefill_tokens; /* uncached */
    uint64_t hedge_prefill_tokens;        /* of them, at most, for attempts beside another one */
    uint64_t answered_all, refused_all;   /* of requests: each ended in one of both ways */
    uint64_t answered_prompt_tokens, answered_output_tokens;
    uint64_t digest;     /* of all that the cores wanted */
    uint64_t violations; /* of what must hold in every world (sim_check); the first one: */
    char violation[SIM_VIOLATION_BYTES];
};

void sim_stats_fini(struct sim_stats *s);
/* Stops the program when memory is out. */
void sim_stats_add(struct sim_stats *s, const struct sim_sample *sample);

struct sim_figures { /* over samples that arrived in [from_ms, to_ms) */
    size_t count;
    double first_mean_ms, first_p50_ms, first_p90_ms, first_p95_ms, first_p99_ms;
    double done_mean_ms, done_p50_ms, done_p95_ms, done_p99_ms;
    double step_mean_ms, step_p90_ms;
    double slo_share;                    /* of samples within both goals */
    double error_percent, floor_percent; /* median |predicted - actual| / actual */
    double hit_share;                    /* cached tokens over prompt tokens */
    double away_share;                   /* answered from another region than the gateway's */
};
struct sim_slo {
    double first_ms, first_per_token_ms, step_ms;
};
/* Sorts nothing in place. nth_min: errors only of samples from this one on at their node. */
void sim_stats_figures(const struct sim_stats *s, const struct sim_slo *slo, double from_ms,
                       double to_ms, uint32_t nth_min, struct sim_figures *ret_figures);
/* Mean of n values, and half of its 95 % interval by Student's t; NAN where there are too few. */
struct sim_mean {
    double mean, half;
};
struct sim_mean sim_mean_of(const double *values, size_t n);
/* The q-quantile (0..1) of n values, which are sorted. NAN: n = 0. */
double sim_quantile(double *values, size_t n, double q);
#endif

#ifndef SIM_SIM_NET_H
#define SIM_SIM_NET_H
/* sim_net - the network between regions: round trips, jitter, loss, bandwidth, partitions.
 *
 * One way is half the round trip, plus jitter (exponential, a share of the round trip and a floor),
 * plus what a lost segment costs: a retransmission timeout, doubling. What is cut off never
 * arrives. Bodies pay TCP: a new connection its handshake; large bodies slow start from 10 segments
 * of 1460 bytes (RFC 6928), on kept connections too, whose window shrank in the silence of the last
 * answer; and their bytes the bandwidth of the path. */
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

#define SIM_REGIONS_MAX 64u /* as core */

struct sim_net {
    uint32_t regions;
    double rtt_ms[SIM_REGIONS_MAX][SIM_REGIONS_MAX]; /* there and back */
    uint32_t cut[SIM_REGIONS_MAX][SIM_REGIONS_MAX];  /* by so many partitions */
    double cut_ms[SIM_REGIONS_MAX][SIM_REGIONS_MAX]; /* since when */
    double jitter;                                   /* mean, as a share of the round trip */
    double jitter_ms;                                /* and beside it */
    double loss;         /* probability that a message loses a segment */
    double bytes_per_ms; /* of each path; 0: no limit */
};

/* From one region to the other, once. */
double sim_net_one_way_ms(const struct sim_net *net, struct rng *rng, uint32_t from, uint32_t to);
/* What a body of so many bytes pays beside one way. */
double sim_net_body_ms(const struct sim_net *net, uint32_t from, uint32_t to, double body_bytes,
                       bool fresh_connection);
#endif

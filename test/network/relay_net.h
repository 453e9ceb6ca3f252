#ifndef TEST_NETWORK_RELAY_NET_H
#define TEST_NETWORK_RELAY_NET_H
/* relay_net - the network between sites, in memory: which packets are under way and when each
 * arrives. Reads no clock and no socket; time comes in with each call.
 *
 * A path leads from one site to another, in one direction. Its packets arrive in the order in which
 * they were sent, whatever the jitter: a real path rarely swaps packets, and TCP takes a swap for a
 * loss. All queues are bounded; whatever is dropped is counted by its reason. One thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/rtt.h"

#define RELAY_SITES_MAX        64u
#define RELAY_NAME_BYTES_MAX   63u
#define RELAY_PACKETS_MAX      32768u /* under way, all paths together */
#define RELAY_PATH_PACKETS_MAX 8192u  /* of one path */
#define RELAY_PACKET_BYTES_MAX 1500u
#define RELAY_NETWORK          0x0a4d0000u /* 10.77.0.0/16: all addresses of all sites */
#define RELAY_NETWORK_MASK     0xffff0000u
#define RELAY_RTT_MS_MAX       60000.0
#define RELAY_MBIT_MAX         100000.0

struct relay_counts {
    uint64_t forwarded, forwarded_bytes;
    uint64_t dropped_full;  /* no room under way */
    uint64_t dropped_cut;   /* from or to a site that is cut off */
    uint64_t dropped_lost;  /* by the path's loss */
    uint64_t dropped_stray; /* no IPv4, too long, or to an address that nobody has */
};

struct relay_packet {
    uint32_t from, to; /* sites */
    uint32_t bytes;
    uint64_t due_ns;
    unsigned char data[RELAY_PACKET_BYTES_MAX];
};

struct relay_net;
/* rtt lives as long as the network. ERR_MEMORY. */
MUST_USE enum err relay_net_open(const struct rtt_matrix *rtt, uint64_t seed,
                                 struct relay_net **ret_net);
void relay_net_close(struct relay_net *n); /* NULL: does nothing */

/* A new site; round trips to all others are those of their regions. ERR_FULL, ERR_EXISTS, ERR_ARG
 * (the name), ERR_NOT_FOUND (the region is not in the matrix, or not its way to another site's). */
MUST_USE enum err relay_net_site(struct relay_net *n, struct span name, struct span region,
                                 uint32_t *ret_site);
/* The address (host order) belongs to the site from now on. ERR_ARG: not within RELAY_NETWORK;
 * ERR_EXISTS. */
MUST_USE enum err relay_net_address(struct relay_net *n, uint32_t site, uint32_t address);
/* The site that was made last is none again, nor are its addresses anybody's. Before its first
 * packet. */
void relay_net_unmake_last(struct relay_net *n);
uint32_t relay_net_site_count(const struct relay_net *n);
/* ERR_NOT_FOUND. */
MUST_USE enum err relay_net_find(const struct relay_net *n, struct span name, uint32_t *ret_site);

/* Of the path in both directions; within a site nothing passes here. Packets that are under way
 * keep their time. ERR_ARG: out of range. */
MUST_USE enum err relay_net_set_rtt(struct relay_net *n, uint32_t a, uint32_t b, double rtt_ms);
/* Each packet takes up to so much longer (uniform), but never overtakes. */
MUST_USE enum err relay_net_set_jitter(struct relay_net *n, uint32_t a, uint32_t b, double ms);
MUST_USE enum err relay_net_set_loss(struct relay_net *n, uint32_t a, uint32_t b, double share);
/* What a site sends goes out at so many Mbit/s; 0: at once. */
MUST_USE enum err relay_net_set_rate(struct relay_net *n, uint32_t site, double mbit_s);
/* Nothing comes out of a cut site or into it, what is under way included. */
void relay_net_cut(struct relay_net *n, uint32_t site, bool cut);

/* A packet that site `from` sends. Copied, or dropped and counted. */
void relay_net_put(struct relay_net *n, uint32_t from, const void *packet, size_t bytes,
                   uint64_t now_ns);
/* The next packet that has arrived by now_ns, NULL: none. Valid until the next call. */
const struct relay_packet *relay_net_take(struct relay_net *n, uint64_t now_ns);
/* When the next packet arrives; UINT64_MAX: none is under way. */
uint64_t relay_net_next_ns(const struct relay_net *n);
uint32_t relay_net_waiting(const struct relay_net *n);
const struct relay_counts *relay_net_counts(const struct relay_net *n);
#endif

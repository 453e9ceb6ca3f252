/* sim_net - how long something takes from one region to another; see sim_net.h. */
#include "sim/sim_net.h"

#include <math.h>

#define LOST_MS            200.0 /* Linux's least retransmission timeout */
#define LOST_MAX           6u
#define WINDOW_FIRST_BYTES 14600.0

double
sim_net_one_way_ms(const struct sim_net *net, struct rng *rng, uint32_t from, uint32_t to)
{
    double rtt = net->rtt_ms[from][to], ms = 0.5 * rtt, wait = LOST_MS;
    double jitter = net->jitter * rtt + net->jitter_ms;

    if (jitter > 0.0)
        ms += jitter * rng_exponential(rng);
    for (unsigned i = 0; net->loss > 0.0 && i < LOST_MAX && rng_unit(rng) < net->loss; i++) {
        ms += wait > rtt ? wait : rtt;
        wait *= 2.0;
    }
    return ms;
}

double
sim_net_body_ms(const struct sim_net *net, uint32_t from, uint32_t to, double body_bytes,
                bool fresh_connection)
{
    double rtt = net->rtt_ms[from][to], window = WINDOW_FIRST_BYTES;
    double ms = fresh_connection ? rtt : 0.0;

    while (body_bytes > window && (net->bytes_per_ms <= 0.0 || window < rtt * net->bytes_per_ms)) {
        body_bytes -= window;
        window *= 2.0;
        ms += rtt;
    }
    return net->bytes_per_ms > 0.0 ? ms + body_bytes / net->bytes_per_ms : ms;
}

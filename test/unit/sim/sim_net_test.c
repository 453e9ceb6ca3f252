/* sim_net: what a body pays in round trips, what jitter and loss add. */
#include "sim/sim_net.h"

#include <math.h>

#include "tap.h"

static struct sim_net net = {.regions = 2, .rtt_ms = {{1.0, 100.0}, {120.0, 1.0}}};

/* Over 100 ms without a limit on bandwidth: slow start from 14,600 bytes, doubling. */
static const struct {
    const char *label;
    double body_bytes, bytes_per_ms, ms;
    bool fresh;
} bodies[] = {
    {"fits the first window", 14600, 0, 0, false},
    {"and a new connection", 14600, 0, 100, true},
    {"one byte more", 14601, 0, 100, false},
    {"two windows and the rest", 14600 * 3 + 1, 0, 200, false},
    {"a long one", 14600 * 15, 0, 300, false},
    {"bandwidth counts too", 10000, 100, 100, false},
    {"a window as large as the path holds is the last", 100000, 100, 1000, false},
    {"rounds first, then bandwidth", 14600 + 50000, 1000, 100 + 100 + 20.8, false},
};

static void
check_bodies(void)
{
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        net.bytes_per_ms = bodies[i].bytes_per_ms;
        CHECK(fabs(sim_net_body_ms(&net, 0, 1, bodies[i].body_bytes, bodies[i].fresh) -
                   bodies[i].ms) < 1e-9,
              bodies[i].label);
    }
    net.bytes_per_ms = 0.0;
}

static double
mean_ms(struct rng *rng, double *ret_least, double *ret_most)
{
    double sum = 0.0;

    *ret_least = INFINITY;
    *ret_most = 0.0;
    for (int i = 0; i < 100000; i++) {
        double ms = sim_net_one_way_ms(&net, rng, 0, 1);
        sum += ms;
        *ret_least = fmin(*ret_least, ms);
        *ret_most = fmax(*ret_most, ms);
    }
    return sum / 100000.0;
}

int
main(void)
{
    struct rng rng;
    double least, most, mean;

    rng_init(&rng, 1);
    check_bodies();
    CHECK(sim_net_one_way_ms(&net, &rng, 0, 1) == 50.0, "half a round trip");
    CHECK(sim_net_one_way_ms(&net, &rng, 1, 0) == 60.0, "each way has its own");
    net.jitter = 0.02;
    net.jitter_ms = 0.5;
    mean = mean_ms(&rng, &least, &most);
    CHECK(least >= 50.0 && fabs(mean - 52.5) < 0.1, "jitter adds its mean, and never takes");
    net.jitter = net.jitter_ms = 0.0;
    net.loss = 0.1;
    mean = mean_ms(&rng, &least, &most);
    /* A tenth waits 200 ms, a tenth of those 400 more, and so on. */
    CHECK(least == 50.0 && most >= 650.0 && fabs(mean - (50.0 + 20.0 / 0.8)) < 2.0,
          "what is lost comes after its timeout, which doubles");
    net.rtt_ms[0][1] = 500.0;
    mean = mean_ms(&rng, &least, &most);
    CHECK(fabs(mean - (250.0 + 0.1 * 500.0 / 0.9)) < 5.0, "no timeout is below the round trip");
    return tap_done();
}

/* sim_fleet, sim_load, sim_fault and sim_check through a world: who is where, how much comes when
 * and from whom, that faults do what they say, and that what must hold is really looked at. */
#include "sim/sim_world.h"

#include <math.h>
#include <string.h>

#include "sim/sim_state.h"
#include "sim/trace_synthetic.h"
#include "tap.h"

#define STEADY 5000u

static struct trace trace;
static struct rtt_data rtt;
static struct trace_request steady_requests[STEADY];
static struct trace steady;

static void
options_small(struct sim_options *o)
{
    sim_options_init(o);
    o->nodes = 30;
    o->regions = 6;
    o->gateways = 2;
    o->duration_ms = 10000.0;
    o->warmup_ms = 0.0;
    o->day_amplitude = 0.0;
}

/* A trace without bursts, so that what comes can be counted on. */
static void
steady_make(void)
{
    struct rng rng;
    double at_ms = 0.0;

    rng_init(&rng, 1);
    for (size_t i = 0; i < STEADY; i++) {
        steady_requests[i] = (struct trace_request){
            .at_ms = at_ms, .prompt_tokens = 900, .output_tokens = 150, .session = i};
        at_ms += 200.0 * rng_exponential(&rng);
    }
    steady = (struct trace){.name = "steady",
                            .requests = steady_requests,
                            .count = STEADY,
                            .tenant_count = 1,
                            .span_ms = at_ms};
}

static struct sim_world *
world_open_on(const struct sim_options *o, const struct trace *t)
{
    struct sim_world *w = NULL;
    struct sim_error error = {""};

    CHECK(sim_world_open(o, t, &rtt, &w, &error) == ERR_OK, "a world opens");
    return w;
}

static struct sim_world *
world_open(const struct sim_options *o)
{
    return world_open_on(o, &trace);
}

/* To its end. */
static struct sim_stats *
world_run(struct sim_world *w)
{
    while (sim_world_run(w, sim_world_now_ms(w) + 1000.0))
        ;
    return sim_world_stats(w);
}

static void
check_fleet(void)
{
    struct sim_options o;
    struct sim_world *w, *more;
    bool seen[SIM_REGIONS_MAX] = {false}, models[SIM_MODELS_MAX] = {false};
    uint32_t distinct = 0, missing = 0;

    options_small(&o);
    w = world_open(&o);
    for (uint32_t a = 0; a < o.regions; a++) {
        for (uint32_t b = 0; b < a; b++)
            distinct += w->region_place[a] != w->region_place[b] && w->net.rtt_ms[a][b] > 5.0;
    }
    CHECK(distinct == o.regions * (o.regions - 1) / 2, "regions are different, and apart");
    for (uint32_t i = 0; i < o.nodes; i++) {
        struct sim_node_told n;

        sim_world_node(w, i, &n);
        seen[n.region] = models[n.model] = true;
        missing += n.speed < 1.0 - o.hidden_speed || n.speed > 1.0 + o.hidden_speed;
    }
    for (uint32_t i = 0; i < o.regions; i++)
        missing += !seen[i];
    CHECK(missing == 0 && models[0] && models[1] && models[2], "a node in each, one of each model");
    CHECK(w->capacity[0] > 0.0 && w->capacity[1] > 0.0 && w->capacity[2] > 0.0,
          "all can be served");
    o.nodes = 300;
    more = world_open(&o);
    CHECK(sim_world_capacity(more) > 6.0 * sim_world_capacity(w), "ten times the nodes, more load");
    sim_world_close(w);
    sim_world_close(more);
}

static void
check_load(void)
{
    struct sim_options o;
    struct sim_world *w;
    double wanted;

    options_small(&o);
    o.nodes = 60;
    o.duration_ms = 120000.0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        o.seed = seed;
        w = world_open_on(&o, &steady);
        wanted = o.load * sim_world_capacity(w) * o.duration_ms / 1000.0;
        CHECK(fabs((double)world_run(w)->requests / wanted - 1.0) < 0.02,
              "as much as was asked for");
        sim_world_close(w);
    }
    o.load_step_count = 1;
    o.load_steps[0] = (struct sim_load_step){60000.0, 2.0 * o.load};
    w = world_open_on(&o, &steady);
    wanted = 1.5 * o.load * sim_world_capacity(w) * o.duration_ms / 1000.0;
    CHECK(fabs((double)world_run(w)->requests / wanted - 1.0) < 0.03, "twice as much from half on");
    sim_world_close(w);
}

/* With one day in the run: the part of a region's requests in the half in which its sun is up. */
static void
check_day(void)
{
    uint32_t up[SIM_REGIONS_MAX] = {0}, all[SIM_REGIONS_MAX] = {0}, wrong = 0;
    struct sim_options o;
    struct sim_world *w;
    const struct sim_stats *s;
    double sum = 0.0;

    options_small(&o);
    o.nodes = 90;
    o.load = 0.5;
    o.duration_ms = o.day_ms = 60000.0;
    o.day_amplitude = 0.9;
    w = world_open_on(&o, &steady);
    s = world_run(w);
    for (size_t i = 0; i < s->count; i++) {
        uint32_t r = s->samples[i].region;
        double longitude = rtt.longitude_deg[w->region_place[r]];
        all[r]++;
        up[r] += sin(6.283185307 * ((double)s->samples[i].sent_ms / o.day_ms + longitude / 360.0)) >
                 0.0;
    }
    for (uint32_t r = 0; r < o.regions; r++) {
        double share = (double)up[r] / all[r]; /* about 1/2 + 0.9/pi */
        wrong += !(all[r] > 50) || share < 0.55 || share > 0.95;
        sum += share / o.regions;
    }
    CHECK(fabs(sum - 0.75) < 0.1, "most of a region's requests come in its day");
    CHECK(wrong == 0, "each region has its own day");
    sim_world_close(w);
}

static void
check_seed(void)
{
    struct sim_options o;
    struct sim_world *w;
    uint64_t digests[3], seeds[3] = {5, 5, 6};

    options_small(&o);
    for (unsigned i = 0; i < 3; i++) {
        o.seed = seeds[i];
        w = world_open(&o);
        digests[i] = world_run(w)->digest;
        sim_world_close(w);
    }
    CHECK(digests[0] == digests[1], "the same seed decides alike");
    CHECK(digests[0] != digests[2], "another one does not");
}

static uint32_t
between(const struct sim_stats *s, uint32_t gateway_region, uint32_t node_region)
{
    uint32_t count = 0;

    for (size_t i = 0; i < s->count; i++)
        count += s->samples[i].region_gateway == gateway_region &&
                 s->samples[i].region_node == node_region;
    return count;
}

static void
check_faults(void)
{
    struct sim_options o;
    struct sim_world *w;
    const struct sim_stats *s;
    uint32_t at_node = 0;

    options_small(&o);
    o.rule = "random";
    w = world_open(&o);
    s = world_run(w);
    CHECK(between(s, 0, 1) > 0 && between(s, 1, 0) > 0, "two regions serve each other");
    sim_world_close(w);
    o.first_limit_ms = 3000.0;
    o.fault_count = 2;
    o.faults[0] = (struct sim_fault){SIM_FAULT_PARTITION, 0, 1, 0.0, 1e6, 0.0};
    o.faults[1] = (struct sim_fault){SIM_FAULT_NODE_DOWN, 7, 0, 0.0, 1e6, 0.0};
    w = world_open(&o);
    s = world_run(w);
    for (size_t i = 0; i < s->count; i++)
        at_node += s->samples[i].node == 7;
    CHECK(between(s, 0, 1) == 0 && between(s, 1, 0) == 0, "until they are cut off");
    CHECK(at_node == 0 && s->count > 100, "nobody answers at a node that is down");
    sim_world_finish(w);
    CHECK(s->violations == 0, s->violation);
    sim_world_close(w);
}

/* Something is made wrong on purpose, and must be found. */
static void
check_checks(void)
{
    struct sim_options o;
    struct sim_world *w;
    struct sim_stats *s;

    options_small(&o);
    w = world_open(&o);
    s = sim_world_stats(w);
    (void)sim_world_run(w, 5000.0);
    sim_world_check(w);
    CHECK(s->violations == 0, s->violation);
    s->answered_all++;
    sim_world_check(w);
    CHECK(s->violations == 1 && strstr(s->violation, "answered") != NULL, "a request too many");
    s->answered_all--;
    s->violations = 0;
    for (uint32_t i = 0; i < w->request_count; i++) {
        struct sim_attempt *a = &w->requests[i].attempts[0];
        if (w->requests[i].serial == 0 || a->node == SIM_NONE || !a->at_node)
            continue;
        a->node = (a->node + 1) % o.nodes;
        break;
    }
    sim_world_check(w);
    CHECK(s->violations > 0 && strstr(s->violation, "its core believes") != NULL,
          "an attempt somewhere else");
    sim_world_close(w);
}

int
main(void)
{
    struct trace_synthetic synthetic = trace_synthetic_default(1);
    struct data_error error;

    CHECK(trace_synthetic_open(&synthetic, &error, &trace) == ERR_OK, "a load");
    CHECK(rtt_data_builtin(&error, &rtt) == ERR_OK, "places");
    steady_make();
    check_fleet();
    check_load();
    check_day();
    check_seed();
    check_faults();
    check_checks();
    trace_close(&trace);
    rtt_data_close(&rtt);
    return tap_done();
}

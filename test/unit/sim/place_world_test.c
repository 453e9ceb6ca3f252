/* place_world_test - placement in small worlds: what must hold in every one holds, a seed is a run,
 * and each policy does what it is said to do. */
#include "sim/place_world.h"

#include "base/must.h"
#include "sim/trace_synthetic.h"
#include "tap.h"

static struct trace trace;
static struct rtt_data rtt;

static void
small(struct place_options *o, uint64_t seed, enum place_policy policy)
{
    place_options_init(o);
    o->seed = seed;
    o->policy = policy;
    o->models = 60;
    o->nodes = 12;
    o->regions = 3;
    o->held = 6;
    o->asleep = o->on_disk = 2;
    o->rate_s = 10.0;
    o->duration_ms = 240000.0;
    o->warmup_ms = 60000.0;
}

static struct place_stats
run(const struct place_options *o)
{
    struct place_stats s = {0};

    must(place_run(o, &trace, &rtt, &s) == ERR_OK);
    return s;
}

static const struct {
    const char *label;
    enum place_policy policy;
    uint32_t held;
    double rate_s, burst_factor;
    bool has_loads; /* some are needed */
    bool has_sizes, has_own_slots;
    double slow_share, ramp_ms;
    uint32_t gateways; /* 0: one */
    double dies_ms;
} rows[] = {
    {"plan", PLACE_PLAN, 6, 10.0, 3.0, .has_loads = true},
    {"plan, more models than places", PLACE_PLAN, 4, 10.0, 3.0, .has_loads = true},
    {"plan, bursts of ten times", PLACE_PLAN, 5, 20.0, 10.0, .has_loads = true},
    {"plan, one place a node", PLACE_PLAN, 1, 5.0, 3.0, .has_loads = true},
    {"plan, models of any size", PLACE_PLAN, 14, 20.0, 10.0, .has_loads = true, .has_sizes = true},
    {"plan, of any size, loads that take longer", PLACE_PLAN, 14, 20.0, 10.0, .has_loads = true,
     .has_sizes = true, .slow_share = 0.5},
    {"plan, ramps", PLACE_PLAN, 6, 20.0, 10.0, .has_loads = true, .ramp_ms = 30000.0},
    {"serverlessllm, models of any size", PLACE_SERVERLESSLLM, 12, 10.0, 3.0, .has_loads = true,
     .has_sizes = true},
    {"plan, slots a model", PLACE_PLAN, 6, 20.0, 10.0, .has_loads = true, .has_own_slots = true},
    {"serverlessllm, slots a model", PLACE_SERVERLESSLLM, 4, 10.0, 3.0, .has_loads = true,
     .has_own_slots = true},
    {"plan, gateways that share regions", PLACE_PLAN, 6, 20.0, 3.0, .has_loads = true,
     .gateways = 3},
    {"plan, one of them dies", PLACE_PLAN, 5, 20.0, 10.0, .has_loads = true, .gateways = 2,
     .dies_ms = 90000.0},
    {"static", PLACE_STATIC, 6, 10.0, 3.0, .has_loads = false},
    {"lru", PLACE_LRU, 6, 10.0, 3.0, .has_loads = true},
    {"serverlessllm", PLACE_SERVERLESSLLM, 4, 10.0, 3.0, .has_loads = true},
};

static void
test_invariants(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct place_options o;
            struct place_stats s;

            small(&o, seed, rows[i].policy);
            o.held = rows[i].held;
            o.rate_s = rows[i].rate_s;
            o.burst_factor = rows[i].burst_factor;
            o.has_sizes = rows[i].has_sizes;
            o.has_own_slots = rows[i].has_own_slots;
            o.slow_share = rows[i].slow_share;
            o.slow_loads = 10.0;
            o.ramp_ms = rows[i].ramp_ms;
            o.gateways = rows[i].gateways > 0 ? rows[i].gateways : 1;
            o.dies_ms = rows[i].dies_ms;
            o.news_ms = rows[i].gateways > 0 ? 200.0 : 0.0;
            s = run(&o);
            if (s.violations > 0)
                printf("# seed %d: %s\n", (int)seed, s.violation);
            CHECK(s.violations == 0, rows[i].label);
            CHECK(s.requests > 100 && s.answered + s.refused + s.failed == s.requests,
                  rows[i].label);
            CHECK((s.loads > 0) == rows[i].has_loads, rows[i].label);
            CHECK(s.slow_unwarmed <= s.slow && s.loads_asked <= s.directives, rows[i].label);
            CHECK(s.pool.least_ms >= 0.0 && s.pool.least_ms <= s.pool.cost_ms, "it is a bound");
        }
    }
}

static void
test_seed(void)
{
    struct place_options o;
    struct place_stats a, b;

    small(&o, 7, PLACE_PLAN);
    a = run(&o);
    b = run(&o);
    CHECK(a.digest == b.digest && a.loads == b.loads && a.first_p99_ms == b.first_p99_ms,
          "a seed is a run");
    o.seed = 8;
    b = run(&o);
    CHECK(a.digest != b.digest, "another seed is another one");
    o.policy = PLACE_SERVERLESSLLM;
    a = run(&o);
    CHECK(a.requests == b.requests && a.loads_belady == b.loads_belady,
          "policies meet the same requests, and the same bound");
}

/* Where places are scarce, a plan is worth something: fewer wait than where the first ones that
 * happen to be there stay, or than where whoever comes first loads. */
static void
test_worth(void)
{
    uint64_t plan = 0, serverless = 0;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct place_options o;
        struct place_stats s;

        small(&o, seed, PLACE_PLAN);
        o.zipf = 1.4;
        o.rate_s = 40.0;
        s = run(&o);
        plan += s.slow_unwarmed;
        CHECK(s.loads_asked > 0 && s.directives >= s.loads_asked, "it loads by directives");
        o.policy = PLACE_SERVERLESSLLM;
        s = run(&o);
        serverless += s.slow_unwarmed;
    }
    CHECK(plan <= serverless, "no more requests are slow than where they load for themselves");
}

/* Few nodes that differ, dealt out, and gateways that plan for them or do not. */
static void
small_dealt(struct place_options *o, uint64_t seed, enum place_policy policy)
{
    small(o, seed, policy);
    o->models = 16;
    o->unasked = 2;
    o->nodes = 8;
    o->regions = 1;
    o->held = 4;
    o->asleep = 0;
    o->on_disk = 16;
    o->slots = 2;
    o->slots_odd = 8;
    o->has_own_slots = true;
    o->is_dealt = true;
    o->has_even_bursts = true;
    o->gpu = "a100x4";
    o->hidden_speed = 0.3;
    o->prompt_median = 400.0;
    o->prompt_sigma = 0.6;
    o->output_tokens = 96;
    o->taste = 0.0;
    o->rate_s = 40.0;
    o->news_ms = 50.0;
}

static void
test_dealt(void)
{
    uint64_t plan = 0, on_demand = 0;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct place_options o;
        struct place_stats s;

        small_dealt(&o, seed, PLACE_PLAN);
        s = run(&o);
        plan += s.slow_unwarmed;
        CHECK(s.violations == 0 && s.loads_asked > 0, "what is dealt is not what is wanted");
        o.policy = PLACE_ON_DEMAND;
        s = run(&o);
        on_demand += s.slow_unwarmed;
        CHECK(s.violations == 0 && s.directives == 0, "without a plan nobody is asked to load");
    }
    CHECK(plan < on_demand, "fewer are slow with a plan");
}

/* Ten models take turns on a place for each of two regions: by hand. */
static void
test_belady(void)
{
    struct place_options o;
    struct place_stats all, few;

    small(&o, 3, PLACE_STATIC);
    o.models = 20;
    o.held = 24; /* each region has room for all */
    o.warmup_ms = 0.0;
    all = run(&o);
    CHECK(all.loads_belady > 0 && all.loads_belady <= 20u * 3u,
          "with room for all each model is loaded once a region");
    o.held = 1;
    few = run(&o);
    CHECK(few.loads_belady > all.loads_belady, "with less room more often");
    CHECK(few.pool.least_ms > all.pool.least_ms, "and the pool has more to pay");
}

static void
test_options(void)
{
    struct place_options o;
    struct place_stats s;

    small(&o, 1, PLACE_PLAN);
    o.models = 0;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "no models");
    small(&o, 1, PLACE_PLAN);
    o.regions = 13;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "more regions than nodes");
    small(&o, 1, PLACE_PLAN);
    o.slow_loads = 0.5;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "loads that take less than is told");
    small(&o, 1, PLACE_PLAN);
    o.dies_ms = 1000.0;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "the only gateway of a region dies");
    small(&o, 1, PLACE_PLAN);
    o.held = PLACE_HELD_MAX + 1;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "more in memory than fits");
    small(&o, 1, PLACE_PLAN);
    o.slots_odd = 4;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "slots of its own, and none of the model's");
    small_dealt(&o, 1, PLACE_PLAN);
    o.on_disk = 11;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "models that are nowhere");
    small_dealt(&o, 1, PLACE_PLAN);
    o.unasked = o.models;
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "nobody asks for anything");
    small_dealt(&o, 1, PLACE_PLAN);
    o.gpu = "abacus";
    CHECK(place_run(&o, &trace, &rtt, &s) == ERR_ARG, "hardware that is not in the table");
}

int
main(void)
{
    struct trace_synthetic t = trace_synthetic_default(1);
    struct data_error error;

    must(trace_synthetic_open(&t, &error, &trace) == ERR_OK);
    must(rtt_data_builtin(&error, &rtt) == ERR_OK);
    test_invariants();
    test_seed();
    test_worth();
    test_dealt();
    test_belady();
    test_options();
    trace_close(&trace);
    rtt_data_close(&rtt);
    return tap_done();
}

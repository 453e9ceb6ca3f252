/* rng_test - the generator against the values its authors' code gives, and the shape of what is
 * drawn from it. Seeds are fixed, so the statistical bounds hold always or never. */
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>

#include "tap.h"

#define DRAWS 200000

/* xoshiro256**: from the state 1, 2, 3, 4, and from the seed 0 spread by splitmix64. */
static const uint64_t from_state[] = {
    11520u,
    0u,
    1509978240u,
    1215971899390074240u,
    1216172134540287360u,
    607988272756665600u,
    16172922978634559625u,
    8476171486693032832u,
    10595114339597558777u,
    2904607092377533576u,
};
static const uint64_t splitmix_zero[4] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u,
                                          0x06c45d188009454fu, 0xf88bb8a8724c81ecu};
static const uint64_t from_seed_zero[] = {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au,
                                          0x1a5f849d4933e6e0u, 0x6aa594f1262d2d2cu};

static void
check_reference(void)
{
    struct rng r = {{1, 2, 3, 4}};

    for (size_t i = 0; i < sizeof(from_state) / sizeof(from_state[0]); i++)
        CHECK(rng_u64(&r) == from_state[i], "from the state 1, 2, 3, 4");
    rng_init(&r, 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(r.state[i] == splitmix_zero[i], "splitmix64 of seed 0");
    for (size_t i = 0; i < sizeof(from_seed_zero) / sizeof(from_seed_zero[0]); i++)
        CHECK(rng_u64(&r) == from_seed_zero[i], "from seed 0");
}

static void
check_copy(void)
{
    struct rng a, b;
    bool same = true, differs = false;

    rng_init(&a, 7);
    b = a;
    for (int i = 0; i < 100; i++)
        same = same && rng_normal(&a) == rng_normal(&b);
    CHECK(same, "a copy has the same future");
    rng_init(&a, 7);
    rng_init(&b, 8);
    for (int i = 0; i < 4; i++)
        differs = differs || rng_u64(&a) != rng_u64(&b);
    CHECK(differs, "seeds differ");
}

/* Every value comes, none outside, each near as often as the others (6 deviations). */
static void
check_below(uint64_t bound)
{
    struct rng r;
    unsigned counts[8] = {0};
    bool inside = true;
    double mean = (double)DRAWS / (double)bound;

    rng_init(&r, 11 + bound);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = rng_below(&r, bound);
        inside = inside && x < bound;
        counts[x % 8]++;
    }
    CHECK(inside, "below the bound");
    for (uint64_t i = 0; i < bound; i++)
        CHECK(fabs(counts[i] - mean) <= 6.0 * sqrt(mean), "each value its share");
}

static void
check_below_limits(void)
{
    struct rng r;
    bool inside = true;
    unsigned high = 0;
    const uint64_t wide = (UINT64_C(3) << 62) + 1; /* a quarter of all draws must be rejected */

    rng_init(&r, 5);
    CHECK(rng_below(&r, 1) == 0, "only zero is below one");
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = rng_below(&r, wide);
        inside = inside && x < wide;
        high += x >= wide / 2;
    }
    CHECK(inside, "below a bound near 2^64");
    CHECK(fabs(high - DRAWS / 2.0) < 6.0 * sqrt(DRAWS / 4.0), "no bias where draws are rejected");
}

static void
check_shapes(void)
{
    struct rng r;
    double unit = 0, normal = 0, normal_square = 0, exponential = 0;
    bool unit_inside = true, exponential_inside = true;

    rng_init(&r, 3);
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&r), n = rng_normal(&r), e = rng_exponential(&r);
        unit_inside = unit_inside && u >= 0.0 && u < 1.0;
        exponential_inside = exponential_inside && e >= 0.0 && isfinite(e);
        unit += u / DRAWS;
        normal += n / DRAWS;
        normal_square += n * n / DRAWS;
        exponential += e / DRAWS;
    }
    CHECK(unit_inside, "unit is in [0, 1)");
    CHECK(exponential_inside, "exponential is finite and not negative");
    CHECK(fabs(unit - 0.5) < 6.0 * sqrt(1.0 / 12.0 / DRAWS), "mean of unit");
    CHECK(fabs(normal) < 6.0 * sqrt(1.0 / DRAWS), "mean of normal");
    CHECK(fabs(normal_square - 1.0) < 6.0 * sqrt(2.0 / DRAWS), "variance of normal");
    CHECK(fabs(exponential - 1.0) < 6.0 * sqrt(1.0 / DRAWS), "mean of exponential");
}

int
main(void)
{
    check_reference();
    check_copy();
    check_below(2);
    check_below(3);
    check_below(7);
    check_below_limits();
    check_shapes();
    return tap_done();
}

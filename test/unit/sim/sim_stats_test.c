/* sim_stats: quantiles, means with intervals, and which samples count for which figure. */
#include "sim/sim_stats.h"

#include <math.h>

#include "tap.h"

static bool
near(double a, double b)
{
    return fabs(a - b) <= 1e-3 * fmax(1.0, fabs(b));
}

static void
check_quantiles(void)
{
    double values[101], one[] = {7.0};

    for (int i = 0; i <= 100; i++)
        values[i] = (double)((i * 37) % 101);
    CHECK(sim_quantile(values, 101, 0.95) == 95.0, "p95 of 0..100");
    CHECK(values[0] == 0.0 && values[100] == 100.0, "they are sorted");
    CHECK(sim_quantile(values, 101, 0.0) == 0.0 && sim_quantile(values, 101, 1.0) == 100.0,
          "least and most");
    CHECK(sim_quantile(one, 1, 0.99) == 7.0, "of one");
    CHECK(isnan(sim_quantile(one, 0, 0.5)), "of none");
}

static void
check_means(void)
{
    const double three[] = {1.0, 2.0, 3.0};
    double many[100];
    struct sim_mean m = sim_mean_of(three, 3);

    CHECK(near(m.mean, 2.0) && near(m.half, 4.303 / sqrt(3.0)), "by Student's t");
    m = sim_mean_of(three, 1);
    CHECK(m.mean == 1.0 && isnan(m.half), "one value has no interval");
    CHECK(isnan(sim_mean_of(three, 0).mean), "none has no mean");
    for (int i = 0; i < 100; i++)
        many[i] = i % 2 == 0 ? 1.0 : -1.0;
    m = sim_mean_of(many, 100);
    CHECK(near(m.mean, 0.0) && near(m.half, 1.96 * sqrt(100.0 / 99.0) / 10.0), "of many");
}

static void
check_figures(void)
{
    const struct sim_slo slo = {.first_ms = 100.0, .first_per_token_ms = 1.0, .step_ms = 50.0};
    struct sim_stats s = {0};
    struct sim_figures f;

    /* sent 0..9: first 100..190, one token a step of 45 or 55, prompts of 50 tokens, 10 cached */
    for (int i = 0; i < 10; i++) {
        struct sim_sample x = {.sent_ms = (float)i,
                               .first_ms = (float)(100 + 10 * i),
                               .done_ms = (float)(1000 + i),
                               .step_ms = i == 9       ? NAN
                                          : i % 3 == 0 ? 55.0f
                                                       : 45.0f,
                               .served_ms = 100.0f,
                               .predicted_ms = (float)(100 + 10 * i),
                               .floor_ms = i == 4 ? 105.0f : NAN,
                               .prompt_tokens = 50.0f,
                               .cached_tokens = 10.0f,
                               .nth = (uint32_t)i,
                               .region_gateway = 1,
                               .region_node = i < 3 ? 1 : 2,
                               .tries = i == 5 ? 2 : 1,
                               .hedged = i == 6};
        sim_stats_add(&s, &x);
    }
    sim_stats_figures(&s, &slo, 0.0, INFINITY, 4, &f);
    CHECK(f.count == 10 && near(f.first_mean_ms, 145.0) && near(f.done_mean_ms, 1004.5), "means");
    CHECK(near(f.first_p50_ms, 150.0) && near(f.first_p99_ms, 190.0), "quantiles");
    CHECK(near(f.step_mean_ms, (3 * 55.0 + 6 * 45.0) / 9.0), "answers of one token have no step");
    /* in time: first within 150 (0..5), steps within 50 (not 0, 3) */
    CHECK(near(f.slo_share, 0.4), "within both goals");
    CHECK(near(f.hit_share, 0.2) && near(f.away_share, 0.7), "cached, and away");
    /* errors: from the 4th on, one try, not hedged: 4, 7, 8, 9 with 40, 70, 80, 90 % */
    CHECK(near(f.error_percent, 80.0), "errors of first tries, once the node is known");
    CHECK(near(f.floor_percent, 5.0), "and the floor where it was asked for");
    sim_stats_figures(&s, &slo, 3.0, 5.0, 0, &f);
    CHECK(f.count == 2 && near(f.first_mean_ms, 135.0), "a window of time, its end left out");
    sim_stats_figures(&s, &slo, 50.0, 60.0, 0, &f);
    CHECK(f.count == 0 && isnan(f.first_p95_ms) && f.slo_share == 0.0, "nobody");
    sim_stats_fini(&s);
    CHECK(s.samples == NULL && s.count == 0, "gone");
}

int
main(void)
{
    check_quantiles();
    check_means();
    check_figures();
    return tap_done();
}

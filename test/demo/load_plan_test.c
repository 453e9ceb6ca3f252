/* load_plan - the same spec gives the same load, another seed another one, and in the mean what was
 * asked for. */
#include "load_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static struct load_spec
spec_of(uint64_t seed)
{
    return (struct load_spec){.seed = seed,
                              .seconds = 50,
                              .target_count = 3,
                              .target_shares = {3, 1, 0},
                              .model_count = 2,
                              .model_rates = {150, 50},
                              .prompt_median_tokens = 600,
                              .prompt_sigma = 0.7,
                              .prompt_tokens_max = 3000};
}

static void
check_specs(void)
{
    static const struct {
        const char *label;
        double seconds, rate, share, median;
        enum err err;
    } rows[] = {
        {"a spec that makes sense", 1, 100, 1, 500, ERR_OK},
        {"no time", 0, 100, 1, 500, ERR_ARG},
        {"no rate", 1, 0, 1, 500, ERR_ARG},
        {"a rate below zero", 1, -5, 1, 500, ERR_ARG},
        {"a rate that is no number", 1, NAN, 1, 500, ERR_ARG},
        {"nobody to send to", 1, 100, 0, 500, ERR_ARG},
        {"no prompt", 1, 100, 1, 0, ERR_ARG},
        {"more than can be held", 1e5, 1e5, 1, 500, ERR_FULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct load_spec spec = spec_of(1);
        struct load_item *items = NULL;
        size_t count = 0;

        spec.seconds = rows[i].seconds;
        spec.model_count = spec.target_count = 1;
        spec.model_rates[0] = rows[i].rate;
        spec.target_shares[0] = rows[i].share;
        spec.prompt_median_tokens = rows[i].median;
        CHECK(load_plan_make(&spec, &items, &count) == rows[i].err, rows[i].label);
        free(items);
    }
}

static void
check_plan(const struct load_item *items, size_t count)
{
    size_t in_order = 0, first_target = 0, first_model = 0, below_median = 0, cut = 0, bad = 0;

    for (size_t i = 0; i < count; i++) {
        in_order += i == 0 || items[i].at_ms >= items[i - 1].at_ms;
        first_target += items[i].target == 0;
        first_model += items[i].model == 0;
        below_median += items[i].prompt_tokens < 600;
        cut += items[i].prompt_tokens == 3000;
        bad += items[i].target > 1 || items[i].model > 1 || items[i].prompt_tokens < 1 ||
               items[i].prompt_tokens > 3000 || items[i].at_ms >= 50000.0;
    }
    /* 10,000 expected: limits are five deviations away */
    CHECK(count > 9500 && count < 10500, "as many as the rates say");
    CHECK(in_order == count, "in the order of time");
    CHECK(bad == 0, "within the ranges; no share means no request");
    CHECK(fabs((double)first_target / (double)count - 0.75) < 0.025, "targets by their shares");
    CHECK(fabs((double)first_model / (double)count - 0.75) < 0.025, "models by their rates");
    CHECK(fabs((double)below_median / (double)count - 0.5) < 0.03, "half are below the median");
    CHECK(cut > 30 && cut < 250, "the longest are cut"); /* 1.1 % are over 5 times the median */
}

static void
check_body(const struct load_item *item)
{
    size_t bytes = 0, again_bytes = 0;
    char *body = load_plan_body(item, "some-model", 16, &bytes);
    char *again = load_plan_body(item, "some-model", 16, &again_bytes);
    double wanted = item->prompt_tokens * 4.2;

    CHECK(body != NULL && again != NULL && bytes == again_bytes && memcmp(body, again, bytes) == 0,
          "a body repeats");
    CHECK(body != NULL && strncmp(body, "{\"model\":\"some-model\",\"max_tokens\":16,", 37) == 0,
          "a body names model and limit");
    CHECK(body != NULL && strlen(body) == bytes && strcmp(body + bytes - 4, "\"}]}") == 0,
          "a body ends where it should");
    CHECK((double)bytes > wanted && (double)bytes < wanted + 160, "as long as the prompt");
    free(body);
    free(again);
}

/* A third of the run's time one of two models comes four times as often. */
static void
check_bursts(void)
{
    struct load_spec spec = spec_of(1);
    struct load_item *items = NULL;
    size_t count = 0, seconds[2][50] = {{0}}, high = 0, low = 0;

    spec.model_rates[1] = 150;
    spec.burst_count = 3;
    spec.burst_factor = 4;
    spec.burst_seconds = 5;
    CHECK(load_plan_make(&spec, &items, &count) == ERR_OK, "a plan with bursts");
    for (size_t i = 0; i < count; i++)
        seconds[items[i].model][(size_t)(items[i].at_ms / 1000.0)]++;
    for (size_t m = 0; m < 2; m++) {
        for (size_t k = 0; k < 50; k++) { /* 150 or 600 expected, or of two seconds a part */
            high += seconds[m][k] > 520;
            low += seconds[m][k] > 90 && seconds[m][k] < 210;
        }
    }
    CHECK(high >= 4 && high <= 15, "for so long, so often");
    CHECK(low >= 78, "and the rest is as it was");
    free(items);
    spec.burst_factor = 0.5;
    CHECK(load_plan_make(&spec, &items, &count) == ERR_ARG, "a burst is no less than usual");
}

int
main(void)
{
    struct load_spec spec = spec_of(7), other = spec_of(8);
    struct load_item *a = NULL, *b = NULL, *c = NULL;
    size_t a_count = 0, b_count = 0, c_count = 0, same = 0;

    check_specs();
    CHECK(load_plan_make(&spec, &a, &a_count) == ERR_OK &&
              load_plan_make(&spec, &b, &b_count) == ERR_OK &&
              load_plan_make(&other, &c, &c_count) == ERR_OK,
          "plans are made");
    for (size_t i = 0; i < a_count && i < b_count; i++)
        same += a[i].at_ms == b[i].at_ms && a[i].target == b[i].target &&
                a[i].model == b[i].model && a[i].prompt_tokens == b[i].prompt_tokens &&
                a[i].seed == b[i].seed;
    CHECK(a_count == b_count && same == a_count, "a plan repeats");
    CHECK(a[0].at_ms != c[0].at_ms && a[0].seed != c[0].seed, "another seed is another plan");
    check_plan(a, a_count);
    check_body(&a[0]);
    check_bursts();
    free(a);
    free(b);
    free(c);
    return tap_done();
}

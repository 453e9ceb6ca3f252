/* trace_synthetic_test - the built-in load has what it promises: rate, bursts, growing
 * conversations, shared system prompts, and the same bytes for a seed. */
#include "sim/trace_synthetic.h"

#include <math.h>

#include "data_fixture.h"
#include "sim/trace_stats.h"
#include "tap.h"

static const struct {
    const char *label;
    struct trace_synthetic s;
} bad[] = {
    {"nothing at all", {.count = 0}},
    {"a rate of NaN",
     {.count = 1,
      .tenants = 1,
      .rate_rps = NAN,
      .burst_factor = 1,
      .burst_s = 1,
      .prompt_median_tokens = 1,
      .output_median_tokens = 1,
      .system_median_tokens = 1}},
    {"bursts of more than everything",
     {.count = 1,
      .tenants = 1,
      .rate_rps = 1,
      .burst_factor = 10,
      .burst_share = 0.1,
      .burst_s = 1,
      .prompt_median_tokens = 1,
      .output_median_tokens = 1,
      .system_median_tokens = 1}},
    {"no tenants",
     {.count = 1,
      .rate_rps = 1,
      .burst_factor = 1,
      .burst_s = 1,
      .prompt_median_tokens = 1,
      .output_median_tokens = 1,
      .system_median_tokens = 1}},
};

static void
check_default(void)
{
    struct trace_synthetic s = trace_synthetic_default(5);
    struct data_error error = {""};
    struct trace t = {.name = ""}, again = {.name = ""};
    struct trace_stats stats = {0}, even = {0};
    size_t wrong = 0, shared = 0;

    CHECK(trace_synthetic_open(&s, &error, &t) == ERR_OK && t.count == s.count, "the default load");
    CHECK(t.synthetic && !t.drawn && t.tenant_count == 40, "says that it is made up");
    for (size_t i = 0; i < t.count; i++) {
        const struct trace_request *q = &t.requests[i];

        wrong += q->tenant >= t.tenant_count || q->prompt_tokens < 1 || q->output_tokens < 1 ||
                 q->block_count != q->prompt_tokens / t.block_tokens ||
                 q->block_first + q->block_count > t.block_count ||
                 (i > 0 && q->at_ms < t.requests[i - 1].at_ms);
        for (size_t k = i > 50 ? i - 50 : 0; k < i; k++) {
            const struct trace_request *p = &t.requests[k];
            bool same = p->block_count > 0 && q->block_count > 0 &&
                        t.blocks[p->block_first] == t.blocks[q->block_first];

            wrong += p->session == q->session &&
                     (p->tenant != q->tenant ||
                      q->prompt_tokens < p->prompt_tokens + p->output_tokens);
            shared += same && p->session != q->session;
            wrong += same && p->tenant != q->tenant;
        }
    }
    CHECK(wrong == 0, "conversations grow, tenants share nothing");
    CHECK(shared > 1000, "conversations of a tenant share the system prompt");
    CHECK(trace_describe(&t, &stats) == ERR_OK && fabs(stats.rate_rps - s.rate_rps) < 1.0,
          "about its rate");
    CHECK(stats.gap_cv > 1.1 && stats.repeated_share > 0.3 && stats.repeated_share < 0.9,
          "bursts and repeated prompts");
    CHECK(stats.session_count > t.count / 3 && stats.session_count < t.count, "sessions");

    CHECK(trace_synthetic_open(&s, &error, &again) == ERR_OK && same_requests(&again, &t) &&
              memcmp(again.blocks, t.blocks, t.block_count * sizeof(t.blocks[0])) == 0,
          "the same again");
    trace_close(&again);
    s.seed = 6;
    s.burst_share = 0.0;
    CHECK(trace_synthetic_open(&s, &error, &again) == ERR_OK &&
              trace_describe(&again, &even) == ERR_OK && fabs(even.gap_cv - 1.0) < 0.05,
          "without bursts it is Poisson");
    CHECK(!same_requests(&again, &t), "another seed");
    trace_close(&again);
    trace_close(&t);
}

int
main(void)
{
    check_default();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct data_error error = {""};
        struct trace t = {.name = ""};

        CHECK(trace_synthetic_open(&bad[i].s, &error, &t) == ERR_ARG, bad[i].label);
        CHECK(strcmp(error.text, "synthetic: a number out of its range") == 0, error.text);
    }
    return tap_done();
}

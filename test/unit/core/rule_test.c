/* rule_test - each rule as a pure function over a few candidates. */
#include "core/rule.h"

#include "tap.h"

/* node, region, own, rtt, weight, requests, cost */
#define CANDIDATE(n, r, own, rtt, w, q, cost)                                                      \
    {                                                                                              \
        .node = (n), .region = (r), .own_region = (own), .ready = 1, .rtt_ms = (rtt),              \
        .weight = (w), .requests = (q), .terms = {.sigma_ms = 10.0f}, .cost_ms = (cost)            \
    }

static const struct candidate candidates[] = {
    CANDIDATE(7, 1, 1, 2.0f, 1.0f, 9.0f, 500.0f),
    CANDIDATE(3, 1, 1, 2.0f, 4.0f, 9.0f, 300.0f),
    CANDIDATE(9, 2, 0, 40.0f, 1.0f, 0.0f, 100.0f),
    CANDIDATE(5, 3, 0, 90.0f, 8.0f, 2.0f, 900.0f),
};

static const struct {
    const char *label;
    const struct rule *rule;
    size_t from;
    uint32_t last_node, want_node;
} rows[] = {
    {"time: the clear winner", &rule_time, 0, NODE_ANY, 9},
    {"nearest: own region, least loaded by capacity", &rule_nearest, 0, NODE_ANY, 3},
    {"nearest: without the own region the next by distance", &rule_nearest, 2, NODE_ANY, 9},
    {"least_request: fewest for its capacity", &rule_least_request, 0, NODE_ANY, 5},
    {"round_robin: starts at the lowest", &rule_round_robin, 0, NODE_ANY, 3},
    {"round_robin: the next by index", &rule_round_robin, 0, 3, 5},
    {"round_robin: around", &rule_round_robin, 0, 9, 3},
};

int
main(void)
{
    struct rng rng;
    size_t count = sizeof(candidates) / sizeof(candidates[0]);
    struct candidate ties[4] = {candidates[0], candidates[1], candidates[2], candidates[3]};
    struct rule_input input = {
        .candidates = ties, .count = 4, .last_node = NODE_ANY, .temperature = 0.25f};
    unsigned picked[4] = {0};

    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rule_input in = {.candidates = candidates + rows[i].from,
                                .count = count - rows[i].from,
                                .last_node = rows[i].last_node};
        size_t at = rows[i].rule->choose(&in, &rng);
        CHECK(at < in.count && in.candidates[at].node == rows[i].want_node, rows[i].label);
    }
    for (size_t i = 0; i < 4; i++)
        ties[i].cost_ms = i == 3 ? 400.0f : 200.0f + (float)i;
    for (int i = 0; i < 3000; i++)
        picked[rule_time.choose(&input, &rng)]++;
    CHECK(picked[0] > 500 && picked[1] > 500 && picked[2] > 500, "time: near ties spread");
    CHECK(picked[3] == 0, "time: never to what is clearly slower");
    CHECK(picked[0] > picked[2], "time: the cheaper the likelier");
    for (int i = 0; i < 4000; i++)
        picked[rule_random.choose(&input, &rng)]++;
    CHECK(picked[3] > 800 && picked[3] < 1200, "random: all alike");
    CHECK(rule_by_id(RULE_COUNT) == NULL && rule_by_id(RULE_NEAREST) == &rule_nearest, "by id");
    return tap_done();
}

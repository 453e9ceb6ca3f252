/* sim_rule: each rule of sim/rule chooses on a small table of candidates as its source says it
 * must; and in a small world none of them loses a request, and a bound knows more than a guess. */
#include "sim/sim_rule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim_world.h"
#include "sim/trace_synthetic.h"
#include "tap.h"

#define NODES  3u
#define DRAWS  2000u
#define SECOND UINT64_C(1000000000)

/* What is said of the three nodes 4, 5 and 6; what is not said is the same for all. */
struct row {
    const char *label, *rule;
    uint32_t want; /* node */
    float weight[NODES], requests[NODES], rtt_ms[NODES], hit_tokens[NODES];
    float queue_tokens[NODES], kv_tokens[NODES], waiting[NODES], own_waiting[NODES];
    float token_ms[NODES];
    bool only_reported; /* queue and KV are in the reports, and nothing is known of ours */
};

static const struct row rows[] = {
    {.label = "all alike: the lower node", .rule = "least_request_plain", .want = 4},
    {.label = "fewest", .rule = "least_request_plain", .want = 5, .requests = {3, 1, 2}},
    {.label = "alike, the strong one does not count",
     .rule = "least_request_plain",
     .want = 5,
     .requests = {3, 1, 2},
     .weight = {9, 1, 1}},
    {.label = "who has the most credit",
     .rule = "round_robin_weighted",
     .want = 6,
     .weight = {1, 1, 2}},
    {.label = "c3: a queue of two costs eight service times",
     .rule = "c3",
     .want = 5,
     .weight = {1, 0.2f, 0.1f},
     .waiting = {1, 0, 0}},
    {.label = "lmetric: the product decides",
     .rule = "lmetric_plain",
     .want = 6,
     .requests = {1, 4, 2},
     .queue_tokens = {4000, 0, 0},
     .hit_tokens = {0, 0, 100}},
    {.label = "lmetric: a hit against a batch",
     .rule = "lmetric_plain",
     .want = 5,
     .requests = {1, 4, 3},
     .queue_tokens = {4000, 0, 500},
     .hit_tokens = {0, 900, 0}},
    {.label = "lmetric: the strong one is less loaded with more",
     .rule = "lmetric",
     .want = 4,
     .requests = {3, 1, 1},
     .weight = {4, 1, 1}},
    {.label = "lpwl: the least tokens",
     .rule = "lpwl_plain",
     .want = 6,
     .queue_tokens = {900, 500, 100}},
    {.label = "lpwl: time, not tokens",
     .rule = "lpwl",
     .want = 5,
     .queue_tokens = {900, 500, 100},
     .token_ms = {0.2f, 0.1f, 0.2f}},
    {.label = "lpwl: the warm one, at less than twice the best",
     .rule = "lpwl_plain",
     .want = 4,
     .queue_tokens = {1500, 0, 0},
     .hit_tokens = {800, 0, 0}},
    {.label = "lpwl: not at more",
     .rule = "lpwl_plain",
     .want = 5,
     .queue_tokens = {1900, 0, 0},
     .hit_tokens = {800, 0, 0}},
    {.label = "gorgo: a round trip against a queue",
     .rule = "gorgo_own",
     .want = 5,
     .rtt_ms = {1, 50, 200},
     .queue_tokens = {1000000, 0, 0}},
    {.label = "gorgo: a short queue is no reason to go far",
     .rule = "gorgo_own",
     .want = 4,
     .rtt_ms = {1, 500, 900},
     .queue_tokens = {10, 0, 0}},
    {.label = "gorgo sees reports alone",
     .rule = "gorgo",
     .want = 5,
     .queue_tokens = {1000000, 0, 0},
     .only_reported = true},
    {.label = "gorgo does not see what it sent itself",
     .rule = "gorgo",
     .want = 4,
     .queue_tokens = {1000000, 0, 0}},
    {.label = "gorgo_cal: the fast node's queue is shorter",
     .rule = "gorgo_cal",
     .want = 4,
     .queue_tokens = {20000, 10000, 10000},
     .token_ms = {0.02f, 0.2f, 0.2f}},
    {.label = "cache_aware: the match",
     .rule = "cache_aware_plain",
     .want = 6,
     .requests = {0, 1, 20},
     .hit_tokens = {0, 0, 500}},
    {.label = "cache_aware: too little of a match is none: the smallest tree",
     .rule = "cache_aware_plain",
     .want = 4,
     .hit_tokens = {0, 0, 200}},
    {.label = "cache_aware: out of balance, the match does not count",
     .rule = "cache_aware_plain",
     .want = 5,
     .requests = {1, 0, 70},
     .hit_tokens = {0, 0, 900}},
    {.label = "dynamo: prefill and decode blocks together",
     .rule = "dynamo_plain",
     .want = 6,
     .queue_tokens = {5000, 0, 2000},
     .kv_tokens = {0, 5000, 2000}},
    {.label = "dynamo: an overlap counts as much",
     .rule = "dynamo_plain",
     .want = 5,
     .kv_tokens = {0, 800, 0},
     .hit_tokens = {0, 900, 0}},
    {.label = "llmd: 3 for a whole match, 2 for an empty cache",
     .rule = "llmd_plain",
     .want = 5,
     .kv_tokens = {0, 99000, 0},
     .hit_tokens = {0, 990, 0},
     .only_reported = true},
    {.label = "llmd: 2 for a queue and 2 for the cache beat a match",
     .rule = "llmd_plain",
     .want = 6,
     .kv_tokens = {90000, 90000, 0},
     .waiting = {1, 5, 0},
     .hit_tokens = {0, 990, 0},
     .only_reported = true},
    {.label = "llmd_sticky: stays where the prompt is",
     .rule = "llmd_sticky_plain",
     .want = 5,
     .queue_tokens = {0, 200000, 0},
     .hit_tokens = {0, 900, 0}},
    {.label = "llmd_sticky: not when 18 s later",
     .rule = "llmd_sticky_plain",
     .want = 4,
     .queue_tokens = {0, 300000, 0},
     .hit_tokens = {0, 900, 0}},
    {.label = "llmd_sticky: half a match does not stick",
     .rule = "llmd_sticky_plain",
     .want = 4,
     .queue_tokens = {0, 2000, 0},
     .hit_tokens = {0, 500, 0}},
    {.label = "skywalker: the nearest that has nothing pending",
     .rule = "skywalker_plain",
     .want = 5,
     .rtt_ms = {1, 50, 200},
     .own_waiting = {1, 0, 0}},
    {.label = "skywalker: a reported queue too",
     .rule = "skywalker_plain",
     .want = 6,
     .rtt_ms = {1, 50, 200},
     .own_waiting = {1, 0, 0},
     .waiting = {0, 2, 0}},
    {.label = "skywalker: everybody has: the least",
     .rule = "skywalker_plain",
     .want = 6,
     .rtt_ms = {1, 50, 200},
     .waiting = {3, 2, 1}},
};

/* ---- One rule with its state. */

struct subject {
    const struct sim_rule *rule;
    struct rng rng;
    struct rule_input input;
    struct candidate candidates[NODES];
    double knobs[SIM_KNOBS_MAX];
};

static const struct prefix_chain chain = {.count = 2, .hashes = {99, 98}};

static void
subject_open(struct subject *s, const char *name)
{
    struct sim_rule_setup setup = {.knobs = s->knobs, .nodes = 16, .gateways = 1, .seed = 1};

    memset(s, 0, sizeof(*s));
    s->rule = sim_rule_find(name);
    if (s->rule == NULL)
        abort();
    for (size_t i = 0; i < s->rule->knob_count; i++)
        s->knobs[i] = s->rule->knobs[i].value;
    rng_init(&s->rng, 7);
    s->input = (struct rule_input){
        .candidates = s->candidates,
        .count = NODES,
        .last_node = NODE_ANY,
        .now_ns = SECOND,
        .state = calloc(1, s->rule->state_bytes + 16 * s->rule->node_bytes + 1)};
    s->input.request = (struct rule_request){
        .id = 1, .tenant = 3, .prompt_tokens = 1000, .output_tokens = 100, .chain = &chain};
    if (s->input.state == NULL)
        abort();
    if (s->rule->init != NULL)
        s->rule->init(s->input.state, &setup);
    for (uint32_t i = 0; i < NODES; i++)
        s->candidates[i] = (struct candidate){.node = 6 - i, /* not in the order of nodes */
                                              .region = (uint16_t)(6 - i),
                                              .own_region = i == 2,
                                              .ready = 1,
                                              .weight = 1.0f,
                                              .seen = {.report_age_ms = 10,
                                                       .kv_tokens_cap = 100000,
                                                       .curve = {1, 0.1f, 0, 10, 0.1f, 0.01f},
                                                       .residual = 1}};
}

static void
subject_close(struct subject *s)
{
    free(s->input.state);
}

static struct candidate *
candidate_of(struct subject *s, uint32_t node)
{
    return &s->candidates[6 - node];
}

static uint32_t
chosen(struct subject *s)
{
    size_t at = s->rule->rule.choose(&s->input, &s->rng);

    return at < s->input.count ? s->candidates[at].node : UINT32_MAX;
}

static void
tell(struct subject *s, enum rule_news_kind kind, uint32_t node, float since_ms)
{
    struct rule_news news = {.kind = kind,
                             .node = node,
                             .now_ns = s->input.now_ns,
                             .request = 1,
                             .since_ms = since_ms,
                             .prompt_tokens = 1000};

    s->rule->rule.observe(s->input.state, &news);
}

static void
check_row(const struct row *row)
{
    struct subject s;

    subject_open(&s, row->rule);
    for (uint32_t i = 0; i < NODES; i++) {
        struct candidate *c = candidate_of(&s, 4 + i);

        c->weight = row->weight[i] > 0.0f ? row->weight[i] : 1.0f;
        c->requests = row->requests[i];
        c->rtt_ms = row->rtt_ms[i];
        c->hit_tokens = row->hit_tokens[i];
        c->seen.waiting = row->waiting[i];
        c->seen.own_waiting = row->own_waiting[i];
        if (row->token_ms[i] > 0.0f)
            c->seen.curve.b_ms = row->token_ms[i];
        if (row->only_reported) {
            c->seen.queue_tokens = c->seen.others_queue_tokens = row->queue_tokens[i];
            c->seen.kv_tokens_used = c->seen.others_kv_tokens = row->kv_tokens[i];
        } else {
            c->seen.own_queue_tokens = row->queue_tokens[i];
            c->seen.own_kv_tokens = row->kv_tokens[i];
        }
    }
    CHECK(chosen(&s) == row->want, row->label);
    subject_close(&s);
}

/* ---- What needs more than one choice. */

static void
count_choices(struct subject *s, uint32_t ret_counts[NODES])
{
    memset(ret_counts, 0, NODES * sizeof(*ret_counts));
    for (uint32_t i = 0; i < DRAWS; i++) {
        s->input.request.id++;
        ret_counts[chosen(s) - 4]++;
    }
}

static void
check_draws(void)
{
    uint32_t counts[NODES];
    struct subject s;

    subject_open(&s, "random_weighted");
    candidate_of(&s, 5)->weight = 2.0f;
    count_choices(&s, counts);
    CHECK(counts[1] > DRAWS * 45 / 100 && counts[1] < DRAWS * 55 / 100, "half of it to half of it");
    subject_close(&s);

    subject_open(&s, "round_robin_weighted");
    candidate_of(&s, 5)->weight = 2.0f;
    count_choices(&s, counts);
    CHECK(counts[0] == DRAWS / 4 && counts[1] == DRAWS / 2, "in turn: exactly");
    subject_close(&s);

    subject_open(&s, "p2c_plain");
    candidate_of(&s, 5)->requests = 9.0f;
    count_choices(&s, counts);
    CHECK(counts[1] == 0 && counts[0] > DRAWS / 2, "the worst of three is never the better of two");
    subject_close(&s);

    subject_open(&s, "p2c");
    candidate_of(&s, 5)->requests = 9.0f;
    candidate_of(&s, 5)->weight = 100.0f;
    count_choices(&s, counts);
    CHECK(counts[1] > DRAWS * 9 / 10, "but it may be ten times as strong");
    subject_close(&s);
}

static void
check_sticky(void)
{
    struct subject s;
    uint32_t first, counts[NODES], moved = 0;

    subject_open(&s, "sticky_random_plain");
    s.input.request.session = 77;
    first = chosen(&s);
    for (uint32_t i = 0; i < 50; i++)
        moved += chosen(&s) != first;
    CHECK(moved == 0, "a client stays");
    s.candidates[6 - first] = s.candidates[NODES - 1]; /* its node is gone */
    s.input.count = NODES - 1;
    CHECK(chosen(&s) != first, "until its node is gone");
    subject_close(&s);

    subject_open(&s, "sticky_random_plain");
    count_choices(&s, counts);
    CHECK(counts[0] > 0 && counts[1] > 0 && counts[2] > 0, "clients differ");
    subject_close(&s);
}

static void
check_peak_ewma(void)
{
    struct subject s;
    uint32_t counts[NODES];

    subject_open(&s, "peak_ewma_plain");
    tell(&s, RULE_NEWS_STARTED, 4, 100.0f);
    tell(&s, RULE_NEWS_STARTED, 5, 100.0f);
    tell(&s, RULE_NEWS_STARTED, 6, 300.0f);
    count_choices(&s, counts);
    CHECK(counts[2] == 0, "the slow one never");
    tell(&s, RULE_NEWS_STARTED, 4, 5000.0f);
    count_choices(&s, counts);
    CHECK(counts[0] == 0 && counts[1] > 0, "a peak counts at once");
    s.input.now_ns += 60 * SECOND;
    tell(&s, RULE_NEWS_STARTED, 6, 300.0f);
    tell(&s, RULE_NEWS_STARTED, 5, 300.0f);
    count_choices(&s, counts);
    CHECK(counts[0] > DRAWS / 2, "and is forgotten");
    subject_close(&s);

    subject_open(&s, "peak_ewma_plain");
    tell(&s, RULE_NEWS_STARTED, 4, 100.0f);
    tell(&s, RULE_NEWS_STARTED, 5, 100.0f);
    candidate_of(&s, 6)->seen.own_requests = 1.0f;
    count_choices(&s, counts);
    CHECK(counts[2] == 0, "without history one at a time finds out");
    subject_close(&s);
}

static void
check_c3(void)
{
    struct subject s;

    subject_open(&s, "c3");
    candidate_of(&s, 4)->seen.running = 1.0f; /* 2^3 services of 1 s */
    tell(&s, RULE_NEWS_STARTED, 4, 2000.0f);
    tell(&s, RULE_NEWS_STARTED, 5, 8000.0f);
    tell(&s, RULE_NEWS_STARTED, 6, 30000.0f);
    CHECK(chosen(&s) == 5, "c3: an idle one that took 8 s before a queue of one");
    tell(&s, RULE_NEWS_STARTED, 5, 20000.0f);
    CHECK(chosen(&s) == 4, "but not if it took longer");
    subject_close(&s);
}

static void
check_prequal(void)
{
    struct subject s;
    uint32_t counts[NODES];

    subject_open(&s, "prequal");
    s.knobs[0] = 0.5;
    s.rule->init(s.input.state, &(struct sim_rule_setup){.knobs = s.knobs});
    candidate_of(&s, 4)->requests = 50.0f;
    candidate_of(&s, 5)->requests = 5.0f;
    candidate_of(&s, 6)->requests = 4.0f;
    candidate_of(&s, 5)->seen.own_queue_tokens = 100.0f;
    candidate_of(&s, 6)->seen.own_queue_tokens = 9000.0f;
    count_choices(&s, counts);
    CHECK(counts[1] > counts[2] && counts[2] > counts[0],
          "the cold one that answers first; the hot one last, though it answers first of all");
    subject_close(&s);
}

static void
check_cache_aware(void)
{
    struct subject s;

    subject_open(&s, "cache_aware_plain");
    tell(&s, RULE_NEWS_DISPATCHED, 4, 0.0f);
    CHECK(chosen(&s) == 5, "cache_aware: what was sent makes a tree grow");
    subject_close(&s);
}

static void
check_dualmap(void)
{
    struct subject s;
    uint32_t home, other;

    subject_open(&s, "dualmap_plain");
    home = chosen(&s);
    CHECK(chosen(&s) == home, "dualmap: the same prompt, the same node");
    candidate_of(&s, home)->hit_tokens = 500.0f;
    candidate_of(&s, home)->seen.own_queue_tokens = 5000.0f; /* 550 ms */
    CHECK(chosen(&s) == home, "it stays where it is cached");
    candidate_of(&s, home)->seen.own_queue_tokens = 50000.0f;
    other = chosen(&s);
    CHECK(other != home, "but not past the SLO");
    candidate_of(&s, other)->seen.own_queue_tokens = 90000.0f;
    CHECK(chosen(&s) == home, "there are two, whoever else is idle");
    subject_close(&s);
}

/* ---- A small world. */

static void
check_worlds(void)
{
    struct trace_synthetic what = trace_synthetic_default(5);
    struct rtt_data rtt;
    struct trace trace;
    struct data_error error;
    const struct sim_rule *rule;
    double first_ms[2] = {0.0, 0.0};

    if (trace_synthetic_open(&what, &error, &trace) != ERR_OK ||
        rtt_data_builtin(&error, &rtt) != ERR_OK) {
        CHECK(false, "no load");
        return;
    }
    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL; i++) {
        struct sim_error why;
        struct sim_options o;
        struct sim_world *w;
        struct sim_stats *stats;
        double sum_ms = 0.0;

        sim_options_init(&o);
        o.rule = rule->rule.name;
        o.nodes = 60;
        o.gateways = 3;
        o.regions = 6;
        o.duration_ms = 4000.0;
        o.warmup_ms = 500.0;
        o.load = 0.5;
        if (sim_world_open(&o, &trace, &rtt, &w, &why) != ERR_OK) {
            CHECK(false, why.message);
            continue;
        }
        while (sim_world_run(w, 1e9))
            ;
        stats = sim_world_stats(w);
        for (size_t k = 0; k < stats->count; k++)
            sum_ms += (double)stats->samples[k].first_ms;
        if (strcmp(o.rule, "clairvoyant") == 0)
            first_ms[0] = sum_ms / (double)stats->count;
        if (strcmp(o.rule, "random_weighted") == 0)
            first_ms[1] = sum_ms / (double)stats->count;
        CHECK(stats->arrived > 100 && stats->count + stats->refused == stats->arrived, o.rule);
        sim_world_close(w);
    }
    CHECK(first_ms[0] > 0.0 && first_ms[0] < first_ms[1], "who knows all is faster than chance");
    trace_close(&trace);
    rtt_data_close(&rtt);
}

static void
check_list(void)
{
    const struct sim_rule *rule;
    bool good = true;

    for (size_t i = 0; (rule = sim_rule_at(i)) != NULL; i++) {
        good = good && sim_rule_find(rule->rule.name) == rule && rule->source != NULL &&
               rule->knob_count <= SIM_KNOBS_MAX &&
               (rule->node_bytes == 0 || rule->state_bytes > 0);
        for (uint32_t id = 0; id < RULE_COUNT; id++)
            good = good && strcmp(rule_by_id(id)->name, rule->rule.name) != 0;
        for (size_t k = 0; k < rule->knob_count; k++) {
            const struct sim_knob *knob = &rule->knobs[k];
            double x = sim_rule_knob(rule, k);
            good = good && knob->min < knob->max && knob->value >= knob->min &&
                   knob->value <= knob->max && x >= knob->min && x <= knob->max &&
                   (!knob->is_log || knob->min > 0.0);
        }
    }
    CHECK(good, "every rule has a name of its own, a source, and knobs within their ranges");
    CHECK(sim_rule_find("nobody's") == NULL, "and there are no others");
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i]);
    check_draws();
    check_sticky();
    check_peak_ewma();
    check_c3();
    check_prequal();
    check_cache_aware();
    check_dualmap();
    check_list();
    check_worlds();
    return tap_done();
}

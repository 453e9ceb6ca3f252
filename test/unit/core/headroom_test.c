/* headroom_test - what a model's nodes can take: each limit where it binds, what others take of it,
 * who does not count, and the hourly check against loads that are known. In virtual time. */
#include "core/headroom.h"

#include <math.h>

#include "core/headroom_check.h"
#include "tap.h"
#include "world.h"

#define STEP_MS 100u

static const struct headroom_goals goals = {
    .first_ms = 1000.0f, .first_per_token_ms = 1.0f, .step_ms = 60.0f};
static const struct model_mix mix = {.count = 1000.0f,
                                     .prompt = 1000.0f,
                                     .output = 200.0f,
                                     .held = 200.0f * 1100.0f,
                                     .uncached = 1000.0f,
                                     .uncached_sq = 1e6f};
static const struct headroom_node node_a100 = {.curve = {.a_ms = 5.0f,
                                                         .b_ms = 0.09f,
                                                         .c_ms = 3e-6f,
                                                         .t0_ms = 12.0f,
                                                         .tk_ms = 0.08f,
                                                         .tb_ms = 0.02f},
                                               .kv_tokens_cap = 400000.0f,
                                               .slots = 256.0f,
                                               .rtt_ms = 1.0f};

static struct headroom_rates
rates_of(struct headroom_node n, struct model_mix m, struct headroom_goals g)
{
    struct headroom_rates r;

    headroom_rates(&n, &m, &g, &r);
    return r;
}

static uint32_t
least(const struct headroom_rates *r)
{
    uint32_t at = 0;

    for (uint32_t k = 1; k < HEADROOM_LIMITS; k++)
        at = r->most_ms[k] < r->most_ms[at] ? k : at;
    return at;
}

static float
most(const struct headroom_rates *r)
{
    return r->most_ms[least(r)];
}

static void
test_limits(void)
{
    struct headroom_rates r = rates_of(node_a100, mix, goals), worse;
    struct headroom_node n = node_a100;
    struct headroom_goals g = goals;
    struct model_mix m = mix;

    CHECK(least(&r) == HEADROOM_DECODE, "60 ms between tokens bind before anything else");
    n.slots = 8.0f;
    worse = rates_of(n, mix, goals);
    CHECK(least(&worse) == HEADROOM_SLOTS && most(&worse) < most(&r), "few slots");
    n.slots = 0.0f;
    n.kv_tokens_cap = 20000.0f;
    worse = rates_of(n, mix, goals);
    CHECK(least(&worse) == HEADROOM_KV && most(&worse) < most(&r), "little room for KV");
    n.kv_tokens_cap = 0.0f;
    g.step_ms = 10000.0f;
    worse = rates_of(n, mix, g);
    CHECK(least(&worse) == HEADROOM_PREFILL && most(&worse) > most(&r),
          "with nothing else in the way prompts queue");
    m.prompt = m.uncached = 4000.0f;
    m.uncached_sq = 16e6f;
    worse = rates_of(n, m, g);
    CHECK(most(&worse) < 0.4f * most(&r) && worse.pooled[HEADROOM_PREFILL] < 20.0f,
          "long prompts: fewer of them, and fewer can wait");
    m.prompt = 4000.0f;
    m.uncached = 1000.0f;
    m.uncached_sq = 1e6f;
    CHECK(most(&(struct headroom_rates){0}) == 0.0f &&
              rates_of(n, m, g).most_ms[0] > 2.0f * worse.most_ms[0],
          "unless most of them is cached");
    n = node_a100;
    n.curve.t0_ms = 61.0f;
    worse = rates_of(n, mix, goals);
    CHECK(most(&worse) == 0.0f, "a step that is too long alone: nothing");
    n.curve = (struct curve){0};
    n.kv_tokens_cap = 0.0f;
    worse = rates_of(n, mix, goals);
    CHECK(isfinite(most(&worse)) && most(&worse) > 0.0f, "hardware that takes no time is a number");
    g.first_ms = 50.0f;
    g.first_per_token_ms = 0.0f;
    CHECK(headroom_tail(HEADROOM_PREFILL, rates_of(node_a100, mix, g).pooled[HEADROOM_PREFILL]) ==
              0.0f,
          "a prompt that takes longer than its goal: nothing");
}

static void
test_others(void)
{
    struct headroom_rates alone = rates_of(node_a100, mix, goals), beside, worse;
    struct headroom_node n = node_a100;

    n.other_work = 0.4f;
    beside = rates_of(n, mix, goals);
    for (uint32_t k = 0; k < HEADROOM_LIMITS; k++)
        CHECK(beside.most_ms[k] < alone.most_ms[k], "others' work takes of every limit");
    n.other_work = 1.5f;
    beside = rates_of(n, mix, goals);
    CHECK(most(&beside) == 0.0f, "all of it");
    n.other_work = 0.0f;
    n.other_t0_ms = 20.0f;
    beside = rates_of(n, mix, goals);
    CHECK(most(&beside) < 0.8f * most(&alone), "and their steps make turns longer");
    n.other_t0_ms = 0.0f;
    n.other_work = 0.4f;
    beside = rates_of(n, mix, goals);
    n.other_lumps_ms = 0.4f * 2000.0f;
    worse = rates_of(n, mix, goals);
    CHECK(most(&worse) == most(&beside) &&
              worse.pooled[HEADROOM_DECODE] < 0.5f * beside.pooled[HEADROOM_DECODE],
          "work that comes in large pieces evens out less");
    CHECK(headroom_tail(HEADROOM_DECODE, 10.0f) < headroom_tail(HEADROOM_DECODE, 1000.0f) &&
              headroom_tail(HEADROOM_DECODE, 1e6f) > 0.99f,
          "chance takes less of many");
}

/* ---- In a core. */

static void
pass(struct world *w, uint32_t ms)
{
    for (uint32_t at = 0; at < ms; at += STEP_MS) {
        w->now_ns += STEP_MS * WORLD_MS;
        world_step(w, (struct event){.kind = EVENT_TICK});
    }
}

static struct headroom_view
view_of(const struct world *w, uint16_t model, uint16_t region)
{
    struct headroom_view views[CORE_VIEW_MAX];
    uint32_t next, count = core_view_headroom(w->core, w->now_ns, 0, views, &next);

    for (uint32_t i = 0; i < count; i++) {
        if (views[i].model == model && views[i].region == region)
            return views[i];
    }
    return (struct headroom_view){.model = MODEL_NONE};
}

static void
ready_too(struct world *w, uint32_t node, uint16_t model)
{
    world_step(
        w, (struct event){
               .kind = EVENT_MODEL,
               .model = {.node = node, .model = model, .state = MODEL_READY, .ready_in_ms = NAN}});
}

static void
test_cells(void)
{
    struct world w;
    float one, two, before;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 2.0f, 1, MODEL_READY);
    pass(&w, 3000);
    one = view_of(&w, 1, 0).most_requests_s;
    CHECK(one > 0.0f && view_of(&w, 1, 0).nodes == 1, "a node: something");
    CHECK(view_of(&w, 1, 0).known_part == 0.0f, "by a speed that nobody measured");
    world_node(&w, 1, 0, 2.0f, 1, MODEL_READY);
    world_node(&w, 2, 0, 2.0f, 1, MODEL_ON_DISK);
    world_node(&w, 3, 1, 50.0f, 1, MODEL_READY);
    pass(&w, 3000);
    two = view_of(&w, 1, 0).most_requests_s;
    CHECK(two > 2.0f * one, "two nodes: more than twice, chance evens out; disks do not count");
    CHECK(view_of(&w, 1, 0).nodes == 2 && view_of(&w, 1, 1).nodes == 1 &&
              view_of(&w, 0, 0).model == MODEL_NONE,
          "each region for itself, and only models that are there");
    ready_too(&w, 1, 2);
    pass(&w, 3000);
    before = view_of(&w, 2, 0).most_requests_s;
    for (uint64_t id = 1; id <= 40; id++) { /* at a node they share */
        world_step(&w, (struct event){.kind = EVENT_ARRIVED,
                                      .arrived = {.request = id,
                                                  .model = 1,
                                                  .prompt_bytes = 2000,
                                                  .stream = 1,
                                                  .other_model = MODEL_NONE,
                                                  .deadline_ms = NAN,
                                                  .only_node = 1}});
        pass(&w, 1000);
        world_started(&w, id, 1);
        world_ended(&w, id, 1, 100);
    }
    CHECK(view_of(&w, 1, 0).requests_s > 0.5f && view_of(&w, 1, 0).requests_s < 1.1f,
          "one request a second is seen as that");
    CHECK(view_of(&w, 2, 0).most_requests_s < before, "and what it takes, the other model lacks");
    world_step(&w, (struct event){.kind = EVENT_NODE,
                                  .node = {.node = 1, .epoch = 1, .state = NODE_DRAIN}});
    pass(&w, 3000);
    CHECK(view_of(&w, 1, 0).nodes == 1 && view_of(&w, 2, 0).nodes == 0 &&
              view_of(&w, 2, 0).most_requests_s == 0.0f,
          "a node that drains does not count");
    world_close(&w);
}

#define WIDE_NODES  24u
#define WIDE_HELD   24u /* models of a node, nobody else's */
#define WIDE_MODELS 768u
#define PART_MOST   264u /* cells that a tick may tell */

static uint32_t
wide_told(const struct world *w)
{
    uint32_t told = 0;

    for (uint32_t m = 0; m < WIDE_NODES * WIDE_HELD; m++) {
        const struct headroom *h = headroom_of(w->core, m, m / WIDE_HELD % 8);
        told += h->nodes == 1 && h->most_ms > 0.0f;
    }
    return told;
}

static uint32_t
wide_visited(const struct world *w)
{
    uint32_t visited = 0;

    for (uint32_t n = 0; n < WIDE_NODES; n++)
        visited += w->core->cold[n].headroom_ns == w->now_ns;
    return visited;
}

/* Of many models and nodes a tick looks after some. */
static void
test_parts(void)
{
    uint32_t told = 0, now, most_told = 0, most_visited = 0;
    struct world w;

    world_open_wide(&w, WIDE_NODES, WIDE_MODELS, WIDE_NODES * WIDE_HELD, RULE_TIME, 1);
    for (uint32_t n = 0; n < WIDE_NODES; n++) {
        for (uint32_t k = 0; k < WIDE_HELD; k++) {
            if (k == 0)
                world_node(&w, n, (uint16_t)(n % 8), 2.0f, (uint16_t)(n * WIDE_HELD), MODEL_READY);
            else
                ready_too(&w, n, (uint16_t)(n * WIDE_HELD + k));
        }
    }
    for (uint32_t i = 0; i < 4 * (WIDE_NODES + 8); i++) {
        pass(&w, STEP_MS);
        now = wide_told(&w);
        most_told = now > told + most_told ? now - told : most_told;
        most_visited = max_u32(most_visited, wide_visited(&w));
        CHECK(now >= told, "what is told stays, round after round");
        told = now;
    }
    CHECK(told == WIDE_NODES * WIDE_HELD, "all cells are told, of one node each");
    CHECK(most_told > 0 && most_told <= PART_MOST, "a part of them in a tick");
    CHECK(most_visited == 1, "nodes with many models: one in a tick");
    world_close(&w);
}

static struct node_view
node_of(const struct world *w, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    must(core_view_nodes(w->core, w->now_ns, node, views, &next) > 0);
    return views[0];
}

static void
probe(struct world *w, uint32_t node, uint32_t failure)
{
    world_step(w, (struct event){.kind = EVENT_PROBE, .probe = {.node = node, .failure = failure}});
}

static void
test_goals(void)
{
    struct headroom_goals g;
    struct world w;

    world_open(&w, 4, RULE_TIME, 1);
    core_view_goals(w.core, &g);
    CHECK(g.first_ms == 1000.0f && g.first_per_token_ms == 1.0f && !g.is_first_configured &&
              g.step_ms == 60.0f && !g.is_step_configured,
          "the default");
    world_step(&w, (struct event){.kind = EVENT_SETTINGS,
                                  .settings = {.ttft_goal_ms = 700.0f, .tpot_goal_ms = NAN}});
    core_view_goals(w.core, &g);
    CHECK(g.first_ms == 700.0f && g.first_per_token_ms == 0.0f && g.is_first_configured &&
              g.step_ms == 60.0f && !g.is_step_configured,
          "each as it is configured");
    world_close(&w);
}

static void
test_silent(void)
{
    struct world w;

    world_open(&w, 8, RULE_TIME, 1);
    world_node(&w, 0, 0, 2.0f, 1, MODEL_READY);
    world_node(&w, 1, 0, 2.0f, 1, MODEL_READY);
    for (uint32_t i = 0; i < 20; i++) {
        pass(&w, 1000);
        world_report(&w, 0, 0.0f, 0.0f);
        world_report(&w, 1, 0.0f, 0.0f);
        probe(&w, 1, FAILURE_NONE);
    }
    CHECK(isnan(node_of(&w, 0).silent_ms) && view_of(&w, 1, 0).nodes == 2, "both are heard");
    for (uint32_t i = 0; i < 4;
         i++) { /* one says nothing and refuses, the other only says nothing */
        pass(&w, 1000);
        world_report(&w, 0, 0.0f, 0.0f);
        probe(&w, 1, i < 2 ? FAILURE_CONNECT : FAILURE_NONE);
    }
    CHECK(isnan(node_of(&w, 1).silent_ms), "who does not report but answers is not silent");
    probe(&w, 1, FAILURE_FIRST_BYTE);
    pass(&w, 3000);
    CHECK(node_of(&w, 1).silent_ms >= 6900.0f && node_of(&w, 1).silent_ms < 8000.0f,
          "nor answers: silent, for as long as its news is old");
    CHECK(view_of(&w, 1, 0).nodes == 1, "and it counts no more");
    pass(&w, 6000);
    CHECK(node_of(&w, 0).silent_ms > 8000.0f, "nobody asks: overdue reports are enough");
    world_report(&w, 0, 0.0f, 0.0f);
    CHECK(isnan(node_of(&w, 0).silent_ms), "until there is one again");
    world_close(&w);
}

/* ---- Pace: a node that is so many times slower than it was told to be. */

#define PLAY_PROMPT 476u
#define PLAY_OUTPUT 51u
#define PLAY_MODELS 2u /* 1 and 2 */

struct play {
    float slower;             /* the truth over what was told */
    float per_s[PLAY_MODELS]; /* ours of each */
    float others_s;           /* other gateways' of model 1 */
    uint32_t first_ms;        /* first tokens come after it */
};

/* Of one request, as it is told. */
static float
play_work_ms(void)
{
    const struct curve *c = &node_a100.curve;
    float prompt = (float)PLAY_PROMPT, output = (float)PLAY_OUTPUT;

    return c->a_ms + c->b_ms * prompt + 0.5f * c->c_ms * prompt * prompt +
           output * (c->tb_ms + c->tk_ms * 0.001f * (prompt + 0.5f * output));
}

/* What there is between two tokens of `which`: C = slower * (steps + C * work), by turns. */
static float
play_cycle_ms(const struct play *p, uint32_t which)
{
    float cycle_ms = node_a100.curve.t0_ms, t0_ms;
    float rates = 1e-3f * (p->per_s[0] + p->per_s[1] + p->others_s);

    for (uint32_t i = 0; i < 200; i++) {
        float other = 1e-3f * (which == 0 ? p->per_s[1] : p->per_s[0] + p->others_s);
        t0_ms = node_a100.curve.t0_ms * (2.0f - expf(-other * (float)PLAY_OUTPUT * cycle_ms));
        cycle_ms = p->slower * (t0_ms + cycle_ms * rates * play_work_ms());
    }
    return cycle_ms;
}

static void
play_ask(struct world *w, uint64_t id, uint16_t model)
{
    world_step(w, (struct event){.kind = EVENT_ARRIVED,
                                 .arrived = {.request = id,
                                             .model = model,
                                             .prompt_bytes = 2000,
                                             .stream = 1,
                                             .other_model = MODEL_NONE,
                                             .deadline_ms = NAN,
                                             .only_node = 0}});
}

static void
play_answered(struct world *w, uint64_t id, float cycle_ms)
{
    world_started(w, id, 1);
    world_step(w, (struct event){.kind = EVENT_ENDED,
                                 .ended = {.request = id,
                                           .attempt = 1,
                                           .prompt_tokens = PLAY_PROMPT,
                                           .output_tokens = PLAY_OUTPUT,
                                           .cached_known = 1,
                                           .engine_prefill_ms = NAN,
                                           .engine_decode_ms = cycle_ms * (PLAY_OUTPUT - 1.0f)}});
}

static void
play_open(struct world *w, const struct play *p)
{
    world_open(w, 4, RULE_TIME, 1);
    world_step(w, (struct event){.kind = EVENT_GATEWAYS, .gateways = {.count = 3}});
    for (uint16_t m = 1; m <= PLAY_MODELS; m++)
        world_step(w, (struct event){.kind = EVENT_CURVE,
                                     .curve = {.model = m,
                                               .curve = node_a100.curve,
                                               .kv_tokens_cap = node_a100.kv_tokens_cap,
                                               .load_ms = NAN,
                                               .weights_mib = NAN}});
    world_node(w, 0, 0, 2.0f, 1, MODEL_READY);
    if (p->per_s[1] > 0.0f)
        ready_too(w, 0, 2);
}

/* Three minutes of it; then how many times slower the node is thought to be with model 1. */
static float
played(const struct play *p, float *ret_most_s)
{
    struct world w;
    uint64_t asked[PLAY_MODELS][64] = {0}, ids = 0;
    uint32_t count[PLAY_MODELS] = {0}, done[PLAY_MODELS] = {0}, late = p->first_ms / STEP_MS;
    float pace;

    play_open(&w, p);
    for (uint32_t at = 0; at < 1800; at++) {
        pass(&w, STEP_MS);
        world_report(&w, 0,
                     (float)(count[0] - done[0] + count[1] - done[1]) +
                         p->others_s * 1e-3f * (float)PLAY_OUTPUT * play_cycle_ms(p, 0),
                     0.0f);
        for (uint16_t m = 0; m < PLAY_MODELS; m++) {
            float until = p->per_s[m] * 1e-3f * STEP_MS * (float)at;
            for (; (float)count[m] + 1.0f <= until; count[m]++) {
                asked[m][count[m] % 64] = ++ids;
                play_ask(&w, ids, (uint16_t)(m + 1));
            }
            until -= p->per_s[m] * 1e-3f * STEP_MS * (float)late;
            for (; (float)done[m] + 1.0f <= until; done[m]++)
                play_answered(&w, asked[m][done[m] % 64], play_cycle_ms(p, m));
        }
    }
    pace = w.core->placed[w.core->cold[0].first_placement].pace.pace;
    CHECK(view_of(&w, 1, 0).known_part > 0.8f, "that it was measured is known");
    CHECK((view_of(&w, 1, 0).others_part > 0.05f) == (p->per_s[1] > 0.0f),
          "and what the neighbour takes");
    *ret_most_s = view_of(&w, 1, 0).most_requests_s;
    world_close(&w);
    return pace;
}

static void
test_pace(void)
{
    static const struct {
        const char *label;
        struct play play;
    } rows[] = {
        {"as told", {1.0f, {2.0f, 0.0f}, 0.0f, 0}},
        {"half as fast", {2.0f, {2.0f, 0.0f}, 0.0f, 0}},
        {"faster, and nearly idle", {0.7f, {0.3f, 0.0f}, 0.0f, 0}},
        {"first tokens that others' prompts hold up", {1.5f, {2.0f, 0.0f}, 0.0f, 900}},
        {"other gateways' requests", {1.3f, {1.0f, 0.0f}, 4.0f, 0}},
        {"a neighbour that takes its turns", {1.3f, {2.0f, 3.0f}, 0.0f, 0}},
        {"a neighbour, others, and late", {0.8f, {1.0f, 2.0f}, 0.0f, 500}},
    };
    float most_s, alone_s = 0.0f, slow_s = 0.0f;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        float pace = played(&rows[i].play, &most_s);
        CHECK(fabsf(pace / rows[i].play.slower - 1.0f) < 0.05f, rows[i].label);
        alone_s = i == 0 ? most_s : alone_s;
        slow_s = i == 1 ? most_s : slow_s;
        if (i == 3)
            CHECK(most_s > slow_s && most_s < alone_s, "late first tokens make nothing slower");
    }
    CHECK(slow_s < 0.5f * alone_s && slow_s > 0.3f * alone_s,
          "half the speed: less than half, for steps are as long as tokens may lie apart sooner");
}

/* ---- The check. */

struct client {
    uint64_t asked, answered; /* ids so far */
};

static void
answer(struct world *w, struct client *c, uint64_t up_to)
{
    while (c->answered < up_to) {
        world_started(w, ++c->answered, 1);
        world_ended(w, c->answered, 1, 20);
    }
}

/* A minute of `per_s` requests a second, each first token after late_ms. */
static void
minute(struct world *w, struct client *c, float per_s, uint32_t late_ms)
{
    uint64_t first = c->asked;

    for (uint32_t at_ms = STEP_MS; at_ms <= 60000; at_ms += STEP_MS) {
        pass(w, STEP_MS);
        while ((float)(c->asked - first) < per_s * 1e-3f * (float)at_ms)
            must(world_arrive(w, ++c->asked, 1) == 0);
        if (at_ms > late_ms)
            answer(w, c, first + (uint64_t)(per_s * 1e-3f * (float)(at_ms - late_ms)));
    }
    answer(w, c, c->asked);
}

/* Nothing is learned of its speed: what is told stays as it is. */
static void
one_node(struct world *w)
{
    struct event e = {.kind = EVENT_TUNING, .tuning = tuning_default};

    world_open(w, 4, RULE_TIME, 1);
    e.tuning.without = WITHOUT_LEARNING;
    world_step(w, e);
    world_node(w, 0, 0, 2.0f, 1, MODEL_READY);
    pass(w, 2000);
}

static void
test_check(void)
{
    struct client c = {0};
    struct world w;
    struct headroom_view v;
    float told_s, border_s;

    one_node(&w);
    minute(&w, &c, 1.0f, 0); /* what a usual request is */
    told_s = view_of(&w, 1, 0).most_requests_s;
    for (uint32_t i = 0; i < 60; i++)
        minute(&w, &c, 0.3f * told_s, 0);
    v = view_of(&w, 1, 0);
    CHECK(v.checked.at_ns != 0 && isnan(v.checked.error_part) && v.correction == 1.0f,
          "an hour that never came near says nothing, and teaches nothing");
    CHECK(v.checked.windows > 50 && v.checked.held_s > 0.2f * told_s &&
              v.checked.held_s < 0.4f * v.most_requests_s && isnan(v.checked.broke_s),
          "but up to where it held");
    CHECK(v.checked_ago_ms < 120000.0f, "and when");
    border_s = 0.7f * v.most_requests_s;
    for (uint32_t i = 0; i < 60; i++) { /* it breaks at seven tenths of what is told */
        float per_s = border_s * (0.5f + 0.02f * (float)(i % 40));
        minute(&w, &c, per_s, per_s > border_s ? 2000 : 0);
    }
    v = view_of(&w, 1, 0);
    CHECK(v.checked.held_s < border_s * 1.1f && v.checked.broke_s > border_s * 0.9f &&
              v.checked.broke_s < border_s * 1.2f,
          "a load that breaks it is found");
    CHECK(v.checked.error_part > 0.2f && v.checked.error_part < 0.7f, "too much was told");
    CHECK(v.correction < 0.95f && v.correction > 0.7f, "half of that is learned");
    world_close(&w);
}

/* Time between tokens counts as much as first tokens do. */
static void
test_windows(void)
{
    struct client c = {0};
    struct world w;
    struct headroom *h;
    uint32_t missed = 0;

    one_node(&w);
    h = headroom_of(w.core, 1, 0);
    for (uint32_t i = 0; i < 200; i++) { /* 20 tokens in 2 s */
        pass(&w, 400);
        must(world_arrive(&w, ++c.asked, 1) == 0);
        world_started(&w, c.asked, 1);
        pass(&w, 2000);
        world_ended(&w, c.asked, 1, 20);
    }
    pass(&w, 62000);
    for (uint32_t i = 0; i < HEADROOM_BINS; i++)
        missed += h->missed[i];
    CHECK(missed == 0 && h->windows == 0, "too few requests in a minute say nothing");
    for (uint32_t i = 0; i < 100; i++) {
        pass(&w, 400);
        must(world_arrive(&w, ++c.asked, 1) == 0);
        world_started(&w, c.asked, 1);
        pass(&w, 1300);
        world_ended(&w, c.asked, 1, 20);
    }
    for (uint32_t i = 0; i < HEADROOM_BINS; i++)
        missed += h->missed[i];
    CHECK(missed > 0 && h->windows == missed, "slow tokens alone break it");
    world_close(&w);
}

/* Windows that are put into the hour by hand, at multiples of what was told: one row an hour. */
static const struct {
    const char *label;
    float met[4], missed[4]; /* 0: no more */
    float error_part;        /* NAN: not tested */
    float held, broke;       /* NAN: none */
} hours[] = {
    {"it held below and broke above: right", {0.5f, 0.9f}, {1.1f}, 0.0f, 0.925f, 1.125f},
    {"it broke early: too much was told", {0.4f, 0.6f}, {0.7f, 0.9f}, 0.48f, 0.625f, 0.725f},
    {"it held beyond: too little was told", {1.0f, 1.5f}, {0.0f}, -0.344f, 1.525f, NAN},
    {"always broken: at least so much too much", {0.0f}, {0.5f, 0.8f}, 0.905f, NAN, 0.525f},
    {"far apart: not tested", {0.3f}, {1.5f}, NAN, 0.325f, 1.525f},
    {"quiet: not tested", {0.3f, 0.5f}, {0.0f}, NAN, 0.525f, NAN},
    {"nothing at all: not tested", {0.0f}, {0.0f}, NAN, NAN, NAN},
    {"one bad minute among good ones",
     {0.5f, 0.55f, 0.9f, 0.95f},
     {0.4f, 1.05f},
     -0.01f,
     0.975f,
     1.075f},
};

static bool
is_near(float a, float b)
{
    return isnan(b) ? isnan(a) : fabsf(a - b) < 0.03f;
}

static void
test_hours(void)
{
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        struct world w;
        struct headroom *h;
        struct headroom_view v;
        float was;

        one_node(&w);
        h = headroom_of(w.core, 1, 0);
        was = h->most_ms;
        for (uint32_t k = 0; k < 4; k++) {
            if (hours[i].met[k] > 0.0f)
                h->met[(uint32_t)(hours[i].met[k] / HEADROOM_BIN + 0.5f)]++;
            if (hours[i].missed[k] > 0.0f)
                h->missed[(uint32_t)(hours[i].missed[k] / HEADROOM_BIN + 0.5f)]++;
        }
        h->hour_most_ms = was;
        w.now_ns += HEADROOM_HOUR_NS;
        pass(&w, 62000);
        v = view_of(&w, 1, 0);
        CHECK(is_near(v.checked.error_part, hours[i].error_part), hours[i].label);
        CHECK(is_near(v.checked.held_s / (1000.0f * was), hours[i].held) &&
                  is_near(v.checked.broke_s / (1000.0f * was), hours[i].broke),
              "between which loads");
        CHECK(isnan(hours[i].error_part) ? v.correction == 1.0f
                                         : (v.correction - 1.0f) * hours[i].error_part <= 0.0f &&
                                               v.correction >= HEADROOM_CORRECTION_MIN &&
                                               v.correction <= HEADROOM_CORRECTION_MAX,
              "what is learned goes against the error, within bounds");
        world_close(&w);
    }
}

int
main(void)
{
    test_limits();
    test_others();
    test_cells();
    test_parts();
    test_goals();
    test_silent();
    test_pace();
    test_check();
    test_windows();
    test_hours();
    return tap_done();
}

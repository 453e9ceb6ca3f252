/* learn_test - synthetic truths in virtual time: predictions must come to fit them.
 *
 * One request at a time, so that a first token is the way there and back, a prefill alone and one
 * step. What is compared with a prediction is the truth without its noise. */
#include "core/learn.h"

#include "base/fmath.h"
#include "base/rng.h"
#include "tap.h"
#include "world.h"

#define RTT_MS 10.0f

static const struct curve truth = {6.0f, 0.09f, 3e-6f, 12.0f, 0.125f, 0.0044f};

struct lab {
    struct world w;
    struct rng rng;
    uint64_t next_id;
    float noise;             /* sigma of ln */
    float factor[4];         /* of each node on the truth */
    float wait_part;         /* of requests, those that wait for what no news tells */
    uint32_t cached_percent; /* of a prompt, in the engine's cache */
    bool accounts;           /* the engine tells its own timings */
    bool whole;              /* answers come at once */
};

struct result {
    uint32_t node;
    float expected_ms, predicted_ms; /* first token */
};

static void
lab_curve(struct lab *lab, float prefill, float decode, bool guess)
{
    struct event e = {.kind = EVENT_CURVE};

    e.curve.curve = (struct curve){prefill * truth.a_ms, prefill * truth.b_ms,
                                   prefill * truth.c_ms, decode * truth.t0_ms,
                                   decode * truth.tk_ms, decode * truth.tb_ms};
    e.curve.guess = guess;
    world_step(&lab->w, e);
}

static void
lab_open(struct lab *lab, uint32_t nodes, float noise, uint64_t seed)
{
    *lab = (struct lab){.next_id = 1, .noise = noise, .factor = {1.0f, 1.0f, 1.0f, 1.0f}};
    world_open(&lab->w, 4, RULE_ROUND_ROBIN, seed);
    rng_init(&lab->rng, seed);
    for (uint32_t node = 0; node < nodes; node++) {
        world_node(&lab->w, node, 0, RTT_MS, 0, MODEL_READY);
        world_report(&lab->w, node, 0.0f, 0.0f);
    }
}

static float
noise(struct lab *lab, float sigma)
{
    return (float)fmath_exp((double)sigma * rng_normal(&lab->rng));
}

/* One request of so many tokens, to its end. */
static struct result
lab_request(struct lab *lab, uint32_t tokens, uint32_t tenant, uint32_t output_tokens)
{
    struct world *w = &lab->w;
    uint64_t id = lab->next_id++;
    struct event e = {.kind = EVENT_ARRIVED};
    struct result result;
    uint32_t cached = tokens * lab->cached_percent / 100;
    float u = (float)(tokens - cached), prefill_ms, step_ms, factor, first_ms, decode_ms;

    e.arrived = (struct event_arrived){.request = id,
                                       .tenant = (uint16_t)tenant,
                                       .prompt_bytes = (uint32_t)(4.2f * (float)tokens),
                                       .other_model = MODEL_NONE,
                                       .stream = !lab->whole,
                                       .deadline_ms = NAN,
                                       .tpot_goal_ms = NAN,
                                       .only_node = NODE_ANY};
    world_step(w, e);
    must(w->actions.count == 1 && w->actions.list[0].kind == ACTION_DISPATCH);
    result.node = w->actions.list[0].dispatch.node;
    result.predicted_ms = w->actions.list[0].dispatch.first_ms;
    factor = lab->factor[result.node];
    prefill_ms = factor *
                 (truth.a_ms + truth.b_ms * u + truth.c_ms * u * ((float)cached + 0.5f * u));
    step_ms = factor * (truth.t0_ms + truth.tk_ms * 0.001f * (float)tokens + truth.tb_ms);
    result.expected_ms = RTT_MS + prefill_ms + step_ms;
    first_ms = (prefill_ms + step_ms) * noise(lab, lab->noise);
    if (rng_unit(&lab->rng) < (double)lab->wait_part)
        first_ms += 300.0f;
    decode_ms = (float)(output_tokens - 1) * step_ms * noise(lab, 0.5f * lab->noise);
    e = (struct event){.kind = EVENT_DISPATCHED, .dispatched = {.request = id, .attempt = 1}};
    world_step(w, e);
    w->now_ns += (uint64_t)((double)(RTT_MS + first_ms) * 1e6);
    if (!lab->whole)
        world_started(w, id, 1);
    w->now_ns += (uint64_t)((double)decode_ms * 1e6);
    e = (struct event){.kind = EVENT_ENDED};
    e.ended = (struct event_ended){.request = id,
                                   .attempt = 1,
                                   .prompt_tokens = tokens,
                                   .cached_tokens = cached,
                                   .output_tokens = output_tokens,
                                   .engine_prefill_ms = lab->accounts ? prefill_ms : NAN,
                                   .engine_decode_ms = lab->accounts ? decode_ms : NAN};
    world_step(w, e);
    world_report(w, result.node, 0.0f, 0.0f);
    w->now_ns += 20 * WORLD_MS;
    world_step(w, (struct event){.kind = EVENT_TICK});
    return result;
}

static uint32_t
some_tokens(struct lab *lab)
{
    return 100u + (uint32_t)rng_below(&lab->rng, 3900);
}

/* Mean |prediction/truth - 1| over n requests, in percent. */
static float
lab_error(struct lab *lab, uint32_t n)
{
    float sum = 0.0f;

    for (uint32_t i = 0; i < n; i++) {
        struct result r = lab_request(lab, some_tokens(lab), 0, 40);
        sum += fabsf(r.predicted_ms / r.expected_ms - 1.0f);
    }
    return 100.0f * sum / (float)n;
}

static struct node_view
lab_view(const struct lab *lab, uint32_t node)
{
    struct node_view views[CORE_VIEW_MAX];
    uint32_t next;

    must(core_view_nodes(lab->w.core, lab->w.now_ns, node, views, &next) >= 1);
    return views[0];
}

/* ---- Curves. */

static const struct {
    const char *label;
    float prefill, decode; /* the prior over the truth */
    bool guess, whole;
    float wait_part;
    float percent; /* the error that may be left after 150 requests */
} priors[] = {
    {"a right prior stays right", 1.0f, 1.0f, false, false, 0.0f, 3.0f},
    {"1.5 times too slow", 1.5f, 1.5f, false, false, 0.0f, 3.0f},
    {"0.6 of the truth", 0.6f, 0.6f, false, false, 0.0f, 3.0f},
    {"prefill too slow, decode too fast", 1.6f, 0.6f, false, false, 0.0f, 3.5f},
    {"prefill too fast, decode too slow", 0.6f, 1.6f, false, false, 0.0f, 3.5f},
    {"far off", 4.0f, 0.3f, false, false, 0.0f, 5.0f},
    {"nothing known, ten times too slow", 10.0f, 10.0f, true, false, 0.0f, 4.0f},
    {"nothing known, and one in six waits", 5.0f, 0.5f, true, false, 0.17f, 12.0f},
    {"whole answers", 1.5f, 1.5f, false, true, 0.0f, 6.0f},
};

static void
test_priors(void)
{
    for (size_t i = 0; i < sizeof(priors) / sizeof(priors[0]); i++) {
        struct lab lab;
        float before, after;

        lab_open(&lab, 2, 0.08f, 7 + i);
        lab_curve(&lab, priors[i].prefill, priors[i].decode, priors[i].guess);
        lab.whole = priors[i].whole;
        lab.wait_part = priors[i].wait_part;
        before = lab_error(&lab, 3);
        (void)lab_error(&lab, 147);
        after = lab_error(&lab, 100);
        printf("# %s: %.1f %% -> %.1f %%\n", priors[i].label, (double)before, (double)after);
        CHECK(after < priors[i].percent, priors[i].label);
        world_node(&lab.w, 2, 0, RTT_MS, 0, MODEL_READY); /* and a node nobody knows */
        world_report(&lab.w, 2, 0.0f, 0.0f);
        for (;;) {
            struct result r = lab_request(&lab, 6000, 0, 40);
            if (r.node != 2)
                continue;
            printf("# a new node: %.1f of %.1f ms\n", (double)r.predicted_ms,
                   (double)r.expected_ms);
            CHECK(fabsf(r.predicted_ms / r.expected_ms - 1.0f) < 0.01f * priors[i].percent + 0.05f,
                  "a new node of the class begins where its class is, at a size not yet seen");
            break;
        }
        world_close(&lab.w);
    }
}

/* Nodes of one class apart from each other: each has its factor, the class the middle. */
static void
test_nodes_apart(void)
{
    struct lab lab;

    lab_open(&lab, 4, 0.1f, 3);
    lab_curve(&lab, 1.4f, 1.4f, false);
    lab.factor[0] = 0.8f;
    lab.factor[1] = 1.25f;
    (void)lab_error(&lab, 300);
    CHECK(lab_error(&lab, 100) < 5.0f, "each node is predicted by its own speed");
    CHECK(lab_view(&lab, 0).residual < 0.9f && lab_view(&lab, 1).residual > 1.1f &&
              fabsf(lab_view(&lab, 2).residual - 1.0f) < 0.1f,
          "the factors are apart, around the class's curve");
    world_close(&lab.w);
}

/* The engine's own account is clean where first tokens are not. */
static void
test_accounts(void)
{
    float percent[2];

    for (int accounts = 0; accounts < 2; accounts++) {
        struct lab lab;
        const struct class_curve *cc;
        lab_open(&lab, 2, 0.5f, 11);
        lab_curve(&lab, 1.8f, 1.0f, false);
        lab.accounts = accounts == 1;
        (void)lab_error(&lab, 100);
        cc = &lab.w.core->curves[0];
        percent[accounts] = 100.0f * fabsf(cc->curve.b_ms / truth.b_ms - 1.0f);
        world_close(&lab.w);
    }
    printf("# price of a token off by %.1f %% without, %.1f %% with the engine's account\n",
           (double)percent[0], (double)percent[1]);
    CHECK(percent[1] < 8.0f && percent[1] < percent[0], "an engine's timings teach its curve");
}

/* Three quarters of each prompt are in the engine's cache, and nobody could know. */
static void
test_cached(void)
{
    struct lab lab;

    lab_open(&lab, 1, 0.08f, 5);
    lab_curve(&lab, 1.0f, 1.0f, false);
    lab.cached_percent = 75;
    (void)lab_error(&lab, 200);
    CHECK(fabsf(lab_view(&lab, 0).residual - 1.0f) < 0.06f,
          "what was cached does not make the node look fast");
    CHECK(fabsf(lab.w.core->curves[0].curve.b_ms / truth.b_ms - 1.0f) < 0.15f,
          "nor the price of a token low");
    world_close(&lab.w);
}

/* ---- Changes. */

static const struct {
    const char *label;
    float noise, factor;
    uint32_t most; /* requests until it is found */
} changes[] = {
    {"twice as slow, 8 % noise", 0.08f, 2.0f, 10},
    {"twice as slow, 20 % noise", 0.20f, 2.0f, 14},
    {"twice as fast, 8 % noise", 0.08f, 0.5f, 10},
    {"three times as slow, 20 % noise", 0.20f, 3.0f, 12},
};

static void
test_changes(void)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct lab lab;
        uint32_t found = 0;
        float spread;

        lab_open(&lab, 1, changes[i].noise, 40 + i);
        lab_curve(&lab, 1.0f, 1.0f, false);
        (void)lab_error(&lab, 200);
        CHECK(lab_view(&lab, 0).changes == 0 && isnan(lab_view(&lab, 0).changed_ago_ms),
              "nothing changed yet");
        spread = lab_view(&lab, 0).spread;
        lab.factor[0] = changes[i].factor;
        while (found < 50 && lab_view(&lab, 0).changes == 0) {
            (void)lab_error(&lab, 1);
            found++;
        }
        printf("# %s: found after %u\n", changes[i].label, found);
        CHECK(found <= changes[i].most, changes[i].label);
        CHECK(lab_view(&lab, 0).spread > 1.2f * spread, "the prediction is less sure of itself");
        CHECK(lab_view(&lab, 0).changed_ago_ms < 1000.0f, "and it is told");
        (void)lab_error(&lab, 10);
        CHECK(lab_error(&lab, 20) < 100.0f * changes[i].noise + 5.0f, "and soon right again");
        world_close(&lab.w);
    }
}

static void
test_false_alarms(void)
{
    static const float noises[] = {0.08f, 0.12f, 0.2f};

    for (size_t i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
        struct lab lab;

        lab_open(&lab, 1, noises[i], 60 + i);
        lab_curve(&lab, 1.0f, 1.0f, false);
        (void)lab_error(&lab, 40000);
        printf("# noise %.2f: %u alarms in 40000\n", (double)noises[i], lab_view(&lab, 0).changes);
        CHECK(lab_view(&lab, 0).changes < 4, "less than one false alarm in 10,000");
        world_close(&lab.w);
    }
}

int
main(void)
{
    test_priors();
    test_nodes_apart();
    test_accounts();
    test_cached();
    test_changes();
    test_false_alarms();
    return tap_done();
}

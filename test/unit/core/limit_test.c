/* limit_test - what a node may have in flight: its slots, its KV, and a limit in tokens that
 * follows how it does. */
#include "core/limit.h"

#include "tap.h"
#include "world.h"

#define CAP 100000.0f /* tokens of KV */

/* One node of which all is known; placement 0. */
static void
world_one(struct world *w, uint32_t slots, float kv_tokens_cap)
{
    world_open(w, 2, RULE_TIME, 1);
    world_node(w, 0, 0, 5.0f, 0, MODEL_READY);
    w->core->hot[0].slots = (uint16_t)slots;
    w->core->hot[0].kv_tokens_cap = kv_tokens_cap;
    w->core->hot[0].report_ns = w->now_ns;
}

static void
test_room(void)
{
    static const struct {
        const char *label;
        uint32_t slots, own;
        float cap, others, own_kv, need, part, news_age_ms;
        bool want;
    } rows[] = {
        {"an idle node takes whatever comes", 1, 0, 1000, 0, 0, 9000, 1.0f, 0, true},
        {"all slots taken: one may wait", 4, 4, 0, 0, 0, 1, 1.0f, 0, true},
        {"but not two", 4, 5, 0, 0, 0, 1, 1.0f, 0, false},
        {"others count", 4, 1, 0, 4, 0, 1, 1.0f, 0, false},
        {"not by old news", 4, 1, 0, 4, 0, 1, 1.0f, 20000, true},
        {"an eighth of many slots may wait", 256, 287, 0, 0, 0, 1, 1.0f, 0, true},
        {"and no more", 256, 288, 0, 0, 0, 1, 1.0f, 0, false},
        {"slots unknown", 0, 5000, 0, 0, 0, 1, 1.0f, 0, true},
        {"room for KV", 0, 1, CAP, 0, 50000, 59000, 1.0f, 0, true},
        {"none", 0, 1, CAP, 0, 50000, 61000, 1.0f, 0, false},
        {"a part of it is kept free", 0, 1, CAP, 0, 50000, 40000, 0.8f, 0, false},
        {"and of the slots", 4, 4, 0, 0, 0, 1, 0.8f, 0, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        struct node_hot *hot;
        world_one(&w, rows[i].slots, rows[i].cap);
        hot = &w.core->hot[0];
        hot->own_requests = (uint16_t)rows[i].own;
        hot->own_kv_tokens = rows[i].own_kv;
        hot->others_requests = rows[i].others;
        w.now_ns += (uint64_t)rows[i].news_age_ms * WORLD_MS;
        CHECK(limit_room(w.core, w.now_ns, 0, rows[i].need, rows[i].part) == rows[i].want,
              rows[i].label);
        world_close(&w);
    }
}

/* `count` outcomes at a node that holds so many tokens, each so many times as long as predicted. */
static float
outcomes(struct world *w, uint32_t count, float slowdown, float in_flight_tokens)
{
    struct request r = {.prompt_tokens = 500, .output_tokens = 100};
    struct attempt a = {.node = 0, .first_ms = 100.0f};

    r.arrived.stream = 1;
    w->core->hot[0].own_requests = 1;
    w->core->hot[0].own_kv_tokens = in_flight_tokens;
    w->core->now_ns = w->now_ns;
    a.dispatched_ns = w->now_ns - (uint64_t)((double)slowdown * 100e6);
    for (uint32_t i = 0; i < count; i++)
        limit_started(w->core, &r, &a);
    return w->core->cold[0].limit_tokens;
}

static void
test_gradient(void)
{
    struct world w;
    float limit;

    world_one(&w, 0, CAP);
    CHECK(!limit_reached(w.core, 0), "at the start there is no limit but the room");
    limit = outcomes(&w, 50, 1.0f, 80000.0f);
    CHECK(limit > CAP, "a node that does as predicted keeps all of it");
    CHECK(!limit_reached(w.core, 0), "and is not at it");
    limit = outcomes(&w, 6, 8.0f, 80000.0f);
    CHECK(limit < 80000.0f, "one that is much slower than it was loses");
    CHECK(limit_reached(w.core, 0), "until what it has is too much");
    CHECK(outcomes(&w, 20, 8.0f, 10000.0f) == limit, "far below its limit it shows nothing");
    limit = outcomes(&w, 200, 100.0f, 80000.0f);
    CHECK(limit >= LIMIT_TOKENS_MIN, "a limit has a floor");
    outcomes(&w, 400, 1.0f, 80000.0f);
    CHECK(outcomes(&w, 400, 1.0f, 80000.0f) > 80000.0f, "and it comes back");
    world_close(&w);
}

static void
test_busy(void)
{
    struct world w;

    world_one(&w, 0, CAP);
    outcomes(&w, 1, 1.0f, 60000.0f);
    limit_busy(w.core, 0);
    CHECK(w.core->cold[0].limit_tokens < 60000.0f, "429: less than it had");
    CHECK(limit_reached(w.core, 0), "so it is at its limit");
    for (int i = 0; i < 100; i++)
        limit_busy(w.core, 0);
    w.core->hot[0].own_kv_tokens = 1.0f;
    limit_busy(w.core, 0);
    CHECK(w.core->cold[0].limit_tokens == LIMIT_TOKENS_MIN, "never below one full prompt");
    world_close(&w);
}

int
main(void)
{
    test_room();
    test_gradient();
    test_busy();
    return tap_done();
}

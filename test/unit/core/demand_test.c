/* demand: rates and trend in virtual time, as tables; news of other regions; what a view says. */
#include "tap.h"
#include "world.h"

#define SECOND (1000 * WORLD_MS)

/* So many requests for model 0, evenly over so many seconds; each ends after a moment. */
static void
ask(struct world *w, uint32_t count, uint32_t seconds)
{
    static uint64_t id;

    for (uint32_t i = 0; i < count; i++) {
        world_arrive(w, ++id, 0);
        w->now_ns += (uint64_t)seconds * SECOND / count;
        world_started(w, id, 1);
        world_ended(w, id, 1, 100);
    }
    if (count == 0)
        w->now_ns += (uint64_t)seconds * SECOND;
}

static struct demand_view
view_of(const struct world *w, uint16_t model, uint16_t region)
{
    struct demand_view views[CORE_VIEW_MAX], none = {.all.requests_s = NAN};
    uint32_t from = 0;

    while (from != UINT32_MAX) {
        uint32_t count = core_view_demand(w->core, w->now_ns, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (views[i].model == model && views[i].region == region)
                return views[i];
        }
    }
    return none;
}

/* A row: phases of requests and seconds; then what is in these ranges. */
static const struct {
    const char *label;
    struct {
        uint32_t requests, seconds;
    } phases[3];
    float now_low, now_high, usual_low, usual_high, ahead_low, ahead_high;
} rows[] = {
    {"one request is no flood", {{1, 1}}, 0.01f, 0.1f, 0.01f, 0.1f, 0.01f, 0.1f},
    {"even: all three agree", {{600, 300}}, 1.9f, 2.1f, 1.9f, 2.1f, 1.9f, 2.3f},
    {"a burst: now, not usual", {{600, 600}, {300, 30}}, 6.0f, 8.0f, 1.2f, 2.0f, 6.0f, 14.0f},
    {"it is over", {{600, 600}, {300, 30}, {120, 120}}, 0.9f, 1.6f, 1.0f, 2.0f, 0.9f, 2.0f},
    {"a ramp: more is to come",
     {{60, 60}, {120, 60}, {240, 60}},
     3.0f,
     4.2f,
     2.0f,
     3.0f,
     4.0f,
     7.0f},
    {"nothing any more: it fades", {{600, 300}, {0, 300}}, 0.0f, 0.001f, 0.7f, 0.8f, 0.7f, 0.8f},
    {"nor does it come back", {{600, 300}, {0, 36000}}, 0.0f, 0.001f, 0.0f, 0.001f, 0.0f, 0.001f},
};

static void
test_rates(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        struct demand_view v;

        world_open(&w, 2, RULE_TIME, 1);
        world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
        for (size_t k = 0; k < 3 && rows[i].phases[k].seconds > 0; k++)
            ask(&w, rows[i].phases[k].requests, rows[i].phases[k].seconds);
        v = view_of(&w, 0, 0);
        CHECK(v.all.requests_s >= rows[i].now_low && v.all.requests_s <= rows[i].now_high,
              rows[i].label);
        CHECK(v.all.usual_requests_s >= rows[i].usual_low &&
                  v.all.usual_requests_s <= rows[i].usual_high,
              rows[i].label);
        CHECK(v.all.ahead_requests_s >= rows[i].ahead_low &&
                  v.all.ahead_requests_s <= rows[i].ahead_high,
              rows[i].label);
        world_close(&w);
    }
}

static void
test_tokens(void)
{
    struct world w;
    struct demand_view v;

    world_open(&w, 2, RULE_TIME, 1);
    CHECK(isnan(view_of(&w, 0, 0).all.requests_s), "nobody asked: no row");
    world_arrive(&w, 900000, 1);
    CHECK(view_of(&w, 1, 0).all.requests_s > 0.0f, "who is refused wanted an answer too");
    world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
    ask(&w, 600, 300);
    v = view_of(&w, 0, 0);
    CHECK(v.all.output_tok_s > 190.0f && v.all.output_tok_s < 210.0f, "100 output tokens each");
    CHECK(v.all.prompt_tok_s > 300.0f * v.all.requests_s,
          "prompts are estimated as for the decision");
    CHECK(v.told.requests_s == 0.0f, "counted here");
    world_close(&w);
}

static void
test_told(void)
{
    struct world w;
    struct event e = {.kind = EVENT_DEMAND,
                      .demand = {.model = 2,
                                 .region = 5,
                                 .requests_s = 3.0f,
                                 .prompt_tok_s = 1000.0f,
                                 .output_tok_s = NAN,
                                 .usual_requests_s = 2.0f,
                                 .ahead_requests_s = 4.0f}};
    struct demand_view v;

    world_open(&w, 2, RULE_TIME, 1);
    world_step(&w, e);
    v = view_of(&w, 2, 5);
    CHECK(v.all.requests_s == 3.0f && v.all.usual_requests_s == 2.0f &&
              v.all.output_tok_s == 0.0f && v.told.requests_s == 3.0f,
          "as it was told, and no number is none");
    CHECK(v.all.ahead_requests_s == 4.0f && v.trend_requests_s_min == 1.0f, "and where it goes");
    w.now_ns += 1800 * SECOND;
    CHECK(view_of(&w, 2, 5).all.requests_s < 0.2f, "who says no more is forgotten");
    e.demand = (struct event_demand){.model = 4, .region = 7};
    world_step(&w, e);
    e.demand = (struct event_demand){.model = 0, .region = 8};
    world_step(&w, e);
    e.demand = (struct event_demand){.model = 0, .region = 7, .requests_s = INFINITY};
    world_step(&w, e);
    CHECK(isfinite(view_of(&w, 0, 7).all.requests_s), "what does not exist does nothing");
    world_close(&w);
}

/* Gateways of one region: what they count is added to what is counted here. */
static void
test_told_beside(void)
{
    struct world w;
    struct event e = {
        .kind = EVENT_DEMAND,
        .demand = {.requests_s = 3.0f, .usual_requests_s = 2.5f, .ahead_requests_s = 5.0f}};
    struct demand_view alone, both;

    world_open(&w, 2, RULE_TIME, 1);
    e.demand.model = 1;
    world_step(&w, e);
    CHECK(view_of(&w, 1, 0).all.requests_s == 3.0f, "nobody asks here, somebody asks there");
    world_node(&w, 0, 0, 1.0f, 0, MODEL_READY);
    ask(&w, 600, 300);
    alone = view_of(&w, 0, 0);
    e.demand.model = 0;
    world_step(&w, e);
    both = view_of(&w, 0, 0);
    CHECK(both.told.requests_s == 3.0f && both.told.usual_requests_s == 2.5f, "told apart");
    CHECK(fabsf(both.all.requests_s - alone.all.requests_s - 3.0f) < 0.01f &&
              fabsf(both.all.usual_requests_s - alone.all.usual_requests_s - 2.5f) < 0.01f &&
              fabsf(both.all.ahead_requests_s - alone.all.ahead_requests_s - 5.0f) < 0.01f,
          "and added");
    e.demand.requests_s = e.demand.usual_requests_s = e.demand.ahead_requests_s = 1.0f;
    world_step(&w, e);
    CHECK(view_of(&w, 0, 0).told.requests_s == 1.0f, "the last that was told counts");
    w.now_ns += 1800 * SECOND;
    CHECK(view_of(&w, 0, 0).told.requests_s < 0.1f, "and fades");
    world_close(&w);
}

int
main(void)
{
    test_rates();
    test_tokens();
    test_told();
    test_told_beside();
    return tap_done();
}

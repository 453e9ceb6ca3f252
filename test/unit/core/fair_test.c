/* fair_test - who goes next: classes, their starvation bound, tenants by tokens, expiry; and that
 * any number of comings and goings leaves the books straight. */
#include "core/fair.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/rng.h"
#include "tap.h"

#define HOLDS 256u

static struct fair fair;
static void *memory;

static void
open_fair(void)
{
    struct core_config c = {.models_max = 4, .holds_max = HOLDS};

    memory = calloc(1, fair_bytes(&c));
    must(memory != NULL);
    memset(&fair, 0, sizeof(fair));
    fair_init(&fair, &c, memory);
}

/* Let the next of the model go, for so many tokens; returns its request. */
static uint32_t
serve(uint32_t model, uint64_t tokens)
{
    uint32_t hold = fair_next(&fair, model), request;
    const struct fair_flow *flow;
    struct fair_who who;

    if (hold == FAIR_NONE)
        return FAIR_NONE;
    flow = &fair.flows[fair.holds[hold].flow];
    who = (struct fair_who){flow->model, flow->class, flow->tenant};
    request = fair.holds[hold].request;
    fair_take(&fair, hold);
    fair_admitted(&fair, who, tokens);
    return request;
}

/* Rows are held in this order; `want` is when each goes. All of model 1. */
static void
test_order(void)
{
    static const struct {
        const char *label;
        struct {
            uint16_t class, tenant;
            uint64_t expiry_ns, tokens;
            uint32_t want;
        } holds[6];
        uint32_t count;
    } rows[] = {
        {"the earliest expiry first",
         {{1, 0, 300, 10, 2}, {1, 0, 100, 10, 0}, {1, 0, 200, 10, 1}},
         3},
        {"a higher class first, whatever the expiry",
         {{2, 0, 1, 10, 2}, {1, 0, 2, 10, 1}, {0, 0, 3, 10, 0}},
         3},
        {"tenants take turns by tokens",
         {{1, 7, 1, 100, 0},
          {1, 7, 2, 100, 4},
          {1, 8, 10, 40, 1},
          {1, 8, 11, 40, 2},
          {1, 8, 12, 40, 3}},
         5},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = true;
        open_fair();
        for (uint32_t k = 0; k < rows[i].count; k++)
            fair_put(&fair, k,
                     (struct fair_who){1, rows[i].holds[k].class, rows[i].holds[k].tenant},
                     rows[i].holds[k].expiry_ns);
        for (uint32_t turn = 0; turn < rows[i].count; turn++) {
            uint32_t hold = fair_next(&fair, 1), k = fair.holds[hold].request;
            good = good && rows[i].holds[k].want == turn;
            serve(1, rows[i].holds[k].tokens);
        }
        CHECK(good, rows[i].label);
        CHECK(fair.held == 0 && fair_next(&fair, 1) == FAIR_NONE, "and then nobody");
        free(memory);
    }
}

/* A flood of a higher class: each FAIR_PASSED_MAX of it let one of a lower one through. */
static void
test_starvation(void)
{
    uint32_t over[PRIORITIES_MAX] = {0}, longest[PRIORITIES_MAX] = {0}, next = 100;

    open_fair();
    for (uint32_t i = 0; i < 8; i++) {
        fair_put(&fair, i, (struct fair_who){0, 2, 1}, 1000 + i);
        fair_put(&fair, 50 + i, (struct fair_who){0, 1, 1}, 1000 + i);
    }
    for (uint32_t i = 0; i < 4; i++)
        fair_put(&fair, next++, (struct fair_who){0, 0, 2}, i);
    for (uint32_t turn = 0; turn < 140; turn++) {
        uint32_t request = serve(0, 10), class = request < 50 ? 2 : request < 100 ? 1 : 0;
        fair_put(&fair, class == 0 ? next++ : request, (struct fair_who){0, (uint16_t) class, 1},
                 2000 + turn);
        for (uint32_t c = 0; c < PRIORITIES_MAX; c++)
            over[c] = c == class ? 0 : over[c] + 1;
        for (uint32_t c = 0; c < PRIORITIES_MAX; c++)
            longest[c] = over[c] > longest[c] ? over[c] : longest[c];
    }
    CHECK(longest[0] <= 2, "the highest waits for nobody but those whose turn is overdue");
    CHECK(longest[2] <= FAIR_PASSED_MAX, "the lowest is never passed over more often than that");
    CHECK(longest[1] <= FAIR_PASSED_MAX + 1, "nor the middle one, but for the lowest");
    free(memory);
    open_fair();
    fair_put(&fair, 1, (struct fair_who){0, 2, 0}, 1);
    for (uint32_t i = 0; i < FAIR_PASSED_MAX; i++) {
        CHECK(!fair_waits(&fair, 0, 0), "who comes with room for it need not wait");
        fair_admitted(&fair, (struct fair_who){0, 0, 0}, 10);
    }
    CHECK(fair_waits(&fair, 0, 0), "unless it went over the head of another too often");
    free(memory);
}

static uint64_t
tokens_of(uint16_t tenant)
{
    return fair.tokens[(size_t)(0 * PRIORITIES_MAX + 1) * TENANTS_MAX + tenant];
}

/* Saving up is not possible, and prompts and outputs both count. */
static void
test_accounts(void)
{
    const struct fair_who busy = {0, 1, 5}, rested = {0, 1, 6};
    uint32_t turns[2] = {0};

    open_fair();
    for (uint32_t i = 0; i < 100; i++)
        fair_admitted(&fair, busy, 1000);
    fair_ended(&fair, busy, 50);
    CHECK(tokens_of(5) == 100 * 1000 + 100, "a prompt by its tokens, an output twice");
    for (uint32_t i = 0; i < 40; i++) {
        fair_put(&fair, i, busy, i);
        fair_put(&fair, 100 + i, rested, i);
    }
    for (uint32_t i = 0; i < 40; i++)
        turns[serve(0, 1000) >= 100]++;
    CHECK(turns[0] >= 18 && turns[1] >= 18, "who rested has no claim on the past");
    free(memory);
}

static void
test_models(void)
{
    open_fair();
    CHECK(fair_model_from(&fair, 0) == FAIR_NONE, "nothing is held");
    fair_put(&fair, 1, (struct fair_who){1, 1, 0}, 5);
    fair_put(&fair, 2, (struct fair_who){3, 0, 0}, 3);
    CHECK(fair_model_from(&fair, 0) == 1 && fair_model_from(&fair, 2) == 3 &&
              fair_model_from(&fair, 3) == 3,
          "the next model with any");
    fair_take(&fair, fair_next(&fair, 3));
    CHECK(fair_model_from(&fair, 2) == 1, "around");
    CHECK(fair.holds[fair_earliest(&fair)].request == 1, "the earliest of all");
    free(memory);
}

/* Thousands come, go and leave in any order; nothing is lost. */
static void
test_books(void)
{
    uint32_t holds[HOLDS], count = 0;
    bool good = true;
    struct rng rng;

    open_fair();
    rng_init(&rng, 3);
    for (uint32_t step = 0; step < 50000; step++) {
        if (count < HOLDS && (count == 0 || rng_below(&rng, 2) == 0)) {
            struct fair_who who = {(uint16_t)rng_below(&rng, 4), (uint16_t)rng_below(&rng, 3),
                                   (uint16_t)rng_below(&rng, 20)};
            holds[count++] = fair_put(&fair, step, who, rng_below(&rng, 1000));
        } else if (rng_below(&rng, 2) == 0) {
            uint32_t k = (uint32_t)rng_below(&rng, count);
            fair_take(&fair, holds[k]);
            holds[k] = holds[--count];
        } else {
            uint32_t model = fair_model_from(&fair, (uint32_t)rng_below(&rng, 4));
            uint32_t hold = fair_next(&fair, model), k = 0;
            const struct fair_flow *flow = &fair.flows[fair.holds[hold].flow];
            good = good && flow->model == model && flow->count > 0;
            while (k < count && holds[k] != hold)
                k++;
            good = good && k < count;
            serve(model, rng_below(&rng, 500));
            holds[k] = holds[--count];
        }
        good = good && fair.held == count;
    }
    CHECK(good, "who is next is held, and as many as were put and not taken");
    while (count > 0)
        fair_take(&fair, holds[--count]);
    for (uint32_t i = 0; i < HOLDS; i++)
        holds[i] = fair_put(&fair, i, (struct fair_who){0, 1, (uint16_t)i}, i);
    CHECK(fair.held == HOLDS && fair_ahead(&fair, 0, 0) == 0 && fair_ahead(&fair, 0, 1) == HOLDS,
          "all places are there again, each for another tenant");
    free(memory);
}

int
main(void)
{
    test_order();
    test_starvation();
    test_accounts();
    test_models();
    test_books();
    return tap_done();
}

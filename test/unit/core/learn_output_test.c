/* learn_output_test - lengths: tenants apart, limits, bounded memory, changes. */
#include "core/learn_output.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "tap.h"

#define MODELS 2u
#define SETS   16u

static struct sketch models[MODELS * (1 + OUTPUT_SIZES)], tenants[SETS * OUTPUT_WAYS];
static struct sketch_tags tags[SETS];

static struct output_tables
open_tables(void)
{
    struct output_tables t = {models, tenants, tags, SETS - 1};

    memset(models, 0, sizeof(models));
    memset(tenants, 0, sizeof(tenants));
    memset(tags, 0, sizeof(tags));
    learn_output_init(&t, MODELS);
    return t;
}

static void
add_many(struct output_tables *t, uint32_t tenant, float prompt_tokens, uint32_t tokens, int times)
{
    while (times-- > 0)
        learn_output_add(t, tenant, 0, prompt_tokens, tokens);
}

static void
test_levels(void)
{
    struct output_tables t = open_tables();

    CHECK(learn_output_expect(&t, 1, 0, 500.0f, 0) == 200.0f, "a guess before anything is known");
    for (int i = 0; i < 100; i++) {
        learn_output_add(&t, 1, 0, 500.0f, 50);
        learn_output_add(&t, 2, 0, 500.0f, 1000);
        learn_output_add(&t, 2, 0, 5000.0f, 300);
    }
    CHECK(fabsf(learn_output_expect(&t, 1, 0, 500.0f, 0) / 50.0f - 1.0f) < 0.25f,
          "a tenant of short answers");
    CHECK(fabsf(learn_output_expect(&t, 2, 0, 500.0f, 0) / 1000.0f - 1.0f) < 0.1f,
          "and one of long ones, apart");
    CHECK(fabsf(learn_output_expect(&t, 2, 0, 5000.0f, 0) / 300.0f - 1.0f) < 0.1f,
          "whose answers to long prompts are shorter");
    CHECK(fabsf(learn_output_expect(&t, 3, 0, 500.0f, 0) / 525.0f - 1.0f) < 0.1f,
          "a new tenant is as the others with such prompts");
    CHECK(fabsf(learn_output_expect(&t, 3, 0, 50.0f, 0) / 450.0f - 1.0f) < 0.1f,
          "or with any, when nobody sent such");
    CHECK(learn_output_expect(&t, 3, 1, 500.0f, 0) == 200.0f, "another model knows nothing of it");
}

static void
test_limit(void)
{
    static const struct {
        const char *label;
        uint32_t max_tokens;
        float least, most;
    } rows[] = {
        {"a limit above all answers changes nothing", 4096, 500.0f, 580.0f},
        {"a limit between them cuts the long ones", 200, 110.0f, 150.0f},
        {"a limit below all is what is expected", 20, 20.0f, 20.0f},
        {"of one token", 1, 1.0f, 1.0f},
    };
    struct output_tables t = open_tables();

    for (int i = 0; i < 100; i++) {
        add_many(&t, 7, 500.0f, 60, 1);
        add_many(&t, 7, 500.0f, 1000, 1);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        float tokens = learn_output_expect(&t, 7, 0, 500.0f, rows[i].max_tokens);
        CHECK(tokens >= rows[i].least && tokens <= rows[i].most, rows[i].label);
    }
}

static void
test_drift(void)
{
    struct output_tables t = open_tables();

    add_many(&t, 7, 500.0f, 1000, 1000);
    add_many(&t, 7, 500.0f, 100, 400);
    CHECK(learn_output_expect(&t, 7, 0, 500.0f, 0) < 250.0f, "what was long ago fades");
    add_many(&t, 7, 500.0f, UINT32_MAX, 1000);
    CHECK(learn_output_expect(&t, 7, 0, 500.0f, 0) <= 1048576.0f, "an absurd length is cut");
    add_many(&t, 7, 500.0f, 1, 3000);
    CHECK(learn_output_expect(&t, 7, 0, 500.0f, 0) < 20.0f, "and forgotten");
}

/* A tenth of the answers are one tenant's, the rest come from a hundred thousand others. */
static void
test_hostile(void)
{
    struct output_tables t = open_tables();
    struct rng rng;
    float own;

    rng_init(&rng, 5);
    for (int i = 0; i < 200000; i++) {
        if (i % 10 == 0)
            learn_output_add(&t, 77, 0, 500.0f, 40);
        learn_output_add(&t, 100 + (uint32_t)rng_below(&rng, 100000), 0, 500.0f, 3000);
    }
    own = learn_output_expect(&t, 77, 0, 500.0f, 0);
    CHECK(own < 300.0f, "a flood of tenants does not push out one that keeps sending");
    CHECK(learn_output_expect(&t, 999999, 0, 500.0f, 0) > 2000.0f, "and is known as what it is");
    add_many(&t, 78, 500.0f, 40, 600);
    CHECK(learn_output_expect(&t, 78, 0, 500.0f, 0) < 300.0f, "its places are free again soon");
}

int
main(void)
{
    test_levels();
    test_limit();
    test_drift();
    test_hostile();
    return tap_done();
}

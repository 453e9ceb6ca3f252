/* learn_output - sketches of lengths; see learn_output.h.
 *
 * Whose answer it is tells more about its length than anything else a gateway sees, and the size of
 * the prompt a little more. But most tenants send little: so an expectation goes from the finest
 * sketch to the coarsest, each counting n/(n + k) of what the finer ones left.
 *
 * A sketch is a histogram over half octaves, for the part of the answers that a limit cuts off, and
 * the mean itself. Counts are bytes: when their sum is full, all are halved, so the last hundred or
 * two outcomes count. Rounding goes up and down in turn: else what is rare would be lost, or stay
 * for ever.
 *
 * Tenants are others' to invent, so their table is bounded: a set of eight places by hash. A
 * newcomer takes a place that is not used, else it takes a little of the use of each (Misra and
 * Gries): whoever sends more than a ninth of a set's answers stays in it, whatever else comes. */
#include "core/learn_output.h"

#define TOTAL_MAX     255u
#define USE_MAX       63u  /* so many newcomers outlive a tenant that went */
#define SKETCH_SHRINK 2.0f /* lengths of one tenant differ about as much as those of two */
#define START_TOKENS  200.0f
#define START_COUNT   2u
#define SIZE_FIRST    6u /* log2 of the first size's end */

/* The middle of each half octave, 2^((i + 1/2) / 2). */
static const float length_tokens[OUTPUT_BUCKETS] = {
    1.18920712f, 1.68179283f, 2.37841424f, 3.36358566f, 4.75682848f, 6.72717132f, 9.51365696f,
    13.4543426f, 19.0273139f, 26.9086853f, 38.0546278f, 53.8173706f, 76.1092557f, 107.634741f,
    152.218511f, 215.269482f, 304.437023f, 430.538964f, 608.874045f, 861.077929f, 1217.74809f,
    1722.15586f, 2435.49618f, 3444.31172f, 4870.99236f, 6888.62343f, 9741.98473f, 13777.2469f,
    19483.9695f, 27554.4937f, 38967.9389f, 55108.9875f, 77935.8778f, 110217.975f, 155871.756f,
    220435.95f,  311743.511f, 440871.9f,   623487.023f, 881743.799f};

static uint32_t
length_bucket(uint32_t tokens)
{
    uint64_t square = (uint64_t)tokens * tokens; /* half octaves: log2 of the square */
    uint32_t bucket = tokens <= 1 ? 0 : 63u - (uint32_t)__builtin_clzll(square);

    return bucket < OUTPUT_BUCKETS ? bucket : OUTPUT_BUCKETS - 1;
}

static uint32_t
prompt_size(float prompt_tokens)
{
    uint32_t tokens = prompt_tokens < 1048576.0f ? (uint32_t)prompt_tokens : 1048576u;
    uint32_t log2 = 31u - (uint32_t)__builtin_clz(tokens | 1u);

    if (log2 < SIZE_FIRST)
        return 0;
    return log2 - SIZE_FIRST + 1 < OUTPUT_SIZES ? log2 - SIZE_FIRST + 1 : OUTPUT_SIZES - 1;
}

/* ---- One sketch. */

static void
sketch_fade(struct sketch *s)
{
    uint32_t total = 0;

    s->halved++;
    s->top = 0;
    for (uint32_t i = 0; i < OUTPUT_BUCKETS; i++) {
        s->count[i] = (uint8_t)((s->count[i] + ((i + s->halved) & 1u)) / 2u);
        total += s->count[i];
        if (s->count[i] > 0)
            s->top = (uint8_t)i;
    }
    s->total = (uint8_t)total;
}

static void
sketch_add(struct sketch *s, uint32_t tokens)
{
    uint32_t bucket = length_bucket(tokens);
    float x = tokens < 1048576u ? (float)tokens : 1048576.0f;

    if (s->total == TOTAL_MAX)
        sketch_fade(s);
    s->count[bucket]++;
    s->total++;
    s->mean += (x - s->mean) / (float)s->total;
    s->middle += (length_tokens[bucket] - s->middle) / (float)s->total;
    if (bucket > s->top)
        s->top = (uint8_t)bucket;
}

/* Mean of min(outcome, cap): the mean, less the part of it that lies above the cap. */
static float
sketch_expect(const struct sketch *s, float cap)
{
    float above = 0.0f, tokens;

    for (uint32_t i = s->top; length_tokens[i] > cap; i--) {
        above += (float)s->count[i] * (length_tokens[i] - cap);
        if (i == 0)
            break;
    }
    tokens = s->mean * (1.0f - above / ((float)s->total * s->middle));
    return tokens < 1.0f ? 1.0f : tokens > cap ? cap : tokens;
}

/* ---- The table of tenants. */

static uint32_t
sketch_key(uint32_t tenant, uint32_t model, uint32_t size)
{
    return (tenant * 256u + (model & 255u)) * 16u + size; /* < 2^28 */
}

static uint32_t
sketch_set(const struct output_tables *t, uint32_t key)
{
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->set_mask;
}

/* NULL: not in the table. */
static struct sketch *
sketch_find(const struct output_tables *t, uint32_t key, uint32_t *ret_way)
{
    uint32_t set = sketch_set(t, key);
    const struct sketch_tags *tags = &t->tags[set];

    for (uint32_t way = 0; way < OUTPUT_WAYS; way++) {
        if (tags->key[way] == key) {
            *ret_way = way;
            return &t->tenants[(size_t)set * OUTPUT_WAYS + way];
        }
    }
    return NULL;
}

/* The key's sketch, a place for it if there was none; NULL: no place yet. */
static struct sketch *
sketch_claim(struct output_tables *t, uint32_t key)
{
    struct sketch_tags *tags = &t->tags[sketch_set(t, key)];
    uint32_t way;
    struct sketch *s = sketch_find(t, key, &way);

    if (s != NULL) {
        tags->use[way] = tags->use[way] < USE_MAX ? (uint8_t)(tags->use[way] + 1) : USE_MAX;
        return s;
    }
    for (way = 0; way < OUTPUT_WAYS; way++) {
        if (tags->use[way] == 0) {
            tags->key[way] = key;
            tags->use[way] = 1;
            s = &t->tenants[(size_t)sketch_set(t, key) * OUTPUT_WAYS + way];
            *s = (struct sketch){.total = 0};
            return s;
        }
    }
    for (way = 0; way < OUTPUT_WAYS; way++)
        tags->use[way]--;
    return NULL;
}

/* ---- All of them. */

static struct sketch *
model_sketch(const struct output_tables *t, uint32_t model)
{
    return &t->models[(size_t)model * (1 + OUTPUT_SIZES)];
}

void
learn_output_init(struct output_tables *t, uint32_t models)
{
    for (uint32_t model = 0; model < models; model++) {
        struct sketch *s = model_sketch(t, model);
        for (uint32_t i = 0; i < START_COUNT; i++)
            sketch_add(s, (uint32_t)START_TOKENS);
    }
}

float
learn_output_mean(const struct output_tables *t, uint32_t model)
{
    return model_sketch(t, model)->mean;
}

float
learn_output_expect(const struct output_tables *t, uint32_t tenant, uint32_t model,
                    float prompt_tokens, uint32_t max_tokens)
{
    uint32_t size = prompt_size(prompt_tokens), way;
    const struct sketch *of_all = model_sketch(t, model), *of_size = of_all + 1 + size;
    const struct sketch *own = tenant != 0 ? sketch_find(t, sketch_key(tenant, model, size), &way)
                                           : NULL;
    float cap = max_tokens > 0 ? (float)max_tokens : 1048576.0f, left = 1.0f, sum = 0.0f, part;

    if (own != NULL && own->total > 0) {
        part = (float)own->total / ((float)own->total + SKETCH_SHRINK);
        sum = part * sketch_expect(own, cap);
        left = 1.0f - part;
    }
    if (of_size->total > 0) {
        part = left * (float)of_size->total / ((float)of_size->total + SKETCH_SHRINK);
        sum += part * sketch_expect(of_size, cap);
        left -= part;
    }
    return sum + left * sketch_expect(of_all, cap);
}

void
learn_output_add(struct output_tables *t, uint32_t tenant, uint32_t model, float prompt_tokens,
                 uint32_t output_tokens)
{
    uint32_t size = prompt_size(prompt_tokens);
    struct sketch *of_all = model_sketch(t, model), *own;

    sketch_add(of_all, output_tokens);
    sketch_add(of_all + 1 + size, output_tokens);
    if (tenant == 0)
        return;
    own = sketch_claim(t, sketch_key(tenant, model, size));
    if (own != NULL)
        sketch_add(own, output_tokens);
}

/* load_plan - arrivals out of a seeded generator; see load_plan.h.
 * The order in which the generator is asked is part of the result: add draws at the end. */
#include "load_plan.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmath.h"
#include "base/rng.h"

#define BYTES_PER_TOKEN 4.2 /* of English in the tokenizers of today */
#define FRAME_BYTES_MAX 512u
#define WORDS           16u
#define BURSTS_SEED     UINT64_C(0x627572737473)

static const char *const words[WORDS] = {
    "the ",   "river ", "of ",   "light ",  "and ",   "stone ", "bends ", "slowly ",
    "under ", "a ",     "grey ", "bridge ", "where ", "boats ", "wait ",  "for "};

static double
sum(const double *values, uint32_t count)
{
    double all = 0.0;

    for (uint32_t i = 0; i < count; i++)
        all += values[i];
    return all;
}

/* Which of them, in proportion. */
static uint32_t
pick(struct rng *rng, const double *weights, uint32_t count)
{
    double at = rng_unit(rng) * sum(weights, count);
    uint32_t i = 0;

    while (i + 1 < count && at >= weights[i])
        at -= weights[i++];
    return i;
}

static bool
all_positive(const double *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(values[i] >= 0.0) || isinf(values[i]))
            return false;
    return sum(values, count) > 0.0;
}

static bool
spec_makes_sense(const struct load_spec *s)
{
    return s->target_count >= 1 && s->target_count <= LOAD_PLAN_TARGETS_MAX &&
           s->model_count >= 1 && s->model_count <= LOAD_PLAN_MODELS_MAX &&
           all_positive(s->target_shares, s->target_count) &&
           all_positive(s->model_rates, s->model_count) && s->seconds > 0.0 && s->seconds < 1e6 &&
           s->prompt_median_tokens >= 1.0 && s->prompt_sigma >= 0.0 && s->prompt_sigma < 5.0 &&
           s->prompt_tokens_max >= 1 && s->burst_count <= LOAD_PLAN_BURSTS_MAX &&
           (s->burst_count == 0 || (s->burst_factor >= 1.0 && s->burst_factor <= 1000.0 &&
                                    s->burst_seconds > 0.0 && s->burst_seconds < 1e6));
}

struct bursts {
    uint32_t count, models[LOAD_PLAN_BURSTS_MAX];
    double from_ms[LOAD_PLAN_BURSTS_MAX];
};

/* From a generator of their own: the rest of a plan is as it would be without. */
static void
draw_bursts(const struct load_spec *s, struct bursts *ret)
{
    struct rng rng;

    rng_init(&rng, s->seed ^ BURSTS_SEED);
    ret->count = s->burst_count;
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->models[i] = (uint32_t)rng_below(&rng, s->model_count);
        ret->from_ms[i] = 1000.0 * s->seconds * rng_unit(&rng);
    }
}

static bool
bursts(const struct load_spec *s, const struct bursts *b, uint32_t model, double at_ms)
{
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->models[i] == model && at_ms >= b->from_ms[i] &&
            at_ms < b->from_ms[i] + 1000.0 * s->burst_seconds)
            return true;
    }
    return false;
}

static struct load_item
draw(const struct load_spec *spec, struct rng *rng, double at_ms)
{
    struct load_item item = {.at_ms = at_ms};
    double tokens;

    item.target = pick(rng, spec->target_shares, spec->target_count);
    item.model = pick(rng, spec->model_rates, spec->model_count);
    tokens = spec->prompt_median_tokens * fmath_exp(spec->prompt_sigma * rng_normal(rng));
    if (tokens < 1.0)
        tokens = 1.0;
    item.prompt_tokens = tokens < spec->prompt_tokens_max ? (uint32_t)tokens
                                                          : spec->prompt_tokens_max;
    item.seed = rng_u64(rng);
    return item;
}

enum err
load_plan_make(const struct load_spec *spec, struct load_item **ret_items, size_t *ret_count)
{
    struct load_item *items = NULL;
    size_t count = 0, room = 0;
    double at_ms = 0.0, mean_gap_ms, factor = spec->burst_count > 0 ? spec->burst_factor : 1.0;
    struct bursts all;
    struct rng rng;

    if (!spec_makes_sense(spec))
        return ERR_ARG;
    rng_init(&rng, spec->seed);
    draw_bursts(spec, &all);
    mean_gap_ms = 1000.0 / (factor * sum(spec->model_rates, spec->model_count));
    while ((at_ms += mean_gap_ms * rng_exponential(&rng)) < spec->seconds * 1000.0) {
        if (count == LOAD_PLAN_ITEMS_MAX) {
            free(items);
            return ERR_FULL;
        }
        if (count == room) {
            struct load_item *grown;

            room = room == 0 ? 1024 : 2 * room;
            grown = realloc(items, room * sizeof(*items));
            if (grown == NULL) {
                free(items);
                return ERR_MEMORY;
            }
            items = grown;
        }
        items[count] = draw(spec, &rng, at_ms);
        /* drawn for a run that is all bursts; of what is none a part is kept */
        count += factor == 1.0 || bursts(spec, &all, items[count].model, at_ms) ||
                 rng_unit(&rng) * factor < 1.0;
    }
    *ret_items = items;
    *ret_count = count;
    return ERR_OK;
}

uint32_t
load_plan_text_bytes(const struct load_item *item)
{
    return (uint32_t)(item->prompt_tokens * BYTES_PER_TOKEN);
}

char *
load_plan_body(const struct load_item *item, const char *model, uint32_t max_tokens,
               size_t *ret_bytes)
{
    size_t text_bytes = load_plan_text_bytes(item);
    size_t room = text_bytes + strlen(model) + FRAME_BYTES_MAX, at, end;
    char *body = malloc(room);
    struct rng rng;

    if (body == NULL)
        return NULL;
    at = (size_t)snprintf(body, room,
                          "{\"model\":\"%s\",\"max_tokens\":%u,\"stream\":true,"
                          "\"stream_options\":{\"include_usage\":true},"
                          "\"messages\":[{\"role\":\"user\",\"content\":\"",
                          model, max_tokens);
    end = at + text_bytes;
    at += (size_t)snprintf(body + at, room - at, "%016llx ", (unsigned long long)item->seed);
    rng_init(&rng, item->seed);
    while (at < end) {
        const char *word = words[rng_below(&rng, WORDS)];
        size_t bytes = strlen(word);

        memcpy(body + at, word, bytes);
        at += bytes;
    }
    at += (size_t)snprintf(body + at, room - at, "\"}]}");
    *ret_bytes = at;
    return body;
}

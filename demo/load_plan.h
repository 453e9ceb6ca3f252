#ifndef DEMO_LOAD_PLAN_H
#define DEMO_LOAD_PLAN_H
/* load_plan - which request is sent when, to whom and how long it is: an open loop, drawn from a
 * seed before the first request goes out. Nothing that happens during the run changes it, so the
 * same load can be given to different rules, and a slow answer holds no later request back. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LOAD_PLAN_TARGETS_MAX 16u
#define LOAD_PLAN_MODELS_MAX  64u
#define LOAD_PLAN_BURSTS_MAX  256u
#define LOAD_PLAN_ITEMS_MAX   1000000u

struct load_spec {
    uint64_t seed;
    double seconds;
    uint32_t target_count, model_count;
    double target_shares[LOAD_PLAN_TARGETS_MAX]; /* of the requests, on any scale */
    double model_rates[LOAD_PLAN_MODELS_MAX];    /* requests a second, all targets together */
    double prompt_median_tokens, prompt_sigma;   /* log-normal */
    uint32_t prompt_tokens_max;                  /* and cut here */
    /* So often one model, any of them, is asked for so many times as often, for so long, from any
     * moment of the run on. */
    uint32_t burst_count;
    double burst_factor, burst_seconds;
};

struct load_item {
    double at_ms; /* since the start; never less than the item before */
    uint32_t target, model;
    uint32_t prompt_tokens;
    uint64_t seed; /* of its text */
};

/* Draw the plan: Poisson arrivals. The caller frees *ret_items. ERR_ARG: the spec makes no sense;
 * ERR_FULL: more than LOAD_PLAN_ITEMS_MAX; ERR_MEMORY. */
MUST_USE enum err load_plan_make(const struct load_spec *spec, struct load_item **ret_items,
                                 size_t *ret_count);

/* Bytes of the message's text, about: the last word is written whole. */
uint32_t load_plan_text_bytes(const struct load_item *item);

/* The body of a streaming chat request for this item, text and all; its text begins differently
 * from every other item's, so that no prefix is shared. The caller frees it. NULL: no memory. */
char *load_plan_body(const struct load_item *item, const char *model, uint32_t max_tokens,
                     size_t *ret_bytes);
#endif

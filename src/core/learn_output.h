#ifndef CORE_LEARN_OUTPUT_H
#define CORE_LEARN_OUTPUT_H
/* learn_output - how long answers get: sketches of output tokens per model, per (model, size of
 * prompt) and per (tenant, model, size of prompt), each one cache line, in tables of fixed size. */
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"

#define OUTPUT_BUCKETS 40u /* half octaves: up to 2^20 tokens */
#define OUTPUT_SIZES   12u /* of prompts, by octave: below 64 tokens, below 128, ... */
#define OUTPUT_WAYS    8u  /* places that a (tenant, model, size) may have */

struct sketch { /* a histogram that fades, and its exact mean */
    _Alignas(64) float mean;
    float middle;   /* the same, each outcome as the middle of its bucket */
    uint8_t total;  /* outcomes that it stands for; 0: none yet */
    uint8_t top;    /* its last bucket that is not empty */
    uint8_t halved; /* times that it faded, for the rounding */
    uint8_t count[OUTPUT_BUCKETS];
};
_Static_assert(sizeof(struct sketch) == 64, "a sketch is one cache line");

struct sketch_tags { /* whose the sketches of one set are, and how much each is used */
    _Alignas(64) uint32_t key[OUTPUT_WAYS];
    uint8_t use[OUTPUT_WAYS];
};

struct output_tables {
    struct sketch *models;  /* [model * (1 + OUTPUT_SIZES)]: of the model, then by size */
    struct sketch *tenants; /* [set * OUTPUT_WAYS + way] */
    struct sketch_tags *tags;
    uint32_t set_mask;
};

/* The tables lie in zeroed memory; the models' start from a guess. */
void learn_output_init(struct output_tables *t, uint32_t models);

/* Expected output tokens, at most max_tokens (0: no limit). tenant 0: nobody's. */
float learn_output_expect(const struct output_tables *t, uint32_t tenant, uint32_t model,
                          float prompt_tokens, uint32_t max_tokens);
/* An answer was so long. */
void learn_output_add(struct output_tables *t, uint32_t tenant, uint32_t model, float prompt_tokens,
                      uint32_t output_tokens);
/* Mean over all answers of a model. */
float learn_output_mean(const struct output_tables *t, uint32_t model);
#endif

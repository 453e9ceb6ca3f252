#ifndef CORE_FAIR_H
#define CORE_FAIR_H
/* fair - who goes next of those that are held.
 *
 * Held requests wait per model, in three classes. A higher class goes first, but after
 * FAIR_PASSED_MAX went over its head a lower one has its turn. Within a class the tenant goes that
 * had the fewest tokens (VTC: its prompt when it is admitted, twice its output at the end); who
 * comes back after a rest begins where the last one served stood, so that no rest is saved up.
 * Within a tenant the earliest expiry goes first. Everything is O(log n) of what is held, and how
 * much may be held is fixed at the start. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/treap.h"
#include "core/core.h"

#define FAIR_PASSED_MAX    16u   /* of higher classes, before one of a lower one goes */
#define FAIR_HOLDS_DEFAULT 1024u /* where core_config.holds_max is 0 */
#define FAIR_OUTPUT_PRICE  2u    /* of an output token, in prompt tokens */
#define FAIR_NONE          UINT32_MAX

struct fair_hold { /* one held request; free ones are chained by `flow` */
    uint32_t request, flow;
};

struct fair_flow { /* the held requests of one tenant in one class of one model */
    uint32_t count;
    uint16_t model, tenant;
    uint8_t class;
};

struct fair_class { /* of one model */
    uint64_t clock; /* what the last one served had had before it */
    uint32_t held, passed;
};

struct fair {
    uint32_t holds_max, held;
    uint32_t hold_free, flow_free; /* flows are chained by `count` */
    struct fair_hold *holds;
    struct fair_flow *flows;
    struct treap by_expiry;     /* holds by expiry */
    struct treap by_flow;       /* holds by (model, class, tenant), then expiry */
    struct treap order;         /* flows by (model, class), then tokens */
    struct fair_class *classes; /* [model * PRIORITIES_MAX + class] */
    uint64_t *tokens;           /* [(model * PRIORITIES_MAX + class) * TENANTS_MAX + tenant] */
    uint64_t models[(CORE_MODELS_MAX + 63) / 64]; /* set of those with holds */
};

/* Bytes of the tables for this configuration; fair_init cuts them out of memory, 8-byte aligned
 * and zeroed. */
size_t fair_bytes(const struct core_config *c);
void fair_init(struct fair *f, const struct core_config *c, void *memory);

struct fair_who {
    uint16_t model, class, tenant;
};

/* Hold this request (an index of the caller's) until expiry_ns. Room is the caller's to see to:
 * held < holds_max. Returns the hold. */
uint32_t fair_put(struct fair *f, uint32_t request, struct fair_who who, uint64_t expiry_ns);
/* It is held no longer, whatever becomes of it. */
void fair_take(struct fair *f, uint32_t hold);
/* The hold whose turn it is among those of the model; FAIR_NONE. */
uint32_t fair_next(const struct fair *f, uint32_t model);
/* The hold that expires first; FAIR_NONE. */
uint32_t fair_earliest(const struct fair *f);
uint64_t fair_expiry_ns(const struct fair *f, uint32_t hold);
/* How many of the model are held in this class and those before it. */
uint32_t fair_ahead(const struct fair *f, uint32_t model, uint32_t class);
/* The first model with holds at or after this one, around; FAIR_NONE. */
uint32_t fair_model_from(const struct fair *f, uint32_t model);

/* Must a newcomer of this class wait behind those that are held? */
bool fair_waits(const struct fair *f, uint32_t model, uint32_t class);
/* Have so many gone over the heads of this class that it is its turn? */
bool fair_is_due(const struct fair *f, uint32_t model, uint32_t class);

/* One of them, no longer held or never, is sent to a node: it pays for its prompt. */
void fair_admitted(struct fair *f, struct fair_who who, uint64_t prompt_tokens);
/* It ended after so many tokens of output. */
void fair_ended(struct fair *f, struct fair_who who, uint64_t output_tokens);
#endif

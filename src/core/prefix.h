#ifndef CORE_PREFIX_H
#define CORE_PREFIX_H
/* prefix - which nodes still hold the beginning of a prompt in their prefix cache.
 *
 * A prompt is cut at fixed borders of its canonical text: each KiB up to 64 KiB, then each 4 KiB up
 * to 192 KiB, then each 16 KiB. Who parses the request hashes it once and gives a chain of keyed
 * hashes, one per border it reaches (struct prefix_chain). What was sent where is remembered by
 * these hashes; nobody is asked.
 *
 * Core's own from here on, but for prefix_border_bytes. */
#include <math.h>
#include <stdint.h>

#include "core/event.h"

#define PREFIX_HOLDERS_MAX 4u  /* of one border that are remembered */
#define PREFIX_FOUND_MAX   16u /* that a look finds, if it looks at every border */

/* Bytes of text before the end of border i (0 ..). i < PREFIX_BORDERS_MAX. */
static inline uint32_t
prefix_border_bytes(uint32_t i)
{
    if (i < 64)
        return (i + 1) * 1024;
    if (i < 96)
        return 65536 + (i - 63) * 4096;
    return 196608 + (i - 95) * 16384;
}

struct core;
struct request;
struct attempt;

struct prefix_holder {
    uint32_t placement;
    uint32_t border; /* it holds the text up to here, at least */
    float age;       /* of that, in sizes of its cache; over 1: it should be gone */
};

/* Who holds what of one prompt. */
struct prefix_found {
    uint32_t count, most;   /* of list; at most so many are looked for */
    uint32_t deepest;       /* border, with count > 0 */
    uint32_t deepest_count; /* how many hold that one */
    uint32_t common;        /* first borders that more nodes hold than are remembered */
    uint32_t from, to;      /* borders in between that are still to be looked at */
    uint32_t session_last;  /* where its conversation was last; NONE */
    struct prefix_holder list[PREFIX_FOUND_MAX];
    struct prefix_holder stale; /* who has most of what should be gone; placement NONE: nobody */
};

/* ---- A decision. The index is far larger than any cache, so what will be looked at is fetched
 * ahead, in two rounds, and others work in between. */

/* A request with this chain is about to be decided on. Returns the chain, or NULL if it is of no
 * use. */
const struct prefix_chain *prefix_arrived(const struct core *core, uint32_t model,
                                          const struct prefix_chain *chain);
/* Its chain is the event's: copy it, for as long as the request lasts. */
void prefix_keep(struct core *core, struct request *r);
/* The first round, then the second; the result is good after both. With `most` over
 * PREFIX_HOLDERS_MAX every border is looked at, so that every holder is found, and all it holds. */
void prefix_look(const struct core *core, const struct request *r, uint32_t most,
                 struct prefix_found *ret_found);
void prefix_look_closer(const struct core *core, const struct request *r,
                        struct prefix_found *found);
/* The hash of a border as rates know it; 0: none was found. */
uint64_t prefix_matched(const struct request *r, const struct prefix_found *found);
/* Tokens of the prompt that lie before a border, less than all of them. */
float prefix_hit_tokens(const struct core *core, const struct request *r, uint32_t border);
/* How likely something of this age is still there. How large a cache is nobody tells us: who looks
 * a little beyond what is known of it learns when it is larger. */
static inline float
prefix_chance(float age)
{
    return age <= 1.0f ? 1.0f : 1.0f / (age * age);
}
/* How often per second a request shares just this much with earlier ones. */
float prefix_rate(const struct core *core, uint64_t now_ns, uint64_t matched);

/* ---- What follows. */

/* It goes there. Entered into the index at the beginning of the next step, by prefix_settle: a
 * prompt of 100 borders is 100 cache lines, and no client needs to wait for that. */
void prefix_dispatched(struct core *core, const struct request *r, const struct attempt *a,
                       uint32_t placement, uint64_t matched);
void prefix_settle(struct core *core);
/* What the engine had cached, against what was expected. */
void prefix_ended(struct core *core, const struct request *r, const struct attempt *a,
                  const struct event_ended *e);
/* A placement's cache: a new one; it is lost; all of a node's are. */
void prefix_new(struct core *core, uint32_t placement);
void prefix_forget(struct core *core, uint32_t placement);
void prefix_forget_node(struct core *core, uint32_t node);
#endif

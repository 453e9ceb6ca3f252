#ifndef ROLE_GATEWAY_RECENT_H
#define ROLE_GATEWAY_RECENT_H
/* recent - the last decisions of one lane, with what became of them: for `explain ID`. A ring; the
 * oldest is overwritten. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

#define RECENT_MAX      512u
#define RECENT_EACH_MAX (2u * ATTEMPTS_MAX + 1u) /* of one request: holds, attempts, a refusal */

struct recent_entry {
    uint64_t request; /* 0: empty */
    uint64_t key_id;  /* whose request it was (access) */
    uint64_t at_ns;   /* monotonic */
    uint32_t attempt;
    uint32_t refusal;                 /* enum refusal */
    uint32_t failure;                 /* enum failure of this attempt */
    bool overtaken;                   /* given up, because the attempt beside it began first */
    float hold_ms;                    /* how long it was expected to be held; NAN: it was not */
    float predicted_first_ms;         /* NAN: not dispatched */
    float actual_first_ms, actual_ms; /* to the first content, to the end; NAN: not (yet) */
    uint32_t priority;                /* enum priority, as it was granted */
    uint32_t not_granted;             /* set of enum key_wish */
    struct decision decision;
};

struct recent {
    struct recent_entry list[RECENT_MAX];
    uint32_t next;
};

/* A new entry for this request, empty but for its decision. Returns its place. */
uint32_t recent_add(struct recent *r, uint64_t request, uint64_t key_id, uint64_t now_ns,
                    const struct decision *decision);
/* The entry at this place, if it is still this request's; else NULL. */
struct recent_entry *recent_at(struct recent *r, uint32_t place, uint64_t request);
/* All entries of a request, oldest first, at most RECENT_EACH_MAX. Returns how many. */
size_t recent_all(const struct recent *r, uint64_t request, struct recent_entry *ret_entries);
#endif

#ifndef CORE_CHOOSE_H
#define CORE_CHOOSE_H
/* choose - candidates, their cost in milliseconds, and the choice among them. Pure over core: what
 * follows from a choice (the reservation) is the caller's. */
#include "core/state.h"

#define CANDIDATES_TIME_MAX 44u /* looked at by rules that predict */

struct choice {
    uint32_t placement; /* NONE: none */
    enum refusal refusal;
    struct candidate chosen; /* with terms, whatever the rule */
    /* For admission, of the candidates that were priced: by when the first token is there with a
     * probability of 0.9, at the best one with room (INFINITY: none has), at the best of all, and
     * were there no queue. */
    float best_p90_ms, any_p90_ms, idle_p90_ms;
    float hit_age;  /* of the tokens it is expected to hold; NAN: none */
    uint32_t guess; /* enum prefix_guess: not known to hold any */
    float guess_tokens;
    uint64_t matched; /* the deepest border that anybody holds; 0: none */
};

/* A second attempt beside one that goes on. */
struct beside {
    float before_ms; /* only where the first token is expected before this */
    uint32_t node;   /* of the one that goes on; NODE_ANY */
};

/* Choose for r, whose estimates are set and whose first r->attempt - 1 nodes are tried. rng is the
 * core's, or a copy for a dry run. *ret_decision gets the candidates and why they lost. */
void choose(const struct core *core, uint64_t now_ns, const struct request *r, struct rng *rng,
            struct choice *ret_choice, struct decision *ret_decision);
/* The same for a second attempt: among nodes with the model ready that pay, and of these among
 * those at another site if there are any, and among these at another operator's likewise. */
void choose_beside(const struct core *core, uint64_t now_ns, const struct request *r,
                   const struct beside *beside, struct rng *rng, struct choice *ret_choice,
                   struct decision *ret_decision);
/* The rule that chooses now. */
const struct rule *choose_rule(const struct core *core);
#endif

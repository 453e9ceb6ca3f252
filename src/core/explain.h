#ifndef CORE_EXPLAIN_H
#define CORE_EXPLAIN_H
/* explain - why: the candidates of a decision with their milliseconds, the chosen one first, and
 * the nearest node always among them, whatever spoke against it. */
#include "core/state.h"

void explain_begin(const struct core *core, uint64_t now_ns, const struct request *r,
                   struct decision *ret_decision);
/* The first `room` of list had room for the request, the rest was at its limits. chosen < room. */
void explain_candidates(const struct core *core, const struct rule *rule,
                        const struct candidate *list, size_t count, size_t room, size_t chosen,
                        struct decision *decision);
/* None had room. */
void explain_full(const struct candidate *list, size_t count, struct decision *decision);
#endif

#ifndef CORE_FLIGHT_H
#define CORE_FLIGHT_H
/* flight - the table of requests, and what is decided about one of them as an action. A request is
 * in the table from arrived until it ended, was refused or cancelled; every way out goes through
 * flight_drop, which gives back what it had. */
#include "core/choose.h"
#include "core/state.h"

/* What arrived, as it is kept: a goal that is none, in whatever way it was said, is NAN. */
void flight_arrived(struct request *r, const struct event_arrived *e);
/* NULL: the table is full. The id is in it no more than once: see flight_find. */
struct request *flight_add(struct core *core, const struct event_arrived *e);
struct request *flight_find(const struct core *core, uint64_t id);
/* The attempt that an event speaks of, if it is in flight, and its request; NULL. */
struct attempt *flight_attempt(const struct core *core, uint64_t id, uint32_t number,
                               struct request **ret_request);
/* The one that is in flight beside this one; NULL. */
struct attempt *flight_beside(struct request *r, const struct attempt *a);
/* The attempt is over: give back what it had. */
void flight_over(struct core *core, const struct request *r, struct attempt *a);
void flight_drop(struct core *core, struct request *r);
/* Tokens, as its model's history has them. */
void flight_estimate(const struct core *core, struct request *r);

struct action *flight_action(struct actions *actions, enum action_kind kind);
/* Send attempt r->attempt where it was chosen to go, and reserve the place. */
void flight_dispatch(struct core *core, struct request *r, const struct choice *choice,
                     struct actions *actions);
/* retry_after_ms NAN: by the reason. The request, if there is one, is not dropped. */
void flight_refuse(struct actions *actions, uint64_t request, uint32_t attempts,
                   enum refusal refusal, uint32_t failure, float retry_after_ms);
/* Tell a rule that remembers. */
void flight_observe(const struct core *core, const struct request *r, const struct attempt *a,
                    enum rule_news_kind kind, const struct event_ended *ended);
#endif

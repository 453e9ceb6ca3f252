#ifndef CORE_DEMAND_H
#define CORE_DEMAND_H
/* demand - how much is asked for, per model and region: rates of requests, prompt tokens and output
 * tokens at two time constants, and where the requests are going (a damped trend).
 *
 * The fast rate says what is now, the slow one what is usual; the first over the second is a burst.
 * The trend is Holt's, damped: it goes on for some buckets and dies out, so that a ramp is met
 * before it arrives and a spike is not taken for a ramp. Seasons are not known here.
 *
 * What arrives here is counted for our own region, whatever becomes of it: who is refused wanted an
 * answer too. What other gateways count, of our region or of another one, they tell (EVENT_DEMAND);
 * it is added to that, and fades when nobody repeats it. A cell is one cache line; an arrival adds
 * to its sums, and only the first one of a new bucket computes. */
#include "core/state.h"

#define DEMAND_BUCKET_NS UINT64_C(10000000000)

/* A request of ours arrived (its tokens are an estimate), or ended. */
void demand_arrived(struct core *core, uint32_t model, float prompt_tokens);
void demand_ended(struct core *core, uint32_t model, float output_tokens);
/* News of what other gateways count. */
void demand_told(struct core *core, const struct event_demand *e);

/* Requests a second: as they are now, and as they usually are. */
float demand_fast(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region);
float demand_slow(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region);
/* Of what our region asks for, the part that we count ourselves: usually; 1: nobody tells. */
float demand_own_part(const struct core *core, uint32_t model);
/* What is to be expected in ahead_ms, with no less than what is usual or now: of a ramp more, of
 * what falls no more than there is. */
float demand_ahead(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region,
                   float ahead_ms);
#endif

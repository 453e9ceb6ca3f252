#ifndef CORE_ADMIT_H
#define CORE_ADMIT_H
/* admit - may it go now, and if not, what then (routing.md, "Admission").
 *
 * A request goes when some node begins its answer in time with a probability of 0.9; without a
 * deadline, when some node has room (limit). Room is also a matter of pace, where one is asked for
 * (slo.tpot_p90): a node whose steps would become longer has none. Else it is held here, where the
 * order can still be changed (fair), as long as waiting can help: until even an idle node would be
 * too late. Else it goes to the other model that its client allows. Else it is refused.
 *
 * Before the queue is so long that deadlines are missed, some of the newcomers are turned away:
 * with a probability of clamp((U - 0.75)/0.25)^2. U is the part of a request's patience that the
 * queue before it will take: (requests ahead of it, itself counted) * (mean time between two
 * releases of which the second had waited) / (how long it may wait), or the part of the places for
 * held requests that is taken, if that is more. At 0.75 queues begin to hurt, at 1 they cannot be
 * waited out. U is shifted by class, so that the lowest goes first, the highest last.
 *
 * While requests of a higher class come in, lower ones leave it room: a part of each node's bounds,
 * and no queue at a node beyond what keeps it busy.
 *
 * Everything that frees something releases at most one held request, so a step makes at most one
 * decision; ticks release too, model by model, and end what has waited too long. */
#include "core/choose.h"
#include "core/state.h"

#define ADMIT_CLASS_SEEN_NS    UINT64_C(10000000000) /* a class is about for so long */
#define ADMIT_FALLBACK_HOLD_MS 2000.0f /* longest hold where the client named another model */
#define ADMIT_RETRY_MS_MIN     500.0f  /* of what a refused client is told to wait */
#define ADMIT_RETRY_MS_MAX     60000.0f

/* The part of a node's bounds that requests of this class may use now, and the longest queue there
 * before one of them is held instead; ADMIT_ANY_MS: any. For choose. */
#define ADMIT_ANY_MS 1e30f
struct admit_room {
    float part, queue_ms;
};
struct admit_room admit_room(const struct core *core, uint64_t now_ns, const struct request *r);

/* A request came. */
void admit_note(struct core *core, const struct request *r);
/* It needs a node, for its first attempt or after a failure: dispatch, hold or refuse it. */
void admit_place(struct core *core, struct request *r, uint32_t failure, struct actions *actions);
/* Something became free at a node, or time passed: release one, end those that waited too long. */
void admit_freed(struct core *core, uint32_t node, struct actions *actions);
void admit_tick(struct core *core, struct actions *actions);
/* What would become of this choice for r, if r came now? For a dry run. */
enum admission admit_foresee(const struct core *core, const struct request *r,
                             const struct choice *choice);
/* It ended: its tenant pays. */
void admit_ended(struct core *core, const struct request *r, uint32_t output_tokens);
#endif

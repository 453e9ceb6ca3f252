#ifndef CORE_HEADROOM_PACE_H
#define CORE_HEADROOM_PACE_H
/* headroom_pace - how fast a node really runs its models, by the time between tokens.
 *
 * The curves and factors that decisions use are learned from first tokens, and they are right about
 * these: they hold whatever made first tokens later than was thought, the prompts that other
 * gateways sent since the last report as well as the turns of a neighbouring model. As speeds they
 * are wrong by just that, and headroom adds others' work by itself: it was counted twice (told was
 * 10 to 45 % too little).
 *
 * So here speed is what is left when the load is known. The cycle lasts C, which is the time
 * between two tokens of an answer, and C = pace * (T0 + C * work): T0 the steps of all models that
 * have something running, work the part of all time that the requests took, at the speeds that were
 * told of the hardware (or else learned). All but pace is counted, so pace is known, at whatever
 * load, from a few answers: in the simulator to 2 % of the truth.
 *
 * Where a model had no answers on a node its pace is that of the node with others, of the class,
 * and without either the learned speed and the node's factor. */
#include "core/state.h"

struct headroom_work { /* of one request, ms */
    float prefill, decode, kv_tokens;
};

struct headroom_turn { /* of a model on a node that is visited */
    uint32_t placement;
    struct model_mix mix;
    struct curve base;  /* as told, or learned where nothing was */
    struct curve curve; /* at its pace */
    struct headroom_work at_base, at_pace;
    float own_ms, others_ms; /* requests/ms */
    float own_part;          /* of all time that ours take, at base */
    float known;             /* how far the pace was measured at this node, 0..1 */
    float cycle_ms;          /* between two tokens; 0 unknown */
};

struct headroom_work headroom_work_of(const struct curve *c, const struct model_mix *mix);
/* How likely any of them runs, when a cycle lasts so long. */
float headroom_busy(const struct headroom_turn *t, float cycle_ms);

/* A request ended well. */
void headroom_pace_ended(struct core *core, const struct request *r, const struct attempt *a,
                         const struct event_ended *e);
/* What is known of a turn's speed, for all of a node's turns; since_ms since its last visit. What
 * is before own_ms is filled in, cycle_ms and own_part too. */
void headroom_pace_look(struct core *core, uint32_t node, float since_ms,
                        struct headroom_turn *turns, uint32_t count);
/* And what they say now, others_ms known. */
void headroom_pace_learn(struct core *core, struct headroom_turn *turns, uint32_t count);
#endif

#ifndef CORE_PRICE_H
#define CORE_PRICE_H
/* price - what a node would cost for a request, in milliseconds: routing.md's J.
 *
 *   first + done_part * done    what this client waits for
 *   + ext     what those who decode there lose: our prefill holds all of them up, and each of our
 *             steps makes theirs longer, the more the more KV we have by then
 *   + late    what of first is past the soft deadline, weighed again: so that ext, which spares the
 *             many, does not make a few wait too long
 *   + kv      little room for KV: the last of it is dear, since what does not fit is preempted
 *
 * What a failure there would cost is not in it: that depends on the other candidates (choose). A
 * pure function, fed with core's estimates by choose, and with the truth by who wants a bound. */
#include "core/predict.h"

struct price {
    float ext_ms, late_ms, kv_ms; /* each by its weight */
    float cost_ms;                /* the sum above */
};

/* soft_ms: how soon the first token should come, from now on. terms: as predict_terms gave them for
 * this node and request. Finite and >= 0 for what is. */
void price_node(const struct event_tuning *tuning, float soft_ms, const struct predict_node *node,
                const struct predict_request *request, const struct terms *terms,
                struct price *ret_price);
#endif

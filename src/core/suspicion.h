#ifndef CORE_SUSPICION_H
#define CORE_SUSPICION_H
/* suspicion - so many nodes are silent at once: is it them, or us? Where more than three in ten of
 * the nodes that should be heard are not, the gateway suspects itself: nobody is ejected meanwhile,
 * and its own count decides (fallback). It is over when less than 15 % are silent.
 *
 * Who should be heard: nodes that were asked, by whether they answered the last time; nodes that
 * tell by themselves, by the time between two of their reports, learned as its maximum that fades
 * over minutes (what rides on answers comes more often than a heartbeat, and says nothing about
 * it). Not counted: who is ejected already, and who has been silent for longer than a minute while
 * others are heard: then it is them. One node alone proves nothing.
 *
 * Nor are nodes counted for which nobody vouches, as long as there is one that is configured or
 * whose operator is trusted: who brings many strangers and silences them all would have us doubt
 * ourselves when he likes, and hide by it who really fails. Where all are strangers, all count.
 *
 * The sweep that ticks do looks at the nodes; a round ends with the fleet, or after enough. */
#include "core/state.h"

/* There is a node, and somebody vouches for it, or not; it is about to go: false. */
void suspicion_vouch(struct core *core, uint32_t node, bool vouched);
/* A report came: `gap_ms` after the one before, as far as there was one. */
void suspicion_report(struct core *core, uint32_t node, float gap_ms);
/* It was asked, and did or did not answer. */
void suspicion_probe(struct core *core, uint32_t node, uint32_t failure);
/* For how long nothing is heard of the node, where its news is older than this and it does not
 * answer either (or nobody asks it, and reports are overdue); NAN: something is. */
#define SUSPICION_NEWS_MS 5000.0f
float suspicion_silent_ms(const struct core *core, uint64_t now_ns, uint32_t node);
/* The sweep is at this node. */
void suspicion_look(struct core *core, uint32_t node);
/* It has been at all of them. */
void suspicion_round(struct core *core);
#endif

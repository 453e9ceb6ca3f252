#ifndef CORE_FALLBACK_H
#define CORE_FALLBACK_H
/* fallback - where to send a request when news are too old to tell who is busy: by our own count
 * alone, which is never old. Weighted least request, and so the floor under every decision:
 *
 *   net + (own outstanding / share + 1) / capacity + p_fail * (detect + the same again)
 *
 * Outstanding over capacity is a time, so the way counts too, and a node is not passed over for one
 * on the other side of the world that has one request less. Several gateways that all do so fill
 * the nodes in proportion to their capacity, whatever each thinks of its share.
 *
 * How old is too old? The news of the candidates themselves are asked, in each decision anew: when
 * most are older than tuning.fresh_ms, fewer candidates are weighed (gateways that share old news
 * herd), older than tuning.stale_ms, none are. Neither where nearly all that reports ever counted
 * was ours (capacity_alone): then our own count is as good as news, and engines that are asked for
 * their load once a minute, because there are ten thousand of them, are known well enough. */
#include "core/state.h"

#define FALLBACK_SCAN_MAX 4096u /* nodes looked at, the own region's first */

enum fallback_age { FALLBACK_FRESH = 0, FALLBACK_OLD, FALLBACK_STALE };

/* How old the news about most of them is. list: their nodes are known. */
enum fallback_age fallback_age(const struct core *core, uint64_t now_ns,
                               const struct candidate *list, size_t count);

/* The cost above. */
float fallback_cost_ms(const struct core *core, uint32_t placement);

/* The `most` cheapest ready placements of r's model that r may go to, cheapest first. Returns how
 * many there are. */
uint32_t fallback_find(const struct core *core, const struct request *r, uint32_t most,
                       uint32_t *ret_placements);
#endif

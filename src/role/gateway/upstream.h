#ifndef ROLE_GATEWAY_UPSTREAM_H
#define ROLE_GATEWAY_UPSTREAM_H
/* upstream - this lane's connections to one node: an http_target, made when first needed and kept
 * until the node's address changes or it leaves; then closed when the last call is over. Polls and
 * requests use the same one, so that a poll keeps a connection warm. */
#include <stdint.h>

#include "base/err.h"
#include "core/event.h"
#include "io/http_client.h"
#include "role/roster.h"

struct lane;
struct upstream;

/* With a reference for the caller. ERR_NOT_FOUND: the node has no address. */
MUST_USE enum err upstream_take(struct lane *lane, const struct roster *roster,
                                const struct roster_node *node, struct upstream **ret_upstream);
void upstream_give(struct upstream *upstream); /* NULL: does nothing */
struct http_target *upstream_target(struct upstream *upstream);
/* The lane does not use this node any more. */
void upstream_forget(struct lane *lane, uint32_t node);
void upstream_forget_all(struct lane *lane);
#endif

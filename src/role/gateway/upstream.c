/* upstream - targets by node, counted by use; see upstream.h.
 * The lane's table holds one reference; each call in progress holds another. */
#include "role/gateway/upstream.h"

#include <stdlib.h>

#include "base/hash.h"
#include "role/gateway/lane.h"

struct upstream {
    struct http_target *target;
    uint64_t identity; /* of address, host and TLS: what must not change under it */
    uint32_t refs;
    struct lane *lane;
    struct loop_task close_task; /* not within a callback of the target itself */
};

static uint64_t
identity_of(const struct roster *roster, const struct roster_node *node)
{
    uint64_t h = hash_fnv(HASH_FNV_START, node->host.data, node->host.bytes);

    h = hash_fnv(h, &node->address.v6, node->address.bytes);
    if (node->tls != NULL)
        h = hash_fnv(h, &node->tls_identity, sizeof(node->tls_identity));
    return hash_fnv(h, &roster->bind.v6, roster->bind.bytes);
}

struct http_target *
upstream_target(struct upstream *upstream)
{
    return upstream->target;
}

static void
close_now(struct loop_task *task)
{
    struct upstream *u = CONTAINER_OF(task, struct upstream, close_task);

    http_target_close(u->target);
    free(u);
}

void
upstream_give(struct upstream *upstream)
{
    if (upstream != NULL && --upstream->refs == 0)
        loop_defer(upstream->lane->loop, &upstream->close_task, close_now);
}

void
upstream_forget(struct lane *lane, uint32_t node)
{
    upstream_give(lane->upstreams[node]);
    lane->upstreams[node] = NULL;
}

void
upstream_forget_all(struct lane *lane)
{
    for (uint32_t i = 0; i < lane->gateway->nodes_max; i++)
        upstream_forget(lane, i);
}

enum err
upstream_take(struct lane *lane, const struct roster *roster, const struct roster_node *node,
              struct upstream **ret_upstream)
{
    struct upstream *u = lane->upstreams[node->index];
    uint64_t identity = identity_of(roster, node);
    enum err err;

    if (node->address.bytes == 0)
        return ERR_NOT_FOUND;
    if (u != NULL && u->identity != identity) {
        upstream_forget(lane, node->index);
        u = NULL;
    }
    if (u == NULL) {
        u = calloc(1, sizeof(*u));
        if (u == NULL)
            return ERR_MEMORY;
        err = http_target_open(lane->client, &node->address.any, node->address.bytes, node->host,
                               roster->bind.bytes > 0 ? &roster->bind.any : NULL,
                               roster->bind.bytes, &u->target);
        if (err == ERR_OK && node->tls != NULL)
            err = http_target_use_tls(u->target, node->tls, node->tls_name, node->tls_pin);
        if (err != ERR_OK) {
            http_target_close(u->target);
            free(u);
            return err;
        }
        u->identity = identity;
        u->refs = 1;
        u->lane = lane;
        lane->upstreams[node->index] = u;
    }
    u->refs++;
    *ret_upstream = u;
    return ERR_OK;
}

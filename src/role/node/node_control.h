#ifndef ROLE_NODE_NODE_CONTROL_H
#define ROLE_NODE_NODE_CONTROL_H
/* node_control - directives of gateways: judged (wire/directive), then carried out. Drain, ready,
 * pin and unpin are the agent's own; load, unload, sleep and wake become orders to an engine
 * (node_order), of which the answer to the gateway only says that they began: how it went shows in
 * reports, and in the log. */
#include "role/node/node_state.h"

/* Judge it and begin. The answer is a struct directive_reply as JSON. Returns the HTTP status that
 * fits it. */
unsigned node_control_take(struct node *n, struct span json, char ret_text[MESSAGE_BYTES_MAX],
                           size_t *ret_bytes);
/* POST /network/v1/directive */
void node_control_post(struct node *n, struct http_exchange *x, const struct http_request *r);
MUST_USE enum err node_control_open(struct node *n);
void node_control_change(struct node *n); /* n->config is another one: whom to obey in what */
void node_control_close(struct node *n);
#endif

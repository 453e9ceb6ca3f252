#ifndef ROLE_NODE_NODE_ORDER_H
#define ROLE_NODE_NODE_ORDER_H
/* node_order - what a directive wants of an engine, as a request to it (wire/control), followed
 * until it is so or will not be; for node_control, which judges directives, and node_report, which
 * tells what came of them. */
#include "role/node/node_state.h"
#include "wire/control.h"

#define NODE_ORDERS_MAX 16u /* under way at engines */

/* BEGUN: what comes of it is told by node_order_outcomes. DONE: it was so before. REFUSED: *words
 * say why not. */
enum directive_result node_order_begin(struct node_engine *e, const struct directive *d,
                                       enum control_action action, struct control_words *words);
/* A model is to stay: it is unloaded no more if what runs of it had not ended yet. */
void node_order_keep(struct node_engine *e, struct span model);
/* May who comes now still run there? Not if the model leaves and he could have heard of it: he
 * waits until it is gone. state: as the engine says. */
bool node_order_lets_in(const struct node_engine *e, struct span model, uint32_t state);
/* When the load that is under way will be over, if it takes as long as usual; NAN: there is none,
 * or nothing is usual. */
double node_order_ready_in_ms(const struct node *n, struct span model, double usual_ms);
/* What came lately of those that were begun, into the report. */
void node_order_outcomes(const struct node *n, struct report *r);
uint32_t node_orders_count(const struct node *n); /* that are not over */
MUST_USE enum err node_orders_open(struct node *n);
void node_orders_close(struct node *n);
#endif

#ifndef WIRE_CONFIG_GATEWAYS_H
#define WIRE_CONFIG_GATEWAYS_H
/* config_gateways - the key `gateways`: of a node, whom it obeys and tells what it says of itself;
 * of a gateway, the others, where there is no bus server that they hear each other by. */
#include "wire/schema.h"

schema_read_fn config_gateways_read_node; /* struct config_node */
schema_read_fn config_gateways_read;      /* struct config */
/* Does one of the list say what it may, as only a node's do? list may be NULL. */
bool config_gateways_are_obeyed(const struct yaml_tree_node *list);
/* Names and keys of gateways stand once. list: the value of `gateways`, may be NULL. */
void config_gateways_check(struct schema_reader *r, const struct config *config,
                           const struct yaml_tree_node *list);
#endif

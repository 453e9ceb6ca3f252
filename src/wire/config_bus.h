#ifndef WIRE_CONFIG_BUS_H
#define WIRE_CONFIG_BUS_H
/* config_bus - the keys `bus` and `operators`, of gateways and nodes alike: how to reach the
 * others, and whose signatures to believe. */
#include "wire/schema.h"

/* Into a struct config_bus. The first CONFIG_BUS_GATEWAY_KEYS are for gateways only. */
#define CONFIG_BUS_GATEWAY_KEYS 2u
extern const struct schema_key config_bus_keys[];
extern const struct schema_key config_operators_keys[]; /* into a struct config_operators */

/* nats://host[:port] or tls://host[:port], without user and path? */
bool config_is_server(struct span url);
/* struct config_bus, by key->keys; also what belongs together. */
schema_read_fn config_bus_read;
#endif

#ifndef ROLE_ROSTER_BUS_H
#define ROLE_ROSTER_BUS_H
/* roster_bus - the bus as a configuration has it: its files read with the roster, so that a
 * relative path begins where the configuration is; then opened. For gateways and nodes alike. */
#include "io/bus.h"
#include "role/roster.h"

/* Read the files that r->config.bus names. ERR_IO, ERR_PARSE: logged. */
MUST_USE enum err roster_bus_read(struct roster *r);
/* Connect under this name ([a-z0-9-]). There must be a server: config.bus.nats_count > 0. As
 * bus_nats_open. */
MUST_USE enum err roster_bus_open(const struct roster *r, struct span name, struct bus **ret_bus);
#endif

#ifndef ROLE_GATEWAY_DISCOVER_H
#define ROLE_GATEWAY_DISCOVER_H
/* discover - what the engines say they serve becomes a new fleet. Any lane's poller reports; the
 * first lane gathers reports for a moment, makes one copy of the fleet with all of them, and
 * publishes it, so that a thousand engines that start together do not make a thousand fleets. */
#include <stdint.h>

#include "base/err.h"
#include "wire/adapter.h"

#define DISCOVER_GATHER_NS 20000000u

struct discover;
struct gateway;

/* On the first lane's thread, before any report. */
MUST_USE enum err discover_open(struct gateway *gateway, struct discover **ret_discover);
/* After all lanes have stopped. NULL: does nothing. */
void discover_close(struct discover *discover);
/* From any lane's thread: this node serves these models now. ERR_MEMORY: it was not noted. */
MUST_USE enum err discover_report(struct discover *discover, uint32_t node,
                                  const struct adapter_models *models);
#endif

#ifndef TEST_BUS_LOCAL_H
#define TEST_BUS_LOCAL_H
/* bus_local - the bus of several roles in one process: no server, no socket. All that bus.h says
 * holds: messages are copied, callbacks run on the bus's thread, limits and drops are the same. */
#include "io/bus.h"

/* Always connected. Give it to bus_close. ERR_IO: logged; ERR_MEMORY. */
MUST_USE enum err bus_local_open(struct bus **ret_bus);
#endif

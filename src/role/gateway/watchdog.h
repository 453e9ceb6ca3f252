#ifndef ROLE_GATEWAY_WATCHDOG_H
#define ROLE_GATEWAY_WATCHDOG_H
/* watchdog - tells a service manager that this process is alive, and only when every lane's loop
 * has made a pass since it was told last: one loop that hangs is not covered by the others, and the
 * manager starts the service anew. */
#include <stdint.h>

#include "base/err.h"

#define WATCHDOG_SHARE 4u /* signs in the time in which one is expected */

struct gateway;
struct watchdog;

/* A sign at least each period_ns. The lanes are open and have not run yet. */
MUST_USE enum err watchdog_open(struct gateway *gateway, uint64_t period_ns,
                                struct watchdog **ret_watchdog);
/* Before the lanes are closed, after their loops have ended. NULL: does nothing. */
void watchdog_close(struct watchdog *watchdog);
#endif

#ifndef DEMO_LOAD_READY_H
#define DEMO_LOAD_READY_H
/* load_ready - wait until gateways are ready and have found what there is to find: until /readyz
 * says 200 and the number of models it counts has stood still for a while. */
#include "base/err.h"
#include "load_run.h"

/* ERR_TIMEOUT: not within `seconds`; which one was not is on standard error. The client's loop must
 * not be running. */
MUST_USE enum err load_ready(struct loop *loop, struct http_client *client,
                             const struct load_options *options, double seconds);
#endif

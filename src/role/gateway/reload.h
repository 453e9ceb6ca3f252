#ifndef ROLE_GATEWAY_RELOAD_H
#define ROLE_GATEWAY_RELOAD_H
/* reload - the configuration again, while requests run: read and checked on a worker's thread, then
 * swapped in on the first lane's; anything wrong keeps the old one, and every problem is logged. */
#include "base/err.h"

struct gateway;
struct reload;

MUST_USE enum err reload_open(struct gateway *gateway, const char *path,
                              struct reload **ret_reload);
void reload_close(struct reload *reload); /* after the worker was closed. NULL: does nothing */
/* On the first lane's thread. A reload that is under way is followed by another one. */
void reload_start(struct reload *reload);
#endif

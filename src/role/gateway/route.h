#ifndef ROLE_GATEWAY_ROUTE_H
#define ROLE_GATEWAY_ROUTE_H
/* route - which path is answered by whom, on the public and on the admin listener, and who may come
 * in there. `user` is the lane. */
#include "io/http_server.h"

void route_public(struct http_exchange *x, const struct http_request *r, void *user);
void route_admin(struct http_exchange *x, const struct http_request *r, void *user);
/* May who sent this head send a body too? A stranger's 64 MiB would be at the others' cost. */
bool route_admit_public(const struct http_request *r, void *user, struct http_share **ret_share);
bool route_admit_admin(const struct http_request *r, void *user, struct http_share **ret_share);
#endif

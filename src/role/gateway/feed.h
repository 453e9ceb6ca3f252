#ifndef ROLE_GATEWAY_FEED_H
#define ROLE_GATEWAY_FEED_H
/* feed - tells the core what there is: everything at the start, and later what differs between the
 * fleet it knows and the next one. */
#include "role/gateway/decide.h"
#include "role/gateway/fleet.h"
#include "role/gateway/recorder.h"

/* Make next the current fleet (its reference goes to the door) and tell the core what is new in it.
 * previous: the fleet that was current, NULL at the start; the caller holds a reference to it.
 * recorder: NULL, or one whose ring is given time between events. One thread at a time: the first
 * loop's. */
void feed_publish(struct door *door, struct recorder *recorder, const struct fleet *previous,
                  struct fleet *next);
#endif

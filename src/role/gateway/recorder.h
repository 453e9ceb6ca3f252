#ifndef ROLE_GATEWAY_RECORDER_H
#define ROLE_GATEWAY_RECORDER_H
/* recorder - writes every step of the core into a file, from a ring that a thread of its own
 * drains. A door must never wait for a disk: when the ring is full the record ends, loudly, with an
 * end mark that says so, and the gateway goes on. */
#include <stdint.h>

#include "base/err.h"
#include "core/core.h"
#include "wire/record.h"

#define RECORDER_SLOTS 16384u /* steps that may wait for the disk */

struct recorder;

/* Create the file (an old one is replaced), write the head, start the thread. ERR_IO: logged. */
MUST_USE enum err recorder_open(const char *path, const struct record_head *head,
                                struct recorder **ret_recorder);
/* Drain the ring, write the end mark, close. No put may follow. NULL: does nothing. */
void recorder_close(struct recorder *recorder);
/* Copy one step into the ring. One caller at a time (the door holds its lock); never blocks. */
void recorder_put(struct recorder *recorder, uint64_t now_ns, const struct event *event,
                  const struct actions *actions);
/* Wait until at least half of the ring is free: for whoever feeds thousands of events at once,
 * between them and outside of the door. NULL: does nothing. */
void recorder_wait_room(struct recorder *recorder);
#endif

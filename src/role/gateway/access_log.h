#ifndef ROLE_GATEWAY_ACCESS_LOG_H
#define ROLE_GATEWAY_ACCESS_LOG_H
/* access_log - a JSON line for every answer to a client, in a file that an operator names. A lane
 * puts its lines into a ring of its own and never waits; a worker's thread writes what is there,
 * all of a lane in one call, so that two processes (a hand-over) can append to one file. A ring
 * that is full, or a disk, costs lines, which are counted, and nothing else.
 *
 * The file is opened anew on SIGUSR1, for whoever moves it away (logrotate), and when a reload
 * names another one. When that fails the old one goes on. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define ACCESS_LOG_RING_BYTES 1048576u   /* of one lane: lines that wait for the disk */
#define ACCESS_LOG_WRITE_NS   100000000u /* between two looks at the rings */

struct access_log;
struct gateway;

/* Before the lanes run. path: "": no lines are taken until there is one. ERR_IO: it cannot be
 * opened, logged; ERR_MEMORY. */
MUST_USE enum err access_log_open(struct gateway *gateway, const char *path,
                                  struct access_log **ret_log);
/* No more is written until access_log_close, which writes the rest: before the loops end, and after
 * the last lane is closed. Between the two the first lane's loop passes once more: what the thread
 * answered last waits there. NULL: nothing. */
void access_log_stop(struct access_log *log);
void access_log_close(struct access_log *log);

/* From any lane's thread: are lines wanted? */
bool access_log_is_on(const struct access_log *log);
/* On that lane's thread: one line, its newline included. */
void access_log_put(struct access_log *log, uint32_t lane, struct span line);

/* On the first lane's thread: open the file anew. path: NULL: the same; "": none. */
void access_log_reopen(struct access_log *log, const char *path);

/* Lines that were to be written, and those of them that were lost; from any thread. */
void access_log_counts(const struct access_log *log, uint64_t *ret_lines, uint64_t *ret_dropped);
#endif

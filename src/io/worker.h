#ifndef IO_WORKER_H
#define IO_WORKER_H
/* worker - one thread for what would block a loop: name look-ups, reading files again.
 * A job runs on the worker's thread, then its `done` on the loop that asked. Jobs run in order.
 * Queue and answers go through loop_post: no lock of its own. */
#include "base/err.h"
#include "io/loop.h"

struct worker;
struct worker_job;
typedef void worker_fn(struct worker_job *job);
struct worker_job {        /* the caller's, alive until done was called */
    struct loop_post post; /* private */
    struct worker *worker; /* private */
    worker_fn *run;        /* on the worker's thread */
    worker_fn *done;       /* on reply_to's thread */
    struct loop *reply_to;
};

/* ERR_MEMORY, ERR_IO (logged): nothing was opened. There is no thread before the first job. */
MUST_USE enum err worker_open(struct worker **ret_worker);
/* Waits for the running job; queued ones are dropped without done. NULL: does nothing. */
void worker_close(struct worker *worker);
/* Have the thread begin now; then jobs may be submitted by any thread. ERR_IO: logged, there is
 * none. */
MUST_USE enum err worker_start(struct worker *worker);
/* From one thread, but for worker_start. When there can be no thread the job is run here and now.
 */
void worker_submit(struct worker *worker, struct worker_job *job);
#endif

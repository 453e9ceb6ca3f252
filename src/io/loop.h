#ifndef IO_LOOP_H
#define IO_LOOP_H
/* loop - one epoll loop per thread: descriptors, timers, a queue for other threads, and a list of
 * things to do once at the end of a pass (one write per connection and batch).
 *
 * Everything but loop_post and loop_stop belongs to the loop's own thread. Callbacks run on it, one
 * at a time, and may add, change or remove any watcher or timer, their own included. A watcher
 * removed during a pass gets no further callback of that pass.
 *
 * Timers sit in a wheel with lazy deadlines: moving a deadline later is one store; the wheel
 * looks at the real deadline when the old slot comes up. Resolution 1 ms, never early. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct loop;

/* ---- Life. */
MUST_USE enum err loop_open(struct loop **ret_loop); /* ERR_MEMORY, ERR_IO (logged) */
/* Everything the loop watches must have been removed and all timers stopped; pending posts are
 * dropped. NULL: does nothing. */
void loop_close(struct loop *loop);
/* Run until loop_stop; at once when it was called before. May be run again. */
void loop_run(struct loop *loop);
/* One pass: wait at most max_wait_ns (0: do not wait), then callbacks. For tests. */
void loop_pass(struct loop *loop, uint64_t max_wait_ns);
/* From any thread or a signal handler. */
void loop_stop(struct loop *loop);
/* CLOCK_MONOTONIC in ns as read once at the start of this pass. */
uint64_t loop_now_ns(const struct loop *loop);

/* ---- Descriptors: level-triggered. The caller owns the descriptor and closes it after remove. */
#define LOOP_READ   1u
#define LOOP_WRITE  2u
#define LOOP_HANGUP 4u /* reported only: error or hang-up, whatever was asked for */

struct loop_watch;
typedef void loop_watch_fn(struct loop_watch *watch, unsigned ready);
struct loop_watch { /* embed it; zero it before the first loop_add */
    int fd;
    unsigned interest;
    loop_watch_fn *fn;
    struct loop *loop; /* NULL: not added */
    uint32_t slot;     /* private */
};
/* ERR_FULL, ERR_MEMORY, ERR_IO (logged): not added. */
MUST_USE enum err loop_add(struct loop *loop, struct loop_watch *watch, int fd, unsigned interest,
                           loop_watch_fn *fn);
void loop_interest(struct loop_watch *watch, unsigned interest); /* no call when nothing changes */
void loop_remove(struct loop_watch *watch);                      /* not added: does nothing */

/* ---- Timers. */
struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *timer);
struct loop_timer { /* embed it; zero it before the first use; 56 bytes at most */
    LIST_ENTRY(loop_timer) link;
    uint64_t deadline_ns; /* 0: not armed */
    uint64_t slot_ns;     /* when the wheel looks at it next; private */
    loop_timer_fn *fn;
    struct loop *loop;
};
/* Fire fn once at deadline_ns or up to 1 ms later. An armed timer is moved. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns,
                    loop_timer_fn *fn);
void loop_timer_stop(struct loop_timer *timer); /* not armed: does nothing */

/* ---- At the end of this pass, once, in the order of asking; those of loop_defer_late after all
 * others. Asking again changes nothing. */
struct loop_task;
typedef void loop_task_fn(struct loop_task *task);
struct loop_task {
    TAILQ_ENTRY(loop_task) link;
    loop_task_fn *fn;
    struct loop *loop; /* not NULL: asked for */
    bool late;
};
void loop_defer(struct loop *loop, struct loop_task *task, loop_task_fn *fn);
void loop_defer_late(struct loop *loop, struct loop_task *task, loop_task_fn *fn);
void loop_undefer(struct loop_task *task);

/* ---- From other threads. fn runs on the loop's thread, in order per sender. The caller keeps
 * *post alive until then. This is one of the two locks of the program. */
struct loop_post;
typedef void loop_post_fn(struct loop_post *post);
struct loop_post {
    TAILQ_ENTRY(loop_post) link;
    loop_post_fn *fn;
};
void loop_post(struct loop *loop, struct loop_post *post, loop_post_fn *fn);
/* Run what was posted up to now, and nothing else: for the end, when no loop runs any more. False:
 * nothing was. */
bool loop_take_posts(struct loop *loop);
#endif

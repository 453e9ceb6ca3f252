/* loop - epoll behind a narrow layer; see loop.h for what it promises.
 *
 * A pass is: wait; read the clock; posts of other threads; ready descriptors; timers; deferred
 * tasks. Timers come after descriptors, so that bytes that arrived in time beat the limit that
 * waits for them; tasks come last, so that what a pass produced for one connection leaves in one
 * write.
 *
 * A kernel event carries no pointer but the number of a slot and the slot's generation: an event
 * fetched in the same batch for a watch that was removed since finds another generation. */
#include "io/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/loop_timer.h"

#define LOOP_EVENTS_MAX      256u       /* fetched at once */
#define LOOP_WATCHES_MAX     (1u << 20) /* per loop */
#define LOOP_TASK_ROUNDS_MAX 4u         /* tasks deferred by tasks by tasks..., per pass */
#define SLOT_NONE            UINT32_MAX
#define WAKE_DATA            UINT64_MAX /* the eventfd's event; no slot has this number */

struct loop_slot {
    struct loop_watch *watch; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

TAILQ_HEAD(loop_posts, loop_post);
TAILQ_HEAD(loop_tasks, loop_task);

struct loop {
    int epoll_fd, wake_fd;
    bool coarse_wait; /* the kernel has no epoll_pwait2 */
    atomic_bool stopping;
    uint64_t now_ns;
    struct loop_slot *slots;
    uint32_t slot_count, free_slot, watch_count;
    struct loop_tasks tasks[2]; /* [late] */
    struct loop_task round_end; /* stands behind the tasks of the round that runs */
    pthread_mutex_t posts_lock; /* for posts alone */
    struct loop_posts posts;
    struct epoll_event events[LOOP_EVENTS_MAX];
    struct loop_wheel wheel;
};

/* ---- Life. */

enum err
loop_open(struct loop **ret_loop)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = WAKE_DATA};
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL)
        return ERR_MEMORY;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) != 0) {
        log_error("loop: %s", strerror(errno));
        if (loop->epoll_fd >= 0)
            close(loop->epoll_fd);
        if (loop->wake_fd >= 0)
            close(loop->wake_fd);
        free(loop);
        return ERR_IO;
    }
    must(pthread_mutex_init(&loop->posts_lock, NULL) == 0); /* cannot fail on Linux */
    TAILQ_INIT(&loop->posts);
    TAILQ_INIT(&loop->tasks[false]);
    TAILQ_INIT(&loop->tasks[true]);
    loop->free_slot = SLOT_NONE;
    loop->now_ns = clock_now_ns();
    loop_wheel_init(&loop->wheel, loop->now_ns);
    *ret_loop = loop;
    return ERR_OK;
}

void
loop_close(struct loop *loop)
{
    if (loop == NULL)
        return;
    must(loop->watch_count == 0);
    must(loop_wheel_next_ns(&loop->wheel) == UINT64_MAX);
    close(loop->epoll_fd);
    close(loop->wake_fd);
    pthread_mutex_destroy(&loop->posts_lock);
    free(loop->slots);
    free(loop);
}

uint64_t
loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

/* Make the loop's wait return. Async-signal-safe. */
static void
wake(struct loop *loop)
{
    uint64_t one = 1;

    /* It fails only when the counter is full, and then the loop is awake already. */
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void
loop_stop(struct loop *loop)
{
    int errno_before = errno;

    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    wake(loop);
    errno = errno_before;
}

/* ---- Descriptors. */

/* Double the table; the new slots become the free list, which was empty. */
static enum err
grow_slots(struct loop *loop)
{
    uint32_t count = loop->slot_count == 0 ? 64 : loop->slot_count * 2;
    struct loop_slot *slots;

    if (count > LOOP_WATCHES_MAX)
        return ERR_FULL;
    slots = realloc(loop->slots, count * sizeof(*slots));
    if (slots == NULL)
        return ERR_MEMORY;
    for (uint32_t i = loop->slot_count; i < count; i++)
        slots[i] = (struct loop_slot){.next_free = i + 1 < count ? i + 1 : SLOT_NONE};
    loop->free_slot = loop->slot_count;
    loop->slots = slots;
    loop->slot_count = count;
    return ERR_OK;
}

static struct epoll_event
kernel_event(const struct loop *loop, uint32_t slot, unsigned interest)
{
    return (struct epoll_event){.events = (interest & LOOP_READ ? EPOLLIN : 0u) |
                                          (interest & LOOP_WRITE ? EPOLLOUT : 0u),
                                .data.u64 = (uint64_t)loop->slots[slot].generation << 32 | slot};
}

enum err
loop_add(struct loop *loop, struct loop_watch *watch, int fd, unsigned interest, loop_watch_fn *fn)
{
    struct epoll_event event;
    uint32_t slot;
    enum err err;

    must(watch->loop == NULL);
    if (loop->free_slot == SLOT_NONE && (err = grow_slots(loop)) != ERR_OK)
        return err;
    slot = loop->free_slot;
    event = kernel_event(loop, slot, interest);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        log_error("loop: watching descriptor %d: %s", fd, strerror(errno));
        return ERR_IO;
    }
    loop->free_slot = loop->slots[slot].next_free;
    loop->slots[slot].watch = watch;
    loop->watch_count++;
    *watch = (struct loop_watch){
        .fd = fd, .interest = interest, .fn = fn, .loop = loop, .slot = slot};
    return ERR_OK;
}

void
loop_interest(struct loop_watch *watch, unsigned interest)
{
    struct epoll_event event;

    must(watch->loop != NULL);
    if (watch->interest == interest)
        return;
    event = kernel_event(watch->loop, watch->slot, interest);
    must(epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0);
    watch->interest = interest;
}

void
loop_remove(struct loop_watch *watch)
{
    struct loop *loop = watch->loop;
    struct loop_slot *slot;

    if (loop == NULL)
        return;
    must(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL) == 0);
    slot = &loop->slots[watch->slot];
    slot->watch = NULL;
    slot->generation++;
    slot->next_free = loop->free_slot;
    loop->free_slot = watch->slot;
    loop->watch_count--;
    watch->loop = NULL;
}

static void
run_event(struct loop *loop, const struct epoll_event *event)
{
    struct loop_slot *slot = &loop->slots[(uint32_t)event->data.u64];
    struct loop_watch *watch = slot->watch;
    unsigned ready = 0;

    if (watch == NULL || slot->generation != (uint32_t)(event->data.u64 >> 32))
        return; /* removed earlier in this pass */
    if (event->events & EPOLLIN)
        ready |= LOOP_READ;
    if (event->events & EPOLLOUT)
        ready |= LOOP_WRITE;
    ready &= watch->interest; /* it may have changed earlier in this pass */
    if (event->events & (EPOLLERR | EPOLLHUP))
        ready |= LOOP_HANGUP;
    if (ready != 0)
        watch->fn(watch, ready);
}

/* ---- Timers. */

void
loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns, loop_timer_fn *fn)
{
    must(timer->deadline_ns == 0 || timer->loop == loop);
    timer->loop = loop;
    timer->fn = fn;
    loop_wheel_set(&loop->wheel, timer, deadline_ns);
}

void
loop_timer_stop(struct loop_timer *timer)
{
    if (timer->deadline_ns != 0)
        loop_wheel_stop(&timer->loop->wheel, timer);
}

/* ---- Tasks. */

static void
defer(struct loop *loop, struct loop_task *task, loop_task_fn *fn, bool late)
{
    task->fn = fn;
    if (task->loop != NULL)
        return;
    task->loop = loop;
    task->late = late;
    TAILQ_INSERT_TAIL(&loop->tasks[late], task, link);
}

void
loop_defer(struct loop *loop, struct loop_task *task, loop_task_fn *fn)
{
    defer(loop, task, fn, false);
}

void
loop_defer_late(struct loop *loop, struct loop_task *task, loop_task_fn *fn)
{
    defer(loop, task, fn, true);
}

void
loop_undefer(struct loop_task *task)
{
    if (task->loop == NULL)
        return;
    TAILQ_REMOVE(&task->loop->tasks[task->late], task, link);
    task->loop = NULL;
}

static bool
has_tasks(const struct loop *loop)
{
    return !TAILQ_EMPTY(&loop->tasks[false]) || !TAILQ_EMPTY(&loop->tasks[true]);
}

/* What was asked for before this began. */
static void
run_list(struct loop *loop, struct loop_tasks *list)
{
    struct loop_task *task;

    TAILQ_INSERT_TAIL(list, &loop->round_end, link);
    while ((task = TAILQ_FIRST(list)) != &loop->round_end) {
        loop_undefer(task);
        task->fn(task);
    }
    TAILQ_REMOVE(list, &loop->round_end, link);
}

/* A round is what was asked for before it began, the late ones at its end. What tasks ask for makes
 * the next round, and after LOOP_TASK_ROUNDS_MAX of them waits for the next pass: two tasks that
 * ask for each other for ever must not keep the loop from its descriptors. */
static void
run_tasks(struct loop *loop)
{
    for (unsigned round = 0; round < LOOP_TASK_ROUNDS_MAX && has_tasks(loop); round++) {
        run_list(loop, &loop->tasks[false]);
        run_list(loop, &loop->tasks[true]);
    }
}

/* ---- Posts. */

void
loop_post(struct loop *loop, struct loop_post *post, loop_post_fn *fn)
{
    bool was_empty;

    post->fn = fn;
    must(pthread_mutex_lock(&loop->posts_lock) == 0);
    was_empty = TAILQ_EMPTY(&loop->posts);
    TAILQ_INSERT_TAIL(&loop->posts, post, link);
    /* Inside the lock: after it, the loop may have run the post, ended and been closed. */
    if (was_empty)
        wake(loop);
    must(pthread_mutex_unlock(&loop->posts_lock) == 0);
}

/* What is posted meanwhile wakes the next pass. */
bool
loop_take_posts(struct loop *loop)
{
    struct loop_posts posts = TAILQ_HEAD_INITIALIZER(posts);
    struct loop_post *post;
    uint64_t count;
    bool is_some;

    /* Reset the counter before the queue is looked at, or a wake-up could be lost. It fails only
     * when the counter is 0, which is as good. */
    while (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    must(pthread_mutex_lock(&loop->posts_lock) == 0);
    TAILQ_CONCAT(&posts, &loop->posts, link);
    must(pthread_mutex_unlock(&loop->posts_lock) == 0);
    is_some = !TAILQ_EMPTY(&posts);
    while ((post = TAILQ_FIRST(&posts)) != NULL) {
        TAILQ_REMOVE(&posts, post, link);
        post->fn(post);
    }
    return is_some;
}

/* ---- The pass. */

/* epoll_wait to the nanosecond, or, on kernels before 5.11, to the next millisecond. */
static int
wait_events(struct loop *loop, uint64_t wait_ns)
{
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000u),
                            .tv_nsec = (long)(wait_ns % 1000000000u)};
    uint64_t wait_ms = wait_ns / 1000000u + (wait_ns % 1000000u != 0);

    if (wait_ns != 0 && !loop->coarse_wait) {
        int count = epoll_pwait2(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, &wait, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        loop->coarse_wait = true;
    }
    return epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX,
                      wait_ms < 60000 ? (int)wait_ms : 60000);
}

void
loop_pass(struct loop *loop, uint64_t max_wait_ns)
{
    uint64_t next_ns = loop_wheel_next_ns(&loop->wheel), wait_ns = max_wait_ns;
    int count;

    if (has_tasks(loop))
        wait_ns = 0;
    if (wait_ns != 0 && next_ns != UINT64_MAX) {
        uint64_t now_ns = clock_now_ns(); /* the last pass may have taken long */
        uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        wait_ns = left_ns < wait_ns ? left_ns : wait_ns;
    }
    if (wait_ns > 60000000000u)
        wait_ns = 60000000000u;
    count = wait_events(loop, wait_ns);
    must(count >= 0 || errno == EINTR);
    loop->now_ns = clock_now_ns();
    for (int i = 0; i < count; i++) {
        if (loop->events[i].data.u64 == WAKE_DATA)
            loop_take_posts(loop);
    }
    for (int i = 0; i < count; i++) {
        if (loop->events[i].data.u64 != WAKE_DATA)
            run_event(loop, &loop->events[i]);
    }
    loop_wheel_run(&loop->wheel, loop->now_ns);
    run_tasks(loop);
}

void
loop_run(struct loop *loop)
{
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire))
        loop_pass(loop, UINT64_MAX);
    atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
}

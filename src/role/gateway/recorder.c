/* recorder - a ring with one writer (the door) and one reader (the thread here); see recorder.h.
 * put_count and taken_count only grow; put_count - taken_count slots are in use. Who writes a slot
 * publishes it by put_count (release), who reads it gives it back by taken_count. */
#include "role/gateway/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/log.h"

#define BATCH_BYTES 262144u
#define IDLE_NS     2000000 /* the thread looks again after this long */

struct slot {
    uint64_t now_ns;
    struct event event;
    struct actions actions; /* only what is in use is copied */
};

struct recorder {
    struct slot *slots;
    char *path;
    int fd;
    pthread_t thread;
    bool running;
    _Atomic uint64_t put_count, taken_count;
    _Atomic bool full; /* a step was lost: nothing more is taken */
    _Atomic bool closing;
    bool failed; /* the disk refused: nothing more is written */
    size_t batch_bytes;
    unsigned char batch[BATCH_BYTES];
};

static void
flush(struct recorder *r)
{
    size_t done = 0;

    while (!r->failed && done < r->batch_bytes) {
        ssize_t n = write(r->fd, r->batch + done, r->batch_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log_error("record %s: %s: the record ends here", r->path, strerror(errno));
            r->failed = true;
            break;
        }
        done += (size_t)n;
    }
    r->batch_bytes = 0;
}

static void
append(struct recorder *r, const struct record_entry *entry)
{
    if (r->batch_bytes + RECORD_ENTRY_BYTES_MAX > BATCH_BYTES)
        flush(r);
    r->batch_bytes += record_entry_encode(entry, r->batch + r->batch_bytes);
}

/* Write all that waits; false when nothing did. */
static bool
drain(struct recorder *r)
{
    uint64_t taken = atomic_load_explicit(&r->taken_count, memory_order_relaxed);
    uint64_t put = atomic_load_explicit(&r->put_count, memory_order_acquire);
    unsigned char actions[RECORD_ACTIONS_BYTES_MAX];

    if (taken == put)
        return false;
    for (; taken != put; taken++) {
        const struct slot *slot = &r->slots[taken % RECORDER_SLOTS];
        struct record_entry entry = {.now_ns = slot->now_ns, .event = slot->event};

        entry.actions.bytes = record_actions_encode(&slot->actions, actions);
        entry.actions.data = (const char *)actions;
        append(r, &entry);
        atomic_store_explicit(&r->taken_count, taken + 1, memory_order_release);
    }
    flush(r);
    return true;
}

static void *
run(void *argument)
{
    struct recorder *r = argument;
    const struct timespec pause = {.tv_nsec = IDLE_NS};
    bool full_told = false;

    for (;;) {
        /* read before draining: what was put before it was set is drained below */
        bool closing = atomic_load_explicit(&r->closing, memory_order_acquire);
        bool full = atomic_load_explicit(&r->full, memory_order_acquire);

        if (drain(r))
            continue;
        if (full && !full_told) {
            log_error("record %s: the ring of %u steps was full, the record ends here", r->path,
                      RECORDER_SLOTS);
            append(r, &(struct record_entry){.end = RECORD_END_RING_FULL});
            flush(r);
            full_told = true;
        }
        if (closing)
            break;
        nanosleep(&pause, NULL);
    }
    if (!full_told) {
        append(r, &(struct record_entry){.end = RECORD_END_CLOSED});
        flush(r);
    }
    return NULL;
}

/* The head may be larger than a batch: it holds the configuration's text. */
static enum err
write_head(struct recorder *r, const struct record_head *head)
{
    size_t room = RECORD_HEAD_FIXED_BYTES + head->build.bytes + head->config_text.bytes;
    unsigned char *bytes = malloc(room);
    size_t length, done = 0;
    enum err err = ERR_OK;

    if (bytes == NULL)
        return ERR_MEMORY;
    length = record_head_encode(head, bytes);
    while (done < length) {
        ssize_t n = write(r->fd, bytes + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log_error("record %s: %s", r->path, strerror(errno));
            err = ERR_IO;
            break;
        }
        done += (size_t)n;
    }
    free(bytes);
    return err;
}

enum err
recorder_open(const char *path, const struct record_head *head, struct recorder **ret_recorder)
{
    enum err err = ERR_MEMORY;
    struct recorder *r = calloc(1, sizeof(*r));
    sigset_t all, before;
    int failed;

    if (r == NULL)
        return ERR_MEMORY;
    r->fd = -1;
    r->path = strdup(path);
    r->slots = calloc(RECORDER_SLOTS, sizeof(*r->slots));
    if (r->path == NULL || r->slots == NULL)
        goto out;
    r->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (r->fd < 0) {
        log_error("record %s: %s", path, strerror(errno));
        err = ERR_IO;
        goto out;
    }
    err = write_head(r, head);
    if (err != ERR_OK)
        goto out;
    /* Signals are the main loop's: a thread that existed before they were blocked would die of
     * them. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    failed = pthread_create(&r->thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        log_error("record %s: no thread to be had", path);
        err = ERR_IO;
        goto out;
    }
    r->running = true;
    *ret_recorder = r;
    r = NULL;
out:
    recorder_close(r);
    return err;
}

void
recorder_close(struct recorder *r)
{
    if (r == NULL)
        return;
    if (r->running) {
        atomic_store_explicit(&r->closing, true, memory_order_release);
        pthread_join(r->thread, NULL);
    }
    if (r->fd >= 0)
        close(r->fd);
    free(r->slots);
    free(r->path);
    free(r);
}

void
recorder_put(struct recorder *r, uint64_t now_ns, const struct event *event,
             const struct actions *actions)
{
    uint64_t put = atomic_load_explicit(&r->put_count, memory_order_relaxed);
    const struct decision *decision = &actions->decision;
    struct slot *slot;

    if (atomic_load_explicit(&r->full, memory_order_relaxed))
        return;
    if (put - atomic_load_explicit(&r->taken_count, memory_order_acquire) == RECORDER_SLOTS) {
        atomic_store_explicit(&r->full, true, memory_order_release);
        return;
    }
    slot = &r->slots[put % RECORDER_SLOTS];
    slot->now_ns = now_ns;
    slot->event = *event;
    slot->actions.count = actions->count;
    memcpy(slot->actions.list, actions->list, actions->count * sizeof(actions->list[0]));
    memcpy(&slot->actions.decision, decision,
           offsetof(struct decision, candidates) +
               decision->candidate_count * sizeof(decision->candidates[0]));
    atomic_store_explicit(&r->put_count, put + 1, memory_order_release);
}

void
recorder_wait_room(struct recorder *r)
{
    const struct timespec pause = {.tv_nsec = IDLE_NS};

    if (r == NULL)
        return;
    while (atomic_load_explicit(&r->put_count, memory_order_relaxed) -
               atomic_load_explicit(&r->taken_count, memory_order_acquire) >
           RECORDER_SLOTS / 2)
        nanosleep(&pause, NULL);
}

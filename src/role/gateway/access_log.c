/* access_log - rings with one writer (their lane) and one reader (the worker's thread, at the end
 * the closing one); see access_log.h. put_bytes and taken_bytes only grow, and what is between them
 * waits. The thread is a worker of its own: the gateway's may be busy with names for seconds. */
#include "role/gateway/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/log.h"
#include "role/gateway/lane.h"

struct ring {
    char *data; /* ACCESS_LOG_RING_BYTES; untouched pages cost nothing */
    _Atomic uint64_t put_bytes, taken_bytes;
    _Atomic uint64_t lines, dropped; /* by the lane */
};

struct access_log {
    struct gateway *gateway;
    struct worker *worker;
    struct worker_job job;
    struct loop_timer timer;
    bool busy, stopped;   /* the first lane's: a job is under way; no more may be */
    _Atomic bool is_on;   /* there is a file */
    _Atomic bool reopen;  /* the job is to open it anew, */
    char *_Atomic wanted; /* under this name if it is not NULL; whoever takes it frees it */
    _Atomic uint64_t lost;
    /* the job's */
    char *path;
    int fd;     /* -1: none */
    bool torn;  /* the file ends within a line */
    bool cross; /* that lines are lost was told */
    struct ring rings[LANES_MAX];
};

/* ---- The file; on the worker's thread, or where there is no other. */

static uint64_t
count_lines(const struct iovec *pieces, int count)
{
    uint64_t lines = 0;

    for (int i = 0; i < count; i++) {
        const char *at = pieces[i].iov_base, *end = at + pieces[i].iov_len;
        while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
            lines++;
            at++;
        }
    }
    return lines;
}

/* What cannot be written is lost. */
static void
lose(struct access_log *log, const struct iovec *pieces, int count, int error)
{
    atomic_fetch_add(&log->lost, count_lines(pieces, count));
    if (!log->cross)
        log_error("access log %s: %s: lines are lost", log->path, strerror(error));
    log->cross = true;
}

/* Take so many bytes off the front. */
static void
advance(struct iovec **pieces, int *count, size_t bytes)
{
    while (*count > 0 && bytes >= (*pieces)->iov_len) {
        bytes -= (*pieces)->iov_len;
        ++*pieces;
        --*count;
    }
    if (*count > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + bytes;
        (*pieces)->iov_len -= bytes;
    }
}

static void
write_pieces(struct access_log *log, struct iovec *pieces, int count)
{
    while (count > 0) {
        ssize_t n = writev(log->fd, pieces, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            lose(log, pieces, count, n < 0 ? errno : ENOSPC);
            return;
        }
        advance(&pieces, &count, (size_t)n);
        log->torn = count > 0;
    }
    if (log->cross)
        log_info("access log %s: written again", log->path);
    log->cross = false;
}

static void
drain(struct access_log *log, struct ring *ring)
{
    uint64_t taken = atomic_load_explicit(&ring->taken_bytes, memory_order_relaxed);
    uint64_t put = atomic_load_explicit(&ring->put_bytes, memory_order_acquire);
    size_t bytes = (size_t)(put - taken), at = (size_t)(taken % ACCESS_LOG_RING_BYTES);
    size_t first = bytes < ACCESS_LOG_RING_BYTES - at ? bytes : ACCESS_LOG_RING_BYTES - at;
    char newline[] = "\n";
    struct iovec pieces[3];
    int count = 0;

    if (bytes == 0)
        return;
    if (log->torn)
        pieces[count++] = (struct iovec){newline, 1};
    pieces[count++] = (struct iovec){ring->data + at, first};
    if (bytes > first)
        pieces[count++] = (struct iovec){ring->data, bytes - first};
    if (log->fd >= 0)
        write_pieces(log, pieces, count);
    else
        lose(log, pieces, count, ENOENT);
    atomic_store_explicit(&ring->taken_bytes, put, memory_order_release);
}

/* path is freed later; on failure at once. */
static enum err
open_file(struct access_log *log, char *path)
{
    int fd = -1;

    if (path[0] != '\0') {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
        if (fd < 0) {
            log_error("access log %s: %s", path, strerror(errno));
            free(path);
            return ERR_IO;
        }
    }
    if (log->fd >= 0)
        close(log->fd);
    free(log->path);
    log->fd = fd;
    log->path = path;
    log->torn = false;
    atomic_store(&log->is_on, fd >= 0);
    return ERR_OK;
}

static void
drain_all(struct access_log *log)
{
    for (uint32_t i = 0; i < log->gateway->lane_count; i++)
        drain(log, &log->rings[i]);
}

static void
run(struct worker_job *job)
{
    struct access_log *log = CONTAINER_OF(job, struct access_log, job);

    drain_all(log); /* what was put before belongs into the file as it was */
    if (atomic_exchange(&log->reopen, false)) {
        char *path = atomic_exchange(&log->wanted, NULL);
        bool renamed = path != NULL;

        if (path == NULL)
            path = strdup(log->path);
        if (path == NULL || open_file(log, path) != ERR_OK)
            log_error("access log: the old file is kept");
        else if (renamed || log->fd >= 0)
            log_info("access log: %s", log->path[0] != '\0' ? log->path : "no more");
    }
}

/* ---- The first lane. */

static void
done(struct worker_job *job)
{
    CONTAINER_OF(job, struct access_log, job)->busy = false;
}

static bool
anything_to_do(const struct access_log *log)
{
    bool any = atomic_load(&log->reopen);

    for (uint32_t i = 0; i < log->gateway->lane_count && !any; i++)
        any = atomic_load(&log->rings[i].put_bytes) != atomic_load(&log->rings[i].taken_bytes);
    return any;
}

static void
on_timer(struct loop_timer *timer)
{
    struct access_log *log = CONTAINER_OF(timer, struct access_log, timer);
    struct loop *loop = log->gateway->lanes[0].loop;

    if (!log->busy && anything_to_do(log)) {
        log->busy = true;
        worker_submit(log->worker, &log->job);
    }
    loop_timer_set(loop, timer, loop_now_ns(loop) + ACCESS_LOG_WRITE_NS, on_timer);
}

void
access_log_reopen(struct access_log *log, const char *path)
{
    char *copy = path != NULL ? strdup(path) : NULL;

    if (path != NULL && copy == NULL) {
        log_error("access log: out of memory: the old file is kept");
        return;
    }
    if (copy != NULL)
        free(atomic_exchange(&log->wanted, copy));
    atomic_store(&log->reopen, true);
}

enum err
access_log_open(struct gateway *gateway, const char *path, struct access_log **ret_log)
{
    struct access_log *log = calloc(1, sizeof(*log));
    struct loop *loop = gateway->lanes[0].loop;
    char *copy = strdup(path);
    enum err err = ERR_MEMORY;

    if (log == NULL || copy == NULL) {
        free(log);
        free(copy);
        return ERR_MEMORY;
    }
    *ret_log = log; /* the gateway closes it, also when what follows fails */
    log->gateway = gateway;
    log->fd = -1;
    log->job.run = run;
    log->job.done = done;
    log->job.reply_to = loop;
    for (uint32_t i = 0; i < gateway->lane_count; i++) {
        log->rings[i].data = malloc(ACCESS_LOG_RING_BYTES);
        if (log->rings[i].data == NULL) {
            free(copy);
            return ERR_MEMORY;
        }
    }
    err = open_file(log, copy);
    if (err == ERR_OK)
        err = worker_open(&log->worker);
    if (err == ERR_OK)
        loop_timer_set(loop, &log->timer, loop_now_ns(loop) + ACCESS_LOG_WRITE_NS, on_timer);
    return err;
}

void
access_log_stop(struct access_log *log)
{
    if (log == NULL)
        return;
    loop_timer_stop(&log->timer);
    worker_close(log->worker);
    log->worker = NULL;
}

void
access_log_close(struct access_log *log)
{
    if (log == NULL)
        return;
    access_log_stop(log);
    drain_all(log);
    if (log->fd >= 0)
        close(log->fd);
    for (uint32_t i = 0; i < log->gateway->lane_count; i++)
        free(log->rings[i].data);
    free(atomic_load(&log->wanted));
    free(log->path);
    free(log);
}

/* ---- Any lane. */

bool
access_log_is_on(const struct access_log *log)
{
    return log != NULL && atomic_load_explicit(&log->is_on, memory_order_relaxed);
}

void
access_log_put(struct access_log *log, uint32_t lane, struct span line)
{
    struct ring *ring = &log->rings[lane];
    uint64_t put = atomic_load_explicit(&ring->put_bytes, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&ring->taken_bytes, memory_order_acquire);
    size_t at = (size_t)(put % ACCESS_LOG_RING_BYTES), first = ACCESS_LOG_RING_BYTES - at;

    metrics_add(&ring->lines, 1);
    if (line.bytes > ACCESS_LOG_RING_BYTES - (size_t)(put - taken)) {
        metrics_add(&ring->dropped, 1);
        return;
    }
    first = first < line.bytes ? first : line.bytes;
    memcpy(ring->data + at, line.data, first);
    memcpy(ring->data, line.data + first, line.bytes - first);
    atomic_store_explicit(&ring->put_bytes, put + line.bytes, memory_order_release);
}

void
access_log_counts(const struct access_log *log, uint64_t *ret_lines, uint64_t *ret_dropped)
{
    *ret_lines = 0;
    *ret_dropped = atomic_load(&log->lost);
    for (uint32_t i = 0; i < log->gateway->lane_count; i++) {
        *ret_lines += metrics_get(&log->rings[i].lines);
        *ret_dropped += metrics_get(&log->rings[i].dropped);
    }
}

/* usage - two tables a lane, one that is filled and one that is being written; see usage.h.
 *
 * A batch is filling -> on its way (a job has it) -> empty again, or, when the writing failed,
 * still on its way until the next try. Which of the two is filled is the lane's to say; the
 * writer's thread touches only the one that a job has, and says in `written` how it went: so
 * whoever comes after both threads knows what is left to write. */
#include "role/gateway/usage.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/lane.h"

#define SLOTS  (2 * USAGE_ROWS_MAX) /* a power of two */
#define HOUR_S 3600u

struct batch {
    struct usage_row *rows; /* [USAGE_ROWS_MAX]; pages that are not used cost nothing */
    uint16_t *slots;        /* [SLOTS] rows + 1 by hash; 0: free */
    uint32_t count;
};

struct book { /* one lane's */
    struct usage *usage;
    struct lane *lane;
    struct batch batches[2];
    uint32_t filling; /* which of the two */
    struct loop_timer timer;
    struct worker_job job;
    bool on_its_way;         /* a job has the other batch */
    bool written;            /* what became of it; the writer's until done */
    uint64_t keep_from_hour; /* for the job */
    LIST_HEAD(, usage_ask) asks;
    uint32_t ask_count;
};

struct usage {
    struct worker *worker;
    struct usage_store *store; /* the worker's thread's; after usage_stop the caller's */
    bool stopped;
    _Atomic bool writes;
    _Atomic uint64_t failures, lost;
    uint32_t book_count;
    struct book books[];
};

/* Names are the operator's own: an unkeyed table does. */
static const struct hash_key names_key = {3, 4};

/* ---- One batch. */

static bool
batch_open(struct batch *b)
{
    b->rows = calloc(USAGE_ROWS_MAX, sizeof(*b->rows));
    b->slots = calloc(SLOTS, sizeof(*b->slots));
    return b->rows != NULL && b->slots != NULL;
}

static void
batch_empty(struct batch *b)
{
    memset(b->slots, 0, SLOTS * sizeof(*b->slots));
    b->count = 0;
}

/* The row of these three, made when there is none yet; NULL: no room. */
static struct usage_row *
batch_row(struct batch *b, uint64_t hour, struct span key, struct span model)
{
    uint64_t at = hash_span(names_key, key) ^ hash_span(names_key, model) * 3 ^ hour;
    struct usage_row *row;

    for (;; at++) {
        uint16_t slot = b->slots[at % SLOTS];
        if (slot == 0)
            break;
        row = &b->rows[slot - 1];
        if (row->hour == hour && span_eq_text(key, row->key) && span_eq_text(model, row->model))
            return row;
    }
    if (b->count == USAGE_ROWS_MAX)
        return NULL;
    row = &b->rows[b->count++];
    b->slots[at % SLOTS] = (uint16_t)b->count;
    *row = (struct usage_row){.hour = hour};
    span_copy(key, row->key, sizeof(row->key));
    span_copy(model, row->model, sizeof(row->model));
    return row;
}

/* ---- Writing. */

static void on_timer(struct loop_timer *timer);

static void
arm(struct book *b, uint64_t wait_ns)
{
    if (!b->usage->stopped && b->timer.deadline_ns == 0)
        loop_timer_set(b->lane->loop, &b->timer, loop_now_ns(b->lane->loop) + wait_ns, on_timer);
}

/* On the writer's thread. */
static void
write_batch(struct worker_job *job)
{
    struct book *b = CONTAINER_OF(job, struct book, job);
    const struct batch *batch = &b->batches[1 - b->filling];
    struct usage *u = b->usage;

    b->written = usage_store_add(u->store, batch->rows, batch->count, b->keep_from_hour) == ERR_OK;
    atomic_store_explicit(&u->writes, b->written, memory_order_relaxed);
    if (!b->written)
        atomic_fetch_add_explicit(&u->failures, 1, memory_order_relaxed);
}

static void
take_back(struct book *b)
{
    b->on_its_way = false;
    if (b->written)
        batch_empty(&b->batches[1 - b->filling]);
}

static void
on_written(struct worker_job *job)
{
    struct book *b = CONTAINER_OF(job, struct book, job);

    take_back(b);
    if (b->batches[0].count > 0 || b->batches[1].count > 0)
        arm(b, b->written ? USAGE_WRITE_NS : USAGE_RETRY_NS);
}

static void
on_timer(struct loop_timer *timer)
{
    struct book *b = CONTAINER_OF(timer, struct book, timer);
    uint64_t days = lane_fleet(b->lane)->roster->config.usage_days;
    uint64_t hour = clock_wall_s() / HOUR_S, kept = days * USAGE_HOURS_A_DAY;

    if (b->on_its_way)
        return; /* on_written looks again */
    if (b->batches[1 - b->filling].count == 0)
        b->filling = 1 - b->filling;
    b->keep_from_hour = hour > kept ? hour - kept : 0;
    b->on_its_way = true;
    b->written = false;
    b->job.run = write_batch;
    b->job.done = on_written;
    b->job.reply_to = b->lane->loop;
    worker_submit(b->usage->worker, &b->job);
}

void
usage_add(struct lane *lane, struct span key, uint32_t model, const struct usage_counts *counts)
{
    struct usage *u = lane->gateway->usage;
    const struct fleet *fleet;
    struct usage_counts *c;
    struct usage_row *row;
    struct book *b;

    if (u == NULL)
        return;
    b = &u->books[lane->index];
    fleet = lane_fleet(lane);
    row = batch_row(&b->batches[b->filling], clock_wall_s() / HOUR_S, key,
                    model < fleet->model_count ? fleet->models[model].name : SPAN_LIT(""));
    if (row == NULL) {
        atomic_fetch_add_explicit(&u->lost, counts->requests, memory_order_relaxed);
        return;
    }
    c = &row->counts;
    c->requests += counts->requests;
    c->failed += counts->failed;
    c->refused += counts->refused;
    c->prompt_tokens += counts->prompt_tokens;
    c->cached_tokens += counts->cached_tokens;
    c->output_tokens += counts->output_tokens;
    if (!b->on_its_way)
        arm(b, USAGE_WRITE_NS);
}

/* ---- Questions. */

static void
on_ask(struct worker_job *job)
{
    struct usage_ask *ask = CONTAINER_OF(job, struct usage_ask, job);

    ask->answer(ask, ask->usage->store);
}

static void
on_answered(struct worker_job *job)
{
    struct usage_ask *ask = CONTAINER_OF(job, struct usage_ask, job);

    LIST_REMOVE(ask, link);
    ask->usage->books[ask->lane->index].ask_count--;
    ask->tell(ask);
}

enum err
usage_ask(struct usage *usage, struct lane *lane, struct usage_ask *ask)
{
    struct book *b = &usage->books[lane->index];

    if (b->ask_count == USAGE_ASKS_MAX || usage->stopped)
        return ERR_FULL;
    b->ask_count++;
    LIST_INSERT_HEAD(&b->asks, ask, link);
    ask->usage = usage;
    ask->lane = lane;
    ask->job.run = on_ask;
    ask->job.done = on_answered;
    ask->job.reply_to = lane->loop;
    worker_submit(usage->worker, &ask->job);
    return ERR_OK;
}

/* ---- Life. */

enum err
usage_open(struct gateway *gateway, const char *directory, struct usage **ret_usage)
{
    uint32_t count = gateway->lane_count;
    struct usage *u = calloc(1, sizeof(*u) + count * sizeof(u->books[0]));
    enum err err = ERR_OK;

    if (u == NULL)
        return ERR_MEMORY;
    atomic_init(&u->writes, true);
    u->book_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct book *b = &u->books[i];
        b->usage = u;
        b->lane = &gateway->lanes[i];
        LIST_INIT(&b->asks);
        if (!batch_open(&b->batches[0]) || !batch_open(&b->batches[1]))
            err = ERR_MEMORY;
    }
    if (err == ERR_OK)
        err = usage_store_new(directory, &u->store);
    if (err == ERR_OK)
        err = worker_open(&u->worker);
    if (err == ERR_OK) /* now: all lanes submit jobs */
        err = worker_start(u->worker);
    if (err != ERR_OK) {
        usage_close(u);
        return err;
    }
    *ret_usage = u;
    return ERR_OK;
}

void
usage_stop(struct usage *u)
{
    if (u == NULL)
        return;
    u->stopped = true;
    worker_close(u->worker);
    u->worker = NULL;
    for (uint32_t i = 0; i < u->book_count; i++)
        loop_timer_stop(&u->books[i].timer);
}

static void
book_close(struct book *b)
{
    struct usage *u = b->usage;
    struct usage_ask *ask;

    if (b->on_its_way) /* its job ran or was dropped; nobody was told */
        take_back(b);
    for (int i = 0; i < 2; i++) {
        struct batch *batch = &b->batches[i];
        if (batch->count > 0 &&
            usage_store_add(u->store, batch->rows, batch->count, b->keep_from_hour) != ERR_OK)
            log_error("usage: what %u keys and models used last was not written", batch->count);
        free(batch->rows);
        free(batch->slots);
    }
    while ((ask = LIST_FIRST(&b->asks)) != NULL) {
        LIST_REMOVE(ask, link);
        ask->drop(ask);
    }
}

void
usage_close(struct usage *u)
{
    if (u == NULL)
        return;
    usage_stop(u);
    for (uint32_t i = 0; i < u->book_count; i++)
        book_close(&u->books[i]);
    usage_store_free(u->store);
    free(u);
}

struct usage_health
usage_health(const struct usage *u)
{
    return (struct usage_health){
        .writes = atomic_load_explicit(&u->writes, memory_order_relaxed),
        .failures = atomic_load_explicit(&u->failures, memory_order_relaxed),
        .lost = atomic_load_explicit(&u->lost, memory_order_relaxed)};
}

/* worker_test - jobs run on another thread, in order, and are answered on the loop that asked. */
#include "io/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "tap.h"

#define JOBS 100u

struct counted_job {
    struct worker_job job;
    unsigned number;
    bool ran_elsewhere;
};

static pthread_t main_thread;
static unsigned ran, ran_wrong;   /* the worker's thread */
static unsigned done, done_wrong; /* this one */
static struct loop *loop;

static void
run(struct worker_job *job)
{
    struct counted_job *c = CONTAINER_OF(job, struct counted_job, job);

    ran_wrong += c->number != ran;
    ran++;
    c->ran_elsewhere = !pthread_equal(pthread_self(), main_thread);
}

static void
answer(struct worker_job *job)
{
    struct counted_job *c = CONTAINER_OF(job, struct counted_job, job);

    done_wrong += c->number != done || !c->ran_elsewhere ||
                  !pthread_equal(pthread_self(), main_thread);
    if (++done == JOBS)
        loop_stop(loop);
}

static sem_t started, go_on;
static atomic_uint late_runs;

static void
run_blocked(struct worker_job *job)
{
    (void)job;
    sem_post(&started);
    sem_wait(&go_on);
}

static void
run_late(struct worker_job *job)
{
    (void)job;
    atomic_fetch_add(&late_runs, 1);
}

static void *
close_worker(void *worker)
{
    worker_close(worker);
    return NULL;
}

/* A job runs and another waits when the worker is closed: the first is waited for. */
static void
test_close(void)
{
    struct worker_job first = {.run = run_blocked, .done = answer, .reply_to = loop};
    struct worker_job second = {.run = run_late, .done = answer, .reply_to = loop};
    struct worker *worker;
    pthread_t closer;

    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    CHECK(worker_open(&worker) == ERR_OK, "open again");
    worker_submit(worker, &first);
    sem_wait(&started);
    worker_submit(worker, &second);
    CHECK(pthread_create(&closer, NULL, close_worker, worker) == 0, "a thread to close from");
    sem_post(&go_on);
    pthread_join(closer, NULL);
    /* Whether close came before the second job's turn is a race: it ran whole or not at all. */
    CHECK(atomic_load(&late_runs) <= 1, "closed with a job running and one waiting");
}

int
main(void)
{
    static struct counted_job jobs[JOBS];
    struct worker *worker;

    main_thread = pthread_self();
    if (loop_open(&loop) != ERR_OK || worker_open(&worker) != ERR_OK)
        return 1;
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted_job){.job = {.run = run, .done = answer, .reply_to = loop},
                                       .number = i};
        worker_submit(worker, &jobs[i].job);
    }
    loop_run(loop);
    worker_close(worker);
    CHECK(ran == JOBS && done == JOBS, "every job ran and was answered");
    CHECK(ran_wrong == 0 && done_wrong == 0, "in order, on the right threads");
    test_close();
    worker_close(NULL);
    loop_close(loop);
    return tap_done();
}

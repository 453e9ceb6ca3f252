/* loop_test - the wheel against a plain model under a turned clock, then the loop on real
 * descriptors and threads. Nothing here depends on how long anything takes. */
#include "io/loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "io/clock.h"
#include "io/loop_timer.h"
#include "tap.h"

#define MS 1000000u

/* ---- The wheel: random sets, moves and stops, checked against a table of deadlines. */

#define MODEL_TIMERS 200u

struct model_timer {
    struct loop_timer timer;
    uint64_t deadline_ns; /* what the model knows: 0 not armed */
    unsigned set_in_run;
};

static struct {
    struct loop_wheel wheel;
    struct model_timer timers[MODEL_TIMERS];
    struct rng rng;
    uint64_t now_ns;
    unsigned run, fired, early, late;
} model;

static uint64_t
random_deadline(void)
{
    static const uint64_t reach_ns[] = {MS / 2,       5 * MS,       300 * MS,      4095ull * MS,
                                        4096ull * MS, 5000ull * MS, 100000ull * MS};
    uint64_t reach = reach_ns[rng_below(&model.rng, sizeof(reach_ns) / sizeof(reach_ns[0]))];
    uint64_t back_ns = rng_below(&model.rng, 8) == 0 ? 10 * MS : 0;

    return model.now_ns - back_ns + rng_below(&model.rng, reach);
}

static void model_fired(struct loop_timer *timer);

static void
model_set(struct model_timer *m)
{
    m->deadline_ns = random_deadline();
    m->set_in_run = model.run;
    m->timer.fn = model_fired;
    loop_wheel_set(&model.wheel, &m->timer, m->deadline_ns);
}

static void
model_disturb(void)
{
    struct model_timer *m = &model.timers[rng_below(&model.rng, MODEL_TIMERS)];

    if (rng_below(&model.rng, 3) == 0) {
        m->deadline_ns = 0;
        loop_wheel_stop(&model.wheel, &m->timer);
    } else {
        model_set(m);
    }
}

static void
model_fired(struct loop_timer *timer)
{
    struct model_timer *m = CONTAINER_OF(timer, struct model_timer, timer);

    model.fired++;
    model.early += m->deadline_ns == 0 || m->deadline_ns > model.now_ns;
    m->deadline_ns = 0;
    if (rng_below(&model.rng, 2) == 0)
        model_disturb();
    if (rng_below(&model.rng, 4) == 0)
        model_set(m);
}

static uint64_t
ceiling_tick(uint64_t deadline_ns)
{
    return deadline_ns / MS + (deadline_ns % MS != 0);
}

/* Turn the wheel. Before: it must not let the loop sleep past a deadline's tick. After: nothing set
 * before this run may be armed with a tick that has come. */
static void
model_run(uint64_t now_ns)
{
    uint64_t tick = model.now_ns / MS, next_ns = loop_wheel_next_ns(&model.wheel);

    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        uint64_t due = ceiling_tick(model.timers[i].deadline_ns);
        if (model.timers[i].deadline_ns != 0)
            model.late += next_ns > (due > tick ? due : tick + 1) * MS;
    }
    model.run++;
    model.now_ns = now_ns;
    loop_wheel_run(&model.wheel, now_ns);
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        const struct model_timer *m = &model.timers[i];
        if (now_ns / MS > tick && m->deadline_ns != 0 && m->set_in_run < model.run)
            model.late += ceiling_tick(m->deadline_ns) <= now_ns / MS;
    }
}

static void
test_wheel(uint64_t seed)
{
    char label[64];

    memset(&model, 0, sizeof(model));
    rng_init(&model.rng, seed);
    model.now_ns = 7777 * (uint64_t)MS + 123;
    loop_wheel_init(&model.wheel, model.now_ns);
    for (unsigned step = 0; step < 20000; step++) {
        static const uint64_t leaps_ns[] = {1,       MS / 3,       MS,          3 * MS,
                                            70 * MS, 4096ull * MS, 9000ull * MS};
        unsigned leap = (unsigned)rng_below(&model.rng, step % 100 == 0 ? 7 : 5);
        for (unsigned i = 0; i < 4; i++)
            model_disturb();
        model_run(model.now_ns + leaps_ns[leap]);
    }
    for (unsigned i = 0; i < MODEL_TIMERS; i++)
        loop_wheel_stop(&model.wheel, &model.timers[i].timer);
    snprintf(label, sizeof(label), "wheel, seed %llu", (unsigned long long)seed);
    CHECK(model.fired > 1000 && model.early == 0 && model.late == 0, label);
    CHECK(loop_wheel_next_ns(&model.wheel) == UINT64_MAX, "all stopped: the wheel is empty");
}

static unsigned fired;

static void
count_fired(struct loop_timer *timer)
{
    (void)timer;
    fired++;
}

/* The exact promises, one at a time. */
static void
test_wheel_exact(void)
{
    static struct loop_wheel w;
    struct loop_timer t = {.fn = count_fired};

    fired = 0;
    loop_wheel_init(&w, 10 * MS);
    loop_wheel_set(&w, &t, 12 * MS + 1);
    CHECK(loop_wheel_next_ns(&w) == 13 * MS, "looked at when the deadline has passed");
    loop_wheel_run(&w, 13 * MS - 1);
    CHECK(fired == 0, "not early");
    loop_wheel_run(&w, 13 * MS);
    CHECK(fired == 1 && t.deadline_ns == 0, "fires once");
    loop_wheel_set(&w, &t, 20 * MS);
    loop_wheel_set(&w, &t, 50 * MS);
    CHECK(loop_wheel_next_ns(&w) == 20 * MS, "moving later leaves the slot");
    loop_wheel_run(&w, 20 * MS);
    CHECK(fired == 1 && loop_wheel_next_ns(&w) == 50 * MS, "and finds out there");
    loop_wheel_set(&w, &t, 30 * MS);
    CHECK(loop_wheel_next_ns(&w) == 30 * MS, "moving earlier is at once");
    loop_wheel_run(&w, 30 * MS);
    CHECK(fired == 2, "and fires");
    loop_wheel_set(&w, &t, 1 * MS);
    CHECK(loop_wheel_next_ns(&w) == 31 * MS, "a deadline in the past: the next tick");
    loop_wheel_stop(&w, &t);
    loop_wheel_run(&w, 32 * MS);
    CHECK(fired == 2, "stopped: never");
    loop_wheel_set(&w, &t, UINT64_MAX);
    loop_wheel_run(&w, 1000000000ull * MS);
    CHECK(fired == 2 && t.deadline_ns == UINT64_MAX, "the end of time");
    loop_wheel_stop(&w, &t);
}

/* ---- Descriptors. */

struct pair {
    struct loop_watch watch;
    int other_fd;
    unsigned calls, ready;
    struct pair *victim;
};

static void
pair_ready(struct loop_watch *watch, unsigned ready)
{
    struct pair *p = CONTAINER_OF(watch, struct pair, watch);

    p->calls++;
    p->ready = ready;
    if (p->victim != NULL) {
        loop_remove(&p->victim->watch);
        close(p->victim->watch.fd);
        close(p->victim->other_fd);
        p->victim = NULL;
    }
}

static bool
pair_open(struct loop *loop, struct pair *p, unsigned interest)
{
    int fds[2];

    memset(p, 0, sizeof(*p));
    if (pipe2(fds, O_NONBLOCK) != 0)
        return false;
    p->other_fd = fds[1];
    return loop_add(loop, &p->watch, fds[0], interest, pair_ready) == ERR_OK;
}

static void
pair_close(struct pair *p)
{
    loop_remove(&p->watch);
    loop_remove(&p->watch); /* not added: does nothing */
    close(p->watch.fd);
    close(p->other_fd);
}

static void
test_watch(struct loop *loop)
{
    struct pair p;

    CHECK(pair_open(loop, &p, LOOP_READ), "add");
    loop_pass(loop, 0);
    CHECK(p.calls == 0, "nothing to read, no call");
    CHECK(write(p.other_fd, "x", 1) == 1, "a byte");
    loop_pass(loop, 0);
    loop_pass(loop, 0);
    CHECK(p.calls == 2 && p.ready == LOOP_READ, "level-triggered");
    loop_interest(&p.watch, 0);
    loop_pass(loop, 0);
    CHECK(p.calls == 2, "without interest no call");
    close(p.other_fd);
    loop_pass(loop, 0);
    CHECK(p.calls == 3 && p.ready == LOOP_HANGUP, "hang-up is reported without interest");
    p.other_fd = dup(p.watch.fd);
    pair_close(&p);
}

/* Two ready at once; the first takes the second out, whose slot a third one gets. */
static void
test_stale_event(struct loop *loop)
{
    struct pair a, b, c;

    CHECK(pair_open(loop, &a, LOOP_READ) && pair_open(loop, &b, LOOP_READ), "two watches");
    a.victim = &b;
    b.victim = &a;
    CHECK(write(a.other_fd, "x", 1) == 1 && write(b.other_fd, "x", 1) == 1, "both ready");
    loop_pass(loop, 0);
    CHECK(a.calls + b.calls == 1, "a removed watch gets no call of the same pass");
    CHECK(pair_open(loop, &c, LOOP_READ), "the slot is used again");
    loop_pass(loop, 0);
    CHECK(c.calls == 0, "and the new one does not inherit the event");
    pair_close(&c);
    pair_close(a.calls > 0 ? &a : &b);
}

static void
test_many_watches(struct loop *loop)
{
    static struct pair pairs[200];
    unsigned opened = 0, calls = 0;

    for (unsigned i = 0; i < 200; i++)
        opened += pair_open(loop, &pairs[i], LOOP_READ) && write(pairs[i].other_fd, "x", 1) == 1;
    loop_pass(loop, 0);
    for (unsigned i = 0; i < 200; i++) {
        calls += pairs[i].calls;
        pair_close(&pairs[i]);
    }
    CHECK(opened == 200 && calls == 200, "the table grows");
}

/* ---- Tasks. */

struct step {
    struct loop_task task;
    struct step *then;
    unsigned runs, order;
};

static unsigned steps;
static struct loop *step_loop;

static void
run_endless(struct loop_task *task)
{
    struct step *s = CONTAINER_OF(task, struct step, task);

    s->runs++;
    loop_defer(step_loop, task, run_endless);
}

static void
run_step(struct loop_task *task)
{
    struct step *s = CONTAINER_OF(task, struct step, task);

    s->runs++;
    s->order = ++steps;
    if (s->then != NULL)
        loop_defer(step_loop, &s->then->task, run_step);
}

static void
test_tasks(struct loop *loop)
{
    struct step a = {0}, b = {0}, c = {0}, endless = {0};
    unsigned before;

    step_loop = loop;
    a.then = &c;
    loop_defer(loop, &a.task, run_step);
    loop_defer(loop, &b.task, run_step);
    loop_defer(loop, &a.task, run_step);
    loop_pass(loop, UINT64_MAX);
    CHECK(a.runs == 1 && b.runs == 1 && c.runs == 1, "once each, a task's task in the same pass");
    CHECK(a.order < b.order && b.order < c.order, "in the order of asking");
    loop_defer(loop, &a.task, run_step);
    loop_undefer(&a.task);
    loop_undefer(&a.task);
    loop_pass(loop, 0);
    CHECK(a.runs == 1, "taken back");
    loop_defer(loop, &endless.task, run_endless);
    loop_pass(loop, 0);
    before = endless.runs;
    loop_pass(loop, UINT64_MAX);
    CHECK(before >= 1 && endless.runs > before, "an endless task leaves the pass, and goes on");
    loop_undefer(&endless.task);
}

/* ---- Timers on the loop. */

static struct {
    struct loop *loop;
    uint64_t deadline_ns;
    bool early;
} timed;

static void
timed_out(struct loop_timer *timer)
{
    timed.early = loop_now_ns(timed.loop) < timed.deadline_ns || clock_now_ns() < timed.deadline_ns;
    (void)timer;
    loop_stop(timed.loop);
}

static void
test_timer(struct loop *loop)
{
    struct loop_timer timer = {0}, other = {0};

    timed.loop = loop;
    timed.deadline_ns = loop_now_ns(loop) + 3 * MS + 1;
    fired = 0;
    loop_timer_set(loop, &other, timed.deadline_ns, count_fired);
    loop_timer_stop(&other);
    loop_timer_stop(&other);
    loop_timer_set(loop, &timer, timed.deadline_ns, timed_out);
    loop_run(loop);
    CHECK(!timed.early && fired == 0, "the loop wakes for a timer, not early");
}

/* ---- Other threads. */

#define POSTS 20000u

struct numbered_post {
    struct loop_post post;
    unsigned number, sender;
};

static struct {
    struct loop *loop;
    struct numbered_post posts[2][POSTS];
    unsigned next[2], wrong;
} posted;

static void
got_post(struct loop_post *post)
{
    struct numbered_post *p = CONTAINER_OF(post, struct numbered_post, post);

    posted.wrong += p->number != posted.next[p->sender];
    posted.next[p->sender]++;
    if (posted.next[0] == POSTS && posted.next[1] == POSTS)
        loop_stop(posted.loop);
}

static void *
post_all(void *argument)
{
    struct numbered_post *posts = argument;

    for (unsigned i = 0; i < POSTS; i++)
        loop_post(posted.loop, &posts[i].post, got_post);
    return NULL;
}

static void
test_posts(struct loop *loop)
{
    pthread_t threads[2];
    int failed = 0;

    posted.loop = loop;
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned i = 0; i < POSTS; i++)
            posted.posts[t][i] = (struct numbered_post){.number = i, .sender = t};
        failed |= pthread_create(&threads[t], NULL, post_all, posted.posts[t]);
    }
    CHECK(failed == 0, "two threads");
    loop_run(loop);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK(posted.next[0] == POSTS && posted.next[1] == POSTS && posted.wrong == 0,
          "every post once, in order per sender");
}

static struct loop *signalled_loop;

static void
on_signal(int number)
{
    (void)number;
    loop_stop(signalled_loop);
}

static void *
stop_loop(void *loop)
{
    loop_stop(loop);
    return NULL;
}

static unsigned answers;

static void
on_no_timer(struct loop_timer *timer)
{
    (void)timer;
    answers = 1000;
}

static void
on_answer_post(struct loop_post *post)
{
    (void)post;
    answers++;
}

static void
on_question_post(struct loop_post *post)
{
    loop_post(posted.loop, post, on_answer_post);
}

static void
test_last_posts(struct loop *loop)
{
    struct loop_post question;
    struct loop_timer timer = {.fn = NULL};

    posted.loop = loop;
    loop_timer_set(loop, &timer, 1, on_no_timer);
    loop_post(loop, &question, on_question_post);
    CHECK(loop_take_posts(loop) && answers == 0, "the question alone");
    CHECK(loop_take_posts(loop) && answers == 1, "then the answer");
    CHECK(!loop_take_posts(loop) && timer.deadline_ns != 0, "then nothing, and no timer");
    loop_timer_stop(&timer);
}

static void
test_stop(struct loop *loop)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, stop_loop, loop) == 0, "a thread");
    loop_run(loop);
    pthread_join(thread, NULL);
    signalled_loop = loop;
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    loop_run(loop);
    CHECK(true, "stopped by a thread and from a signal handler, before or while running");
}

int
main(void)
{
    struct loop *loop;

    for (uint64_t seed = 1; seed <= 5; seed++)
        test_wheel(seed);
    test_wheel_exact();
    if (loop_open(&loop) != ERR_OK)
        return 1;
    test_watch(loop);
    test_stale_event(loop);
    test_many_watches(loop);
    test_tasks(loop);
    test_timer(loop);
    test_posts(loop);
    test_last_posts(loop);
    test_stop(loop);
    loop_close(loop);
    loop_close(NULL);
    return tap_done();
}

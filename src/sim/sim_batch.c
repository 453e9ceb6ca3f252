/* sim_batch - a process a run; see sim_batch.h. A worker writes frames into its pipe: how far it
 * is, and at the end the result. A pipe that ends before that is a worker that died. */
#include "sim/sim_batch.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "sim/sim_rule.h"
#include "sim/sim_scenario.h"

#define STEPS  100u /* of a run, a frame each */
#define CHECKS 10u  /* in each such part of its arrivals */

enum frame_kind { FRAME_PROGRESS = 1, FRAME_RESULT };

struct frame {
    uint32_t kind; /* enum frame_kind; a result stands behind it */
    float share;   /* of the run's arrivals */
};

struct worker {
    pid_t pid; /* 0: none */
    int fd;
    size_t job;
    double share;
    size_t bytes; /* in room */
    unsigned char room[sizeof(struct frame) + sizeof(struct sim_result)];
};

struct batch {
    const struct sim_job *jobs;
    size_t count, next, done;
    const struct sim_batch_options *options;
    struct sim_result *results;
    struct worker *workers;
    uint32_t worker_count;
    double work, work_done; /* guesses of cost; done: of whole runs */
    double virtual_s;       /* of whole runs */
    struct timespec began;
};

/* ---- A run. */

static double
cpu_s(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return NAN;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void
knobs_note(const struct sim_options *o, struct sim_result *r)
{
    const struct sim_rule *rule = sim_rule_find(o->rule);

    for (size_t i = 0; i < SIM_KNOBS_MAX; i++) {
        r->knobs[i] = NAN;
        if (rule != NULL && i < rule->knob_count)
            r->knobs[i] = isnan(o->knobs[i]) ? sim_rule_knob(rule, i) : o->knobs[i];
    }
}

/* Quantiles of first tokens, of all and by time. */
static void
curves(const struct sim_options *o, const struct sim_stats *s, struct sim_result *r)
{
    double *values = malloc((s->count + 1) * sizeof(*values));
    double bin_ms = (o->duration_ms - o->warmup_ms) / SIM_TIME_BINS;

    must(values != NULL);
    for (size_t i = 0; i < s->count; i++)
        values[i] = (double)s->samples[i].first_ms;
    (void)sim_quantile(values, s->count, 0.5); /* sorts */
    for (uint32_t i = 0; i < SIM_CURVE_POINTS; i++) {
        double at = (double)i / (SIM_CURVE_POINTS - 1) * (double)(s->count - (s->count > 0));
        r->first_ms_at[i] = s->count > 0 ? (float)values[(size_t)(at + 0.5)] : NAN;
    }
    for (uint32_t bin = 0; bin < SIM_TIME_BINS; bin++) {
        size_t n = 0;
        for (size_t i = 0; i < s->count; i++) {
            double at = ((double)s->samples[i].sent_ms - o->warmup_ms) / bin_ms;
            if (at >= bin && at < bin + 1)
                values[n++] = (double)s->samples[i].first_ms;
        }
        r->first_ms_p95[bin] = (float)sim_quantile(values, n, 0.95);
    }
    free(values);
}

void
sim_batch_command(const struct sim_job *job, char *text, size_t size)
{
    char line[SIM_SCENARIO_LINE_BYTES_MAX];
    struct sim_scenario s;

    sim_scenario_init(&s);
    s.options = job->options;
    if (sim_scenario_line(&s, line, sizeof(line)) != ERR_OK)
        (void)snprintf(line, sizeof(line), "{...}");
    (void)snprintf(text, size, "isochrone sim%s%s --set '%s'", job->data_words != NULL ? " " : "",
                   job->data_words != NULL ? job->data_words : "", line);
}

static void result_fail(const struct sim_job *job, struct sim_result *r, enum err err,
                        const char *format, ...) PRINTF_LIKE(4, 5);
/* What went wrong, with the job that it happened to. */
static void
result_fail(const struct sim_job *job, struct sim_result *r, enum err err, const char *format, ...)
{
    char command[SIM_SCENARIO_LINE_BYTES_MAX + 1024u], what[sizeof(struct sim_error)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    sim_batch_command(job, command, sizeof(command));
    r->err = err;
    (void)snprintf(r->error, sizeof(r->error), "rule %s, seed %llu: %s\n  repeat: %s",
                   job->options.rule, (unsigned long long)job->options.seed, what, command);
}

/* told(user, share): how far it is; NULL: nobody wants to know. */
static void
run_one(const struct sim_job *job, void (*told)(void *user, double share), void *user,
        struct sim_result *r)
{
    const struct sim_options *o = &job->options;
    struct sim_slo slo = {o->slo_first_ms, o->slo_first_per_token_ms, o->slo_step_ms};
    double began_s = cpu_s(), step_ms = o->duration_ms / STEPS, at_ms = 0.0;
    uint32_t pieces = 0;
    bool is_looked = false, more;
    struct sim_error error;
    struct sim_world *w;
    struct sim_stats *s;

    memset(r, 0, sizeof(*r));
    r->err = sim_world_open(o, job->trace, job->rtt, &w, &error);
    if (r->err != ERR_OK) {
        result_fail(job, r, r->err, "%s", error.message);
        return;
    }
    do {
        at_ms += step_ms;
        if (pieces++ % (STEPS / CHECKS) == 0)
            sim_world_check(w);
        if (told != NULL)
            told(user, fmin(1.0, (at_ms - step_ms) / o->duration_ms));
        more = sim_world_run(w, at_ms);
        if (job->look != NULL && !is_looked && at_ms >= o->duration_ms) {
            job->look(job, w, r->extras);
            is_looked = true;
        }
    } while (more);
    s = sim_world_stats(w);
    r->ended_ms = sim_world_now_ms(w);
    sim_world_finish(w);
    sim_stats_figures(s, &slo, 0.0, INFINITY, job->nth_min, &r->figures);
    curves(o, s, r);
    r->counts = *s;
    r->counts.samples = NULL;
    r->counts.count = r->counts.room = 0;
    r->capacity_rps = sim_world_capacity(w);
    knobs_note(o, r);
    if (job->measure != NULL)
        job->measure(job, w, r->extras);
    if (s->violations > 0)
        result_fail(job, r, ERR_ARG, "%s", s->violation);
    sim_world_close(w);
    r->cpu_s = cpu_s() - began_s;
}

void
sim_batch_run_one(const struct sim_job *job, struct sim_result *ret_result)
{
    run_one(job, NULL, NULL, ret_result);
}

/* ---- In the worker. */

static void
write_whole(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(1); /* nobody reads */
        at += n;
        bytes -= (size_t)n;
    }
}

static void
tell(void *user, double share)
{
    struct frame f = {FRAME_PROGRESS, (float)share};

    write_whole(*(int *)user, &f, sizeof(f));
}

static _Noreturn void
work(const struct sim_job *job, int fd)
{
    struct frame f = {FRAME_RESULT, 1.0f};
    struct sim_result r;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    run_one(job, tell, &fd, &r);
    write_whole(fd, &f, sizeof(f));
    write_whole(fd, &r, sizeof(r));
    _exit(0);
}

/* ---- In the caller. */

static double
cost(const struct sim_job *job)
{
    const struct sim_options *o = &job->options;

    return o->duration_ms * o->nodes * (0.1 + o->load);
}

static double
elapsed_s(const struct batch *b)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - b->began.tv_sec) + 1e-9 * (double)(now.tv_nsec - b->began.tv_nsec);
}

static void
progress(const struct batch *b)
{
    struct sim_progress p = {.done = b->done, .count = b->count, .virtual_s = b->virtual_s};
    double done = b->work_done;

    if (b->options->progress == NULL)
        return;
    for (uint32_t i = 0; i < b->worker_count; i++) {
        const struct worker *k = &b->workers[i];
        if (k->pid == 0)
            continue;
        done += k->share * cost(&b->jobs[k->job]);
        p.virtual_s += k->share * b->jobs[k->job].options.duration_ms / 1000.0;
    }
    /* Summed in the order in which runs end, so not to the last bit what it was in that of jobs. */
    p.share = b->done < b->count && b->work > 0.0 ? fmin(1.0, done / b->work) : 1.0;
    p.left_s = p.share > 0.0 ? elapsed_s(b) * (1.0 - p.share) / p.share : NAN;
    b->options->progress(b->options->user, &p);
}

static enum err
start(struct batch *b, struct worker *k)
{
    int fds[2];

    if (pipe(fds) != 0)
        return ERR_IO;
    k->job = b->next;
    k->pid = fork();
    if (k->pid == 0) {
        (void)close(fds[0]);
        work(&b->jobs[k->job], fds[1]);
    }
    (void)close(fds[1]);
    if (k->pid < 0) {
        (void)close(fds[0]);
        k->pid = 0;
        return ERR_IO;
    }
    k->fd = fds[0];
    k->bytes = 0;
    k->share = 0.0;
    b->next++;
    return ERR_OK;
}

/* The worker's pipe ended: with its result, or because it died. */
static void
finish(struct batch *b, struct worker *k)
{
    struct sim_result *r = &b->results[k->job];
    const struct sim_options *o = &b->jobs[k->job].options;
    int status = 0;

    (void)close(k->fd);
    while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
        ;
    k->pid = 0;
    if (k->bytes == sizeof(k->room)) {
        memcpy(r, k->room + sizeof(struct frame), sizeof(*r));
    } else {
        result_fail(&b->jobs[k->job], r, ERR_CLOSED, "the run ended by %s %d",
                    WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    b->done++;
    b->work_done += cost(&b->jobs[k->job]);
    b->virtual_s += o->duration_ms / 1000.0;
}

static void
take(struct batch *b, struct worker *k)
{
    ssize_t n = read(k->fd, k->room + k->bytes, sizeof(k->room) - k->bytes);
    struct frame f;

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        finish(b, k);
        return;
    }
    k->bytes += (size_t)n;
    while (k->bytes >= sizeof(f)) {
        memcpy(&f, k->room, sizeof(f));
        k->share = (double)f.share;
        if (f.kind == FRAME_RESULT)
            break;
        k->bytes -= sizeof(f);
        memmove(k->room, k->room + sizeof(f), k->bytes);
    }
    if (k->bytes == sizeof(k->room))
        finish(b, k);
}

static enum err
run_all(struct batch *b)
{
    struct pollfd fds[SIM_WORKERS_MAX];
    struct worker *who[SIM_WORKERS_MAX];
    enum err err = ERR_OK;

    for (;;) {
        nfds_t n = 0;
        for (uint32_t i = 0; i < b->worker_count; i++) {
            struct worker *k = &b->workers[i];
            if (k->pid == 0 && err == ERR_OK && b->next < b->count)
                err = start(b, k);
            if (k->pid == 0)
                continue;
            who[n] = k;
            fds[n++] = (struct pollfd){.fd = k->fd, .events = POLLIN};
        }
        if (n == 0)
            return err;
        if (poll(fds, n, -1) < 0)
            continue;
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents != 0)
                take(b, who[i]);
        }
        progress(b);
    }
}

static uint32_t
cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1u;
}

enum err
sim_batch_run(const struct sim_job *jobs, size_t count, const struct sim_batch_options *options,
              struct sim_result *ret_results)
{
    struct batch b = {.jobs = jobs, .count = count, .options = options, .results = ret_results};
    uint32_t workers = options->workers == 0 ? cpus() : options->workers;
    enum err err = ERR_MEMORY;

    for (size_t i = 0; i < count; i++) {
        b.work += cost(&jobs[i]);
        ret_results[i] = (struct sim_result){.err = ERR_IO};
        (void)snprintf(ret_results[i].error, sizeof(ret_results[i].error), "it was not run");
    }
    if (workers > SIM_WORKERS_MAX)
        workers = SIM_WORKERS_MAX;
    b.worker_count = workers > count ? (uint32_t)count : workers;
    (void)clock_gettime(CLOCK_MONOTONIC, &b.began);
    b.workers = calloc(b.worker_count + 1, sizeof(*b.workers));
    if (b.workers != NULL)
        err = run_all(&b);
    free(b.workers);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = ret_results[i].err;
    return err;
}

#ifndef SIM_SIM_BATCH_H
#define SIM_SIM_BATCH_H
/* sim_batch - many simulated runs over many processes, results in the order of the jobs whatever
 * the order in which they end.
 *
 * A process a run, forked: traces and round trips are loaded once before and shared, a run that
 * crashes takes nothing with it, and its memory is gone when it ends. What comes back is a plain
 * struct through a pipe. The same jobs give the same results with any number of workers. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sim/sim_options.h"
#include "sim/sim_stats.h"
#include "sim/sim_world.h"

#define SIM_CURVE_POINTS      201u /* quantiles 0, 0.005 .. 1 */
#define SIM_TIME_BINS         48u  /* of the counted part of a run */
#define SIM_EXTRAS_MAX        32u
#define SIM_RESULT_TEXT_BYTES 12288u
#define SIM_WORKERS_MAX       256u

struct sim_job {
    struct sim_options options; /* its rule's name outlives the batch, as do the next two */
    const struct trace *trace;
    const struct rtt_data *rtt;
    const char *data_words; /* "--trace X --rtt Y", for the command that repeats it; NULL: none */
    uint32_t nth_min;       /* prediction errors only from this request of a gateway at a node on */
    /* Whatever else is wanted of a world that ended, in the worker; NULL: nothing. ret_extras is
     * zeroed. */
    void (*measure)(const struct sim_job *job, struct sim_world *w,
                    double ret_extras[SIM_EXTRAS_MAX]);
    /* The same, when the last request has been sent and all is still under load. */
    void (*look)(const struct sim_job *job, struct sim_world *w, double ret_extras[SIM_EXTRAS_MAX]);
    const void *user; /* for measure and look */
};

struct sim_result {
    enum err err;                      /* not ERR_OK: nothing but error holds */
    char error[SIM_RESULT_TEXT_BYTES]; /* what happened, to which job, the command to repeat it */
    struct sim_figures figures;
    struct sim_stats counts; /* without samples */
    double capacity_rps;
    double cpu_s;                /* of this run's process */
    double ended_ms;             /* virtual, when the last request was over */
    double knobs[SIM_KNOBS_MAX]; /* of the rule, as they were; those that it has not are NAN */
    float first_ms_at[SIM_CURVE_POINTS]; /* quantiles of first_ms */
    float first_ms_p95[SIM_TIME_BINS];   /* by when they were sent; NAN: nobody */
    double extras[SIM_EXTRAS_MAX];
};

struct sim_progress {
    size_t done, count; /* runs */
    double share;       /* of all the work, as far as one can guess */
    double virtual_s;   /* simulated so far, all runs together */
    double left_s;      /* until all is done; NAN: not known yet */
};

struct sim_batch_options {
    uint32_t workers; /* at most; 0: as many as CPUs may be used */
    /* Told after every piece of work, in the calling process; NULL: nobody. */
    void (*progress)(void *user, const struct sim_progress *progress);
    void *user;
};

/* Run all. ret_results[count] are the caller's, each with its own err; the first that is not ERR_OK
 * is returned too. ERR_IO: no process or pipe could be had (errno), and ERR_MEMORY; the results of
 * jobs that did not run say so. */
MUST_USE enum err sim_batch_run(const struct sim_job *jobs, size_t count,
                                const struct sim_batch_options *options,
                                struct sim_result *ret_results);
/* The command that runs the job alone; text is ended by a zero, cut where it does not fit. */
void sim_batch_command(const struct sim_job *job, char *text, size_t size);
/* One run in this very process. */
void sim_batch_run_one(const struct sim_job *job, struct sim_result *ret_result);
#endif

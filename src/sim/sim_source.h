#ifndef SIM_SIM_SOURCE_H
#define SIM_SIM_SOURCE_H
/* sim_source - the data that a world is made of, by the names that people give: a trace and round
 * trips, out of a folder of public data, out of files, or built in. */
#include "sim/rtt_data.h"
#include "sim/sim_given.h"
#include "sim/trace.h"

#define SIM_SOURCE_SYNTHETIC "synthetic" /* the built-in load, as a trace's name */
#define SIM_SOURCE_BUILTIN   "builtin"   /* great circles, as the name of round trips */

struct sim_source {
    struct trace trace; /* the plan of a world that is given */
    struct rtt_data rtt;
    struct sim_given given;
    bool is_given;
};

/* folder: of data, NULL: there is none. trace, rtt: a name in the folder, a file, or one of the
 * words above; NULL or "": the folder's first trace of conversations (of any, if there is none) and
 * first round trips, or the built-in ones. Errors as trace_open and rtt_data_open have them; *error
 * says it. The caller closes it. */
MUST_USE enum err sim_source_open(const char *folder, const char *trace, const char *rtt,
                                  struct data_error *error, struct sim_source *ret_source);
/* The same for a world out of two files (sim/sim_given.h). */
MUST_USE enum err sim_source_open_given(const char *folder, const char *fleet, const char *plan,
                                        const char *rtt, struct data_error *error,
                                        struct sim_source *ret_source);
void sim_source_close(struct sim_source *s);
#endif

/* sim_source - names to data, built in where there is none; see sim_source.h. */
#include "sim/sim_source.h"

#include <string.h>

#include "sim/trace_synthetic.h"

#define SEED                                                                                       \
    1u /* of the built-in load, and of what is drawn from rates: worlds differ by theirs           \
        */

static bool
is_chat(const char *path)
{
    struct span s = data_folder_stem(path);

    for (; s.bytes > 0; s = span_from(s, 1)) {
        if (span_starts(s, SPAN_LIT("conv")))
            return true;
    }
    return false;
}

/* The folder's first trace, better one of conversations. */
static enum err
first_trace(const char *folder, struct data_error *error, char ret_path[DATA_PATH_BYTES_MAX])
{
    struct data_folder list;
    const char *best;
    enum err err = data_folder_open(folder, "traces", error, &list);

    if (err != ERR_OK)
        return err;
    if (list.count == 0) {
        err = data_error_say(error, ERR_NOT_FOUND, "%s/traces is empty", folder);
    } else {
        best = list.paths[0];
        for (size_t i = list.count; i-- > 0;) {
            if (is_chat(list.paths[i]))
                best = list.paths[i];
        }
        span_copy(span_of(best), ret_path, DATA_PATH_BYTES_MAX);
    }
    data_folder_close(&list);
    return err;
}

static enum err
open_trace(const char *folder, const char *name, struct data_error *error, struct trace *ret_trace)
{
    struct trace_synthetic synthetic = trace_synthetic_default(SEED);
    struct trace_options options = {.seed = SEED};
    char path[DATA_PATH_BYTES_MAX];
    bool is_named = name != NULL && name[0] != '\0';
    enum err err;

    if (is_named ? strcmp(name, SIM_SOURCE_SYNTHETIC) == 0 : folder == NULL)
        return trace_synthetic_open(&synthetic, error, ret_trace);
    if (folder == NULL)
        return trace_open(name, &options, error, ret_trace);
    if (is_named)
        err = trace_find(folder, name, error, path);
    else
        err = first_trace(folder, error, path);
    return err == ERR_OK ? trace_open(path, &options, error, ret_trace) : err;
}

static enum err
open_rtt(const char *folder, const char *name, struct data_error *error, struct rtt_data *ret_rtt)
{
    bool is_named = name != NULL && name[0] != '\0';

    if (is_named ? strcmp(name, SIM_SOURCE_BUILTIN) == 0 : folder == NULL)
        return rtt_data_builtin(error, ret_rtt);
    if (folder == NULL)
        return rtt_data_open(name, error, ret_rtt);
    return rtt_data_find(folder, is_named ? name : NULL, error, ret_rtt);
}

enum err
sim_source_open(const char *folder, const char *trace, const char *rtt, struct data_error *error,
                struct sim_source *ret_source)
{
    enum err err = open_trace(folder, trace, error, &ret_source->trace);

    ret_source->is_given = false;
    if (err != ERR_OK)
        return err;
    err = open_rtt(folder, rtt, error, &ret_source->rtt);
    if (err != ERR_OK)
        trace_close(&ret_source->trace);
    return err;
}

enum err
sim_source_open_given(const char *folder, const char *fleet, const char *plan, const char *rtt,
                      struct data_error *error, struct sim_source *ret_source)
{
    enum err err = sim_given_open(fleet, plan, error, &ret_source->given);

    if (err != ERR_OK)
        return err;
    ret_source->is_given = true;
    ret_source->trace = ret_source->given.trace; /* whose memory it is */
    err = open_rtt(folder, rtt, error, &ret_source->rtt);
    if (err != ERR_OK)
        sim_given_close(&ret_source->given);
    return err;
}

void
sim_source_close(struct sim_source *s)
{
    if (s->is_given)
        sim_given_close(&s->given);
    else
        trace_close(&s->trace);
    rtt_data_close(&s->rtt);
}

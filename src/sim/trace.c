/* trace - opening, finding and cutting traces; see trace.h. What a file is, its first line says. */
#include "sim/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "sim/trace_builder.h"

#define GRID_MS_MIN     500.0 /* finer clocks are as good as exact for requests of seconds */
#define GRID_SHARED_MIN 2u    /* requests for each time that is there, on the average */
#define LISTED_NAMES    12u
#define RATES_ENDING    "_rates"
#define LENGTHS_ENDING  "_lengths"
#define MS_PER_S        1000.0

enum form { FORM_UNKNOWN, FORM_AZURE, FORM_MOONCAKE, FORM_RATES, FORM_LENGTHS };

/* The stem without what tells apart the two files of rates and lengths. */
static struct span
short_name(const char *path)
{
    static const struct span endings[] = {{RATES_ENDING, sizeof(RATES_ENDING) - 1},
                                          {LENGTHS_ENDING, sizeof(LENGTHS_ENDING) - 1}};
    struct span stem = data_folder_stem(path);

    for (int i = 0; i < 2; i++) {
        if (stem.bytes > endings[i].bytes &&
            span_eq(span_from(stem, stem.bytes - endings[i].bytes), endings[i]))
            stem.bytes -= endings[i].bytes;
    }
    return stem;
}

static bool
holds(struct span s, struct span words)
{
    for (size_t i = 0; i + words.bytes <= s.bytes; i++) {
        if (memcmp(s.data + i, words.data, words.bytes) == 0)
            return true;
    }
    return false;
}

/* What the first line tells; else what the file's name promises, whose reader will say what is
 * wrong. */
static enum form
form_of(struct span line, const char *name)
{
    struct span stem = data_folder_stem(name);

    if (line.bytes > 0 && span_trim(line).data[0] == '{')
        return FORM_MOONCAKE;
    if (holds(line, SPAN_LIT("ContextTokens")) || holds(line, SPAN_LIT("GeneratedTokens")))
        return FORM_AZURE;
    if (holds(line, SPAN_LIT("rate_rps")))
        return FORM_RATES;
    if (holds(line, SPAN_LIT("t_start_s")) && holds(line, SPAN_LIT("field")))
        return FORM_LENGTHS;
    if (span_starts(stem, SPAN_LIT("azure_llm_")))
        return FORM_AZURE;
    if (span_starts(stem, SPAN_LIT("mooncake_")))
        return FORM_MOONCAKE;
    if (span_starts(stem, SPAN_LIT("servegen_")))
        return holds(stem, SPAN_LIT(LENGTHS_ENDING)) ? FORM_LENGTHS : FORM_RATES;
    return FORM_UNKNOWN;
}

static enum err
first_form(struct data_file *f, enum form *ret_form)
{
    struct span line;
    enum err err = data_file_first(f, &line);

    if (err != ERR_OK)
        return err;
    *ret_form = form_of(line, data_file_name(f));
    data_file_again(f);
    return ERR_OK;
}

/* ---- Times on a grid. */

/* The least distance of two times when it is coarse and most times are shared: then it is the
 * clock's and not the requests'. Else 0. (Public clocks of 3 s are a millisecond off now and then.)
 */
static double
grid_of(const struct trace *t)
{
    double least_ms = 0.0;
    size_t distinct = 1;

    for (size_t i = 1; i < t->count; i++) {
        double gap_ms = t->requests[i].at_ms - t->requests[i - 1].at_ms;

        if (gap_ms <= 0.0)
            continue;
        distinct++;
        if (least_ms <= 0.0 || gap_ms < least_ms)
            least_ms = gap_ms;
    }
    return least_ms >= GRID_MS_MIN && t->count >= GRID_SHARED_MIN * distinct ? least_ms : 0.0;
}

/* Requests that share a point of the grid came somewhere before the next one: as many uniform
 * times, in order. Those are partial sums of exponential gaps over their sum. */
static void
spread(struct trace *t, uint64_t seed)
{
    double grid_ms = grid_of(t);
    struct rng rng;

    if (grid_ms <= 0.0)
        return;
    rng_init(&rng, seed);
    for (size_t i = 0, end; i < t->count; i = end) {
        double at_ms = t->requests[i].at_ms, sum = 0.0;

        for (end = i + 1; end < t->count && t->requests[end].at_ms == at_ms; end++)
            continue;
        for (size_t k = i; k < end; k++)
            t->requests[k].at_ms = (sum += rng_exponential(&rng));
        sum += rng_exponential(&rng);
        for (size_t k = i; k < end; k++)
            t->requests[k].at_ms = at_ms + grid_ms * (t->requests[k].at_ms / sum);
    }
}

/* ---- Opening. */

/* Shares that were left out, filled in; ERR_ARG. */
static enum err
whole_options(const struct trace_options *given, struct data_error *error,
              struct trace_options *ret_options)
{
    *ret_options = *given;
    if (given->from_share == 0.0 && given->to_share == 0.0)
        ret_options->to_share = 1.0;
    if (given->drawn_count == 0)
        ret_options->drawn_count = TRACE_DRAWN_DEFAULT;
    if (!(ret_options->from_share >= 0.0 && ret_options->from_share < ret_options->to_share &&
          ret_options->to_share <= 1.0))
        return data_error_say(error, ERR_ARG, "a window of a trace is from 0 <= from < to <= 1");
    return ERR_OK;
}

/* What all recorded forms need once their lines are read. */
static enum err
finish(struct trace_builder *b, struct data_file *f)
{
    const struct trace_options *o = b->options;
    struct trace *t = &b->trace;
    enum err err = trace_builder_sort(b);

    if (err != ERR_OK)
        return data_file_fail(f, err, "no memory to sort %zu requests", t->count);
    if (t->drawn)
        return t->count > 0 ? ERR_OK
                            : data_file_fail(f, ERR_NOT_FOUND, "no request in this window");
    if (t->count == 0)
        return data_file_fail(f, ERR_PARSE, "a header and no requests");
    if (!o->as_recorded)
        spread(t, o->seed);
    t->span_ms = t->requests[t->count - 1].at_ms;
    t->tenant_count = 1;
    err = trace_mooncake_sessions(b);
    if (err != ERR_OK)
        return data_file_fail(f, err, "no memory for its sessions");
    if (o->from_share > 0.0 || o->to_share < 1.0) {
        err = trace_window(t, o->from_share, o->to_share);
        if (err != ERR_OK)
            return data_file_fail(f, err, "no request from %g to %g of its span", o->from_share,
                                  o->to_share);
    }
    return ERR_OK;
}

enum err
trace_read(struct data_file *file, struct data_file *lengths, const struct trace_options *options,
           struct data_error *error, struct trace *ret_trace)
{
    struct trace_options whole;
    struct trace_builder b = {.options = &whole};
    enum form form = FORM_UNKNOWN;
    enum err err = whole_options(options, error, &whole);

    if (err == ERR_OK)
        err = first_form(file, &form);
    if (err != ERR_OK)
        return err;
    if (form == FORM_AZURE)
        err = trace_azure_read(&b, file);
    else if (form == FORM_MOONCAKE)
        err = trace_mooncake_read(&b, file);
    else if (form == FORM_RATES && lengths != NULL)
        err = trace_servegen_read(&b, file, lengths);
    else
        err = data_file_fail(file, ERR_UNSUPPORTED,
                             form == FORM_UNKNOWN ? "no form of trace that is known"
                                                  : "rates and lengths belong together");
    if (err == ERR_OK)
        err = finish(&b, file);
    if (err != ERR_OK) {
        trace_close(&b.trace);
        return err;
    }
    span_copy(short_name(data_file_name(file)), b.trace.name, sizeof(b.trace.name));
    *ret_trace = b.trace;
    return ERR_OK;
}

/* The other file of a pair: path with `ending` of its stem replaced, with .gz or without. */
static enum err
open_other(const char *path, const char *ending, const char *other, struct data_error *error,
           struct data_file **ret_file)
{
    struct span stem = data_folder_stem(path);
    size_t bytes = strlen(ending), keep = (size_t)(stem.data - path) + stem.bytes;
    char whole[DATA_PATH_BYTES_MAX];

    if (stem.bytes <= bytes || memcmp(path + keep - bytes, ending, bytes) != 0)
        return data_error_say(error, ERR_NOT_FOUND,
                              "%s: its name does not end in %s, so the file that belongs to it "
                              "cannot be found",
                              path, ending);
    for (int packed = 1; packed >= 0; packed--) {
        struct stat status;
        int n = snprintf(whole, sizeof(whole), "%.*s%s.csv%s", (int)(keep - bytes), path, other,
                         packed ? ".gz" : "");

        if (n > 0 && (size_t)n < sizeof(whole) && stat(whole, &status) == 0)
            return data_file_open(whole, error, ret_file);
    }
    return data_error_say(error, ERR_NOT_FOUND, "%s: needs %s beside it, which is not there", path,
                          whole);
}

enum err
trace_open(const char *path, const struct trace_options *options, struct data_error *error,
           struct trace *ret_trace)
{
    struct data_file *file = NULL, *other = NULL;
    enum form form = FORM_UNKNOWN;
    enum err err = data_file_open(path, error, &file);

    if (err == ERR_OK)
        err = first_form(file, &form);
    if (err == ERR_OK && form == FORM_RATES)
        err = open_other(path, RATES_ENDING, LENGTHS_ENDING, error, &other);
    if (err == ERR_OK && form == FORM_LENGTHS) {
        err = open_other(path, LENGTHS_ENDING, RATES_ENDING, error, &other);
        if (err == ERR_OK) { /* the rates come first */
            struct data_file *lengths = file;

            file = other;
            other = lengths;
        }
    }
    if (err == ERR_OK)
        err = trace_read(file, other, options, error, ret_trace);
    data_file_close(file);
    data_file_close(other);
    return err;
}

void
trace_close(struct trace *t)
{
    free(t->requests);
    free(t->blocks);
    *t = (struct trace){.name = ""};
}

/* ---- Finding. */

/* *error: name, and what there is instead. */
static enum err
fail_to_find(const struct data_folder *list, const char *folder, const char *name, bool several,
             struct data_error *error)
{
    struct span last = {NULL, 0};
    char names[DATA_ERROR_BYTES / 2];
    size_t used = 0;
    unsigned shown = 0;

    names[0] = '\0';
    for (size_t i = 0; i < list->count && shown <= LISTED_NAMES; i++) {
        struct span s = short_name(list->paths[i]);
        int n;

        if (span_eq(s, last) || (several && !span_starts(s, span_of(name))))
            continue;
        last = s;
        n = shown++ == LISTED_NAMES ? snprintf(names + used, sizeof(names) - used, ", ...")
                                    : snprintf(names + used, sizeof(names) - used, "%s%.*s",
                                               used > 0 ? ", " : "", (int)s.bytes, s.data);
        if (n < 0 || (size_t)n >= sizeof(names) - used)
            break;
        used += (size_t)n;
    }
    return data_error_say(error, ERR_NOT_FOUND, "%s: %s in %s/traces; there %s: %s", name,
                          several ? "more than one trace begins so" : "no such trace", folder,
                          list->count == 1 ? "is" : "are", used > 0 ? names : "none");
}

enum err
trace_find(const char *folder, const char *name, struct data_error *error,
           char ret_path[DATA_PATH_BYTES_MAX])
{
    struct data_folder list = {NULL, 0};
    const char *found = NULL, *exact = NULL;
    bool several = false;
    struct stat status;
    enum err err;

    if (strlen(name) >= DATA_PATH_BYTES_MAX)
        return data_error_say(error, ERR_FULL, "the name of the trace is too long");
    if (stat(name, &status) == 0 && S_ISREG(status.st_mode)) {
        span_copy(span_of(name), ret_path, DATA_PATH_BYTES_MAX);
        return ERR_OK;
    }
    err = data_folder_open(folder, "traces", error, &list);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < list.count; i++) {
        struct span s = short_name(list.paths[i]);

        if (span_eq_text(s, name) || span_eq_text(data_folder_stem(list.paths[i]), name))
            exact = list.paths[i];
        if (!span_starts(s, span_of(name)))
            continue;
        several = several || (found != NULL && !span_eq(short_name(found), s));
        found = list.paths[i];
    }
    if (exact != NULL || (found != NULL && !several)) {
        span_copy(span_of(exact != NULL ? exact : found), ret_path, DATA_PATH_BYTES_MAX);
        err = ERR_OK;
    } else {
        err = fail_to_find(&list, folder, name, several, error);
    }
    data_folder_close(&list);
    return err;
}

/* ---- Cutting. */

enum err
trace_window(struct trace *t, double from_share, double to_share)
{
    double from_ms = from_share * t->span_ms, to_ms = to_share * t->span_ms;
    size_t first = 0, end;

    if (!(from_share >= 0.0 && from_share < to_share && to_share <= 1.0))
        return ERR_ARG;
    while (first < t->count && t->requests[first].at_ms < from_ms)
        first++;
    end = first;
    while (end < t->count && (t->requests[end].at_ms < to_ms || to_share >= 1.0))
        end++;
    if (end == first)
        return ERR_NOT_FOUND;
    t->count = end - first;
    memmove(t->requests, t->requests + first, t->count * sizeof(t->requests[0]));
    for (size_t i = 0; i < t->count; i++)
        t->requests[i].at_ms -= from_ms;
    t->span_ms = to_ms - from_ms;
    return ERR_OK;
}

double
trace_rate_rps(const struct trace *t)
{
    return t->span_ms > 0.0 ? (double)t->count * MS_PER_S / t->span_ms : 0.0;
}

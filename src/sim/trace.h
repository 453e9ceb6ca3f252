#ifndef SIM_TRACE_H
#define SIM_TRACE_H
/* trace - who asked when for how many tokens: public traces of several forms in one common form.
 *
 * A request's prompt begins with blocks of block_tokens tokens (the last one may be partly filled).
 * A block's id is a hash of the block and of everything before it, so two requests share the first
 * n blocks exactly when their n-th ids are equal. A trace without prefixes has block_tokens 0. */
#include "sim/data_folder.h"

#define TRACE_REQUESTS_MAX  20000000u
#define TRACE_BLOCKS_MAX    (1u << 28)
#define TRACE_TOKENS_MAX    10000000u /* prompt or output of one request */
#define TRACE_NAME_BYTES    128u
#define TRACE_DRAWN_DEFAULT 200000u

struct trace_request {
    double at_ms; /* from the first request, or from the beginning of the window */
    uint32_t prompt_tokens, output_tokens; /* each 1..TRACE_TOKENS_MAX */
    uint32_t tenant;                       /* < tenant_count */
    uint64_t session;                      /* equal: turns of one conversation */
    uint32_t block_first, block_count;     /* into trace.blocks */
};

struct trace {
    char name[TRACE_NAME_BYTES];
    struct trace_request *requests; /* sorted by at_ms, equal times as in the file */
    size_t count;
    uint64_t *blocks;
    size_t block_count;
    uint32_t block_tokens; /* 0: nothing is known of prefixes */
    uint32_t tenant_count; /* >= 1 */
    double span_ms;        /* at_ms < span_ms, or == for the last one */
    bool synthetic;        /* built-in load, no data: figures say so */
    bool drawn; /* from measured rates and lengths by a seed: no single request is real */
};

struct trace_options {
    uint64_t seed;               /* of what is drawn */
    double from_share, to_share; /* of the span, 0 <= from < to <= 1; both 0: all of it */
    uint32_t drawn_count;        /* requests drawn from rates, about; 0: TRACE_DRAWN_DEFAULT */
    bool as_recorded;            /* leave times on the coarse grid of their clock */
};

/* Open a trace: plain or packed; requests (columns TIMESTAMP, ContextTokens, GeneratedTokens), JSON
 * lines with prefix blocks, or rates with lengths (path names either of the two files, NAME_rates
 * and NAME_lengths). The first line decides which, not the name. Requests whose times stand on a
 * grid of half a second or more are spread evenly over it, in their order. Rates are thinned so
 * that about drawn_count requests come out of the window. ERR_ARG: the shares; ERR_PARSE (an odd
 * row), ERR_UNSUPPORTED, ERR_FULL, ERR_IO, ERR_MEMORY, ERR_NOT_FOUND (no request in the window):
 * *error says it with file and line. The caller closes it. */
MUST_USE enum err trace_open(const char *path, const struct trace_options *options,
                             struct data_error *error, struct trace *ret_trace);
/* The same out of open files, which the caller closes; lengths is looked at (and needed) only when
 * file holds rates. */
MUST_USE enum err trace_read(struct data_file *file, struct data_file *lengths,
                             const struct trace_options *options, struct data_error *error,
                             struct trace *ret_trace);
void trace_close(struct trace *t);

/* The path of a trace: `name` itself when it names a file, else the one file in folder/traces whose
 * stem is name or begins with it (the two files of rates and lengths count as one). ERR_NOT_FOUND:
 * none, or several; *error lists what there is. */
MUST_USE enum err trace_find(const char *folder, const char *name, struct data_error *error,
                             char ret_path[DATA_PATH_BYTES_MAX]);

/* Keep what lies in [from_share, to_share) of the span, its times from the beginning of that
 * window. ERR_ARG: not 0 <= from < to <= 1; ERR_NOT_FOUND: nothing lies there. *t is as it was
 * then. */
MUST_USE enum err trace_window(struct trace *t, double from_share, double to_share);
/* Requests per second over the span; 0 for a span of 0. */
double trace_rate_rps(const struct trace *t);
#endif

/* trace_fuzz - any bytes as a trace, behind a byte 0 its lengths: requests in order and in their
 * ranges, or an error. */
#include <math.h>

#include "base/must.h"
#include "sim/trace_stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check(const struct trace *t)
{
    struct trace_stats s;
    double before_ms = 0.0;

    must(t->count >= 1 && t->tenant_count >= 1);
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_request *q = &t->requests[i];

        must(q->at_ms >= before_ms && q->at_ms <= t->span_ms);
        must(q->prompt_tokens >= 1 && q->prompt_tokens <= TRACE_TOKENS_MAX);
        must(q->output_tokens >= 1 && q->output_tokens <= TRACE_TOKENS_MAX);
        must(q->tenant < t->tenant_count);
        must((size_t)q->block_first + q->block_count <= t->block_count);
        must(q->block_count == 0 || t->block_tokens > 0);
        before_ms = q->at_ms;
    }
    must(trace_describe(t, &s) == ERR_OK);
    must(s.repeated_share >= 0.0 && s.repeated_share <= 1.0 && s.gap_cv >= 0.0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct trace_options o = {.seed = 1, .drawn_count = 500};
    struct span all = {(const char *)data, bytes}, first = all;
    struct data_error error = {""};
    struct data_file *f = NULL, *lengths = NULL;
    struct trace t;

    first.bytes = span_find(all, '\0');
    must(data_file_open_memory("m", first, &error, &f) == ERR_OK);
    must(data_file_open_memory("m", span_from(all, first.bytes + 1), &error, &lengths) == ERR_OK);
    if (trace_read(f, lengths, &o, &error, &t) == ERR_OK) {
        check(&t);
        if (trace_window(&t, 0.25, 0.75) == ERR_OK)
            check(&t);
        trace_close(&t);
    } else {
        must(error.text[0] == 'm');
    }
    data_file_close(f);
    data_file_close(lengths);
    return 0;
}

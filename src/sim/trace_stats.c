/* trace_stats - one pass for each kind of number; see trace_stats.h. Quantiles are nearest ranks.
 */
#include "sim/trace_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim/trace_map.h"

#define MS_PER_S 1000.0

static int
by_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static struct trace_tokens
tokens_of(uint32_t *values, size_t count)
{
    struct trace_tokens r = {.max = 0};
    double sum = 0.0;

    qsort(values, count, sizeof(values[0]), by_u32);
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    r.mean = sum / (double)count;
#define QUANTILE(share) values[(size_t)ceil((share) * (double)count) - 1]
    r.p1 = QUANTILE(0.01);
    r.p5 = QUANTILE(0.05);
    r.p25 = QUANTILE(0.25);
    r.p50 = QUANTILE(0.50);
    r.p75 = QUANTILE(0.75);
    r.p95 = QUANTILE(0.95);
    r.p99 = QUANTILE(0.99);
    r.max = values[count - 1];
    return r;
}

/* The highest rate over slices of slice_ms from the first request on; *ret_dispersion over those
 * slices that are whole. */
static double
slices(const struct trace *t, double slice_ms, double *ret_dispersion)
{
    double from_ms = t->requests[0].at_ms, sum = 0.0, squares = 0.0, peak = 0.0;
    double end_ms = t->requests[t->count - 1].at_ms;
    size_t whole = 0;

    *ret_dispersion = 0.0;
    for (size_t i = 0; i < t->count;) {
        /* skip to the slice of request i: empty ones count for the dispersion */
        double n = 0.0, skipped = floor((t->requests[i].at_ms - from_ms) / slice_ms);

        from_ms += skipped * slice_ms;
        whole += (size_t)skipped;
        while (i < t->count && t->requests[i].at_ms < from_ms + slice_ms) {
            n += 1.0;
            i++;
        }
        peak = n > peak ? n : peak;
        if (from_ms + slice_ms <= end_ms) {
            whole++;
            sum += n;
            squares += n * n;
        }
        from_ms += slice_ms;
    }
    if (whole >= 2 && sum > 0.0) {
        double mean = sum / (double)whole;

        *ret_dispersion = (squares / (double)whole - mean * mean) / mean;
    }
    return peak / (slice_ms / MS_PER_S);
}

static double
gap_cv(const struct trace *t)
{
    double sum = 0.0, squares = 0.0, n = (double)(t->count - 1), mean;

    for (size_t i = 1; i < t->count; i++) {
        double gap = t->requests[i].at_ms - t->requests[i - 1].at_ms;

        sum += gap;
        squares += gap * gap;
    }
    if (!(sum > 0.0))
        return 0.0;
    mean = sum / n;
    return sqrt(fmax(squares / n - mean * mean, 0.0)) / mean;
}

/* Prompt tokens in blocks that an earlier request had, and requests that have such a block. */
static enum err
repeats(const struct trace *t, double *ret_tokens, size_t *ret_requests)
{
    struct trace_map seen = {NULL, 0, 0};
    enum err err = ERR_OK;

    *ret_tokens = 0.0;
    *ret_requests = 0;
    for (size_t i = 0; i < t->count && err == ERR_OK; i++) {
        const struct trace_request *q = &t->requests[i];
        uint32_t left = q->prompt_tokens;
        bool hit = false;

        for (uint32_t k = 0; k < q->block_count && err == ERR_OK; k++) {
            uint32_t tokens = left < t->block_tokens ? left : t->block_tokens;
            bool is_new = false;

            err = trace_map_put(&seen, t->blocks[q->block_first + k], 1, &is_new);
            left -= tokens;
            *ret_tokens += is_new ? 0.0 : tokens;
            hit = hit || !is_new;
        }
        *ret_requests += hit;
    }
    trace_map_fini(&seen);
    return err;
}

static enum err
count_sessions(const struct trace *t, size_t *ret_count)
{
    struct trace_map seen = {NULL, 0, 0};
    enum err err = ERR_OK;

    for (size_t i = 0; i < t->count && err == ERR_OK; i++)
        err = trace_map_put(&seen, t->requests[i].session, 1, NULL);
    *ret_count = seen.count;
    trace_map_fini(&seen);
    return err;
}

enum err
trace_describe(const struct trace *t, struct trace_stats *ret_stats)
{
    struct trace_stats s = {.count = t->count, .tenant_count = t->tenant_count};
    uint32_t *values = malloc(t->count * sizeof(values[0]));
    double repeated, prompts = 0.0, unused;
    size_t hits;
    enum err err;

    must(t->count > 0);
    if (values == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < t->count; i++) {
        values[i] = t->requests[i].output_tokens;
        prompts += t->requests[i].prompt_tokens;
    }
    s.output = tokens_of(values, t->count);
    for (size_t i = 0; i < t->count; i++)
        values[i] = t->requests[i].prompt_tokens;
    s.prompt = tokens_of(values, t->count);
    free(values);
    s.span_s = t->span_ms / MS_PER_S;
    s.rate_rps = trace_rate_rps(t);
    s.peak_1s_rps = slices(t, MS_PER_S, &unused);
    s.peak_10s_rps = slices(t, 10.0 * MS_PER_S, &unused);
    s.peak_60s_rps = slices(t, 60.0 * MS_PER_S, &s.dispersion_60s);
    s.gap_cv = gap_cv(t);
    err = repeats(t, &repeated, &hits);
    if (err == ERR_OK)
        err = count_sessions(t, &s.session_count);
    if (err != ERR_OK)
        return err;
    s.repeated_share = repeated / prompts;
    s.hit_share = (double)hits / (double)t->count;
    *ret_stats = s;
    return ERR_OK;
}

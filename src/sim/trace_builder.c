/* trace_builder - requests and blocks into growing arrays; see trace_builder.h. */
#include "sim/trace_builder.h"

#include <stdlib.h>

#include "base/hash.h"

/* Fixed, so that a trace has the same ids in every run. */
static const struct hash_key chain_key = {0x69736f6368726f6e, 0x6520747261636573};

static enum err
no_room(struct data_file *f, enum err err, const char *what, uint32_t max)
{
    if (err == ERR_FULL)
        return data_file_fail(f, err, "more than %u %s", max, what);
    return data_file_fail(f, err, "no memory for more %s", what);
}

enum err
trace_builder_request(struct trace_builder *b, struct data_file *f, double at_ms,
                      uint32_t prompt_tokens, uint32_t output_tokens)
{
    struct trace *t = &b->trace;
    enum err err = data_room(&t->requests, &b->request_room, t->count, TRACE_REQUESTS_MAX,
                             sizeof(t->requests[0]));

    if (err != ERR_OK)
        return no_room(f, err, "requests", TRACE_REQUESTS_MAX);
    t->requests[t->count] = (struct trace_request){
        .at_ms = at_ms,
        .prompt_tokens = prompt_tokens > 0 ? prompt_tokens : 1,
        .output_tokens = output_tokens > 0 ? output_tokens : 1,
        .session = t->count + 1,
        .block_first = (uint32_t)t->block_count,
    };
    t->count++;
    return ERR_OK;
}

uint64_t
trace_builder_chain(uint64_t before, uint64_t id)
{
    uint64_t pair[2] = {before, id};

    return hash_bytes(chain_key, pair, sizeof(pair));
}

enum err
trace_builder_block(struct trace_builder *b, struct data_file *f, uint64_t id)
{
    struct trace *t = &b->trace;
    struct trace_request *q = &t->requests[t->count - 1];
    enum err err = data_room(&t->blocks, &b->block_room, t->block_count, TRACE_BLOCKS_MAX,
                             sizeof(t->blocks[0]));

    if (err != ERR_OK)
        return no_room(f, err, "blocks", TRACE_BLOCKS_MAX);
    t->blocks[t->block_count] = trace_builder_chain(
        q->block_count > 0 ? t->blocks[t->block_count - 1] : 0, id);
    t->block_count++;
    q->block_count++;
    return ERR_OK;
}

struct moment {
    double at_ms;
    uint32_t index;
};

static int
by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

enum err
trace_builder_sort(struct trace_builder *b)
{
    struct trace *t = &b->trace;
    struct trace_request *sorted = NULL;
    struct moment *moments = NULL;
    enum err err = ERR_MEMORY;
    double first_ms;
    size_t i = 1;

    while (i < t->count && t->requests[i - 1].at_ms <= t->requests[i].at_ms)
        i++;
    if (i < t->count) { /* most files are sorted already */
        moments = malloc(t->count * sizeof(moments[0]));
        sorted = malloc(t->count * sizeof(sorted[0]));
        if (moments == NULL || sorted == NULL)
            goto out;
        for (i = 0; i < t->count; i++)
            moments[i] = (struct moment){t->requests[i].at_ms, (uint32_t)i};
        qsort(moments, t->count, sizeof(moments[0]), by_time);
        for (i = 0; i < t->count; i++)
            sorted[i] = t->requests[moments[i].index];
        free(t->requests);
        t->requests = sorted;
        sorted = NULL;
    }
    first_ms = t->count > 0 && !t->drawn ? t->requests[0].at_ms : 0.0;
    for (i = 0; i < t->count; i++)
        t->requests[i].at_ms -= first_ms;
    err = ERR_OK;
out:
    free(moments);
    free(sorted);
    return err;
}

#ifndef TEST_SIM_DATA_FIXTURE_H
#define TEST_SIM_DATA_FIXTURE_H
/* data_fixture - files in a folder of the test's own, and traces compared: for the tests of data
 * readers. */
#include <stdio.h>

#include "sim/trace.h"
#include "tap.h"

__attribute__((unused)) static void
put_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    out = fopen(path, "w");
    CHECK(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0, path);
}

__attribute__((unused)) static void
drop(const char *folder, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    CHECK(remove(path) == 0, path);
}

__attribute__((unused)) static bool
same_requests(const struct trace *a, const struct trace *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; i < a->count && same; i++) {
        const struct trace_request *p = &a->requests[i], *q = &b->requests[i];

        same = p->at_ms == q->at_ms && p->prompt_tokens == q->prompt_tokens &&
               p->output_tokens == q->output_tokens && p->tenant == q->tenant &&
               p->session == q->session && p->block_count == q->block_count;
    }
    return same;
}
#endif

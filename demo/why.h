#ifndef DEMO_WHY_H
#define DEMO_WHY_H
/* why - one readable line about one request: who answered it, when that was expected, and what the
 * nearest node would have cost. Asked of the gateway (GET /network/v1/explain/ID). */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "base/span.h"
#include "load_run.h"

#define WHY_LINE_BYTES_MAX 512u

/* Why the nearest candidate was not taken, out of the explanation: "nearest x-4090-03: 1,340 ms:
 * queue 1,190" (the term that weighs most against it), or that it was. Only candidates that were
 * weighed in milliseconds count: they have the model and are in order. ERR_PARSE: no explanation
 * of such a decision. size >= 1. */
MUST_USE enum err why_nearest(struct span explanation, char *text, size_t size);

struct why; /* asks and tells, for one run */
/* The targets' admin ports are asked. Explanations go to `raw` as they came, a line each (NULL:
 * nowhere). Options and raw must outlive it. ERR_MEMORY, ERR_ARG. */
MUST_USE enum err why_open(struct http_client *client, const struct load_options *options,
                           FILE *raw, struct why **ret_why);
void why_close(struct why *why); /* NULL: does nothing */
/* Ask about this request; print its line to standard output if `print`. */
void why_ask(struct why *why, const struct load_item *item, const struct load_result *result,
             bool print);
#endif

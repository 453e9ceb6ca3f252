#ifndef WIRE_PROMETHEUS_H
#define WIRE_PROMETHEUS_H
/* prometheus - the text exposition format 0.0.4 (and OpenMetrics as far as engines send it): one
 * sample after the other, without building anything. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

struct prometheus_sample {
    struct span name;
    struct span labels; /* between the braces, as written; empty when there are none */
    double value;
};

/* The next sample from *at on. ERR_AGAIN: the end. ERR_PARSE: a line that is none; *at is behind
 * it, so that the caller may go on. */
MUST_USE enum err prometheus_next(struct span text, size_t *at,
                                  struct prometheus_sample *ret_sample);
/* The value of a label, as written between its quotes; false when it is not there. */
bool prometheus_label(struct span labels, const char *name, struct span *ret_value);
#endif

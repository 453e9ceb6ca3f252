#ifndef BASE_SPEED_TABLE_H
#define BASE_SPEED_TABLE_H
/* speed_table - how fast kinds of hardware run models of a size: plain data, nothing else.
 * It stands in base because two sides need the same figures and must not see each other: the
 * gateway starts core's priors from it, and engine (the emulated world) runs by it. */
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

struct speed_row {
    double params_b;            /* billions of parameters */
    const char *gpu;            /* "h100", "h200x2": class and how many in tensor parallel */
    double a_ms, b_ms, c_ms;    /* prefill a + b*u + c*u*(h + u/2), u tokens after h cached ones */
    double t0_ms, tk_ms, tb_ms; /* decode step t0 + tk*KV/1000 + tb*batch */
    double kv_tokens_cap;       /* room for KV beside the weights */
    double weights_bytes;
};

/* Row by row; NULL past the end. */
const struct speed_row *speed_table_at(size_t index);
/* The row of this GPU class for a model of params_b billion parameters (> 0): the row nearest in
 * size, its times and weights scaled to params_b. ERR_NOT_FOUND: no such class; ERR_ARG: no such
 * size. */
MUST_USE enum err speed_table_find(double params_b, struct span gpu, struct speed_row *ret_row);
#endif

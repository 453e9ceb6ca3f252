#ifndef WIRE_RTT_H
#define WIRE_RTT_H
/* rtt - round trips between regions in milliseconds: a measured matrix (CSV), or great-circle
 * distances over a built-in table of regions (2/3 of the speed of light in fibre, a detour factor
 * of 1.5 and 2 ms of equipment, at least 1 ms). `:` in names becomes `-`; a missing diagonal is 1
 * ms. */
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"

#define RTT_REGIONS_MAX 512u

struct rtt_matrix {
    struct span *names;
    uint32_t count;
    float *ms; /* count * count, row = from; NAN where nothing is known */
};

struct rtt_error {
    uint32_t line;
    char message[160];
};

/* A CSV of commas. Two shapes: a square table whose first row and column name regions, or a list
 * with a header that has columns for from (from, src, src_region ...), to (to, dst, dst_region ...)
 * and milliseconds (ms, rtt_ms, rtt, avg_rtt, min_rtt ...: the first of these that is there). Empty
 * cells, `-` and NaN are unknown; lines that begin with # are comments; of a pair given twice the
 * last counts. Names are [a-z0-9-]{1,63}. ERR_PARSE, ERR_FULL (too many regions, or the arena):
 * *ret_error. */
MUST_USE enum err rtt_parse(struct span csv, struct arena *arena, struct rtt_matrix *ret_matrix,
                            struct rtt_error *ret_error);
struct rtt_place {
    const char *name;
    double latitude_deg, longitude_deg; /* of the city where most data centres of the region are */
};
/* The built-in regions one by one; NULL past the end. */
const struct rtt_place *rtt_place_at(size_t index);

/* Milliseconds there and back between two points, by the formula above. */
float rtt_great_circle_ms(const struct rtt_place *from, const struct rtt_place *to);

/* The built-in regions (at least 24: us-east us-west eu-west ap-northeast ...). */
MUST_USE enum err rtt_builtin(struct arena *arena, struct rtt_matrix *ret_matrix);
/* Milliseconds, or NAN when a name is not in the matrix or the pair is unknown. The other direction
 * is taken when one is missing. */
float rtt_ms(const struct rtt_matrix *m, struct span from, struct span to);
#endif

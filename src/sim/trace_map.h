#ifndef SIM_TRACE_MAP_H
#define SIM_TRACE_MAP_H
/* trace_map - a number for each id of a block or session: open addressing, grows, forgets nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct trace_map {
    struct trace_map_slot {
        uint64_t id, value; /* id 0: free */
    } * slots;
    size_t count, slot_count; /* slot_count is 0 or a power of two */
};

/* Value of id, or NULL; valid until the next put. A map of zeros is empty. */
const uint64_t *trace_map_get(const struct trace_map *m, uint64_t id);
/* Set it. *ret_new, unless NULL: id was not there. ERR_MEMORY: nothing is changed. */
MUST_USE enum err trace_map_put(struct trace_map *m, uint64_t id, uint64_t value, bool *ret_new);
void trace_map_fini(struct trace_map *m);
#endif

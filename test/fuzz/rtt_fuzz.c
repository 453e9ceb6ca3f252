/* rtt_fuzz - any bytes as a file of round trips: a matrix whose every cell can be read, or an
 * error. */
#include <math.h>

#include "base/must.h"
#include "wire/rtt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct rtt_matrix m;
    struct rtt_error error = {0, ""};

    arena_init(&arena, 4u << 20);
    if (rtt_parse((struct span){(const char *)data, bytes}, &arena, &m, &error) == ERR_OK) {
        must(m.count >= 1 && m.count <= RTT_REGIONS_MAX);
        for (uint32_t i = 0; i < m.count; i++) {
            float ms = rtt_ms(&m, m.names[0], m.names[i]);

            must(isnan(ms) || ms >= 0.0f);
            must(!isnan(rtt_ms(&m, m.names[i], m.names[i])));
        }
    } else {
        must(error.message[0] != '\0');
    }
    arena_fini(&arena);
    return 0;
}

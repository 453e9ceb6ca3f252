/* rtt_data_fuzz - any bytes as a file of round trips; behind a byte 0 as places and bandwidths too.
 */
#include <math.h>

#include "base/must.h"
#include "sim/rtt_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
add(struct rtt_data *d, struct span text, enum err (*take)(struct rtt_data *, struct data_file *))
{
    struct data_error error = {""};
    struct data_file *f = NULL;

    must(data_file_open_memory("m", text, &error, &f) == ERR_OK);
    must(take(d, f) == ERR_OK || error.text[0] == 'm');
    data_file_close(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span all = {(const char *)data, bytes}, matrix = all;
    struct data_error error = {""};
    struct data_file *f = NULL;
    struct rtt_data d;

    matrix.bytes = span_find(all, '\0');
    must(data_file_open_memory("m", matrix, &error, &f) == ERR_OK);
    if (rtt_data_read(f, &error, &d) == ERR_OK) {
        uint32_t index;

        add(&d, span_from(all, matrix.bytes + 1), rtt_data_places);
        add(&d, span_from(all, matrix.bytes + 1), rtt_data_bandwidths);
        for (size_t i = 0; i < (size_t)d.rtt.count * d.rtt.count; i++) {
            must(isnan(d.rtt.ms[i]) || d.rtt.ms[i] >= 0.0f);
            must(d.deviation_ms[i] >= 0.0f && !(d.bits_per_s[i] <= 0.0f));
        }
        must(rtt_data_pick(&d, d.rtt.names, 1, &error, &index) == ERR_OK && index == 0);
        rtt_data_close(&d);
    } else {
        must(error.text[0] == 'm');
    }
    data_file_close(f);
    return 0;
}

/* gpu_data_fuzz - any bytes as a table of measured speeds: rows in their ranges, or an error. */
#include "base/must.h"
#include "sim/gpu_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char path[] = "gpu/H_M_tp2_x.csv";
    struct data_error error = {""};
    struct data_file *f = NULL;
    struct gpu_data d = {0};
    enum err err = data_file_open_memory(path, (struct span){(const char *)data, bytes}, &error,
                                         &f);

    must(err == ERR_OK);
    err = gpu_data_read(&d, f, path, &error);
    must(err == ERR_OK || error.text[0] == 'g');
    for (size_t i = 0; i < d.request_count; i++)
        must(d.requests[i].input_tokens >= 1 &&
             d.requests[i].last_token_s >= d.requests[i].queued_s);
    for (size_t i = 0; i < d.point_count; i++)
        must(d.points[i].ttft_ms > 0.0 && d.points[i].output_tokens >= 1);
    for (size_t i = 0; i < d.batch_count; i++)
        must(d.batches[i].step_ms >= 0.0 && d.batches[i].batch >= 1);
    for (size_t i = 0; i < d.kernel_count; i++)
        must(d.kernels[i].us >= 0.0 && d.kernels[i].tensor_parallel == 2);
    gpu_data_close(&d);
    data_file_close(f);
    return 0;
}

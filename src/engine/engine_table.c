/* engine_table - parameters of emulated engines; see engine_table.h. */
#include "engine/engine_table.h"

#include "base/speed_table.h"

enum err
engine_table_speed(double params_b, struct span gpu, struct engine_speed *ret_speed)
{
    struct speed_row row;
    enum err err = speed_table_find(params_b, gpu, &row);

    if (err != ERR_OK)
        return err;
    *ret_speed = (struct engine_speed){
        .a_ms = row.a_ms,
        .b_ms = row.b_ms,
        .c_ms = row.c_ms,
        .t0_ms = row.t0_ms,
        .tk_ms = row.tk_ms,
        .tb_ms = row.tb_ms,
        .kv_tokens_cap = row.kv_tokens_cap,
        .weights_bytes = row.weights_bytes,
    };
    return ERR_OK;
}

double
engine_table_kv_bytes(double params_b)
{
    return params_b < 16 ? 131072 : params_b < 48 ? 262144 : 327680; /* halfway, as factors */
}

void
engine_table_vllm(struct engine_params *ret_params)
{
    *ret_params = (struct engine_params){
        .step_noise = 0.08,
        .hidden_speed = 1.0,
        .slots = 256, /* max_num_seqs */
        .prefill_budget = 2048,
        .disk_bytes_per_ms = 5e6,   /* NVMe, 3..12 GB/s */
        .host_bytes_per_ms = 2e7,   /* PCIe, 12..25 GB/s */
        .remote_bytes_per_ms = 2e6, /* LAN or object store, 1..5 GB/s; WAN a tenth of it */
        .start_ms = 20000,          /* graphs, profiling: 5..60 s */
        .wake_ms = 300,             /* the process is there, only its memory is mapped again */
        .models_max = 1,
    };
}

void
engine_table_llama_server(struct engine_params *ret_params)
{
    *ret_params = (struct engine_params){
        .step_noise = 0.08,
        .hidden_speed = 1.0,
        .slots = 16,
        .prefill_budget = 2048, /* --batch-size; ubatches split it inside one iteration */
        .disk_bytes_per_ms = 5e6,
        .host_bytes_per_ms = 2e7,
        .remote_bytes_per_ms = 2e6,
        .start_ms = 1500, /* a process and a mapping, no graphs */
        .models_max = 2,
    };
}

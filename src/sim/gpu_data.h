#ifndef SIM_GPU_DATA_H
#define SIM_GPU_DATA_H
/* gpu_data - what others measured on GPUs, as plain rows, for fitting and judging the engine model.
 * Which kind of table a file is, its header says; files with other headers are passed over. Names
 * are as the source wrote them. Numbers that a source leaves out are 0. */
#include "sim/data_folder.h"

#define GPU_ROWS_MAX   1000000u /* of one kind */
#define GPU_NAME_BYTES 64u

/* One request served by vLLM. Seconds from the first queued request; queued <= scheduled <= first
 * <= last. */
struct gpu_request {
    char hardware[GPU_NAME_BYTES], model[GPU_NAME_BYTES];
    uint32_t input_tokens, output_tokens; /* >= 1 */
    double queued_s, scheduled_s, first_token_s, last_token_s;
};

/* One measured point of serving at a steady load. */
struct gpu_point {
    char backend[GPU_NAME_BYTES], version[GPU_NAME_BYTES], model[GPU_NAME_BYTES];
    char system[GPU_NAME_BYTES], precision[GPU_NAME_BYTES];
    bool aggregated;                      /* one engine for prefill and decode; false: split */
    uint32_t input_tokens, output_tokens; /* >= 1 */
    uint32_t batch, tensor_parallel, pipeline_parallel, data_parallel; /* 0: not given */
    uint32_t moe_tensor_parallel, moe_expert_parallel;
    uint32_t concurrency;    /* 0: not given */
    double ttft_ms, tpot_ms; /* > 0; mean or median, the source does not say */
};

/* One batch run to its end. */
struct gpu_batch {
    char hardware[GPU_NAME_BYTES], model[GPU_NAME_BYTES];
    uint32_t prompt_tokens, batch, output_tokens; /* each >= 1 */
    uint32_t tensor_parallel;
    double prompt_ms, step_ms, e2e_ms; /* whole prefill; one decode step; all of it */
};

enum gpu_kernel_kind {
    GPU_KERNEL_DENSE,    /* tokens */
    GPU_KERNEL_SEQUENCE, /* tokens: how many sequences; once a step */
    GPU_KERNEL_ATTENTION /* the four numbers of context */
};

/* Time of one operation of ONE layer. */
struct gpu_kernel {
    char hardware[GPU_NAME_BYTES], model[GPU_NAME_BYTES], layer[GPU_NAME_BYTES];
    enum gpu_kernel_kind kind;
    uint32_t tensor_parallel;
    uint32_t tokens;
    uint32_t prefill_tokens, prefill_context_tokens; /* attention: new ones, those before them */
    uint32_t decode_count, decode_context_tokens;    /* attention: of each decode */
    double us;
};

/* What a vendor says of one GPU of a system; 0: not said. */
struct gpu_spec {
    char system[GPU_NAME_BYTES];
    double bf16_flops, fp8_flops, fp4_flops; /* dense, per second */
    double memory_bytes, memory_bytes_per_s;
};

/* Shape of a model; 0: not known. */
struct gpu_model {
    char model[GPU_NAME_BYTES];
    uint32_t layers;
    double params, active_params;        /* whole numbers of parameters, not billions */
    double kv_bytes_per_token;           /* at 16 bit */
    uint32_t experts, experts_per_token; /* of a layer */
    bool latent; /* KV is one latent vector (MLA): each tensor parallel rank keeps all of it */
};

struct gpu_data {
    struct gpu_request *requests;
    struct gpu_point *points;
    struct gpu_batch *batches;
    struct gpu_kernel *kernels;
    struct gpu_spec *specs;
    struct gpu_model *models;
    size_t request_count, point_count, batch_count, kernel_count, spec_count, model_count;
    size_t request_room, point_room, batch_room, kernel_room, spec_room, model_room;
};

/* Read every table in folder/gpu, folder/gpu/llmservingsim and folder/models, in the order of their
 * names. A folder that is not there has no rows. Any other error: *error says it, with file and
 * line; *ret_data is untouched. The caller closes it. */
MUST_USE enum err gpu_data_open(const char *folder, struct data_error *error,
                                struct gpu_data *ret_data);
/* Add the rows of one file to *d, which began as zeros. ERR_UNSUPPORTED: no header that is known;
 * ERR_PARSE, ERR_FULL, ERR_IO, ERR_MEMORY. After an error *d holds what came before it. */
MUST_USE enum err gpu_data_read(struct gpu_data *d, struct data_file *f, const char *path,
                                struct data_error *error);
void gpu_data_close(struct gpu_data *d);
#endif

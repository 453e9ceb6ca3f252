/* gpu_data - tables of measured speeds; see gpu_data.h. A kind of table is one row of `kinds`: what
 * tells it, its columns, and the function that turns a line into a row. */
#include "sim/gpu_data.h"

#include <stdlib.h>

#include "sim/data_table.h"

#define TOKENS_MAX   100000000u
#define COUNT_MAX    1000000u
#define SECONDS_MAX  1e6
#define MS_MAX       1e9
#define US_MAX       1e9
#define QUANTITY_MAX 1e21 /* FLOP/s, bytes */

/* Where the file says what its header does not. */
struct origin {
    const char *path;
    struct span stem;
};

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))
/* A zeroed row of one kind behind the last one of *d; NULL and r->err when there is no room. */
#define NEW_ROW(r, d, list, count, room)                                                           \
    (has_room(r, &(d)->list, &(d)->room, (d)->count, sizeof((d)->list[0]))                         \
         ? memset(&(d)->list[(d)->count], 0, sizeof((d)->list[0]))                                 \
         : NULL)

/* Several readings one after another: the first error stays. */
struct reading {
    struct data_table *t;
    enum err err;
};

static bool
has_room(struct reading *r, void *array_address, size_t *room, size_t count, size_t item_bytes)
{
    r->err = data_room(array_address, room, count, GPU_ROWS_MAX, item_bytes);
    if (r->err == ERR_FULL)
        r->err = data_file_fail(r->t->file, ERR_FULL, "more than %u rows", GPU_ROWS_MAX);
    else if (r->err != ERR_OK)
        r->err = data_file_fail(r->t->file, ERR_MEMORY, "no memory for another row");
    return r->err == ERR_OK;
}

static void
read_name(struct reading *r, uint32_t column, char text[GPU_NAME_BYTES])
{
    if (r->err == ERR_OK)
        r->err = data_table_name(r->t, column, text, GPU_NAME_BYTES);
}

static void
read_tokens(struct reading *r, uint32_t column, uint32_t min, uint32_t *ret)
{
    if (r->err == ERR_OK)
        r->err = data_table_u32(r->t, column, min, TOKENS_MAX, ret);
}

static void
read_count(struct reading *r, uint32_t column, uint32_t *ret) /* may be left out */
{
    if (r->err == ERR_OK)
        r->err = data_table_u32_or(r->t, column, 0, COUNT_MAX, 0, ret);
}

static void
read_f64(struct reading *r, uint32_t column, double max, double *ret)
{
    if (r->err == ERR_OK)
        r->err = data_table_f64(r->t, column, 0.0, max, ret);
}

static void
read_quantity(struct reading *r, uint32_t column, double *ret) /* may be left out */
{
    if (r->err == ERR_OK && data_table_text(r->t, column).bytes > 0)
        r->err = data_table_f64(r->t, column, 0.0, QUANTITY_MAX, ret);
}

/* ---- Requests measured one by one. */

enum { Q_HARDWARE, Q_MODEL, Q_INPUT, Q_OUTPUT, Q_QUEUED, Q_SCHEDULED, Q_FIRST, Q_LAST };
static const struct data_column request_columns[] = {
    [Q_HARDWARE] = {"hardware", false},   [Q_MODEL] = {"model", false},
    [Q_INPUT] = {"input_toks", false},    [Q_OUTPUT] = {"output_toks", false},
    [Q_QUEUED] = {"queued_s", false},     [Q_SCHEDULED] = {"scheduled_s", false},
    [Q_FIRST] = {"first_token_s", false}, [Q_LAST] = {"last_token_s", false},
};

static enum err
take_request(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    struct reading r = {t, ERR_OK};
    struct gpu_request *row = NEW_ROW(&r, d, requests, request_count, request_room);

    (void)origin;
    if (row == NULL)
        return r.err;
    read_name(&r, Q_HARDWARE, row->hardware);
    read_name(&r, Q_MODEL, row->model);
    read_tokens(&r, Q_INPUT, 1, &row->input_tokens);
    read_tokens(&r, Q_OUTPUT, 1, &row->output_tokens);
    read_f64(&r, Q_QUEUED, SECONDS_MAX, &row->queued_s);
    read_f64(&r, Q_SCHEDULED, SECONDS_MAX, &row->scheduled_s);
    read_f64(&r, Q_FIRST, SECONDS_MAX, &row->first_token_s);
    read_f64(&r, Q_LAST, SECONDS_MAX, &row->last_token_s);
    if (r.err == ERR_OK &&
        (row->scheduled_s < row->queued_s || row->first_token_s < row->scheduled_s ||
         row->last_token_s < row->first_token_s))
        r.err = data_file_fail(t->file, ERR_PARSE,
                               "queued, scheduled, first and last token are not in this order");
    d->request_count += r.err == ERR_OK;
    return r.err;
}

/* ---- Points of curves. */

enum {
    P_BACKEND,
    P_VERSION,
    P_MODEL,
    P_SYSTEM,
    P_PRECISION,
    P_MODE,
    P_INPUT,
    P_OUTPUT,
    P_BATCH,
    P_TP,
    P_PP,
    P_DP,
    P_MOE_TP,
    P_MOE_EP,
    P_CONCURRENCY,
    P_TTFT,
    P_TPOT
};
static const struct data_column point_columns[] = {
    [P_BACKEND] = {"backend", false},
    [P_VERSION] = {"backend_version", true},
    [P_MODEL] = {"model_path", false},
    [P_SYSTEM] = {"system", false},
    [P_PRECISION] = {"precision", true},
    [P_MODE] = {"mode", false},
    [P_INPUT] = {"isl", false},
    [P_OUTPUT] = {"osl", false},
    [P_BATCH] = {"batch_size", true},
    [P_TP] = {"tp_size", true},
    [P_PP] = {"pp_size", true},
    [P_DP] = {"attention_dp_size", true},
    [P_MOE_TP] = {"moe_tp_size", true},
    [P_MOE_EP] = {"moe_ep_size", true},
    [P_CONCURRENCY] = {"concurrency", true},
    [P_TTFT] = {"silicon_ttft_ms", false},
    [P_TPOT] = {"silicon_tpot_ms", false},
};

static enum err
take_point(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    struct span mode = data_table_text(t, P_MODE);
    struct reading r = {t, ERR_OK};
    struct gpu_point *row = NEW_ROW(&r, d, points, point_count, point_room);

    (void)origin;
    if (row == NULL)
        return r.err;
    row->aggregated = span_eq_text(mode, "agg");
    if (!row->aggregated && !span_eq_text(mode, "disagg"))
        return data_file_fail(t->file, ERR_PARSE, "mode is neither agg nor disagg");
    read_name(&r, P_BACKEND, row->backend);
    read_name(&r, P_VERSION, row->version);
    read_name(&r, P_MODEL, row->model);
    read_name(&r, P_SYSTEM, row->system);
    read_name(&r, P_PRECISION, row->precision);
    read_tokens(&r, P_INPUT, 1, &row->input_tokens);
    read_tokens(&r, P_OUTPUT, 1, &row->output_tokens);
    read_count(&r, P_BATCH, &row->batch);
    read_count(&r, P_TP, &row->tensor_parallel);
    read_count(&r, P_PP, &row->pipeline_parallel);
    read_count(&r, P_DP, &row->data_parallel);
    read_count(&r, P_MOE_TP, &row->moe_tensor_parallel);
    read_count(&r, P_MOE_EP, &row->moe_expert_parallel);
    read_count(&r, P_CONCURRENCY, &row->concurrency);
    read_f64(&r, P_TTFT, MS_MAX, &row->ttft_ms);
    read_f64(&r, P_TPOT, MS_MAX, &row->tpot_ms);
    if (r.err == ERR_OK && !(row->ttft_ms > 0.0 && row->tpot_ms > 0.0))
        r.err = data_file_fail(t->file, ERR_PARSE, "a measured time of 0 ms");
    d->point_count += r.err == ERR_OK;
    return r.err;
}

/* ---- Whole batches. */

enum { B_MODEL, B_HARDWARE, B_PROMPT, B_BATCH, B_OUTPUT, B_PROMPT_TIME, B_STEP, B_E2E, B_TP };
static const struct data_column batch_columns[] = {
    [B_MODEL] = {"model", false},        [B_HARDWARE] = {"hardware", false},
    [B_PROMPT] = {"prompt_size", false}, [B_BATCH] = {"batch_size", false},
    [B_OUTPUT] = {"token_size", false},  [B_PROMPT_TIME] = {"prompt_time", false},
    [B_STEP] = {"token_time", false},    [B_E2E] = {"e2e_time", false},
    [B_TP] = {"tensor_parallel", true},
};

/* Two sources share these columns: one in milliseconds with the time of a step; SageServe's in
 * seconds with the time of the whole decode, which only the name of the file tells. */
static enum err
take_batch(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    bool seconds = span_starts(origin->stem, SPAN_LIT("sageserve"));
    struct reading r = {t, ERR_OK};
    struct gpu_batch *row = NEW_ROW(&r, d, batches, batch_count, batch_room);

    if (row == NULL)
        return r.err;
    read_name(&r, B_MODEL, row->model);
    read_name(&r, B_HARDWARE, row->hardware);
    read_tokens(&r, B_PROMPT, 1, &row->prompt_tokens);
    read_tokens(&r, B_BATCH, 1, &row->batch);
    read_tokens(&r, B_OUTPUT, 1, &row->output_tokens);
    read_count(&r, B_TP, &row->tensor_parallel);
    read_f64(&r, B_PROMPT_TIME, MS_MAX, &row->prompt_ms);
    read_f64(&r, B_STEP, MS_MAX, &row->step_ms);
    read_f64(&r, B_E2E, MS_MAX, &row->e2e_ms);
    if (seconds && r.err == ERR_OK) {
        row->prompt_ms *= 1000.0;
        row->step_ms *= 1000.0 / row->output_tokens;
        row->e2e_ms *= 1000.0;
    }
    d->batch_count += r.err == ERR_OK;
    return r.err;
}

/* ---- Kernels. */

enum { K_LAYER, K_TOKENS, K_SEQUENCES, K_CHUNK, K_KV_PREFILL, K_DECODES, K_KV_DECODE, K_TIME };
static const struct data_column kernel_columns[] = {
    [K_LAYER] = {"layer", true},           [K_TOKENS] = {"tokens", true},
    [K_SEQUENCES] = {"sequences", true},   [K_CHUNK] = {"prefill_chunk", true},
    [K_KV_PREFILL] = {"kv_prefill", true}, [K_DECODES] = {"n_decode", true},
    [K_KV_DECODE] = {"kv_decode", true},   [K_TIME] = {"time_us", false},
};

/* The file's name is HARDWARE_MODEL_tpN_TABLE. */
static bool
kernel_name(struct span stem, struct gpu_kernel *row)
{
    size_t hardware = span_find(stem, '_');
    struct span rest = span_from(stem, hardware + 1);

    for (size_t i = 0; i + 3 < rest.bytes; i++) {
        struct span tail = span_from(rest, i);
        uint64_t ranks;

        if (!span_starts(tail, SPAN_LIT("_tp")))
            continue;
        tail = span_from(tail, 3);
        tail.bytes = span_find(tail, '_');
        if (span_u64(tail, &ranks) != ERR_OK || ranks == 0 || ranks > COUNT_MAX)
            continue;
        row->tensor_parallel = (uint32_t)ranks;
        span_copy((struct span){stem.data, hardware}, row->hardware, sizeof(row->hardware));
        span_copy((struct span){rest.data, i}, row->model, sizeof(row->model));
        return true;
    }
    return false;
}

static enum err
take_kernel(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    struct reading r = {t, ERR_OK};
    struct gpu_kernel *row = NEW_ROW(&r, d, kernels, kernel_count, kernel_room);

    if (row == NULL)
        return r.err;
    if (!kernel_name(origin->stem, row))
        return data_file_fail(t->file, ERR_PARSE, "the file's name is not HARDWARE_MODEL_tpN_...");
    read_name(&r, K_LAYER, row->layer);
    if (t->at[K_KV_PREFILL] != UINT32_MAX) {
        row->kind = GPU_KERNEL_ATTENTION;
        read_tokens(&r, K_CHUNK, 0, &row->prefill_tokens);
        read_tokens(&r, K_KV_PREFILL, 0, &row->prefill_context_tokens);
        read_tokens(&r, K_DECODES, 0, &row->decode_count);
        read_tokens(&r, K_KV_DECODE, 0, &row->decode_context_tokens);
    } else if (t->at[K_SEQUENCES] != UINT32_MAX) {
        row->kind = GPU_KERNEL_SEQUENCE;
        read_tokens(&r, K_SEQUENCES, 1, &row->tokens);
    } else {
        row->kind = GPU_KERNEL_DENSE;
        read_tokens(&r, K_TOKENS, 1, &row->tokens);
    }
    read_f64(&r, K_TIME, US_MAX, &row->us);
    d->kernel_count += r.err == ERR_OK;
    return r.err;
}

/* ---- What vendors and models say of themselves. */

enum { S_SYSTEM, S_BF16, S_FP8, S_FP4, S_MEMORY, S_BANDWIDTH };
static const struct data_column spec_columns[] = {
    [S_SYSTEM] = {"system", false},           [S_BF16] = {"gpu.bfloat16_tc_flops", true},
    [S_FP8] = {"gpu.fp8_tc_flops", true},     [S_FP4] = {"gpu.fp4_tc_flops", true},
    [S_MEMORY] = {"gpu.mem_capacity", false}, [S_BANDWIDTH] = {"gpu.mem_bw", false},
};

static enum err
take_spec(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    struct reading r = {t, ERR_OK};
    struct gpu_spec *row = NEW_ROW(&r, d, specs, spec_count, spec_room);

    (void)origin;
    if (row == NULL)
        return r.err;
    read_name(&r, S_SYSTEM, row->system);
    read_quantity(&r, S_BF16, &row->bf16_flops);
    read_quantity(&r, S_FP8, &row->fp8_flops);
    read_quantity(&r, S_FP4, &row->fp4_flops);
    read_quantity(&r, S_MEMORY, &row->memory_bytes);
    read_quantity(&r, S_BANDWIDTH, &row->memory_bytes_per_s);
    d->spec_count += r.err == ERR_OK;
    return r.err;
}

enum { M_MODEL, M_LAYERS, M_PARAMS, M_ACTIVE, M_KV, M_EXPERTS, M_EXPERTS_TOKEN, M_LATENT };
static const struct data_column model_columns[] = {
    [M_MODEL] = {"model", false},
    [M_LAYERS] = {"num_hidden_layers", true},
    [M_PARAMS] = {"params_b_computed", false},
    [M_ACTIVE] = {"active_params_b_computed", true},
    [M_KV] = {"kv_bytes_per_token_16bit", true},
    [M_EXPERTS] = {"num_experts", true},
    [M_EXPERTS_TOKEN] = {"experts_per_tok", true},
    [M_LATENT] = {"kv_lora_rank", true},
};

static enum err
take_model(struct gpu_data *d, struct data_table *t, const struct origin *origin)
{
    struct reading r = {t, ERR_OK};
    struct gpu_model *row = NEW_ROW(&r, d, models, model_count, model_room);

    (void)origin;
    if (row == NULL)
        return r.err;
    read_name(&r, M_MODEL, row->model);
    read_count(&r, M_LAYERS, &row->layers);
    read_quantity(&r, M_PARAMS, &row->params);
    read_quantity(&r, M_ACTIVE, &row->active_params);
    read_quantity(&r, M_KV, &row->kv_bytes_per_token);
    read_count(&r, M_EXPERTS, &row->experts);
    read_count(&r, M_EXPERTS_TOKEN, &row->experts_per_token);
    row->latent = data_table_text(t, M_LATENT).bytes > 0;
    row->params *= 1e9;
    row->active_params *= 1e9;
    d->model_count += r.err == ERR_OK;
    return r.err;
}

/* ---- */

static const struct kind {
    const char *name;   /* how the names of such files begin; NULL: only the header tells */
    const char *column; /* a column that no other kind has */
    const struct data_column *columns;
    uint32_t count;
    enum err (*take)(struct gpu_data *d, struct data_table *t, const struct origin *origin);
} kinds[] = {
    {"vllm_measured", "first_token_s", request_columns, COUNT_OF(request_columns), take_request},
    {"aiconfigurator", "silicon_ttft_ms", point_columns, COUNT_OF(point_columns), take_point},
    {"splitwise", "token_time", batch_columns, COUNT_OF(batch_columns), take_batch},
    {"sageserve", "token_time", batch_columns, COUNT_OF(batch_columns), take_batch},
    {NULL, "time_us", kernel_columns, COUNT_OF(kernel_columns), take_kernel},
    {"gpu_specs", "gpu.mem_bw", spec_columns, COUNT_OF(spec_columns), take_spec},
    {"model_sizes", "params_b_computed", model_columns, COUNT_OF(model_columns), take_model},
};

static bool
has_column(struct span head, const char *name)
{
    while (head.bytes > 0) {
        size_t end = span_find(head, ',');

        if (span_eq_text(span_trim((struct span){head.data, end}), name))
            return true;
        head = span_from(head, end + 1);
    }
    return false;
}

static const struct kind *
kind_of(struct span head, struct span stem)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if ((kinds[i].name != NULL && span_starts(stem, span_of(kinds[i].name))) ||
            has_column(head, kinds[i].column))
            return &kinds[i];
    }
    return NULL;
}

enum err
gpu_data_read(struct gpu_data *d, struct data_file *f, const char *path, struct data_error *error)
{
    struct origin origin = {path, data_folder_stem(path)};
    const struct kind *kind = NULL;
    struct data_table t;
    struct span head;
    enum err err = data_file_line(f, &head);

    if (err == ERR_OK)
        kind = kind_of(head, origin.stem);
    else if (err == ERR_NOT_FOUND)
        return data_error_say(error, ERR_PARSE, "%s: the file is empty", path);
    if (err != ERR_OK)
        return err;
    if (kind == NULL)
        return data_file_fail(f, ERR_UNSUPPORTED, "no table that is known");
    data_file_again(f);
    err = data_table_open(&t, f, kind->columns, kind->count);
    while (err == ERR_OK) {
        err = data_table_next(&t);
        if (err == ERR_OK)
            err = kind->take(d, &t, &origin);
        else if (err == ERR_NOT_FOUND)
            return ERR_OK;
    }
    return err;
}

static enum err
read_folder(struct gpu_data *d, const char *folder, const char *below, struct data_error *error)
{
    struct data_folder list;
    enum err err = data_folder_open(folder, below, error, &list);

    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    for (size_t i = 0; err == ERR_OK && i < list.count; i++) {
        struct data_file *f = NULL;

        err = data_file_open(list.paths[i], error, &f);
        if (err == ERR_OK)
            err = gpu_data_read(d, f, list.paths[i], error);
        if (err == ERR_UNSUPPORTED)
            err = ERR_OK;
        data_file_close(f);
    }
    data_folder_close(&list);
    return err;
}

enum err
gpu_data_open(const char *folder, struct data_error *error, struct gpu_data *ret_data)
{
    struct gpu_data d = {0};
    enum err err = read_folder(&d, folder, "gpu", error);

    if (err == ERR_OK)
        err = read_folder(&d, folder, "gpu/llmservingsim", error);
    if (err == ERR_OK)
        err = read_folder(&d, folder, "models", error);
    if (err != ERR_OK) {
        gpu_data_close(&d);
        return err;
    }
    *ret_data = d;
    return ERR_OK;
}

void
gpu_data_close(struct gpu_data *d)
{
    free(d->requests);
    free(d->points);
    free(d->batches);
    free(d->kernels);
    free(d->specs);
    free(d->models);
    *d = (struct gpu_data){0};
}

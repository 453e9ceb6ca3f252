/* gpu_data_test - one small file of each kind, files that are wrong, and a folder of them. */
#include "sim/gpu_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_fixture.h"
#include "tap.h"

#define REQUESTS                                                                                   \
    "hardware,model,input_toks,output_toks,queued_s,scheduled_s,first_token_s,last_token_s\n"
#define BATCHES                                                                                    \
    "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,e2e_time,"            \
    "tensor_parallel\n"
#define POINTS "backend,model_path,system,mode,isl,osl,tp_size,silicon_ttft_ms,silicon_tpot_ms\n"

static enum err
read_text(const char *path, const char *text, struct gpu_data *d, struct data_error *error)
{
    struct data_file *f = NULL;
    enum err err = data_file_open_memory(path, span_of(text), error, &f);

    if (err == ERR_OK)
        err = gpu_data_read(d, f, path, error);
    data_file_close(f);
    return err;
}

static void
check_kinds(void)
{
    struct data_error error = {""};
    struct gpu_data d = {0};

    CHECK(read_text("new_name.csv", REQUESTS "H,M,10,20,0,0.5,1,2\n", &d, &error) == ERR_OK &&
              d.request_count == 1,
          "a request, whatever the file's name");
    CHECK(d.requests[0].input_tokens == 10 && d.requests[0].last_token_s == 2.0 &&
              strcmp(d.requests[0].hardware, "H") == 0,
          "as written");
    CHECK(read_text("p.csv", POINTS "vllm,m,h100,agg,1024,128,4,50.5,7\nx,m,h,disagg,1,1,,1,1\n",
                    &d, &error) == ERR_OK &&
              d.point_count == 2,
          "points");
    CHECK(d.points[0].aggregated && d.points[0].tensor_parallel == 4 && d.points[0].batch == 0 &&
              d.points[0].ttft_ms == 50.5,
          "a point, with columns missing");
    CHECK(!d.points[1].aggregated && d.points[1].tensor_parallel == 0, "a split one");
    CHECK(read_text("b.csv", BATCHES "m,h,512,2,128,100,50,6450,2\n", &d, &error) == ERR_OK &&
              read_text("sageserve_b.csv", BATCHES "m,h,512,2,128,0.1,6.4,6.5,2\n", &d, &error) ==
                  ERR_OK &&
              d.batch_count == 2,
          "batches");
    CHECK(d.batches[0].step_ms == 50.0 && d.batches[1].step_ms == 50.0 &&
              d.batches[1].prompt_ms == 100.0 && d.batches[1].e2e_ms == 6500.0,
          "both in milliseconds a step");
    CHECK(read_text("g/RTX_M_x-8B_tp2_dense.csv.gz", "layer,tokens,time_us\nact,4,2.5\n", &d,
                    &error) == ERR_OK &&
              read_text("RTX_M_tp1_att.csv",
                        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n1,2,3,4,5\n", &d,
                        &error) == ERR_OK &&
              read_text("RTX_M_tp1_per.csv", "layer,sequences,time_us\nlm,3,5\n", &d, &error) ==
                  ERR_OK &&
              d.kernel_count == 3,
          "kernels");
    CHECK(strcmp(d.kernels[0].hardware, "RTX") == 0 && strcmp(d.kernels[0].model, "M_x-8B") == 0 &&
              d.kernels[0].tensor_parallel == 2 && d.kernels[0].kind == GPU_KERNEL_DENSE,
          "what the file's name says");
    CHECK(d.kernels[1].kind == GPU_KERNEL_ATTENTION && d.kernels[1].decode_context_tokens == 4 &&
              d.kernels[2].kind == GPU_KERNEL_SEQUENCE && d.kernels[2].tokens == 3,
          "three kinds of kernel");
    CHECK(read_text("s.csv", "system,gpu.mem_capacity,gpu.mem_bw\na,85899345920,2e12\n", &d,
                    &error) == ERR_OK &&
              d.spec_count == 1 && d.specs[0].memory_bytes_per_s == 2e12 &&
              d.specs[0].bf16_flops == 0.0,
          "a specification");
    CHECK(read_text("m.csv", "model,params_b_computed\na/b,8.5\nc,\n", &d, &error) == ERR_OK &&
              d.model_count == 2 && d.models[0].params == 8.5e9 && d.models[1].params == 0.0,
          "sizes of models");
    gpu_data_close(&d);
    CHECK(d.kernels == NULL && d.kernel_count == 0, "closed");
}

static const struct {
    const char *label, *path, *text, *words;
    enum err err;
} bad[] = {
    {"another table", "x.csv", "a,b\n1,2\n", "x.csv:1: no table that is known", ERR_UNSUPPORTED},
    {"empty", "x.csv", "", "x.csv: the file is empty", ERR_PARSE},
    {"a column is missing in what the name promises", "vllm_measured_requests.csv", "hardware\nx\n",
     "vllm_measured_requests.csv:1: the column model is missing", ERR_PARSE},
    {"times out of order", "x.csv", REQUESTS "H,M,10,20,0,0.5,0.4,2\n", "x.csv:2: queued,",
     ERR_PARSE},
    {"no tokens", "x.csv", REQUESTS "H,M,0,20,0,0.5,1,2\n", "x.csv:2: input_toks: `0`", ERR_PARSE},
    {"negative time", "x.csv", REQUESTS "H,M,1,20,-1,0.5,1,2\n", "x.csv:2: queued_s: `-1`",
     ERR_PARSE},
    {"NaN", "x.csv", POINTS "v,m,h,agg,1,1,1,NaN,7\n", "x.csv:2: silicon_ttft_ms", ERR_PARSE},
    {"0 ms", "x.csv", POINTS "v,m,h,agg,1,1,1,0,7\n", "x.csv:2: a measured time of 0", ERR_PARSE},
    {"a third mode", "x.csv", POINTS "v,m,h,both,1,1,1,1,7\n", "x.csv:2: mode is", ERR_PARSE},
    {"absurd tokens", "x.csv", POINTS "v,m,h,agg,1e12,1,1,1,7\n", "x.csv:2: isl: `1e12`",
     ERR_PARSE},
    {"a kernel of nobody", "x.csv", "layer,tokens,time_us\nact,4,2.5\n", "x.csv:2: the file's name",
     ERR_PARSE},
};

static void
check_folder(void)
{
    char folder[] = "/tmp/isochrone-gpu-data-XXXXXX", gpu[64];
    struct data_error error = {""};
    struct gpu_data d = {0};

    CHECK(mkdtemp(folder) != NULL, "a folder");
    CHECK(gpu_data_open(folder, &error, &d) == ERR_OK && d.request_count == 0, "nothing in it");
    snprintf(gpu, sizeof(gpu), "%s/gpu", folder);
    CHECK(mkdir(gpu, 0700) == 0, gpu);
    put_file(gpu, "b.csv", REQUESTS "second,M,10,20,0,0.5,1,2\n");
    put_file(gpu, "a.csv", REQUESTS "first,M,10,20,0,0.5,1,2\n");
    put_file(gpu, "other.csv", "city\nRome\n");
    CHECK(gpu_data_open(folder, &error, &d) == ERR_OK && d.request_count == 2 &&
              strcmp(d.requests[0].hardware, "first") == 0,
          "in the order of names, other tables passed over");
    gpu_data_close(&d);
    put_file(gpu, "b.csv", REQUESTS "second,M,10,20,0,0.5,1\n");
    CHECK(gpu_data_open(folder, &error, &d) == ERR_PARSE && d.requests == NULL, "one bad row");
    CHECK(strstr(error.text, "/gpu/b.csv:2: 7 cells") != NULL, error.text);
    drop(gpu, "a.csv");
    drop(gpu, "b.csv");
    drop(gpu, "other.csv");
    drop(folder, "gpu");
    drop(folder, "");
}

static void
check_stems(void)
{
    CHECK(span_eq_text(data_folder_stem("/a/b.c_d.csv.gz"), "b.c_d"), "packed");
    CHECK(span_eq_text(data_folder_stem("x.jsonl"), "x"), "lines of JSON");
    CHECK(span_eq_text(data_folder_stem("a/plain"), "plain"), "no ending");
}

int
main(void)
{
    check_kinds();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct data_error error = {""};
        struct gpu_data d = {0};

        CHECK(read_text(bad[i].path, bad[i].text, &d, &error) == bad[i].err, bad[i].label);
        CHECK(strncmp(error.text, bad[i].words, strlen(bad[i].words)) == 0, error.text);
        gpu_data_close(&d);
    }
    check_folder();
    check_stems();
    return tap_done();
}

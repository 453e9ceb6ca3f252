/* fit_requests_test - kernels whose sum is known, and a run made by the engine itself. */
#include "sim/fit_requests.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define KERNELS  64u
#define REQUESTS 40u

static struct gpu_kernel kernels[KERNELS];
static struct gpu_request requests[REQUESTS];
static struct gpu_model models[] = {
    {.model = "x/Llama-3.1-8B", .layers = 10, .params = 8e9, .kv_bytes_per_token = 131072}};
static struct gpu_spec systems[] = {{.system = "rtx_9_server", .memory_bytes = 1e11}};

static void
add(struct gpu_data *d, enum gpu_kernel_kind kind, const char *layer, uint32_t tokens, double us)
{
    struct gpu_kernel *k = &d->kernels[d->kernel_count++];

    *k = (struct gpu_kernel){
        .hardware = "RTX9", .model = "Llama-3.1-8B", .kind = kind, .tokens = tokens, .us = us};
    memcpy(k->layer, layer, strlen(layer) + 1);
}

/* A layer takes 900 us and 4 a token, its two norms 50 each; what is once a step 1,000 us. */
static void
add_kernels(struct gpu_data *d)
{
    static const uint32_t tokens[] = {1, 128, 2048};

    for (int i = 0; i < 3; i++) {
        add(d, GPU_KERNEL_DENSE, "mlp", tokens[i], 896 + 4.0 * tokens[i]);
        add(d, GPU_KERNEL_DENSE, "layernorm", tokens[i], 50);
        add(d, GPU_KERNEL_DENSE, "embedding", tokens[i], 400);
        add(d, GPU_KERNEL_SEQUENCE, "lm_head", tokens[i], 600);
    }
    for (uint32_t i = 0; i < 12; i++) {
        struct gpu_kernel *k;

        add(d, GPU_KERNEL_ATTENTION, "", 0, 0);
        k = &d->kernels[d->kernel_count - 1];
        k->decode_count = 1 + i % 4 * 20;
        k->decode_context_tokens = 500 + 700 * (i / 4);
        k->us = 10 + 0.2 * k->decode_count + 5.0 * k->decode_count * k->decode_context_tokens / 1e3;
        add(d, GPU_KERNEL_ATTENTION, "", 0, 0);
        k = &d->kernels[d->kernel_count - 1];
        k->prefill_tokens = 64u << i % 4;
        k->prefill_context_tokens = 1000 * (i / 4);
        k->us = 20 + 0.05 * k->prefill_tokens +
                1e-3 * k->prefill_tokens * (k->prefill_context_tokens + k->prefill_tokens / 2.0);
    }
}

static void
test_kernels(struct gpu_data *d)
{
    struct engine_speed s = {.kv_tokens_cap = 7};

    CHECK(fit_kernels(d, "RTX9", "Llama-3.1-8B", &s) == ERR_OK, "kernels");
    CHECK(fabs(s.t0_ms - (10 * 1.0 + 1.0 + 10 * 0.010)) < 0.05, "what a step takes in any case");
    CHECK(fabs(s.b_ms - 10 * 0.00405) < 1e-3, "and for each token");
    CHECK(fabs(s.tb_ms - 10 * 0.0042) < 2e-3, "each sequence");
    CHECK(fabs(s.tk_ms - 10 * 0.005) < 2e-3, "each thousand of context");
    CHECK(fabs(s.c_ms / (10 * 1e-6) - 1) < 0.1, "each token of context in a prompt");
    CHECK(s.kv_tokens_cap == 7, "room is not its business");
    CHECK(fit_kernels(d, "RTX8", "Llama-3.1-8B", &s) == ERR_NOT_FOUND, "others' kernels");
    CHECK(fit_kernels(d, "RTX9", "other", &s) == ERR_NOT_FOUND, "a model without layers");
}

/* A request every 300 ms, served one after the other. */
static void
test_runs(struct gpu_data *d)
{
    struct fit_run runs[FIT_RUNS_MAX];
    size_t count = 9;
    FILE *nowhere = fopen("/dev/null", "w");

    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct gpu_request *r = &requests[REQUESTS - 1 - i]; /* in no order */

        *r = (struct gpu_request){.hardware = "RTX9",
                                  .model = "Llama-3.1-8B",
                                  .input_tokens = 200,
                                  .output_tokens = 11,
                                  .queued_s = i * 0.3,
                                  .scheduled_s = i * 0.3,
                                  .first_token_s = i * 0.3 + 0.0197,
                                  .last_token_s = i * 0.3 + 0.1313};
    }
    memcpy(requests[3].hardware, "Abacus", 7);
    d->requests = requests;
    d->request_count = REQUESTS;
    CHECK(fit_requests(d, runs, &count) == ERR_OK && count == 2, "two runs");
    CHECK(runs[0].known && runs[0].by_kernels && runs[0].count == REQUESTS - 1, "one with kernels");
    CHECK(runs[0].slots == 1, "one at a time");
    CHECK(runs[0].ttft_percent < 5 && runs[0].tpot_percent < 5, "is followed");
    CHECK(fabs(runs[0].end_percent) < 5 && runs[0].preemptions == 0, "to its end");
    CHECK(fabs(runs[0].speed.kv_tokens_cap - (0.9e11 - 16e9) / 131072) < 1, "room by its sheet");
    CHECK(!runs[1].known, "and one of which nothing is known");
    fit_requests_print(runs, count, nowhere);
    fclose(nowhere);
    d->request_count = 0;
    CHECK(fit_requests(d, runs, &count) == ERR_OK && count == 0, "no runs");
}

int
main(void)
{
    struct gpu_data d = {
        .kernels = kernels, .models = models, .model_count = 1, .specs = systems, .spec_count = 1};

    add_kernels(&d);
    test_kernels(&d);
    test_runs(&d);
    return tap_done();
}

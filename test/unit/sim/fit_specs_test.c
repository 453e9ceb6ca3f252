/* fit_specs_test - names of models as others write them, and speeds by the data sheet. */
#include "sim/fit_specs.h"

#include <math.h>
#include <string.h>

#include "tap.h"

static struct gpu_model models[] = {
    {.model = "meta-llama/Meta-Llama-3.1-8B",
     .layers = 32,
     .params = 8e9,
     .active_params = 8e9,
     .kv_bytes_per_token = 131072},
    {.model = "x/Mix-100B-A10B",
     .layers = 50,
     .params = 100e9,
     .active_params = 10e9,
     .kv_bytes_per_token = 57600,
     .experts = 100,
     .experts_per_token = 4,
     .latent = true},
    {.model = "x/Unknown-1", .layers = 50},
};
static struct gpu_spec systems[] = {
    {.system = "gpu_sxm",
     .bf16_flops = 1e15,
     .fp8_flops = 2e15,
     .memory_bytes = 80e9,
     .memory_bytes_per_s = 3e12},
};
static const struct gpu_data data = {
    .models = models, .model_count = 3, .specs = systems, .spec_count = 1};

static void
test_names(void)
{
    static const struct {
        const char *name;
        int at; /* -1: none */
    } rows[] = {
        {"meta-llama/Meta-Llama-3.1-8B", 0},
        {"nvidia/Llama-3.1-8B-Instruct-FP8", 0},
        {"llama-3.1-8b", 0},
        {"Llama-3.1-80B", -1},
        {"Llama-3.1", 0},
        {"y/mix-100b-a10b-nvfp4", 1},
        {"x/Mix-100B-A10B.5", -1},
        {"", -1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK(fit_specs_model(&data, rows[i].name) == (rows[i].at < 0 ? NULL : &models[rows[i].at]),
              rows[i].name);
}

static void
test_speeds(void)
{
    struct gpu_point p = {.model = "Llama-3.1-8B", .system = "gpu_sxm", .tensor_parallel = 2};
    struct fit_specs one, s;

    fit_specs_of(&data, &p, &one);
    CHECK(one.known && fabs(one.params[FIT_B] - 0.016) < 1e-9, "2 * 8e9 / (2 * 1e15 / 2)");
    CHECK(one.params[FIT_EXPERT] == 0 && one.expert_share == 0, "no experts");
    CHECK(fabs(one.kv_tokens_cap - (0.9 * 160e9 - 16e9) / 131072) < 1, "room beside the weights");
    memcpy(p.precision, "fp8", 4);
    fit_specs_of(&data, &p, &s);
    CHECK(s.params[FIT_B] < 0.51 * one.params[FIT_B] && s.params[FIT_T0] < one.params[FIT_T0] &&
              s.weights_bytes == 8e9,
          "half the bytes, twice the speed");
    memcpy(p.precision, "fp4", 4);
    fit_specs_of(&data, &p, &s);
    CHECK(s.params[FIT_B] == one.params[FIT_B], "where nothing computes in 4 bits it is bf16");
    p.tensor_parallel = 64;
    fit_specs_of(&data, &p, &s);
    CHECK(fabs(s.params[FIT_B] - one.params[FIT_B] / 4) < 1e-9, "a node has eight");
}

static void
test_experts(void)
{
    struct gpu_point p = {.model = "Mix-100B-A10B", .system = "gpu_sxm", .tensor_parallel = 4};
    struct fit_specs s;
    double experts = 90e9 / 0.96;

    fit_specs_of(&data, &p, &s);
    CHECK(s.known && fabs(s.expert_share - 0.04) < 1e-12, "4 of 100");
    CHECK(fabs(s.params[FIT_EXPERT] - 1e3 * experts * 2 / (3e12 * 0.73 * 4)) < 1e-6,
          "the experts' bytes");
    CHECK(fabs(s.params[FIT_B] - 1e3 * 2 * 10e9 / (4 * 0.5e15)) < 1e-9, "active ones compute");
    CHECK(fabs(s.kv_tokens_cap - (0.9 * 320e9 - 200e9) / 57600 / 4) < 1, "each rank keeps all KV");
}

static void
test_unknown(void)
{
    struct gpu_point p = {.model = "Unknown-1", .system = "gpu_sxm"};
    struct fit_specs s;

    fit_specs_of(&data, &p, &s);
    CHECK(!s.known && s.params[FIT_T0] > 0 && s.kv_tokens_cap >= 1e6, "a model without a size");
    memcpy(p.model, "Llama-3.1-8B", 13);
    memcpy(p.system, "other", 6);
    fit_specs_of(&data, &p, &s);
    CHECK(!s.known && s.params[FIT_B] > 0 && s.model_params == 8e9, "a system without a sheet");
}

int
main(void)
{
    test_names();
    test_speeds();
    test_experts();
    test_unknown();
    return tap_done();
}

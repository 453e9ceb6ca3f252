/* speed_table - the figures; see speed_table.h.
 *
 * bf16, milliseconds. Derived from published specifications (dense bf16 FLOP/s, memory bandwidth
 * and size) with efficiencies fitted to published measurements:
 *   b  = 2 * parameters / (FLOP/s * e)      e: l40s 0.40, a100 0.57, other 8B 0.58, 32B and 70B
 *                                           0.517
 *   c  = 4 * layers * attention width / (FLOP/s * e)
 *   t0 = 0.032 ms * layers + weights / (0.73 * bandwidth)
 *   tk = 1000 * KV bytes a token / (0.85 * bandwidth)
 *   KV = (0.9 * memory - weights) / KV bytes a token
 * The 0.85 and the 0.02 ms of each sequence in a step lie between what kernels show
 * (LLMServingSim's tables of vLLM 0.19: 0.90 and 0.044 on a 4090, 0.80 and 0.015 on an RTX PRO
 * 6000) and the measured curves of 8B and 32B on H100 (aiconfigurator's silicon points). The 4090's
 * row is its kernels added up: with it the engine model follows a real run on one within 4 %. a is
 * assumed: template, tokenizer and scheduling of one request. doc/decisions/engine-model.md has the
 * errors.
 *
 * Models: Llama 3.1 8B (32 layers, 128 KiB of KV a token), Qwen3 32B (64, 256 KiB), Llama 3.1 70B
 * (80, 320 KiB). Pairs with room for less than 16k tokens are left out. */
#include "base/speed_table.h"

#include <math.h>

#define PREFILL_START_MS 6.0
#define STEP_REQUEST_MS  0.02

#define ROW(params, gpu, b, c, t0, tk, tb, kv, weights)                                            \
    {                                                                                              \
        params, gpu, PREFILL_START_MS, b, c, t0, tk, tb, kv, weights                               \
    }

static const struct speed_row rows[] = {
    ROW(8.03, "4090", 0.081, 5.29e-6, 16.7, 0.144, 0.044, 42000, 16.06e9),
    ROW(8.03, "l40s", 0.110, 3.59e-6, 26.4, 0.178, STEP_REQUEST_MS, 207000, 16.06e9),
    ROW(8.03, "a100", 0.090, 2.94e-6, 11.9, 0.076, STEP_REQUEST_MS, 427000, 16.06e9),
    ROW(8.03, "h100", 0.028, 9.14e-7, 7.7, 0.046, STEP_REQUEST_MS, 427000, 16.06e9),
    ROW(8.03, "h200", 0.028, 9.14e-7, 5.7, 0.032, STEP_REQUEST_MS, 846000, 16.06e9),
    ROW(8.03, "h100x2", 0.014, 4.57e-7, 4.3, 0.023, STEP_REQUEST_MS, 976000, 16.06e9),
    ROW(8.03, "a100x4", 0.022, 7.24e-7, 3.7, 0.019, STEP_REQUEST_MS, 2075000, 16.06e9),
    ROW(8.03, "h100x4", 0.007, 2.28e-7, 2.7, 0.012, STEP_REQUEST_MS, 2075000, 16.06e9),
    ROW(8.03, "h200x2", 0.014, 4.57e-7, 3.3, 0.016, STEP_REQUEST_MS, 1814000, 16.06e9),
    ROW(32.76, "a100", 0.406, 8.13e-6, 46.1, 0.151, STEP_REQUEST_MS, 25000, 65.52e9),
    ROW(32.76, "h100", 0.128, 2.56e-6, 28.8, 0.092, STEP_REQUEST_MS, 25000, 65.52e9),
    ROW(32.76, "h200", 0.128, 2.56e-6, 20.7, 0.064, STEP_REQUEST_MS, 234000, 65.52e9),
    ROW(32.76, "h100x2", 0.064, 1.28e-6, 15.5, 0.046, STEP_REQUEST_MS, 299000, 65.52e9),
    ROW(32.76, "a100x4", 0.102, 2.03e-6, 13.1, 0.038, STEP_REQUEST_MS, 849000, 65.52e9),
    ROW(32.76, "h100x4", 0.032, 6.41e-7, 8.7, 0.023, STEP_REQUEST_MS, 849000, 65.52e9),
    ROW(32.76, "h200x2", 0.064, 1.28e-6, 11.4, 0.032, STEP_REQUEST_MS, 718000, 65.52e9),
    ROW(70.55, "a100x4", 0.219, 4.06e-6, 26.2, 0.047, STEP_REQUEST_MS, 448000, 141.1e9),
    ROW(70.55, "h100x4", 0.069, 1.28e-6, 17.0, 0.029, STEP_REQUEST_MS, 448000, 141.1e9),
    ROW(70.55, "h200x2", 0.138, 2.56e-6, 22.7, 0.040, STEP_REQUEST_MS, 344000, 141.1e9),
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

const struct speed_row *
speed_table_at(size_t index)
{
    return index < ROW_COUNT ? &rows[index] : NULL;
}

enum err
speed_table_find(double params_b, struct span gpu, struct speed_row *ret_row)
{
    const struct speed_row *best = NULL;
    double best_ratio = INFINITY;

    if (!(params_b > 0.0) || params_b > 1e6)
        return ERR_ARG;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        double ratio = params_b / rows[i].params_b;

        if (!span_eq_nocase(gpu, span_of(rows[i].gpu)))
            continue;
        if (ratio < 1.0)
            ratio = 1.0 / ratio;
        if (ratio < best_ratio) {
            best_ratio = ratio;
            best = &rows[i];
        }
    }
    if (best == NULL)
        return ERR_NOT_FOUND;
    *ret_row = *best;
    if (best_ratio > 1.05) { /* "8" for 8.03 is the row itself */
        double scale = params_b / best->params_b;

        ret_row->params_b = params_b;
        ret_row->b_ms *= scale;
        ret_row->c_ms *= scale;
        ret_row->t0_ms *= scale;
        ret_row->tk_ms *= scale;
        ret_row->weights_bytes *= scale;
    }
    return ERR_OK;
}

/* fit_requests - real runs once more; see fit_requests.h. What is taken from a run beside arrivals
 * and lengths is a setting, not a speed: how many ran at once. KV room is the hardware's. */
#include "sim/fit_requests.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmath.h"
#include "engine/engine_table.h"
#include "sim/least_squares.h"
#include "sim/sim_stats.h"

#define STEP_TOKENS   2048u /* vLLM's max_num_batched_tokens on such hardware */
#define BATCH_TOKENS  128u  /* a usual batch */
#define KERNELS_MIN   8u    /* of attention, each way */
#define MEMORY_SHARE  0.9
#define KV_TOKENS_ANY 1e7
#define WEIGHT_BYTES  2 /* bf16 */
#define OUTPUTS       64u

/* ---- Speeds out of kernels. */

static bool
belongs(const struct gpu_kernel *k, const char *hardware, const char *model)
{
    return strcmp(k->hardware, hardware) == 0 && strcmp(k->model, model) == 0;
}

/* How often a step runs it: per layer, but for what stands before and after them. */
static double
times_in_step(const struct gpu_kernel *k, double layers)
{
    if (k->kind == GPU_KERNEL_SEQUENCE || strcmp(k->layer, "embedding") == 0 ||
        strcmp(k->layer, "final_layernorm") == 0)
        return 1;
    return strcmp(k->layer, "layernorm") == 0 ? 2 * layers : layers; /* before each of two parts */
}

/* All but attention, of a step with this many tokens (of sequences: at most BATCH_TOKENS). NAN: not
 * measured. */
static double
dense_ms(const struct gpu_data *d, const char *hardware, const char *model, double layers,
         uint32_t tokens, enum gpu_kernel_kind kind)
{
    double us = 0;
    bool any = false;

    for (size_t i = 0; i < d->kernel_count; i++) {
        const struct gpu_kernel *k = &d->kernels[i];

        if (k->kind != kind || k->tokens != tokens || !belongs(k, hardware, model))
            continue;
        us += k->us * times_in_step(k, layers);
        any = true;
    }
    return any ? us / 1000 : (double)NAN;
}

struct attention {
    const struct gpu_kernel **rows; /* all decode, or all prefill */
    size_t count;
};

/* ln of: what it takes in any case, for each sequence or token, and for its context. */
static void
attention_residuals(void *context, const double *x, double *ret)
{
    const struct attention *a = context;
    double p[3];

    for (int i = 0; i < 3; i++)
        p[i] = fmath_exp(fmin(x[i], 50));
    for (size_t i = 0; i < a->count; i++) {
        const struct gpu_kernel *k = a->rows[i];
        double u = k->prefill_tokens, n = k->decode_count, us = p[0];

        if (u > 0)
            us += p[1] * u + p[2] * u * (k->prefill_context_tokens + u / 2);
        else
            us += p[1] * n + p[2] * n * k->decode_context_tokens / 1000;
        ret[i] = fmath_log(us / k->us);
    }
}

/* p: microseconds of one layer. */
static enum err
fit_attention(const struct gpu_data *d, const char *hardware, const char *model, bool prefill,
              double p[3])
{
    struct attention a = {.rows = calloc(d->kernel_count + 1, sizeof(struct gpu_kernel *))};
    struct least_squares l = {.params = 3,
                              .steps_max = 200,
                              .scale = 0.3,
                              .difference = 1e-3,
                              .compute = attention_residuals,
                              .context = &a};
    double x[3] = {2, prefill ? -4 : -1, prefill ? -9 : 1}, cost;
    enum err err = ERR_NOT_FOUND;

    if (a.rows == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < d->kernel_count && a.count < LEAST_SQUARES_RESIDUALS_MAX; i++) {
        const struct gpu_kernel *k = &d->kernels[i];

        if (k->kind == GPU_KERNEL_ATTENTION && belongs(k, hardware, model) && k->us > 0 &&
            (prefill ? k->prefill_tokens > 0 && k->decode_count == 0 : k->prefill_tokens == 0))
            a.rows[a.count++] = k;
    }
    l.residuals = l.robust = (uint32_t)a.count;
    if (a.count >= KERNELS_MIN)
        err = least_squares_solve(&l, x, &cost);
    for (int i = 0; i < 3; i++)
        p[i] = fmath_exp(x[i]);
    free(a.rows);
    return err;
}

enum err
fit_kernels(const struct gpu_data *data, const char *hardware, const char *model,
            struct engine_speed *speed)
{
    const struct gpu_model *m = fit_specs_model(data, model);
    double layers, one, batch, full, decode[3], prefill[3];
    enum err err;

    if (m == NULL || m->layers == 0)
        return ERR_NOT_FOUND;
    layers = m->layers;
    one = dense_ms(data, hardware, model, layers, 1, GPU_KERNEL_DENSE) +
          dense_ms(data, hardware, model, layers, 1, GPU_KERNEL_SEQUENCE);
    batch = dense_ms(data, hardware, model, layers, BATCH_TOKENS, GPU_KERNEL_DENSE) +
            dense_ms(data, hardware, model, layers, BATCH_TOKENS, GPU_KERNEL_SEQUENCE);
    full = dense_ms(data, hardware, model, layers, STEP_TOKENS, GPU_KERNEL_DENSE) +
           dense_ms(data, hardware, model, layers, 1, GPU_KERNEL_SEQUENCE);
    if (!isfinite(one + batch + full) || batch < one || full < one)
        return ERR_NOT_FOUND;
    err = fit_attention(data, hardware, model, false, decode);
    if (err == ERR_OK)
        err = fit_attention(data, hardware, model, true, prefill);
    if (err != ERR_OK)
        return err;
    speed->a_ms = layers * prefill[0] / 1000;
    speed->b_ms = (full - one) / (STEP_TOKENS - 1) + layers * prefill[1] / 1000;
    speed->c_ms = layers * prefill[2] / 1000;
    speed->t0_ms = one + layers * decode[0] / 1000;
    speed->tb_ms = (batch - one) / (BATCH_TOKENS - 1) + layers * decode[1] / 1000;
    speed->tk_ms = layers * decode[2] / 1000;
    return ERR_OK;
}

/* ---- The run. */

/* Is one name the other's beginning, by letters and digits alone? */
static bool
same_hardware(const char *a, const char *b)
{
    for (;;) {
        while (*a != '\0' && !isalnum((unsigned char)*a))
            a++;
        while (*b != '\0' && !isalnum((unsigned char)*b))
            b++;
        if (*a == '\0' || *b == '\0')
            return true;
        if (tolower((unsigned char)*a++) != tolower((unsigned char)*b++))
            return false;
    }
}

/* Its speed: by kernels, else by the table of classes; its KV room by the data sheet or the table.
 */
static void
find_speed(const struct gpu_data *d, struct fit_run *run)
{
    const char *hardware = run->request->hardware, *class = hardware;
    const struct gpu_model *m = fit_specs_model(d, run->request->model);
    double params = m != NULL && m->params > 0 ? m->params : 8e9;

    run->speed = (struct engine_speed){.kv_tokens_cap = KV_TOKENS_ANY,
                                       .weights_bytes = WEIGHT_BYTES * params};
    for (size_t i = 0; m != NULL && m->kv_bytes_per_token > 0 && i < d->spec_count; i++)
        if (same_hardware(hardware, d->specs[i].system))
            run->speed.kv_tokens_cap = (MEMORY_SHARE * d->specs[i].memory_bytes -
                                        run->speed.weights_bytes) /
                                       m->kv_bytes_per_token;
    if (strncmp(class, "RTX", 3) == 0)
        class += 3;
    run->known = engine_table_speed(params / 1e9, span_of(class), &run->speed) == ERR_OK;
    run->by_kernels = fit_kernels(d, hardware, run->request->model, &run->speed) == ERR_OK;
    run->known = run->known || run->by_kernels;
}

/* The most that ran at once: rows are sorted by nothing. */
static uint32_t
most_running(const struct gpu_request *const *rows, size_t count)
{
    uint32_t most = 1;

    for (size_t i = 0; i < count; i++) { /* it is reached when somebody is scheduled */
        uint32_t n = 0;

        for (size_t j = 0; j < count; j++)
            n += rows[j]->scheduled_s <= rows[i]->scheduled_s &&
                 rows[j]->last_token_s > rows[i]->scheduled_s;
        most = n > most ? n : most;
    }
    return most < ENGINE_SEQUENCES_MAX ? most : ENGINE_SEQUENCES_MAX;
}

static int
by_arrival(const void *left, const void *right)
{
    const struct gpu_request *const *a = left, *const *b = right;

    if ((*a)->queued_s != (*b)->queued_s)
        return (*a)->queued_s < (*b)->queued_s ? -1 : 1;
    return (*a)->input_tokens < (*b)->input_tokens ? -1 : (*a)->input_tokens > (*b)->input_tokens;
}

struct shown {
    double first_ms, last_ms;
};

static enum err
replay(const struct fit_run *run, const struct gpu_request *const *rows, struct shown *shown,
       uint64_t *ret_preemptions)
{
    struct engine_output outputs[OUTPUTS];
    struct engine_params params;
    struct engine_truth truth;
    struct engine *e = NULL;
    size_t sent = 0;
    enum err err;

    engine_table_vllm(&params);
    params.step_noise = 0;
    params.slots = run->slots;
    params.prefill_budget = STEP_TOKENS;
    params.quiet_tokens = true;
    err = engine_open(&params, 1, &e);
    if (err == ERR_OK)
        err = engine_model(e, 0, &run->speed, ENGINE_MODEL_READY, 0);
    while (err == ERR_OK && (sent < run->count || engine_next_ms(e) < INFINITY)) {
        double arrival_ms = sent < run->count ? rows[sent]->queued_s * 1000 : INFINITY;
        double now_ms = fmin(engine_next_ms(e), arrival_ms);
        size_t n = engine_run(e, now_ms, outputs, OUTPUTS);

        for (size_t i = 0; i < n; i++)
            *(outputs[i].kind == ENGINE_OUTPUT_END
                  ? &shown[outputs[i].id].last_ms
                  : &shown[outputs[i].id].first_ms) = outputs[i].at_ms;
        if (n < OUTPUTS && arrival_ms <= now_ms) {
            struct engine_request r = {.id = sent,
                                       .prompt_tokens = rows[sent]->input_tokens,
                                       .output_tokens = rows[sent]->output_tokens};

            err = engine_submit(e, now_ms, &r);
            sent++;
        }
    }
    if (err == ERR_OK) {
        engine_truth(e, 0, 0, &truth);
        *ret_preemptions = truth.preemptions_total;
    }
    engine_close(e);
    return err;
}

static enum err
judge(struct fit_run *run, const struct gpu_request *const *rows)
{
    struct shown *shown = calloc(run->count, sizeof(*shown)); /* these for the call */
    double *errors = calloc(2 * run->count, sizeof(*errors)), end_ms = 0, end_s = 0;
    size_t paced = 0;
    enum err err = ERR_MEMORY;

    if (shown != NULL && errors != NULL)
        err = replay(run, rows, shown, &run->preemptions);
    for (size_t i = 0; err == ERR_OK && i < run->count; i++) {
        const struct gpu_request *r = rows[i];
        double ttft_ms = (r->first_token_s - r->queued_s) * 1000;
        double decode_ms = (r->last_token_s - r->first_token_s) * 1000;

        errors[i] = fabs((shown[i].first_ms - r->queued_s * 1000) / fmax(ttft_ms, 1e-3) - 1);
        if (r->output_tokens > 1 && decode_ms > 0)
            errors[run->count + paced++] = fabs((shown[i].last_ms - shown[i].first_ms) / decode_ms -
                                                1);
        end_ms = fmax(end_ms, shown[i].last_ms);
        end_s = fmax(end_s, r->last_token_s);
    }
    if (err == ERR_OK) {
        run->ttft_percent = 100 * sim_quantile(errors, run->count, 0.5);
        run->tpot_percent = 100 * sim_quantile(errors + run->count, paced, 0.5);
        run->end_percent = 100 * (end_ms / (1000 * end_s) - 1);
    }
    free(shown);
    free(errors);
    return err;
}

static bool
same_run(const struct gpu_request *a, const struct gpu_request *b)
{
    return strcmp(a->hardware, b->hardware) == 0 && strcmp(a->model, b->model) == 0;
}

enum err
fit_requests(const struct gpu_data *data, struct fit_run *ret_runs, size_t *ret_count)
{
    const struct gpu_request **rows = calloc(data->request_count + 1, sizeof(*rows));
    size_t count = 0;
    enum err err = rows != NULL ? ERR_OK : ERR_MEMORY;

    for (size_t i = 0; err == ERR_OK && i < data->request_count; i++) {
        const struct gpu_request *of = &data->requests[i];
        struct fit_run run = {.request = of};
        bool seen = false;

        for (size_t j = 0; j < count; j++)
            seen = seen || same_run(ret_runs[j].request, of);
        if (seen)
            continue;
        if (count == FIT_RUNS_MAX) {
            err = ERR_FULL;
            break;
        }
        for (size_t j = i; j < data->request_count; j++)
            if (same_run(&data->requests[j], of))
                rows[run.count++] = &data->requests[j];
        qsort(rows, run.count, sizeof(*rows), by_arrival);
        run.slots = most_running(rows, run.count);
        find_speed(data, &run);
        if (run.known)
            err = judge(&run, rows);
        ret_runs[count++] = run;
    }
    free(rows);
    *ret_count = err == ERR_OK ? count : 0;
    return err;
}

void
fit_requests_print(const struct fit_run *runs, size_t count, FILE *to)
{
    double ttft = 0, tpot = 0;
    size_t known = 0;

    for (size_t i = 0; i < count; i++) {
        const struct fit_run *r = &runs[i];
        const struct engine_speed *s = &r->speed;

        fprintf(to, "run of %zu requests, %s, %s", r->count, r->request->hardware,
                r->request->model);
        if (!r->known) {
            fprintf(to, ": no kernels were measured, no such class in the table\n");
            continue;
        }
        fprintf(
            to,
            ": speeds by %s: a %.2f b %.3g c %.2g t0 %.2f tk %.3g tb %.3g, room %.0f, %u at "
            "once\n  median error TTFT %.1f %%, TPOT %.1f %%; ends %+.1f %%; %llu preemptions\n",
            r->by_kernels ? "kernels" : "the table", s->a_ms, s->b_ms, s->c_ms, s->t0_ms, s->tk_ms,
            s->tb_ms, s->kv_tokens_cap, r->slots, r->ttft_percent, r->tpot_percent, r->end_percent,
            (unsigned long long)r->preemptions);
        ttft = fmax(ttft, r->ttft_percent);
        tpot = fmax(tpot, r->tpot_percent);
        known++;
    }
    if (known == 0)
        return;
    fprintf(to, "figure sim_engine_run_ttft_error %.2f percent\n", ttft);
    fprintf(to, "figure sim_engine_run_tpot_error %.2f percent\n", tpot);
}

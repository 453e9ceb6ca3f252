/* fit_test - rows made by an engine whose parameters are known: they must be found again. */
#include "sim/fit.h"

#include <math.h>
#include <string.h>

#include "tap.h"

#define ROWS 20u

struct made {
    struct gpu_point points[ROWS];
    struct fit_row rows[ROWS];
};

/* Prompts of 500 and 2,000 tokens, outputs of 40 and 120, 1 to 24 clients, shown by `truth`. */
static void
make_rows(struct made *m, const struct fit_engine *truth, const char *backend)
{
    static const uint32_t clients[] = {1, 3, 6, 12, 24};

    for (uint32_t i = 0; i < ROWS; i++) {
        struct gpu_point *p = &m->points[i];
        struct closed_loop_seen seen = {0};

        *p = (struct gpu_point){.aggregated = true,
                                .input_tokens = i / 5 % 2 == 0 ? 500 : 2000,
                                .output_tokens = i / 10 == 0 ? 40 : 120,
                                .concurrency = clients[i % 5]};
        memcpy(p->backend, backend, strlen(backend) + 1);
        m->rows[i] = (struct fit_row){p, i / 5};
        CHECK(fit_show(truth, &m->rows[i], &seen) == ERR_OK, "the truth runs");
        p->ttft_ms = seen.ttft_ms;
        p->tpot_ms = seen.tpot_ms;
    }
}

static const struct fit_specs specs = {
    .params = {2, 0.03, 1e-6, 10, 0.02, 0.05, 20, 0}, .kv_tokens_cap = 1e7, .weights_bytes = 1e9};

static double
worst(const struct made *m, const struct fit_engine *e)
{
    double most = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        struct closed_loop_seen seen = {0};

        if (fit_show(e, &m->rows[i], &seen) != ERR_OK)
            return INFINITY;
        most = fmax(most, fabs(seen.ttft_ms / m->points[i].ttft_ms - 1));
        most = fmax(most, fabs(seen.tpot_ms / m->points[i].tpot_ms - 1));
    }
    return most;
}

static void
test_found(void)
{
    struct gpu_point p = {.backend = "vllm"};
    struct fit_engine truth, found;
    struct made m;

    fit_by_specs(&specs, &p, &truth);
    found = truth;
    truth.params[FIT_B] = 0.08;
    truth.params[FIT_T0] = 22;
    truth.params[FIT_TB] = 0.3;
    truth.params[FIT_FRONT] = 60;
    make_rows(&m, &truth, "vllm");
    CHECK(worst(&m, &found) > 0.5, "specifications are far off");
    CHECK(fit_rows(m.rows, ROWS, &found) == ERR_OK, "fit");
    CHECK(worst(&m, &found) < 0.1, "no row is far off after it");
    CHECK(fabs(found.params[FIT_T0] / 22 - 1) < 0.05, "the step is found");
    CHECK(fabs(found.params[FIT_B] / 0.08 - 1) < 0.1, "the prefill is found");
    CHECK(fabs(found.params[FIT_FRONT] / 60 - 1) < 0.2, "what stands in front is found");
}

/* Choices that are no numbers; and experts. */
static void
test_choices(void)
{
    struct gpu_point p = {.backend = "trtllm"};
    struct fit_specs experts = specs;
    struct fit_engine truth, found;
    struct made m;

    fit_by_specs(&specs, &p, &truth);
    found = truth;
    truth.params[FIT_B] = 0.1;
    truth.visible_tokens[2] = 20;
    make_rows(&m, &truth, "trtllm");
    CHECK(fit_rows(m.rows, ROWS, &found) == ERR_OK, "one curve is shown in pieces");
    CHECK(found.visible_tokens[2] == 20 && found.visible_tokens[1] == 1, "that one");
    memcpy(p.backend, "sglang", 7);
    fit_by_specs(&specs, &p, &found);
    CHECK(found.prefill_first, "SGLang computes prompts first");
    experts.expert_share = 0.05;
    experts.params[FIT_EXPERT] = 10;
    memcpy(p.backend, "vllm", 5);
    fit_by_specs(&experts, &p, &truth);
    found = truth;
    truth.params[FIT_EXPERT] = 30;
    make_rows(&m, &truth, "vllm");
    CHECK(fit_rows(m.rows, ROWS, &found) == ERR_OK, "experts");
    CHECK(fabs(found.params[FIT_EXPERT] / 30 - 1) < 0.2, "their bytes are found");
}

static void
test_odd_rows(void)
{
    struct gpu_point p = {.backend = "vllm"}, huge = {.backend = "vllm"};
    struct fit_row odd = {&huge, 0};
    struct fit_engine e, before;
    struct closed_loop_seen seen;
    struct engine_speed speed;

    fit_by_specs(&specs, &p, &e);
    before = e;
    CHECK(fit_rows(NULL, 0, &e) == ERR_OK && memcmp(&e, &before, sizeof(e)) == 0, "no rows");
    CHECK(fit_rows(&odd, FIT_ROWS_MAX + 1, &e) == ERR_ARG, "too many");
    huge.input_tokens = huge.output_tokens = 1;
    huge.ttft_ms = huge.tpot_ms = 1e9;
    CHECK(fit_concurrency(&huge) == 0 && fit_show(&e, &odd, &seen) == ERR_ARG, "nobody asks");
    CHECK(fit_rows(&odd, 1, &e) == ERR_OK && e.params[FIT_T0] > 0, "a row that cannot be run");
    huge.concurrency = ENGINE_SEQUENCES_MAX + 1;
    CHECK(fit_concurrency(&huge) == 0, "too large a crowd");
    huge.batch = 1;
    CHECK(fit_concurrency(&huge) == 1 && fit_rows(&odd, 1, &e) == ERR_OK, "an absurd time");
    CHECK(isfinite(e.params[FIT_T0]) && isfinite(e.params[FIT_FRONT]), "stays finite");
    e = before;
    e.kv_tokens_cap = -5;
    huge.input_tokens = 300;
    CHECK(fit_show(&e, &odd, &seen) == ERR_OK, "no room by specification, but it ran");
    fit_speed(&before, &speed);
    CHECK(speed.b_ms == before.params[FIT_B] && speed.expert_ms == 0, "as the engine takes it");
}

int
main(void)
{
    test_found();
    test_choices();
    test_odd_rows();
    return tap_done();
}

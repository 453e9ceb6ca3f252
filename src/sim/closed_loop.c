/* closed_loop - a benchmark's clients; see closed_loop.h. Ids of requests count from 0. */
#include "sim/closed_loop.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

#define SEED        1u
#define OUTPUTS     64u
#define TURNS_MAX   1000u /* of the engine for each request: more is a load that never ends */
#define CLIENTS_MAX ENGINE_SEQUENCES_MAX

struct client_request {
    double sent_ms, first_ms;
    uint32_t output_tokens;
};

struct bench {
    const struct closed_loop *load;
    struct engine *engine;
    struct client_request *requests;
    uint32_t count, sent, ended;
    double ttft_sum_ms, tpot_sum_ms;
    struct rng rng;
};

static uint32_t
draw_length(struct bench *b, uint32_t longest)
{
    double share = b->load->length_share + (1 - b->load->length_share) * rng_unit(&b->rng);
    double tokens = floor(longest * share);

    return tokens < 1 ? 1 : (uint32_t)tokens;
}

static enum err
send_next(struct bench *b, double now_ms)
{
    struct client_request *r = &b->requests[b->sent];
    struct engine_request request = {.id = b->sent};

    if (b->sent == b->count)
        return ERR_OK;
    request.prompt_tokens = draw_length(b, b->load->prompt_tokens);
    request.output_tokens = draw_length(b, b->load->output_tokens);
    r->sent_ms = now_ms;
    r->output_tokens = request.output_tokens;
    b->sent++;
    return engine_submit(b->engine, now_ms, &request);
}

/* What the client of r saw: the first piece, and an even pace after it. Between the pieces that the
 * engine makes its own pace is taken for even too. */
static void
take_end(struct bench *b, const struct client_request *r, double now_ms)
{
    double rest = r->output_tokens - 1, hidden = b->load->visible_tokens - 1, pace_ms;

    if (hidden > rest)
        hidden = rest;
    pace_ms = rest > 0 ? (now_ms - r->first_ms) / rest : 0;
    b->ttft_sum_ms += r->first_ms - r->sent_ms + hidden * pace_ms + b->load->front_ms;
    b->tpot_sum_ms += rest > 0 ? pace_ms * (rest - hidden) / rest : 0;
    b->ended++;
}

static enum err
drive(struct bench *b)
{
    struct engine_output outputs[OUTPUTS];
    enum err err = ERR_OK;

    for (uint32_t i = 0; err == ERR_OK && i < b->load->concurrency; i++)
        err = send_next(b, 0);
    for (uint64_t turn = 0; err == ERR_OK && b->ended < b->count; turn++) {
        double now_ms = engine_next_ms(b->engine);
        size_t n;

        if (now_ms == INFINITY || turn == (uint64_t)TURNS_MAX * b->count)
            return ERR_FULL;
        n = engine_run(b->engine, now_ms, outputs, OUTPUTS);
        for (size_t i = 0; err == ERR_OK && i < n; i++) {
            const struct engine_output *o = &outputs[i];

            if (o->kind == ENGINE_OUTPUT_TOKEN && o->index == 0) {
                b->requests[o->id].first_ms = o->at_ms;
            } else if (o->kind == ENGINE_OUTPUT_END) {
                take_end(b, &b->requests[o->id], o->at_ms);
                err = send_next(b, o->at_ms);
            }
        }
    }
    return err;
}

enum err
closed_loop_run(const struct engine_speed *speed, const struct engine_params *params,
                const struct closed_loop *load, struct closed_loop_seen *ret_seen)
{
    struct bench b = {.load = load, .count = load->concurrency * CLOSED_LOOP_ROUNDS};
    struct engine_params p = *params;
    enum err err;

    if (load->concurrency < 1 || load->concurrency > CLIENTS_MAX || load->visible_tokens < 1 ||
        load->prompt_tokens < 1 || load->output_tokens < 1 ||
        !(load->length_share > 0 && load->length_share <= 1) || !(load->front_ms >= 0))
        return ERR_ARG;
    p.slots = load->concurrency;
    p.quiet_tokens = true;
    rng_init(&b.rng, SEED);
    err = engine_open(&p, SEED, &b.engine);
    if (err == ERR_OK)
        err = engine_model(b.engine, 0, speed, ENGINE_MODEL_READY, 0);
    b.requests = calloc(b.count, sizeof(*b.requests)); /* for the call */
    if (err == ERR_OK && b.requests == NULL)
        err = ERR_MEMORY;
    if (err == ERR_OK)
        err = drive(&b);
    if (err == ERR_OK) {
        ret_seen->ttft_ms = b.ttft_sum_ms / b.count;
        ret_seen->tpot_ms = b.tpot_sum_ms / b.count;
    }
    free(b.requests);
    engine_close(b.engine);
    return err;
}

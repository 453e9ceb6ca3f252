/* floor - truth in, the terms out; see floor.h. */
#include "floor.h"

#include <math.h>
#include <string.h>

#include "engine/engine_table.h"
#include "role/emulate/emulate_fleet.h"

static double
params_of(const char *model)
{
    for (uint32_t i = 0; i < EMULATE_FLEET_MODELS; i++)
        if (strcmp(emulate_fleet_models[i].name, model) == 0)
            return emulate_fleet_models[i].params_b;
    return 0.0;
}

enum err
floor_predict(const struct outcome *o, bool exact, struct terms *ret_terms)
{
    const struct outcome_truth *t = &o->truth;
    struct engine_params params;
    struct engine_speed speed;
    struct predict_node node;
    struct predict_request request;

    if (!t->known || !(t->speed > 0.0) ||
        engine_table_speed(params_of(o->model), span_of(t->gpu), &speed) != ERR_OK)
        return ERR_ARG;
    if (strcmp(t->kind, emulate_fleet_kind_name(EMULATE_FLEET_VLLM)) == 0)
        engine_table_vllm(&params);
    else
        engine_table_llama_server(&params);
    node = (struct predict_node){
        .path = {.rtt_ms = (float)t->rtt_ms},
        .curve = {(float)speed.a_ms, (float)speed.b_ms, (float)speed.c_ms, (float)speed.t0_ms,
                  (float)speed.tk_ms, (float)speed.tb_ms},
        .queue_tokens = (float)t->queue_tokens,
        .running = (float)t->running,
        .waiting = (float)t->waiting,
        .slots = (float)params.slots,
        .kv_tokens_used = (float)t->kv_tokens_used,
        .kv_tokens_cap = (float)t->kv_tokens_cap,
        .output_tokens_mean = (float)t->output_tokens,
        .residual = (float)(1.0 / t->speed),
        .residual_step = (float)(1.0 / t->speed),
        .iteration_left_ms = exact ? (float)(t->iteration_left_ms * t->speed) : NAN,
        .ready_in_ms = (float)t->load_left_ms,
    };
    request = (struct predict_request){
        .prompt_tokens = (float)t->prompt_tokens,
        .hit_tokens = (float)t->cached_tokens,
        .output_tokens = (float)t->output_tokens,
        .body_bytes = (float)t->body_bytes,
        .rounds = t->fresh_connection ? 2.0f : 1.0f,
    };
    predict_terms(&node, &request, ret_terms);
    return ERR_OK;
}

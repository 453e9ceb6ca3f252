#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H
/* engine - the timing model of a model server, stepped per iteration: continuous batching with a
 * chunked prefill budget, max_num_seqs, KV blocks with preemption, a prefix cache, model load
 * tiers, log-normal step noise, pauses, and a hidden speed factor that no report carries.
 *
 * It has no clock: the driver (emulate on real sockets, or the simulator) asks when the next
 * iteration ends, waits, and takes what that iteration produced. Same parameters, seed and calls
 * give the same results, to the bit with quiet_tokens as without. The core must never see this
 * module: it is the world, not the knowledge of it.
 *
 * Constants are in engine_table.h (routing.md, "Simulation constants"; sources stand there). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"

#define ENGINE_SEQUENCES_MAX     512u  /* running at once */
#define ENGINE_WAITING_MAX       8192u /* queued; more: ERR_FULL */
#define ENGINE_MODELS_HELD_MAX   64u
#define ENGINE_BLOCK_TOKENS      16u    /* KV block */
#define ENGINE_PROMPT_BLOCKS_MAX 4096u  /* hashed prefix blocks of one prompt that are kept */
#define ENGINE_PREFIX_BLOCK_MAX  65536u /* tokens */

struct engine_speed {           /* one model on one kind of hardware */
    double a_ms, b_ms, c_ms;    /* prefill a + b*u + c*u*(h + u/2) */
    double t0_ms, tk_ms, tb_ms; /* decode step: t0 + tk*KV/1000 + tb*batch */
    double kv_tokens_cap;
    double weights_bytes;
    /* A mixture of experts: a step of n tokens also reads those that one of them asks for,
     * expert_ms * (1 - (1 - expert_share)^n). 0: none. */
    double expert_ms;    /* all of them */
    double expert_share; /* that one token asks for: below 1 */
};

struct engine_params {
    double step_noise;                            /* sigma of ln(step time): 0.08 */
    double pause_mean_interval_ms, pause_mean_ms; /* stop-the-world pauses; 0: none */
    double hidden_speed;     /* 0.7..1.3: real time = modelled time / hidden_speed */
    uint32_t slots;          /* max_num_seqs */
    uint32_t prefill_budget; /* tokens of one iteration: 2048 */
    double cache_tokens;     /* prefix cache beside the running KV; 0: what KV leaves free */
    double disk_bytes_per_ms, start_ms; /* loading a model: weights/bandwidth + engine start */
    uint32_t models_max; /* how many can be ready at once (llama-server router mode) */
    /* Zero is what there was before each of these. */
    bool quiet_tokens; /* give out first tokens and ends only; iterations that only decode then cost
                          next to nothing, and a driver may sleep through a run of them */
    uint32_t prefix_block_tokens; /* of the blocks given with a request, a multiple of
                                     ENGINE_BLOCK_TOKENS; 0: ENGINE_BLOCK_TOKENS */
    double host_cache_tokens;     /* prefix cache in the host's memory; 0: none */
    double host_ms_per_token;     /* what is found there must be moved: KV bytes / PCIe bandwidth */
    /* A load is as fast as its slowest stage: remote, disk, host to GPU. 0: no limit. */
    double remote_bytes_per_ms, host_bytes_per_ms;
    double sleep_bytes; /* host memory for the weights of models that gave way; 0: back to disk */
    double wake_ms;     /* stands for start_ms when a model wakes */
    bool prefill_first; /* SGLang: while there is a prompt to compute nobody decodes; else vLLM's:
                           an iteration does both */
};

enum engine_model_state { /* where the weights are */
                          ENGINE_MODEL_ABSENT,
                          ENGINE_MODEL_ON_DISK,
                          ENGINE_MODEL_LOADING,
                          ENGINE_MODEL_READY,
                          ENGINE_MODEL_ASLEEP, /* in the host's memory, its process alive */
                          ENGINE_MODEL_REMOTE  /* to be fetched over the network; on disk from then
                                                  on */
};

struct engine;
/* seed: noise and pauses. ERR_ARG: a parameter is out of range. The caller owns *ret_engine. */
MUST_USE enum err engine_open(const struct engine_params *params, uint64_t seed,
                              struct engine **ret_engine);
void engine_close(struct engine *engine);
/* Tell of a model before anything asks for it; `model` < ENGINE_MODELS_HELD_MAX. load_left_ms: when
 * LOADING, counted from time 0 of the driver's clock. ERR_ARG: a figure is out of range;
 * ERR_EXISTS. */
MUST_USE enum err engine_model(struct engine *engine, uint32_t model,
                               const struct engine_speed *speed, enum engine_model_state state,
                               double load_left_ms);
enum engine_model_state engine_model_state(const struct engine *engine, uint32_t model);

struct engine_request {
    uint64_t id;
    uint32_t model;
    uint32_t prompt_tokens, output_tokens; /* both >= 1 */
    const uint64_t
        *blocks; /* chain hashes of the prompt, one per prefix_block_tokens tokens; copied */
    uint32_t block_count;
};
/* Queue a request at now_ms. A model that is not loaded starts to load. ERR_NOT_FOUND: model
 * absent. ERR_FULL: queue full, or prompt + output exceed the KV capacity. */
MUST_USE enum err engine_submit(struct engine *engine, double now_ms,
                                const struct engine_request *request);
/* The client left. Unknown ids do nothing. Call engine_run for now_ms first. */
void engine_cancel(struct engine *engine, double now_ms, uint64_t id);

/* Load a model, or wake it, without a request. ERR_NOT_FOUND: absent. ERR_EXISTS: ready, loading or
 * asked for already. ERR_FULL: models_max are ready or loading, and no ready one is idle: nothing
 * changed. It may have to wait for a load that is under way. */
MUST_USE enum err engine_load(struct engine *engine, double now_ms, uint32_t model);
/* Take a ready model, or one that loads, off the GPU: ON_DISK, or ASLEEP. ERR_NOT_FOUND: absent.
 * ERR_EXISTS: it is not there. ERR_AGAIN: requests run or wait for it, and not `force`; with it
 * they end without an output. Call engine_run for now_ms first. */
MUST_USE enum err engine_unload(struct engine *engine, double now_ms, uint32_t model,
                                enum engine_model_state state, bool force);

/* When engine_run has something to do next; INFINITY: idle. */
double engine_next_ms(const struct engine *engine);

enum engine_output_kind { ENGINE_OUTPUT_TOKEN, ENGINE_OUTPUT_END, ENGINE_OUTPUT_LOADED };
struct engine_output {
    enum engine_output_kind kind;
    uint64_t id;    /* request; for LOADED the model */
    uint32_t index; /* of the token, from 0 */
    double at_ms;   /* when the iteration ended */
};
/* Run every iteration that ends at or before now_ms; outputs in order, at most `max`; call again
 * while it returns max. With quiet_tokens of a request's outputs only token 0 and the end. */
size_t engine_run(struct engine *engine, double now_ms, struct engine_output *ret_outputs,
                  size_t max);

/* What the engine publishes (and a report may carry), and the truth beside it. Of all its models
 * together, but for what is said of `model`. */
struct engine_truth {
    uint32_t running, waiting; /* as vLLM counts them */
    double queue_tokens;       /* uncached prefill tokens, all requests; without those that the
                                  iteration under way computes: iteration_left_ms stands for them */
    double kv_tokens_used, kv_tokens_cap; /* of `model`; used: held by sequences */
    double speed;                         /* hidden_speed, and slow x N if set */
    double iteration_left_ms;             /* of the current iteration (or pause) */
    double load_left_ms;                  /* of `model`; not loaded: a whole load */
    /* Since start; prompt and cached tokens count when a request is admitted. */
    uint64_t prompt_tokens_total, cached_tokens_total, output_tokens_total, requests_total;
    uint64_t preemptions_total;
    uint64_t iterations_total; /* that have ended */
};
void engine_truth(const struct engine *engine, double now_ms, uint32_t model,
                  struct engine_truth *ret_truth);
/* Tokens of this prompt that the prefix cache holds now. */
uint32_t engine_cached_tokens(const struct engine *engine, const struct engine_request *request);
/* Cached tokens that were really used by a request, for its usage; 0 unknown. It is known from the
 * submit until the engine_run after the one that gave its END. */
uint32_t engine_request_cached(const struct engine *engine, uint64_t id);
/* How often it was preempted; known as long. */
uint32_t engine_request_preemptions(const struct engine *engine, uint64_t id);
/* When its first iteration began; NAN: not yet, or unknown. Known as long. */
double engine_request_admitted_ms(const struct engine *engine, uint64_t id);
/* Fault knob: every iteration and load that begins from now on takes `factor` times as long; 1 =
 * normal. 0.001..1000000. "Now" is where the last call with a time brought the engine. */
void engine_set_slow(struct engine *engine, double factor);
#endif

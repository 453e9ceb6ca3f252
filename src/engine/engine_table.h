#ifndef ENGINE_ENGINE_TABLE_H
#define ENGINE_ENGINE_TABLE_H
/* engine_table - the parameters of emulated engines: speeds out of base/speed_table, loading and
 * scheduling as vLLM and llama-server are usually run. */
#include "base/span.h"
#include "engine/engine.h"

/* The speed of a model of params_b billion parameters on this GPU class. ERR_NOT_FOUND, ERR_ARG as
 * speed_table_find. */
MUST_USE enum err engine_table_speed(double params_b, struct span gpu,
                                     struct engine_speed *ret_speed);
/* Bytes of KV that one token takes, of the model nearest in size: 2 * layers * KV heads * head size
 * * 2 bytes of Llama-3.1-8B, Qwen2.5-32B, Llama-3.1-70B (their config.json). Over host_bytes_per_ms
 * it is host_ms_per_token. */
double engine_table_kv_bytes(double params_b);
/* vLLM with its usual options on a node with a local NVMe disk; noise 8 %, no pauses, speed 1; no
 * host tier, no sleep. */
void engine_table_vllm(struct engine_params *ret_params);
/* llama-server in router mode: few slots, several models on disk, two of them loaded at once. */
void engine_table_llama_server(struct engine_params *ret_params);
#endif

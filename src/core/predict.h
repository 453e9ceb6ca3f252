#ifndef CORE_PREDICT_H
#define CORE_PREDICT_H
/* predict - milliseconds until a node would answer, term by term (routing.md, "Prediction").
 * A pure function of what is known of the node and of the request: core feeds it with its
 * estimates, the demo with an engine's true state, to tell how good prediction could be. */
#include "core/action.h"
#include "core/event.h"

/* The way to a node and back. */
struct predict_path {
    float rtt_ms;       /* one round trip, as short as it usually is */
    float jitter_ms;    /* how much longer it is on average */
    float bytes_per_ms; /* what the path carries; 0: no limit is known */
};

struct predict_node {
    struct predict_path path;
    struct curve curve;
    float queue_tokens; /* uncached prefill tokens ahead of us */
    float running;      /* requests that decode there, in the same slots */
    float waiting;      /* requests not yet scheduled, ours counted */
    float beside; /* requests that decode there too, in slots of other models: they lengthen steps,
                     and are in nobody's way else */
    float slots;  /* requests run at once; 0 unknown */
    float kv_tokens_used, kv_tokens_cap; /* cap 0: unknown */
    float output_tokens_mean;            /* of the requests that run there: how soon a slot frees */
    float residual;      /* learned factor on queue, prefill and the step before the first token */
    float residual_step; /* learned factor on the steps after it */
    float
        iteration_left_ms; /* until the engine takes up new work; NAN: half a step if it is busy */
    float ready_in_ms;     /* 0 = ready; else what is left until the model can run */
    float spread;          /* exp(sigma of ln(actual/predicted)) - 1, age of the news included */
};

struct predict_request {
    float prompt_tokens, hit_tokens, output_tokens;
    float body_bytes;
    float rounds; /* round trips before the answer: 1 on a warm connection, 2 on a new one */
    float proof_ms;
};

#define PREDICT_BATCH_GUESS   32.0f   /* a full batch, where slots are unknown */
#define PREDICT_BUDGET_TOKENS 2048.0f /* prefill tokens of one iteration (vLLM's default) */
/* What goes out before the first acknowledgement: ten segments (RFC 6928), here of 1460 bytes. */
#define PREDICT_WINDOW_BYTES 14600.0f

/* Fill *ret_terms. Every result is finite and >= 0 for finite non-negative inputs. */
void predict_terms(const struct predict_node *node, const struct predict_request *request,
                   struct terms *ret_terms);

/* From the first byte of a request's body that leaves to the last one: slow start, which sends what
 * the window allows, waits a round trip and doubles it, until all is out or the path is full; then
 * the path's rate.
 *
 * Kept connections start over as new ones do. HTTP/1.1 has one request on a connection at a time,
 * and while its answer streams nothing is sent: Linux halves the window for every retransmission
 * timeout (a round trip and 200 ms) of that silence (tcp_slow_start_after_idle, RFC 2861), and
 * requests that fit the window do not widen it (RFC 7661). Only a large body soon after a large
 * body with a short answer would find more; that it is predicted a little late does no harm. */
float predict_send_ms(const struct predict_path *path, float body_bytes);
/* The term net: rounds (see predict_request), the body's way out, the jitter. */
float predict_net_ms(const struct predict_path *path, float rounds, float body_bytes);

/* Prefill of u uncached tokens after h cached ones, alone on the engine. */
float predict_prefill_ms(const struct curve *curve, float uncached_tokens, float hit_tokens);
/* The part of what the node can hold that is taken: of its slots or its KV, whichever is more. */
float predict_load(const struct predict_node *node);
/* One decode step with `batch` requests over kv_tokens. */
float predict_step_ms(const struct curve *curve, float batch, float kv_tokens);
#endif

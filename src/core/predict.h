#ifndef CORE_PREDICT_H
#define CORE_PREDICT_H
/* predict - milliseconds until a node would answer, term by term (routing.md, "Prediction").
 * A pure function of what is known of the node and of the request: core feeds it with its
 * estimates, the demo with an engine's true state, to tell how good prediction could be. */
#include "core/action.h"
#include "core/event.h"

struct predict_node {
    struct curve curve;
    float queue_tokens;   /* uncached prefill tokens ahead of us */
    float running;        /* requests that decode there */
    float waiting;        /* requests not yet scheduled, ours counted */
    float slots;          /* requests run at once; 0 unknown */
    float kv_tokens_used, kv_tokens_cap; /* cap 0: unknown */
    float output_tokens_mean; /* of the requests that run there: how soon a slot frees */
    float residual;       /* learned factor on queue, prefill and step */
    float rtt_ms;         /* one round trip */
    float jitter_ms;
    float bytes_per_ms;   /* of the path; 0: not a limit */
    float ready_in_ms;    /* 0 = ready; else what is left until the model can run */
    float sigma_log;      /* deviation of ln(actual/predicted) */
};

struct predict_request {
    float prompt_tokens, hit_tokens, output_tokens;
    float body_bytes;
    float rounds; /* round trips before the answer: 1 on a warm connection, 2 on a new one */
    float proof_ms;
};

/* Fill *ret_terms. Every result is finite and >= 0 for finite non-negative inputs. */
void predict_terms(const struct predict_node *node, const struct predict_request *request,
                   struct terms *ret_terms);

/* Prefill of u uncached tokens after h cached ones, alone on the engine. */
float predict_prefill_ms(const struct curve *curve, float uncached_tokens, float hit_tokens);
/* One decode step with `batch` requests over kv_tokens. */
float predict_step_ms(const struct curve *curve, float batch, float kv_tokens);
#endif

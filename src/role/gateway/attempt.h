#ifndef ROLE_GATEWAY_ATTEMPT_H
#define ROLE_GATEWAY_ATTEMPT_H
/* attempt - one try of a request at one node: the call, what came back, and which kind of failure
 * it was when it went wrong. Embedded in its request, which has two: the second one is for a hedge,
 * and takes turns with the first when that failed.
 *
 * Each attempt tells core, in this order and each at most once: dispatched, late (when core wants
 * to know), started (streams only: a whole answer shows its first token and its last together),
 * then either ended or failed, unless core has it cancelled. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "role/gateway/stream.h"
#include "wire/adapter.h"
#include "wire/openai.h"

struct fleet;
struct request;
struct upstream;

/* Of a buffer for a whole answer, which doubles; so much malloc has at hand for each thread. */
#define ATTEMPT_BODY_BYTES_FIRST  1000u
#define ATTEMPT_REFUSAL_BYTES_MAX 65536u /* of an engine's complaint; a longer one is none */

enum attempt_mode {
    ATTEMPT_HEAD,    /* waiting for the head of the answer */
    ATTEMPT_JSON,    /* collecting a whole answer */
    ATTEMPT_STREAM,  /* passing on events */
    ATTEMPT_REFUSED, /* collecting the engine's complaint about the request */
    ATTEMPT_OVER     /* the call is over */
};

struct attempt {
    struct request *request;
    struct http_call *call; /* NULL: none in flight */
    struct upstream *upstream;
    struct fleet *fleet; /* as of the dispatch; a reference. NULL: never used */
    enum attempt_mode mode;
    uint32_t number, node; /* number 0: never used */
    uint32_t reports;      /* that rode on its answer */
    uint32_t recent;       /* place of the decision */
    enum engine_kind kind;
    unsigned status;
    bool dispatched, is_hedge;
    float predicted_first_ms, hit_tokens; /* by the decision */
    uint64_t dispatched_ns;               /* when it was handed to the client side */
    struct loop_timer late;
    struct stream_source source; /* of a stream */
    struct openai_usage usage;
    char *body; /* JSON and REFUSED: what came so far; freed by attempt_close */
    size_t body_bytes, body_room_bytes;
};

/* Start the attempt that core asked for; its decision stands at this place. Failing at once counts
 * as a failed attempt. */
void attempt_start(struct request *r, const struct action_dispatch *dispatch, uint32_t recent);
/* Cancel the call if there is one. The engine stops working for it. */
void attempt_cancel(struct attempt *a);
/* The node told how busy it is, in or behind its answer; nothing of it goes to the client. What it
 * says more often than ATTEMPT_REPORTS_MAX in an answer is nobody's. */
#define ATTEMPT_REPORTS_MAX 16u
void attempt_take_report(struct attempt *attempt, struct span json);
/* The request is over: free its buffers. */
void attempt_close(struct attempt *a);
/* Cancel the call and report the failure. The request may be gone after it. */
void attempt_fail(struct attempt *a, enum failure failure, float retry_after_ms);
/* Back-pressure of a stream. */
void attempt_pause(struct attempt *a);
void attempt_resume(struct attempt *a);
#endif

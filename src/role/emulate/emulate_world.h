#ifndef ROLE_EMULATE_EMULATE_WORLD_H
#define ROLE_EMULATE_EMULATE_WORLD_H
/* emulate_world - what the files of emulate share: the world, its nodes, its flows, and what is to
 * happen when. Private to role/emulate.
 *
 * A flow is one HTTP request. It reaches its node half a round trip after it came in (one and a
 * half over a new connection), and one more for each time that TCP's slow start has to wait for
 * acknowledgements of a large body; what the node makes of it leaves half a round trip after it was
 * made:
 *
 *   request read -> [ARRIVE] -> routed: a document -> [RESPOND]
 *                                       inference   -> engine -> tokens -> [TOKEN ...] [END]
 *
 * Times are double milliseconds since the world began, the engines' clock too. A flow ends when the
 * exchange, the engine and the queue of events have all let go of it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/tls.h"
#include "role/emulate/emulate.h"
#include "role/emulate/emulate_fleet.h"

#define EMULATE_ID_BYTES_MAX   128u
#define EMULATE_LATE_BUCKETS   400u
#define EMULATE_ADAPTERS_MAX   4u /* of a node */
#define EMULATE_AWAITS_NONE    UINT32_MAX
#define EMULATE_BACKGROUND_BIT (UINT64_C(1) << 63) /* in a request's id: nobody waits for it */

enum emulate_event_kind {
    EMULATE_EVENT_ENGINE,     /* node: its engine has something */
    EMULATE_EVENT_BACKGROUND, /* node: somebody elsewhere asks */
    EMULATE_EVENT_ARRIVE,     /* flow: it reaches the node */
    EMULATE_EVENT_CANCEL,     /* flow: the news that the client left reaches the node */
    EMULATE_EVENT_RESPOND, /* flow: its document reaches the client; from here on all are writes */
    EMULATE_EVENT_HEAD,    /* flow: the head of a stream */
    EMULATE_EVENT_TOKEN,   /* flow: token `index` */
    EMULATE_EVENT_END,     /* flow: the answer is whole */
    EMULATE_EVENT_BREAK,   /* flow: the connection is closed in the middle */
};

struct emulate_event {
    double due_ms;
    uint64_t order; /* ties: as they were asked for */
    enum emulate_event_kind kind;
    uint32_t index; /* of the token */
    union {
        struct emulate_node *node;
        struct emulate_flow *flow;
    };
};

enum emulate_fault {
    EMULATE_FAULT_NONE,
    EMULATE_FAULT_REFUSE, /* accepts and closes at once */
    EMULATE_FAULT_HANG,   /* takes requests, says nothing */
    EMULATE_FAULT_CUT,  /* closes after fault_chunks chunks of a stream, or instead of a document */
    EMULATE_FAULT_SLOW, /* everything takes fault_factor times as long */
    EMULATE_FAULT_500,  /* inference answers 500 */
    EMULATE_FAULT_GARBAGE, /* inference answers no JSON */
    EMULATE_FAULT_STALE,   /* metrics stand still */
    EMULATE_FAULT_MUTE,    /* tells nothing of its load, and works on */
    EMULATE_FAULT_IDLE,    /* tells that nobody is there, and works on */
    EMULATE_FAULT_MISSING, /* has not got the models that it lists: 404 */
    EMULATE_FAULT_FULL,    /* turns away what comes, with 429, whatever room it tells of */
    EMULATE_FAULT_COUNT
};

struct emulate_node {
    struct emulate *world;
    const struct emulate_fleet_node *plan;
    struct engine *engine;
    double wake_ms; /* of the ENGINE event that counts; INFINITY none */
    enum emulate_fault fault;
    double fault_factor;
    uint32_t fault_chunks;
    struct engine_truth stale[EMULATE_FLEET_MODELS_MAX]; /* what metrics say under FAULT_STALE */
    uint64_t stopped_total, length_total;                /* requests that ended so */
    struct rng background;
    uint64_t background_count;
    bool listens; /* vLLM and SGLang: since they have loaded for the first time */
    bool asleep;  /* and these: sent to sleep, and not woken since */
    bool leaving[EMULATE_FLEET_MODELS_MAX]; /* out of memory as soon as nobody uses it */
    char adapters[EMULATE_ADAPTERS_MAX][EMULATE_ID_BYTES_MAX]; /* LoRA */
    uint32_t adapter_count;
};

struct emulate_document { /* an answer that is known whole */
    unsigned status;
    const char *content_type;
    char *body; /* malloc; NULL empty */
    size_t body_bytes;
};

struct emulate_inference { /* what was asked, and what came of it */
    uint32_t model;
    bool chat, stream, include_usage, ended_by_length, in_engine, arrived;
    uint32_t prompt_tokens, output_tokens;
    uint64_t text_hash;
    uint64_t *blocks; /* malloc, until it is submitted */
    uint32_t block_count;
    uint32_t tokens; /* made by the engine */
    uint32_t chunks_sent;
    uint32_t cached_tokens, preempted, cached_at_arrival;
    double admitted_ms, first_ms, done_ms; /* of the world; NAN: did not happen */
    struct engine_truth truth;             /* at arrival */
    struct engine_truth published;         /* what the head of the answer tells of the load */
    const char *end;                       /* for the log */
};

struct emulate_flow {
    uint32_t slot; /* in world->flows */
    uint64_t id;   /* of the request to the engine: slot and a count */
    struct emulate_node *node;
    struct http_exchange *x;            /* NULL: the client has everything, or left */
    const struct http_request *request; /* while x */
    const char *region;                 /* of the caller; "" unknown */
    double rtt_ms, arrive_ms;
    size_t body_bytes;
    bool fresh_connection, response_started;
    uint32_t events; /* that name it */
    char orca;       /* endpoint-load-metrics asked for: 'J', 'T', 0 */
    char request_id[EMULATE_ID_BYTES_MAX];
    struct emulate_document document;
    uint32_t awaits; /* the model whose load is waited for with the document; or _NONE */
    struct emulate_inference *inference; /* malloc; NULL: it is none */
};

struct emulate {
    struct loop *loop;
    struct http_server *server;
    struct tls_context *tls; /* NULL: plain */
    struct loop_watch timer; /* up when the first event is due */
    int timer_fd;
    bool handling; /* events: the timer is set when they are done */
    struct emulate_options options;
    struct emulate_fleet fleet;
    struct emulate_node *nodes;
    uint64_t start_ns;
    FILE *log;
    bool closing;
    struct emulate_event *events; /* a heap: the first is due first */
    size_t event_count;
    uint64_t event_order;
    struct emulate_flow **flows; /* by slot */
    uint32_t *free_slots, flow_count, free_count;
    uint64_t flow_ids;
    uint64_t late[EMULATE_LATE_BUCKETS], late_count;
};

/* ---- emulate.c */
double emulate_now_ms(const struct emulate *e);
/* Let an event happen. False: too many are waiting; the flow is broken off. */
bool emulate_schedule(struct emulate *e, const struct emulate_event *event);
bool emulate_schedule_flow(struct emulate_flow *flow, enum emulate_event_kind kind, double due_ms,
                           uint32_t index);
/* The engine was given something, or something was taken from it. */
void emulate_wake(struct emulate_node *node);

/* ---- emulate_tls.c: let the server speak TLS, if that is wanted. ERR_IO, ERR_PARSE: logged. */
MUST_USE enum err emulate_tls_open(struct emulate *e);
/* Of the certificate. */
MUST_USE enum err emulate_tls_pin(const struct emulate_options *options,
                                  char ret_text[TLS_PIN_TEXT_BYTES]);

/* ---- emulate_flow.c */
/* NULL: too many, or no memory. */
struct emulate_flow *emulate_flow_open(struct emulate *e, struct emulate_node *node,
                                       struct http_exchange *x, const struct http_request *r);
void emulate_flow_event(struct emulate_flow *flow, const struct emulate_event *event);
void emulate_flow_output(struct emulate_flow *flow, const struct engine_output *output);
/* The client is gone, or has everything. */
void emulate_flow_detach(struct emulate_flow *flow, bool left);
/* Free it if nothing holds it any more. */
void emulate_flow_release(struct emulate_flow *flow);
void emulate_flow_free(struct emulate_flow *flow);
/* Its document leaves the node at now_ms. */
void emulate_flow_respond(struct emulate_flow *flow, double now_ms);
/* The node's requests for this model are lost: their connections close. */
void emulate_flow_break_all(struct emulate_node *node, uint32_t model, double now_ms);

/* ---- emulate_ask.c: the body of an inference request. */
/* Read it. ERR_PARSE: no JSON; ERR_ARG: no prompt in it; ERR_NOT_FOUND: the node has no such model;
 * ERR_FULL: longer than the context. ret_model gets the model's name as asked, cut to `size`. */
MUST_USE enum err emulate_ask(const struct emulate_node *node, struct span body, bool chat,
                              struct emulate_inference *ret, char *ret_model, size_t size);

/* ---- emulate_answer.c: what goes back for an inference request. */
void emulate_answer_head(struct emulate_flow *flow);
void emulate_answer_token(struct emulate_flow *flow, uint32_t index);
void emulate_answer_end(struct emulate_flow *flow);

/* ---- emulate_document.c */
/* The document that answers the flow: write it and close the file. NULL: no memory, it stays empty.
 */
FILE *emulate_document_open(struct emulate_flow *flow, unsigned status, const char *content_type);
/* The same from JSON, which is deleted. */
void emulate_document_json(struct emulate_flow *flow, unsigned status, cJSON *root);
/* Whatever is no inference: the node's routes. */
void emulate_document(struct emulate_flow *flow);
/* The truth as the node's metrics tell it. */
void emulate_published(const struct emulate_node *node, uint32_t model, double now_ms,
                       struct engine_truth *ret_truth);

/* ---- emulate_vllm.c, emulate_llama.c, emulate_ollama.c, emulate_sglang.c: their routes, and their
 * words for what emulate_ask or the engine refused (SGLang's are vLLM's). */
void emulate_vllm_document(struct emulate_flow *flow);
void emulate_llama_document(struct emulate_flow *flow);
void emulate_ollama_document(struct emulate_flow *flow);
void emulate_sglang_document(struct emulate_flow *flow);
void emulate_vllm_error(struct emulate_flow *flow, enum err err, const char *model);
void emulate_llama_error(struct emulate_flow *flow, enum err err, const char *model);
void emulate_ollama_error(struct emulate_flow *flow, enum err err, const char *model);
/* Errors in any words. */
void emulate_vllm_words(struct emulate_flow *flow, unsigned status, const char *type,
                        const char *param, const char *message);
void emulate_llama_words(struct emulate_flow *flow, unsigned status, const char *type,
                         const char *message);
/* vLLM's list of models, adapters among them; SGLang has the same. */
void emulate_vllm_models(struct emulate_flow *flow, const char *owner);

/* ---- emulate_control.c: orders about models. */
/* A request that is one: its document is ready or comes with the load. *ret_ms: how long it takes
 * until a ready one leaves the node. False: it is none. */
bool emulate_control(struct emulate_flow *flow, double now_ms, double *ret_ms);
/* A model has loaded. */
void emulate_control_loaded(struct emulate_node *node, uint32_t model, double now_ms);
/* The engine was run: who is leaving and used by nobody any more goes. */
void emulate_control_idle(struct emulate_node *node, double now_ms);

/* ---- emulate_admin.c: /emulate/... False: it is none of these. Answers at once. */
bool emulate_admin(struct emulate *e, struct http_exchange *x, const struct http_request *r);

/* ---- emulate_log.c */
void emulate_log_flow(const struct emulate_flow *flow);
#endif

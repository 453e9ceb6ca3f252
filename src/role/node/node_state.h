#ifndef ROLE_NODE_NODE_STATE_H
#define ROLE_NODE_NODE_STATE_H
/* node_state - what the files of the node agent share, and nobody else includes:
 *   node.c          its life
 *   node_route.c    which path is answered by whom, and who may come in
 *   node_proxy.c    one request, from a gateway to an engine and back
 *   node_ask.c      what a body asks for, and what its answer used (node_ask.h)
 *   node_guard.c    how much the engines get at once; the waiting room
 *   node_engine.c   what engines say of themselves; models
 *   node_engines.c  which engines there are
 *   node_self.c     who it is: key, record, epoch
 *   node_report.c   what it says of itself
 *   node_bus.c      what it says, on the bus; what it hears there
 *   node_post.c     what it says, to gateways over HTTP
 *   node_control.c  directives of gateways (node_control.h)
 *   node_order.c    what they want of engines (node_order.h)
 *   node_reload.c   the configuration again
 *   node_page.c     /livez, /readyz, /metrics, models
 * All on one loop's thread. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/list.h"
#include "base/rng.h"
#include "io/bus.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/notify.h"
#include "io/signals.h"
#include "io/tls_ticket.h"
#include "role/asker.h"
#include "role/node/node.h"
#include "wire/report.h"

#define NODE_ENGINES_MAX         64u
#define NODE_MODELS_MAX          (NODE_ENGINES_MAX * ADAPTER_MODELS_MAX)
#define NODE_SLOTS_DEFAULT       256u /* of an engine that does not say */
#define NODE_WAITING_MAX         1024u
#define NODE_WAITING_MIN         16u
#define NODE_CONNECTIONS_MAX     16384u
#define NODE_DEPTH_BYTES_MAX     262144u /* of an answer that is looked at for its usage */
#define NODE_HIGH_WATER_BYTES    65536u
#define NODE_LOW_WATER_BYTES     16384u
#define NODE_RETRY_MS            1000.0f /* for who comes while it cannot be */
#define NODE_OUTPUT_TOKENS_FIRST 256.0   /* of an answer, until some have ended */

enum node_engine_life {
    NODE_ENGINE_COMING, /* by a reload: asked, and nothing is sent there until it has answered */
    NODE_ENGINE_SERVING,
    NODE_ENGINE_LEAVING, /* by a reload: nothing new; forgotten when what runs there has ended */
};

struct node_engine { /* a malloc of its own: requests and orders point to it */
    TAILQ_ENTRY(node_engine) link;
    struct node *node;
    struct roster *roster; /* a reference, for at */
    const struct roster_node *at;
    enum node_engine_life life;
    bool is_wanted; /* by the configuration as it is now */
    struct http_target *target;
    struct asker asker;
    struct loop_timer timer;
    const struct adapter *kind;
    struct adapter_load load;
    struct adapter_models models;
    uint32_t failures; /* since it answered */
    bool up;           /* it answered when it was asked last */
    bool heard;        /* a round of questions was answered once */
    bool load_known;
    bool is_asleep;   /* it was put to sleep, and does not tell */
    uint32_t running; /* requests of ours at it */
    double foreign;   /* what else it ran when it was asked: what it said, less ours */
    /* It is to be looked at anew, from the beginning: when the question in progress is over; now.
     */
    bool wants_look, is_look;
};

TAILQ_HEAD(node_engines, node_engine);

struct node_model {
    char id[REPORT_TEXT_BYTES_MAX + 1];
    uint32_t state;                /* enum model_state: the best of all engines */
    uint32_t before, slots_before; /* while what all engines say is put together */
    uint64_t bytes;                /* of its weights; 0: not known */
    double load_ms;                /* what its last load took; 0: none was seen */
    uint32_t slots; /* requests of it at once, at the engines where it is nearest to an answer; 0:
                       it shares the engine's */
    uint32_t running, waiting; /* requests of it at engines; in the waiting room */
    bool is_dirty;             /* not told yet */
    bool is_pinned;            /* a gateway wants it kept */
};

struct node_ack {
    char name[CONFIG_NAME_BYTES_MAX + 1];
    uint64_t number;
};

struct node_speed { /* a mean that forgets */
    double mean;
    double count; /* what it is made of; 0: nothing yet */
};

struct node_counts {
    uint64_t requests, refused_busy, refused_draining, refused_other, cancelled, failed;
    uint64_t prompt_tokens, output_tokens, reports, directives, directives_refused;
    uint64_t orders_done, orders_failed; /* of engines, by directives */
    uint64_t not_heard; /* times that a gateway said over the bus that it does not take our word */
};

struct node_control;
struct poster;
struct node_orders;
struct node_reload;
struct node_request;
TAILQ_HEAD(node_requests, node_request);

struct node {
    struct loop *loop;
    struct http_client *client;
    struct http_server *public_server, *admin_server;
    struct roster *roster;            /* as the configuration is now */
    struct roster *first;             /* as it was at the start: what needs a restart */
    const struct config_node *config; /* the roster's */
    struct node_reload *reload;       /* NULL: there is no file to read again */
    struct log_file *log;
    struct tls_tickets tickets;
    struct notify notify;
    struct rng rng;
    uint64_t ask_ns, report_ns;
    uint64_t started_ns;
    _Atomic size_t buffers_bytes;
    struct http_addresses *addresses;
    /* engines, each in the list of its life; those that serve are what the node tells of */
    struct node_engines coming, engines, leaving;
    struct node_model *models; /* NODE_MODELS_MAX */
    uint32_t model_count;
    uint64_t models_seq; /* of the report behind which no model has changed */
    /* guard */
    struct node_requests running, waiting;
    uint32_t running_count, waiting_count;
    uint64_t tokens;         /* of all that run: prompts, and answers as long as they may get */
    uint64_t prefill_tokens; /* prompts whose answer has not begun */
    double output_mean, seconds_mean;
    struct loop_task admit;
    /* what was measured */
    struct node_speed prefill, decode;
    struct node_counts counts;
    uint64_t not_heard_ns; /* when that was logged last; 0: never */
    struct node_ack acks[REPORT_ACKS_MAX];
    uint32_t ack_count;
    /* who it is */
    struct span name;
    char obeys[REPORT_OBEYS_MAX][SIGNATURE_SHORT_SIZE]; /* gateways that may load */
    size_t obey_count;
    struct signature_secret secret;
    struct identity identity;
    uint64_t end_told_s; /* wall clock: when it was told last that the record ends; 0: not yet */
    uint64_t epoch, seq;
    unsigned char head[REPORT_HASH_BYTES];
    uint64_t epoch_ns; /* when it began */
    /* what it says */
    struct loop_timer report_timer, chain_timer;
    uint32_t loads_max; /* as it was told */
    uint64_t reported_ns, chain_ns;
    bool is_announced;
    struct node_control *control;
    struct node_orders *orders;
    struct poster *posts; /* NULL: none */
    struct bus *bus;      /* NULL: none */
    uint64_t bus_connects;
    _Atomic uint32_t asks;        /* that came over it and are on their way here */
    bool wants_hello, wants_full; /* with the next report */
    bool asked_hello, asked_full; /* by somebody who missed something: after a pause */
    uint64_t answered_ns;         /* when that was done last; 0: never */
    struct report scratch;        /* of whoever fills one now */
    /* life */
    enum node_state state;
    bool is_ending, is_over;
    struct loop_timer drain_timer;
    uint64_t drain_until_ns;
    struct signals signals;
    struct loop_post stop_post[2];
    _Atomic uint32_t stop_calls;
};

/* ---- node.c */
void node_end(struct node *n);                              /* drain, then end; again: at once */
void node_set_state(struct node *n, enum node_state state); /* told at once */

/* ---- node_route.c */
extern const struct http_server_fn node_public_fn, node_admin_fn;
/* An error in OpenAI's form. retry_ms: NAN: no Retry-After. */
void node_refuse(struct http_exchange *x, unsigned status, const char *code, float retry_ms,
                 const char *format, ...) PRINTF_LIKE(5, 6);

/* ---- node_proxy.c */
struct node_api { /* a path of the model API */
    const char *path;
    bool is_openai;  /* its answers are read by wire/openai; else by what usage they have */
    bool has_output; /* false: embeddings */
};
/* gateway: whose it is; empty: of none that is known. */
void node_proxy_begin(struct node *n, const struct node_api *api, struct http_exchange *x,
                      const struct http_request *r, struct span gateway);
/* Which gateway it says it is, by its name, or by its key, of which the configuration has the name;
 * empty: none that is known. It lives as long as the request. */
struct span node_gateway_name(const struct node *n, const struct http_request *r);
void node_proxy_gone(struct http_exchange *x);
void node_proxy_drained(struct http_exchange *x);
loop_task_fn node_admit; /* let those that wait go, as many as may */
/* Those that wait for this engine go elsewhere, or wait for another one, or are told. */
void node_proxy_leave(struct node_engine *e);
/* Does a request wait at the engine for it to bring this model into memory? */
bool node_proxy_awaits(const struct node_engine *e, struct span model);
/* How many requests of this model run there, or wait for a place there; empty: of any model. One
 * whose model the engine knows by another name counts as of each. */
uint32_t node_proxy_using(const struct node_engine *e, struct span model);

/* ---- node_guard.c */
enum node_verdict { NODE_GO, NODE_WAIT, NODE_FULL };
/* May it go now? GO: counted in, node_guard_leave must follow. WAIT: it may wait, if it likes.
 * model: NULL: none that is known. */
enum node_verdict node_guard_enter(struct node *n, struct node_engine *e, struct node_model *model,
                                   uint64_t tokens);
enum node_verdict node_guard_wait(const struct node *n); /* WAIT or FULL */
void node_guard_leave(struct node *n, struct node_engine *e, struct node_model *model,
                      uint64_t tokens);
uint32_t node_guard_slots(const struct node *n);
uint32_t node_guard_engine_slots(const struct node_engine *e);
/* What is said of it: where each model has slots of its own, those of the models in memory. */
uint32_t node_guard_slots_now(const struct node *n);
uint32_t node_guard_waiting_max(const struct node *n);
uint64_t node_guard_tokens_max(const struct node *n); /* 0: none */
/* When to come again, in ms. */
float node_guard_retry_ms(const struct node *n);

/* ---- node_engines.c */
MUST_USE enum err node_engines_open(struct node *n);
void node_engines_close(struct node *n);
/* What a roster has that is not here yet, into *ret_fresh; nothing here changes by that. ERR_FULL,
 * ERR_NOT_FOUND, ERR_MEMORY, ERR_ARG: logged, and nothing is in it. */
MUST_USE enum err node_engines_prepare(struct node *n, struct roster *next,
                                       struct node_engines *ret_fresh);
void node_engines_drop(struct node_engines *fresh); /* after all not */
/* From now on those of this roster; fresh: of node_engines_prepare, taken over. */
void node_engines_change(struct node *n, struct roster *next, struct node_engines *fresh);
void node_engine_arrived(struct node_engine *e); /* one that comes has answered, or did not */
void node_engine_idle(struct node_engine *e);    /* nothing of ours runs there any more */

/* ---- node_engine.c */
void node_engine_begin(struct node_engine *e); /* ask it from now on, from the beginning */
/* The same of one whose credential, kind or slots are other ones now; what it said last holds until
 * it says something else. */
void node_engine_again(struct node_engine *e);
void node_engine_stop(struct node_engine *e);  /* ask it no more */
void node_engine_doubt(struct node_engine *e); /* ask it soon: something went wrong */
/* Ask it everything: something changed. node_control_seen follows when it answered, or did not. */
void node_engine_look(struct node_engine *e);
struct node_place {             /* of a request */
    struct node_engine *engine; /* NULL: nowhere */
    /* Its model is not in memory: the engine brings it there itself, and lets requests wait. */
    bool is_cold;
    /* Not yet: somebody else brings it there, and until then it is not to be sent. */
    bool is_coming;
    /* Nowhere: what to answer, in static text. */
    unsigned status;
    float retry_ms; /* when to come again; NAN: not */
    const char *code, *why;
};
/* Who shall answer for this model: the engine where it is nearest to an answer, and of these the
 * one that has the least to do. */
struct node_place node_engine_for(struct node *n, struct span model);
uint32_t node_engine_state(const struct node_engine *e, struct span model);
/* As long as the node; NULL: none of this name. */
struct node_model *node_model_find(struct node *n, struct span id);
void node_models_changed(struct node *n);                             /* perhaps: look, and tell */
void node_model_took(struct node *n, const char *id, double load_ms); /* its load */
/* Until it is ready, when it is loading; NAN: not known. */
double node_model_ready_in_ms(const struct node *n, struct span id);
uint32_t node_engines_loads_max(const struct node *n); /* models that they load at once */
bool node_engines_heard(const struct node *n);
uint32_t node_engines_count(const struct node *n);
uint32_t node_engines_leaving(const struct node *n);
uint32_t node_engines_up(const struct node *n);

/* ---- node_self.c */
MUST_USE enum err node_self_open(struct node *n, const char *state_path);
/* What it says it is, by this roster; it listens already, so where it is reached is known. The
 * spans are the roster's, and the node's. ERR_PARSE, ERR_ARG: logged. */
MUST_USE enum err node_self_identity(const struct node *n, struct roster *r,
                                     struct identity *ret_identity);
/* In the log, once a day and when it is so, that the record ends soon, or has ended. */
void node_self_tell_end(struct node *n);
/* Where it is: as its operator signed, else as the configuration has it. */
struct span node_self_region(const struct node *n);
/* Is the key that was read there ours? It is wiped. */
bool node_self_has_key(const struct node *n, const struct roster *r);
void node_self_close(struct node *n);

/* ---- node_report.c */
MUST_USE enum err node_report_open(struct node *n);
void node_report_close(struct node *n); /* says gone, if it said hello */
/* Something changed that others should know soon. */
void node_report_soon(struct node *n);
/* Somebody missed something, and asks for all; hello: and for a hello. */
void node_report_asked(struct node *n, bool hello);
/* For the head of an answer. ERR_FULL, ERR_ARG: there is nothing to say. */
MUST_USE enum err node_report_piggyback(struct node *n, struct span gateway,
                                        char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
void node_report_get(struct node *n, struct http_exchange *x, const struct http_request *r);
void node_hello_get(struct node *n, struct http_exchange *x);
MUST_USE enum err node_hello_write(const struct node *n, char ret_text[MESSAGE_BYTES_MAX],
                                   size_t *ret_bytes);
/* This request of a gateway counts from now on. */
void node_ack(struct node *n, struct span gateway, uint64_t number);
void node_measure(struct node_speed *s, double value);

/* ---- node_bus.c: all do nothing where there is no bus. */
MUST_USE enum err node_bus_open(struct node *n);
void node_bus_close(struct node *n);
/* kind: "report" "chain" "hello" "gone" */
void node_bus_say(struct node *n, const char *kind, struct span bytes);
void node_bus_look(struct node *n); /* is it connected anew? */

/* ---- node_post.c */
MUST_USE enum err node_post_open(struct node *n);
/* Other gateways from now on, as this roster has them; n->roster is not that yet. ERR_MEMORY,
 * ERR_ARG: it stays as it is. */
MUST_USE enum err node_post_change(struct node *n, const struct roster *roster);
void node_post_close(struct node *n); /* when all is said; waits a moment until it was heard */
void node_post_say(struct node *n, const char *kind, struct span bytes); /* as node_bus_say */
void node_post_metrics(const struct node *n, FILE *out);

/* ---- node_reload.c */
MUST_USE enum err node_reload_open(struct node *n, const char *path);
void node_reload_close(struct node *n);
/* Read it and take it over, or keep the old one; both is told in the log. */
void node_reload(struct node *n);

/* ---- node_order.c */
/* The state of a model at an engine, which may be about to change. */
uint32_t node_control_state(const struct node_engine *e, struct span model, uint32_t state);
/* The engine was looked at after node_engine_look: what it says is true, with all orders done. */
void node_control_seen(struct node_engine *e);
/* What is under way there is followed no more; words: why, for whoever wanted it. */
void node_control_leave(struct node_engine *e, const char *words);

/* ---- node_page.c */
void node_livez(struct http_exchange *x);
void node_readyz(struct node *n, struct http_exchange *x);
void node_metrics(struct node *n, struct http_exchange *x);
void node_models_get(struct node *n, struct http_exchange *x);
#endif

#ifndef WIRE_REPORT_H
#define WIRE_REPORT_H
/* report - what a node says of itself, on the bus and on its answers: how busy it is, which models
 * it has in which state, that it came, that it goes, and a signed hash over all it said. JSON of at
 * most MESSAGE_BYTES_MAX bytes by wire/message; the same bytes on NATS and over HTTP.
 *
 *   report   iso.report.<region>.<node>   on change and each second
 *   chain    iso.report.<region>.<node>   every 60 s, behind the report whose seq it names
 *   hello    iso.hello.<node>             at the start, on a change of the record, when asked
 *   gone     iso.gone.<node>              on a clean end
 *
 * Epoch: one life of the node. Grows with each start (the wall clock in ms, or one more than the
 *   last where that is higher: so a clock set back does no harm, if the node keeps it in its
 *   state). Of two lives the higher epoch is right: ghosts lose.
 * Seq: 1, 2, 3 ... of the reports of an epoch. A gap says that something was missed.
 * At_us: time since the epoch began, by a clock that never goes back. It only orders what the same
 *   node said over different ways: an answer's piggy-back against the bus. It is no age.
 * Delta and full: state, engine, requests and ack are always whole. url, tls_pin, key, labels,
 * datasets and proofs: left out is unchanged; what stands there replaces all of it. models: without
 * `full` those that changed, one that is gone as `absent`; with `full` all there are, on `pages`
 * messages in a row, and whatever is on none of them is absent. An epoch
 * begins with a full report; whoever missed something asks for one (on iso.ctl, or in
 * an answer over HTTP). Numbers that are not
 * known are left out (MESSAGE_UNKNOWN, NAN), never guessed. ack: per gateway the highest
 * Isochrone-Dispatch number that this report already counts. obeys, memory_bytes and loads_max
 * stand on the first page of a full report and nowhere else. outcomes: of directives that ended
 * lately, said several times.
 *
 * Who is judged by what: wire/report_sender. Spans point into the bytes that were read. */
#include "core/event.h"
#include "wire/directive.h"
#include "wire/identity.h"

#define REPORT_MODELS_MAX        96u /* of one page: more do not fit */
#define REPORT_PAGES_MAX         1024u
#define REPORT_DATASETS_MAX      16u
#define REPORT_PROOFS_MAX        8u
#define REPORT_ACKS_MAX          48u
#define REPORT_BY_MODEL_MAX      24u
#define REPORT_TEXT_BYTES_MAX    127u /* of kinds, roots, reasons */
#define REPORT_DIGEST_BYTES_MAX  95u
#define REPORT_HASH_BYTES        32u
#define REPORT_TOKENS_MAX        MESSAGE_NUMBER_MAX
#define REPORT_REQUESTS_MAX      1000000u
#define REPORT_TOKENS_PER_S_MAX  1000000000u
#define REPORT_READY_IN_MS_MAX   86400000u
#define REPORT_OBEYS_MAX         16u
#define REPORT_OUTCOMES_MAX      4u
#define REPORT_OUTCOME_BYTES_MAX 95u /* of its words */

enum report_role { REPORT_NODE = 0, REPORT_GATEWAY, REPORT_FULL, REPORT_DATA, REPORT_ROLE_COUNT };

/* Where a model's bytes are when it is not ready. */
enum report_tier {
    REPORT_TIER_UNKNOWN = 0,
    REPORT_TIER_GPU,
    REPORT_TIER_DRAM,
    REPORT_TIER_DISK,
    REPORT_TIER_LAN,
    REPORT_TIER_WAN,
    REPORT_TIER_COUNT
};

struct report_engine {
    struct span kind; /* "vllm"; empty: not said */
    uint64_t slots;   /* requests at once */
    uint64_t running, waiting;
    uint64_t prefill_tokens_in_flight;
    uint64_t kv_tokens_used, kv_tokens_cap;
    uint64_t accepted_total;            /* tokens of prompts and answers since the epoch began */
    double prefill_tok_s, decode_tok_s; /* measured on real traffic */
};

struct report_model {
    struct span id, digest; /* digest empty: not known */
    uint32_t state;         /* enum model_state */
    double ready_in_ms;     /* when loading */
    uint32_t tier;          /* enum report_tier */
    uint64_t bytes;         /* of its weights */
    uint64_t slots;         /* requests of it at once, where each model has slots of its own */
    bool pinned;            /* a gateway wants it kept */
};

/* Of a model with slots of its own: all that the node has of it. */
struct report_requests {
    struct span id;
    uint64_t running, waiting;
};

/* What came of a directive that was begun. */
struct report_outcome {
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    uint32_t result; /* enum directive_result */
    double took_ms;
    struct span words; /* for people; empty: none */
};

struct report_dataset {
    struct span id, root;
    uint64_t bytes;
};

struct report {
    uint64_t v; /* MESSAGE_VERSION */
    struct span node;
    uint64_t epoch, seq;
    uint64_t at_us;
    bool full;
    uint64_t page, pages; /* 1..pages; MESSAGE_UNKNOWN is one of one */
    uint32_t role;        /* enum report_role */
    uint32_t state;       /* enum node_state */
    struct span url;
    unsigned char tls_pin[IDENTITY_PIN_BYTES];
    struct signature_key key;
    struct message_labels labels;
    struct report_engine engine;
    uint64_t memory_bytes; /* for weights */
    uint64_t loads_max;    /* models that it loads at once; 0: its engines cannot load any */
    size_t model_count, dataset_count, proof_count, ack_count, obey_count, outcome_count;
    size_t request_count;
    /* Ten times as much as the rest, and mostly empty: what is read does not touch it. */
    struct report_model models[REPORT_MODELS_MAX];
    struct report_dataset datasets[REPORT_DATASETS_MAX];
    struct span proofs[REPORT_PROOFS_MAX];        /* kinds of proof that it gives */
    struct message_counter acks[REPORT_ACKS_MAX]; /* by gateway */
    struct report_requests requests[REPORT_BY_MODEL_MAX];
    struct span obeys[REPORT_OBEYS_MAX]; /* signature_key_short of gateways that may load */
    struct report_outcome outcomes[REPORT_OUTCOMES_MAX];
};

/* For who fills a report to write it: everything absent, this version. */
void report_init(struct report *ret_report);
/* Of lists what is above their counts is not written. ERR_PARSE, ERR_FULL: *ret_error says which
 * field, and why. */
MUST_USE enum err report_parse(struct span json, struct report *ret_report,
                               struct message_error *ret_error);
/* ERR_FULL: it is longer than a message; ERR_ARG: it could not be read. */
MUST_USE enum err report_write(const struct report *report, char ret_text[MESSAGE_BYTES_MAX],
                               size_t *ret_bytes);

/* The part that rides on an answer (header and trailer Isochrone-Report, comment
 * `: isochrone-report {...}`): epoch, at_us, state, engine, requests, ack of a struct report; the
 * rest is absent. Whose it is the connection says. */
MUST_USE enum err report_parse_piggyback(struct span json, struct report *ret_report,
                                         struct message_error *ret_error);
MUST_USE enum err report_write_piggyback(const struct report *report,
                                         char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);

/* ---- Hello. The node's key signs it together with the identity record: it proves that who shows
 * the record has the key. */

#define REPORT_HELLO_DOMAIN "isochrone/hello/1"

struct report_hello {
    uint64_t v;
    uint64_t epoch;
    uint64_t issued_s;        /* since 1970 */
    uint32_t role;            /* enum report_role */
    struct span version;      /* of the program */
    struct identity identity; /* its node and key are the sender's */
    struct signature signature;
};

MUST_USE enum err report_hello_parse(struct span json, struct report_hello *ret_hello,
                                     struct message_error *ret_error);
MUST_USE enum err report_hello_write(const struct report_hello *hello,
                                     char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
/* What the node signs. */
void report_hello_data(const struct report_hello *hello, struct signature_data *ret_data);

/* ---- Gone: this life ended on purpose. */

#define REPORT_GONE_DOMAIN "isochrone/gone/1"

struct report_gone {
    uint64_t v;
    struct span node;
    uint64_t epoch;
    struct span reason; /* for people; empty: none */
    struct signature signature;
};

MUST_USE enum err report_gone_parse(struct span json, struct report_gone *ret_gone,
                                    struct message_error *ret_error);
MUST_USE enum err report_gone_write(const struct report_gone *gone,
                                    char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
void report_gone_data(const struct report_gone *gone, struct signature_data *ret_data);

/* ---- Chain: head(0) = SHA-256 over the signed bytes' form of {domain, node, epoch}; head(n) =
 * SHA-256(head(n-1) || the bytes of report n as they were published). */

#define REPORT_CHAIN_DOMAIN "isochrone/chain/1"

struct report_chain {
    uint64_t v;
    struct span node;
    uint64_t epoch, seq;
    unsigned char head[REPORT_HASH_BYTES]; /* behind report seq */
    struct signature signature;
};

MUST_USE enum err report_chain_parse(struct span json, struct report_chain *ret_chain,
                                     struct message_error *ret_error);
MUST_USE enum err report_chain_write(const struct report_chain *chain,
                                     char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
void report_chain_data(const struct report_chain *chain, struct signature_data *ret_data);
/* head(0) of a node's epoch. */
void report_chain_begin(struct span node, uint64_t epoch,
                        unsigned char ret_head[REPORT_HASH_BYTES]);
/* From head(n-1) to head(n), in place. */
void report_chain_add(unsigned char head[REPORT_HASH_BYTES], struct span report_bytes);
#endif

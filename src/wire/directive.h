#ifndef WIRE_DIRECTIVE_H
#define WIRE_DIRECTIVE_H
/* directive - what a gateway asks a node to do (load, unload, wake, sleep, pin, unpin, drain,
 * ready), signed by the gateway's key, and the node's judgement of it. A node obeys only gateways
 * that its own configuration names, in what that says they may; each directive once; for this life
 * only; and for a short time. Whoever carries it (NATS, HTTP) need not be trusted.
 *
 * The clocks of gateway and node must agree to SIGNATURE_CLOCK_SKEW_S_MAX; a refusal says by how
 * much they do not. */
#include "wire/message.h"
#include "wire/signature.h"

#define DIRECTIVE_DOMAIN            "isochrone/directive/1"
#define DIRECTIVE_NONCE_BYTES       16u
#define DIRECTIVE_LIFETIME_S_MAX    300u
#define DIRECTIVE_NONCES_MAX        1024u /* unexpired ones that a node remembers */
#define DIRECTIVE_GATEWAYS_MAX      64u
#define DIRECTIVE_WORDS_BYTES       160u
#define DIRECTIVE_READY_IN_MS_MAX   86400000u
#define DIRECTIVE_REPLY_WORDS_BYTES 320u

enum directive_action {
    DIRECTIVE_LOAD = 0,
    DIRECTIVE_UNLOAD,
    DIRECTIVE_WAKE,
    DIRECTIVE_SLEEP,
    DIRECTIVE_PIN, /* keep it: nothing evicts it */
    DIRECTIVE_UNPIN,
    DIRECTIVE_DRAIN, /* take nothing new */
    DIRECTIVE_READY, /* take requests again */
    DIRECTIVE_ACTION_COUNT
};

/* What a gateway may: a set. */
enum directive_right {
    DIRECTIVE_MAY_INFER = 1, /* send requests: no directive, but told in the same place */
    DIRECTIVE_MAY_LOAD = 2,  /* load to unpin */
    DIRECTIVE_MAY_DRAIN = 4  /* drain and ready */
};

struct directive {
    uint64_t v; /* MESSAGE_VERSION */
    struct signature_key gateway;
    struct span node;
    uint64_t epoch; /* the node's, as it last said */
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    uint64_t issued_s, expires_s; /* since 1970 */
    uint32_t action;              /* enum directive_action */
    struct span model; /* of all but wake, sleep, drain and ready; of those it may be empty */
    struct signature signature;
};

/* Spans point into json. ERR_PARSE, ERR_FULL: *ret_error says why. */
MUST_USE enum err directive_parse(struct span json, struct directive *ret_directive,
                                  struct message_error *ret_error);
MUST_USE enum err directive_write(const struct directive *directive,
                                  char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
/* What is signed; doc/identity.md has it field by field. */
void directive_data(const struct directive *directive, struct signature_data *ret_data);
/* Fills gateway and signature. */
MUST_USE enum err directive_sign(struct directive *directive,
                                 const struct signature_secret *gateway_secret);
/* "load" ... ; ERR_NOT_FOUND. */
MUST_USE enum err directive_action_parse(struct span text, enum directive_action *ret_action);
const char *directive_action_name(enum directive_action action);
/* "infer" "load" "drain"; ERR_NOT_FOUND. */
MUST_USE enum err directive_right_parse(struct span text, enum directive_right *ret_right);
enum directive_right directive_right_for(enum directive_action action);

/* ---- The node's side. One thread. */

struct directive_gateway {
    struct signature_key key;
    uint32_t may; /* set of enum directive_right */
};

struct directive_nonce {
    struct signature_key gateway; /* whose it was */
    unsigned char bytes[DIRECTIVE_NONCE_BYTES];
    uint64_t expires_s;
};

struct directive_guard { /* set node, epoch and gateways; the rest is zero at the start */
    struct span node;
    uint64_t epoch;
    const struct directive_gateway *gateways;
    size_t gateway_count;
    struct directive_nonce nonces[DIRECTIVE_NONCES_MAX]; /* no expired ones when it was full */
    size_t nonce_count;
};

enum directive_verdict {
    DIRECTIVE_GOOD = 0, /* do it; it will not be good a second time */
    DIRECTIVE_WRONG_NODE,
    DIRECTIVE_UNKNOWN_GATEWAY,
    DIRECTIVE_NOT_ALLOWED,
    DIRECTIVE_OTHER_EPOCH,
    DIRECTIVE_EXPIRED,
    DIRECTIVE_NOT_YET,  /* issued in our future: a clock is off */
    DIRECTIVE_TOO_LONG, /* good for longer than DIRECTIVE_LIFETIME_S_MAX, or ends before it begins
                         */
    DIRECTIVE_REPLAYED,
    DIRECTIVE_BAD_SIGNATURE,
    DIRECTIVE_TOO_MANY,  /* its gateway's part of DIRECTIVE_NONCES_MAX has not expired */
    DIRECTIVE_MALFORMED, /* it is no directive; directive_judge never says so */
    DIRECTIVE_VERDICT_COUNT
};

/* Judge it; GOOD remembers its nonce until it expires. Only what is well signed is remembered, so
 * strangers cannot fill the memory; of those who may steer each has a like part of it. */
enum directive_verdict directive_judge(struct directive_guard *guard,
                                       const struct directive *directive, uint64_t now_s);
const char *directive_verdict_name(enum directive_verdict verdict);
/* For people: "expired 3540 s ago, or the gateway's clock is behind by as much". */
void directive_words(enum directive_verdict verdict, const struct directive *directive,
                     uint64_t now_s, char ret_text[DIRECTIVE_WORDS_BYTES]);

/* ---- The answer, to whoever asked: was it accepted, and what came of it so far? What came of one
 * that was begun is told by reports: the model's state, and its outcome. It is not signed, as it
 * makes nobody do anything. */

enum directive_result {
    DIRECTIVE_BEGUN = 0,
    DIRECTIVE_DONE,
    DIRECTIVE_REFUSED, /* nothing was done */
    DIRECTIVE_FAILED,  /* it was begun, and did not come to its end */
    DIRECTIVE_RESULT_COUNT
};
extern const char *const directive_results[DIRECTIVE_RESULT_COUNT];

struct directive_reply {
    uint64_t v; /* MESSAGE_VERSION */
    struct span node;
    uint64_t epoch; /* the node's, also when the directive's was another */
    unsigned char nonce[DIRECTIVE_NONCE_BYTES]; /* of the directive; zeros: MALFORMED */
    uint32_t verdict;                           /* enum directive_verdict */
    uint32_t result;                            /* enum directive_result; REFUSED: not GOOD, too */
    double ready_in_ms;                         /* when begun, as far as known; NAN: not */
    struct span words;                          /* for people; empty: none */
};

/* Whatever cannot stand in a message's text becomes a question mark; what is too long is cut. */
void directive_plain(const char *words, char ret_text[DIRECTIVE_REPLY_WORDS_BYTES]);
MUST_USE enum err directive_reply_parse(struct span json, struct directive_reply *ret_reply,
                                        struct message_error *ret_error);
/* ERR_ARG: it could not be read. */
MUST_USE enum err directive_reply_write(const struct directive_reply *reply,
                                        char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
#endif

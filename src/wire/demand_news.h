#ifndef WIRE_DEMAND_NEWS_H
#define WIRE_DEMAND_NEWS_H
/* demand_news - what a gateway says to the others: that it is there, and how much its clients ask
 * for, by model. JSON of at most MESSAGE_BYTES_MAX bytes by wire/message; the same bytes on NATS
 * and over HTTP.
 *
 *   demand   iso.demand.<region>.<gateway>   every few seconds; with `gone` on a clean end
 *
 * Rows are what that gateway counts itself, never what it was told: so nothing goes round. Who has
 * more models than a message takes says several; a row holds until it is said again or gets too old
 * (role/gateway/peers). Epoch: one life of the gateway, by its wall clock in ms; seq: 1, 2, 3 ...
 * of its messages in it. A gateway with a key signs; then nobody else can be it.
 *
 * demand_sender is what a receiver keeps of one of them, to judge what comes under its name. Pure;
 * what is refused changes nothing but what is counted against floods. */
#include "base/bucket.h"
#include "wire/message.h"
#include "wire/signature.h"

#define DEMAND_NEWS_DOMAIN              "isochrone/demand/1"
#define DEMAND_NEWS_MODELS_MAX          48u /* of one message: more do not fit */
#define DEMAND_NEWS_REQUESTS_S_MAX      1000000u
#define DEMAND_NEWS_TOKENS_S_MAX        1000000000u
#define DEMAND_NEWS_PER_MINUTE_MAX      600u /* of one sender: 10 a second, and bursts of as many */
#define DEMAND_NEWS_READ_PER_MINUTE_MAX 750u /* of one sender: what else it says is not read */
#define DEMAND_NEWS_LIVES_MAX           6u   /* a minute: one that starts more often flaps */

struct demand_news_model {
    struct span id;                                /* the network's name of the model */
    double requests_s, prompt_tok_s, output_tok_s; /* now */
    double usual_requests_s;                       /* over the last minutes */
    double ahead_requests_s;                       /* expected in a minute */
};

struct demand_news {
    uint64_t v; /* MESSAGE_VERSION */
    struct span gateway, region;
    uint64_t epoch, seq;
    uint64_t issued_s;        /* since 1970 */
    bool gone;                /* this life ends with it */
    struct signature_key key; /* zeros: it has none, and does not sign */
    struct demand_news_model models[DEMAND_NEWS_MODELS_MAX];
    size_t model_count;
    struct signature signature;
};

/* ERR_PARSE, ERR_FULL: *ret_error says which field, and why. */
MUST_USE enum err demand_news_parse(struct span json, struct demand_news *ret_news,
                                    struct message_error *ret_error);
/* ERR_FULL: it is longer than a message; ERR_ARG: it could not be read. */
MUST_USE enum err demand_news_write(const struct demand_news *news,
                                    char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes);
/* Fill key and signature, all else being there. ERR_FULL: it is too large. */
MUST_USE enum err demand_news_sign(struct demand_news *news, const struct signature_secret *secret);
/* So many bytes of a message a row takes at most. */
size_t demand_news_row_bytes(struct span id);
/* And all the rest of it. */
#define DEMAND_NEWS_HEAD_BYTES 700u

/* ---- One sender. */

struct demand_sender {        /* zero it: nothing heard */
    struct signature_key key; /* zeros: none */
    uint64_t epoch, seq;      /* epoch 0: nothing heard */
    struct bucket messages, lives, read;
    bool gone; /* this epoch ended */
};

enum demand_verdict {
    DEMAND_NEWS = 0, /* take it */
    /* refused */
    DEMAND_REPEATED,      /* this seq, or a later one, was heard */
    DEMAND_OLD_EPOCH,     /* of an earlier life: a ghost */
    DEMAND_IS_GONE,       /* of a life that ended */
    DEMAND_WRONG_NAME,    /* it came under another name than it says */
    DEMAND_OTHER_KEY,     /* two gateways with one name: the key is not the one that is known */
    DEMAND_BAD_SIGNATURE, /* its key did not sign it */
    DEMAND_UNSIGNED,      /* no key, and nothing else says who it is */
    DEMAND_CLOCK,         /* issued at another time than now: old, or a clock is off */
    DEMAND_TOO_OFTEN,     /* more than a sender may say */
    DEMAND_VERDICT_COUNT
};

/* Something came under this name: is it to be read? As report_sender_may_be_read: before anything
 * of it is parsed, and only where the way by which it came says whose it is. */
bool demand_sender_may_be_read(struct demand_sender *s, uint64_t now_ns);
/* A message that came under this name; now_s: wall clock. needs_key: nobody on its way vouches for
 * the name (HTTP). */
enum demand_verdict demand_sender_take(struct demand_sender *s, struct span name,
                                       const struct demand_news *news, bool needs_key,
                                       uint64_t now_ns, uint64_t now_s);
/* As one word for JSON and metrics ("old_epoch"), and for people. */
const char *demand_verdict_name(enum demand_verdict verdict);
const char *demand_verdict_words(enum demand_verdict verdict);
#endif

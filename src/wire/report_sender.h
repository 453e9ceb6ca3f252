#ifndef WIRE_REPORT_SENDER_H
#define WIRE_REPORT_SENDER_H
/* report_sender - what a receiver keeps of one sender, to judge what comes under its name: is it
 * news, old, said twice, of another life, too much, signed by whom it should be? Pure: the caller
 * gives bytes and times. Whatever is refused changes nothing but what is counted against floods, so
 * a stranger on the bus cannot push a node out of the network.
 *
 * States: nothing heard -> (hello) known -> (gone) gone -> (hello of a higher epoch) known ...
 * The first hello pins the node's key to its name, unless a proven identity says another; from then
 * on only a hello signed by this key begins another epoch. */
#include "base/bucket.h"
#include "wire/report.h"

#define REPORT_PER_MINUTE_MAX        1200u /* reports: 20 a second, and bursts of a minute's worth */
#define REPORT_SIGNED_PER_MINUTE_MAX 60u   /* signatures looked at: hello, gone and chain */
#define REPORT_LIVES_PER_MINUTE_MAX  6u    /* a node that starts more often flaps */
#define REPORT_READ_PER_MINUTE_MAX   1500u /* of all kinds: what else is said is not even read */

struct report_sender { /* zero it: nothing heard */
    struct signature_key key, operator_key;
    uint64_t epoch;      /* 0: nothing heard */
    uint64_t seq, seen;  /* the highest so far; a bit for each of the 64 up to it */
    uint64_t at_us;      /* of the newest state of the engine, by whichever way it came */
    uint64_t signed_seq; /* a signature covers what was heard up to here */
    uint64_t hello_issued_s, record_issued_s; /* of the newest hello, and of its record */
    struct signature hello_signature;         /* of the newest hello */
    unsigned char head[REPORT_HASH_BYTES];    /* of the chain, when head_known */
    struct bucket reports, signed_checks, lives, read;
    uint32_t page, pages; /* of a full report that is coming in; 0: none */
    bool head_known;
    bool proven;     /* its key is one that a trusted operator signed */
    bool gone;       /* this epoch ended */
    bool wants_full; /* something was missed: ask for a full report */
    /* Of the report that was taken last: */
    bool whole; /* it completes a full report: models on none of its pages are absent */
    bool late;  /* a piggy-back told of a newer engine and ack: take only the rest */
};

enum report_verdict {
    REPORT_NEWS = 0, /* take it */
    REPORT_GAP,      /* take it too; reports were missed: wants_full is set */
    /* refused */
    REPORT_REPEATED,      /* this seq was heard: a replay, or a doubled message */
    REPORT_STALE,         /* newer was heard */
    REPORT_OLD_EPOCH,     /* of an earlier life of the node: a ghost */
    REPORT_UNANNOUNCED,   /* of an epoch that no hello began: ask for a hello */
    REPORT_IS_GONE,       /* of a life that ended */
    REPORT_WRONG_NAME,    /* it came under another name than it says */
    REPORT_OTHER_KEY,     /* two nodes with one name: the key is not the one that is known */
    REPORT_BAD_SIGNATURE, /* not signed by the key it should be */
    REPORT_BAD_IDENTITY,  /* the identity record is refused: see its verdict */
    REPORT_TOO_OFTEN,     /* more than a sender may say */
    REPORT_BROKEN_CHAIN,  /* what was signed is not what was heard: somebody changes messages */
    REPORT_VERDICT_COUNT
};

/* Something came under this name: is it to be read? Asked before anything of it is parsed, so that
 * a flood does not cost even that; and only where the way by which it came says whose it is, as the
 * subject does on a bus: where a sender writes the name himself he would use up by it what the node
 * may say, and what is signed has to tell first. (A bus without users takes any subject from
 * anybody, but there reports are anybody's as well.) */
bool report_sender_may_be_read(struct report_sender *s, uint64_t now_ns);
/* A report that came under this name; bytes: as it was published, at most MESSAGE_BYTES_MAX. */
enum report_verdict report_sender_take(struct report_sender *s, struct span name,
                                       const struct report *report, struct span bytes,
                                       uint64_t now_ns);
/* What rode on an answer: NEWS, STALE, OLD_EPOCH, UNANNOUNCED or IS_GONE. */
enum report_verdict report_sender_take_piggyback(struct report_sender *s,
                                                 const struct report *report);
/* A hello. identity: identity_verify's verdict on its record (PROVEN or unproven; everything else
 * is BAD_IDENTITY). NEWS: a new epoch began; REPEATED: a known one was said again, well signed,
 * with a record that may have changed: take that too. Another key is taken when it is proven and
 * the known one is not, or when the same operator signed it later. */
enum report_verdict report_sender_take_hello(struct report_sender *s, struct span name,
                                             const struct report_hello *hello,
                                             enum identity_verdict identity, uint64_t now_ns);
/* Is it the newest hello, once more? Then it says nothing, and costs nothing: whoever heard it can
 * say it again, but not use up by that what the node may say in a minute. */
bool report_sender_has_heard(const struct report_sender *s, const struct report_hello *hello);
enum report_verdict report_sender_take_gone(struct report_sender *s, struct span name,
                                            const struct report_gone *gone, uint64_t now_ns);
/* NEWS: what was heard is what the node signed, up to this seq. GAP: signed well, but not all was
 * heard: from here on the chain is known again. */
enum report_verdict report_sender_take_chain(struct report_sender *s, struct span name,
                                             const struct report_chain *chain, uint64_t now_ns);

/* Is it taken? */
static inline bool
report_verdict_is_taken(enum report_verdict verdict)
{
    return verdict <= REPORT_GAP;
}
/* As one word for JSON and metrics ("old_epoch"), and for people. */
const char *report_verdict_name(enum report_verdict verdict);
const char *report_verdict_words(enum report_verdict verdict);
#endif

#ifndef WIRE_IDENTITY_H
#define WIRE_IDENTITY_H
/* identity - who a node is, as its operator vouches: its name, its key, where it is reached, and
 * the labels by which a gateway decides where it stands (region, site, gpu ...). The operator signs
 * once (`isochrone key sign`); the node shows the record when it says hello; a gateway whose
 * configuration trusts that operator believes it, and shows all others as unproven.
 *
 * The record is public and says nothing about who shows it: that the node has its key is proven by
 * what the key signs (wire/report: hello, gone, chain). */
#include "wire/message.h"
#include "wire/signature.h"

#define IDENTITY_DOMAIN         "isochrone/identity/1"
#define IDENTITY_BYTES_MAX      3072u /* as JSON: it must fit into a hello */
#define IDENTITY_URL_BYTES_MAX  255u
#define IDENTITY_PIN_BYTES      32u
#define IDENTITY_HASH_BYTES     SIGNATURE_KEY_BYTES /* one room for both in lists */
#define IDENTITY_LIFETIME_S_MAX (10u * 366u * 86400u)
#define IDENTITY_SOON_S         (7u * 86400u)
#define IDENTITY_TRUST_MAX      256u
#define IDENTITY_WORDS_BYTES    200u

struct identity {
    struct span node;                  /* its name */
    struct signature_key key;          /* the node's */
    struct span operator;              /* its name; empty: nobody vouches */
    struct signature_key operator_key; /* zeros: nobody vouches */
    struct message_labels labels;      /* region, site, gpu ... */
    struct span url;                   /* http(s)://host[:port]; empty: not reached from outside */
    unsigned char
        tls_pin[IDENTITY_PIN_BYTES]; /* SHA-256 of its SubjectPublicKeyInfo; zeros: none */
    uint64_t issued_s, expires_s;    /* since 1970; MESSAGE_UNKNOWN: not said (no operator) */
    struct signature signature;      /* the operator's; zeros: none */
};

/* The table, for messages that hold a record. */
extern const struct message_field identity_fields[];

/* Read a record; its spans point into json. ERR_PARSE, ERR_FULL: *ret_error says why. A record that
 * was read need not be good: ask identity_verify. */
MUST_USE enum err identity_parse(struct span json, struct identity *ret_identity,
                                 struct message_error *ret_error);
/* As one line of JSON. ERR_FULL: longer than IDENTITY_BYTES_MAX; ERR_ARG: what cannot be read. */
MUST_USE enum err identity_write(const struct identity *identity, char ret_text[IDENTITY_BYTES_MAX],
                                 size_t *ret_bytes);
/* The bytes that the operator signs; doc/identity.md has them field by field. */
void identity_data(const struct identity *identity, struct signature_data *ret_data);
/* Sign: fills operator_key and signature. ERR_FULL: it is too large. */
MUST_USE enum err identity_sign(struct identity *identity,
                                const struct signature_secret *operator_secret);

enum identity_verdict {
    IDENTITY_PROVEN = 0,
    /* unproven: a node like others, of which nothing is believed */
    IDENTITY_UNSIGNED,         /* no operator vouches for it */
    IDENTITY_UNKNOWN_OPERATOR, /* one does whom the configuration does not trust */
    /* refused: somebody shows what is not, or no longer, so */
    IDENTITY_BAD_SIGNATURE,
    IDENTITY_EXPIRED,
    IDENTITY_NOT_YET,    /* issued in our future: one of the clocks is off */
    IDENTITY_BAD_TIMES,  /* no times, expires before issued, or after more than LIFETIME_S_MAX */
    IDENTITY_OTHER_NAME, /* a good record of another node */
    IDENTITY_REVOKED,    /* its key, its operator's or the record is called back */
    IDENTITY_VERDICT_COUNT
};

/* Whom to trust, and whom no more, whoever signed. */
struct identity_trust {
    const struct signature_key *operators;
    size_t count;
    const struct signature_revoked *revoked;
    size_t revoked_count;
};

/* By which a record is called back: SHA-256 over what the operator signs. */
void identity_hash(const struct identity *identity, unsigned char ret_hash[IDENTITY_HASH_BYTES]);
bool identity_is_revoked(const struct identity_trust *trust, const struct signature_key *node,
                         const struct signature_key *operator_,
                         const unsigned char hash[IDENTITY_HASH_BYTES]);
bool identity_is_trusted(const struct identity_trust *trust, const struct signature_key *operator_);

/* Judge a record that was shown under this name (empty: under any). now_s: since 1970. What is
 * cheap comes first: a signature is looked at only when all else is right. */
enum identity_verdict identity_verify(const struct identity *identity, struct span name,
                                      const struct identity_trust *trust, uint64_t now_s);
/* Is the node to be treated as one of which nothing is known, instead of turned away? */
static inline bool
identity_is_unproven(enum identity_verdict verdict)
{
    return verdict == IDENTITY_UNSIGNED || verdict == IDENTITY_UNKNOWN_OPERATOR;
}
/* The verdict as one word for JSON and metrics ("unknown_operator"). */
const char *identity_verdict_name(enum identity_verdict verdict);
/* And for people: "expired 3600 s ago". */
void identity_words(enum identity_verdict verdict, const struct identity *identity, uint64_t now_s,
                    char ret_text[IDENTITY_WORDS_BYTES]);
/* Does a record end within IDENTITY_SOON_S, or did it? Then in words, with what to do. */
bool identity_ends(const struct identity *identity, uint64_t now_s,
                   char ret_text[IDENTITY_WORDS_BYTES]);
#endif

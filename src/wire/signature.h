#ifndef WIRE_SIGNATURE_H
#define WIRE_SIGNATURE_H
/* signature - Ed25519 keys of nodes, operators and gateways, by libsodium, and what they sign.
 *
 * What is signed is never JSON but bytes that can be read in one way only: a list of fields, each
 * behind its length in two bytes (big end first), the first of which says what the rest is
 * ("isochrone/identity/1"): so nothing signed for one purpose passes for another. Numbers are
 * fields of eight bytes, big end first.
 *
 * Text forms: a public key is `ed25519:` and 64 hexadecimal digits, a secret one `ed25519-secret:`
 * and the 64 of its seed. A key file is one line: such a text, then optionally whose it is, as two
 * words: `ed25519:9f3c... node ams1-gpu0`. Reading and writing files, with the rights a secret
 * needs, is the caller's; so is randomness. All functions may be called by any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define SIGNATURE_KEY_BYTES        32u
#define SIGNATURE_SEED_BYTES       32u
#define SIGNATURE_BYTES            64u
#define SIGNATURE_KEY_TEXT_SIZE    73u /* with the zero at its end */
#define SIGNATURE_SHORT_SIZE       17u /* 16 digits, with the zero at their end */
#define SIGNATURE_DATA_BYTES_MAX   4096u
#define SIGNATURE_FILE_BYTES_MAX   1024u
#define SIGNATURE_NAME_BYTES_MAX   63u
#define SIGNATURE_CLOCK_SKEW_S_MAX 60u /* how far two honest clocks may be apart */
#define SIGNATURE_KEY_PREFIX       "ed25519:"
#define SIGNATURE_SECRET_PREFIX    "ed25519-secret:"

struct signature_key { /* public */
    unsigned char bytes[SIGNATURE_KEY_BYTES];
};

struct signature_secret {
    unsigned char bytes[SIGNATURE_SEED_BYTES + SIGNATURE_KEY_BYTES];
};

struct signature_revoked { /* what is called back: a key, or an identity record by its hash */
    bool is_record;
    unsigned char bytes[SIGNATURE_KEY_BYTES];
};

struct signature { /* all zeros: none */
    unsigned char bytes[SIGNATURE_BYTES];
};

/* ---- Keys. */

/* The secret key of 32 random bytes. */
void signature_secret_of_seed(const unsigned char seed[SIGNATURE_SEED_BYTES],
                              struct signature_secret *ret_secret);
void signature_key_of_secret(const struct signature_secret *secret, struct signature_key *ret_key);
/* Overwrite what is secret, in a way that no compiler leaves out. */
void signature_forget(void *secret, size_t bytes);
bool signature_key_eq(const struct signature_key *a, const struct signature_key *b);
/* Its first digits, for places where it only has to be told from a few others. */
void signature_key_short(const struct signature_key *key, char ret_text[SIGNATURE_SHORT_SIZE]);
void signature_key_text(const struct signature_key *key, char ret_text[SIGNATURE_KEY_TEXT_SIZE]);
/* ERR_PARSE: not the text form above. Upper-case digits are none. */
MUST_USE enum err signature_key_parse(struct span text, struct signature_key *ret_key);

enum signature_owner {
    SIGNATURE_OWNER_NONE = 0, /* the file does not say */
    SIGNATURE_OWNER_NODE,
    SIGNATURE_OWNER_OPERATOR,
    SIGNATURE_OWNER_GATEWAY,
    SIGNATURE_OWNER_COUNT
};
/* "node" "operator" "gateway"; "" of NONE. */
const char *signature_owner_name(enum signature_owner owner);

struct signature_file {
    enum signature_owner owner;
    char name[SIGNATURE_NAME_BYTES_MAX + 1]; /* [a-z0-9-]; empty: the file does not say */
    bool is_secret;
    struct signature_secret secret; /* when is_secret: then call signature_file_forget */
    struct signature_key key;
};

/* ERR_PARSE: not one line as above (one line break at its end is good). */
MUST_USE enum err signature_file_parse(struct span text, struct signature_file *ret_file);
/* The line, with its line break and a zero. as_secret: the secret one, which must be there. Returns
 * its bytes. */
size_t signature_file_text(const struct signature_file *file, bool as_secret,
                           char ret_text[SIGNATURE_FILE_BYTES_MAX]);
void signature_file_forget(struct signature_file *file);

/* ---- What is signed. */

struct signature_data {
    size_t bytes;
    bool is_full; /* something did not fit: neither signed nor good */
    unsigned char data[SIGNATURE_DATA_BYTES_MAX];
};

void signature_data_begin(struct signature_data *d, const char *domain);
void signature_data_add(struct signature_data *d, const void *field, size_t bytes);
void signature_data_add_span(struct signature_data *d, struct span field);
void signature_data_add_u64(struct signature_data *d, uint64_t number);

/* Is what was signed then (both in seconds since 1970) of now, as far as two honest clocks can
 * tell?
 */
bool signature_is_of_now(uint64_t issued_s, uint64_t now_s);
/* ERR_FULL: d is. 23 us. */
MUST_USE enum err signature_sign(const struct signature_secret *secret,
                                 const struct signature_data *d, struct signature *ret_signature);
/* Did the owner of this key sign it? 59 us. */
bool signature_is_good(const struct signature_key *key, const struct signature_data *d,
                       const struct signature *signature);
#endif

/* signature - the only file that knows libsodium; see signature.h. What it does with secrets takes
 * the same time whatever they are; keys and signatures that are compared here are public.
 *
 * There is no sodium_init: it opens the system's randomness and picks among implementations of
 * functions that are not used here. Ed25519 has one, which only computes. */
#include "wire/signature.h"

#include <stdio.h>

#include <sodium.h>

#include "base/must.h"
#include "wire/config.h"
#include "wire/message.h"

_Static_assert(SIGNATURE_KEY_BYTES == crypto_sign_ed25519_PUBLICKEYBYTES, "a public key");
_Static_assert(SIGNATURE_SEED_BYTES == crypto_sign_ed25519_SEEDBYTES, "a seed");
_Static_assert(SIGNATURE_BYTES == crypto_sign_ed25519_BYTES, "a signature");
_Static_assert(sizeof(struct signature_secret) == crypto_sign_ed25519_SECRETKEYBYTES, "a secret");

/* ---- Keys. */

void
signature_secret_of_seed(const unsigned char seed[SIGNATURE_SEED_BYTES],
                         struct signature_secret *ret_secret)
{
    struct signature_key key;

    must(crypto_sign_ed25519_seed_keypair(key.bytes, ret_secret->bytes, seed) == 0);
}

void
signature_key_of_secret(const struct signature_secret *secret, struct signature_key *ret_key)
{
    memcpy(ret_key->bytes, secret->bytes + SIGNATURE_SEED_BYTES, SIGNATURE_KEY_BYTES);
}

void
signature_forget(void *secret, size_t bytes)
{
    sodium_memzero(secret, bytes);
}

bool
signature_key_eq(const struct signature_key *a, const struct signature_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void
signature_key_text(const struct signature_key *key, char ret_text[SIGNATURE_KEY_TEXT_SIZE])
{
    const struct span prefix = SPAN_LIT(SIGNATURE_KEY_PREFIX);

    memcpy(ret_text, prefix.data, prefix.bytes);
    message_hex(key->bytes, sizeof(key->bytes), ret_text + prefix.bytes);
}

void
signature_key_short(const struct signature_key *key, char ret_text[SIGNATURE_SHORT_SIZE])
{
    message_hex(key->bytes, (SIGNATURE_SHORT_SIZE - 1) / 2, ret_text);
}

/* 32 bytes as digits behind a prefix. */
static enum err
prefixed_parse(struct span text, struct span prefix, unsigned char ret_bytes[32])
{
    unsigned char bytes[32];
    enum err err = ERR_PARSE;

    if (span_starts(text, prefix))
        err = message_unhex(span_from(text, prefix.bytes), bytes, sizeof(bytes));
    if (err == ERR_OK)
        memcpy(ret_bytes, bytes, sizeof(bytes));
    signature_forget(bytes, sizeof(bytes));
    return err;
}

enum err
signature_key_parse(struct span text, struct signature_key *ret_key)
{
    return prefixed_parse(text, SPAN_LIT(SIGNATURE_KEY_PREFIX), ret_key->bytes);
}

/* ---- Key files. */

static const char *const owner_names[SIGNATURE_OWNER_COUNT] = {"", "node", "operator", "gateway"};

const char *
signature_owner_name(enum signature_owner owner)
{
    return owner < SIGNATURE_OWNER_COUNT ? owner_names[owner] : "";
}

/* The next word of a line, which is taken off it. */
static struct span
word_take(struct span *line)
{
    struct span word = span_trim(*line);

    word.bytes = span_find(word, ' ');
    *line = span_trim(span_from(span_trim(*line), word.bytes));
    return word;
}

/* The words behind the key. */
static enum err
owner_parse(struct span rest, struct signature_file *file)
{
    struct span owner = word_take(&rest), name = word_take(&rest);

    if (owner.bytes == 0)
        return ERR_OK;
    for (uint32_t i = SIGNATURE_OWNER_NODE; i < SIGNATURE_OWNER_COUNT; i++) {
        if (span_eq_text(owner, owner_names[i]))
            file->owner = (enum signature_owner)i;
    }
    if (file->owner == SIGNATURE_OWNER_NONE || !config_is_name(name) || rest.bytes > 0)
        return ERR_PARSE;
    span_copy(name, file->name, sizeof(file->name));
    return ERR_OK;
}

enum err
signature_file_parse(struct span text, struct signature_file *ret_file)
{
    unsigned char seed[SIGNATURE_SEED_BYTES];
    struct signature_file file = {.owner = SIGNATURE_OWNER_NONE};
    struct span line = {text.data, span_find(text, '\n')}, rest, key;
    enum err err;

    if (text.bytes > SIGNATURE_FILE_BYTES_MAX || line.bytes + 1 < text.bytes)
        return ERR_PARSE;
    if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
        line.bytes--;
    rest = line;
    key = word_take(&rest);
    if (prefixed_parse(key, SPAN_LIT(SIGNATURE_SECRET_PREFIX), seed) == ERR_OK) {
        file.is_secret = true;
        signature_secret_of_seed(seed, &file.secret);
        signature_key_of_secret(&file.secret, &file.key);
        err = ERR_OK;
    } else {
        err = signature_key_parse(key, &file.key);
    }
    if (err == ERR_OK)
        err = owner_parse(rest, &file);
    if (err == ERR_OK)
        *ret_file = file;
    signature_forget(seed, sizeof(seed));
    signature_file_forget(&file);
    return err;
}

size_t
signature_file_text(const struct signature_file *file, bool as_secret,
                    char ret_text[SIGNATURE_FILE_BYTES_MAX])
{
    char digits[2 * SIGNATURE_KEY_BYTES + 1];
    bool owned = file->owner != SIGNATURE_OWNER_NONE;
    int bytes;

    must(!as_secret || file->is_secret);
    message_hex(as_secret ? file->secret.bytes : file->key.bytes, SIGNATURE_KEY_BYTES, digits);
    bytes = snprintf(ret_text, SIGNATURE_FILE_BYTES_MAX, "%s%s%s%s%s%s\n",
                     as_secret ? SIGNATURE_SECRET_PREFIX : SIGNATURE_KEY_PREFIX, digits,
                     owned ? " " : "", signature_owner_name(file->owner), owned ? " " : "",
                     owned ? file->name : "");
    signature_forget(digits, sizeof(digits));
    return (size_t)bytes;
}

void
signature_file_forget(struct signature_file *file)
{
    signature_forget(&file->secret, sizeof(file->secret));
    file->is_secret = false;
}

/* ---- What is signed. */

void
signature_data_begin(struct signature_data *d, const char *domain)
{
    d->bytes = 0;
    d->is_full = false;
    signature_data_add_span(d, span_of(domain));
}

void
signature_data_add(struct signature_data *d, const void *field, size_t bytes)
{
    if (d->is_full || bytes > UINT16_MAX || bytes + 2 > sizeof(d->data) - d->bytes) {
        d->is_full = true;
        return;
    }
    d->data[d->bytes] = (unsigned char)(bytes >> 8);
    d->data[d->bytes + 1] = (unsigned char)(bytes & 0xff);
    if (bytes > 0)
        memcpy(d->data + d->bytes + 2, field, bytes);
    d->bytes += bytes + 2;
}

void
signature_data_add_span(struct signature_data *d, struct span field)
{
    signature_data_add(d, field.data, field.bytes);
}

void
signature_data_add_u64(struct signature_data *d, uint64_t number)
{
    unsigned char field[8];

    for (unsigned i = 0; i < sizeof(field); i++)
        field[i] = (unsigned char)(number >> (56 - 8 * i) & 0xff);
    signature_data_add(d, field, sizeof(field));
}

enum err
signature_sign(const struct signature_secret *secret, const struct signature_data *d,
               struct signature *ret_signature)
{
    if (d->is_full)
        return ERR_FULL;
    must(crypto_sign_ed25519_detached(ret_signature->bytes, NULL, d->data, d->bytes,
                                      secret->bytes) == 0);
    return ERR_OK;
}

bool
signature_is_good(const struct signature_key *key, const struct signature_data *d,
                  const struct signature *signature)
{
    return !d->is_full && crypto_sign_ed25519_verify_detached(signature->bytes, d->data, d->bytes,
                                                              key->bytes) == 0;
}

bool
signature_is_of_now(uint64_t issued_s, uint64_t now_s)
{
    return issued_s <= now_s ? now_s - issued_s <= SIGNATURE_CLOCK_SKEW_S_MAX
                             : issued_s - now_s <= SIGNATURE_CLOCK_SKEW_S_MAX;
}

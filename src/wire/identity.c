/* identity - the record, its signature, and what is to be thought of it; see identity.h. */
#include "wire/identity.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/config.h"
#include "wire/keys.h"

_Static_assert(IDENTITY_PIN_BYTES == CONFIG_PIN_BYTES, "one kind of pin");

#define HOUR_S UINT64_C(3600)
#define DAY_S  UINT64_C(86400)

#define AT(member_) .offset = offsetof(struct identity, member_)

const struct message_field identity_fields[] = {
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "key",
     .type = MESSAGE_HEX,
     .required = true,
     AT(key),
     .prefix = SIGNATURE_KEY_PREFIX,
     .max = SIGNATURE_KEY_BYTES},
    {.name = "operator", .type = MESSAGE_NAME, AT(operator)},
    {.name = "operator_key",
     .type = MESSAGE_HEX,
     AT(operator_key),
     .prefix = SIGNATURE_KEY_PREFIX,
     .max = SIGNATURE_KEY_BYTES},
    {.name = "labels", .type = MESSAGE_LABELS, AT(labels)},
    {.name = "url", .type = MESSAGE_URL, AT(url), .max = IDENTITY_URL_BYTES_MAX},
    {.name = "tls_pin",
     .type = MESSAGE_HEX,
     AT(tls_pin),
     .prefix = "sha256:",
     .max = IDENTITY_PIN_BYTES},
    {.name = "issued_s", .type = MESSAGE_U64, AT(issued_s), .max = MESSAGE_NUMBER_MAX},
    {.name = "expires_s", .type = MESSAGE_U64, AT(expires_s), .max = MESSAGE_NUMBER_MAX},
    {.name = "signature", .type = MESSAGE_HEX, AT(signature), .max = SIGNATURE_BYTES},
    {.name = NULL},
};

enum err
identity_parse(struct span json, struct identity *ret_identity, struct message_error *ret_error)
{
    *ret_identity = (struct identity){.node = {NULL, 0}};
    if (json.bytes > IDENTITY_BYTES_MAX) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "%zu bytes; an identity record has at most %u", json.bytes, IDENTITY_BYTES_MAX);
        return ERR_FULL;
    }
    return message_read(json, identity_fields, ret_identity, ret_error);
}

enum err
identity_write(const struct identity *identity, char ret_text[IDENTITY_BYTES_MAX],
               size_t *ret_bytes)
{
    return message_write(identity_fields, identity, ret_text, IDENTITY_BYTES_MAX, ret_bytes);
}

void
identity_data(const struct identity *identity, struct signature_data *ret_data)
{
    signature_data_begin(ret_data, IDENTITY_DOMAIN);
    signature_data_add_span(ret_data, identity->node);
    signature_data_add(ret_data, identity->key.bytes, sizeof(identity->key.bytes));
    signature_data_add_span(ret_data, identity->operator);
    signature_data_add(ret_data, identity->operator_key.bytes,
                       sizeof(identity->operator_key.bytes));
    signature_data_add_u64(ret_data, identity->labels.count);
    for (size_t i = 0; i < identity->labels.count; i++) {
        signature_data_add_span(ret_data, identity->labels.list[i].name);
        signature_data_add_span(ret_data, identity->labels.list[i].value);
    }
    signature_data_add_span(ret_data, identity->url);
    signature_data_add(ret_data, identity->tls_pin, sizeof(identity->tls_pin));
    signature_data_add_u64(ret_data, identity->issued_s);
    signature_data_add_u64(ret_data, identity->expires_s);
}

enum err
identity_sign(struct identity *identity, const struct signature_secret *operator_secret)
{
    struct signature_data data;

    signature_key_of_secret(operator_secret, &identity->operator_key);
    identity_data(identity, &data);
    return signature_sign(operator_secret, &data, &identity->signature);
}

void
identity_hash(const struct identity *identity, unsigned char ret_hash[IDENTITY_HASH_BYTES])
{
    struct signature_data data;

    identity_data(identity, &data);
    keys_sha256((struct span){(const char *)data.data, data.bytes}, ret_hash);
}

bool
identity_is_trusted(const struct identity_trust *trust, const struct signature_key *operator_)
{
    for (size_t i = 0; i < trust->count; i++) {
        if (signature_key_eq(&trust->operators[i], operator_))
            return true;
    }
    return false;
}

bool
identity_is_revoked(const struct identity_trust *trust, const struct signature_key *node,
                    const struct signature_key *operator_,
                    const unsigned char hash[IDENTITY_HASH_BYTES])
{
    for (size_t i = 0; i < trust->revoked_count; i++) {
        const struct signature_revoked *r = &trust->revoked[i];

        if (r->is_record ? memcmp(r->bytes, hash, sizeof(r->bytes)) == 0
                         : memcmp(r->bytes, node->bytes, sizeof(r->bytes)) == 0 ||
                               memcmp(r->bytes, operator_->bytes, sizeof(r->bytes)) == 0)
            return true;
    }
    return false;
}

static bool
has_good_times(const struct identity *i)
{
    return i->issued_s != MESSAGE_UNKNOWN && i->expires_s != MESSAGE_UNKNOWN &&
           i->expires_s > i->issued_s && i->expires_s - i->issued_s <= IDENTITY_LIFETIME_S_MAX;
}

enum identity_verdict
identity_verify(const struct identity *identity, struct span name,
                const struct identity_trust *trust, uint64_t now_s)
{
    unsigned char hash[IDENTITY_HASH_BYTES];
    struct signature_data data;

    if (name.bytes > 0 && !span_eq(name, identity->node))
        return IDENTITY_OTHER_NAME;
    if (trust->revoked_count > 0) {
        identity_hash(identity, hash);
        if (identity_is_revoked(trust, &identity->key, &identity->operator_key, hash))
            return IDENTITY_REVOKED;
    }
    if (message_is_zero(identity->signature.bytes, sizeof(identity->signature.bytes)) ||
        identity->operator.bytes == 0)
        return IDENTITY_UNSIGNED;
    if (!identity_is_trusted(trust, &identity->operator_key))
        return IDENTITY_UNKNOWN_OPERATOR;
    if (!has_good_times(identity))
        return IDENTITY_BAD_TIMES;
    if (identity->expires_s <= now_s)
        return IDENTITY_EXPIRED;
    if (identity->issued_s > now_s && identity->issued_s - now_s > SIGNATURE_CLOCK_SKEW_S_MAX)
        return IDENTITY_NOT_YET;
    identity_data(identity, &data);
    return signature_is_good(&identity->operator_key, &data, &identity->signature)
               ? IDENTITY_PROVEN
               : IDENTITY_BAD_SIGNATURE;
}

/* ---- Words. */

static const struct {
    const char *name, *words;
} verdicts[IDENTITY_VERDICT_COUNT] = {
    [IDENTITY_PROVEN] = {"proven", "its operator vouches for it"},
    [IDENTITY_UNSIGNED] = {"unsigned", "unproven: no operator vouches for it"},
    [IDENTITY_UNKNOWN_OPERATOR] = {"unknown_operator",
                                   "unproven: its operator is not among operators.trust"},
    [IDENTITY_BAD_SIGNATURE] = {"bad_signature",
                                "the operator's signature does not fit what the record says"},
    [IDENTITY_EXPIRED] = {"expired", "the record has expired"},
    [IDENTITY_NOT_YET] = {"not_yet", "the record is from the future: a clock is off"},
    [IDENTITY_BAD_TIMES] = {"bad_times", "the record has no times, or they make no sense"},
    [IDENTITY_OTHER_NAME] = {"other_name", "the record is of another node"},
    [IDENTITY_REVOKED] = {"revoked",
                          "its key, its operator's or the record is among operators.revoke"},
};

const char *
identity_verdict_name(enum identity_verdict verdict)
{
    return verdict < IDENTITY_VERDICT_COUNT ? verdicts[verdict].name : "unknown";
}

void
identity_words(enum identity_verdict verdict, const struct identity *identity, uint64_t now_s,
               char ret_text[IDENTITY_WORDS_BYTES])
{
    const char *words = verdict < IDENTITY_VERDICT_COUNT ? verdicts[verdict].words : "unknown";
    char key[SIGNATURE_KEY_TEXT_SIZE];

    if (verdict == IDENTITY_EXPIRED) {
        snprintf(ret_text, IDENTITY_WORDS_BYTES, "%s, %" PRIu64 " s ago", words,
                 now_s - identity->expires_s);
    } else if (verdict == IDENTITY_NOT_YET) {
        snprintf(ret_text, IDENTITY_WORDS_BYTES, "%s by %" PRIu64 " s", words,
                 identity->issued_s - now_s);
    } else if (verdict == IDENTITY_OTHER_NAME) {
        snprintf(ret_text, IDENTITY_WORDS_BYTES, "%s, %.*s", words, (int)identity->node.bytes,
                 identity->node.data);
    } else if (verdict == IDENTITY_UNKNOWN_OPERATOR) {
        signature_key_text(&identity->operator_key, key);
        snprintf(ret_text, IDENTITY_WORDS_BYTES, "%s: %s", words, key);
    } else {
        snprintf(ret_text, IDENTITY_WORDS_BYTES, "%s", words);
    }
}

bool
identity_ends(const struct identity *identity, uint64_t now_s, char ret_text[IDENTITY_WORDS_BYTES])
{
    uint64_t left_s = identity->expires_s > now_s ? identity->expires_s - now_s : 0;
    char when[32] = "within an hour";

    if (identity->expires_s == MESSAGE_UNKNOWN || left_s > IDENTITY_SOON_S)
        return false;
    if (left_s >= 2 * DAY_S)
        snprintf(when, sizeof(when), "in %u days", (unsigned)(left_s / DAY_S));
    else if (left_s >= 2 * HOUR_S)
        snprintf(when, sizeof(when), "in %u hours", (unsigned)(left_s / HOUR_S));
    if (left_s == 0)
        snprintf(ret_text, IDENTITY_WORDS_BYTES,
                 "the record has expired, and vouches for nothing any more: have its operator "
                 "sign it anew (`isochrone key sign`)");
    else
        snprintf(ret_text, IDENTITY_WORDS_BYTES,
                 "the record expires %s: have its operator sign it anew (`isochrone key sign`)",
                 when);
    return true;
}

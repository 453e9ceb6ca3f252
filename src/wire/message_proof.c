/* message_proof - what is signed, and its text; see message_proof.h. Of the body its hash: as much
 * as a message has does not fit beside the rest. */
#include "wire/message_proof.h"

#include "base/must.h"
#include "wire/keys.h"
#include "wire/message.h"

static void
fill(struct span kind, struct span body, struct signature_data *ret_data)
{
    unsigned char hash[KEY_SHA256_BYTES];

    keys_sha256(body, hash);
    signature_data_begin(ret_data, MESSAGE_PROOF_DOMAIN);
    signature_data_add_span(ret_data, kind);
    signature_data_add(ret_data, hash, sizeof(hash));
}

void
message_proof_write(const struct signature_secret *secret, struct span kind, struct span body,
                    char ret_text[MESSAGE_PROOF_TEXT_SIZE])
{
    const struct span prefix = SPAN_LIT(SIGNATURE_KEY_PREFIX);
    struct signature_data data;
    struct signature signature;

    _Static_assert(sizeof(SIGNATURE_KEY_PREFIX) + 2 * (size_t)SIGNATURE_BYTES ==
                       MESSAGE_PROOF_TEXT_SIZE,
                   "prefix, digits, zero");
    fill(kind, body, &data);
    must(signature_sign(secret, &data, &signature) == ERR_OK); /* a word and a hash fit */
    memcpy(ret_text, prefix.data, prefix.bytes);
    message_hex(signature.bytes, sizeof(signature.bytes), ret_text + prefix.bytes);
}

enum err
message_proof_parse(struct span text, struct signature *ret_signature)
{
    const struct span prefix = SPAN_LIT(SIGNATURE_KEY_PREFIX);

    if (!span_starts(text, prefix))
        return ERR_PARSE;
    return message_unhex(span_from(text, prefix.bytes), ret_signature->bytes,
                         sizeof(ret_signature->bytes));
}

bool
message_proof_is_good(const struct signature_key *key, struct span kind, struct span body,
                      const struct signature *signature)
{
    struct signature_data data;

    fill(kind, body, &data);
    return signature_is_good(key, &data, signature);
}

/* message_proof_test - the header that a message over HTTP has: a vector that another library made,
 * and that nothing else passes. */
#include "wire/message_proof.h"

#include <stdio.h>

#include "tap.h"

#define BODY "{}"
/* Seed 5 and zeros, kind `report`, as doc/identity.md has it. */
#define TEXT                                                                                       \
    "35ebb4d64a020eb226b0ac554cde3b7d8dfbd5e56a5cbe426e311a86b7d5155a"                             \
    "0408eee4787d46a945585012c4235743a1cd869fc7aca07c1a7d00c63bca9f05"

static const struct {
    const char *label, *text;
} malformed[] = {
    {"none", ""},
    {"only its beginning", "ed25519:"},
    {"another prefix", "ed25519x" TEXT},
    {"no name", TEXT},
    {"a digit too much", "ed25519:" TEXT "0"},
    {"a space before it", " ed25519:" TEXT},
    {"upper-case digits", "ed25519:ABCDEF"},
};

int
main(void)
{
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {5}, other_seed[32] = {6};
    static char large[MESSAGE_PROOF_TEXT_SIZE + 4096];
    struct signature_secret secret;
    struct signature_key key, other;
    struct signature s;
    char text[MESSAGE_PROOF_TEXT_SIZE];

    signature_secret_of_seed(other_seed, &secret);
    signature_key_of_secret(&secret, &other);
    signature_secret_of_seed(seed, &secret);
    signature_key_of_secret(&secret, &key);
    message_proof_write(&secret, SPAN_LIT("report"), SPAN_LIT(BODY), text);
    CHECK(span_eq_text(SPAN_LIT("ed25519:" TEXT), text), "what others compute");
    CHECK(message_proof_parse(span_of(text), &s) == ERR_OK, "it is read again");
    CHECK(message_proof_is_good(&key, SPAN_LIT("report"), SPAN_LIT(BODY), &s), "and good");
    CHECK(!message_proof_is_good(&key, SPAN_LIT("demand"), SPAN_LIT(BODY), &s), "another kind");
    CHECK(!message_proof_is_good(&key, SPAN_LIT("report"), SPAN_LIT("{} "), &s), "other bytes");
    CHECK(!message_proof_is_good(&key, SPAN_LIT("repor"), SPAN_LIT("t" BODY), &s), "moved bytes");
    CHECK(!message_proof_is_good(&other, SPAN_LIT("report"), SPAN_LIT(BODY), &s), "another key");
    s.bytes[0] ^= 1;
    CHECK(!message_proof_is_good(&key, SPAN_LIT("report"), SPAN_LIT(BODY), &s), "a bit changed");
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        CHECK(message_proof_parse(span_of(malformed[i].text), &s) == ERR_PARSE, malformed[i].label);
    memset(large, 'a', sizeof(large));
    message_proof_write(&secret, SPAN_LIT("report"), (struct span){large, 4096}, text);
    CHECK(message_proof_parse(span_of(text), &s) == ERR_OK &&
              message_proof_is_good(&key, SPAN_LIT("report"), (struct span){large, 4096}, &s),
          "a body as large as may be");
    return tap_done();
}

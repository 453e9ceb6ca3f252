/* identity_test - records read, written and judged. */
#include "wire/identity.h"

#include "message_texts.h"

#define NOW 1800000000u
#define KEY "ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

static struct identity identity;
static struct message_error error;

static const struct message_text texts[] = {
    {"{\"node\":\"a\",\"key\":\"" KEY "\"}", NULL},
    {" {\"key\":\"" KEY "\", \"node\":\"a\", \"new\":[1,{\"x\":null}], \"operator\":null}\n", NULL},
    {"{\"node\":\"a\"}", "key: it is missing"},
    {"{\"key\":\"" KEY "\"}", "node: it is missing"},
    {"{\"node\":null,\"key\":\"" KEY "\"}", "node: it is missing"},
    {"{\"node\":\"A\",\"key\":\"" KEY "\"}", "node: `\"A\"` is not a name of 1 to 63"},
    {"{\"node\":\"a\\u0062\",\"key\":\"" KEY "\"}", "is not a name"},
    {"{\"node\":\"a\",\"node\":\"b\",\"key\":\"" KEY "\"}", "node: it stands twice"},
    {"{\"node\":7,\"key\":\"" KEY "\"}", "node: `7` is not a name"},
    {"{\"node\":\"a\",\"key\":\"ed25519:12\"}",
     "key: `\"ed25519:12\"` is not ed25519: and 64 digits"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"url\":\"ftp://x\"}",
     "url: `\"ftp://x\"` is not http(s)"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"url\":\"http://h:1/p\"}", "is not http(s)"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"issued_s\":-1}",
     "issued_s: `-1` is not a whole number"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"issued_s\":1e3}", "is not a whole number"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"issued_s\":9007199254740992}", "it is not from 0 to"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"labels\":[]}", "labels: it must be an object"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"labels\":{\"x\":1}}", "labels: a name is up to 31"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"labels\":{\"x\":\"a\\nb\"}}", "labels: a name is"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\",\"labels\":{\"x\":\"1\",\"x\":\"2\"}}",
     "`x` stands twice"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\"", "no JSON at byte"},
    {"{\"node\":\"a\",\"key\":\"" KEY "\"}}", "no JSON at byte 93"},
    {"[]", "it must be an object"},
    {"", "it must be an object"},
};

static void
check_texts(void)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum err err = identity_parse(span_of(texts[i].json), &identity, &error);

        check_message_text(&texts[i], err, &error);
    }
}

static void
check_limits(void)
{
    static char json[IDENTITY_BYTES_MAX + 200];
    size_t bytes;

    bytes = (size_t)snprintf(json, sizeof(json),
                             "{\"node\":\"a\",\"key\":\"" KEY "\",\"labels\":{");
    for (unsigned i = 0; i <= MESSAGE_LABELS_MAX; i++)
        bytes += (size_t)snprintf(json + bytes, sizeof(json) - bytes, "%s\"l%u\":\"v\"",
                                  i > 0 ? "," : "", i);
    snprintf(json + bytes, sizeof(json) - bytes, "}}");
    CHECK(identity_parse(span_of(json), &identity, &error) == ERR_PARSE &&
              strstr(error.text, "labels: more than 24") != NULL,
          "a label too many");
    memset(json, ' ', sizeof(json));
    CHECK(identity_parse((struct span){json, IDENTITY_BYTES_MAX + 1}, &identity, &error) ==
                  ERR_FULL &&
              strstr(error.text, "at most 3072") != NULL,
          "a byte too many");
}

/* ---- Judgement. */

static struct signature_secret operator_secret, other_secret;
static struct signature_key trusted;

static void
good_record(void)
{
    static const unsigned char seed[32] = {7}, other[32] = {8};

    signature_secret_of_seed(seed, &operator_secret);
    signature_secret_of_seed(other, &other_secret);
    signature_key_of_secret(&operator_secret, &trusted);
    identity = (struct identity){.node = SPAN_LIT("ams1-gpu0"),
                                 .operator= SPAN_LIT("acme"),
                                 .url = SPAN_LIT("https://10.0.0.1:8443"),
                                 .tls_pin = {1},
                                 .issued_s = NOW - 10,
                                 .expires_s = NOW + 3600};
    CHECK(signature_key_parse(SPAN_LIT(KEY), &identity.key) == ERR_OK, "the node's key");
    CHECK(message_label_add(&identity.labels, SPAN_LIT("site"), SPAN_LIT("ams1")) == ERR_OK &&
              message_label_add(&identity.labels, SPAN_LIT("region"), SPAN_LIT("eu-west")) ==
                  ERR_OK,
          "labels in any order");
    CHECK(span_eq_text(identity.labels.list[0].name, "region"), "are sorted");
    CHECK(identity_sign(&identity, &operator_secret) == ERR_OK, "signed");
}

static void
resign(const struct signature_secret *secret)
{
    CHECK(identity_sign(&identity, secret) == ERR_OK, "signed again");
}

static void
change_nothing(void)
{
}
static void
change_label(void)
{
    identity.labels.list[0].value = SPAN_LIT("us-east");
}
static void
change_label_name(void)
{
    identity.labels.list[1].name = SPAN_LIT("zone");
}
static void
drop_label(void)
{
    identity.labels.count--;
}
static void
change_node(void)
{
    identity.node = SPAN_LIT("ams1-gpu1");
}
static void
change_key(void)
{
    identity.key.bytes[3] ^= 1;
}
static void
change_operator(void)
{
    identity.operator= SPAN_LIT("bolt");
}
static void
change_url(void)
{
    identity.url = SPAN_LIT("https://10.0.0.2:8443");
}
static void
change_pin(void)
{
    identity.tls_pin[31] ^= 1;
}
static void
change_expiry(void)
{
    identity.expires_s++;
}
static void
unsign(void)
{
    memset(&identity.signature, 0, sizeof(identity.signature));
}
static void
nobody(void)
{
    identity.operator.bytes = 0;
}
static void
other_operator(void)
{
    resign(&other_secret);
}
static void
claim_operator(void)
{
    other_operator();
    identity.operator_key = trusted;
}
static void
times(uint64_t issued_s, uint64_t expires_s)
{
    identity.issued_s = issued_s;
    identity.expires_s = expires_s;
    resign(&operator_secret);
}
static void
expired(void)
{
    times(NOW - 10, NOW);
}
static void
early(void)
{
    times(NOW + 3600, NOW + 7200);
}
static void
little_early(void)
{
    times(NOW + 59, NOW + 7200);
}
static void
backwards(void)
{
    times(NOW, NOW - 1);
}
static void
for_ever(void)
{
    times(NOW, NOW + IDENTITY_LIFETIME_S_MAX + 1);
}
static void
no_times(void)
{
    times(MESSAGE_UNKNOWN, MESSAGE_UNKNOWN);
}

static const struct {
    const char *label;
    void (*change)(void);
    enum identity_verdict verdict;
    const char *words;
} cases[] = {
    {"as it was signed", change_nothing, IDENTITY_PROVEN, "vouches"},
    {"another label", change_label, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"a label's name", change_label_name, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"a label less", drop_label, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"another node", change_node, IDENTITY_OTHER_NAME, "of another node, ams1-gpu1"},
    {"another key", change_key, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"another operator's name", change_operator, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"another url", change_url, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"another pin", change_pin, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"a second longer", change_expiry, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"no signature", unsign, IDENTITY_UNSIGNED, "no operator"},
    {"no operator", nobody, IDENTITY_UNSIGNED, "no operator"},
    {"an operator that is not trusted", other_operator, IDENTITY_UNKNOWN_OPERATOR, "ed25519:"},
    {"a forged operator", claim_operator, IDENTITY_BAD_SIGNATURE, "does not fit"},
    {"expired", expired, IDENTITY_EXPIRED, "expired, 0 s ago"},
    {"an hour early", early, IDENTITY_NOT_YET, "a clock is off by 3600 s"},
    {"within the skew", little_early, IDENTITY_PROVEN, "vouches"},
    {"ends before it begins", backwards, IDENTITY_BAD_TIMES, "no sense"},
    {"for too long", for_ever, IDENTITY_BAD_TIMES, "no sense"},
    {"without times", no_times, IDENTITY_BAD_TIMES, "no sense"},
};

static void
check_verdicts(void)
{
    const struct identity_trust trust = {.operators = &trusted, .count = 1}, none = {.count = 0};
    char text[IDENTITY_WORDS_BYTES];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum identity_verdict verdict;

        good_record();
        cases[i].change();
        verdict = identity_verify(&identity, SPAN_LIT("ams1-gpu0"), &trust, NOW);
        CHECK(verdict == cases[i].verdict, cases[i].label);
        identity_words(verdict, &identity, NOW, text);
        CHECK(strstr(text, cases[i].words) != NULL, text);
    }
    good_record();
    CHECK(identity_verify(&identity, SPAN_LIT(""), &none, NOW) == IDENTITY_UNKNOWN_OPERATOR,
          "nobody is trusted");
    CHECK(strcmp(identity_verdict_name(IDENTITY_UNKNOWN_OPERATOR), "unknown_operator") == 0,
          "a verdict's name");
}

/* What a node and `check` say before gateways refuse the record. */
static void
check_end(void)
{
    static const struct {
        uint64_t left_s;
        const char *words; /* NULL: nothing */
    } ends[] = {{8 * 86400, NULL},
                {7 * 86400 + 1, NULL},
                {7 * 86400, "expires in 7 days"},
                {2 * 86400 - 1, "expires in 47 hours"},
                {60, "expires within an hour"},
                {0, "has expired"}};
    char text[IDENTITY_WORDS_BYTES];

    good_record();
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        bool ended = identity_ends(&identity, identity.expires_s - ends[i].left_s, text);

        CHECK(ended == (ends[i].words != NULL), "told when the end is near, not before");
        CHECK(!ended || strstr(text, ends[i].words) != NULL, text);
    }
    CHECK(identity_ends(&identity, identity.expires_s + 99, text) && strstr(text, "has expired"),
          text);
    identity.expires_s = MESSAGE_UNKNOWN;
    CHECK(!identity_ends(&identity, NOW, text), "no operator, no end");
}

/* Whatever is called back of a record, it is refused, well signed or not. */
static void
check_revoked(void)
{
    struct signature_revoked one[3] = {{.is_record = false}}, swapped[2];
    char text[IDENTITY_WORDS_BYTES];

    good_record();
    memcpy(one[0].bytes, identity.key.bytes, sizeof(one[0].bytes));
    memcpy(one[1].bytes, identity.operator_key.bytes, sizeof(one[1].bytes));
    one[2].is_record = true;
    identity_hash(&identity, one[2].bytes);
    for (size_t i = 0; i < 3; i++) {
        struct identity_trust trust = {
            .operators = &trusted, .count = 1, .revoked = &one[i], .revoked_count = 1};

        CHECK(identity_verify(&identity, SPAN_LIT(""), &trust, NOW) == IDENTITY_REVOKED,
              "a key, its operator's, the record");
        trust.count = 0;
        CHECK(identity_verify(&identity, SPAN_LIT(""), &trust, NOW) == IDENTITY_REVOKED,
              "of somebody unknown, too");
    }
    identity_words(IDENTITY_REVOKED, &identity, NOW, text);
    CHECK(strstr(text, "operators.revoke") != NULL, text);
    swapped[0] = one[2];
    swapped[0].is_record = false;
    swapped[1] = one[0];
    swapped[1].is_record = true;
    CHECK(identity_verify(
              &identity, SPAN_LIT(""),
              &(struct identity_trust){
                  .operators = &trusted, .count = 1, .revoked = swapped, .revoked_count = 2},
              NOW) == IDENTITY_PROVEN,
          "a hash is no key, and a key no hash");
    identity.expires_s++;
    CHECK(identity_verify(&identity, SPAN_LIT(""),
                          &(struct identity_trust){.revoked = &one[2], .revoked_count = 1},
                          NOW) == IDENTITY_UNKNOWN_OPERATOR,
          "another record is another one");
}

/* The vector of doc/identity.md. */
static void
check_vector(void)
{
    static const char wanted[] = "0014"
                                 "69736f6368726f6e652f6964656e746974792f31"
                                 "0009"
                                 "616d73312d67707530"
                                 "0020"
                                 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
                                 "0004"
                                 "61636d65"
                                 "0020"
                                 "a2fa2f4a355ba2e907a53009e9e37caddf7ac7e66a08ba07631f553072b3f24c"
                                 "0008"
                                 "0000000000000002"
                                 "0006"
                                 "726567696f6e"
                                 "0007"
                                 "65752d77657374"
                                 "0004"
                                 "73697465"
                                 "0004"
                                 "616d7331"
                                 "0015"
                                 "68747470733a2f2f31302e302e302e313a38343433"
                                 "0020"
                                 "0100000000000000000000000000000000000000000000000000000000000000"
                                 "0008"
                                 "000000006b49d1f6"
                                 "0008"
                                 "000000006b49e010";
    static struct signature_data d;
    static char text[2 * SIGNATURE_DATA_BYTES_MAX + 1], json[IDENTITY_BYTES_MAX];
    char signature[2 * SIGNATURE_BYTES + 1];
    struct identity again;
    size_t bytes = 0;

    good_record();
    identity_data(&identity, &d);
    message_hex(d.data, d.bytes, text);
    if (strcmp(text, wanted) != 0)
        printf("# %s\n", text);
    CHECK(strcmp(text, wanted) == 0, "what is signed, byte for byte");
    message_hex(identity.signature.bytes, SIGNATURE_BYTES, signature);
    CHECK(strcmp(signature,
                 "c9ddf34d10b0ccc2a00e5aa678ec68a69bb5c90eb48e1b26b355d079d30797b6"
                 "1b4a0186ecc033552f3a92812aa179f0f4178d5ea99d1615af5b0aef3917720f") == 0,
          "and its signature");
    CHECK(identity_write(&identity, json, &bytes) == ERR_OK, "written");
    CHECK(identity_parse((struct span){json, bytes}, &again, &error) == ERR_OK, "read again");
    CHECK(identity_verify(&again, SPAN_LIT("ams1-gpu0"),
                          &(struct identity_trust){.operators = &trusted, .count = 1},
                          NOW) == IDENTITY_PROVEN,
          "and good");
    identity.url = SPAN_LIT("https://a b");
    CHECK(identity_write(&identity, json, &bytes) == ERR_ARG, "what cannot be read is not written");
}

int
main(void)
{
    check_texts();
    check_limits();
    check_verdicts();
    check_end();
    check_revoked();
    check_vector();
    return tap_done();
}

/* directive_test - what a node obeys, once, and why it refuses the rest. */
#include "wire/directive.h"

#include "tap.h"

#define NOW 1800000000u

static struct signature_secret gateway_secret, stranger_secret;
static struct directive_gateway gateways[2]; /* one may load, one may only drain */
static struct directive_guard guard;
static struct directive d;

static void
prepare(void)
{
    static const unsigned char seed[32] = {3}, stranger[32] = {4};

    signature_secret_of_seed(seed, &gateway_secret);
    signature_secret_of_seed(stranger, &stranger_secret);
    signature_key_of_secret(&gateway_secret, &gateways[0].key);
    gateways[0].may = DIRECTIVE_MAY_INFER | DIRECTIVE_MAY_LOAD;
    guard = (struct directive_guard){
        .node = SPAN_LIT("n1"), .epoch = 9, .gateways = gateways, .gateway_count = 1};
    d = (struct directive){.v = MESSAGE_VERSION,
                           .node = SPAN_LIT("n1"),
                           .epoch = 9,
                           .nonce = {1, 2},
                           .issued_s = NOW,
                           .expires_s = NOW + 60,
                           .action = DIRECTIVE_LOAD,
                           .model = SPAN_LIT("m")};
}

static void
nothing(void)
{
}
static void
other_node(void)
{
    d.node = SPAN_LIT("n2");
}
static void
old_epoch(void)
{
    d.epoch = 8;
}
static void
drain(void)
{
    d.action = DIRECTIVE_DRAIN;
}
static void
hour_behind(void)
{
    d.issued_s -= 3600;
    d.expires_s -= 3600;
}
static void
hour_ahead(void)
{
    d.issued_s += 3600;
    d.expires_s += 3600;
}
static void
long_life(void)
{
    d.expires_s = d.issued_s + DIRECTIVE_LIFETIME_S_MAX + 1;
}
static void
no_life(void)
{
    d.expires_s = d.issued_s;
}
static void
only_infer(void)
{
    gateways[0].may = DIRECTIVE_MAY_INFER;
}

static const struct {
    const char *label;
    void (*change)(void);
    enum directive_verdict verdict;
    const char *words;
} cases[] = {
    {"a good one", nothing, DIRECTIVE_GOOD, "accepted"},
    {"for another node", other_node, DIRECTIVE_WRONG_NODE, "another node"},
    {"for an earlier life", old_epoch, DIRECTIVE_OTHER_EPOCH, "restarted"},
    {"what it may not", drain, DIRECTIVE_NOT_ALLOWED, "let that gateway drain"},
    {"one that may only ask", only_infer, DIRECTIVE_NOT_ALLOWED, "let that gateway load"},
    {"a clock an hour behind", hour_behind, DIRECTIVE_EXPIRED, "3540 s ago"},
    {"a clock an hour ahead", hour_ahead, DIRECTIVE_NOT_YET, "differ by 3600 s"},
    {"good for too long", long_life, DIRECTIVE_TOO_LONG, "longer"},
    {"never good", no_life, DIRECTIVE_TOO_LONG, "never"},
};

static void
check_cases(void)
{
    char text[DIRECTIVE_WORDS_BYTES];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum directive_verdict verdict;

        prepare();
        cases[i].change();
        CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
        verdict = directive_judge(&guard, &d, NOW);
        CHECK(verdict == cases[i].verdict, cases[i].label);
        directive_words(verdict, &d, NOW, text);
        CHECK(strstr(text, cases[i].words) != NULL, text);
        CHECK(guard.nonce_count == (verdict == DIRECTIVE_GOOD), "only what was obeyed is kept");
    }
}

static void
check_forged(void)
{
    struct directive copy;

    prepare();
    CHECK(directive_sign(&d, &stranger_secret) == ERR_OK, "a stranger signs");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_UNKNOWN_GATEWAY, "a stranger's");
    d.gateway = gateways[0].key;
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_BAD_SIGNATURE, "under a known key");
    CHECK(guard.nonce_count == 0, "leaves nothing behind");
    prepare();
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    for (unsigned field = 0; field < 4; field++) {
        copy = d;
        copy.model = field == 0 ? SPAN_LIT("other") : d.model;
        copy.action = field == 1 ? DIRECTIVE_UNLOAD : d.action;
        copy.nonce[5] ^= field == 2;
        copy.expires_s += field == 3;
        CHECK(directive_judge(&guard, &copy, NOW) == DIRECTIVE_BAD_SIGNATURE, "a field changed");
    }
}

static void
check_replay(void)
{
    prepare();
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_GOOD, "once");
    CHECK(directive_judge(&guard, &d, NOW + 1) == DIRECTIVE_REPLAYED, "not twice");
    CHECK(directive_judge(&guard, &d, NOW + 59) == DIRECTIVE_REPLAYED, "not at its end");
    CHECK(directive_judge(&guard, &d, NOW + 60) == DIRECTIVE_EXPIRED, "nor behind it");
    for (uint32_t i = 1; i < DIRECTIVE_NONCES_MAX; i++)
        guard.nonces[guard.nonce_count++].expires_s = NOW + 60;
    d.nonce[0]++;
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "another");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_TOO_MANY, "no room: none is forgotten");
    d.issued_s = NOW + 100;
    d.expires_s = NOW + 200;
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "one later");
    CHECK(directive_judge(&guard, &d, NOW + 130) == DIRECTIVE_GOOD, "room when they expired");
    CHECK(guard.nonce_count == 1, "and they are gone");
}

/* An hour later its time is over, and nobody would obey it; then the clock is set back. */
static void
check_set_back(void)
{
    struct directive first;

    prepare();
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_GOOD, "once");
    first = d;
    d.nonce[0]++;
    hour_ahead();
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "another");
    CHECK(directive_judge(&guard, &d, NOW + 3600) == DIRECTIVE_GOOD, "an hour later");
    CHECK(directive_judge(&guard, &first, NOW) == DIRECTIVE_REPLAYED,
          "not again by a clock set back");
}

/* A gateway that asks without end takes nobody else's word away. */
static void
check_parts(void)
{
    uint32_t taken = 0;

    prepare();
    signature_key_of_secret(&stranger_secret, &gateways[1].key);
    gateways[1].may = DIRECTIVE_MAY_DRAIN;
    guard.gateway_count = 2;
    do {
        d.nonce[2] = (unsigned char)taken;
        d.nonce[3] = (unsigned char)(taken++ >> 8);
        CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    } while (directive_judge(&guard, &d, NOW) == DIRECTIVE_GOOD && taken <= DIRECTIVE_NONCES_MAX);
    CHECK(taken == DIRECTIVE_NONCES_MAX / 2 + 1, "of two that may steer each has a half");
    d.action = DIRECTIVE_DRAIN;
    CHECK(directive_sign(&d, &stranger_secret) == ERR_OK, "the other one signs");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_GOOD, "and is heard");
    gateways[1].may = DIRECTIVE_MAY_INFER;
    d.action = DIRECTIVE_LOAD;
    d.nonce[4] = 1;
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    CHECK(directive_judge(&guard, &d, NOW) == DIRECTIVE_GOOD, "who may not steer needs no part");
}

static void
check_text(void)
{
    static char json[MESSAGE_BYTES_MAX];
    static const char *const bad[][2] = {
        {"\"action\":\"load\"", "\"action\":\"erase\""},
        {"\"model\":\"m\",", ""},
        {"\"epoch\":9", "\"epoch\":\"9\""},
        {"\"v\":1", "\"v\":2"},
        {"\"nonce\":\"0102", "\"nonce\":\"01"},
        {"\"issued_s\"", "\"issued\""},
    };
    struct directive again;
    struct message_error error;
    enum directive_action action;
    enum directive_right right;
    size_t bytes = 0;

    prepare();
    CHECK(directive_sign(&d, &gateway_secret) == ERR_OK, "signed");
    message_hex(d.signature.bytes, SIGNATURE_BYTES, json); /* doc/identity.md; made by OpenSSL */
    CHECK(strcmp(json, "141ed5c11eaa713ba84cfd705d1689977394a434af0322538c61d994a763bdc4"
                       "a4fcd94c7ab5e34c7d74c343b2b06be5ef7f40b3bc3ffd3b4b1556013f28af06") == 0,
          "the vector");
    CHECK(directive_write(&d, json, &bytes) == ERR_OK, "written");
    CHECK(directive_parse((struct span){json, bytes}, &again, &error) == ERR_OK, "read");
    CHECK(directive_judge(&guard, &again, NOW) == DIRECTIVE_GOOD, "and good");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[MESSAGE_BYTES_MAX];
        const char *at = strstr(json, bad[i][0]);

        CHECK(at != NULL, bad[i][0]);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - json), json, bad[i][1],
                 at + strlen(bad[i][0]));
        CHECK(directive_parse(span_of(text), &again, &error) == ERR_PARSE, error.text);
    }
    d.model = SPAN_LIT("");
    CHECK(directive_write(&d, json, &bytes) == ERR_ARG, "a load needs a model");
    for (uint32_t i = 0; i < DIRECTIVE_ACTION_COUNT; i++)
        CHECK(directive_action_parse(span_of(directive_action_name(i)), &action) == ERR_OK &&
                  action == i,
              directive_action_name(i));
    CHECK(directive_action_parse(SPAN_LIT("erase"), &action) == ERR_NOT_FOUND, "no action");
    CHECK(directive_right_parse(SPAN_LIT("drain"), &right) == ERR_OK &&
              right == DIRECTIVE_MAY_DRAIN,
          "a right");
    CHECK(directive_right_parse(SPAN_LIT("all"), &right) == ERR_NOT_FOUND, "no right");
}

static void
check_reply(void)
{
    static const char json[] =
        "{\"v\":1,\"node\":\"n1\",\"epoch\":9,\"nonce\":\"01020000000000000000000000000000\","
        "\"verdict\":\"other_epoch\",\"result\":\"refused\",\"ready_in_ms\":1500,\"words\":"
        "\"it restarted\"}";
    char text[MESSAGE_BYTES_MAX], words[DIRECTIVE_WORDS_BYTES], plain[DIRECTIVE_REPLY_WORDS_BYTES];
    struct directive_reply reply;
    struct message_error error;
    size_t bytes = 0;

    CHECK(directive_reply_parse(span_of(json), &reply, &error) == ERR_OK &&
              reply.verdict == DIRECTIVE_OTHER_EPOCH && reply.result == DIRECTIVE_REFUSED &&
              reply.nonce[1] == 2,
          "an answer is read");
    CHECK(directive_reply_write(&reply, text, &bytes) == ERR_OK &&
              span_eq_text((struct span){text, bytes}, json),
          "and written so");
    prepare();
    for (uint32_t i = 0; i < DIRECTIVE_VERDICT_COUNT; i++) {
        directive_words((enum directive_verdict)i, &d, NOW + 100, words);
        reply.verdict = i;
        reply.words = span_of(words);
        CHECK(directive_reply_write(&reply, text, &bytes) == ERR_OK,
              directive_verdict_name((enum directive_verdict)i));
    }
    reply.words = SPAN_LIT("a \"quoted\" word");
    CHECK(directive_reply_write(&reply, text, &bytes) == ERR_ARG, "quotes are not written");
    directive_plain("a \"quoted\" word\n", plain);
    reply.words = span_of(plain);
    CHECK(strcmp(plain, "a ?quoted? word?") == 0 &&
              directive_reply_write(&reply, text, &bytes) == ERR_OK,
          "unless they are made plain");
    CHECK(directive_reply_parse(SPAN_LIT("{\"v\":1,\"verdict\":\"fine\"}"), &reply, &error) ==
              ERR_PARSE,
          error.text);
}

int
main(void)
{
    check_cases();
    check_forged();
    check_replay();
    check_set_back();
    check_parts();
    check_text();
    check_reply();
    return tap_done();
}

/* report_test - the messages read and written; what others send that they must not. */
#include "wire/report.h"

#include <math.h>

#include "message_texts.h"

#define HEAD "{\"v\":1,\"node\":\"n1\",\"epoch\":5,\"seq\":1,\"at_us\":0,\"state\":\"ready\""

static struct report report;
static struct message_error error;

static const struct message_text texts[] = {
    {HEAD "}", NULL},
    {HEAD ",\"engine\":{},\"models\":[],\"ack\":{},\"later\":{\"a\":[1,2,{}]}}", NULL},
    {HEAD ",\"engine\":{\"running\":null,\"new_field\":\"x\"}}", NULL},
    {HEAD ",\"full\":true,\"page\":2,\"pages\":3}", NULL},
    {HEAD ",\"full\":true,\"page\":4,\"pages\":3}", "page: page and pages"},
    {HEAD ",\"page\":1,\"pages\":1}", "page: page and pages"},
    {HEAD ",\"full\":1}", "full: `1` is not true or false"},
    {HEAD ",\"full\":true,\"page\":1,\"pages\":1025}", "pages: it is not from 1 to 1024"},
    {HEAD ",\"engine\":[]}", "engine: it must be an object"},
    {HEAD ",\"engine\":{\"running\":-1}}", "engine.running: `-1` is not a whole number"},
    {HEAD ",\"engine\":{\"running\":1.5}}", "engine.running: `1.5` is not a whole number"},
    {HEAD ",\"engine\":{\"running\":1000001}}", "engine.running: it is not from 0 to 1000000"},
    {HEAD ",\"engine\":{\"running\":\"3\"}}", "engine.running"},
    {HEAD ",\"engine\":{\"decode_tok_s\":1e400}}", "engine.decode_tok_s: `1e400` is not a number"},
    {HEAD ",\"engine\":{\"decode_tok_s\":-0.5}}", "engine.decode_tok_s: it is not from 0 to"},
    {HEAD ",\"engine\":{\"decode_tok_s\":NaN}}", "no JSON"},
    {HEAD ",\"models\":{}}", "models: it must be a list"},
    {HEAD ",\"models\":[7]}", "models[0]: it must be an object"},
    {HEAD ",\"models\":[{\"id\":\"a\",\"state\":\"ready\"},{\"id\":\"b\"}]}",
     "models[1].state: it is missing"},
    {HEAD ",\"models\":[{\"id\":\"a\",\"state\":\"full\"}]}",
     "models[0].state: `\"full\"` is not one of absent, downloading"},
    {HEAD ",\"models\":[{\"id\":\"\",\"state\":\"ready\"}]}", "models[0].id: `\"\"` is not a text"},
    {HEAD ",\"models\":[{\"id\":\"a\\u0000b\",\"state\":\"ready\"}]}", "models[0].id"},
    {HEAD ",\"models\":[{\"id\":\"\xc3\xa4\",\"state\":\"ready\"}]}", "models[0].id: this is not"},
    {HEAD ",\"datasets\":[{\"id\":\"d\"}, null]}", "datasets[1]: it must be an object"},
    {HEAD ",\"proofs\":[\"x\",\"Y\"]}", "proofs[1]: `\"Y\"` is not a name"},
    {HEAD ",\"proofs\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}",
     "proofs: more than 8"},
    {HEAD ",\"ack\":{\"g1\":1,\"g1\":2}}", "ack: `g1` stands twice"},
    {HEAD ",\"ack\":{\"G\":1}}", "ack: `G` is not a name"},
    {HEAD ",\"ack\":{\"g\":-1}}", "ack: `-1` is not a whole number"},
    {HEAD ",\"ack\":[]}", "ack: it must be an object"},
    {HEAD ",\"seq\":2}", "seq: it stands twice"},
    {HEAD ",\"obeys\":[\"0123456789ABCDEF\"]}", "obeys[0]: "},
    {HEAD ",\"outcomes\":[{\"result\":\"done\"}]}", "outcomes[0].nonce: it is missing"},
    {HEAD ",\"outcomes\":[{\"nonce\":\"01\",\"result\":\"done\"}]}", "outcomes[0].nonce: "},
    {"{\"v\":2,\"node\":\"n1\",\"epoch\":5,\"seq\":1,\"at_us\":0,\"state\":\"ready\"}",
     "v: it is not from 1 to 1"},
    {"{\"v\":1,\"node\":\"n1\",\"epoch\":0,\"seq\":1,\"at_us\":0,\"state\":\"ready\"}",
     "epoch: it is not from 1"},
    {"{\"v\":1,\"node\":\"../n1\",\"epoch\":1,\"seq\":1,\"at_us\":0,\"state\":\"ready\"}",
     "node: `\"../n1\"` is not a name"},
    {HEAD, "no JSON"},
    {"null", "it must be an object"},
};

static void
check_texts(void)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum err err = report_parse(span_of(texts[i].json), &report, &error);

        check_message_text(&texts[i], err, &error);
    }
}

/* Large, deep and many. */
static void
check_limits(void)
{
    static char json[MESSAGE_BYTES_MAX + 1];
    size_t bytes = (size_t)snprintf(json, sizeof(json), "%s,\"x\":", HEAD);

    memset(json + bytes, '[', sizeof(json) - bytes);
    CHECK(report_parse((struct span){json, MESSAGE_BYTES_MAX}, &report, &error) == ERR_PARSE,
          "four thousand brackets");
    CHECK(report_parse((struct span){json, sizeof(json)}, &report, &error) == ERR_FULL &&
              strstr(error.text, "4097 bytes") != NULL,
          "a byte too many");
    bytes = (size_t)snprintf(json, sizeof(json), "%s,\"models\":[", HEAD);
    for (unsigned i = 0; i <= REPORT_MODELS_MAX; i++)
        bytes += (size_t)snprintf(json + bytes, sizeof(json) - bytes,
                                  "%s{\"id\":\"m%u\",\"state\":\"ready\"}", i > 0 ? "," : "", i);
    snprintf(json + bytes, sizeof(json) - bytes, "]}");
    CHECK(report_parse(span_of(json), &report, &error) == ERR_PARSE &&
              strstr(error.text, "models: more than 96") != NULL,
          "a model too many");
}

static void
check_absent(void)
{
    CHECK(report_parse(SPAN_LIT(HEAD "}"), &report, &error) == ERR_OK, "the least report");
    CHECK(report.engine.running == MESSAGE_UNKNOWN &&
              report.engine.kv_tokens_cap == MESSAGE_UNKNOWN && isnan(report.engine.decode_tok_s),
          "what is not said is unknown, not zero");
    CHECK(report.memory_bytes == MESSAGE_UNKNOWN && report.loads_max == MESSAGE_UNKNOWN &&
              report.obey_count == 0 && report.outcome_count == 0,
          "nor is anybody obeyed");
    CHECK(report.page == MESSAGE_UNKNOWN && !report.full && report.model_count == 0 &&
              report.labels.count == 0 && report.url.bytes == 0,
          "nor is the rest there");
}

static const char whole[] =
    "{\"v\":1,\"node\":\"ams1-gpu0\",\"epoch\":1800000000000,\"seq\":7,\"at_us\":1234567,"
    "\"full\":true,\"page\":1,\"pages\":2,\"role\":\"full\",\"state\":\"drain\","
    "\"url\":\"https://h:8443\","
    "\"tls_pin\":\"sha256:0100000000000000000000000000000000000000000000000000000000000000\","
    "\"key\":\"ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\","
    "\"labels\":{\"region\":\"eu-west\",\"site\":\"ams1\"},"
    "\"engine\":{\"kind\":\"vllm\",\"slots\":256,\"running\":3,\"waiting\":0,"
    "\"prefill_tokens_in_flight\":1200,\"kv_tokens_used\":5000,\"kv_tokens_cap\":427000,"
    "\"accepted_total\":99,\"prefill_tok_s\":9000.5,\"decode_tok_s\":60},"
    "\"models\":[{\"id\":\"meta/llama:8b\",\"digest\":\"sha256:ab\",\"state\":\"loading\","
    "\"ready_in_ms\":1500,\"tier\":\"disk\",\"bytes\":16000000000},"
    "{\"id\":\"b\",\"state\":\"absent\",\"slots\":4,\"pinned\":true}],"
    "\"datasets\":[{\"id\":\"wiki\",\"root\":\"r1\",\"bytes\":5}],\"proofs\":[\"tee\"],"
    "\"requests\":[{\"id\":\"b\",\"running\":4,\"waiting\":2}],"
    "\"ack\":{\"g1\":41,\"g2\":7},\"obeys\":[\"3d4017c3e843895a\"],"
    "\"memory_bytes\":80000000000,\"loads_max\":1,\"outcomes\":[{\"nonce\":"
    "\"01000000000000000000000000000000\",\"result\":\"failed\",\"took_ms\":5300,\"words\":"
    "\"no room\"}]}";

static void
check_whole(void)
{
    static char text[MESSAGE_BYTES_MAX];
    size_t bytes = 0;

    CHECK(report_parse(span_of(whole), &report, &error) == ERR_OK, "all fields");
    CHECK(report.state == NODE_DRAIN && report.role == REPORT_FULL && report.model_count == 2 &&
              report.models[0].state == MODEL_LOADING &&
              report.models[0].tier == REPORT_TIER_DISK && report.ack_count == 2 &&
              report.acks[1].number == 7 && span_eq_text(report.proofs[0], "tee"),
          "say what they say");
    CHECK(report.models[0].slots == MESSAGE_UNKNOWN && report.models[1].slots == 4 &&
              report.request_count == 1 && span_eq_text(report.requests[0].id, "b") &&
              report.requests[0].running == 4 && report.requests[0].waiting == 2,
          "by model, too");
    CHECK(report.models[1].pinned && report.obey_count == 1 && report.loads_max == 1 &&
              report.memory_bytes == 80000000000 && report.outcome_count == 1 &&
              report.outcomes[0].result == DIRECTIVE_FAILED &&
              span_eq_text(report.outcomes[0].words, "no room"),
          "of steering, too");
    CHECK(report_write(&report, text, &bytes) == ERR_OK, "written");
    CHECK(span_eq_text((struct span){text, bytes}, whole), "as it was");
    report.models[0].id = SPAN_LIT("a\"b");
    CHECK(report_write(&report, text, &bytes) == ERR_ARG, "no quotes get out");
    CHECK(report_parse(span_of(whole), &report, &error) == ERR_OK, "again");
    report.engine.decode_tok_s = (double)INFINITY;
    CHECK(report_write(&report, text, &bytes) == ERR_ARG, "nor what is no number");
    CHECK(message_is_zero((const unsigned char *)"\0\0", 2), "zeros");
}

static void
check_piggyback(void)
{
    static const char json[] =
        "{\"epoch\":5,\"at_us\":77,\"state\":\"drain\",\"engine\":{\"running\":2},"
        "\"requests\":[{\"id\":\"m\",\"running\":2,\"waiting\":0}],\"ack\":{\"g1\":9}}";
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = 0;

    CHECK(report_parse_piggyback(span_of(json), &report, &error) == ERR_OK, "a piggy-back");
    CHECK(report.epoch == 5 && report.at_us == 77 && report.engine.running == 2 &&
              report.engine.waiting == MESSAGE_UNKNOWN && report.acks[0].number == 9,
          "says what it says");
    CHECK(report_write_piggyback(&report, text, &bytes) == ERR_OK &&
              span_eq_text((struct span){text, bytes}, json),
          "and is written so");
    CHECK(report_parse_piggyback(SPAN_LIT("{\"epoch\":5}"), &report, &error) == ERR_PARSE, "when?");
}

static struct signature_secret secret;

static bool
is_signed_as(const struct signature_data *data, const char *wanted)
{
    char text[2 * SIGNATURE_BYTES + 1];
    struct signature signature;

    if (signature_sign(&secret, data, &signature) != ERR_OK)
        return false;
    message_hex(signature.bytes, SIGNATURE_BYTES, text);
    return strcmp(text, wanted) == 0;
}

/* Hello, gone and chain: written, read, and every signed field changes the signature. */
static void
check_signed(void)
{
    static const unsigned char seed[32] = {5};
    struct signature_data data;
    struct report_hello hello = {.v = 1, .epoch = 5, .issued_s = 8, .version = SPAN_LIT("0.1")};
    struct report_gone gone = {.v = 1, .node = SPAN_LIT("n1"), .epoch = 5};
    struct report_chain chain = {.v = 1, .node = SPAN_LIT("n1"), .epoch = 5, .seq = 60};
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = 0;

    signature_secret_of_seed(seed, &secret);
    hello.identity.node = SPAN_LIT("n1");
    hello.identity.issued_s = hello.identity.expires_s = MESSAGE_UNKNOWN;
    signature_key_of_secret(&secret, &hello.identity.key);
    report_hello_data(&hello, &data);
    CHECK(signature_sign(&secret, &data, &hello.signature) == ERR_OK &&
              report_hello_write(&hello, text, &bytes) == ERR_OK &&
              report_hello_parse((struct span){text, bytes}, &hello, &error) == ERR_OK,
          "a hello comes back");
    report_hello_data(&hello, &data);
    CHECK(signature_is_good(&hello.identity.key, &data, &hello.signature), "well signed");
    hello.identity.url = SPAN_LIT("http://other");
    report_hello_data(&hello, &data);
    CHECK(!signature_is_good(&hello.identity.key, &data, &hello.signature),
          "together with its record");
    report_gone_data(&gone, &data);
    CHECK(signature_sign(&secret, &data, &gone.signature) == ERR_OK &&
              report_gone_write(&gone, text, &bytes) == ERR_OK &&
              report_gone_parse((struct span){text, bytes}, &gone, &error) == ERR_OK,
          "a gone comes back");
    report_chain_begin(chain.node, chain.epoch, chain.head);
    report_chain_add(chain.head, SPAN_LIT(HEAD "}"));
    report_chain_data(&chain, &data);
    CHECK(signature_sign(&secret, &data, &chain.signature) == ERR_OK &&
              report_chain_write(&chain, text, &bytes) == ERR_OK &&
              report_chain_parse((struct span){text, bytes}, &chain, &error) == ERR_OK,
          "a chain comes back");
    chain.seq++;
    report_chain_data(&chain, &data);
    CHECK(!signature_is_good(&hello.identity.key, &data, &chain.signature), "its seq is signed");
}

/* The vectors of doc/identity.md; the signatures were made by OpenSSL. */
static void
check_vectors(void)
{
    static const unsigned char seed[32] = {5};
    struct report_hello hello = {.v = 1, .epoch = 5, .issued_s = 8, .version = SPAN_LIT("0.1")};
    struct report_gone gone = {.v = 1, .node = SPAN_LIT("n1"), .epoch = 5};
    struct report_chain chain = {.v = 1, .node = SPAN_LIT("n1"), .epoch = 5, .seq = 1};
    struct signature_data data;
    char text[2 * SIGNATURE_BYTES + 1];

    signature_secret_of_seed(seed, &secret);
    hello.identity.node = SPAN_LIT("n1");
    hello.identity.issued_s = hello.identity.expires_s = MESSAGE_UNKNOWN;
    signature_key_of_secret(&secret, &hello.identity.key);
    report_hello_data(&hello, &data);
    CHECK(is_signed_as(&data, "06eb689744893b056ef2694ec934015357eee08fa756b14d51d95ab47da823ff"
                              "5d93cca098a910e582f026a4045a16b83018a022590f637f7b4ad0e68a7e2908"),
          "a hello");
    report_gone_data(&gone, &data);
    CHECK(is_signed_as(&data, "f7d80e38f855b060d7a645f9bb12838038b33ebca41b648c6e59c431838f2c54"
                              "a31a23bf7bae1c06f17ddfa43d74541353619d2d25b963275a962dd10969d30c"),
          "a gone");
    report_chain_begin(chain.node, chain.epoch, chain.head);
    message_hex(chain.head, sizeof(chain.head), text);
    CHECK(strcmp(text, "d84a4fb045739efc3210b0323cc8b025042c06e2156cbfff93791dcdaf00e477") == 0,
          "the beginning of a chain");
    report_chain_add(chain.head, SPAN_LIT("{}"));
    message_hex(chain.head, sizeof(chain.head), text);
    CHECK(strcmp(text, "f84dd5db1a9656a26645296bbc77b01af3f01bf8c90f601ad6e19d184e1bce81") == 0,
          "and a report more");
    report_chain_data(&chain, &data);
    CHECK(is_signed_as(&data, "65aaf4061a16d721507932e8f495b69c27a3a4c40380d68bbcae3dd5bbae46e3"
                              "cd09d2ac4995b3dda6f0a0dbad0c21e5a4372a49e2c371a27506dbdd46542707"),
          "a chain");
}

int
main(void)
{
    check_texts();
    check_limits();
    check_absent();
    check_whole();
    check_piggyback();
    check_signed();
    check_vectors();
    return tap_done();
}

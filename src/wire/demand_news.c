/* demand_news - its table, its signature, and what a receiver thinks of it; see demand_news.h. The
 * order of the checks is from cheap to dear. */
#include "wire/demand_news.h"

#include <math.h>

#include "wire/config.h"

#define ROW_BYTES 176u /* beside the name: keys, and five numbers of up to 15 */

/* ---- The message. */

#define AT(member_) .offset = offsetof(struct demand_news_model, member_)
#define REQUESTS_S  .type = MESSAGE_F64, .required = true, .max = DEMAND_NEWS_REQUESTS_S_MAX
#define TOKENS_S    .type = MESSAGE_F64, .required = true, .max = DEMAND_NEWS_TOKENS_S_MAX

static const struct message_field model_fields[] = {
    {.name = "id",
     .type = MESSAGE_TEXT,
     .required = true,
     AT(id),
     .max = CONFIG_MODEL_NAME_BYTES_MAX},
    {.name = "requests_s", REQUESTS_S, AT(requests_s)},
    {.name = "prompt_tok_s", TOKENS_S, AT(prompt_tok_s)},
    {.name = "output_tok_s", TOKENS_S, AT(output_tok_s)},
    {.name = "usual_requests_s", REQUESTS_S, AT(usual_requests_s)},
    {.name = "ahead_requests_s", REQUESTS_S, AT(ahead_requests_s)},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct demand_news, member_)
#define COUNTER     .type = MESSAGE_U64, .required = true, .max = MESSAGE_NUMBER_MAX

static const struct message_field news_fields[] = {
    {.name = "v", .type = MESSAGE_U64, .required = true, .min = 1, .max = MESSAGE_VERSION, AT(v)},
    {.name = "gateway", .type = MESSAGE_NAME, .required = true, AT(gateway)},
    {.name = "region", .type = MESSAGE_NAME, .required = true, AT(region)},
    {.name = "epoch", COUNTER, .min = 1, AT(epoch)},
    {.name = "seq", COUNTER, .min = 1, AT(seq)},
    {.name = "issued_s", COUNTER, AT(issued_s)},
    {.name = "gone", .type = MESSAGE_BOOL, AT(gone)},
    {.name = "key",
     .type = MESSAGE_HEX,
     AT(key),
     .prefix = SIGNATURE_KEY_PREFIX,
     .max = SIGNATURE_KEY_BYTES},
    {.name = "models",
     .type = MESSAGE_LIST,
     AT(models),
     .max = DEMAND_NEWS_MODELS_MAX,
     .item_bytes = sizeof(struct demand_news_model),
     .count_offset = offsetof(struct demand_news, model_count),
     .fields = model_fields},
    {.name = "signature", .type = MESSAGE_HEX, AT(signature), .max = SIGNATURE_BYTES},
    {.name = NULL},
};

enum err
demand_news_parse(struct span json, struct demand_news *ret_news, struct message_error *ret_error)
{
    *ret_news = (struct demand_news){.v = 0};
    return message_read(json, news_fields, ret_news, ret_error);
}

enum err
demand_news_write(const struct demand_news *news, char ret_text[MESSAGE_BYTES_MAX],
                  size_t *ret_bytes)
{
    return message_write(news_fields, news, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

size_t
demand_news_row_bytes(struct span id)
{
    return ROW_BYTES + id.bytes;
}

/* ---- What is signed of it: all. A rate is a float that was written with enough digits to be the
 * same float again. */

static void
add_rate(struct signature_data *d, double rate)
{
    float value = (float)rate;
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    signature_data_add_u64(d, bits);
}

static void
news_data(const struct demand_news *news, struct signature_data *ret_data)
{
    signature_data_begin(ret_data, DEMAND_NEWS_DOMAIN);
    signature_data_add_span(ret_data, news->gateway);
    signature_data_add_span(ret_data, news->region);
    signature_data_add(ret_data, news->key.bytes, SIGNATURE_KEY_BYTES);
    signature_data_add_u64(ret_data, news->epoch);
    signature_data_add_u64(ret_data, news->seq);
    signature_data_add_u64(ret_data, news->issued_s);
    signature_data_add_u64(ret_data, news->gone);
    for (size_t i = 0; i < news->model_count; i++) {
        signature_data_add_span(ret_data, news->models[i].id);
        add_rate(ret_data, news->models[i].requests_s);
        add_rate(ret_data, news->models[i].prompt_tok_s);
        add_rate(ret_data, news->models[i].output_tok_s);
        add_rate(ret_data, news->models[i].usual_requests_s);
        add_rate(ret_data, news->models[i].ahead_requests_s);
    }
}

enum err
demand_news_sign(struct demand_news *news, const struct signature_secret *secret)
{
    struct signature_data data;

    signature_key_of_secret(secret, &news->key);
    news_data(news, &data);
    return signature_sign(secret, &data, &news->signature);
}

/* ---- One sender. */

static bool
has_key(const struct signature_key *key)
{
    return !message_is_zero(key->bytes, sizeof(key->bytes));
}

static bool
is_signed(const struct demand_news *news)
{
    struct signature_data data;

    if (!has_key(&news->key))
        return true;
    news_data(news, &data);
    return signature_is_good(&news->key, &data, &news->signature);
}

/* By what it says of its life. A life that ended leaves its name to another key; one that is heard
 * without a key, since its way vouches for it, does not leave it to whoever comes over another way
 * with a key of his own. */
static enum demand_verdict
check_life(const struct demand_sender *s, const struct demand_news *news, bool needs_key)
{
    if (news->epoch < s->epoch)
        return DEMAND_OLD_EPOCH;
    if (news->epoch == s->epoch && s->gone)
        return DEMAND_IS_GONE;
    if (has_key(&s->key) && !s->gone && !signature_key_eq(&s->key, &news->key))
        return DEMAND_OTHER_KEY;
    if (needs_key && s->epoch != 0 && !has_key(&s->key) && !s->gone)
        return DEMAND_OTHER_KEY;
    return news->epoch == s->epoch && news->seq <= s->seq ? DEMAND_REPEATED : DEMAND_NEWS;
}

/* May so many messages of it come? */
static bool
may_say(struct demand_sender *s, uint64_t now_ns)
{
    uint64_t wait_ns;

    return bucket_take(&s->messages, DEMAND_NEWS_PER_MINUTE_MAX, 1, now_ns, &wait_ns);
}

bool
demand_sender_may_be_read(struct demand_sender *s, uint64_t now_ns)
{
    uint64_t wait_ns;

    return bucket_take(&s->read, DEMAND_NEWS_READ_PER_MINUTE_MAX, 1, now_ns, &wait_ns);
}

/* A signature is dear to look at. On the bus a sender has so many, since nobody else speaks under
 * its name there; over HTTP who carries it has, and what others forge is not counted against it. */
static enum demand_verdict
check_signature(struct demand_sender *s, const struct demand_news *news, bool needs_key,
                uint64_t now_ns)
{
    if (!needs_key && !may_say(s, now_ns))
        return DEMAND_TOO_OFTEN;
    if (!is_signed(news))
        return DEMAND_BAD_SIGNATURE;
    return needs_key && !may_say(s, now_ns) ? DEMAND_TOO_OFTEN : DEMAND_NEWS;
}

enum demand_verdict
demand_sender_take(struct demand_sender *s, struct span name, const struct demand_news *news,
                   bool needs_key, uint64_t now_ns, uint64_t now_s)
{
    enum demand_verdict verdict;
    uint64_t wait_ns;

    if (!span_eq(name, news->gateway))
        return DEMAND_WRONG_NAME;
    if (needs_key && !has_key(&news->key))
        return DEMAND_UNSIGNED;
    if (!signature_is_of_now(news->issued_s, now_s))
        return DEMAND_CLOCK;
    verdict = check_life(s, news, needs_key);
    if (verdict == DEMAND_NEWS)
        verdict = check_signature(s, news, needs_key, now_ns);
    if (verdict != DEMAND_NEWS)
        return verdict;
    if (news->epoch != s->epoch &&
        !bucket_take(&s->lives, DEMAND_NEWS_LIVES_MAX, 1, now_ns, &wait_ns))
        return DEMAND_TOO_OFTEN;
    s->key = news->key;
    s->epoch = news->epoch;
    s->seq = news->seq;
    s->gone = news->gone;
    return DEMAND_NEWS;
}

/* ---- Words. */

static const struct {
    const char *name, *words;
} verdicts[DEMAND_VERDICT_COUNT] = {
    [DEMAND_NEWS] = {"news", "taken"},
    [DEMAND_REPEATED] = {"repeated", "this, or newer, was heard before"},
    [DEMAND_OLD_EPOCH] = {"old_epoch", "of an earlier life of this gateway"},
    [DEMAND_IS_GONE] = {"is_gone", "of a life that this gateway ended"},
    [DEMAND_WRONG_NAME] = {"wrong_name", "it came under another name than it says"},
    [DEMAND_OTHER_KEY] = {"other_key", "two gateways have this name: the key is not the known one"},
    [DEMAND_BAD_SIGNATURE] = {"bad_signature", "the gateway's signature does not fit"},
    [DEMAND_UNSIGNED] = {"unsigned", "nothing proves who says it: over HTTP it has to be signed"},
    [DEMAND_CLOCK] = {"clock", "it is old, or its clock and ours are more than a minute apart"},
    [DEMAND_TOO_OFTEN] = {"too_often", "more than one gateway may say"},
};

const char *
demand_verdict_name(enum demand_verdict verdict)
{
    return verdict < DEMAND_VERDICT_COUNT ? verdicts[verdict].name : "unknown";
}

const char *
demand_verdict_words(enum demand_verdict verdict)
{
    return verdict < DEMAND_VERDICT_COUNT ? verdicts[verdict].words : "unknown";
}

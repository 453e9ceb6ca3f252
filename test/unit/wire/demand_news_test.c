/* demand_news_test - what gateways say to each other: written, read, signed; and what a receiver
 * takes of it: one sender's life as a table of messages. */
#include "wire/demand_news.h"

#include <stdio.h>

#include "tap.h"

#define NOW_S 1800000000u

static struct signature_secret secret, other_secret;

static struct demand_news
news_of(uint64_t epoch, uint64_t seq)
{
    return (struct demand_news){.v = MESSAGE_VERSION,
                                .gateway = SPAN_LIT("gw1"),
                                .region = SPAN_LIT("eu-west"),
                                .epoch = epoch,
                                .seq = seq,
                                .issued_s = NOW_S,
                                .models = {{SPAN_LIT("m"), 0.1f, 123.456f, 3e-5f, 2.0, 1e6}},
                                .model_count = 1};
}

static void
test_bytes(void)
{
    struct demand_news n = news_of(5, 7), back;
    struct message_error error = {""};
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = 0;

    CHECK(demand_news_sign(&n, &secret) == ERR_OK, "signed");
    CHECK(demand_news_write(&n, text, &bytes) == ERR_OK && bytes < DEMAND_NEWS_HEAD_BYTES,
          "written");
    CHECK(demand_news_parse((struct span){text, bytes}, &back, &error) == ERR_OK, "read");
    CHECK(back.model_count == 1 && (float)back.models[0].output_tok_s == 3e-5f &&
              back.models[0].usual_requests_s == 2.0 && span_eq_text(back.region, "eu-west"),
          "it says the same");
    struct demand_sender s = {.epoch = 0};
    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &back, true, 1, NOW_S) == DEMAND_NEWS,
          "and is signed still: a rate is the same float");
    back.models[0].requests_s = 0.2;
    back.seq++;
    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &back, true, 1, NOW_S) == DEMAND_BAD_SIGNATURE,
          "a figure was changed");
    n.models[0].requests_s = -1.0;
    CHECK(demand_news_write(&n, text, &bytes) == ERR_ARG, "nobody asks for less than nothing");
}

/* As many rows as there is said to be room for, with the longest numbers, fit. */
static void
test_room(void)
{
    struct demand_news n = news_of(MESSAGE_NUMBER_MAX, MESSAGE_NUMBER_MAX);
    char text[MESSAGE_BYTES_MAX], name[256];
    size_t bytes, room = MESSAGE_BYTES_MAX - DEMAND_NEWS_HEAD_BYTES;

    for (size_t length = 1; length <= 255; length += 127) {
        memset(name, 'x', sizeof(name));
        for (n.model_count = 0;
             (n.model_count + 1) * demand_news_row_bytes((struct span){name, length}) <= room;)
            n.models[n.model_count++] = (struct demand_news_model){
                {name, length},          (double)1.23456789e-05f, (double)9.87654321e-30f,
                (double)1.23456789e-05f, (double)1.23456789e-05f, (double)9.87654321e-30f};
        n.issued_s = MESSAGE_NUMBER_MAX;
        n.gone = true;
        CHECK(n.model_count > 0 && demand_news_sign(&n, &secret) == ERR_OK &&
                  demand_news_write(&n, text, &bytes) == ERR_OK,
              "a full message is a message");
    }
}

static void
test_refused(void)
{
    static const struct {
        const char *json, *field;
    } rows[] = {
        {"{}", "v: "},
        {"{\"v\":1,\"gateway\":\"Gw\"}", "gateway: "},
        {"{\"v\":1,\"gateway\":\"g\",\"region\":\"r\",\"epoch\":0}", "epoch: "},
        {"{\"v\":1,\"gateway\":\"g\",\"region\":\"r\",\"epoch\":1,\"seq\":1,\"issued_s\":1,"
         "\"models\":[{\"id\":\"m\"}]}",
         "models[0].requests_s: "},
        {"{\"v\":1,\"gateway\":\"g\",\"region\":\"r\",\"epoch\":1,\"seq\":1,\"issued_s\":1,"
         "\"models\":[{\"id\":\"m\",\"requests_s\":1e9}]}",
         "models[0].requests_s: "},
        {"{\"v\":2}", "v: "},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_error error = {""};
        struct demand_news n;
        CHECK(demand_news_parse(span_of(rows[i].json), &n, &error) == ERR_PARSE &&
                  strstr(error.text, rows[i].field) == error.text,
              rows[i].json);
    }
}

/* ---- One sender's life: each row is a message, the state stays. */

static const struct step {
    const char *label, *name;
    uint64_t epoch, seq, late_s;
    int key; /* 0: none, 1: its own, 2: another's; -1: signed, then changed */
    bool gone;
    enum demand_verdict want;
} life[] = {
    {"another name", "gw2", 5, 1, 0, 1, false, DEMAND_WRONG_NAME},
    {"the first one", "gw1", 5, 1, 0, 1, false, DEMAND_NEWS},
    {"the next one", "gw1", 5, 2, 0, 1, false, DEMAND_NEWS},
    {"doubled", "gw1", 5, 2, 0, 1, false, DEMAND_REPEATED},
    {"replayed", "gw1", 5, 1, 0, 1, false, DEMAND_REPEATED},
    {"some were lost", "gw1", 5, 9, 0, 1, false, DEMAND_NEWS},
    {"another with this name", "gw1", 6, 1, 0, 2, false, DEMAND_OTHER_KEY},
    {"one without a key", "gw1", 6, 1, 0, 0, false, DEMAND_OTHER_KEY},
    {"forged", "gw1", 5, 10, 0, -1, false, DEMAND_BAD_SIGNATURE},
    {"after what was forged", "gw1", 5, 10, 0, 1, false, DEMAND_NEWS},
    {"an hour old", "gw1", 5, 11, 3600, 1, false, DEMAND_CLOCK},
    {"restarted", "gw1", 7, 1, 0, 1, false, DEMAND_NEWS},
    {"its ghost", "gw1", 5, 12, 0, 1, false, DEMAND_OLD_EPOCH},
    {"it goes", "gw1", 7, 2, 0, 1, true, DEMAND_NEWS},
    {"after that", "gw1", 7, 3, 0, 1, false, DEMAND_IS_GONE},
    {"a new one, with another key", "gw1", 8, 1, 0, 2, false, DEMAND_NEWS},
};

static void
test_life(void)
{
    struct demand_sender s = {.epoch = 0};

    for (size_t i = 0; i < sizeof(life) / sizeof(life[0]); i++) {
        const struct step *t = &life[i];
        struct demand_news n = news_of(t->epoch, t->seq);
        uint64_t epoch = s.epoch, seq = s.seq;
        enum demand_verdict verdict;

        if (t->key != 0)
            CHECK(demand_news_sign(&n, t->key == 2 ? &other_secret : &secret) == ERR_OK, "signed");
        if (t->key < 0)
            n.gone = true;
        n.gone = n.gone || t->gone;
        if (t->gone)
            CHECK(demand_news_sign(&n, &secret) == ERR_OK, "signed");
        verdict = demand_sender_take(&s, span_of(t->name), &n, false, 1, NOW_S + t->late_s);
        CHECK(verdict == t->want, t->label);
        CHECK(verdict == DEMAND_NEWS || (s.epoch == epoch && s.seq == seq), "refused is nothing");
    }
}

static void
test_limits(void)
{
    struct demand_sender s = {.epoch = 0}, flaps = {.epoch = 0};
    struct demand_news n;
    uint32_t taken = 0;

    for (uint32_t i = 1; i < 3 * DEMAND_NEWS_PER_MINUTE_MAX; i++) {
        n = news_of(5, i);
        taken += demand_sender_take(&s, SPAN_LIT("gw1"), &n, false, 1, NOW_S) == DEMAND_NEWS;
    }
    CHECK(taken == DEMAND_NEWS_PER_MINUTE_MAX, "a flood is cut off");
    n = news_of(5, 100000);
    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &n, false, 60000000001, NOW_S) == DEMAND_NEWS,
          "a minute later it is heard again");
    taken = 0;
    for (uint32_t i = 1; i < 30; i++) {
        n = news_of(i, 1);
        taken += demand_sender_take(&flaps, SPAN_LIT("gw1"), &n, false, 1, NOW_S) == DEMAND_NEWS;
    }
    CHECK(taken == DEMAND_NEWS_LIVES_MAX, "it starts all the time");
    n = news_of(40, 1);
    CHECK(demand_sender_take(&flaps, SPAN_LIT("gw1"), &n, true, 1, NOW_S) == DEMAND_UNSIGNED,
          "over HTTP nobody vouches for a name");
    for (uint32_t v = 0; v < DEMAND_VERDICT_COUNT; v++)
        CHECK(demand_verdict_name((enum demand_verdict)v)[0] != '\0' &&
                  demand_verdict_words((enum demand_verdict)v)[0] != '\0',
              "words");
}

/* Others cannot mute a gateway, nor take its name, by a way that vouches for nobody. */
static void
test_strangers(void)
{
    struct demand_sender s = {.epoch = 0};
    struct demand_news n = news_of(5, 1);

    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &n, false, 1, NOW_S) == DEMAND_NEWS,
          "one without a key, on the bus");
    n = news_of(6, 1);
    CHECK(demand_news_sign(&n, &other_secret) == ERR_OK &&
              demand_sender_take(&s, SPAN_LIT("gw1"), &n, true, 1, NOW_S) == DEMAND_OTHER_KEY,
          "whoever has a key does not get its name over HTTP");
    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &n, false, 1, NOW_S) == DEMAND_NEWS,
          "on the bus it has a key from now on");
    n = news_of(7, 1);
    CHECK(demand_news_sign(&n, &other_secret) == ERR_OK, "signed");
    n.signature.bytes[0] ^= 1;
    for (uint32_t i = 0; i < 2 * DEMAND_NEWS_PER_MINUTE_MAX; i++) {
        if (demand_sender_take(&s, SPAN_LIT("gw1"), &n, true, 2, NOW_S) != DEMAND_BAD_SIGNATURE)
            CHECK(false, "forged");
    }
    n.signature.bytes[0] ^= 1;
    CHECK(demand_sender_take(&s, SPAN_LIT("gw1"), &n, true, 2, NOW_S) == DEMAND_NEWS,
          "a flood of what is forged does not mute it");
}

int
main(void)
{
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {3}, other[SIGNATURE_SEED_BYTES] = {4};

    signature_secret_of_seed(seed, &secret);
    signature_secret_of_seed(other, &other_secret);
    test_bytes();
    test_room();
    test_refused();
    test_life();
    test_limits();
    test_strangers();
    return tap_done();
}

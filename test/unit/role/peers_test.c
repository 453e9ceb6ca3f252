/* peers_test - other gateways as a gateway hears them: who counts, whose demand fades and is
 * dropped, what is added up; with the clock of peers moved by hand, on a gateway that does not run.
 */
#include "role/gateway/peers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/gateway.h"
#include "role/gateway/peers_state.h"
#include "tap.h"

#define SECOND UINT64_C(1000000000)

static struct gateway *gateway;
static struct peers *peers;

static struct signature_secret secret, other_secret;

static void
setup(void)
{
    struct gateway_options o = {.rule = -1, .seed = 1, .admin_on_public = true};
    char yaml[512], text[SIGNATURE_KEY_TEXT_SIZE];
    struct signature_key key;

    log_set_level(LOG_ERROR);
    signature_secret_of_seed((const unsigned char[SIGNATURE_SEED_BYTES]){1}, &secret);
    signature_secret_of_seed((const unsigned char[SIGNATURE_SEED_BYTES]){2}, &other_secret);
    signature_key_of_secret(&secret, &key);
    signature_key_text(&key, text);
    snprintf(yaml, sizeof(yaml),
             "name: us\nregion: east\nlisten: {public: \"127.0.0.1:0\"}\n"
             "models: {a: {}, b: {}}\n"
             "engines: [{url: \"http://127.0.0.1:1\", region: west}]\n"
             "gateways: [{name: named, key: \"%s\", requests_per_second_max: 1000}]\n",
             text);
    must(roster_read(span_of(yaml), "test", 0, NULL, &o.roster) == ERR_OK);
    must(gateway_open(&o, &gateway) == ERR_OK);
    peers = gateway->peers;
}

/* What so many seconds later follows. */
static void
later(uint64_t seconds)
{
    uint64_t beat_ns = peers->beat_ns;

    peers->clock_ns += seconds * SECOND;
    loop_timer_set(gateway->lanes[0].loop, &peers->beat_timer, 1, peers->beat_timer.fn);
    while (peers->beat_ns == beat_ns)
        loop_pass(gateway->lanes[0].loop, 2000000);
}

struct asked {
    const char *model;
    double requests_s;
};

/* NULL: it has no key. */
static const struct signature_secret *signs;

static uint32_t
say(const char *name, const char *region, uint64_t epoch, uint64_t seq, bool gone,
    struct asked first, struct asked second)
{
    struct demand_news n = {.v = MESSAGE_VERSION,
                            .gateway = span_of(name),
                            .region = span_of(region),
                            .epoch = epoch,
                            .seq = seq,
                            .gone = gone,
                            .issued_s = clock_wall_s()};
    const struct asked list[2] = {first, second};
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    for (size_t i = 0; i < 2 && list[i].model != NULL; i++)
        n.models[n.model_count++] = (struct demand_news_model){
            span_of(list[i].model), list[i].requests_s, 100.0, 10.0,
            list[i].requests_s,     list[i].requests_s};
    if (signs != NULL)
        must(demand_news_sign(&n, signs) == ERR_OK);
    must(demand_news_write(&n, text, &bytes) == ERR_OK);
    return peers_take(peers, span_of(name), (struct span){text, bytes}, false);
}

#define NONE    ((struct asked){NULL, 0.0})
#define ASKS(m) ((struct asked){m, 2.0})

/* What the core knows of a model in a region; 0: nothing. */
static float
core_has(const char *model, const char *region)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    struct demand_view views[CORE_VIEW_MAX];
    uint32_t from = 0;
    float rate = 0.0f;

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_demand(gateway->door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (span_eq_text(fleet->models[views[i].model].name, model) &&
                span_eq_text(fleet->roster->regions.list[views[i].region], region))
                rate = views[i].all.requests_s;
        }
    }
    fleet_unref(fleet);
    return rate;
}

static bool
near(float a, float b)
{
    return fabsf(a - b) <= 0.03f * b + 1e-6f;
}

static void
on_look(const struct peer_look *l, void *user)
{
    char *names = user;

    snprintf(names + strlen(names), 80, "%s%s", l->name, l->is_alive ? " " : "- ");
}

static bool
names_are(bool only_alive, const char *want)
{
    char names[1024] = "";

    (only_alive ? peers_each_alive : peers_each)(peers, on_look, names);
    return strcmp(names, want) == 0;
}

static void
test_sums(void)
{
    CHECK(peers_count(peers) == 1, "alone");
    CHECK(say("w2", "west", 5, 1, false, ASKS("a"), NONE) == DEMAND_NEWS, "one");
    CHECK(say("w1", "west", 5, 1, false, ASKS("a"), ASKS("b")) == DEMAND_NEWS, "another one");
    CHECK(say("e1", "east", 5, 1, false, ASKS("a"), ASKS("unknown")) == DEMAND_NEWS, "of ours");
    later(0);
    CHECK(peers_count(peers) == 4 && names_are(true, "e1 w1 w2 "), "all are there, by name");
    CHECK(near(core_has("a", "west"), 4.0f) && near(core_has("b", "west"), 2.0f) &&
              near(core_has("a", "east"), 2.0f),
          "sums by model and region");
    CHECK(core_has("unknown", "east") == 0.0f, "a model that nobody has here");
    CHECK(say("w2", "west", 5, 2, false, (struct asked){"a", 5.0}, NONE) == DEMAND_NEWS, "more");
    later(0);
    CHECK(near(core_has("a", "west"), 7.0f), "its news take the place of its old");
    CHECK(say("e1", "west", 5, 2, false, ASKS("b"), NONE) == DEMAND_NEWS, "it moves");
    later(0);
    CHECK(core_has("a", "east") == 0.0f && near(core_has("b", "west"), 4.0f), "all of it");
}

static void
test_silence(void)
{
    later(5);
    CHECK(say("w1", "west", 5, 2, false, ASKS("a"), NONE) == DEMAND_NEWS, "one goes on");
    later(8);
    CHECK(peers_count(peers) == 2 && names_are(false, "e1- w1 w2- "), "the others are silent");
    CHECK(core_has("a", "west") < 6.9f && core_has("a", "west") > 2.0f, "their demand fades");
    later(5);
    CHECK(say("w1", "west", 5, 3, false, ASKS("a"), NONE) == DEMAND_NEWS, "still there");
    later(50);
    CHECK(peers_count(peers) == 1 && names_are(false, "w1- "), "they are forgotten");
    CHECK(core_has("b", "west") == 0.0f, "with what they wanted");
    CHECK(core_has("a", "west") < 0.5f, "and the last one is silent, too");
    CHECK(say("w1", "west", 5, 4, false, ASKS("a"), NONE) == DEMAND_NEWS, "but comes back");
    later(0);
    CHECK(peers_count(peers) == 2 && near(core_has("a", "west"), 2.0f), "and counts");
}

static void
test_end(void)
{
    CHECK(say("w1", "west", 5, 5, true, NONE, NONE) == DEMAND_NEWS, "one goes");
    later(0);
    CHECK(peers_count(peers) == 1 && core_has("a", "west") == 0.0f, "at once");
    CHECK(say("w1", "west", 5, 6, false, ASKS("a"), NONE) == DEMAND_IS_GONE, "no ghost");
    CHECK(say("w1", "west", 6, 1, false, ASKS("a"), NONE) == DEMAND_NEWS, "it starts again");
    CHECK(peers_count(peers) == 2, "and is there at once");
    later(0);
    CHECK(near(core_has("a", "west"), 2.0f), "with its demand");
    CHECK(say("us", "east", 1, 1, false, NONE, NONE) == PEERS_OWN_NAME, "our own name");
    CHECK(peers_take(peers, SPAN_LIT("w1"), SPAN_LIT("[]"), false) == PEERS_MALFORMED,
          "no message");
}

static void
test_limits(void)
{
    uint32_t taken = 0;
    char name[16];

    for (uint32_t i = 0; i < PEERS_MAX + 10; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        taken += say(name, "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS;
    }
    CHECK(taken == PEERS_MAX - 1 && peers_count(peers) == PEERS_MAX + 1, "room for so many");
    CHECK(say("last", "west", 5, 1, false, NONE, NONE) == PEERS_TABLE_FULL, "and no more");
    later(70);
    CHECK(peers_count(peers) == 1 && names_are(false, ""), "until they are silent");
    CHECK(say("last", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS, "there is room again");
    for (uint32_t v = 0; v < PEERS_VERDICT_COUNT; v++)
        CHECK(peers_verdict_name(v)[0] != '\0' && peers_verdict_words(v)[0] != '\0', "words");
}

/* One that says that the whole world comes to it. */
static void
test_bound(void)
{
    const struct asked most = {"a", 1000000.0};

    later(70);
    CHECK(say("honest", "east", 5, 1, false, (struct asked){"b", 90.0}, NONE) == DEMAND_NEWS &&
              say("liar", "west", 5, 1, false, most, (struct asked){"b", 1000000.0}) == DEMAND_NEWS,
          "two say what they are asked for");
    later(0);
    CHECK(near(core_has("a", "west"), PEERS_REQUESTS_S / 2) &&
              near(core_has("b", "west"), PEERS_REQUESTS_S / 2),
          "no more counts than one may say");
    CHECK(near(core_has("b", "east"), 90.0f), "of others all");
    peers->own_requests_s = 50000.0f; /* so much comes to ourselves */
    later(0);
    CHECK(near(core_has("a", "west"), PEERS_REQUESTS_FACTOR * 25000.0f),
          "where more is usual more");
    peers->own_requests_s = 0.0f;
    signs = &secret;
    CHECK(say("named", "east", 5, 1, false, most, NONE) == DEMAND_NEWS, "one that is named");
    signs = NULL;
    later(0);
    CHECK(near(core_has("a", "east"), 1000.0f), "counts for what the configuration says");
    later(70);
}

/* The configuration says by which key it is who. */
static void
test_named(void)
{
    uint32_t refused = 0;

    CHECK(say("named", "west", 5, 9, false, ASKS("a"), NONE) == DEMAND_OTHER_KEY,
          "on the bus, too, nobody is it without the key");
    signs = &other_secret;
    CHECK(say("named", "west", 5, 9, false, ASKS("a"), NONE) == DEMAND_OTHER_KEY, "or by another");
    CHECK(say("former", "west", 7, 9, false, ASKS("a"), ASKS("b")) == DEMAND_NEWS, "one is there");
    snprintf(peers->list[0]->name, sizeof(peers->list[0]->name), "named"); /* as if named so */
    signs = &secret;
    CHECK(say("named", "west", 5, 1, false, ASKS("a"), NONE) == DEMAND_NEWS,
          "when the configuration gives the name to another key that one is heard at once");
    later(0);
    CHECK(near(core_has("a", "west"), 2.0f) && core_has("b", "west") == 0.0f,
          "and what the former one said is gone");
    peers->list[0]->sender.key.bytes[0] ^= 1;
    signs = NULL;
    later(0);
    CHECK(peers_count(peers) == 1, "who has the name by a former key goes by itself");
    for (uint32_t i = 0; i < 2 * PEERS_STRANGERS_PER_MINUTE_MAX; i++)
        refused += say("named", "us", 1, 1, false, NONE, NONE) != DEMAND_OTHER_KEY;
    CHECK(refused > 0, "of what is not its so much is read");
    CHECK(say("stranger", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS,
          "and it costs nobody else");
    peers->strangers_read[true] = (struct bucket){0};
    later(70);
}

static void
test_named_place(void)
{
    char name[16];

    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        snprintf(name, sizeof(name), "q%u", i);
        (void)say(name, "west", 5, 1, false, NONE, NONE);
    }
    CHECK(say("extra", "west", 5, 1, false, NONE, NONE) == PEERS_TABLE_FULL, "the table is full");
    signs = &secret;
    CHECK(say("named", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS,
          "one that the configuration names finds a place");
    signs = NULL;
    CHECK(peers_count(peers) == PEERS_MAX + 1, "another one's");
    later(70);
}

/* What nobody signed, on the bus: under a known name, and under ever new ones. */
static void
test_forged(void)
{
    struct demand_news n = {.v = MESSAGE_VERSION,
                            .gateway = SPAN_LIT("w9"),
                            .region = SPAN_LIT("west"),
                            .epoch = 5,
                            .issued_s = clock_wall_s()};
    char name[16], text[MESSAGE_BYTES_MAX];
    uint32_t looked_at[2] = {0, 0};
    size_t bytes;

    signs = &secret;
    CHECK(say("w9", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS, "one is there");
    signs = NULL;
    for (uint32_t i = 0; i < 4 * DEMAND_NEWS_PER_MINUTE_MAX; i++) {
        bool is_known = i % 2 == 0;
        snprintf(name, sizeof(name), is_known ? "w9" : "x%u", i);
        n.gateway = span_of(name);
        n.seq = i + 2;
        must(demand_news_sign(&n, &secret) == ERR_OK);
        n.signature.bytes[0] ^= 1;
        must(demand_news_write(&n, text, &bytes) == ERR_OK);
        looked_at[is_known] += peers_take(peers, span_of(name), (struct span){text, bytes},
                                          false) == DEMAND_BAD_SIGNATURE;
    }
    CHECK(looked_at[1] > 0 && looked_at[1] < 2 * DEMAND_NEWS_PER_MINUTE_MAX,
          "no more signatures are looked at than messages may come");
    CHECK(looked_at[0] > 0 && looked_at[0] < 2 * DEMAND_NEWS_PER_MINUTE_MAX,
          "nor of names that are not known");
    CHECK(peers_take(peers, span_of(name), (struct span){text, bytes}, true) ==
              DEMAND_BAD_SIGNATURE,
          "over HTTP who carries it is bounded");
    later(70);
}

/* How many of so many messages that are none are read. */
static uint32_t
flood(const char *name, bool over_http)
{
    const uint32_t count = 4 * DEMAND_NEWS_READ_PER_MINUTE_MAX;
    uint32_t read = 0, refused = 0, verdict;

    for (uint32_t i = 0; i < count; i++) {
        char text[16];

        snprintf(text, sizeof(text), name[0] != '\0' ? "%s" : "y%s%u", name, i);
        verdict = peers_take(peers, span_of(text), SPAN_LIT("[]"), over_http);
        read += verdict == PEERS_MALFORMED;
        refused += verdict == DEMAND_TOO_OFTEN;
    }
    CHECK(read + refused == count, "read or not");
    return read;
}

/* What is refused before it is read costs nobody else, and over HTTP another one bounds it. */
static void
test_flood(void)
{
    const uint32_t all = 4 * DEMAND_NEWS_READ_PER_MINUTE_MAX;
    uint64_t before[PEERS_VERDICT_COUNT], after[PEERS_VERDICT_COUNT];

    peers->strangers_read[false] = (struct bucket){0};
    CHECK(say("f1", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS &&
              say("f2", "west", 5, 1, false, NONE, NONE) == DEMAND_NEWS,
          "two are there");
    CHECK(flood("f1", true) == all, "over HTTP all is read that comes so far");
    CHECK(say("f1", "west", 5, 2, false, NONE, NONE) == DEMAND_NEWS, "and its name pays nothing");
    peers_verdicts(peers, before);
    CHECK(flood("f1", false) < all / 2, "on the bus of one so much");
    peers_verdicts(peers, after);
    CHECK(after[DEMAND_TOO_OFTEN] > before[DEMAND_TOO_OFTEN] + all / 2, "the rest is counted");
    CHECK(say("f1", "west", 5, 3, false, NONE, NONE) == DEMAND_TOO_OFTEN, "its own news, too");
    CHECK(flood("us", false) < all / 2, "under our name no more than under another");
    CHECK(flood("", false) < all / 2, "nor under ever new ones");
    CHECK(say("f2", "west", 5, 2, false, NONE, NONE) == DEMAND_NEWS, "others are heard");
    signs = &secret;
    CHECK(say("named", "west", 9, 1, false, NONE, NONE) == DEMAND_NEWS,
          "and one that the configuration names, for the first time");
    signs = NULL;
    later(70);
}

int
main(void)
{
    setup();
    test_sums();
    test_silence();
    test_end();
    test_limits();
    test_bound();
    test_named();
    peers->strangers_read[false] = (struct bucket){0}; /* a minute later */
    test_named_place();
    peers->strangers_read[false] = (struct bucket){0};
    test_forged();
    test_flood();
    gateway_close(gateway);
    return tap_done();
}

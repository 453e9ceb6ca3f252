/* members_hostile_test - what strangers and liars can do to a gateway, and what they can not:
 * forged and repeated messages, names of others, room and work without end, silence on purpose. */
#include "members_world.h"

/* ---- Silence on purpose. */

/* Three proven nodes and six strangers report for so many seconds; or the proven ones alone. */
static void
report_for(struct bus_node nodes[9], unsigned seconds, bool strangers)
{
    unsigned taken = 0, count = strangers ? 9 : 3;

    for (unsigned s = 0; s < seconds; s++) {
        for (unsigned i = 0; i < count; i++)
            taken += report_verdict_is_taken(report(&nodes[i], false));
        pass(SECOND_NS);
    }
    CHECK(taken == seconds * count, "reports");
}

/* After a look at all nodes. */
static bool
doubts_itself(void)
{
    const struct event event = {.kind = EVENT_TICK};
    struct actions actions;

    for (unsigned i = 0; i < 200; i++)
        decide_step(gateway->door, &event, &actions);
    return decide_suspects_itself(gateway->door);
}

/* Strangers do not make the gateway doubt itself. */
static void
test_doubt(void)
{
    struct bus_node nodes[9];

    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    for (unsigned i = 0; i < 9; i++) {
        nodes[i] = new_node(50 + i);
        nodes[i].operator_secret = i < 3 ? &operator_secret : NULL;
        join(&nodes[i]);
    }
    report_for(nodes, 3, true);
    report_for(nodes, 12, false);
    CHECK(!doubts_itself(), "strangers fall silent: that is theirs");
    write_config("operators: {trust: []}\n");
    reload();
    report_for(nodes, 12, false);
    CHECK(doubts_itself(), "where all are strangers, six of nine are many");
    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    CHECK(hello(&nodes[0]) == REPORT_NEWS && look(&nodes[0]).proven, "one is proven again");
    report_for(nodes, 5, false);
    CHECK(!doubts_itself(), "and heard");
    write_config("engines: [{name: n50, url: \"%s\", kind: openai}]\n", nodes[0].url);
    reload();
    report_for(nodes, 5, false);
    CHECK(!look(&nodes[0]).proven && !doubts_itself(),
          "one that the configuration names is enough");
    for (unsigned i = 0; i < 9; i++)
        leave(&nodes[i]);
    write_config("models: {other: {}}\n");
    reload();
}

/* ---- Over HTTP anybody can say anything. */

static void
test_forged(void)
{
    struct bus_node n = new_node(7);
    char text[MESSAGE_BYTES_MAX];
    struct members_answer answer;
    struct members_message message = {
        .kind = MEMBERS_HELLO, .name = span_of(n.name), .is_public = true};
    bool good = true;

    join(&n);
    bus_node_begin_life(&n);
    for (uint32_t i = 0; i < 2 * REPORT_SIGNED_PER_MINUTE_MAX; i++) {
        message.body = (struct span){text, bus_node_hello_text(&n, text)};
        message.kind = MEMBERS_HELLO;
        text[message.body.bytes - 4] ^= 1; /* of the signature */
        members_take(members(), &message, &answer);
        good = good && answer.verdict == REPORT_BAD_SIGNATURE;
        n.epoch--; /* the life that is known */
        message.kind = MEMBERS_GONE;
        message.body.bytes = bus_node_gone_text(&n, text);
        text[message.body.bytes - 4] ^= 1;
        members_take(members(), &message, &answer);
        good = good && answer.verdict == REPORT_BAD_SIGNATURE;
        n.epoch++;
    }
    CHECK(good, "what is forged is refused");
    message.kind = MEMBERS_HELLO;
    message.body.bytes = bus_node_hello_text(&n, text);
    members_take(members(), &message, &answer);
    CHECK(answer.verdict == REPORT_NEWS, "and does not mute the node");
    leave(&n);
}

static uint32_t
say_public(enum members_kind kind, const struct bus_node *n, const char *text, size_t bytes)
{
    struct members_answer answer;
    const struct members_message message = {
        .kind = kind, .name = span_of(n->name), .body = {text, bytes}, .is_public = true};

    members_take(members(), &message, &answer);
    return answer.verdict;
}

static uint32_t
hello_public(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];

    return say_public(MEMBERS_HELLO, n, text, bus_node_hello_text(n, text));
}

/* Its hello was heard by somebody, who says it again and again. */
static void
test_said_again(void)
{
    struct bus_node n = new_node(20);
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;
    bool repeated = true;

    join(&n);
    pass(SECOND_NS);
    bytes = bus_node_hello_text(&n, text);
    CHECK(say_public(MEMBERS_HELLO, &n, text, bytes) == REPORT_NEWS, "a hello");
    for (uint32_t i = 0; i < 2 * REPORT_SIGNED_PER_MINUTE_MAX; i++)
        repeated = repeated && say_public(MEMBERS_HELLO, &n, text, bytes) == REPORT_REPEATED;
    CHECK(repeated, "is no news any more");
    bytes = bus_node_chain_text(&n, text);
    CHECK(say_public(MEMBERS_CHAIN, &n, text, bytes) == REPORT_NEWS,
          "and takes none of what the node may say");
    bus_node_begin_life(&n);
    CHECK(hello_public(&n) == REPORT_NEWS, "not when it starts anew, either");
    leave(&n);
}

static void
test_clock(void)
{
    struct bus_node n = new_node(21);

    n.clock_s = -3600;
    CHECK(hello_public(&n) == MEMBERS_CLOCK && was_refused(&n, MEMBERS_CLOCK, "3600 s old"),
          "over HTTP a hello that was kept is refused, and by how much is said");
    n.clock_s = 3600;
    CHECK(hello_public(&n) == MEMBERS_CLOCK && was_refused(&n, MEMBERS_CLOCK, "3600 s ahead"),
          "so is one of tomorrow");
    n.clock_s = -(int64_t)SIGNATURE_CLOCK_SKEW_S_MAX;
    CHECK(hello_public(&n) == REPORT_NEWS, "honest clocks differ");
    n.clock_s = 3600;
    CHECK(hello(&n) == REPORT_NEWS, "where the way vouches for the name a clock is no matter");
    leave(&n);
}

/* A stranger with a key of his own shows the name of a node of the configuration. */
static void
test_taken_name(void)
{
    struct bus_node n = new_node(22), own = new_node(22), early = new_node(23);

    write_config("operators: {trust: [\"%s\"]}\n"
                 "engines: [{name: n22, url: \"http://127.0.0.1:2\", kind: openai}]\n",
                 operator_key);
    reload();
    CHECK(hello_public(&n) == MEMBERS_TAKEN_NAME && !look(&n).is_member &&
              was_refused(&n, MEMBERS_TAKEN_NAME, "operators.trust"),
          "it does not become it, nor speak for it");
    own.operator_secret = &operator_secret;
    signature_secret_of_seed((const unsigned char[SIGNATURE_SEED_BYTES]){99}, &own.secret);
    CHECK(hello_public(&own) == REPORT_NEWS, "one does for whom an operator vouches");
    gather();
    CHECK(look(&own).is_configured && look(&own).proven,
          "it is that node, also before it reports: who has just come is not silent");
    leave(&own);
    CHECK(hello(&n) == REPORT_NEWS, "so does one for which the bus vouches");
    pass(SECOND_NS);
    CHECK(hello_public(&n) == REPORT_NEWS, "over HTTP, too, since its key is known from there");
    leave(&n);
    CHECK(hello_public(&early) == REPORT_NEWS, "a stranger is there first");
    gather();
    CHECK(models_of(&early) == 0, "as a node");
    write_config("engines: [{name: n23, url: \"http://127.0.0.1:2\", kind: openai}]\n");
    reload();
    CHECK(look(&early).gone && was_refused(&early, MEMBERS_TAKEN_NAME, "engines"),
          "and goes when the configuration gives the name to a node of its own");
    write_config("models: {other: {}}\n");
    reload();
}

/* Who says a lot of pages, and never the last. */
static uint32_t
hoard(struct bus_node *n, unsigned pages)
{
    char model[256];
    uint32_t taken = 0;

    for (unsigned i = 1; i <= pages; i++) {
        snprintf(model, sizeof(model), "%u-%0240u", i, 1u);
        taken += report_verdict_is_taken(page(n, i, REPORT_PAGES_MAX, model));
    }
    return taken;
}

static void
test_hoard(void)
{
    struct bus_node n = new_node(24), honest = new_node(25), proven = new_node(26);
    uint32_t bytes;

    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    CHECK(hello(&n) == REPORT_NEWS && hoard(&n, 100) == 100, "a hundred pages of a thousand");
    CHECK(members()->change_count == MEMBERS_PAGES_MAX, "few are kept");
    pass(MEMBERS_PAGES_NS + 10 * SECOND_NS);
    CHECK(members()->change_count == 0 && members()->change_bytes == 0 &&
              members()->page_bytes == 0,
          "and not for long");
    CHECK(page(&n, 101, REPORT_PAGES_MAX, "late") == REPORT_NEWS && members()->change_count == 0,
          "what comes then has no beginning");
    bytes = members()->page_bytes = MEMBERS_PAGE_BYTES_MAX; /* thousands do so */
    CHECK(hello(&honest) == REPORT_NEWS && page(&honest, 1, 2, "a") == REPORT_NEWS &&
              members()->change_count == 0,
          "then there is no room for pages of another stranger");
    CHECK(report_verdict_is_taken(page(&honest, 1, 1, "b")), "but for what is whole");
    gather();
    CHECK(serves(&honest, "b"), "which is heard");
    proven.operator_secret = &operator_secret;
    CHECK(hello(&proven) == REPORT_NEWS && page(&proven, 1, 2, "c") == REPORT_NEWS &&
              page(&proven, 2, 2, "d") == REPORT_NEWS,
          "nodes of trusted operators have room of their own");
    gather();
    CHECK(serves(&proven, "c") && serves(&proven, "d"), "and are heard");
    CHECK(members()->page_bytes == bytes, "nothing else was counted");
    members()->page_bytes = 0;
    leave(&n);
    leave(&honest);
    leave(&proven);
}

/* In which region does the fleet have it? */
static bool
is_in(const struct bus_node *n, const char *region)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    const struct roster_node *node = roster_find(fleet->roster, span_of(n->name));
    bool is = node != NULL && span_eq_text(fleet->roster->regions.list[node->region], region);

    fleet_unref(fleet);
    return is;
}

/* Regions are few, and none is ever forgotten. */
static void
test_places(void)
{
    struct bus_node strangers[CORE_REGIONS_MAX + 6], proven = new_node(399);
    unsigned count = sizeof(strangers) / sizeof(strangers[0]), own = 0;

    for (unsigned i = 0; i < count; i++) {
        strangers[i] = new_node(300 + i);
        snprintf(strangers[i].region, sizeof(strangers[i].region), "region-%u", i);
        CHECK(hello(&strangers[i]) == REPORT_NEWS, "a stranger of a region of its own");
    }
    gather();
    for (unsigned i = 0; i < count; i++)
        own += is_in(&strangers[i], strangers[i].region);
    CHECK(own > 0 && own < CORE_REGIONS_MAX / 2, "some are where they say to be");
    CHECK(is_in(&strangers[count - 1], "local"), "the others count as near us");
    proven.operator_secret = &operator_secret;
    snprintf(proven.region, sizeof(proven.region), "eu-west");
    CHECK(hello(&proven) == REPORT_NEWS, "a node of a trusted operator comes");
    gather();
    CHECK(is_in(&proven, "eu-west"), "for its region there is room");
    for (unsigned i = 0; i < count; i++)
        leave(&strangers[i]);
    leave(&proven);
}

/* ---- Strangers take all the room there is. */

/* From one address. */
static void
test_address(void)
{
    struct bucket bucket = {0};
    char text[MESSAGE_BYTES_MAX];
    struct members_answer answer;
    struct members_message message = {
        .kind = MEMBERS_HELLO, .is_public = true, .strangers = &bucket};
    struct bus_node n[6];
    uint64_t wait_ns;

    must(bucket_take(&bucket, MEMBERS_ADDRESS_STRANGERS_MAX, MEMBERS_ADDRESS_STRANGERS_MAX - 3,
                     clock_now_ns(), &wait_ns));
    for (unsigned i = 0; i < 6; i++) {
        n[i] = new_node(40 + i);
        n[i].operator_secret = i == 5 ? &operator_secret : NULL;
        message.name = span_of(n[i].name);
        message.body = (struct span){text, bus_node_hello_text(&n[i], text)};
        members_take(members(), &message, &answer);
        CHECK(answer.verdict == (i < 3 || i == 5 ? REPORT_NEWS : MEMBERS_BUSY_ADDRESS),
              "so many that nobody knows come from there, and all who are vouched for");
    }
    for (unsigned i = 0; i < 3; i++)
        leave(&n[i]);
    leave(&n[5]);
}

/* Hellos that nobody signed, each under another name. */
static void
test_strangers(void)
{
    struct bus_node n = new_node(27), known = new_node(28);
    char text[MESSAGE_BYTES_MAX];
    uint32_t heard = 0;
    uint64_t wait_ns;
    size_t bytes;

    join(&known);
    must(bucket_take(&members()->strangers_heard, MEMBERS_STRANGERS_PER_MINUTE_MAX,
                     MEMBERS_STRANGERS_PER_MINUTE_MAX - 100, clock_now_ns(), &wait_ns));
    for (unsigned i = 0; i < 200; i++) {
        snprintf(n.name, sizeof(n.name), "forged-%u", i);
        bytes = bus_node_hello_text(&n, text);
        text[bytes - 4] ^= 1; /* of the signature */
        heard += say(MEMBERS_HELLO, &n, text, bytes) == REPORT_BAD_SIGNATURE;
    }
    CHECK(heard <= 100 && heard >= 90, "no more signatures are looked at than all may cost");
    CHECK(say(MEMBERS_HELLO, &n, text, bytes) == REPORT_TOO_OFTEN, "then they are refused unseen");
    pass(SECOND_NS);
    bus_node_begin_life(&known);
    CHECK(hello(&known) == REPORT_NEWS, "who is known is heard all the same");
    pass(60 * SECOND_NS);
    leave(&known);
}

/* ---- A flood, which is not even read where a subject says whose it is. */

static uint32_t
say_on_bus(enum members_kind kind, const struct bus_node *n, struct span body)
{
    struct members_answer answer;
    const struct members_message message = {
        .kind = kind, .name = span_of(n->name), .body = body, .is_by_subject = true};

    members_take(members(), &message, &answer);
    return answer.verdict;
}

static uint32_t
report_on_bus(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];

    return say_on_bus(MEMBERS_REPORT, n, (struct span){text, bus_node_report_text(n, false, text)});
}

static void
test_flood(void)
{
    struct bus_node loud = new_node(60), other = new_node(61), named = new_node(62);
    const struct span garbage = SPAN_LIT("{\"v\":1");
    uint32_t read = 0, unread = 0, public = 0;

    join(&loud);
    join(&other);
    join(&named);
    for (uint32_t i = 0; i < 2 * REPORT_READ_PER_MINUTE_MAX; i++) {
        uint32_t verdict = say_on_bus(i % 4 /* each kind */, &loud, garbage);
        read += verdict == MEMBERS_MALFORMED;
        unread += verdict == REPORT_TOO_OFTEN;
        public += say_public(i % 4, &named, garbage.data, garbage.bytes) == MEMBERS_MALFORMED;
    }
    CHECK(read == REPORT_READ_PER_MINUTE_MAX && unread == REPORT_READ_PER_MINUTE_MAX,
          "so much is read under a name, and no more");
    CHECK(report_on_bus(&loud) == REPORT_TOO_OFTEN && look(&loud).refused >= read + unread,
          "nor what would be good");
    CHECK(report_on_bus(&other) == REPORT_NEWS, "others are heard");
    CHECK(public == 2 * REPORT_READ_PER_MINUTE_MAX && report_on_bus(&named) == REPORT_NEWS,
          "a name over HTTP is anybody's word: it uses up nothing of the node's");
    pass(SECOND_NS);
    CHECK(report_verdict_is_taken(report_on_bus(&loud)), "a second later it is heard again");
    leave(&loud);
    leave(&other);
    leave(&named);
}

static uint64_t
strangers_left(void)
{
    return bucket_look(&members()->strangers_heard, MEMBERS_STRANGERS_PER_MINUTE_MAX,
                       clock_now_ns())
        .left;
}

/* The same under names that nobody has. */
static void
test_flood_of_names(void)
{
    struct bus_node n = new_node(63), late = new_node(64);
    const struct span garbage = SPAN_LIT("{\"v\":1");
    char text[MESSAGE_BYTES_MAX];
    uint32_t read = 0;
    uint64_t wait_ns, before, left;

    for (enum members_kind kind = 0; kind < MEMBERS_KIND_COUNT; kind++)
        read += say_on_bus(kind, &n, garbage) == MEMBERS_MALFORMED;
    CHECK(read == 1 && report_on_bus(&n) == REPORT_UNANNOUNCED,
          "of who is unknown nothing but a hello is read");
    pass(60 * SECOND_NS);
    must(bucket_take(&members()->strangers_heard, MEMBERS_STRANGERS_PER_MINUTE_MAX,
                     MEMBERS_STRANGERS_PER_MINUTE_MAX - 11, clock_now_ns(), &wait_ns));
    before = strangers_left();
    CHECK(say_on_bus(MEMBERS_HELLO, &late, (struct span){text, bus_node_hello_text(&late, text)}) ==
              REPORT_NEWS,
          "a hello");
    left = strangers_left();
    CHECK(left == before - 1, "is counted once");
    for (uint32_t i = read = 0; i < 20; i++) {
        snprintf(n.name, sizeof(n.name), "garbage-%u", i);
        read += say_on_bus(MEMBERS_HELLO, &n, garbage) == MEMBERS_MALFORMED;
    }
    CHECK(left < 20 && read == left, "so many of all of them together");
    CHECK(report_verdict_is_taken(report_on_bus(&late)), "who is known by then is heard");
    leave(&late);
    pass(60 * SECOND_NS);
}

/* ---- Strangers take all the room there is: who is there. */

static void
fill(uint32_t count)
{
    char name[32];

    members_lock(members());
    while (members()->table.count < count) {
        struct member *m;
        snprintf(name, sizeof(name), "stranger-%u", members()->table.count);
        m = member_add(&members()->table, span_of(name));
        must(m != NULL);
        m->heard_ns = clock_now_ns() - members()->table.count % 1000 * SECOND_NS / 1000;
    }
    members_unlock(members());
}

static bool
is_there(const char *name)
{
    return member_find(&members()->table, span_of(name)) != NULL;
}

static void
test_room(void)
{
    struct bus_node stranger = new_node(9), silent = new_node(10), proven[3];
    uint32_t room = gateway->nodes_max - gateway->members_first;
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    for (unsigned i = 0; i < 3; i++) {
        proven[i] = new_node(11 + i);
        proven[i].operator_secret = &operator_secret;
    }
    join(&silent);
    member_find(&members()->table, span_of(silent.name))->heard_ns = 1;
    fill(room - 1);
    CHECK(hello(&proven[0]) == REPORT_NEWS && members()->table.count == room &&
              is_there(silent.name),
          "the last place is a place");
    fill(MEMBERS_MAX);
    CHECK(hello(&stranger) == MEMBERS_TABLE_FULL, "a stranger finds none");
    bytes = bus_node_hello_text(&proven[1], text);
    text[bytes - 4] ^= 1; /* of the signature */
    CHECK(say(MEMBERS_HELLO, &proven[1], text, bytes) == REPORT_BAD_SIGNATURE &&
              is_there(silent.name) && members()->table.count == MEMBERS_MAX,
          "nor does who copied the record of a proven one");
    CHECK(hello(&proven[1]) == REPORT_NEWS && is_there(proven[1].name) && !is_there(silent.name) &&
              members()->table.count == MEMBERS_MAX,
          "a proven one takes the place of the unproven one that was silent longest");
    CHECK(was_refused(&silent, MEMBERS_TABLE_FULL, "trusted operator"), "and people see why");
    CHECK(hello(&proven[2]) == REPORT_NEWS && !is_there("stranger-998") &&
              is_there(proven[0].name) && is_there(proven[1].name),
          "the next one takes the next, and none that is proven");
    gather();
    CHECK(models_of(&silent) == -1 && models_of(&proven[1]) == 0 && models_of(&proven[2]) == 0,
          "in the fleet, too");
    members_lock(members());
    member_remove(&members()->table, member_find(&members()->table, SPAN_LIT("stranger-5000")));
    members_unlock(members());
    CHECK(hello(&stranger) == REPORT_NEWS && members()->table.count == MEMBERS_MAX,
          "where one left a stranger finds it");
}

int
main(void)
{
    open_gateway();
    test_doubt();
    test_forged();
    test_said_again();
    test_clock();
    test_taken_name();
    test_hoard();
    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    test_places();
    test_address();
    test_strangers();
    test_flood();
    test_flood_of_names();
    test_room();
    gateway_close(gateway);
    return tap_done();
}

/* bus_test - what holds for every bus, tried on the one within a process: subjects, who hears what,
 * requests and what becomes of them, slow callbacks, and the end. */
#include "io/bus.h"

#include <stdatomic.h>

#include "bus_box.h"
#include "bus_local.h"
#include "io/bus_core.h"
#include "patience.h"
#include "tap.h"

#define SHORT_NS 20000000u
#define LONG_NS  60000000000u

static void
check_names(void)
{
    static const struct {
        const char *text;
        bool subject, pattern;
    } rows[] = {
        {"iso.report.eu.a-1", true, true},
        {"gw1", true, true},
        {"_INBOX.a.0f_Z", true, true},
        {"iso.*.a", false, true},
        {"iso.>", false, true},
        {"*", false, true},
        {">", false, true},
        {"iso.>.a", false, false},
        {"iso.a*", false, false},
        {"", false, false},
        {".", false, false},
        {"iso.", false, false},
        {".iso", false, false},
        {"iso..a", false, false},
        {"iso. a", false, false},
        {"iso.a\r\nPUB iso.b 0", false, false},
        {"iso.caf\xc3\xa9", false, false},
        {"Gw1", true, true},
        {"gw_1", true, true},
    };
    static const struct {
        const char *pattern, *subject;
        bool match;
    } pairs[] = {
        {"iso.report.>", "iso.report.eu.a", true},
        {"iso.report.>", "iso.report", false},
        {"iso.*.a", "iso.hello.a", true},
        {"iso.*.a", "iso.hello.b", false},
        {"iso.*", "iso.hello.a", false},
        {"iso.hello.a", "iso.hello", false},
        {"iso.hello", "iso.hello", true},
        {">", "a.b", true},
        {"*", "a", true},
        {"a.*", "ab.c", false},
    };
    char text[80];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span s = span_of(rows[i].text);

        snprintf(text, sizeof(text), "subject, pattern: `%.40s`", rows[i].text);
        for (char *c = text; *c != '\0'; c++)
            *c = *c < ' ' || *c > '~' ? '?' : *c;
        CHECK(bus_is_subject(s) == rows[i].subject && bus_is_pattern(s) == rows[i].pattern, text);
    }
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        snprintf(text, sizeof(text), "%s and %s", pairs[i].pattern, pairs[i].subject);
        CHECK(bus_matches(span_of(pairs[i].pattern), span_of(pairs[i].subject)) == pairs[i].match,
              text);
    }
}

static void
check_messages(struct bus *bus)
{
    static char large[BUS_BODY_BYTES_MAX + 1];
    struct bus_box all = BUS_BOX_INIT, some = BUS_BOX_INIT;
    struct bus_state state;

    memset(large, 'x', sizeof(large));
    CHECK(bus_subscribe(bus, SPAN_LIT("iso.report.>"), bus_box_message, &all) == ERR_OK &&
              bus_subscribe(bus, SPAN_LIT("iso.*.eu.a"), bus_box_message, &some) == ERR_OK,
          "two patterns");
    CHECK(bus_subscribe(bus, SPAN_LIT("iso report"), bus_box_message, &all) == ERR_ARG,
          "no pattern");
    CHECK(bus_publish(bus, SPAN_LIT("iso.report.eu.b"), SPAN_LIT("1")) == ERR_OK &&
              bus_publish(bus, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("2")) == ERR_OK &&
              bus_publish(bus, SPAN_LIT("iso.gone.a"), SPAN_LIT("3")) == ERR_OK,
          "three messages");
    CHECK(BUS_BOX_WAIT(&all, all.messages == 2 && strcmp(all.body, "2") == 0 &&
                                 strcmp(all.subject, "iso.report.eu.a") == 0),
          "one pattern hears two, in order");
    CHECK(BUS_BOX_WAIT(&some, some.messages == 1), "the other one hears one");
    CHECK(bus_publish(bus, SPAN_LIT("iso.report.*"), SPAN_LIT("")) == ERR_ARG,
          "nothing is sent to a pattern");
    CHECK(bus_publish(bus, SPAN_LIT("iso.report.a"), (struct span){large, sizeof(large)}) ==
              ERR_ARG,
          "a body over the limit");
    CHECK(bus_publish(bus, SPAN_LIT("iso.report.a"), (struct span){large, sizeof(large) - 1}) ==
              ERR_OK,
          "one at the limit");
    CHECK(BUS_BOX_WAIT(&all, all.body_bytes == BUS_BODY_BYTES_MAX), "arrives whole");
    bus_read_state(bus, &state);
    CHECK(state.connected && state.published == 4 && state.received == 4 &&
              state.dropped_in + state.dropped_out == 0,
          "the counts");
}

static void
check_requests(struct bus *bus)
{
    struct bus_box node = BUS_BOX_INIT, mute = BUS_BOX_INIT, asker = BUS_BOX_INIT;
    unsigned good = 0;

    node.bus = bus;
    CHECK(bus_subscribe(bus, SPAN_LIT("iso.ctl.a"), bus_box_message, &node) == ERR_OK &&
              bus_subscribe(bus, SPAN_LIT("iso.ctl.mute"), bus_box_message, &mute) == ERR_OK,
          "two that hear orders");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.a"), SPAN_LIT("load"), LONG_NS, bus_box_answer,
                      &asker) == ERR_OK &&
              BUS_BOX_WAIT(&asker, asker.answers == 1 && asker.err == ERR_OK &&
                                       strcmp(asker.body, "load") == 0),
          "a request is answered");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.nobody"), SPAN_LIT(""), LONG_NS, bus_box_answer,
                      &asker) == ERR_OK &&
              BUS_BOX_WAIT(&asker, asker.answers == 2 && asker.err == ERR_NOT_FOUND),
          "nobody listens, and that is said at once");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.mute"), SPAN_LIT(""), SHORT_NS, bus_box_answer,
                      &asker) == ERR_OK &&
              BUS_BOX_WAIT(&asker, asker.answers == 3 && asker.err == ERR_TIMEOUT) &&
              BUS_BOX_WAIT(&mute, mute.messages == 1),
          "no answer in time");
    CHECK(bus_reply(bus, span_of(mute.reply), SPAN_LIT("late")) == ERR_OK, "it comes too late");
    CHECK(bus_reply(bus, SPAN_LIT("iso.report.eu.a"), SPAN_LIT("{}")) == ERR_ARG &&
              bus_reply(bus, SPAN_LIT("_INBOX.*"), SPAN_LIT("{}")) == ERR_ARG,
          "an answer goes nowhere else");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.a"), SPAN_LIT(""), 0, bus_box_answer, &asker) ==
              ERR_ARG,
          "no time at all");
    while (good <= BUS_REQUESTS_MAX && bus_request(bus, SPAN_LIT("iso.ctl.mute"), SPAN_LIT(""),
                                                   LONG_NS, bus_box_answer, &asker) == ERR_OK)
        good++;
    CHECK(good == BUS_REQUESTS_MAX, "so many requests, and no more");
    CHECK(asker.answers == 3, "what came too late was heard by nobody");
    bus_close(bus);
    CHECK(asker.answers == 3 + BUS_REQUESTS_MAX && asker.err == ERR_CLOSED,
          "those under way end with the bus");
}

/* What a callback can do: it asks again, and leaves. */
struct again {
    struct bus *bus;
    struct bus_box box;
    unsigned times;
};

static void
ask_again(enum err err, struct span body, void *user)
{
    struct again *a = user;

    if (++a->times < 5)
        must(bus_request(a->bus, SPAN_LIT("iso.ctl.mute"), SPAN_LIT(""), SHORT_NS, ask_again, a) ==
             ERR_OK);
    else
        bus_box_answer(err, body, &a->box);
}

static void
check_slow(struct bus *bus)
{
    struct bus_box slow = BUS_BOX_INIT, other = BUS_BOX_INIT;
    struct again again = {.bus = bus, .box = BUS_BOX_INIT};
    struct bus_state state;
    char body[16];

    slow.held = true;
    CHECK(bus_subscribe(bus, SPAN_LIT("a"), bus_box_message, &slow) == ERR_OK &&
              bus_subscribe(bus, SPAN_LIT("b"), bus_box_message, &other) == ERR_OK &&
              bus_subscribe(bus, SPAN_LIT("iso.ctl.mute"), bus_box_message, &other) == ERR_OK,
          "one that is slow");
    CHECK(bus_publish(bus, SPAN_LIT("a"), SPAN_LIT("x")) == ERR_OK &&
              BUS_BOX_WAIT(&slow, slow.inside),
          "it is busy");
    for (unsigned i = 0; i < BUS_PENDING_MESSAGES_MAX + 100; i++) {
        snprintf(body, sizeof(body), "%u", i);
        must(bus_publish(bus, SPAN_LIT("a"), span_of(body)) == ERR_OK);
    }
    must(bus_publish(bus, SPAN_LIT("b"), SPAN_LIT("y")) == ERR_OK);
    bus_read_state(bus, &state);
    CHECK(state.dropped_in == 100, "what is over the limit is dropped and counted");
    bus_box_lock(&slow);
    slow.held = false;
    bus_box_unlock(&slow);
    CHECK(BUS_BOX_WAIT(&other, other.messages == 1), "others lost nothing");
    CHECK(BUS_BOX_WAIT(&slow, slow.messages == BUS_PENDING_MESSAGES_MAX + 1 &&
                                  strcmp(slow.body, body) == 0),
          "the oldest were, not the newest");
    CHECK(bus_request(bus, SPAN_LIT("iso.ctl.mute"), SPAN_LIT(""), SHORT_NS, ask_again, &again) ==
                  ERR_OK &&
              BUS_BOX_WAIT(&again.box, again.box.answers == 1),
          "requests out of callbacks");
    bus_close(bus);
}

struct closing {
    struct bus *bus;
    _Atomic bool closed;
};

static void *
close_it(void *arg)
{
    struct closing *c = arg;

    bus_close(c->bus);
    atomic_store(&c->closed, true);
    return NULL;
}

static void
check_close(void)
{
    struct bus_box box = BUS_BOX_INIT;
    struct closing c = {.bus = NULL};
    uint64_t until_s = 0;
    pthread_t thread;

    must(bus_local_open(&c.bus) == ERR_OK);
    box.held = true;
    must(bus_subscribe(c.bus, SPAN_LIT("a"), bus_box_message, &box) == ERR_OK &&
         bus_publish(c.bus, SPAN_LIT("a"), SPAN_LIT("1")) == ERR_OK &&
         bus_publish(c.bus, SPAN_LIT("a"), SPAN_LIT("2")) == ERR_OK);
    CHECK(BUS_BOX_WAIT(&box, box.inside), "a callback runs");
    must(pthread_create(&thread, NULL, close_it, &c) == 0);
    while (!atomic_load(&c.bus->is_closing) && patience(&until_s))
        usleep(1000); /* when it is, nothing more is called; before, the second may be */
    CHECK(!atomic_load(&c.closed), "the bus is not closed before it returns");
    bus_box_lock(&box);
    box.held = false;
    bus_box_unlock(&box);
    must(pthread_join(thread, NULL) == 0);
    CHECK(box.messages == 1, "and what waited is called for no more");
}

int
main(void)
{
    struct bus *bus = NULL;
    struct bus_box box = BUS_BOX_INIT;
    unsigned count = 0;

    check_names();
    must(bus_local_open(&bus) == ERR_OK);
    check_messages(bus);
    while (bus_subscribe(bus, SPAN_LIT("z"), bus_box_message, &box) == ERR_OK)
        count++;
    CHECK(count == BUS_SUBSCRIPTIONS_MAX - 2, "so many subscriptions, and no more");
    bus_close(bus);
    must(bus_local_open(&bus) == ERR_OK);
    check_requests(bus);
    must(bus_local_open(&bus) == ERR_OK);
    check_slow(bus);
    check_close();
    bus_close(NULL);
    return tap_done();
}

/* members_test - who becomes a member and who is one no more, in a gateway whose time is the
 * test's: pages of a full report, silence, revoked keys, places where no node may be, reloads. */
#include "role/gateway/members.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/gateway.h"
#include "role/gateway/members_state.h"
#include "role/gateway/reload.h"
#include "scratch.h"
#include "tap.h"

#define SECOND_NS     UINT64_C(1000000000)
#define WAIT_MS       30000               /* a guard: for other threads */
#define POLL_PAUSE_NS (UINT64_C(1) << 60) /* nobody is asked: answers are the test's */
#define PORT          1u                  /* nobody is there */

/* ---- Time, instead of io/clock's. */

static _Atomic uint64_t now_ns = 1000 * SECOND_NS;

uint64_t
clock_now_ns(void)
{
    return atomic_load(&now_ns);
}

uint64_t
clock_wall_ms(void)
{
    return UINT64_C(1700000000000) + clock_now_ns() / 1000000u;
}

uint64_t
clock_wall_s(void)
{
    return clock_wall_ms() / 1000u;
}

uint64_t
clock_thread_cpu_ns(void)
{
    return 0;
}

/* ---- A gateway, on this thread. */

static struct gateway *gateway;
static char config_path[SCRATCH_PATH_BYTES + 32];
static struct signature_secret operator_secret;
static char operator_key[SIGNATURE_KEY_TEXT_SIZE];

static struct members *
members(void)
{
    return gateway->members;
}

/* So much time, in steps in which the gateway does what is due. */
static void
pass(uint64_t ns)
{
    const uint64_t step_ns = ns < 50 * SECOND_NS ? 20000000u : 5 * SECOND_NS;

    for (uint64_t gone_ns = 0; gone_ns < ns; gone_ns += step_ns) {
        atomic_fetch_add(&now_ns, step_ns);
        loop_pass(gateway->lanes[0].loop, 0);
        loop_pass(gateway->lanes[0].loop, 0);
    }
}

/* What joined or left is in the fleet. */
static void
gather(void)
{
    members()->gather_ns = 0;
    pass(200000000u);
}

static void write_config(const char *format, ...) PRINTF_LIKE(1, 2);
static void
write_config(const char *format, ...)
{
    FILE *file = fopen(config_path, "we");
    va_list list;

    must(file != NULL);
    fputs("listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n", file);
    va_start(list, format);
    vfprintf(file, format, list);
    va_end(list);
    must(fclose(file) == 0);
}

/* The configuration was written anew. */
static void
reload(void)
{
    uint64_t before = atomic_load(&gateway->reloads);

    reload_start(gateway->reload, NULL);
    for (int ms = 0; ms < WAIT_MS && atomic_load(&gateway->reloads) == before; ms++) {
        pass(1);
        usleep(1000);
    }
    CHECK(atomic_load(&gateway->reloads) == before + 1, "the configuration is read again");
    gather();
}

static uint32_t
say(enum members_kind kind, const struct bus_node *n, const char *text, size_t bytes)
{
    struct members_answer answer;
    const struct members_message message = {
        .kind = kind, .name = span_of(n->name), .body = {text, bytes}};

    members_take(members(), &message, &answer);
    return answer.verdict;
}

static uint32_t
hello(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];

    return say(MEMBERS_HELLO, n, text, bus_node_hello_text(n, text));
}

static uint32_t
report(struct bus_node *n, bool full)
{
    char text[MESSAGE_BYTES_MAX];

    return say(MEMBERS_REPORT, n, text, bus_node_report_text(n, full, text));
}

static void
join(struct bus_node *n)
{
    CHECK(hello(n) == REPORT_NEWS, "a hello");
    CHECK(report_verdict_is_taken(report(n, true)), "a full report");
    gather();
}

static void
leave(struct bus_node *n)
{
    members_lock(members());
    members_end(members(), member_find(&members()->table, span_of(n->name)), REPORT_IS_GONE,
                "test");
    members_unlock(members());
    gather();
}

/* ---- Looking at it. */

/* How many models the node has; -1: it is no node. */
static int
models_of(const struct bus_node *n)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    const struct roster_node *node = roster_find(fleet->roster, span_of(n->name));
    int count = node != NULL ? (int)fleet_served(fleet, node->index)->count : -1;

    fleet_unref(fleet);
    return count;
}

static bool
serves(const struct bus_node *n, const char *model)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    const struct roster_node *node = roster_find(fleet->roster, span_of(n->name));
    bool is_there =
        node != NULL &&
        fleet_engine_name(fleet, node->index, fleet_model_find(fleet, span_of(model))).bytes > 0;

    fleet_unref(fleet);
    return is_there;
}

static struct member_look
look(const struct bus_node *n)
{
    struct member_look l;

    members_look(members(), span_of(n->name), &l);
    return l;
}

/* Was it refused for this reason last, in these words? */
static bool
was_refused(const struct bus_node *n, uint32_t verdict, const char *words)
{
    struct members_refused list[MEMBERS_REFUSED_MAX];
    uint32_t count = members_refused(members(), list);

    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, n->name) == 0)
            return list[i].verdict == verdict && strstr(list[i].words, words) != NULL;
    }
    return false;
}

static struct bus_node
new_node(unsigned number)
{
    struct bus_node n;

    bus_node_init(&n, NULL, number, PORT);
    n.model = "m";
    return n;
}

/* ---- Full reports in pages. */

static uint32_t
page(struct bus_node *n, unsigned place, unsigned pages, const char *model)
{
    char text[MESSAGE_BYTES_MAX];
    struct report r;
    size_t bytes;

    report_init(&r);
    r.node = span_of(n->name);
    r.epoch = n->epoch;
    r.seq = ++n->seq;
    r.at_us = n->seq;
    r.full = pages > 0;
    if (pages > 0) {
        r.page = place;
        r.pages = pages;
    }
    r.models[0].id = span_of(model);
    r.models[0].state = MODEL_READY;
    r.models[0].ready_in_ms = 0.0;
    r.models[0].bytes = MESSAGE_UNKNOWN;
    r.model_count = 1;
    must(report_write(&r, text, &bytes) == ERR_OK);
    return say(MEMBERS_REPORT, n, text, bytes);
}

static void
test_pages(void)
{
    struct bus_node n = new_node(1);

    CHECK(hello(&n) == REPORT_NEWS, "a hello");
    CHECK(page(&n, 1, 3, "a") == REPORT_NEWS && page(&n, 2, 3, "b") == REPORT_NEWS, "two pages");
    gather();
    CHECK(models_of(&n) == 0, "two of three pages are nothing");
    CHECK(page(&n, 3, 3, "c") == REPORT_NEWS, "the third");
    gather();
    CHECK(models_of(&n) == 3, "with it all are there");
    CHECK(page(&n, 1, 2, "b") == REPORT_NEWS, "the next full report begins");
    gather();
    CHECK(models_of(&n) == 3 && serves(&n, "a"), "what it may lack stays until it is whole");
    CHECK(page(&n, 2, 2, "c") == REPORT_NEWS, "and ends");
    gather();
    CHECK(models_of(&n) == 2 && !serves(&n, "a") && serves(&n, "b"), "what is on none is gone");
    CHECK(page(&n, 1, 2, "d") == REPORT_NEWS && page(&n, 0, 0, "e") == REPORT_NEWS &&
              page(&n, 2, 2, "f") == REPORT_NEWS,
          "a delta between pages");
    gather();
    CHECK(models_of(&n) == 3 && serves(&n, "e") && !serves(&n, "d"),
          "is taken by itself, the pages are not");
    CHECK(member_find(&members()->table, span_of(n.name))->sender.wants_full, "all is wanted");
    pass(SECOND_NS); /* a hello of the same second is the same */
    CHECK(page(&n, 1, 2, "g") == REPORT_NEWS && hello(&n) == REPORT_NEWS, "a page, then a hello");
    n.epoch++;
    n.seq = 0;
    CHECK(hello(&n) == REPORT_NEWS && page(&n, 1, 1, "h") == REPORT_NEWS, "another life");
    gather();
    CHECK(models_of(&n) == 1 && serves(&n, "h"), "pages of the former one are forgotten");
    CHECK(members()->change_count == 0, "nothing waits any more");
    CHECK(page(&n, 1, 2, "i") == REPORT_NEWS && members()->change_count == 1, "but a page");
    members_lock(members());
    members()->is_changed = true;
    members_gather_soon(members());
    members_unlock(members());
    gather();
    CHECK(members()->change_count == 1, "which a gathering leaves");
    CHECK(page(&n, 1, 1, "h") == REPORT_NEWS, "all on one page instead");
    gather();
    CHECK(members()->change_count == 0 && models_of(&n) == 1, "is taken");
    leave(&n);
}

/* ---- Silence. */

static void
note_failures(const struct bus_node *n, uint8_t failures)
{
    struct fleet *fleet = decide_fleet(gateway->door);

    atomic_store(&gateway->node_failures[roster_find(fleet->roster, span_of(n->name))->index],
                 failures);
    fleet_unref(fleet);
}

static void
test_silence(void)
{
    const struct bus_nats_options nowhere = {.name = SPAN_LIT("gw"),
                                             .url = SPAN_LIT("nats://127.0.0.1:1")};
    struct bus_node n = new_node(2);

    join(&n);
    must(bus_nats_open(&nowhere, &members()->bus) == ERR_OK);
    note_failures(&n, 3);
    pass(MEMBERS_FORGET_NS + 60 * SECOND_NS);
    CHECK(models_of(&n) == 1, "without the bus nobody can say anything, and nobody is forgotten");
    bus_close(members()->bus);
    members()->bus = NULL;
    pass(10 * SECOND_NS);
    CHECK(models_of(&n) == -1, "who is silent for long and does not answer is forgotten");
    CHECK(was_refused(&n, REPORT_IS_GONE, "neither reports nor answers"), "and people see why");
    CHECK(report(&n, false) == REPORT_UNANNOUNCED, "when it reports again it is asked who it is");
    join(&n);
    CHECK(models_of(&n) == 1, "and is back, in the same life");
    note_failures(&n, 0);
    pass(MEMBERS_FORGET_NS + 60 * SECOND_NS);
    CHECK(models_of(&n) == 1, "who answers is not forgotten");
    CHECK(report(&n, false) == REPORT_NEWS, "it reports");
    note_failures(&n, 3);
    pass(MEMBERS_FORGET_NS - 60 * SECOND_NS);
    CHECK(models_of(&n) == 1, "a moment is not long");
    leave(&n);
    pass(MEMBERS_GONE_NS + 60 * SECOND_NS);
    CHECK(members()->table.count == 0, "names are not kept for ever");
}

/* ---- Trust. */

static void
test_trust(void)
{
    struct bus_node n = new_node(3);
    char key[SIGNATURE_KEY_TEXT_SIZE];
    struct signature_key public;

    signature_key_of_secret(&n.secret, &public);
    signature_key_text(&public, key);
    n.operator_secret = &operator_secret;
    join(&n);
    CHECK(!look(&n).proven && strstr(look(&n).why, "not among operators.trust") != NULL,
          "an operator whom nobody trusts yet");
    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    CHECK(report(&n, false) == REPORT_NEWS && !look(&n).proven, "its record is wanted again");
    CHECK(hello(&n) == REPORT_NEWS && look(&n).proven, "and proves it now");
    write_config("operators: {trust: []}\n");
    reload();
    CHECK(models_of(&n) == 1 && !look(&n).proven, "trusted no more: unproven at once");
    write_config("operators: {revoke: [\"%s\"]}\n", key);
    reload();
    CHECK(models_of(&n) == -1 && was_refused(&n, MEMBERS_REVOKED, "operators.revoke"),
          "its key is called back: it leaves at once");
    CHECK(report(&n, false) == REPORT_UNANNOUNCED && hello(&n) == REPORT_BAD_IDENTITY,
          "and does not come back");
    CHECK(was_refused(&n, REPORT_BAD_IDENTITY, "operators.revoke"), "which people see");
    write_config("operators: {revoke: [\"%s\"]}\n", operator_key);
    reload();
    CHECK(hello(&n) == REPORT_BAD_IDENTITY, "nor when its operator's is");
    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    join(&n);
    CHECK(models_of(&n) == 1 && look(&n).proven, "forgiven");
    member_find(&members()->table, span_of(n.name))->expires_s = clock_wall_s() + 5;
    pass(20 * SECOND_NS);
    CHECK(!look(&n).proven && strstr(look(&n).why, "expired") != NULL, "its record expires");
    leave(&n);
}

/* Nobody but nodes of trusted operators. */
static void
test_only(void)
{
    struct bus_node stranger = new_node(30), proven = new_node(31), named = new_node(32);

    join(&stranger);
    CHECK(models_of(&stranger) == 1, "a stranger is there");
    write_config("operators: {trust: [\"%s\"], only: true}\n"
                 "engines: [{name: n32, url: \"http://127.0.0.1:2\", kind: openai}]\n",
                 operator_key);
    reload();
    CHECK(models_of(&stranger) == -1 && was_refused(&stranger, MEMBERS_UNTRUSTED, "operators.only"),
          "and leaves when only others may be");
    CHECK(hello(&stranger) == MEMBERS_UNTRUSTED, "it does not come back");
    CHECK(hello(&named) == REPORT_NEWS, "one that the configuration names comes");
    proven.operator_secret = &operator_secret;
    join(&proven);
    CHECK(models_of(&proven) == 1 && look(&proven).proven, "so does a proven one");
    member_find(&members()->table, span_of(proven.name))->expires_s = clock_wall_s() + 5;
    pass(20 * SECOND_NS);
    CHECK(models_of(&proven) == -1 && was_refused(&proven, MEMBERS_UNTRUSTED, "operators.only"),
          "until its record expires");
    leave(&named);
    write_config("models: {other: {}}\n");
    reload();
}

/* ---- Places. */

static void
set_local(bool is_local)
{
    struct fleet *fleet = decide_fleet(gateway->door);

    ((struct roster *)(uintptr_t)roster_base(fleet->roster))->is_local = is_local;
    fleet_unref(fleet);
}

static uint32_t
hello_from(struct bus_node *n, const char *url)
{
    snprintf(n->url, sizeof(n->url), "%s", url);
    n->epoch++;
    n->seq = 0;
    pass(60 * SECOND_NS); /* so many lives a minute */
    return hello(n);
}

static void
test_places(void)
{
    struct bus_node n = new_node(4);

    write_config("operators: {trust: [\"%s\"]}\nbus: {http: true, reach: [10.1.0.0/16, \"::1\"]}\n",
                 operator_key);
    reload();
    set_local(false);
    CHECK(
        hello_from(&n, "http://127.0.0.1:4142") == MEMBERS_BAD_PLACE &&
            was_refused(&n, MEMBERS_BAD_PLACE, "127.0.0.1, which is no public address: bus.reach"),
        "this machine");
    CHECK(hello_from(&n, "http://169.254.169.254") == MEMBERS_BAD_PLACE, "a cloud's metadata");
    CHECK(hello_from(&n, "http://[::ffff:127.0.0.1]") == MEMBERS_BAD_PLACE, "in other clothes");
    CHECK(hello_from(&n, "http://10.0.0.1") == MEMBERS_BAD_PLACE &&
              was_refused(&n, MEMBERS_BAD_PLACE, "no trusted operator vouches"),
          "a private network, for a stranger");
    CHECK(members()->table.count == 0, "none of them is kept");
    CHECK(hello_from(&n, "http://10.1.2.3") == REPORT_NEWS, "one that may be reached");
    leave(&n);
    CHECK(hello_from(&n, "http://[::1]:1") == REPORT_NEWS, "this machine, too");
    leave(&n);
    CHECK(hello_from(&n, "http://8.8.8.8") == REPORT_NEWS, "a public one");
    leave(&n);
    n.operator_secret = &operator_secret;
    CHECK(hello_from(&n, "http://10.0.0.1") == REPORT_NEWS, "a private one by a trusted operator");
    leave(&n);
    CHECK(hello_from(&n, "http://127.0.0.1") == MEMBERS_BAD_PLACE, "this machine by nobody");
    write_config("bus: {reach: []}\n");
    reload();
    CHECK(hello_from(&n, "http://127.0.0.1") == MEMBERS_BAD_PLACE,
          "nor where a gateway on loopback has said so");
}

static void
wait_resolved(struct bus_node *n)
{
    for (int ms = 0; ms < WAIT_MS; ms++) {
        struct member *m;

        gather();
        members_lock(members());
        m = member_find(&members()->table, span_of(n->name));
        members_unlock(members());
        if (m == NULL || m->next == NULL)
            return;
        usleep(1000);
    }
}

static void
test_names(void)
{
    struct bus_node n = new_node(5);

    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    CHECK(hello_from(&n, "http://localhost:1") == REPORT_NEWS, "a name");
    wait_resolved(&n);
    CHECK(report(&n, true) == REPORT_NEWS, "and a report");
    gather();
    CHECK(models_of(&n) == 1, "it is looked up, then it is a node");
    leave(&n);
    set_local(false);
    CHECK(hello_from(&n, "http://localhost:1") == REPORT_NEWS, "where it leads is not known yet");
    wait_resolved(&n);
    CHECK(models_of(&n) == -1 && was_refused(&n, MEMBERS_BAD_PLACE, "which is no public address"),
          "this machine, by a name");
    set_local(true);
    CHECK(hello_from(&n, "http://no-such-host.invalid:1") == REPORT_NEWS, "a name that is none");
    wait_resolved(&n);
    CHECK(models_of(&n) == -1 && was_refused(&n, MEMBERS_BAD_PLACE, "has no address"), "is told");
}

/* Strangers whose servers of names take their time. */
static void
test_names_order(void)
{
    struct bus_node nodes[3];
    struct worker *worker = gateway->worker;

    gateway->worker = NULL; /* nothing is looked up yet */
    for (unsigned i = 0; i < 3; i++) {
        nodes[i] = new_node(33 + i);
        nodes[i].operator_secret = i == 2 ? &operator_secret : NULL;
        CHECK(hello_from(&nodes[i], "http://localhost:1") == REPORT_NEWS, "a name");
    }
    gather();
    CHECK(members()->resolving_count == 3 &&
              span_eq_text(members()->resolving[0]->node.name, nodes[2].name),
          "a proven one that comes last is looked up first");
    gateway->worker = worker;
    members_lock(members());
    members_gather_soon(members());
    members_unlock(members());
    for (unsigned i = 0; i < 3; i++) {
        wait_resolved(&nodes[i]);
        CHECK(report(&nodes[i], true) == REPORT_NEWS, "each is");
        leave(&nodes[i]);
    }
}

/* ---- The configuration names a member, and no more. */

static void
test_named(void)
{
    struct bus_node n = new_node(6);

    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    join(&n);
    CHECK(models_of(&n) == 1 && !look(&n).is_configured, "a member");
    write_config("engines: [{name: n6, url: \"%s\", kind: openai}]\n", n.url);
    reload();
    CHECK(models_of(&n) == 1 && look(&n).is_configured,
          "it is the configuration's, models and all");
    CHECK(report(&n, false) == REPORT_NEWS, "it goes on reporting");
    write_config("models: {other: {}}\n");
    reload();
    CHECK(models_of(&n) == 1 && !look(&n).is_configured, "it is a member again, at once");
    CHECK(report(&n, false) == REPORT_NEWS &&
              member_find(&members()->table, span_of(n.name))->is_in_core,
          "and heard");
    write_config("engines: [{name: n6, url: \"http://127.0.0.1:2\", kind: openai}]\n");
    reload();
    CHECK(models_of(&n) == 0, "at another place: nothing is known of its models");
    write_config("models: {other: {}}\n");
    reload();
    CHECK(models_of(&n) == 0 && member_find(&members()->table, span_of(n.name))->sender.wants_full,
          "back at its own: all is wanted");
    CHECK(report(&n, true) == REPORT_NEWS, "and told");
    gather();
    CHECK(models_of(&n) == 1, "it has its model");
    leave(&n);
}

/* ---- The clock was set back between our last life and this one. */

static void
test_old_acks(void)
{
    struct bus_node n = new_node(8);
    struct node_view view[CORE_VIEW_MAX];
    uint32_t index, next;

    snprintf(n.ack_gateway, sizeof(n.ack_gateway), "%s", gateway->name);
    n.ack = gateway->dispatch_base + 3600000; /* of then */
    join(&n);
    for (unsigned i = 0; i < 3; i++)
        CHECK(report_verdict_is_taken(report(&n, false)), "it counts what it got from us then");
    index = member_find(&members()->table, span_of(n.name))->index;
    CHECK(decide_view_nodes(gateway->door, index, view, &next) > 0 && view[0].node == index &&
              view[0].claims_broken[CLAIM_ACK] == 0,
          "which is no lie");
    n.ack++;
    CHECK(report_verdict_is_taken(report(&n, false)) &&
              decide_view_nodes(gateway->door, index, view, &next) > 0 &&
              view[0].claims_broken[CLAIM_ACK] == 1,
          "but it is one when it counts more");
    leave(&n);
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
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {7};
    struct gateway_options o = {.rule = -1, .seed = 1, .poll_ns = POLL_PAUSE_NS};
    struct signature_key public;
    char folder[SCRATCH_PATH_BYTES];

    log_set_level(LOG_ERROR);
    signature_secret_of_seed(seed, &operator_secret);
    signature_key_of_secret(&operator_secret, &public);
    signature_key_text(&public, operator_key);
    scratch_make("members", folder);
    snprintf(config_path, sizeof(config_path), "%s/gateway.yaml", folder);
    write_config("models: {other: {}}\n");
    o.config_path = config_path;
    must(roster_load(config_path, 0, NULL, &o.roster) == ERR_OK);
    must(gateway_open(&o, &gateway) == ERR_OK);
    test_pages();
    test_silence();
    test_trust();
    test_only();
    test_places();
    test_names();
    test_names_order();
    test_named();
    test_old_acks();
    test_forged();
    test_said_again();
    test_clock();
    test_taken_name();
    test_hoard();
    write_config("operators: {trust: [\"%s\"]}\n", operator_key);
    reload();
    test_address();
    test_strangers();
    test_room();
    gateway_close(gateway);
    return tap_done();
}

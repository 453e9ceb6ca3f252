/* members_test - who becomes a member and who is one no more, in a gateway whose time is the
 * test's: pages of a full report, silence, revoked keys, places where no node may be, reloads. */
#include "members_world.h"

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

int
main(void)
{
    open_gateway();
    test_pages();
    test_silence();
    test_trust();
    test_only();
    test_places();
    test_names();
    test_names_order();
    test_named();
    test_old_acks();
    gateway_close(gateway);
    return tap_done();
}

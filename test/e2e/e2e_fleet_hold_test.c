/* e2e_fleet_hold_test - two emulated engines with few places, and more who want them: who is held
 * goes in the order of classes when a place is free, and beyond what may be held newcomers are told
 * to come again, those of the lowest class first. Places are freed by clients who leave, so that
 * nothing depends on how fast anything is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e_fleet.h"
#include "e2e_page.h"
#include "tap.h"

#define NODES      2u
#define PLACES     (2u * NODES) /* a slot each, and one that may wait there */
#define HIGH       "x-gateway-inference-objective: high\r\n"
#define LOW        "x-gateway-inference-objective: low\r\n"
#define LONG       4000u /* tokens: more than anybody waits for */
#define FIRST_WORD "\"content\":\" "

static struct e2e_gateway gateway;
static char *body;

static int
ask(const char *headers)
{
    return e2e_open_request(gateway.port, "/v1/chat/completions", headers, body);
}

/* The first word of its answer came, so it is at a node. */
static bool
started(int fd)
{
    return e2e_read_until(fd, FIRST_WORD);
}

static bool
heard_nothing(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static void
held_become(unsigned count)
{
    char line[64];

    snprintf(line, sizeof(line), "isochrone_requests_held %u\n", count);
    CHECK(e2e_metric(&gateway, line), "so many are held");
}

/* No more are held: told so, with a time to come again. */
static void
check_refused(const char *headers, const char *counted)
{
    struct e2e_reply reply, why;

    e2e_ask(gateway.port, "POST", "/v1/chat/completions", headers, body, &reply);
    CHECK(reply.status == 429 && reply.whole, "turned away");
    CHECK(strstr(reply.body, "\"type\":\"rate_limit_error\"") != NULL &&
              strstr(reply.body, "\"code\":\"overloaded\"") != NULL,
          "as an error that clients know");
    CHECK(strtod(e2e_header(&reply, "retry-after"), NULL) >= 1.0 &&
              strtod(e2e_header(&reply, "retry-after-ms"), NULL) >= 500.0,
          "with a time to come again");
    e2e_explain(&gateway, e2e_header(&reply, "x-request-id"), &why);
    CHECK(strstr(why.body, "\"admission\":\"refused\"") != NULL &&
              strstr(why.body, "\"refusal\":\"shed\"") != NULL,
          "explained");
    CHECK(e2e_count(why.body, "\"why\":\"full\"") == NODES, "no node had a place");
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", counted), "counted by its class");
    e2e_reply_fini(&why);
    e2e_reply_fini(&reply);
}

/* It goes now; why so is explained. */
static void
check_explained(int fd)
{
    struct e2e_reply why;
    char *went;
    char id[17] = "";

    CHECK(e2e_read_until(fd, "x-request-id: ") && recv(fd, id, 16, MSG_WAITALL) == 16, "its id");
    CHECK(started(fd), "it goes");
    e2e_explain(&gateway, id, &why);
    went = strstr(why.body, "\"attempt\":1"); /* the decision to hold it comes first */
    went = went != NULL ? strstr(went + 1, "\"attempt\":1") : NULL;
    CHECK(went != NULL, "explain has both: that it was held, and that it went");
    if (went != NULL) {
        CHECK(strstr(went, "\"admission\":\"after_hold\"") != NULL &&
                  e2e_number(went, "\"held_ms\":") > 0.0,
              "after so long");
        *went = '\0';
        CHECK(strstr(why.body, "\"admission\":\"held\"") != NULL &&
                  e2e_count(why.body, "\"why\":\"full\"") == NODES,
              "when all nodes were full");
    }
    e2e_reply_fini(&why);
}

static void
test_hold(void)
{
    int running[PLACES], low, normal, late, high;

    for (unsigned i = 0; i < PLACES; i++) {
        running[i] = ask("");
        CHECK(started(running[i]), "there is a place for it");
    }
    CHECK(e2e_explain_comes(&gateway, "", body, "\"admission\":\"held\""),
          "the next one would be held");
    low = ask(LOW);
    held_become(1);
    normal = ask("");
    held_become(2);
    high = ask(HIGH);
    held_become(3);
    check_refused(LOW, "isochrone_shed_total{class=\"low\"} 1\n");
    late = ask("");
    held_become(4);
    check_refused(HIGH, "isochrone_shed_total{class=\"high\"} 1\n");
    CHECK(e2e_metric(&gateway, "isochrone_refusals_total{reason=\"shed\"} 2\n"), "both counted");

    close(running[0]);
    check_explained(high);
    held_become(3);
    CHECK(heard_nothing(normal) && heard_nothing(late) && heard_nothing(low), "the others wait");
    close(high);
    CHECK(started(normal), "then, as no other high one came for a while, the first of its class");
    held_become(2);
    CHECK(heard_nothing(late) && heard_nothing(low), "the others wait");
    close(normal);
    CHECK(started(late), "then the one behind it");
    CHECK(heard_nothing(low), "the last one waits");
    close(late);
    CHECK(started(low), "the lowest class goes last");
    held_become(0);
    CHECK(!e2e_page_has(gateway.admin_port, "/metrics", "isochrone_hold_seconds_count 3\n") &&
              !e2e_page_has(gateway.admin_port, "/metrics", "isochrone_holds_total 3\n"),
          "all that waited are counted");
    close(low);
    for (unsigned i = 1; i < PLACES; i++)
        close(running[i]);
    CHECK(e2e_metric(&gateway, "isochrone_requests_in_flight 0\n"), "nothing is left over");
}

int
main(void)
{
    const struct gateway_options options = {
        .rule = -1,
        .poll_ns = 50000000,
        .keep_alive_ns = 600000000000u, /* who is held hears nothing */
        .seed = 1,
    };
    struct e2e_fleet *fleet = e2e_fleet_start(0.0);
    uint32_t nodes[NODES];

    body = e2e_fleet_chat("a", 40, LONG, true);
    nodes[0] = e2e_fleet_find(fleet, "h100", 0);
    nodes[1] = e2e_fleet_find(fleet, "h100", nodes[0] + 1);
    for (unsigned i = 0; i < NODES; i++)
        e2e_fleet_fault(fleet, nodes[i], "{\"fault\":\"slow\",\"factor\":20}");
    e2e_fleet_gateway(fleet, nodes, NODES, &options,
                      "limits: {holds_max: 4, first_byte: 600s, idle: 600s}\n", 1, &gateway);
    test_hold();
    for (unsigned i = 0; i < NODES; i++)
        CHECK(e2e_fleet_has(fleet, nodes[i], 0), "nor at an engine");
    e2e_gateway_stop(&gateway);
    e2e_fleet_stop(fleet);
    free(body);
    return tap_done();
}

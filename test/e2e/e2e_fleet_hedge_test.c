/* e2e_fleet_hedge_test - one of two emulated engines is suddenly slow: a request that waits for its
 * first token there is given to the other one too, which answers; the slow one is told to stop.
 * Which engine is asked first is the gateway's choice, so the slow one changes until it was it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e_fleet.h"
#include "e2e_page.h"
#include "tap.h"

#define NODES        2u
#define TRIES        40u
#define TOKENS       16u
#define PROMPT_BYTES 40000u /* two hundredths of it are what hedges may cost */
#define SLOW         "{\"fault\":\"slow\",\"factor\":1000}" /* a token takes many seconds */
#define RETRIED_MAX  4u /* on a busy machine no hedge may seem to pay */

static struct e2e_fleet *fleet;
static struct e2e_gateway gateway;
static uint32_t nodes[NODES];
static unsigned sent, won; /* second attempts beside the first, as answers told */
static unsigned retried;   /* and those after it, which failed */

/* Count what became of it. True: the second attempt won. */
static bool
note(const struct e2e_reply *reply)
{
    const char *reason = e2e_header(reply, "isochrone-reason");
    bool again = strstr(reason, "retried") != NULL, hedge = strstr(reason, "hedged") != NULL;

    retried += again;
    won += hedge;
    sent += !again && strcmp(e2e_header(reply, "isochrone-attempts"), "2") == 0;
    return hedge;
}

/* A request while this node is slow. */
static bool
hedged(unsigned slow, const char *body, struct e2e_reply *ret_reply)
{
    bool second;

    e2e_fleet_fault(fleet, nodes[slow], SLOW);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", body, ret_reply);
    second = note(ret_reply);
    if (second) /* it would take minutes to end by itself */
        CHECK(e2e_fleet_has(fleet, nodes[slow], 0), "the slow engine was told to stop");
    e2e_fleet_fault(fleet, nodes[slow], "{\"fault\":\"none\"}");
    return second;
}

static void
check_answer(const struct e2e_reply *reply, unsigned slow)
{
    struct e2e_reply why;
    const char *first, *other;

    CHECK(reply->status == 200 && reply->whole, "the other engine answers");
    CHECK(strcmp(e2e_header(reply, "isochrone-node"), slow == 0 ? "n1" : "n0") == 0,
          "and is named");
    CHECK(e2e_count(reply->body, "\"role\":\"assistant\"") == 1 &&
              e2e_count(reply->body, "\"content\":\" ") == TOKENS &&
              e2e_count(reply->body, "[DONE]") == 1,
          "one answer, whole, and nothing of another one");
    e2e_explain(&gateway, e2e_header(reply, "x-request-id"), &why);
    first = strstr(why.body, "\"attempt\":1");
    other = strstr(why.body, "\"attempt\":2");
    CHECK(first != NULL && other != NULL, "explain has both attempts");
    if (first != NULL && other != NULL) {
        bool in_order = first < other;
        CHECK(e2e_count(why.body, "\"overtaken\":true") == 1 &&
                  (strstr(first, "\"overtaken\":true") < other) == in_order,
              "the first one was overtaken");
        CHECK(strstr(first, slow == 0 ? "\"node\":\"n0\"" : "\"node\":\"n1\"") != NULL, "there");
        CHECK(e2e_number(other, "\"hedge_ms\":") > 0.0, "and how long it would still have taken");
    }
    CHECK(strstr(why.body, "\"failure\":\"first_byte\"") == NULL, "neither failed");
    e2e_reply_fini(&why);
}

static void
test_hedge(void)
{
    char *body = e2e_fleet_chat("a", 40, TOKENS, true);
    unsigned tries = 0;
    struct e2e_reply reply;
    bool won_it;

    while (!(won_it = hedged(tries % NODES, body, &reply)) && tries < TRIES &&
           retried < RETRIED_MAX) {
        e2e_reply_fini(&reply);
        tries++;
    }
    CHECK(won_it, "a late request is given to another engine");
    if (won_it)
        check_answer(&reply, tries % NODES);
    e2e_reply_fini(&reply);
    free(body);
}

static void
test_counted(void)
{
    char line[80];

    snprintf(line, sizeof(line), "isochrone_hedges_total %u\n", sent);
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", line), "seconds are counted");
    snprintf(line, sizeof(line), "isochrone_hedges_won_total %u\n", won);
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", line), "and those that won");
    CHECK(e2e_metric(&gateway, "isochrone_requests_in_flight 0\n"), "nothing is left over");
}

/* What hedges may cost is earned first. */
static void
earn(void)
{
    char *body = e2e_fleet_chat("word", PROMPT_BYTES, 1, true);
    struct e2e_reply reply;

    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", body, &reply);
    CHECK(reply.status == 200 && reply.whole, "a long prompt is answered");
    (void)note(&reply);
    e2e_reply_fini(&reply);
    free(body);
}

int
main(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};

    fleet = e2e_fleet_start(0.0);
    nodes[0] = e2e_fleet_find(fleet, "h100", 0);
    nodes[1] = e2e_fleet_find(fleet, "h100", nodes[0] + 1);
    e2e_fleet_gateway(fleet, nodes, NODES, &options, "limits: {first_byte: 6s}\n", 0, &gateway);
    earn();
    test_hedge();
    test_counted();
    e2e_gateway_stop(&gateway);
    e2e_fleet_stop(fleet);
    return tap_done();
}

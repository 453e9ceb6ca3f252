/* e2e_fleet_news_test - emulated engines, some with work of others, that stop telling how busy they
 * are while they work on: when most candidates' news are too old, the gateway goes by what it sent
 * itself, and believes them again when they tell again. Between fresh and too old it looks at
 * fewer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e_fleet.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define NODES      8u
#define MUTE       3u /* of the four that the second gateway knows */
#define KNOWN      4u
#define LONG       4000u
#define FIRST_WORD "\"content\":\" "

static struct e2e_fleet *fleet;
static struct e2e_gateway gateway;
static uint32_t nodes[NODES];
static char *body;

static unsigned
candidates_now(void)
{
    struct e2e_reply why;
    unsigned count;

    e2e_explain_dry(&gateway, "", body, &why);
    count = strstr(why.body, "\"mode\":\"time\"") != NULL ? e2e_count(why.body, "\"cost_ms\":") : 0;
    e2e_reply_fini(&why);
    return count;
}

/* At some moment between two readings of the load. */
static bool
candidates_become(unsigned count)
{
    uint64_t until_s = 0;

    while (candidates_now() != count && patience(&until_s))
        usleep(10000);
    return candidates_now() == count;
}

/* Read every four seconds, news are fresh half of the time. */
static void
test_old(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 4000000000u, .seed = 1};

    e2e_fleet_gateway(fleet, nodes, NODES, &options, "", 0, &gateway);
    CHECK(candidates_become(NODES), "fresh news: all are looked at");
    CHECK(candidates_become(3), "old news: a few");
    CHECK(candidates_become(NODES), "fresh ones: all again");
    e2e_gateway_stop(&gateway);
}

static void
set_mute(unsigned from, unsigned to, const char *fault)
{
    for (unsigned i = from; i < to; i++)
        e2e_fleet_fault(fleet, nodes[i], fault);
}

/* How old the news of n0 are. */
static double
age_ms(void)
{
    struct e2e_reply reply;
    double ms;

    e2e_ask(gateway.admin_port, "GET", "/network/v1/nodes/n0", "", "", &reply);
    ms = e2e_number(reply.body, "\"report_age_ms\":");
    e2e_reply_fini(&reply);
    return ms;
}

static bool
ages(void)
{
    uint64_t until_s = 0;

    while (age_ms() < 6000.0 && patience(&until_s))
        usleep(20000);
    return age_ms() >= 6000.0;
}

/* Long answers, one after the other: each goes where we sent the least so far. */
static void
test_own_count(void)
{
    int fds[KNOWN];
    char seen[KNOWN] = {0}, line[80];

    for (unsigned i = 0; i < KNOWN; i++) {
        char id[17] = "", node[3] = "";
        struct e2e_reply why;

        fds[i] = e2e_open_request(gateway.port, "/v1/chat/completions", "", body);
        CHECK(e2e_read_until(fds[i], "x-request-id: ") && recv(fds[i], id, 16, MSG_WAITALL) == 16,
              "its id");
        CHECK(e2e_read_until(fds[i], "isochrone-node: ") && recv(fds[i], node, 2, MSG_WAITALL) == 2,
              "its node");
        CHECK(e2e_read_until(fds[i], FIRST_WORD), "it is answered");
        if (node[1] >= '0' && node[1] < (char)('0' + KNOWN))
            seen[node[1] - '0']++;
        e2e_explain(&gateway, id, &why);
        CHECK(strstr(why.body, "\"mode\":\"stale\"") != NULL &&
                  e2e_count(why.body, "\"why\":\"stale\"") == KNOWN - 1,
              "by our own count");
        e2e_reply_fini(&why);
    }
    for (unsigned i = 0; i < KNOWN; i++)
        CHECK(seen[i] == 1, "each node got one");
    snprintf(line, sizeof(line), "isochrone_decisions_total{mode=\"stale\"} %u\n", KNOWN);
    CHECK(e2e_metric(&gateway, line), "counted");
    for (unsigned i = 0; i < KNOWN; i++)
        close(fds[i]);
}

static void
test_stale(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};
    struct e2e_reply reply, why;
    char *question = e2e_fleet_chat("b", 40, 2, false);

    e2e_fleet_gateway(fleet, nodes, KNOWN, &options, "", 0, &gateway);
    CHECK(e2e_explain_comes(&gateway, "", body, "\"mode\":\"time\""), "all tell: time decides");
    set_mute(0, 1, "{\"fault\":\"mute\"}");
    CHECK(ages(), "one does not tell any more");
    CHECK(e2e_explain_comes(&gateway, "", body, "\"mode\":\"time\""),
          "the others do: time decides");
    set_mute(1, MUTE, "{\"fault\":\"mute\"}");
    CHECK(e2e_explain_comes(&gateway, "", body, "\"mode\":\"stale\""), "most do not");
    CHECK(e2e_page_has(gateway.admin_port, "/metrics", "isochrone_self_suspicion 0\n") &&
              !e2e_page_has(gateway.admin_port, "/network/v1/nodes", "\"ejected\":true"),
          "but they answer: nobody is suspected");
    test_own_count();
    set_mute(0, MUTE, "{\"fault\":\"none\"}");
    CHECK(e2e_explain_comes(&gateway, "", body, "\"mode\":\"time\""), "they tell again");
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", question, &reply);
    e2e_explain(&gateway, e2e_header(&reply, "x-request-id"), &why);
    CHECK(reply.status == 200 && strstr(why.body, "\"mode\":\"time\"") != NULL,
          "and are believed again");
    e2e_reply_fini(&why);
    e2e_reply_fini(&reply);
    e2e_gateway_stop(&gateway);
    free(question);
}

int
main(void)
{
    uint32_t from = 0;

    fleet = e2e_fleet_start(0.5);
    body = e2e_fleet_chat("a", 40, LONG, true);
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i] = e2e_fleet_find(fleet, "l40s", from);
        from = nodes[i] + 1;
    }
    test_old();
    test_stale();
    e2e_fleet_stop(fleet);
    free(body);
    return tap_done();
}

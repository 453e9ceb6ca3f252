/* e2e_fleet_goal_test - three emulated engines: a fast one that is idle, a fast one with some work,
 * and a slow one with much. A request goes to the fullest that meets its deadline, and so leaves
 * the others free. What each of them can do is the gateway's own estimate, out of explain. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e_fleet.h"
#include "e2e_page.h"
#include "tap.h"

#define NODES        3u
#define AT_SLOW      6u /* requests of others */
#define PROMPT_BYTES 32000u
#define LONG         4000u

static struct e2e_gateway gateway;

/* When the node would have begun nine times in ten, as explain has it; -1: it does not. */
static double
p90_ms(const char *explained, const char *node)
{
    const char *at = strstr(explained, "\"candidates\":");
    char name[32];

    snprintf(name, sizeof(name), "\"node\":\"%s\"", node);
    at = at != NULL ? strstr(at, name) : NULL;
    if (at == NULL)
        return -1.0;
    return e2e_number(at, "\"first_ms\":") + 1.2816 * e2e_number(at, "\"sigma_ms\":");
}

/* Why this node was not taken: the next `why` behind its name. */
static bool
lost_as(const char *explained, const char *node, const char *why)
{
    char part[96];

    snprintf(part, sizeof(part), "\"node\":\"%s\",\"region\":\"local\",\"why\":\"%s\"", node, why);
    return strstr(explained, part) != NULL;
}

/* Send it; *ret_why: its explanation. */
static void
check_goes(const char *word, double deadline_ms, const char *node, struct e2e_reply *ret_why)
{
    char *body = e2e_fleet_chat(word, PROMPT_BYTES, 2, false), headers[64];
    struct e2e_reply reply;

    snprintf(headers, sizeof(headers), "isochrone-deadline-ms: %.0f\r\n", deadline_ms);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", headers, body, &reply);
    CHECK(reply.status == 200 && reply.whole, "answered");
    CHECK(strcmp(e2e_header(&reply, "isochrone-node"), node) == 0, node);
    e2e_explain(&gateway, e2e_header(&reply, "x-request-id"), ret_why);
    CHECK(strstr(ret_why->body, "\"mode\":\"goal\"") != NULL, "by its goal");
    e2e_reply_fini(&reply);
    free(body);
}

static void
test_goal(void)
{
    char *body = e2e_fleet_chat("dry", PROMPT_BYTES, 2, false);
    struct e2e_reply why;
    double busy_ms, slow_ms;

    CHECK(e2e_explain_comes(&gateway, "isochrone-deadline-ms: 60000\r\n", body,
                            "\"node\":\"n2\",\"considered\""),
          "news of their load came");
    e2e_explain_dry(&gateway, "", body, &why);
    CHECK(strstr(why.body, "\"mode\":\"time\"") != NULL, "without a deadline: the least cost");
    busy_ms = p90_ms(why.body, "n1");
    slow_ms = p90_ms(why.body, "n2");
    CHECK(busy_ms > 0.0 && slow_ms > 1.5 * busy_ms, "one can keep a deadline that another cannot");
    e2e_reply_fini(&why);

    check_goes("long", 60000.0, "n2", &why);
    CHECK(lost_as(why.body, "n0", "busier_fits") && lost_as(why.body, "n1", "busier_fits"),
          "all meet it: the slow one, the others are kept free");
    e2e_reply_fini(&why);
    check_goes("short", sqrt(busy_ms * slow_ms), "n1", &why);
    CHECK(lost_as(why.body, "n0", "busier_fits"), "the busier one of those that meet it");
    CHECK(lost_as(why.body, "n2", "slower"), "the slow one does not");
    e2e_reply_fini(&why);
    CHECK(e2e_metric(&gateway, "isochrone_decisions_total{mode=\"goal\"} 2\n"), "counted");
    free(body);
}

int
main(void)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 50000000, .seed = 1};
    struct e2e_fleet *fleet = e2e_fleet_start(0.0);
    char *work = e2e_fleet_chat("a", 40, LONG, true);
    uint32_t nodes[NODES];
    int others[1 + AT_SLOW];

    nodes[0] = e2e_fleet_find(fleet, "h100", 0);
    nodes[1] = e2e_fleet_find(fleet, "h100", nodes[0] + 1);
    nodes[2] = e2e_fleet_find(fleet, "4090", 0);
    for (unsigned i = 0; i < 1 + AT_SLOW; i++)
        others[i] = e2e_fleet_open(fleet, nodes[i == 0 ? 1 : 2], work);
    CHECK(e2e_fleet_has(fleet, nodes[1], 1) && e2e_fleet_has(fleet, nodes[2], AT_SLOW),
          "some work, and much");
    e2e_fleet_gateway(fleet, nodes, NODES, &options, "", 0, &gateway);
    test_goal();
    e2e_gateway_stop(&gateway);
    for (unsigned i = 0; i < 1 + AT_SLOW; i++)
        close(others[i]);
    e2e_fleet_stop(fleet);
    free(work);
    return tap_done();
}

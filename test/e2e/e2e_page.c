/* e2e_page - what a gateway under test tells about itself; see e2e_page.h. */
#include "e2e_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "patience.h"

bool
e2e_page_has(uint16_t port, const char *path, const char *text)
{
    struct e2e_reply reply;
    bool has;

    e2e_ask(port, "GET", path, "", "", &reply);
    has = strstr(reply.body, text) != NULL;
    e2e_reply_fini(&reply);
    return has;
}

bool
e2e_page_comes(uint16_t port, const char *path, const char *text)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (e2e_page_has(port, path, text))
            return true;
        usleep(20000);
    }
    return false;
}

bool
e2e_metric(const struct e2e_gateway *g, const char *line)
{
    return e2e_page_comes(g->admin_port, "/metrics", line);
}

void
e2e_explain(const struct e2e_gateway *g, const char *id, struct e2e_reply *ret_reply)
{
    char path[128];

    snprintf(path, sizeof(path), "/network/v1/explain/%s", id);
    e2e_ask(g->admin_port, "GET", path, "", "", ret_reply);
}

void
e2e_explain_dry(const struct e2e_gateway *g, const char *headers, const char *body,
                struct e2e_reply *ret_reply)
{
    e2e_ask(g->admin_port, "POST", "/network/v1/explain", headers, body, ret_reply);
}

bool
e2e_explain_comes(const struct e2e_gateway *g, const char *headers, const char *body,
                  const char *text)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        struct e2e_reply reply;
        bool has;

        e2e_explain_dry(g, headers, body, &reply);
        has = strstr(reply.body, text) != NULL;
        e2e_reply_fini(&reply);
        if (has)
            return true;
        usleep(20000);
    }
    return false;
}

double
e2e_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? -1.0 : strtod(at + strlen(name), NULL);
}

unsigned
e2e_count(const char *text, const char *part)
{
    unsigned count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

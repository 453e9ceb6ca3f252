#ifndef TEST_E2E_E2E_PAGE_H
#define TEST_E2E_E2E_PAGE_H
/* e2e_page - what a gateway under test tells about itself: its pages, now or when they say what is
 * waited for, and the numbers in them. */
#include <stdbool.h>

#include "e2e.h"

bool e2e_page_has(uint16_t port, const char *path, const char *text);
/* Wait until it has; false after a long time. */
bool e2e_page_comes(uint16_t port, const char *path, const char *text);
/* /metrics of the admin side has this line, or comes to have it. */
bool e2e_metric(const struct e2e_gateway *g, const char *line);

/* Why the request of this id (x-request-id) went where it went. */
void e2e_explain(const struct e2e_gateway *g, const char *id, struct e2e_reply *ret_reply);
/* Where would it go now? */
void e2e_explain_dry(const struct e2e_gateway *g, const char *headers, const char *body,
                     struct e2e_reply *ret_reply);
/* Wait until that says `text`; false after a long time. */
bool e2e_explain_comes(const struct e2e_gateway *g, const char *headers, const char *body,
                       const char *text);

/* The number after `name`; -1: it is not there. */
double e2e_number(const char *text, const char *name);
unsigned e2e_count(const char *text, const char *part);
#endif

#ifndef TEST_SMUGGLING_SMUGGLING_CASE_H
#define TEST_SMUGGLING_SMUGGLING_CASE_H
/* smuggling_case - the lists of cases (requests.txt says what stands in them) as values. A list
 * that cannot be read ends the program. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define SMUGGLING_EXPECT_MAX 4u
#define SMUGGLING_FIELDS_MAX 24u

struct smuggling_expect {
    unsigned status;        /* 0: what `word` says */
    bool close, head;       /* it is the last one; it has no body */
    struct span word, rest; /* wait, retried, passed ...; what follows, or the body forwarded */
};

struct smuggling_field { /* a header of HTTP/2; behind the body: a trailer */
    struct span name, value;
    bool is_trailer;
};

struct smuggling_case {
    struct span id, from;
    struct span bytes, later; /* > and >> */
    bool stream, closes;      /* ask: stream; then: close */
    bool with_post;           /* with: post, the usual pseudo headers */
    struct smuggling_field fields[SMUGGLING_FIELDS_MAX];
    size_t field_count;
    struct smuggling_expect expect[SMUGGLING_EXPECT_MAX];
    size_t expect_count;
};

struct smuggling_list {
    struct smuggling_case *cases;
    size_t count;
    char *memory; /* what the spans point into */
};

void smuggling_list_read(const char *path, struct smuggling_list *ret_list);
void smuggling_list_free(struct smuggling_list *list);

/* ---- Bytes in pieces. */
enum smuggling_cut { SMUGGLING_WHOLE, SMUGGLING_BYTES, SMUGGLING_LINES, SMUGGLING_CUTS };

/* Send, and before each next piece wait until the other end has taken the last one, so that each
 * was one read. BYTES: single bytes (of long messages some hundred pieces); LINES: cut before and
 * behind each CR and LF. An end that is closed meanwhile ends it. */
void smuggling_send(int fd, struct span bytes, enum smuggling_cut cut);
/* Wait until the other end has taken all that was sent. */
void smuggling_wait_taken(int fd);

/* ---- A client that reads responses strictly: by length, one after the other. */
struct smuggling_response {
    unsigned status;
    bool closes;      /* it says so */
    const char *text; /* the body, zero-terminated, until the next one is read */
};
struct smuggling_client {
    int fd;
    size_t bytes, at; /* data[at, bytes) is unread */
    char data[65536];
};
void smuggling_client_open(struct smuggling_client *c, uint16_t port);
void smuggling_client_close(struct smuggling_client *c);
/* The next response that is not a 1xx. NULL: it is here; else what is wrong. */
const char *smuggling_client_read(struct smuggling_client *c, bool to_head,
                                  struct smuggling_response *ret_response);
/* Nothing more comes, and the other side ends the connection. */
bool smuggling_client_ended(struct smuggling_client *c);

/* ---- The runners: how many cases of a list were held; each is a CHECK. */
#define SMUGGLING_PROBE "{\"model\":\"m\",\"prompt\":\"in step?\"}"

struct smuggling_asked { /* bodies that the engine should get, in this order */
    struct span bodies[SMUGGLING_EXPECT_MAX + 1];
    size_t count;
};
void smuggling_asked_add(struct smuggling_asked *asked, struct span body);

size_t smuggling_run_requests(const struct smuggling_list *http1,
                              const struct smuggling_list *http2);
size_t smuggling_run_responses(const struct smuggling_list *list);
/* Of smuggling_run_requests: one case of HTTP/2. NULL: held, as far as the client sees. */
const char *smuggling_run_http2_case(const struct smuggling_case *c, uint16_t port,
                                     enum smuggling_cut cut, struct smuggling_asked *ret_asked);
/* One CHECK of a case: NULL for each cut, or what went wrong. */
bool smuggling_verdict(const struct smuggling_case *c, const char *const *wrong);
#endif

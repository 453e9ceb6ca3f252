#ifndef IO_HTTP_FETCH_H
#define IO_HTTP_FETCH_H
/* http_fetch - a call whose answer is small, and is wanted whole: it gathers in a buffer of the
 * caller's, and one function hears how it ended. On the loop of its client. */
#include "io/http_client.h"

struct http_fetch;
/* The call is over. is_whole: status and data are the answer's; else why says what went wrong. */
typedef void http_fetch_fn(struct http_fetch *f, bool is_whole, enum http_failure why);

struct http_fetch {         /* embed it; set data, room and over */
    struct http_call *call; /* NULL: none is under way */
    unsigned status;
    char *data;
    size_t bytes, room; /* what is longer is cut, until limits.body_bytes_max ends it */
    http_fetch_fn *over;
    /* NULL, or: it is over WHOLE_NS after its start, however little by little it comes. */
    struct loop *loop;
    struct loop_timer whole_timer; /* set by http_fetch */
};
#define HTTP_FETCH_WHOLE_NS 15000000000u

/* As http_call_start; none may be under way. */
MUST_USE enum err http_fetch_start(struct http_fetch *f, struct http_target *target,
                                   const struct http_call_request *request,
                                   const struct http_call_limits *limits);
/* over is not called. None under way: does nothing. */
void http_fetch_cancel(struct http_fetch *f);
#endif

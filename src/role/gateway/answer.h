#ifndef ROLE_GATEWAY_ANSWER_H
#define ROLE_GATEWAY_ANSWER_H
/* answer - heads and error bodies of our answers: what happened, in headers that people can read.
 * Isochrone-Node, -Region, -Attempts, -Reason, Server-Timing, x-request-id; errors in OpenAI's
 * form. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bucket.h"
#include "core/action.h"
#include "io/http_server.h"
#include "role/gateway/access.h"
#include "role/gateway/put.h"
#include "wire/openai.h"

#define ANSWER_HEADERS_MAX    24u
#define ANSWER_TEXT_BYTES_MAX 1280u
#define ANSWER_ECHO_BYTES_MAX 128u /* a longer x-request-id of a client is not echoed */

struct request;

struct answer_head {
    struct http_header list[ANSWER_HEADERS_MAX];
    size_t count;
    size_t from; /* of the value that is being put */
    struct put text;
    char bytes[ANSWER_TEXT_BYTES_MAX];
};

void answer_head_init(struct answer_head *head);
/* A header whose name and value outlive *head. */
void answer_head_add(struct answer_head *head, struct span name, struct span value);
/* A header whose value is put together: begin, put_* into head->text, end. */
void answer_head_begin(struct answer_head *head);
void answer_head_end(struct answer_head *head, struct span name);

/* The headers of an answer to this request: ids, and once a node was chosen, which and why. */
void answer_request_head(struct answer_head *head, const struct request *r);
void answer_reason(struct put *text, const struct request *r); /* why this node, in words */
/* Wishes (a set of enum key_wish) in words: "priority, deadline". */
void answer_put_wishes(struct put *text, uint32_t wishes);
/* The comment that says the same at the end of a stream whose head was sent too early. */
void answer_request_comment(struct put *text, const struct request *r);

/* Headers that tell a client when to come again: Retry-After and retry-after-ms (NAN: none), and,
 * when all_tried, that asking again is of no use. */
void answer_retry_head(struct answer_head *head, float retry_after_ms, bool all_tried);
/* How it stands with one of its key's limits: x-ratelimit-limit-..., -remaining-... and -reset-...,
 * as OpenAI has them. */
enum answer_limit { ANSWER_REQUESTS, ANSWER_TOKENS };
void answer_limit_head(struct answer_head *head, enum answer_limit which, uint64_t limit,
                       struct bucket_view view);
/* An error as the whole response of an exchange without a request. extra: NULL, or one more
 * header. */
void answer_error(struct http_exchange *x, const struct openai_error *e,
                  const struct http_header *extra);
/* The same with the headers in *head. */
void answer_error_head(struct http_exchange *x, const struct openai_error *e,
                       struct answer_head *head);
/* The same for any body. */
void answer_body(struct http_exchange *x, unsigned status, struct span content_type,
                 struct span body);
/* What a refusal of core means to the client: status, code, words. model: as the client named it.
 */
void answer_refusal(struct openai_error *e, const struct action_refuse *refuse, struct span model);
/* Why its key does not let a request in (not ACCESS_MODEL). Returns when to come again in ms; NAN:
 * there is no such time. */
float answer_denial(struct openai_error *e, enum access_verdict verdict,
                    const struct access_grant *grant);
/* Shorthand: fill *e. param and code may be NULL. */
void answer_fill(struct openai_error *e, unsigned status, const char *type, const char *code,
                 const char *format, ...) PRINTF_LIKE(5, 6);
#endif

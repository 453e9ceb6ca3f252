#ifndef ROLE_GATEWAY_ANSWER_REQUEST_H
#define ROLE_GATEWAY_ANSWER_REQUEST_H
/* answer_request - what the answer to a request says of it, in headers that people can read: which
 * node, why, after how many tries, how long it took (Isochrone-Node, -Region, -Attempts, -Reason,
 * Server-Timing, x-request-id), what its key has left; and what a refusal means. */
#include <stdint.h>

#include "base/bucket.h"
#include "core/action.h"
#include "role/access.h"
#include "role/answer.h"

#define ANSWER_ECHO_BYTES_MAX 128u /* a longer x-request-id of a client is not echoed */

struct request;

/* The headers of an answer to this request: ids, and once a node was chosen, which and why. */
void answer_request_head(struct answer_head *head, const struct request *r);
void answer_reason(struct put *text, const struct request *r); /* why this node, in words */
/* Wishes (a set of enum key_wish) in words: "priority, deadline". */
void answer_put_wishes(struct put *text, uint32_t wishes);
/* The comment that says the same at the end of a stream whose head was sent too early. */
void answer_request_comment(struct put *text, const struct request *r);
/* How it stands with one of its key's limits: x-ratelimit-limit-..., -remaining-... and -reset-...,
 * as OpenAI has them. */
enum answer_limit { ANSWER_REQUESTS, ANSWER_TOKENS };
void answer_limit_head(struct answer_head *head, enum answer_limit which, uint64_t limit,
                       struct bucket_view view);
/* What a refusal of core means to the client: status, code, words. model: as the client named it.
 */
void answer_refusal(struct openai_error *e, const struct action_refuse *refuse, struct span model);
/* Why its key does not let a request in (not ACCESS_MODEL). Returns when to come again in ms; NAN:
 * there is no such time. */
float answer_denial(struct openai_error *e, enum access_verdict verdict,
                    const struct access_grant *grant);
#endif

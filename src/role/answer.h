#ifndef ROLE_ANSWER_H
#define ROLE_ANSWER_H
/* answer - heads and error bodies of our own answers, a gateway's and a node agent's: the headers
 * that say when to come again, errors in OpenAI's form. */
#include <stdbool.h>
#include <stddef.h>

#include "io/http_server.h"
#include "role/put.h"
#include "wire/openai.h"

#define ANSWER_HEADERS_MAX    24u
#define ANSWER_TEXT_BYTES_MAX 1280u

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

/* Headers that tell a client when to come again: Retry-After and retry-after-ms (NAN: none), and,
 * when all_tried, that asking again is of no use. */
void answer_retry_head(struct answer_head *head, float retry_after_ms, bool all_tried);
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
/* Shorthand: fill *e. param and code may be NULL. */
void answer_fill(struct openai_error *e, unsigned status, const char *type, const char *code,
                 const char *format, ...) PRINTF_LIKE(5, 6);
#endif

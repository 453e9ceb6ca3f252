/* answer - heads and error bodies; see answer.h. */
#include "role/answer.h"

#include <stdarg.h>
#include <stdio.h>

void
answer_head_init(struct answer_head *head)
{
    head->count = 0;
    head->text = (struct put){.text = head->bytes, .room_bytes = sizeof(head->bytes)};
}

void
answer_head_add(struct answer_head *head, struct span name, struct span value)
{
    if (head->count < ANSWER_HEADERS_MAX)
        head->list[head->count++] = (struct http_header){name, value};
}

void
answer_head_begin(struct answer_head *head)
{
    head->from = head->text.bytes;
}

void
answer_head_end(struct answer_head *head, struct span name)
{
    answer_head_add(head, name,
                    (struct span){head->bytes + head->from, head->text.bytes - head->from});
}

void
answer_retry_head(struct answer_head *head, float retry_after_ms, bool all_tried)
{
    if (retry_after_ms >= 0.0f && retry_after_ms < 1e9f) {
        uint64_t ms = (uint64_t)retry_after_ms;
        answer_head_begin(head);
        put_u64(&head->text, (ms + 999) / 1000);
        answer_head_end(head, SPAN_LIT("retry-after"));
        answer_head_begin(head);
        put_u64(&head->text, ms);
        answer_head_end(head, SPAN_LIT("retry-after-ms"));
    }
    if (all_tried)
        answer_head_add(head, SPAN_LIT("x-should-retry"), SPAN_LIT("false"));
}

void
answer_body(struct http_exchange *x, unsigned status, struct span content_type, struct span body)
{
    const struct http_header headers[] = {{SPAN_LIT("content-type"), content_type},
                                          {SPAN_LIT("cache-control"), SPAN_LIT("no-store")}};

    http_respond(x, status, headers, 2, body);
}

void
answer_error(struct http_exchange *x, const struct openai_error *e, const struct http_header *extra)
{
    struct answer_head head;

    answer_head_init(&head);
    if (extra != NULL)
        answer_head_add(&head, extra->name, extra->value);
    answer_error_head(x, e, &head);
}

void
answer_error_head(struct http_exchange *x, const struct openai_error *e, struct answer_head *head)
{
    struct span json = SPAN_LIT("{\"error\":{\"message\":\"out of memory\",\"type\":"
                                "\"server_error\",\"param\":null,\"code\":null}}");

    unsigned status = e->status;

    answer_head_add(head, SPAN_LIT("content-type"), SPAN_LIT("application/json"));
    if (openai_error_write(e, SPAN_LIT(""), http_exchange_arena(x), &json) != ERR_OK)
        status = 500;
    http_respond(x, status, head->list, head->count, json);
}

void
answer_fill(struct openai_error *e, unsigned status, const char *type, const char *code,
            const char *format, ...)
{
    va_list args;

    *e = (struct openai_error){.status = status, .type = type, .code = code};
    va_start(args, format);
    vsnprintf(e->message, sizeof(e->message), format, args);
    va_end(args);
}

/* http_body - growing, counting and padding the bodies of requests; see http_body.h. The sum is
 * taken before the memory, so that two loops at once cannot both have the last of it. */
#include "io/http_body.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum err
http_body_grow(struct http_body *b, const struct http_server_limits *limits, size_t need,
               uint64_t length)
{
    _Atomic size_t *total = limits->buffers_bytes;
    size_t capacity = b->capacity * 2, more;
    char *data;

    capacity = capacity > HTTP_BODY_STEP_BYTES ? capacity : HTTP_BODY_STEP_BYTES;
    capacity = capacity > need ? capacity : need;
    if (capacity > length)
        capacity = (size_t)length;
    more = capacity - b->capacity;
    if (total != NULL && atomic_fetch_add_explicit(total, more, memory_order_relaxed) + more >
                             limits->buffers_bytes_max) {
        atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
        return ERR_FULL;
    }
    data = realloc(b->data, capacity + HTTP_BODY_PADDING);
    if (data == NULL) {
        if (total != NULL)
            atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
        return ERR_MEMORY;
    }
    b->data = data;
    b->capacity = capacity;
    return ERR_OK;
}

enum err
http_body_add(struct http_body *b, const struct http_server_limits *limits, struct span part,
              uint64_t length)
{
    size_t need = b->bytes + part.bytes; /* <= body_bytes_max + one read */
    enum err err;

    if (b->data == NULL || part.data != b->data + b->bytes) {
        if (need > b->capacity && (err = http_body_grow(b, limits, need, length)) != ERR_OK)
            return err;
        memcpy(b->data + b->bytes, part.data, part.bytes);
    }
    b->bytes = need;
    return ERR_OK;
}

struct span
http_body_end(struct http_body *b)
{
    static const char nothing[HTTP_BODY_PADDING];

    if (b->bytes == 0)
        return (struct span){nothing, 0};
    memset(b->data + b->bytes, 0, HTTP_BODY_PADDING);
    return (struct span){b->data, b->bytes};
}

void
http_body_fini(struct http_body *b, const struct http_server_limits *limits)
{
    if (limits->buffers_bytes != NULL && b->capacity > 0)
        atomic_fetch_sub_explicit(limits->buffers_bytes, b->capacity, memory_order_relaxed);
    free(b->data);
    *b = (struct http_body){0};
}

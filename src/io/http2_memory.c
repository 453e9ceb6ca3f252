/* http2_memory - malloc's blocks with a link before each; see http2_memory.h. */
#include "io/http2_memory.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct http2_block {
    LIST_ENTRY(http2_block) link;
    max_align_t data[];
};

static struct http2_block *
block_of(void *data)
{
    return (struct http2_block *)(void *)((char *)data - offsetof(struct http2_block, data));
}

static void *
on_realloc(void *data, size_t bytes, void *user)
{
    struct http2_memory *m = user;
    struct http2_block *old = data != NULL ? block_of(data) : NULL, *block = NULL;

    if (old != NULL)
        LIST_REMOVE(old, link);
    if (!__builtin_add_overflow(bytes, sizeof(*block), &bytes))
        block = realloc(old, bytes);
    if (block == NULL)
        *m->failed = true;
    if (block != NULL || old != NULL)
        LIST_INSERT_HEAD(&m->blocks, block != NULL ? block : old, link);
    return block != NULL ? block->data : NULL;
}

static void *
on_malloc(size_t bytes, void *user)
{
    return on_realloc(NULL, bytes, user);
}

static void *
on_calloc(size_t count, size_t each_bytes, void *user)
{
    size_t bytes;
    void *data;

    if (__builtin_mul_overflow(count, each_bytes, &bytes))
        bytes = SIZE_MAX;
    data = on_realloc(NULL, bytes, user);
    return data != NULL ? memset(data, 0, bytes) : NULL;
}

static void
on_free(void *data, void *user)
{
    (void)user;
    if (data == NULL)
        return;
    LIST_REMOVE(block_of(data), link);
    free(block_of(data));
}

nghttp2_mem
http2_memory_functions(struct http2_memory *m)
{
    return (nghttp2_mem){.mem_user_data = m,
                         .malloc = on_malloc,
                         .free = on_free,
                         .calloc = on_calloc,
                         .realloc = on_realloc};
}

void
http2_memory_drop(struct http2_memory *m)
{
    struct http2_block *block;

    while ((block = LIST_FIRST(&m->blocks)) != NULL) {
        LIST_REMOVE(block, link);
        free(block);
    }
}

#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H
/* prefetch - what will be needed soon, into the cache: one of ten thousand nodes is in none when a
 * word about it comes, and each line of it would be waited for in turn. It is a hint: nothing is
 * read, so it may be of memory that others change. */
#include <stddef.h>

#define PREFETCH_LINE_BYTES 64u

static inline void
prefetch(const void *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PREFETCH_LINE_BYTES)
        __builtin_prefetch((const char *)from + at);
}
#endif

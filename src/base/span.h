#ifndef BASE_SPAN_H
#define BASE_SPAN_H
/* span - some bytes that somebody else owns: a pointer and how many. Not terminated by a zero.
 * A plain value; it lives no longer than the bytes it points at. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct span {
    const char *data; /* may be NULL only when bytes is 0 */
    size_t bytes;
};

/* A span over a string literal or an array of char that ends in a zero. */
#define SPAN_LIT(text) ((struct span){(text), sizeof(text) - 1})

/* The same in a table of constants, which C17 has no other way to write. */
#define SPAN_INIT(text)                                                                            \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

static inline struct span
span_of(const char *text) /* zero-terminated */
{
    return (struct span){text, strlen(text)};
}

static inline bool
span_eq(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

/* The first letter tells most texts apart, before anybody counts how long one is. */
static inline bool
span_eq_text(struct span a, const char *text)
{
    if (a.bytes == 0)
        return text[0] == '\0';
    return a.data[0] == text[0] && span_eq(a, span_of(text));
}

bool span_same_letters(struct span a, const char *b); /* for span_eq_nocase: a.bytes of both */

/* Equal when ASCII letters are compared without case (HTTP header names, scheme names). Length and
 * first letter are looked at here: they tell most names apart. */
static inline bool
span_eq_nocase(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || ((a.data[0] ^ b.data[0]) & ~0x20) == 0) &&
           span_same_letters(a, b.data);
}
bool span_starts(struct span s, struct span prefix);

/* s without spaces and tabs at both ends. */
struct span span_trim(struct span s);

/* s from offset `from` on; empty when from >= s.bytes. */
struct span span_from(struct span s, size_t from);

/* Where `byte` first stands in s, else s.bytes. */
size_t span_find(struct span s, char byte);

/* A whole decimal number without sign, spaces or a value over UINT64_MAX. ERR_PARSE otherwise. */
MUST_USE enum err span_u64(struct span s, uint64_t *ret_value);

/* A decimal number, with optional sign, fraction and exponent, locale-free; also "NaN", "+Inf",
 * "-Inf" as Prometheus writes them. Relative error <= 2e-15 (not always the nearest double, as
 * strtod's is): for metrics and settings. ERR_PARSE otherwise. */
MUST_USE enum err span_f64(struct span s, double *ret_value);

/* Copy s into text[size] and end it with a zero, cut to size - 1 bytes. size >= 1. */
void span_copy(struct span s, char *text, size_t size);
#endif

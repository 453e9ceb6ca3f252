#ifndef ROLE_PUT_H
#define ROLE_PUT_H
/* put - words and numbers into a buffer of fixed size, without printf: for headers of every answer.
 * What does not fit is left out whole. A plain value on the stack. */
#include <stdint.h>

#include "base/span.h"

struct put {
    char *text;
    size_t room_bytes, bytes;
};

static inline void
put_span(struct put *p, struct span s)
{
    if (s.bytes <= p->room_bytes - p->bytes && s.bytes > 0) {
        memcpy(p->text + p->bytes, s.data, s.bytes);
        p->bytes += s.bytes;
    }
}

static inline void
put_text(struct put *p, const char *text)
{
    put_span(p, span_of(text));
}

static inline void
put_u64(struct put *p, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put_span(p, (struct span){digits + at, sizeof(digits) - at});
}

/* Microseconds as milliseconds with three places: 1234567 is "1234.567". */
static inline void
put_ms(struct put *p, uint64_t us)
{
    char places[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
                      (char)('0' + us % 10)};

    put_u64(p, us / 1000);
    put_span(p, (struct span){places, sizeof(places)});
}

/* 16 lower-case hexadecimal digits. */
static inline void
put_hex16(struct put *p, uint64_t value)
{
    char digits[16];

    for (size_t i = 0; i < sizeof(digits); i++)
        digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    put_span(p, (struct span){digits, sizeof(digits)});
}
#endif

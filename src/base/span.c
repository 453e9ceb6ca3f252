/* span - what needs more than a line; see span.h. Numbers are read here and not by libc, whose
 * answer depends on the locale and which wants a final zero. */
#include "base/span.h"

#include <math.h>
#include <stdlib.h>

/* Each byte of a word, ASCII letters small. The sums do not reach from one byte into the next. */
static uint64_t
lower_word(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, high = ones * 0x80;
    uint64_t seven = word & ~high;
    uint64_t from_a = seven + ones * (0x80 - 'A'), behind_z = seven + ones * (0x7f - 'Z');

    return word | ((from_a ^ behind_z) & ~word & high) >> 2;
}

/* One to eight bytes in a word, some of them twice: only to be compared. */
static uint64_t
few_bytes(const char *at, size_t bytes)
{
    uint32_t first, last;

    if (bytes < 4)
        return (uint64_t)(unsigned char)at[0] << 16 | (uint64_t)(unsigned char)at[bytes / 2] << 8 |
               (unsigned char)at[bytes - 1];
    memcpy(&first, at, sizeof(first));
    memcpy(&last, at + bytes - sizeof(last), sizeof(last));
    return (uint64_t)last << 32 | first;
}

bool
span_same_letters(struct span a, const char *b)
{
    size_t i = 0;

    for (; a.bytes - i > 8; i += 8) {
        if (lower_word(few_bytes(a.data + i, 8)) != lower_word(few_bytes(b + i, 8)))
            return false;
    }
    return a.bytes == 0 || lower_word(few_bytes(a.data + i, a.bytes - i)) ==
                               lower_word(few_bytes(b + i, a.bytes - i));
}

bool
span_starts(struct span s, struct span prefix)
{
    return s.bytes >= prefix.bytes && span_eq((struct span){s.data, prefix.bytes}, prefix);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct span
span_trim(struct span s)
{
    while (s.bytes > 0 && is_blank(s.data[0]))
        s = (struct span){s.data + 1, s.bytes - 1};
    while (s.bytes > 0 && is_blank(s.data[s.bytes - 1]))
        s.bytes--;
    return s;
}

struct span
span_from(struct span s, size_t from)
{
    if (from >= s.bytes)
        return (struct span){s.data, 0};
    return (struct span){s.data + from, s.bytes - from};
}

size_t
span_find(struct span s, char byte)
{
    const char *at = s.bytes > 0 ? memchr(s.data, byte, s.bytes) : NULL;

    return at == NULL ? s.bytes : (size_t)(at - s.data);
}

enum err
span_u64(struct span s, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.bytes == 0)
        return ERR_PARSE;
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return ERR_PARSE;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
            return ERR_PARSE;
    }
    *ret_value = value;
    return ERR_OK;
}

/* 10^exponent by squaring; enough of a range for every double. */
static double
power_of_ten(int exponent)
{
    double base = 10.0, result = 1.0;
    unsigned left = (unsigned)(exponent < 0 ? -exponent : exponent);

    for (; left > 0; left >>= 1) {
        if (left & 1)
            result *= base;
        base *= base;
    }
    return result;
}

struct decimal {
    double mantissa;
    int exponent;
    size_t digits, at;
};

static void
decimal_digits(struct span s, struct decimal *d, bool fraction)
{
    for (; d->at < s.bytes && s.data[d->at] >= '0' && s.data[d->at] <= '9'; d->at++) {
        d->digits++;
        if (d->mantissa < 1e17) {
            d->mantissa = d->mantissa * 10.0 + (s.data[d->at] - '0');
            d->exponent -= fraction;
        } else {
            d->exponent += !fraction;
        }
    }
}

/* The exponent part, if there is one; false when it is malformed. */
static bool
decimal_exponent(struct span s, struct decimal *d)
{
    int sign = 1, value = 0;
    size_t start;

    if (d->at >= s.bytes || (s.data[d->at] != 'e' && s.data[d->at] != 'E'))
        return true;
    d->at++;
    if (d->at < s.bytes && (s.data[d->at] == '+' || s.data[d->at] == '-'))
        sign = s.data[d->at++] == '-' ? -1 : 1;
    start = d->at;
    for (; d->at < s.bytes && s.data[d->at] >= '0' && s.data[d->at] <= '9'; d->at++) {
        if (value < 10000)
            value = value * 10 + (s.data[d->at] - '0');
    }
    d->exponent += sign * value;
    return d->at > start;
}

enum err
span_f64(struct span s, double *ret_value)
{
    struct decimal d = {0};
    double sign = 1.0, value;

    if (s.bytes > 0 && (s.data[0] == '+' || s.data[0] == '-')) {
        sign = s.data[0] == '-' ? -1.0 : 1.0;
        s = span_from(s, 1);
    }
    if (span_eq_text(s, "NaN") || span_eq_text(s, "Inf")) {
        *ret_value = s.data[0] == 'N' ? (double)NAN : sign * (double)INFINITY;
        return ERR_OK;
    }
    decimal_digits(s, &d, false);
    if (d.at < s.bytes && s.data[d.at] == '.') {
        d.at++;
        decimal_digits(s, &d, true);
    }
    if (d.digits == 0 || !decimal_exponent(s, &d) || d.at != s.bytes)
        return ERR_PARSE;
    if (d.exponent < -300) { /* in two steps, so that small numbers do not vanish early */
        d.mantissa /= power_of_ten(300);
        d.exponent += 300;
    }
    if (d.exponent < -400 || d.mantissa == 0.0)
        value = 0.0;
    else if (d.exponent > 400)
        value = (double)INFINITY;
    else
        value = d.exponent < 0 ? d.mantissa / power_of_ten(d.exponent)
                               : d.mantissa * power_of_ten(d.exponent);
    *ret_value = sign * value;
    return ERR_OK;
}

void
span_copy(struct span s, char *text, size_t size)
{
    size_t bytes = s.bytes < size - 1 ? s.bytes : size - 1;

    if (bytes > 0)
        memcpy(text, s.data, bytes);
    text[bytes] = '\0';
}

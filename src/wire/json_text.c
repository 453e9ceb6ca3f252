/* json_text - strings between JSON's form and plain bytes; see json.h. */
#include "wire/json.h"
#include "wire/json_scan.h"

#define REPLACEMENT 0xfffdu /* U+FFFD, for what is no character */

static unsigned
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a') + 10;
}

static unsigned
hex4(const char *at)
{
    return hex_value(at[0]) << 12 | hex_value(at[1]) << 8 | hex_value(at[2]) << 4 |
           hex_value(at[3]);
}

/* The character of the \u escape at `at`, which may be a pair; *ret_bytes as written. */
static unsigned
escaped_point(const char *at, const char *end, size_t *ret_bytes)
{
    unsigned high = hex4(at + 2), low;

    *ret_bytes = 6;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return REPLACEMENT;
    low = hex4(at + 8);
    if (low < 0xdc00 || low > 0xdfff)
        return REPLACEMENT;
    *ret_bytes = 12;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t
utf8_write(unsigned point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

static char
short_escape(char c) /* what \c stands for */
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default: /* quote, backslash, slash */
        return c;
    }
}

size_t
json_unescape_one(const char *at, const char *end, char text[4], size_t *ret_used)
{
    if (end - at >= 2 && at[1] != 'u') {
        text[0] = short_escape(at[1]);
        *ret_used = 2;
        return 1;
    }
    return end - at < 6 ? 0 : utf8_write(escaped_point(at, end, ret_used), text);
}

enum err
json_unescape(struct span value, char *text, size_t size, size_t *ret_bytes)
{
    const char *at, *end;
    size_t used = 0;

    if (value.bytes < 2 || value.data[0] != '"')
        return ERR_PARSE;
    end = value.data + value.bytes - 1;
    for (at = value.data + 1; at < end;) {
        size_t span = span_find((struct span){at, (size_t)(end - at)}, '\\');
        char piece[4];
        const char *from = at;
        size_t bytes = span;
        if (span == 0) {
            bytes = json_unescape_one(at, end, piece, &span);
            from = piece;
            if (bytes == 0)
                return ERR_PARSE;
        }
        if (bytes >= size - used) /* one is kept for the final zero */
            return ERR_FULL;
        memcpy(text + used, from, bytes);
        used += bytes;
        at += span;
    }
    if (used >= size)
        return ERR_FULL;
    text[used] = '\0';
    *ret_bytes = used;
    return ERR_OK;
}

/* The escaped form of what stands at `at` into out; *ret_used is how much of the input it was. */
static size_t
escape_one(const char *at, const char *end, char out[6], size_t *ret_used)
{
    static const char digits[] = "0123456789abcdef", shorts[] = "btn\0fr"; /* from 0x08 on */
    unsigned char c = (unsigned char)*at;
    unsigned bytes = json_scan_utf8(at, end);

    *ret_used = bytes > 0 ? bytes : 1;
    if (bytes == 0) {
        memcpy(out, "\\ufffd", 6);
        return 6;
    }
    if (c >= 0x20 && c != '"' && c != '\\') {
        memcpy(out, at, bytes);
        return bytes;
    }
    out[0] = '\\';
    if (c >= 0x20 || (c >= 0x08 && c <= 0x0d && shorts[c - 0x08] != '\0')) {
        out[1] = c >= 0x20 ? (char)c : shorts[c - 0x08];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = digits[c >> 4];
    out[5] = digits[c & 15];
    return 6;
}

size_t
json_escaped_bytes(struct span s)
{
    const char *end = s.bytes > 0 ? s.data + s.bytes : NULL;
    size_t bytes = 0, used;
    char piece[6];

    for (const char *at = s.data; s.bytes > 0 && at < end; at += used)
        bytes += escape_one(at, end, piece, &used);
    return bytes;
}

void
json_escape(struct span s, char *text)
{
    const char *end = s.bytes > 0 ? s.data + s.bytes : NULL;
    size_t used;

    for (const char *at = s.data; s.bytes > 0 && at < end; at += used) {
        char piece[6];
        size_t bytes = escape_one(at, end, piece, &used);
        memcpy(text, piece, bytes);
        text += bytes;
    }
}

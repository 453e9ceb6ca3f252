/* net_range - reading addresses, and the table of places that are not public; see net_range.h. */
#include "wire/net_range.h"

#include <string.h>

#define V4_BITS   96u /* of an address before its IPv4 part */
#define GROUPS    8u
#define GROUP_MAX 4u /* digits */

/* ---- Text. */

/* Four numbers of at most 255, without leading zeros (which some read as octal). */
static enum err
parse_v4(struct span text, unsigned char ret_bytes[4])
{
    for (unsigned i = 0; i < 4; i++) {
        struct span part = {text.data, i < 3 ? span_find(text, '.') : text.bytes};
        uint64_t number;

        if (part.bytes == 0 || part.bytes > 3 || (part.bytes > 1 && part.data[0] == '0') ||
            (i < 3 && part.bytes == text.bytes) || span_u64(part, &number) != ERR_OK ||
            number > 255)
            return ERR_PARSE;
        ret_bytes[i] = (unsigned char)number;
        if (i < 3)
            text = span_from(text, part.bytes + 1);
    }
    return ERR_OK;
}

static int
digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err
parse_group(struct span part, unsigned char ret_bytes[2])
{
    unsigned number = 0;

    if (part.bytes == 0 || part.bytes > GROUP_MAX)
        return ERR_PARSE;
    for (size_t i = 0; i < part.bytes; i++) {
        if (digit(part.data[i]) < 0)
            return ERR_PARSE;
        number = number * 16 + (unsigned)digit(part.data[i]);
    }
    ret_bytes[0] = (unsigned char)(number >> 8);
    ret_bytes[1] = (unsigned char)number;
    return ERR_OK;
}

/* Groups with ':' between them, the last of which may be an IPv4 address: at most max groups. */
static enum err
parse_groups(struct span text, unsigned max, unsigned char *bytes, unsigned *ret_groups)
{
    unsigned groups = 0;

    while (text.bytes > 0) {
        size_t end = span_find(text, ':');
        struct span part = {text.data, end};
        bool is_last = end == text.bytes, is_v4 = is_last && span_find(part, '.') < part.bytes;

        if (groups + (is_v4 ? 2 : 1) > max)
            return ERR_PARSE;
        if ((is_v4 ? parse_v4(part, bytes + 2 * (size_t)groups)
                   : parse_group(part, bytes + 2 * (size_t)groups)) != ERR_OK)
            return ERR_PARSE;
        groups += is_v4 ? 2 : 1;
        if (is_last)
            break;
        text = span_from(text, end + 1);
        if (text.bytes == 0)
            return ERR_PARSE; /* it ends with one ':' */
    }
    *ret_groups = groups;
    return ERR_OK;
}

static enum err
parse_v6(struct span text, struct net_address *ret)
{
    unsigned char tail[NET_ADDRESS_BYTES] = {0};
    unsigned before = 0, behind = 0;
    size_t gap = 0;

    while (gap + 1 < text.bytes && (text.data[gap] != ':' || text.data[gap + 1] != ':'))
        gap++;
    if (gap + 1 >= text.bytes) { /* nothing is left out */
        if (parse_groups(text, GROUPS, ret->bytes, &before) != ERR_OK || before != GROUPS)
            return ERR_PARSE;
        return ERR_OK;
    }
    if (parse_groups((struct span){text.data, gap}, GROUPS - 1, ret->bytes, &before) != ERR_OK ||
        (before > 0 && memchr(text.data, '.', gap) != NULL) ||
        parse_groups(span_from(text, gap + 2), GROUPS - 1 - before, tail, &behind) != ERR_OK)
        return ERR_PARSE;
    memcpy(ret->bytes + NET_ADDRESS_BYTES - 2 * (size_t)behind, tail, 2 * (size_t)behind);
    return ERR_OK;
}

enum err
net_address_parse(struct span text, struct net_address *ret_address)
{
    struct net_address a = {{0}};
    enum err err;

    if (span_find(text, ':') < text.bytes) {
        err = parse_v6(text, &a);
    } else {
        a.bytes[10] = a.bytes[11] = 0xff;
        err = parse_v4(text, a.bytes + 12);
    }
    if (err == ERR_OK)
        *ret_address = a;
    return err;
}

/* ---- Ranges. */

bool
net_range_has(const struct net_range *range, const struct net_address *address)
{
    size_t whole = range->bits / 8;
    unsigned rest = range->bits % 8;

    return memcmp(range->first.bytes, address->bytes, whole) == 0 &&
           (rest == 0 || (range->first.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0);
}

/* Are all bits behind its length 0? */
static bool
is_clean(const struct net_range *r)
{
    for (uint32_t i = r->bits; i < 8 * NET_ADDRESS_BYTES; i++) {
        if ((r->first.bytes[i / 8] >> (7 - i % 8) & 1) != 0)
            return false;
    }
    return true;
}

enum err
net_range_parse(struct span text, struct net_range *ret_range)
{
    size_t slash = span_find(text, '/');
    struct span address = {text.data, slash};
    bool is_v4 = span_find(address, ':') == address.bytes;
    struct net_range r = {.bits = 8 * NET_ADDRESS_BYTES};
    uint64_t bits;

    if (net_address_parse(address, &r.first) != ERR_OK)
        return ERR_PARSE;
    if (slash < text.bytes) {
        if (span_u64(span_from(text, slash + 1), &bits) != ERR_OK || bits > (is_v4 ? 32 : 128))
            return ERR_PARSE;
        r.bits = (uint32_t)bits + (is_v4 ? V4_BITS : 0);
    }
    if (!is_clean(&r))
        return ERR_PARSE;
    *ret_range = r;
    return ERR_OK;
}

/* ---- Kinds: IANA's registries of special addresses. What is not in 2000::/3 is for nobody yet. */

#define V4(a_, b_, bits_)                                                                          \
    {                                                                                              \
        {{[10] = 0xff, 0xff, (a_), (b_)}}, V4_BITS + (bits_)                                       \
    }

static const struct {
    struct net_range range;
    enum net_kind kind;
} places[] = {
    {V4(10, 0, 8), NET_PRIVATE},         {V4(172, 16, 12), NET_PRIVATE},
    {V4(192, 168, 16), NET_PRIVATE},     {V4(100, 64, 10), NET_PRIVATE},
    {V4(0, 0, 8), NET_SPECIAL},      /* this network */
    {V4(127, 0, 8), NET_SPECIAL},    /* this machine */
    {V4(169, 254, 16), NET_SPECIAL}, /* this link, and clouds' metadata */
    {V4(224, 0, 3), NET_SPECIAL},    /* many, reserved, all */
    {V4(0, 0, 0), NET_PUBLIC},           {{{{0xfc}}, 7}, NET_PRIVATE},
    {{{{0x20, 0x02}}, 16}, NET_SPECIAL}, /* stands for an IPv4 address: 6to4 */
    {{{{0x20, 0x01}}, 23}, NET_SPECIAL}, /* likewise: Teredo and others */
    {{{{0x20}}, 3}, NET_PUBLIC},
};

enum net_kind
net_kind_of(const struct net_address *address)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (net_range_has(&places[i].range, address))
            return places[i].kind;
    }
    return NET_SPECIAL;
}

/* via - marks in a list; see via.h. A list that no gateway wrote counts as none. */
#include "role/gateway/via.h"

#include <string.h>

#include "base/must.h"
#include "role/put.h"

static struct span
mark_text(uint64_t mark, char text[VIA_MARK_DIGITS])
{
    struct put put = {.text = text, .room_bytes = VIA_MARK_DIGITS};

    put_hex16(&put, mark);
    return (struct span){text, put.bytes};
}

static bool
is_list(struct span list)
{
    for (size_t i = 0; i < list.bytes; i++) {
        bool is_comma = i % (VIA_MARK_DIGITS + 1) == VIA_MARK_DIGITS;

        if (is_comma ? list.data[i] != ',' : memchr("0123456789abcdef", list.data[i], 16) == NULL)
            return false;
    }
    return list.bytes % (VIA_MARK_DIGITS + 1) == VIA_MARK_DIGITS;
}

static struct span
list_of(const struct http_request *request)
{
    struct span list = http_request_header(request, SPAN_LIT(VIA_HEADER));

    return is_list(list) ? list : (struct span){NULL, 0};
}

bool
via_goes_round(uint64_t mark, const struct http_request *request)
{
    struct span list = list_of(request), own;
    char text[VIA_MARK_DIGITS];

    own = mark_text(mark, text);
    return list.bytes + 1 + own.bytes > VIA_BYTES_MAX ||
           (list.bytes > 0 && memmem(list.data, list.bytes, own.data, own.bytes) != NULL);
}

struct span
via_write(uint64_t mark, const struct http_request *request, char text[VIA_BYTES_MAX])
{
    struct span list = list_of(request);
    size_t at = 0;

    must(list.bytes + 1 + VIA_MARK_DIGITS <= VIA_BYTES_MAX);
    if (list.bytes > 0) {
        memcpy(text, list.data, list.bytes);
        text[list.bytes] = ',';
        at = list.bytes + 1;
    }
    return (struct span){text, at + mark_text(mark, text + at).bytes};
}

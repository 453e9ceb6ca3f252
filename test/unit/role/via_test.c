/* via_test - marks of gateways: whose list goes on, and whose comes to an end. */
#include "role/gateway/via.h"

#include "tap.h"

#define OWN    0x0123456789abcdefu
#define OTHER  "00000000000000aa"
#define OTHERS OTHER "," OTHER "," OTHER "," OTHER "," OTHER "," OTHER "," OTHER

static const struct {
    const char *label, *list; /* NULL: no such header */
    bool goes_round;
    const char *next; /* what goes on; NULL: nothing does */
} rows[] = {
    {"a client's", NULL, false, "0123456789abcdef"},
    {"another gateway's", OTHER, false, OTHER ",0123456789abcdef"},
    {"our own", "0123456789abcdef", true, NULL},
    {"our own by way of another", "0123456789abcdef," OTHER, true, NULL},
    {"another way", OTHER ",0123456789abcdef", true, NULL},
    {"as many as may be", OTHERS, false, OTHERS ",0123456789abcdef"},
    {"one too many", OTHERS "," OTHER, true, NULL},
    {"nothing in it", "", false, "0123456789abcdef"},
    {"not a mark", "0123456789abcde", false, "0123456789abcdef"},
    {"a comma at its end", OTHER ",", false, "0123456789abcdef"},
    {"upper case", "0123456789ABCDEF", false, "0123456789abcdef"},
    {"across two marks", "000000000123456789abcdef00000000", false, "0123456789abcdef"},
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct http_header header = {SPAN_LIT(VIA_HEADER),
                                           span_of(rows[i].list != NULL ? rows[i].list : "")};
        const struct http_request request = {.headers = &header,
                                             .header_count = rows[i].list != NULL};
        char text[VIA_BYTES_MAX];

        CHECK(via_goes_round(OWN, &request) == rows[i].goes_round, rows[i].label);
        if (rows[i].next != NULL)
            CHECK(span_eq_text(via_write(OWN, &request, text), rows[i].next), rows[i].label);
    }
    return tap_done();
}
